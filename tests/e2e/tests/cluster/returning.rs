//! Brokers that come back: far behind, with damaged data, or after they were removed.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ropewalk::{Client, Record, Stop};
use ropewalk_harness::ropewalk_binary;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::support::{SOON, Three, eventually, json};

const RECORD_BYTES: usize = 4096;
const RECORDS_PER_BATCH: usize = 64;
const BATCH_BYTES: usize = RECORDS_PER_BATCH * RECORD_BYTES;

/// The value of the record at an offset.
fn value(offset: usize) -> String {
    format!("{offset:0RECORD_BYTES$}")
}

/// Appends the batches of these numbers.
async fn fill(client: &Client, topic: &str, batches: std::ops::Range<usize>) {
    for batch in batches {
        let first = batch * RECORDS_PER_BATCH;
        let records =
            (first..first + RECORDS_PER_BATCH).map(|at| Record::to(topic).value(value(at)));
        let sent = client.append(topic).partition(0).send(records.collect::<Vec<_>>()).await;
        sent.unwrap_or_else(|error| panic!("batch {batch}: {error}"));
    }
}

/// Reads a topic through one broker, and checks that every record is there, right and in its place.
async fn check(server: &str, topic: &str, records: usize) {
    let client = Client::connect(server).await.unwrap();
    let reader = client.consumer().partition(topic, 0).until(Stop::CaughtUp);
    let mut reader = reader.build().await.unwrap();
    let mut next = 0;
    while let Some(record) = reader.next().await {
        let record = record.unwrap();
        assert_eq!(usize::try_from(record.offset).unwrap(), next, "a record is missing");
        assert_eq!(record.value.as_deref(), Some(value(next).as_bytes()), "at {next}");
        next += 1;
    }
    assert_eq!(next, records);
}

