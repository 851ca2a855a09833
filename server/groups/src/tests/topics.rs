//! Topics that come, grow and go while a group reads them.

use super::{World, partition};
use crate::{Action, Selection};

#[test]
fn new_partitions_of_a_topic_join_by_themselves() {
    let mut world = World::with("a2");
    let (x, y) = (world.join('x'), world.join('y'));
    world.settle();
    world.topics.insert('a', 5);
    world.resolve();
    assert_eq!(world.told(x), "assigned a2 a4");
    assert_eq!(world.told(y), "assigned a3");
    assert_eq!(world.state(), "stable", "nothing had to move");
}

#[test]
fn what_a_pattern_matches_anew_joins_and_what_is_deleted_goes() {
    let mut world = World::with("a2");
    let x = world.join_to('x', "/abc");
    assert_eq!(world.told(x), "assigned a0 a1");
    world.topics.insert('b', 1);
    world.topics.insert('d', 1);
    world.resolve();
    assert_eq!(world.told(x), "assigned b0");
    world.topics.remove(&'a');
    world.resolve();
    assert_eq!(world.told(x), "ended a0 a1");
    assert!(world.commit(x, "a0").is_err());
    world.topics.remove(&'b');
    world.resolve();
    assert_eq!(world.told(x), "ended b0");
    assert_eq!(world.state(), "stable", "it waits for topics");
}

/// Who begins at the end begins there with what was there when the group came to read the topic.
/// All members must see that alike, whenever they joined.
#[test]
fn what_was_added_to_what_the_group_reads_is_known_as_such() {
    let mut world = World::with("a1 c1");
    world.join_to('x', "/ab");
    world.topics.insert('b', 1);
    // Its broker knows of the new topic before the group does.
    world.join_to('y', "/ab");
    world.topics.insert('a', 2);
    world.resolve();
    world.join_to('z', "c a");
    let is_added = |word: &str| {
        let (topic, partition) = partition(word);
        world.group().is_added(topic, partition)
    };
    let all = ["a0", "a1", "b0", "c0"];
    assert_eq!(all.map(is_added), [false, true, true, false]);
}

#[test]
fn a_topic_need_not_be_there_when_a_member_names_it() {
    let mut world = World::with("a1");
    let x = world.join_to('x', "b");
    assert_eq!(world.told(x), "generation");
    world.topics.insert('b', 1);
    world.resolve();
    assert_eq!(world.told(x), "assigned b0");
}

/// Different members read different topics; each gets of its own only.
#[test]
fn everybody_gets_of_its_own_topics_only() {
    let mut world = World::with("a2 b2 c2");
    world.join_to('x', "a b");
    world.join_to('y', "b c");
    world.join_to('z', "c");
    world.settle();
    assert_eq!(world.shown(), "x: a0 a1; y: b0 b1; z: c0 c1");
    // The last one that reads topic a goes, and nobody reads it any more.
    let x = super::member_id('x');
    world.leave(x);
    world.settle();
    assert_eq!(world.shown(), "y: b0 b1; z: c0 c1");
    assert!(world.group().selections().eq([&name("b"), &name("c")]));
}

#[test]
fn a_member_that_comes_back_may_want_something_else() {
    let mut world = World::with("a2 b2");
    let (x, y) = (world.join_to('x', "a b"), world.join_to('y', "a b"));
    world.settle();
    assert_eq!(world.shown(), "x: a0 b0; y: a1 b1");
    world.lose(x);
    world.join_to('x', "b");
    world.settle();
    assert_eq!(world.shown(), "x: b0 b1; y: a0 a1");
    assert_eq!((world.told(x), world.told(y)), (String::new(), String::new()));
}

/// A broker that has just begun to lead may be behind with the metadata.
#[test]
fn what_is_older_than_what_is_known_is_left_out() {
    let mut world = World::with("a2");
    let x = world.join_to('x', "/ab");
    let group = world.group();
    let old = world.resolution(group.selections());
    world.topics.insert('b', 1);
    world.resolve();
    assert_eq!(world.told(x), "assigned a0 a1 b0");
    world.act(Action::Resolve(old)).unwrap();
    assert_eq!(world.told(x), "", "the new topic stays");
    // The joiner's broker is behind too: the group keeps to what it knows.
    let mut join = world.joining(super::member_id('y'), "/ab");
    join.resolution.selected[0].1.clear();
    world.try_join(join).unwrap();
    world.settle();
    assert_eq!(world.shown(), "x: a0 b0; y: a1");
}

fn name(name: &str) -> Selection {
    Selection::Name(name.to_owned())
}
