//! What the environment says about a run.

use std::env;
use std::path::PathBuf;

use crate::error::ChaosError;
use crate::rng::Rng;

/// Names the directory that keeps what a failed run of a cluster leaves.
pub const KEEP: &str = "ROPEWALK_CHAOS_KEEP";

/// Names the number that decides all that is chosen.
pub const SEED: &str = "ROPEWALK_CHAOS_SEED";

/// The directory that keeps what a failed run of a cluster leaves: the one that
/// `ROPEWALK_CHAOS_KEEP` names, or the one for temporary files.
#[must_use]
pub fn keep_directory() -> PathBuf {
    env::var_os(KEEP).map_or_else(env::temp_dir, PathBuf::from)
}

/// How a run is to be. The defaults are those of every change: minutes, all kinds of faults.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `ROPEWALK_CHAOS_SEED`: decides all that is chosen. Without it, another one in each run.
    pub seed: u64,
    /// `ROPEWALK_CHAOS_ROUNDS`: the rounds of tests that have rounds, in place of their own number.
    pub rounds: Option<u32>,
    /// `ROPEWALK_CHAOS_FIRST`: the first round, to come to a late one at once. The directory is
    /// then younger than it was.
    pub first: u32,
    /// `ROPEWALK_CHAOS_STRICT=1`: a moment that the broker does not tell, and what the plain engine
    /// is known not to do, are failures.
    pub strict: bool,
    /// `ROPEWALK_CHAOS=long`: the tests of a cluster run every fault with three seeds and longer
    /// pauses, which takes hours.
    pub long: bool,
    /// `ROPEWALK_CHAOS_SECONDS`: how long the load of each test of a cluster runs, in place of its
    /// own time.
    pub seconds: Option<u64>,
    /// `ROPEWALK_CHAOS_JOBS`: how many tests run at a time, each in a process of its own. Without
    /// it one, in this process. A test of a cluster keeps less than a core busy.
    pub jobs: usize,
    /// `CI`, as services that test every change set it: what this machine cannot run is a failure,
    /// or nobody would notice that it is never run.
    pub must_run: bool,
}

impl Options {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a value is no number.
    pub fn from_env() -> Result<Self, ChaosError> {
        Ok(Self {
            seed: number(SEED)?.unwrap_or_else(Rng::fresh_seed),
            rounds: number("ROPEWALK_CHAOS_ROUNDS")?,
            first: number("ROPEWALK_CHAOS_FIRST")?.unwrap_or(0),
            long: is_long()?,
            seconds: number("ROPEWALK_CHAOS_SECONDS")?,
            strict: number::<u8>("ROPEWALK_CHAOS_STRICT")?.unwrap_or(0) != 0,
            jobs: number("ROPEWALK_CHAOS_JOBS")?.unwrap_or(1),
            must_run: !matches!(env::var("CI").as_deref(), Err(_) | Ok("" | "0" | "false")),
        })
    }

    /// The rounds to run.
    #[must_use]
    pub fn rounds(&self, usual: u32) -> std::ops::Range<u32> {
        self.first..self.first.saturating_add(self.rounds.unwrap_or(usual))
    }
}

fn is_long() -> Result<bool, ChaosError> {
    match env::var("ROPEWALK_CHAOS").unwrap_or_default().as_str() {
        "" => Ok(false),
        "long" => Ok(true),
        other => Err(ChaosError::broken(format!("ROPEWALK_CHAOS is {other:?}: it may be long"))),
    }
}

fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>, ChaosError> {
    let Some(text) = env::var_os(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let value = text.to_str().and_then(|text| text.parse().ok());
    let wrong = || ChaosError::broken(format!("{name} is {text:?}, which is no number"));
    value.map(Some).ok_or_else(wrong)
}
