//! Readers of a disk that takes longer than they are given at a time.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::Offset;

use crate::Broker;
use crate::errors::Missing;
use crate::follow::{FollowEvent, Follower};
use crate::support::{SlowEngine, append, options, partition, start};

fn slow() -> Arc<SlowEngine> {
    let (read, write) = (Duration::from_millis(150), Duration::from_millis(100));
    Arc::new(SlowEngine { read, write, ..SlowEngine::default() })
}

/// Appends some records one by one, and follows them from the start.
async fn follow(broker: &Broker, records: usize) -> Follower {
    let partition = partition(broker, "t").await;
    for _ in 0..records {
        assert!(append(&partition, broker, 1, 0).await.await.unwrap());
    }
    let mut follower = broker.follower(options(1024));
    follower.add(partition, Offset(0), None);
    follower
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_goes_on_while_its_reader_looks_away() {
    let (broker, tasks) = start(slow(), 0).await;
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
    let (broker, tasks) = start(slow(), 0).await;
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
    let (broker, tasks) = start(slow(), 0).await;
    // While the first is written, the others and the stop queue up behind it.
    let creations = ["a", "b", "c"].map(|name| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            broker.create_for_use(name, Missing::Topic(name.to_owned())).await.is_ok()
        })
    });
    tokio::task::yield_now().await;
    tokio::time::timeout(Duration::from_secs(20), tasks.stop()).await.unwrap().unwrap();
    creations.into_iter().for_each(|creation| creation.abort());
}
