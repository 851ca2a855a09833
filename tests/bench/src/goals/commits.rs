//! Sixteen consumer groups that commit each batch they get, beside the smallest write that the disk
//! can be asked to keep: each waits for its commit before it goes on, or has several under way. One
//! group alone tells what is the way of a commit, and what is waiting for others.

use ropewalk::{Client, GroupConsumer};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::figure::{Figure, Goal};
use super::groups::blocking;
use super::raw::{Burst, Limit, Mode, RawFile};
use super::run::{Context, PARTITIONS, full_load, settled};
use crate::gate::Gate;
use crate::load::Load;
use crate::options::EngineKind;
use crate::records::Batch;
use crate::stats::Latencies;
use crate::target::{Target, temporary_in};
use crate::wire::Failure;

/// The groups, and the commits that each has under way.
const CASES: [(usize, usize); 3] = [(16, 1), (16, 16), (1, 1)];
/// The records of a batch, and the bytes of each.
const RECORDS: usize = 10;
const BYTES: usize = 100;
/// The bytes of a raw write.
const PAGE: usize = 4096;

/// What was committed.
#[derive(Debug)]
struct Turn {
    per_second: f64,
    latencies: Latencies,
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let dir = temporary_in(&context.options.dir())?;
    let raw = RawFile::create(dir.path().join("control"))?;
    let limit = Limit { span: context.options.span(), bytes: context.options.max_write() };
    for (groups, under_way) in CASES {
        let mut rounds = Vec::new();
        for _ in 0..context.options.rounds() {
            let control = blocking(|| raw.burst(Mode::Synced, PAGE, limit))?;
            rounds.push((turn(context, groups, under_way).await?, control));
        }
        report(context, groups, under_way, &rounds);
    }
    Ok(())
}

fn report(context: &mut Context<'_>, groups: usize, under_way: usize, rounds: &[(Turn, Burst)]) {
    let plural = if groups == 1 { "" } else { "s" };
    let case = format!("{groups} group{plural}, {under_way} under way");
    let control = format!("4 KiB {}", Mode::Synced.name());
    let beside = |what, of: fn(&Turn) -> f64, raw: fn(&Burst) -> f64| {
        let pairs: Vec<_> = rounds.iter().map(|(turn, burst)| (of(turn), raw(burst))).collect();
        Figure::beside("commits", &case, what, &control, &pairs)
    };
    let raw_rate = |burst: &Burst| burst.latencies.count() as f64 / burst.seconds;
    let rate = beside("commits/s", |turn| turn.per_second, raw_rate);
    let has_goal = groups > 1;
    let goal = Goal::AtLeast(20_000.0);
    context.report.figure(rate.map(|figure| if has_goal { figure.goal(goal) } else { figure }));
    let p50 = |turn: &Turn| turn.latencies.percentiles().map_or(f64::NAN, |found| found.p50);
    context.report.figure(beside("p50 ms", p50, Burst::p50));
    let p99 = |turn: &Turn| turn.latencies.percentiles().map_or(f64::NAN, |found| found.p99);
    let p99 = beside("p99 ms", p99, Burst::p99);
    // With several under way most of the time is waiting behind the others of the same group.
    let has_goal = has_goal && under_way == 1;
    let goal = Goal::RatioAtMost(4.0);
    context.report.figure(p99.map(|figure| if has_goal { figure.goal(goal) } else { figure }));
}

async fn turn(context: &Context<'_>, groups: usize, under_way: usize) -> Result<Turn, Failure> {
    let target = context.target(EngineKind::Disk, PARTITIONS).await?;
    // More than the groups can commit in the time of a turn.
    let batches: u64 = context.options.pick(10_000, 40_000);
    let batch = Batch::of(RECORDS, BYTES);
    let bytes = batches * batch.value_bytes;
    let load = Load { batch, ..full_load(&target, 4, RECORDS, PARTITIONS) };
    load.run(target.address(), &Gate::for_bytes(bytes)).await?;
    settled(|| target.io()).await?;
    let mut consumers = Vec::new();
    for group in 0..groups {
        consumers.push(member(&target, &format!("commits-{group}")).await?);
    }
    let gate = context.gate();
    let mut running = JoinSet::new();
    for consumer in consumers {
        let records = batches * RECORDS as u64;
        running.spawn(commit_each(consumer, under_way, records, gate.clone()));
    }
    let mut latencies = Latencies::new();
    while let Some(done) = running.join_next().await {
        latencies.merge(&done??);
    }
    let seconds = (Instant::now() - gate.opens()).min(context.options.span()).as_secs_f64();
    target.end().await?;
    Ok(Turn { per_second: latencies.count() as f64 / seconds.max(f64::EPSILON), latencies })
}

async fn member(target: &Target, group: &str) -> Result<GroupConsumer, Failure> {
    let client = Client::connect(target.address()).await?;
    let member = client.group(group).consumer().topic(&target.topic).manual_commit();
    Ok(member.build().await?)
}

/// Commits after each batch, until the gate closes, or until there is nothing left to read: that
/// closes it.
async fn commit_each(
    mut consumer: GroupConsumer,
    under_way: usize,
    records: u64,
    gate: Gate,
) -> Result<Latencies, Failure> {
    let committer = consumer.committer();
    let mut latencies = Latencies::new();
    let mut commits = JoinSet::new();
    let mut read = 0;
    let closed = gate.closed();
    tokio::pin!(closed);
    while read < records {
        let next = tokio::select! {
            next = consumer.next_batch() => next,
            () = &mut closed => break,
        };
        let batch = next.ok_or("a member ended by itself")??;
        read += batch.len() as u64;
        let (committer, at, gate) = (committer.clone(), batch.next_position(), gate.clone());
        let sent = Instant::now();
        commits.spawn(async move {
            committer.commit([at]).await?;
            let now = Instant::now();
            Ok::<_, Failure>(gate.is_open(now).then(|| now - sent))
        });
        while commits.len() >= under_way {
            let Some(done) = commits.join_next().await else { break };
            done??.into_iter().for_each(|took| latencies.record(took));
        }
    }
    gate.close();
    while let Some(done) = commits.join_next().await {
        done??;
    }
    Ok(latencies)
}
