//! The broker: what one process serves, put together.
//!
//! It starts the replica groups that storage has, keeps the partition table in step with the
//! metadata, and carries out what the API asks for. It knows no protobuf and no socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ropewalk_cluster::{
    BrokerInfo, Metadata, MetadataAnswer, MetadataCommand, MetadataMachine, MetadataWatch, Topic,
    TopicSettings, TopicUpdate,
};
use ropewalk_consensus::shard::NewGroup;
use ropewalk_consensus::{ProposalKind, Receipt, StateMachine};
use ropewalk_core::{Clock, GroupId, NodeId, PartitionId, TopicId, limits, names};
use ropewalk_storage::group_log::SegmentPolicy;
use ropewalk_storage::{Engine, StorageError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::delivery::DeliveryOptions;
use crate::driver::{Driver, DriverConfig, GroupWatch, OnFatal, Threads};
use crate::errors::{AppendError, CommitError, Missing, StorageFull, TopicError};
use crate::follow::Follower;
use crate::metrics::Metrics;
use crate::offsets::{OffsetCommand, OffsetError, OffsetMachine, SharedOffsets, coordinator_of};
use crate::partition::{Partition, Reserved, propose};
use crate::pools::Pools;
use crate::retention;
use crate::table::{Reconciler, ServedTopic, TableSnapshot, TableWatch};

/// Reads of the disk at a time.
const DISK_READS: usize = 4;
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
    pub cluster_id: String,
    /// Where clients reach this broker, as HOST:PORT.
    pub address: String,
    /// The version of the binary.
    pub version: String,
    /// How many threads own replica groups.
    pub shards: usize,
    /// The bytes of appends that may wait for the disk.
    pub append_budget: usize,
    /// The bytes of recent entries kept in memory.
    pub tail_budget: u64,
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
    driver: Driver,
    table: TableWatch,
    metadata_watch: MetadataWatch,
    offsets: Vec<SharedOffsets>,
    appends: Arc<Semaphore>,
    pools: Pools,
    keyless: AtomicU32,
    config: BrokerConfig,
    metadata_group: Arc<GroupWatch>,
}

/// The parts of a running broker that only its owner needs.
pub struct BrokerTasks {
    threads: Threads,
    tasks: JoinSet<()>,
}

impl BrokerTasks {
    /// Ends the broker: what was accepted is written, then the store is closed.
    pub async fn stop(mut self) -> Result<(), StorageError> {
        self.tasks.shutdown().await;
        let stopped = tokio::task::spawn_blocking(move || self.threads.stop()).await;
        stopped.expect("stopping does not panic, and is not cancelled")
    }
}

impl Broker {
    /// Starts a broker. When it returns, every partition that storage has is served.
    pub async fn start(config: BrokerConfig) -> Result<(Arc<Self>, BrokerTasks), StorageError> {
        let engine = Arc::clone(&config.engine);
        let states = tokio::task::spawn_blocking(move || engine.groups()).await;
        let states = states.expect("listing the groups does not panic, and is not cancelled")?;
        let mut stored: HashMap<_, _> =
            states.into_iter().map(|state| (state.group, state)).collect();
        let threads = Threads::start(DriverConfig {
            engine: Arc::clone(&config.engine),
            clock: Arc::clone(&config.clock),
            metrics: Arc::clone(&config.metrics),
            shards: config.shards,
            tail_budget: config.tail_budget,
            on_fatal: Arc::clone(&config.on_fatal),
        });
        let driver = threads.driver().clone();
        let stopped = |_| StorageError::Refused("the broker stopped while it started".to_owned());

        let mut watches = Vec::new();
        let mut open = async |group, machine: Box<dyn StateMachine>| {
            let watch = Arc::new(GroupWatch::default());
            let policy = SegmentPolicy::default();
            let stored = stored.remove(&group);
            let new = NewGroup { group, stored, machine: Some(machine), policy };
            watches.push(Arc::clone(&watch));
            driver.open(new, watch).await
        };
        let (machine, metadata) = MetadataMachine::new();
        open(GroupId::METADATA, Box::new(machine)).await.map_err(stopped)?;
        let mut offsets = Vec::new();
        for group in GroupId::COORDINATORS {
            let shared = SharedOffsets::default();
            offsets.push(shared.clone());
            open(group, Box::new(OffsetMachine(shared))).await.map_err(stopped)?;
        }
        for watch in &watches {
            watch.served().await;
        }
        let pools = Pools::new(DISK_READS, config.reads_budget);
        let (mut reconciler, table) =
            Reconciler::new(driver.clone(), metadata.clone(), pools.clone(), stored);
        reconciler.first().await.map_err(stopped)?;

        let broker = Arc::new(Self {
            driver,
            table: table.clone(),
            metadata_watch: metadata,
            offsets,
            appends: Arc::new(Semaphore::new(config.append_budget)),
            pools,
            keyless: AtomicU32::new(0),
            metadata_group: watches.swap_remove(0),
            config,
        });
        broker.register().await.map_err(|error| {
            StorageError::Refused(format!("this broker could not be registered: {error}"))
        })?;
        broker.register_metrics();
        let mut tasks = JoinSet::new();
        tasks.spawn(reconciler.run());
        tasks.spawn(broker.pools.clone().keep_room());
        tasks.spawn(forget_deleted_topics(Arc::clone(&broker)));
        let config = &broker.config;
        let (clock, metrics) = (Arc::clone(&config.clock), Arc::clone(&config.metrics));
        tasks.spawn(retention::run(table, config.retention_interval, clock, metrics));
        Ok((broker, BrokerTasks { threads, tasks }))
    }

