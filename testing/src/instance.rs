//! A broker on a thread of its own: the layers put together, from its start to its end.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_broker::metrics::Metrics;
use ropewalk_broker::peers::{ClusterIdentity, Introduction};
use ropewalk_broker::registration::founding_replica;
use ropewalk_broker::{Alone, Broker, BrokerConfig, Inbound, PeerLinks, ProducerBounds};
use ropewalk_cluster::LEVEL;
use ropewalk_core::SystemClock;
use ropewalk_rpc::{Drain, Server, ServerConfig};
use tokio::sync::oneshot;

use crate::broker::StartError;
use crate::store::{NODE, Opened, Store};

/// What waits for the log; what is kept of it for readers, recent and on its way.
const APPEND_BUDGET: usize = 8 << 20;
const TAIL_BUDGET: u64 = 8 << 20;
const READS_BUDGET: usize = 24 << 20;
const KEY_BUDGET: u64 = 16 << 20;
/// How often it is looked what retention takes.
const RETENTION_INTERVAL: Duration = Duration::from_secs(1);
/// Clients of the same test may have no thread to say good-bye on while the broker ends.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);
const KEEPALIVE: Duration = Duration::from_secs(20);

/// What a test may choose.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) auto_create: bool,
    pub(crate) default_partitions: u32,
}

/// The same address once more. What is left of connections does not keep it from being taken.
pub(crate) fn bind_again(address: SocketAddr) -> std::io::Result<TcpListener> {
    // std sets SO_REUSEADDR on Unix.
    TcpListener::bind(address)
}

/// Runs a broker until the other end of `ends` is dropped. Tells `started` how its start went.
pub(crate) fn run(
    store: &Store,
    listener: TcpListener,
    options: &Options,
    started: oneshot::Sender<Result<(), StartError>>,
    ends: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("ropewalk-testing")
        .worker_threads(2)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(store, listener, options, started, ends)),
        Err(error) => drop(started.send(Err(error.into()))),
    }
}

async fn serve(
    store: &Store,
    listener: TcpListener,
    options: &Options,
    started: oneshot::Sender<Result<(), StartError>>,
    ends: oneshot::Receiver<()>,
) {
    let begun = async {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let opened = store.open()?;
        let (broker, tasks) = Broker::start(config(&opened, address, options)).await?;
        Ok((listener, opened, broker, tasks))
    };
    let (listener, opened, broker, tasks) = match begun.await {
        Ok(begun) => begun,
        Err(error) => return drop(started.send(Err(error))),
    };
    let (begin_drain, drain) = Drain::new();
    let server = Server::new(Arc::clone(&broker), server_config(), drain).await;
    let serving = tokio::spawn(server.serve(listener));
    // Whoever waited for it may have gone: then it ends at once.
    let _ = started.send(Ok(()));
    let _ = ends.await;
    begin_drain.send_replace(true);
    if let Err(error) = serving.await.expect("serving does not panic, and is not cancelled") {
        tracing::warn!(%error, "the port of the test's broker failed");
    }
    drop(broker);
    if let Err(error) = tasks.stop().await {
        tracing::warn!(%error, "the log of the test's broker was not closed in order");
    }
    drop(opened);
}

fn config(opened: &Opened, address: String, options: &Options) -> BrokerConfig {
    let identity = &opened.identity;
    let cluster = identity.cluster.as_ref().expect("whoever opens the store gives it a cluster");
    let inbound = Inbound::new(Introduction {
        node: NODE,
        directory: identity.directory_id,
        cluster: Some(ClusterIdentity {
            cluster_id: cluster.cluster_id.0,
            founders: cluster.founders.clone(),
        }),
        leader: None,
        addresses: Vec::new(),
    });
    BrokerConfig {
        engine: Arc::clone(&opened.engine),
        clock: Arc::new(SystemClock::default()),
        metrics: Arc::new(Metrics::noop()),
        on_fatal: Arc::new(|error| {
            // As for any broker: after a failed write nothing may be acknowledged any more.
            eprintln!("ropewalk-testing: the log cannot be kept: {error}");
            std::process::abort();
        }),
        node: NODE,
        cluster_id: cluster.cluster_id.0,
        directory: identity.directory_id,
        founders: cluster.founders.clone(),
        metadata_replica: founding_replica(NODE),
        links: PeerLinks { peers: Arc::new(Alone), inbound },
        addresses: BTreeMap::new(),
        join: Vec::new(),
        peer_address: address.clone(),
        rack: None,
        address,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        level: LEVEL,
        shards: 1,
        append_budget: APPEND_BUDGET,
        tail_budget: TAIL_BUDGET,
        catch_up_rate: u64::MAX,
        compaction_rate: u64::MAX,
        reads_budget: READS_BUDGET,
        free_space_floor: 0,
        auto_create: options.auto_create,
        default_partitions: options.default_partitions,
        producers: ProducerBounds::default(),
        key_budget: KEY_BUDGET,
        retention_interval: RETENTION_INTERVAL,
    }
}

fn server_config() -> ServerConfig {
    ServerConfig {
        max_connections: 1_000,
        max_streams: 1_000,
        keepalive_interval: KEEPALIVE,
        keepalive_timeout: KEEPALIVE,
        drain_timeout: DRAIN_TIMEOUT,
    }
}
