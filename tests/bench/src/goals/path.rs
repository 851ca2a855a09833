//! The whole path, client and broker on the same cores: on the disk, and the same without one.
//!
//! Each shape goes at full speed, and with one batch of each producer in flight.

use tokio::time::Instant;

use super::figure::{Figure, Goal};
use super::run::{Context, PARTITIONS, RECORD, WINDOW, full_load};
use crate::options::EngineKind;
use crate::stats::Percentiles;
use crate::wire::Failure;

/// Who produces what.
#[derive(Clone, Copy, Debug)]
struct Shape {
    producers: u32,
    /// In a batch.
    records: usize,
    partitions: u32,
}

const SHAPES: [Shape; 3] = [
    Shape { producers: 1, records: 100, partitions: 1 },
    Shape { producers: 1, records: 1000, partitions: 1 },
    Shape { producers: 16, records: 100, partitions: PARTITIONS },
];

#[derive(Clone, Copy, Debug)]
struct Turn {
    megabytes_per_second: f64,
    latency: Percentiles,
    broker_cores: f64,
    client_cores: f64,
    rss: f64,
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    context.check_disk(context.options.max_write())?;
    for shape in SHAPES {
        for window in [WINDOW, 1] {
            let mut rounds = Vec::new();
            for _ in 0..context.options.rounds() {
                let disk = turn(context, EngineKind::Disk, shape, window).await?;
                let memory = turn(context, EngineKind::Memory, shape, window).await?;
                rounds.push((disk, memory));
            }
            report(context, shape, window, &rounds);
        }
    }
    Ok(())
}

async fn turn(
    context: &Context<'_>,
    engine: EngineKind,
    shape: Shape,
    window: usize,
) -> Result<Turn, Failure> {
    let target = context.target(engine, shape.partitions).await?;
    let mut load = full_load(&target, shape.producers, shape.records, shape.partitions);
    load.window = window;
    let gate = context.gate();
    let opens = gate.opens();
    // The gate may close early, when enough is written.
    let timed = async {
        let acked = load.run(target.address(), &gate).await?;
        Ok::<_, Failure>((acked, Instant::now()))
    };
    let ((acked, ended), usage) = tokio::try_join!(timed, target.watch(&gate))?;
    target.end().await?;
    let seconds = usage.seconds.min((ended - opens).as_secs_f64());
    Ok(Turn {
        megabytes_per_second: acked.records as f64 * RECORD as f64 / 1e6 / seconds,
        latency: acked.latencies.percentiles().ok_or("nothing was acked: raise --seconds")?,
        broker_cores: usage.broker_cores.unwrap_or_default(),
        client_cores: usage.client_cores.unwrap_or_default(),
        rss: usage.rss.unwrap_or_default() as f64 / f64::from(1 << 20),
    })
}

fn report(context: &mut Context<'_>, shape: Shape, window: usize, rounds: &[(Turn, Turn)]) {
    let Shape { producers, records, partitions } = shape;
    let case = format!("{producers} x {records}, {window} in flight");
    let pairs = |of: fn(&Turn) -> f64| -> Vec<(f64, f64)> {
        rounds.iter().map(|(disk, memory)| (of(disk), of(memory))).collect()
    };
    let beside =
        |what, of: fn(&Turn) -> f64| Figure::beside("path", &case, what, "memory", &pairs(of));
    let rate = beside("MB/s", |turn| turn.megabytes_per_second);
    let rate = rate.map(|figure| figure.note(format!("{partitions} partitions")));
    // At full speed; a producer that waits for each batch waits for the disk too.
    let is_held = window > 1;
    let rate =
        rate.map(|figure| if is_held { figure.goal(Goal::RatioAtLeast(0.7)) } else { figure });
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
