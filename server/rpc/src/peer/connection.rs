//! One HTTP/2 connection to another broker, made for one stream.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ropewalk_core::limits;
use ropewalk_proto::internal::peer_service_client::PeerServiceClient;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

/// The most bytes of a message between brokers, with everything that is beside its data.
pub(super) const MESSAGE_LIMIT: usize = limits::MAX_PEER_MESSAGE_BYTES + limits::PEER_MESSAGE_SLACK;
/// What a stream and a connection may be sent before it is read. A slow link holds this much back
/// from a ping.
pub(super) const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
pub(super) const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Larger frames than the default of 16 KiB: batches are large.
pub(super) const FRAME_BYTES: u32 = 256 * 1024;
pub(super) const SEND_BUFFER: usize = 1024 * 1024;

/// How a dead broker is noticed.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeepAlive {
    /// The time between pings.
    pub(super) interval: Duration,
    /// How long a ping may stay unanswered.
    pub(super) timeout: Duration,
}

/// Ends a task with what it belongs to.
#[derive(Debug)]
pub(super) struct Ends(AbortHandle);

impl Ends {
    pub(super) fn with_this(task: AbortHandle) -> Self {
        Self(task)
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a stream is opened by.
#[derive(Clone, Debug)]
pub(super) struct Channel(http2::SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.send_request(request).boxed()
    }
}

/// Connects to `address` and gives the stubs over the connection, which ends with the second part.
/// Names are resolved here, each time.
pub(super) async fn dial(
    address: &str,
    keepalive: KeepAlive,
) -> Result<(PeerServiceClient<Channel>, Ends), Status> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Status::unavailable(format!("{what} {address}: {error}"))
    };
    let stream =
        TcpStream::connect(address).await.map_err(|error| failed("cannot connect to", &error))?;
    // Heartbeats and answers are small and must not wait for more of them.
    let _ = stream.set_nodelay(true);
    let (channel, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(keepalive.interval)
        .keep_alive_timeout(keepalive.timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed("no HTTP/2 with", &error))?;
    let driven = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a broker ended with an error");
        }
    });
    let origin = Uri::from_static("http://ropewalk.internal");
    let client = PeerServiceClient::with_origin(Channel(channel), origin)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    Ok((client, Ends::with_this(driven.abort_handle())))
}
