//! Runs of one node and of several under faults, each on a host of its own; the clients ride over
//! them, and the whole history is judged at the end.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use ropewalk_chaos::{
    Answer, Call, ChaosError, Cluster, Epochs, GROUP, History, NodeId, Operation, Options, Outcome,
    RecordedAs, Recorder, Rng, STALE_GROUP, Swarm, Violation, check, create_replicated_topics,
    epochs, is_alive, keep_directory, longest_gaps, places, read_back_through,
};
use tokio::time::{Instant, sleep};

use crate::judge::{judge, needs_network, settings, temporary, topics};
use crate::nemesis::{Fault, Nemesis};

/// A run of a number of nodes under some faults.
#[derive(Debug)]
pub(crate) struct Run {
    /// The name by which it is chosen.
    pub(crate) name: &'static str,
    nodes: NodeId,
    faults: &'static [Fault],
    /// How long faults are made, in seconds.
    seconds: u64,
    /// Whether it is left to the long tier.
    long: bool,
    /// Whether the last one-way partition of a node is mended only after the others had to work
    /// without it: what heals at random hides what never heals.
    leaves_cut: bool,
    /// Whether the brokers keep everything in memory alone, which has to be found.
    forgets: bool,
    /// Whether it is about consumer groups: more members come and go, and former ones commit.
    groups: bool,
}

const fn run_of(name: &'static str, nodes: NodeId, faults: &'static [Fault]) -> Run {
    // With the start and the end a run takes 37 s.
    let (long, leaves_cut, forgets, groups) = (false, false, false, false);
    Run { name, nodes, faults, seconds: 25, long, leaves_cut, forgets, groups }
}

const fn long_run_of(name: &'static str, nodes: NodeId, faults: &'static [Fault]) -> Run {
    Run { long: true, ..run_of(name, nodes, faults) }
}

/// The runs. Those of one node prove the harness and, for the clients, a broker that comes back.
pub(crate) const RUNS: &[Run] = &[
    Run { forgets: true, seconds: 4, ..run_of("one_forgetful", 1, &[Fault::KillLeader]) },
    long_run_of("one_kill9", 1, &[Fault::KillLeader, Fault::Pause, Fault::Rolling]),
    long_run_of("one_power_cut", 1, &[Fault::PowerAll]),
    long_run_of("one_slow_disk", 1, &[Fault::SlowDisk]),
    long_run_of("one_full_disk", 1, &[Fault::FullDisk]),
    long_run_of("one_clock", 1, &[Fault::Clock]),
    run_of("three_kill_leader", 3, &[Fault::KillLeader]),
    run_of("three_kill_follower", 3, &[Fault::KillFollower]),
    run_of("three_kill_all", 3, &[Fault::KillAll]),
    run_of("three_pause", 3, &[Fault::Pause]),
    run_of("three_cut_one_way", 3, &[Fault::CutOneWay]),
    Run { leaves_cut: true, ..run_of("three_never_healed", 3, &[Fault::CutOneWay]) },
    run_of("three_cut", 3, &[Fault::Cut]),
    run_of("three_loss", 3, &[Fault::Loss]),
    run_of("three_power_one", 3, &[Fault::PowerOne]),
    run_of("three_power_all", 3, &[Fault::PowerAll]),
    run_of("three_slow_disk", 3, &[Fault::SlowDisk]),
    run_of("three_full_disk", 3, &[Fault::FullDisk]),
    run_of("three_clock", 3, &[Fault::Clock]),
    run_of("three_wipe", 3, &[Fault::Wipe]),
    run_of("three_rolling", 3, &[Fault::Rolling]),
    run_of("three_transfers", 3, &[Fault::Transfer]),
    Run { groups: true, ..run_of("three_groups", 3, &[Fault::KillCoordinator]) },
    // Each partition has three replicas: every node has to forward what is asked of some.
    run_of("four_members", 4, &[Fault::Members, Fault::KillLeader]),
    long_run_of("five_mixed", 5, &[Fault::KillLeader, Fault::Pause, Fault::Cut, Fault::PowerOne]),
];

/// How long a partition may need, once all is mended, until it takes and serves a record.
const ALIVE_WITHIN: Duration = Duration::from_secs(10);
/// The replicas of each partition in a run of several nodes.
pub(crate) const COPIES: i32 = 3;
/// The members that a run about consumer groups has beside the others.
const MORE_MEMBERS: usize = 3;
/// The load before the first fault.
const AT_FIRST: Duration = Duration::from_secs(2);
const LONG_SEEDS: u64 = 3;
const LONG_SECONDS: u64 = 120;

