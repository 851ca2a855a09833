//! What readers hold in memory, and that they get on all the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use ropewalk_core::{Compression, Offset, SystemClock};
use tokio::time::{Instant, sleep};

use crate::Partition;
use crate::follow::{FollowEvent, Follower};
use crate::metrics::Metrics;
use crate::pools::Pools;
use crate::support::{
    CHUNK, READS_BUDGET, SlowEngine, append, append_compressed, fill, options, partition, start,
};

fn reader(pools: &Pools, partition: &Arc<Partition>, max_bytes: usize) -> Follower {
    let metrics = Arc::new(Metrics::noop());
    let mut follower =
        Follower::new(options(max_bytes), pools.clone(), metrics, Arc::new(SystemClock::default()));
    follower.add(Arc::clone(partition), Offset(0), None);
    follower
}

/// Takes the next delivery. Returns the offset behind it, or nothing at the end of the log.
async fn take(follower: &mut Follower, next: u64) -> Option<u64> {
    match follower.next().await.unwrap().1 {
        FollowEvent::Records(found) => {
            assert_eq!(found.base_offset.0, next, "nothing is missing, and nothing comes twice");
            Some(next + u64::from(found.record_count))
        }
        FollowEvent::CaughtUp(end) => {
            assert_eq!(end.0, next);
            None
        }
        other => panic!("{other:?}"),
    }
}

/// Takes everything that comes from an offset on. Returns the end.
async fn take_all(follower: &mut Follower, mut next: u64) -> u64 {
    while let Some(then) = take(follower, next).await {
        next = then;
    }
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_the_disk_hold_no_more_than_their_budget() {
    let engine = Arc::new(SlowEngine::default());
    let (broker, tasks) = start(Arc::<SlowEngine>::clone(&engine), 0).await;
    let partition = partition(&broker, "t").await;
    fill(&partition, &broker, 40, 60_000).await;
    let pools = Pools::new(4, READS_BUDGET);
    let mut readers: Vec<_> = (0..300).map(|_| reader(&pools, &partition, 1 << 20)).collect();
    let firsts = join_all(readers.iter_mut().map(|reader| take(reader, 0))).await;
    assert!(firsts.iter().all(|then| *then == Some(1)), "each gets its first batch");
    // What is read ahead comes in meanwhile.
    sleep(Duration::from_millis(200)).await;
    let held = engine.chunks.load(Ordering::Acquire);
    assert!(held > CHUNK && held <= READS_BUDGET, "{held} bytes of chunks");
    // Nobody waits for those that have stopped to ask.
    let all = async {
        let mut late = reader(&pools, &partition, 1 << 20);
        assert_eq!(take_all(&mut late, 0).await, 40);
        let ends = join_all(readers.iter_mut().map(|reader| take_all(reader, 1))).await;
        assert!(ends.iter().all(|end| *end == 40));
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    drop((readers, partition, broker));
    tasks.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_the_tail_hold_no_more_than_their_budget() {
    let (broker, tasks) = start(Arc::new(SlowEngine::default()), 16 << 20).await;
    let partition = partition(&broker, "t").await;
    fill(&partition, &broker, 40, 16_000).await;
    let pools = Pools::new(4, READS_BUDGET);
    let mut readers: Vec<_> = (0..600).map(|_| reader(&pools, &partition, 1 << 20)).collect();
    for reader in &mut readers {
        assert_eq!(take(reader, 0).await, Some(1));
    }
    let held = pools.held_bytes();
    assert!(held > READS_BUDGET / 2 && held <= READS_BUDGET, "{held} bytes");
    for reader in &mut readers {
        assert_eq!(take_all(reader, 1).await, 40);
    }
    assert_eq!(pools.room.available_permits(), READS_BUDGET, "all of it is given back");
    drop((readers, partition, broker));
    tasks.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_a_reader_gets_on_and_keeps_nothing() {
    for tail_budget in [0, 16 << 20] {
        let engine = Arc::new(SlowEngine::default());
        let (broker, tasks) = start(Arc::<SlowEngine>::clone(&engine), tail_budget).await;
        let partition = partition(&broker, "t").await;
        for _ in 0..5 {
            assert!(append(&partition, &broker, 4, 10_000).await.await.unwrap());
        }
        let pools = Pools::new(4, READS_BUDGET);
        let _all = pools.room.acquire_many(u32::try_from(READS_BUDGET).unwrap()).await.unwrap();
        // A record at a time: a batch is cut to four parts, of which only the first may stay.
        let mut reader = reader(&pools, &partition, 1);
        for next in 0..20 {
            assert_eq!(take(&mut reader, next).await, Some(next + 1));
            assert_eq!((pools.held_bytes(), engine.chunks.load(Ordering::Acquire)), (0, 0));
        }
        assert_eq!(take(&mut reader, 20).await, None);
        drop((reader, partition, broker));
        tasks.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_ask_lets_go_of_everything_and_loses_nothing() {
    for codec in [Compression::None, Compression::Gzip] {
        let engine = Arc::new(SlowEngine::default());
        let (broker, tasks) = start(Arc::<SlowEngine>::clone(&engine), 0).await;
        let partition = partition(&broker, "t").await;
        for _ in 0..40 {
            let ended = append_compressed(&partition, &broker, 4, 15_000, codec).await;
            assert!(ended.await.unwrap());
        }
        let pools = Pools::new(4, READS_BUDGET);
        let decompressed = pools.decompressed.available_permits();
        let keep_room = tokio::spawn(pools.clone().keep_room());
        let mut reader = reader(&pools, &partition, 1);
        assert_eq!(take(&mut reader, 0).await, Some(1));
        assert!(pools.held_bytes() > 0);
        let deadline = Instant::now() + Duration::from_secs(10);
        while engine.chunks.load(Ordering::Acquire) > 0
            || pools.held_bytes() > 0
            || pools.room.available_permits() < READS_BUDGET
            || pools.decompressed.available_permits() < decompressed
        {
            assert!(Instant::now() < deadline, "it still holds {} bytes", pools.held_bytes());
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(take_all(&mut reader, 1).await, 160);
        keep_room.abort();
        drop((reader, partition, broker));
        tasks.stop().await.unwrap();
    }
}
