//! Every setting, once.
//!
//! A row names the setting and says where its value is kept; the type of that place decides what is
//! accepted. To add a setting: a field in `Settings`, a row here, and the code that acts on it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::{LogFormat, Settings, StorageEngine, values};

/// Where in [`Settings`] a value is kept.
type Place<T> = fn(&mut Settings) -> &mut T;

/// One setting.
pub(super) struct Setting {
    /// `section.name`: the TOML key.
    pub(super) key: &'static str,
    /// The flag, without its dashes.
    pub(super) flag: &'static str,
    /// What the flag's value is called in the help.
    pub(super) value_name: &'static str,
    /// The default as text. Empty: unset, and `help` says what that means.
    pub(super) default: &'static str,
    /// What it does. The first word says so; no full stop at the end.
    pub(super) help: &'static str,
    /// What values it takes, and where they go.
    pub(super) field: Field,
}

impl Setting {
    /// `ROPEWALK_SECTION__NAME`.
    pub(super) fn variable(&self) -> String {
        format!("ROPEWALK_{}", self.key.replace('.', "__").to_ascii_uppercase())
    }

    /// The section, and the name within it.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').expect("a key is section.name: a test checks the table")
    }
}

/// What values a setting takes, and where they go.
pub(super) enum Field {
    /// HOST:PORT to listen on.
    Address(Place<String>),
    /// HOST:PORT to listen on, or nothing.
    OptionalAddress(Place<Option<String>>),
    /// Some of HOST:PORT to connect to, separated by commas.
    Destinations(Place<Vec<String>>),
    /// The id of a broker: a number, or that in the name of the machine.
    NodeId(Place<u64>),
    /// Ids of brokers, separated by commas.
    NodeIds(Place<BTreeSet<u64>>),
    /// Any text, or nothing.
    OptionalWord(Place<Option<String>>),
    /// HOST:PORT to connect to, or nothing.
    Destination(Place<Option<String>>),
    /// The URL of a collector, or nothing.
    Endpoint(Place<Option<String>>),
    /// A file or directory.
    Path(Place<PathBuf>),
    /// A directive for the log.
    Filter(Place<String>),
    /// Any text.
    Word(Place<String>),
    /// Yes or no.
    Bool(Place<bool>),
    /// A number from 0 to 1.
    Ratio(Place<f64>),
    /// A length of time, within bounds.
    Duration(Duration, Duration, Place<Duration>),
    /// A number of bytes, within bounds.
    Size(u64, u64, Place<u64>),
    /// A whole number, within bounds.
    Integer(u64, u64, Integer),
    /// One of a few words: the words, and how the chosen one (by its place) is set and read.
    Choice(&'static [&'static str], fn(&mut Settings, usize), fn(&Settings) -> usize),
}

/// The types of whole numbers.
pub(super) enum Integer {
    /// Of 32 bits.
    U32(Place<u32>),
    /// A count in memory, or nothing.
    OptionalUsize(Place<Option<usize>>),
    /// A count in memory.
    Usize(Place<usize>),
}

