//! The only place that asks what time it is.
//!
//! Everything else is given a [`Clock`], so that tests and simulation decide what it says.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. It may jump, in both directions.
    fn now(&self) -> Timestamp;
    /// The time since an arbitrary point. It never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods)] // This is the clock.
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // This is the clock.
    fn now(&self) -> Timestamp {
        let signed = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp(signed(after)),
            Err(before) => Timestamp(-signed(before.duration())),
        }
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    elapsed: Mutex<Duration>,
}

impl ManualClock {
    /// Moves both of its clocks forward.
    pub fn advance(&self, by: Duration) {
        *self.elapsed.lock().expect("no holder of the clock panics") += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(0).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.lock().expect("no holder of the clock panics")
    }
}
