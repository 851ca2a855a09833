//! Reading from the start: what was produced before, by one subscriber.
//!
//! Warm is the broker that took the records. Cold is one that was stopped and started again, with
//! the pages of its files dropped from memory.

use ropewalk_proto::broker::Durability;
use tokio::sync::oneshot;

use super::{Context, grid, per_second};
use crate::gate::Gate;
use crate::machine::drop_pages;
use crate::options::EngineKind;
use crate::reader::Reader;
use crate::report::Row;
use crate::target::Target;
use crate::wire::Failure;

pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    let is_own = context.options.broker.is_none();
    let is_kept = is_own && context.options.engine == EngineKind::Disk;
    for (partitions, size) in grid(context.options) {
        context.check_disk()?;
        let mut target = context.target(partitions).await?;
        let load = context.load(&target, partitions, size, Durability::Quorum);
        let gate = Gate::for_bytes(context.options.replay_bytes());
        let produced = load.run(target.address(), &gate).await?.records;
        let mut warm = Vec::new();
        let mut cold = Vec::new();
        for _ in 0..context.options.runs() {
            warm.push(read(&target, "warm", partitions, size, produced).await?);
        }
        // Stopping takes long where much is kept: two are enough to see a stray figure.
        for _ in 0..context.options.runs().min(2) * usize::from(is_kept) {
            restart(&mut target).await?;
            cold.push(read(&target, "cold", partitions, size, produced).await?);
        }
        target.end().await?;
        for rows in [warm, cold] {
            if let Some(row) = Row::median(rows) {
                context.report.row(&row);
            }
        }
    }
    Ok(())
}

/// Stops the broker, and starts it again with nothing of its files in memory.
pub(crate) async fn restart(target: &mut Target) -> Result<(), Failure> {
    let dir = target.data_dir();
    if let (Some(dir), Some(broker)) = (dir, target.broker()) {
        broker.terminate().await?;
        tokio::task::spawn_blocking(move || drop_pages(&dir)).await??;
        broker.restart().await?;
    }
    Ok(())
}

/// Reads everything from the start.
pub(crate) async fn read(
    target: &Target,
    case: &'static str,
    partitions: u32,
    size: usize,
    produced: u64,
) -> Result<Row, Failure> {
    let reader = Reader::from_start(target.address(), &target.topic).await?;
    let (done, is_done) = oneshot::channel();
    let reading = async {
        let delivered = reader.read_all().await;
        // The watch may have failed before.
        let _ = done.send(());
        delivered
    };
    let watching = target.watch_until(async {
        let _ = is_done.await;
    });
    let (delivered, usage) = tokio::try_join!(reading, watching)?;
    if delivered.records < produced {
        let read = delivered.records;
        return Err(format!("{produced} records were acked, and {read} were read").into());
    }
    let rate = per_second(delivered.records, usage.seconds);
    let mut row = Row::new("replay", case).rate(rate, size).used(&usage);
    row.partitions = Some(partitions);
    row.size = Some(size);
    let mebibytes = (delivered.records * size as u64) >> 20;
    let mean = delivered.records / delivered.batches.max(1);
    row.note = format!("{mebibytes} MiB, {mean} records a batch");
    Ok(row)
}
