//! What is proposed to a group, and how it ends.

use std::any::Any;
use std::fmt;

use bytes::Bytes;
use ropewalk_core::{BatchDraft, Offset, ReplicaId, Timestamp};
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

/// A condition of an append. What was appended before it in the log counts, also what is not
/// committed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The offset that the first record must get.
    Offset(Offset),
    /// The version of a key: the offset of its latest record in the log.
    Version {
        /// The key.
        key: Bytes,
        /// Its version; `None` where the log has no record with the key.
        version: Option<Offset>,
    },
}

impl Expected {
    /// The bytes of the key that it names.
    #[must_use]
    pub fn key_bytes(&self) -> usize {
        match self {
            Self::Offset(_) => 0,
            Self::Version { key, .. } => key.len(),
        }
    }
}

/// What is proposed.
#[derive(Debug)]
pub enum ProposalKind {
    /// A batch to append.
    Batch {
        /// The batch.
        draft: BatchDraft,
        /// A condition that must hold, or nothing is appended.
        expected: Option<Box<Expected>>,
        /// When to answer.
        durability: Durability,
        /// The epoch in which alone it may be appended; `None` stands for whichever. Batches of one
        /// producer that are on their way at the same time keep their order over changes of the
        /// lead so: one that comes late to a broker that leads again is refused.
        epoch: Option<u64>,
    },
    /// The log is to start at this offset.
    Trim {
        /// The offset of the first record that stays; `None` stands for the high watermark.
        before: Option<Offset>,
    },
    /// A command to the group's state machine.
    Command(Vec<u8>),
    /// A question to the state machine, answered from a state that holds everything that was
    /// answered before it was asked (raft's ReadIndex). Nothing is written for it.
    Query(Vec<u8>),
    /// Where the log starts and ends, including everything that was answered before it was asked.
    Bounds,
    /// Who the members are to be. Carried out one step at a time; answered when the step is in
    /// force.
    Membership(MembershipChange),
    /// Another voter is to lead. Answered when this replica has begun to hand over; who leads in
    /// the end is told by [`crate::Output::Leader`].
    TransferLeadership(ReplicaId),
    /// How far each member has the log. [`ProposeError::NoLeader`] until a majority knows who the
    /// members are: whoever is none of them may go then.
    Progress,
}

/// One step of a change of the members of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A replica gets the log, and does not vote, or no longer. The leader itself must hand over
    /// first.
    AddLearner(ReplicaId),
    /// A learner votes from now on. Refused with [`ProposeError::Behind`] until it has caught up.
    Promote(ReplicaId),
    /// A replica leaves the group. The leader itself must hand over first
    /// ([`ProposalKind::TransferLeadership`]).
    Remove(ReplicaId),
}

/// How far a member of a group has the log, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// The member.
    pub replica: ReplicaId,
    /// Whether it votes.
    pub is_voter: bool,
    /// Whether it has answered lately, within one to two seconds.
    pub is_active: bool,
    /// The index up to which it has the log on its disk.
    pub matched: u64,
    /// How many entries it lacks.
    pub lag: u64,
}

/// A replica has caught up when it lacks this many entries at most: about what is always on its
/// way.
pub const CAUGHT_UP_ENTRIES: u64 = 128;

impl MemberProgress {
    /// Whether it has answered lately and has caught up with the log. One of which nothing is known
    /// yet has not, however short the log is.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.is_active && self.matched > 0 && self.lag <= CAUGHT_UP_ENTRIES
    }
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
#[derive(PartialEq, Eq)]
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
        /// Whether it was there already: the producer has sent it before.
        duplicate: bool,
    },
    /// The log starts here.
    Trimmed(Offset),
    /// The state machine's answer to a command or a question.
    Applied(Vec<u8>),
    /// Where the log starts and ends.
    Bounds {
        /// The offset of the first record.
        start: Offset,
        /// The offset after the last record that can be read.
        high_watermark: Offset,
        /// The leader's epoch.
        leader_epoch: u64,
    },
    /// The membership step is in force, or the transfer was begun, or what was to be kept is on the
    /// disk.
    Done,
    /// How far each member has the log.
    Progress {
        /// The members, by id.
        members: Vec<MemberProgress>,
        /// The leader's epoch.
        leader_epoch: u64,
    },
}

