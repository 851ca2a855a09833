//! The ways to the other brokers: connections to those that are announced, and the seam in front.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use ropewalk_broker::metrics::PeerLane;
use ropewalk_broker::peers::{
    Fetch, Fetched, Introduction, Message, PeerHandler, Peers, Receipt, RemoteError, RemoteProposal,
};
use ropewalk_core::{NodeId, limits};
use ropewalk_proto::internal as pb;
use ropewalk_proto::internal::call_request::Call;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::{Code, Request};

use super::calls::{Answer, CallLane};
use super::connection::{Ends, KeepAlive, dial};
use super::hail::{ClusterId, DirectoryId, PROTOCOLS, Protocols, write_protocols};
use super::lane::RaftLane;
use super::link::{Lane, LaneKind, Link, keep};
use super::queue::Counts;
use super::{call_wire, fetch_wire};

/// How long an introduction may take, from the first packet on.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(3);

/// What the transport has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// Raft messages that came in, from all brokers together.
    pub received: u64,
    /// Raft messages and calls that came in, and that this version does not know: those of a later
    /// one, which were left out.
    pub unknown: u64,
    /// What went out by each connection to each broker that is announced, by broker.
    pub lanes: Vec<PeerLane>,
}

/// The connections to the other brokers of the cluster. Everything ends when it is dropped.
pub struct PeerTransport {
    node: NodeId,
    directory: DirectoryId,
    protocols: Protocols,
    runtime: Handle,
    cluster: watch::Sender<Option<ClusterId>>,
    handler: OnceLock<Weak<dyn PeerHandler>>,
    received: AtomicU64,
    unknown: AtomicU64,
    peers: RwLock<BTreeMap<NodeId, Peer>>,
}

/// Another broker.
struct Peer {
    address: watch::Sender<String>,
    bulk: Arc<RaftLane>,
    control: Arc<RaftLane>,
    proposals: Arc<CallLane>,
    fetches: Arc<CallLane>,
    _tasks: [Ends; 4],
}

