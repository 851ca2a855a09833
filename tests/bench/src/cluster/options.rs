//! The command line of `cluster`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

const MIB: u64 = 1024 * 1024;

/// How a cluster is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterOptions {
    /// Short runs and small amounts: a few minutes for everything, and no figures to quote.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these parts. May be repeated.
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// How often each case is measured, taking turns with its control. Default: 5, or 2 with
    /// --quick; a half of it, rounded up, for what takes long.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// How long a case is measured at a turn. Default: 3, or 1 with --quick.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// The most that is produced in one turn, in MiB. Each of three brokers keeps it.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    max_write: u64,
    /// What a broker misses before it catches up, in GB. The disk has to hold it four times.
    /// Default: 2, or 0.25 with --quick.
    #[arg(long, value_name = "GB")]
    catchup_gb: Option<f64>,
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
    /// Batches at full speed, beside one broker.
    Path,
    /// One record at a time, beside one broker.
    Single,
    /// Through a broker that does not lead, beside the leader.
    Forward,
    /// One follower that is stopped half of the time, beside none.
    Slow,
    /// A broker that missed some gigabytes, beside a copy of files; and what it costs the others.
    Catchup,
    /// How long a partition takes no record when its leader or a follower is killed.
    Gap,
    /// A thousand partitions after the death of one broker, and of all.
    Failover,
    /// Three thousand partitions that do nothing.
    Idle,
}

impl ClusterOptions {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 }).max(1)
    }

    /// Of what takes long.
    pub(crate) fn few_rounds(&self) -> usize {
        self.rounds().div_ceil(2)
    }

    /// How long one turn measures.
    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 1 } else { 3 }).max(1))
    }

    /// How long a turn goes before it measures.
    pub(crate) fn warm_up(&self) -> Duration {
        (self.span() / 4).max(Duration::from_millis(500))
    }

    /// The most bytes that one turn produces.
    pub(crate) fn max_write(&self) -> u64 {
        self.max_write.max(16) * MIB
    }

    /// The bytes that a broker misses before it catches up.
    pub(crate) fn catchup_bytes(&self) -> u64 {
        let gigabytes = self.catchup_gb.unwrap_or(if self.quick { 0.25 } else { 2.0 });
        (gigabytes.clamp(0.05, 1000.0) * 1e9) as u64
    }

    /// `full`, or `quick` with --quick.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: ClusterOptions,
    }

    fn options(line: &[&str]) -> ClusterOptions {
        Line::parse_from(["bench"].iter().chain(line)).options
    }

    #[test]
    fn a_quick_run_misses_less_and_says_otherwise_what_it_is_told() {
        assert_eq!(options(&[]).catchup_bytes(), 2_000_000_000);
        assert_eq!(options(&["--quick"]).catchup_bytes(), 250_000_000);
        assert_eq!(options(&["--quick", "--catchup-gb", "0.5"]).catchup_bytes(), 500_000_000);
        let few = |line: &[&str]| options(line).few_rounds();
        assert_eq!((few(&[]), few(&["--quick"]), few(&["--rounds", "4"])), (3, 1, 2));
    }

    #[test]
    fn only_the_parts_that_are_named_are_wanted() {
        let some = options(&["--only", "idle", "--only", "path"]);
        assert!(some.wants(Part::Idle) && some.wants(Part::Path) && !some.wants(Part::Slow));
        assert!(Part::value_variants().iter().all(|part| options(&[]).wants(*part)));
    }
}