/// Waits until all three replicas of a topic vote and have everything.
async fn in_sync(three: &Three, topic: &str) {
    let begun = Instant::now();
    loop {
        let described = json(&three.cli(&["topic", "describe", topic, "--format", "json"]));
        let members = described["partitions"][0]["members"].as_array().unwrap().clone();
        let is_full = |member: &Value| member["voter"] == true && member["lag"] == 0;
        if members.len() == 3 && members.iter().all(is_full) {
            return;
        }
        assert!(begun.elapsed() < 2 * SOON, "not in sync: {members:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the cluster's status names a topic's partition, with who leads it, and with a broker
/// that is out of sync.
async fn is_shown_as_lacking(three: &Three, topic: &str, broker: u64) {
    let begun = Instant::now();
    loop {
        let status = json(&three.cli(&["cluster", "status", "--format", "json"]));
        let lacking = status["partitions"].as_array().unwrap().clone();
        let is_it = |partition: &Value| {
            let members = partition["members"].as_array().unwrap();
            let is_out = |at: &Value| at["broker_id"] == broker && at["in_sync"] == false;
            partition["topic"] == topic && members.iter().any(is_out)
        };
        if let Some(found) = lacking.iter().find(|partition| is_it(partition)) {
            assert!(
                found["leader"].is_u64() && found["leader_epoch"].as_u64() > Some(0),
                "{found}"
            );
            assert_eq!(lacking.len() as u64, status["under_replicated_partitions"]);
            return;
        }
        assert!(begun.elapsed() < SOON, "nobody says so: {status}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// What a broker's health says of its replicas.
async fn replicas_health(server: &str) -> ServingStatus {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let request = HealthCheckRequest { service: "replicas".to_owned() };
    health.check(request).await.unwrap().into_inner().status()
}

/// What `ropewalk storage` says of the data of a broker that does not run, and the exit code.
fn storage(command: &str, directory: &Path) -> (i32, Value) {
    let mut storage = Command::new(ropewalk_binary().unwrap());
    storage.args(["storage", command, "--format", "json"]).arg(directory).stdin(Stdio::null());
    let output = tokio::task::block_in_place(|| storage.output()).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), json(&text))
}

/// The log of the only group that has as much in files.
fn large_log(inspected: &Value) -> Value {
    let logs = inspected["logs"].as_array().unwrap();
    let bytes = |log: &&Value| log["file_bytes"].as_u64().unwrap();
    let log = logs.iter().max_by_key(bytes).unwrap().clone();
    assert!(bytes(&&log) > 4 * BATCH_BYTES as u64, "{log}");
    log
}

/// A segment file in the middle of a log, with more than a chunk in it.
fn a_segment(directory: &Path, log: &Value) -> PathBuf {
    let segments = log["segments"].as_array().unwrap();
    let path = segments[segments.len() / 2]["path"].as_str().unwrap();
    directory.join(path)
}

fn flip_a_bit(file: &Path) {
    let segment = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let at = segment.metadata().unwrap().len() / 2;
    let mut byte = [0];
    segment.read_exact_at(&mut byte, at).unwrap();
    segment.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// What is lost on one disk is read from another, and until all of it is on this one again under a
/// new id, the old replica counts for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_read_from_others_and_its_replica_is_replaced() {
    const BATCHES: usize = 100;
    let mut three = Three::start().await;
    three.cli(&["topic", "create", "t", "--partitions", "1"]);
    let client = Client::connect(&three.addresses()).await.unwrap();
    fill(&client, "t", 0..BATCHES).await;
    in_sync(&three, "t").await;

    three.stop(2).await;
    is_shown_as_lacking(&three, "t", 2).await;
    let directory = three.at(2).data_dir().to_owned();
    let log = large_log(&storage("inspect", &directory).1);
    let segment = a_segment(&directory, &log);
    flip_a_bit(&segment);
    let (code, report) = storage("verify", &directory);
    assert_eq!((code, &report["verdict"]), (6, &"damaged".into()), "{report}");

    three.at(2).restart().await.unwrap();
    let address = three.address(2).to_owned();
    check(&address, "t", BATCHES * RECORDS_PER_BATCH).await;
    let delivered = r#"ropewalk_delivered_bytes_total{source="peer"}"#;
    assert!(three.at(2).metric(delivered).await.unwrap().unwrap() > 0.0, "it was read elsewhere");

    let begun = Instant::now();
    while !three.at(2).log().contains("a damaged replica is replaced") {
        assert!(begun.elapsed() < SOON, "{}", three.at(2).log());
        sleep(Duration::from_millis(100)).await;
    }
    in_sync(&three, "t").await;
    fill(&client, "t", BATCHES..BATCHES + 1).await;
    check(&address, "t", (BATCHES + 1) * RECORDS_PER_BATCH).await;

    three.stop(2).await;
    let (code, report) = storage("verify", &directory);
    assert_eq!((code, &report["verdict"]), (0, &"sound".into()), "{report}");
    let rebuilt = large_log(&storage("inspect", &directory).1);
    assert_eq!(rebuilt["group"], log["group"]);
    assert_ne!(rebuilt["replica"], log["replica"], "under a new id");
    assert_eq!(rebuilt["end_offset"], ((BATCHES + 1) * RECORDS_PER_BATCH) as u64);
}

/// The others answer a broker that would go on with what it knew before.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_removed_while_it_was_away_ends() {
    let mut three = Three::start().await;
    three.cli(&["topic", "create", "t", "--partitions", "1", "--replication-factor", "1"]);
    three.cli(&["cluster", "reassign", "t", "0", "--to", "1", "--within", "20s"]);
    three.cli(&["produce", "t", "value"]);
    three.at(3).kill9().await.unwrap();
    let removed = three.cli(&["cluster", "remove", "3", "--within", "30s"]);
    assert!(removed.contains("broker 3 is removed"), "{removed}");

    three.at(3).begin().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = three.at(3).try_exit_status().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < SOON, "it runs on: {}", three.at(3).log());
        sleep(Duration::from_millis(50)).await;
    };
    assert!(!status.success(), "{status}");
    let log = three.at(3).log();
    assert!(log.contains("was removed from its cluster"), "{log}");
    assert!(log.contains("empty data directory"), "what to do: {log}");
    let status = json(&three.cli(&["cluster", "status", "--format", "json"]));
    assert_eq!(status["brokers"].as_array().unwrap().len(), 2, "{status}");
}

/// The followers that have everything go on as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_far_behind_catches_up_while_records_come_in() {
    const MISSED: usize = 300;
    let mut three = Three::start_with(&["--catch-up-rate", "8MiB", "--read-budget", "8MiB"]).await;
    three.cli(&["topic", "create", "t", "--partitions", "1"]);
    let client = Client::connect(&three.addresses()).await.unwrap();
    fill(&client, "t", 0..1).await;
    in_sync(&three, "t").await;
    // Whoever leads has to have it on its disk, and not in memory alone.
    let described = json(&three.cli(&["topic", "describe", "t", "--format", "json"]));
    let leader = described["partitions"][0]["leader"].as_u64().unwrap() as usize;
    let away = if leader == 3 { 2 } else { 3 };
    three.at(away).kill9().await.unwrap();
    fill(&client, "t", 1..MISSED).await;
    three.at(away).restart().await.unwrap();
    let address = three.address(away).to_owned();
    assert_eq!(replicas_health(&address).await, ServingStatus::NotServing, "it lacks most of it");

    let mut batch = MISSED;
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    loop {
        let appended = Instant::now();
        fill(&client, "t", batch..batch + 1).await;
        slowest = slowest.max(appended.elapsed());
        batch += 1;
        let described = json(&three.cli(&["topic", "describe", "t", "--format", "json"]));
        let members = described["partitions"][0]["members"].as_array().unwrap().clone();
        let is_close = |member: &Value| member["lag"].as_u64().is_some_and(|lag| lag < 3);
        if members.len() == 3 && members.iter().all(is_close) {
            break;
        }
        assert!(begun.elapsed() < 2 * SOON, "it does not catch up: {members:?}");
    }
    println!("caught up after {:?}; the slowest append took {slowest:?}", begun.elapsed());
    in_sync(&three, "t").await;
    eventually("health tells that the replicas have caught up", async || {
        replicas_health(&address).await == ServingStatus::Serving
    })
    .await;
    check(&address, "t", batch * RECORDS_PER_BATCH).await;
}
