//! Runs the parts in order, and says what they were run on.

use clap::ValueEnum;

use super::nodes::Nodes;
use super::options::{ClusterOptions, Part};
use super::{catchup, failover, forward, gap, idle, path, single, slow};
use crate::gate::Gate;
use crate::goals::report::Report;
use crate::machine;
use crate::wire::Failure;

/// The brokers of a cluster.
pub(crate) const NODES: u16 = 3;
/// What the disk may be made to hold for each byte of a record: three, and what is beside them.
const AMPLIFICATION: u64 = 4;
/// The journals of three brokers, in bytes.
const JOURNALS: u64 = 3 << 29;

/// What every part needs.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) options: &'a ClusterOptions,
    pub(crate) report: Report,
}

/// Runs what the command line asks for. A part that fails does not keep the others from theirs.
pub(crate) async fn run(options: &ClusterOptions) -> Result<(), Failure> {
    machine::warn_of_figures(&options.dir())?;
    let mut context = Context { options, report: Report::new(options.json.clone()) };
    let (rounds, span) = (options.rounds(), options.span().as_secs());
    context.report.environment(&[
        ("machine", machine::describe()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("brokers", format!("{NODES} on this machine, with the client; {NODES} replicas")),
        ("rounds", format!("{rounds} of {span} s, taking turns with the control")),
        ("figures", "median [least..most]; a ratio is that of one round".to_owned()),
    ]);
    let mut failed = Vec::new();
    for part in Part::value_variants() {
        if !options.wants(*part) {
            continue;
        }
        if let Err(error) = one(*part, &mut context).await {
            let name = part.to_possible_value().map_or_else(String::new, |v| v.get_name().into());
            eprintln!("{name} failed: {error}");
            failed.push(name);
        }
        context.report.save()?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

async fn one(part: Part, context: &mut Context<'_>) -> Result<(), Failure> {
    match part {
        Part::Path => Box::pin(path::run(context)).await,
        Part::Single => Box::pin(single::run(context)).await,
        Part::Forward => Box::pin(forward::run(context)).await,
        Part::Slow => Box::pin(slow::run(context)).await,
        Part::Catchup => Box::pin(catchup::run(context)).await,
        Part::Gap => Box::pin(gap::run(context)).await,
        Part::Failover => Box::pin(failover::run(context)).await,
        Part::Idle => Box::pin(idle::run(context)).await,
    }
}

impl Context<'_> {
    /// So many brokers, with nothing in them.
    pub(crate) async fn nodes(&self, count: u16) -> Result<Nodes, Failure> {
        Nodes::start(&self.options.dir(), count).await
    }

    /// A gate for a turn of the usual length.
    pub(crate) fn gate(&self) -> Gate {
        let options = self.options;
        Gate::new(options.warm_up(), options.span(), options.max_write())
    }

    /// Refuses to fill the disk, where so much is produced.
    pub(crate) fn check_disk(&self, bytes: u64) -> Result<(), Failure> {
        self.check_free(bytes.saturating_mul(AMPLIFICATION).saturating_add(JOURNALS))
    }

    /// Refuses to fill the disk.
    pub(crate) fn check_free(&self, needed: u64) -> Result<(), Failure> {
        let instead = "lower --max-write or --catchup-gb";
        machine::check_free(&self.options.dir(), needed, instead)
    }
}
