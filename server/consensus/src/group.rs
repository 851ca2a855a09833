//! One replica group: raft's state, its log, its state machine, and who waits for what.
//!
//! The path of an entry: proposed -> in raft's unstable log -> taken by [`ReplicaGroup::collect`]
//! into the group's log and a write, and sent to the followers meanwhile -> durable
//! ([`ReplicaGroup::on_durable`]) -> committed -> applied, and only then answered. Entries are
//! applied in one place, `apply.rs`.

mod apply;
mod behind;
mod compaction;
mod keys;
mod membership;
mod messages;
mod reads;
mod role;
mod sequences;
mod sleep;
mod snapshots;
mod start;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};

use raft::RawNode;
use raft::eraftpb::{HardState, Message as RaftMessage};
use ropewalk_core::entry::Entry;
use ropewalk_core::{GroupId, Offset, ReplicaId, Timestamp};
use ropewalk_storage::engine::EntryMeta;
use ropewalk_storage::group_log::{GroupLog, SegmentPolicy};
use ropewalk_storage::log_view::LogReader;
use ropewalk_storage::{GroupWrite, LogEntry, StorageError};

use self::behind::Behind;
pub use self::compaction::CompactionOrder;
pub(crate) use self::keys::Admission;
use self::keys::Keys;
#[cfg(test)]
pub(crate) use self::keys::OWN_ROOM;
use self::reads::{Question, Reads};
use self::sequences::{Sequenced, Sequences};
use self::sleep::Sleep;
use self::snapshots::{RowTrail, SentSnapshots};
pub(crate) use self::start::Start;
use crate::machine::StateMachine;
use crate::planted::Plant;
use crate::producers::ProducerBounds;
use crate::proposal::{Durability, Proposal, ProposalKind, ProposeError, Receipt};
use crate::shard::Output;

const MAX_BYTES_PER_MESSAGE: u64 = 512 * 1024;
const MAX_INFLIGHT_MESSAGES: usize = 16;
const MAX_UNCOMMITTED_BYTES: u64 = 256 * 1024 * 1024;
/// A follower that hears nothing stands for election after this many ticks, and up to twice as
/// many.
const ELECTION_TICKS: usize = 10;
const HEARTBEAT_TICKS: usize = 3;
/// For so many ticks the first replica of a new group does not wait that long: the others may not
/// be there yet at once.
const EAGER_TICKS: u32 = 8;

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

/// A write that was handed out and is not yet durable.
struct Unconfirmed {
    /// The newest ready of raft that it covers.
    ready: u64,
    /// The last entry that it covers and that was not replaced since.
    last_index: u64,
    /// Raft's term in it.
    term: u64,
}

/// One replica group on this broker. `T` stands for a proposer and is given back with the answer.
pub struct ReplicaGroup<T> {
    node: RawNode<GroupLog>,
    machine: Option<Box<dyn StateMachine>>,
    /// Entries that wait for their commit, by index.
    pending: VecDeque<Pending>,
    /// Proposers, by index.
    waiters: VecDeque<Waiter<T>>,
    /// Reads that wait until this replica is known to lead still.
    reads: Reads<T>,
    applied: u64,
    /// The term in which this replica leads and has committed its no-op: then it serves.
    serving: Option<u64>,
    /// Who leads, and in which term, as it was told last.
    told_leader: (Option<ReplicaId>, u64),
    /// The offset that the next proposed batch gets, while this replica serves.
    next_offset: Offset,
    /// The hard state as it was handed out to be written.
    written_hard_state: HardState,
    /// The newest ready of raft that waits for a write to become durable.
    unpersisted_ready: Option<u64>,
    /// The newest ready that has to become durable, and the newest one that has.
    newest_sync: u64,
    durable_ready: u64,
    /// Raft's term on the disk.
    durable_term: u64,
    /// The writes that were handed out, oldest first.
    unconfirmed: VecDeque<Unconfirmed>,
    /// Messages that wait until a ready is durable, in order.
    held: VecDeque<(u64, RaftMessage)>,
    sent_snapshots: SentSnapshots,
    behind: Behind,
    trail: RowTrail,
    sequences: Sequences,
    producer_bounds: ProducerBounds,
    keys: Keys,
    /// For this many ticks it stands for election at each, as nobody has led the group yet.
    eager_ticks: u32,
    sleep: Sleep,
    /// Its disk has lost what it had said to be durable: it takes no further part.
    is_damaged: bool,
    /// While this replica leads: the members that it has heard of lately, and for how many ticks
    /// more that counts.
    heard: BTreeMap<u64, usize>,
    /// The index of the last change of the members, or a later one.
    members_since: u64,
    /// Tells this group from another one of the same id that was here before.
    incarnation: u64,
}

