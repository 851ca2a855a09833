//! `ropewalk serve`: the layers put together, from the start of the process to its end.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_broker::driver::OnFatal;
use ropewalk_broker::metrics::Metrics;
use ropewalk_broker::{Broker, BrokerConfig, Engine, ProducerBounds, StorageError};
use ropewalk_cluster::LEVEL;
use ropewalk_core::{NodeId, SystemClock};
use ropewalk_rpc::{Drain, Server, ServerConfig};
use ropewalk_storage::directory::{DataDirectory, Identity, Membership};
use ropewalk_storage::disk_engine::{DiskEngine, Options};
use ropewalk_storage::memory::MemoryEngine;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{AdminServer, Readiness};
use crate::descriptors::Descriptors;
use crate::listen::listen;
use crate::peering::{Entry, Peering};
use crate::settings::{Settings, StorageEngine};
use crate::telemetry;

/// The exit code of a process whose log could not be kept.
const EXIT_STORAGE_FAILED: i32 = 74;

/// What a broker ends with that learns that it was removed: etcd's "the member has been permanently
/// removed from the cluster".
const REMOVED: &str = "this broker was removed from its cluster, or came back with another data \
                       directory since: it stops. The others have what it had, but for partitions \
                       with no other replica. To have it join again, as a new broker, start it \
                       with an empty data directory";

/// How long handing over may take before the client port drains, and after it.
const STEP_DOWN_WITHIN: Duration = Duration::from_secs(3);
const STEP_DOWN_AGAIN_WITHIN: Duration = Duration::from_millis(500);

/// Runs a broker until SIGTERM or SIGINT.
pub(crate) fn serve(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.server.threads {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build()?.block_on(run(settings))
}

async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let telemetry = telemetry::init(settings)?;
    let metrics = Arc::new(Metrics::new(&telemetry.meter()));
    let mut stop = Signals::new()?;

    // Both ports are taken before the log is opened: a clash of ports is told at once.
    let admin = AdminServer::bind(settings).await?;
    let admin_address = admin.local_addr()?;
    let (readiness, ready) = watch::channel(Readiness::Starting);
    let (end_admin, admin_ends) = tokio::sync::oneshot::channel::<()>();
    let admin = tokio::spawn(admin.serve(telemetry.scrape(), ready, async {
        let _ = admin_ends.await;
    }));
    let listener = listen("server.listen", &settings.server.listen).await?;
    let address = settings.server.advertised(listener.local_addr()?);

    let descriptors = Descriptors::share_out(settings.server.max_connections);
    let store = Store::open(settings, descriptors)?;
    let peering = Peering::open(settings, &store, &address).await?;
    peering.register(&metrics);
    let start = async {
        let entry = peering.enter(settings, &store, &address).await?;
        let config = broker_config(settings, &store, metrics, address.clone(), &peering, entry);
        Ok::<_, Box<dyn Error>>(Broker::start(config).await?)
    };
    let (broker, tasks) = tokio::select! {
        started = start => started?,
        signal = stop.received() => {
            tracing::info!(signal, "stopped before the cluster took this broker in");
            return Ok(());
        }
    };

    let (begin_drain, drain) = Drain::new();
    let server =
        Server::new(Arc::clone(&broker), server_config(settings, descriptors), drain).await;
    let mut serving = tokio::spawn(server.serve(listener));
    readiness.send_replace(Readiness::Ready);
    tracing::info!(%address, admin = %admin_address, "ready");

    let mut is_removed = false;
    tokio::select! {
        signal = stop.received() => tracing::info!(signal, "draining"),
        () = peering.removed() => {
            is_removed = true;
            tracing::error!("{REMOVED}");
        }
        served = &mut serving => return Err(format!("the client port failed: {served:?}").into()),
    }
    readiness.send_replace(Readiness::Draining);
    // First of all, so that nobody waits for an election; and once more, as others may have given
    // something back meanwhile.
    let left = broker.step_down(STEP_DOWN_WITHIN).await;
    if left > 0 {
        tracing::warn!(left, "groups are still led here: the others elect a leader");
    }
    begin_drain.send_replace(true);
    serving.await??;
    broker.step_down(STEP_DOWN_AGAIN_WITHIN).await;
    tasks.stop().await?;
    peering.end().await;
    let _ = end_admin.send(());
    admin.await??;
    tracing::info!("stopped");
    if is_removed { Err(REMOVED.into()) } else { Ok(()) }
}

