//! The instruments of the broker, and the calls that record.
//!
//! Names and help are in `definitions`. This module knows instruments and nothing of readers or
//! exporters: those belong to the binary.

mod definitions;
mod peers;
mod process;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{
    Counter, Histogram, Meter, MeterProvider, NoopMeterProvider, UpDownCounter,
};

use ropewalk_storage::compaction::CompactionWork;

use definitions::*;
pub use definitions::{DEFINITIONS, Definition, Kind};
pub use peers::PeerLane;

/// The acknowledgement that an append was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendDurability {
    /// Accepted by the leader.
    None,
    /// On the leader's disk.
    Leader,
    /// On the disks of a majority.
    Quorum,
}

/// Where a delivered batch came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverySource {
    /// The recent batches kept in memory.
    Tail,
    /// A scan of storage.
    Storage,
    /// Another broker.
    Peer,
}

/// Why the start of a log moved forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimCause {
    /// Records had reached the retention time.
    Age,
    /// The partition had outgrown its retention bytes.
    Size,
    /// DeleteRecords was called.
    Request,
}

/// The instruments of a broker. Recording takes no lock that another thread holds for long, and
/// allocates nothing: labels are built once.
#[derive(Debug)]
pub struct Metrics {
    meter: Meter,
    produced_records: Counter<u64>,
    produced_bytes: Counter<u64>,
    produced_batches: Counter<u64>,
    append_duration: Histogram<f64>,
    produce_errors: Counter<u64>,
    delivered_records: Counter<u64>,
    delivered_bytes: Counter<u64>,
    subscriptions: UpDownCounter<i64>,
    connections: UpDownCounter<i64>,
    rpc_requests: Counter<u64>,
    rpc_duration: Histogram<f64>,
    sync_duration: Histogram<f64>,
    sync_bytes: Histogram<u64>,
    sync_batches: Histogram<u64>,
    group_commits: Counter<u64>,
    trims: Counter<u64>,
    trimmed_records: Counter<u64>,
    compacted_bytes: Counter<u64>,
    compacted_records: Counter<u64>,
    labels: Labels,
}

/// The label sets that are known beforehand, indexed by the enums above.
#[derive(Debug)]
struct Labels {
    durability: [[KeyValue; 1]; 3],
    source: [[KeyValue; 1]; 3],
    cause: [[KeyValue; 1]; 3],
}

impl Labels {
    fn new() -> Self {
        Self {
            durability: ["none", "leader", "quorum"].map(|v| [KeyValue::new("durability", v)]),
            source: ["tail", "storage", "peer"].map(|v| [KeyValue::new("source", v)]),
            cause: ["age", "size", "request"].map(|v| [KeyValue::new("cause", v)]),
        }
    }
}