type Running = Pin<Box<dyn Future<Output = Result<String, ChaosError>> + Send>>;

/// What runs it.
pub(crate) fn run(run: &'static Run) -> impl Fn(Options) -> Running {
    move |options| Box::pin(with_each_seed(run, options))
}

async fn with_each_seed(run: &'static Run, options: Options) -> Result<String, ChaosError> {
    if run.long && !options.long {
        return Err(ChaosError::LeftToLongTier);
    }
    needs_network()?;
    run.faults.iter().try_for_each(|fault| fault.needs())?;
    let mut summaries = Vec::new();
    for number in 0..if options.long { LONG_SEEDS } else { 1 } {
        let seed = options.seed.wrapping_add(number);
        let summary = one(run, options, seed).await;
        let summary =
            summary.map_err(|error| ChaosError::broken(format!("seed {seed}: {error}")))?;
        println!("{} with seed {seed}: {summary}", run.name);
        summaries.push(summary);
    }
    Ok(summaries.pop().unwrap_or_default())
}

/// One run with one seed.
async fn one(run: &Run, options: Options, seed: u64) -> Result<String, ChaosError> {
    let engine = if run.forgets { "memory" } else { "disk" };
    let builder = || settings().settings(&[("storage.engine", engine)]);
    let mut cluster = Cluster::make(run.nodes, temporary()?, builder)?;
    Nemesis::prepare(&mut cluster, run.faults)?;
    cluster.start().await?;
    Nemesis::started(&mut cluster, run.faults).await?;
    let recorder = Recorder::of(History::timed());
    let copies = if run.nodes == 1 { 1 } else { COPIES };
    create_replicated_topics(&cluster.addresses()[0].1, &recorder, copies).await?;
    let done = under_faults(run, options, seed, &mut cluster, &recorder).await;
    if let Err(error) = done {
        let kept = keep(run, seed, &mut cluster, &recorder)?;
        return Err(ChaosError::broken(format!("{error}\nkept: {}", kept.display())));
    }
    done
}

async fn under_faults(
    run: &Run,
    options: Options,
    seed: u64,
    cluster: &mut Cluster,
    recorder: &Recorder,
) -> Result<String, ChaosError> {
    let mut rng = Rng::new(seed);
    let mut nemesis = Nemesis::new(recorder);
    let mut swarm = Swarm::start(cluster.addresses(), recorder, seed);
    if run.groups {
        swarm.more_members(MORE_MEMBERS);
    }
    let began = {
        let mut history = recorder.lock();
        history.clocks_jump = run.faults.contains(&Fault::Clock);
        history.now()
    };
    sleep(AT_FIRST).await;
    let usual = if options.long { LONG_SECONDS } else { run.seconds };
    let until = Instant::now() + Duration::from_secs(options.seconds.unwrap_or(usual));
    nemesis.run(cluster, run.faults, &mut rng, until, options.long).await?;
    if run.leaves_cut {
        nemesis.cut_one_way(cluster, &mut rng).await?;
    }
    let healed = {
        let mut history = recorder.lock();
        let within = u64::try_from(ALIVE_WITHIN.as_micros()).unwrap_or(u64::MAX);
        history.heal(places(), within);
        history.now()
    };
    let until = Instant::now() + ALIVE_WITHIN;
    swarm.probe(ALIVE_WITHIN).await?;
    while Instant::now() < until && !is_alive(&recorder.lock()) {
        sleep(Duration::from_millis(100)).await;
    }
    cluster.network().heal()?;
    nemesis.settle(cluster).await?;
    if run.groups {
        swarm.commit_stale().await?;
    }
    swarm.calm(&[GROUP, STALE_GROUP][..1 + usize::from(run.groups)]).await;
    swarm.stop().await?;
    for (node, address) in cluster.addresses().iter() {
        read_back_through(*node, address, recorder, &topics()).await?;
    }
    let judged = judge(run.name, recorder);
    if run.forgets {
        return planted(judged);
    }
    judged?;
    finds_a_planted_loss(&recorder.lock())?;
    Ok(format!("{}; {}", nemesis.sum_up()?, sum_up(&recorder.lock(), began, healed)))
}

