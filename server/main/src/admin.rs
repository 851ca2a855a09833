//! The admin port: metrics and health over HTTP.
//!
//! `/metrics` is for Prometheus, `/healthz` says that the process runs, `/readyz` that it serves.
//! grpc.health.v1 is here too, for probes that speak it, and says what `/healthz` says: the client
//! port has the health of the broker, and may be full, or not there yet. The port is for operators:
//! it is small, bounded, and open without being ready.

mod connection;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::listen::{ListenError, listen};
use crate::settings::Settings;
use crate::telemetry::Scrape;
use connection::Bounded;

/// What Prometheus is told about the text.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long answers that are under way may still take after the stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Whether the broker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It recovers its log; calls are not accepted yet.
    Starting,
    /// It serves.
    Ready,
    /// It ends the calls that it has, and takes no others.
    Draining,
}

/// The admin port, open and not yet served.
#[derive(Debug)]
pub(crate) struct AdminServer {
    listener: TcpListener,
}

#[derive(Clone, Debug)]
struct Context {
    scrape: Scrape,
    readiness: watch::Receiver<Readiness>,
}

impl AdminServer {
    /// Opens the port.
    pub(crate) async fn bind(settings: &Settings) -> Result<Self, ListenError> {
        let listener = listen("server.admin_listen", &settings.server.admin_listen).await?;
        Ok(Self { listener })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is done, and a moment longer where an answer is under way.
    pub(crate) async fn serve(
        self,
        scrape: Scrape,
        readiness: watch::Receiver<Readiness>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route_service("/grpc.health.v1.Health/{method}", process_health())
            .with_state(Context { scrape, readiness });
        let (stopped, told) = oneshot::channel();
        let stop = async move {
            stop.await;
            // Nobody listens when serving has already ended.
            let _ = stopped.send(());
        };
        let serving = axum::serve(Bounded::new(self.listener), router).with_graceful_shutdown(stop);
        let grace = async {
            let _ = told.await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            ended = serving.into_future() => ended,
            () = grace => Ok(()),
        }
    }
}

/// Health of the process as a whole, the empty name: it serves as long as it answers, whatever
/// becomes of its cluster.
fn process_health() -> HealthServer<impl Health> {
    tonic_health::server::health_reporter().1
}

async fn metrics(State(context): State<Context>) -> Response {
    // Some instruments read files when they are asked.
    match tokio::task::spawn_blocking(move || context.scrape.text()).await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(context): State<Context>) -> (StatusCode, &'static str) {
    match *context.readiness.borrow() {
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Readiness::Ready => (StatusCode::OK, "ready\n"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

#[cfg(test)]
mod tests;
