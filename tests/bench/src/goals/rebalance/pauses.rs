//! How long partitions stopped, by what was delivered of them, and to whom.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// A batch that a member got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) partition: i32,
    /// The number of the member.
    pub(super) member: usize,
    pub(super) at: Instant,
}

/// What was seen in a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pauses {
    /// The longest time without a record of a partition that stayed with its member.
    pub(super) stayed: Duration,
    /// For each change of owner: from the last record at the one before to the first at the next.
    pub(super) moved: Vec<Duration>,
}

impl Pauses {
    /// Of deliveries from one moment to another, of partitions of which each had records all the
    /// time. A partition of which nothing came stopped for all of the time.
    pub(super) fn of(
        deliveries: &[Delivery],
        partitions: i32,
        (from, to): (Instant, Instant),
    ) -> Self {
        let mut of_partition = BTreeMap::<i32, Vec<Delivery>>::new();
        for delivery in deliveries {
            of_partition.entry(delivery.partition).or_default().push(*delivery);
        }
        let mut pauses = Self::default();
        for partition in 0..partitions {
            let mut seen = of_partition.remove(&partition).unwrap_or_default();
            seen.sort_by_key(|delivery| delivery.at);
            let moves: Vec<_> = seen
                .windows(2)
                .filter(|pair| pair[0].member != pair[1].member)
                .map(|pair| pair[1].at - pair[0].at)
                .collect();
            if moves.is_empty() {
                let times = seen.iter().map(|delivery| delivery.at).chain([to]);
                let gaps = times.scan(from, |last, at| Some(at - std::mem::replace(last, at)));
                pauses.stayed = gaps.fold(pauses.stayed, Duration::max);
            }
            pauses.moved.extend(moves);
        }
        pauses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partition, member, and the time in milliseconds.
    fn pauses(deliveries: &[(i32, usize, u64)], partitions: i32, to: u64) -> Pauses {
        let from = Instant::now();
        let at = |millis| from + Duration::from_millis(millis);
        let delivery =
            |&(partition, member, millis)| Delivery { partition, member, at: at(millis) };
        let deliveries: Vec<_> = deliveries.iter().map(delivery).collect();
        Pauses::of(&deliveries, partitions, (from, at(to)))
    }

    #[test]
    fn a_partition_that_moves_is_told_from_one_that_stays() {
        let deliveries =
            [(0, 1, 10), (1, 2, 12), (0, 1, 20), (1, 3, 95), (0, 1, 45), (1, 3, 99), (0, 1, 90)];
        let found = pauses(&deliveries, 2, 100);
        assert_eq!(found.stayed, Duration::from_millis(45));
        assert_eq!(found.moved, [Duration::from_millis(83)]);
    }

    #[test]
    fn what_never_came_is_a_pause_too() {
        let silent = pauses(&[(0, 1, 10)], 1, 100);
        assert_eq!((silent.stayed, silent.moved.len()), (Duration::from_millis(90), 0));
        assert_eq!(pauses(&[], 1, 100).stayed, Duration::from_millis(100));
        assert_eq!(pauses(&[(0, 1, 70)], 1, 100).stayed, Duration::from_millis(70));
    }
}
