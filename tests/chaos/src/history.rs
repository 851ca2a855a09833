//! What clients asked and what they were told, in one order.
//!
//! Every call has a tick when it was made and one when its answer was there, from one counter: of
//! two calls the first was over before the second began if its end is below the other's start. A
//! call without an end is as good as one whose outcome is unknown.
//!
//! When a read-back was checked, the history is settled: what it found is the base of the next
//! round, and the calls are forgotten. So a check costs what the log holds, not what was ever done;
//! and a value of an earlier round that comes up later is one that nobody sent.
//!
//! Of a cluster it also has the node that each call was made to, what readers' streams brought, and
//! what members of consumer groups were told.

mod json;
mod members;
mod sights;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::value::ValueId;

pub use members::{Committer, GroupState, MemberEvent, Membership};
pub use sights::{Disturbance, Healed, NodeId, PartitionState, Seen, Sight};

/// A client's number. Nobody else has it, over all rounds.
pub type Client = u32;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic's name. A test never gives a name to two topics.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl Place {
    /// A partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// One atomic batch.
    Append {
        /// Where.
        place: Place,
        /// The values, in order.
        values: Vec<ValueId>,
    },
    /// A topic to create.
    CreateTopic {
        /// Its name.
        topic: Arc<str>,
        /// Whether retention may remove its records.
        retained: bool,
    },
    /// A topic to delete.
    DeleteTopic {
        /// Its name.
        topic: Arc<str>,
    },
    /// An offset to commit.
    Commit {
        /// The consumer group.
        group: Arc<str>,
        /// Of which partition.
        place: Place,
        /// The next offset to read.
        offset: i64,
        /// The member that commits; nothing for an administrator.
        by: Option<Committer>,
    },
    /// A consumer group to delete, with what it committed.
    DeleteGroup {
        /// The consumer group.
        group: Arc<str>,
    },
    /// How a consumer group is.
    DescribeGroup {
        /// The consumer group.
        group: Arc<str>,
    },
    /// Records to delete.
    Trim {
        /// Where.
        place: Place,
        /// Everything below this.
        before: i64,
    },
    /// The end of a partition.
    Latest {
        /// Which.
        place: Place,
    },
    /// Everything that a partition holds.
    ReadLog {
        /// Which.
        place: Place,
    },
    /// The state of each partition of a topic.
    Describe {
        /// Which topic.
        topic: Arc<str>,
    },
    /// The names of all topics.
    ReadTopics,
    /// What a group has committed.
    ReadCommits {
        /// The consumer group.
        group: Arc<str>,
    },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The offset of the first value.
    Appended(i64),
    /// It is done.
    Done,
    /// Where the log starts now.
    Trimmed(i64),
    /// The next offset.
    Latest(i64),
    /// What the partition holds.
    Log(LogRead),
    /// The state of each partition.
    Described(Vec<PartitionState>),
    /// The names.
    Topics(BTreeSet<Arc<str>>),
    /// The offsets.
    Commits(BTreeMap<Place, i64>),
    /// The group.
    Group(GroupState),
}

/// A partition as it was read from start to end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogRead {
    /// The first offset that it still has.
    pub start: i64,
    /// The offset after the last one.
    pub end: i64,
    /// Offsets and values, as they came; nothing for a value that is not as it was written.
    pub records: Vec<(i64, Option<ValueId>)>,
}

/// What a client may conclude.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It happened.
    Ok(Answer),
    /// It surely did not.
    Fail(String),
    /// It may have.
    Unknown(String),
}

/// How an outcome is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedAs {
    /// It happened.
    Ok,
    /// It surely did not.
    Fail,
    /// It may have.
    Unknown,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who asked.
    pub client: Client,
    /// When it was asked.
    pub invoked: u64,
    /// Which node was asked; 0 where there is one alone.
    pub node: NodeId,
    /// What was asked.
    pub call: Call,
    /// When it was answered, and what.
    pub ended: Option<(u64, Outcome)>,
    /// The epoch of the leader, of an answer that named it.
    pub epoch: Option<i64>,
}

impl Operation {
    /// The tick of the answer and the answer, of a call that went well.
    #[must_use]
    pub fn ok(&self) -> Option<(u64, &Answer)> {
        match &self.ended {
            Some((at, Outcome::Ok(answer))) => Some((*at, answer)),
            _ => None,
        }
    }

    /// Whether it surely did not happen.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.ended, Some((_, Outcome::Fail(_))))
    }
}

