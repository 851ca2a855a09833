//! Many replica groups, driven together.
//!
//! The driver gives inputs to [`Shard::step`], as many as there are, and then calls
//! [`Shard::flush`], which gathers what all groups want written into one batch. While a few batches
//! are on their way to the disk, more inputs gather for the next one: group commit, without a
//! linger timer.

mod keys;
mod ports;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use ropewalk_core::{GroupId, NodeId, Timestamp};
use ropewalk_storage::group_log::{GroupLog, StoredRun};
use ropewalk_storage::{Engine, GroupWrite, StorageError, WriteBatch};

use crate::catch_up::{CatchUp, CatchUpBounds, CaughtUp};
use crate::group::{Admission, Handed, ReplicaGroup, Start};
use crate::key_reads::{KeyBounds, KeyRoom, Keyed};
use crate::planted::Plant;
use crate::producers::ProducerBounds;
use crate::proposal::{Proposal, ProposalKind, ProposeError, Receipt};
use crate::unwritten::Unwritten;

pub use self::ports::{Input, NewGroup, Output};

/// This many batches are on their way to the disk at most.
pub const MAX_WRITES_IN_FLIGHT: usize = 4;

/// What an entry takes in memory beside its data.
const ENTRY_OVERHEAD_BYTES: u64 = 256;

/// Batches of this many bytes are taken up for one write; what comes after waits for the next.
/// Without the bound, producers that do not wait for the disk make writes as large as their budget,
/// and readers see their records in jumps of a third of a second.
const MAX_WRITE_BYTES: usize = 1024 * 1024;

/// Many replica groups, driven together by one thread.
pub struct Shard<T> {
    engine: Arc<dyn Engine>,
    logger: slog::Logger,
    /// In boxes: a map's nodes are half empty.
    groups: BTreeMap<GroupId, Box<ReplicaGroup<T>>>,
    /// How many groups were taken up so far.
    opened: u64,
    /// Groups that may have something ready.
    dirty: BTreeSet<GroupId>,
    /// Groups to which raft's clock matters: few, where most are on one broker alone.
    ticking: BTreeSet<GroupId>,
    /// Groups with a commit index that is not written yet.
    unsettled: BTreeSet<GroupId>,
    /// Brokers that messages reach.
    reached: BTreeSet<NodeId>,
    rounds: Rounds,
    /// Writes of groups as such: created, removed.
    changes: Vec<GroupWrite>,
    /// What each write on its way covers, oldest first.
    in_flight: VecDeque<InFlight<T>>,
    unwritten: Unwritten,
    next_number: u64,
    recent: Recent,
    catch_up: CatchUp,
    producer_bounds: ProducerBounds,
    key_room: KeyRoom,
    keyed: Keyed<T>,
    /// Proposals that wait until the next write has room, oldest first. Their bytes are reserved.
    backlog: VecDeque<(GroupId, Proposal<T>)>,
    /// The bytes of the batches that were taken up for the next write.
    gathered: usize,
    /// What nobody waits for is to be written too, and not left to the next write.
    settling: bool,
    /// Who waits until everything is durable.
    keeping: Vec<T>,
}

/// A write on its way.
struct InFlight<T> {
    number: u64,
    handed: Vec<Handed>,
    /// Who waits for it.
    keeping: Vec<T>,
}

/// Entries in memory, of all groups, in the order in which they came: the oldest leave first.
struct Recent {
    budget: u64,
    bytes: u64,
    entries: VecDeque<(GroupId, u64, u64)>,
}

/// So many ticks, five minutes, a shard takes to look at each of its groups once.
const ROUND_TICKS: usize = 3_000;

/// The way around all groups, in which those that sleep are looked at.
struct Rounds {
    /// The group that was looked at last.
    at: GroupId,
    /// Looks that are owed, in parts of [`ROUND_TICKS`].
    owed: usize,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { at: GroupId(0), owed: 0 }
    }
}

impl Rounds {
    /// How many of so many groups are to be looked at in this tick.
    fn due(&mut self, groups: usize) -> usize {
        self.owed += groups;
        let due = self.owed / ROUND_TICKS;
        self.owed %= ROUND_TICKS;
        due
    }
}

