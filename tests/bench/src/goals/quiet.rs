//! What very many members of consumer groups cost that have read everything and wait for more.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use ropewalk::Client;
use tokio::time::sleep;

use super::figure::{Figure, Goal};
use super::members::{JOINING, Member, stable};
use super::run::{Context, full_load, settled};
use crate::gate::Gate;
use crate::machine::allow_descriptors;
use crate::options::EngineKind;
use crate::target::Target;
use crate::wire::Failure;

/// The members of a group, and the partitions of the topic that all groups read.
const MEMBERS: usize = 10;
/// How long the broker is watched.
const WATCHED: Duration = Duration::from_secs(20);
const WATCHED_QUICK: Duration = Duration::from_secs(5);
/// How long it is left alone before: members commit what they have read after 5 s, the last
/// checkpoint is made 5 s later, and what memory that took is given back within 10.
const SETTLE: Duration = Duration::from_secs(20);
/// The connections of a member: its stream, and its other calls.
const CONNECTIONS: u64 = 2;
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let groups = context.options.pick(10, 100);
    let members = groups * MEMBERS;
    allow_descriptors(CONNECTIONS * members as u64)?;
    let partitions = u32::try_from(MEMBERS)?;
    let target = context.target(EngineKind::Disk, partitions).await?;
    let load = full_load(&target, 1, 1, partitions);
    let bytes = load.batch.value_bytes * u64::from(partitions);
    load.run(target.address(), &Gate::for_bytes(bytes)).await?;
    let nobody = watch(context, &target).await?;

    let joined: Vec<_> = stream::iter(0..members)
        .map(|number| join(&target, name(number / MEMBERS)))
        .buffer_unordered(JOINING)
        .try_collect()
        .await?;
    let client = Client::connect(target.address()).await?;
    for group in 0..groups {
        stable(&client, &name(group), MEMBERS).await?;
    }
    let quiet = watch(context, &target).await?;
    for member in joined {
        member.leave().await?;
    }
    target.end().await?;

    let case = format!("{members} members in {groups} groups");
    let beside = |what, of: fn(&(f64, f64)) -> f64| {
        Figure::beside("quiet", &case, what, "no members", &[(of(&quiet), of(&nobody))])
    };
    let cpu = beside("CPU %", |usage| usage.0);
    context.report.figure(cpu.map(|figure| figure.goal(Goal::AtMost(5.0)).note("of one core")));
    let memory = beside("RSS MiB", |usage| usage.1);
    let goal = Goal::AtMost(150e6 / MIB);
    context.report.figure(memory.map(|figure| figure.goal(goal).note("the goal is 150 MB")));
    Ok(())
}

fn name(group: usize) -> String {
    format!("quiet-{group}")
}

async fn join(target: &Target, group: String) -> Result<Member, Failure> {
    Member::join(target.address(), &target.topic, &group, |_| ()).await
}

/// What the broker uses while nothing happens: percent of a core, and MiB at most.
async fn watch(context: &Context<'_>, target: &Target) -> Result<(f64, f64), Failure> {
    settled(|| target.io()).await?;
    sleep(SETTLE).await;
    let span = context.options.pick(WATCHED_QUICK, WATCHED);
    let usage = target.watch_until(sleep(span)).await?;
    let percent = usage.broker_cores.unwrap_or(f64::NAN) * 100.0;
    Ok((percent, usage.rss.unwrap_or_default() as f64 / MIB))
}