impl Field {
    /// Reads a value and keeps it; an error says what was expected.
    pub(super) fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        match self {
            Self::Address(place) => *place(settings) = values::address(text)?,
            Self::OptionalAddress(place) => *place(settings) = optional(text, values::address)?,
            Self::Destinations(place) => {
                *place(settings) = values::list(text, values::destination)?
            }
            Self::NodeId(place) => *place(settings) = values::node_id(text)?,
            Self::NodeIds(place) => *place(settings) = values::list(text, values::number_of_node)?,
            Self::OptionalWord(place) => *place(settings) = optional(text, values::word)?,
            Self::Destination(place) => *place(settings) = optional(text, values::destination)?,
            Self::Endpoint(place) => *place(settings) = optional(text, values::endpoint)?,
            Self::Path(place) => *place(settings) = PathBuf::from(values::word(text)?),
            Self::Filter(place) => *place(settings) = values::filter(text)?,
            Self::Word(place) => *place(settings) = values::word(text)?,
            Self::Bool(place) => {
                *place(settings) = text.parse().map_err(|_| "true or false".to_owned())?;
            }
            Self::Ratio(place) => *place(settings) = values::ratio(text)?,
            Self::Duration(min, max, place) => {
                let value = values::duration(text)?;
                let expected = || between(values::duration_text, *min, *max);
                *place(settings) = within(value, *min, *max).ok_or_else(expected)?;
            }
            Self::Size(min, max, place) => {
                let value = values::size(text)?;
                let expected = || between(values::size_text, *min, *max);
                *place(settings) = within(value, *min, *max).ok_or_else(expected)?;
            }
            Self::Integer(_, _, Integer::OptionalUsize(place)) if text.is_empty() => {
                *place(settings) = None;
            }
            Self::Integer(min, max, integer) => {
                let value = text.parse().ok().and_then(|value| within(value, *min, *max));
                let value = value.ok_or_else(|| between(|n| format!("{n}"), *min, *max))?;
                integer.set(settings, value);
            }
            Self::Choice(words, set, _) => {
                let chosen = words.iter().position(|word| *word == text);
                set(settings, chosen.ok_or_else(|| words.join(" or "))?);
            }
        }
        Ok(())
    }

    /// The value as a TOML literal; nothing when it is unset.
    pub(super) fn literal(&self, settings: &Settings) -> Option<String> {
        let settings = &mut settings.clone();
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let literal = match self {
            Self::Address(place) | Self::Filter(place) | Self::Word(place) => {
                quoted(place(settings))
            }
            Self::Destination(place)
            | Self::Endpoint(place)
            | Self::OptionalAddress(place)
            | Self::OptionalWord(place) => quoted(place(settings).as_ref()?),
            Self::Destinations(place) => listed(place(settings).iter())?,
            Self::NodeIds(place) => listed(place(settings).iter())?,
            Self::NodeId(place) => place(settings).to_string(),
            Self::Path(place) => quoted(&place(settings).to_string_lossy()),
            Self::Bool(place) => place(settings).to_string(),
            Self::Ratio(place) => toml::Value::from(*place(settings)).to_string(),
            Self::Duration(_, _, place) => quoted(&values::duration_text(*place(settings))),
            Self::Size(_, _, place) => quoted(&values::size_text(*place(settings))),
            Self::Integer(_, _, integer) => integer.get(settings)?,
            Self::Choice(words, _, get) => quoted(words[get(settings)]),
        };
        Some(literal)
    }
}

impl Integer {
    fn set(&self, settings: &mut Settings, value: u64) {
        let fits = "the row's upper bound fits its type: a test checks the table";
        match self {
            Self::U32(place) => *place(settings) = u32::try_from(value).expect(fits),
            Self::Usize(place) => *place(settings) = usize::try_from(value).expect(fits),
            Self::OptionalUsize(place) => {
                *place(settings) = Some(usize::try_from(value).expect(fits));
            }
        }
    }

    fn get(&self, settings: &mut Settings) -> Option<String> {
        Some(match self {
            Self::U32(place) => place(settings).to_string(),
            Self::Usize(place) => place(settings).to_string(),
            Self::OptionalUsize(place) => place(settings).as_ref()?.to_string(),
        })
    }
}

/// A list as one text; nothing when it is empty.
fn listed<T: ToString>(items: impl Iterator<Item = T>) -> Option<String> {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    (!items.is_empty()).then(|| toml::Value::from(items.join(",")).to_string())
}