/// What is known from checked rounds before.
#[derive(Clone, Debug, Default)]
pub struct Base {
    /// What each partition held.
    pub logs: BTreeMap<Place, LogRead>,
    /// The topics, deleted ones left out.
    pub topics: BTreeSet<Arc<str>>,
    /// Topics whose records retention may remove.
    pub retained: BTreeSet<Arc<str>>,
    /// What groups had committed.
    pub commits: BTreeMap<Arc<str>, BTreeMap<Place, i64>>,
}

/// What is known, and what was done since.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What is known from checked rounds before.
    pub base: Base,
    /// The calls since, by the tick of their start.
    pub operations: Vec<Operation>,
    /// What readers got, in the order in which it came.
    pub seen: Vec<Seen>,
    /// What members of consumer groups were told, in the order in which it came.
    pub members: Vec<Membership>,
    /// Since when nobody joins or leaves a group on purpose, and there is no fault any more: each
    /// group has to become stable.
    pub calm: Option<u64>,
    /// Groups whose members commit all that they got before they give it back, and which no fault
    /// meets: their records are delivered once.
    pub exactly_once: BTreeSet<Arc<str>>,
    /// Whether the brokers' clocks jump: then nobody knows when a deadline is.
    pub clocks_jump: bool,
    /// Since when there was no fault any more, and what has to work again.
    pub healed: Option<Healed>,
    /// What may have taken leaders away since. Without it nobody knows how many elections there
    /// had to be, and they are not counted.
    pub disturbances: Option<Vec<Disturbance>>,
    /// With it a tick is a microsecond.
    origin: Option<Instant>,
    tick: u64,
    dark: bool,
}

/// Names a call until it is answered.
#[derive(Clone, Copy, Debug)]
#[must_use = "the call's outcome is still to be recorded"]
pub struct OperationId(usize);

impl History {
    /// A history whose ticks are microseconds from now on, by the monotonic clock, each another.
    #[must_use]
    pub fn timed() -> Self {
        Self { origin: Some(Instant::now()), ..Self::default() }
    }

    fn next_tick(&mut self) -> u64 {
        let time = self.origin.map_or(0, |origin| origin.elapsed().as_micros());
        self.tick = u64::try_from(time).unwrap_or(u64::MAX).max(self.tick + 1);
        self.tick
    }

    /// The tick of this moment.
    pub fn tick(&mut self) -> u64 {
        self.next_tick()
    }

    /// A call is about to be made.
    pub fn invoke(&mut self, client: Client, call: Call) -> OperationId {
        self.invoke_at(0, client, call)
    }

    /// A call is about to be made to a node.
    pub fn invoke_at(&mut self, node: NodeId, client: Client, call: Call) -> OperationId {
        let invoked = self.next_tick();
        self.operations.push(Operation { client, invoked, node, call, ended: None, epoch: None });
        OperationId(self.operations.len() - 1)
    }

    /// A reader's stream brought something.
    pub fn see(&mut self, mut seen: Seen) {
        seen.at = self.next_tick();
        self.seen.push(seen);
    }

    /// A member of a consumer group was told something, or its stream ended.
    pub fn tell(&mut self, mut told: Membership) {
        told.at = self.next_tick();
        self.members.push(told);
    }

    /// From now on nothing changes in consumer groups.
    pub fn calm_down(&mut self) {
        self.calm = Some(self.next_tick());
    }

    /// All faults are over: from now on each of these partitions has to take and to serve a record
    /// within so many ticks.
    pub fn heal(&mut self, places: Vec<Place>, within: u64) {
        let at = self.next_tick();
        self.healed = Some(Healed { at, within, places });
    }

    /// What was about to begin at this tick, and is over, may have taken leaders from partitions.
    pub fn disturb(&mut self, from: u64, nodes: Vec<NodeId>) {
        let to = self.next_tick();
        self.disturbances.get_or_insert_default().push(Disturbance { from, to, nodes });
    }

    /// The answer is there.
    pub fn end(&mut self, id: OperationId, outcome: Outcome) {
        let at = self.next_tick();
        let outcome = match outcome {
            Outcome::Ok(_) if self.dark => Outcome::Unknown("after the power cut".to_owned()),
            outcome => outcome,
        };
        self.operations[id.0].ended = Some((at, outcome));
    }

