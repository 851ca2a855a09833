//! Entries take effect, in one place, and whoever waits for them is told.

use std::collections::VecDeque;

use raft::eraftpb::EntryType;
use ropewalk_core::entry::Entry;
use ropewalk_storage::own_rows::applied_row;
use ropewalk_storage::{GroupWrite, StorageError};

use super::reads::Question;
use super::{Pending, ReplicaGroup};
use crate::machine::LaterVersion;
use crate::proposal::{Durability, ProposeError, Receipt};
use crate::shard::Output;

/// A command log keeps this many applied commands before it is compacted.
const KEPT_COMMANDS: u64 = 1_024;

impl<T> ReplicaGroup<T> {
    pub(super) fn apply_committed(
        &mut self,
        write: &mut GroupWrite,
        out: &mut Vec<Output<T>>,
    ) -> Result<(), StorageError> {
        let (committed, persisted) =
            (self.node.raft.raft_log.committed, self.node.raft.raft_log.applied);
        let mut high_watermark = None;
        while self.pending.front().is_some_and(|first| {
            // A majority may have an entry on its disks before this replica has. To let go of the
            // log, or to change its members, must wait: raft-rs looks back as far as it has
            // applied.
            first.index <= if first.is_of_records() { committed } else { persisted }
        }) {
            let Some(entry) = self.pending.pop_front() else { break };
            let receipt = self.apply(&entry, write, out)?;
            self.applied = entry.index;
            if entry.meta.record_count > 0 {
                high_watermark = Some(entry.meta.end_offset());
            }
            self.answer(&entry, receipt, out);
        }
        if self.pending.is_empty() && self.waiters.is_empty() {
            // Of ten thousand groups that do nothing each byte counts.
            (self.pending, self.waiters) = (VecDeque::new(), VecDeque::new());
        }
        if let Some(offset) = high_watermark {
            out.push(Output::Progress { group: self.id(), high_watermark: offset });
        }
        self.start_serving(out);
        let is_long = persisted > self.log().start().index + 2 * KEPT_COMMANDS;
        if self.machine.is_some() && is_long {
            self.node.mut_store().compact(persisted - KEPT_COMMANDS, write)?;
        }
        Ok(())
    }

    /// The one place in which entries take effect.
    fn apply(
        &mut self,
        entry: &Pending,
        write: &mut GroupWrite,
        out: &mut Vec<Output<T>>,
    ) -> Result<Option<Receipt>, StorageError> {
        let (group, index) = (self.id(), entry.index);
        let unknown = |error: LaterVersion| {
            StorageError::Refused(format!("entry {index} of replica group {group}: {error}"))
        };
        if entry.is_change() {
            self.apply_change(entry, write, out)?;
            if self.machine.is_some() {
                // A start must not carry out the change again.
                self.rows_stand_at(entry.index, write);
            }
            return Ok(Some(Receipt::Done));
        }
        let undecoded = |error| StorageError::undecoded(group, index, error);
        match Entry::decode(&entry.data).map_err(undecoded)? {
            Entry::Noop => Ok(None),
            Entry::Batch(header) => {
                self.node.mut_store().set_high_watermark(header.end_offset());
                self.sequences.apply(&header, write);
                self.producers_stand();
                Ok(None)
            }
            Entry::Expire(gone) => {
                self.sequences.expire(entry.index, &gone, write);
                self.producers_stand();
                Ok(None)
            }
            Entry::Compact(clean_up) => {
                self.node.mut_store().order_compaction(entry.index, clean_up, write);
                self.tell_compaction(out);
                Ok(None)
            }
            Entry::Trim { before } => {
                let start = self.node.mut_store().trim(before, entry.index, write)?;
                Ok(Some(Receipt::Trimmed(start)))
            }
            Entry::Command(command) => {
                let machine = self.machine.as_mut().ok_or_else(|| {
                    StorageError::Refused("a partition's log holds a command".to_owned())
                })?;
                let applied = machine.apply(entry.index, &command).map_err(unknown)?;
                self.trail.note(entry.index, &applied.rows, self.node.store())?;
                write.rows.extend(applied.rows);
                self.rows_stand_at(entry.index, write);
                Ok(Some(Receipt::Applied(applied.response)))
            }
        }
    }

    /// Answers whoever proposed the entry, and whoever waits for one that it replaced.
    fn answer(&mut self, entry: &Pending, mut done: Option<Receipt>, out: &mut Vec<Output<T>>) {
        while self.waiters.front().is_some_and(|first| first.index <= entry.index) {
            let Some(waiter) = self.waiters.pop_front() else { break };
            let Some(to) = waiter.reply else { continue };
            if waiter.index != entry.index || waiter.term != entry.meta.term {
                let result = Err(ProposeError::LeaderChanged { epoch: entry.meta.term });
                out.push(Output::Reply { to, result });
                continue;
            }
            let appended = waiter.receipt.map(|receipt| receipt.achieved(Durability::Quorum));
            // Others may wait for the same batch, which was sent twice.
            let receipt = done.take().or(appended);
            let receipt = receipt.expect("every entry that is waited for is answered");
            out.push(Output::Reply { to, result: Ok(receipt) });
        }
    }

    fn rows_stand_at(&mut self, index: u64, write: &mut GroupWrite) {
        write.rows.push(applied_row(index));
        self.node.mut_store().set_rows_index(index);
    }

    /// Answers the reads whose round has ended.
    pub(super) fn answer_reads(&mut self, out: &mut Vec<Output<T>>) {
        let (machine, log) = (&self.machine, self.node.store());
        let leader_epoch = self.node.raft.term;
        self.reads.answer(self.applied, out, |question| match question {
            Question::Machine(question) => {
                let machine = machine.as_ref().ok_or(ProposeError::NoGroup)?;
                Ok(Receipt::Applied(machine.query(question)))
            }
            Question::Bounds => {
                let bounds = log.reader().bounds();
                let (start, high_watermark) = (bounds.start, bounds.high_watermark);
                Ok(Receipt::Bounds { start, high_watermark, leader_epoch })
            }
            Question::Refused { error, .. } => Err(*error),
        });
    }
}

impl Pending {
    /// Whether the entry is a batch of records, or the no-op of a leader.
    fn is_of_records(&self) -> bool {
        (self.meta.record_count > 0 || self.data.is_empty()) && !self.is_change()
    }

    /// Whether the entry changes the members.
    pub(super) fn is_change(&self) -> bool {
        self.meta.entry_type != EntryType::EntryNormal as u8
    }
}
