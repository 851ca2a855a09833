//! The Rust client library, record by record and one at a time, beside batches that were encoded
//! before.

use bytes::Bytes;
use ropewalk::{Client, Delivery, Record, Start, Stop};
use ropewalk_proto::broker::Durability;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Context, name, per_second};
use crate::gate::Gate;
use crate::records::Noise;
use crate::report::Row;
use crate::stats::Latencies;
use crate::target::Target;
use crate::wire::Failure;

const SIZES: [usize; 2] = [100, 1024];
const PARTITIONS: u32 = 16;
/// The records that wait for their place in the log.
const PIPELINE: usize = 100_000;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Raw,
    Producer,
    Single,
    Consumer,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Kind,
    durability: Durability,
    size: usize,
}

pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    let mut cases = Vec::new();
    for durability in [Durability::Quorum, Durability::None] {
        for size in SIZES.into_iter().filter(|size| context.options.sizes.contains(size)) {
            cases.extend([Kind::Raw, Kind::Producer].map(|kind| Case { kind, durability, size }));
            if durability == Durability::Quorum {
                cases.push(Case { kind: Kind::Single, durability, size });
            }
            if durability == Durability::None {
                cases.push(Case { kind: Kind::Consumer, durability, size });
            }
        }
    }
    context
        .rounds(&cases, async |case| match case.kind {
            Kind::Raw => raw(context, case).await,
            Kind::Producer => producer(context, case).await,
            Kind::Single => single(context, case).await,
            Kind::Consumer => consumer(context, case).await,
        })
        .await
}

fn row(case: &Case, what: String, records: u64, usage: &crate::target::Usage) -> Row {
    let rate = per_second(records, usage.seconds);
    let mut row = Row::new("sdk", what).rate(rate, case.size).used(usage);
    row.partitions = Some(PARTITIONS);
    row.size = Some(case.size);
    row
}

async fn raw(context: &Context<'_>, case: &Case) -> Result<Row, Failure> {
    let target = context.target(PARTITIONS).await?;
    let load = context.load(&target, PARTITIONS, case.size, case.durability);
    let gate = context.gate();
    let (acked, usage) = tokio::try_join!(load.run(target.address(), &gate), target.watch(&gate))?;
    target.end().await?;
    let what = format!("raw batches, {}", name(case.durability));
    let mut row = row(case, what, acked.records, &usage);
    row.latency = acked.latencies.percentiles();
    Ok(row)
}

async fn producer(context: &Context<'_>, case: &Case) -> Result<Row, Failure> {
    let target = context.target(PARTITIONS).await?;
    let gate = context.gate();
    let sending = send(&target, case, &gate);
    let ((records, latencies), usage) = tokio::try_join!(sending, target.watch(&gate))?;
    target.end().await?;
    let what = format!("Producer, {}", name(case.durability));
    let mut row = row(case, what, records, &usage);
    row.latency = latencies.percentiles();
    Ok(row)
}

/// One record at a time, each waited for.
async fn single(context: &Context<'_>, case: &Case) -> Result<Row, Failure> {
    let target = context.target(1).await?;
    let gate = context.gate();
    let sending = send_each(&target, case, &gate);
    let ((records, latencies), usage) = tokio::try_join!(sending, target.watch(&gate))?;
    target.end().await?;
    let mut row = row(case, "Producer, one at a time".to_owned(), records, &usage);
    row.partitions = Some(1);
    row.latency = latencies.percentiles();
    Ok(row)
}

async fn send_each(target: &Target, case: &Case, gate: &Gate) -> Result<(u64, Latencies), Failure> {
    let client = Client::connect(target.address()).await?;
    let producer = client.producer().build();
    let value = Noise(1).bytes(case.size);
    let topic: std::sync::Arc<str> = target.topic.as_str().into();
    let mut latencies = Latencies::new();
    let mut records = 0;
    loop {
        let began = Instant::now();
        if gate.is_over(began) || !gate.take(value.len() as u64) {
            break;
        }
        producer.send(Record::to(topic.clone()).value(value.clone())).await?;
        let answered = Instant::now();
        if gate.is_open(began) && gate.is_open(answered) {
            records += 1;
            latencies.record(answered - began);
        }
    }
    producer.close().await?;
    Ok((records, latencies))
}

/// Sends records until the gate closes, and counts those that were acked while it was open.
async fn send(target: &Target, case: &Case, gate: &Gate) -> Result<(u64, Latencies), Failure> {
    let client = Client::connect(target.address()).await?;
    let durability = match case.durability {
        Durability::None => ropewalk::Durability::None,
        _ => ropewalk::Durability::Quorum,
    };
    let producer = client.producer().durability(durability).build();
    let value = Noise(1).bytes(case.size);
    let topic: std::sync::Arc<str> = target.topic.as_str().into();
    let (sent, deliveries) = mpsc::channel(PIPELINE);
    let counting = tokio::spawn(count(deliveries, gate.clone()));
    loop {
        let now = Instant::now();
        if gate.is_over(now) || !gate.take(value.len() as u64) {
            break;
        }
        let record = Record::to(topic.clone()).value(value.clone());
        sent.send((now, producer.enqueue(record).await?)).await?;
    }
    drop(sent);
    producer.close().await?;
    counting.await?
}

async fn count(
    mut deliveries: mpsc::Receiver<(Instant, Delivery)>,
    gate: Gate,
) -> Result<(u64, Latencies), Failure> {
    let mut latencies = Latencies::new();
    let mut records = 0;
    while let Some((sent, delivery)) = deliveries.recv().await {
        delivery.await?;
        let now = Instant::now();
        if gate.is_open(now) {
            records += 1;
            latencies.record(now - sent);
        }
    }
    Ok((records, latencies))
}

/// Reads what was produced before, from the start, record by record.
async fn consumer(context: &Context<'_>, case: &Case) -> Result<Row, Failure> {
    let target = context.target(PARTITIONS).await?;
    let load = context.load(&target, PARTITIONS, case.size, Durability::Quorum);
    let bytes = Gate::for_bytes(context.options.replay_bytes() / 2);
    load.run(target.address(), &bytes).await?;
    let client = Client::connect(target.address()).await?;
    let mut consumer = client
        .consumer()
        .topic(&target.topic)
        .start(Start::Earliest)
        .until(Stop::CaughtUp)
        .build()
        .await?;
    let (done, is_done) = oneshot::channel();
    let reading = async {
        let mut records = 0u64;
        while let Some(record) = consumer.next().await {
            let value: Option<Bytes> = record?.value;
            records += u64::from(value.is_some());
        }
        // The watch may have failed before.
        let _ = done.send(());
        Ok::<u64, Failure>(records)
    };
    let watching = target.watch_until(async {
        let _ = is_done.await;
    });
    let (records, usage) = tokio::try_join!(reading, watching)?;
    target.end().await?;
    Ok(row(case, "Consumer, from the start".to_owned(), records, &usage))
}