    /// The answer is there, and names the epoch of the leader that gave it.
    pub fn end_led(&mut self, id: OperationId, epoch: Option<i64>, outcome: Outcome) {
        self.operations[id.0].epoch = epoch;
        self.end(id, outcome);
    }

    /// The tick of what happened last.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.tick
    }

    /// Appends that were sent after a tick, and acked.
    #[must_use]
    pub fn acked_after(&self, tick: u64) -> usize {
        let later = self.operations.iter().filter(|operation| operation.invoked > tick);
        let is_append = |found: &&Operation| matches!(found.call, Call::Append { .. });
        later.filter(is_append).filter(|operation| operation.ok().is_some()).count()
    }

    /// The power is about to be cut. What comes in from now on would not have left the machine, and
    /// proves nothing: a sync that runs into the cut can look as if it had gone well.
    pub fn power_off(&mut self) {
        self.dark = true;
    }

    /// The power is back, and every client of before has ended.
    pub fn power_on(&mut self) {
        self.dark = false;
    }

    /// Nothing happens for so many ticks, for tests of the checker.
    #[cfg(test)]
    pub(crate) fn pass(&mut self, ticks: u64) {
        self.tick += ticks;
    }

    /// A call and its answer, for tests of the checker.
    pub fn call(&mut self, client: Client, call: Call, outcome: Outcome) {
        let id = self.invoke(client, call);
        self.end(id, outcome);
    }

    /// Takes what the newest reads found as the base, and forgets all calls. They must have been
    /// checked, and every client must have ended.
    pub fn settle(&mut self) {
        let operations = std::mem::take(&mut self.operations);
        self.seen.clear();
        self.members.clear();
        self.calm = None;
        self.healed = None;
        self.disturbances = None;
        for operation in operations {
            if let Call::CreateTopic { topic, retained: true } = &operation.call {
                self.base.retained.insert(Arc::clone(topic));
            }
            let Some((_, Outcome::Ok(answer))) = operation.ended else { continue };
            match (operation.call, answer) {
                (Call::ReadLog { place }, Answer::Log(read)) => {
                    self.base.logs.insert(place, read);
                }
                (Call::ReadTopics, Answer::Topics(topics)) => {
                    self.base.logs.retain(|place, _| topics.contains(&place.topic));
                    self.base.topics = topics;
                }
                (Call::ReadCommits { group }, Answer::Commits(commits)) => {
                    self.base.commits.insert(group, commits);
                }
                _ => {}
            }
        }
    }
}

/// A history that many clients write at a time.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// A recorder that goes on from a history.
    #[must_use]
    pub fn of(history: History) -> Self {
        Self(Arc::new(Mutex::new(history)))
    }

    /// The history. Calls wait while it is held.
    pub fn lock(&self) -> MutexGuard<'_, History> {
        // One that panicked while it held it has at most left a call without an end.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of what is known at this moment.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self::of(self.lock().clone())
    }

    /// A call is about to be made.
    pub fn invoke(&self, client: Client, call: Call) -> OperationId {
        self.lock().invoke(client, call)
    }

    /// A call is about to be made to a node.
    pub fn invoke_at(&self, node: NodeId, client: Client, call: Call) -> OperationId {
        self.lock().invoke_at(node, client, call)
    }

    /// A reader's stream brought something.
    pub fn see(&self, seen: Seen) {
        self.lock().see(seen);
    }

    /// A member of a consumer group was told something, or its stream ended.
    pub fn tell(&self, told: Membership) {
        self.lock().tell(told);
    }

    /// The answer is there.
    pub fn end(&self, id: OperationId, outcome: Outcome) -> RecordedAs {
        self.end_led(id, None, outcome)
    }

    /// The answer is there, and names the epoch of the leader that gave it.
    pub fn end_led(&self, id: OperationId, epoch: Option<i64>, outcome: Outcome) -> RecordedAs {
        let recorded = match outcome {
            Outcome::Ok(_) => RecordedAs::Ok,
            Outcome::Fail(_) => RecordedAs::Fail,
            Outcome::Unknown(_) => RecordedAs::Unknown,
        };
        self.lock().end_led(id, epoch, outcome);
        recorded
    }

    /// How many values were acked since the last settling.
    #[must_use]
    pub fn acked(&self) -> usize {
        let history = self.lock();
        let acked = history.operations.iter().filter(|operation| operation.ok().is_some());
        acked
            .map(|operation| match &operation.call {
                Call::Append { values, .. } => values.len(),
                _ => 0,
            })
            .sum()
    }
}
