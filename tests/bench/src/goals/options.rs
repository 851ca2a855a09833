//! The command line of `goals`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// How the goals are measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct GoalOptions {
    /// Short runs and small amounts: a few minutes for everything, and no figures to quote.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these parts. May be repeated; `storage`, `broker` and `consumers` stand for several.
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Choice>,
    /// How often each case is measured, taking turns with its control. Default: 5, or 2 with
    /// --quick.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// How long a case is measured at a turn. Default: 3, or 1 with --quick.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// The sizes of commit groups, in KiB.
    #[arg(long, value_delimiter = ',', default_value = "16,64,256,1024", value_name = "KIB,...")]
    pub(crate) groups: Vec<usize>,
    /// The most that is written in one turn, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    max_write: u64,
    /// What is compacted, in MiB. Default: 1024, or 128 with --quick.
    #[arg(long, value_name = "MIB")]
    compact: Option<u64>,
    /// Where everything is written, and removed again: on the disk that is to be measured. Default:
    /// the directory for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where all figures go as one JSON document, for plots.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The store alone: commit groups of several sizes.
    Groups,
    /// The store alone: some gigabytes, with what it does in the background.
    Sustained,
    /// The whole path, on disk and in memory.
    Path,
    /// Numbered batches and compressed ones, beside others.
    Producers,
    /// One record at a time.
    Single,
    /// Bytes written for each byte produced.
    Bytes,
    /// Reading from the start.
    Read,
    /// The tail beside a reader that catches up.
    Tail,
    /// The first answer after a kill at full load.
    Recovery,
    /// Memory while much is produced and read.
    Memory,
    /// Compaction by key, alone and beside a producer.
    Compaction,
    /// Ten thousand partitions that do nothing.
    Idle,
    /// Reading as the member of a consumer group, beside reading without one.
    Subscribe,
    /// Commits of sixteen consumer groups.
    Commits,
    /// A member that joins a group of a hundred, and one that leaves it.
    Rebalance,
    /// A thousand members of a hundred groups that wait for records.
    Quiet,
}

/// A part, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    Storage,
    Broker,
    Consumers,
    Groups,
    Sustained,
    Path,
    Producers,
    Single,
    Bytes,
    Read,
    Tail,
    Recovery,
    Memory,
    Compaction,
    Idle,
    Subscribe,
    Commits,
    Rebalance,
    Quiet,
}

impl Choice {
    fn takes(self, part: Part) -> bool {
        let is_storage = matches!(part, Part::Groups | Part::Sustained);
        let is_consumers =
            matches!(part, Part::Subscribe | Part::Commits | Part::Rebalance | Part::Quiet);
        match self {
            Self::Storage => is_storage,
            Self::Broker => !is_storage,
            Self::Consumers => is_consumers,
            Self::Groups => part == Part::Groups,
            Self::Sustained => part == Part::Sustained,
            Self::Path => part == Part::Path,
            Self::Producers => part == Part::Producers,
            Self::Single => part == Part::Single,
            Self::Bytes => part == Part::Bytes,
            Self::Read => part == Part::Read,
            Self::Tail => part == Part::Tail,
            Self::Recovery => part == Part::Recovery,
            Self::Memory => part == Part::Memory,
            Self::Compaction => part == Part::Compaction,
            Self::Idle => part == Part::Idle,
            Self::Subscribe => part == Part::Subscribe,
            Self::Commits => part == Part::Commits,
            Self::Rebalance => part == Part::Rebalance,
            Self::Quiet => part == Part::Quiet,
        }
    }
}

impl GoalOptions {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.iter().any(|choice| choice.takes(part))
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 }).max(1)
    }

    /// How long one turn measures.
    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 1 } else { 3 }).max(1))
    }

    /// How long a turn goes before it measures.
    pub(crate) fn warm_up(&self) -> Duration {
        (self.span() / 4).max(Duration::from_millis(500))
    }

    /// The most bytes that one turn writes.
    pub(crate) fn max_write(&self) -> u64 {
        self.max_write.max(16) * MIB
    }

    /// `full`, or `quick` with --quick.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// What a sustained run writes.
    pub(crate) fn sustained_bytes(&self) -> u64 {
        self.pick(256 * MIB, 4 * GIB)
    }

    /// What is written to be read from the start.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.pick(128 * MIB, 2 * GIB)
    }

    /// What is produced and read while the memory is watched.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.pick(512 * MIB, 10 * GIB)
    }

    /// What is compacted.
    pub(crate) fn compacted_bytes(&self) -> u64 {
        self.compact.map_or_else(|| self.pick(128 * MIB, GIB), |mib| mib.max(16) * MIB)
    }

    /// The partitions of a broker with many.
    pub(crate) fn many_partitions(&self) -> u32 {
        self.pick(1_000, 10_000)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}
