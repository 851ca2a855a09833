//! From the start of a broker that was killed at full load to its first answered append.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::figure::{Figure, Goal};
use super::run::{Context, PARTITIONS, full_load};
use crate::gate::Gate;
use crate::options::EngineKind;
use crate::scenarios::footprint::first_ack;
use crate::wire::Failure;

/// The producers at full load, and the records of a batch: few where there are many partitions, so
/// that all of them are written to.
const PRODUCERS: u32 = 16;
const BATCH: usize = 100;
const SMALL_BATCH: usize = 4;
/// Full load goes on for so long before the kill, or until enough is written.
const LOADED: Duration = Duration::from_secs(10);
const LOADED_QUICK: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let many = context.options.many_partitions();
    for (partitions, batch, most) in [(PARTITIONS, BATCH, 2.0), (many, SMALL_BATCH, 5.0)] {
        context.check_disk(context.options.max_write())?;
        let mut rounds = Vec::new();
        for _ in 0..context.options.rounds() {
            rounds.push(one(context, partitions, batch).await?);
        }
        let acked = rounds.iter().map(|round| round.1).collect();
        let seconds = rounds.iter().map(|round| round.0.as_secs_f64()).collect();
        let case = format!("{partitions} partitions");
        let figure = Figure::of("recovery", &case, "first ack s", seconds);
        context.report.figure(figure.map(|figure| figure.goal(Goal::AtMost(most))));
        context.report.figure(Figure::of("recovery", &case, "MiB written", acked));
    }
    Ok(())
}

/// Returns the time, and the MiB that were handed to the disk before the kill.
async fn one(
    context: &Context<'_>,
    partitions: u32,
    batch: usize,
) -> Result<(Duration, f64), Failure> {
    let mut target = context.target(EngineKind::Disk, partitions).await?;
    let load = full_load(&target, PRODUCERS.min(partitions), batch, partitions);
    let (address, topic) = (target.address().to_owned(), target.topic.clone());
    let before = target.io()?;
    // It ends with the broker.
    let gate = Gate::for_bytes(u64::MAX);
    let running = tokio::spawn(async move { load.run(&address, &gate).await });
    let loaded = Instant::now() + context.options.pick(LOADED_QUICK, LOADED);
    let mut written = 0;
    while Instant::now() < loaded && written < context.options.max_write() {
        sleep(LOOK).await;
        written = target.io()?.since(before).handed;
        if running.is_finished() {
            running.await??;
            return Err("the load ended before the kill".into());
        }
    }
    target.broker().ok_or("the broker is not ours")?.kill9().await?;
    // The load has lost its broker: how it ends is no news.
    let _ = running.await?;
    let data = target.data_dir().ok_or("the broker has no directory")?;
    let took = first_ack(&data, EngineKind::Disk, &topic).await?;
    Ok((took, written as f64 / f64::from(1 << 20)))
}