/// What waits for a write to become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handed {
    pub(crate) group: GroupId,
    incarnation: u64,
}

impl<T> ReplicaGroup<T> {
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
        // To tell of the members disturbs nobody.
        if !matches!(kind, ProposalKind::Progress) {
            self.wake();
        }
        let done = match kind {
            ProposalKind::Query(question) if Plant::StaleQuery.is_planted() => {
                let answer = self.machine.as_ref().map(|machine| machine.query(&question));
                answer.map(Receipt::Applied).ok_or(ProposeError::NoGroup)
            }
            ProposalKind::Query(question) => {
                let question = Question::Machine(question);
                return self.reads.push(question, reply, held, out);
            }
            ProposalKind::Bounds if Plant::StaleBounds.is_planted() => {
                let bounds = self.log().reader().bounds();
                let (start, high_watermark) = (bounds.start, bounds.high_watermark);
                Ok(Receipt::Bounds { start, high_watermark, leader_epoch: term })
            }
            ProposalKind::Bounds => return self.reads.push(Question::Bounds, reply, held, out),
            ProposalKind::Progress if !self.majority_knows_members() => Err(ProposeError::NoLeader),
            ProposalKind::Progress => {
                Ok(Receipt::Progress { members: self.progress(), leader_epoch: term })
            }
            ProposalKind::TransferLeadership(to) => self.transfer(to).map(|()| Receipt::Done),
            kind => match self.refusal(&kind) {
                Some(answer) => Ok(Receipt::Applied(answer)),
                None => return self.append(kind, term, now, (reply, held), out),
            },
        };
        out.push(Output::Reply { to: reply, result: done });
    }

    fn refusal(&self, kind: &ProposalKind) -> Option<Vec<u8>> {
        let ProposalKind::Command(command) = kind else { return None };
        self.machine.as_ref()?.refusal(command)
    }

    /// Puts an entry into raft's log, unless it is a batch that is there already.
    fn append(
        &mut self,
        mut kind: ProposalKind,
        term: u64,
        now: Timestamp,
        (reply, held): (T, Box<dyn Any + Send>),
        out: &mut Vec<Output<T>>,
    ) {
        let sequence = match self.check_sequence(&kind, now) {
            Ok(Sequenced::New(sequence)) => sequence,
            Ok(Sequenced::Again(again, durability)) => {
                return self.answer_again(again, durability, (reply, held), out);
            }
            Err(error) => return out.push(Output::Reply { to: reply, result: Err(error) }),
        };
        let keys = match &mut kind {
            ProposalKind::Batch { draft, .. } => draft.take_keys(),
            _ => None,
        };
        let index = self.node.raft.raft_log.last_index() + 1;
        let (receipt, durability) = match self.put(kind, term, index, now) {
            Ok(put) => put,
            Err(
                error
                @ (ProposeError::ExpectedOffset { .. } | ProposeError::ExpectedVersion { .. }),
            ) => return self.refuse_when_sure(error, (reply, held), out),
            Err(error) => return out.push(Output::Reply { to: reply, result: Err(error) }),
        };
        if let (Some(sequence), Some(receipt)) = (sequence, &receipt) {
            self.note_sequence(sequence, index, receipt);
        }
        if let Some(Receipt::Appended { record_count, .. }) = &receipt {
            let offset = self.next_offset;
            self.next_offset = offset.plus(u64::from(*record_count));
            self.keys_appended(offset, keys);
        }
        let (receipt, reply) = match receipt {
            Some(receipt) if durability == Durability::None => {
                out.push(Output::Reply { to: reply, result: Ok(receipt) });
                (None, None)
            }
            receipt => (receipt, Some(reply)),
        };
        self.waiters.push_back(Waiter { index, term, durability, receipt, reply, _held: held });
    }

    /// Proposes to raft what must become the entry at `index`. Returns what its proposer is told.
    fn put(
        &mut self,
        kind: ProposalKind,
        term: u64,
        index: u64,
        now: Timestamp,
    ) -> Result<(Option<Receipt>, Durability), ProposeError> {
        if self.node.raft.lead_transferee.is_some() {
            // It is about to hand over, and raft takes nothing meanwhile.
            return Err(ProposeError::NoLeader);
        }
        let prepared = match kind {
            ProposalKind::Membership(change) => {
                self.propose_change(change)?;
                (None, Durability::Quorum)
            }
            kind => {
                let (data, receipt, durability) = self.prepare(kind, term, index, now)?;
                self.node.propose(Vec::new(), data).map_err(|_| ProposeError::Overloaded)?;
                (receipt, durability)
            }
        };
        debug_assert_eq!(self.node.raft.raft_log.last_index(), index, "raft takes one entry");
        Ok(prepared)
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
            ProposalKind::Batch { draft, expected, durability, epoch } => {
                if epoch.is_some_and(|epoch| epoch != term) {
                    return Err(ProposeError::NoLeader);
                }
                expected.iter().try_for_each(|expected| self.check_expected(expected))?;
                let receipt = Receipt::Appended {
                    base_offset: self.next_offset,
                    record_count: draft.record_count(),
                    append_time: now,
                    leader_epoch: term,
                    achieved: Durability::None,
                    duplicate: false,
                };
                let data = draft.seal(self.next_offset, term, index, now);
                Ok((data, Some(receipt), durability))
            }
            ProposalKind::Trim { before } => {
                let bounds = self.log().reader().bounds();
                let before = before.unwrap_or(bounds.high_watermark);
                if before > bounds.high_watermark && !Plant::TrimBeyondCommit.is_planted() {
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
            ProposalKind::Query(_)
            | ProposalKind::Bounds
            | ProposalKind::Progress
            | ProposalKind::Membership(_)
            | ProposalKind::TransferLeadership(_) => {
                unreachable!("what becomes no entry, or one of raft's own, is taken before")
            }
        }
    }

    /// Takes everything raft has ready: entries and state go into `write`, messages out, commits
    /// are applied.
    pub fn collect(
        &mut self,
        now: Timestamp,
        write: &mut GroupWrite,
        out: &mut Vec<Output<T>>,
    ) -> Result<(), StorageError> {
        loop {
            self.reads.ask(&mut self.node);
            if !self.node.has_ready() {
                return Ok(());
            }
            let mut ready = self.node.ready();
            if let Some(hard_state) = ready.hs().cloned() {
                self.node.mut_store().set_hard_state(hard_state);
            }
            if !ready.snapshot().is_empty() {
                self.install(ready.snapshot(), write, out)?;
            }
            let entries = ready.take_entries();
            if let Some(first) = entries.first().map(|entry| entry.index) {
                self.truncate_pending(first);
                self.forget_unconfirmed(first - 1);
                let appended = self.node.mut_store().append(entries, now, write)?;
                if Plant::ServeBeyondCommit.is_planted() {
                    let end = self.log().next_offset();
                    self.node.mut_store().set_high_watermark(end);
                }
                self.pending.extend(appended.into_iter().map(Pending::from));
            }
            let mut messages = ready.take_messages();
            messages.append(&mut ready.take_persisted_messages());
            let (leads, number, must_sync) = (self.leads(), ready.number(), ready.must_sync());
            ready.read_states().iter().for_each(|state| self.reads.confirm(state));
            self.node.advance_append_async(ready);
            if must_sync {
                self.unpersisted_ready = Some(number);
                self.newest_sync = number;
            } else if self.unpersisted_ready.is_none() && self.unconfirmed.is_empty() {
                // Raft takes a number for all before it: not while a write is under way.
                self.node.on_persist_ready(number);
            }
            self.route(messages, leads, out);
            // Not `advance_apply`: that would count a snapshot as applied before it is durable.
            let log = &self.node.raft.raft_log;
            self.node.advance_apply_to(log.committed.min(log.persisted));
            self.note_role(out);
            self.apply_committed(write, out)?;
            self.answer_reads(out);
        }
    }

    /// Hands out what the write that is about to be made covers. The hard state goes along with
    /// entries when its commit index moved; alone it is written only when raft must have it on
    /// disk, or at a tick.
    pub(crate) fn hand_out(&mut self, write: &mut GroupWrite) -> Option<Handed> {
        let current = self.hard_state();
        let is_new_term = current.term != self.written_hard_state.term
            || current.vote != self.written_hard_state.vote;
        if current != self.written_hard_state && (is_new_term || !write.is_empty()) {
            write.hard_state = Some(current.clone());
            self.written_hard_state = current;
        }
        if let Some(written) = write.hard_state.as_mut().filter(|_| Plant::ForgetVote.is_planted())
        {
            written.vote = raft::INVALID_ID;
        }
        let ready = self.unpersisted_ready.take()?;
        let (last_index, term) = (self.log().last(), self.written_hard_state.term);
        self.unconfirmed.push_back(Unconfirmed { ready, last_index, term });
        Some(Handed { group: self.id(), incarnation: self.incarnation })
    }

    /// Writes the commit index that no entry has taken along yet.
    pub(crate) fn flush_commit(&mut self, write: &mut GroupWrite) {
        let current = self.hard_state();
        if current != self.written_hard_state {
            write.hard_state = Some(current.clone());
            self.written_hard_state = current;
        }
    }

    /// Raft's term, vote and commit index as they may be written: a start takes what is committed
    /// for applied.
    fn hard_state(&self) -> HardState {
        let mut hard_state = self.log().hard_state().clone();
        hard_state.commit = hard_state.commit.min(self.applied);
        hard_state
    }

    /// The oldest of the writes that were handed out is durable. `collect` must follow.
    pub(crate) fn on_durable(&mut self, handed: Handed, out: &mut Vec<Output<T>>) {
        if handed.incarnation != self.incarnation {
            return;
        }
        let Some(durable) = self.unconfirmed.pop_front() else { return };
        self.node.mut_store().set_durable(durable.last_index);
        self.durable_term = durable.term;
        self.durable_ready = durable.ready;
        self.node.on_persist_ready(durable.ready);
        // A snapshot counts as applied once it is durable, and nothing may be ready then. Raft-rs
        // panics at an election while the log starts beyond what it takes for applied.
        self.node.advance_apply_to(self.applied.min(self.node.raft.raft_log.persisted));
        self.release(out);
        // A proposer that asked for the leader's disk alone does not wait for the commit.
        for waiter in self.waiters.iter_mut().take_while(|w| w.index <= durable.last_index) {
            let is_enough = match waiter.durability {
                Durability::Leader => Some(Durability::Leader),
                _ if waiter.receipt.is_none() => None,
                _ => Plant::AckAtLeader.is_planted().then_some(Durability::Quorum),
            };
            if let Some(achieved) = is_enough
                && let (Some(to), Some(receipt)) = (waiter.reply.take(), waiter.receipt.take())
            {
                let result = Ok(receipt.achieved(achieved));
                out.push(Output::Reply { to, result });
            }
        }
    }

    /// Entries after this index were replaced: writes that are under way do not make what stands
    /// there now durable.
    fn forget_unconfirmed(&mut self, index: u64) {
        for write in &mut self.unconfirmed {
            write.last_index = write.last_index.min(index);
        }
    }

    /// Whether its state on disk lags behind what is in memory.
    pub(crate) fn has_unwritten_commit(&self) -> bool {
        self.hard_state() != self.written_hard_state
    }

    /// Forgets entries up to an index in memory, where that is allowed by now.
    pub(crate) fn evict(&mut self, index: u64) -> bool {
        let log = self.log();
        let may_go = index <= log.durable_index() || index > log.last();
        if may_go {
            let index = index.min(log.durable_index());
            self.node.mut_store().evict(index);
        }
        may_go
    }

    /// Tells everybody who still waits that the group is gone.
    pub fn abandon(&mut self, out: &mut Vec<Output<T>>) {
        let epoch = self.node.raft.term;
        for to in self.waiters.drain(..).filter_map(|waiter| waiter.reply) {
            out.push(Output::Reply { to, result: Err(ProposeError::LeaderChanged { epoch }) });
        }
        self.reads.fail(out);
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
}

impl From<LogEntry> for Pending {
    fn from(entry: LogEntry) -> Self {
        Self { index: entry.index, meta: entry.meta, data: entry.data }
    }
}
