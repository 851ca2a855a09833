//! Brokers come, lose their disks, are drained and go; the broker's own groups follow.

use std::collections::BTreeSet;

use ropewalk_core::{GroupId, NodeId, ReplicaId};

use super::{
    Cluster, create, create_with, directory, drain, form, nodes, register, register_with,
    registration, remove, replica,
};
use crate::{BrokerRegistration, MetadataCommand, MetadataError, MetadataReply, founder_placement};

fn voters_and_learners(cluster: &Cluster) -> (Vec<u64>, Vec<u64>) {
    let desired = cluster.metadata().desired(GroupId::METADATA).unwrap();
    (nodes(&desired.voters), nodes(&desired.learners))
}

fn members(cluster: &Cluster, group: GroupId) -> BTreeSet<ReplicaId> {
    let desired = cluster.metadata().desired(group).unwrap();
    desired.voters.into_iter().chain(desired.learners).collect()
}

#[test]
fn founders_know_where_groups_begin_before_the_first_command() {
    let founders = [NodeId(3), NodeId(1), NodeId(2)];
    let placement = founder_placement(&founders);
    assert_eq!(placement[&GroupId::METADATA], [replica(1, 0), replica(2, 0), replica(3, 0)]);
    assert_eq!(placement.len(), 1 + GroupId::COORDINATORS.len());

    let mut cluster = Cluster::default();
    assert_eq!(cluster.apply(&register(1)), Err(MetadataError::NotFormed));
    cluster.apply(&form(3)).unwrap();
    let metadata = cluster.metadata();
    for (group, replicas) in &placement {
        assert_eq!(metadata.founders(*group), Some(&replicas[..]));
        assert_eq!(metadata.replicas(*group), Some(&replicas[..]), "and there they stay");
    }
    assert_eq!(metadata.awaited.len(), 3);
    let before = metadata.clone();
    assert_eq!(cluster.apply(&form(1)), Ok(MetadataReply::default()));
    assert_eq!(cluster.metadata().system, before.system, "a cluster is formed once");

    let broker = cluster.apply(&register(2)).unwrap().broker.unwrap();
    assert_eq!(broker.metadata_replica, replica(2, 0));
    assert_eq!(cluster.metadata().awaited.len(), 2);
    assert_eq!(cluster.restored(), cluster.state);
}

#[test]
fn the_metadata_group_grows_with_the_cluster_and_everybody_else_learns() {
    let mut cluster = Cluster::of(1);
    for (id, voters, learners) in [
        (2, vec![1], vec![2]),
        (3, vec![1, 2, 3], vec![]),
        (4, vec![1, 2, 3], vec![4]),
        (5, vec![1, 2, 3, 4, 5], vec![]),
        (6, vec![1, 2, 3, 4, 5], vec![6]),
    ] {
        cluster.apply(&register(id)).unwrap();
        assert_eq!(voters_and_learners(&cluster), (voters, learners));
        let coordinators = GroupId::COORDINATORS.map(|group| cluster.on(group).len());
        assert_eq!(coordinators, [if id < 3 { 1 } else { 3 }; 16]);
    }
    let broker = &cluster.metadata().brokers[&NodeId(6)];
    assert_eq!(broker.metadata_replica, replica(6, u32::try_from(cluster.index).unwrap()));
    for id in 1..=6 {
        let held = cluster.metadata().replicas_on(NodeId(id));
        assert_eq!(held.len(), 1 + 48 / 6, "coordinators are spread evenly");
        let led = GroupId::COORDINATORS.iter().filter(|group| cluster.on(**group)[0] == id);
        assert!((2..=3).contains(&led.count()), "and so are their leaders");
    }
    assert_eq!(cluster.restored(), cluster.state);
}

