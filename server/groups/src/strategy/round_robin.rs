//! Partition by partition over all topics, each to the next member that takes the topic.

use super::{Assign, Assignment, Input};

/// The strategy `round-robin`.
#[derive(Clone, Copy, Debug)]
pub struct RoundRobin;

impl Assign for RoundRobin {
    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn assign(&self, input: &Input) -> Assignment {
        let mut assignment = input.unassigned();
        // The member that is next, also for topics that others take.
        let mut next = 0;
        for (partitions, subscribers) in assignment.iter_mut().zip(input.subscribers()) {
            if subscribers.is_empty() {
                continue;
            }
            let first = subscribers.partition_point(|member| *member < next);
            let order = subscribers.iter().cycle().skip(first);
            for (partition, member) in partitions.iter_mut().zip(order) {
                *partition = Some(*member);
                next = member + 1;
            }
        }
        assignment
    }
}
