//! A commit counts if it is of the owner, in its era; every other is refused, all of it.

use std::time::Duration;

use ropewalk_proto::v1;
use tonic::Code;

use crate::member::{Member, duration, joining, with};
use crate::support::eventually;
use crate::{Node, fenced, instance_taken, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_commit_is_refused_in_three_ways() {
    let node = Node::start().await;
    let stubs = node.stubs();
    stubs.create("t", 2).await;
    for partition in 0..2 {
        stubs.append("t", partition, &["a", "b", "c"]).await;
    }
    let brief = with(joining("g", &["t"]), |member| {
        member.rejoin_grace = duration(Duration::ZERO);
    });
    let mut one = Member::join(node.address(), brief.clone()).await;
    one.until("all", |m| m.read.len() == 6).await;
    one.commit().await.unwrap();

    // A partition moved while the member stays.
    let before = one.generation;
    let mut two = Member::join(node.address(), brief.clone()).await;
    tokio::join!(
        one.until("half", |m| m.owned.len() == 1),
        two.until("half", |m| m.owned.len() == 1),
    );
    let moved = two.owned.keys().next().unwrap().clone();
    let kept = one.owned.keys().next().unwrap().clone();
    let newest = one.generation.max(two.generation);
    for generation in [before, newest, newest + 10] {
        let status = one.commit_at(&moved, 1, generation).await.unwrap_err();
        fenced("of a partition that moved", &status);
    }
    one.commit_at(&kept, 2, before).await.unwrap();
    // It comes back, and what is said of it from before does not count.
    drop(two);
    one.until("both again", |m| m.owned.len() == 2).await;
    fenced("from before it came back", &one.commit_at(&moved, 1, before).await.unwrap_err());
    let generation = one.generation;
    one.commit_at(&moved, 1, generation).await.unwrap();

    // A member that was paused past its grace: its stream is gone, and it does not know.
    let mut zombie = Member::join(node.address(), brief.clone()).await;
    tokio::join!(
        one.until("half", |m| m.owned.len() == 1),
        zombie.until("half", |m| m.owned.len() == 1),
    );
    let (lost, last) = (zombie.owned.keys().next().unwrap().clone(), zombie.generation);
    let mut again = Member::join(
        node.address(),
        with(brief.clone(), |member| member.member_id = zombie.id.clone()),
    )
    .await;
    fenced("the stream that another one has replaced", &zombie.end().await);
    again.until("what it had", |m| m.owned.len() == 1).await;
    drop(again);
    one.until("both again", |m| m.owned.len() == 2).await;
    fenced("of one that is no member", &zombie.commit_at(&lost, 1, last).await.unwrap_err());
    let back = with(brief.clone(), |member| member.member_id = zombie.id.clone());
    let status = Member::try_join(node.address(), back).await.err().unwrap();
    fenced("it cannot come back under its id", &status);
}

/// What a member holds from before it lost a partition does not count when it comes back and has
/// the partition again, without having heard of either.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_comes_back_knows_no_more_than_it_was_told() {
    let node = Node::start().await;
    let stubs = node.stubs();
    stubs.create("t", 2).await;
    for partition in 0..2 {
        stubs.append("t", partition, &["a", "b", "c"]).await;
    }
    // A static one is waited for when its stream is closed.
    let patient = with(joining("g", &["t"]), |member| {
        member.instance_name = "one".to_owned();
        member.rejoin_grace = duration(Duration::from_secs(600));
        member.drain_timeout = duration(Duration::ZERO);
    });
    let mut one = Member::join(node.address(), patient.clone()).await;
    one.until("all", |m| m.read.len() == 6).await;
    let (before, had) = (one.generation, one.owned.clone());
    one.close();

    // Another one has half of it for a while.
    let mut two = Member::join(node.address(), joining("g", &["t"])).await;
    two.until("half", |m| m.read.len() == 3).await;
    let moved = two.owned.keys().next().unwrap().clone();
    two.commit().await.unwrap();
    two.close();
    let held = || async {
        let members = stubs.group("g").await.members;
        members.len() == 1 && members[0].assigned.len() == 2
    };
    eventually("it has both again", held).await;

    let back = |generation: i64| {
        with(patient.clone(), |member| {
            member.member_id = one.id.clone();
            member.generation = generation;
            let positions = had.keys().map(|(topic, partition)| v1::MemberPosition {
                topic: topic.clone(),
                partition: *partition,
                offset: 1,
                paused: false,
            });
            member.positions = positions.collect();
        })
    };
    let mut again = Member::join(node.address(), back(before)).await;
    let told = again.generation;
    fenced("it was told nothing new", &again.commit_at(&moved, 1, told).await.unwrap_err());
    // Nor does it help to come back once more, before it has heard more than that.
    drop(again);
    let mut again = Member::join(node.address(), back(told)).await;
    again.until("both", |m| m.owned.len() == 2).await;
    let begun = again.owned.clone();
    assert_eq!(begun[&moved], 3, "another one has read it meanwhile");
    let kept = begun.keys().find(|place| **place != moved).unwrap();
    again.until("what it has not seen", |m| m.read.len() == 2).await;
    assert!(again.read.iter().all(|(place, offset, _)| place == kept && *offset > 0));
    assert_eq!(stubs.committed("g").await, [("t".to_owned(), moved.1, 3)]);
}

