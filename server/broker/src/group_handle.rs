//! The way to a replica group, wherever it is led: here, or on another broker.
//!
//! A proposal goes to the leader, once: a broker that gets one from another never passes it on.
//! What surely was not carried out is asked for again, as long as its caller has time; what perhaps
//! was carried out is not.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ropewalk_consensus::{Proposal, ProposalKind, ProposeError, Receipt};
use ropewalk_core::{GroupId, NodeId, ReplicaId, Timestamp};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::driver::{Driver, Stopped};
use crate::group_watch::{GroupWatch, Role};
use crate::peers::{Peers, RemoteError, RemoteProposal, Reply};

/// How long a call waits for a group to be led, before it is refused. An election takes up to two
/// seconds.
pub const LEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an append waits for it, and an id for those that follow: its client tries again, and
/// knows its order.
pub(crate) const APPEND_LEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it takes to look again where nothing tells of a change.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the ways to all groups share.
pub(crate) struct Ways {
    pub(crate) node: NodeId,
    pub(crate) driver: Driver,
    pub(crate) peers: Arc<dyn Peers>,
    /// Who was last found to lead a group that has no replica here.
    found: Mutex<BTreeMap<GroupId, GroupLeader>>,
}

impl Ways {
    pub(crate) fn new(node: NodeId, driver: Driver, peers: Arc<dyn Peers>) -> Arc<Self> {
        Arc::new(Self { node, driver, peers, found: Mutex::default() })
    }

    fn found(&self) -> std::sync::MutexGuard<'_, BTreeMap<GroupId, GroupLeader>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets who leads groups that are gone.
    pub(crate) fn forget(&self, is_gone: impl Fn(&GroupId) -> bool) {
        self.found().retain(|group, _| !is_gone(group));
    }
}

/// Who leads a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLeader {
    /// The broker.
    pub node: NodeId,
    /// Its epoch, where it is known.
    pub epoch: Option<u64>,
}

/// The way to a replica group.
#[derive(Clone)]
pub struct GroupHandle {
    /// The group.
    pub group: GroupId,
    ways: Arc<Ways>,
    /// This broker's replica, if it has one.
    watch: Option<Arc<GroupWatch>>,
    /// The brokers that are to have it, the preferred leader first.
    nodes: Arc<[NodeId]>,
    /// How long a proposal waits for a leader.
    patience: Duration,
}

impl GroupHandle {
    pub(crate) fn new(
        group: GroupId,
        ways: &Arc<Ways>,
        watch: Option<Arc<GroupWatch>>,
        replicas: &[ReplicaId],
    ) -> Self {
        let nodes = replicas.iter().map(|replica| replica.node()).collect();
        Self { group, ways: Arc::clone(ways), watch, nodes, patience: LEADER_TIMEOUT }
    }

    /// The same way for proposals that wait so long for a leader, and not [`LEADER_TIMEOUT`].
    #[must_use]
    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// This broker's replica.
    #[must_use]
    pub fn watch(&self) -> Option<&Arc<GroupWatch>> {
        self.watch.as_ref()
    }

    pub(crate) fn ways(&self) -> &Arc<Ways> {
        &self.ways
    }

    /// The brokers that are to have the group, the preferred leader first.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Who leads, as far as this broker knows.
    #[must_use]
    pub fn leader(&self) -> Option<GroupLeader> {
        if let Some(watch) = &self.watch {
            let (leader, term) = watch.leader();
            let node = leader?.node();
            // A leader that does not serve yet is soon to.
            return Some(GroupLeader { node, epoch: Some(term) });
        }
        let found = self.ways.found().get(&self.group).copied();
        // Of one replica nobody has to ask.
        let only = || (self.nodes.len() == 1).then(|| self.nodes[0]);
        found.or_else(|| only().map(|node| GroupLeader { node, epoch: None }))
    }

    /// The time by which this broker reckons where it leads.
    pub(crate) fn time(&self) -> Timestamp {
        self.ways.driver.time()
    }

