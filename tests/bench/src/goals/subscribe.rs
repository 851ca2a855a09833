//! Reading everything from the start as the only member of a consumer group, beside the same
//! without a group, both by the Rust SDK: by batches, and record by record.

use std::time::Duration;

use ropewalk::{Client, ConsumedRecord, Error, RecordBatch, Start};
use tokio::time::Instant;

use super::figure::{Figure, Goal};
use super::run::{Context, PARTITIONS, RECORD, in_turn};
use crate::target::Target;
use crate::wire::Failure;

/// How it is read.
#[derive(Clone, Copy, Debug)]
enum By {
    Batches,
    Records,
}

/// What was read.
#[derive(Clone, Copy, Debug)]
struct Read {
    megabytes_per_second: f64,
    /// From the call to the first batch.
    first: Duration,
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let bytes = context.options.read_bytes();
    context.check_disk(bytes)?;
    let target = super::read::loaded(context, PARTITIONS, bytes).await?;
    let records = records(&target).await?;
    for (by, case) in [(By::Batches, "by batches"), (By::Records, "by records")] {
        // The first one pays for what the broker has not read yet, and is nobody's.
        alone(&target, by, records).await?;
        let mut rounds = Vec::new();
        for round in 0..context.options.rounds() {
            let group = format!("{case} {round}");
            let member = member(&target, &group, by, records);
            rounds.push(in_turn(round, member, alone(&target, by, records)).await?);
        }
        let pairs = |of: fn(&Read) -> f64| {
            rounds.iter().map(|(member, alone)| (of(member), of(alone))).collect::<Vec<_>>()
        };
        let beside = |what, pairs: Vec<(f64, f64)>| {
            Figure::beside("subscribe", case, what, "without a group", &pairs)
        };
        let rate = beside("MB/s", pairs(|read| read.megabytes_per_second));
        let rate = rate.map(|figure| figure.goal(Goal::RatioAtLeast(0.9)));
        context.report.figure(rate.map(|figure| figure.note(format!("{} MiB", bytes >> 20))));
        let first = beside("first ms", pairs(|read| read.first.as_secs_f64() * 1e3));
        context.report.figure(first.map(|figure| figure.note("from the call to a batch")));
    }
    target.end().await
}

/// How many records the topic has.
async fn records(target: &Target) -> Result<u64, Failure> {
    let client = Client::connect(target.address()).await?;
    let topic = client.admin().topic(&target.topic).await?;
    let ends = topic.partitions.iter().map(|partition| partition.high_watermark);
    Ok(u64::try_from(ends.sum::<i64>())?)
}

async fn member(target: &Target, group: &str, by: By, records: u64) -> Result<Read, Failure> {
    let client = Client::connect(target.address()).await?;
    let began = Instant::now();
    let group = client.group(group).consumer().topic(&target.topic);
    let mut consumer = group.build().await?;
    match by {
        By::Batches => batches(began, records, async || consumer.next_batch().await).await,
        By::Records => one_by_one(began, records, async || consumer.next().await).await,
    }
}

async fn alone(target: &Target, by: By, records: u64) -> Result<Read, Failure> {
    let client = Client::connect(target.address()).await?;
    let began = Instant::now();
    let consumer = client.consumer().topic(&target.topic).start(Start::Earliest);
    let mut consumer = consumer.build().await?;
    match by {
        By::Batches => batches(began, records, async || consumer.next_batch().await).await,
        By::Records => one_by_one(began, records, async || consumer.next().await).await,
    }
}

/// Reads so many records by their batches.
async fn batches(
    began: Instant,
    records: u64,
    mut next: impl AsyncFnMut() -> Option<Result<RecordBatch, Error>>,
) -> Result<Read, Failure> {
    let first = next().await.ok_or(ENDED)??;
    let first_at = Instant::now();
    let mut read = first.len() as u64;
    let ahead = read;
    while read < records {
        read += next().await.ok_or(ENDED)??.len() as u64;
    }
    Ok(Read::of(began, first_at, read - ahead))
}

/// Reads so many records.
async fn one_by_one(
    began: Instant,
    records: u64,
    mut next: impl AsyncFnMut() -> Option<Result<ConsumedRecord, Error>>,
) -> Result<Read, Failure> {
    next().await.ok_or(ENDED)??;
    let first_at = Instant::now();
    for _ in 1..records {
        next().await.ok_or(ENDED)??;
    }
    Ok(Read::of(began, first_at, records - 1))
}

const ENDED: &str = "a consumer ended before it had everything";

impl Read {
    /// `records` came after the first batch.
    fn of(began: Instant, first_at: Instant, records: u64) -> Self {
        let seconds = first_at.elapsed().as_secs_f64().max(f64::EPSILON);
        let megabytes_per_second = records as f64 * RECORD as f64 / 1e6 / seconds;
        Self { megabytes_per_second, first: first_at - began }
    }
}
