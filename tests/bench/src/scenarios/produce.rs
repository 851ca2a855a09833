//! Batches at full speed: what a broker takes, and how long its answers take meanwhile.

use ropewalk_proto::broker::Durability;

use super::{Context, grid, name, per_second};
use crate::report::Row;
use crate::wire::Failure;

#[derive(Debug)]
struct Case {
    durability: Durability,
    partitions: u32,
    size: usize,
}

pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    let mut cases = Vec::new();
    for durability in [Durability::Quorum, Durability::None] {
        for (partitions, size) in grid(context.options) {
            cases.push(Case { durability, partitions, size });
        }
    }
    context.rounds(&cases, async |case| one(context, case).await).await
}

async fn one(context: &Context<'_>, case: &Case) -> Result<Row, Failure> {
    let target = context.target(case.partitions).await?;
    let load = context.load(&target, case.partitions, case.size, case.durability);
    let gate = context.gate();
    let (acked, usage) = tokio::try_join!(load.run(target.address(), &gate), target.watch(&gate))?;
    target.end().await?;
    let rate = per_second(acked.records, usage.seconds);
    let mut row = Row::new("produce", name(case.durability)).rate(rate, case.size);
    row.partitions = Some(case.partitions);
    row.size = Some(case.size);
    row.latency = acked.latencies.percentiles();
    Ok(row.used(&usage))
}
