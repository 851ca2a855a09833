//! `ropewalk serve`: the layers put together, from the start of the process to its end.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use ropewalk_broker::driver::OnFatal;
use ropewalk_broker::metrics::Metrics;
use ropewalk_broker::{Broker, BrokerConfig, Engine, StorageError};
use ropewalk_core::{NodeId, SystemClock};
use ropewalk_rpc::{Drain, Server, ServerConfig};
use ropewalk_storage::directory::{ClusterId, DataDirectory};
use ropewalk_storage::disk_engine::{DiskEngine, Options};
use ropewalk_storage::memory::MemoryEngine;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{AdminServer, Readiness};
use crate::descriptors::Descriptors;
use crate::listen::listen;
use crate::settings::{Settings, StorageEngine};
use crate::telemetry;

/// The exit code of a process whose log could not be kept.
const EXIT_STORAGE_FAILED: i32 = 74;

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
    let cluster_id = store.cluster_id.to_string();
    let config = broker_config(settings, &store, metrics, address.clone(), cluster_id);
    let (broker, tasks) = Broker::start(config).await?;

    let (begin_drain, drain) = Drain::new();
    let server = Server::new(broker, server_config(settings, descriptors), drain).await;
    let mut serving = tokio::spawn(server.serve(listener));
    readiness.send_replace(Readiness::Ready);
    tracing::info!(%address, admin = %admin_address, "ready");

    tokio::select! {
        signal = stop.received() => tracing::info!(signal, "draining"),
        served = &mut serving => return Err(format!("the client port failed: {served:?}").into()),
    }
    readiness.send_replace(Readiness::Draining);
    begin_drain.send_replace(true);
    serving.await??;
    tasks.stop().await?;
    let _ = end_admin.send(());
    admin.await??;
    tracing::info!("stopped");
    Ok(())
}

struct Store {
    engine: Arc<dyn Engine>,
    cluster_id: ClusterId,
    /// Keeps other processes out of the directory for as long as it lives.
    _directory: Option<DataDirectory>,
}

impl Store {
    fn open(settings: &Settings, descriptors: Descriptors) -> Result<Self, StorageError> {
        match settings.storage.engine {
            StorageEngine::Memory => Ok(Self {
                engine: Arc::new(MemoryEngine::default()),
                cluster_id: ClusterId::random(),
                _directory: None,
            }),
            StorageEngine::Disk => {
                let path: &Path = &settings.server.data_dir;
                let (directory, identity) =
                    DataDirectory::open(path, NodeId(settings.server.node_id))?;
                // The first start forms a cluster of this one broker.
                let cluster_id = match identity.cluster_id {
                    Some(own) => own,
                    None => {
                        let formed = ClusterId::random();
                        directory.join(formed)?;
                        formed
                    }
                };
                let engine = Arc::new(DiskEngine::open(path, options(settings, descriptors))?);
                Ok(Self { engine, cluster_id, _directory: Some(directory) })
            }
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
    cluster_id: String,
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
        cluster_id,
        address,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        shards: (cores / 2).max(1),
        append_budget: append_budget.min(tokio::sync::Semaphore::MAX_PERMITS),
        tail_budget,
        reads_budget: usize::try_from(reads_budget).unwrap_or(usize::MAX),
        free_space_floor: settings.storage.free_space_floor,
        auto_create: settings.topics.auto_create,
        default_partitions: settings.topics.default_partitions,
        retention_interval: settings.topics.retention_check_interval,
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

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
