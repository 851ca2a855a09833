//! The partition table: the topics and partitions of the cluster, and the way to each.
//!
//! [`Reconciler`] is its only writer. It follows the metadata and takes up, changes and removes the
//! replicas of this broker until they are those that the metadata wants; everybody else sees
//! immutable snapshots of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ropewalk_cluster::{Metadata, MetadataWatch, Topic, TopicPartition, TopicSettings};
use ropewalk_consensus::shard::NewGroup;
use ropewalk_consensus::{ProposalKind, Receipt, StateMachine};
use ropewalk_core::{GroupId, PartitionId, ReplicaId};
use ropewalk_storage::GroupState;
use ropewalk_storage::group_log::SegmentPolicy;
use tokio::sync::watch;
use tokio::time::{Duration, interval};

use crate::driver::Stopped;
use crate::group_handle::{GroupHandle, Ways};
use crate::group_watch::GroupWatch;
use crate::groups::Groups;
use crate::offsets::{OffsetMachine, SharedOffsets};
use crate::partition::Partition;
use crate::peers::RemoteProposal;
use crate::pools::Pools;

/// How often it is looked whether replicas that are not wanted here have left their groups.
const LOOK_AT_LEAVING: Duration = Duration::from_secs(1);

/// A topic with its partitions.
#[derive(Clone)]
pub struct ServedTopic {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Its partitions, by number.
    pub partitions: Arc<[Arc<Partition>]>,
}

impl ServedTopic {
    /// A partition of it.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Arc<Partition>> {
        self.partitions.get(id.0 as usize)
    }
}

/// A group that keeps consumer groups.
#[derive(Clone)]
pub struct Coordinator {
    /// The way to it.
    pub handle: GroupHandle,
    /// What this broker's replica has of it, if it has one.
    pub(crate) offsets: Option<SharedOffsets>,
}

/// The table at one moment.
#[derive(Clone, Default)]
pub struct TableSnapshot {
    /// The metadata that it carries out.
    pub metadata: Arc<Metadata>,
    /// The topics, by name.
    pub topics: Arc<BTreeMap<String, ServedTopic>>,
    /// The groups that keep consumer groups.
    pub coordinators: Arc<BTreeMap<GroupId, Coordinator>>,
    /// The index up to which the metadata is carried out for certain: what is newer may not be
    /// served yet.
    pub settled: u64,
}

/// Where the newest table is seen.
pub type TableWatch = watch::Receiver<TableSnapshot>;

/// A replica on this broker.
#[derive(Clone)]
struct Held {
    replica: ReplicaId,
    watch: Arc<GroupWatch>,
    offsets: Option<SharedOffsets>,
}

/// Makes the table follow the metadata.
pub(crate) struct Reconciler {
    ways: Arc<Ways>,
    metadata: MetadataWatch,
    table: watch::Sender<TableSnapshot>,
    pools: Pools,
    /// What storage has of groups that are not taken up yet.
    stored: HashMap<GroupId, GroupState>,
    /// The replicas of this broker that were taken up, but for that of the metadata.
    held: BTreeMap<GroupId, Held>,
    /// Where other brokers' messages find them.
    groups: Arc<Groups>,
    /// Groups whose replica here is not wanted any more, and has not left yet.
    leaving: BTreeSet<GroupId>,
}

impl Reconciler {
    /// A reconciler that has not begun, and the watch of its table.
    pub(crate) fn new(
        ways: Arc<Ways>,
        metadata: MetadataWatch,
        pools: Pools,
        stored: HashMap<GroupId, GroupState>,
        groups: Arc<Groups>,
    ) -> (Self, TableWatch) {
        let (table, watch) = watch::channel(TableSnapshot::default());
        let (held, leaving) = (BTreeMap::new(), BTreeSet::new());
        (Self { ways, metadata, table, pools, stored, held, groups, leaving }, watch)
    }

    /// Makes the table say what the metadata says now. Groups whose only voter is this broker are
    /// served when it returns.
    pub(crate) async fn first(&mut self) -> Result<(), Stopped> {
        self.follow().await
    }

    /// Follows the metadata until the broker stops.
    pub(crate) async fn run(mut self) {
        let mut looks = interval(LOOK_AT_LEAVING);
        loop {
            let done = tokio::select! {
                changed = self.metadata.changed() => match changed {
                    Ok(()) => self.follow().await,
                    Err(_) => return,
                },
                _ = looks.tick() => self.let_leave().await,
            };
            if done == Err(Stopped) {
                return;
            }
        }
    }

    async fn follow(&mut self) -> Result<(), Stopped> {
        let metadata = self.metadata.borrow_and_update().clone();
        let old = Arc::clone(&self.table.borrow().topics);
        let mut topics = BTreeMap::clone(&old);
        topics.retain(|name, served| {
            metadata.topic(name).is_some_and(|topic| topic.id == served.topic.id)
        });
        // Readers and writers see that a topic is gone before its data is.
        self.publish(&metadata, &topics, None);
        self.remove_gone(&metadata).await?;
        let mut opened = Vec::new();
        let coordinators = self.coordinators(&metadata, &mut opened).await?;
        for topic in metadata.topics.values() {
            let served = topics.get(&topic.name);
            if !served.is_some_and(|served| Arc::ptr_eq(&served.topic, topic)) {
                let served = served.cloned();
                let served = self.serve(topic, served.as_ref(), &mut opened).await?;
                topics.insert(topic.name.clone(), served);
            }
        }
        await_all(&opened).await;
        self.publish(&metadata, &topics, Some((coordinators, metadata.index)));
        Ok(())
    }

