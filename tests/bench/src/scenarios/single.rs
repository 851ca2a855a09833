//! One record at a time, each waited for: what an append costs by itself, and what many callers who
//! do so cost each other. Beside it, the smallest write that the disk can be asked to keep.

use futures::{StreamExt, stream};
use ropewalk_proto::broker::{Durability, ProduceStreamRequest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::{Context, control, per_second};
use crate::gate::Gate;
use crate::load::{Acked, check};
use crate::records::{Batch, request};
use crate::report::Row;
use crate::stats::Latencies;
use crate::target::Target;
use crate::wire::{Failure, Wire};

/// The callers of the crowd.
const CROWD: u32 = 64;
/// The connections that they share.
const CONNECTIONS: u32 = 2;
/// The partitions that they write to.
const PARTITIONS: u32 = 16;

#[derive(Clone, Copy, Debug)]
enum Case {
    Disk,
    Unary(usize),
    Stream(usize),
    Crowd(usize),
}

pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    let mut cases = vec![Case::Disk];
    for &size in &context.options.sizes {
        cases.extend([Case::Unary(size), Case::Stream(size), Case::Crowd(size)]);
    }
    context.rounds(&cases, async |case| one(context, *case).await).await
}

async fn one(context: &Context<'_>, case: Case) -> Result<Row, Failure> {
    match case {
        Case::Disk => control::one(context, "single", "4 KiB + fdatasync".into(), 4096).await,
        Case::Unary(size) => callers(context, "Produce", size, 1, 1).await,
        Case::Crowd(size) => {
            let name = format!("Produce, {CROWD} callers");
            callers(context, &name, size, CROWD, PARTITIONS).await
        }
        Case::Stream(size) => {
            let target = context.target(1).await?;
            let gate = context.gate();
            let load = in_stream(target.address(), &target.topic, size, &gate);
            let (acked, usage) = tokio::try_join!(load, target.watch(&gate))?;
            finish(target, "ProduceStream", size, 1, &acked, usage).await
        }
    }
}

async fn callers(
    context: &Context<'_>,
    name: &str,
    size: usize,
    callers: u32,
    partitions: u32,
) -> Result<Row, Failure> {
    let target = context.target(partitions).await?;
    let connections = stream::iter(0..callers.min(CONNECTIONS));
    let connections: Vec<_> = connections.then(|_| Wire::connect(target.address())).collect().await;
    let connections = connections.into_iter().collect::<Result<Vec<_>, _>>()?;
    let gate = context.gate();
    let mut running = JoinSet::new();
    for caller in 0..callers {
        let wire = connections[caller as usize % connections.len()].clone();
        let partition = i32::try_from(caller % partitions)?;
        running.spawn(call(wire, target.topic.clone(), partition, size, gate.clone()));
    }
    let usage = target.watch(&gate).await?;
    let mut all = Acked { records: 0, latencies: Latencies::new() };
    while let Some(acked) = running.join_next().await {
        let acked = acked??;
        all.records += acked.records;
        all.latencies.merge(&acked.latencies);
    }
    finish(target, name, size, partitions, &all, usage).await
}

/// One record at a time, a call each.
pub(crate) async fn call(
    mut wire: Wire,
    topic: String,
    partition: i32,
    size: usize,
    gate: Gate,
) -> Result<Acked, Failure> {
    let set = Batch::of(1, size).encoded;
    let mut acked = Acked { records: 0, latencies: Latencies::new() };
    loop {
        let sent = Instant::now();
        if gate.is_over(sent) || !gate.take(size as u64) {
            return Ok(acked);
        }
        let append = request(&topic, partition, set.clone(), Durability::Quorum);
        wire.produce(append).await?;
        acked.count(sent, &gate);
    }
}

/// One record at a time in one stream, to the first partition of a topic.
pub(crate) async fn in_stream(
    address: &str,
    topic: &str,
    size: usize,
    gate: &Gate,
) -> Result<Acked, Failure> {
    let set = Batch::of(1, size).encoded;
    let mut acked = Acked { records: 0, latencies: Latencies::new() };
    let mut wire = Wire::connect(address).await?;
    let (requests, queue) = mpsc::channel(1);
    let mut answers = wire.produce_stream(ReceiverStream::new(queue)).await?;
    loop {
        let sent = Instant::now();
        if gate.is_over(sent) || !gate.take(size as u64) {
            return Ok(acked);
        }
        let append = request(topic, 0, set.clone(), Durability::Quorum);
        let message = ProduceStreamRequest { correlation: 0, request: Some(append) };
        requests.send(message).await?;
        let answer = answers.message().await?;
        check(&answer.ok_or("the broker ended a stream of appends")?)?;
        acked.count(sent, gate);
    }
}

impl Acked {
    /// One record was acked.
    fn count(&mut self, sent: Instant, gate: &Gate) {
        let now = Instant::now();
        if gate.is_open(now) {
            self.records += 1;
            self.latencies.record(now - sent);
        }
    }
}

async fn finish(
    target: Target,
    name: &str,
    size: usize,
    partitions: u32,
    acked: &Acked,
    usage: crate::target::Usage,
) -> Result<Row, Failure> {
    target.end().await?;
    let rate = per_second(acked.records, usage.seconds);
    let mut row = Row::new("single", name).rate(rate, size).used(&usage);
    row.partitions = Some(partitions);
    row.size = Some(size);
    row.latency = acked.latencies.percentiles();
    Ok(row)
}
