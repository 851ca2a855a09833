//! Appends on the version of a key over three brokers: of those that expect the same, one is
//! appended, whichever broker they come to, whoever leads, and whatever the codec.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use prost::Message;
use ropewalk_cluster::{KEY_VERSIONS, LEVEL, MetadataError, TopicSettings};
use ropewalk_core::compress::compress;
use ropewalk_core::{Compression, NodeId, Offset};
use ropewalk_proto::v1::{Record, RecordSet};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster_tests::{Cluster, PATIENCE, create, partition};
use crate::errors::AppendError;
use crate::ingest::{Payload, prepare};
use crate::{Appended, Broker, Durability, Expected, ProposeError};

const KEY: &str = "account";

/// Appends a record with the key on a condition, once.
async fn try_append(
    broker: &Broker,
    codec: Compression,
    expected: Option<Expected>,
) -> Result<Appended, ProposeError> {
    let record = Record { key: Some(Bytes::from_static(KEY.as_bytes())), ..Record::default() };
    let set = RecordSet { records: vec![record] }.encode_to_vec();
    let payload = match codec {
        Compression::None => Payload::Records(set.into()),
        codec => {
            let bytes = compress(codec, &set).into();
            Payload::Compressed { codec, bytes, record_count: 1 }
        }
    };
    let draft = prepare(&payload, None, &TopicSettings::default()).unwrap();
    let reserved = broker.reserve(draft.len(), None).await.unwrap();
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
        let broker = std::sync::Arc::clone(brokers[at % brokers.len()]);
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
    }
    cluster.end().await;
}
