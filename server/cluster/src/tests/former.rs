//! Replicas that are not wanted any more, and that come back as long as their groups count them.

use ropewalk_core::{GroupId, NodeId, ReplicaId};

use super::{
    Cluster, create_with, delete, drain, reassign, register, register_with, remove, replica,
    replication_factor, update,
};
use crate::{Gone, MetadataCommand, MetadataError};

const GROUP: GroupId = GroupId::FIRST_PARTITION;

/// Six brokers, and a partition on 1, 2 and 3.
fn cluster() -> Cluster {
    let mut cluster = Cluster::of(6);
    cluster.apply(&create_with(1, "logs", 1, Some(3))).unwrap();
    move_to(&mut cluster, &[1, 2, 3]);
    let group = cluster.topic("logs").partitions[0].group;
    assert_eq!(group, GROUP);
    let gone = cluster.metadata().gone(GROUP, &[]);
    cluster.apply(&MetadataCommand::ForgetReplicas { gone }).unwrap();
    cluster
}

fn move_to(cluster: &mut Cluster, brokers: &[u64]) -> Vec<ReplicaId> {
    cluster.apply(&reassign(1, 0, brokers)).unwrap();
    cluster.metadata().replicas(GROUP).unwrap().to_vec()
}

fn former(cluster: &Cluster) -> Vec<ReplicaId> {
    cluster.metadata().gone(GROUP, &[]).iter().map(|gone| gone.replica).collect()
}

