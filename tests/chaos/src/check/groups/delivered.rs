//! What the members of a group got, all together.

use std::sync::Arc;

use super::GroupViolation;
use super::life::{Life, Step};
use crate::history::Place;

/// Everything below a commit that counted was delivered, or was gone; and where all is committed
/// before it is given back, once.
pub(super) fn check(
    group: &Arc<str>,
    place: &Place,
    life: &Life,
    once: bool,
    found: &mut Vec<GroupViolation>,
) {
    let mut got: Vec<(i64, i64)> = Vec::new();
    let mut gone: Vec<(i64, i64)> = Vec::new();
    for (_, step) in &life.steps {
        match step {
            Step::Batch { from, to, .. } => got.push((*from, *to)),
            Step::Gap { from, to } => gone.push((*from, *to)),
            Step::Assigned { log_start, .. } => gone.push((0, *log_start)),
            _ => {}
        }
    }
    got.sort_unstable();
    if once {
        let mut end = i64::MIN;
        for (from, to) in &got {
            if *from < end {
                let (group, place, offset) = (Arc::clone(group), place.clone(), *from);
                found.push(GroupViolation::DeliveredTwice { group, place, offset });
            }
            end = end.max(*to);
        }
    }
    let counted = life.commits.iter().filter(|commit| commit.acked.is_some());
    let committed = counted.filter_map(|commit| commit.offset).max().unwrap_or(0);
    got.extend(gone);
    got.push((committed, i64::MAX));
    got.sort_unstable();
    let mut next = 0;
    for (from, to) in got {
        if from > next && next < committed {
            let (group, place, to) = (Arc::clone(group), place.clone(), from.min(committed));
            found.push(GroupViolation::NotDelivered { group, place, from: next, to });
        }
        next = next.max(to);
    }
}
