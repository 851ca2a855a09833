//! What the broker writes for each byte that is produced, to the end of what it does with it in the
//! background.

use super::figure::{Figure, Goal};
use super::run::{Context, PARTITIONS, RECORD, full_load, settled};
use crate::gate::Gate;
use crate::options::EngineKind;
use crate::scenarios::single::in_stream;
use crate::target::Target;
use crate::wire::Failure;

const MIB: u64 = 1024 * 1024;
/// The producers at full load, and the records of a batch.
const PRODUCERS: u32 = 16;
const BATCH: usize = 100;

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let bytes = context.options.pick(128 * MIB, 1024 * MIB);
    context.check_disk(bytes)?;
    let target = context.target(EngineKind::Disk, PARTITIONS).await?;
    let load = full_load(&target, PRODUCERS, BATCH, PARTITIONS);
    // What a gate lets through are whole batches.
    let bytes = bytes - bytes % load.batch.value_bytes;
    let case = format!("{PRODUCERS} x {BATCH}, full load");
    let before = target.io()?;
    load.run(target.address(), &Gate::for_bytes(bytes)).await?;
    report(context, &target, &case, before, bytes, Some(2.3)).await?;
    target.end().await?;

    let records = context.options.pick(500, 5_000);
    let target = context.target(EngineKind::Disk, 1).await?;
    let before = target.io()?;
    let bytes = records * RECORD as u64;
    in_stream(target.address(), &target.topic, RECORD, &Gate::for_bytes(bytes)).await?;
    report(context, &target, "1 record a sync", before, bytes, None).await?;
    target.end().await
}

async fn report(
    context: &mut Context<'_>,
    target: &Target,
    case: &str,
    before: crate::machine::Io,
    bytes: u64,
    most: Option<f64>,
) -> Result<(), Failure> {
    settled(|| target.io()).await?;
    let io = target.io()?.since(before);
    let per_byte = |written: u64| vec![written as f64 / bytes.max(1) as f64];
    let handed = Figure::of("bytes", case, "wchar/byte", per_byte(io.handed));
    let handed = handed.map(|figure| figure.note(format!("of {} KiB produced", bytes >> 10)));
    let goal = most.map(Goal::AtMost);
    let handed = handed.map(|figure| match goal {
        Some(goal) => figure.goal(goal),
        None => figure,
    });
    context.report.figure(handed);
    context.report.figure(Figure::of("bytes", case, "to disk/byte", per_byte(io.to_disk)));
    Ok(())
}
