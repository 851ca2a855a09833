//! Topics: their names, their partitions, their number of replicas.

use ropewalk_core::{GroupId, PartitionId};

use super::{
    Cluster, create, create_with, delete, partition_count, reassign, register, replica,
    replication_factor, update,
};
use crate::{MetadataError, TopicSettings, TopicUpdate};

fn groups(topic: &crate::Topic) -> Vec<GroupId> {
    topic.groups().map(|(_, group)| group).collect()
}

#[test]
fn a_topic_created_again_under_its_name_is_another() {
    let mut cluster = Cluster::of(1);
    let first = cluster.apply(&create(1, "logs", 2)).unwrap().topic.unwrap();
    assert_eq!(groups(&first), [GroupId(0x100), GroupId(0x101)]);
    let taken = Err(MetadataError::TopicExists("logs".to_owned()));
    assert_eq!(cluster.apply(&create(2, "logs", 1)), taken);
    assert_eq!(cluster.apply(&create(1, "again", 1)), taken, "an id is used once");
    assert_eq!(cluster.apply(&delete(1)).unwrap().topic, Some(first), "the topic as it was");
    assert_eq!(cluster.apply(&delete(1)), Err(MetadataError::TopicNotFound));
    let again = cluster.apply(&create(3, "logs", 1)).unwrap().topic.unwrap();
    assert_eq!(groups(&again), [GroupId(0x102)], "no replica group is used again");
    assert_eq!(cluster.restored(), cluster.state);
}

#[test]
fn an_update_changes_what_it_names_and_partitions_only_grow() {
    let mut cluster = Cluster::of(1);
    cluster.apply(&create(1, "logs", 2)).unwrap();
    let forever = TopicUpdate { retention: Some(None), ..TopicUpdate::default() };
    let topic = cluster.apply(&update(1, forever)).unwrap().topic.unwrap();
    assert_eq!(topic.settings, TopicSettings { retention: None, ..TopicSettings::default() });
    cluster.apply(&update(1, partition_count(3))).unwrap();
    assert_eq!(cluster.topic("logs").partitions.len(), 3);
    let shrunk = MetadataError::PartitionsShrink { current: 3 };
    assert_eq!(cluster.apply(&update(1, partition_count(2))), Err(shrunk));
    let small = TopicUpdate { segment_bytes: Some(1), ..partition_count(4) };
    assert!(matches!(cluster.apply(&update(1, small)), Err(MetadataError::OutOfRange(_))));
    assert_eq!(cluster.topic("logs").partitions.len(), 3, "nothing of a refused command is done");
    assert_eq!(cluster.restored(), cluster.state);
}

#[test]
fn a_partition_is_found_by_its_group() {
    let mut cluster = Cluster::of(1);
    cluster.apply(&create(1, "logs", 2)).unwrap();
    cluster.apply(&create(2, "other", 1)).unwrap();
    cluster.apply(&update(1, partition_count(4))).unwrap();
    let found = |group| {
        let (topic, partition) = cluster.metadata().partition(GroupId(group))?;
        Some((topic.name.as_str(), partition))
    };
    assert_eq!(found(0x101), Some(("logs", PartitionId(1))));
    assert_eq!(found(0x102), Some(("other", PartitionId(0))));
    assert_eq!(found(0x104), Some(("logs", PartitionId(3))));
    assert_eq!(found(0x105), None);
    assert_eq!(found(0xff), None);
    assert_eq!(cluster.metadata().partition_count(), 5);
}

