//! Runs a client command.

use std::process::ExitCode;

use clap_complete::generate;
use ropewalk::Client;

use super::args::{Cluster, ClusterAction, Command, Common, Records, Storage, Topic};
use super::failure::Failure;
use super::group_args::Group;
use super::{consume, group, offsets, operate, output, produce, records, status, storage, topic};
use crate::dev;

/// Runs a command to its end and gives its exit code. `root` is the whole command line, for
/// completions.
pub(crate) async fn run(command: Command, root: clap::Command) -> ExitCode {
    match Box::pin(dispatch(command, root)).await {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn dispatch(command: Command, mut root: clap::Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Topic(Topic::Create(args)) => topic::create(&args).await?,
        Command::Topic(Topic::List(args)) => topic::list(&args).await?,
        Command::Topic(Topic::Describe(args)) => topic::describe(&args).await?,
        Command::Topic(Topic::Update(args)) => topic::update(&args).await?,
        Command::Topic(Topic::Delete(args)) => topic::delete(&args).await?,
        Command::Records(Records::Delete(args)) => records::delete(&args).await?,
        Command::Produce(args) => produce::produce(args).await?,
        Command::Consume(args) => consume::consume(args).await?,
        Command::Offsets(args) => offsets::offsets(&args).await?,
        Command::Group(Group::List(args)) => group::list(&args).await?,
        Command::Group(Group::Describe(args)) => group::describe(&args).await?,
        Command::Group(Group::Reset(args)) => group::reset(&args).await?,
        Command::Group(Group::Delete(args)) => group::delete(&args).await?,
        Command::Group(Group::RemoveMember(args)) => group::remove_member(&args).await?,
        Command::Topic(Topic::Watch(args)) => topic::watch(&args).await?,
        Command::Cluster(args) => cluster(args).await?,
        Command::Dev(args) => return Ok(dev::run(&args).await?),
        Command::Health(common) => return status::health(&common).await,
        Command::Storage(Storage::Inspect(args)) => storage::inspect(&args)?,
        Command::Storage(Storage::Verify(args)) => return storage::verify(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            generate(shell, &mut root, "ropewalk", &mut script);
            output::line(String::from_utf8_lossy(&script).trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn cluster(args: Cluster) -> Result<(), Failure> {
    match args.action {
        None => status::show(&args.common, false).await,
        Some(ClusterAction::Status(args)) => status::show(&args.common, args.partitions).await,
        Some(ClusterAction::Drain(args)) => operate::drain(&args).await,
        Some(ClusterAction::Undrain(args)) => operate::undrain(&args).await,
        Some(ClusterAction::Remove(args)) => operate::remove(&args).await,
        Some(ClusterAction::Reassign(args)) => operate::reassign(&args).await,
        Some(ClusterAction::Transfer(args)) => operate::transfer(&args).await,
    }
}

/// Connects as a command asks.
pub(super) async fn connect(common: &Common) -> Result<Client, Failure> {
    let client = Client::builder()
        .address(&common.server)
        .connect_timeout(common.timeout.min(std::time::Duration::from_secs(3)))
        .request_timeout(common.timeout)
        .name(concat!("ropewalk-cli/", env!("CARGO_PKG_VERSION")));
    Ok(client.connect().await?)
}