    /// Takes up the groups that keep consumer groups.
    async fn coordinators(
        &mut self,
        metadata: &Metadata,
        opened: &mut Vec<Arc<GroupWatch>>,
    ) -> Result<BTreeMap<GroupId, Coordinator>, Stopped> {
        let mut coordinators = BTreeMap::new();
        for (group, placement) in &metadata.system {
            if GroupId::COORDINATORS.contains(group) {
                let policy = SegmentPolicy::default();
                let own = self.own(&placement.replicas);
                let held = self.hold(*group, own, &placement.founders, policy, opened).await?;
                let (watch, offsets) = held.map(|held| (held.watch, held.offsets)).unzip();
                let handle = GroupHandle::new(*group, &self.ways, watch, &placement.replicas);
                let offsets = offsets.flatten();
                coordinators.insert(*group, Coordinator { handle, offsets });
            }
        }
        Ok(coordinators)
    }

    /// Shows what is served from now on; with the groups that keep consumer groups, where those
    /// were looked at, and up to where the metadata is carried out for certain.
    fn publish(
        &self,
        metadata: &Arc<Metadata>,
        topics: &BTreeMap<String, ServedTopic>,
        carried_out: Option<(BTreeMap<GroupId, Coordinator>, u64)>,
    ) {
        let before = self.table.borrow().clone();
        let (coordinators, settled) = match carried_out {
            Some((coordinators, settled)) => (Arc::new(coordinators), settled),
            None => (before.coordinators, before.settled),
        };
        self.table.send_replace(TableSnapshot {
            metadata: Arc::clone(metadata),
            topics: Arc::new(topics.clone()),
            coordinators,
            settled,
        });
    }

    /// The replica that this broker is to have.
    fn own(&self, replicas: &[ReplicaId]) -> Option<ReplicaId> {
        replicas.iter().find(|replica| replica.node() == self.ways.node).copied()
    }

    /// Removes groups that are gone: their topic was deleted, now or while this broker was away.
    /// Group ids are given in a row: what this broker's metadata does not know yet is left alone.
    async fn remove_gone(&mut self, metadata: &Metadata) -> Result<(), Stopped> {
        let is_gone = |group: &GroupId| {
            let is_known = metadata.partition(*group).is_some();
            group.is_partition() && *group < metadata.next_group && !is_known
        };
        let held = self.held.keys().chain(self.stored.keys());
        let gone: Vec<_> = held.copied().filter(is_gone).collect();
        for group in gone {
            tracing::debug!(%group, "removing a partition of a deleted topic");
            self.remove(group).await?;
            self.ways.forget(group);
        }
        Ok(())
    }

    async fn remove(&mut self, group: GroupId) -> Result<(), Stopped> {
        self.stored.remove(&group);
        self.held.remove(&group);
        self.leaving.remove(&group);
        self.groups.remove(group);
        self.ways.driver.remove(group).await
    }

    /// Takes up the replica that this broker is to have of a group. Returns the one that it has,
    /// also where that is not wanted any more, or another one in its place, and it has not left its
    /// group yet: the group counts on its vote, and on what it has, until then.
    async fn hold(
        &mut self,
        group: GroupId,
        own: Option<ReplicaId>,
        founders: &[ReplicaId],
        policy: SegmentPolicy,
        opened: &mut Vec<Arc<GroupWatch>>,
    ) -> Result<Option<Held>, Stopped> {
        if let Some(held) = self.held.get(&group).cloned() {
            self.note_leaving(group, own == Some(held.replica));
            self.ways.driver.set_policy(group, policy).await?;
            return Ok(Some(held));
        }
        let stored = self.stored.remove(&group);
        let Some(replica) = stored.as_ref().map(|state| state.replica).or(own) else {
            return Ok(None);
        };
        let founders = if founders.contains(&replica) { founders.to_vec() } else { Vec::new() };
        let offsets = (!group.is_partition()).then(SharedOffsets::default);
        let machine =
            offsets.clone().map(|shared| Box::new(OffsetMachine(shared)) as Box<dyn StateMachine>);
        let watch = Arc::new(GroupWatch::new(replica));
        // Before it is taken up: whoever hears what becomes of it finds it.
        self.groups.insert(group, Arc::clone(&watch));
        let new = NewGroup { group, stored, replica, founders, machine, policy };
        self.ways.driver.open(new, Arc::clone(&watch)).await?;
        opened.push(Arc::clone(&watch));
        self.note_leaving(group, own == Some(replica));
        let held = Held { replica, watch, offsets };
        self.held.insert(group, held.clone());
        Ok(Some(held))
    }

