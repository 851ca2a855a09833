//! Batches of 1 KB records at full speed, each producer at its leader and each answer after a
//! quorum has the batch on its disk; beside one broker of the same binary.

use super::run::{Context, NODES};
use super::turn::Turn;
use crate::goals::figure::{Figure, Goal};
use crate::goals::run::{PARTITIONS, WINDOW, load_of};
use crate::wire::Failure;

/// Who produces what.
#[derive(Clone, Copy, Debug)]
struct Shape {
    producers: u32,
    partitions: u32,
    /// Batches in flight of each producer.
    window: usize,
    /// At least so many times the rate of one broker.
    least: Option<f64>,
}

/// The records of a batch.
pub(crate) const BATCH: usize = 100;
/// Producers at full load.
pub(crate) const PRODUCERS: u32 = 16;

const SHAPES: [Shape; 3] = [
    Shape { producers: PRODUCERS, partitions: PARTITIONS, window: WINDOW, least: Some(1.0 / 3.0) },
    Shape { producers: PRODUCERS, partitions: PARTITIONS, window: 1, least: None },
    Shape { producers: 1, partitions: 1, window: WINDOW, least: None },
];

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    for shape in SHAPES {
        let mut rounds = Vec::new();
        for _ in 0..context.options.rounds() {
            context.check_disk(context.options.max_write())?;
            let three = turn(context, NODES, shape).await?;
            let one = turn(context, 1, shape).await?;
            rounds.push((three, one));
        }
        report(context, shape, &rounds);
    }
    Ok(())
}

async fn turn(context: &Context<'_>, count: u16, shape: Shape) -> Result<Turn, Failure> {
    let nodes = context.nodes(count).await?;
    let topic = nodes.topic(shape.partitions).await?;
    let mut load = load_of(&topic.name, shape.producers, BATCH, shape.partitions);
    load.window = shape.window;
    let turn = Turn::run(&nodes, &load, &topic.direct(&nodes), &context.gate()).await?;
    nodes.end().await?;
    Ok(turn)
}

fn report(context: &mut Context<'_>, shape: Shape, rounds: &[(Turn, Turn)]) {
    let case = format!("{} x {BATCH}, {} in flight", shape.producers, shape.window);
    let pairs = |of: fn(&Turn) -> f64| -> Vec<(f64, f64)> {
        rounds.iter().map(|(three, one)| (of(three), of(one))).collect()
    };
    let beside =
        |what, of: fn(&Turn) -> f64| Figure::beside("path", &case, what, "1 broker", &pairs(of));
    let rate = beside("MB/s", |turn| turn.megabytes_per_second);
    let rate = rate.map(|figure| figure.note(format!("{} partitions", shape.partitions)));
    let rate = match shape.least {
        Some(least) => rate.map(|figure| figure.goal(Goal::RatioAtLeast(least))),
        None => rate,
    };
    let figures = [
        rate,
        beside("p50 ms", |turn| turn.latency.p50),
        beside("p99 ms", |turn| turn.latency.p99),
        beside("broker cores", |turn| turn.broker_cores),
        beside("client cores", |turn| turn.client_cores),
        beside("RSS MiB", |turn| turn.rss),
    ];
    for figure in figures {
        context.report.figure(figure);
    }
}
