//! The reader that the admin port pulls metrics from.

use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, Temporality};

use super::exposition;

/// Reads the metrics when it is asked. Its clones are one reader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrape {
    reader: Arc<ManualReader>,
}

impl Scrape {
    /// The metrics now, as Prometheus reads them. Instruments that are read on demand are read in
    /// this call: it may touch files.
    pub(crate) fn text(&self) -> Result<String, String> {
        let mut metrics = ResourceMetrics::default();
        self.collect(&mut metrics).map_err(|error| error.to_string())?;
        Ok(exposition::render(&metrics))
    }
}

impl MetricReader for Scrape {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.reader.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.reader.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.reader.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.reader.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.reader.temporality(kind)
    }
}
