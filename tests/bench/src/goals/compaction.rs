//! Compaction of one partition, of records of about 1 KB and as many keys as there would be if none
//! came twice: alone beside a raw copy, and beside a producer to another topic.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ropewalk::{CleanupPolicy, Client, NewTopic, TopicUpdate};
use ropewalk_proto::broker::Durability;
use ropewalk_proto::v1;
use tokio::time::{Instant, sleep};

use super::figure::{Figure, Goal};
use super::raw::{copy_file, write_file};
use super::run::{Context, load_of, settled};
use crate::gate::Gate;
use crate::machine::drop_pages;
use crate::options::EngineKind;
use crate::records::{Noise, request};
use crate::stats::Latencies;
use crate::target::Target;
use crate::wire::{Failure, Wire};

/// The bytes of a value, and the records of a batch.
const VALUE: usize = 1000;
const BATCH: usize = 200;
/// The log is looked for what may be compacted as often as this.
const CHECKED: &str = "50ms";
const LOOK: Duration = Duration::from_millis(50);
/// The most that is compacted beside a producer: it goes slowly then, by `storage.compaction_rate`.
const MOST_BESIDE: u64 = 256 << 20;
const WITHIN: Duration = Duration::from_secs(600);
const MIB: f64 = 1024.0 * 1024.0;

/// What a compaction was.
struct Done {
    seconds: f64,
    /// The most memory beyond what there was before, in MiB.
    extra: f64,
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let bytes = context.options.compacted_bytes();
    let beside = bytes.min(MOST_BESIDE);
    context.check_disk(bytes)?;
    let (mut rates, mut extra, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..context.options.rounds() {
        let settings = [
            ("storage.engine", EngineKind::Disk.name()),
            ("topics.retention_check_interval", CHECKED),
        ];
        let target = Target::start_with(&context.options.dir(), &settings, 1).await?;
        let client = Client::connect(target.address()).await?;
        fill(&target, &client, "beside", beside).await?;
        let alone = produce(&target, context.gate()).await?;
        let gate = Gate::for_bytes(u64::MAX);
        let compacting = async {
            let done = compact(&target, &client, "beside").await;
            gate.close();
            done
        };
        let (busy, done) = tokio::join!(produce(&target, gate.clone()), compacting);
        done?;
        latencies.push((p99(&busy?), p99(&alone)));

        fill(&target, &client, "alone", bytes).await?;
        let copied = copy(&target, bytes)?;
        if let Some(dir) = target.data_dir() {
            drop_pages(&dir)?;
        }
        let done = compact(&target, &client, "alone").await?;
        rates.push((bytes as f64 / 1e6 / done.seconds, copied));
        extra.push(done.extra);
        target.end().await?;
    }
    let case = format!("{} MiB", bytes >> 20);
    let rate = Figure::beside("compaction", &case, "MB/s", "raw copy", &rates);
    context.report.figure(rate.map(|figure| figure.goal(Goal::RatioAtLeast(0.3))));
    let memory = Figure::of("compaction", &case, "extra RSS MiB", extra);
    context.report.figure(memory.map(|figure| figure.goal(Goal::AtMost(256.0))));
    let case = format!("{} MiB", beside >> 20);
    let p99 = Figure::beside("compaction", &case, "produce p99 ms", "alone", &latencies);
    context.report.figure(p99.map(|figure| figure.goal(Goal::RatioAtMost(2.0))));
    Ok(())
}

fn p99(latencies: &Latencies) -> f64 {
    latencies.percentiles().map_or(f64::NAN, |found| found.p99)
}

/// Fills a new topic with records, each of a key out of as many as there are records, and waits
/// until they are where they stay.
async fn fill(target: &Target, client: &Client, topic: &str, bytes: u64) -> Result<(), Failure> {
    client.admin().create_topic(NewTopic::named(topic).partitions(1)).await?;
    let mut wire = Wire::connect(target.address()).await?;
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let values = noise.bytes(VALUE + BATCH * 7);
    let count = bytes / VALUE as u64;
    let mut written = 0;
    while written < count {
        let record = |place: usize| v1::Record {
            key: Some(Bytes::copy_from_slice(&(noise.next() % count).to_be_bytes())),
            value: Some(values.slice(place * 7..place * 7 + VALUE)),
            ..v1::Record::default()
        };
        let set = v1::RecordSet { records: (0..BATCH).map(record).collect() };
        let set = set.encode_to_vec().into();
        wire.produce(request(topic, 0, set, Durability::Leader)).await?;
        written += BATCH as u64;
    }
    settled(|| target.io()).await?;
    Ok(())
}

/// The control: a file of as many bytes is read and written.
fn copy(target: &Target, bytes: u64) -> Result<f64, Failure> {
    let dir = target.data_dir().ok_or("the broker has no directory")?;
    let dir = dir.parent().ok_or("the directory has a parent")?;
    let (from, to) = (dir.join("from"), dir.join("to"));
    write_file(&from, bytes)?;
    let rate = copy_file(&from, &to)?;
    std::fs::remove_file(from)?;
    std::fs::remove_file(to)?;
    Ok(rate)
}

/// Has a topic compacted, and waits until it is.
async fn compact(target: &Target, client: &Client, topic: &str) -> Result<Done, Failure> {
    let before = target.rss()?.unwrap_or_default();
    let bytes = size(client, topic).await?;
    let begun = Instant::now();
    let update = TopicUpdate::of(topic).cleanup_policy(CleanupPolicy::Compact);
    client.admin().update_topic(update).await?;
    let (mut most, mut last) = (before, (begun, bytes));
    // It is done when its last segment is small, and all of it stays so.
    loop {
        sleep(LOOK).await;
        most = most.max(target.rss()?.unwrap_or_default());
        let now = size(client, topic).await?;
        if now != last.1 {
            last = (Instant::now(), now);
        }
        // What is left of random keys is about 63 of 100.
        let is_done = now < bytes * 70 / 100 && last.0.elapsed() > 20 * LOOK;
        if is_done {
            let seconds = (last.0 - begun).as_secs_f64();
            return Ok(Done { seconds, extra: (most - before) as f64 / MIB });
        }
        if begun.elapsed() > WITHIN {
            return Err("the compaction does not come to its end".into());
        }
    }
}

/// The bytes of a topic's only partition.
async fn size(client: &Client, topic: &str) -> Result<u64, Failure> {
    let described = client.admin().topic(topic).await?;
    let partition = described.partitions.first().ok_or("the topic has a partition")?;
    Ok(u64::try_from(partition.size_bytes)?)
}

/// A few producers of small batches, each of which waits for its answer.
async fn produce(target: &Target, gate: Gate) -> Result<Latencies, Failure> {
    let mut load = load_of(&target.topic, 4, 10, 1);
    load.window = 1;
    Ok(load.run(target.address(), &gate).await?.latencies)
}
