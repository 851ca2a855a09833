//! Judges a history: what was acked is there, once, where it was acked, in order, as it was sent.
//!
//! Each check costs no more than sorting what it looks at. The names in the comments of
//! [`Violation`] are what a broker promises; `tests` plants a bug for each of them.

mod alive;
#[cfg(test)]
mod cluster_tests;
mod elections;
mod groups;
mod leaders;
mod logs;
mod order;
mod readers;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use crate::history::{
    Answer, Call, Client, History, LogRead, NodeId, Operation, PartitionState, Place, Seen,
};
use crate::value::ValueId;

pub use alive::is_alive;
pub use elections::{Epochs, epochs};
pub use groups::{GroupViolation, STABLE_WITHIN, is_stable};

/// Something that a broker must never do.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Violation {
    /// An offset has one value for ever.
    #[error("{place}@{offset} has two values: {first} and {second}")]
    TwoValues {
        /// Where.
        place: Place,
        /// The offset.
        offset: i64,
        /// The value that was known.
        first: ValueId,
        /// The other.
        second: ValueId,
    },
    /// A log holds what was sent to it, in this round or one before, and nothing else.
    #[error("{place}@{offset} has {value}, which nobody sent there")]
    NeverSent {
        /// Where.
        place: Place,
        /// The offset.
        offset: i64,
        /// The value.
        value: ValueId,
    },
    /// What was refused is not there.
    #[error("{place}@{offset} has {value}, whose append was refused")]
    Refused {
        /// Where.
        place: Place,
        /// The offset.
        offset: i64,
        /// The value.
        value: ValueId,
    },
    /// Bytes are served as they were sent.
    #[error("{place}@{offset} has a value that nobody wrote: its hash is wrong")]
    BadBytes {
        /// Where.
        place: Place,
        /// The offset.
        offset: i64,
    },
    /// What was sent once is there at most once.
    #[error("{place} has {value} at {first} and at {second}")]
    Duplicate {
        /// Where.
        place: Place,
        /// The value.
        value: ValueId,
        /// Its first offset.
        first: i64,
        /// Its second.
        second: i64,
    },
    /// What was acked, and what was read once, stays at its offset.
    #[error(
        "{place}@{offset} is lost: it had {value}; the log is now {start}..{end}, through node \
         {node}"
    )]
    Lost {
        /// Where.
        place: Place,
        /// Through which node; each of them must have all.
        node: NodeId,
        /// The offset.
        offset: i64,
        /// The value.
        value: ValueId,
        /// Where the log starts now.
        start: i64,
        /// Where it ends now.
        end: i64,
    },
    /// Offsets are dense.
    #[error("{place} goes from offset {expected} to {found}")]
    Hole {
        /// Where.
        place: Place,
        /// The offset that comes next.
        expected: i64,
        /// The one that came.
        found: i64,
    },
    /// A batch is in the log as a whole, or not at all.
    #[error("{place} has a part of a batch: {value} is at {offset}, but not what was with it")]
    TornBatch {
        /// Where.
        place: Place,
        /// A value that is there.
        value: ValueId,
        /// Its offset.
        offset: i64,
    },
    /// What a producer sent in order is in order.
    #[error("{place} has {earlier} at {earlier_offset}, after {later} at {later_offset}")]
    OutOfOrder {
        /// Where.
        place: Place,
        /// The value that was sent first.
        earlier: ValueId,
        /// Its offset.
        earlier_offset: i64,
        /// The value that was sent later.
        later: ValueId,
        /// Its offset.
        later_offset: i64,
    },
    /// An append comes after all that had been acked when it was sent.
    #[error("{place}@{offset} was given to an append that came after {above} had been acked")]
    OffsetTooLow {
        /// Where.
        place: Place,
        /// The offset that it got.
        offset: i64,
        /// The highest acked offset at that time.
        above: i64,
    },
    /// The end of a log is at least what had been acked when it was asked for.
    #[error("{place} was said to end before {said} when {above} had been acked")]
    EndTooLow {
        /// Where.
        place: Place,
        /// The answer.
        said: i64,
        /// The highest acked offset at that time.
        above: i64,
    },
    /// A log that was read to its end does not end before that later.
    #[error("{place} ended before {before} once, and ends before {now} now")]
    EndFell {
        /// Where.
        place: Place,
        /// The end once.
        before: i64,
        /// The end now.
        now: i64,
    },
    /// A log never starts below an acked trim, nor below where it started once.
    #[error("{place} starts at {start}: it was trimmed to {trimmed}")]
    TrimUndone {
        /// Where.
        place: Place,
        /// Where it starts.
        start: i64,
        /// Where it must start at least.
        trimmed: i64,
    },
    /// A log never starts beyond what was asked to be deleted.
    #[error("{place} starts at {start}: nobody deleted beyond {asked}")]
    TrimTooFar {
        /// Where.
        place: Place,
        /// Where it starts.
        start: i64,
        /// Where it may start at most.
        asked: i64,
    },
    /// A topic whose creation was acked exists, and can be read.
    #[error("the topic {topic} is gone")]
    TopicLost {
        /// Its name.
        topic: Arc<str>,
    },
    /// A topic whose deletion was acked, or that nobody created, does not exist.
    #[error("the topic {topic} exists")]
    TopicBack {
        /// Its name.
        topic: Arc<str>,
    },
    /// A committed offset is the last acked one, or one that was sent at the same time or later.
    #[error("the group {group} has {found:?} for {place}: allowed are {allowed:?}")]
    WrongCommit {
        /// The group.
        group: Arc<str>,
        /// Of which partition.
        place: Place,
        /// What it has.
        found: Option<i64>,
        /// What it may have; nothing for no offset at all.
        allowed: Vec<Option<i64>>,
    },
    /// A stream delivers all that the log holds, from where it was to start.
    #[error("{place}: reader {reader} of node {node} got {found} when {expected} was next")]
    ReaderSkipped {
        /// Where.
        place: Place,
        /// Who reads.
        reader: Client,
        /// From which node.
        node: NodeId,
        /// The offset that comes next.
        expected: i64,
        /// The one that came.
        found: i64,
    },
    /// A stream never goes back.
    #[error("{place}: reader {reader} of node {node} got {found} again: {expected} was next")]
    ReaderWentBack {
        /// Where.
        place: Place,
        /// Who reads.
        reader: Client,
        /// From which node.
        node: NodeId,
        /// The offset that comes next.
        expected: i64,
        /// The one that came.
        found: i64,
    },
    /// What is committed stays committed.
    #[error("{place}: node {node} said that {before} was committed, and then {now}")]
    WatermarkFell {
        /// Where.
        place: Place,
        /// Which node.
        node: NodeId,
        /// What it said first.
        before: i64,
        /// What it said later.
        now: i64,
    },
    /// An epoch has one leader at most.
    #[error("{place} has two leaders in epoch {epoch}: {first} and {second}")]
    TwoLeaders {
        /// Where.
        place: Place,
        /// The epoch.
        epoch: i64,
        /// One of them.
        first: NodeId,
        /// The other.
        second: NodeId,
    },
    /// A record was appended in one epoch.
    #[error("{place}@{offset} was appended in epoch {first} and in epoch {second}")]
    TwoEpochs {
        /// Where.
        place: Place,
        /// The offset.
        offset: i64,
        /// One of them.
        first: i64,
        /// The other.
        second: i64,
    },
    /// Later offsets are of the same epoch or of a later one.
    #[error("{place}@{offset} is of epoch {epoch}, behind one of epoch {before}")]
    EpochFell {
        /// Where.
        place: Place,
        /// The later offset.
        offset: i64,
        /// Its epoch.
        epoch: i64,
        /// The epoch before it.
        before: i64,
    },
    /// A partition gets another leader only when something takes the one that it has away.
    #[error("{place} rose by {rose} epochs; faults and time explain {allowed}")]
    Restless {
        /// Where.
        place: Place,
        /// By how much its epoch rose.
        rose: i64,
        /// By how much it may have.
        allowed: i64,
    },
    /// Without faults a partition takes and serves records.
    #[error("{place} did not {what} a record in {within} ticks after the faults were over")]
    Dead {
        /// Where.
        place: Place,
        /// Take, or serve.
        what: &'static str,
        /// How long it had.
        within: u64,
    },
    /// What a consumer group must never do.
    #[error(transparent)]
    Group(#[from] GroupViolation),
}

