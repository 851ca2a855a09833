//! Members that come, are lost, come back, and go; and whose commits count.

use std::fmt::Debug;
use std::time::Duration;

use ropewalk_core::limits;

use super::{GROUP, World, listed, member_id};
use crate::error::{Fence, TooMany};
use crate::{Action, Committer, GroupError, GroupReply, Join, MemberName, Patience};

fn fence<T: Debug>(answer: Result<T, GroupError>) -> Fence {
    match answer.unwrap_err() {
        GroupError::Fenced(fenced) => fenced.fence,
        other => panic!("{other} is no fence"),
    }
}

#[test]
fn a_rolling_restart_within_the_grace_moves_nothing() {
    let mut world = World::with("a6");
    let members = [world.join('x'), world.join('y'), world.join('z')];
    world.settle();
    let (shown, generation) = (world.shown(), world.group().generation());
    assert_eq!(shown, "x: a0 a1; y: a3 a4; z: a2 a5");
    for (at, member) in members.into_iter().enumerate() {
        world.lose(member);
        assert_eq!(world.state(), "stable", "nothing moves for it");
        world.pass(4);
        let letter = ['x', 'y', 'z'][at];
        assert_eq!(world.join(letter), member);
        let whole = ["assigned a0 a1", "assigned a3 a4", "assigned a2 a5"][at];
        assert_eq!(world.told(member), whole, "a new stream is told everything");
        let other = members[(at + 1) % 3];
        assert_eq!(world.told(other), "", "and the others nothing");
    }
    assert_eq!((world.shown(), world.group().generation()), (shown, generation));
}

#[test]
fn a_static_member_takes_the_place_of_its_predecessor_at_once_and_fences_it() {
    let mut world = World::with("a4");
    let (old, other) = (world.join_named('x', "pod-0"), world.join_named('y', "pod-1"));
    world.settle();
    assert_eq!(world.shown(), "x: a0 a1; y: a2 a3");
    let before = world.clients[&old].generation;

    // The process has started anew and knows no id; what it was may even run still.
    let new = world.join_named('z', "pod-0");
    assert_eq!(world.shown(), "z: a0 a1; y: a2 a3");
    assert_eq!(world.told(new), "assigned a0 a1");
    assert_eq!(world.told(other), "generation", "nothing of its own has moved");
    assert_eq!(world.told(old), "fenced");
    assert_eq!(fence(world.commit_as(old, before + 9, "a0")), Fence::NotAMember);
    assert_eq!(world.commit(new, "a0 a1"), Ok(()));
    assert_eq!(world.commit_as(other, before, "a2"), Ok(()), "an older generation will do");

    // The old process cannot come back either, and what it still says changes nothing.
    let mut back = world.joining(old, "a");
    back.instance = Some("pod-0".to_owned());
    assert_eq!(fence(world.try_join(back)), Fence::InstanceTaken);
    world.leave(old);
    assert_eq!(world.shown(), "z: a0 a1; y: a2 a3");
}

/// Who has lost its name to another is told so apart from everything else that ends a membership:
/// it would take the name back if it joined anew.
#[test]
fn a_member_is_told_that_another_has_its_instance_name() {
    let mut world = World::with("a4");
    let old = world.join_named('x', "pod-0");
    world.join_named('y', "pod-1");
    world.settle();
    let of_stream = |world: &World| world.group().fence_of(old, Some("pod-0"));
    let back = |world: &mut World| {
        let mut join = world.joining(old, "a");
        join.instance = Some("pod-0".to_owned());
        world.try_join(join)
    };
    // Its own earlier stream, which it has left for another.
    assert_eq!(of_stream(&world), Fence::NotAMember);
    assert_eq!(back(&mut world), Ok(old));

    // Another one comes while it is away, and it comes back.
    world.lose(old);
    let new = world.join_named('z', "pod-0");
    assert_eq!(of_stream(&world), Fence::InstanceTaken);
    assert_eq!(fence(back(&mut world)), Fence::InstanceTaken);
    // The other one may come back for a while.
    world.lose(new);
    world.pass(4);
    assert_eq!(fence(back(&mut world)), Fence::InstanceTaken);
    assert_eq!(world.shown(), "z: a0 a1; y: a2 a3", "it has what it had");
    // Once the group has gone on without that one, nobody has the name.
    world.pass(1);
    assert_eq!(of_stream(&world), Fence::NotAMember);
    assert_eq!(fence(back(&mut world)), Fence::NotAMember);
    let fresh = world.join_named('w', "pod-0");
    assert_eq!(world.group().fence_of(new, Some("pod-0")), Fence::InstanceTaken);
    assert_eq!(world.group().fence_of(fresh, None), Fence::NotAMember);
}

