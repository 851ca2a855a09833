//! The moment of a fault: at random, soon after a start, or when the broker says that it is doing
//! something.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::error::ChaosError;
use crate::rng::Rng;

/// The target of the log lines that tell moments.
const TARGET: &str = "ropewalk_storage::moments";
/// The moments that the broker tells.
const LINES: [&str; 5] = [
    "checkpoint begins",
    "checkpoint synced",
    "segment rolled",
    "index flushed",
    "journal recycled",
];
/// The time between two looks at the log.
const LOOK: Duration = Duration::from_micros(100);

/// When a fault is to happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// So long after the load began.
    Random(Duration),
    /// So long after the process was started, ready or not.
    AfterStart(Duration),
    /// So long after a line was logged for the n-th time.
    Line {
        /// What the line says.
        line: &'static str,
        /// Which one.
        nth: u64,
        /// How long after it.
        after: Duration,
    },
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(after) => write!(f, "{after:.1?} into the load"),
            Self::AfterStart(after) => write!(f, "{after:.1?} after the start"),
            Self::Line { line, nth, after } => write!(f, "{after:.1?} after \"{line}\" no. {nth}"),
        }
    }
}

impl Moment {
    /// The setting with which the broker tells its moments.
    pub const LOG_LEVEL: (&'static str, &'static str) =
        ("log.level", "info,ropewalk_storage::moments=debug");

    /// Whether it comes only after many bytes.
    #[must_use]
    pub fn needs_many_bytes(&self) -> bool {
        matches!(self, Self::Line { line: "journal recycled" | "segment rolled", .. })
    }

    /// The moment of a round. Kinds take turns, so that few rounds have them all.
    #[must_use]
    pub fn of_round(seed: u64, round: u32) -> Self {
        let mut rng = Rng::part(seed ^ 0x6d6f_6d65, u64::from(round));
        match round % 8 {
            0 | 4 => Self::Random(Duration::from_millis(50) + rng.up_to_millis(900)),
            1 => Self::AfterStart(rng.up_to_millis(100)),
            kind => {
                let number = [0, 0, 0, 1, 0, 2, 3, 4][kind as usize];
                let nth = rng.within(1..3);
                // Right at it in most rounds, within a checkpoint's length in others.
                let after =
                    if rng.percent(60) { rng.up_to_millis(1) } else { rng.up_to_millis(80) };
                Self::Line { line: LINES[number], nth, after }
            }
        }
    }
}

/// Reads the log of a broker while it is written.
#[derive(Debug)]
pub struct MomentWatch {
    log: File,
    rest: String,
}

impl MomentWatch {
    /// Watches what is logged from now on.
    ///
    /// # Errors
    /// When there is no log.
    pub fn new(log: &Path) -> Result<Self, ChaosError> {
        let what = || format!("opening {}", log.display());
        let mut log = File::open(log).map_err(ChaosError::system(what()))?;
        log.seek(SeekFrom::End(0)).map_err(ChaosError::system(what()))?;
        Ok(Self { log, rest: String::new() })
    }

    /// Waits until a moment was told for the n-th time; says whether it was, in this time. It holds
    /// its thread: the runtime's timer counts in milliseconds, and moments are shorter.
    pub fn wait(&mut self, line: &str, nth: u64, within: Duration) -> bool {
        block_in_place(|| {
            let until = Instant::now() + within;
            let mut seen = 0;
            while Instant::now() < until {
                seen += self.count(line);
                if seen >= nth {
                    return true;
                }
                std::thread::park_timeout(LOOK);
            }
            false
        })
    }

    /// Lets a short time pass, to the tenth of a millisecond.
    pub fn pause(time: Duration) {
        block_in_place(|| {
            let until = Instant::now() + time;
            while Instant::now() < until {
                std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
            }
        });
    }

    /// How often a moment was told since the last look.
    fn count(&mut self, line: &str) -> u64 {
        let mut bytes = Vec::new();
        // What cannot be read now can be at the next look.
        let _ = self.log.read_to_end(&mut bytes);
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        let Some(end) = self.rest.rfind('\n') else { return 0 };
        let whole = &self.rest[..end];
        let told = whole.lines().filter(|found| found.contains(TARGET) && found.contains(line));
        let count = told.count() as u64;
        self.rest.drain(..=end);
        count
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn eight_rounds_have_every_kind() {
        let kinds: Vec<_> = (0..8).map(|round| Moment::of_round(5, round)).collect();
        for line in LINES {
            let has =
                |moment: &Moment| matches!(moment, Moment::Line { line: l, .. } if *l == line);
            assert!(kinds.iter().any(has), "{line}: {kinds:?}");
        }
        assert!(kinds.iter().any(|moment| matches!(moment, Moment::AfterStart(_))));
        assert!(kinds.iter().any(|moment| matches!(moment, Moment::Random(_))));
        assert_eq!(Moment::of_round(5, 3), Moment::of_round(5, 3));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lines_are_counted_once_they_are_whole() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        writeln!(log, "DEBUG {TARGET}: segment rolled").unwrap();
        let mut watch = MomentWatch::new(log.path()).unwrap();
        let soon = Duration::from_millis(20);
        assert!(!watch.wait("segment rolled", 1, soon), "it was logged before");
        write!(log, "DEBUG {TARGET}: segment").unwrap();
        assert!(!watch.wait("segment rolled", 1, soon));
        writeln!(log, " rolled\nDEBUG other: segment rolled").unwrap();
        assert!(watch.wait("segment rolled", 1, soon));
        assert!(!watch.wait("segment rolled", 1, soon));
    }
}
