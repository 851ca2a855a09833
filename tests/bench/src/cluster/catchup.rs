//! A broker that was killed and missed some gigabytes: the time until it has them, beside a copy of
//! as many bytes of files; and what the others serve meanwhile, beside what they serve otherwise.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ropewalk::{NewTopic, Partition, SizeLimit, TopicDescription};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::nodes::{Led, Nodes};
use super::path::{BATCH, PRODUCERS};
use super::run::{Context, NODES};
use crate::gate::Gate;
use crate::goals::figure::{Figure, Goal};
use crate::goals::groups::blocking;
use crate::goals::run::{PARTITIONS, RECORD, load_of};
use crate::load::Acked;
use crate::wire::Failure;

const MIB: u64 = 1 << 20;
/// What each partition of the foreground keeps: it goes on as long as it must, and fills no disk.
const KEPT: u64 = 32 * MIB;
const SEGMENT: u64 = 8 * MIB;
/// What the foreground may hold in all, three times, until retention has looked.
const FOREGROUND: u64 = 4 << 30;
/// The place of the broker that is killed.
const KILLED: usize = 2;
const LOOK: Duration = Duration::from_millis(20);
/// The foreground load goes on for so long at most.
const LOADED: Duration = Duration::from_secs(60);
const LOADED_QUICK: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_secs(600);
/// How long the load goes on with nothing to catch up, at least: retention is to have its turn.
const HEALTHY: Duration = Duration::from_secs(8);

/// What came out of a round. Rates are in millions of bytes a second.
#[derive(Debug)]
struct Round {
    /// Of catching up, from the start of the process on.
    idle: f64,
    /// The seconds until it was ready, and until the first entry came.
    ready: f64,
    first: f64,
    copied: f64,
    /// Of catching up beside the foreground.
    loaded: f64,
    /// How much of it was there at the end.
    share: f64,
    /// What the foreground got meanwhile.
    meanwhile: Foreground,
    /// What it got with nothing to catch up.
    healthy: Foreground,
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let bytes = context.options.catchup_bytes();
    let mut rounds = Vec::new();
    for _ in 0..context.options.few_rounds() {
        // Three replicas, and a copy.
        context.check_free(bytes.saturating_mul(4).saturating_add(FOREGROUND))?;
        rounds.push(round(context, bytes).await?);
    }
    report(context, bytes, &rounds);
    Ok(())
}

async fn round(context: &Context<'_>, bytes: u64) -> Result<Round, Failure> {
    let mut nodes = context.nodes(NODES).await?;
    nodes.drain(KILLED).await?;
    let missed = Missed::make(&mut nodes, bytes).await?;
    let (idle, ready, first) = alone(&mut nodes, &missed).await?;
    nodes.settled().await?;
    let copied = blocking(|| copy(nodes.data_dir(0), &nodes.dir().join("copy"), bytes))?;
    nodes.client().admin().delete_topic(&missed.topic.name).await?;
    freed(&nodes, bytes).await?;

    let topic = NewTopic::named("foreground").segment_bytes(SEGMENT);
    let topic = topic.retention_bytes(SizeLimit::Bytes(KEPT));
    let foreground = nodes.make(topic, PARTITIONS).await?;
    nodes.settled().await?;
    let (warm_up, span) = (context.options.warm_up(), context.options.span());
    let gate = Gate::new(warm_up, span.max(HEALTHY), u64::MAX);
    let healthy = Running::start(&nodes, &foreground, &gate).end().await?;
    let missed = Missed::make(&mut nodes, bytes).await?;
    let (meanwhile, loaded, share) = beside(context, &mut nodes, &foreground, &missed).await?;
    nodes.end().await?;
    Ok(Round { idle, ready, first, copied, loaded, share, meanwhile, healthy })
}

/// Waits until the files of a deleted topic are gone, and the disk has done with them: one that
/// frees twenty gigabytes at once was seen to write nothing else for seconds.
async fn freed(nodes: &Nodes, bytes: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + WITHIN;
    while bytes_of_segments(nodes).is_none_or(|there| there >= bytes / 2) {
        if Instant::now() > deadline {
            return Err(format!("a deleted topic was still there after {WITHIN:?}").into());
        }
        sleep(LOOK).await;
    }
    blocking(|| Ok(File::open(nodes.dir())?.sync_all()?))
}

/// The bytes of all segment files. `None` where one went while they were counted.
fn bytes_of_segments(nodes: &Nodes) -> Option<u64> {
    let mut files = Vec::new();
    for place in 0..NODES as usize {
        files_below(&nodes.data_dir(place).join("segments"), &mut files).ok()?;
    }
    files.iter().map(|file| Some(fs::metadata(file).ok()?.len())).sum()
}

