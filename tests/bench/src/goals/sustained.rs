//! The store alone, for some gigabytes: what it leaves for the background comes due, and is counted
//! to the end.

use std::time::Duration;

use tokio::time::Instant;

use super::figure::Figure;
use super::groups::{FEW, MANY, blocking};
use super::raw::{Limit, Mode, RawFile, burst, write_file};
use super::run::{Context, settled};
use super::store::Store;
use crate::machine::Io;
use crate::target::temporary_in;
use crate::wire::Failure;

/// The bytes of a group.
const GROUPS: [usize; 3] = [64 * 1024, 256 * 1024, 1024 * 1024];
/// A run ends after this time, however little it has written.
const LONGEST: Duration = Duration::from_secs(60);
const LONGEST_QUICK: Duration = Duration::from_secs(5);
/// The time of a point in the plot.
const POINT: Duration = Duration::from_millis(250);

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    context.check_disk(context.options.sustained_bytes())?;
    let fresh = fresh_file(context)?;
    for group in GROUPS {
        for partitions in [FEW, MANY] {
            context.check_disk(context.options.sustained_bytes())?;
            one(context, group, partitions, fresh).await?;
        }
    }
    Ok(())
}

/// The rate at which a file comes to be that was not there before, its last sync included: what is
/// kept for good has to find its blocks.
fn fresh_file(context: &Context<'_>) -> Result<f64, Failure> {
    let dir = temporary_in(&context.options.dir())?;
    let bytes = context.options.sustained_bytes();
    blocking(|| {
        let started = Instant::now();
        write_file(&dir.path().join("fresh"), bytes)?;
        Ok(bytes as f64 / 1e6 / started.elapsed().as_secs_f64())
    })
}

async fn one(
    context: &mut Context<'_>,
    group: usize,
    partitions: usize,
    fresh: f64,
) -> Result<(), Failure> {
    let options = context.options;
    let dir = temporary_in(&options.dir())?;
    let raw = RawFile::create(dir.path().join("control"))?;
    let span = options.pick(LONGEST_QUICK, LONGEST);
    let limit = Limit { span, bytes: options.sustained_bytes() };
    let control = blocking(|| raw.burst(Mode::Synced, group, limit))?;
    let mut store = Store::create(&dir.path().join("data"), partitions)?;
    settled(Io::own).await?;

    let before = Io::own()?;
    let started = Instant::now();
    let mut points = Points::new(started);
    let written = blocking(|| {
        burst(limit, group, || {
            let took = store.write(group)?;
            points.add(Instant::now(), group);
            Ok(took)
        })
    })?;
    blocking(|| store.write_commits())?;
    let quiet = settled(Io::own).await?;
    let io = Io::own()?.since(before);
    blocking(|| store.close())?;

    let case = format!("{} KiB over {partitions}", group / 1024);
    let mib = written.bytes >> 20;
    let left = (quiet - started).as_secs_f64().max(written.seconds);
    let figure = |what, value| Figure::of("sustained", &case, what, vec![value]);
    let beside = |what, value, raw| {
        Figure::beside("sustained", &case, what, Mode::Synced.name(), &[(value, raw)])
    };
    let (rate, raw_rate) = (written.megabytes_per_second(), control.megabytes_per_second());
    let per_byte = |bytes: u64| bytes as f64 / written.bytes.max(1) as f64;
    let figures = [
        beside("MB/s", rate, raw_rate).map(|figure| figure.note(format!("{mib} MiB"))),
        beside("p50 ms", written.p50(), control.p50()),
        beside("p99 ms", written.p99(), control.p99()),
        figure("max ms", written.latencies.max()),
        Figure::beside(
            "sustained",
            &case,
            "MB/s to rest",
            "new file, synced",
            &[(written.bytes as f64 / 1e6 / left, fresh)],
        )
        .map(|figure| figure.note("until nothing is left in the background")),
        figure("wchar/byte", per_byte(io.handed)),
        figure("to disk/byte", per_byte(io.to_disk)),
    ];
    for figure in figures {
        context.report.figure(figure);
    }
    context.report.series("sustained", &case, ["s", "MB/s"], &points.done);
    Ok(())
}

/// The rate over time.
struct Points {
    started: Instant,
    since: Instant,
    bytes: u64,
    done: Vec<(f64, f64)>,
}

impl Points {
    fn new(started: Instant) -> Self {
        Self { started, since: started, bytes: 0, done: Vec::new() }
    }

    fn add(&mut self, now: Instant, bytes: usize) {
        self.bytes += bytes as u64;
        let span = now - self.since;
        if span >= POINT {
            let rate = self.bytes as f64 / 1e6 / span.as_secs_f64();
            self.done.push(((now - self.started).as_secs_f64(), rate));
            (self.since, self.bytes) = (now, 0);
        }
    }
}
