//! Where replicas go, and who is to lead.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::{GroupId, NodeId};

use super::{
    Cluster, create, create_with, drain, form, partition_count, register, register_in,
    register_with, replica, update,
};
use crate::balance::MAX_LEADER_MOVES;
use crate::{Topic, leader_moves};

/// How many replicas of a topic, and preferred leaders, each broker has.
fn loads(topic: &Topic) -> BTreeMap<u64, (usize, usize)> {
    let mut loads = BTreeMap::new();
    for partition in &topic.partitions {
        for (at, replica) in partition.replicas.iter().enumerate() {
            let load: &mut (usize, usize) = loads.entry(replica.node().0).or_default();
            load.0 += 1;
            load.1 += usize::from(at == 0);
        }
    }
    loads
}

#[test]
fn replicas_and_leaders_are_spread_evenly() {
    let mut cluster = Cluster::of(3);
    cluster.apply(&create(1, "logs", 12)).unwrap();
    let even = BTreeMap::from([(1, (12, 4)), (2, (12, 4)), (3, (12, 4))]);
    assert_eq!(loads(cluster.topic("logs")), even);
    // When a leader goes, its partitions are taken over by both others.
    let second = |led: u64| {
        let partitions = cluster.topic("logs").partitions.iter();
        let led = partitions.filter(move |p| p.replicas[0].node().0 == led);
        led.map(|p| p.replicas[1].node().0).collect::<BTreeSet<_>>()
    };
    assert_eq!([second(1), second(2), second(3)].map(|after| after.len()), [2; 3]);

    // Partitions that come later go on where the first ones ended.
    cluster.apply(&update(1, partition_count(15))).unwrap();
    assert!(loads(cluster.topic("logs")).values().all(|load| *load == (15, 5)));
}

#[test]
fn many_small_topics_are_spread_like_a_large_one() {
    let mut cluster = Cluster::of(3);
    let mut leaders = BTreeMap::<u64, usize>::new();
    for id in 1..=9 {
        cluster.apply(&create_with(id, &format!("topic-{id}"), 1, Some(1))).unwrap();
        let topic = cluster.topic(&format!("topic-{id}"));
        *leaders.entry(topic.partitions[0].replicas[0].node().0).or_default() += 1;
    }
    assert_eq!(leaders, BTreeMap::from([(1, 3), (2, 3), (3, 3)]));
}

#[test]
fn each_replica_of_a_partition_is_in_a_rack_of_its_own_if_there_are_enough() {
    let mut cluster = Cluster::default();
    cluster.apply(&form(3)).unwrap();
    for (rack, id) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("c", 6)] {
        cluster.apply(&register_in(rack, id)).unwrap();
    }
    cluster.apply(&create(1, "logs", 30)).unwrap();
    for partition in &cluster.topic("logs").partitions {
        let racks: BTreeSet<_> = partition
            .replicas
            .iter()
            .map(|replica| cluster.metadata().brokers[&replica.node()].rack.clone())
            .collect();
        assert_eq!(racks.len(), 3);
    }
    let even = [(1, 10), (2, 10), (3, 10), (4, 30), (5, 15), (6, 15)];
    let replicas = loads(cluster.topic("logs")).into_iter().map(|(id, load)| (id, load.0));
    assert_eq!(replicas.collect::<Vec<_>>(), even);
    assert!(loads(cluster.topic("logs")).values().all(|load| (4..=6).contains(&load.1)));
}

#[test]
fn the_groups_of_the_broker_come_to_new_brokers_too() {
    let mut cluster = Cluster::of(3);
    cluster.apply(&register(4)).unwrap();
    let coordinators = |id| cluster.metadata().replicas_on(NodeId(id)).len() - 1;
    assert_eq!([1, 2, 3, 4].map(coordinators), [12; 4]);
    let serial = u32::try_from(cluster.index).unwrap();
    let came = GroupId::COORDINATORS.map(|group| {
        let replicas = cluster.metadata().replicas(group).unwrap();
        replicas.iter().filter(|replica| replica.serial() == serial).count()
    });
    assert_eq!(came.iter().sum::<usize>(), 12, "nobody else is moved");
}

/// Three brokers, a topic of three partitions led by 1, 2 and 3, and who leads now.
fn led_by(leaders: [u64; 3]) -> (Cluster, BTreeMap<GroupId, ropewalk_core::ReplicaId>) {
    let mut cluster = Cluster::of(3);
    cluster.apply(&create(1, "logs", 3)).unwrap();
    let groups = [0x100, 0x101, 0x102].map(GroupId);
    let preferred = groups.map(|group| cluster.on(group)[0]);
    assert_eq!(preferred, [1, 2, 3]);
    (cluster, groups.into_iter().zip(leaders.map(|id| replica(id, 0))).collect())
}

fn nodes<const N: usize>(ids: [u64; N]) -> BTreeSet<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

#[test]
fn leaders_go_back_to_a_broker_that_is_alive_again() {
    let (cluster, leaders) = led_by([1, 2, 2]);
    let moves = |alive| leader_moves(cluster.metadata(), &leaders, &alive, None);
    assert_eq!(moves(nodes([1, 2])), [], "whoever took over leads while 3 is away");
    assert_eq!(moves(nodes([1, 2, 3])), [(GroupId(0x102), replica(3, 0))]);
}

#[test]
fn leaders_leave_a_draining_broker_for_one_that_is_alive() {
    let (mut cluster, leaders) = led_by([1, 2, 3]);
    cluster.apply(&drain(3, true)).unwrap();
    let moves = |alive| leader_moves(cluster.metadata(), &leaders, &alive, None);
    let [(group, to)] = moves(nodes([1, 2, 3]))[..] else { panic!("one leader moves") };
    assert_eq!((group, to), (GroupId(0x102), replica(cluster.on(group)[1], 0)));
    let other = NodeId(3 - to.node().0);
    assert_eq!(moves(BTreeSet::from([other, NodeId(3)])), [(group, replica(other.0, 0))]);
    assert_eq!(moves(nodes([3])), [], "nobody else is there");
}

#[test]
fn a_replica_that_is_to_go_leads_no_longer() {
    let (mut cluster, leaders) = led_by([1, 2, 3]);
    cluster.apply(&register_with([0xd1; 16], 1)).unwrap();
    let new = replica(1, u32::try_from(cluster.index).unwrap());
    let moves = leader_moves(cluster.metadata(), &leaders, &nodes([1, 2, 3]), None);
    assert_eq!(moves, [(GroupId(0x100), new)]);
}

/// Groups that cannot move yet do not keep others waiting.
#[test]
fn moves_come_in_steps_and_each_goes_on_where_the_last_one_ended() {
    let mut cluster = Cluster::of(3);
    cluster.apply(&create(1, "logs", 300)).unwrap();
    let groups = (0x100..0x100 + 300).map(GroupId);
    let leaders: BTreeMap<_, _> = groups.map(|group| (group, replica(1, 0))).collect();
    let mut asked = BTreeSet::new();
    let mut last = None;
    for _ in 0..4 {
        let moves = leader_moves(cluster.metadata(), &leaders, &nodes([1, 2, 3]), last);
        assert_eq!(moves.len(), MAX_LEADER_MOVES);
        last = moves.last().map(|(group, _)| *group);
        asked.extend(moves);
    }
    assert_eq!(asked.len(), 200, "two thirds are to move, and all of them had their turn");
}
