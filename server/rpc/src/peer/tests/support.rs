//! A broker that only remembers what comes in, behind a real port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use ropewalk_broker::metrics::PeerLane;
use ropewalk_broker::peers::{
    ClusterIdentity, Fetch, FetchError, Fetched, Introduction, Message, PeerHandler, Peers,
    RemoteProposal, Removal, Reply,
};
use ropewalk_consensus::{MessageEntry, MessageKind};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, NodeId, Offset, ReplicaId, StoredBatch, Timestamp,
    TimestampType,
};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};

use super::super::hail::{PROTOCOLS, Protocols};
use super::super::{PeerPort, PeerTransport};

pub(super) const CLUSTER: [u8; 16] = [7; 16];
pub(super) const GROUP: GroupId = GroupId(0x100);

/// What ought to happen happens in this time also on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(20);

pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it happens soon")
}

/// What a broker would do with what comes in.
pub(super) struct Fake {
    node: NodeId,
    messages: mpsc::Sender<Message>,
    proposals: mpsc::Sender<(RemoteProposal, Reply)>,
    reached: watch::Sender<BTreeMap<NodeId, bool>>,
    /// Messages that came in, and whose stream has ended after how many.
    taken: AtomicU64,
    pub(super) silent: watch::Sender<Vec<(NodeId, u64)>>,
    /// A data directory that must not come back.
    pub(super) retired: watch::Sender<Option<([u8; 16], Removal)>>,
    /// Who refused this broker last as removed, and why.
    pub(super) removed: watch::Sender<Option<(NodeId, Removal)>>,
    /// Appends are taken while there is a permit.
    pub(super) appends: Semaphore,
    /// The log: as many batches of one record.
    pub(super) log_end: watch::Sender<u64>,
}

impl PeerHandler for Fake {
    fn receive(&self, messages: Vec<Message>) -> BoxFuture<'_, ()> {
        async move {
            for message in messages {
                if message.kind == MessageKind::Append {
                    drop(self.appends.acquire().await.unwrap());
                }
                self.messages.send(message).await.unwrap();
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
        }
        .boxed()
    }

    fn silent(&self, node: NodeId) -> BoxFuture<'_, ()> {
        let taken = self.taken.load(Ordering::Relaxed);
        self.silent.send_modify(|silent| silent.push((node, taken)));
        ready(()).boxed()
    }

    fn submit(&self, proposal: RemoteProposal, reply: Reply) -> BoxFuture<'_, ()> {
        async move { self.proposals.send((proposal, reply)).await.unwrap() }.boxed()
    }

    fn await_records(
        &self,
        _group: GroupId,
        offset: Offset,
        wait: Duration,
    ) -> BoxFuture<'static, ()> {
        let mut log_end = self.log_end.subscribe();
        async move {
            let _ = tokio::time::timeout(wait, log_end.wait_for(|end| *end > offset.0)).await;
        }
        .boxed()
    }

    fn fetch(&self, fetch: Fetch) -> BoxFuture<'static, Result<Fetched, FetchError>> {
        assert_eq!(fetch.wait, Duration::ZERO);
        let end = *self.log_end.borrow();
        async move {
            if fetch.group != GROUP {
                return Err(FetchError::NoGroup);
            }
            Ok(Fetched {
                start: Offset::ZERO,
                high_watermark: Offset(end),
                trimmed: None,
                batches: (fetch.offset.0..end).map(|offset| stored(offset, 1000)).collect(),
                found: None,
            })
        }
        .boxed()
    }

    fn introduce(&self, other: Introduction) -> Introduction {
        Introduction { leader: Some(other.node), ..introduction(self.node) }
    }

    fn removal(&self, _node: NodeId, directory: [u8; 16]) -> Option<Removal> {
        let retired = self.retired.borrow();
        retired.filter(|(retired, _)| *retired == directory).map(|(_, why)| why)
    }

    fn removed(&self, by: NodeId, why: Removal) {
        self.removed.send_replace(Some((by, why)));
    }

    fn unreachable(&self, node: NodeId) {
        self.reached.send_modify(|reached| {
            reached.insert(node, false);
        });
    }

    fn reachable(&self, node: NodeId) {
        self.reached.send_modify(|reached| {
            reached.insert(node, true);
        });
    }
}

/// A broker with its port and its ways to others.
pub(super) struct Broker {
    pub(super) node: NodeId,
    pub(super) transport: Arc<PeerTransport>,
    pub(super) fake: Arc<Fake>,
    pub(super) messages: Mutex<mpsc::Receiver<Message>>,
    pub(super) proposals: Mutex<mpsc::Receiver<(RemoteProposal, Reply)>>,
    pub(super) address: String,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

impl Broker {
    pub(super) async fn start(node: u64, cluster: [u8; 16]) -> Self {
        Self::speaking(PROTOCOLS, node, cluster).await
    }

