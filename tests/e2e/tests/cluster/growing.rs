//! A broker that was alone grows into a cluster, which then moves to other addresses.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use ropewalk::{Client, NewTopic, Record, Start, Stop};
use ropewalk_harness::{Broker, cluster};
use tokio::time::{sleep, timeout};

use super::support::{SOON, cli, json, soon};

const PARTITIONS: i32 = 3;
/// The metadata's group and those that keep consumer groups.
const SYSTEM_GROUPS: u64 = 17;

/// A broker that keeps its data over the processes, which have addresses of their own each.
async fn start(data: &Path, node: u64, peer: &str, flags: &[&str]) -> Broker {
    let node = node.to_string();
    let builder = Broker::builder().data_dir(data.join(&node));
    let own = ["--node-id", &node, "--peer-listen", peer, "--peer-advertise", peer];
    let small = ["--journal-size", "64MiB"];
    builder.args(own).args(small).args(flags.iter().copied()).start().await.unwrap()
}

/// Appends as many records to each partition, by way of one broker.
async fn append(server: &str, values: std::ops::Range<u32>) {
    let client = Client::connect(server).await.unwrap();
    for partition in 0..PARTITIONS {
        let records = values.clone().map(|value| Record::to("t").value(value.to_string()));
        let records = records.collect::<Vec<_>>();
        let append = client.append("t").partition(partition);
        soon("an append", append.send(records)).await.unwrap();
    }
}

/// Reads all of the topic through one broker: each partition has the values from 0, in order.
async fn check(server: &str, count: u32) {
    let client = Client::connect(server).await.unwrap();
    for partition in 0..PARTITIONS {
        let reader = client.consumer().partition("t", partition);
        let mut reader = reader.start(Start::Earliest).until(Stop::CaughtUp).build().await.unwrap();
        let mut found = 0;
        while let Some(record) = soon("a record", reader.next()).await {
            let record = record.unwrap();
            assert_eq!(record.value.as_deref(), Some(found.to_string().as_bytes()));
            assert_eq!(record.offset, i64::from(found));
            found += 1;
        }
        assert_eq!(found, count, "of partition {partition} through {server}");
    }
}

/// Waits until three brokers have what they are to have, the broker's own groups too.
async fn in_sync(server: &str) {
    let mut status = serde_json::Value::Null;
    let within = timeout(2 * SOON, async {
        loop {
            status = json(&cli(server, &["cluster", "status", "--format", "json"]));
            let brokers = status["brokers"].as_array().unwrap();
            let is_full = |broker: &serde_json::Value| {
                broker["replica_count"] == PARTITIONS
                    && broker["system_replica_count"] == SYSTEM_GROUPS
            };
            let is_sound = status["under_replicated_partitions"] == 0;
            if brokers.len() == 3 && brokers.iter().all(is_full) && is_sound {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    });
    let is_in_time = within.await.is_ok();
    assert!(is_in_time, "not in sync: {status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_alone_grows_into_a_cluster_that_goes_on_without_it_and_moves() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let peers: Vec<_> = (0..3).map(|_| cluster::peer_address()).collect();
    let mut one = start(data, 1, &peers[0], &[]).await;
    let topic = ["topic", "create", "t", "--partitions", &PARTITIONS.to_string()];
    cli(one.address(), &topic);
    append(one.address(), 0..100).await;

    // Any member takes a broker in: the third one knows the second one only.
    let mut two = start(data, 2, &peers[1], &["--join", &peers[0]]).await;
    append(two.address(), 100..200).await;
    let mut three = start(data, 3, &peers[2], &["--join", &peers[1]]).await;
    append(three.address(), 200..300).await;
    cli(three.address(), &["topic", "update", "t", "--replication-factor", "3"]);
    append(three.address(), 300..400).await;
    in_sync(three.address()).await;

    one.kill9().await.unwrap();
    check(three.address(), 400).await;
    append(three.address(), 400..500).await;
    let before: BTreeSet<_> = [&one, &two, &three].map(|at| at.address().to_owned()).into();
    two.terminate().await.unwrap();
    three.terminate().await.unwrap();
    drop((one, two, three));

    // All come back somewhere else, and say where they stand. With them comes a fourth one.
    let peers: Vec<_> = (0..4).map(|_| cluster::peer_address()).collect();
    let join = peers.join(",");
    let racks = ["a", "b", "c", "c"];
    let starting = (1..).zip(&peers).zip(racks).map(async |((node, peer), rack)| {
        let joining = ["--join", join.as_str(), "--rack", rack];
        start(data, node, peer, &joining).await
    });
    let brokers = join_all(starting).await;
    let client = Client::connect(brokers[3].address()).await.unwrap();
    let seen = soon("the brokers", client.admin().cluster()).await.unwrap().brokers;
    for (broker, (process, rack)) in seen.iter().zip(brokers.iter().zip(racks)) {
        assert_eq!(
            (broker.address.as_str(), broker.rack.as_deref()),
            (process.address(), Some(rack))
        );
        assert!(broker.alive && !before.contains(&broker.address), "{broker:?}");
    }
    assert_eq!(seen.len(), 4);
    check(brokers[3].address(), 500).await;
    append(brokers[3].address(), 500..600).await;
    check(brokers[0].address(), 600).await;

    // Brokers 3 and 4 stand in one rack: no partition is on both.
    let topic = NewTopic::named("spread").partitions(8).replication_factor(3);
    client.admin().create_topic(topic).await.unwrap();
    let spread = client.admin().topic("spread").await.unwrap();
    let mut used = BTreeSet::new();
    for partition in spread.partitions {
        let standing = partition.replicas.iter().map(|id| racks[*id as usize - 1]);
        assert_eq!(standing.collect::<BTreeSet<_>>().len(), 3, "{:?}", partition.replicas);
        used.extend(partition.replicas);
    }
    assert_eq!(used.len(), 4, "both brokers of a rack are used");
}