/// Starts the broker and lets it catch up with nothing else to do. Returns the rate, in millions of
/// bytes a second, and the seconds until it was ready and until it had the first entry.
async fn alone(nodes: &mut Nodes, missed: &Missed) -> Result<(f64, f64, f64), Failure> {
    let started = Instant::now();
    nodes.brokers()[KILLED].begin()?;
    let mut first = None;
    loop {
        let share = missed.share(nodes).await?;
        if share > 0.0 {
            first.get_or_insert(started.elapsed());
        }
        if share >= 1.0 {
            break;
        }
        if started.elapsed() > WITHIN {
            return Err(format!("the broker did not catch up within {WITHIN:?}").into());
        }
        sleep(LOOK).await;
    }
    let took = started.elapsed();
    nodes.brokers()[KILLED].wait_ready().await?;
    let ready = nodes.broker(KILLED).ready_after().unwrap_or_default();
    let rate = missed.bytes as f64 / 1e6 / took.as_secs_f64();
    Ok((rate, ready.as_secs_f64(), first.unwrap_or(took).as_secs_f64()))
}

/// The same beside a load, for a bounded time: what the load gets, the rate, and the share that the
/// broker has at the end.
async fn beside(
    context: &Context<'_>,
    nodes: &mut Nodes,
    foreground: &Led,
    missed: &Missed,
) -> Result<(Foreground, f64, f64), Failure> {
    let longest = context.options.pick(LOADED_QUICK, LOADED);
    let gate = Gate::new(context.options.warm_up(), longest, u64::MAX);
    let running = Running::start(nodes, foreground, &gate);
    sleep_until(gate.opens()).await;
    let started = Instant::now();
    nodes.brokers()[KILLED].begin()?;
    let mut share = 0.0;
    while share < 1.0 && !gate.is_over(Instant::now()) && !running.is_finished() {
        sleep(LOOK).await;
        share = missed.share(nodes).await?;
        context.check_free(FOREGROUND / 4)?;
    }
    let took = started.elapsed();
    gate.close();
    let got = running.end().await?;
    nodes.brokers()[KILLED].wait_ready().await?;
    Ok((got, share * missed.bytes as f64 / 1e6 / took.as_secs_f64(), share))
}

/// A load at full speed that goes on beside something else.
#[derive(Debug)]
struct Running {
    gate: Gate,
    load: JoinHandle<Result<Acked, Failure>>,
}

/// What a load got.
#[derive(Clone, Copy, Debug)]
struct Foreground {
    megabytes_per_second: f64,
    p99: f64,
}

impl Running {
    fn start(nodes: &Nodes, topic: &Led, gate: &Gate) -> Self {
        let load = load_of(&topic.name, PRODUCERS, BATCH, PARTITIONS);
        let (addresses, own) = (topic.direct(nodes), gate.clone());
        let load = tokio::spawn(async move { load.run_at(&addresses, &own).await });
        Self { gate: gate.clone(), load }
    }

    /// Whether it has failed, or its gate has closed.
    fn is_finished(&self) -> bool {
        self.load.is_finished()
    }

    /// Waits until the gate closes.
    async fn end(self) -> Result<Foreground, Failure> {
        let open = async {
            self.gate.closed().await;
            Ok(self.gate.opens().elapsed().as_secs_f64())
        };
        let load = async { self.load.await? };
        let (seconds, acked) = tokio::try_join!(open, load)?;
        let latency = acked.latencies.percentiles().ok_or("nothing was acked: raise --seconds")?;
        let megabytes_per_second = acked.records as f64 * RECORD as f64 / 1e6 / seconds;
        Ok(Foreground { megabytes_per_second, p99: latency.p99 })
    }
}

/// What a broker lacks: a topic that was written while it was dead.
#[derive(Debug)]
struct Missed {
    topic: Led,
    bytes: u64,
    /// The index of the last entry of each partition when the broker died, and after the load.
    from: Vec<i64>,
    to: Vec<i64>,
}

impl Missed {
    /// Makes a topic, kills the broker, which leads nothing, and produces so much.
    async fn make(nodes: &mut Nodes, bytes: u64) -> Result<Self, Failure> {
        let topic = nodes.make(NewTopic::named("missed"), PARTITIONS).await?;
        let from = last_entries(&described(nodes, &topic).await?);
        nodes.brokers()[KILLED].kill9().await?;
        let load = load_of(&topic.name, PRODUCERS, BATCH, PARTITIONS);
        load.run_at(&topic.direct(nodes), &Gate::for_bytes(bytes)).await?;
        let to = last_entries(&described(nodes, &topic).await?);
        Ok(Self { topic, bytes, from, to })
    }

