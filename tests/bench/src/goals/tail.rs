//! From the producer to a subscriber at the tail, at a moderate rate: alone, and beside a
//! subscriber that reads the same partitions from their start, as fast as it can.
//!
//! The one that catches up has a thread of its own, as it would be a process of its own: it must
//! not hold up the one that is measured within this process.

use std::path::PathBuf;
use std::thread::JoinHandle;

use ropewalk_proto::broker::subscribe_response::Event;
use tokio::time::Instant;

use super::figure::{Figure, Goal};
use super::run::{Context, PARTITIONS, RECORD};
use crate::gate::Gate;
use crate::machine::drop_pages;
use crate::reader::Reader;
use crate::scenarios::latency::{produce, receive};
use crate::stats::Latencies;
use crate::target::Target;
use crate::wire::Failure;

/// What else reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Nobody,
    /// From the page cache.
    Cached,
    /// From the disk, as far as that can be had.
    Cold,
}

#[derive(Debug)]
struct Round {
    alone: Latencies,
    cached: (Latencies, f64),
    cold: (Latencies, f64),
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let bytes = context.options.read_bytes();
    context.check_disk(bytes)?;
    let target = super::read::loaded(context, PARTITIONS, bytes).await?;
    let mut rounds = Vec::new();
    for _ in 0..context.options.rounds() {
        rounds.push(Round {
            alone: turn(context, &target, Other::Nobody).await?.0,
            cached: turn(context, &target, Other::Cached).await?,
            cold: turn(context, &target, Other::Cold).await?,
        });
    }
    target.end().await?;
    report(context, &rounds);
    Ok(())
}

/// Returns the latencies at the tail, and the millions of bytes a second of the other reader.
async fn turn(
    context: &Context<'_>,
    target: &Target,
    other: Other,
) -> Result<(Latencies, f64), Failure> {
    let reader = Reader::at_tail(target.address(), &target.topic, true).await?;
    let gate = context.gate();
    let catching_up = match other {
        Other::Nobody => None,
        Other::Cached => Some(catch_up(target, &gate, None)),
        Other::Cold => Some(catch_up(target, &gate, target.data_dir())),
    };
    let began = Instant::now();
    let ((), latencies) = tokio::try_join!(
        produce(target, PARTITIONS, RECORD, began, &gate),
        receive(reader, began, &gate)
    )?;
    let rate = match catching_up {
        Some(thread) => {
            let joined = tokio::task::spawn_blocking(|| thread.join()).await?;
            joined.map_err(|_| "the reader that catches up panicked")??
        }
        None => 0.0,
    };
    Ok((latencies, rate))
}

/// Reads from the start, over and over, until the gate closes.
fn catch_up(
    target: &Target,
    gate: &Gate,
    cold: Option<PathBuf>,
) -> JoinHandle<Result<f64, Failure>> {
    let (address, topic) = (target.address().to_owned(), target.topic.clone());
    let gate = gate.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut records, mut seconds) = (0, 0.0);
            while !gate.is_over(Instant::now()) {
                if let Some(dir) = &cold {
                    // The broker may remove a file meanwhile: what is left is dropped next time.
                    let _ = drop_pages(dir);
                }
                let started = Instant::now();
                let mut reader = Reader::from_start(&address, &topic).await?;
                while let Some(event) = reader.next().await? {
                    if let Event::Batch(batch) = event {
                        records += u64::try_from(batch.record_count)?;
                    }
                    if gate.is_over(Instant::now()) {
                        break;
                    }
                }
                seconds += started.elapsed().as_secs_f64();
            }
            Ok(records as f64 * RECORD as f64 / 1e6 / f64::max(seconds, f64::EPSILON))
        })
    })
}

type Of = fn(&Round) -> &Latencies;
/// Its name, its latencies, and the rate of the other reader.
type Case = (&'static str, Of, fn(&Round) -> f64);

fn report(context: &mut Context<'_>, rounds: &[Round]) {
    let alone: Of = |round| &round.alone;
    let cases: [Case; 2] = [
        ("beside a cached reader", |round| &round.cached.0, |round| round.cached.1),
        ("beside a cold reader", |round| &round.cold.0, |round| round.cold.1),
    ];
    for (case, of, rate) in cases {
        for (what, is_p99) in [("p50 ms", false), ("p99 ms", true)] {
            let value = |latencies: &Latencies| {
                let found = latencies.percentiles();
                found.map_or(f64::NAN, |found| if is_p99 { found.p99 } else { found.p50 })
            };
            let pairs: Vec<_> =
                rounds.iter().map(|round| (value(of(round)), value(alone(round)))).collect();
            let figure = Figure::beside("tail", case, what, "alone", &pairs);
            let goal = Goal::RatioAtMost(2.0);
            let figure = figure.map(|figure| if is_p99 { figure.goal(goal) } else { figure });
            context.report.figure(figure);
        }
        let rates = rounds.iter().map(rate).collect();
        context.report.figure(Figure::of("tail", case, "reader MB/s", rates));
    }
    let curves: [(&str, Of); 3] =
        [("alone", alone), (cases[0].0, cases[0].1), (cases[1].0, cases[1].1)];
    for (name, of) in curves {
        let mut all = Latencies::new();
        rounds.iter().for_each(|round| all.merge(of(round)));
        context.report.series("tail", name, ["share", "ms"], &all.curve());
    }
}
