//! The seam between a broker and the other brokers: what goes out, and what comes in.
//!
//! It knows neither protobuf nor a socket: `rpc` carries these types over a network, and a test
//! hands them over as they are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ropewalk_core::{GroupId, NodeId, Offset, StoredBatch, Timestamp};
use thiserror::Error;

pub use ropewalk_consensus::{Message, ProposalKind, ProposeError, Receipt};

/// The ways to the other brokers; implemented by rpc.
pub trait Peers: Send + Sync {
    /// Hands a message to the lane of its receiver. Never waits: when the lane is full or the
    /// broker out of reach, the message is dropped and counted, and raft sends again.
    ///
    /// `false` when it was dropped at once. What is dropped later is told by
    /// [`PeerHandler::unreachable`].
    fn send(&self, message: Message) -> bool;

    /// Where the brokers are now, as host and port. Names are resolved anew for each connection.
    /// A connection to a broker that is gone or has moved is cut.
    fn announce(&self, addresses: BTreeMap<NodeId, String>);

    /// Carries a proposal to the broker that leads the group. It is queued when this returns, so
    /// those to one group that are made one after the other stay in order. It is never forwarded a
    /// second time.
    ///
    /// A future that is dropped does not take the proposal back.
    fn propose(
        &self,
        node: NodeId,
        proposal: RemoteProposal,
    ) -> BoxFuture<'static, Result<Receipt, RemoteError>>;

    /// Reads a log on another broker: answers at once if there is something at or after the offset,
    /// else when there is, or after the time to wait.
    fn fetch(&self, node: NodeId, fetch: Fetch)
    -> BoxFuture<'static, Result<Fetched, RemoteError>>;

    /// What another broker knows of the cluster; by address, as its id may not be known yet.
    fn introduce(
        &self,
        address: &str,
        own: Introduction,
    ) -> BoxFuture<'static, Result<Introduction, RemoteError>>;
}

/// Tells how a proposal ended. It may be called on any thread and never waits. Where it is dropped
/// instead, the proposer is told that nothing is known.
pub type Reply = Box<dyn FnOnce(Result<Receipt, ProposeError>) + Send>;

/// What comes in from other brokers; implemented by the broker.
pub trait PeerHandler: Send + Sync {
    /// Messages from one broker, in the order in which it sent them. Waits while the shards are
    /// busy, and so does the stream that they came by.
    fn receive(&self, messages: Vec<Message>) -> BoxFuture<'_, ()>;

    /// A stream of messages from a broker has ended. Told after all messages that came by it.
    fn silent(&self, node: NodeId) -> BoxFuture<'_, ()>;

    /// A proposal from another broker. It is in the queue of its group when this ends, so that
    /// those of one broker stay in order; what bounds the memory of appends is waited for here.
    /// It is not forwarded: a group that is not led here is refused.
    fn submit(&self, proposal: RemoteProposal, reply: Reply) -> BoxFuture<'_, ()>;

    /// Waits until the group has a record at or after the offset, or the time is over. Reads
    /// nothing: the bytes of [`PeerHandler::fetch`] are reserved after it.
    fn await_records(
        &self,
        group: GroupId,
        offset: Offset,
        wait: Duration,
    ) -> BoxFuture<'static, ()>;

    /// Reads a log, as much of it as there is: it does not wait, and `fetch.wait` is zero.
    fn fetch(&self, fetch: Fetch) -> BoxFuture<'static, Result<Fetched, FetchError>>;

    /// What this broker knows of the cluster, for one that tells what it knows.
    fn introduce(&self, other: Introduction) -> Introduction;

    /// Whether a broker that calls was removed from the cluster, with this data directory, and no
    /// group here counts on it any more.
    fn removal(&self, node: NodeId, directory: [u8; 16]) -> Option<Removal>;

    /// Another broker refuses this one as removed from the cluster. May be told more than once.
    fn removed(&self, by: NodeId, why: Removal);

