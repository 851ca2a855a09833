//! What other brokers ask of this one.
//!
//! It is there before the broker is: while a cluster forms, it only answers introductions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ropewalk_cluster::MetadataWatch;
use ropewalk_consensus::{Expected, MessageKind, Proposal};
use ropewalk_core::{GroupId, NodeId, Offset};
use ropewalk_storage::log_view::{Cursor, ReadOutcome};
use ropewalk_storage::{Engine, StorageError};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::append_memory::AppendMemory;
use crate::driver::Driver;
use crate::errors::AppendError;
use crate::group_watch::GroupWatch;
use crate::groups::Groups;
use crate::lines::Lines;
use crate::long_polls::LongPolls;
use crate::partition::{expects_version, find_time};
use crate::peers::{
    Fetch, FetchError, Fetched, Introduction, Message, PeerHandler, ProposalKind, ProposeError,
    RemoteProposal, Removal, Reply,
};
use crate::pools::Pools;
use crate::removal::{Need, need};
use crate::table::TableWatch;

/// How often a broker that was removed looks whether others need it yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// So often in a row nobody may need it before it ends: members of its groups that it does not know
/// of yet reach it meanwhile.
const LOOKS: u32 = 3;

/// What other brokers ask of this one.
pub struct Inbound {
    own: Mutex<Introduction>,
    /// Brokers that introduced themselves, and where they say they can be reached.
    alive: watch::Sender<BTreeSet<NodeId>>,
    /// The same, for the shards.
    lines: Arc<Lines>,
    /// Who refuses this broker as removed from the cluster.
    refusals: watch::Sender<BTreeMap<NodeId, Removal>>,
    /// Whether all groups that are on the disk were taken up.
    is_settled: watch::Sender<bool>,
    running: OnceLock<Running>,
    polls: LongPolls,
}

/// The parts of a running broker that are asked.
pub(crate) struct Running {
    pub(crate) driver: Driver,
    pub(crate) groups: Arc<Groups>,
    pub(crate) metadata: MetadataWatch,
    /// Memory for what other brokers propose here. It is not the memory of this broker's own
    /// clients: what they wait for may wait for another broker's memory, which would wait for this.
    /// What comes from another broker goes no further, so that whoever waits here waits for this
    /// broker alone.
    pub(crate) appends: AppendMemory,
    pub(crate) free_space_floor: u64,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) pools: Pools,
}

impl Inbound {
    /// For a broker that introduces itself so until it knows more.
    #[must_use]
    pub fn new(own: Introduction) -> Arc<Self> {
        let (alive, _) = watch::channel(BTreeSet::new());
        let (refusals, _) = watch::channel(BTreeMap::new());
        let (is_settled, _) = watch::channel(false);
        let (own, lines, running) = (Mutex::new(own), Arc::default(), OnceLock::new());
        let polls = LongPolls::default();
        Arc::new(Self { own, alive, lines, refusals, is_settled, running, polls })
    }

    /// What this broker says of itself from now on.
    pub fn set_introduction(&self, own: Introduction) {
        *self.lock_own() = own;
    }

    /// What this broker says of itself now.
    #[must_use]
    pub fn introduction(&self) -> Introduction {
        let mut own = self.lock_own().clone();
        if let Some(running) = self.running.get() {
            let metadata = running.metadata.borrow();
            own.addresses.extend(
                metadata.brokers.values().map(|broker| (broker.id, broker.peer_address.clone())),
            );
            let leader = running.groups.get(GroupId::METADATA);
            own.leader = leader.and_then(|watch| watch.leader().0).map(|leader| leader.node());
        }
        own
    }

    /// Waits until other brokers have said that this one was removed from the cluster, and nobody
    /// needs it any more. Not before it has taken up what is on its disk.
    pub async fn until_removed(&self) {
        // The sender is part of self.
        let _ = self.is_settled.subscribe().wait_for(|is_settled| *is_settled).await;
        let (mut told, mut looks) = (None, 0);
        while looks < LOOKS {
            self.refused().await;
            let need = self.need();
            looks = if need.is_over() { looks + 1 } else { 0 };
            if told.as_ref() != Some(&need) {
                need.tell();
                told = Some(need);
            }
            sleep(LOOK_AGAIN).await;
            if self.refusals.borrow().is_empty() {
                looks = 0;
            }
        }
    }

