//! Chance that comes from a number, so that every run can be had again.
//!
//! Runs are numbered, and the number of one that fails is printed. Without a crate for it, the
//! tests compile in seconds.

/// SplitMix64 (Steele and others, 2014).
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `bound` - 1.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Says which run it was when one fails.
struct Witness(u64);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was run {}", self.0);
        }
    }
}

/// Runs something this often, with other chances each time.
pub(super) fn runs(count: u64, mut run: impl FnMut(&mut Dice)) {
    for number in 0..count {
        let _witness = Witness(number);
        run(&mut Dice(number));
    }
}
