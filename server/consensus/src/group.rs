//! One replica group: raft's state, its log, its state machine, and who waits for what.
//!
//! The path of an entry: proposed -> in raft's unstable log -> taken by [`ReplicaGroup::collect`]
//! into the group's log and a write -> durable ([`ReplicaGroup::on_durable`]) -> committed ->
//! applied, and only then answered. Entries are applied in one place, [`ReplicaGroup::apply`].

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use raft::eraftpb::{EntryType, HardState};
use raft::{Config, RawNode, StateRole};
use ropewalk_core::entry::Entry;
use ropewalk_core::{GroupId, Offset, Timestamp};
use ropewalk_storage::engine::EntryMeta;
use ropewalk_storage::group_log::{BOOTSTRAP_INDEX, GroupLog, SegmentPolicy};
use ropewalk_storage::log_view::LogReader;
use ropewalk_storage::{Engine, GroupState, GroupWrite, LogEntry, StorageError};

use crate::machine::{StateMachine, applied_row, take_applied};
use crate::proposal::{Durability, Proposal, ProposalKind, ProposeError, Receipt};
use crate::shard::Output;

/// A command log keeps this many applied commands before it is compacted.
const KEPT_COMMANDS: u64 = 1_024;
const MAX_BYTES_PER_MESSAGE: u64 = 512 * 1024;
const MAX_INFLIGHT_MESSAGES: usize = 16;
const MAX_UNCOMMITTED_BYTES: u64 = 256 * 1024 * 1024;
const ELECTION_TICKS: usize = 10;
const HEARTBEAT_TICKS: usize = 2;

/// An entry that is in the log and not yet committed.
struct Pending {
    index: u64,
    meta: EntryMeta,
    data: bytes::Bytes,
}

/// A proposer that waits.
struct Waiter<T> {
    index: u64,
    term: u64,
    durability: Durability,
    /// What a batch is answered with; commands and trims are answered with what they did.
    receipt: Option<Receipt>,
    /// `None` once it is answered: then only what it holds still waits.
    reply: Option<T>,
    _held: Box<dyn Any + Send>,
}

/// One replica group on this broker. `T` stands for a proposer and is given back with the answer.
pub struct ReplicaGroup<T> {
    node: RawNode<GroupLog>,
    machine: Option<Box<dyn StateMachine>>,
    /// Entries that wait for their commit, by index.
    pending: VecDeque<Pending>,
    /// Proposers, by index.
    waiters: VecDeque<Waiter<T>>,
    applied: u64,
    /// The term in which this replica leads and has committed its no-op: then it serves.
    serving: Option<u64>,
    /// The offset that the next proposed batch gets, while this replica serves.
    next_offset: Offset,
    /// The hard state as it was handed out to be written.
    written_hard_state: HardState,
    /// The newest ready of raft that waits for a write to become durable.
    unpersisted_ready: Option<u64>,
    /// How many writes were handed out and are not yet durable.
    unconfirmed: u32,
}

/// What waits for a write to become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handed {
    pub(crate) group: GroupId,
    ready: u64,
    last_index: u64,
}