    /// Waits until another broker refuses this one as removed from the cluster.
    pub(crate) async fn refused(&self) {
        // The sender is part of self.
        let _ = self.refusals.subscribe().wait_for(|refusals| !refusals.is_empty()).await;
    }

    fn need(&self) -> Need {
        let Some(running) = self.running.get() else { return Need::default() };
        let groups = running.groups.filtered(|_, _| true);
        let roles: Vec<_> = groups.iter().map(|(group, watch)| (*group, watch.role())).collect();
        need(roles.iter().map(|(group, role)| (*group, role)), &self.refusals.borrow())
    }

    pub(crate) fn begin(&self, running: Running) {
        let _ = self.running.set(running);
    }

    /// The coordinators can be asked for what they do not know yet.
    pub(crate) fn begin_polls(&self, table: TableWatch) {
        self.polls.begin(table);
    }

    /// All groups that are on the disk were taken up.
    pub(crate) fn settle(&self) {
        self.is_settled.send_replace(true);
    }

    /// The brokers that messages reach.
    pub(crate) fn watch_alive(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.alive.subscribe()
    }

    /// The connections to other brokers.
    pub(crate) fn lines(&self) -> Arc<Lines> {
        Arc::clone(&self.lines)
    }

    fn lock_own(&self) -> MutexGuard<'_, Introduction> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, group: GroupId) -> Option<Arc<GroupWatch>> {
        self.running.get()?.groups.get(group)
    }

    /// A group whose log can be read: others may ask for one that is only about to be taken up.
    fn open_watch(&self, group: GroupId) -> Option<Arc<GroupWatch>> {
        self.watch(group).filter(|watch| watch.is_open())
    }
}

