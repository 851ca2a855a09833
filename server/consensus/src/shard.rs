//! Many replica groups, driven together.
//!
//! The driver gives inputs to [`Shard::step`], as many as there are, and then calls
//! [`Shard::flush`], which gathers what all groups want written into one batch. While a few batches
//! are on their way to the disk, more inputs gather for the next one: group commit, without a
//! linger timer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ropewalk_core::{GroupId, Offset, ReplicaId, Timestamp};
use ropewalk_storage::group_log::{GroupLog, SegmentPolicy};
use ropewalk_storage::log_view::LogReader;
use ropewalk_storage::{Engine, GroupState, GroupWrite, StorageError, WriteBatch};

use crate::group::{Handed, ReplicaGroup};
use crate::machine::StateMachine;
use crate::proposal::{Proposal, ProposalKind, ProposeError, Receipt};

/// This many batches are on their way to the disk at most.
pub const MAX_WRITES_IN_FLIGHT: usize = 4;

/// What an entry takes in memory beside its data.
const ENTRY_OVERHEAD_BYTES: u64 = 256;

/// Batches of this many bytes are taken up for one write; what comes after waits for the next.
/// Without the bound, producers that do not wait for the disk make writes as large as their budget,
/// and readers see their records in jumps of a third of a second.
const MAX_WRITE_BYTES: usize = 1024 * 1024;

/// A group to take up.
pub struct NewGroup {
    /// Its id.
    pub group: GroupId,
    /// What storage has of it; `None` starts it anew, with this one replica as its only voter.
    pub stored: Option<GroupState>,
    /// The state machine of its commands, if it takes commands.
    pub machine: Option<Box<dyn StateMachine>>,
    /// When its segments are closed.
    pub policy: SegmentPolicy,
}

/// What happens to a shard. `T` stands for a proposer.
pub enum Input<T> {
    /// A group is taken up. Answered by [`Output::Opened`].
    Open(Box<NewGroup>),
    /// A group goes, with all its data, also when it was not taken up.
    Remove(GroupId),
    /// A group's segments are closed otherwise from now on.
    SetPolicy(GroupId, SegmentPolicy),
    /// Something is proposed to a group.
    Propose(GroupId, Proposal<T>),
    /// The write of this number, and all before it, are durable.
    Durable(u64),
    /// Time passes. It keeps what nothing else would write from staying unwritten.
    Tick,
}

/// What a shard wants done.
pub enum Output<T> {
    /// Write this, durably if it says so, and tell by [`Input::Durable`].
    Write {
        /// Rises by one with each write.
        number: u64,
        /// What to write.
        batch: WriteBatch,
    },
    /// A proposal has ended.
    Reply {
        /// The proposer.
        to: T,
        /// How it ended.
        result: Result<Receipt, ProposeError>,
    },
    /// A group was taken up.
    Opened {
        /// The group.
        group: GroupId,
        /// A reader of its log.
        reader: LogReader,
    },
    /// A group's high watermark has moved up.
    Progress {
        /// The group.
        group: GroupId,
        /// The offset after the last record that can be read.
        high_watermark: Offset,
    },
    /// This replica serves from now on, or no longer does.
    Leadership {
        /// The group.
        group: GroupId,
        /// The epoch in which it serves.
        epoch: Option<u64>,
    },
}

/// Many replica groups, driven together by one thread.
pub struct Shard<T> {
    engine: Arc<dyn Engine>,
    logger: slog::Logger,
    /// In boxes: a map's nodes are half empty.
    groups: BTreeMap<GroupId, Box<ReplicaGroup<T>>>,
    /// Groups that may have something ready.
    dirty: BTreeSet<GroupId>,
    /// Writes of groups as such: created, removed.
    changes: Vec<GroupWrite>,
    /// What each write on its way covers, oldest first.
    in_flight: VecDeque<(u64, Vec<Handed>)>,
    next_number: u64,
    recent: Recent,
    /// Proposals that wait until the next write has room, oldest first. Their bytes are reserved.
    backlog: VecDeque<(GroupId, Proposal<T>)>,
    /// The bytes of the batches that were taken up for the next write.
    gathered: usize,
    /// What nobody waits for is to be written too, and not left to the next write.
    ticked: bool,
}

