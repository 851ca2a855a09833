//! After the last fault every partition takes and serves a record in time.

use std::collections::{HashMap, HashSet};

use super::Violation;
use crate::history::{Call, Healed, History, Place, Sight};
use crate::value::ValueId;

/// Whether every partition that has to work again does.
#[must_use]
pub fn is_alive(history: &History) -> bool {
    let mut found = Vec::new();
    check(history, &mut found);
    found.is_empty()
}

/// Whether a value was acked, and whether a reader got it, in time.
#[derive(Default)]
struct Progress {
    taken: bool,
    served: bool,
}

/// Checks every partition that has to work again.
pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let Some(Healed { at, within, places }) = &history.healed else { return };
    let until = at + within;
    let mut progress: HashMap<&Place, Progress> = HashMap::new();
    let mut sent: HashMap<ValueId, &Place> = HashMap::new();
    for operation in history.operations.iter().filter(|operation| operation.invoked > *at) {
        let Call::Append { place, values } = &operation.call else { continue };
        if operation.ok().is_some_and(|(at, _)| at <= until) {
            progress.entry(place).or_default().taken = true;
            sent.extend(values.iter().map(|value| (*value, place)));
        }
    }
    // What members of a group get shows nothing of a node in particular.
    let members: HashSet<_> = history.members.iter().map(|told| told.client).collect();
    let in_time = history.seen.iter().filter(|seen| seen.at > *at && seen.at <= until);
    for seen in in_time.filter(|seen| !members.contains(&seen.reader)) {
        let Sight::Batch { values, .. } = &seen.sight else { continue };
        if values.iter().flatten().any(|value| sent.get(value) == Some(&&seen.place)) {
            progress.entry(&seen.place).or_default().served = true;
        }
    }
    for place in places {
        let (taken, served) = progress.get(place).map_or((false, false), |p| (p.taken, p.served));
        let (place, within) = (place.clone(), *within);
        match (taken, served) {
            (true, true) => {}
            (false, _) => found.push(Violation::Dead { place, what: "take", within }),
            (true, false) => found.push(Violation::Dead { place, what: "serve", within }),
        }
    }
}
