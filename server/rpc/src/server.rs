//! The client port: connections, their limits, the services behind them, and how it all ends.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ropewalk_broker::Broker;
use ropewalk_core::limits;
use ropewalk_proto::broker::admin_service_server::AdminServiceServer;
use ropewalk_proto::broker::consumer_service_server::ConsumerServiceServer;
use ropewalk_proto::broker::producer_service_server::ProducerServiceServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::accept::Slots;
use crate::admin::Admin;
use crate::call::{CallContext, CallService};
use crate::consumer::Consumer;
use crate::line::Observed;
use crate::producer::Producer;

/// What one stream may be sent without an answer, and what a connection may in all.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// A batch in a few frames instead of dozens, so that its bytes are taken as they lie; the default
/// of 16 KiB costs a reader 15 % of its rate (docs/performance.md). More makes the streams of a
/// connection wait for one another.
const FRAME: u32 = 256 * 1024;
/// Answers that a connection holds for one stream while the client does not read.
const SEND_BUFFER: usize = 512 * 1024;
/// What every HTTP/2 connection begins with (RFC 9113, section 3.4), how long a client may take to
/// send it, and how often it is looked for once a part of it is there.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
const PREFACE_PAUSE: Duration = Duration::from_millis(20);
/// How often it is looked whether this broker's replicas have caught up, and how long they are
/// waited for: a partition that nobody leads must not keep the broker from being ready for ever.
const LOOK_FOR_REPLICAS: Duration = Duration::from_secs(1);
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(300);

/// Tells everything that is open that the broker is about to stop.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

impl Drain {
    /// A drain that has not begun, and what begins it.
    #[must_use]
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (begin, drain) = watch::channel(false);
        (begin, Self(drain))
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it begins. Nothing is lost when the wait is given up.
    pub async fn begun(&mut self) {
        // Whoever could begin it is gone: then the broker stops too.
        let _ = self.0.wait_for(|begun| *begun).await;
    }
}

/// How the port is to be served.
#[derive(Clone, Copy, Debug)]
pub struct ServerConfig {
    /// The most connections at a time; more are closed at once.
    pub max_connections: usize,
    /// The most open streams of a connection.
    pub max_streams: u32,
    /// The time between pings of a connection.
    pub keepalive_interval: Duration,
    /// How long a ping may stay unanswered before the connection is closed.
    pub keepalive_timeout: Duration,
    /// How long connections may take to end once the broker drains.
    pub drain_timeout: Duration,
}

/// The client port.
pub struct Server {
    config: ServerConfig,
    service: CallService,
    health: HealthReporter,
    drain: Drain,
    tell: watch::Sender<bool>,
    broker: Arc<Broker>,
}

impl Server {
    /// A server of a running broker.
    ///
    /// # Panics
    /// When the compiled contract cannot be reflected, which a test rules out.
    pub async fn new(broker: Arc<Broker>, config: ServerConfig, drain: Drain) -> Self {
        let (health, routes) = services(&broker, &drain).await;
        let (tell, told) = Drain::new();
        let context = CallContext {
            broker: Arc::clone(&broker),
            metrics: Arc::clone(&broker.config().metrics),
            clock: Arc::clone(&broker.config().clock),
            drain: drain.clone(),
            told,
        };
        let (context, line) = (Arc::new(context), Arc::default());
        let service = CallService { routes: routes.prepare(), context, line };
        Self { config, service, health, drain, tell, broker }
    }

    /// Serves until the drain begins, and then until what is open has ended, or the drain's time is
    /// over.
    pub async fn serve(mut self, listener: TcpListener) -> io::Result<()> {
        let waiting = wait_for_replicas(Arc::clone(&self.broker), self.health.clone());
        let waiting = tokio::spawn(waiting);
        let slots = Slots::new(self.config.max_connections, "server.max_connections");
        let mut connections = JoinSet::new();
        loop {
            let (stream, slot) = tokio::select! {
                accepted = slots.accept(&listener) => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                () = self.drain.begun() => break,
            };
            let connection = connection(
                stream,
                self.config,
                self.service.clone(),
                self.drain.clone(),
                self.broker.config().metrics.connection_opened(),
            );
            connections.spawn(async move {
                connection.await;
                drop(slot);
            });
        }
        drop(listener);
        // It must not say anything after what follows.
        waiting.abort();
        let _ = waiting.await;
        for service in SERVICES.into_iter().chain([REPLICAS]) {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
        self.tell.send_replace(true);
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.config.drain_timeout, ended).await.is_err() {
            tracing::warn!(
                left = connections.len(),
                "connections were cut: they did not end in time"
            );
            connections.shutdown().await;
        }
        Ok(())
    }
}

