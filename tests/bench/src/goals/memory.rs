//! The broker's memory while some gigabytes are produced and read at the tail, and while they are
//! read again from the start.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::figure::{Figure, Goal, Spread};
use super::run::{Context, PARTITIONS, full_load, settled};
use crate::gate::Gate;
use crate::options::EngineKind;
use crate::reader::Reader;
use crate::target::Target;
use crate::wire::Failure;

const SAMPLE: Duration = Duration::from_millis(250);
const PRODUCERS: u32 = 16;
const BATCH: usize = 100;
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let bytes = context.options.memory_bytes();
    context.check_disk(bytes)?;
    let target = context.target(EngineKind::Disk, PARTITIONS).await?;
    let began = Instant::now();
    let load = full_load(&target, PRODUCERS, BATCH, PARTITIONS);
    let reader = Reader::at_tail(target.address(), &target.topic, false).await?;
    let gate = Gate::for_bytes(bytes);
    let producing = async {
        let produced = async { load.run(target.address(), &gate).await };
        tokio::try_join!(produced, reader.run(gate.clone()))?;
        Ok::<(), Failure>(())
    };
    let mut samples = sample(&target, began, producing).await?;
    let produced_at = began.elapsed().as_secs_f64();
    let reading = async {
        let reader = Reader::from_start(target.address(), &target.topic).await?;
        reader.read_all().await?;
        Ok::<(), Failure>(())
    };
    samples.extend(sample(&target, began, reading).await?);
    settled(|| target.io()).await?;
    let after = target.rss()?.unwrap_or_default() as f64 / MIB;
    target.end().await?;

    let case = format!("{} MiB in and out", bytes >> 20);
    let most = samples.iter().map(|sample| sample.1).fold(0.0, f64::max);
    let gib = bytes as f64 / MIB / 1024.0;
    // Where a broker warms up is no slope: the second half of producing.
    let half: Vec<_> =
        samples.iter().copied().filter(|s| s.0 > produced_at / 2.0 && s.0 < produced_at).collect();
    let slope = slope(&half) * produced_at / gib;
    let figures = [
        Figure::of("memory", &case, "max RSS MiB", vec![most])
            .map(|figure| figure.goal(Goal::AtMost(250e6 / MIB)).note("the goal is 250 MB")),
        Figure::of("memory", &case, "RSS after MiB", vec![after]),
        Figure::of("memory", &case, "MiB per GiB", vec![slope])
            .map(|figure| figure.note("the slope, over the second half of producing")),
        Spread::of(samples.iter().map(|sample| sample.1).collect())
            .and_then(|spread| Figure::of("memory", &case, "RSS p50 MiB", vec![spread.median])),
    ];
    for figure in figures {
        context.report.figure(figure);
    }
    context.report.series("memory", "RSS", ["s", "MiB"], &samples);
    Ok(())
}

/// Watches the memory until something is done: seconds and MiB.
async fn sample(
    target: &Target,
    began: Instant,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<Vec<(f64, f64)>, Failure> {
    let mut samples = Vec::new();
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done.map(|()| samples),
            _ = ticks.tick() => {
                let rss = target.rss()?.unwrap_or_default() as f64 / MIB;
                samples.push((began.elapsed().as_secs_f64(), rss));
            }
        }
    }
}

/// The slope of the straight line through points that leaves the least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let below: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let above: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        let points: Vec<_> =
            (0..10).map(|x| (f64::from(x), 3.0f64.mul_add(f64::from(x), 1.0))).collect();
        assert!((slope(&points) - 3.0).abs() < 1e-9);
        assert_eq!(slope(&[]), 0.0);
        assert_eq!(slope(&[(1.0, 2.0)]), 0.0);
    }
}