impl PeerTransport {
    /// A transport of broker `node` with the data directory of this id, which connects to nobody
    /// before [`PeerTransport::attend`] and [`PeerTransport::join`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(node: NodeId, directory: [u8; 16]) -> Arc<Self> {
        Self::speaking(PROTOCOLS, node, directory)
    }

    /// The same as a version has it that speaks these protocols.
    pub(super) fn speaking(protocols: Protocols, node: NodeId, directory: [u8; 16]) -> Arc<Self> {
        let (cluster, _) = watch::channel(None);
        Arc::new(Self {
            node,
            directory,
            protocols,
            runtime: Handle::current(),
            cluster,
            handler: OnceLock::new(),
            received: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            peers: RwLock::default(),
        })
    }

    /// Says who takes what comes in. Only the first one counts, and it is not kept alive. Before
    /// it, other brokers are refused, and brokers cannot be announced.
    pub fn attend(&self, handler: &Arc<dyn PeerHandler>) {
        let _ = self.handler.set(Arc::downgrade(handler));
    }

    /// Says to which cluster this broker belongs. Before it, streams of others are refused and none
    /// is opened; introductions work.
    pub fn join(&self, cluster: ClusterId) {
        self.cluster.send_replace(Some(cluster));
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> PeerStats {
        let peers = self.peers();
        let lanes = peers.iter().flat_map(|(node, peer)| {
            let lanes = [
                lane_stats(*node, &*peer.bulk),
                lane_stats(*node, &*peer.control),
                lane_stats(*node, &*peer.proposals),
                lane_stats(*node, &*peer.fetches),
            ];
            lanes.into_iter()
        });
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (received, unknown) = (count(&self.received), count(&self.unknown));
        PeerStats { received, unknown, lanes: lanes.collect() }
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn protocols(&self) -> Protocols {
        self.protocols
    }

    pub(super) fn cluster(&self) -> Option<ClusterId> {
        *self.cluster.borrow()
    }

    pub(super) fn handler(&self) -> Option<Arc<dyn PeerHandler>> {
        self.handler.get()?.upgrade()
    }

    pub(super) fn received(&self, count: usize) {
        self.received.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn unknown(&self, count: usize) {
        self.unknown.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn peers(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, node: NodeId, address: String, handler: Weak<dyn PeerHandler>) -> Peer {
        let (address, told) = watch::channel(address);
        let own = (self.node, self.directory, self.protocols);
        let link = Link::new(own, node, told, self.cluster.subscribe(), handler);
        let link = Arc::new(link);
        let raft = |kind| Arc::new(RaftLane::new(kind));
        let (bulk, control) = (raft(LaneKind::Bulk), raft(LaneKind::Control));
        let calls = |kind, limit| Arc::new(CallLane::new(kind, node, limit));
        let proposals = calls(LaneKind::Proposals, limits::PEER_PROPOSAL_BYTES);
        // Their number bounds the fetches: what is asked for is small.
        let fetches = calls(LaneKind::Fetches, usize::MAX);
        let tasks = [
            self.runtime.spawn(keep(Arc::clone(&link), Arc::clone(&bulk))),
            self.runtime.spawn(keep(Arc::clone(&link), Arc::clone(&control))),
            self.runtime.spawn(keep(Arc::clone(&link), Arc::clone(&proposals))),
            self.runtime.spawn(keep(link, Arc::clone(&fetches))),
        ];
        let _tasks = tasks.map(|task| Ends::with_this(task.abort_handle()));
        Peer { address, bulk, control, proposals, fetches, _tasks }
    }

    /// Makes a call on a lane of a broker.
    fn call(
        &self,
        node: NodeId,
        lane: impl FnOnce(&Peer) -> &CallLane,
        call: Call,
        bytes: usize,
    ) -> BoxFuture<'static, Result<Answer, RemoteError>> {
        match self.peers().get(&node) {
            Some(peer) => lane(peer).call(call, bytes),
            None => {
                let why = "its address is not known".into();
                ready(Err(RemoteError::Unreachable { to: node.to_string(), why })).boxed()
            }
        }
    }
}

impl Peers for PeerTransport {
    fn send(&self, message: Message) -> bool {
        let peers = self.peers();
        let Some(peer) = peers.get(&message.to.node()) else { return false };
        match RaftLane::of(&message) {
            LaneKind::Bulk => peer.bulk.send(message),
            _ => peer.control.send(message),
        }
    }

    fn announce(&self, addresses: BTreeMap<NodeId, String>) {
        let Some(handler) = self.handler.get() else { return };
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|node, _| addresses.contains_key(node));
        for (node, address) in addresses {
            if node == self.node {
                continue;
            }
            if let Some(peer) = peers.get(&node) {
                peer.address.send_if_modified(|current| {
                    let is_new = *current != address;
                    *current = address;
                    is_new
                });
            } else {
                let peer = self.connect(node, address, Weak::clone(handler));
                peers.insert(node, peer);
            }
        }
    }

    fn propose(
        &self,
        node: NodeId,
        proposal: RemoteProposal,
    ) -> BoxFuture<'static, Result<Receipt, RemoteError>> {
        let bytes = proposal.size();
        let call = Call::Proposal(call_wire::proposal_to_wire(proposal));
        let answer = self.call(node, |peer| &peer.proposals, call, bytes);
        async move {
            match answer.await? {
                Answer::Receipt(receipt) => Ok(receipt),
                Answer::Fetched(_) => Err(RemoteError::Lost { to: node.to_string() }),
            }
        }
        .boxed()
    }

    fn fetch(
        &self,
        node: NodeId,
        fetch: Fetch,
    ) -> BoxFuture<'static, Result<Fetched, RemoteError>> {
        let call = Call::Fetch(fetch_wire::fetch_to_wire(&fetch));
        let answer = self.call(node, |peer| &peer.fetches, call, 0);
        async move {
            match answer.await? {
                Answer::Fetched(fetched) => Ok(fetched),
                Answer::Receipt(_) => Err(RemoteError::Lost { to: node.to_string() }),
            }
        }
        .boxed()
    }

    fn introduce(
        &self,
        address: &str,
        own: Introduction,
    ) -> BoxFuture<'static, Result<Introduction, RemoteError>> {
        let (address, protocols) = (address.to_owned(), self.protocols);
        async move {
            let met = timeout(INTRODUCTION_TIMEOUT, introduce(&address, own, protocols)).await;
            met.unwrap_or_else(|_| Err("it does not answer".into()))
                .map_err(|why| RemoteError::Unreachable { to: address, why: why.into() })
        }
        .boxed()
    }
}

fn lane_stats(peer: NodeId, lane: &impl Lane) -> PeerLane {
    let Counts { is_open, sent, sent_bytes, dropped, queued_bytes } = lane.counts();
    let lane = lane.kind().name();
    PeerLane { peer, lane, is_connected: is_open, sent, sent_bytes, dropped, queued_bytes }
}

/// Introductions change nothing: whatever goes wrong, they can be tried again.
async fn introduce(
    address: &str,
    own: Introduction,
    protocols: Protocols,
) -> Result<Introduction, String> {
    let keepalive = KeepAlive { interval: INTRODUCTION_TIMEOUT, timeout: INTRODUCTION_TIMEOUT };
    let told = |status: tonic::Status| status.message().to_owned();
    let (mut client, _connection) = dial(address, keepalive).await.map_err(told)?;
    let introduction = Some(fetch_wire::introduction_to_wire(own));
    let mut request = Request::new(pb::IntroduceRequest { introduction });
    write_protocols(protocols, request.metadata_mut());
    let response = client.introduce(request).await.map_err(|status| match status.code() {
        Code::Unimplemented => "something else than a broker's peer port answers".to_owned(),
        _ => told(status),
    })?;
    let introduction = response.into_inner().introduction;
    fetch_wire::introduction_from_wire(introduction).map_err(|error| error.to_string())
}
