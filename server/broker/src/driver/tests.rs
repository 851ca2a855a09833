//! What groups say is heard of them.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_consensus::ProducerBounds;
use ropewalk_consensus::shard::NewGroup;
use ropewalk_core::{GroupId, NodeId, ReplicaId, SystemClock};
use ropewalk_storage::group_log::SegmentPolicy;

use super::{DriverConfig, Threads};
use crate::Alone;
use crate::group_watch::GroupWatch;
use crate::metrics::Metrics;
use crate::support::SlowEngine;

/// A replica of a group of its own, or one that joins a group.
fn replica(group: GroupId, serial: u32, is_alone: bool) -> (NewGroup, Arc<GroupWatch>) {
    let replica = ReplicaId::new(NodeId(1), serial);
    let founders = if is_alone { vec![replica] } else { Vec::new() };
    let policy = SegmentPolicy::default();
    let new = NewGroup { group, stored: None, replica, founders, machine: None, policy };
    (new, Arc::new(GroupWatch::new(replica)))
}

/// It may have said that it leads, or is damaged: its successor would be replaced for nothing.
#[tokio::test]
async fn what_a_replica_has_said_is_not_heard_of_the_one_in_its_place() {
    let engine = SlowEngine { write: Duration::from_millis(200), ..SlowEngine::default() };
    let threads = Threads::start(DriverConfig {
        engine: Arc::new(engine),
        clock: Arc::new(SystemClock::default()),
        metrics: Arc::new(Metrics::noop()),
        shards: 1,
        tail_budget: 0,
        catch_up_rate: 0,
        compaction_rate: 0,
        producers: ProducerBounds::default(),
        key_budget: 0,
        on_fatal: Arc::new(|error| panic!("{error}")),
        peers: Arc::new(Alone),
        changes: Arc::default(),
        lines: Arc::default(),
    });
    let driver = threads.driver().clone();
    // While the shard writes this down the rest comes, and is taken up in one round.
    let (busy, watch) = replica(GroupId(300), 0, true);
    driver.open(busy, watch).await.unwrap();
    let ((old, its), (new, watch)) =
        (replica(GroupId(301), 0, true), replica(GroupId(301), 9, false));
    driver.open(old, Arc::clone(&its)).await.unwrap();
    driver.remove(GroupId(301)).await.unwrap();
    driver.open(new, Arc::clone(&watch)).await.unwrap();
    watch.opened().await;
    assert!(its.is_open(), "what was said of the first is heard of the first");
    assert_eq!(its.role().voters, [ReplicaId::new(NodeId(1), 0)]);
    assert_eq!(watch.role().voters, []);
    tokio::task::spawn_blocking(move || threads.stop()).await.unwrap().unwrap();
}
