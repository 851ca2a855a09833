//! The broker: what one process serves, put together.
//!
//! It starts the replica groups that storage has, keeps the partition table in step with the
//! metadata, and carries out what the API asks for. It knows no protobuf and no socket.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ropewalk_cluster::answer::{decode_applied, decode_index};
use ropewalk_cluster::{
    ClusterId, DirectoryId, KEY_VERSIONS, Metadata, MetadataCommand, MetadataError, MetadataReply,
    MetadataWatch, RECORD_TTLS, SEQUENCES, Topic, TopicSettings, TopicUpdate,
};
use ropewalk_consensus::{Expected, ProducerBounds, ProposalKind, ProposeError};
use ropewalk_core::{Clock, GroupId, NodeId, PartitionId, ReplicaId, TopicId, limits, names};
use ropewalk_storage::Engine;

use crate::append_memory::AppendMemory;
use crate::coordinator::{CoordinatorCommand, CoordinatorReply, coordinator_of, decode_answer};
use crate::delivery::DeliveryOptions;
use crate::driver::OnFatal;
use crate::errors::{AppendError, CommitError, Missing, StorageFull, TopicError};
use crate::follow::Follower;
use crate::group_handle::{APPEND_LEADER_TIMEOUT, GroupHandle, LEADER_TIMEOUT};
use crate::members::Members;
use crate::metrics::Metrics;
use crate::offsets::{Position, decode_positions};
use crate::partition::{Partition, Reserved, expects_version};
use crate::pools::Pools;
use crate::producer_ids::ProducerIdentity;
use crate::registration::PeerLinks;
use crate::sights::Asked;
use crate::survey::SurveyCache;
use crate::table::{ServedTopic, TableSnapshot, TableWatch};

/// How long a command waits for memory before it is refused.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a broker is started with.
pub struct BrokerConfig {
    /// The store.
    pub engine: Arc<dyn Engine>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The instruments.
    pub metrics: Arc<Metrics>,
    /// Ends the process when the log cannot be kept any more.
    pub on_fatal: OnFatal,
    /// This broker's id.
    pub node: NodeId,
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// The id of this broker's data directory.
    pub directory: DirectoryId,
    /// The brokers that formed the cluster, with their data directories at that time.
    pub founders: Vec<(NodeId, DirectoryId)>,
    /// This broker's replica of the metadata group, where the store has none yet.
    pub metadata_replica: ReplicaId,
    /// The ways to other brokers.
    pub links: PeerLinks,
    /// Where other brokers are, as far as it is known before the metadata is.
    pub addresses: std::collections::BTreeMap<NodeId, String>,
    /// Peer addresses to ask for brokers that are not where the metadata says: all may have moved.
    pub join: Vec<String>,
    /// Where other brokers reach this one, as HOST:PORT.
    pub peer_address: String,
    /// The rack or zone it stands in.
    pub rack: Option<String>,
    /// Where clients reach this broker, as HOST:PORT.
    pub address: String,
    /// The version of the binary.
    pub version: String,
    /// The level up to which it knows what is written: [`ropewalk_cluster::LEVEL`], or in a test
    /// that of an older or a later version.
    pub level: u32,
    /// How many threads own replica groups.
    pub shards: usize,
    /// The bytes of appends that may wait for the disk.
    pub append_budget: usize,
    /// The bytes of recent entries kept in memory.
    pub tail_budget: u64,
    /// Bytes in each second that followers get which are behind, while there are writes beside it.
    pub catch_up_rate: u64,
    /// Bytes in each second that compaction reads, while there are writes beside it.
    pub compaction_rate: u64,
    /// How many idempotent producers a partition knows, and for how long.
    pub producers: ProducerBounds,
    /// The bytes that the versions of keys may take, of partitions to which conditional appends go.
    pub key_budget: u64,
    /// The bytes of the log that may be on their way to readers, however many there are.
    pub reads_budget: usize,
    /// The free bytes of the disk below which no records are taken.
    pub free_space_floor: u64,
    /// Whether topics are created by their first use.
    pub auto_create: bool,
    /// The number of partitions of a topic that is created without one.
    pub default_partitions: u32,
    /// The time between checks of retention.
    pub retention_interval: Duration,
}