/// An append to one partition.
pub(crate) struct Append<'a> {
    pub(crate) values: &'a [ValueId],
    pub(crate) operation: &'a Operation,
    /// When it was acked, and the offset of its first value.
    pub(crate) acked: Option<(u64, i64)>,
}

/// A partition that was read from start to end, through a node.
pub(crate) struct Read<'a> {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) node: NodeId,
    pub(crate) log: &'a LogRead,
}

/// What a node said of a partition.
pub(crate) struct Described<'a> {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) node: NodeId,
    pub(crate) state: &'a PartitionState,
}

/// All that concerns one partition.
#[derive(Default)]
pub(crate) struct Log<'a> {
    pub(crate) base: Option<&'a LogRead>,
    pub(crate) appends: Vec<Append<'a>>,
    pub(crate) reads: Vec<Read<'a>>,
    /// What readers got, in order.
    pub(crate) seen: Vec<&'a Seen>,
    pub(crate) described: Vec<Described<'a>>,
    /// The tick of the start, and the answer.
    pub(crate) ends: Vec<(u64, i64)>,
    /// What was asked, and of acked ones the tick of the end and the log's start.
    pub(crate) trims: Vec<(i64, Option<(u64, i64)>)>,
    pub(crate) retained: bool,
}

/// Everything that a history shows to be wrong, the same thing possibly in several ways.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for (place, log) in logs_of(history) {
        logs::check(&place, &log, &mut found);
        order::check(&place, &log, &mut found);
        readers::check(&place, &log, &mut found);
        leaders::check(&place, &log, &mut found);
    }
    elections::check(history, &mut found);
    alive::check(history, &mut found);
    state::topics(history, &mut found);
    state::commits(history, &mut found);
    groups::check(history, &mut found);
    found
}

