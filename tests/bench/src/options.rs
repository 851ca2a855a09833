//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::cluster::ClusterOptions;
use crate::codecs::CodecOptions;
use crate::goals::GoalOptions;

/// What one producer or subscriber may use of the disk in one run, at most.
const MIB: u64 = 1024 * 1024;

/// Measures a broker: throughput, latency and footprint, beside the raw speed of the disk.
///
/// Starts brokers of its own, one for each figure, from the release binary beside it, and ends
/// them.
#[derive(Clone, Debug, Parser)]
#[command(name = "ropewalk-bench", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Short runs, one of each: for a first look, not for figures to quote.
    #[arg(long)]
    pub(crate) quick: bool,
    /// The partition counts to measure.
    #[arg(long, value_delimiter = ',', default_value = "1,16,1000", value_name = "N,...")]
    pub(crate) partitions: Vec<u32>,
    /// The sizes of a record's value, in bytes.
    #[arg(long, value_delimiter = ',', default_value = "100,1024,65536", value_name = "BYTES,...")]
    pub(crate) sizes: Vec<usize>,
    /// How long one run measures, after its warm-up. Default: 4, or 1 with --quick.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// How many runs the figures are medians of, alternating between cases. Default: 3, or 1 with
    /// --quick.
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// The form of the output: a table, or one JSON object a line.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// The broker's storage.
    #[arg(long, value_enum, default_value = "disk")]
    pub(crate) engine: EngineKind,
    /// Only these scenarios. May be repeated.
    #[arg(long, value_enum, value_name = "SCENARIO")]
    only: Vec<Scenario>,
    /// Measure the broker that runs at this address instead of starting some. CPU, memory and
    /// whatever needs a restart are left out.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) broker: Option<String>,
    /// Where data directories and the control's file are made, and removed again. Default: the
    /// directory for temporary files. It must be on the disk that is to be measured.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The most that one run may write, in MiB of record values. A run that gets there ends early.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    max_write: u64,
    /// The connections that produce, each with a stream of its own.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) producers: u32,
    /// The batches that each of them has in flight.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) window: usize,
}

/// What is measured instead of the scenarios.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Holds the store and the whole path against their goals, each beside a control that takes
    /// turns with it.
    Goals(GoalOptions),
    /// Holds three brokers that form a cluster against their goals, each figure beside one broker
    /// or another control that takes turns with it.
    Cluster(ClusterOptions),
    /// Measures what each codec makes of batches of log lines, and at what rate.
    Codecs(CodecOptions),
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// An aligned table.
    Text,
    /// One object a line.
    Json,
}

/// Where a broker keeps its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineKind {
    /// On disk.
    Disk,
    /// In memory.
    Memory,
}

impl EngineKind {
    /// As the broker's setting spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A raw write and fdatasync on the same disk.
    Control,
    /// An idle broker, and the time until the first acked record.
    Footprint,
    /// Batches at full speed.
    Produce,
    /// One record at a time.
    Single,
    /// Reading from the start.
    Replay,
    /// Reading at the tail while producers go at full speed.
    Tail,
    /// From producer to subscriber at a moderate rate.
    Latency,
    /// The Rust client library.
    Sdk,
}

impl Options {
    pub(crate) fn wants(&self, scenario: Scenario) -> bool {
        self.only.is_empty() || self.only.contains(&scenario)
    }

    /// How long a run measures.
    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 1 } else { 4 }).max(1))
    }

    /// How long a run goes before it measures.
    pub(crate) fn warm_up(&self) -> Duration {
        (self.span() / 4).max(Duration::from_millis(500))
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
    }

    /// The most bytes of values that one run writes.
    pub(crate) fn max_write(&self) -> u64 {
        self.max_write.max(1) * MIB
    }

    /// What is written to be read from the start.
    pub(crate) fn replay_bytes(&self) -> u64 {
        let wanted = if self.quick { 32 * MIB } else { 256 * MIB };
        wanted.min(self.max_write())
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}