impl<T> ReplicaGroup<T> {
    /// Takes up a group as storage has it. A group with one voter, this one, leads at once.
    pub fn open(
        engine: &Arc<dyn Engine>,
        state: GroupState,
        mut machine: Option<Box<dyn StateMachine>>,
        logger: &slog::Logger,
    ) -> Result<Self, StorageError> {
        let group = state.group;
        let start = state.start.index;
        let hard_state = state.hard_state.clone();
        let mut log = GroupLog::open(Arc::clone(engine), state)?;
        let mut applied = hard_state.commit.max(start);
        if let Some(machine) = &mut machine {
            let mut rows = engine.rows(group, &[])?;
            let malformed = |error: ropewalk_core::codec::DecodeError| {
                StorageError::Refused(format!(
                    "the state of replica group {group} is damaged: {error}"
                ))
            };
            // The log is compacted by what was applied, no-ops included, and only commands move the
            // row: what is gone above it was no command.
            let row = take_applied(&mut rows).map_err(malformed)?.unwrap_or(BOOTSTRAP_INDEX);
            applied = row.max(start);
            machine.restore(rows).map_err(malformed)?;
        }
        if applied > start {
            log.set_high_watermark(log.meta(applied)?.end_offset());
        }
        let pending = log.entries_after(applied)?.into_iter().map(Pending::from).collect();
        let config = Config {
            id: log.replica().0,
            applied,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            check_quorum: true,
            pre_vote: true,
            max_size_per_msg: MAX_BYTES_PER_MESSAGE,
            max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
            max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
            batch_append: true,
            ..Config::default()
        };
        let refused = |error: raft::Error| {
            StorageError::Refused(format!("replica group {group} cannot start: {error}"))
        };
        let mut node = RawNode::new(&config, log, logger).map_err(refused)?;
        node.campaign().map_err(refused)?;
        Ok(Self {
            node,
            machine,
            pending,
            waiters: VecDeque::new(),
            applied,
            serving: None,
            next_offset: Offset::ZERO,
            written_hard_state: hard_state,
            unpersisted_ready: None,
            unconfirmed: 0,
        })
    }