impl PeerHandler for Inbound {
    fn receive(&self, messages: Vec<Message>) -> BoxFuture<'_, ()> {
        async move {
            let Some(running) = self.running.get() else { return };
            let has_room = running.engine.has_room();
            for message in messages {
                // A follower whose disk is full takes no records. What it misses is sent again.
                let brings_entries = matches!(message.kind, MessageKind::Append);
                if brings_entries && !message.entries.is_empty() && !has_room {
                    continue;
                }
                if running.driver.receive(message).await.is_err() {
                    return;
                }
            }
        }
        .boxed()
    }

    fn silent(&self, node: NodeId) -> BoxFuture<'_, ()> {
        async move {
            if let Some(running) = self.running.get() {
                // When the broker stops, nobody needs to know.
                let _ = running.driver.silent(node).await;
            }
        }
        .boxed()
    }

    fn submit(&self, proposal: RemoteProposal, reply: Reply) -> BoxFuture<'_, ()> {
        async move {
            let Some(running) = self.running.get() else {
                return reply(Err(ProposeError::NoGroup));
            };
            let RemoteProposal { group, mut kind } = proposal;
            let Some(watch) = self.watch(group).filter(|watch| watch.epoch().is_some()) else {
                return reply(Err(ProposeError::NoLeader));
            };
            if let Some(poll) = self.polls.find(group, &kind) {
                let driver = running.driver.clone();
                // Others of its broker do not wait for it.
                tokio::spawn(async move {
                    let held = poll.news(&watch).await;
                    let _ = driver.propose(group, Proposal { kind, reply, held }).await;
                });
                return;
            }
            let mut expects = false;
            let bytes = match &kind {
                ProposalKind::Batch { draft, expected, .. } => {
                    expects = expects_version(expected.as_deref());
                    if !running.engine.has_room() {
                        let floor = running.free_space_floor;
                        return reply(Err(ProposeError::StorageFull { floor }));
                    }
                    draft.len() + expected.as_deref().map_or(0, Expected::key_bytes)
                }
                ProposalKind::Command(command) => command.len(),
                _ => 0,
            };
            // All that its broker forwards waits behind what waits here: one that expects a
            // version is refused at once.
            let timeout = expects.then_some(Duration::ZERO);
            let reserved = match running.appends.reserve(bytes, expects, timeout).await {
                Ok(reserved) => reserved,
                Err(AppendError::TooManyConditional { .. }) => {
                    return reply(Err(ProposeError::Overloaded));
                }
                Err(_) => return reply(Err(ProposeError::NoLeader)),
            };
            let mut held = (reserved, None);
            if let ProposalKind::Batch { draft, expected, durability, epoch } = kind {
                let (keys, now) = (&running.pools.keys, running.driver.time());
                let (draft, found) = keys.find(draft, expects, &watch, now).await;
                kind = ProposalKind::Batch { draft, expected, durability, epoch };
                held.1 = found;
            }
            let proposal = Proposal { kind, reply, held: Box::new(held) };
            // The broker stops: the reply goes with the proposal, and nothing is known.
            let _ = running.driver.propose(group, proposal).await;
        }
        .boxed()
    }

    fn await_records(
        &self,
        group: GroupId,
        offset: Offset,
        wait: Duration,
    ) -> BoxFuture<'static, ()> {
        let watch = self.open_watch(group);
        async move {
            let Some(watch) = watch else { return };
            let signal = watch.signal();
            let there = async {
                while watch.reader().bounds().high_watermark <= offset {
                    signal.raised().await;
                }
            };
            let _ = tokio::time::timeout(wait, there).await;
            watch.unfollow(&signal);
        }
        .boxed()
    }

    fn fetch(&self, fetch: Fetch) -> BoxFuture<'static, Result<Fetched, FetchError>> {
        let watch = self.open_watch(fetch.group);
        let pools = self.running.get().map(|running| running.pools.clone());
        async move {
            let (Some(watch), Some(pools)) = (watch, pools) else {
                return Err(FetchError::NoGroup);
            };
            let bounds = watch.reader().bounds();
            let mut fetched = Fetched {
                start: bounds.start,
                high_watermark: bounds.high_watermark,
                trimmed: None,
                batches: Vec::new(),
                found: None,
            };
            if let Some(time) = fetch.since {
                let found = find_time(&pools, watch.reader(), time).await;
                fetched.found = found.map_err(unreadable)?;
                return Ok(fetched);
            }
            if fetch.max_bytes == 0 {
                return Ok(fetched);
            }
            let reader = watch.reader().clone();
            let mut cursor = Cursor::at(fetch.offset);
            if cursor.offset < bounds.start {
                cursor = Cursor::at(bounds.start);
                fetched.trimmed = Some(bounds.start);
            }
            let read = move || match reader.read_tail(cursor, fetch.max_bytes)? {
                ReadOutcome::Cold => reader.read(cursor, fetch.max_bytes),
                outcome => Ok(outcome),
            };
            match pools.search(read).await.map_err(unreadable)? {
                ReadOutcome::Batches { batches, .. } => fetched.batches = batches,
                ReadOutcome::Trimmed(start) => fetched.trimmed = Some(start),
                ReadOutcome::End | ReadOutcome::Cold => {}
            }
            Ok(fetched)
        }
        .boxed()
    }

    fn introduce(&self, _other: Introduction) -> Introduction {
        self.introduction()
    }

    fn removal(&self, node: NodeId, directory: [u8; 16]) -> Option<Removal> {
        let running = self.running.get()?;
        let metadata = Arc::clone(&running.metadata.borrow());
        if !metadata.is_retired(directory) {
            return None;
        }
        // No broker can register with a directory that was given up: it has another one.
        if metadata.brokers.contains_key(&node) {
            return Some(Removal::Replaced);
        }
        // Groups that were not taken up yet may count on it.
        let counts_on_it = !*self.is_settled.borrow() || running.groups.may_have_member_on(node);
        (!counts_on_it).then_some(Removal::Removed)
    }

    fn removed(&self, by: NodeId, why: Removal) {
        self.refusals.send_if_modified(|refusals| refusals.insert(by, why) != Some(why));
    }

    fn unreachable(&self, node: NodeId) {
        self.alive.send_if_modified(|alive| alive.remove(&node));
        self.lines.lost(node);
    }

    fn reachable(&self, node: NodeId) {
        self.alive.send_if_modified(|alive| alive.insert(node));
        // A group that it has got since may count on this broker.
        self.refusals.send_if_modified(|refusals| refusals.remove(&node).is_some());
        self.lines.made(node);
    }
}

fn unreadable(error: StorageError) -> FetchError {
    match &error {
        StorageError::Corrupt { offset, path, .. } => FetchError::Corrupt {
            offset: *offset,
            file: path.display().to_string(),
            detail: error.to_string(),
        },
        _ => FetchError::Storage(error.to_string()),
    }
}
