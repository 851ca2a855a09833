//! What is seen of a cluster beside the answers of calls.

use super::{Client, Place};
use crate::value::ValueId;

/// A broker's id. 0 stands for none, or for the only one.
pub type NodeId = u64;

/// Something that a reader's stream brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When; [`super::History::see`] sets it.
    pub at: u64,
    /// Who reads.
    pub reader: Client,
    /// Which of its streams: each one that it opens has the next number.
    pub era: u32,
    /// The node that it reads from.
    pub node: NodeId,
    /// Which partition.
    pub place: Place,
    /// What.
    pub sight: Sight,
}

/// What a stream brings of a partition.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// It reads from here.
    Started {
        /// Where the reader asked to start; nothing for the earliest.
        asked: Option<i64>,
        /// The next offset that is delivered.
        offset: i64,
        /// The high watermark.
        high_watermark: i64,
        /// Where the log starts.
        log_start: i64,
    },
    /// Records.
    Batch {
        /// The offset of the first.
        base: i64,
        /// The epoch of the leader that appended them.
        epoch: i64,
        /// The values; nothing for one that is not as it was written.
        values: Vec<Option<ValueId>>,
    },
    /// A sign of life.
    Heartbeat {
        /// The high watermark.
        high_watermark: i64,
    },
    /// Records were deleted before they were read.
    Gap {
        /// The first offset.
        from: i64,
        /// The offset after the last.
        to: i64,
    },
}

/// What a node says of a partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartitionState {
    /// Which.
    pub partition: i32,
    /// Who leads it; 0 for nobody.
    pub leader: NodeId,
    /// The leader's epoch.
    pub epoch: i64,
    /// Where the log starts.
    pub log_start: i64,
    /// The high watermark.
    pub high_watermark: i64,
}

/// A fault that may take the leader from partitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Disturbance {
    /// When it was about to be made.
    pub from: u64,
    /// When it was over.
    pub to: u64,
    /// The nodes that cannot go on to lead what they lead.
    pub nodes: Vec<NodeId>,
}

/// The end of all faults.
#[derive(Clone, Debug, PartialEq)]
pub struct Healed {
    /// When.
    pub at: u64,
    /// How many ticks a partition may need.
    pub within: u64,
    /// The partitions.
    pub places: Vec<Place>,
}
