//! The pure parts: latencies, rates, and the run in the middle of several.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies are kept from a microsecond up, and to three digits.
const LOWEST_NANOS: u64 = 1_000;
/// Anything slower counts as this.
const HIGHEST_NANOS: u64 = 300_000_000_000;
const DIGITS: u8 = 3;

/// How long things took.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is printed of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NANOS, HIGHEST_NANOS, DIGITS);
        Self(histogram.expect("the bounds are constants that fit"))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let merged = self.0.add(&other.0);
        merged.expect("all histograms have the same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Nothing when nothing was recorded.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let millis = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e6;
        (!self.0.is_empty()).then(|| Percentiles {
            p50: millis(0.5),
            p99: millis(0.99),
            p999: millis(0.999),
        })
    }

    /// How long what share took at most: shares from 0 to 1, milliseconds.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        const NINES: [f64; 4] = [0.99, 0.995, 0.999, 0.9999];
        let shares = (1..=49).map(|share| f64::from(share) / 50.0).chain(NINES);
        shares.map(|share| (share, self.0.value_at_quantile(share) as f64 / 1e6)).collect()
    }

    /// The slowest, in milliseconds.
    pub(crate) fn max(&self) -> f64 {
        self.0.max() as f64 / 1e6
    }
}

/// The element in the middle of the order that `key` gives: the lower of two. Nothing of nothing.
pub(crate) fn median_by<T>(mut items: Vec<T>, key: impl Fn(&T) -> f64) -> Option<T> {
    items.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let middle = items.len().checked_sub(1)? / 2;
    Some(items.swap_remove(middle))
}

/// A count in as many characters as a table has room for.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.percentiles(), None);
        let mut slow = Latencies::new();
        (1..=990).for_each(|_| latencies.record(Duration::from_millis(1)));
        (1..=10).for_each(|_| slow.record(Duration::from_secs(1)));
        latencies.merge(&slow);
        let found = latencies.percentiles().unwrap();
        assert!((found.p50 - 1.0).abs() < 0.01, "{found:?}");
        assert!((found.p99 - 1.0).abs() < 0.01, "{found:?}");
        assert!((found.p999 - 1000.0).abs() < 1.0, "{found:?}");
    }

    #[test]
    fn the_median_is_a_run_that_happened() {
        assert_eq!(median_by(Vec::<f64>::new(), |x| *x), None);
        assert_eq!(median_by(vec![3.0, 1.0, 2.0], |x| *x), Some(2.0));
        assert_eq!(median_by(vec![4.0, 3.0, 1.0, 2.0], |x| *x), Some(2.0));
    }

    #[test]
    fn digits_are_grouped_by_three() {
        for (value, text) in [(0.4, "0"), (999.0, "999"), (1000.0, "1,000")] {
            assert_eq!(grouped(value), text);
        }
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
