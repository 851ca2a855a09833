//! One record at a time, each waited for, at the leader of its partition; beside one broker.

use super::run::{Context, NODES};
use crate::goals::figure::{Figure, Goal};
use crate::goals::run::RECORD;
use crate::scenarios::single::{call, in_stream};
use crate::stats::Latencies;
use crate::wire::{Failure, Wire};

/// One turn of each: of three brokers, and of one.
#[derive(Debug)]
struct Round {
    stream: (Latencies, Latencies),
    unary: (Latencies, Latencies),
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let mut rounds = Vec::new();
    for _ in 0..context.options.rounds() {
        context.check_disk(context.options.max_write())?;
        rounds.push(Round {
            stream: (turn(context, NODES, true).await?, turn(context, 1, true).await?),
            unary: (turn(context, NODES, false).await?, turn(context, 1, false).await?),
        });
    }
    report(context, &rounds);
    Ok(())
}

async fn turn(context: &Context<'_>, count: u16, is_stream: bool) -> Result<Latencies, Failure> {
    let nodes = context.nodes(count).await?;
    let topic = nodes.topic(1).await?;
    let leader = nodes.address(topic.leaders[0]);
    let gate = context.gate();
    let acked = if is_stream {
        in_stream(leader, &topic.name, RECORD, &gate).await?
    } else {
        let wire = Wire::connect(leader).await?;
        call(wire, topic.name.clone(), 0, RECORD, gate).await?
    };
    nodes.end().await?;
    Ok(acked.latencies)
}

fn report(context: &mut Context<'_>, rounds: &[Round]) {
    type Of = fn(&Round) -> &(Latencies, Latencies);
    let cases: [(&str, Of); 2] =
        [("ProduceStream", |round| &round.stream), ("Produce", |round| &round.unary)];
    for (case, of) in cases {
        for (what, is_p99, most) in [("p50 ms", false, 3.0), ("p99 ms", true, 4.0)] {
            let pair = |round: &Round| {
                let (three, one) = of(round);
                (percentile(three, is_p99), percentile(one, is_p99))
            };
            let pairs: Vec<_> = rounds.iter().map(pair).collect();
            let figure = Figure::beside("single", case, what, "1 broker", &pairs);
            context.report.figure(figure.map(|figure| figure.goal(Goal::RatioAtMost(most))));
        }
    }
    let (mut three, mut one) = (Latencies::new(), Latencies::new());
    for round in rounds {
        three.merge(&round.stream.0);
        one.merge(&round.stream.1);
    }
    for (name, all) in [("3 brokers", three), ("1 broker", one)] {
        context.report.series("single", name, ["share", "ms"], &all.curve());
    }
}

/// In milliseconds. Nothing was recorded: no number.
pub(crate) fn percentile(latencies: &Latencies, is_p99: bool) -> f64 {
    let found = latencies.percentiles();
    found.map_or(f64::NAN, |found| if is_p99 { found.p99 } else { found.p50 })
}