/// What has not left yet has everything, and may be the only one: it is not to be made anew.
#[test]
fn a_partition_that_is_moved_away_and_back_has_the_replicas_that_it_had() {
    let mut cluster = cluster();
    let before = cluster.metadata().replicas(GROUP).unwrap().to_vec();
    move_to(&mut cluster, &[4, 5, 6]);
    assert_eq!(former(&cluster), before);
    assert!(before.iter().all(|replica| !cluster.metadata().has_let_go(GROUP, *replica)));
    assert_eq!(cluster.restored(), cluster.state);
    assert_eq!(move_to(&mut cluster, &[1, 2, 3]), before);
    assert_eq!(former(&cluster).iter().map(|it| it.node().0).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(cluster.restored(), cluster.state);

    // So is one that goes because the factor falls, and comes back when it rises.
    cluster.apply(&update(1, replication_factor(1))).unwrap();
    cluster.apply(&update(1, replication_factor(3))).unwrap();
    assert_eq!(move_to(&mut cluster, &[1, 2, 3]), before);

    // And the coordinators of a broker that is drained for a moment.
    let coordinators =
        GroupId::COORDINATORS.map(|id| cluster.metadata().replicas(id).unwrap().to_vec());
    cluster.apply(&drain(2, true)).unwrap();
    for id in 1..=6 {
        cluster.apply(&drain(id, id != 2)).unwrap();
    }
    cluster.apply(&drain(2, false)).unwrap();
    for (group, before) in GroupId::COORDINATORS.iter().zip(coordinators) {
        let now = cluster.metadata().replicas(*group).unwrap();
        let own = |replicas: &[ReplicaId]| {
            replicas.iter().find(|replica| replica.node() == NodeId(2)).copied()
        };
        assert!(own(&before).is_none_or(|before| own(now).is_none_or(|now| now == before)));
    }
}

/// The data of one that was forgotten may be gone: what it promised must not count for another.
#[test]
fn what_was_forgotten_does_not_come_back() {
    let mut cluster = cluster();
    let before = cluster.metadata().replicas(GROUP).unwrap().to_vec();
    move_to(&mut cluster, &[4, 5, 6]);
    let early = cluster.metadata().gone(GROUP, &[]);
    move_to(&mut cluster, &[1, 2, 3]);
    move_to(&mut cluster, &[4, 5, 6]);
    // That they were no members was said before they were wanted once more.
    cluster.apply(&MetadataCommand::ForgetReplicas { gone: early }).unwrap();
    assert_eq!(former(&cluster), before);

    let gone = cluster.metadata().gone(GROUP, &[]);
    let gone: Vec<Gone> = gone.into_iter().filter(|gone| gone.replica == before[0]).collect();
    cluster.apply(&MetadataCommand::ForgetReplicas { gone }).unwrap();
    assert!(cluster.metadata().has_let_go(GROUP, before[0]));
    let back = move_to(&mut cluster, &[1, 2, 3]);
    assert_eq!(back, [replica(1, u32::try_from(cluster.index).unwrap()), before[1], before[2]]);
    assert!(!cluster.metadata().has_let_go(GROUP, replica(1, 1_000_000)), "not known yet");
    assert_eq!(cluster.restored(), cluster.state);
}

/// Their disks are not there any more, whatever their groups still count.
#[test]
fn replicas_of_a_broker_that_lost_its_disk_or_was_removed_do_not_come_back() {
    let mut cluster = cluster();
    move_to(&mut cluster, &[4, 5, 6]);
    cluster.apply(&register_with([0xd1; 16], 1)).unwrap();
    cluster.apply(&remove(2)).unwrap();
    cluster.apply(&register_with([0xd2; 16], 2)).unwrap();
    cluster.apply(&register(3)).unwrap();
    let serials: Vec<_> = move_to(&mut cluster, &[1, 2, 3]).iter().map(|it| it.serial()).collect();
    let now = u32::try_from(cluster.index).unwrap();
    assert_eq!(serials, [now, now, 0], "only 3 has what it had");
    assert!(former(&cluster).contains(&replica(1, 0)), "its vote may be counted still");
    assert_eq!(cluster.restored(), cluster.state);

    cluster.apply(&delete(1)).unwrap();
    assert!(!cluster.metadata().has_former(GROUP));
    assert!(
        cluster
            .rows
            .keys()
            .all(|key| key[0] != b'f' || !key[1..].starts_with(&GROUP.0.to_be_bytes()))
    );
}

/// However often that happens while nobody leads the group, also to one that was to go already.
#[test]
fn of_the_lost_replicas_some_are_remembered() {
    let mut cluster = cluster();
    for disk in 0..20u8 {
        cluster.apply(&register_with([0xa0 + disk; 16], 1)).unwrap();
        move_to(&mut cluster, &[4, 5, 6]);
        cluster.apply(&register_with([0xc0 + disk; 16], 1)).unwrap();
        move_to(&mut cluster, &[1, 2, 3]);
    }
    let on = |cluster: &Cluster, node| {
        let all = former(cluster);
        all.iter().filter(|replica| replica.node() == NodeId(node)).count()
    };
    assert_eq!(on(&cluster, 1), 4);
    for times in 0..20u8 {
        cluster.apply(&remove(1)).unwrap();
        assert_eq!(on(&cluster, 1), 5, "the last one may have everything");
        cluster.apply(&register_with([0x80 + times; 16], 1)).unwrap();
        assert_eq!(on(&cluster, 1), 4, "nobody reaches it any more");
        move_to(&mut cluster, &[1, 2, 3]);
    }
    assert_eq!(cluster.restored(), cluster.state);
}

/// A broker that was removed gives away what only it has, for as long as that takes.
#[test]
fn what_a_removed_broker_has_is_remembered_whatever_the_others_lose() {
    let mut cluster = cluster();
    let only = cluster.metadata().replicas(GROUP).unwrap()[1];
    cluster.apply(&remove(2)).unwrap();
    for disk in 0..10u8 {
        cluster.apply(&register_with([0xa0 + disk; 16], 1)).unwrap();
        cluster.apply(&register_with([0xb0 + disk; 16], 3)).unwrap();
    }
    assert!(former(&cluster).contains(&only));
    assert!(!cluster.metadata().has_let_go(GROUP, only));
    assert_eq!(cluster.restored(), cluster.state);
}

/// Each of two that are damaged can be spared, and not both.
#[test]
fn a_voter_is_replaced_only_while_all_others_are_who_they_are_to_be() {
    let mut cluster = cluster();
    let all = cluster.metadata().replicas(GROUP).unwrap().to_vec();
    let replace = |replica, voters: &[ReplicaId]| MetadataCommand::ReplaceVoter {
        group: GROUP,
        replica,
        voters: voters.to_vec(),
    };
    let needed = |replica| Err(MetadataError::ReplicaNeeded(replica));
    assert_eq!(cluster.apply(&replace(all[0], &all[..2])), needed(all[0]), "one does not vote yet");
    cluster.apply(&replace(all[0], &all)).unwrap();
    let new = cluster.metadata().replicas(GROUP).unwrap()[0];
    assert_ne!(new, all[0]);
    assert_eq!(cluster.apply(&replace(all[1], &all)), needed(all[1]));
    let now = [new, all[1], all[2]];
    assert_eq!(
        cluster.apply(&replace(all[1], &now)),
        needed(all[1]),
        "the first may have its vote"
    );

    let gone = cluster.metadata().gone(GROUP, &[]);
    cluster.apply(&MetadataCommand::ForgetReplicas { gone }).unwrap();
    cluster.apply(&replace(all[1], &now)).unwrap();
    assert_ne!(cluster.metadata().replicas(GROUP).unwrap()[1], all[1]);

    // Nor while others are to come in the place of some.
    let mut cluster = self::cluster();
    move_to(&mut cluster, &[1, 2, 4]);
    assert_eq!(cluster.apply(&replace(all[0], &all)), needed(all[0]));
    let command = replace(replica(3, 0), &all);
    cluster.apply(&command).unwrap();
    assert!(former(&cluster).contains(&replica(3, 0)), "one that is to go stays as it is");
}