    /// The group.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.log().group()
    }

    /// A reader of its log.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.log().reader()
    }

    /// When its segments are closed from now on.
    pub fn set_policy(&mut self, policy: SegmentPolicy) {
        self.node.mut_store().set_policy(policy);
    }

    fn log(&self) -> &GroupLog {
        self.node.store()
    }

    /// Proposes; the answer comes as an output, now or later.
    pub fn propose(&mut self, proposal: Proposal<T>, now: Timestamp, out: &mut Vec<Output<T>>) {
        let Proposal { kind, reply, held } = proposal;
        let Some(term) = self.serving.filter(|term| *term == self.node.raft.term) else {
            return out.push(Output::Reply { to: reply, result: Err(ProposeError::NoLeader) });
        };
        let index = self.node.raft.raft_log.last_index() + 1;
        let (data, receipt, durability) = match self.prepare(kind, term, index, now) {
            Ok(prepared) => prepared,
            Err(error) => return out.push(Output::Reply { to: reply, result: Err(error) }),
        };
        let records = match &receipt {
            Some(Receipt::Appended { record_count, .. }) => *record_count,
            _ => 0,
        };
        let is_proposed = self.node.propose(Vec::new(), data).is_ok();
        if !is_proposed || self.node.raft.raft_log.last_index() != index {
            return out.push(Output::Reply { to: reply, result: Err(ProposeError::Overloaded) });
        }
        self.next_offset = self.next_offset.plus(u64::from(records));
        let (receipt, reply) = match receipt {
            Some(receipt) if durability == Durability::None => {
                out.push(Output::Reply { to: reply, result: Ok(receipt) });
                (None, None)
            }
            receipt => (receipt, Some(reply)),
        };
        self.waiters.push_back(Waiter { index, term, durability, receipt, reply, _held: held });
    }

    /// The bytes of the entry to propose, and what its proposer is told.
    fn prepare(
        &self,
        kind: ProposalKind,
        term: u64,
        index: u64,
        now: Timestamp,
    ) -> Result<(Vec<u8>, Option<Receipt>, Durability), ProposeError> {
        match kind {
            ProposalKind::Batch { draft, expected, durability } => {
                if expected.is_some_and(|expected| expected != self.next_offset) {
                    return Err(ProposeError::ExpectedOffset { current: self.next_offset });
                }
                let receipt = Receipt::Appended {
                    base_offset: self.next_offset,
                    record_count: draft.record_count(),
                    append_time: now,
                    leader_epoch: term,
                    achieved: Durability::None,
                };
                let data = draft.seal(self.next_offset, term, index, now);
                Ok((data, Some(receipt), durability))
            }
            ProposalKind::Trim { before } => {
                let bounds = self.log().reader().bounds();
                let before = before.unwrap_or(bounds.high_watermark);
                if before > bounds.high_watermark {
                    return Err(ProposeError::OutOfRange {
                        start: bounds.start,
                        high_watermark: bounds.high_watermark,
                    });
                }
                Ok((Entry::encode_trim(before), None, Durability::Quorum))
            }
            ProposalKind::Command(command) => {
                Ok((Entry::encode_command(&command), None, Durability::Quorum))
            }
        }
    }

    /// Takes everything raft has ready: entries and state go into `write`, commits are applied.
    pub fn collect(
        &mut self,
        now: Timestamp,
        write: &mut GroupWrite,
        out: &mut Vec<Output<T>>,
    ) -> Result<(), StorageError> {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            if let Some(hard_state) = ready.hs().cloned() {
                self.node.mut_store().set_hard_state(hard_state);
            }
            let entries = ready.take_entries();
            if !entries.is_empty() {
                self.truncate_pending(entries[0].index);
                let appended = self.node.mut_store().append(entries, now, write)?;
                self.pending.extend(appended.into_iter().map(Pending::from));
            }
            let must_sync = ready.must_sync();
            let number = ready.number();
            self.node.advance_append_async(ready);
            if must_sync {
                self.unpersisted_ready = Some(number);
            } else if self.unpersisted_ready.is_none() && self.unconfirmed == 0 {
                // Raft takes a number for all before it: not while a write is under way.
                self.node.on_persist_ready(number);
            }
            self.node.advance_apply();
            self.note_role(out);
            self.apply_committed(write, out)?;
        }
        Ok(())
    }

    /// Hands out what the write that is about to be made covers. The hard state goes along with
    /// entries when its commit index moved; alone it is written only when raft must have it on
    /// disk, or at a tick.
    pub(crate) fn hand_out(&mut self, write: &mut GroupWrite) -> Option<Handed> {
        let current = self.log().hard_state();
        let is_new_term = current.term != self.written_hard_state.term
            || current.vote != self.written_hard_state.vote;
        if *current != self.written_hard_state && (is_new_term || !write.is_empty()) {
            write.hard_state = Some(current.clone());
            self.written_hard_state = current.clone();
        }
        let last_index = self.log().last();
        let group = self.id();
        let ready = self.unpersisted_ready.take()?;
        self.unconfirmed += 1;
        Some(Handed { group, ready, last_index })
    }

    /// Writes the commit index that no entry has taken along yet.
    pub(crate) fn flush_commit(&mut self, write: &mut GroupWrite) {
        let current = self.log().hard_state();
        if *current != self.written_hard_state {
            write.hard_state = Some(current.clone());
            self.written_hard_state = current.clone();
        }
    }

    /// What was handed out is durable. `collect` must follow.
    pub(crate) fn on_durable(&mut self, handed: Handed, out: &mut Vec<Output<T>>) {
        self.unconfirmed -= 1;
        self.node.mut_store().set_durable(handed.last_index);
        self.node.on_persist_ready(handed.ready);
        // A proposer that asked for the leader's disk alone does not wait for the commit.
        for waiter in self.waiters.iter_mut().take_while(|w| w.index <= handed.last_index) {
            if waiter.durability == Durability::Leader
                && let (Some(to), Some(receipt)) = (waiter.reply.take(), waiter.receipt.take())
            {
                let result = Ok(receipt.achieved(Durability::Leader));
                out.push(Output::Reply { to, result });
            }
        }
    }

    /// Whether its state on disk lags behind what is in memory.
    pub(crate) fn has_unwritten_commit(&self) -> bool {
        *self.log().hard_state() != self.written_hard_state
    }

    /// Forgets entries up to an index in memory, where that is allowed by now.
    pub(crate) fn evict(&mut self, index: u64) -> bool {
        let is_durable = index <= self.log().durable_index();
        if is_durable {
            self.node.mut_store().evict(index);
        }
        is_durable
    }

    /// Tells everybody who still waits that the group is gone.
    pub fn abandon(&mut self, out: &mut Vec<Output<T>>) {
        let epoch = self.node.raft.term;
        for to in self.waiters.drain(..).filter_map(|waiter| waiter.reply) {
            out.push(Output::Reply { to, result: Err(ProposeError::LeaderChanged { epoch }) });
        }
    }

    /// Lets go of the entries in memory: the group is removed, and readers may hold its log for
    /// long.
    pub(crate) fn forget(&mut self) {
        self.node.mut_store().forget();
    }

    fn truncate_pending(&mut self, from: u64) {
        while self.pending.back().is_some_and(|pending| pending.index >= from) {
            self.pending.pop_back();
        }
    }

    fn note_role(&mut self, out: &mut Vec<Output<T>>) {
        let raft = &self.node.raft;
        let (term, leads) = (raft.term, raft.state == StateRole::Leader);
        if self.serving.is_some_and(|serving| serving != term || !leads) {
            self.serving = None;
            out.push(Output::Leadership { group: self.id(), epoch: None });
        }
        // Whoever waits for an entry of another term than the leader's may wait for ever.
        if !leads {
            self.abandon(out);
        }
    }

    fn apply_committed(
        &mut self,
        write: &mut GroupWrite,
        out: &mut Vec<Output<T>>,
    ) -> Result<(), StorageError> {
        let committed = self.node.raft.raft_log.committed;
        let mut high_watermark = None;
        while self.pending.front().is_some_and(|first| first.index <= committed) {
            let Some(entry) = self.pending.pop_front() else { break };
            let receipt = self.apply(&entry, write)?;
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
        if self.machine.is_some() && self.applied > self.log().start().index + 2 * KEPT_COMMANDS {
            self.node.mut_store().compact(self.applied - KEPT_COMMANDS, write)?;
        }
        Ok(())
    }

    /// The one place in which entries take effect.
    fn apply(
        &mut self,
        entry: &Pending,
        write: &mut GroupWrite,
    ) -> Result<Option<Receipt>, StorageError> {
        let unreadable = |error: ropewalk_core::entry::EntryError| {
            StorageError::Refused(format!("entry {} cannot be applied: {error}", entry.index))
        };
        if entry.meta.entry_type != EntryType::EntryNormal as u8 {
            let message =
                format!("entry {} changes the membership: not in this version", entry.index);
            return Err(StorageError::Refused(message));
        }
        match Entry::decode(&entry.data).map_err(unreadable)? {
            Entry::Noop => Ok(None),
            Entry::Batch(header) => {
                self.node.mut_store().set_high_watermark(header.end_offset());
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
                let applied = machine.apply(entry.index, &command);
                write.rows.extend(applied.rows);
                write.rows.push(applied_row(entry.index));
                Ok(Some(Receipt::Applied(applied.response)))
            }
        }
    }

    /// Answers whoever proposed the entry, and whoever waits for one that it replaced.
    fn answer(&mut self, entry: &Pending, done: Option<Receipt>, out: &mut Vec<Output<T>>) {
        while self.waiters.front().is_some_and(|first| first.index <= entry.index) {
            let Some(waiter) = self.waiters.pop_front() else { break };
            let Some(to) = waiter.reply else { continue };
            if waiter.index != entry.index || waiter.term != entry.meta.term {
                let result = Err(ProposeError::LeaderChanged { epoch: entry.meta.term });
                out.push(Output::Reply { to, result });
                continue;
            }
            let appended = waiter.receipt.map(|receipt| receipt.achieved(Durability::Quorum));
            let receipt = done.or(appended).expect("every entry that is waited for is answered");
            out.push(Output::Reply { to, result: Ok(receipt) });
            return;
        }
    }

    /// A leader serves once an entry of its own term is applied: everything before it is then
    /// known.
    fn start_serving(&mut self, out: &mut Vec<Output<T>>) {
        let term = self.node.raft.term;
        let leads = self.node.raft.state == StateRole::Leader;
        if self.serving.is_some() || !leads || !self.pending.is_empty() {
            return;
        }
        if self.node.raft.commit_to_current_term() {
            self.serving = Some(term);
            self.next_offset = self.log().next_offset();
            out.push(Output::Leadership { group: self.id(), epoch: Some(term) });
        }
    }
}

impl From<LogEntry> for Pending {
    fn from(entry: LogEntry) -> Self {
        Self { index: entry.index, meta: entry.meta, data: entry.data }
    }
}
