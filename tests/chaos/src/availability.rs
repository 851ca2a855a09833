//! How long partitions took no records.

use std::collections::BTreeMap;

use crate::history::{Call, History, Place};

/// The longest time, in ticks, that each partition was without an acked append between two ticks;
/// the whole time for one that took nothing.
#[must_use]
pub fn longest_gaps(history: &History, from: u64, to: u64) -> BTreeMap<Place, u64> {
    let mut acked: BTreeMap<&Place, Vec<u64>> = BTreeMap::new();
    for operation in &history.operations {
        let Call::Append { place, .. } = &operation.call else { continue };
        let times = acked.entry(place).or_default();
        times.extend(operation.ok().map(|(at, _)| at).filter(|at| (from..to).contains(at)));
    }
    let longest = |(place, mut times): (&Place, Vec<u64>)| {
        times.extend([from, to]);
        times.sort_unstable();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        (place.clone(), gaps.max().unwrap_or(0))
    };
    acked.into_iter().map(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Answer, Outcome};

    #[test]
    fn the_longest_time_without_an_ack_is_found() {
        let mut history = History::default();
        let (busy, idle) = (Place::new("t", 0), Place::new("t", 1));
        let append = |place: &Place| Call::Append { place: place.clone(), values: Vec::new() };
        // Acked at 2, then at 10; what is refused at 4, 6 and 8 does not count.
        history.call(1, append(&busy), Outcome::Ok(Answer::Appended(0)));
        for _ in 0..3 {
            history.call(1, append(&idle), Outcome::Fail("NO_LEADER".into()));
        }
        history.call(1, append(&busy), Outcome::Ok(Answer::Appended(1)));
        let gaps = longest_gaps(&history, 0, 13);
        assert_eq!(gaps, BTreeMap::from([(busy, 8), (idle, 13)]));
    }
}