    /// One of a version that speaks these protocols.
    pub(super) async fn speaking(protocols: Protocols, node: u64, cluster: [u8; 16]) -> Self {
        let node = NodeId(node);
        let (message_sender, messages) = mpsc::channel(100_000);
        let (proposal_sender, proposals) = mpsc::channel(1000);
        let fake = Arc::new(Fake {
            node,
            messages: message_sender,
            proposals: proposal_sender,
            reached: watch::channel(BTreeMap::new()).0,
            taken: AtomicU64::new(0),
            silent: watch::channel(Vec::new()).0,
            retired: watch::channel(None).0,
            removed: watch::channel(None).0,
            appends: Semaphore::new(1),
            log_end: watch::channel(0).0,
        });
        let transport = PeerTransport::speaking(protocols, node, [node.0 as u8; 16]);
        let handler: Arc<dyn PeerHandler> = Arc::<Fake>::clone(&fake);
        transport.attend(&handler);
        transport.join(cluster);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let port = PeerPort::new(&transport);
        let served = tokio::spawn(port.serve(listener, async { drop(stopped.await) }));
        let (messages, proposals) = (Mutex::new(messages), Mutex::new(proposals));
        let stop = Some(stop);
        Self { node, transport, fake, messages, proposals, address, stop, served }
    }

    /// Two brokers, the first of which reaches the second.
    pub(super) async fn pair() -> (Self, Self) {
        let (one, two) = (Self::start(1, CLUSTER).await, Self::start(2, CLUSTER).await);
        one.knows(two.node, &two.address);
        one.reaches(two.node, true).await;
        (one, two)
    }

    pub(super) fn knows(&self, node: NodeId, address: &str) {
        self.transport.announce(BTreeMap::from([(node, address.to_owned())]));
    }

    /// Waits until it was told that a broker is, or is not, within reach.
    pub(super) async fn reaches(&self, node: NodeId, is_reached: bool) {
        let mut reached = self.fake.reached.subscribe();
        let told = reached.wait_for(|reached| reached.get(&node) == Some(&is_reached));
        soon(told).await.unwrap();
    }

    /// What has become of what was sent by one connection to the only broker that it knows.
    pub(super) fn lane(&self, name: &str) -> PeerLane {
        let lanes = self.transport.stats().lanes;
        lanes.into_iter().find(|lane| lane.lane == name).unwrap()
    }

    pub(super) async fn message(&self) -> Message {
        soon(self.messages.lock().await.recv()).await.unwrap()
    }

    pub(super) async fn proposal(&self) -> (RemoteProposal, Reply) {
        soon(self.proposals.lock().await.recv()).await.unwrap()
    }

    /// Ends the port and everything that came by it.
    pub(super) async fn stop(&mut self) {
        drop(self.stop.take());
        soon(&mut self.served).await.unwrap();
    }
}

pub(super) fn message(kind: MessageKind, from: u64, to: u64, index: u64) -> Message {
    Message {
        group: GROUP,
        from: ReplicaId::new(NodeId(from), 0),
        to: ReplicaId::new(NodeId(to), 3),
        kind,
        term: 5,
        index,
        log_term: 4,
        commit: 0,
        commit_term: 0,
        reject: false,
        reject_hint: 0,
        request_snapshot: 0,
        priority: 0,
        context: Bytes::new(),
        quiesce: false,
        entries: Vec::new(),
        snapshot: None,
    }
}

pub(super) fn append(index: u64, bytes: usize) -> Message {
    let data = Bytes::from(vec![index as u8; bytes]);
    let entry = MessageEntry { index: index + 1, term: 5, entry_type: 0, data };
    Message { entries: vec![entry], ..message(MessageKind::Append, 1, 2, index) }
}

pub(super) fn draft(bytes: usize) -> BatchDraft {
    let payload: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    let times = RecordTimes { newest: Some(Timestamp(9)), untimed: false, shortest_ttl: None };
    BatchDraft::new(&payload, 1, Compression::None, TimestampType::Create, times, None)
}

pub(super) fn stored(offset: u64, bytes: usize) -> StoredBatch {
    let sealed = draft(bytes).seal(Offset(offset), 1, offset + 10, Timestamp(1));
    StoredBatch::trusted(&sealed.into()).unwrap()
}

pub(super) fn introduction(node: NodeId) -> Introduction {
    Introduction {
        node,
        directory: [node.0 as u8; 16],
        cluster: Some(ClusterIdentity { cluster_id: CLUSTER, founders: vec![(node, [9; 16])] }),
        leader: None,
        addresses: vec![(node, "broker.example:9093".to_owned())],
    }
}
