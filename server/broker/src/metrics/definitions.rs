//! The names of all metrics, with their kinds, units, labels and help.
//!
//! The only place where a metric is named; the reference in `docs/observability.md` is generated
//! from it. A name is the Prometheus one without `_total`, which the exposition adds to counters.

/// What kind of instrument a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A sum that only grows. Its Prometheus name ends in `_total`.
    Counter,
    /// A value that moves both ways.
    Gauge,
    /// A distribution over fixed buckets, with these upper bounds.
    Histogram(&'static [f64]),
}

/// One metric, as it is documented and exposed.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The name of the instrument: the Prometheus name without `_total`.
    pub name: &'static str,
    /// The kind of instrument.
    pub kind: Kind,
    /// The unit, in the notation of UCUM.
    pub unit: &'static str,
    /// The labels that each of its series has.
    pub labels: &'static [&'static str],
    /// What it says, for people.
    pub help: &'static str,
}

impl Definition {
    const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, unit, labels: &[], help }
    }

    const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit, labels: &[], help }
    }

    const fn histogram(
        name: &'static str,
        unit: &'static str,
        buckets: &'static [f64],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram(buckets), unit, labels: &[], help }
    }

    const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    /// The name as Prometheus shows it.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Histogram(_) => self.name.to_owned(),
        }
    }
}

/// Seconds: from a tenth of a millisecond, a good disk's sync, to ten seconds.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Bytes: from a disk block to the largest group of appends.
const BYTES: &[f64] =
    &[4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];
/// How many.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

pub(super) const PRODUCED_RECORDS: Definition = Definition::counter(
    "ropewalk_produced_records",
    "{record}",
    "Records appended to the partitions that this broker leads.",
);
pub(super) const PRODUCED_BYTES: Definition = Definition::counter(
    "ropewalk_produced_bytes",
    "By",
    "Bytes of the records appended to the partitions that this broker leads, as they are stored.",
);
pub(super) const PRODUCED_BATCHES: Definition = Definition::counter(
    "ropewalk_produced_batches",
    "{batch}",
    "Record batches appended to the partitions that this broker leads.",
);
pub(super) const APPEND_DURATION: Definition = Definition::histogram(
    "ropewalk_append_duration_seconds",
    "s",
    SECONDS,
    "Time from the arrival of a batch at its partition to the acknowledgement that was asked for.",
)
.labels(&["durability"]);
pub(super) const PRODUCE_ERRORS: Definition = Definition::counter(
    "ropewalk_produce_errors",
    "{batch}",
    "Batches that were refused or whose append failed, by the reason that the producer was told.",
)
.labels(&["reason"]);
pub(super) const DELIVERED_RECORDS: Definition = Definition::counter(
    "ropewalk_delivered_records",
    "{record}",
    "Records sent to consumers, by where they came from: the tail kept in memory, storage, or \
     another broker.",
)
.labels(&["source"]);
pub(super) const DELIVERED_BYTES: Definition = Definition::counter(
    "ropewalk_delivered_bytes",
    "By",
    "Bytes of the records sent to consumers, by where they came from: the tail kept in memory, \
     storage, or another broker.",
)
.labels(&["source"]);
pub(super) const SUBSCRIPTIONS: Definition = Definition::gauge(
    "ropewalk_active_subscriptions",
    "{stream}",
    "Subscribe streams that are open.",
);
pub(super) const CONNECTIONS: Definition = Definition::gauge(
    "ropewalk_active_connections",
    "{connection}",
    "Client connections that are open.",
);
pub(super) const RPC_REQUESTS: Definition = Definition::counter(
    "ropewalk_rpc_requests",
    "{call}",
    "Calls that have ended, by method and by the gRPC code they ended with.",
)
.labels(&["method", "code"]);
pub(super) const RPC_DURATION: Definition = Definition::histogram(
    "ropewalk_rpc_duration_seconds",
    "s",
    SECONDS,
    "Time that calls took; for a stream, from its opening to its end.",
)
.labels(&["method"]);
pub(super) const SYNC_DURATION: Definition = Definition::histogram(
    "ropewalk_sync_duration_seconds",
    "s",
    SECONDS,
    "Time that a write to the log and the sync that made it durable took together.",
);
pub(super) const SYNC_BYTES: Definition = Definition::histogram(
    "ropewalk_sync_bytes",
    "By",
    BYTES,
    "Bytes that one sync made durable, of all partitions together.",
);
pub(super) const SYNC_BATCHES: Definition = Definition::histogram(
    "ropewalk_sync_batches",
    "{batch}",
    COUNTS,
    "Record batches that one sync made durable, of all partitions together.",
);
pub(super) const GROUP_COMMITS: Definition = Definition::counter(
    "ropewalk_group_commits",
    "{sync}",
    "Syncs that made at least one record batch durable.",
);
pub(super) const APPEND_BUDGET_USED: Definition = Definition::gauge(
    "ropewalk_append_budget_used_bytes",
    "By",
    "Bytes of appends that wait for the disk.",
);
pub(super) const APPEND_BUDGET: Definition = Definition::gauge(
    "ropewalk_append_budget_bytes",
    "By",
    "Bytes of appends that may wait for the disk before producers are made to wait.",
);
pub(super) const PARTITIONS_LED: Definition = Definition::gauge(
    "ropewalk_partitions_led",
    "{partition}",
    "Partitions that this broker leads.",
);
pub(super) const STORAGE_SIZE: Definition = Definition::gauge(
    "ropewalk_storage_size_bytes",
    "By",
    "Bytes that the log takes in storage, of all partitions together.",
);
pub(super) const TRIMS: Definition = Definition::counter(
    "ropewalk_retention_trims",
    "{trim}",
    "Times that the start of a partition's log was moved forward, by what caused it.",
)
.labels(&["cause"]);
pub(super) const TRIMMED_RECORDS: Definition = Definition::counter(
    "ropewalk_retention_trimmed_records",
    "{record}",
    "Records that fell before the start of their partition's log, by what caused it.",
)
.labels(&["cause"]);
pub(super) const COMPACTED_BYTES: Definition = Definition::counter(
    "ropewalk_compaction_read_bytes",
    "By",
    "Bytes of logs that compaction has read.",
);
pub(super) const COMPACTED_RECORDS: Definition = Definition::counter(
    "ropewalk_compaction_removed_records",
    "{record}",
    "Records that compaction has removed.",
);
pub(super) const PEER_CONNECTED: Definition = Definition::gauge(
    "ropewalk_peer_connected",
    "{connection}",
    "1 while there is a connection to another broker, else 0. Each broker is reached by four: bulk \
     (appends and snapshots), control (heartbeats, votes and answers), proposals and fetches.",
)
.labels(&["peer", "lane"]);
pub(super) const PEER_SENT: Definition = Definition::counter(
    "ropewalk_peer_sent_messages",
    "{message}",
    "Messages and calls that were sent to another broker, by connection.",
)
.labels(&["peer", "lane"]);
pub(super) const PEER_SENT_BYTES: Definition = Definition::counter(
    "ropewalk_peer_sent_bytes",
    "By",
    "Bytes of the messages and calls that were sent to another broker, by connection.",
)
.labels(&["peer", "lane"]);
pub(super) const PEER_DROPPED: Definition = Definition::counter(
    "ropewalk_peer_dropped_messages",
    "{message}",
    "Messages and calls to another broker that were not sent: there was no connection, it ended, \
     or too much waited already. Raft sends its messages again; a call's maker is told.",
)
.labels(&["peer", "lane"]);
pub(super) const PEER_QUEUE: Definition = Definition::gauge(
    "ropewalk_peer_queue_bytes",
    "By",
    "Bytes that wait to be sent to another broker, by connection.",
)
.labels(&["peer", "lane"]);
pub(super) const PEER_RECEIVED: Definition = Definition::counter(
    "ropewalk_peer_received_messages",
    "{message}",
    "Raft messages that came in from other brokers.",
);
pub(super) const PEER_UNKNOWN: Definition = Definition::counter(
    "ropewalk_peer_unknown_messages",
    "{message}",
    "Messages and calls from brokers of a later version that this one does not know, and left out.",
);
pub(super) const BUILD_INFO: Definition =
    Definition::gauge("ropewalk_build_info", "", "Always 1; the label says which version runs.")
        .labels(&["version"]);
