//! Reading at the tail while producers go at full speed.
//!
//! The rate is that of what subscribers got, all together. Only what is committed is delivered,
//! whatever producers wait for: with DURABILITY_NONE they run ahead of the disk as far as the
//! broker lets them.

use ropewalk_proto::broker::Durability;
use tokio::task::JoinSet;

use super::{Context, name, per_second};
use crate::gate::Gate;
use crate::reader::{Delivered, Reader};
use crate::report::Row;
use crate::target::Target;
use crate::wire::Failure;

/// The size of a record's value.
const SIZE: usize = 100;

#[derive(Debug)]
struct Case {
    partitions: u32,
    durability: Durability,
    subscribers: u32,
    /// Whether subscribers decode every record, and not only what is around a batch.
    decodes: bool,
}

pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    let mut cases = Vec::new();
    for &partitions in &context.options.partitions {
        for (durability, subscribers, decodes) in [
            (Durability::Quorum, 1, false),
            (Durability::None, 1, false),
            (Durability::None, 1, true),
            (Durability::None, 4, false),
        ] {
            cases.push(Case { partitions, durability, subscribers, decodes });
        }
    }
    context.rounds(&cases, async |case| one(context, case).await).await
}

async fn one(context: &Context<'_>, case: &Case) -> Result<Row, Failure> {
    let target = context.target(case.partitions).await?;
    let mut readers = Vec::new();
    for _ in 0..case.subscribers {
        let reader = Reader::at_tail(target.address(), &target.topic, case.decodes);
        readers.push(reader.await?);
    }
    let load = context.load(&target, case.partitions, SIZE, case.durability);
    let gate = context.gate();
    let (acked, usage, delivered) = tokio::try_join!(
        load.run(target.address(), &gate),
        target.watch(&gate),
        read(readers, &gate)
    )?;
    row(case, target, acked.records, usage, delivered).await
}

async fn row(
    case: &Case,
    target: Target,
    acked: u64,
    usage: crate::target::Usage,
    delivered: Delivered,
) -> Result<Row, Failure> {
    target.end().await?;
    let how = if case.decodes { ", decoding" } else { "" };
    let subscribers = case.subscribers;
    let what = format!("{subscribers} sub{how}, {}", name(case.durability));
    let rate = per_second(delivered.records, usage.seconds);
    let mut row = Row::new("tail", what).rate(rate, SIZE).used(&usage);
    row.partitions = Some(case.partitions);
    row.size = Some(SIZE);
    row.note = format!("produced {}/s", crate::stats::grouped(per_second(acked, usage.seconds)));
    if delivered.returns > 0 {
        let times = delivered.returns;
        row.note.push_str(&format!(", fell behind the tail {times} times"));
    }
    Ok(row)
}

/// Reads with all of them until the gate closes.
async fn read(readers: Vec<Reader>, gate: &Gate) -> Result<Delivered, Failure> {
    let mut running = JoinSet::new();
    for reader in readers {
        running.spawn(reader.run(gate.clone()));
    }
    let mut total = Delivered::default();
    while let Some(delivered) = running.join_next().await {
        let delivered = delivered??;
        total.records += delivered.records;
        total.batches += delivered.batches;
        total.returns += delivered.returns;
    }
    Ok(total)
}
