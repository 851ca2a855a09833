//! Appends on the version of a key over three brokers: of those that expect the same, one is
//! appended, whichever broker they come to, whoever leads, and whatever the codec.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use prost::Message;
use ropewalk_cluster::{KEY_VERSIONS, LEVEL, MetadataError, RECORD_TTLS, TopicSettings};
use ropewalk_core::compress::compress;
use ropewalk_core::limits::CONDITIONAL_APPENDS_BYTES;
use ropewalk_core::{BatchDraft, Compression, NodeId, Offset};
use ropewalk_proto::v1::{Record, RecordSet};
use ropewalk_storage::memory::MemoryEngine;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster_tests::{Cluster, PATIENCE, create, partition};
use crate::errors::AppendError;
use crate::ingest::{Payload, prepare};
use crate::support;
use crate::{Appended, Broker, Durability, Expected, ProposeError};

const KEY: &str = "account";

/// A record with the key and a value of so many bytes.
fn draft(codec: Compression, bytes: usize) -> BatchDraft {
    let key = Some(Bytes::from_static(KEY.as_bytes()));
    let record = Record { key, value: Some(vec![7; bytes].into()), ..Record::default() };
    let set = RecordSet { records: vec![record] }.encode_to_vec();
    let payload = match codec {
        Compression::None => Payload::Records(set.into()),
        codec => {
            let bytes = compress(codec, &set).into();
            Payload::Compressed { codec, bytes, record_count: 1, shortest_ttl: None }
        }
    };
    prepare(&payload, None, &TopicSettings::default()).unwrap()
}

/// Appends a record with the key on a condition, once.
async fn try_append(
    broker: &Broker,
    codec: Compression,
    expected: Option<Expected>,
) -> Result<Appended, ProposeError> {
    let draft = draft(codec, 0);
    let reserved = broker.reserve(draft.len(), expected.as_ref(), None).await.unwrap();
    let (done, ended) = oneshot::channel();
    let tell = move |result| {
        let _ = done.send(result);
    };
    let partition = partition(broker, "t").await;
    partition.append(draft, expected, Durability::Quorum, reserved, tell).await.unwrap();
    ended.await.unwrap()
}

fn version(version: Option<u64>) -> Option<Expected> {
    Some(Expected::Version { key: KEY.into(), version: version.map(Offset) })
}

