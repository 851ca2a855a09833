//! Readers of a disk that takes longer than they are given at a time.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_cluster::TopicSettings;
use ropewalk_consensus::Durability;
use ropewalk_core::{GroupId, NodeId, Offset, SystemClock};
use ropewalk_storage::engine::EntryMeta;
use ropewalk_storage::memory::MemoryEngine;
use ropewalk_storage::{Engine, GroupState, LogEntry, Result, WriteBatch};
use tokio::sync::oneshot;

use crate::delivery::{Accepted, DeliveryOptions};
use crate::follow::{FollowEvent, Follower};
use crate::ingest::{Payload, prepare};
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::{Broker, BrokerConfig, BrokerTasks};

/// A store in memory whose writes, and reads of entries, take their time.
#[derive(Default)]
struct SlowEngine(MemoryEngine);

const READ: Duration = Duration::from_millis(150);
const WRITE: Duration = Duration::from_millis(100);

impl Engine for SlowEngine {
    fn groups(&self) -> Result<Vec<GroupState>> {
        self.0.groups()
    }

    #[allow(clippy::disallowed_methods)] // The slowness is what is tested.
    fn write(&self, batches: &[WriteBatch]) -> Result<()> {
        std::thread::sleep(WRITE);
        self.0.write(batches)
    }

    fn meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>> {
        self.0.meta(group, index)
    }

    #[allow(clippy::disallowed_methods)] // The slowness is what is tested.
    fn entries(&self, group: GroupId, range: Range<u64>, max_bytes: u64) -> Result<Vec<LogEntry>> {
        std::thread::sleep(READ);
        self.0.entries(group, range, max_bytes)
    }

    fn rows(&self, group: GroupId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.0.rows(group, prefix)
    }

    fn reclaim(&self) -> Result<bool> {
        self.0.reclaim()
    }

    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

async fn start(engine: Arc<dyn Engine>) -> (Arc<Broker>, BrokerTasks) {
    let config = BrokerConfig {
        engine,
        clock: Arc::new(SystemClock::default()),
        metrics: Arc::new(Metrics::noop()),
        on_fatal: Arc::new(|error| panic!("{error}")),
        node: NodeId(1),
        cluster_id: "cluster".to_owned(),
        address: "localhost:9092".to_owned(),
        version: "0".to_owned(),
        shards: 1,
        append_budget: 1 << 20,
        // Nothing stays in memory once it is on disk.
        tail_budget: 0,
        free_space_floor: 0,
        auto_create: true,
        default_partitions: 1,
        retention_interval: Duration::from_secs(60),
    };
    Broker::start(config).await.unwrap()
}

/// Appends a record. The end of it is told later.
async fn append(partition: &Partition, broker: &Broker) -> oneshot::Receiver<bool> {
    let payload = Payload::Records(vec![0x0a, 0].into());
    let draft = prepare(&payload, &TopicSettings::default()).unwrap();
    let reserved = broker.reserve(draft.len(), None).await.unwrap();
    let (done, ended) = oneshot::channel();
    // Whoever waited may be gone.
    let tell = move |result: std::result::Result<_, _>| {
        let _ = done.send(result.is_ok());
    };
    partition.append(draft, None, Durability::Quorum, reserved, tell).await.unwrap();
    ended
}

/// Appends some records one by one, and follows them from the start.
async fn follow(broker: &Broker, records: usize) -> Follower {
    let topic = broker.topic_for_use("t").await.unwrap();
    let partition = broker.partition(&topic, 0).unwrap();
    for _ in 0..records {
        assert!(append(&partition, broker).await.await.unwrap());
    }
    let options = DeliveryOptions { accepted: Accepted::default(), text: false, max_bytes: 1024 };
    let mut follower = broker.follower(options);
    follower.add(partition, Offset(0), None);
    follower
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_goes_on_while_its_reader_looks_away() {
    let (broker, tasks) = start(Arc::new(SlowEngine::default())).await;
    let mut follower = follow(&broker, 1).await;
    // A heartbeat that is due every 20 ms gives up the wait each time.
    let mut turns = 0;
    let event = loop {
        match tokio::time::timeout(Duration::from_millis(20), follower.next()).await {
            Ok(event) => break event.unwrap().1,
            Err(_) => turns += 1,
        }
        assert!(turns < 500, "the read never ends");
    };
    assert!(turns > 0, "the entry was still in memory");
    assert!(matches!(event, FollowEvent::Records(delivery) if delivery.record_count == 1));
    drop(follower);
    drop(broker);
    tasks.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_ahead_does_not_overtake_what_was_read_before() {
    let (broker, tasks) = start(Arc::new(SlowEngine::default())).await;
    let mut follower = follow(&broker, 5).await;
    let mut next = Offset(0);
    let end = loop {
        match follower.next().await.unwrap().1 {
            FollowEvent::Records(delivery) => {
                assert_eq!(delivery.base_offset, next);
                next = Offset(next.0 + u64::from(delivery.record_count));
            }
            FollowEvent::CaughtUp(end) => break end,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((next, end), (Offset(5), Offset(5)), "caught up is said behind the records");
    drop(follower);
    drop(broker);
    tasks.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_comes_with_other_work_writes_it_and_ends() {
    let (broker, tasks) = start(Arc::new(SlowEngine::default())).await;
    // While the first is written, the others and the stop queue up behind it.
    let creations = ["a", "b", "c"].map(|name| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.topic_for_use(name).await.is_ok() })
    });
    tokio::task::yield_now().await;
    tokio::time::timeout(Duration::from_secs(20), tasks.stop()).await.unwrap().unwrap();
    creations.into_iter().for_each(|creation| creation.abort());
}
