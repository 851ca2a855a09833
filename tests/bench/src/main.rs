//! Measures a broker from outside, beside what the disk does by itself.
//!
//! `options` is the command line, `scenarios` has what can be measured, `goals` what is held
//! against a control that takes turns with it, `cluster` the same of three brokers, `codecs` what
//! compression is worth, `target` the broker that is measured, `load` and `reader` the two sides of
//! a load, `wire` the calls, `gate` the time that counts, `report` and `stats` what is printed.
//! Nothing here passes or fails by a time.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cluster;
mod codecs;
mod gate;
mod goals;
mod load;
mod machine;
mod options;
mod reader;
mod records;
mod report;
mod scenarios;
mod stats;
mod target;
mod wire;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use options::{Command, Options};
use wire::Failure;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(until_stopped(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ropewalk-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything. A signal ends it in an orderly way: brokers and directories go first.
async fn until_stopped(options: &Options) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = Box::pin(measure(options)) => done,
        _ = terminate.recv() => Err("stopped".into()),
        _ = interrupt.recv() => Err("stopped".into()),
    }
}

async fn measure(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Some(Command::Goals(options)) => Box::pin(goals::run(options)).await,
        Some(Command::Cluster(options)) => Box::pin(cluster::run(options)).await,
        Some(Command::Codecs(options)) => codecs::run(options),
        None => Box::pin(scenarios::run(options)).await,
    }
}
