//! What a broker costs that does nothing, and how soon one answers.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ropewalk_proto::broker::Durability;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::Context;
use crate::gate::Gate;
use crate::options::EngineKind;
use crate::records::{Batch, request};
use crate::report::Row;
use crate::stats::Latencies;
use crate::target::temporary;
use crate::wire::{Failure, Wire};

/// How long an idle broker is watched, and left alone before.
const IDLE: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_secs(2);
/// The partitions of a broker that is idle and not empty.
const MANY: u32 = 1000;
/// The time between two attempts to connect: the most that polling can add.
const POLL: Duration = Duration::from_millis(1);
/// A broker that starts with data in it has them in so many partitions.
const LOADED_PARTITIONS: u32 = 16;
const LOADED_STARTS: u32 = 5;
const START_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    if context.options.broker.is_some() {
        return Ok(());
    }
    for partitions in [0, 1, MANY] {
        let row = idle(context, partitions).await?;
        context.report.row(&row);
    }
    starts(context).await
}

async fn idle(context: &Context<'_>, partitions: u32) -> Result<Row, Failure> {
    let target = context.target(partitions).await?;
    sleep(SETTLE).await;
    let usage = target.watch_until(sleep(IDLE)).await?;
    target.end().await?;
    let mut row = Row::new("footprint", "idle").used(&usage);
    row.client_cores = None;
    row.partitions = Some(partitions);
    if let Some(cores) = row.broker_cores {
        row.note = format!("{:.1} % of a core", cores * 100.0);
    }
    Ok(row)
}

/// The time from the start of the process to the first acked record: with an empty directory, and
/// with that of a broker that was killed, with little in it and with much.
async fn starts(context: &Context<'_>) -> Result<(), Failure> {
    let mut fresh = Latencies::new();
    let mut again = Latencies::new();
    let starts = if context.options.quick { 5 } else { 15 };
    for _ in 0..starts {
        let dir = temporary(context.options)?;
        let data = dir.path().join("data");
        fresh.record(first_ack(&data, context.options.engine, "first").await?);
        again.record(first_ack(&data, context.options.engine, "first").await?);
    }
    report(context, "first ack, new directory".to_owned(), &fresh);
    report(context, "first ack, after kill".to_owned(), &again);
    if context.options.engine == EngineKind::Disk {
        start_with_data(context).await?;
    }
    Ok(())
}

async fn start_with_data(context: &Context<'_>) -> Result<(), Failure> {
    let mut target = context.target(LOADED_PARTITIONS).await?;
    let bytes = context.options.replay_bytes();
    let load = context.load(&target, LOADED_PARTITIONS, 1024, Durability::Quorum);
    load.run(target.address(), &Gate::for_bytes(bytes)).await?;
    if let Some(broker) = target.broker() {
        broker.kill9().await?;
    }
    let mut latencies = Latencies::new();
    if let Some(data) = target.data_dir() {
        for _ in 0..LOADED_STARTS {
            latencies.record(first_ack(&data, context.options.engine, "first").await?);
        }
    }
    report(context, format!("first ack, {} MiB kept", bytes >> 20), &latencies);
    Ok(())
}

fn report(context: &Context<'_>, case: String, latencies: &Latencies) {
    let mut row = Row::new("footprint", case);
    row.latency = latencies.percentiles();
    let (starts, slowest) = (latencies.count(), latencies.max());
    row.note = format!("{starts} starts, slowest {slowest:.0} ms");
    context.report.row(&row);
}

/// Starts a broker on a directory, and takes the time to the first acked record of a topic.
pub(crate) async fn first_ack(
    data: &Path,
    engine: EngineKind,
    topic: &str,
) -> Result<Duration, Failure> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string();
    let mut command = Command::new(ropewalk_harness::ropewalk_binary()?);
    command
        .args(["serve", "--listen", &address])
        .args(["--admin-listen", "127.0.0.1:0", "--log-level", "error"])
        .args(["--storage", engine.name()])
        .arg("--data-dir")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let started = Instant::now();
    let mut broker = command.spawn()?;
    let mut wire = connect(&address, started, &mut broker).await?;
    let set = Batch::of(1, 100).encoded;
    wire.produce(request(topic, 0, set, Durability::Quorum)).await?;
    let took = started.elapsed();
    broker.kill().await?;
    Ok(took)
}

async fn connect(address: &str, started: Instant, broker: &mut Child) -> Result<Wire, Failure> {
    loop {
        match Wire::connect(address).await {
            Ok(wire) => return Ok(wire),
            Err(error) if started.elapsed() > START_WITHIN => return Err(error),
            Err(_) => sleep(POLL).await,
        }
        if let Some(status) = broker.try_wait()? {
            return Err(format!("the broker ended before it was ready: {status}").into());
        }
    }
}
