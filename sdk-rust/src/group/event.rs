//! What happens to a member of a consumer group.

use std::time::SystemTime;

use super::committer::Committer;
use crate::consumer::{Gap, PartitionState, RecordBatch};
use crate::offsets::Position;

/// Partitions that another member is to have.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// The partitions, each with the offset after the last record that was given of it.
    pub positions: Vec<Position>,
    /// When they are taken, by the broker's clock, if they are not given back before.
    pub deadline: Option<SystemTime>,
    /// Commits what is done of them, while they are the member's.
    pub committer: Committer,
}

/// What comes out of a [`GroupConsumer`](super::GroupConsumer).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GroupEvent {
    /// Partitions are the member's from here on, each from this offset. A member that gets none, as
    /// there are more members than partitions, is not told so.
    Assigned(Vec<PartitionState>),
    /// Partitions are to be given back: no more records of them come. They are given back when the
    /// consumer is asked for its next event, after what was given before was committed, if it
    /// commits automatically.
    Revoked(Revoked),
    /// Partitions are no longer the member's, and were not given back by it: it was away for too
    /// long, or too slow to finish. What was given of them and is not committed comes to another
    /// member too.
    Lost(Vec<Position>),
    /// Records.
    Batch(RecordBatch),
    /// Records that were to be read are gone.
    Gap(Gap),
    /// Everything that there is of a partition was given.
    CaughtUp(Position),
}
