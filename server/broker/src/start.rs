//! From the store to a running broker, and what runs beside it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use ropewalk_cluster::{
    BrokerInfo, BrokerRegistration, Metadata, MetadataCommand, MetadataError, MetadataMachine,
    MetadataWatch,
};
use ropewalk_consensus::shard::NewGroup;
use ropewalk_core::{GroupId, ReplicaId};
use ropewalk_storage::group_log::SegmentPolicy;
use ropewalk_storage::{GroupState, StorageError};
use tokio::task::JoinSet;

use crate::append_memory::AppendMemory;
use crate::broker::{Broker, BrokerConfig, command_metadata};
use crate::coordinating::Coordinating;
use crate::coordinator::CoordinatorCommand;
use crate::driver::{DriverConfig, Stopped, Threads};
use crate::errors::TopicError;
use crate::group_handle::{GroupHandle, Ways};
use crate::group_watch::{GroupChanges, GroupWatch};
use crate::groups::Groups;
use crate::inbound::Running;
use crate::keeper::Keeper;
use crate::members::{self, Members};
use crate::pools::Pools;
use crate::registration::founding_replica;
use crate::retention::{self, Compactor};
use crate::sights::Asked;
use crate::survey::SurveyCache;
use crate::table::Reconciler;
use crate::whereabouts::Whereabouts;

/// Reads of the disk at a time.
pub(crate) const DISK_READS: usize = 4;
/// The pause before the metadata group is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// The longest pause where it has refused.
const ASK_AT_LEAST: Duration = Duration::from_secs(30);

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
    /// Starts a broker. When it returns, the broker is registered with its cluster, and every
    /// partition that needs no other broker is served.
    ///
    /// # Errors
    /// `Refused` when the cluster does not take the broker in; those of the store.
    pub async fn start(config: BrokerConfig) -> Result<(Arc<Self>, BrokerTasks), StorageError> {
        let mut stored = stored_groups(&config).await?;
        let changes = Arc::new(GroupChanges::default());
        let threads = Threads::start(driver_config(&config, &changes));
        let peers = Arc::clone(&config.links.peers);
        let driver = threads.driver().clone();
        let ways = Ways::new(config.node, driver.clone(), peers);

        let (machine, metadata) = MetadataMachine::of_level(config.level);
        let new = metadata_group(&config, stored.remove(&GroupId::METADATA), machine);
        let watch = Arc::new(GroupWatch::new(new.replica));
        let groups = Arc::new(Groups::default());
        groups.insert(GroupId::METADATA, Arc::clone(&watch));
        ways.driver.open(new, Arc::clone(&watch)).await.map_err(stopped)?;
        let pools = Pools::new(DISK_READS, config.reads_budget);
        let appends = AppendMemory::new(config.append_budget);
        config.links.inbound.begin(running(&config, &ways, &groups, &metadata, &pools));
        watch.opened().await;
        let mut tasks = JoinSet::new();
        tasks.spawn(Whereabouts::new(&config, &metadata, &groups).follow());
        let voters = metadata_nodes(&metadata.borrow(), &config);
        let handle = GroupHandle::new(GroupId::METADATA, &ways, Some(watch), &voters);
        let registration = registration(&config);
        registered(&config, &handle, &metadata, &registration).await?;
        tasks.spawn(stay_registered(registration, handle.clone(), metadata.clone()));

        let (mut reconciler, table) = Reconciler::new(
            Arc::clone(&ways),
            metadata.clone(),
            pools.clone(),
            stored,
            Arc::clone(&groups),
        );
        reconciler.first().await.map_err(stopped)?;
        config.links.inbound.settle();
        config.links.inbound.begin_polls(table.clone());
        let alive = config.links.inbound.watch_alive();
        let broker = Arc::new(Self {
            table: table.clone(),
            metadata_watch: metadata.clone(),
            metadata: handle,
            appends,
            pools,
            keyless: AtomicU32::new(0),
            alive: alive.clone(),
            survey: SurveyCache::default(),
            members: Members::default(),
            asked: Asked::default(),
            config,
        });
        broker.register_metrics();
        tasks.spawn(reconciler.run());
        tasks.spawn(Keeper { ways, metadata, groups, changes, alive }.run());
        tasks.spawn(broker.pools.clone().keep_room());
        tasks.spawn(forget_deleted_topics(Arc::clone(&broker)));
        tasks.spawn(members::tell(Arc::clone(&broker)));
        tasks.spawn(Coordinating::new(Arc::clone(&broker)).run());
        let config = &broker.config;
        let (clock, metrics) = (Arc::clone(&config.clock), Arc::clone(&config.metrics));
        let interval = config.retention_interval;
        let compactor = Compactor { driver, metadata: broker.metadata_watch.clone() };
        tasks.spawn(retention::run(table, interval, clock, metrics, compactor));
        Ok((broker, BrokerTasks { threads, tasks }))
    }
}

