//! Kill -9 while producing, over and over on one data directory. What was acked stays, where it was
//! acked; no offset ever has two values; and the log goes on where it ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ropewalk_proto::v1;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{Node, produce, read_all, value_record};

const ROUNDS: u64 = 20;
const PARTITIONS: i32 = 3;
/// The partition of the one producer that says which offset it expects.
const CONDITIONAL: i32 = PARTITIONS;

/// What is known of the log: partition and offset to value.
type Log = BTreeMap<(i32, i64), String>;

/// What producers learnt in one round.
#[derive(Default)]
struct Round {
    acked: Log,
    /// The group's committed offset, as last acked and as last sent.
    committed: (i64, i64),
    /// Topics whose creation was acked.
    topics: Vec<String>,
}

/// Counts acks, so that the kill comes in the middle of them.
#[derive(Clone, Default)]
struct Progress {
    acks: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Progress {
    fn acked(&self) {
        self.acks.fetch_add(1, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Values that nobody else writes, of sizes that lie inside and outside the index.
fn value(round: u64, producer: &str, number: u64) -> String {
    let size = [10, 100, 2_000, 9_000][usize::try_from(number % 4).unwrap()];
    format!("{round}/{producer}/{number}/{}", "x".repeat(size))
}

/// Appends until the broker is gone. One batch is under way at a time, of one to three records.
async fn append(
    node: (v1::producer_service_client::ProducerServiceClient<tonic::transport::Channel>, i32),
    round: u64,
    name: String,
    progress: Progress,
) -> Log {
    let (mut producer, partition) = node;
    let mut acked = Log::new();
    for number in (0..).step_by(3) {
        if !progress.goes_on() {
            break;
        }
        let values: Vec<_> =
            (number..=number + number % 3).map(|number| value(round, &name, number)).collect();
        let records = values.iter().map(|value| value_record(value.as_bytes())).collect();
        let Ok(sent) = producer.produce(produce("t", partition, records)).await else { break };
        let append = sent.into_inner().appends.remove(0);
        assert_eq!(append.achieved(), v1::Durability::Quorum);
        progress.acked();
        acked.extend((append.base_offset..).map(|at| (partition, at)).zip(values));
    }
    acked
}

/// Appends with the offset that it expects; nobody else writes there, so that it always knows it.
async fn append_expecting(
    mut producer: v1::producer_service_client::ProducerServiceClient<tonic::transport::Channel>,
    round: u64,
    mut next: i64,
    progress: Progress,
) -> Log {
    let mut acked = Log::new();
    for number in 0.. {
        if !progress.goes_on() {
            break;
        }
        let value = value(round, "expecting", number);
        let mut request = produce("t", CONDITIONAL, vec![value_record(value.as_bytes())]);
        request.expected = Some(v1::produce_request::Expected::ExpectedOffset(next));
        match producer.produce(request).await {
            Ok(sent) => assert_eq!(sent.into_inner().appends[0].base_offset, next),
            Err(status) if status.code() == Code::Aborted => {
                panic!("{next}: {:?}", status.get_error_details())
            }
            Err(_) => break,
        }
        progress.acked();
        acked.insert((CONDITIONAL, next), value);
        next += 1;
    }
    acked
}

/// Commits and creates topics until the broker is gone.
async fn commit_and_create(
    node: (
        v1::consumer_service_client::ConsumerServiceClient<tonic::transport::Channel>,
        v1::admin_service_client::AdminServiceClient<tonic::transport::Channel>,
    ),
    round: u64,
    last: i64,
    progress: Progress,
) -> Round {
    let (mut consumer, mut admin) = node;
    let mut seen = Round { committed: (last, last), ..Default::default() };
    for number in 0.. {
        if !progress.goes_on() {
            break;
        }
        // Back and forth, within what the partition surely has.
        seen.committed.1 = (last + number) % 4;
        let commit = crate::support::commit_request("g", &[("t", 0, seen.committed.1)]);
        if consumer.commit_offset(commit).await.is_err() {
            break;
        }
        seen.committed.0 = seen.committed.1;
        if number % 8 != 0 {
            continue;
        }
        let name = format!("topic-{round}-{number}");
        let request = v1::CreateTopicRequest { name: name.clone(), ..Default::default() };
        if admin.create_topic(request).await.is_err() {
            break;
        }
        seen.topics.push(name);
    }
    seen
}

/// One round: produce, kill in the middle, and gather what was acked.
async fn round(node: &mut Node, round: u64, next: i64, committed: i64) -> Round {
    let progress = Progress::default();
    let mut appends = JoinSet::new();
    for number in 0..4 {
        let producer = (node.producer(), number % PARTITIONS);
        appends.spawn(append(producer, round, format!("p{number}"), progress.clone()));
    }
    appends.spawn(append_expecting(node.producer(), round, next, progress.clone()));
    let clients = (node.consumer(), node.admin());
    let others = tokio::spawn(commit_and_create(clients, round, committed, progress.clone()));
    // Early in some rounds, later in others.
    let enough = 20 + 17 * (round % 5);
    let deadline = Instant::now() + Duration::from_secs(20);
    while progress.acks.load(Ordering::Relaxed) < enough {
        assert!(Instant::now() < deadline, "appends are acked");
        tokio::time::sleep(Duration::from_micros(300 + 170 * round)).await;
    }
    node.broker.kill9().await.unwrap();
    progress.stop.store(true, Ordering::Relaxed);
    let mut seen = others.await.unwrap();
    for acked in appends.join_all().await {
        for (place, value) in acked {
            let other = seen.acked.insert(place, value);
            assert_eq!(other, None, "{place:?} was acked twice");
        }
    }
    seen
}

/// The log as it is now, after checking that its offsets are dense.
async fn read_log(node: &Node) -> Log {
    let mut next = BTreeMap::new();
    let mut log = Log::new();
    for got in read_all(node, "t").await {
        let expected = next.entry(got.partition).or_insert(0);
        assert_eq!(got.offset, *expected, "offsets of partition {} are dense", got.partition);
        *expected += 1;
        log.insert((got.partition, got.offset), got.text());
    }
    for (partition, end) in next {
        let bounds = node.bounds("t", usize::try_from(partition).unwrap()).await;
        assert_eq!(bounds, (0, end), "partition {partition}");
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_outlives_20_kills() {
    let mut node = Node::start().await;
    node.create("t", PARTITIONS + 1).await;
    for partition in 0..=PARTITIONS {
        node.append("t", partition, &["a", "b", "c", "d"]).await;
    }
    node.commit("g", &[("t", 0, 0)]).await;
    let (mut known, mut committed) = (read_log(&node).await, 0);
    let mut topics = Vec::new();
    for number in 0..ROUNDS {
        let end_of = |log: &Log, partition| {
            log.range((partition, 0)..(partition + 1, 0)).next_back().unwrap().0.1 + 1
        };
        let before: Vec<_> = (0..=PARTITIONS).map(|p| end_of(&known, p)).collect();
        let seen = round(&mut node, number, end_of(&known, CONDITIONAL), committed).await;
        for (partition, offset) in seen.acked.keys() {
            let end = before[usize::try_from(*partition).unwrap()];
            assert!(*offset >= end, "round {number}: {partition}/{offset} goes on from {end}");
        }
        node.restart().await;
        let log = read_log(&node).await;
        for (place, value) in known.iter().chain(&seen.acked) {
            assert_eq!(log.get(place), Some(value), "round {number}: {place:?}");
        }
        // Nothing is there twice: each value was sent once.
        let mut values: Vec<_> = log.values().filter(|value| value.len() > 1).collect();
        values.sort_unstable();
        let count = values.len();
        values.dedup();
        assert_eq!(values.len(), count, "round {number}: a value lies at two offsets");

        let found = node.committed("g").await[0].2;
        let (acked, sent) = seen.committed;
        assert!(found == acked || found == sent, "round {number}: {found}, {:?}", seen.committed);
        committed = found;
        topics.extend(seen.topics);
        for topic in &topics {
            assert_eq!(node.bounds(topic, 0).await, (0, 0), "round {number}: {topic}");
        }
        known = log;
    }
    println!("{} records, {} topics after {ROUNDS} kills", known.len(), topics.len());
    assert!(topics.len() >= usize::try_from(ROUNDS / 2).unwrap());
    let stopped = node.broker.terminate().await.unwrap();
    assert!(stopped.status.success());
}
