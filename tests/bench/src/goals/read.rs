//! Reading everything from the start, by one subscriber, beside a raw sequential read of as many
//! bytes: from the page cache, and from the disk.

use super::figure::{Figure, Goal};
use super::groups::blocking;
use super::raw::{read_file, write_file};
use super::run::{Context, PARTITIONS, full_load, settled};
use crate::gate::Gate;
use crate::options::EngineKind;
use crate::scenarios::replay::{read, restart};
use crate::target::{Target, temporary_in};
use crate::wire::Failure;

/// Of what is read.
const PRODUCERS: u32 = 4;
const BATCH: usize = 256;

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let bytes = context.options.read_bytes();
    let dir = temporary_in(&context.options.dir())?;
    let raw = dir.path().join("control");
    blocking(|| write_file(&raw, bytes))?;
    for partitions in [1, PARTITIONS] {
        context.check_disk(bytes)?;
        let mut target = loaded(context, partitions, bytes).await?;
        let (mut cached, mut cold) = (Vec::new(), Vec::new());
        for _ in 0..context.options.rounds() {
            let rate = rate(&target, partitions, bytes).await?;
            cached.push((rate, blocking(|| read_file(&raw, false))?));
        }
        for _ in 0..context.options.rounds() {
            restart(&mut target).await?;
            settled(|| target.io()).await?;
            let rate = rate(&target, partitions, bytes).await?;
            cold.push((rate, blocking(|| read_file(&raw, true))?));
        }
        target.end().await?;
        let figure = |case, pairs: &[(f64, f64)]| {
            let case = format!("{case}, {partitions} partitions");
            let figure = Figure::beside("read", case, "MB/s", "raw sequential read", pairs);
            figure.map(|figure| figure.note(format!("{} MiB", bytes >> 20)))
        };
        context.report.figure(figure("cached", &cached));
        let cold = figure("cold", &cold).map(|figure| figure.goal(Goal::RatioAtLeast(0.8)));
        context.report.figure(cold);
    }
    Ok(())
}

/// A broker that was given so many bytes, and has put them where they stay.
pub(crate) async fn loaded(
    context: &Context<'_>,
    partitions: u32,
    bytes: u64,
) -> Result<Target, Failure> {
    let target = context.target(EngineKind::Disk, partitions).await?;
    let load = full_load(&target, PRODUCERS, BATCH, partitions);
    load.run(target.address(), &Gate::for_bytes(bytes)).await?;
    settled(|| target.io()).await?;
    Ok(target)
}

async fn rate(target: &Target, partitions: u32, bytes: u64) -> Result<f64, Failure> {
    let size = super::run::RECORD;
    let batch = (BATCH * size) as u64;
    let produced = bytes / batch * BATCH as u64;
    let row = read(target, "goals", partitions, size, produced).await?;
    row.megabytes_per_second.ok_or_else(|| "a read without a rate".into())
}