/// What serves other brokers.
fn running(
    config: &BrokerConfig,
    ways: &Ways,
    groups: &Arc<Groups>,
    metadata: &MetadataWatch,
    pools: &Pools,
) -> Running {
    Running {
        driver: ways.driver.clone(),
        groups: Arc::clone(groups),
        metadata: metadata.clone(),
        appends: AppendMemory::new(config.append_budget),
        free_space_floor: config.free_space_floor,
        engine: Arc::clone(&config.engine),
        pools: pools.clone(),
    }
}

fn driver_config(config: &BrokerConfig, changes: &Arc<GroupChanges>) -> DriverConfig {
    DriverConfig {
        engine: Arc::clone(&config.engine),
        clock: Arc::clone(&config.clock),
        metrics: Arc::clone(&config.metrics),
        shards: config.shards,
        tail_budget: config.tail_budget,
        catch_up_rate: config.catch_up_rate,
        compaction_rate: config.compaction_rate,
        producers: config.producers,
        key_budget: config.key_budget,
        on_fatal: Arc::clone(&config.on_fatal),
        peers: Arc::clone(&config.links.peers),
        changes: Arc::clone(changes),
        lines: config.links.inbound.lines(),
    }
}

async fn stored_groups(
    config: &BrokerConfig,
) -> Result<HashMap<GroupId, GroupState>, StorageError> {
    let engine = Arc::clone(&config.engine);
    let states = tokio::task::spawn_blocking(move || engine.groups()).await;
    let states = states.expect("listing the groups does not panic, and is not cancelled")?;
    Ok(states.into_iter().map(|state| (state.group, state)).collect())
}

fn stopped(_: Stopped) -> StorageError {
    StorageError::Refused("the broker stopped while it started".to_owned())
}

/// The metadata group as the store has it, or as it begins on this broker.
fn metadata_group(
    config: &BrokerConfig,
    stored: Option<GroupState>,
    machine: MetadataMachine,
) -> NewGroup {
    let replica = stored.as_ref().map_or(config.metadata_replica, |state| state.replica);
    let founders: Vec<_> =
        config.founders.iter().map(|(node, _)| founding_replica(*node)).collect();
    let is_founder = replica == founding_replica(config.node) && founders.contains(&replica);
    NewGroup {
        group: GroupId::METADATA,
        stored,
        replica,
        founders: if is_founder { founders } else { Vec::new() },
        machine: Some(Box::new(machine)),
        policy: SegmentPolicy::default(),
    }
}

fn metadata_nodes(metadata: &Metadata, config: &BrokerConfig) -> Vec<ReplicaId> {
    let known = metadata.replicas(GroupId::METADATA).map(<[_]>::to_vec);
    let founders = || config.founders.iter().map(|(node, _)| founding_replica(*node)).collect();
    known.unwrap_or_else(founders)
}

/// What this broker says of itself.
fn registration(config: &BrokerConfig) -> BrokerRegistration {
    BrokerRegistration {
        id: config.node,
        directory: config.directory,
        address: config.address.clone(),
        peer_address: config.peer_address.clone(),
        rack: config.rack.clone(),
        version: config.version.clone(),
        started: config.clock.now(),
        level: config.level,
    }
}