pub(super) const RESIDENT_MEMORY: Definition = Definition::gauge(
    "ropewalk_process_resident_memory_bytes",
    "By",
    "Memory of the process that is in RAM. Linux only.",
);
pub(super) const CPU_SECONDS: Definition = Definition::counter(
    "ropewalk_process_cpu_seconds",
    "s",
    "CPU time that the process has used, user and system. Linux only.",
);
pub(super) const OPEN_FDS: Definition = Definition::gauge(
    "ropewalk_process_open_fds",
    "{fd}",
    "File descriptors that the process has open. Linux only.",
);

/// All metrics, in the order of their documentation.
pub const DEFINITIONS: &[Definition] = &[
    PRODUCED_RECORDS,
    PRODUCED_BYTES,
    PRODUCED_BATCHES,
    APPEND_DURATION,
    PRODUCE_ERRORS,
    DELIVERED_RECORDS,
    DELIVERED_BYTES,
    SUBSCRIPTIONS,
    CONNECTIONS,
    RPC_REQUESTS,
    RPC_DURATION,
    SYNC_DURATION,
    SYNC_BYTES,
    SYNC_BATCHES,
    GROUP_COMMITS,
    APPEND_BUDGET_USED,
    APPEND_BUDGET,
    PARTITIONS_LED,
    STORAGE_SIZE,
    TRIMS,
    TRIMMED_RECORDS,
    COMPACTED_BYTES,
    COMPACTED_RECORDS,
    PEER_CONNECTED,
    PEER_SENT,
    PEER_SENT_BYTES,
    PEER_DROPPED,
    PEER_QUEUE,
    PEER_RECEIVED,
    PEER_UNKNOWN,
    BUILD_INFO,
    RESIDENT_MEMORY,
    CPU_SECONDS,
    OPEN_FDS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = std::collections::BTreeSet::new();
        for definition in DEFINITIONS {
            let name = definition.name;
            assert!(name.starts_with("ropewalk_"), "{name}: the prefix is missing");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}: only a-z, 0-9 and _"
            );
            assert!(!name.ends_with("_total"), "{name}: the exposition adds _total");
            assert!(definition.help.ends_with('.'), "{name}: help is a sentence");
            assert!(seen.insert(name), "{name}: defined twice");
            match definition.unit {
                "s" => assert!(name.ends_with("_seconds"), "{name}: the unit is missing"),
                "By" => assert!(name.ends_with("_bytes"), "{name}: the unit is missing"),
                _ => {}
            }
        }
    }

    #[test]
    fn buckets_grow() {
        for definition in DEFINITIONS {
            if let Kind::Histogram(buckets) = definition.kind {
                assert!(buckets.is_sorted(), "{}: buckets out of order", definition.name);
            }
        }
    }
}
