//! What holds for assignments, whatever is assigned to whom.

use std::collections::BTreeSet;

use super::dice::{Dice, runs};
use crate::strategy::{Assign, Assignment, Current, Input, Range, RoundRobin, Sticky};

const RUNS: u64 = 3_000;

fn input(topics: &[u32], subscriptions: &[&[usize]], members: &[usize]) -> Input {
    Input {
        topics: topics.to_vec(),
        subscriptions: subscriptions.iter().map(|topics| topics.to_vec()).collect(),
        members: members.to_vec(),
        current: topics.iter().map(|count| vec![None; *count as usize]).collect(),
    }
}

/// Goes on from an assignment.
fn after(input: &Input, assignment: &Assignment) -> Input {
    let current = |place: &Option<usize>| place.map(|member| Current { member, is_held: true });
    let current = assignment.iter().map(|topic| topic.iter().map(current).collect());
    Input { current: current.collect(), ..input.clone() }
}

fn loads(input: &Input, assignment: &Assignment) -> Vec<usize> {
    let mut loads = vec![0; input.members.len()];
    assignment.iter().flatten().flatten().for_each(|member| loads[*member] += 1);
    loads
}

fn spread(loads: &[usize]) -> usize {
    loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0)
}

/// How many partitions have another owner than before, of those that had one that may keep it.
fn moves(input: &Input, assignment: &Assignment) -> usize {
    let pairs = input.current.iter().flatten().zip(assignment.iter().flatten());
    pairs.filter(|(old, new)| old.is_some_and(|old| **new != Some(old.member))).count()
}

#[test]
fn range_gives_each_topic_in_ranges() {
    let assigned = Range.assign(&input(&[5, 5, 1], &[&[0, 1], &[2]], &[0, 0, 1]));
    let (first, second) = (Some(0), Some(1));
    let five = vec![first, first, first, second, second];
    assert_eq!(assigned, [five.clone(), five, vec![Some(2)]]);
}

#[test]
fn round_robin_goes_on_from_topic_to_topic() {
    let assigned = RoundRobin.assign(&input(&[2, 3], &[&[0, 1], &[1]], &[0, 0, 1]));
    assert_eq!(assigned, [vec![Some(0), Some(1)], vec![Some(2), Some(0), Some(1)]]);
}

/// A chain of three: the first two have no topic in common with those that could relieve them.
#[test]
fn sticky_moves_along_a_chain_where_no_straight_move_helps() {
    let mut input = input(&[4, 2], &[&[0], &[0, 1], &[1]], &[0, 1, 2]);
    let topic = |owners: &[usize]| {
        owners.iter().map(|member| Some(Current { member: *member, is_held: true })).collect()
    };
    input.current = vec![topic(&[0, 0, 0, 1]), topic(&[1, 2])];
    let assigned = Sticky.assign(&input);
    assert_eq!(loads(&input, &assigned), [2, 2, 2]);
    assert_eq!(assigned[1], [Some(2), Some(2)]);
    assert_eq!(moves(&input, &assigned), 2);
}

/// What a member only waits for goes before what it reads.
#[test]
fn sticky_moves_what_costs_nothing_first() {
    let mut input = input(&[4], &[&[0]], &[0, 0]);
    let held = |is_held| Some(Current { member: 0, is_held });
    input.current = vec![vec![held(false), held(true), held(false), held(true)]];
    let assigned = Sticky.assign(&input);
    assert_eq!(assigned[0], [Some(1), Some(0), Some(1), Some(0)]);
}

#[test]
fn a_member_more_in_the_largest_group_takes_its_share_and_nothing_else_moves() {
    let before = input(&[5_000, 5_000], &[&[0, 1]], &[0; 999]);
    let assigned = Sticky.assign(&before);
    assert_eq!(spread(&loads(&before, &assigned)), 1);
    let joined = Input { members: vec![0; 1_000], ..after(&before, &assigned) };
    let assigned = Sticky.assign(&joined);
    assert_eq!(loads(&joined, &assigned), [10; 1_000]);
    assert_eq!(moves(&joined, &assigned), 10);
}

