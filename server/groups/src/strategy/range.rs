//! Each topic in ranges: the first members have the first partitions. Topics with the same number
//! of partitions and the same members are cut alike, so that what belongs together meets in one
//! member.

use super::{Assign, Assignment, Input};

/// The strategy `range`.
#[derive(Clone, Copy, Debug)]
pub struct Range;

impl Assign for Range {
    fn name(&self) -> &'static str {
        "range"
    }

    fn assign(&self, input: &Input) -> Assignment {
        let mut assignment = input.unassigned();
        for (partitions, subscribers) in assignment.iter_mut().zip(input.subscribers()) {
            if subscribers.is_empty() {
                continue;
            }
            let (each, more) =
                (partitions.len() / subscribers.len(), partitions.len() % subscribers.len());
            let mut rest = partitions.as_mut_slice();
            for (at, member) in subscribers.iter().enumerate() {
                if rest.is_empty() {
                    break;
                }
                let (own, others) = rest.split_at_mut(each + usize::from(at < more));
                own.fill(Some(*member));
                rest = others;
            }
        }
        assignment
    }
}
