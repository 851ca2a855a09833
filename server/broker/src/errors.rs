//! Why an operation of the broker failed: an enum per operation, over the leaf errors below it.

use ropewalk_cluster::MetadataError;
use ropewalk_consensus::ProposeError;
use ropewalk_core::names::NameError;
use ropewalk_core::{Offset, PartitionId};
use ropewalk_storage::StorageError;
use thiserror::Error;

use crate::coordinator::CoordinatorError;
use crate::delivery::DeliveryError;
use crate::follow::FollowError;
use crate::ingest::IngestError;
use crate::peers::RemoteError;

/// A topic or partition that is not there.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Missing {
    /// No topic has this name.
    #[error("topic `{0}` does not exist; create it with CreateTopic")]
    Topic(String),
    /// The topic has no such partition.
    #[error(
        "topic `{topic}` has {count} partitions, numbered from 0, so none with the number \
         {partition}"
    )]
    Partition {
        /// The topic.
        topic: String,
        /// The partition that was asked for.
        partition: i64,
        /// How many there are.
        count: u32,
    },
}

/// Why records were not, or perhaps not, appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Where to is unknown.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The batch is refused.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The log did not take it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The topic could not be created by its first use.
    #[error(transparent)]
    Create(#[from] TopicError),
    /// Some brokers do not know yet what it needs.
    #[error(transparent)]
    NotUpgraded(MetadataError),
    /// The broker stops.
    #[error("the broker is shutting down; connect to another one")]
    Draining,
    /// The disk is nearly full: records are not taken, everything else goes on.
    #[error(transparent)]
    StorageFull(#[from] StorageFull),
    /// No memory became free in time.
    #[error("{limit} bytes of appends wait for the disk already; try again later")]
    Overloaded {
        /// The budget.
        limit: usize,
    },
    /// The same of appends that expect the version of a key.
    #[error("{limit} bytes of appends that expect the version of a key are under way already")]
    TooManyConditional {
        /// Their budget.
        limit: usize,
    },
}

/// Why a topic was not created, changed or deleted.
#[derive(Debug, Error)]
pub enum TopicError {
    /// Its name is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no such topic.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The metadata group refuses it.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The metadata group did not take it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The number of partitions is not allowed.
    #[error("a topic has 1 to {limit} partitions, not {actual}")]
    PartitionCount {
        /// The bound.
        limit: u32,
        /// What was asked for.
        actual: i64,
    },
    /// The disk is full: what is left is for what makes room again.
    #[error(transparent)]
    StorageFull(#[from] StorageFull),
}

/// The disk has no room for what takes some and gives none back.
#[derive(Clone, Copy, Debug, Error)]
#[error(
    "the broker's disk has less than {floor} bytes left: delete topics or records, shorten \
     retention, or enlarge the disk"
)]
pub struct StorageFull {
    /// The bytes that must be free.
    pub floor: u64,
}

/// Why positions of a consumer group were not, or perhaps not, kept.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The coordinator group refuses the command.
    #[error(transparent)]
    Refused(#[from] CoordinatorError),
    /// The disk is full: what is left is for what makes room again.
    #[error(transparent)]
    StorageFull(#[from] StorageFull),
    /// No memory became free for them.
    #[error(transparent)]
    Reserve(#[from] AppendError),
    /// The coordinator group did not take them.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// Why a log cannot be read, here or on another broker.
#[derive(Debug, Error)]
pub enum LogError {
    /// The store cannot read it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No broker that has it could be asked, or they cannot read it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Why a partition cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The offset is not between the log start and the high watermark.
    #[error("offset {offset} of `{topic}`-{partition} is out of range {earliest} to {latest}")]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// What was asked for.
        offset: i64,
        /// The log start.
        earliest: Offset,
        /// The high watermark.
        latest: Offset,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A batch cannot be delivered.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// The log did not take the command.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl From<FollowError> for ReadError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Log(error) => Self::Log(error),
            FollowError::Delivery(error) => Self::Delivery(error),
        }
    }
}