/// The same, until somebody leads.
async fn append(
    broker: &Broker,
    codec: Compression,
    expected: Option<Expected>,
) -> Result<u64, ProposeError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_append(broker, codec, expected.clone()).await {
            Ok(appended) => return Ok(appended.base_offset.0),
            Err(ProposeError::NoLeader | ProposeError::KeysUnread) if Instant::now() < deadline => {
                sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Many expect the same version at once, by all brokers: returns the version that the key has then.
async fn race(cluster: &Cluster, current: Option<u64>) -> u64 {
    let codecs = [Compression::None, Compression::Zstd, Compression::Gzip];
    let racing = (0..24).map(|at| {
        let brokers: Vec<_> = cluster.running().collect();
        let broker = Arc::clone(brokers[at % brokers.len()]);
        async move { append(&broker, codecs[at / 3 % 3], version(current)).await }
    });
    let ends = join_all(racing).await;
    let won: Vec<u64> = ends.iter().filter_map(|end| end.as_ref().ok().copied()).collect();
    let [won] = won.as_slice() else { panic!("{ends:?}") };
    let lost = ProposeError::ExpectedVersion { current: Some(Offset(*won)) };
    assert_eq!(ends.iter().filter(|end| **end == Err(lost)).count(), 23, "{ends:?}");
    *won
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_expect_the_same_version_one_is_appended_whoever_leads() {
    let mut cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 3).await;
    let mut current = append(cluster.broker(1), Compression::Lz4, None).await.unwrap();
    for _ in 0..3 {
        race(&cluster, Some(current)).await;
        // Nobody expects anything of this one, and it counts.
        current = append(cluster.broker(2), Compression::Snappy, None).await.unwrap();
    }
    let leader = partition(cluster.broker(0), "t").await.leader().unwrap().node;
    let stopped = cluster.stop(leader).await;
    current = race(&cluster, Some(current)).await;
    current = race(&cluster, Some(current)).await;
    let back = timeout(PATIENCE, cluster.try_launch(stopped)).await.unwrap();
    cluster.brokers[stopped] = Some(back.unwrap());

    for node in 1..=3 {
        cluster.stop(NodeId(node)).await;
    }
    let back = timeout(PATIENCE, join_all((0..3).map(|at| cluster.try_launch(at)))).await;
    cluster.brokers = back.unwrap().into_iter().map(|broker| Some(broker.unwrap())).collect();
    current = race(&cluster, Some(current)).await;

    // What is trimmed is gone for whoever leads next, too.
    partition(cluster.broker(0), "t").await.trim(None).await.unwrap();
    let gone = Err(ProposeError::ExpectedVersion { current: None });
    assert_eq!(append(cluster.broker(0), Compression::None, version(Some(current))).await, gone);
    race(&cluster, None).await;
    cluster.end().await;
}

/// A broker of the version before would append whatever comes with such a condition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_on_versions_wait_until_every_broker_knows_them() {
    let cluster = Cluster::start_at([KEY_VERSIONS - 1, LEVEL, LEVEL]).await;
    let (needed, level) = (KEY_VERSIONS, KEY_VERSIONS - 1);
    for broker in cluster.running() {
        let Err(AppendError::NotUpgraded(error)) = broker.check_key_versions() else { panic!() };
        assert_eq!(error, MetadataError::NotUpgraded { needed, cluster: level });
        // Nor could it read a batch whose records have times to live.
        let Err(AppendError::NotUpgraded(error)) = broker.check_record_ttls() else { panic!() };
        assert_eq!(error, MetadataError::NotUpgraded { needed: RECORD_TTLS, cluster: level });
    }
    cluster.end().await;
}

/// Appends of either kind fill the memory of their own kind alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_expect_versions_neither_starve_others_nor_are_starved_by_them() {
    let (broker, tasks) = support::start(Arc::new(MemoryEngine::new()), 0).await;
    support::partition(&broker, "t").await;
    let soon = |expected| timeout(PATIENCE, try_append(&broker, Compression::Zstd, expected));
    let others = broker.reserve(broker.config().append_budget, None, None).await.unwrap();
    let appended = soon(version(None)).await.expect("they have memory of their own").unwrap();
    drop(others);

    let current = version(Some(appended.base_offset.0));
    let reserve = |bytes| broker.reserve(bytes, current.as_ref(), None);
    let full = reserve(CONDITIONAL_APPENDS_BYTES).await.unwrap();
    assert!(soon(None).await.expect("others have memory of their own").is_ok());
    let refused = timeout(PATIENCE, reserve(1)).await.expect("nobody waits for long");
    let Err(AppendError::TooManyConditional { limit }) = refused else { panic!() };
    assert_eq!(limit, CONDITIONAL_APPENDS_BYTES);
    drop(full);
    assert!(reserve(1).await.is_ok());
    drop(broker);
    tasks.stop().await.unwrap();
}

/// Keys are looked for beside whoever reads the disk, and where there is no turn for it, not at
/// all: then they are read from the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_for_keys_waits_for_no_reader_and_for_no_other_search_for_long() {
    let (broker, tasks) = support::start(Arc::new(MemoryEngine::new()), 1 << 20).await;
    let partition = support::partition(&broker, "t").await;
    let reads = broker.pools.disk_reads.acquire_many(crate::start::DISK_READS as u32).await;
    let mut current = None;
    let (at, log) = (&broker, &partition);
    let append = |expected: Option<Expected>| async move {
        let draft = draft(Compression::None, 200 << 10);
        let (done, ended) = oneshot::channel();
        let tell = move |result: Result<Appended, _>| {
            let _ = done.send(result);
        };
        let reserved = at.reserve(draft.len(), expected.as_ref(), None).await.unwrap();
        let appended = log.append(draft, expected, Durability::Quorum, reserved, tell);
        timeout(PATIENCE, appended).await.expect("it waits for no reader").unwrap();
        timeout(PATIENCE, ended).await.expect("it waits for no reader").unwrap().unwrap()
    };
    for is_busy in [false, true, false] {
        let turns = &broker.pools.keys.turns;
        let busy = is_busy.then(|| turns.try_acquire_many(turns.available_permits() as u32));
        for expected in [version(current), None] {
            current = Some(append(expected).await.base_offset.0);
        }
        drop(busy);
    }
    drop((partition, reads));
    drop(broker);
    tasks.stop().await.unwrap();
}
