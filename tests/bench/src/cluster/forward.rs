//! A call through a broker that does not lead the partition, beside the same call at the leader.

use super::nodes::{Led, Nodes};
use super::path::{BATCH, PRODUCERS};
use super::run::{Context, NODES};
use super::single::percentile;
use super::turn::Turn;
use crate::goals::figure::{Figure, Goal};
use crate::goals::run::{PARTITIONS, RECORD, load_of};
use crate::scenarios::single::{call, in_stream};
use crate::stats::Latencies;
use crate::wire::{Failure, Wire};

/// What one record at a time takes around the leader, and direct.
#[derive(Debug)]
struct Round {
    stream: (Latencies, Latencies),
    unary: (Latencies, Latencies),
    full: (Turn, Turn),
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let mut rounds = Vec::new();
    for number in 0..context.options.rounds() {
        // Two turns are kept at a time.
        context.check_disk(2 * context.options.max_write())?;
        let nodes = context.nodes(NODES).await?;
        let topic = nodes.topic(PARTITIONS).await?;
        // Neither is always the first.
        let is_swapped = number % 2 == 1;
        rounds.push(Round {
            stream: both(is_swapped, async |direct| {
                record(context, &nodes, &topic, direct, true).await
            })
            .await?,
            unary: both(is_swapped, async |direct| {
                record(context, &nodes, &topic, direct, false).await
            })
            .await?,
            full: both(is_swapped, async |direct| full(context, &nodes, &topic, direct).await)
                .await?,
        });
        nodes.end().await?;
    }
    report(context, &rounds);
    Ok(())
}

/// A turn around the leader and one direct, in either order.
async fn both<T>(
    direct_first: bool,
    turn: impl AsyncFn(bool) -> Result<T, Failure>,
) -> Result<(T, T), Failure> {
    if direct_first {
        let direct = turn(true).await?;
        Ok((turn(false).await?, direct))
    } else {
        Ok((turn(false).await?, turn(true).await?))
    }
}

fn addresses(nodes: &Nodes, topic: &Led, is_direct: bool) -> Vec<String> {
    if is_direct { topic.direct(nodes) } else { topic.around(nodes) }
}

async fn record(
    context: &Context<'_>,
    nodes: &Nodes,
    topic: &Led,
    is_direct: bool,
    is_stream: bool,
) -> Result<Latencies, Failure> {
    let address = &addresses(nodes, topic, is_direct)[0];
    let gate = context.gate();
    let acked = if is_stream {
        in_stream(address, &topic.name, RECORD, &gate).await?
    } else {
        call(Wire::connect(address).await?, topic.name.clone(), 0, RECORD, gate).await?
    };
    Ok(acked.latencies)
}

async fn full(
    context: &Context<'_>,
    nodes: &Nodes,
    topic: &Led,
    is_direct: bool,
) -> Result<Turn, Failure> {
    nodes.settled().await?;
    let load = load_of(&topic.name, PRODUCERS, BATCH, PARTITIONS);
    Turn::run(nodes, &load, &addresses(nodes, topic, is_direct), &context.gate()).await
}

fn report(context: &mut Context<'_>, rounds: &[Round]) {
    type Of = fn(&Round) -> &(Latencies, Latencies);
    let cases: [(&str, Of); 2] =
        [("ProduceStream", |round| &round.stream), ("Produce", |round| &round.unary)];
    for (case, of) in cases {
        let pairs = |is_p99| -> Vec<(f64, f64)> {
            let pair = |(around, direct): &(Latencies, Latencies)| {
                (percentile(around, is_p99), percentile(direct, is_p99))
            };
            rounds.iter().map(|round| pair(of(round))).collect()
        };
        for (what, is_p99) in [("p50 ms", false), ("p99 ms", true)] {
            let figure = Figure::beside("forward", case, what, "leader", &pairs(is_p99));
            context.report.figure(figure);
        }
        let more = pairs(false).iter().map(|(around, direct)| around - direct).collect();
        let figure = Figure::of("forward", case, "p50 ms more", more);
        context.report.figure(figure.map(|figure| figure.goal(Goal::AtMost(0.3))));
    }
    let case = format!("{PRODUCERS} x {BATCH}");
    let pairs = |of: fn(&Turn) -> f64| -> Vec<(f64, f64)> {
        rounds.iter().map(|round| (of(&round.full.0), of(&round.full.1))).collect()
    };
    let rate = pairs(|turn| turn.megabytes_per_second);
    let rate = Figure::beside("forward", &case, "MB/s", "leaders", &rate);
    context.report.figure(rate.map(|figure| figure.goal(Goal::RatioAtLeast(0.6))));
    let cores = pairs(|turn| turn.broker_cores);
    context.report.figure(Figure::beside("forward", &case, "broker cores", "leaders", &cores));
}