/// A running broker.
pub struct Broker {
    pub(crate) table: TableWatch,
    pub(crate) metadata_watch: MetadataWatch,
    pub(crate) metadata: GroupHandle,
    pub(crate) appends: AppendMemory,
    pub(crate) pools: Pools,
    pub(crate) keyless: AtomicU32,
    pub(crate) alive: tokio::sync::watch::Receiver<BTreeSet<NodeId>>,
    pub(crate) survey: SurveyCache,
    pub(crate) members: Members,
    pub(crate) asked: Asked,
    pub(crate) config: BrokerConfig,
}

impl Broker {
    pub(crate) fn register_metrics(self: &Arc<Self>) {
        let metrics = &self.config.metrics;
        let limit = self.config.append_budget;
        let appends = self.appends.clone();
        metrics.register_append_budget(limit as u64, move || appends.used() as u64);
        let table = self.table.clone();
        metrics.register_partitions_led(move || {
            let topics = Arc::clone(&table.borrow().topics);
            let partitions = topics.values().flat_map(|topic| topic.partitions.iter());
            partitions.filter(|partition| partition.epoch().is_some()).count() as u64
        });
        let engine = Arc::clone(&self.config.engine);
        metrics.register_storage_size(move || engine.size_bytes());
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// The table of this moment.
    #[must_use]
    pub fn table(&self) -> TableSnapshot {
        self.table.borrow().clone()
    }

    /// Where changes of the table are seen.
    #[must_use]
    pub fn watch_table(&self) -> TableWatch {
        self.table.clone()
    }

    /// Whether this broker leads the metadata group.
    #[must_use]
    pub fn leads_metadata(&self) -> bool {
        self.metadata.is_led_here()
    }

    /// The way to the metadata group.
    #[must_use]
    pub fn metadata_group(&self) -> &GroupHandle {
        &self.metadata
    }

    /// The other brokers that can be reached.
    #[must_use]
    pub fn alive(&self) -> BTreeSet<NodeId> {
        self.alive.borrow().clone()
    }

    /// A topic.
    pub fn topic(&self, name: &str) -> Result<ServedTopic, Missing> {
        let found = self.table.borrow().topics.get(name).cloned();
        found.ok_or_else(|| Missing::Topic(name.to_owned()))
    }

    /// A topic, also one that was created through another broker a moment ago.
    pub async fn find_topic(&self, name: &str) -> Result<ServedTopic, TopicError> {
        if let Ok(found) = self.topic(name) {
            return Ok(found);
        }
        // That it is missing is known only to who leads the metadata.
        let index = if self.metadata.watch().is_some_and(|watch| watch.is_alone()) {
            self.metadata().index
        } else {
            metadata_index(&self.metadata).await?
        };
        self.knows(|table| table.settled >= index).await;
        Ok(self.topic(name)?)
    }

    /// Creates a topic that was not found with default settings, where that is allowed.
    ///
    /// # Errors
    /// That it is missing, where it is not allowed; those of a creation.
    pub async fn create_for_use(
        &self,
        name: &str,
        missing: Missing,
    ) -> Result<ServedTopic, TopicError> {
        if !self.config.auto_create {
            // What is wrong with a name does not hang on this setting.
            names::check_topic(name)?;
            return Err(missing.into());
        }
        match self.create_topic(name, None, None, TopicSettings::default()).await {
            Ok(_) => {}
            // Somebody else was faster; this broker may not know the topic yet.
            Err(TopicError::Metadata(MetadataError::TopicExists(_))) => {
                self.knows(|table| table.topics.contains_key(name)).await;
            }
            Err(error) => return Err(error),
        }
        self.topic(name).map_err(|_| missing.into())
    }

    /// A partition of a topic.
    pub fn partition(&self, topic: &ServedTopic, id: i64) -> Result<Arc<Partition>, Missing> {
        let found = u32::try_from(id).ok().and_then(|id| topic.partition(PartitionId(id)));
        found.cloned().ok_or_else(|| Missing::Partition {
            topic: topic.topic.name.clone(),
            partition: id,
            count: topic.topic.partition_count(),
        })
    }

    /// A partition for records without a key: another one from call to call.
    #[must_use]
    pub fn keyless_partition(&self, topic: &ServedTopic) -> PartitionId {
        let turn = self.keyless.fetch_add(1, Ordering::Relaxed);
        PartitionId(turn % topic.topic.partition_count().max(1))
    }

    /// Makes sure that the disk has room for records. What makes room needs none: commits, trims
    /// and deletions go on without it.
    pub fn check_room(&self) -> Result<(), StorageFull> {
        self.unless_full(self.config.engine.has_room())
    }

    /// What gives no room back is refused when hardly any is left.
    fn check_room_for_commands(&self) -> Result<(), StorageFull> {
        self.unless_full(self.config.engine.has_room_for_commands())
    }

    fn unless_full(&self, has_room: bool) -> Result<(), StorageFull> {
        let floor = self.config.free_space_floor;
        has_room.then_some(()).ok_or(StorageFull { floor })
    }

    /// Reserves memory for batches that are to be appended on this condition, waiting for it: as
    /// long as it takes, or up to `timeout`; for half a second at most where they expect the
    /// version of a key.
    pub async fn reserve(
        &self,
        bytes: usize,
        expected: Option<&Expected>,
        timeout: Option<Duration>,
    ) -> Result<Reserved, AppendError> {
        let bytes = bytes + expected.map_or(0, Expected::key_bytes);
        self.appends.reserve(bytes, expects_version(expected), timeout).await.map(Reserved)
    }

    /// A reader that follows no partition yet.
    #[must_use]
    pub fn follower(&self, options: DeliveryOptions) -> Follower {
        let metrics = Arc::clone(&self.config.metrics);
        let clock = Arc::clone(&self.config.clock);
        Follower::new(options, self.pools.clone(), metrics, clock)
    }

    /// Creates a topic. When it returns, this broker knows it and its partitions are led.
    pub async fn create_topic(
        &self,
        name: &str,
        partition_count: Option<i64>,
        replication_factor: Option<u32>,
        settings: TopicSettings,
    ) -> Result<Arc<Topic>, TopicError> {
        names::check_new_topic(name)?;
        let limit = limits::MAX_PARTITIONS_PER_TOPIC;
        let count = partition_count.unwrap_or(i64::from(self.config.default_partitions));
        let partition_count = u32::try_from(count)
            .ok()
            .filter(|count| (1..=limit).contains(count))
            .ok_or(TopicError::PartitionCount { limit, actual: count })?;
        self.check_room_for_commands()?;
        let command = MetadataCommand::CreateTopic {
            id: TopicId::random(),
            name: name.to_owned(),
            partition_count,
            replication_factor,
            settings,
            created: self.config.clock.now(),
        };
        let topic = self.change_topic(command, name).await?;
        self.partitions_led(name).await;
        Ok(topic)
    }

    /// Changes a topic. When it returns, this broker has carried the change out.
    pub async fn update_topic(
        &self,
        name: &str,
        update: TopicUpdate,
    ) -> Result<Arc<Topic>, TopicError> {
        let id = self.find_topic(name).await?.topic.id;
        let limit = limits::MAX_PARTITIONS_PER_TOPIC;
        if let Some(count) = update.partition_count.filter(|count| *count > limit) {
            return Err(TopicError::PartitionCount { limit, actual: i64::from(count) });
        }
        if update.partition_count.is_some() {
            self.check_room_for_commands()?;
        }
        let topic = self.change_topic(MetadataCommand::UpdateTopic { id, update }, name).await?;
        self.partitions_led(name).await;
        Ok(topic)
    }

    /// Deletes a topic. When it returns, nobody can use it any more through this broker; its space
    /// comes back later.
    pub async fn delete_topic(&self, name: &str) -> Result<(), TopicError> {
        let id = self.find_topic(name).await?.topic.id;
        self.change_topic(MetadataCommand::DeleteTopic { id }, name).await.map(|_| ())
    }

    async fn change_topic(
        &self,
        command: MetadataCommand,
        name: &str,
    ) -> Result<Arc<Topic>, TopicError> {
        let reply = self.change_metadata(&command).await.map_err(|error| match error {
            TopicError::Metadata(MetadataError::TopicNotFound) => {
                TopicError::Missing(Missing::Topic(name.to_owned()))
            }
            error => error,
        })?;
        reply.topic.ok_or_else(|| Missing::Topic(name.to_owned()).into())
    }

    /// Changes the metadata, through whichever broker leads it, and waits until this broker has
    /// carried the change out.
    pub async fn change_metadata(
        &self,
        command: &MetadataCommand,
    ) -> Result<MetadataReply, TopicError> {
        let (index, reply) =
            command_metadata(&self.metadata, self.metadata().level(), command).await?;
        self.knows(|table| table.settled >= index).await;
        Ok(reply)
    }

    /// Waits until the table is as it is wanted, but not for ever: a broker that is cut off must
    /// answer too.
    async fn knows(&self, is_so: impl Fn(&TableSnapshot) -> bool) {
        let mut table = self.table.clone();
        let wait = table.wait_for(|table| is_so(table));
        if tokio::time::timeout(LEADER_TIMEOUT, wait).await.is_err() {
            tracing::debug!("this broker is behind with the metadata");
        }
    }

    /// Waits until each partition of a topic with a replica here is led, but not for ever.
    async fn partitions_led(&self, name: &str) {
        let Ok(topic) = self.topic(name) else { return };
        let led = async {
            for watch in topic.partitions.iter().filter_map(|partition| partition.handle().watch())
            {
                let mut role = watch.watch_role();
                let own = Some(self.config.node);
                let is_led = role.wait_for(|role| match role.leader.map(ReplicaId::node) {
                    leader if leader == own => role.epoch.is_some(),
                    leader => leader.is_some(),
                });
                // The sender lives as long as the partition.
                let _ = is_led.await;
            }
        };
        if tokio::time::timeout(LEADER_TIMEOUT, led).await.is_err() {
            tracing::debug!(topic = name, "some partitions have no leader yet");
        }
    }

    /// The newest metadata, which the table may not carry out yet.
    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.metadata_watch.borrow())
    }

    /// The way to the group that keeps a consumer group.
    ///
    /// # Errors
    /// `NoLeader` while this broker does not know the coordinators yet.
    pub fn coordinator_of(&self, group: &str) -> Result<GroupHandle, ProposeError> {
        let group = GroupId::COORDINATORS[coordinator_of(group)];
        let table = self.table.borrow();
        let coordinator = table.coordinators.get(&group).ok_or(ProposeError::NoLeader)?;
        Ok(coordinator.handle.clone())
    }

    /// Every position of a consumer group, including all that was committed before this is called.
    pub async fn positions(&self, group: &str) -> Result<Vec<Position>, ProposeError> {
        let coordinator = self.coordinator_of(group)?;
        let question = || ProposalKind::Query(group.as_bytes().to_vec());
        let answer = coordinator.ask(question, None).await?;
        // What cannot be read comes from a broker of another version: somebody else may lead next.
        decode_positions(&answer).map_err(|_| ProposeError::NoLeader)
    }

    /// Keeps positions of a consumer group. When it returns, they are on disk.
    pub async fn commit(
        &self,
        group: &str,
        command: CoordinatorCommand,
    ) -> Result<(), CommitError> {
        self.check_room_for_commands()?;
        let coordinator = self.coordinator_of(group)?;
        self.command_coordinator(&coordinator, &command).await.map(|_| ())
    }

    /// Whether batches may carry sequences: every broker of the cluster must know them.
    pub fn check_sequences(&self) -> Result<(), AppendError> {
        self.check_level(SEQUENCES)
    }

    /// Whether appends may expect the version of a key: a broker that does not know of such
    /// conditions would append whatever comes with one.
    pub fn check_key_versions(&self) -> Result<(), AppendError> {
        self.check_level(KEY_VERSIONS)
    }

    /// Whether records may have a time to live of their own: a broker that does not know of that
    /// could not read such a batch.
    pub fn check_record_ttls(&self) -> Result<(), AppendError> {
        self.check_level(RECORD_TTLS)
    }

    fn check_level(&self, needed: u32) -> Result<(), AppendError> {
        let cluster = self.metadata_watch.borrow().level();
        if cluster < needed {
            return Err(AppendError::NotUpgraded(MetadataError::NotUpgraded { needed, cluster }));
        }
        Ok(())
    }

    /// Gives a producer its id and its epoch. One without a name gets an id of its own, from any
    /// coordinator.
    pub async fn init_producer(&self, name: &str) -> Result<ProducerIdentity, CommitError> {
        self.check_sequences()?;
        self.check_room_for_commands()?;
        let coordinator = match name {
            "" => self.any_coordinator()?,
            name => self.coordinator_of(name)?,
        };
        let command = CoordinatorCommand::InitProducer { name: name.to_owned() };
        // Whoever waits for an id waits to append something.
        let coordinator = coordinator.within(APPEND_LEADER_TIMEOUT);
        match self.command_coordinator(&coordinator, &command).await? {
            CoordinatorReply::Producer(identity) => Ok(identity),
            _ => unreachable!("whoever asks for an id is answered with one"),
        }
    }

    /// One that this broker leads, where there is one: nothing has to be forwarded then.
    fn any_coordinator(&self) -> Result<GroupHandle, ProposeError> {
        let table = self.table.borrow();
        let led = table.coordinators.values().find(|found| found.handle.is_led_here());
        let any = led.or_else(|| table.coordinators.values().next());
        any.map(|found| found.handle.clone()).ok_or(ProposeError::NoLeader)
    }

    pub(crate) async fn command_coordinator(
        &self,
        coordinator: &GroupHandle,
        command: &CoordinatorCommand,
    ) -> Result<CoordinatorReply, CommitError> {
        let command = command.encode();
        let reserved = self.reserve(command.len(), None, Some(RESERVE_TIMEOUT)).await?;
        let kind = || ProposalKind::Command(command.clone());
        let answer = coordinator.ask(kind, Some(Box::new(reserved))).await?;
        // A broker of another version has carried it out, perhaps.
        let unread = |_| ProposeError::LeaderChanged { epoch: 0 };
        Ok(decode_answer(&answer).map_err(unread)??)
    }
}

/// How far the metadata are, by whoever leads them.
pub(crate) async fn metadata_index(metadata: &GroupHandle) -> Result<u64, ProposeError> {
    let answer = metadata.ask(|| ProposalKind::Query(Vec::new()), None).await?;
    // What cannot be read comes from a broker of another version.
    decode_index(&answer).map_err(|_| ProposeError::NoLeader)
}

/// Gives a command to the metadata group of a cluster that has this level, or a higher one by now.
/// Returns its index with what it did.
pub(crate) async fn command_metadata(
    metadata: &GroupHandle,
    cluster: u32,
    command: &MetadataCommand,
) -> Result<(u64, MetadataReply), TopicError> {
    let needed = command.level();
    if needed > cluster {
        return Err(MetadataError::NotUpgraded { needed, cluster }.into());
    }
    let kind = || ProposalKind::Command(command.encode());
    let answer = metadata.ask(kind, None).await?;
    // A broker of another version has carried it out, perhaps.
    let unread = |_| ProposeError::LeaderChanged { epoch: 0 };
    let (index, answer) = decode_applied(&answer).map_err(unread)?;
    Ok((index, answer?))
}
