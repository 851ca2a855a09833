//! One follower that is stopped half of the time, beside the same brokers when none is.
//!
//! The broker leads nothing meanwhile: what is measured is what a slow follower costs, not
//! elections.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::nodes::{Led, Nodes};
use super::path::{BATCH, PRODUCERS};
use super::run::{Context, NODES};
use super::turn::Turn;
use crate::gate::Gate;
use crate::goals::figure::{Figure, Goal};
use crate::goals::run::{PARTITIONS, load_of};
use crate::wire::Failure;

/// How long the broker is stopped, and then runs, over and over.
const STOPPED: Duration = Duration::from_millis(500);
/// A turn has at least so many of both.
const TIMES: u32 = 6;
/// The place of the slow broker.
const SLOW: usize = 2;
const LOOK: Duration = Duration::from_millis(100);
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let mut rounds = Vec::new();
    for number in 0..context.options.rounds() {
        // Two turns are kept at a time.
        context.check_disk(2 * context.options.max_write())?;
        let mut nodes = context.nodes(NODES).await?;
        nodes.drain(SLOW).await?;
        let topic = nodes.topic(PARTITIONS).await?;
        let pair = if number % 2 == 0 {
            let slow = turn(context, &nodes, &topic, true).await?;
            (slow, turn(context, &nodes, &topic, false).await?)
        } else {
            let healthy = turn(context, &nodes, &topic, false).await?;
            (turn(context, &nodes, &topic, true).await?, healthy)
        };
        rounds.push(pair);
        nodes.end().await?;
    }
    report(context, &rounds);
    Ok(())
}

async fn turn(
    context: &Context<'_>,
    nodes: &Nodes,
    topic: &Led,
    is_slow: bool,
) -> Result<Turn, Failure> {
    caught_up(nodes, topic).await?;
    nodes.settled().await?;
    let options = context.options;
    let span = options.span().max(2 * STOPPED * TIMES);
    let gate = Gate::new(options.warm_up(), span, options.max_write());
    let load = load_of(&topic.name, PRODUCERS, BATCH, PARTITIONS);
    let addresses = topic.direct(nodes);
    let running = Turn::run(nodes, &load, &addresses, &gate);
    if !is_slow {
        return running.await;
    }
    let broker = nodes.broker(SLOW);
    let stopping = async {
        while !gate.is_over(Instant::now()) {
            broker.pause()?;
            sleep(STOPPED).await;
            broker.resume()?;
            sleep(STOPPED).await;
        }
        Ok::<(), Failure>(())
    };
    Ok(tokio::try_join!(running, stopping)?.0)
}

/// Waits until every replica has everything.
async fn caught_up(nodes: &Nodes, topic: &Led) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let described = nodes.client().admin().topic(&topic.name).await?;
        let replicas = described.partitions.iter().flat_map(|partition| &partition.members);
        let has_all = described.partitions.iter().all(|partition| !partition.members.is_empty())
            && replicas.clone().all(|replica| replica.lag == 0);
        if has_all {
            return Ok(());
        }
        if started.elapsed() > WITHIN {
            return Err(format!("a follower did not catch up within {WITHIN:?}").into());
        }
        sleep(LOOK).await;
    }
}

fn report(context: &mut Context<'_>, rounds: &[(Turn, Turn)]) {
    let case = format!("{PRODUCERS} x {BATCH}");
    let pairs = |of: fn(&Turn) -> f64| -> Vec<(f64, f64)> {
        rounds.iter().map(|(slow, healthy)| (of(slow), of(healthy))).collect()
    };
    let beside =
        |what, of: fn(&Turn) -> f64| Figure::beside("slow", &case, what, "all healthy", &pairs(of));
    let rate = beside("MB/s", |turn| turn.megabytes_per_second);
    let note = format!("a follower stopped for {} ms of each second", STOPPED.as_millis());
    let figures = [
        rate.map(|figure| figure.goal(Goal::RatioAtLeast(0.8)).note(note)),
        beside("p50 ms", |turn| turn.latency.p50),
        beside("p99 ms", |turn| turn.latency.p99),
        beside("RSS MiB", |turn| turn.rss),
    ];
    for figure in figures {
        context.report.figure(figure);
    }
}
