//! An immutable picture of the cluster: what there is, and where it is to be.
//!
//! It says what is wanted, not what is: who leads a group now, and which replicas it has at the
//! moment, only the group knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_core::{GroupId, NodeId, PartitionId, ReplicaId, Timestamp, TopicId};

use crate::former::Formers;
use crate::level;
use crate::settings::TopicSettings;

/// The id of a data directory, written into it at its first start.
pub type DirectoryId = [u8; 16];

/// The id of a cluster, chosen when it is formed.
pub type ClusterId = [u8; 16];

/// A partition of a topic, and where it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartition {
    /// Its replica group.
    pub group: GroupId,
    /// The replicas that it is to have; the first is the preferred leader.
    pub replicas: Vec<ReplicaId>,
    /// The voters with which its group begins. They never change, so that every founder begins with
    /// the same ones, whenever it hears of the partition.
    pub founders: Vec<ReplicaId>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Never used again, unlike the name.
    pub id: TopicId,
    /// The name, which another topic may have after this one is deleted.
    pub name: String,
    /// The partitions, by their number.
    pub partitions: Vec<TopicPartition>,
    /// The number of replicas of each partition: 1, 3 or 5.
    pub replication_factor: u32,
    /// The settings in force.
    pub settings: TopicSettings,
    /// When it was created.
    pub created: Timestamp,
}

impl Topic {
    /// The number of partitions.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("limits bound the partitions of a topic")
    }

    /// The partitions and their replica groups.
    pub fn groups(&self) -> impl Iterator<Item = (PartitionId, GroupId)> {
        (0..).map(PartitionId).zip(self.partitions.iter().map(|partition| partition.group))
    }

    /// The partition with this number.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&TopicPartition> {
        self.partitions.get(id.0 as usize)
    }
}

/// Where one of the broker's own groups is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The voters that it is to have; the first is the preferred leader.
    pub replicas: Vec<ReplicaId>,
    /// The voters with which it begins. They never change.
    pub founders: Vec<ReplicaId>,
}

/// The members that a group is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The replicas that vote; the first is the preferred leader.
    pub voters: Vec<ReplicaId>,
    /// The replicas that get the log and do not vote. A replica that voted before is to stay under
    /// its id, without its vote.
    pub learners: Vec<ReplicaId>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerInfo {
    /// Its id.
    pub id: NodeId,
    /// Where clients reach it, as HOST:PORT.
    pub address: String,
    /// Where other brokers reach it, as HOST:PORT.
    pub peer_address: String,
    /// The rack or zone it stands in: replicas are spread over racks. Brokers without one count as
    /// one rack.
    pub rack: Option<String>,
    /// The id of its data directory.
    pub directory: DirectoryId,
    /// The version of its binary.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
    /// It is to lead nothing and to get no new replica while others can.
    pub is_draining: bool,
    /// Its replica of the metadata group, as voter or learner.
    pub metadata_replica: ReplicaId,
    /// The level up to which it knows what is written.
    pub level: u32,
}

/// Partitions of a topic whose groups were given out in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    topic: String,
    first: usize,
    count: usize,
}

/// The cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The index of the last command that is in it.
    pub index: u64,
    /// The id of the cluster; `None` before it is formed.
    pub cluster_id: Option<ClusterId>,
    /// Founders that have not registered yet, with the directories that they are to have.
    pub awaited: BTreeMap<NodeId, DirectoryId>,
    /// The brokers, by id.
    pub brokers: BTreeMap<NodeId, Arc<BrokerInfo>>,
    /// The topics, by name.
    pub topics: BTreeMap<String, Arc<Topic>>,
    /// The metadata group and the groups that keep consumer groups. Empty before the cluster is
    /// formed.
    pub system: BTreeMap<GroupId, Placement>,
    /// The group that the next partition gets.
    pub next_group: GroupId,
    /// Which partitions have which groups, by the first group of a run. Shared by all pictures
    /// until topics change.
    runs: Arc<BTreeMap<GroupId, Run>>,
    /// Data directories that must not come back: what their replicas have said is void. Shared by
    /// all pictures until there is another one.
    pub(crate) retired: Arc<BTreeMap<DirectoryId, Retired>>,
    /// Replicas that groups are not to have any more, and may still count.
    pub(crate) former: Formers,
}

/// A data directory whose broker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retired {
    /// The broker that had it.
    pub(crate) broker: NodeId,
    /// The command with which it lost it.
    pub(crate) index: u64,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            index: 0,
            cluster_id: None,
            awaited: BTreeMap::new(),
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            system: BTreeMap::new(),
            next_group: GroupId::FIRST_PARTITION,
            runs: Arc::default(),
            retired: Arc::default(),
            former: Formers::default(),
        }
    }
}

impl Metadata {
    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// Whether the broker that had this data directory was removed, or came back with another one.
    #[must_use]
    pub fn is_retired(&self, directory: DirectoryId) -> bool {
        self.retired.contains_key(&directory)
    }

    /// The level up to which every broker knows what is written, also founders that are still
    /// awaited. It never falls: a broker below it is not taken in. So whoever sees it late may go
    /// by what it sees.
    #[must_use]
    pub fn level(&self) -> u32 {
        let awaited = self.awaited.keys().map(|_| level::FIRST);
        let levels = self.brokers.values().map(|broker| broker.level).chain(awaited);
        levels.min().unwrap_or(level::FIRST)
    }

