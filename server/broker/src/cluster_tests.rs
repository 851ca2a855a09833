//! Three brokers in one process: what one of them is asked for is done wherever it belongs.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ropewalk_cluster::{
    BrokerInfo, BrokerRegistration, LEVEL, Metadata, MetadataCommand, TopicSettings,
};
use ropewalk_core::{GroupId, NodeId, Offset, PartitionId, ReplicaId, Timestamp, TopicId};
use ropewalk_storage::memory::MemoryEngine;
use ropewalk_storage::{Engine, StorageError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::coordinator::CoordinatorCommand;
use crate::follow::{FollowEvent, Follower};
use crate::network::Network;
use crate::operations::{Assignment, TransferError};
use crate::registration::founding_replica;
use crate::support::{READS_BUDGET, append, config, introduction, options};
use crate::survey::replicas_of;
use crate::{Broker, BrokerConfig, BrokerTasks, Inbound, Partition, PeerLinks};

/// An election takes up to two seconds, and there may be a few of them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    pub(crate) network: Arc<Network>,
    pub(crate) founders: Vec<(NodeId, [u8; 16])>,
    pub(crate) engines: Vec<MemoryEngine>,
    /// The level of the version with which each broker starts next.
    pub(crate) levels: Vec<u32>,
    pub(crate) brokers: Vec<Option<(Arc<Broker>, BrokerTasks)>>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_at([LEVEL; 3]).await
    }

    /// Brokers of versions with these levels.
    pub(crate) async fn start_at(levels: [u32; 3]) -> Self {
        let mut cluster = Self {
            network: Arc::default(),
            founders: (1..=3).map(|node| (NodeId(node), [node as u8; 16])).collect(),
            engines: (0..3).map(|_| MemoryEngine::default()).collect(),
            levels: levels.to_vec(),
            brokers: Vec::new(),
        };
        let brokers = timeout(PATIENCE, join_all((0..3).map(|at| cluster.launch(at))));
        cluster.brokers = brokers.await.unwrap().into_iter().map(Some).collect();
        cluster
    }

    async fn launch(&self, at: usize) -> (Arc<Broker>, BrokerTasks) {
        self.try_launch(at).await.unwrap()
    }

    pub(crate) async fn try_launch(
        &self,
        at: usize,
    ) -> Result<(Arc<Broker>, BrokerTasks), StorageError> {
        self.try_launch_as(at, founding_replica(self.founders[at].0)).await
    }

    /// Starts a broker with this replica of the metadata, where it has none yet.
    pub(crate) async fn launch_as(
        &self,
        at: usize,
        metadata_replica: ReplicaId,
    ) -> (Arc<Broker>, BrokerTasks) {
        self.try_launch_as(at, metadata_replica).await.unwrap()
    }

    async fn try_launch_as(
        &self,
        at: usize,
        metadata_replica: ReplicaId,
    ) -> Result<(Arc<Broker>, BrokerTasks), StorageError> {
        let (node, founders) = (self.founders[at].0, self.founders.clone());
        let inbound = Inbound::new(introduction(node, &founders));
        let peers = self.network.join(node, &inbound);
        let engine = Arc::new(self.engines[at].reopened());
        let links = PeerLinks { peers, inbound };
        let config = config(engine, node, founders, links);
        Broker::start(BrokerConfig { metadata_replica, level: self.levels[at], ..config }).await
    }

    pub(crate) fn broker(&self, at: usize) -> &Arc<Broker> {
        &self.brokers[at].as_ref().unwrap().0
    }

    /// The brokers that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.iter().flatten().map(|(broker, _)| broker)
    }

    /// Waits until nothing is sent for much longer than between two heartbeats.
    async fn fall_asleep(&self) {
        let silence = async {
            let mut before = None;
            while before != Some(self.network.sent()) {
                before = Some(self.network.sent());
                sleep(Duration::from_secs(1)).await;
            }
        };
        timeout(PATIENCE, silence).await.expect("the groups fall asleep");
    }

    /// The broker of this id is gone, for the others at once.
    pub(crate) async fn stop(&mut self, node: NodeId) -> usize {
        let at = self.founders.iter().position(|(founder, _)| *founder == node).unwrap();
        self.network.leave(node);
        let (broker, tasks) = self.brokers[at].take().unwrap();
        drop(broker);
        tasks.stop().await.unwrap();
        at
    }

    /// Waits until all brokers have carried out the metadata that one of them knows.
    async fn all_follow(&self, broker: &Broker) {
        let index = broker.metadata().index;
        for other in self.running() {
            let mut table = other.watch_table();
            let follows = table.wait_for(|table| table.settled >= index);
            timeout(PATIENCE, follows).await.unwrap().unwrap();
        }
    }

    /// Whether a broker's disk has something of a group.
    pub(crate) fn engine_has(&self, node: NodeId, group: GroupId) -> bool {
        let at = self.founders.iter().position(|(founder, _)| *founder == node).unwrap();
        self.engines[at].groups().unwrap().iter().any(|state| state.group == group)
    }

    pub(crate) async fn end(mut self) {
        for at in 0..3 {
            if self.brokers[at].is_some() {
                self.stop(self.founders[at].0).await;
            }
        }
    }
}

