//! That every group becomes stable once nothing changes any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::GroupViolation;
use crate::history::{Answer, Call, Client, GroupState, History, MemberEvent, Place};

/// How long a group may need after its last change, in microseconds.
pub const STABLE_WITHIN: u64 = 15_000_000;

/// A group in the end.
#[derive(Default)]
struct Known {
    /// The partitions that some member ever had.
    places: BTreeSet<Place>,
    /// The members with open streams.
    open: BTreeMap<Client, Arc<str>>,
    /// When one came or went last.
    changed: u64,
}

/// Whether every group was found to be stable since nothing changes any more.
#[must_use]
pub fn is_stable(history: &History) -> bool {
    let Some(calm) = history.calm else { return false };
    groups_of(history).iter().all(|(group, known)| {
        let since = known.changed.max(calm);
        described(history, group)
            .any(|(began, _, state)| began > since && what_is_missing(state, known).is_none())
    })
}

/// Checks every group of which members are known, when all have been calm for long enough.
pub(super) fn check(history: &History, found: &mut Vec<GroupViolation>) {
    let Some(calm) = history.calm else { return };
    for (group, known) in groups_of(history) {
        let until = known.changed.max(calm) + STABLE_WITHIN;
        let mut was_stable = false;
        let mut why = None;
        for (began, ended, state) in described(history, group) {
            if began < known.changed.max(calm) {
                continue;
            }
            match what_is_missing(state, &known) {
                None => was_stable |= ended <= until,
                Some(missing) if was_stable || began > until => why = Some(missing),
                Some(_) => {}
            }
        }
        if !was_stable && history.now() > until {
            why.get_or_insert_with(|| "nobody said that it is".to_owned());
        }
        if let Some(why) = why {
            let (group, within) = (Arc::clone(group), STABLE_WITHIN);
            found.push(GroupViolation::Unstable { group, why, within });
        }
    }
}

/// What nodes said of a group: when they were asked, when they answered, what.
fn described<'a>(
    history: &'a History,
    group: &'a Arc<str>,
) -> impl Iterator<Item = (u64, u64, &'a GroupState)> {
    history.operations.iter().filter_map(move |operation| match (&operation.call, operation.ok()) {
        (Call::DescribeGroup { group: of }, Some((ended, Answer::Group(state)))) if of == group => {
            Some((operation.invoked, ended, state))
        }
        _ => None,
    })
}

/// Members that leave once the last description was asked for change nothing that was described.
fn groups_of(history: &History) -> BTreeMap<&Arc<str>, Known> {
    let asked = |group: &Arc<str>| described(history, group).map(|(began, ..)| began).max();
    let mut last: HashMap<&Arc<str>, u64> = HashMap::new();
    let mut groups: BTreeMap<&Arc<str>, Known> = BTreeMap::new();
    for told in &history.members {
        let last = *last.entry(&told.group).or_insert_with(|| asked(&told.group).unwrap_or(0));
        let known = groups.entry(&told.group).or_default();
        if let MemberEvent::Assigned { place, .. } = &told.event {
            known.places.insert(place.clone());
        }
        if told.at > last {
            continue;
        }
        match &told.event {
            MemberEvent::Joined { member, .. } => {
                known.open.insert(told.client, Arc::clone(member));
                known.changed = told.at;
            }
            MemberEvent::Gone { .. } => {
                known.open.remove(&told.client);
                known.changed = told.at;
            }
            _ => {}
        }
    }
    groups
}

/// Why a description is not that of a stable group with these members; nothing when it is.
fn what_is_missing(state: &GroupState, known: &Known) -> Option<String> {
    let open: BTreeSet<_> = known.open.values().collect();
    let members: BTreeSet<_> = state.members.keys().collect();
    if open != members {
        return Some(format!("its members are {members:?}, and {open:?} have streams"));
    }
    let mut owners: BTreeMap<&Place, usize> = BTreeMap::new();
    for place in state.members.values().flatten() {
        *owners.entry(place).or_default() += 1;
    }
    if let Some((place, count)) = owners.iter().find(|(_, count)| **count > 1) {
        return Some(format!("{place} has {count} owners"));
    }
    let missing = known.places.iter().find(|place| !owners.contains_key(place));
    if let Some(place) = missing.filter(|_| !members.is_empty()) {
        return Some(format!("{place} has no owner"));
    }
    (!state.is_stable && !members.is_empty()).then(|| "it says so".to_owned())
}