pub(crate) struct Store {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) identity: Identity,
    /// Keeps other processes out of the directory for as long as it lives.
    pub(crate) directory: Option<DataDirectory>,
}

impl Store {
    fn open(settings: &Settings, descriptors: Descriptors) -> Result<Self, StorageError> {
        let node_id = NodeId(settings.server.node_id);
        match settings.storage.engine {
            StorageEngine::Memory => Ok(Self {
                engine: Arc::new(MemoryEngine::default()),
                identity: Identity::random(node_id),
                directory: None,
            }),
            StorageEngine::Disk => {
                let path: &Path = &settings.server.data_dir;
                let (directory, identity) = DataDirectory::open(path, node_id)?;
                let engine = Arc::new(DiskEngine::open(path, options(settings, descriptors))?);
                Ok(Self { engine, identity, directory: Some(directory) })
            }
        }
    }

    /// Writes down, for ever, to which cluster the directory belongs.
    pub(crate) fn join(&self, cluster: &Membership) -> Result<(), StorageError> {
        match &self.directory {
            Some(directory) => directory.join(cluster).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// The budget for readers: for recent batches, for what was read from the disk and may be read
/// again, and for what is on its way to them.
fn read_budgets(settings: &Settings) -> (u64, u64, u64) {
    let quarter = settings.memory.read_budget / 4;
    (settings.memory.read_budget - 2 * quarter, quarter, quarter)
}

fn options(settings: &Settings, descriptors: Descriptors) -> Options {
    let mut options = Options::default();
    options.journal_bytes = settings.storage.journal_size;
    options.free_floor = settings.storage.free_space_floor;
    options.open_files = descriptors.segments;
    options.cache_bytes = read_budgets(settings).1;
    options
}

fn broker_config(
    settings: &Settings,
    store: &Store,
    metrics: Arc<Metrics>,
    address: String,
    peering: &Peering,
    entry: Entry,
) -> BrokerConfig {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (tail_budget, _, reads_budget) = read_budgets(settings);
    let append_budget = usize::try_from(settings.memory.append_budget).unwrap_or(usize::MAX);
    BrokerConfig {
        engine: Arc::clone(&store.engine),
        clock: Arc::new(SystemClock::default()),
        metrics,
        on_fatal: on_fatal(),
        node: NodeId(settings.server.node_id),
        cluster_id: entry.cluster.cluster_id.0,
        directory: store.identity.directory_id,
        founders: entry.cluster.founders,
        metadata_replica: entry.metadata_replica,
        links: peering.links(),
        addresses: entry.addresses,
        join: settings.cluster.join.clone(),
        peer_address: peering.address().to_owned(),
        rack: settings.cluster.rack.clone(),
        address,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        level: LEVEL,
        shards: (cores / 2).max(1),
        append_budget: append_budget.min(tokio::sync::Semaphore::MAX_PERMITS),
        tail_budget,
        catch_up_rate: settings.cluster.catch_up_rate,
        compaction_rate: settings.storage.compaction_rate,
        reads_budget: usize::try_from(reads_budget).unwrap_or(usize::MAX),
        free_space_floor: settings.storage.free_space_floor,
        auto_create: settings.topics.auto_create,
        default_partitions: settings.topics.default_partitions,
        retention_interval: settings.topics.retention_check_interval,
        key_budget: settings.memory.key_budget,
        producers: ProducerBounds {
            max: settings.topics.max_producers,
            expiry: settings.topics.producer_expiry,
        },
    }
}

fn server_config(settings: &Settings, descriptors: Descriptors) -> ServerConfig {
    let server = &settings.server;
    ServerConfig {
        max_connections: descriptors.connections,
        max_streams: server.max_streams_per_connection,
        keepalive_interval: server.keepalive_interval,
        keepalive_timeout: server.keepalive_timeout,
        drain_timeout: server.drain_timeout,
    }
}

/// After a failed write or sync nothing may be acked any more, and nothing may be tried again: the
/// kernel may have dropped the pages. What was acked is on disk, and the next start finds it.
fn on_fatal() -> OnFatal {
    Arc::new(|error| {
        tracing::error!(%error, "the log cannot be kept: the broker stops at once");
        eprintln!("ropewalk: the log cannot be kept: {error}");
        std::process::exit(EXIT_STORAGE_FAILED);
    })
}

pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(crate) async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