/// The names under which health is asked for; the empty one is the process as a whole.
const SERVICES: [&str; 4] =
    ["", "ropewalk.v1.ProducerService", "ropewalk.v1.ConsumerService", "ropewalk.v1.AdminService"];

/// The name under which health says whether this broker's replicas have caught up since its start.
/// Whoever stops one broker after the other waits for that: while this one lacks what another one
/// has, stopping that one stops partitions.
const REPLICAS: &str = "replicas";

/// Tells when the replicas of this broker have caught up.
async fn wait_for_replicas(broker: Arc<Broker>, health: HealthReporter) {
    let mut caught_up = BTreeSet::new();
    let wait = async {
        loop {
            let behind = broker.behind(&mut caught_up).await;
            if behind == 0 {
                return;
            }
            tracing::debug!(behind, "replicas of this broker have not caught up yet");
            tokio::time::sleep(LOOK_FOR_REPLICAS).await;
        }
    };
    match tokio::time::timeout(CAUGHT_UP_WITHIN, wait).await {
        Ok(()) => tracing::info!(groups = caught_up.len(), "the replicas have caught up"),
        Err(_) => tracing::warn!(
            after = ?CAUGHT_UP_WITHIN,
            "some replicas have not caught up: health does not wait for them any longer"
        ),
    }
    health.set_service_status(REPLICAS, ServingStatus::Serving).await;
}

async fn services(broker: &Arc<Broker>, drain: &Drain) -> (HealthReporter, Routes) {
    let (health, health_service) = tonic_health::server::health_reporter();
    for service in SERVICES {
        health.set_service_status(service, ServingStatus::Serving).await;
    }
    health.set_service_status(REPLICAS, ServingStatus::NotServing).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(ropewalk_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that tools which only reflect can show the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let expect = "the compiled contract can be reflected";
    let (broker, drain) = (|| Arc::clone(broker), || drain.clone());
    let limit = limits::MAX_MESSAGE_BYTES;
    let producer = Producer { broker: broker(), drain: drain() };
    let consumer = Consumer { broker: broker(), drain: drain() };
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(health_service)
        .add_service(reflection().build_v1().expect(expect))
        .add_service(reflection().build_v1alpha().expect(expect))
        .add_service(ProducerServiceServer::new(producer).max_decoding_message_size(limit))
        .add_service(ConsumerServiceServer::new(consumer).max_decoding_message_size(limit))
        .add_service(
            AdminServiceServer::new(Admin { broker: broker(), drain: drain() })
                .max_decoding_message_size(limit),
        );
    (health, routes.routes())
}

/// Waits for the beginning of an HTTP/2 connection; `false` where something else comes, or nothing.
/// Nothing bounds it in hyper, and a connection that says nothing would hold its place for ever.
pub(crate) async fn opens_http2(stream: &TcpStream) -> bool {
    let preface = tokio::time::timeout(PREFACE_TIMEOUT, speaks_http2(stream));
    preface.await.unwrap_or(false)
}

async fn speaks_http2(stream: &TcpStream) -> bool {
    let mut seen = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut seen).await {
            Ok(count) if count > 0 && PREFACE.starts_with(&seen[..count]) => {
                if count == PREFACE.len() {
                    return true;
                }
                tokio::time::sleep(PREFACE_PAUSE).await;
            }
            _ => return false,
        }
    }
}

async fn connection(
    stream: TcpStream,
    config: ServerConfig,
    service: CallService,
    mut drain: Drain,
    active: ropewalk_broker::metrics::ActiveGuard,
) {
    let _active = active;
    // Answers are small and must not wait for more of them.
    let _ = stream.set_nodelay(true);
    let mut draining = drain.clone();
    let is_open = tokio::select! {
        is_open = opens_http2(&stream) => is_open,
        () = draining.begun() => false,
    };
    if !is_open {
        return;
    }
    let (stream, line) = Observed::new(stream);
    let service = CallService { line, ..service };
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_streams)
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        .max_header_list_size(u32::try_from(limits::MAX_METADATA_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = drain.begun() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
