//! What thousands of partitions with three replicas cost that were written to once and do nothing,
//! and how long it takes to make them.

use std::time::Duration;

use ropewalk::NewTopic;
use tokio::time::{Instant, sleep};

use super::run::{Context, NODES};
use crate::gate::Gate;
use crate::goals::figure::{Figure, Goal};
use crate::goals::run::load_of;
use crate::target::Usage;
use crate::wire::Failure;

/// How long idle brokers are watched.
const WATCHED: Duration = Duration::from_secs(30);
const WATCHED_QUICK: Duration = Duration::from_secs(10);
/// How long they are left alone before: their last checkpoint is made after 5 s, and what memory
/// that took is given back within 10.
const SETTLE: Duration = Duration::from_secs(20);

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    context.check_disk(0)?;
    let partitions = context.options.pick(600, 3_000);
    let nodes = context.nodes(NODES).await?;
    let replicas = i32::from(NODES);
    let topic = NewTopic::named("idle").partitions(i32::try_from(partitions)?);
    let started = Instant::now();
    nodes.client().admin().create_topic(topic.replication_factor(replicas)).await?;
    let created = started.elapsed().as_secs_f64();
    let topic = nodes.led("idle").await?;
    let led = started.elapsed().as_secs_f64();

    let load = load_of(&topic.name, 1, 1, partitions);
    let bytes = load.batch.value_bytes * u64::from(partitions);
    load.run(nodes.address(0), &Gate::for_bytes(bytes)).await?;
    nodes.settled().await?;
    sleep(SETTLE).await;
    let span = context.options.pick(WATCHED_QUICK, WATCHED);
    let each = nodes.watch_each(span).await?;
    nodes.end().await?;

    let case = format!("{partitions} partitions x {replicas}");
    let figure = |what, value| Figure::of("idle", &case, what, vec![value]);
    let cpu = |usage: &Usage| usage.broker_cores.unwrap_or(f64::NAN) * 100.0;
    let memory = |usage: &Usage| usage.rss.unwrap_or_default() as f64 / f64::from(1 << 20);
    let (cpu, cpu_note) = most(&each, cpu);
    let (rss, rss_note) = most(&each, memory);
    let goal = 200e6 / f64::from(1 << 20);
    let figures = [
        figure("s to create", created).map(|figure| figure.note("until the call answered")),
        figure("s to be led", led).map(|figure| figure.note("and every replica in sync")),
        figure("CPU %", cpu)
            .map(|figure| figure.goal(Goal::AtMost(5.0)).note(format!("of one core; {cpu_note}"))),
        figure("RSS MiB", rss).map(|figure| {
            figure.goal(Goal::AtMost(goal)).note(format!("the goal is 200 MB; {rss_note}"))
        }),
    ];
    for figure in figures {
        context.report.figure(figure);
    }
    Ok(())
}

/// The figure of the broker that has the most, and those of all.
fn most(each: &[Usage], of: impl Fn(&Usage) -> f64) -> (f64, String) {
    let values: Vec<_> = each.iter().map(of).collect();
    let texts: Vec<_> = values.iter().map(|value| format!("{value:.1}")).collect();
    let most = values.iter().copied().fold(f64::NAN, f64::max);
    (most, format!("the brokers: {}", texts.join(", ")))
}