pub(crate) async fn create(broker: &Broker, name: &str, replicas: u32) {
    let settings = TopicSettings::default();
    broker.create_topic(name, Some(1), Some(replicas), settings).await.unwrap();
}

/// A topic's partition, once the broker knows of it.
pub(crate) async fn partition(broker: &Broker, topic: &str) -> Arc<Partition> {
    let mut table = broker.watch_table();
    let known = table.wait_for(|table| table.topics.contains_key(topic));
    let table = timeout(PATIENCE, known).await.unwrap().unwrap();
    Arc::clone(table.topics[topic].partition(PartitionId(0)).unwrap())
}

/// Appends one record, however often that takes.
pub(crate) async fn append_one(broker: &Broker, topic: &str) {
    let partition = partition(broker, topic).await;
    let deadline = Instant::now() + PATIENCE;
    while !append(&partition, broker, 1, 10).await.await.unwrap() {
        assert!(Instant::now() < deadline, "nobody takes it");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn event(follower: &mut Follower) -> FollowEvent {
    timeout(PATIENCE, follower.next()).await.unwrap().unwrap().1
}

/// Takes records up to an offset; what comes is without gaps.
async fn take(follower: &mut Follower, mut next: u64, end: u64) {
    while next < end {
        match event(follower).await {
            FollowEvent::Records(found) => {
                assert_eq!(found.base_offset.0, next);
                next += u64::from(found.record_count);
            }
            FollowEvent::CaughtUp(at) => assert_eq!(at.0, next),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(next, end);
}

pub(crate) async fn read_all(broker: &Broker, topic: &str, end: u64) {
    let mut follower = broker.follower(options(1024));
    follower.add(partition(broker, topic).await, Offset(0), None);
    take(&mut follower, 0, end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_any_broker_is_asked_for_is_done() {
    let cluster = Cluster::start().await;
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        create(cluster.broker(at), name, 3).await;
        assert!(cluster.broker(at).topic(name).is_ok(), "whoever creates a topic knows it");
        for other in cluster.running() {
            assert!(other.find_topic(name).await.is_ok(), "and any other does when it is asked");
        }
    }
    for (at, broker) in cluster.running().enumerate() {
        for name in ["a", "b", "c"] {
            append_one(broker, name).await;
        }
        let latest = partition(broker, "a").await.latest_bounds().await.unwrap();
        assert!(latest.high_watermark.0 > at as u64, "what was answered is seen");
    }
    for broker in cluster.running() {
        read_all(broker, "b", 3).await;
    }
    let leaders: Vec<_> = cluster.running().map(|broker| broker.leads_metadata()).collect();
    assert_eq!(leaders.iter().filter(|leads| **leads).count(), 1, "{leaders:?}");

    let topic = TopicId([5; 16]);
    let commit = CoordinatorCommand::Commit {
        group: "g".to_owned(),
        time: Timestamp(1),
        offsets: vec![(topic, PartitionId(0), Offset(2), String::new())],
    };
    cluster.broker(1).commit("g", commit).await.unwrap();
    for broker in cluster.running() {
        let positions = broker.positions("g").await.unwrap();
        let offsets: Vec<_> = positions.iter().map(|(_, _, at)| at.offset.0).collect();
        assert_eq!(offsets, [2]);
    }
    cluster.end().await;
}

/// What a broker finds on its disk when it starts may be older than what it has said of itself
/// since. In a test of upgrades one went back and forth so quickly that it passed for the older.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_the_cluster_knows_as_it_was_before_registers_again() {
    let cluster = Cluster::start().await;
    let broker = cluster.broker(1);
    let mut watch = broker.metadata_watch.clone();
    let registered = watch.wait_for(|metadata| metadata.brokers.contains_key(&NodeId(2)));
    let registered = timeout(PATIENCE, registered).await.unwrap().unwrap().clone();
    let known = BrokerInfo::clone(&registered.brokers[&NodeId(2)]);
    let before = BrokerRegistration {
        id: known.id,
        directory: known.directory,
        address: "elsewhere:9092".to_owned(),
        peer_address: known.peer_address.clone(),
        rack: known.rack.clone(),
        version: known.version.clone(),
        started: known.started,
        level: known.level,
    };
    let index = registered.index;
    cluster.broker(0).change_metadata(&MetadataCommand::RegisterBroker(before)).await.unwrap();
    // That was one command, and its own is the next.
    let is_known = |metadata: &Arc<Metadata>| {
        metadata.index >= index + 2 && metadata.brokers[&NodeId(2)].address == known.address
    };
    timeout(PATIENCE, watch.wait_for(is_known)).await.expect("it is known as it is").unwrap();
    cluster.end().await;
}

/// The replica of a partition that was made a moment ago has answered nothing yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_waits_for_the_replica_that_is_to_take_over() {
    let mut cluster = Cluster::start().await;
    let (here, absent) = (Arc::clone(cluster.broker(0)), NodeId(3));
    let at = cluster.stop(absent).await;
    create(&here, "t", 3).await;
    append_one(&here, "t").await;
    let (transfer, comes) =
        tokio::join!(here.transfer_leadership("t", 0, Some(absent)), cluster.try_launch(at));
    cluster.brokers[at] = Some(comes.unwrap());
    assert_eq!(transfer.unwrap(), absent);

    cluster.stop(absent).await;
    append_one(&here, "t").await;
    let refused = here.transfer_leadership("t", 0, Some(absent)).await;
    assert!(matches!(refused, Err(TransferError::NotInSync(broker)) if broker == absent));
    append_one(&here, "t").await;
    drop(here);
    cluster.end().await;
}

/// Each broker's memory for appends is full of what others are to append, and theirs of what it is
/// to: that must not keep any of it from being appended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_forward_all_they_get_to_one_another_do_not_wait_for_ever() {
    let cluster = Cluster::start().await;
    // Three replicas each, and each to be led by another broker.
    for name in ["a", "b", "c"] {
        create(cluster.broker(0), name, 3).await;
        append_one(cluster.broker(0), name).await;
    }
    let mut writers = JoinSet::new();
    for broker in cluster.running() {
        for name in ["a", "b", "c"] {
            let partition = partition(broker, name).await;
            if partition.epoch().is_some() {
                continue;
            }
            for _ in 0..12 {
                let (broker, partition) = (Arc::clone(broker), Arc::clone(&partition));
                writers.spawn(async move {
                    for _ in 0..4 {
                        let appended = append(&partition, &broker, 1, 1_000_000).await;
                        assert!(appended.await.unwrap(), "the leader takes it");
                    }
                });
            }
        }
    }
    let all = async { while writers.join_next().await.transpose().unwrap().is_some() {} };
    timeout(PATIENCE, all).await.expect("nobody waits for ever");
    drop(writers);
    cluster.end().await;
}

/// A broker that is cut off and does not know it yet, and its view of a partition that has more
/// records than it has heard of: two.
async fn cut_off_follower(cluster: &Cluster) -> Arc<Partition> {
    create(cluster.broker(0), "t", 3).await;
    append_one(cluster.broker(0), "t").await;
    let leader = partition(cluster.broker(0), "t").await.leader().unwrap().node;
    let (follower, others): (Vec<_>, Vec<_>) = cluster
        .running()
        .filter(|broker| broker.config().node != leader)
        .partition(|broker| broker.config().node == NodeId(1 + leader.0 % 3));
    cluster.network.leave(follower[0].config().node);
    append_one(others[0], "t").await;
    partition(follower[0], "t").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_cut_off_does_not_say_where_a_log_ends() {
    let cluster = Cluster::start().await;
    let follower = cut_off_follower(&cluster).await;
    let said = timeout(PATIENCE, follower.latest_bounds()).await.unwrap();
    assert!(said.is_err(), "it cannot know: {said:?}");
    drop(follower);
    cluster.end().await;
}

/// The bug that makes up such an answer is found by what the test above looks at.
#[cfg(feature = "planted")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_follower_that_says_where_a_log_ends_is_found() {
    use futures::FutureExt;
    use ropewalk_consensus::planted::{Plant, with};

    let cluster = Cluster::start().await;
    let follower = cut_off_follower(&cluster).await;
    let said = with(Plant::FollowerBounds, || follower.latest_bounds().now_or_never());
    let end = said.unwrap().unwrap().high_watermark;
    assert!(end < Offset(2), "two records were answered, and it says {end:?}");
    drop(follower);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_elsewhere_is_used_as_if_it_were_here() {
    let cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 1).await;
    let mut elsewhere = Vec::new();
    for broker in cluster.running() {
        let partition = partition(broker, "t").await;
        if partition.handle().watch().is_none() {
            elsewhere.push((broker, partition));
        }
    }
    let [(broker, remote), (other, _)] = elsewhere.as_slice() else { panic!("one has it") };
    let owner = cluster.running().find(|broker| remote.nodes() == [broker.config().node]).unwrap();
    for _ in 0..3 {
        append_one(broker, "t").await;
    }
    let mut follower = broker.follower(options(1024));
    follower.add(Arc::clone(remote), Offset(0), None);
    take(&mut follower, 0, 3).await;
    // What comes later is told, whoever appends it.
    for (end, writer) in [(4, owner), (5, other), (6, broker)] {
        append_one(writer, "t").await;
        take(&mut follower, end - 1, end).await;
    }
    let found = remote.find_time(Timestamp(0)).await.unwrap();
    assert_eq!(found.map(|(offset, _)| offset), Some(Offset(0)));
    assert_eq!(remote.find_time(Timestamp(i64::MAX)).await.unwrap(), None);

    assert_eq!(remote.trim(Some(Offset(4))).await, Ok(Offset(4)));
    let latest = remote.latest_bounds().await.unwrap();
    assert_eq!((latest.start, latest.high_watermark), (Offset(4), Offset(6)));
    let mut late = broker.follower(options(1024));
    late.add(Arc::clone(remote), Offset(0), None);
    assert!(matches!(event(&mut late).await, FollowEvent::Gap(Offset(0), Offset(4))));
    take(&mut late, 4, 6).await;
    drop((follower, late));
    drop(elsewhere);
    cluster.end().await;
}

/// The replica that is there is the only one, and it is wanted again before another one has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_moved_away_and_back_at_once_keeps_its_records() {
    let mut cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 1).await;
    for _ in 0..3 {
        append_one(cluster.broker(0), "t").await;
    }
    let home = partition(cluster.broker(0), "t").await.nodes()[0];
    let away = NodeId(1 + home.0 % 3);
    for to in [away, home] {
        let assignment = Assignment { topic: "t".to_owned(), partition: 0, brokers: vec![to] };
        cluster.broker(0).reassign(&[assignment]).await.unwrap();
    }
    // It may have come to the other one for a moment, where a reader that does not follow the table
    // is told nothing more.
    cluster.all_follow(cluster.broker(0)).await;
    let deadline = Instant::now() + PATIENCE;
    for broker in cluster.running().filter(|broker| broker.config().node != home) {
        while partition(broker, "t").await.handle().watch().is_some() {
            assert!(Instant::now() < deadline, "a replica does not leave");
            sleep(Duration::from_millis(20)).await;
        }
    }
    for (broker, end) in cluster.running().zip(4..) {
        append_one(broker, "t").await;
        read_all(broker, "t", end).await;
    }
    // Nor does a start take what is on the disk for what nobody wants.
    let at = cluster.stop(home).await;
    cluster.brokers[at] = Some(timeout(PATIENCE, cluster.launch(at)).await.unwrap());
    for (broker, end) in cluster.running().zip(7..) {
        append_one(broker, "t").await;
        read_all(broker, "t", end).await;
    }
    cluster.end().await;
}

