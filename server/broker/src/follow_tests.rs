//! What a reader says, in which order, and where it stands meanwhile.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::Offset;

use crate::follow::{FollowEvent, Follower};
use crate::support::{SlowEngine, append, fill, options, partition, start};

/// The offsets of the next delivery, and its slot.
async fn records(follower: &mut Follower) -> (usize, std::ops::Range<u64>) {
    match follower.next().await.unwrap() {
        (slot, FollowEvent::Records(found)) => {
            let base = found.base_offset.0;
            (slot, base..base + u64::from(found.record_count))
        }
        other => panic!("{other:?}"),
    }
}

fn position(follower: &Follower) -> u64 {
    follower.positions().next().unwrap().1.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_that_of_the_next_record_to_come() {
    for tail_budget in [0, 1 << 20] {
        let (broker, tasks) = start(Arc::new(SlowEngine::default()), tail_budget).await;
        let partition = partition(&broker, "t").await;
        fill(&partition, &broker, 5, 10).await;
        let mut follower = broker.follower(options(1024));
        follower.add(partition, Offset(0), None);
        for offset in 0..5 {
            assert_eq!(position(&follower), offset, "what was read ahead is not delivered");
            assert_eq!(records(&mut follower).await.1, offset..offset + 1);
        }
        assert_eq!(position(&follower), 5);
        drop((follower, broker));
        tasks.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_may_lie_within_a_batch() {
    let (broker, tasks) = start(Arc::new(SlowEngine::default()), 1 << 20).await;
    let partition = partition(&broker, "t").await;
    assert!(append(&partition, &broker, 4, 10).await.await.unwrap());
    // One record at a time, from the second to before the last.
    let mut follower = broker.follower(options(1));
    follower.add(partition, Offset(1), Some(Offset(3)));
    for offset in 1..3 {
        assert_eq!(position(&follower), offset);
        assert_eq!(records(&mut follower).await.1, offset..offset + 1);
    }
    assert_eq!(follower.positions().count(), 0, "it has reached its end");
    assert!(matches!(follower.next().await.unwrap(), (_, FollowEvent::End)));
    drop((follower, broker));
    tasks.stop().await.unwrap();
}

/// Two partitions with a record each, of which the first is left while it is read from the disk.
async fn left_while_read(until: Option<Offset>, is_gone: bool) {
    let read = Duration::from_millis(150);
    let engine = Arc::new(SlowEngine { read, ..SlowEngine::default() });
    let (broker, tasks) = start(Arc::<SlowEngine>::clone(&engine), 0).await;
    let (a, b) = (partition(&broker, "a").await, partition(&broker, "b").await);
    fill(&a, &broker, 1, 10).await;
    fill(&b, &broker, 1, 10).await;
    let mut follower = broker.follower(options(1024));
    let left = follower.add(Arc::clone(&a), Offset(0), until);
    let kept = follower.add(b, Offset(0), until);
    if is_gone {
        *engine.gone.lock().unwrap() = Some(a.group);
    }
    let begun = tokio::time::timeout(Duration::from_millis(20), follower.next()).await;
    assert!(begun.is_err(), "it was read from memory");
    follower.leave(left);
    assert_eq!(records(&mut follower).await, (kept, 0..1));
    if until.is_some() {
        assert!(matches!(follower.next().await.unwrap(), (_, FollowEvent::End)));
    }
    drop((follower, broker));
    tasks.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_left_while_it_is_read_does_not_end_the_others() {
    left_while_read(Some(Offset(1)), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_gone_fails_no_reader_that_has_left_it() {
    left_while_read(None, true).await;
}

/// A member of a consumer group gets and loses partitions for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_was_forgotten_is_another_partition_s() {
    let (broker, tasks) = start(Arc::new(SlowEngine::default()), 0).await;
    let (a, b) = (partition(&broker, "a").await, partition(&broker, "b").await);
    fill(&a, &broker, 2, 10).await;
    fill(&b, &broker, 2, 10).await;
    let mut follower = broker.follower(options(1024));
    follower.never_end();
    let kept = follower.add(Arc::clone(&a), Offset(2), None);
    for _ in 0..10 {
        // Forgotten before it is read, while it is, and after it was.
        let forgotten = follower.add(Arc::clone(&a), Offset(0), None);
        let _ = tokio::time::timeout(Duration::from_micros(50), follower.next()).await;
        follower.forget(forgotten);
        let slot = follower.add(Arc::clone(&b), Offset(0), None);
        assert!(slot <= kept + 1, "slots do not become more");
        for offset in 0..2 {
            let found = loop {
                match follower.next().await.unwrap() {
                    (slot, FollowEvent::Records(found)) => break (slot, found.base_offset),
                    (_, FollowEvent::CaughtUp(_)) => {}
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(found, (slot, Offset(offset)));
        }
        follower.forget(slot);
    }
    drop((follower, broker));
    tasks.stop().await.unwrap();
}
