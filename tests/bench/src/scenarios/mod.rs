//! What can be measured: a file each.

mod control;
pub(crate) mod footprint;
pub(crate) mod latency;
mod produce;
pub(crate) mod replay;
mod sdk;
pub(crate) mod single;
mod tail;

use std::time::Duration;

use clap::ValueEnum;
use ropewalk_proto::broker::Durability;

use crate::load::Load;
use crate::options::{EngineKind, Options, Scenario};
use crate::records::Batch;
use crate::report::{Report, Row};
use crate::target::Target;
use crate::wire::Failure;
use crate::{gate::Gate, machine};

/// What the disk may be made to hold for each byte of a record, at worst.
const AMPLIFICATION: u64 = 5;

/// What every scenario needs.
#[derive(Debug)]
struct Context<'a> {
    options: &'a Options,
    report: Report,
}

/// Runs what the command line asks for.
pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let context = Context { options, report: Report::new(options.format) };
    context.introduce()?;
    for scenario in Scenario::value_variants() {
        if !options.wants(*scenario) {
            continue;
        }
        match scenario {
            Scenario::Control => Box::pin(control::run(&context)).await?,
            Scenario::Footprint => Box::pin(footprint::run(&context)).await?,
            Scenario::Produce => Box::pin(produce::run(&context)).await?,
            Scenario::Single => Box::pin(single::run(&context)).await?,
            Scenario::Replay => Box::pin(replay::run(&context)).await?,
            Scenario::Tail => Box::pin(tail::run(&context)).await?,
            Scenario::Latency => Box::pin(latency::run(&context)).await?,
            Scenario::Sdk => Box::pin(sdk::run(&context)).await?,
        }
    }
    Ok(())
}

impl Context<'_> {
    /// Says what is measured on what, and refuses what could not be measured.
    fn introduce(&self) -> Result<(), Failure> {
        if cfg!(debug_assertions) {
            eprintln!("this is no release build: its figures say nothing");
        }
        let options = self.options;
        if options.partitions.contains(&0) || options.producers == 0 {
            return Err("there must be at least one partition and one producer".into());
        }
        let dir = options.dir();
        let in_memory = machine::is_in_memory(&dir)?;
        if in_memory && options.engine == EngineKind::Disk {
            let dir = dir.display();
            eprintln!("{dir} is kept in memory: name a directory on the disk with --dir");
        }
        let broker = match &options.broker {
            Some(address) => format!("running at {address}"),
            None => format!("one for each run, engine {}", options.engine.name()),
        };
        let (span, runs) = (options.span().as_secs(), options.runs());
        self.report.environment(&[
            ("machine", machine::describe()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("broker", broker),
            ("runs", format!("medians of {runs}, {span} s each")),
            (
                "load",
                format!(
                    "{} producers with {} batches in flight each; batches of 256 KiB, or of 1000 \
                     records where that is less",
                    options.producers, options.window
                ),
            ),
        ]);
        Ok(())
    }

    /// Runs every case several times, taking turns, and reports the medians.
    async fn rounds<C>(
        &self,
        cases: &[C],
        run: impl AsyncFn(&C) -> Result<Row, Failure>,
    ) -> Result<(), Failure> {
        let mut rows: Vec<Vec<Row>> = cases.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.options.runs() {
            for (case, rows) in cases.iter().zip(&mut rows) {
                self.check_disk()?;
                rows.push(run(case).await?);
            }
        }
        for row in rows.into_iter().filter_map(Row::median) {
            self.report.row(&row);
        }
        Ok(())
    }

    /// Refuses to fill the disk.
    fn check_disk(&self) -> Result<(), Failure> {
        let dir = self.options.dir();
        let needed = self.options.max_write().saturating_mul(AMPLIFICATION);
        let free = machine::free_bytes(&dir)?;
        if free < needed {
            let (free, needed) = (free >> 20, needed >> 20);
            let dir = dir.display();
            return Err(format!(
                "{dir} has {free} MiB free, and a run may need {needed}: lower --max-write"
            )
            .into());
        }
        Ok(())
    }

    /// The load of the command line on the topic of a target.
    fn load(&self, target: &Target, partitions: u32, size: usize, durability: Durability) -> Load {
        Load {
            topic: target.topic.clone(),
            partitions,
            batch: Batch::full(size),
            durability,
            producers: self.options.producers,
            window: self.options.window,
            numbered: false,
        }
    }

    /// A gate for a run of the usual length.
    fn gate(&self) -> Gate {
        let options = self.options;
        Gate::new(options.warm_up(), options.span(), options.max_write())
    }

    async fn target(&self, partitions: u32) -> Result<Target, Failure> {
        Target::start(self.options, partitions).await
    }
}

/// Every combination of partitions and sizes.
fn grid(options: &Options) -> Vec<(u32, usize)> {
    let sizes = |partitions| options.sizes.iter().map(move |size| (partitions, *size));
    options.partitions.iter().copied().flat_map(sizes).collect()
}

/// A durability as it is printed.
fn name(durability: Durability) -> &'static str {
    match durability {
        Durability::None => "NONE",
        Durability::Leader => "LEADER",
        Durability::Quorum | Durability::Unspecified => "QUORUM",
    }
}

/// Events a second.
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(Duration::from_nanos(1).as_secs_f64())
}