#[test]
fn a_static_member_may_not_change_its_name() {
    let mut world = World::with("a1");
    world.join_named('x', "pod-0");
    let mut join = world.joining(member_id('x'), "a");
    join.instance = Some("pod-1".to_owned());
    let error = world.try_join(join).unwrap_err().to_string();
    assert_eq!(error, "`instance` must be what it was when the member joined, pod-0, not pod-1");
}

#[test]
fn a_member_that_stays_away_is_expired_and_its_partitions_go_to_the_others() {
    let mut world = World::with("a4");
    let (x, y) = (world.join('x'), world.join('y'));
    world.settle();
    world.lose(y);
    world.pass(4);
    assert_eq!(world.shown(), "x: a0 a1; y: a2 a3");
    assert_eq!(world.commit(y, "a2"), Ok(()), "within its grace it has what it had");
    // Proposed too early, an Expire changes nothing.
    world.act(Action::Expire).unwrap();
    assert_eq!(world.shown(), "x: a0 a1; y: a2 a3");
    world.pass(1);
    assert_eq!(world.shown(), "x: a0 a1 a2 a3");
    assert_eq!(world.told(x), "assigned a2 a3");
    assert_eq!(world.told(y), "fenced");
    assert_eq!(fence(world.commit(y, "a2")), Fence::NotAMember);
    let error = {
        let back = world.joining(y, "a");
        world.try_join(back).unwrap_err().to_string()
    };
    assert!(error.contains("Join again without a member id"), "{error}");
}

#[test]
fn a_member_says_how_long_it_may_be_away() {
    let mut world = World::with("a2");
    let mut join = world.joining(member_id('x'), "a");
    join.patience = Patience { grace: limits::MAX_REJOIN_GRACE, ..join.patience };
    let x = world.try_join(join.clone()).unwrap();
    world.lose(x);
    world.pass(3_599);
    assert_eq!(world.state(), "stable");
    world.pass(1);
    assert_eq!(world.state(), "empty");
    join.patience.grace *= 2;
    join.member = member_id('y');
    let error = world.try_join(join).unwrap_err().to_string();
    assert_eq!(error, "`rejoin_grace` must be at most 3600 s, not 7200 s");
}

/// A static member that is not started again would keep its partitions for its whole grace.
#[test]
fn an_administrator_may_remove_a_member() {
    let mut world = World::with("a4");
    let (x, y, z) = (world.join_named('x', "pod-0"), world.join('y'), world.join('z'));
    world.settle();
    world.lose(x);
    let remove = |world: &mut World, named| world.act(Action::Remove(named));
    let instance = |name: &str| MemberName::Instance(name.to_owned());
    assert_eq!(remove(&mut world, instance("pod-0")), Ok(GroupReply::Done));
    assert_eq!(world.group().member_count(), 2);
    assert_eq!((world.told(x), world.told(y)), ("fenced".to_owned(), "assigned a0".to_owned()));
    for unknown in [instance("pod-0"), MemberName::Id(x)] {
        let error = remove(&mut world, unknown).unwrap_err().to_string();
        assert!(
            error.contains("must be that of a member, as `ropewalk group describe`"),
            "{error}"
        );
    }
    // Also one that is there.
    assert_eq!(remove(&mut world, MemberName::Id(y)), Ok(GroupReply::Done));
    assert_eq!(world.told(y), "fenced");
    world.settle();
    assert_eq!(world.shown(), "z: a0 a1 a2 a3");
    assert_eq!(remove(&mut world, MemberName::Id(z)), Ok(GroupReply::Done));
    assert_eq!(world.state(), "empty");
}

/// A stream that broke is noticed late, when its member has another one already.
#[test]
fn what_is_said_of_an_earlier_stream_does_not_count() {
    let mut world = World::with("a2");
    let x = world.join('x');
    let first = world.clients[&x].session;
    world.join('x');
    world.act(Action::Lose { member: x, session: first }).unwrap();
    world.act(Action::Leave { member: x, session: first }).unwrap();
    assert_eq!(world.group().connected().count(), 1);
    assert_eq!(world.groups.next_deadline(), None);
}