fn optional<T>(text: &str, read: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

fn within<T: PartialOrd>(value: T, min: T, max: T) -> Option<T> {
    (min <= value && value <= max).then_some(value)
}

fn between<T>(text: impl Fn(T) -> String, min: T, max: T) -> String {
    format!("between {} and {}", text(min), text(max))
}

/// The setting whose key this is.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Whether there is a setting of this key.
#[cfg(test)]
pub(crate) fn is_known(key: &str) -> bool {
    find(key).is_some()
}

/// The flag of a setting, with its dashes, for messages that say what to change.
pub(crate) fn flag_of(key: &str) -> String {
    let setting = find(key).expect("messages name settings that exist");
    format!("--{}", setting.flag)
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// All settings, in the order of their documentation.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        key: "server.listen",
        flag: "listen",
        value_name: "HOST:PORT",
        default: "127.0.0.1:9092",
        help: "Where clients connect. Port 0 lets the system choose one",
        field: Field::Address(|s| &mut s.server.listen),
    },
    Setting {
        key: "server.advertise",
        flag: "advertise",
        value_name: "HOST:PORT",
        default: "",
        help: "The address that clients are told to connect to. Unset: the one the broker listens \
               on, with the machine's name in place of a wildcard",
        field: Field::Destination(|s| &mut s.server.advertise),
    },
    Setting {
        key: "server.admin_listen",
        flag: "admin-listen",
        value_name: "HOST:PORT",
        default: "127.0.0.1:9094",
        help: "Where metrics and health are served over HTTP. Port 0 lets the system choose one",
        field: Field::Address(|s| &mut s.server.admin_listen),
    },
    Setting {
        key: "server.data_dir",
        flag: "data-dir",
        value_name: "DIR",
        default: "./ropewalk-data",
        help: "The directory that holds everything the broker keeps. It is created if need be",
        field: Field::Path(|s| &mut s.server.data_dir),
    },
    Setting {
        key: "server.node_id",
        flag: "node-id",
        value_name: "N",
        default: "1",
        help: "The id of this broker, from 1; another one on each broker of a cluster. A data \
               directory belongs to the id that first used it. `hostname`: the number at the end \
               of the machine's name, plus 1, so that ropewalk-0 is broker 1",
        field: Field::NodeId(|s| &mut s.server.node_id),
    },
    Setting {
        key: "server.max_connections",
        flag: "max-connections",
        value_name: "N",
        default: "4096",
        help: "The most client connections at a time. Further ones are closed at once",
        field: Field::Integer(1, 1_000_000, Integer::Usize(|s| &mut s.server.max_connections)),
    },
    Setting {
        key: "server.max_streams_per_connection",
        flag: "max-streams-per-connection",
        value_name: "N",
        default: "1000",
        help: "The most calls at a time on one connection",
        field: Field::Integer(
            1,
            1_000_000,
            Integer::U32(|s| &mut s.server.max_streams_per_connection),
        ),
    },
    Setting {
        key: "server.drain_timeout",
        flag: "drain-timeout",
        value_name: "TIME",
        default: "5s",
        help: "How long a broker that was told to stop waits for calls before it ends them",
        field: Field::Duration(Duration::ZERO, Duration::from_secs(9), |s| {
            &mut s.server.drain_timeout
        }),
    },
    Setting {
        key: "server.keepalive_interval",
        flag: "keepalive-interval",
        value_name: "TIME",
        default: "5s",
        help: "The time between two pings on a quiet connection",
        field: Field::Duration(SECOND, HOUR, |s| &mut s.server.keepalive_interval),
    },
    Setting {
        key: "server.keepalive_timeout",
        flag: "keepalive-timeout",
        value_name: "TIME",
        default: "4s",
        help: "How long a ping may stay unanswered before its connection is closed",
        field: Field::Duration(SECOND, HOUR, |s| &mut s.server.keepalive_timeout),
    },
    Setting {
        key: "server.threads",
        flag: "threads",
        value_name: "N",
        default: "",
        help: "The threads that serve calls. Unset: one a core",
        field: Field::Integer(1, 1_024, Integer::OptionalUsize(|s| &mut s.server.threads)),
    },
    Setting {
        key: "cluster.peer_listen",
        flag: "peer-listen",
        value_name: "HOST:PORT",
        default: "",
        help: "Where other brokers connect, by convention at port 9093. Unset: nowhere, and this \
               broker is a cluster of its own",
        field: Field::OptionalAddress(|s| &mut s.cluster.peer_listen),
    },
    Setting {
        key: "cluster.peer_advertise",
        flag: "peer-advertise",
        value_name: "HOST:PORT",
        default: "",
        help: "The address that other brokers are told to connect to. Unset: the host of \
               server.advertise with the port of cluster.peer_listen",
        field: Field::Destination(|s| &mut s.cluster.peer_advertise),
    },
    Setting {
        key: "cluster.join",
        flag: "join",
        value_name: "HOST:PORT,...",
        default: "",
        help: "Peer addresses of brokers of the cluster, separated by commas, of which one that \
               answers is enough. This broker's own may be among them. Unset: a broker without \
               data forms a cluster of its own",
        field: Field::Destinations(|s| &mut s.cluster.join),
    },
    Setting {
        key: "cluster.bootstrap",
        flag: "bootstrap",
        value_name: "N,...",
        default: "",
        help: "The ids of the brokers that form the cluster at its first start, separated by \
               commas, the same on all of them. It is formed once all of them are there, and the \
               setting means nothing afterwards. Unset: this broker joins a cluster that there is",
        field: Field::NodeIds(|s| &mut s.cluster.bootstrap),
    },
    Setting {
        key: "cluster.rack",
        flag: "rack",
        value_name: "NAME",
        default: "",
        help: "The rack or zone in which this broker stands: replicas are spread over them. Unset: \
               none",
        field: Field::OptionalWord(|s| &mut s.cluster.rack),
    },
    Setting {
        key: "cluster.catch_up_rate",
        flag: "catch-up-rate",
        value_name: "BYTES",
        default: "48MiB",
        help: "The bytes a second that this broker sends to brokers that are behind, from what is \
               on its disk, while it has writes of its own; and no less than these and a quarter \
               more, so that they do catch up, unless its own wait for the disk already. It is \
               split evenly over the shards. With writes below a sixteenth of it, as fast as it \
               can",
        field: Field::Size(MIB, TIB, |s| &mut s.cluster.catch_up_rate),
    },
    Setting {
        key: "storage.engine",
        flag: "storage",
        value_name: "ENGINE",
        default: "disk",
        help: "Where the log is kept: disk, or memory, which forgets it when the process ends",
        field: Field::Choice(
            &["disk", "memory"],
            |s, i| s.storage.engine = [StorageEngine::Disk, StorageEngine::Memory][i],
            |s| s.storage.engine as usize,
        ),
    },
    Setting {
        key: "storage.journal_size",
        flag: "journal-size",
        value_name: "BYTES",
        default: "512MiB",
        help: "The most bytes of the disk that the journal takes; a quiet broker needs few of them",
        field: Field::Size(8 * MIB, TIB, |s| &mut s.storage.journal_size),
    },
    Setting {
        key: "storage.free_space_floor",
        flag: "free-space-floor",
        value_name: "BYTES",
        default: "256MiB",
        help: "Below this many free bytes of the disk no records are taken (STORAGE_FULL); all \
               else goes on",
        field: Field::Size(16 * MIB, TIB, |s| &mut s.storage.free_space_floor),
    },
    Setting {
        key: "storage.compaction_rate",
        flag: "compaction-rate",
        value_name: "BYTES",
        default: "64MiB",
        help: "The bytes a second that compaction reads on this broker while records are written \
               beside it; it writes up to as many. With writes below a sixteenth of it, as fast as \
               it can",
        field: Field::Size(MIB, TIB, |s| &mut s.storage.compaction_rate),
    },
    Setting {
        key: "memory.append_budget",
        flag: "append-budget",
        value_name: "BYTES",
        default: "32MiB",
        help: "The bytes of appends that may wait for the disk before producers are made to wait; \
               and as many again of those that other brokers forward. Those that expect the \
               version of a key have 16 MiB of their own",
        field: Field::Size(8 * MIB, TIB, |s| &mut s.memory.append_budget),
    },
    Setting {
        key: "memory.read_budget",
        flag: "read-budget",
        value_name: "BYTES",
        default: "64MiB",
        help: "The bytes of records that are kept in memory for consumers: a half for recent \
               batches, a quarter for what was read from the disk and may be read again, a quarter \
               for what is on its way",
        field: Field::Size(MIB, TIB, |s| &mut s.memory.read_budget),
    },
    Setting {
        key: "memory.key_budget",
        flag: "key-budget",
        value_name: "BYTES",
        default: "64MiB",
        help: "The bytes that the versions of keys may take, of partitions to which appends go \
               that expect one: about a million keys in 64MiB. Partitions with more keys refuse \
               such appends",
        field: Field::Size(MIB, TIB, |s| &mut s.memory.key_budget),
    },
    Setting {
        key: "topics.auto_create",
        flag: "auto-create",
        value_name: "BOOL",
        default: "true",
        help: "Whether using a topic that does not exist creates it",
        field: Field::Bool(|s| &mut s.topics.auto_create),
    },
    Setting {
        key: "topics.default_partitions",
        flag: "default-partitions",
        value_name: "N",
        default: "1",
        help: "The partitions of a topic whose creator does not say how many",
        field: Field::Integer(1, 10_000, Integer::U32(|s| &mut s.topics.default_partitions)),
    },
    Setting {
        key: "topics.retention_check_interval",
        flag: "retention-check-interval",
        value_name: "TIME",
        default: "5s",
        help: "The time between two looks for records that retention lets go",
        field: Field::Duration(Duration::from_millis(10), HOUR, |s| {
            &mut s.topics.retention_check_interval
        }),
    },
    Setting {
        key: "topics.max_producers",
        flag: "max-producers",
        value_name: "N",
        default: "1000",
        help: "The idempotent producers that a partition knows at most: the one that has been idle \
               longest makes room, and is refused when it comes back, unless it asks for a new id. \
               One that has appended within 5 minutes stays: where all have, new ones are refused",
        field: Field::Integer(1, 100_000, Integer::Usize(|s| &mut s.topics.max_producers)),
    },
    Setting {
        key: "topics.producer_expiry",
        flag: "producer-expiry",
        value_name: "TIME",
        default: "1d",
        help: "How long a partition knows an idempotent producer that sends nothing, and five \
               minutes more",
        field: Field::Duration(SECOND, Duration::from_secs(365 * 86_400), |s| {
            &mut s.topics.producer_expiry
        }),
    },
    Setting {
        key: "log.format",
        flag: "log-format",
        value_name: "FORMAT",
        default: "text",
        help: "The form of the log on standard error: text, or json, one object a line",
        field: Field::Choice(
            &["text", "json"],
            |s, i| s.log.format = [LogFormat::Text, LogFormat::Json][i],
            |s| s.log.format as usize,
        ),
    },
    Setting {
        key: "log.level",
        flag: "log-level",
        value_name: "LEVEL",
        default: "info",
        help: "What is logged: off, error, warn, info, debug or trace, or directives with targets, \
               such as info,ropewalk_storage=debug",
        field: Field::Filter(|s| &mut s.log.level),
    },
    Setting {
        key: "telemetry.otlp_endpoint",
        flag: "otlp-endpoint",
        value_name: "URL",
        default: "",
        help: "Where traces and metrics are sent, over OTLP with gRPC: http://HOST:PORT. Unset: \
               nowhere",
        field: Field::Endpoint(|s| &mut s.telemetry.otlp_endpoint),
    },
    Setting {
        key: "telemetry.otlp_interval",
        flag: "otlp-interval",
        value_name: "TIME",
        default: "10s",
        help: "The time between two reports of the metrics to the collector",
        field: Field::Duration(Duration::from_millis(100), HOUR, |s| {
            &mut s.telemetry.otlp_interval
        }),
    },
    Setting {
        key: "telemetry.trace_ratio",
        flag: "trace-ratio",
        value_name: "RATIO",
        default: "1.0",
        help: "The share of calls that are traced, from 0 to 1, where the caller has not decided",
        field: Field::Ratio(|s| &mut s.telemetry.trace_ratio),
    },
    Setting {
        key: "telemetry.service_name",
        flag: "service-name",
        value_name: "NAME",
        default: "ropewalk",
        help: "The name under which the collector files traces and metrics",
        field: Field::Word(|s| &mut s.telemetry.service_name),
    },
];

#[cfg(test)]
mod tests;
