//! The port on which other brokers connect.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ropewalk_core::limits;
use ropewalk_proto::internal::peer_service_server::PeerServiceServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::service::Routes;

use super::connection::{
    CONNECTION_WINDOW, FRAME_BYTES, MESSAGE_LIMIT, SEND_BUFFER, STREAM_WINDOW,
};
use super::service::Peering;
use super::transport::PeerTransport;
use crate::accept::Slots;
use crate::server::opens_http2;

/// A broker has four connections to each other, and an old one may not have ended yet.
const MAX_CONNECTIONS: usize = 8 * limits::MAX_BROKERS;
/// A connection carries one stream, and perhaps introductions.
const MAX_STREAMS: u32 = 16;
/// How a broker that is gone without a word is noticed from this side.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The peer port.
pub struct PeerPort {
    routes: Routes,
}

impl PeerPort {
    /// The port of a transport.
    #[must_use]
    pub fn new(transport: &Arc<PeerTransport>) -> Self {
        let service = PeerServiceServer::new(Peering::new(Arc::clone(transport)))
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        Self { routes: Routes::new(service).prepare() }
    }

    /// Serves until `stop` is done, and then cuts what is open: what a broker that stops owes to
    /// others, it has done before.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let slots = Slots::new(MAX_CONNECTIONS, "connections of brokers");
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let (stream, slot) = tokio::select! {
                accepted = slots.accept(&listener) => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                () = &mut stop => break,
            };
            let routes = self.routes.clone();
            connections.spawn(async move {
                connection(stream, routes).await;
                drop(slot);
            });
        }
        drop(listener);
        connections.shutdown().await;
    }
}

async fn connection(stream: TcpStream, routes: Routes) {
    let _ = stream.set_nodelay(true);
    if !opens_http2(&stream).await {
        return;
    }
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_header_list_size(u32::try_from(limits::MAX_METADATA_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of a broker ended with an error");
    }
}