/// After a change of the coordinator's leader each broker tells the group anew of the streams that
/// it has. One that its member has left for another must not take the member from that.
#[test]
fn a_stream_that_is_told_of_again_does_not_replace_a_later_one() {
    let mut world = World::with("a2");
    let mut first = world.joining(member_id('x'), "a");
    first.stream = 1;
    let x = world.try_join(first.clone()).unwrap();
    world.begin();
    let again = Join { is_new: false, is_again: true, ..first };
    world.try_join(again.clone()).unwrap();
    // It is not known whether the first try was carried out: it is the same stream still.
    world.try_join(again.clone()).unwrap();
    world.begin();
    let mut second = world.joining(x, "a");
    second.stream = 2;
    world.try_join(second.clone()).unwrap();
    let session = world.clients[&x].session;
    assert!(matches!(world.try_join(again), Err(GroupError::Fenced(_))));
    assert_eq!(world.group().connected().collect::<Vec<_>>(), [(x, session)]);
}

/// A join that was proposed again, as it was not known whether the first one was carried out.
#[test]
fn the_same_new_member_twice_is_one() {
    let mut world = World::with("a2");
    let join = world.joining(member_id('x'), "a");
    world.try_join(join.clone()).unwrap();
    world.try_join(join).unwrap();
    assert_eq!(world.shown(), "x: a0 a1");
}

#[test]
fn a_closed_stream_frees_its_partitions_at_once() {
    let mut world = World::with("a2");
    let (x, y) = (world.join('x'), world.join('y'));
    world.settle();
    world.leave(x);
    assert_eq!(world.told(y), "assigned a0");
    world.leave(y);
    assert_eq!(world.state(), "empty");
    assert_eq!(world.groups.next_deadline(), None);
}

/// The third of the three stale commits of the issue; the other two are with the moves.
#[test]
fn a_deleted_group_that_is_there_again_knows_nothing_of_the_old_one() {
    let mut world = World::with("a2");
    let x = world.join('x');
    world.settle();
    let not_empty = world.act(Action::Delete).unwrap_err();
    assert_eq!(not_empty, GroupError::NotEmpty { members: 1 });
    let old = world.clients[&x].generation;
    world.leave(x);
    assert_eq!(world.act(Action::Delete), Ok(GroupReply::Done));
    assert!(world.rows.is_empty() && world.groups.get(GROUP).is_none());
    assert_eq!(world.act(Action::Delete), Err(GroupError::NotFound));
    assert_eq!(fence(world.commit_as(x, old, "a0")), Fence::NotAMember);

    let y = world.join('y');
    world.settle();
    assert!(world.clients[&y].generation > old, "no generation of a name comes twice");
    assert_eq!(fence(world.commit_as(x, old, "a0")), Fence::NotAMember);
    // Even under the same id it would be refused.
    world.leave(y);
    world.act(Action::Delete).unwrap();
    world.clients.clear();
    world.join('x');
    assert!(matches!(fence(world.commit_as(x, old, "a0")), Fence::Outdated { .. }));
}

#[test]
fn an_administrator_commits_while_nobody_is_in_the_way() {
    let mut world = World::with("a2");
    let commit = |world: &World| world.groups.check_commit(GROUP, None, listed("a0"));
    assert_eq!(commit(&world), Ok(()), "a group without members need not be known");
    let x = world.join('x');
    let error = commit(&world).unwrap_err();
    assert!(error.to_string().starts_with("the consumer group has 1 members: stop them first"));
    world.lose(x);
    assert_eq!(commit(&world), Err(GroupError::NotEmpty { members: 1 }), "it may come back");
    world.pass(5);
    assert_eq!(commit(&world), Ok(()));
}

#[test]
fn a_commit_counts_whole_or_not_at_all() {
    let mut world = World::with("a2 b1");
    let (x, y) = (world.join('x'), world.join_to('y', "b"));
    world.settle();
    assert_eq!(world.commit(x, "a0 a1"), Ok(()));
    assert!(matches!(fence(world.commit(x, "a0 b0")), Fence::NotTheOwner { .. }));
    assert!(matches!(fence(world.commit(y, "a0")), Fence::NotTheOwner { .. }));
    assert!(matches!(fence(world.commit(x, "a7")), Fence::NotTheOwner { .. }));
    assert!(matches!(fence(world.commit(x, "c0")), Fence::NotTheOwner { .. }));
}

/// Another broker leads the coordinator group, in the middle of a rebalance. The streams go there
/// one by one, and only who does not come is gone.
#[test]
fn after_a_failover_all_members_have_their_grace_anew() {
    let mut world = World::with("a4");
    let (x, y) = (world.join('x'), world.join('y'));
    assert_eq!(world.told(x), "assigned a0 a1 a2 a3; revoked a2 a3 by 5");
    world.pass(3);
    world.groups = world.restored();
    world.begin();
    assert_eq!(world.shown(), "x: a0 a1 a2- a3-; y:");
    assert_eq!(world.group().connected().count(), 0);

    world.pass(1);
    world.join('x');
    assert_eq!(world.told(x), "assigned a0 a1 a2 a3; revoked a2 a3 by 8", "time begins anew");
    assert_eq!(world.commit(x, "a2 a3"), Ok(()));
    world.release(x, "a2 a3").unwrap();
    assert_eq!(world.shown(), "x: a0 a1; y: a2 a3");
    world.pass(7);
    assert_eq!(world.told(y), "fenced", "it did not come");
    assert_eq!(world.shown(), "x: a0 a1 a2 a3");
    // What an old leader says of a stream that it has no more comes too late.
    world.act(Action::Lose { member: x, session: 1 }).unwrap();
    assert_eq!(world.group().connected().collect::<Vec<_>>(), [(x, 2)]);
}