    /// The topic with this id. Looks at one topic after the other.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.values().find(|topic| topic.id == id)
    }

    /// The number of partitions of all topics.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.runs.values().map(|run| run.count).sum()
    }

    /// Whose partition has this group.
    #[must_use]
    pub fn partition(&self, group: GroupId) -> Option<(&Arc<Topic>, PartitionId)> {
        let (first, run) = self.runs.range(..=group).next_back()?;
        let ahead = usize::try_from(group.0 - first.0).ok().filter(|ahead| *ahead < run.count)?;
        let id = u32::try_from(run.first + ahead).ok()?;
        Some((self.topics.get(&run.topic)?, PartitionId(id)))
    }

    /// The replicas that a group is to have as voters, the preferred leader first.
    #[must_use]
    pub fn replicas(&self, group: GroupId) -> Option<&[ReplicaId]> {
        self.placed(group).map(|(replicas, _)| replicas)
    }

    /// The voters with which a group begins.
    #[must_use]
    pub fn founders(&self, group: GroupId) -> Option<&[ReplicaId]> {
        self.placed(group).map(|(_, founders)| founders)
    }

    /// The replicas and the founders of a group.
    fn placed(&self, group: GroupId) -> Option<(&[ReplicaId], &[ReplicaId])> {
        if let Some(Placement { replicas, founders }) = self.system.get(&group) {
            return Some((replicas, founders));
        }
        let (topic, id) = self.partition(group)?;
        let TopicPartition { replicas, founders, .. } = topic.partition(id)?;
        Some((replicas, founders))
    }

    /// The members that a group is to have; `None` when there is no such group, or no longer.
    #[must_use]
    pub fn desired(&self, group: GroupId) -> Option<Desired> {
        let voters = self.replicas(group)?.to_vec();
        let mut learners = Vec::new();
        if group == GroupId::METADATA {
            let all = self.brokers.keys().chain(self.awaited.keys());
            let all = all.filter_map(|id| self.metadata_replica(*id));
            learners.extend(all.filter(|replica| !voters.contains(replica)));
        }
        Some(Desired { voters, learners })
    }

    /// A broker's replica of the metadata group, also of a founder that is still awaited.
    #[must_use]
    pub fn metadata_replica(&self, node: NodeId) -> Option<ReplicaId> {
        let broker = self.brokers.get(&node).map(|broker| broker.metadata_replica);
        let founder = || self.awaited.get(&node).map(|_| ReplicaId::new(node, 0));
        broker.or_else(founder)
    }

    /// The replica that is to lead a group while its broker is alive: the first one whose broker is
    /// not draining.
    #[must_use]
    pub fn preferred_leader(&self, group: GroupId) -> Option<ReplicaId> {
        let replicas = self.replicas(group)?;
        let stays = |replica: &&ReplicaId| !self.is_draining(replica.node());
        replicas.iter().find(stays).or(replicas.first()).copied()
    }

    /// Whether a broker is draining.
    #[must_use]
    pub fn is_draining(&self, node: NodeId) -> bool {
        self.brokers.get(&node).is_some_and(|broker| broker.is_draining)
    }

    /// Every group with the voters that it is to have: the broker's own, then the partitions of one
    /// topic after the other.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &[ReplicaId])> {
        let system = self.system.iter().map(|(group, placement)| (*group, &*placement.replicas));
        let partitions = self.topics.values().flat_map(|topic| &topic.partitions);
        system.chain(partitions.map(|partition| (partition.group, &*partition.replicas)))
    }

    /// The replicas that a broker is to have, as voter or learner.
    #[must_use]
    pub fn replicas_on(&self, node: NodeId) -> BTreeMap<GroupId, ReplicaId> {
        let learner = self.metadata_replica(node).map(|replica| (GroupId::METADATA, replica));
        let voters = self.groups().filter_map(|(group, replicas)| {
            let replica = replicas.iter().find(|replica| replica.node() == node)?;
            Some((group, *replica))
        });
        learner.into_iter().chain(voters).collect()
    }

    /// Where clients reach a broker, as HOST:PORT.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<&str> {
        self.brokers.get(&node).map(|broker| broker.address.as_str())
    }

    /// Where other brokers reach a broker, as HOST:PORT.
    #[must_use]
    pub fn peer_address(&self, node: NodeId) -> Option<&str> {
        self.brokers.get(&node).map(|broker| broker.peer_address.as_str())
    }

    /// Takes a topic in, in place of the one with its name.
    pub(crate) fn put_topic(&mut self, topic: Topic) {
        let current = self.topics.get(&topic.name);
        if current.is_none_or(|current| !topic.groups().eq(current.groups())) {
            let runs = Arc::make_mut(&mut self.runs);
            runs.retain(|_, run| run.topic != topic.name);
            add_runs(runs, &topic);
        }
        self.topics.insert(topic.name.clone(), Arc::new(topic));
    }

    /// Takes a topic out.
    pub(crate) fn remove_topic(&mut self, name: &str) -> Option<Arc<Topic>> {
        Arc::make_mut(&mut self.runs).retain(|_, run| run.topic != name);
        let topic = self.topics.remove(name)?;
        topic.groups().for_each(|(_, group)| self.former.forget_group(group));
        Some(topic)
    }
}

fn add_runs(runs: &mut BTreeMap<GroupId, Run>, topic: &Topic) {
    let mut begin = 0;
    for end in 1..=topic.partitions.len() {
        let group = |at: usize| topic.partitions[at].group;
        if end == topic.partitions.len() || group(end).0 != group(end - 1).0 + 1 {
            let run = Run { topic: topic.name.clone(), first: begin, count: end - begin };
            runs.insert(group(begin), run);
            begin = end;
        }
    }
}
