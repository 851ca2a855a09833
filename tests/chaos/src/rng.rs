//! Randomness from a seed, so that a round can be run again.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

/// SplitMix64: small, and good enough to choose sizes and moments.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another generator for a part of the work, which does not depend on how often this one is
    /// asked.
    #[must_use]
    pub fn part(seed: u64, part: u64) -> Self {
        let mut rng = Self(seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self(rng.number())
    }

    /// A seed for a run that names none.
    #[must_use]
    pub fn fresh_seed() -> u64 {
        // What the standard library seeds its maps with. Short, as people type it.
        RandomState::new().hash_one(0_u8) >> 32
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of a range; its start when it is empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        let width = range.end.saturating_sub(range.start).max(1);
        range.start + self.number() % width
    }

    /// A place in a list of this length.
    pub fn index(&mut self, length: usize) -> usize {
        let at = self.within(0..length as u64);
        usize::try_from(at).expect("it is below a length")
    }

    /// Yes, in so many cases of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    /// A time of up to so many milliseconds.
    pub fn up_to_millis(&mut self, millis: u64) -> Duration {
        Duration::from_micros(self.within(0..millis * 1_000 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_all() {
        let numbers = |seed| -> Vec<u64> {
            let mut rng = Rng::new(seed);
            (0..100).map(|_| rng.within(10..20)).collect()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        assert!(numbers(7).iter().all(|n| (10..20).contains(n)));
        assert_ne!(Rng::part(7, 0).number(), Rng::part(7, 1).number());
    }
}