    /// How much of it the broker has by now, from 0 to 1, by the word of those that lead.
    async fn share(&self, nodes: &Nodes) -> Result<f64, Failure> {
        let described = described(nodes, &self.topic).await?;
        let has = described.partitions.iter().map(|partition| {
            let own = partition.members.iter().find(|m| m.broker == KILLED as u64 + 1);
            own.map_or(0, |member| member.matched_index)
        });
        Ok(share(&self.from, &self.to, has))
    }
}

/// How much of the entries from one index of each partition to another is there.
fn share(from: &[i64], to: &[i64], has: impl Iterator<Item = i64>) -> f64 {
    let (mut there, mut all) = (0, 0);
    for ((from, to), has) in from.iter().zip(to).zip(has) {
        there += has.clamp(*from, (*to).max(*from)) - from;
        all += to - from;
    }
    there as f64 / f64::max(all as f64, 1.0)
}

async fn described(nodes: &Nodes, topic: &Led) -> Result<TopicDescription, Failure> {
    Ok(nodes.client().admin().topic(&topic.name).await?)
}

/// The index of the last entry of each partition that any replica has.
fn last_entries(topic: &TopicDescription) -> Vec<i64> {
    let last = |p: &Partition| p.members.iter().map(|member| member.matched_index).max();
    topic.partitions.iter().map(|partition| last(partition).unwrap_or(0)).collect()
}

/// Copies files of a broker, each synced, until there are so many bytes, and removes the copies.
/// Returns millions of bytes a second.
fn copy(from: &Path, to: &Path, bytes: u64) -> Result<f64, Failure> {
    fs::create_dir(to)?;
    let mut files = Vec::new();
    files_below(&from.join("segments"), &mut files)?;
    let started = Instant::now();
    let mut copied = 0;
    for (number, file) in files.iter().enumerate() {
        let copy = to.join(number.to_string());
        copied += fs::copy(file, &copy)?;
        File::open(&copy)?.sync_all()?;
        if copied >= bytes {
            break;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    fs::remove_dir_all(to)?;
    if copied < bytes / 2 {
        return Err(format!("there were only {copied} bytes to copy, instead of {bytes}").into());
    }
    Ok(copied as f64 / 1e6 / seconds)
}

fn files_below(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files_below(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn report(context: &mut Context<'_>, bytes: u64, rounds: &[Round]) {
    let case = format!("{:.2} GB", bytes as f64 / 1e9);
    let pairs = |of: fn(&Round) -> (f64, f64)| rounds.iter().map(of).collect::<Vec<_>>();
    let of = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let idle = pairs(|round| (round.idle, round.copied));
    let idle = Figure::beside("catchup", &case, "MB/s", "copy, synced", &idle);
    let note = "from the start of the process";
    context.report.figure(idle.map(|figure| figure.goal(Goal::RatioAtLeast(0.5)).note(note)));
    context.report.figure(Figure::of("catchup", &case, "s to ready", of(|round| round.ready)));
    context.report.figure(Figure::of("catchup", &case, "s to first", of(|round| round.first)));

    let case = format!("{case} beside a load");
    let rates =
        pairs(|round| (round.meanwhile.megabytes_per_second, round.healthy.megabytes_per_second));
    let load = Figure::beside("catchup", &case, "load MB/s", "nothing to catch up", &rates);
    let least = Goal::RatioAtLeast(0.75);
    context.report.figure(load.map(|figure| figure.goal(least)));
    let p99 = pairs(|round| (round.meanwhile.p99, round.healthy.p99));
    let p99 = Figure::beside("catchup", &case, "load p99 ms", "nothing to catch up", &p99);
    context.report.figure(p99);
    let share = rounds.iter().map(|round| round.share).fold(f64::INFINITY, f64::min) * 100.0;
    let loaded = Figure::of("catchup", &case, "MB/s", of(|round| round.loaded));
    context.report.figure(loaded.map(|figure| figure.note(format!("got {share:.0} % of it"))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_what_was_missed_and_nothing_else() {
        let (from, to) = ([5, 10], [15, 40]);
        for (has, expected) in [([0, 0], 0.0), ([15, 10], 0.25), ([15, 40], 1.0), ([99, 99], 1.0)] {
            assert_eq!(share(&from, &to, has.into_iter()), expected, "{has:?}");
        }
    }

    #[test]
    fn a_copy_ends_when_there_is_enough_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("segments/1");
        fs::create_dir_all(&log).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(log.join(name), vec![1; 1000]).unwrap();
        }
        let to = dir.path().join("copy");
        assert!(copy(dir.path(), &to, 1500).unwrap() > 0.0);
        assert!(!to.exists());
        let error = copy(dir.path(), &to, 1_000_000).unwrap_err().to_string();
        assert!(error.contains("only 3000 bytes"), "{error}");
        assert!(!to.exists());
    }
}