impl<T> Shard<T> {
    /// A shard without groups, which keeps about `tail_budget` bytes of recent entries in memory.
    #[must_use]
    pub fn new(
        engine: Arc<dyn Engine>,
        tail_budget: u64,
        bounds: CatchUpBounds,
        producer_bounds: ProducerBounds,
        key_bounds: KeyBounds,
        logger: slog::Logger,
    ) -> Self {
        Self {
            engine,
            logger,
            groups: BTreeMap::new(),
            opened: 0,
            dirty: BTreeSet::new(),
            ticking: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            reached: BTreeSet::new(),
            rounds: Rounds::default(),
            changes: Vec::new(),
            in_flight: VecDeque::new(),
            unwritten: Unwritten::default(),
            next_number: 0,
            recent: Recent { budget: tail_budget, bytes: 0, entries: VecDeque::new() },
            catch_up: CatchUp::new(bounds),
            producer_bounds,
            key_room: KeyRoom::new(key_bounds),
            keyed: Keyed::default(),
            backlog: VecDeque::new(),
            gathered: 0,
            settling: false,
            keeping: Vec::new(),
        }
    }

    /// The number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// The number of groups to which raft's clock matters.
    #[cfg(test)]
    pub(crate) fn ticking(&self) -> usize {
        self.ticking.len()
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether nothing waits to be written, or for a write.
    #[must_use]
    pub fn is_written(&self) -> bool {
        let is_idle = self.changes.is_empty() && self.dirty.is_empty() && self.backlog.is_empty();
        is_idle && self.in_flight.is_empty() && self.keeping.is_empty()
    }

    /// Takes one input. `flush` must follow, after any number of steps.
    pub fn step(
        &mut self,
        now: Timestamp,
        input: Input<T>,
        out: &mut Vec<Output<T>>,
    ) -> Result<(), StorageError> {
        self.key_room.note_time(now);
        match input {
            Input::Open(new) => self.open(*new, out)?,
            Input::Remove(group) => self.remove(group, out),
            Input::SetPolicy(group, policy) => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.set_policy(policy);
                }
            }
            Input::Propose(group, proposal) => {
                if self.backlog.is_empty() && self.gathered < MAX_WRITE_BYTES {
                    self.propose(now, group, proposal, out);
                } else {
                    self.backlog.push_back((group, proposal));
                }
            }
            Input::Durable(number) => self.on_durable(number, out),
            Input::Message(message) => {
                let replica = self.groups.get_mut(&message.group);
                // What it drops the leader sends again, when it hears what this replica has.
                if let Some(replica) = replica.filter(|_| self.unwritten.admits(&message)) {
                    self.dirty.insert(message.group);
                    replica.receive(message, &self.reached, out);
                }
            }
            Input::Reachable(broker) => {
                self.reached.insert(broker);
            }
            Input::Unreachable(broker) => {
                self.reached.remove(&broker);
                for (group, replica) in &mut self.groups {
                    if replica.on_unreachable(broker) {
                        self.dirty.insert(*group);
                    }
                }
            }
            Input::Lost(broker) => self.with_ticking(|replica| replica.on_lost(broker)),
            Input::CaughtUp(caught_up) => self.send_stored(caught_up, out),
            Input::OrderCompaction(group, wanted, is_by_age) => {
                let replica = self.groups.get_mut(&group);
                if replica.is_some_and(|replica| replica.order_compaction(wanted, is_by_age)) {
                    self.dirty.insert(group);
                }
            }
            Input::Compacted(group, order, done) => {
                let mut write = GroupWrite::new(group);
                if let Some(replica) = self.groups.get_mut(&group) {
                    replica.on_compacted(order, done, now, &mut write, out);
                }
                if !write.is_empty() {
                    self.changes.push(write);
                }
            }
            Input::KeysRead(read) => self.note_keys(now, read, out),
            Input::Tick => self.tick(now, out),
            Input::Settle => {
                self.settling = true;
                self.write_commits();
            }
            Input::Keep(reply) => self.keeping.push(reply),
        }
        Ok(())
    }

    /// Gathers what the groups want written, applies what is committed, and lets old entries go.
    pub fn flush(&mut self, now: Timestamp, out: &mut Vec<Output<T>>) -> Result<(), StorageError> {
        let takes_messages = self.in_flight.len() < MAX_WRITES_IN_FLIGHT;
        while self.in_flight.len() < MAX_WRITES_IN_FLIGHT {
            self.write_out(now, out)?;
            if self.backlog.is_empty() {
                break;
            }
            while self.gathered < MAX_WRITE_BYTES {
                let Some((group, proposal)) = self.backlog.pop_front() else { break };
                self.propose(now, group, proposal, out);
            }
        }
        if !self.backlog.is_empty() || self.in_flight.len() == MAX_WRITES_IN_FLIGHT {
            self.catch_up.note_busy(now);
        }
        self.read_keys(out);
        // While the writes are full, no messages leave the groups: what was read would pile up.
        if takes_messages {
            self.read_for_followers(now, out);
        }
        Ok(())
    }

    /// Has read what followers wait for, as far as the bounds allow.
    fn read_for_followers(&mut self, now: Timestamp, out: &mut Vec<Output<T>>) {
        let most = self.catch_up.read_bytes();
        while let Some((group, place)) = self.catch_up.next(now) {
            let read = self.groups.get_mut(&group).and_then(|found| found.read_at(place, most));
            if let Some(read) = read {
                self.catch_up.began();
                out.push(Output::Read(read));
            }
        }
    }

    fn send_stored(&mut self, caught_up: CaughtUp, out: &mut Vec<Output<T>>) {
        self.catch_up.ended(caught_up.run.as_ref().map_or(0, StoredRun::bytes));
        let group = caught_up.read.group;
        if let Some(replica) = self.groups.get_mut(&group) {
            replica.send_stored(caught_up, out);
            self.catch_up.set_unacknowledged(group, replica.unacknowledged());
            self.dirty.insert(group);
        }
    }

    fn propose(
        &mut self,
        now: Timestamp,
        group: GroupId,
        proposal: Proposal<T>,
        out: &mut Vec<Output<T>>,
    ) {
        let Some(replica) = self.groups.get_mut(&group) else {
            let result = Err(ProposeError::NoGroup);
            return out.push(Output::Reply { to: proposal.reply, result });
        };
        match replica.admit(&proposal.kind) {
            Admission::Now => {}
            Admission::Known => self.keyed.note(group),
            Admission::Later => return self.wait_for_keys(group, proposal, out),
            Admission::Never(error) => {
                return out.push(Output::Reply { to: proposal.reply, result: Err(error) });
            }
        }
        if let ProposalKind::Batch { draft, .. } = &proposal.kind {
            self.gathered += draft.len();
        }
        replica.propose(proposal, now, out);
        self.dirty.insert(group);
    }

    /// One write of all that is ready.
    fn write_out(&mut self, now: Timestamp, out: &mut Vec<Output<T>>) -> Result<(), StorageError> {
        self.gathered = 0;
        let mut batch = WriteBatch { groups: std::mem::take(&mut self.changes), sync: false };
        batch.sync = batch.groups.iter().any(|write| write.create.is_some() || write.delete);
        let mut handed = Vec::new();
        for group in std::mem::take(&mut self.dirty) {
            let Some(replica) = self.groups.get_mut(&group) else { continue };
            let mut write = GroupWrite::new(group);
            replica.collect(now, &mut write, out)?;
            for place in replica.new_places(out) {
                self.catch_up.wait(group, place);
            }
            self.catch_up.set_unacknowledged(group, replica.unacknowledged());
            // Whatever changes who leads or who belongs to the group comes by here.
            if replica.needs_ticks() {
                self.ticking.insert(group);
            } else {
                self.ticking.remove(&group);
            }
            handed.extend(replica.hand_out(&mut write));
            if replica.has_unwritten_commit() {
                self.unsettled.insert(group);
            }
            for entry in &write.append {
                let bytes = entry.data.len() as u64;
                self.recent.push(group, entry.index, bytes);
                self.catch_up.note_written(now, bytes);
            }
            if !write.is_empty() {
                // Who the members are is to outlive a power cut as soon as it is known: after one
                // of several brokers they might wait for the vote of one that need not come back.
                batch.sync |= write.conf_state.is_some();
                batch.groups.push(write);
            }
        }
        self.evict();
        if handed.is_empty() {
            // There were no entries among it that raft wanted.
            self.unwritten.forget_gathered();
        }
        let keeping = std::mem::take(&mut self.keeping);
        if batch.groups.is_empty() && keeping.is_empty() {
            self.settling = false;
            return Ok(());
        }
        // What was written before without a sync becomes durable with the next one that has one.
        batch.sync |= !handed.is_empty() || !keeping.is_empty();
        if !batch.sync && !self.settling {
            // Nobody waits for it: it goes along with the next write, or when things settle.
            self.changes = batch.groups;
            return Ok(());
        }
        self.settling = false;
        self.next_number += 1;
        self.in_flight.push_back(InFlight { number: self.next_number, handed, keeping });
        self.unwritten.hand_out(self.next_number);
        batch.sync &= !Plant::AckBeforeSync.is_planted();
        out.push(Output::Write { number: self.next_number, batch });
        Ok(())
    }

    fn open(&mut self, new: NewGroup, out: &mut Vec<Output<T>>) -> Result<(), StorageError> {
        let NewGroup { group, stored, replica, founders, machine, policy } = new;
        let is_new = stored.is_none();
        let log = match stored {
            Some(state) => GroupLog::open(Arc::clone(&self.engine), state)?,
            None => {
                let (state, write) = match founders.as_slice() {
                    [] => GroupLog::blank(group, replica),
                    founders => GroupLog::bootstrap(group, replica, founders),
                };
                self.changes.push(write);
                GroupLog::begin(Arc::clone(&self.engine), state)
            }
        };
        self.opened += 1;
        let goes_first = is_new && founders.first() == Some(&replica);
        let (producer_bounds, key_room) = (self.producer_bounds, self.key_room.clone());
        let incarnation = self.opened;
        let start =
            Start { log, is_new, goes_first, machine, producer_bounds, key_room, incarnation };
        let mut replica = ReplicaGroup::open(start, &self.logger, out)?;
        replica.set_policy(policy);
        out.push(Output::Opened { group, reader: replica.reader() });
        self.groups.insert(group, Box::new(replica));
        self.dirty.insert(group);
        Ok(())
    }

    /// Costs nothing for the groups that sleep, but for the few that are looked at.
    fn tick(&mut self, now: Timestamp, out: &mut Vec<Output<T>>) {
        let reached = std::mem::take(&mut self.reached);
        self.with_ticking(|replica| replica.tick(&reached, out) || replica.is_asleep());
        self.reached = reached;
        self.tick_keys(now, out);
        for _ in 0..self.rounds.due(self.groups.len()) {
            let after = (Bound::Excluded(self.rounds.at), Bound::Unbounded);
            let next = self.groups.range(after).next().or_else(|| self.groups.iter().next());
            let Some(group) = next.map(|(group, _)| *group) else { break };
            self.rounds.at = group;
            let Some(replica) = self.groups.get_mut(&group) else { continue };
            let has_expired = replica.expire_producers(now);
            if replica.look_in() || has_expired {
                self.dirty.insert(group);
            }
        }
    }

    /// Does something to every group to which time matters, and notes those of which something has
    /// become.
    fn with_ticking(&mut self, mut act: impl FnMut(&mut ReplicaGroup<T>) -> bool) {
        for group in &self.ticking {
            if self.groups.get_mut(group).is_some_and(|replica| act(replica)) {
                self.dirty.insert(*group);
            }
        }
    }

    fn remove(&mut self, group: GroupId, out: &mut Vec<Output<T>>) {
        self.fail_awaiting(group, out);
        if let Some(mut replica) = self.groups.remove(&group) {
            replica.take_leave(out);
            replica.abandon(out);
            replica.forget();
            self.dirty.remove(&group);
            self.ticking.remove(&group);
            self.unsettled.remove(&group);
            self.catch_up.set_unacknowledged(group, 0);
        }
        self.changes.push(GroupWrite { delete: true, ..GroupWrite::new(group) });
    }

    fn on_durable(&mut self, number: u64, out: &mut Vec<Output<T>>) {
        self.unwritten.become_durable(number);
        while self.in_flight.front().is_some_and(|first| first.number <= number) {
            let Some(written) = self.in_flight.pop_front() else { break };
            for to in written.keeping {
                out.push(Output::Reply { to, result: Ok(Receipt::Done) });
            }
            for handed in written.handed {
                if let Some(replica) = self.groups.get_mut(&handed.group) {
                    replica.on_durable(handed, out);
                    self.dirty.insert(handed.group);
                }
            }
        }
    }

    fn write_commits(&mut self) {
        for group in std::mem::take(&mut self.unsettled) {
            // What is dirty may write it along with entries, and is noted again where it does not.
            let is_dirty = self.dirty.contains(&group);
            let Some(replica) = self.groups.get_mut(&group).filter(|_| !is_dirty) else { continue };
            if replica.has_unwritten_commit() {
                let mut write = GroupWrite::new(group);
                replica.flush_commit(&mut write);
                self.changes.push(write);
            }
        }
    }

    fn evict(&mut self) {
        while self.recent.bytes > self.recent.budget {
            let Some(&(group, index, bytes)) = self.recent.entries.front() else { break };
            if self.groups.get_mut(&group).is_some_and(|replica| !replica.evict(index)) {
                break;
            }
            self.recent.entries.pop_front();
            self.recent.bytes -= bytes;
        }
    }
}

impl Recent {
    fn push(&mut self, group: GroupId, index: u64, data_bytes: u64) {
        let bytes = data_bytes + ENTRY_OVERHEAD_BYTES;
        self.bytes += bytes;
        self.entries.push_back((group, index, bytes));
    }
}