    async fn register(&self) -> Result<(), TopicError> {
        let broker = BrokerInfo {
            id: self.config.node,
            address: self.config.address.clone(),
            version: self.config.version.clone(),
            started: self.config.clock.now(),
        };
        self.change_metadata(MetadataCommand::RegisterBroker(broker)).await.map(|_| ())
    }

    fn register_metrics(self: &Arc<Self>) {
        let metrics = &self.config.metrics;
        let limit = self.config.append_budget;
        let appends = Arc::clone(&self.appends);
        metrics.register_append_budget(limit as u64, move || {
            limit.saturating_sub(appends.available_permits()) as u64
        });
        let table = self.table.clone();
        metrics.register_partitions_led(move || {
            table.borrow().topics.values().map(|topic| topic.partitions.len() as u64).sum()
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
        self.metadata_group.epoch().is_some()
    }

    /// A topic.
    pub fn topic(&self, name: &str) -> Result<ServedTopic, Missing> {
        let found = self.table.borrow().topics.get(name).cloned();
        found.ok_or_else(|| Missing::Topic(name.to_owned()))
    }

    /// A topic, created with default settings where that is allowed.
    pub async fn topic_for_use(&self, name: &str) -> Result<ServedTopic, TopicError> {
        match self.topic(name) {
            Ok(topic) => Ok(topic),
            Err(missing) if !self.config.auto_create => {
                // What is wrong with a name does not hang on this setting.
                names::check_topic(name)?;
                Err(missing.into())
            }
            Err(missing) => {
                match self.create_topic(name, None, TopicSettings::default()).await {
                    Ok(_) => {}
                    Err(TopicError::Metadata(ropewalk_cluster::MetadataError::TopicExists(_))) => {
                        self.caught_up_with_metadata().await
                    }
                    Err(error) => return Err(error),
                }
                self.topic(name).map_err(|_| missing.into())
            }
        }
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

    /// Reserves memory for batches, waiting for it: as long as it takes, or up to `timeout`.
    pub async fn reserve(
        &self,
        bytes: usize,
        timeout: Option<Duration>,
    ) -> Result<Reserved, AppendError> {
        let limit = self.config.append_budget;
        let wanted = u32::try_from(bytes.min(limit)).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.appends).acquire_many_owned(wanted);
        let permits = match timeout {
            None => permits.await,
            Some(timeout) => tokio::time::timeout(timeout, permits)
                .await
                .map_err(|_| AppendError::Overloaded { limit })?,
        };
        permits.map(Reserved).map_err(|_| AppendError::Draining)
    }

    /// A reader that follows no partition yet.
    #[must_use]
    pub fn follower(&self, options: DeliveryOptions) -> Follower {
        let metrics = Arc::clone(&self.config.metrics);
        Follower::new(options, self.pools.clone(), metrics)
    }

    /// Creates a topic. When it returns, the topic is served.
    pub async fn create_topic(
        &self,
        name: &str,
        partition_count: Option<i64>,
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
            settings,
            created: self.config.clock.now(),
        };
        self.change_topic(command, name).await
    }

    /// Changes a topic. When it returns, the change is in force.
    pub async fn update_topic(
        &self,
        name: &str,
        update: TopicUpdate,
    ) -> Result<Arc<Topic>, TopicError> {
        let id = self.topic(name)?.topic.id;
        let limit = limits::MAX_PARTITIONS_PER_TOPIC;
        if let Some(count) = update.partition_count.filter(|count| *count > limit) {
            return Err(TopicError::PartitionCount { limit, actual: i64::from(count) });
        }
        if update.partition_count.is_some() {
            self.check_room_for_commands()?;
        }
        self.change_topic(MetadataCommand::UpdateTopic { id, update }, name).await
    }

    /// Deletes a topic. When it returns, nobody can use it any more; its space comes back later.
    pub async fn delete_topic(&self, name: &str) -> Result<(), TopicError> {
        let id = self.topic(name)?.topic.id;
        self.change_topic(MetadataCommand::DeleteTopic { id }, name).await.map(|_| ())
    }

    async fn change_topic(
        &self,
        command: MetadataCommand,
        name: &str,
    ) -> Result<Arc<Topic>, TopicError> {
        let answer = self.change_metadata(command).await?;
        let topic = answer.map_err(|error| match error {
            ropewalk_cluster::MetadataError::TopicNotFound => {
                TopicError::Missing(Missing::Topic(name.to_owned()))
            }
            error => TopicError::Metadata(error),
        })?;
        self.caught_up_with_metadata().await;
        topic.ok_or_else(|| Missing::Topic(name.to_owned()).into())
    }

    async fn change_metadata(
        &self,
        command: MetadataCommand,
    ) -> Result<MetadataAnswer, TopicError> {
        let kind = ProposalKind::Command(command.encode());
        let receipt = propose(&self.driver, GroupId::METADATA, kind, None).await?;
        Ok(answer::<MetadataAnswer>(receipt))
    }

    /// Waits until the table carries out what the metadata says at this moment.
    async fn caught_up_with_metadata(&self) {
        let index = self.metadata().index;
        let mut table = self.table.clone();
        // The reconciler lives as long as the broker serves calls.
        let _ = table.wait_for(|table| table.settled >= index).await;
    }

    /// The newest metadata, which the table may not carry out yet.
    fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.metadata_watch.borrow())
    }

    /// The committed offsets of the coordinator group that a consumer group lives in.
    #[must_use]
    pub fn offsets_of(&self, group: &str) -> &SharedOffsets {
        &self.offsets[coordinator_of(group)]
    }

    /// Keeps positions of a consumer group. When it returns, they are on disk.
    pub async fn commit(&self, group: &str, command: OffsetCommand) -> Result<(), CommitError> {
        self.check_room_for_commands()?;
        let coordinator = GroupId::COORDINATORS[coordinator_of(group)];
        self.command_offsets(coordinator, &command).await
    }

    async fn command_offsets(
        &self,
        coordinator: GroupId,
        command: &OffsetCommand,
    ) -> Result<(), CommitError> {
        let command = command.encode();
        let reserved = self.reserve(command.len(), Some(RESERVE_TIMEOUT)).await?;
        let kind = ProposalKind::Command(command);
        let receipt = propose(&self.driver, coordinator, kind, Some(reserved)).await?;
        Ok(answer::<Result<(), OffsetError>>(receipt)?)
    }
}