    /// A connection to the broker was lost, and what was under way with it. May be told more than
    /// once: for each connection that carries messages or calls.
    fn unreachable(&self, node: NodeId);

    /// All connections to the broker are there, after it was new or unreachable.
    fn reachable(&self, node: NodeId);
}

/// Why a broker is refused that was part of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It was removed, and no group of the broker that refuses it counts on it any more.
    Removed,
    /// Its id is that of a broker with another data directory now.
    Replaced,
}

/// A proposal on its way to the leader.
#[derive(Debug)]
pub struct RemoteProposal {
    /// The replica group.
    pub group: GroupId,
    /// What is proposed.
    pub kind: ProposalKind,
}

impl RemoteProposal {
    /// About what it takes in memory and on the wire, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        const BASE_BYTES: usize = 128;
        BASE_BYTES
            + match &self.kind {
                ProposalKind::Batch { draft, .. } => draft.len(),
                ProposalKind::Command(bytes) | ProposalKind::Query(bytes) => bytes.len(),
                ProposalKind::Trim { .. }
                | ProposalKind::Bounds
                | ProposalKind::Membership(_)
                | ProposalKind::TransferLeadership(_)
                | ProposalKind::Progress => 0,
            }
    }
}

/// Why another broker did not, or perhaps not, do what it was asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RemoteError {
    /// Nothing was sent: surely not carried out.
    #[error("broker {to} cannot be reached: {why}")]
    Unreachable {
        /// The broker's id, or its address where that is all that is known.
        to: String,
        /// What hinders it.
        why: Arc<str>,
    },
    /// It was sent, and the connection ended before the answer: perhaps carried out.
    #[error("the connection to broker {to} was lost before it answered")]
    Lost {
        /// The broker's id, or its address where that is all that is known.
        to: String,
    },
    /// Refused by the group, or for the bytes of calls that wait for an answer already.
    #[error(transparent)]
    Refused(#[from] ProposeError),
    /// The log was not read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The replica group.
    pub group: GroupId,
    /// The offset of the first record.
    pub offset: Offset,
    /// The most bytes of batches in the answer; a single batch may be larger.
    pub max_bytes: usize,
    /// How long to wait while there is no record at or after the offset.
    pub wait: Duration,
    /// Instead of reading: the first record whose time is at or after this is looked for.
    pub since: Option<Timestamp>,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The offset of the first record of the log.
    pub start: Offset,
    /// The offset after the last record that can be read.
    pub high_watermark: Offset,
    /// Where reading went on, where the offset that was asked for is gone.
    pub trimmed: Option<Offset>,
    /// The batches, without gaps. The first one may begin before the offset that was asked for.
    pub batches: Vec<StoredBatch>,
    /// The record that was looked for, if there is one.
    pub found: Option<(Offset, Timestamp)>,
}

/// Why a log was not read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FetchError {
    /// The group is not on that broker.
    #[error("the replica group is not on this broker")]
    NoGroup,
    /// The log is damaged there.
    #[error("{detail}")]
    Corrupt {
        /// The offset of the first record that cannot be read, where it is known.
        offset: Option<Offset>,
        /// The file.
        file: String,
        /// The error of the store.
        detail: String,
    },
    /// The store cannot read it there.
    #[error("{0}")]
    Storage(String),
}

/// A broker, and what it knows of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The broker.
    pub node: NodeId,
    /// The id of its data directory: another one after its disk was lost.
    pub directory: [u8; 16],
    /// The cluster that it belongs to, if it does yet.
    pub cluster: Option<ClusterIdentity>,
    /// The broker that leads the metadata group, as far as it knows.
    pub leader: Option<NodeId>,
    /// Where the brokers that it knows of listen for others.
    pub addresses: Vec<(NodeId, String)>,
}

/// A cluster, and who began it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// Its id.
    pub cluster_id: [u8; 16],
    /// The brokers that it began with, each with the id of its data directory at that time.
    pub founders: Vec<(NodeId, [u8; 16])>,
}

impl fmt::Display for ClusterIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cluster_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
