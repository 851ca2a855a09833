//! Brokers of one process, for tests: what one sends another, that one gets, as it is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ropewalk_core::NodeId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::Inbound;
use crate::peers::{
    Fetch, Fetched, Introduction, Message, PeerHandler, Peers, Receipt, RemoteError, RemoteProposal,
};
use crate::support::peer_address;

/// What one broker may have under way.
const LANE: usize = 1024;

/// The brokers that reach one another.
#[derive(Default)]
pub(crate) struct Network {
    brokers: Mutex<BTreeMap<NodeId, Arc<Inbound>>>,
    sent: AtomicU64,
    /// Fetches that were not answered yet.
    fetches: Arc<()>,
    /// No fetch is answered while it is set.
    pub(crate) stalls_fetches: watch::Sender<bool>,
}

/// The ways of one broker to the others.
pub(crate) struct Way {
    network: Arc<Network>,
    own: NodeId,
    messages: mpsc::Sender<Message>,
    calls: mpsc::Sender<Call>,
}

struct Call {
    to: NodeId,
    proposal: RemoteProposal,
    answer: oneshot::Sender<Result<Receipt, RemoteError>>,
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Arc<Inbound>>> {
        self.brokers.lock().unwrap()
    }

    /// How many messages were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many fetches are under way.
    pub(crate) fn fetches(&self) -> usize {
        Arc::strong_count(&self.fetches) - 1
    }

    /// A broker that is cut off reaches nobody either.
    fn reach(&self, from: NodeId, to: NodeId) -> Result<Arc<Inbound>, RemoteError> {
        let brokers = self.lock();
        let found = brokers.contains_key(&from).then(|| brokers.get(&to).cloned()).flatten();
        let why = || RemoteError::Unreachable { to: to.to_string(), why: "cut off".into() };
        found.ok_or_else(why)
    }

    /// Connects a broker with those that are there.
    pub(crate) fn join(self: &Arc<Self>, node: NodeId, inbound: &Arc<Inbound>) -> Arc<Way> {
        let mut brokers = self.lock();
        for (other, there) in brokers.iter() {
            there.reachable(node);
            inbound.reachable(*other);
        }
        brokers.insert(node, Arc::clone(inbound));
        let (messages, sent) = mpsc::channel(LANE);
        let (calls, called) = mpsc::channel(LANE);
        tokio::spawn(carry_messages(Arc::clone(self), node, sent));
        tokio::spawn(carry_calls(Arc::clone(self), node, called));
        Arc::new(Way { network: Arc::clone(self), own: node, messages, calls })
    }

    /// Cuts a broker off from all others.
    pub(crate) fn leave(&self, node: NodeId) {
        let mut brokers = self.lock();
        let left = brokers.remove(&node);
        for (other, there) in brokers.iter() {
            there.unreachable(node);
            left.iter().for_each(|left| left.unreachable(*other));
        }
    }
}

async fn carry_messages(network: Arc<Network>, own: NodeId, mut sent: mpsc::Receiver<Message>) {
    while let Some(message) = sent.recv().await {
        if let Ok(there) = network.reach(own, message.to.node()) {
            there.receive(vec![message]).await;
        }
    }
}

async fn carry_calls(network: Arc<Network>, own: NodeId, mut called: mpsc::Receiver<Call>) {
    while let Some(Call { to, proposal, answer }) = called.recv().await {
        match network.reach(own, to) {
            Ok(there) => {
                let reply = move |result: Result<Receipt, _>| {
                    // Nobody waits any more.
                    let _ = answer.send(result.map_err(RemoteError::from));
                };
                there.submit(proposal, Box::new(reply)).await;
            }
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
    }
}

impl Peers for Way {
    fn send(&self, message: Message) -> bool {
        self.network.sent.fetch_add(1, Ordering::Relaxed);
        let is_there = self.network.reach(self.own, message.to.node()).is_ok();
        is_there && self.messages.try_send(message).is_ok()
    }

    fn announce(&self, _addresses: BTreeMap<NodeId, String>) {}

    fn propose(
        &self,
        node: NodeId,
        proposal: RemoteProposal,
    ) -> BoxFuture<'static, Result<Receipt, RemoteError>> {
        let (answer, answered) = oneshot::channel();
        let queued = self.calls.try_send(Call { to: node, proposal, answer });
        async move {
            let to = node.to_string();
            if queued.is_err() {
                return Err(RemoteError::Unreachable { to, why: "its lane is full".into() });
            }
            answered.await.unwrap_or(Err(RemoteError::Lost { to }))
        }
        .boxed()
    }

    fn fetch(
        &self,
        node: NodeId,
        fetch: Fetch,
    ) -> BoxFuture<'static, Result<Fetched, RemoteError>> {
        let there = self.network.reach(self.own, node);
        let under_way = Arc::clone(&self.network.fetches);
        let mut stalls = self.network.stalls_fetches.subscribe();
        async move {
            let _under_way = under_way;
            let there = there?;
            let _ = stalls.wait_for(|stalls| !*stalls).await;
            there.await_records(fetch.group, fetch.offset, fetch.wait).await;
            Ok(there.fetch(Fetch { wait: Duration::ZERO, ..fetch }).await?)
        }
        .boxed()
    }

    fn introduce(
        &self,
        address: &str,
        own: Introduction,
    ) -> BoxFuture<'static, Result<Introduction, RemoteError>> {
        let there = self.network.lock().iter().find_map(|(node, inbound)| {
            (peer_address(*node) == address).then(|| Arc::clone(inbound))
        });
        let to = address.to_owned();
        async move {
            let away = || RemoteError::Unreachable { to, why: "cut off".into() };
            Ok(there.ok_or_else(away)?.introduce(own))
        }
        .boxed()
    }
}