/// Memory is for those who ask, also where the bytes come from another broker, and where that one
/// does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_a_partition_elsewhere_that_stops_to_ask_lets_go_of_everything() {
    const BATCHES: u64 = 20;
    let cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 1).await;
    append_one(cluster.broker(0), "t").await;
    let mut broker = cluster.broker(0);
    for other in cluster.running() {
        if partition(other, "t").await.handle().watch().is_none() {
            broker = other;
        }
    }
    let remote = partition(broker, "t").await;
    for _ in 1..BATCHES {
        assert!(append(&remote, broker, 1, 60_000).await.await.unwrap());
    }
    let lets_go = async || {
        let deadline = Instant::now() + PATIENCE;
        let is_free = || {
            let room = broker.pools.room.available_permits();
            (broker.pools.held_bytes(), room) == (0, READS_BUDGET)
        };
        while !is_free() {
            assert!(Instant::now() < deadline, "it still holds {}", broker.pools.held_bytes());
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut follower = broker.follower(options(1));
    follower.add(Arc::clone(&remote), Offset(0), None);
    take(&mut follower, 0, 2).await;
    assert!(broker.pools.held_bytes() > 0, "it has read ahead");
    lets_go().await;
    take(&mut follower, 2, BATCHES).await;

    // The other broker is slow, and when it answers nobody waits for that any more.
    let mut late = broker.follower(options(1));
    late.add(Arc::clone(&remote), Offset(0), None);
    cluster.network.stalls_fetches.send_replace(true);
    assert!(timeout(Duration::from_millis(100), late.next()).await.is_err());
    assert!(broker.pools.room.available_permits() < READS_BUDGET, "the read has room");
    cluster.network.stalls_fetches.send_replace(false);
    lets_go().await;
    take(&mut late, 0, BATCHES).await;

    // Nobody asks for the end of a log that nobody reads.
    assert!(cluster.network.fetches() > 0);
    drop((follower, late));
    let deadline = Instant::now() + PATIENCE;
    while cluster.network.fetches() > 0 {
        assert!(Instant::now() < deadline, "a task goes on");
        sleep(Duration::from_millis(20)).await;
    }
    drop(remote);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_leader_stops_another_one_goes_on_and_it_catches_up_later() {
    let mut cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 3).await;
    append_one(cluster.broker(1), "t").await;
    let leader = partition(cluster.broker(0), "t").await.leader().unwrap().node;
    let stopped = cluster.stop(leader).await;
    let others: Vec<_> = cluster.running().cloned().collect();
    for broker in &others {
        append_one(broker, "t").await;
        assert!(!broker.alive().contains(&leader));
        let now = partition(broker, "t").await.leader().unwrap();
        assert_ne!(now.node, leader);
    }
    // The metadata and the coordinators are led again too.
    timeout(PATIENCE, create(&others[0], "new", 1)).await.unwrap();
    drop(others);

    cluster.brokers[stopped] = Some(timeout(PATIENCE, cluster.launch(stopped)).await.unwrap());
    let broker = cluster.broker(stopped);
    let back = partition(broker, "t").await;
    assert!(back.handle().watch().is_some());
    read_all(broker, "t", 3).await;
    partition(broker, "new").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_sleep_wake_when_a_broker_stops() {
    let mut cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 3).await;
    append_one(cluster.broker(0), "t").await;
    cluster.fall_asleep().await;
    append_one(cluster.broker(1), "t").await;
    cluster.fall_asleep().await;
    let leader = partition(cluster.broker(0), "t").await.leader().unwrap().node;
    cluster.stop(leader).await;
    let others: Vec<_> = cluster.running().cloned().collect();
    append_one(&others[0], "t").await;
    drop(others);
    cluster.end().await;
}

/// Whether the replica that was there has left or not when its broker gets the partition back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_moves_back_before_it_has_moved_away_loses_nothing() {
    let cluster = Cluster::start().await;
    let broker = cluster.broker(0);
    create(broker, "t", 1).await;
    let mut end = 0;
    let home = partition(broker, "t").await.nodes()[0];
    for round in 0..6 {
        append_one(broker, "t").await;
        end += 1;
        let away = NodeId(1 + (home.0 + round) % 3);
        for to in [away, home] {
            let assignment = Assignment { topic: "t".into(), partition: 0, brokers: vec![to] };
            broker.reassign(&[assignment]).await.unwrap();
            // It is met in several stages of the move.
            sleep(Duration::from_millis(round * 60)).await;
        }
    }
    append_one(broker, "t").await;
    let settled = async {
        loop {
            let handle = partition(broker, "t").await.handle().clone();
            let found = replicas_of(&[handle]).await.pop().flatten();
            let members = found.map(|found| found.members).unwrap_or_default();
            let mut has_left = true;
            for other in cluster.running().filter(|other| other.config().node != home) {
                // What a reader finds there is not told of what comes later.
                has_left &= partition(other, "t").await.handle().watch().is_none();
            }
            let is_home = members.len() == 1 && members[0].replica.node() == home;
            if is_home && members[0].is_voter && has_left {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, settled).await.expect("it is where it is to be");
    for broker in cluster.running() {
        read_all(broker, "t", end + 1).await;
    }
    cluster.end().await;
}
