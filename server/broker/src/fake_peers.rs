//! Other brokers that answer what a test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use ropewalk_core::NodeId;

use crate::peers::{
    Fetch, Fetched, Introduction, Message, Peers, ProposalKind, Receipt, RemoteError,
    RemoteProposal,
};

type Answer = Result<Receipt, RemoteError>;

/// Other brokers.
#[derive(Default)]
pub(crate) struct FakePeers {
    answers: Mutex<BTreeMap<NodeId, VecDeque<Answer>>>,
    asked: Mutex<Vec<NodeId>>,
    epochs: Mutex<Vec<Option<u64>>>,
    introductions: Mutex<BTreeMap<String, Introduction>>,
    announced: Mutex<BTreeMap<NodeId, String>>,
}

pub(crate) fn unreachable(to: &str) -> RemoteError {
    RemoteError::Unreachable { to: to.to_owned(), why: "the test says so".into() }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap()
}

impl FakePeers {
    /// What the next proposal to a broker is answered with, after those that were said before. A
    /// broker of which nothing is said is out of reach.
    pub(crate) fn answer(&self, node: u64, answer: Answer) {
        lock(&self.answers).entry(NodeId(node)).or_default().push_back(answer);
    }

    /// Who was asked since the last time, in order.
    pub(crate) fn asked(&self) -> Vec<u64> {
        lock(&self.asked).drain(..).map(|node| node.0).collect()
    }

    /// Where this broker was told last that one is.
    pub(crate) fn announced(&self, node: u64) -> Option<String> {
        lock(&self.announced).get(&NodeId(node)).cloned()
    }

    /// For which epochs the batches were that came since the last time, in order.
    pub(crate) fn epochs(&self) -> Vec<Option<u64>> {
        lock(&self.epochs).drain(..).collect()
    }

    /// Whoever is at this address introduces itself so from now on.
    pub(crate) fn put(&self, address: &str, introduction: Introduction) {
        lock(&self.introductions).insert(address.to_owned(), introduction);
    }
}

impl Peers for FakePeers {
    fn send(&self, _message: Message) -> bool {
        false
    }

    fn announce(&self, addresses: BTreeMap<NodeId, String>) {
        *lock(&self.announced) = addresses;
    }

    fn propose(&self, node: NodeId, proposal: RemoteProposal) -> BoxFuture<'static, Answer> {
        if let ProposalKind::Batch { epoch, .. } = proposal.kind {
            lock(&self.epochs).push(epoch);
        }
        lock(&self.asked).push(node);
        let answer = lock(&self.answers).get_mut(&node).and_then(VecDeque::pop_front);
        ready(answer.unwrap_or_else(|| Err(unreachable(&node.to_string())))).boxed()
    }

    fn fetch(
        &self,
        node: NodeId,
        _fetch: Fetch,
    ) -> BoxFuture<'static, Result<Fetched, RemoteError>> {
        ready(Err(unreachable(&node.to_string()))).boxed()
    }

    fn introduce(
        &self,
        address: &str,
        _own: Introduction,
    ) -> BoxFuture<'static, Result<Introduction, RemoteError>> {
        let found = lock(&self.introductions).get(address).cloned();
        ready(found.ok_or_else(|| unreachable(address))).boxed()
    }
}