/// Subscriptions of all kinds, and an assignment that may hold anything.
fn any_input(dice: &mut Dice) -> Input {
    let mut some = |most: usize| 1 + dice.below(most);
    let (topics, subscriptions, members) = (some(5), some(3), some(6));
    let topics: Vec<_> = (0..topics).map(|_| u32::try_from(dice.below(8)).unwrap()).collect();
    let mut subscription = || (0..topics.len()).filter(|_| !dice.one_in(3)).collect();
    let subscriptions: Vec<Vec<usize>> = (0..subscriptions).map(|_| subscription()).collect();
    let of_member = (0..members).map(|_| dice.below(subscriptions.len())).collect();
    let mut current = || {
        let (is_held, member) = (dice.one_in(2), dice.below(members));
        (!dice.one_in(4)).then_some(Current { member, is_held })
    };
    let current = topics.iter().map(|count| (0..*count).map(|_| current()).collect()).collect();
    Input { topics, subscriptions, members: of_member, current }
}

fn takes(input: &Input, member: usize, topic: usize) -> bool {
    input.subscriptions[input.members[member]].contains(&topic)
}

/// Everything is assigned, to members that take it.
fn check_sound(input: &Input, assignment: &Assignment) {
    for (topic, partitions) in assignment.iter().enumerate() {
        assert_eq!(partitions.len(), input.topics[topic] as usize);
        let takers = (0..input.members.len()).filter(|member| takes(input, *member, topic));
        let takers: BTreeSet<_> = takers.collect();
        for assigned in partitions {
            match assigned {
                Some(member) => assert!(takers.contains(member)),
                None => assert!(takers.is_empty()),
            }
        }
    }
}

/// No member could pass a partition on, by whatever chain, to one with two fewer.
fn check_even(input: &Input, assignment: &Assignment) {
    let loads = loads(input, assignment);
    let count = input.members.len();
    let mut reaches = vec![vec![false; count]; count];
    for (topic, partitions) in assignment.iter().enumerate() {
        for from in partitions.iter().flatten() {
            (0..count).for_each(|to| reaches[*from][to] |= takes(input, to, topic));
        }
    }
    for by in 0..count {
        for from in 0..count {
            for to in 0..count {
                reaches[from][to] |= reaches[from][by] && reaches[by][to];
            }
        }
    }
    for (from, reached) in reaches.iter().enumerate() {
        for to in (0..count).filter(|to| reached[*to]) {
            assert!(loads[from] <= loads[to] + 1, "{from} to {to}: {loads:?}");
        }
    }
}

#[test]
fn every_strategy_assigns_everything_to_those_that_take_it() {
    let strategies: [&dyn Assign; 3] = [&Range, &RoundRobin, &Sticky];
    runs(RUNS, |dice| {
        let input = any_input(dice);
        for strategy in strategies {
            let assignment = strategy.assign(&input);
            check_sound(&input, &assignment);
            assert_eq!(strategy.assign(&input), assignment);
        }
    });
}

#[test]
fn sticky_is_as_even_as_can_be_and_stays_so() {
    runs(RUNS, |dice| {
        let input = any_input(dice);
        let assignment = Sticky.assign(&input);
        check_even(&input, &assignment);
        assert_eq!(Sticky.assign(&after(&input, &assignment)), assignment);
    });
}

#[test]
fn sticky_moves_only_what_must_move_where_all_read_the_same() {
    runs(RUNS, |dice| {
        let mut input = any_input(dice);
        let topics = (0..input.topics.len()).collect::<Vec<_>>();
        input.subscriptions = vec![topics; input.subscriptions.len()];
        let assignment = Sticky.assign(&input);
        let loads = loads(&input, &assignment);
        assert!(spread(&loads) <= 1, "{loads:?}");
        // What a member may keep: its even share, and one more for as many as there are left over.
        let (count, members) = (input.current.iter().flatten().count(), input.members.len());
        let mut had = vec![0; members];
        input.current.iter().flatten().flatten().for_each(|current| had[current.member] += 1);
        let (share, more) = (count / members, count % members);
        let kept: usize = had.iter().map(|had| (*had).min(share)).sum();
        let kept = kept + had.iter().filter(|had| **had > share).count().min(more);
        let had: usize = had.iter().sum();
        assert_eq!(moves(&input, &assignment), had - kept);
    });
}