impl Metrics {
    /// Builds the instruments, and registers those that are read when somebody looks: build
    /// information and the figures of the process.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let metrics = Self {
            produced_records: counter(meter, &PRODUCED_RECORDS),
            produced_bytes: counter(meter, &PRODUCED_BYTES),
            produced_batches: counter(meter, &PRODUCED_BATCHES),
            append_duration: histogram(meter, &APPEND_DURATION),
            produce_errors: counter(meter, &PRODUCE_ERRORS),
            delivered_records: counter(meter, &DELIVERED_RECORDS),
            delivered_bytes: counter(meter, &DELIVERED_BYTES),
            subscriptions: up_down(meter, &SUBSCRIPTIONS),
            connections: up_down(meter, &CONNECTIONS),
            rpc_requests: counter(meter, &RPC_REQUESTS),
            rpc_duration: histogram(meter, &RPC_DURATION),
            sync_duration: histogram(meter, &SYNC_DURATION),
            sync_bytes: histogram_u64(meter, &SYNC_BYTES),
            sync_batches: histogram_u64(meter, &SYNC_BATCHES),
            group_commits: counter(meter, &GROUP_COMMITS),
            trims: counter(meter, &TRIMS),
            trimmed_records: counter(meter, &TRIMMED_RECORDS),
            compacted_bytes: counter(meter, &COMPACTED_BYTES),
            compacted_records: counter(meter, &COMPACTED_RECORDS),
            labels: Labels::new(),
            meter: meter.clone(),
        };
        metrics.start_at_zero();
        metrics.register_process();
        metrics
    }

    /// Instruments that record nothing, for tests.
    #[must_use]
    pub fn noop() -> Self {
        Self::new(&NoopMeterProvider::new().meter("ropewalk"))
    }

    /// A series that does not exist cannot be watched for growth: those that are known start at 0.
    fn start_at_zero(&self) {
        for counter in [
            &self.produced_records,
            &self.produced_bytes,
            &self.produced_batches,
            &self.group_commits,
        ] {
            counter.add(0, &[]);
        }
        for source in &self.labels.source {
            self.delivered_records.add(0, source);
            self.delivered_bytes.add(0, source);
        }
        for cause in &self.labels.cause {
            self.trims.add(0, cause);
            self.trimmed_records.add(0, cause);
        }
        self.compacted(&CompactionWork::default());
        self.subscriptions.add(0, &[]);
        self.connections.add(0, &[]);
    }

    /// A batch of so many records and bytes was appended.
    pub fn produced(&self, records: u64, bytes: u64) {
        self.produced_records.add(records, &[]);
        self.produced_bytes.add(bytes, &[]);
        self.produced_batches.add(1, &[]);
    }

    /// A batch was acknowledged, this long after it arrived.
    pub fn append_acknowledged(&self, durability: AppendDurability, took: Duration) {
        let labels = &self.labels.durability[durability as usize];
        self.append_duration.record(took.as_secs_f64(), labels);
    }

    /// A batch was refused or its append failed, for this reason of API's error table.
    pub fn produce_failed(&self, reason: &'static str) {
        self.produce_errors.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// So many records and bytes went to a consumer.
    pub fn delivered(&self, source: DeliverySource, records: u64, bytes: u64) {
        let labels = &self.labels.source[source as usize];
        self.delivered_records.add(records, labels);
        self.delivered_bytes.add(bytes, labels);
    }

    /// A Subscribe stream was opened; it counts as active until the guard is dropped.
    #[must_use]
    pub fn subscription_opened(&self) -> ActiveGuard {
        ActiveGuard::new(&self.subscriptions)
    }

    /// A client connection was opened; it counts as active until the guard is dropped.
    #[must_use]
    pub fn connection_opened(&self) -> ActiveGuard {
        ActiveGuard::new(&self.connections)
    }

    /// A call ended. `method` is `Service/Method`, `code` the name of the gRPC code.
    pub fn rpc_finished(&self, method: &'static str, code: &'static str, took: Duration) {
        let labels = [KeyValue::new("method", method), KeyValue::new("code", code)];
        self.rpc_requests.add(1, &labels);
        self.rpc_duration.record(took.as_secs_f64(), &labels[..1]);
    }

    /// One write with its sync has ended and made so many bytes and record batches durable.
    pub fn synced(&self, took: Duration, bytes: u64, batches: u64) {
        self.sync_duration.record(took.as_secs_f64(), &[]);
        self.sync_bytes.record(bytes, &[]);
        self.sync_batches.record(batches, &[]);
        if batches > 0 {
            self.group_commits.add(1, &[]);
        }
    }

    /// The start of a log moved forward over so many records.
    pub fn trimmed(&self, cause: TrimCause, records: u64) {
        let labels = &self.labels.cause[cause as usize];
        self.trims.add(1, labels);
        self.trimmed_records.add(records, labels);
    }

    /// A compaction has ended, or was ended.
    pub(crate) fn compacted(&self, work: &CompactionWork) {
        self.compacted_bytes.add(work.read_bytes, &[]);
        self.compacted_records.add(work.records, &[]);
    }

    /// Says how the bytes of appends that wait are read, and how many may wait. Call it once.
    ///
    /// As for every `register_*`: the closure is called by each reader when it collects, so it must
    /// be quick, must not block, and lives as long as the meter provider (hold a `Weak`).
    pub fn register_append_budget(
        &self,
        limit: u64,
        used: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.observe(&APPEND_BUDGET_USED, used);
        self.observe(&APPEND_BUDGET, move || limit);
    }

    /// Says how the number of partitions that this broker leads is read. Call it once.
    pub fn register_partitions_led(&self, led: impl Fn() -> u64 + Send + Sync + 'static) {
        self.observe(&PARTITIONS_LED, led);
    }

    /// Says how the bytes that the log takes in storage are read. Call it once.
    pub fn register_storage_size(&self, bytes: impl Fn() -> u64 + Send + Sync + 'static) {
        self.observe(&STORAGE_SIZE, bytes);
    }

    fn observe(&self, definition: &Definition, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.observe_some(definition, move || Some(read()));
    }

    fn observe_some(
        &self,
        definition: &Definition,
        read: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) {
        self.meter
            .u64_observable_gauge(definition.name)
            .with_unit(definition.unit)
            .with_description(definition.help)
            .with_callback(move |observer| {
                if let Some(value) = read() {
                    observer.observe(value, &[]);
                }
            })
            .build();
    }

    fn register_process(&self) {
        self.meter
            .u64_observable_gauge(BUILD_INFO.name)
            .with_description(BUILD_INFO.help)
            .with_callback(|observer| {
                observer.observe(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
            })
            .build();
        self.meter
            .f64_observable_counter(CPU_SECONDS.name)
            .with_unit(CPU_SECONDS.unit)
            .with_description(CPU_SECONDS.help)
            .with_callback(|observer| {
                if let Some(seconds) = process::cpu_seconds() {
                    observer.observe(seconds, &[]);
                }
            })
            .build();
        self.observe_some(&RESIDENT_MEMORY, process::resident_bytes);
        self.observe_some(&OPEN_FDS, process::open_fds);
    }
}

/// Counts one active thing until it is dropped.
#[derive(Debug)]
pub struct ActiveGuard {
    count: UpDownCounter<i64>,
}

impl ActiveGuard {
    fn new(count: &UpDownCounter<i64>) -> Self {
        count.add(1, &[]);
        Self { count: count.clone() }
    }
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.count.add(-1, &[]);
    }
}