    /// Whether this broker leads and serves the group.
    #[must_use]
    pub fn is_led_here(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.epoch().is_some())
    }

    /// Proposes to whoever leads, and waits for the end. `kind` gives the proposal, anew for each
    /// try; `held` is kept meanwhile.
    ///
    /// # Errors
    /// Those of the group; `NoLeader` when nobody could be found to lead it in [`LEADER_TIMEOUT`]
    /// or what was given instead, and `LeaderChanged` when it perhaps was carried out.
    pub async fn propose(
        &self,
        kind: impl Fn() -> ProposalKind,
        held: Option<Box<dyn Any + Send>>,
    ) -> Result<Receipt, ProposeError> {
        let deadline = Instant::now() + self.patience;
        let mut tries = 0;
        let result = loop {
            let Some(node) = self.await_leader(deadline, tries).await else {
                break Err(ProposeError::NoLeader);
            };
            let kind = kind();
            let asks_only = matches!(
                kind,
                ProposalKind::Query(_) | ProposalKind::Bounds | ProposalKind::Progress
            );
            let result = self.propose_at(node, kind).await;
            let goes_on = match &result {
                Err(ProposeError::NoLeader | ProposeError::NoGroup) => true,
                Err(ProposeError::LeaderChanged { .. }) => asks_only,
                _ => false,
            };
            self.note(node, &result);
            if !goes_on || Instant::now() >= deadline {
                break result;
            }
            tries += 1;
        };
        drop(held);
        // What is not where it should be is on its way there, or from there.
        match result {
            Err(ProposeError::NoGroup) => Err(ProposeError::NoLeader),
            result => result,
        }
    }

    /// The same for what a state machine answers in its own encoding: commands and questions.
    pub(crate) async fn ask(
        &self,
        kind: impl Fn() -> ProposalKind,
        held: Option<Box<dyn Any + Send>>,
    ) -> Result<Vec<u8>, ProposeError> {
        match self.propose(kind, held).await? {
            Receipt::Applied(answer) => Ok(answer),
            _ => unreachable!("a state machine answers in its own encoding"),
        }
    }

    /// Hands a batch to whoever leads, for its epoch alone. Batches that are handed over one after
    /// the other are appended in that order, as far as they are: one leader gets them in order, and
    /// one that leads again appends none of those that it got late. `reply` is told how it ended,
    /// on a thread that must not be kept waiting.
    pub(crate) async fn submit(
        &self,
        mut kind: ProposalKind,
        held: Box<dyn Any + Send>,
        reply: Reply,
    ) -> Result<(), Stopped> {
        let leader = self.await_epoch().await;
        if let ProposalKind::Batch { epoch, .. } = &mut kind {
            *epoch = leader.and_then(|leader| leader.epoch);
        }
        match leader.map(|leader| leader.node) {
            None => reply(Err(ProposeError::NoLeader)),
            Some(node) if node == self.ways.node => {
                return self.ways.driver.propose(self.group, Proposal { kind, reply, held }).await;
            }
            Some(node) => {
                // Queued here, in order; only the answer is waited for elsewhere.
                let proposal = RemoteProposal { group: self.group, kind };
                let answer = self.ways.peers.propose(node, proposal);
                let handle = self.clone();
                tokio::spawn(async move {
                    let result = answer.await.map_err(refused);
                    handle.note(node, &result);
                    drop(held);
                    reply(result);
                });
            }
        }
        Ok(())
    }

    /// Proposes to one broker, whether it leads or not, once.
    pub(crate) async fn propose_at(
        &self,
        node: NodeId,
        kind: ProposalKind,
    ) -> Result<Receipt, ProposeError> {
        if node != self.ways.node {
            let proposal = RemoteProposal { group: self.group, kind };
            return self.ways.peers.propose(node, proposal).await.map_err(refused);
        }
        self.propose_here(kind).await
    }

    /// Proposes to this broker's replica, whether it leads or not, and waits for the end.
    pub(crate) async fn propose_here(&self, kind: ProposalKind) -> Result<Receipt, ProposeError> {
        let (done, ended) = oneshot::channel();
        let reply: Reply = Box::new(move |result| {
            // Nobody waits any more: the caller was cancelled, and the entry stands all the same.
            let _ = done.send(result);
        });
        let proposal = Proposal { kind, reply, held: Box::new(()) };
        let proposed = self.ways.driver.propose(self.group, proposal).await;
        proposed.map_err(|Stopped| ProposeError::NoLeader)?;
        ended.await.map_err(|_| ProposeError::NoLeader)?
    }

    /// Remembers who leads a group that has no replica here.
    fn note(&self, node: NodeId, result: &Result<Receipt, ProposeError>) {
        if self.watch.is_some() {
            return;
        }
        match result {
            Err(ProposeError::NoLeader | ProposeError::NoGroup) => {
                let mut found = self.ways.found();
                if found.get(&self.group).is_some_and(|leader| leader.node == node) {
                    found.remove(&self.group);
                }
            }
            // That is the epoch of the first time.
            Ok(Receipt::Appended { duplicate: true, .. }) => {}
            result => {
                let told = result.as_ref().ok().and_then(Receipt::leader_epoch);
                // A broker of an older version does not say it. Epochs begin above zero.
                let told = told.filter(|epoch| *epoch > 0);
                let mut found = self.ways.found();
                let known = found.get(&self.group).copied();
                // An answer that came late tells of an epoch that is over.
                if known.is_some_and(|known| known.epoch >= told && known.epoch.is_some()) {
                    return;
                }
                found.insert(self.group, GroupLeader { node, epoch: told });
            }
        }
    }

    /// Who leads, and in which epoch, for an append: where no replica here tells, the leader is
    /// asked first. Only one of an older version does not say it.
    async fn await_epoch(&self) -> Option<GroupLeader> {
        let deadline = || Instant::now() + APPEND_LEADER_TIMEOUT;
        if let Some(watch) = &self.watch {
            let (node, epoch) = match watch.epoch() {
                Some(epoch) => (self.ways.node, epoch),
                None => self.await_led(watch, deadline(), 0).await?,
            };
            return Some(GroupLeader { node, epoch: Some(epoch) });
        }
        let found = || self.ways.found().get(&self.group).copied();
        if found().is_none_or(|leader| leader.epoch.is_none()) {
            let asked = self.propose(|| ProposalKind::Bounds, None);
            timeout_at(deadline(), asked).await.ok()?.ok()?;
        }
        found()
    }

    /// The broker that leads, once there is one; its replica serves, where it is this one. After a
    /// try that failed there is a pause, or a change.
    async fn await_leader(&self, deadline: Instant, tries: usize) -> Option<NodeId> {
        let own = self.ways.node;
        let Some(watch) = &self.watch else {
            if tries > 0 {
                let pause = Instant::now() + LOOK_AGAIN;
                tokio::time::sleep_until(pause.min(deadline)).await;
            }
            let found = self.ways.found().get(&self.group).copied();
            let others: Vec<_> = self.nodes.iter().filter(|node| **node != own).collect();
            let next = || others.get(tries % others.len().max(1)).map(|node| **node);
            return found.map(|leader| leader.node).or_else(next);
        };
        Some(self.await_led(watch, deadline, tries).await?.0)
    }

    /// The same, and its epoch, as the replica here tells it.
    async fn await_led(
        &self,
        watch: &GroupWatch,
        deadline: Instant,
        tries: usize,
    ) -> Option<(NodeId, u64)> {
        let own = self.ways.node;
        let mut role = watch.watch_role();
        if tries > 0 {
            // Whoever led when it was tried may not know yet that it does not, or that it does.
            role.mark_unchanged();
            let pause = (Instant::now() + LOOK_AGAIN).min(deadline);
            let _ = timeout_at(pause, role.changed()).await;
        }
        let led = timeout_at(deadline, role.wait_for(|role| led_by(role, own).is_some())).await;
        let led = led.ok()?.ok()?;
        led_by(&led, own)
    }
}

/// Who leads and in which epoch; `own` only where it serves.
fn led_by(role: &Role, own: NodeId) -> Option<(NodeId, u64)> {
    let node = role.leader?.node();
    let epoch = if node == own { role.epoch? } else { role.term };
    Some((node, epoch))
}

/// What became of a proposal on another broker.
fn refused(error: RemoteError) -> ProposeError {
    match error {
        RemoteError::Refused(error) => error,
        RemoteError::Unreachable { .. } => ProposeError::NoLeader,
        RemoteError::Lost { .. } | RemoteError::Fetch(_) => {
            ProposeError::LeaderChanged { epoch: 0 }
        }
    }
}
