//! Idempotent producers over three brokers: whoever leads knows what came before, and so do brokers
//! that have all been stopped.

use bytes::Bytes;
use futures::future::join_all;
use prost::Message;
use ropewalk_cluster::{LEVEL, MetadataError, SEQUENCES, TopicSettings};
use ropewalk_core::sequence::EPOCHS_OF_A_HOLDER;
use ropewalk_core::{NodeId, ProducerSequence};
use ropewalk_proto::v1::{Record, RecordSet};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster_tests::{Cluster, PATIENCE, create, partition};
use crate::errors::{AppendError, CommitError};
use crate::ingest::{Payload, prepare};
use crate::producer_ids::ProducerIdentity;
use crate::{Appended, Broker, Durability, ProposeError};

/// Sends a batch with this sequence, once.
async fn try_send(
    broker: &Broker,
    sequence: ProducerSequence,
    values: &[&'static str],
) -> Result<Appended, ProposeError> {
    let record = |value: &&'static str| Record {
        value: Some(Bytes::from_static(value.as_bytes())),
        ..Record::default()
    };
    let set = RecordSet { records: values.iter().map(record).collect() };
    let payload = Payload::Records(set.encode_to_vec().into());
    let draft = prepare(&payload, Some(sequence), &TopicSettings::default()).unwrap();
    let reserved = broker.reserve(draft.len(), None, None).await.unwrap();
    let (done, ended) = oneshot::channel();
    let tell = move |result| {
        let _ = done.send(result);
    };
    let partition = partition(broker, "t").await;
    partition.append(draft, None, Durability::Quorum, reserved, tell).await.unwrap();
    ended.await.unwrap()
}

/// The same, as often as it takes: until it is answered by a leader that knows.
async fn send(
    broker: &Broker,
    sequence: ProducerSequence,
    values: &[&'static str],
) -> Result<(u64, bool), ProposeError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_send(broker, sequence, values).await {
            Ok(appended) => return Ok((appended.base_offset.0, appended.duplicate)),
            Err(ProposeError::NoLeader | ProposeError::LeaderChanged { .. })
                if Instant::now() < deadline =>
            {
                sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn init(broker: &Broker, name: &str) -> ProducerIdentity {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match broker.init_producer(name).await {
            Ok(identity) => return identity,
            // It may not have heard yet that all brokers have registered.
            Err(_) if Instant::now() < deadline => {
                sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// What must be answered once batches with the numbers 0 and 2 are in the log.
async fn all_is_known(broker: &Broker, identity: ProducerIdentity) {
    let at = |first| ProducerSequence { producer: identity.id, epoch: identity.epoch, first };
    let gap = |actual| Err(ProposeError::SequenceGap { expected: 3, actual });
    assert_eq!(send(broker, at(0), &["a", "b"]).await, Ok((0, true)));
    assert_eq!(send(broker, at(2), &["c"]).await, Ok((2, true)));
    assert_eq!(send(broker, at(2), &["other"]).await, gap(2), "another payload");
    assert_eq!(send(broker, at(4), &["e"]).await, gap(4), "one before it is missing");
    let older = ProducerSequence { epoch: identity.epoch - 1, ..at(3) };
    let (expected, actual) = (identity.epoch, older.epoch);
    let fenced = Err(ProposeError::ProducerFenced { expected, actual });
    assert_eq!(send(broker, older, &["d"]).await, fenced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_is_known_after_a_failover_and_after_a_full_restart() {
    let mut cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 3).await;
    let first = init(cluster.broker(0), "orders").await;
    let second = init(cluster.broker(1), "orders").await;
    let next = |times| ProducerIdentity { epoch: times * EPOCHS_OF_A_HOLDER, ..first };
    assert_eq!((first.epoch, second), (0, next(1)));
    let (producer, epoch) = (second.id, second.epoch);
    let at = |first| ProducerSequence { producer, epoch, first };
    assert_eq!(send(cluster.broker(1), at(0), &["a", "b"]).await, Ok((0, false)));
    assert_eq!(send(cluster.broker(2), at(2), &["c"]).await, Ok((2, false)));
    all_is_known(cluster.broker(0), second).await;

    let leader = partition(cluster.broker(0), "t").await.leader().unwrap().node;
    let stopped = cluster.stop(leader).await;
    for broker in cluster.running() {
        all_is_known(broker, second).await;
    }
    let other = cluster.running().next().unwrap();
    assert_eq!(init(other, "orders").await, next(2));
    assert_ne!(init(other, "").await.id, first.id);
    let back = timeout(PATIENCE, cluster.try_launch(stopped)).await.unwrap();
    cluster.brokers[stopped] = Some(back.unwrap());

    for node in 1..=3 {
        cluster.stop(NodeId(node)).await;
    }
    let back = timeout(PATIENCE, join_all((0..3).map(|at| cluster.try_launch(at)))).await;
    cluster.brokers = back.unwrap().into_iter().map(|broker| Some(broker.unwrap())).collect();
    for broker in cluster.running() {
        all_is_known(broker, second).await;
    }
    assert_eq!(init(cluster.broker(2), "orders").await, next(3));
    assert_eq!(send(cluster.broker(0), at(3), &["d"]).await, Ok((3, false)));
    cluster.end().await;
}

/// A broker of the version before ends at a batch with a sequence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_wait_until_every_broker_knows_them() {
    let mut cluster = Cluster::start_at([SEQUENCES - 1, LEVEL, LEVEL]).await;
    let (needed, cluster_level) = (SEQUENCES, SEQUENCES - 1);
    for broker in cluster.running() {
        let Err(AppendError::NotUpgraded(error)) = broker.check_sequences() else { panic!() };
        assert_eq!(error, MetadataError::NotUpgraded { needed, cluster: cluster_level });
        let refused = broker.init_producer("").await;
        let Err(CommitError::Reserve(AppendError::NotUpgraded(_))) = refused else { panic!() };
    }
    cluster.stop(NodeId(1)).await;
    cluster.levels[0] = LEVEL;
    cluster.brokers[0] = Some(timeout(PATIENCE, cluster.try_launch(0)).await.unwrap().unwrap());
    let broker = cluster.broker(1);
    let mut watch = broker.metadata_watch.clone();
    let upgraded = timeout(PATIENCE, watch.wait_for(|metadata| metadata.level() >= SEQUENCES));
    upgraded.await.expect("all brokers know them").unwrap();
    broker.check_sequences().unwrap();
    init(broker, "").await;
    cluster.end().await;
}
