//! Runs the parts in order, and says what they were run on.

use std::time::Duration;

use clap::ValueEnum;
use ropewalk_proto::broker::Durability;
use tokio::time::{Instant, sleep};

use super::options::{GoalOptions, Part};
use super::report::Report;
use super::{
    bytes, commits, compaction, groups, idle, memory, path, producers, quiet, read, rebalance,
    recovery, single, subscribe, sustained, tail,
};
use crate::gate::Gate;
use crate::load::Load;
use crate::machine::{self, Io};
use crate::options::EngineKind;
use crate::records::Batch;
use crate::target::Target;
use crate::wire::Failure;

/// The bytes of a record's value.
pub(crate) const RECORD: usize = 1024;
/// The partitions of a loaded topic.
pub(crate) const PARTITIONS: u32 = 16;
/// The batches that a producer at full speed has in flight.
pub(crate) const WINDOW: usize = 16;
/// A process that has written nothing for so long has nothing left to do.
const QUIET: Duration = Duration::from_millis(500);
const QUIET_WITHIN: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);
/// What the broker's own rounds may write meanwhile, in a look.
const IDLE_BYTES: u64 = 32 * 1024;
/// What the disk may be made to hold for each byte of a record, at worst.
const AMPLIFICATION: u64 = 4;

/// What every part needs.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) options: &'a GoalOptions,
    pub(crate) report: Report,
}

/// Runs what the command line asks for.
pub(crate) async fn run(options: &GoalOptions) -> Result<(), Failure> {
    machine::warn_of_figures(&options.dir())?;
    let mut context = Context { options, report: Report::new(options.json.clone()) };
    let (rounds, span) = (options.rounds(), options.span().as_secs());
    context.report.environment(&[
        ("machine", machine::describe()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("rounds", format!("{rounds} of {span} s, taking turns with the control")),
        ("figures", "median [least..most]; a ratio is that of one round".to_owned()),
    ]);
    for part in Part::value_variants() {
        if !options.wants(*part) {
            continue;
        }
        let context = &mut context;
        match part {
            Part::Groups => Box::pin(groups::run(context)).await?,
            Part::Sustained => Box::pin(sustained::run(context)).await?,
            Part::Path => Box::pin(path::run(context)).await?,
            Part::Producers => Box::pin(producers::run(context)).await?,
            Part::Single => Box::pin(single::run(context)).await?,
            Part::Bytes => Box::pin(bytes::run(context)).await?,
            Part::Read => Box::pin(read::run(context)).await?,
            Part::Tail => Box::pin(tail::run(context)).await?,
            Part::Recovery => Box::pin(recovery::run(context)).await?,
            Part::Memory => Box::pin(memory::run(context)).await?,
            Part::Compaction => Box::pin(compaction::run(context)).await?,
            Part::Idle => Box::pin(idle::run(context)).await?,
            Part::Subscribe => Box::pin(subscribe::run(context)).await?,
            Part::Commits => Box::pin(commits::run(context)).await?,
            Part::Rebalance => Box::pin(rebalance::run(context)).await?,
            Part::Quiet => Box::pin(quiet::run(context)).await?,
        }
        context.report.save()?;
    }
    Ok(())
}

impl Context<'_> {
    pub(crate) async fn target(
        &self,
        engine: EngineKind,
        partitions: u32,
    ) -> Result<Target, Failure> {
        Target::start_own(&self.options.dir(), engine, partitions).await
    }

    /// A gate for a turn of the usual length.
    pub(crate) fn gate(&self) -> Gate {
        let options = self.options;
        Gate::new(options.warm_up(), options.span(), options.max_write())
    }

    /// Refuses to fill the disk.
    pub(crate) fn check_disk(&self, bytes: u64) -> Result<(), Failure> {
        let needed = bytes.saturating_mul(AMPLIFICATION);
        machine::check_free(&self.options.dir(), needed, "leave the part out with --only")
    }
}

/// One after the other, each first in every second round: what the one leaves behind, as files
/// that are still being deleted, is then no more the other's than its own.
pub(crate) async fn in_turn<T>(
    round: usize,
    value: impl Future<Output = Result<T, Failure>>,
    control: impl Future<Output = Result<T, Failure>>,
) -> Result<(T, T), Failure> {
    // A run of a broker is a large future.
    let (value, control) = (Box::pin(value), Box::pin(control));
    if round.is_multiple_of(2) {
        let value = value.await?;
        return Ok((value, control.await?));
    }
    let control = control.await?;
    Ok((value.await?, control))
}

/// Producers of 1 KiB records at full speed, each batch answered when it is on disk.
pub(crate) fn full_load(target: &Target, producers: u32, records: usize, partitions: u32) -> Load {
    load_of(&target.topic, producers, records, partitions)
}

/// The same to a topic by its name.
pub(crate) fn load_of(topic: &str, producers: u32, records: usize, partitions: u32) -> Load {
    Load {
        topic: topic.to_owned(),
        partitions,
        batch: Batch::of(records, RECORD),
        durability: Durability::Quorum,
        producers,
        window: WINDOW,
        numbered: false,
    }
}

/// Waits until a process writes no more. Returns when that was.
pub(crate) async fn settled(io: impl Fn() -> Result<Io, Failure>) -> Result<Instant, Failure> {
    let started = Instant::now();
    let mut last = (started, io()?);
    loop {
        sleep(LOOK).await;
        let now = (Instant::now(), io()?);
        if now.1.since(last.1).handed > IDLE_BYTES {
            last = now;
        } else if now.0 - last.0 > QUIET || now.0 - started > QUIET_WITHIN {
            return Ok(last.0);
        }
    }
}
