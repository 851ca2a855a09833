//! Points in time.

use std::fmt;
use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00Z, from 1677 to 2262. What lies outside is drawn to the
/// edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl Timestamp {
    /// Before every other.
    pub const MIN: Self = Self(i64::MIN);
    /// After every other.
    pub const MAX: Self = Self(i64::MAX);

    /// From seconds and nanoseconds since the epoch, as protobuf has them.
    #[must_use]
    pub fn from_parts(seconds: i64, nanos: i32) -> Self {
        let total = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
        let edge = if total < 0 { i64::MIN } else { i64::MAX };
        Self(i64::try_from(total).unwrap_or(edge))
    }

    /// Seconds and nanoseconds since the epoch; the nanoseconds are never negative.
    #[must_use]
    pub fn to_parts(self) -> (i64, i32) {
        let nanos = self.0.rem_euclid(NANOS_PER_SECOND);
        let nanos = i32::try_from(nanos).expect("a remainder below 10^9 fits an i32");
        (self.0.div_euclid(NANOS_PER_SECOND), nanos)
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// The time from `earlier` to this, zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let nanos = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = self.to_parts();
        write!(f, "{seconds}.{nanos:09}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_both_ways_also_before_the_epoch() {
        for (seconds, nanos) in [(0, 0), (1, 5), (-1, 999_999_999), (1_700_000_000, 1)] {
            assert_eq!(Timestamp::from_parts(seconds, nanos).to_parts(), (seconds, nanos));
        }
    }

    #[test]
    fn what_lies_outside_is_drawn_to_the_edge() {
        assert_eq!(Timestamp::from_parts(i64::MAX, 0), Timestamp::MAX);
        assert_eq!(Timestamp::from_parts(i64::MIN, 0), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
