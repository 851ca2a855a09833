//! The partition table: the topics and partitions of the cluster, and the way to each.
//!
//! [`Reconciler`] is its only writer. It follows the metadata and takes up, changes and removes the
//! replicas of this broker until they are those that the metadata wants; everybody else sees
//! immutable snapshots of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ropewalk_cluster::{Metadata, MetadataWatch, Topic, TopicPartition, TopicSettings};
use ropewalk_consensus::StateMachine;
use ropewalk_consensus::shard::NewGroup;
use ropewalk_core::{GroupId, PartitionId, ReplicaId};
use ropewalk_storage::GroupState;
use ropewalk_storage::group_log::SegmentPolicy;
use tokio::sync::watch;

use crate::coordinator::{CoordinatorMachine, SharedState};
use crate::driver::Stopped;
use crate::group_handle::{GroupHandle, Ways};
use crate::group_watch::GroupWatch;
use crate::groups::Groups;
use crate::partition::Partition;
use crate::pools::Pools;

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

    /// Whether it has one of these groups.
    fn has_any(&self, groups: &BTreeSet<GroupId>) -> bool {
        !groups.is_empty() && self.partitions.iter().any(|it| groups.contains(&it.group))
    }
}

/// A group that keeps consumer groups.
#[derive(Clone)]
pub struct Coordinator {
    /// The way to it.
    pub handle: GroupHandle,
    /// What this broker's replica has of it, if it has one.
    pub(crate) state: Option<SharedState>,
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
    state: Option<SharedState>,
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
    /// The metadata is on this broker's disk up to this index, for certain.
    kept: u64,
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
        (Self { ways, metadata, table, pools, stored, held, groups, leaving, kept: 0 }, watch)
    }

    /// Makes the table say what the metadata says now. Groups whose only voter is this broker are
    /// served when it returns.
    pub(crate) async fn first(&mut self) -> Result<(), Stopped> {
        self.follow().await
    }

    /// Follows the metadata until the broker stops.
    pub(crate) async fn run(mut self) {
        while self.metadata.changed().await.is_ok() {
            if self.follow().await == Err(Stopped) {
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
        // Their partitions are read elsewhere from now on.
        let left = self.let_leave(&metadata).await?;
        let mut opened = Vec::new();
        let coordinators = self.coordinators(&metadata, &mut opened).await?;
        for topic in metadata.topics.values() {
            let served = topics.get(&topic.name);
            let is_same =
                |served: &ServedTopic| Arc::ptr_eq(&served.topic, topic) && !served.has_any(&left);
            if !served.is_some_and(is_same) {
                let served = served.cloned();
                let served = self.serve(&metadata, topic, served.as_ref(), &mut opened).await?;
                topics.insert(topic.name.clone(), served);
            }
        }
        await_all(&opened).await;
        self.publish(&metadata, &topics, Some(coordinators));
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
                let held = self.hold(metadata, *group, policy, opened).await?;
                let (watch, state) = held.map(|held| (held.watch, held.state)).unzip();
                let handle = GroupHandle::new(*group, &self.ways, watch, &placement.replicas);
                let state = state.flatten();
                coordinators.insert(*group, Coordinator { handle, state });
            }
        }
        Ok(coordinators)
    }

    fn publish(
        &self,
        metadata: &Arc<Metadata>,
        topics: &BTreeMap<String, ServedTopic>,
        settled: Option<BTreeMap<GroupId, Coordinator>>,
    ) {
        let before = self.table.borrow().clone();
        let (coordinators, settled) = match settled {
            Some(coordinators) => (Arc::new(coordinators), metadata.index),
            None => (before.coordinators, before.settled),
        };
        self.table.send_replace(TableSnapshot {
            metadata: Arc::clone(metadata),
            topics: Arc::new(topics.clone()),
            coordinators,
            settled,
        });
    }

    /// The replica that this broker is to have of a group.
    fn own(&self, metadata: &Metadata, group: GroupId) -> Option<ReplicaId> {
        let replicas = metadata.replicas(group).unwrap_or_default();
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
            self.remove(metadata, group).await?;
        }
        self.ways.forget(is_gone);
        Ok(())
    }

    /// Removes a group with its data, once it is on the disk why: were this broker to start again
    /// with the metadata of before, it would make the replica anew, without what it had promised.
    async fn remove(&mut self, metadata: &Metadata, group: GroupId) -> Result<(), Stopped> {
        if self.kept < metadata.index {
            self.ways.driver.keep(GroupId::METADATA).await?;
            self.kept = metadata.index;
        }
        self.stored.remove(&group);
        self.held.remove(&group);
        self.leaving.remove(&group);
        self.groups.remove(group);
        self.ways.driver.remove(group).await
    }

    /// Whether a replica that is here is to go with its data. The metadata gives the group back to
    /// the replica that a broker has of it, or another id if that one counts for nothing: its group
    /// has let it go, or can do without it while it is damaged.
    ///
    /// Ids of a broker rise: a lower one than that on the disk is of older metadata, which a start
    /// may find.
    fn may_go(&self, metadata: &Metadata, group: GroupId, replica: ReplicaId) -> bool {
        match self.own(metadata, group) {
            Some(own) => own.serial() > replica.serial(),
            None => metadata.has_let_go(group, replica),
        }
    }

    /// Takes up the replica that this broker is to have of a group. Returns the one that it has,
    /// also where it is not wanted any more and has not left its group yet.
    async fn hold(
        &mut self,
        metadata: &Metadata,
        group: GroupId,
        policy: SegmentPolicy,
        opened: &mut Vec<Arc<GroupWatch>>,
    ) -> Result<Option<Held>, Stopped> {
        let own = self.own(metadata, group);
        let held = self.held.get(&group).map(|held| held.replica);
        let here = held.or(self.stored.get(&group).map(|state| state.replica));
        if here.is_some_and(|here| self.may_go(metadata, group, here)) {
            // What it was told and has said is void for the one that takes its place.
            self.remove(metadata, group).await?;
        }
        if let Some(held) = self.held.get(&group).cloned() {
            self.note_leaving(group, own.is_some());
            self.ways.driver.set_policy(group, policy).await?;
            return Ok(Some(held));
        }
        let stored = self.stored.remove(&group);
        let Some(replica) = stored.as_ref().map(|state| state.replica).or(own) else {
            return Ok(None);
        };
        let founders = metadata.founders(group).unwrap_or_default();
        let founders = if founders.contains(&replica) { founders.to_vec() } else { Vec::new() };
        let state = (!group.is_partition()).then(SharedState::default);
        let machine = state.clone().map(|shared| {
            Box::new(CoordinatorMachine::new(group, shared)) as Box<dyn StateMachine>
        });
        let watch = Arc::new(GroupWatch::new(replica));
        // Before it is taken up: whoever hears what becomes of it finds it.
        self.groups.insert(group, Arc::clone(&watch));
        let new = NewGroup { group, stored, replica, founders, machine, policy };
        self.ways.driver.open(new, Arc::clone(&watch)).await?;
        opened.push(Arc::clone(&watch));
        self.note_leaving(group, own.is_some());
        let held = Held { replica, watch, state };
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
        metadata: &Metadata,
        topic: &Arc<Topic>,
        served: Option<&ServedTopic>,
        opened: &mut Vec<Arc<GroupWatch>>,
    ) -> Result<ServedTopic, Stopped> {
        let policy = segment_policy(&topic.settings);
        let name: Arc<str> = topic.name.as_str().into();
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (id, wanted) in (0..).map(PartitionId).zip(&topic.partitions) {
            let TopicPartition { group, replicas, .. } = wanted;
            let held = self.hold(metadata, *group, policy, opened).await?;
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
            partition.set_cleanup(&topic.settings.cleanup);
            partitions.push(partition);
        }
        Ok(ServedTopic { topic: Arc::clone(topic), partitions: partitions.into() })
    }

    /// Removes replicas that are not wanted here, once their groups have let them go: until then
    /// they may be the only ones that have everything. Returns the groups.
    async fn let_leave(&mut self, metadata: &Metadata) -> Result<BTreeSet<GroupId>, Stopped> {
        let may_go = |group: &GroupId| {
            let held = self.held.get(group);
            held.is_some_and(|held| metadata.has_let_go(*group, held.replica))
        };
        let left: BTreeSet<_> = self.leaving.iter().copied().filter(may_go).collect();
        for group in &left {
            tracing::info!(%group, "a replica that has left its group is removed");
            self.remove(metadata, *group).await?;
        }
        Ok(left)
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