/// Entries in memory, of all groups, in the order in which they came: the oldest leave first.
struct Recent {
    budget: u64,
    bytes: u64,
    entries: VecDeque<(GroupId, u64, u64)>,
}

impl<T> Shard<T> {
    /// A shard without groups, which keeps about `tail_budget` bytes of recent entries in memory.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, tail_budget: u64, logger: slog::Logger) -> Self {
        Self {
            engine,
            logger,
            groups: BTreeMap::new(),
            dirty: BTreeSet::new(),
            changes: Vec::new(),
            in_flight: VecDeque::new(),
            next_number: 0,
            recent: Recent { budget: tail_budget, bytes: 0, entries: VecDeque::new() },
            backlog: VecDeque::new(),
            gathered: 0,
            ticked: false,
        }
    }

    /// The number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
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
        is_idle && self.in_flight.is_empty()
    }

    /// Takes one input. `flush` must follow, after any number of steps.
    pub fn step(
        &mut self,
        now: Timestamp,
        input: Input<T>,
        out: &mut Vec<Output<T>>,
    ) -> Result<(), StorageError> {
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
            Input::Tick => {
                self.ticked = true;
                self.write_commits();
            }
        }
        Ok(())
    }

    /// Gathers what the groups want written, applies what is committed, and lets old entries go.
    pub fn flush(&mut self, now: Timestamp, out: &mut Vec<Output<T>>) -> Result<(), StorageError> {
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
        Ok(())
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
            handed.extend(replica.hand_out(&mut write));
            for entry in &write.append {
                self.recent.push(group, entry.index, entry.data.len() as u64);
            }
            if !write.is_empty() {
                batch.groups.push(write);
            }
        }
        self.evict();
        if batch.groups.is_empty() {
            self.ticked = false;
            return Ok(());
        }
        batch.sync |= !handed.is_empty();
        if !batch.sync && !self.ticked {
            // Nobody waits for it: it goes along with the next write, or at the next tick.
            self.changes = batch.groups;
            return Ok(());
        }
        self.ticked = false;
        self.next_number += 1;
        self.in_flight.push_back((self.next_number, handed));
        out.push(Output::Write { number: self.next_number, batch });
        Ok(())
    }

    fn open(&mut self, new: NewGroup, out: &mut Vec<Output<T>>) -> Result<(), StorageError> {
        let state = new.stored.unwrap_or_else(|| {
            let (state, write) = GroupLog::bootstrap(new.group, ReplicaId(1));
            self.changes.push(write);
            state
        });
        let mut replica = ReplicaGroup::open(&self.engine, state, new.machine, &self.logger)?;
        replica.set_policy(new.policy);
        out.push(Output::Opened { group: new.group, reader: replica.reader() });
        self.groups.insert(new.group, Box::new(replica));
        self.dirty.insert(new.group);
        Ok(())
    }

    fn remove(&mut self, group: GroupId, out: &mut Vec<Output<T>>) {
        if let Some(mut replica) = self.groups.remove(&group) {
            replica.abandon(out);
            replica.forget();
            self.dirty.remove(&group);
        }
        self.changes.push(GroupWrite { delete: true, ..GroupWrite::new(group) });
    }

    fn on_durable(&mut self, number: u64, out: &mut Vec<Output<T>>) {
        while self.in_flight.front().is_some_and(|(first, _)| *first <= number) {
            let Some((_, handed)) = self.in_flight.pop_front() else { break };
            for handed in handed {
                if let Some(replica) = self.groups.get_mut(&handed.group) {
                    replica.on_durable(handed, out);
                    self.dirty.insert(handed.group);
                }
            }
        }
    }

    fn write_commits(&mut self) {
        for (group, replica) in &mut self.groups {
            if replica.has_unwritten_commit() && !self.dirty.contains(group) {
                let mut write = GroupWrite::new(*group);
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