/// An even number of voters survives no more than one less; those that lose their vote stay members
/// under their ids, whether they have registered yet or not.
#[test]
fn an_even_number_of_founders_ends_with_an_odd_number_of_voters() {
    let mut cluster = Cluster::default();
    cluster.apply(&form(4)).unwrap();
    let founders = cluster.metadata().founders(GroupId::METADATA).unwrap().to_vec();
    assert_eq!(founders.len(), 4);
    assert_eq!(voters_and_learners(&cluster), (vec![1, 2, 3], vec![4]));
    assert_eq!(members(&cluster, GroupId::METADATA), founders.iter().copied().collect());
    cluster.apply(&register(4)).unwrap();
    assert_eq!(members(&cluster, GroupId::METADATA), founders.into_iter().collect());
}

#[test]
fn a_broker_that_lost_its_disk_has_new_replicas_everywhere() {
    let mut cluster = Cluster::of(3);
    cluster.apply(&create(1, "logs", 3)).unwrap();
    let before = cluster.metadata().replicas_on(NodeId(2));
    let leaders = |cluster: &Cluster| {
        cluster.metadata().groups().map(|(_, replicas)| replicas[0].node()).collect::<Vec<_>>()
    };
    let led = leaders(&cluster);
    let broker = cluster.apply(&register_with([0xd2; 16], 2)).unwrap().broker.unwrap();
    let new = replica(2, u32::try_from(cluster.index).unwrap());
    assert_eq!(broker.metadata_replica, new);
    let after = cluster.metadata().replicas_on(NodeId(2));
    assert!(after.keys().eq(before.keys()) && after.values().all(|replica| *replica == new));
    assert_eq!(leaders(&cluster), led, "it is to lead what it led");
    for group in after.keys() {
        let founders = cluster.metadata().founders(*group).unwrap();
        assert!(!founders.contains(&new), "it does not found anything again");
    }
    // The old disk turns up again: what is on it is void.
    let refused = cluster.apply(&register(2)).unwrap_err();
    assert_eq!(refused, MetadataError::BrokerRemoved(NodeId(2)));
    assert_eq!(cluster.restored(), cluster.state);
}

#[test]
fn a_founder_with_another_disk_than_the_one_it_was_to_have_is_no_founder() {
    let mut cluster = Cluster::default();
    cluster.apply(&form(3)).unwrap();
    let broker = cluster.apply(&register_with([0xd3; 16], 3)).unwrap().broker.unwrap();
    assert_eq!(broker.metadata_replica, replica(3, 2));
    let voters = cluster.metadata().replicas(GroupId::METADATA).unwrap();
    assert_eq!(voters, [replica(1, 0), replica(2, 0), replica(3, 2)]);
    assert!(cluster.metadata().founders(GroupId::METADATA).unwrap().contains(&replica(3, 0)));
}

#[test]
fn a_start_changes_what_a_broker_says_of_itself_and_nothing_else() {
    let mut cluster = Cluster::of(3);
    cluster.apply(&create(1, "logs", 3)).unwrap();
    cluster.apply(&drain(2, true)).unwrap();
    let before = cluster.metadata().clone();
    let moved = BrokerRegistration { address: "elsewhere:9092".to_owned(), ..registration(2) };
    cluster.apply(&MetadataCommand::RegisterBroker(moved)).unwrap();
    let after = cluster.metadata();
    assert_eq!(after.address(NodeId(2)), Some("elsewhere:9092"));
    assert_eq!(after.peer_address(NodeId(2)), Some("broker-2:9093"));
    assert!(after.is_draining(NodeId(2)), "a restart ends no drain");
    assert_eq!((&after.topics, &after.system), (&before.topics, &before.system));
}

/// What may be written is what every broker knows, and that stays so.
#[test]
fn the_oldest_broker_says_what_may_be_written_and_none_comes_that_is_older() {
    let mut cluster = Cluster::default();
    cluster.apply(&form(3)).unwrap();
    let register = |id: u64, level| {
        MetadataCommand::RegisterBroker(BrokerRegistration { level, ..registration(id) })
    };
    for (id, level) in [(1, 2), (2, 3), (1, 1), (1, 2)] {
        cluster.apply(&register(id, level)).unwrap();
        assert_eq!(cluster.metadata().level(), 1, "a founder has not come, who may be older");
    }
    cluster.apply(&register(3, 1)).unwrap();
    cluster.apply(&register(4, 1)).unwrap();
    cluster.apply(&register(3, 2)).unwrap();
    assert_eq!(cluster.metadata().level(), 1);
    cluster.apply(&remove(4)).unwrap();
    assert_eq!(cluster.metadata().level(), 2, "the last one that knew no more is gone");
    cluster.apply(&register(2, 2)).unwrap();
    for id in [1, 2, 5] {
        let refused = cluster.apply(&register(id, 1)).unwrap_err();
        assert_eq!(refused, MetadataError::LevelTooLow { broker: 1, cluster: 2 });
    }
    assert!(matches!(cluster.apply(&register(4, 1)), Err(MetadataError::BrokerRemoved(_))));
}

