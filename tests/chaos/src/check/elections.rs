//! How often partitions got other leaders, and how often faults made them.
//!
//! It is counted in epochs, by what nodes say of partitions: an election that nobody wins takes one
//! too.

use std::collections::BTreeMap;

use super::{Described, Violation, logs_of};
use crate::history::{Disturbance, History, Place};

/// By how much an epoch may rise in each minute that has begun without a cause that can be seen
/// here: votes split, and a leader is about to go back to where it is preferred when the next fault
/// begins.
const EACH_MINUTE: i64 = 3;
const MINUTE: u64 = 60_000_000;
/// By how much it rises when the leader is lost: the others choose one, and when the preferred
/// leader is back it leads again.
const EACH_LOSS: i64 = 2;

/// The epochs of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// By how much they rose since the first fault was about to be made.
    pub rose: i64,
    /// Faults that met the leader.
    pub losses: i64,
    /// By how much they may have risen.
    pub allowed: i64,
}

/// The epochs of each partition of a history that says which faults there were.
#[must_use]
pub fn epochs(history: &History) -> BTreeMap<Place, Epochs> {
    let Some(faults) = &history.disturbances else { return BTreeMap::new() };
    let begun = faults.iter().map(|fault| fault.from).min().unwrap_or(0);
    let minutes = history.now().saturating_sub(begun).div_ceil(MINUTE).max(1);
    let free = EACH_MINUTE * i64::try_from(minutes).unwrap_or(i64::MAX / EACH_MINUTE);
    let of_log = |described: &[Described<'_>]| {
        let known = described.iter().filter(|said| said.state.leader != 0);
        let before = known.clone().filter(|said| said.ended <= begun);
        let first = before.map(|said| said.state.epoch).max();
        let last = known.map(|said| said.state.epoch).max();
        let rose = first.zip(last).map_or(0, |(first, last)| last - first);
        let losses = faults.iter().filter(|fault| has_met_leader(described, fault)).count();
        let losses = i64::try_from(losses).unwrap_or(i64::MAX);
        Epochs { rose, losses, allowed: losses * EACH_LOSS + free }
    };
    logs_of(history).into_iter().map(|(place, log)| (place, of_log(&log.described))).collect()
}

/// Whether one of its nodes was the leader that was known last before it, or was said to lead while
/// it lasted.
fn has_met_leader(described: &[Described<'_>], fault: &Disturbance) -> bool {
    let known = described.iter().filter(|said| said.state.leader != 0);
    let before = known.clone().filter(|said| said.ended <= fault.from);
    let before = before.max_by_key(|said| said.state.epoch);
    let during = known.filter(|said| said.ended > fault.from && said.began <= fault.to);
    before.into_iter().chain(during).any(|said| fault.nodes.contains(&said.state.leader))
}

/// Checks every partition of which it is known.
pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    for (place, Epochs { rose, allowed, .. }) in epochs(history) {
        if rose > allowed {
            found.push(Violation::Restless { place, rose, allowed });
        }
    }
}
