//! One record at a time, each waited for, beside the smallest write that a disk can be asked to
//! keep.

use super::figure::{Figure, Goal};
use super::groups::blocking;
use super::raw::{Limit, Mode, RawFile};
use super::run::{Context, RECORD};
use crate::options::EngineKind;
use crate::scenarios::single::{call, in_stream};
use crate::stats::Latencies;
use crate::target::temporary_in;
use crate::wire::{Failure, Wire};

/// The bytes of a raw write.
const PAGE: usize = 4096;

/// One turn of each.
#[derive(Debug)]
struct Round {
    synced: Latencies,
    direct: Latencies,
    stream: Latencies,
    unary: Latencies,
    memory: Latencies,
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let dir = temporary_in(&context.options.dir())?;
    let raw = RawFile::create(dir.path().join("control"))?;
    let limit = Limit { span: context.options.span(), bytes: context.options.max_write() };
    let mut rounds = Vec::new();
    for _ in 0..context.options.rounds() {
        rounds.push(Round {
            synced: blocking(|| raw.burst(Mode::Synced, PAGE, limit))?.latencies,
            stream: turn(context, EngineKind::Disk, true).await?,
            direct: blocking(|| raw.burst(Mode::Direct, PAGE, limit))?.latencies,
            unary: turn(context, EngineKind::Disk, false).await?,
            memory: turn(context, EngineKind::Memory, true).await?,
        });
    }
    report(context, &rounds);
    Ok(())
}

async fn turn(
    context: &Context<'_>,
    engine: EngineKind,
    is_stream: bool,
) -> Result<Latencies, Failure> {
    let target = context.target(engine, 1).await?;
    let gate = context.gate();
    let acked = if is_stream {
        in_stream(target.address(), &target.topic, RECORD, &gate).await?
    } else {
        let wire = Wire::connect(target.address()).await?;
        call(wire, target.topic.clone(), 0, RECORD, gate).await?
    };
    target.end().await?;
    Ok(acked.latencies)
}

fn report(context: &mut Context<'_>, rounds: &[Round]) {
    type Of = fn(&Round) -> &Latencies;
    let stream: Of = |round| &round.stream;
    let cases: [(&str, Of, &str, Of, bool); 5] = [
        ("ProduceStream", stream, "4 KiB write+fdatasync", |r| &r.synced, true),
        ("ProduceStream", stream, "4 KiB O_DIRECT+DSYNC", |r| &r.direct, false),
        ("ProduceStream", stream, "memory", |r| &r.memory, false),
        ("Produce", |r| &r.unary, "4 KiB write+fdatasync", |r| &r.synced, true),
        ("ProduceStream, memory", |r| &r.memory, "4 KiB write+fdatasync", |r| &r.synced, false),
    ];
    for (case, value, name, control, is_held) in cases {
        for (what, is_p99, most) in [("p50 ms", false, 2.0), ("p99 ms", true, 3.0)] {
            let of = |latencies: &Latencies| {
                let found = latencies.percentiles();
                found.map_or(f64::NAN, |found| if is_p99 { found.p99 } else { found.p50 })
            };
            let pairs: Vec<_> =
                rounds.iter().map(|round| (of(value(round)), of(control(round)))).collect();
            let figure = Figure::beside("single", case, what, name, &pairs);
            let goal = Goal::RatioAtMost(most);
            context
                .report
                .figure(figure.map(|figure| if is_held { figure.goal(goal) } else { figure }));
        }
    }
    let curves: [(&str, Of); 4] = [
        ("4 KiB write+fdatasync", |r| &r.synced),
        ("4 KiB O_DIRECT+DSYNC", |r| &r.direct),
        ("1 KB record, acked on disk", stream),
        ("1 KB record, in memory", |r| &r.memory),
    ];
    for (name, of) in curves {
        let mut all = Latencies::new();
        rounds.iter().for_each(|round| all.merge(of(round)));
        context.report.series("single", name, ["share", "ms"], &all.curve());
    }
}