#[test]
fn a_data_directory_belongs_to_one_broker() {
    let mut cluster = Cluster::of(2);
    let copied = cluster.apply(&register_with(directory(1), 7)).unwrap_err();
    assert_eq!(copied, MetadataError::DirectoryTaken(NodeId(1)));
    let swapped = cluster.apply(&register_with(directory(1), 2)).unwrap_err();
    assert_eq!(swapped, MetadataError::DirectoryTaken(NodeId(1)));
    for id in [0, 1 << 32] {
        let registration = BrokerRegistration { id: NodeId(id), ..registration(9) };
        let refused = cluster.apply(&MetadataCommand::RegisterBroker(registration));
        assert!(matches!(refused, Err(MetadataError::OutOfRange(_))));
    }
}

#[test]
fn replicas_of_a_removed_broker_are_placed_elsewhere() {
    let mut cluster = Cluster::of(4);
    cluster.apply(&create(1, "logs", 8)).unwrap();
    let before = cluster.topic("logs").clone();
    let gone = cluster.apply(&remove(2)).unwrap().broker.unwrap();
    assert_eq!(gone.id, NodeId(2));
    let serial = u32::try_from(cluster.index).unwrap();
    for (old, new) in before.partitions.iter().zip(&cluster.topic("logs").partitions) {
        let stayed = old.replicas.iter().filter(|replica| replica.node() != NodeId(2));
        assert!(stayed.clone().all(|replica| new.replicas.contains(replica)));
        let came = new.replicas.iter().filter(|replica| !old.replicas.contains(replica));
        assert!(came.clone().all(|replica| replica.serial() == serial));
        assert_eq!(stayed.count() + came.count(), 3);
        assert_eq!(new.replicas[0].serial(), 0, "who has the records leads");
    }
    assert!(cluster.metadata().replicas_on(NodeId(2)).is_empty());
    assert_eq!(voters_and_learners(&cluster), (vec![1, 3, 4], vec![]));

    let refused = cluster.apply(&remove(3)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "without broker 3 there are 2 brokers, and topic `logs` has replication factor 3: add a \
         broker, or lower the factor of the topic first"
    );
    assert_eq!(cluster.apply(&remove(2)), Err(MetadataError::BrokerNotFound(NodeId(2))));

    // It comes back: only with an empty disk, and as somebody else.
    let refused = cluster.apply(&register(2)).unwrap_err();
    assert_eq!(refused, MetadataError::BrokerRemoved(NodeId(2)));
    let back = cluster.apply(&register_with([0xd2; 16], 2)).unwrap().broker.unwrap();
    assert_eq!(back.metadata_replica, replica(2, u32::try_from(cluster.index).unwrap()));
    assert_eq!(cluster.restored(), cluster.state);
}

#[test]
fn brokers_go_until_one_is_left() {
    let mut cluster = Cluster::of(5);
    cluster.apply(&create_with(1, "logs", 5, Some(1))).unwrap();
    for (id, voters) in [(1, 3), (4, 3), (2, 1), (5, 1)] {
        let before = members(&cluster, GroupId::METADATA);
        cluster.apply(&remove(id)).unwrap();
        assert_eq!(voters_and_learners(&cluster).0.len(), voters);
        let after = members(&cluster, GroupId::METADATA);
        assert!(after.is_subset(&before), "who loses its vote stays who it is");
    }
    assert_eq!(cluster.apply(&remove(3)), Err(MetadataError::LastBroker(NodeId(3))));
    assert!(cluster.metadata().groups().all(|(_, replicas)| nodes(replicas) == [3]));
}