fn answer<T: 'static>(receipt: Receipt) -> T {
    match receipt {
        Receipt::Applied(response) => {
            *response.downcast().expect("a machine answers in its own type")
        }
        Receipt::Appended { .. } | Receipt::Trimmed(_) => {
            unreachable!("a command is answered as a command")
        }
    }
}

/// Removes committed offsets of topics that are gone: at start, and after each deletion.
async fn forget_deleted_topics(broker: Arc<Broker>) {
    let mut table = broker.watch_table();
    loop {
        table.mark_unchanged();
        for (coordinator, offsets) in GroupId::COORDINATORS.into_iter().zip(&broker.offsets) {
            let committed = offsets.lock().topics();
            // Looked at after the commits were: a topic that has one was there before, and is gone
            // if it is not there now. The other way round, a new topic would pass for a deleted
            // one.
            let metadata = Arc::clone(&table.borrow().metadata);
            let alive: std::collections::BTreeSet<_> =
                metadata.topics.values().map(|topic| topic.id).collect();
            let gone: Vec<_> = committed.difference(&alive).copied().collect();
            for topic in gone {
                let forget = OffsetCommand::ForgetTopic(topic);
                if let Err(error) = broker.command_offsets(coordinator, &forget).await {
                    tracing::warn!(%topic, %error, "offsets of a deleted topic are kept for now");
                }
            }
        }
        if table.changed().await.is_err() {
            return;
        }
    }
}
