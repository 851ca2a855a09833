//! What the environment says about a run.

use std::env;

use crate::error::ChaosError;
use crate::rng::Rng;

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
}

impl Options {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a value is no number.
    pub fn from_env() -> Result<Self, ChaosError> {
        Ok(Self {
            seed: number("ROPEWALK_CHAOS_SEED")?.unwrap_or_else(Rng::fresh_seed),
            rounds: number("ROPEWALK_CHAOS_ROUNDS")?,
            first: number("ROPEWALK_CHAOS_FIRST")?.unwrap_or(0),
            strict: number::<u8>("ROPEWALK_CHAOS_STRICT")?.unwrap_or(0) != 0,
        })
    }

    /// The rounds to run.
    #[must_use]
    pub fn rounds(&self, usual: u32) -> std::ops::Range<u32> {
        self.first..self.first.saturating_add(self.rounds.unwrap_or(usual))
    }
}

fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>, ChaosError> {
    let Some(text) = env::var_os(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let value = text.to_str().and_then(|text| text.parse().ok());
    let wrong = || ChaosError::broken(format!("{name} is {text:?}, which is no number"));
    value.map(Some).ok_or_else(wrong)
}
