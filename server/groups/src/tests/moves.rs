//! Partitions that move from one member to another.

use ropewalk_core::limits;

use super::{World, member_id};
use crate::error::Fence;
use crate::{Action, Committer, GroupError};

#[test]
fn a_partition_is_taken_back_released_and_then_given() {
    let mut world = World::with("a4");
    let x = world.join('x');
    assert_eq!(world.told(x), "assigned a0 a1 a2 a3");
    assert_eq!(world.state(), "stable");
    let y = world.join('y');
    assert_eq!(world.state(), "rebalancing");
    assert_eq!(world.shown(), "x: a0 a1 a2- a3-; y:");
    assert_eq!(world.told(y), "generation", "it waits");
    assert_eq!(world.told(x), "revoked a2 a3 by 5");
    let waits = world.group().describe().waits;
    assert_eq!(waits.len(), 2);
    assert_eq!((waits[0].holder, waits[0].taker), (Some(x), Some(y)));

    // The old owner commits first what it has finished, one after the other.
    assert_eq!(world.commit(x, "a2 a3"), Ok(()));
    assert!(world.commit(y, "a2").is_err());
    world.release(y, "a2 a3").unwrap();
    assert_eq!(world.shown(), "x: a0 a1 a2- a3-; y:", "it is not for its taker to say");
    world.release(x, "a2").unwrap();
    assert_eq!(world.shown(), "x: a0 a1 a3-; y: a2");
    assert_eq!(world.told(y), "assigned a2");
    assert_eq!(world.commit(y, "a2"), Ok(()));
    assert!(world.commit(x, "a2").is_err());
    assert_eq!(world.commit(x, "a0 a1 a3"), Ok(()));
    world.release(x, "a3").unwrap();
    assert_eq!(world.told(x), "ended a2 a3");
    assert_eq!(world.told(y), "assigned a3");
    assert_eq!(world.state(), "stable");
}

#[test]
fn only_what_moves_stops() {
    let mut world = World::with("a9");
    let members = [world.join('x'), world.join('y'), world.join('z')];
    world.settle();
    assert_eq!(world.shown(), "x: a0 a1 a2; y: a5 a6 a7; z: a3 a4 a8");
    world.join('w');
    let told: Vec<_> = members.iter().map(|member| world.told(*member)).collect();
    assert_eq!(told, ["generation", "revoked a7 by 5", "revoked a8 by 5"]);
    world.settle();
    assert_eq!(world.shown(), "x: a0 a1 a2; y: a5 a6; z: a3 a4; w: a7 a8");
}

/// Handling may take as long as it takes: only the partition goes, and only when another one waits
/// for it.
#[test]
fn a_slow_member_loses_the_partition_when_its_time_is_over_but_stays_a_member() {
    let mut world = World::with("a2");
    let (x, y) = (world.join('x'), world.join('y'));
    assert_eq!(world.told(x), "assigned a0 a1; revoked a1 by 5");
    world.pass(4);
    assert_eq!(world.shown(), "x: a0 a1-; y:");
    world.pass(1);
    assert_eq!(world.shown(), "x: a0; y: a1");
    assert_eq!(world.told(y), "assigned a1");
    // Member x has heard nothing of that yet: the first of the three stale commits.
    let error = world.commit(x, "a1").unwrap_err();
    assert!(error.to_string().starts_with("partition 1 of topic 61616161-"), "{error}");
    assert_eq!(world.told(x), "ended a1");
    // Whoever is slow with what is not to move is left alone.
    world.pass(100_000);
    assert_eq!(world.shown(), "x: a0; y: a1");
    assert_eq!(world.commit(x, "a0"), Ok(()));
}

