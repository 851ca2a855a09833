//! What is proposed to a group, and how it ends.

use std::any::Any;
use std::fmt;

use ropewalk_core::{BatchDraft, Offset, Timestamp};
use thiserror::Error;

/// What must be true of a batch before it is answered. Each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// In the leader's memory.
    None,
    /// On the leader's disk.
    Leader,
    /// On the disks of a majority.
    Quorum,
}

/// What is proposed.
#[derive(Debug)]
pub enum ProposalKind {
    /// A batch to append.
    Batch {
        /// The batch.
        draft: BatchDraft,
        /// The offset that its first record must get.
        expected: Option<Offset>,
        /// When to answer.
        durability: Durability,
    },
    /// The log is to start at this offset.
    Trim {
        /// The offset of the first record that stays; `None` stands for the high watermark.
        before: Option<Offset>,
    },
    /// A command to the group's state machine.
    Command(Vec<u8>),
}

/// A proposal, and whom to tell.
pub struct Proposal<T> {
    /// What is proposed.
    pub kind: ProposalKind,
    /// Given back with the answer.
    pub reply: T,
    /// Held until the entry is committed or has failed, also when it is answered before: the memory
    /// that was reserved for it.
    pub held: Box<dyn Any + Send>,
}

/// A proposal that was carried out.
pub enum Receipt {
    /// The batch is in the log.
    Appended {
        /// The offset of its first record.
        base_offset: Offset,
        /// The number of its records.
        record_count: u32,
        /// When it was appended.
        append_time: Timestamp,
        /// The leader's epoch.
        leader_epoch: u64,
        /// What is true of it by now.
        achieved: Durability,
    },
    /// The log starts here.
    Trimmed(Offset),
    /// The state machine's answer.
    Applied(Box<dyn Any + Send>),
}

impl Receipt {
    /// The same, with what is true of a batch by now.
    #[must_use]
    pub(crate) fn achieved(mut self, durability: Durability) -> Self {
        if let Self::Appended { achieved, .. } = &mut self {
            *achieved = durability;
        }
        self
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Appended { base_offset, record_count, achieved, .. } => f
                .debug_struct("Appended")
                .field("base_offset", base_offset)
                .field("record_count", record_count)
                .field("achieved", achieved)
                .finish_non_exhaustive(),
            Self::Trimmed(start) => f.debug_tuple("Trimmed").field(start).finish(),
            Self::Applied(_) => f.write_str("Applied"),
        }
    }
}

/// Why a proposal was not, or perhaps not, carried out.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProposeError {
    /// The group is not on this broker, or was deleted. Surely not carried out.
    #[error("the replica group is not on this broker")]
    NoGroup,
    /// No leader is known, or it does not serve yet. Surely not carried out.
    #[error("the replica group has no leader")]
    NoLeader,
    /// Another append came first. Surely not carried out.
    #[error("the next offset is {current}")]
    ExpectedOffset {
        /// The partition's next offset.
        current: Offset,
    },
    /// The offset is above the high watermark. Surely not carried out.
    #[error("the high watermark is {high_watermark}")]
    OutOfRange {
        /// The log start.
        start: Offset,
        /// The high watermark.
        high_watermark: Offset,
    },
    /// Too much waits for the disk or for followers. Surely not carried out.
    #[error("too many bytes wait to be replicated")]
    Overloaded,
    /// The leader changed before the entry was committed. Perhaps carried out.
    #[error("the leader changed in term {epoch}")]
    LeaderChanged {
        /// The term of the change.
        epoch: u64,
    },
}
