//! Partitions that move, and replicas that are replaced, over three brokers in one process.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_cluster::{BrokerRegistration, LEVEL, MetadataCommand, TopicUpdate};
use ropewalk_core::{GroupId, NodeId, ReplicaId, Timestamp};
use ropewalk_storage::memory::MemoryEngine;
use tokio::time::{sleep, timeout};

use crate::cluster_tests::{Cluster, PATIENCE, append_one, create, partition, read_all};
use crate::operations::Assignment;
use crate::support::peer_address;
use crate::survey::{GroupReplicas, replicas_of};
use crate::{Broker, Partition};

/// What is done at once is done by then.
const SHORTLY: Duration = Duration::from_secs(2);

fn placed(broker: &Broker, group: GroupId) -> Vec<ReplicaId> {
    broker.metadata().replicas(group).unwrap().to_vec()
}

/// The replica of a partition that a broker has.
fn own(partition: &Partition) -> Option<ReplicaId> {
    partition.handle().watch().and_then(|watch| watch.role().replica)
}

async fn reassign(broker: &Broker, to: NodeId) {
    let (topic, brokers) = ("t".to_owned(), vec![to]);
    let assignment = Assignment { topic, partition: 0, brokers };
    broker.reassign(&[assignment]).await.unwrap();
}

/// Waits until something is so of the partition as a broker has it.
async fn until(broker: &Broker, what: &str, is_so: impl Fn(&Partition) -> bool) {
    let all = async {
        while !is_so(&*partition(broker, "t").await) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// The only copy stays as long as there is no other one, and is wanted again after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_moved_away_and_back_at_once_keeps_what_it_has() {
    let cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 1).await;
    for _ in 0..5 {
        append_one(cluster.broker(0), "t").await;
    }
    let mut brokers: Vec<Arc<Broker>> = cluster.running().cloned().collect();
    let at = placed(&brokers[0], partition(&brokers[0], "t").await.group)[0].node();
    let holder = brokers.remove(brokers.iter().position(|it| it.config().node == at).unwrap());
    // One that the metadata can do without, and that gets nothing of the log.
    brokers.sort_by_key(|broker| broker.leads_metadata());
    let target = brokers[0].config().node;
    let group = partition(&holder, "t").await.group;
    let before = placed(&holder, group);
    cluster.network.leave(target);

    reassign(&holder, target).await;
    assert_eq!(placed(&holder, group)[0].node(), target);
    assert_eq!(own(&*partition(&holder, "t").await), Some(before[0]));
    reassign(&holder, at).await;
    assert_eq!(placed(&holder, group), before, "it is the replica that it was");
    append_one(&holder, "t").await;
    read_all(&holder, "t", 6).await;
    drop((brokers, holder));
    cluster.end().await;
}

/// A partition that has moved is gone where it was, and not before it is elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_has_moved_leaves_nothing_behind() {
    let cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 1).await;
    append_one(cluster.broker(0), "t").await;
    let broker = cluster.broker(0);
    let group = partition(broker, "t").await.group;
    let from = placed(broker, group)[0].node();
    let to = NodeId(1 + from.0 % 3);
    reassign(broker, to).await;
    for other in cluster.running() {
        let is_new = other.config().node == to;
        until(other, "only the new one has it", |it| own(it).is_some() == is_new).await;
        read_all(other, "t", 1).await;
    }
    let is_gone = async {
        while cluster.engine_has(from, group) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_gone).await.expect("its data goes");
    // It comes back as another one: what it had is gone.
    reassign(broker, from).await;
    let back = placed(broker, group)[0];
    assert!(back.serial() > 0);
    let other = cluster.running().find(|it| it.config().node == from).unwrap();
    until(other, "it is there again", |it| own(it) == Some(back)).await;
    append_one(broker, "t").await;
    read_all(broker, "t", 2).await;
    cluster.end().await;
}

/// One of three has lost its disk, and another one finds damage: were it replaced now, the third
/// would be alone, and could choose nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_replica_stays_until_its_group_can_do_without_it() {
    let mut cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 3).await;
    append_one(cluster.broker(0), "t").await;
    let group = partition(cluster.broker(0), "t").await.group;
    let leader = partition(cluster.broker(0), "t").await.leader().unwrap().node;
    let (lost, damaged) = (NodeId(1 + leader.0 % 3), NodeId(1 + (leader.0 + 1) % 3));
    let at = cluster.stop(lost).await;

    let find = |cluster: &Cluster| {
        cluster.running().find(|it| it.config().node == damaged).cloned().unwrap()
    };
    let broker = find(&cluster);
    let replica = own(&*partition(&broker, "t").await).unwrap();
    let handle = partition(&broker, "t").await.handle().clone();
    let knows = async {
        let two =
            |found: &Option<GroupReplicas>| found.as_ref().is_some_and(|it| it.in_sync() == 2);
        while !replicas_of(std::slice::from_ref(&handle)).await.iter().all(two) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, knows).await.expect("the leader misses the one that stopped");
    partition(&broker, "t").await.handle().watch().unwrap().set_damaged();
    // The keepers look at what has changed.
    let update = TopicUpdate { max_record_bytes: Some(5_000), ..TopicUpdate::default() };
    timeout(PATIENCE, broker.update_topic("t", update)).await.unwrap().unwrap();
    let mut metadata = broker.watch_table();
    let is_replaced = |table: &crate::table::TableSnapshot| {
        !table.metadata.replicas(group).unwrap().contains(&replica)
    };
    let early = timeout(SHORTLY, metadata.wait_for(is_replaced)).await.is_ok();
    assert!(!early, "the group needs it");
    append_one(&broker, "t").await;

    // The other one comes back with an empty disk, and has everything after a while.
    cluster.engines[at] = MemoryEngine::default();
    cluster.founders[at].1 = [0xee; 16];
    let registration = BrokerRegistration {
        id: lost,
        directory: [0xee; 16],
        address: format!("localhost:{}", 9000 + lost.0),
        peer_address: peer_address(lost),
        rack: None,
        version: "0".to_owned(),
        started: Timestamp(0),
        level: LEVEL,
    };
    let command = MetadataCommand::RegisterBroker(registration);
    let registered = timeout(PATIENCE, broker.change_metadata(&command)).await.unwrap().unwrap();
    let of_metadata = registered.broker.unwrap().metadata_replica;
    let back = cluster.launch_as(at, of_metadata);
    cluster.brokers[at] = Some(timeout(PATIENCE, back).await.unwrap());
    timeout(PATIENCE, metadata.wait_for(is_replaced)).await.expect("it is replaced").unwrap();
    until(&broker, "it votes", |it| {
        let role = it.handle().watch().map(|watch| watch.role()).unwrap_or_default();
        role.replica.is_some_and(|own| own != replica && role.voters.contains(&own))
    })
    .await;
    append_one(&broker, "t").await;
    read_all(&broker, "t", 3).await;
    drop((broker, metadata));
    cluster.end().await;
}