/// KIP-1251: a member owns a partition, loses it, and gets it back. A commit that was on its way
/// all the time is of the former era, though its member owns the partition.
#[test]
fn a_zombie_commit_after_a_rebalance_is_refused() {
    let mut world = World::with("a2");
    let (x, y) = (world.join('x'), world.join('y'));
    world.settle();
    assert_eq!(world.shown(), "x: a0; y: a1");
    let old = world.clients[&y].generation;
    world.commit_as(y, old, "a1").unwrap();
    // It goes to member x and comes back.
    world.lose(y);
    world.pass(5);
    world.clients.remove(&y);
    world.join('y');
    world.settle();
    assert_eq!(world.shown(), "x: a0; y: a1");
    let refused = world.commit_as(y, old, "a1").unwrap_err();
    let GroupError::Fenced(fenced) = refused else { panic!("{refused}") };
    assert!(matches!(fenced.fence, Fence::Outdated { .. }));
    assert_eq!((fenced.expected, fenced.actual), (world.clients[&y].generation, old));
    assert_eq!(world.commit(y, "a1"), Ok(()));
    assert_eq!(world.commit(x, "a0"), Ok(()));
}

/// The second of the three: the partition moves while its member stays.
#[test]
fn what_moved_away_and_back_is_another_era_for_the_same_member() {
    let mut world = World::with("a2");
    let x = world.join('x');
    assert_eq!(world.told(x), "assigned a0 a1");
    let y = world.join('y');
    assert_eq!(world.told(x), "revoked a1 by 5");
    let old = world.clients[&x].generation;
    world.leave(y);
    // It is to have it again, but it has begun to give it back: first it does, then it gets it.
    assert_eq!(world.shown(), "x: a0 a1-");
    assert_eq!(world.told(x), "generation");
    world.release(x, "a1").unwrap();
    assert_eq!(world.shown(), "x: a0 a1");
    assert!(world.commit_as(x, old, "a1").is_err());
    assert_eq!(world.told(x), "ended a1; assigned a1");
    assert_eq!(world.commit(x, "a0 a1"), Ok(()));
    assert_eq!(world.commit_as(x, old, "a0"), Ok(()), "the other one never moved");
}

/// A release that comes twice, the second time when its partition is back and to go again.
#[test]
fn a_release_of_an_earlier_era_gives_nothing_back() {
    let mut world = World::with("a2");
    let (x, y) = (world.join('x'), world.join('y'));
    world.told(x);
    let releaser = Committer { member: x, generation: world.clients[&x].generation };
    let release = Action::Release { releaser, partitions: super::listed("a1") };
    world.act(release.clone()).unwrap();
    world.leave(y);
    world.settle();
    world.join('z');
    assert_eq!(world.shown(), "x: a0 a1-; z:");
    world.act(release).unwrap();
    assert_eq!(world.shown(), "x: a0 a1-; z:", "it knows nothing of this era");
    world.settle();
    assert_eq!(world.shown(), "x: a0; z: a1");
    // Nor is given back what nobody waits for.
    world.release(x, "a0 a9 b0").unwrap();
    assert_eq!(world.shown(), "x: a0; z: a1");
}

#[test]
fn a_member_that_is_lost_while_it_gives_back_holds_nobody_up_for_longer() {
    let mut world = World::with("a2");
    let (x, _) = (world.join('x'), world.join('y'));
    world.pass(1);
    world.lose(x);
    world.pass(4);
    assert_eq!(world.shown(), "x: a0; y: a1", "the time to give it back is over");
    world.pass(1);
    assert_eq!(world.shown(), "y: a0 a1", "and now its grace");
}

#[test]
fn more_members_than_partitions_wait() {
    let mut world = World::with("a2");
    let members = ['v', 'w', 'x', 'y', 'z'].map(|letter| world.join(letter));
    world.settle();
    assert_eq!(world.shown(), "v: a0; w: a1; x:; y:; z:");
    assert_eq!(world.state(), "stable");
    world.leave(members[0]);
    assert_eq!(world.told(members[2]), "assigned a0", "the one that waits longest is next");
}

#[test]
fn a_member_may_ask_for_more_time_to_give_back() {
    let mut world = World::with("a2");
    let mut join = world.joining(member_id('x'), "a");
    join.patience.drain = limits::MAX_DRAIN_TIMEOUT;
    let x = world.try_join(join).unwrap();
    world.join('y');
    assert_eq!(world.told(x), "assigned a0 a1; revoked a1 by 3600");
}