/// The calls by partition. Partitions of topics that were to be deleted are left out: their records
/// may go.
fn logs_of(history: &History) -> BTreeMap<Place, Log<'_>> {
    let mut logs: BTreeMap<Place, Log<'_>> = BTreeMap::new();
    let mut deleted = BTreeSet::new();
    let mut retained: BTreeSet<&Arc<str>> = history.base.retained.iter().collect();
    for (place, read) in &history.base.logs {
        logs.entry(place.clone()).or_default().base = Some(read);
    }
    for operation in &history.operations {
        let ok = operation.ok();
        match (&operation.call, ok) {
            (Call::Append { place, values }, _) => {
                let acked = match ok {
                    Some((at, Answer::Appended(base))) => Some((at, *base)),
                    _ => None,
                };
                let append = Append { values, operation, acked };
                logs.entry(place.clone()).or_default().appends.push(append);
            }
            (Call::ReadLog { place }, Some((at, Answer::Log(read)))) => {
                let (began, node) = (operation.invoked, operation.node);
                let reads = &mut logs.entry(place.clone()).or_default().reads;
                reads.push(Read { began, ended: at, node, log: read });
            }
            (Call::Describe { topic }, Some((at, Answer::Described(partitions)))) => {
                for state in partitions {
                    let place = Place::new(Arc::clone(topic), state.partition);
                    let (began, node) = (operation.invoked, operation.node);
                    let described = Described { began, ended: at, node, state };
                    logs.entry(place).or_default().described.push(described);
                }
            }
            (Call::Latest { place }, Some((_, Answer::Latest(end)))) => {
                logs.entry(place.clone()).or_default().ends.push((operation.invoked, *end));
            }
            (Call::Trim { place, before }, _) => {
                let acked = match ok {
                    Some((at, Answer::Trimmed(start))) => Some((at, *start)),
                    _ => None,
                };
                logs.entry(place.clone()).or_default().trims.push((*before, acked));
            }
            (Call::DeleteTopic { topic }, _) => {
                deleted.insert(topic);
            }
            (Call::CreateTopic { topic, retained: true }, _) => {
                retained.insert(topic);
            }
            _ => {}
        }
    }
    for seen in &history.seen {
        logs.entry(seen.place.clone()).or_default().seen.push(seen);
    }
    logs.retain(|place, _| !deleted.contains(&place.topic));
    for (place, log) in &mut logs {
        log.retained = retained.contains(&place.topic);
    }
    logs
}