#[test]
fn topics_have_three_replicas_where_there_are_brokers_for_them() {
    let mut cluster = Cluster::of(1);
    cluster.apply(&create(1, "one", 1)).unwrap();
    assert_eq!(cluster.topic("one").replication_factor, 1);
    let refused = cluster.apply(&create_with(2, "three", 1, Some(3))).unwrap_err();
    assert_eq!(refused, MetadataError::TooFewBrokers { replication_factor: 3, brokers: 1 });
    assert_eq!(
        refused.to_string(),
        "replication factor 3 needs 3 brokers and the cluster has 1: start more brokers, or choose \
         a smaller factor"
    );
    cluster.apply(&register(2)).unwrap();
    cluster.apply(&register(3)).unwrap();
    cluster.apply(&create(2, "three", 1)).unwrap();
    assert_eq!(cluster.topic("three").replication_factor, 3);
    let two = cluster.apply(&create_with(3, "two", 1, Some(2))).unwrap_err();
    assert_eq!(two.to_string(), "`replication_factor` must be 1, 3 or 5, not 2");
}

#[test]
fn another_replication_factor_keeps_the_replicas_that_can_stay() {
    let mut cluster = Cluster::of(3);
    cluster.apply(&create_with(1, "logs", 1, Some(1))).unwrap();
    let before = cluster.topic("logs").partitions[0].clone();
    assert_eq!(before.replicas, [replica(1, 0)]);
    cluster.apply(&update(1, replication_factor(3))).unwrap();
    let serial = u32::try_from(cluster.index).unwrap();
    let grown = cluster.topic("logs").partitions[0].clone();
    assert_eq!(grown.replicas, [replica(1, 0), replica(2, serial), replica(3, serial)]);
    assert_eq!(grown.founders, before.founders, "who began does not change");
    cluster.apply(&update(1, replication_factor(1))).unwrap();
    assert_eq!(cluster.topic("logs").partitions[0], before);
    cluster.apply(&update(1, replication_factor(3))).unwrap();
    assert_eq!(cluster.topic("logs").partitions[0], grown, "who has not left yet comes back");
    assert_eq!(cluster.restored(), cluster.state);
}

#[test]
fn partitions_are_placed_by_hand() {
    let mut cluster = Cluster::of(5);
    cluster.apply(&create(1, "logs", 2)).unwrap();
    let [first, _] = &cluster.topic("logs").partitions[..] else { panic!("two partitions") };
    assert_eq!(first.replicas, [replica(1, 0), replica(2, 0), replica(3, 0)]);
    cluster.apply(&reassign(1, 0, &[2, 5, 1])).unwrap();
    let serial = u32::try_from(cluster.index).unwrap();
    let replicas = &cluster.topic("logs").partitions[0].replicas;
    assert_eq!(*replicas, [replica(2, 0), replica(5, serial), replica(1, 0)]);
    assert_eq!(cluster.restored(), cluster.state);

    let before = cluster.topic("logs").clone();
    for (partition, brokers, problem) in [
        (0, &[1, 2, 9][..], "broker 9 is not in the cluster"),
        (0, &[1, 2, 2][..], "a broker is named twice"),
        (0, &[1][..], "1 brokers are named: name 3"),
        (7, &[1, 2, 3][..], "topic `logs` has no partition 7"),
    ] {
        let refused = cluster.apply(&reassign(1, partition, brokers)).unwrap_err();
        assert!(refused.to_string().contains(problem), "{refused}");
    }
    assert_eq!(cluster.apply(&reassign(9, 0, &[1])), Err(MetadataError::TopicNotFound));
    assert_eq!(*cluster.topic("logs"), before);
}

#[test]
fn one_move_that_is_refused_refuses_them_all() {
    let mut cluster = Cluster::of(5);
    cluster.apply(&create(1, "logs", 2)).unwrap();
    let before = cluster.topic("logs").clone();
    let moves = [(0, [3, 4, 5]), (1, [3, 4, 5]), (0, [1, 2, 3])].map(|(partition, brokers)| {
        let command = reassign(1, partition, &brokers);
        let crate::MetadataCommand::ReassignPartitions { moves } = command else { panic!() };
        moves
    });
    let twice = crate::MetadataCommand::ReassignPartitions { moves: moves.concat() };
    let refused = cluster.apply(&twice).unwrap_err();
    assert!(refused.to_string().contains("it is named twice"), "{refused}");
    assert_eq!(*cluster.topic("logs"), before);
}