/// What goes and comes back is told together, so that there is no moment in which the member has
/// heard of the loss, and what it commits counts for what it is to have next.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_not_the_members_before_it_is_told_so() {
    let node = Node::start().await;
    node.stubs().create("t", 2).await;
    let mut one = Member::join(node.address(), joining("g", &["t"])).await;
    one.releases = false;
    one.until("both", |m| m.owned.len() == 2).await;
    let mut two = Member::join(node.address(), joining("g", &["t"])).await;
    one.until("something to give back", |m| m.draining.len() == 1).await;
    let place = one.draining.first().unwrap().clone();
    two.close();
    eventually("it is alone", async || node.stubs().group("g").await.members.len() == 1).await;
    one.give_back(std::slice::from_ref(&place)).await.unwrap();
    one.until("an end", |m| !m.draining.contains(&place)).await;
    if !one.owned.contains_key(&place) {
        let generation = one.generation;
        let status = one.commit_at(&place, 0, generation).await.unwrap_err();
        fenced("it was told that it has lost it", &status);
    }
    one.until("both again", |m| m.owned.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_deleted_and_made_anew_has_nothing_of_the_old_one() {
    let node = Node::start().await;
    let stubs = node.stubs();
    stubs.create("t", 2).await;
    for partition in 0..2 {
        stubs.append("t", partition, &["a", "b", "c"]).await;
    }
    let mut former = Member::join(node.address(), joining("g", &["t"])).await;
    former.until("all", |m| m.read.len() == 6).await;
    former.commit().await.unwrap();
    let (place, generation) = (("t".to_owned(), 0), former.generation);
    let status = stubs.delete("g").await.unwrap_err();
    refused("a group with members", &status, Code::FailedPrecondition, "GROUP_NOT_EMPTY");
    let status = stubs.commit("g", "t", 0, 0).await.unwrap_err();
    refused("an administrator", &status, Code::FailedPrecondition, "GROUP_NOT_EMPTY");
    former.close();
    eventually("the group is empty", async || stubs.delete("g").await.is_ok()).await;
    assert_eq!(stubs.committed("g").await, []);
    let mut anew = Member::join(node.address(), joining("g", &["t"])).await;
    anew.until("everything from the beginning", |m| m.read.len() == 6).await;
    assert!(anew.generation > generation, "no generation comes again");
    let status = former.commit_at(&place, 3, generation).await.unwrap_err();
    fenced("of a group that was deleted", &status);
    // Nor does the old generation help who is a member of the new one.
    let status = anew.commit_at(&place, 3, generation).await.unwrap_err();
    fenced("of a generation of before", &status);
    assert_eq!(stubs.committed("g").await, []);
}

/// Two processes with one instance name: the newer one has it, and the older one is told so apart
/// from everything else that ends a membership, also when it was away meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_its_instance_name_is_told_so() {
    let node = Node::start().await;
    let stubs = node.stubs();
    stubs.create("t", 2).await;
    let named = |name: &'static str| {
        with(joining("g", &["t"]), |member| {
            member.instance_name = name.to_owned();
            member.rejoin_grace = duration(Duration::from_secs(600));
        })
    };
    let back = |member: &Member| {
        let id = member.id.clone();
        with(named("one"), |member| member.member_id = id)
    };
    let mut old = Member::join(node.address(), named("one")).await;
    old.until("both", |m| m.owned.len() == 2).await;
    // A stream of its own takes the place of the one before.
    let mut again = Member::join(node.address(), back(&old)).await;
    fenced("its own stream of before", &old.end().await);
    again.until("both", |m| m.owned.len() == 2).await;

    let mut new = Member::join(node.address(), named("one")).await;
    new.until("both", |m| m.owned.len() == 2).await;
    instance_taken("the older of two", &again.end().await);
    let status = Member::try_join(node.address(), back(&again)).await.err().unwrap();
    instance_taken("it cannot come back under its id", &status);
    let generation = again.generation;
    let status = again.commit_at(&("t".to_owned(), 0), 0, generation).await.unwrap_err();
    fenced("a commit names no instance", &status);

    // One that is away when another takes its name.
    new.close();
    let lost = async || {
        let members = stubs.group("g").await.members;
        members.len() == 1 && members[0].lost_until.is_some()
    };
    eventually("it is waited for", lost).await;
    let mut last = Member::join(node.address(), named("one")).await;
    last.until("both", |m| m.owned.len() == 2).await;
    let status = Member::try_join(node.address(), back(&new)).await.err().unwrap();
    instance_taken("one that was away", &status);
    let before = last.generation;
    last.go_on(Duration::from_millis(500)).await;
    assert_eq!((last.generation, last.owned.len()), (before, 2), "nothing has moved");
}
