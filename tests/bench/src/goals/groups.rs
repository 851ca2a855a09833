//! The store alone: commit groups of one size, each durable before the next is written, beside the
//! same groups written to a raw file.
//!
//! Control and store take turns, over and over. Nothing else goes on meanwhile: a turn begins when
//! what the one before it left to do in the background is done.

use std::path::Path;

use super::figure::{Figure, Goal};
use super::raw::{Burst, Limit, Mode, RawFile, burst};
use super::run::{Context, settled};
use super::store::{Store, touched};
use crate::machine::Io;
use crate::target::temporary_in;
use crate::wire::Failure;

pub(crate) const FEW: usize = 16;
pub(crate) const MANY: usize = 1_000;
/// What a turn writes at most: as all turns of a case are kept on the disk.
const TURN_BYTES: u64 = 1 << 30;
/// What is wanted of the control's rate, from so many bytes of a group on.
const GOALS: [(usize, f64); 3] = [(256 * 1024, 0.85), (64 * 1024, 0.8), (0, 0.7)];

/// One turn of each.
#[derive(Clone, Debug)]
struct Round {
    synced: Burst,
    direct: Burst,
    few: Burst,
    many: Burst,
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    for kib in context.options.groups.clone() {
        let turns = context.options.rounds() as u64 + 1;
        context.check_disk(turns * TURN_BYTES.min(context.options.max_write()))?;
        let rounds = rounds(context, kib * 1024).await?;
        report(context, kib, &rounds);
    }
    Ok(())
}

async fn rounds(context: &Context<'_>, group: usize) -> Result<Vec<Round>, Failure> {
    let options = context.options;
    let dir = temporary_in(&options.dir())?;
    let raw = RawFile::create(dir.path().join("control"))?;
    let mut few = Store::create(&dir.path().join("few"), FEW)?;
    let mut many = Store::create(&dir.path().join("many"), MANY)?;
    let warm_up = Limit { span: options.warm_up(), bytes: TURN_BYTES };
    let limit = Limit { span: options.span(), bytes: TURN_BYTES.min(options.max_write()) };
    let mut rounds = Vec::new();
    for round in 0..=options.rounds() {
        let limit = if round == 0 { warm_up } else { limit };
        let synced = blocking(|| raw.burst(Mode::Synced, group, limit))?;
        let one = turn(&mut few, group, limit).await?;
        let direct = blocking(|| raw.burst(Mode::Direct, group, limit))?;
        let other = turn(&mut many, group, limit).await?;
        if round > 0 {
            rounds.push(Round { synced, direct, few: one, many: other });
        }
    }
    end(few, &dir.path().join("few"))?;
    end(many, &dir.path().join("many"))?;
    Ok(rounds)
}

/// Runs what does not wait for anything but the disk.
pub(crate) fn blocking<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    tokio::task::block_in_place(work)
}

async fn turn(store: &mut Store, group: usize, limit: Limit) -> Result<Burst, Failure> {
    let written = blocking(|| {
        let written = burst(limit, group, || store.write(group))?;
        store.write_commits()?;
        Ok(written)
    })?;
    settled(Io::own).await?;
    Ok(written)
}

fn end(store: Store, dir: &Path) -> Result<(), Failure> {
    blocking(|| {
        store.close()?;
        drop(store);
        Ok(std::fs::remove_dir_all(dir)?)
    })
}

fn report(context: &mut Context<'_>, kib: usize, rounds: &[Round]) {
    let group = kib * 1024;
    let pairs = |of: fn(&Burst) -> f64, one: fn(&Round) -> &Burst, other: fn(&Round) -> &Burst| {
        rounds.iter().map(|round| (of(one(round)), of(other(round)))).collect::<Vec<_>>()
    };
    let (synced, direct) = (Mode::Synced.name(), Mode::Direct.name());
    let (few, many) = (format!("{kib} KiB over {FEW}"), format!("{kib} KiB over {MANY}"));
    let note = |partitions| format!("{} entries a group", touched(group, partitions));
    let least = GOALS.iter().find(|(from, _)| group >= *from).map_or(0.7, |(_, goal)| *goal);
    let beside = |case: &str, what, control: &str, pairs: Vec<(f64, f64)>| {
        Figure::beside("groups", case, what, control, &pairs)
    };
    let rate = Burst::megabytes_per_second;
    let figures = [
        beside(&few, "MB/s", synced, pairs(rate, |r| &r.few, |r| &r.synced))
            .map(|figure| figure.goal(Goal::RatioAtLeast(least)).note(note(FEW))),
        beside(&few, "MB/s", direct, pairs(rate, |r| &r.few, |r| &r.direct)),
        beside(&few, "p50 ms", synced, pairs(Burst::p50, |r| &r.few, |r| &r.synced)),
        beside(&few, "p99 ms", synced, pairs(Burst::p99, |r| &r.few, |r| &r.synced))
            .map(|figure| figure.goal(Goal::RatioAtMost(3.0))),
        beside(&many, "MB/s", &format!("over {FEW}"), pairs(rate, |r| &r.many, |r| &r.few))
            .map(|figure| figure.goal(Goal::RatioAtLeast(0.7)).note(note(MANY))),
        beside(&many, "MB/s", synced, pairs(rate, |r| &r.many, |r| &r.synced)),
        beside(&many, "p50 ms", synced, pairs(Burst::p50, |r| &r.many, |r| &r.synced)),
        beside(&many, "p99 ms", synced, pairs(Burst::p99, |r| &r.many, |r| &r.synced)),
    ];
    for figure in figures {
        context.report.figure(figure);
    }
}