impl Receipt {
    /// The epoch of the leader that gave it, where it tells.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<u64> {
        match self {
            Self::Appended { leader_epoch, .. }
            | Self::Bounds { leader_epoch, .. }
            | Self::Progress { leader_epoch, .. } => Some(*leader_epoch),
            Self::Trimmed(_) | Self::Applied(_) | Self::Done => None,
        }
    }

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
            Self::Appended { base_offset, record_count, achieved, duplicate, .. } => f
                .debug_struct("Appended")
                .field("base_offset", base_offset)
                .field("record_count", record_count)
                .field("achieved", achieved)
                .field("duplicate", duplicate)
                .finish_non_exhaustive(),
            Self::Trimmed(start) => f.debug_tuple("Trimmed").field(start).finish(),
            Self::Applied(_) => f.write_str("Applied"),
            Self::Bounds { start, high_watermark, .. } => {
                f.debug_tuple("Bounds").field(start).field(high_watermark).finish()
            }
            Self::Done => f.write_str("Done"),
            Self::Progress { members, .. } => f.debug_tuple("Progress").field(members).finish(),
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
    /// The key has another version. Surely not carried out.
    #[error("{}", version_text(*current))]
    ExpectedVersion {
        /// The version that it has: the offset of its latest record, if there is one.
        current: Option<Offset>,
    },
    /// The versions of the partition's keys are not known yet. Surely not
    /// carried out.
    #[error("the keys of the partition are not read yet")]
    KeysUnread,
    /// A part of the log is damaged, so that the versions of its keys cannot be known, and no other
    /// replica has it. Surely not carried out.
    #[error("the versions of the partition's keys are not known: its log is damaged at {at}")]
    KeysDamaged {
        /// Where, or before that.
        at: Offset,
    },
    /// The broker has no room to know the versions of the partition's keys. Surely not carried out.
    #[error("there is room for the versions of {limit} keys, and there are more")]
    TooManyKeys {
        /// The most that there may be.
        limit: u64,
    },
    /// The producer's batch is none of its last ones, and not the next. Surely not carried out.
    #[error("the next sequence of the producer is {expected}, not {actual}")]
    SequenceGap {
        /// The number that its next batch must begin with.
        expected: u32,
        /// What it begins with.
        actual: u32,
    },
    /// Another holder of the producer's id has a newer epoch. Surely not carried out.
    #[error("epoch {actual} of the producer is over: epoch {expected} has begun")]
    ProducerFenced {
        /// The newest epoch.
        expected: u32,
        /// The epoch of the batch.
        actual: u32,
    },
    /// The partition has no room for another producer: all that it knows have appended a moment
    /// ago. Surely not carried out.
    #[error("the partition knows {limit} producers, all of which have appended a moment ago")]
    TooManyProducers {
        /// The most that it may know.
        limit: usize,
    },
    /// The offset is above the high watermark. Surely not carried out.
    #[error("the high watermark is {high_watermark}")]
    OutOfRange {
        /// The log start.
        start: Offset,
        /// The high watermark.
        high_watermark: Offset,
    },
    /// The replica to promote or to lead lacks too much of the log yet. Surely not carried out.
    #[error("replica {0} has not caught up with the log yet")]
    Behind(ReplicaId),
    /// The change asks for what is so already, names a replica that is no member, comes while
    /// another change is under way, would leave no voter, or would remove the leader, which must
    /// hand over first. Surely not carried out.
    #[error("the members of the group do not allow this change")]
    Members,
    /// The leader's disk has no room for records. Surely not carried out.
    #[error("the disk of the leader has less than {floor} bytes left")]
    StorageFull {
        /// The bytes that must be free.
        floor: u64,
    },
    /// Too much waits for the disk, for followers, or for the keys of partitions to be read. Surely
    /// not carried out.
    #[error("too much waits on the leader already, to be replicated or compared")]
    Overloaded,
    /// The leader changed before the entry was committed. Perhaps carried out.
    #[error("another leader was chosen, in epoch {epoch}")]
    LeaderChanged {
        /// The epoch of the new leader.
        epoch: u64,
    },
}

fn version_text(current: Option<Offset>) -> String {
    match current {
        Some(version) => format!("the version of the key is {version}"),
        None => "the key has no record".to_owned(),
    }
}
