//! What the replicas of a group say to one another, in types of our own.
//!
//! Raft's own types stay inside this crate; the transport turns these into bytes and back, and
//! checks what came from the network before it gets here.

use bytes::Bytes;
use ropewalk_core::{GroupId, ReplicaId};
use ropewalk_storage::LogStart;

/// What a message asks or tells. The numbers travel between brokers: they are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// Entries to append, and the commit index.
    Append = 1,
    /// How an append ended.
    AppendResponse = 2,
    /// A candidate asks for a vote.
    Vote = 3,
    /// The answer to it.
    VoteResponse = 4,
    /// Would you vote for me? Asked before a term is spent on it.
    PreVote = 5,
    /// The answer to it.
    PreVoteResponse = 6,
    /// The leader is alive.
    Heartbeat = 7,
    /// The answer to it.
    HeartbeatResponse = 8,
    /// The state from which a replica can go on with appends.
    Snapshot = 9,
    /// The leader asks this replica to stand for election at once.
    TimeoutNow = 10,
}

/// An entry on its way to another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageEntry {
    /// Its place in the log.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// Raft's type of it: 0 for data, 1 and 2 for a change of the membership.
    pub entry_type: u8,
    /// Its bytes.
    pub data: Bytes,
}

/// A snapshot: where the log starts, who the members are, and the rows of the state machine. The
/// records of a partition are no part of it: they follow as appends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Where the log of the receiver starts.
    pub start: LogStart,
    /// The members, as voters and learners.
    pub voters: Vec<ReplicaId>,
    /// Members that do not vote.
    pub learners: Vec<ReplicaId>,
    /// The rows of the state machine, as of the start's index.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A message from one replica of a group to another. Fields that a kind does not use are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The group.
    pub group: GroupId,
    /// Who says it.
    pub from: ReplicaId,
    /// To whom.
    pub to: ReplicaId,
    /// What it is.
    pub kind: MessageKind,
    /// The sender's term, or the one that it asks for.
    pub term: u64,
    /// The index that it is about: of the entry before the first one, or of the last one matched.
    pub index: u64,
    /// The term of that entry.
    pub log_term: u64,
    /// The sender's commit index.
    pub commit: u64,
    /// The term of the entry at the commit index.
    pub commit_term: u64,
    /// The request is refused.
    pub reject: bool,
    /// Where the receiver of a refusal should try next.
    pub reject_hint: u64,
    /// The receiver lacks entries that the sender no longer has: it asks for a snapshot at this
    /// index.
    pub request_snapshot: u64,
    /// The candidate's priority.
    pub priority: i64,
    /// Raft's own note, given back as it came.
    pub context: Bytes,
    /// In a heartbeat: the leader sleeps from now on, and so may the follower whose last index and
    /// commit index are those of the message. In the answer: the follower does not agree.
    pub quiesce: bool,
    /// The entries to append.
    pub entries: Vec<MessageEntry>,
    /// The snapshot.
    pub snapshot: Option<SnapshotInfo>,
}

impl Message {
    /// About what it takes in memory and on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        const BASE_BYTES: usize = 64;
        let entries: usize = self.entries.iter().map(|entry| entry.data.len() + 32).sum();
        let rows = self.snapshot.iter().flat_map(|snapshot| &snapshot.rows);
        let rows: usize = rows.map(|(key, value)| key.len() + value.len() + 16).sum();
        BASE_BYTES + self.context.len() + entries + rows
    }
}
