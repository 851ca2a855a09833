//! The settings of `ropewalk serve`.
//!
//! A value comes from its default, is replaced by the TOML file's, that by the environment's, and
//! that by the flag's. `table` lists every setting once; the reader of each source, the flags, the
//! help and `docs/settings.md` are derived from it. What can change while the broker runs is not
//! here: it is a topic or cluster setting of the API.

mod flags;
mod load;
mod reference;
mod table;
pub(crate) mod values;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use flags::{serve_command, wants_settings_printed, with_flags};
pub(crate) use table::flag_of;
#[cfg(test)]
pub(crate) use table::is_known;

/// What a broker is started with. [`Settings::load`] makes one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    /// Who listens where, and how many are let in.
    pub(crate) server: ServerSettings,
    /// The other brokers.
    pub(crate) cluster: ClusterSettings,
    /// Where the log is kept.
    pub(crate) storage: StorageSettings,
    /// The bounds of the large buffers.
    pub(crate) memory: MemorySettings,
    /// What topics get when their creator does not say.
    pub(crate) topics: TopicSettings,
    /// The broker's own log.
    pub(crate) log: LogSettings,
    /// What is sent to a collector.
    pub(crate) telemetry: TelemetrySettings,
}

/// `server.*`
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServerSettings {
    /// HOST:PORT of the client port. Port 0 lets the system choose.
    pub(crate) listen: String,
    /// HOST:PORT that clients are told; see [`ServerSettings::advertised`].
    pub(crate) advertise: Option<String>,
    /// HOST:PORT of the admin port. Port 0 lets the system choose.
    pub(crate) admin_listen: String,
    /// The data directory, as it was given: relative to the working directory.
    pub(crate) data_dir: PathBuf,
    /// The id of this broker. The data directory remembers it.
    pub(crate) node_id: u64,
    /// The most client connections at a time.
    pub(crate) max_connections: usize,
    /// The most calls at a time on one connection.
    pub(crate) max_streams_per_connection: u32,
    /// How long a drain waits for calls before it ends them.
    pub(crate) drain_timeout: Duration,
    /// The time between HTTP/2 pings on a quiet connection.
    pub(crate) keepalive_interval: Duration,
    /// How long a ping may go unanswered before the connection is closed.
    pub(crate) keepalive_timeout: Duration,
    /// The worker threads of the asynchronous runtime; absent: one a core.
    pub(crate) threads: Option<usize>,
}

/// `cluster.*`
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClusterSettings {
    /// HOST:PORT of the peer port; absent: there is none.
    pub(crate) peer_listen: Option<String>,
    /// HOST:PORT that other brokers are told; see [`ClusterSettings::advertised`].
    pub(crate) peer_advertise: Option<String>,
    /// Peer addresses of brokers of the cluster.
    pub(crate) join: Vec<String>,
    /// The brokers that form the cluster.
    pub(crate) bootstrap: BTreeSet<u64>,
    /// The rack or zone of this broker.
    pub(crate) rack: Option<String>,
    /// Bytes in each second that followers get which are behind, while there are writes beside it.
    pub(crate) catch_up_rate: u64,
}

/// `storage.*`
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StorageSettings {
    /// Which implementation keeps the log.
    pub(crate) engine: StorageEngine,
    /// The most bytes of all journal files.
    pub(crate) journal_size: u64,
    /// Free bytes of the disk below which no records are taken.
    pub(crate) free_space_floor: u64,
    /// Bytes in each second that compaction reads while records are written.
    pub(crate) compaction_rate: u64,
}

/// Where the log is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StorageEngine {
    /// In the data directory.
    #[default]
    Disk,
    /// In memory: gone when the process ends.
    Memory,
}

/// `memory.*`
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MemorySettings {
    /// Bytes of appends that may wait for the disk, of all partitions together.
    pub(crate) append_budget: u64,
    /// Bytes of records that are kept for readers, of all partitions together.
    pub(crate) read_budget: u64,
    /// Bytes that the versions of keys may take, of all partitions together.
    pub(crate) key_budget: u64,
}

/// `topics.*`
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TopicSettings {
    /// Whether producing to a topic that does not exist, or subscribing to it, creates it.
    pub(crate) auto_create: bool,
    /// The partitions of a topic whose creator does not say.
    pub(crate) default_partitions: u32,
    /// The time between two looks for what retention lets go.
    pub(crate) retention_check_interval: Duration,
    /// The most idempotent producers that a partition knows.
    pub(crate) max_producers: usize,
    /// How long an idle one of them is known.
    pub(crate) producer_expiry: Duration,
}

/// `log.*`
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogSettings {
    /// The form of a line.
    pub(crate) format: LogFormat,
    /// Which lines: a level, or directives `target=level` separated by commas.
    pub(crate) level: String,
}

/// The form of a line of the broker's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `telemetry.*`
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TelemetrySettings {
    /// `http://HOST:PORT` of an OTLP collector that speaks gRPC; absent: nothing is sent.
    pub(crate) otlp_endpoint: Option<String>,
    /// The time between two reports of the metrics.
    pub(crate) otlp_interval: Duration,
    /// The share of traces that is kept, where the caller has not decided; 0 to 1.
    pub(crate) trace_ratio: f64,
    /// The name under which the collector files what is sent.
    pub(crate) service_name: String,
}

impl ServerSettings {
    /// The address to tell clients, when the client port is bound to `bound`: `advertise` when it
    /// is set, else where the broker listens. Nobody can connect to a wildcard address: the name
    /// of the machine stands in for it.
    pub(crate) fn advertised(&self, bound: SocketAddr) -> String {
        if let Some(advertise) = &self.advertise {
            return advertise.clone();
        }
        if !bound.ip().is_unspecified() {
            return bound.to_string();
        }
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match name.trim() {
            "" | "(none)" => SocketAddr::from(([127, 0, 0, 1], bound.port())).to_string(),
            name => format!("{name}:{}", bound.port()),
        }
    }
}

impl ClusterSettings {
    /// The address to tell other brokers, when the peer port is bound to `bound` and clients are
    /// told `client`: `peer_advertise` when it is set, else the client's host with the peer port.
    pub(crate) fn advertised(&self, bound: SocketAddr, client: &str) -> String {
        let host = client.rsplit_once(':').map_or(client, |(host, _)| host);
        let derived = || format!("{host}:{}", bound.port());
        self.peer_advertise.clone().unwrap_or_else(derived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_told_the_clients_host_unless_another_is_given() {
        let mut cluster = ClusterSettings::default();
        let bound = ([0, 0, 0, 0], 9093).into();
        assert_eq!(cluster.advertised(bound, "broker.example:9092"), "broker.example:9093");
        assert_eq!(cluster.advertised(bound, "[::1]:9092"), "[::1]:9093");
        cluster.peer_advertise = Some("inside.example:1".to_owned());
        assert_eq!(cluster.advertised(bound, "broker.example:9092"), "inside.example:1");
    }

    #[test]
    fn an_address_to_connect_to_is_advertised() {
        let mut server = ServerSettings::default();
        assert_eq!(server.advertised(([127, 0, 0, 1], 9092).into()), "127.0.0.1:9092");
        let wildcard = server.advertised(([0, 0, 0, 0], 4711).into());
        assert!(wildcard.ends_with(":4711") && !wildcard.starts_with("0.0.0.0"), "{wildcard}");
        server.advertise = Some("broker.example:9092".to_owned());
        assert_eq!(server.advertised(([0, 0, 0, 0], 1).into()), "broker.example:9092");
    }
}
