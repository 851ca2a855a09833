//! A cluster is upgraded: brokers of a version and of the next one run side by side.
//!
//! The next version is this one with a level more, and with a command that came with it. A broker
//! of this version takes that command for what any is that it does not know.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_cluster::{LEVEL, Metadata, MetadataCommand, MetadataError};
use ropewalk_core::{NodeId, TopicId};
use tokio::time::{sleep, timeout};

use crate::Broker;
use crate::cluster_tests::{Cluster, PATIENCE, create, partition, read_all};
use crate::errors::TopicError;
use crate::support::append;

const NEXT: u32 = LEVEL + 1;

/// The command that came with the next version.
fn keep(id: TopicId, bytes: u64) -> MetadataCommand {
    MetadataCommand::SetRetentionBytes { id, bytes }
}

/// Waits until a broker has seen something of the metadata.
async fn sees(broker: &Broker, is_so: impl Fn(&Metadata) -> bool) {
    let mut watch = broker.metadata_watch.clone();
    let seen = timeout(PATIENCE, watch.wait_for(|metadata| is_so(metadata))).await;
    seen.unwrap_or_else(|_| panic!("the metadata do not come: {:?}", broker.metadata())).unwrap();
}

/// Does something while records are appended through a broker. Returns how many were acked.
async fn beside_writes(broker: &Broker, what: impl Future<Output = ()>) -> u64 {
    let partition = partition(broker, "t").await;
    let is_done = Cell::new(false);
    let write = async {
        let mut acked = 0;
        while !is_done.get() {
            match append(&partition, broker, 1, 100).await.await.unwrap() {
                true => acked += 1,
                false => sleep(Duration::from_millis(10)).await,
            }
        }
        acked
    };
    let (acked, ()) = tokio::join!(write, async {
        what.await;
        is_done.set(true);
    });
    acked
}

/// Stops a broker and starts it as another version, while others are written through.
async fn restart(cluster: &mut Cluster, at: usize, level: u32) -> u64 {
    let other = Arc::clone(cluster.broker((at + 1) % 3));
    let restarted = async {
        cluster.stop(cluster.founders[at].0).await;
        cluster.levels[at] = level;
        let started = timeout(PATIENCE, cluster.try_launch(at)).await.expect("it starts");
        cluster.brokers[at] = Some(started.unwrap());
    };
    Box::pin(beside_writes(&other, restarted)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_are_upgraded_one_after_the_other_while_records_come_in() {
    let mut cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 3).await;
    let topic = cluster.broker(0).topic("t").unwrap().topic.id;
    let mut acked = 0;
    // Each may go back for as long as not all are upgraded: nothing is there that it does not know.
    for (at, level) in [(0, NEXT), (0, LEVEL), (0, NEXT), (1, NEXT), (1, LEVEL), (1, NEXT)] {
        acked += Box::pin(restart(&mut cluster, at, level)).await;
        if level == NEXT {
            let refused = cluster.broker(at).change_metadata(&keep(topic, 1)).await;
            let Err(TopicError::Metadata(error)) = refused else { panic!("{refused:?}") };
            assert_eq!(error, MetadataError::NotUpgraded { needed: NEXT, cluster: LEVEL });
        }
    }
    acked += Box::pin(restart(&mut cluster, 2, NEXT)).await;
    for (at, bytes) in [1 << 40, 1 << 41, 1 << 42].into_iter().enumerate() {
        sees(cluster.broker(at), |metadata| metadata.level() == NEXT).await;
        cluster.broker(at).change_metadata(&keep(topic, bytes)).await.unwrap();
        for broker in cluster.running() {
            let kept = |metadata: &Metadata| metadata.topics["t"].settings.retention_bytes;
            sees(broker, |metadata| kept(metadata) == Some(bytes)).await;
        }
    }

    // From here on there is no way back, and the broker says so.
    cluster.stop(NodeId(3)).await;
    cluster.levels[2] = LEVEL;
    let started = timeout(PATIENCE, cluster.try_launch(2)).await.expect("it need not ask anybody");
    let Err(error) = started else { panic!("it would leave commands out") };
    let error = error.to_string();
    assert!(error.contains("too old") && error.contains("the version that the others"), "{error}");
    cluster.network.leave(NodeId(3));
    cluster.levels[2] = NEXT;
    cluster.brokers[2] = Some(cluster.try_launch(2).await.unwrap());

    assert!(acked > 0);
    for broker in cluster.running() {
        let latest = partition(broker, "t").await.latest_bounds().await.unwrap();
        let end = latest.high_watermark.0;
        assert!(end >= acked, "{acked} were acked, and {end} are there");
        read_all(broker, "t", end).await;
    }
    cluster.end().await;
}