/// A broker that forgets all was judged.
fn planted(judged: Result<(), ChaosError>) -> Result<String, ChaosError> {
    match judged {
        Ok(()) => Err(ChaosError::broken("a broker that forgets everything passed")),
        Err(found) => {
            let found = found.to_string();
            Ok(format!("found: {}", found.lines().take(2).collect::<Vec<_>>().join("")))
        }
    }
}

/// Takes an acked record out of what the last node answered: the checker has to find that.
fn finds_a_planted_loss(history: &History) -> Result<(), ChaosError> {
    let acked: std::collections::BTreeSet<_> =
        history.operations.iter().filter_map(acked_place_and_offset).collect();
    let mut planted = history.clone();
    let taken = planted.operations.iter_mut().rev().find_map(|operation| {
        let Call::ReadLog { place } = &operation.call else { return None };
        let Some((_, Outcome::Ok(Answer::Log(read)))) = &mut operation.ended else { return None };
        let (offset, _) = *read.records.last()?;
        if !acked.contains(&(place.clone(), offset)) {
            return None;
        }
        read.records.pop();
        read.end = offset;
        Some((place.clone(), offset))
    });
    let Some((place, offset)) = taken else {
        return Err(ChaosError::broken("no partition ends with an acked record"));
    };
    let is_it = |found: &Violation| match found {
        Violation::Lost { place: at, offset: lost, .. } => *at == place && *lost == offset,
        _ => false,
    };
    if check(&planted).iter().any(is_it) {
        return Ok(());
    }
    let what = format!("{place}@{offset} was taken out of the history, and nothing was found");
    Err(ChaosError::broken(what))
}

/// The last offset of an append that was acked.
fn acked_place_and_offset(operation: &Operation) -> Option<(ropewalk_chaos::Place, i64)> {
    match (&operation.call, operation.ok()) {
        (Call::Append { place, values }, Some((_, Answer::Appended(base)))) => {
            let count = i64::try_from(values.len()).unwrap_or(i64::MAX);
            Some((place.clone(), base + count - 1))
        }
        _ => None,
    }
}

/// What clients did, and how long each partition took nothing.
fn sum_up(history: &History, began: u64, healed: u64) -> String {
    let appends = history.operations.iter().filter(|o| matches!(o.call, Call::Append { .. }));
    let count =
        |wanted: RecordedAs| appends.clone().filter(|append| recorded(append) == wanted).count();
    let gaps = longest_gaps(history, began, healed);
    let gaps = gaps.iter().map(|(place, ticks)| {
        format!("{place} {:.1}", Duration::from_micros(*ticks).as_secs_f64())
    });
    let epochs = epochs(history);
    let most = epochs.iter().max_by_key(|(_, epochs)| epochs.rose);
    let most = most.map_or(String::new(), |(place, Epochs { rose, losses, allowed })| {
        format!("; {place} rose by {rose} epochs of {allowed}, for {losses} losses of its leader")
    });
    format!(
        "{} calls, of the appends {} acked, {} refused, {} unknown; longest without an ack, in s: \
         {}{most}",
        history.operations.len(),
        count(RecordedAs::Ok),
        count(RecordedAs::Fail),
        count(RecordedAs::Unknown),
        gaps.collect::<Vec<_>>().join(", ")
    )
}

fn recorded(operation: &Operation) -> RecordedAs {
    match &operation.ended {
        Some((_, Outcome::Ok(_))) => RecordedAs::Ok,
        Some((_, Outcome::Fail(_))) => RecordedAs::Fail,
        _ => RecordedAs::Unknown,
    }
}

/// Keeps the history and the logs of a run that failed; gives where.
fn keep(
    run: &Run,
    seed: u64,
    cluster: &mut Cluster,
    recorder: &Recorder,
) -> Result<PathBuf, ChaosError> {
    let kept = keep_directory().join(format!("ropewalk-failed-{}-{seed}", run.name));
    let what = || format!("keeping {}", kept.display());
    fs::create_dir_all(&kept).map_err(ChaosError::system(what()))?;
    let file = File::create(kept.join("history.jsonl")).map_err(ChaosError::system(what()))?;
    let written = recorder.lock().write_lines(&mut BufWriter::new(file));
    written.map_err(ChaosError::system(what()))?;
    for node in cluster.nodes() {
        let log = kept.join(format!("node-{}.log", node.id()));
        fs::copy(node.broker().log_path(), log).map_err(ChaosError::system(what()))?;
    }
    Ok(kept)
}
