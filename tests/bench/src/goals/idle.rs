//! What very many partitions cost that were written to once and do nothing.

use std::time::Duration;

use tokio::time::sleep;

use super::figure::{Figure, Goal};
use super::run::{Context, full_load, settled};
use crate::gate::Gate;
use crate::options::EngineKind;
use crate::wire::Failure;

/// How long an idle broker is watched.
const WATCHED: Duration = Duration::from_secs(20);
const WATCHED_QUICK: Duration = Duration::from_secs(5);
/// How long it is left alone before: its last checkpoint is made after 5 s, and what memory that
/// took is given back within 10.
const SETTLE: Duration = Duration::from_secs(20);

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let partitions = context.options.many_partitions();
    let target = context.target(EngineKind::Disk, partitions).await?;
    let load = full_load(&target, 1, 1, partitions);
    let bytes = load.batch.value_bytes * u64::from(partitions);
    load.run(target.address(), &Gate::for_bytes(bytes)).await?;
    settled(|| target.io()).await?;
    sleep(SETTLE).await;
    let span = context.options.pick(WATCHED_QUICK, WATCHED);
    let usage = target.watch_until(sleep(span)).await?;
    target.end().await?;
    let case = format!("{partitions} partitions");
    let percent = usage.broker_cores.unwrap_or(f64::NAN) * 100.0;
    let rss = usage.rss.unwrap_or_default() as f64 / f64::from(1 << 20);
    let cpu = Figure::of("idle", &case, "CPU %", vec![percent]);
    let cpu = cpu.map(|figure| figure.goal(Goal::AtMost(3.0)).note("of one core"));
    context.report.figure(cpu);
    let rss = Figure::of("idle", &case, "RSS MiB", vec![rss]);
    let most = 200e6 / f64::from(1 << 20);
    let rss = rss.map(|figure| figure.goal(Goal::AtMost(most)).note("the goal is 200 MB"));
    context.report.figure(rss);
    Ok(())
}