    /// Notes whether the replica here is wanted.
    fn note_leaving(&mut self, group: GroupId, is_wanted: bool) {
        if is_wanted {
            self.leaving.remove(&group);
        } else {
            self.leaving.insert(group);
        }
    }

    /// Takes up the partitions that are new, and changes the others.
    async fn serve(
        &mut self,
        topic: &Arc<Topic>,
        served: Option<&ServedTopic>,
        opened: &mut Vec<Arc<GroupWatch>>,
    ) -> Result<ServedTopic, Stopped> {
        let policy = segment_policy(&topic.settings);
        let name: Arc<str> = topic.name.as_str().into();
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (id, wanted) in (0..).map(PartitionId).zip(&topic.partitions) {
            let TopicPartition { group, replicas, founders } = wanted;
            let held = self.hold(*group, self.own(replicas), founders, policy, opened).await?;
            let known = served.and_then(|served| served.partition(id));
            let partition = match known.filter(|known| is_same(known, held.as_ref(), replicas)) {
                Some(known) => Arc::clone(known),
                None => {
                    let watch = held.map(|held| held.watch);
                    let handle = GroupHandle::new(*group, &self.ways, watch, replicas);
                    let pools = self.pools.clone();
                    let name = Arc::clone(&name);
                    let partition = Partition::new(name, topic.id, id, handle, pools);
                    Arc::new(partition.following(known))
                }
            };
            partitions.push(partition);
        }
        Ok(ServedTopic { topic: Arc::clone(topic), partitions: partitions.into() })
    }

    /// Whether the leader of a group says that a replica is none of its members, which it does once
    /// a majority of them knows. The replica itself may be the last to hear of it.
    async fn has_left(&self, group: GroupId, held: &Held, metadata: &Metadata) -> bool {
        let role = held.watch.role();
        let placed = metadata.replicas(group).unwrap_or_default();
        let members = placed.iter().chain(&role.voters).chain(&role.learners);
        // Who leads may be somebody who is not to have it either, and came after this one was told
        // of the members for the last time.
        let others = members.map(|member| member.node()).chain(metadata.brokers.keys().copied());
        let mut asked = BTreeSet::from([self.ways.node]);
        for node in others {
            if !asked.insert(node) {
                continue;
            }
            let proposal = RemoteProposal { group, kind: ProposalKind::Progress };
            if let Ok(Receipt::Progress { members, .. }) =
                self.ways.peers.propose(node, proposal).await
            {
                return members.iter().all(|member| member.replica != held.replica);
            }
        }
        false
    }

    /// Removes replicas that are not wanted here, once their groups have let them go: until then
    /// they may be the only ones that have everything.
    async fn let_leave(&mut self) -> Result<(), Stopped> {
        let metadata = self.metadata.borrow().clone();
        let mut left = Vec::new();
        for group in &self.leaving {
            let Some(held) = self.held.get(group) else { continue };
            if metadata.replicas(*group).is_none() {
                continue;
            }
            if held.watch.epoch().is_none() && self.has_left(*group, held, &metadata).await {
                left.push(*group);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        for group in left {
            tracing::info!(%group, "a replica that has left its group is removed");
            self.remove(group).await?;
        }
        // Their partitions are read elsewhere from now on, or from those that come in their place.
        let old = self.table.borrow().topics.clone();
        let stays = |served: &ServedTopic| {
            let mut partitions = served.partitions.iter();
            partitions.all(|partition| {
                partition.handle().watch().is_none() || self.held.contains_key(&partition.group)
            })
        };
        let topics = old.iter().filter(|(_, served)| stays(served));
        let topics: BTreeMap<_, _> =
            topics.map(|(name, served)| (name.clone(), served.clone())).collect();
        let mut opened = Vec::new();
        let coordinators = self.coordinators(&metadata, &mut opened).await?;
        let mut all = topics.clone();
        for topic in metadata.topics.values().filter(|topic| !topics.contains_key(&topic.name)) {
            let before = old.get(&topic.name).filter(|before| before.topic.id == topic.id);
            let served = self.serve(topic, before, &mut opened).await?;
            all.insert(topic.name.clone(), served);
        }
        await_all(&opened).await;
        let settled = self.table.borrow().settled;
        self.publish(&metadata, &all, Some((coordinators, settled)));
        Ok(())
    }
}

/// Waits until groups were taken up, and are served where nobody else is needed for it.
async fn await_all(opened: &[Arc<GroupWatch>]) {
    for group in opened {
        group.opened().await;
        if group.is_alone() {
            group.served().await;
        }
    }
}

/// Whether a partition that is served is the one that is wanted.
fn is_same(known: &Partition, held: Option<&Held>, replicas: &[ReplicaId]) -> bool {
    let same_watch = match (known.handle().watch(), held) {
        (Some(known), Some(held)) => Arc::ptr_eq(known, &held.watch),
        (None, None) => true,
        _ => false,
    };
    same_watch && replicas.iter().map(|replica| replica.node()).eq(known.nodes().iter().copied())
}

fn segment_policy(settings: &TopicSettings) -> SegmentPolicy {
    SegmentPolicy { max_bytes: settings.segment_bytes, max_age: settings.segment_age }
}
