use std::sync::Mutex;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_proto::tonic::collector::metrics::v1 as metrics_v1;
use opentelemetry_proto::tonic::collector::trace::v1 as trace_v1;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    received: std::sync::Arc<Mutex<Received>>,
}

#[derive(Default)]
struct Received {
    spans: Vec<trace_v1::ExportTraceServiceRequest>,
    metrics: Vec<metrics_v1::ExportMetricsServiceRequest>,
}

#[tonic::async_trait]
impl trace_v1::trace_service_server::TraceService for Collector {
    async fn export(
        &self,
        request: Request<trace_v1::ExportTraceServiceRequest>,
    ) -> Result<Response<trace_v1::ExportTraceServiceResponse>, Status> {
        self.received.lock().expect("nobody panics").spans.push(request.into_inner());
        Ok(Response::new(trace_v1::ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl metrics_v1::metrics_service_server::MetricsService for Collector {
    async fn export(
        &self,
        request: Request<metrics_v1::ExportMetricsServiceRequest>,
    ) -> Result<Response<metrics_v1::ExportMetricsServiceResponse>, Status> {
        self.received.lock().expect("nobody panics").metrics.push(request.into_inner());
        Ok(Response::new(metrics_v1::ExportMetricsServiceResponse::default()))
    }
}

impl Collector {
    /// Serves, and gives its endpoint.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = tonic::transport::Server::builder()
            .add_service(trace_v1::trace_service_server::TraceServiceServer::new(self.clone()))
            .add_service(metrics_v1::metrics_service_server::MetricsServiceServer::new(
                self.clone(),
            ));
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(server.serve_with_incoming(incoming));
        format!("http://{address}")
    }
}

fn settings(endpoint: String) -> Settings {
    let mut settings = Settings::defaults();
    settings.telemetry.otlp_endpoint = Some(endpoint);
    settings
}

/// Records one span, as a child of [`PARENT`], and one count.
fn record(subscriber: impl Subscriber + Send + Sync, guard: &TelemetryGuard) {
    let headers = std::collections::HashMap::from([("traceparent".to_owned(), PARENT.to_owned())]);
    let parent = TraceContextPropagator::new().extract(&headers);
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!(target: "ropewalk", "call");
        span.set_parent(parent).expect("the span is new and enabled");
        span.in_scope(|| tracing::info_span!(target: "hyper", "not ours").in_scope(|| ()));
    });
    guard.meter().u64_counter("ropewalk_test").build().add(1, &[]);
}

#[test]
fn talkative_libraries_are_quiet_unless_named() {
    let text = |level: &str| filter(level).expect("a filter").to_string();
    assert!(text("debug").contains("h2=warn"));
    assert!(text("info,h2=trace").contains("h2=trace"));
    assert_eq!(text("error"), "error");
    assert_eq!(text("off"), "off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_gets_what_was_recorded_before_the_end() {
    let collector = Collector::default();
    let (subscriber, guard) = prepare(&settings(collector.start().await)).expect("good settings");
    record(subscriber, &guard);
    drop(guard);
    let received = collector.received.lock().expect("nobody panics");
    let spans: Vec<_> = received
        .spans
        .iter()
        .flat_map(|request| &request.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect();
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["call"]);
    assert_eq!(spans[0].trace_id, 0x0af7651916cd43dd8448eb211c80319c_u128.to_be_bytes());
    assert_eq!(spans[0].parent_span_id, 0xb7ad6b7169203331_u64.to_be_bytes());
    let metrics: Vec<_> = received
        .metrics
        .iter()
        .flat_map(|request| &request.resource_metrics)
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics)
        .map(|metric| metric.name.as_str())
        .collect();
    assert_eq!(metrics, ["ropewalk_test"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_for_a_collector_that_is_away() {
    // It accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let (subscriber, guard) = prepare(&settings(format!("http://{address}"))).expect("good");
    record(subscriber, &guard);
    assert!(guard.scrape().text().expect("it reads").contains("ropewalk_test_total 1\n"));
    let started = Instant::now();
    drop(guard);
    assert!(started.elapsed() < EXPORT_TIMEOUT / 2, "{:?}", started.elapsed());
}