#[test]
fn a_draining_broker_leads_nothing_and_gets_nothing_while_others_can() {
    let mut cluster = Cluster::of(4);
    cluster.apply(&create(1, "before", 8)).unwrap();
    let before = cluster.topic("before").clone();
    cluster.apply(&drain(2, true)).unwrap();
    assert_eq!(*cluster.topic("before"), before, "replicas stay");
    cluster.apply(&create(2, "after", 8)).unwrap();
    let metadata = cluster.metadata();
    let leaders: Vec<_> =
        metadata.groups().filter_map(|(group, _)| metadata.preferred_leader(group)).collect();
    assert_eq!(leaders.len(), 17 + 16);
    assert!(leaders.iter().all(|leader| leader.node() != NodeId(2)));
    assert!(cluster.topic("after").partitions.iter().all(|p| !nodes(&p.replicas).contains(&2)));
    // Its votes go to the broker that has none.
    assert_eq!(voters_and_learners(&cluster), (vec![1, 3, 4], vec![2]));

    // A second one must keep its places: there is nobody else.
    cluster.apply(&drain(3, true)).unwrap();
    assert_eq!(voters_and_learners(&cluster), (vec![1, 3, 4], vec![2]));
    assert!(GroupId::COORDINATORS.iter().all(|group| cluster.on(*group).len() == 3));
    cluster.apply(&create_with(3, "three", 1, Some(3))).unwrap();
    assert_eq!(cluster.topic("three").partitions[0].replicas.len(), 3);
    cluster.apply(&create(4, "default", 1)).unwrap();
    assert_eq!(cluster.topic("default").replication_factor, 1, "two brokers are left to use");

    cluster.apply(&drain(2, false)).unwrap();
    let back = before.partitions.iter().filter(|p| p.replicas[0].node() == NodeId(2)).count();
    let led = before.partitions.iter().filter(|partition| {
        cluster.metadata().preferred_leader(partition.group) == Some(replica(2, 0))
    });
    assert_eq!(led.count(), back, "it leads again what it led");
    let unknown = cluster.apply(&drain(9, true)).unwrap_err();
    assert_eq!(unknown, MetadataError::BrokerNotFound(NodeId(9)));
}

#[test]
fn a_replica_that_is_damaged_is_replaced_and_no_other() {
    let mut cluster = Cluster::of(3);
    cluster.apply(&create(1, "logs", 2)).unwrap();
    let groups: Vec<_> = cluster.metadata().topics["logs"].groups().map(|(_, id)| id).collect();
    let before = cluster.metadata().replicas(groups[0]).unwrap().to_vec();
    let replace = |group, replica| MetadataCommand::ReplaceReplica { group, replica };
    let damaged = before[1];
    cluster.apply(&replace(groups[0], damaged)).unwrap();
    let new = ReplicaId::new(damaged.node(), u32::try_from(cluster.index).unwrap());
    let after = cluster.metadata().replicas(groups[0]).unwrap().to_vec();
    assert_eq!(after, [before[0], new, before[2]]);
    assert_eq!(cluster.metadata().founders(groups[0]).unwrap(), before);
    let other = cluster.metadata().replicas(groups[1]).unwrap();
    assert!(other.iter().all(|replica| replica.serial() == 0));
    assert_eq!(cluster.restored(), cluster.state);

    // Told twice, it is not replaced twice.
    cluster.apply(&replace(groups[0], damaged)).unwrap();
    assert_eq!(cluster.metadata().replicas(groups[0]).unwrap(), after);

    // A broker's replica of the metadata, as a voter.
    cluster.apply(&replace(GroupId::METADATA, replica(2, 0))).unwrap();
    let new = ReplicaId::new(NodeId(2), u32::try_from(cluster.index).unwrap());
    assert_eq!(cluster.metadata().metadata_replica(NodeId(2)), Some(new));
    assert!(members(&cluster, GroupId::METADATA).contains(&new));
    assert!(!members(&cluster, GroupId::METADATA).contains(&replica(2, 0)));
}