/// Makes sure that the cluster is formed and knows this broker as it is now. A broker that it knows
/// so already, by what is on the disk here, waits for nobody. Nor does one that was removed: it may
/// have what nobody else has, and goes on until nobody needs it.
async fn registered(
    config: &BrokerConfig,
    metadata: &GroupHandle,
    watch: &MetadataWatch,
    registration: &BrokerRegistration,
) -> Result<(), StorageError> {
    let refused = |error: &dyn std::fmt::Display| {
        StorageError::Refused(format!("this broker could not be registered: {error}"))
    };
    if watch.borrow().is_retired(config.directory) {
        return Ok(());
    }
    let level = || watch.borrow().level();
    if config.level < level() {
        // Nobody needs to be asked, and it could carry nothing out.
        return Err(refused(&MetadataError::LevelTooLow {
            broker: config.level,
            cluster: level(),
        }));
    }
    let is_alone = config.founders.len() == 1 && watch.borrow().brokers.len() <= 1;
    let known = watch.borrow().brokers.get(&config.node).cloned();
    if !is_alone && known.is_some_and(|known| is_same(&known, registration)) {
        return Ok(());
    }
    loop {
        if metadata.is_led_here() && watch.borrow().cluster_id.is_none() {
            let founders = config.founders.clone();
            let form = MetadataCommand::Form { cluster_id: config.cluster_id, founders };
            if let Err(error) = command_metadata(metadata, level(), &form).await {
                tracing::debug!(%error, "the cluster could not be formed yet");
            }
        }
        let register = MetadataCommand::RegisterBroker(registration.clone());
        let registers = command_metadata(metadata, level(), &register);
        let result = tokio::select! {
            result = registers => result,
            () = config.links.inbound.refused() => return Ok(()),
        };
        match result {
            Ok(_) | Err(TopicError::Metadata(MetadataError::BrokerRemoved(_))) => return Ok(()),
            Err(TopicError::Metadata(MetadataError::NotFormed) | TopicError::Propose(_)) => {}
            Err(error) => return Err(refused(&error)),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Registers this broker again where the cluster knows it otherwise than it is: what it found on
/// its disk may be older than what it has said of itself since, as when it was upgraded, taken back
/// and upgraded again at once.
async fn stay_registered(
    registration: BrokerRegistration,
    metadata: GroupHandle,
    mut watch: MetadataWatch,
) {
    let is_other = |known: &Arc<Metadata>| {
        let known = known.brokers.get(&registration.id);
        // With another directory it is another broker.
        let is_this = |known: &&Arc<BrokerInfo>| known.directory == registration.directory;
        known.filter(is_this).is_some_and(|known| !is_same(known, &registration))
    };
    let mut pause = ASK_AGAIN;
    while let Ok(level) = watch.wait_for(is_other).await.map(|known| known.level()) {
        let register = MetadataCommand::RegisterBroker(registration.clone());
        if let Err(error) = command_metadata(&metadata, level, &register).await {
            tracing::warn!(%error, "the cluster knows this broker as it was before: trying again");
            pause = (pause * 2).min(ASK_AT_LEAST);
        }
        // It learns of its success a moment later.
        tokio::time::sleep(pause).await;
    }
}

fn is_same(known: &BrokerInfo, registration: &BrokerRegistration) -> bool {
    known.address == registration.address
        && known.peer_address == registration.peer_address
        && known.rack == registration.rack
        && known.version == registration.version
        && known.level == registration.level
        && known.directory == registration.directory
}

/// Removes committed offsets of topics that are gone: at start, and after each deletion. Each
/// coordinator's leader does it.
async fn forget_deleted_topics(broker: Arc<Broker>) {
    let mut table = broker.watch_table();
    loop {
        table.mark_unchanged();
        let coordinators = Arc::clone(&table.borrow().coordinators);
        for coordinator in coordinators.values().filter(|found| found.handle.is_led_here()) {
            let Some(state) = &coordinator.state else { continue };
            let committed = state.lock().offsets.topics();
            // Looked at after the commits were: a topic that has one was there before, and is gone
            // if it is not there now. The other way round, a new topic would pass for a deleted
            // one.
            let metadata = Arc::clone(&broker.metadata_watch.borrow());
            let alive: std::collections::BTreeSet<_> =
                metadata.topics.values().map(|topic| topic.id).collect();
            let gone: Vec<_> = committed.difference(&alive).copied().collect();
            for topic in gone {
                let forget = CoordinatorCommand::ForgetTopic(topic);
                if let Err(error) = broker.command_coordinator(&coordinator.handle, &forget).await {
                    tracing::warn!(%topic, %error, "offsets of a deleted topic are kept for now");
                }
            }
        }
        if table.changed().await.is_err() {
            return;
        }
    }
}