/// Its stream is open, and nobody has told the new leader yet: that it wants to be given up at once
/// when its stream breaks changes nothing.
#[test]
fn a_member_without_grace_outlives_a_failover() {
    let mut world = World::with("a2");
    let mut join = world.joining(member_id('x'), "a");
    join.patience = Patience { grace: Duration::ZERO, ..join.patience };
    let x = world.try_join(join.clone()).unwrap();
    world.begin();
    let seconds = i64::try_from(limits::FAILOVER_GRACE.as_secs()).unwrap();
    world.pass(seconds - 1);
    world.try_join(Join { is_new: false, is_again: true, ..join }).unwrap();
    world.pass(seconds);
    assert_eq!((world.shown(), world.state()), ("x: a0 a1".to_owned(), "stable".to_owned()));
    world.lose(x);
    world.pass(0);
    assert_eq!(world.state(), "empty", "it broke");
}

#[test]
fn a_group_takes_no_more_than_its_bounds() {
    let mut world = World::with("a1");
    let mut join = world.joining(member_id('x'), "a");
    let too_long = "n".repeat(limits::MAX_SUBSCRIPTION_BYTES + 1);
    join.selections = vec![crate::Selection::Name(too_long)];
    let error = world.try_join(join.clone()).unwrap_err().to_string();
    assert_eq!(error, "`topics` must be 1 to 16384 bytes long, not 16385");
    join.selections.clear();
    assert!(matches!(world.try_join(join.clone()), Err(GroupError::InvalidField { .. })));
    assert!(world.groups.get(GROUP).is_none(), "a join that is refused makes no group");

    // The largest topics that there can be, six of them.
    for letter in "bcdefg".chars() {
        world.topics.insert(letter, limits::MAX_PARTITIONS_PER_TOPIC);
    }
    let join = world.joining(member_id('x'), "/bcdefg");
    let limit = limits::MAX_PARTITIONS_PER_CONSUMER_GROUP;
    assert_eq!(world.try_join(join), Err(TooMany::Partitions { limit }.into()));
    let join = world.joining(member_id('x'), "/bcdef");
    world.try_join(join).unwrap();
}

/// Applied to the state alone: to restore it from its rows each time would take minutes.
#[test]
fn there_is_an_end_to_members_groups_and_bytes() {
    let mut world = World::with("a1");
    let join = world.joining(member_id('x'), "a");
    let mut try_join = |group: &str, number: usize, selection: usize| {
        let mut join = join.clone();
        join.member.0[..8].copy_from_slice(&number.to_le_bytes());
        if selection > 1 {
            join.selections.push(crate::Selection::Pattern("n".repeat(selection)));
        }
        let (group, time) = (group.to_owned(), world.time());
        let action = Action::Join(Box::new(join));
        world.index += 1;
        let command = crate::GroupCommand::Change { group, time, action }.encode();
        world.groups.apply(world.index, &command).answer
    };
    let limit = limits::MAX_MEMBERS_PER_CONSUMER_GROUP;
    assert!((0..limit).all(|number| try_join(GROUP, number, 1).is_ok()));
    assert_eq!(try_join(GROUP, limit, 1), Err(TooMany::Members { limit }.into()));

    let limit = limits::MAX_CONSUMER_GROUPS_PER_COORDINATOR;
    assert!((1..limit).all(|number| try_join(&number.to_string(), 0, 1).is_ok()));
    assert_eq!(try_join("one more", 0, 1), Err(TooMany::Groups { limit }.into()));

    let limit = limits::MAX_CONSUMER_GROUP_BYTES;
    let refused = (1..1_000).find_map(|number| try_join("1", number, 16_000).err());
    assert_eq!(refused, Some(TooMany::Bytes { limit }.into()));
    // What takes nothing is not refused.
    assert!(try_join("1", 1, 16_000).is_ok());
    let committer = Committer { member: member_id('q'), generation: 1 };
    assert!(world.groups.check_commit("1", Some(committer), []).is_err());
}
