//! Logs, traces and metrics: where they go.
//!
//! The one source of metrics is a meter provider with two readers: the admin port pulls from it,
//! and a collector is sent its figures when one is named. Spans go to the collector only. What is
//! recorded is decided elsewhere; nothing else knows an exporter.

mod exposition;
mod scrape;

use std::io::IsTerminal;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use thiserror::Error;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber, warn};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

pub(crate) use scrape::Scrape;

use crate::settings::{LogFormat, LogSettings, Settings, TelemetrySettings};

/// What the broker's instruments and spans are filed under.
const SCOPE: &str = "ropewalk";
/// How long one report to the collector may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last report.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(900);
/// Libraries that say too much: of these, only warnings are logged unless `log.level` names them.
const TALKATIVE: [&str; 8] =
    ["h2", "hyper", "mio", "opentelemetry", "raft", "sled", "tonic", "tower"];

/// Why logs, traces or metrics cannot be set up.
#[derive(Debug, Error)]
pub(crate) enum TelemetryError {
    /// The level is none.
    #[error("log.level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// An exporter could not be built.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The process has a subscriber already.
    #[error("the log is set up twice: {0}")]
    Twice(#[from] TryInitError),
}

/// Keeps reports going until it is dropped; then the last ones are sent, if the collector takes
/// them within a second.
#[derive(Debug)]
pub(crate) struct TelemetryGuard {
    meters: SdkMeterProvider,
    spans: Option<SdkTracerProvider>,
    scrape: Scrape,
}

/// Sets up logs, traces and metrics for the process. It must be called within the runtime, of more
/// than one thread, that carries the reports.
pub(crate) fn init(settings: &Settings) -> Result<TelemetryGuard, TelemetryError> {
    let (subscriber, guard) = prepare(settings)?;
    subscriber.try_init()?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(guard)
}

/// Builds all, and leaves the process as it is.
fn prepare(
    settings: &Settings,
) -> Result<(impl Subscriber + Send + Sync + use<>, TelemetryGuard), TelemetryError> {
    let resource = Resource::builder()
        .with_service_name(settings.telemetry.service_name.clone())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", settings.server.node_id.to_string()),
        ])
        .build();
    let scrape = Scrape::default();
    let meters = meters(&settings.telemetry, resource.clone(), scrape.clone())?;
    let spans = spans(&settings.telemetry, resource)?;
    let traces = spans.as_ref().map(|spans| {
        tracing_opentelemetry::layer()
            .with_tracer(spans.tracer(SCOPE))
            .with_filter(LevelFilter::INFO.and(filter_fn(is_ours)))
    });
    let subscriber = tracing_subscriber::registry().with(log(&settings.log)?).with(traces);
    Ok((subscriber, TelemetryGuard { meters, spans, scrape }))
}

/// Exporters make calls themselves, and must not trace those.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("ropewalk")
}

fn log<S>(settings: &LogSettings) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // Standard error may go away before the process does; that must not end it.
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false);
    let filter = filter(&settings.level)?;
    Ok(match settings.format {
        LogFormat::Text => layer.compact().with_filter(filter).boxed(),
        LogFormat::Json => layer.json().with_filter(filter).boxed(),
    })
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let mut filter = EnvFilter::try_new(level)?;
    let base = level.split(',').filter_map(|word| word.parse::<LevelFilter>().ok()).next_back();
    if base.is_some_and(|base| base > LevelFilter::WARN) {
        for target in TALKATIVE.iter().filter(|target| !level.contains(*target)) {
            filter = filter.add_directive(format!("{target}=warn").parse()?);
        }
    }
    Ok(filter)
}

fn meters(
    settings: &TelemetrySettings,
    resource: Resource,
    scrape: Scrape,
) -> Result<SdkMeterProvider, TelemetryError> {
    let mut builder = SdkMeterProvider::builder().with_resource(resource).with_reader(scrape);
    if let Some(endpoint) = &settings.otlp_endpoint {
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        let reader = PeriodicReader::builder(exporter).with_interval(settings.otlp_interval);
        builder = builder.with_reader(reader.build());
    }
    Ok(builder.build())
}

fn spans(
    settings: &TelemetrySettings,
    resource: Resource,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let ratio = Sampler::TraceIdRatioBased(settings.trace_ratio);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .with_batch_exporter(exporter)
        .build();
    Ok(Some(provider))
}

impl TelemetryGuard {
    /// What instruments are made of.
    pub(crate) fn meter(&self) -> Meter {
        self.meters.meter(SCOPE)
    }

    /// Gives the metrics as text.
    pub(crate) fn scrape(&self) -> Scrape {
        self.scrape.clone()
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        let Some(spans) = self.spans.take() else {
            return;
        };
        let meters = self.meters.clone();
        // The exporters' own timeouts do not hold here: a collector that is away is waited for by
        // threads that the end of the process may leave behind.
        let (done, ended) = sync_channel(2);
        let also_done = done.clone();
        thread::spawn(move || also_done.send(spans.shutdown_with_timeout(SHUTDOWN_TIMEOUT)));
        thread::spawn(move || done.send(meters.shutdown_with_timeout(SHUTDOWN_TIMEOUT)));
        let until = Instant::now() + SHUTDOWN_TIMEOUT;
        for _ in 0..2 {
            match ended.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "the last traces or metrics were not sent"),
                Err(_) => {
                    warn!("the collector is slow: the last traces or metrics are not sent");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