fn counter(meter: &Meter, definition: &Definition) -> Counter<u64> {
    meter
        .u64_counter(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .build()
}

fn up_down(meter: &Meter, definition: &Definition) -> UpDownCounter<i64> {
    meter
        .i64_up_down_counter(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .build()
}

fn boundaries(definition: &Definition) -> Vec<f64> {
    match definition.kind {
        Kind::Histogram(buckets) => buckets.to_vec(),
        Kind::Counter | Kind::Gauge => Vec::new(),
    }
}

fn histogram(meter: &Meter, definition: &Definition) -> Histogram<f64> {
    meter
        .f64_histogram(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .with_boundaries(boundaries(definition))
        .build()
}

fn histogram_u64(meter: &Meter, definition: &Definition) -> Histogram<u64> {
    meter
        .u64_histogram(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .with_boundaries(boundaries(definition))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noop_records_nothing_and_does_not_fail() {
        let metrics = Metrics::noop();
        metrics.produced(3, 300);
        metrics.append_acknowledged(AppendDurability::Quorum, Duration::from_millis(1));
        metrics.delivered(DeliverySource::Storage, 1, 1);
        metrics.trimmed(TrimCause::Request, 1);
        metrics.synced(Duration::ZERO, 0, 0);
        drop((metrics.subscription_opened(), metrics.connection_opened()));
    }
}
