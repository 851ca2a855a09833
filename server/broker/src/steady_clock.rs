//! The time by which the groups that this broker leads reckon.
//!
//! The wall clock may jump, and every deadline with it. This one goes by the monotonic clock and
//! comes near the wall clock little by little.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ropewalk_core::{Clock, Timestamp};

/// It goes at most one part in so many faster or slower than time does.
const PACE: u32 = 10;

/// A clock that never jumps.
pub(crate) struct SteadyClock {
    clock: Arc<dyn Clock>,
    /// What it said last, and when that was.
    said: Mutex<(Timestamp, Duration)>,
}

impl SteadyClock {
    /// One that begins at the wall clock of this moment.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let said = Mutex::new((clock.now(), clock.monotonic()));
        Self { clock, said }
    }

    /// The time. It never goes back.
    pub(crate) fn now(&self) -> Timestamp {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall, monotonic) = (self.clock.now(), self.clock.monotonic());
        let elapsed = monotonic.saturating_sub(said.1);
        let (least, most) = (elapsed - elapsed / PACE, elapsed + elapsed / PACE);
        *said = (wall.clamp(said.0.plus(least), said.0.plus(most)), monotonic.max(said.1));
        said.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wall clock that is set, and time that passes.
    #[derive(Default)]
    struct Set(Mutex<(Timestamp, Duration)>);

    impl Clock for Set {
        fn now(&self) -> Timestamp {
            self.0.lock().unwrap().0
        }

        fn monotonic(&self) -> Duration {
            self.0.lock().unwrap().1
        }
    }

    #[test]
    fn a_wall_clock_that_jumps_is_followed_little_by_little() {
        let set = Arc::new(Set::default());
        let steady = SteadyClock::new(Arc::clone(&set) as Arc<dyn Clock>);
        let at = |wall: u64, passed: u64| {
            let wall = Timestamp(0).plus(Duration::from_secs(wall));
            *set.0.lock().unwrap() = (wall, Duration::from_secs(passed));
            Duration::from_nanos(steady.now().0.unsigned_abs()).as_secs()
        };
        assert_eq!(at(100, 100), 100);
        // An hour ahead, for ten seconds, and then far behind.
        assert_eq!([at(3_700, 100), at(3_710, 110)], [100, 111]);
        assert_eq!([at(20, 120), at(130, 130)], [120, 130]);
        assert_eq!(at(140, 140), 140);
    }
}
