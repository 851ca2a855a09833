//! Where reading starts and stops, and what happens in between.

use std::time::SystemTime;

use ropewalk_proto::broker as proto;

use super::batch::RecordBatch;
use crate::offsets::Position;

/// Where reading starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The first record that is still there. The default.
    #[default]
    Earliest,
    /// After the last record: only what is appended from now on.
    Latest,
    /// This offset. Below the first that is still there, reading begins with a gap; beyond the next
    /// one to be appended, it is refused.
    Offset(i64),
    /// The first record whose time is at or after this; the end when there is none.
    Timestamp(SystemTime),
    /// Where a consumer group committed.
    Committed {
        /// The group.
        group: String,
        /// Whether a partition for which the group has no position starts at its end rather than at
        /// its first record.
        or_latest: bool,
    },
}

impl Start {
    /// Where a consumer group committed, and from the first record where it did not.
    #[must_use]
    pub fn committed(group: impl Into<String>) -> Start {
        Start::Committed { group: group.into(), or_latest: false }
    }

    pub(crate) fn to_proto(&self) -> proto::Start {
        use proto::committed_start::Fallback;
        use proto::start::Position;
        let position = match self {
            Start::Earliest => Position::Earliest(()),
            Start::Latest => Position::Latest(()),
            Start::Offset(offset) => Position::Offset(*offset),
            Start::Timestamp(time) => Position::Timestamp((*time).into()),
            Start::Committed { group, or_latest } => {
                let fallback =
                    if *or_latest { Fallback::Latest(()) } else { Fallback::Earliest(()) };
                Position::Committed(proto::CommittedStart {
                    group: group.clone(),
                    fallback: Some(fallback),
                })
            }
        };
        proto::Start { position: Some(position) }
    }
}

/// Where reading ends. When every partition has reached its end, so has the consumer.
///
/// Ends that depend on the moment are taken anew when the consumer has to reconnect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Nowhere. The default.
    #[default]
    Never,
    /// Where each partition ended at the moment of connecting.
    CaughtUp,
    /// This offset, which itself is not given.
    Offset(i64),
    /// The first record whose time is at or after this, which itself is not given; where each
    /// partition ended at the moment of connecting when there is none.
    Timestamp(SystemTime),
}

impl Stop {
    pub(super) fn to_proto(self) -> Option<proto::Stop> {
        use proto::stop::End;
        let end = match self {
            Stop::Never => return None,
            Stop::CaughtUp => End::CaughtUp(()),
            Stop::Offset(offset) => End::Offset(offset),
            Stop::Timestamp(time) => End::Timestamp(time.into()),
        };
        Some(proto::Stop { end: Some(end) })
    }
}

/// What happens in a consumer's stream. More may be added.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Partitions are read from here: at the beginning, when partitions join, and after a
    /// reconnect.
    Started(Vec<PartitionState>),
    /// Records.
    Batch(RecordBatch),
    /// Records that were to be read are gone.
    Gap(Gap),
    /// Everything that a partition has was given.
    CaughtUp(Position),
    /// The stream is quiet and alive. Where each partition stands.
    Heartbeat(Vec<PartitionState>),
}

/// Offsets that were to be read and are gone: retention or a deletion of records took them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The topic.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The first offset that is gone.
    pub from_offset: i64,
    /// The offset after the last that is gone: the next one given.
    pub to_offset: i64,
}

/// Where a partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The topic.
    pub topic: String,
    /// The topic's id, a UUID.
    pub topic_id: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The next offset that the stream gives.
    pub offset: i64,
    /// The offset after the last record that can be read.
    pub high_watermark: i64,
    /// The offset of the first record that is still there.
    pub log_start_offset: i64,
}

impl From<proto::PartitionPosition> for PartitionState {
    fn from(proto: proto::PartitionPosition) -> PartitionState {
        PartitionState {
            topic: proto.topic,
            topic_id: proto.topic_id,
            partition: proto.partition,
            offset: proto.offset,
            high_watermark: proto.high_watermark,
            log_start_offset: proto.log_start_offset,
        }
    }
}
