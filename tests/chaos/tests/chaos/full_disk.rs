//! A disk that fills up and is given room again, in cycles.
//!
//! Produce is refused with STORAGE_FULL while the process lives, reads and commits go on, and
//! records and topics can be deleted; soon after that produce works again. Nothing acked is lost.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_chaos::{
    Answer, COMMIT_GROUP, Call, ChaosError, Image, Mount, Options, Outcome, Place, Recorder, Stubs,
    ValueId, append_once, read_back, reason_of,
};
use ropewalk_harness::Broker;
use ropewalk_proto::v1;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::judge::{builder, is_judged, judge, needs_mounts, temporary, with_log};

const CYCLES: u32 = 5;
const IMAGE_BYTES: u64 = 512 << 20;
/// The records of a batch, and the bytes of each.
const BATCH: (u64, usize) = (6, 150_000);
const PRODUCERS: u32 = 4;
const PARTITIONS: i32 = 2;
/// How long filling the disk may take.
const FILL_WITHIN: Duration = Duration::from_secs(60);
/// A small journal: a topic that goes makes room for all that it holds.
const JOURNAL: (&str, &str) = ("storage.journal_size", "16MiB");
/// How long commits may go on beside a disk without a byte, each with a sync of its own.
const REFUSED_WITHIN: Duration = Duration::from_secs(120);
/// How long produce may be refused after there is room again.
const WORKS_WITHIN: Duration = Duration::from_secs(10);
/// What somebody else leaves of the disk: as much as one checkpoint may take, too little for one,
/// nothing.
const LEFT: [u64; 4] = [24 << 20, 12 << 20, 6 << 20, 0];
/// Some 60 MB of values, several times what a checkpoint needs; and how often it is tried.
const SEGMENT_VALUES: u64 = 400;
const FILL_ROUNDS: u32 = 5;
/// Longer than the broker waits between checkpoints, however little there is to write.
const CHECKPOINTED: Duration = Duration::from_secs(7);
/// How long a broker may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// A topic that is small and stays.
const SIDE: &str = "side";
/// A topic without records. What is committed of it makes a commit large: some thousand fill the
/// journal.
const BALLAST: &str = "ballast";
const BALLAST_PARTITIONS: i32 = 4;
const BALLAST_BYTES: usize = 3_000;

struct Disk {
    broker: Broker,
    recorder: Recorder,
    values: u64,
    /// Where the file system is mounted.
    directory: PathBuf,
}

pub(crate) async fn run(options: Options) -> Result<String, ChaosError> {
    needs_mounts()?;
    let directory = temporary()?;
    let image = Image::make(directory.path().join("image"), IMAGE_BYTES)?;
    let mount = image.mount(&directory.path().join("disk"))?;
    let broker = builder(&mount.point().join("data")).settings(&[JOURNAL]).start().await?;
    let judged = is_judged(&options, &mount.point().join("data"));
    let recorder = Recorder::default();
    let mut disk = Disk { broker, recorder, values: 0, directory: mount.point().to_owned() };
    let cycled = disk.cycles(options).await;
    let cycled = with_log(&disk.broker, cycled);
    drop(disk);
    let unmounted = Mount::unmount(mount).await;
    match cycled {
        Err(error) if !judged => Ok(format!(
            "NOT JUDGED: there is no journal/, and the plain engine ends at a full disk: {}",
            error.to_string().lines().next().unwrap_or_default()
        )),
        cycled => cycled.and_then(|summary| unmounted.map(|()| summary)),
    }
}

impl Disk {
    async fn cycles(&mut self, options: Options) -> Result<String, ChaosError> {
        self.create(SIDE, PARTITIONS).await?;
        self.create(BALLAST, BALLAST_PARTITIONS).await?;
        let stubs = Stubs::connect(self.broker.address()).await?;
        let side = Place::new(SIDE, 0);
        self.append(&stubs, &side, 1, 100).await.map_err(ChaosError::refused("a first append"))?;
        let mut topic = "fill-0".to_owned();
        self.create(&topic, PARTITIONS).await?;
        for cycle in options.rounds(CYCLES) {
            let took = self.fill(cycle, &topic).await?;
            self.goes_on(&stubs, cycle).await?;
            self.read_and_judge(&format!("cycle {cycle}, full"), &topic).await?;
            let freed = Instant::now();
            let how = if cycle % 2 == 0 { "records" } else { "a topic" };
            if cycle % 2 == 0 {
                self.delete_records(&stubs, &topic).await?;
            } else {
                self.delete_topic(&stubs, &topic).await?;
                topic = format!("fill-{}", cycle + 1);
            }
            self.works_again(&stubs, &side, cycle).await?;
            let again = freed.elapsed();
            if cycle % 2 == 1 {
                self.create(&topic, PARTITIONS).await?;
            }
            println!("cycle {cycle}: full after {took:.1?}, works {again:.1?} after {how} went");
        }
        self.not_a_byte_left(&stubs, &side, &topic).await?;
        self.ends_when_told(&side).await?;
        self.broker.kill9().await?;
        self.broker.restart().await?;
        self.read_and_judge("after a kill", SIDE).await?;
        Ok(format!("{} values sent", self.values))
    }

    /// Somebody else fills the disk to its last byte, bit by bit: the broker lives, commits go on
    /// until the journal has no more room for them, and what is deleted makes room.
    async fn not_a_byte_left(
        &mut self,
        stubs: &Stubs,
        side: &Place,
        topic: &str,
    ) -> Result<(), ChaosError> {
        self.fill_segments(topic).await?;
        let foreign = self.directory.join("foreign");
        for left in LEFT {
            fill_up(&foreign, left)?;
            sleep(CHECKPOINTED).await;
            self.goes_on(stubs, CYCLES).await?;
        }
        let commits = self.commit_until_refused(stubs).await?;
        self.delete_topic(stubs, topic).await?;
        self.commits_again(stubs).await?;
        self.lives()?;
        remove(&foreign)?;
        self.works_again(stubs, side, CYCLES).await?;
        println!("not a byte left: lives, takes {commits} commits, deletes, and works again");
        Ok(())
    }

    /// Fills the disk with a topic that gives room when it goes: what was deleted before may not be
    /// gone yet, and what stands in the journal alone is not enough.
    async fn fill_segments(&mut self, topic: &str) -> Result<(), ChaosError> {
        let enough = self.values + SEGMENT_VALUES;
        for round in 0..FILL_ROUNDS {
            self.fill(CYCLES + 10 * round, topic).await?;
            sleep(CHECKPOINTED).await;
            if self.values >= enough {
                return Ok(());
            }
        }
        Err(ChaosError::broken("a topic could not be made large".to_owned()))
    }

    /// A broker that has no room for anything ends when it is told to, and is whole afterwards.
    async fn ends_when_told(&mut self, side: &Place) -> Result<(), ChaosError> {
        let stubs = Stubs::connect(self.broker.address()).await?;
        let topic = "last";
        self.create(topic, PARTITIONS).await?;
        self.fill(CYCLES + 1, topic).await?;
        let foreign = self.directory.join("foreign");
        fill_up(&foreign, 0)?;
        sleep(CHECKPOINTED).await;
        self.commit_until_refused(&stubs).await?;
        let ended = self.broker.terminate().await?;
        if ended.took > ENDS_WITHIN {
            return Err(ChaosError::broken(format!("it took {:?} to end", ended.took)));
        }
        remove(&foreign)?;
        self.broker.restart().await?;
        self.read_and_judge("after it was told to end", topic).await?;
        let stubs = Stubs::connect(self.broker.address()).await?;
        self.delete_topic(&stubs, topic).await?;
        self.works_again(&stubs, side, CYCLES + 1).await?;
        println!("not a byte left: ends {:.1?} after it is told to", ended.took);
        Ok(())
    }

    fn lives(&mut self) -> Result<(), ChaosError> {
        match self.broker.try_exit_status()? {
            None => Ok(()),
            Some(status) => {
                Err(ChaosError::broken(format!("the broker ended on a full disk: {status}")))
            }
        }
    }

    /// What was deleted has made room for commits.
    async fn commits_again(&self, stubs: &Stubs) -> Result<(), ChaosError> {
        let until = Instant::now() + WORKS_WITHIN;
        loop {
            match self.commit(stubs, 1).await {
                Ok(()) => return Ok(()),
                Err(status) if is_full(&status) && Instant::now() < until => {
                    sleep(Duration::from_millis(50)).await;
                }
                Err(status) => {
                    return Err(ChaosError::refused("committing after a topic went")(status));
                }
            }
        }
    }

    /// Commits until there is no more room for that either, for large ones first; gives how often.
    async fn commit_until_refused(&mut self, stubs: &Stubs) -> Result<u32, ChaosError> {
        let until = Instant::now() + REFUSED_WITHIN;
        let (mut count, mut ballast) = (0, BALLAST_PARTITIONS);
        while Instant::now() < until {
            match self.commit_with(stubs, i64::from(count % 2), ballast).await {
                Ok(()) => count += 1,
                Err(status) if is_full(&status) && ballast > 0 => ballast = 0,
                Err(status) if is_full(&status) => {
                    self.lives()?;
                    return Ok(count);
                }
                Err(status) => return Err(ChaosError::refused("committing")(status)),
            }
        }
        Err(ChaosError::broken(format!("{count} commits were taken without any room")))
    }

    async fn create(&self, topic: &str, partition_count: i32) -> Result<(), ChaosError> {
        let stubs = Stubs::connect(self.broker.address()).await?;
        let name: Arc<str> = topic.into();
        let settings = v1::TopicSettings { segment_bytes: Some(8 << 20), ..Default::default() };
        let request = v1::CreateTopicRequest {
            name: topic.to_owned(),
            partition_count,
            settings: Some(settings),
            replication_factor: 1,
        };
        let id = self.recorder.invoke(0, Call::CreateTopic { topic: name, retained: false });
        let created = stubs.admin().create_topic(request).await;
        created.map_err(ChaosError::refused(format!("creating {topic}")))?;
        self.recorder.end(id, Outcome::Ok(Answer::Done));
        Ok(())
    }

    async fn append(
        &mut self,
        stubs: &Stubs,
        place: &Place,
        count: u64,
        payload: usize,
    ) -> Result<i64, Status> {
        let ids: Vec<_> =
            (0..count).map(|n| ValueId { client: 1, counter: self.values + n }).collect();
        self.values += count;
        append_once(stubs, &self.recorder, place, &ids, payload).await
    }

    /// Appends with many clients until each was refused because the disk is full.
    async fn fill(&mut self, cycle: u32, topic: &str) -> Result<Duration, ChaosError> {
        let started = Instant::now();
        let mut producers = JoinSet::new();
        for number in 0..PRODUCERS {
            let partition = i32::try_from(number).unwrap_or(0) % PARTITIONS;
            let place = Place::new(topic, partition);
            let client = (cycle + 1) * 100 + number;
            let (address, recorder) = (self.broker.address().to_owned(), self.recorder.clone());
            producers.spawn(async move { fill_one(&address, &recorder, &place, client).await });
        }
        while let Some(ended) = producers.join_next().await {
            self.values += ended
                .map_err(|error| ChaosError::broken(format!("a producer ended: {error}")))??;
        }
        match self.broker.try_exit_status()? {
            None => Ok(started.elapsed()),
            Some(status) => Err(ChaosError::broken(format!("the broker ended: {status}"))),
        }
    }

    /// While it is full, offsets are committed; reads are checked beside.
    async fn goes_on(&self, stubs: &Stubs, cycle: u32) -> Result<(), ChaosError> {
        let committed = self.commit(stubs, i64::from(cycle % 2)).await;
        let what = format!("cycle {cycle}: committing while the disk is full");
        committed.map_err(ChaosError::refused(what))
    }

    async fn commit(&self, stubs: &Stubs, offset: i64) -> Result<(), Status> {
        self.commit_with(stubs, offset, 0).await
    }

    /// Commits an offset, and beside it what makes the commit large.
    async fn commit_with(&self, stubs: &Stubs, offset: i64, ballast: i32) -> Result<(), Status> {
        let (group, place): (Arc<str>, _) = (COMMIT_GROUP.into(), Place::new(SIDE, 0));
        let committed = v1::CommittedOffset {
            topic: SIDE.to_owned(),
            partition: 0,
            offset,
            ..Default::default()
        };
        let ballast = (0..ballast).map(|partition| v1::CommittedOffset {
            topic: BALLAST.to_owned(),
            partition,
            metadata: "m".repeat(BALLAST_BYTES),
            ..Default::default()
        });
        let request = v1::CommitOffsetRequest {
            group: group.to_string(),
            offsets: std::iter::once(committed).chain(ballast).collect(),
            ..Default::default()
        };
        let id = self.recorder.invoke(2, Call::Commit { group, place, offset, by: None });
        let answer = stubs.consumer().commit_offset(request).await;
        let outcome = match &answer {
            Ok(_) => Outcome::Ok(Answer::Done),
            Err(status) if is_full(status) => Outcome::Fail(status.to_string()),
            Err(status) => Outcome::Unknown(status.to_string()),
        };
        self.recorder.end(id, outcome);
        answer.map(|_| ())
    }

    async fn read_and_judge(&self, what: &str, topic: &str) -> Result<(), ChaosError> {
        read_back(self.broker.address(), &self.recorder, &[SIDE, topic])
            .await
            .map_err(|error| ChaosError::broken(format!("{what}: {error}")))?;
        judge(what, &self.recorder)?;
        self.recorder.lock().settle();
        Ok(())
    }

    async fn delete_records(&self, stubs: &Stubs, topic: &str) -> Result<(), ChaosError> {
        for partition in 0..PARTITIONS {
            let place = Place::new(topic, partition);
            let end = {
                let history = self.recorder.lock();
                history.base.logs.get(&place).map_or(0, |read| read.end)
            };
            let target = v1::DeleteRecordsTarget { partition, before_offset: end };
            let request =
                v1::DeleteRecordsRequest { topic: topic.to_owned(), targets: vec![target] };
            let id = self.recorder.invoke(3, Call::Trim { place, before: end });
            let answer = stubs.admin().delete_records(request).await;
            answer.map_err(ChaosError::refused("deleting records while the disk is full"))?;
            self.recorder.end(id, Outcome::Ok(Answer::Trimmed(end)));
        }
        Ok(())
    }

    async fn delete_topic(&self, stubs: &Stubs, topic: &str) -> Result<(), ChaosError> {
        let id = self.recorder.invoke(3, Call::DeleteTopic { topic: topic.into() });
        let request = v1::DeleteTopicRequest { name: topic.to_owned() };
        let answer = stubs.admin().delete_topic(request).await;
        answer.map_err(ChaosError::refused("deleting a topic while the disk is full"))?;
        self.recorder.end(id, Outcome::Ok(Answer::Done));
        Ok(())
    }

    async fn works_again(
        &mut self,
        stubs: &Stubs,
        side: &Place,
        cycle: u32,
    ) -> Result<(), ChaosError> {
        let until = Instant::now() + WORKS_WITHIN;
        loop {
            match self.append(stubs, side, 1, 100).await {
                Ok(_) => return Ok(()),
                Err(status) if is_full(&status) && Instant::now() < until => {
                    sleep(Duration::from_millis(50)).await;
                }
                Err(status) => {
                    let what = format!("cycle {cycle}: an append {WORKS_WITHIN:?} after room came");
                    return Err(ChaosError::refused(what)(status));
                }
            }
        }
    }
}

fn remove(path: &Path) -> Result<(), ChaosError> {
    std::fs::remove_file(path)
        .map_err(|error| ChaosError::broken(format!("removing a file: {error}")))
}

/// Writes to a file until the disk takes no more, and gives these bytes back.
fn fill_up(path: &Path, left: u64) -> Result<(), ChaosError> {
    let failed = |error: std::io::Error| ChaosError::broken(format!("filling the disk: {error}"));
    let mut file = std::fs::File::options().create(true).append(true).open(path).map_err(failed)?;
    let mut size = 1 << 20;
    while size > 0 {
        match file.write_all(&vec![0; size]).and_then(|()| file.sync_data()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
            Err(error) => return Err(failed(error)),
        }
    }
    let length = file.metadata().map_err(failed)?.len();
    file.set_len(length.saturating_sub(left)).and_then(|()| file.sync_all()).map_err(failed)
}

fn is_full(status: &Status) -> bool {
    status.code() == Code::ResourceExhausted && reason_of(status) == "STORAGE_FULL"
}

/// Appends until the disk is full; gives the number of values.
async fn fill_one(
    address: &str,
    recorder: &Recorder,
    place: &Place,
    client: u32,
) -> Result<u64, ChaosError> {
    let stubs = Stubs::connect(address).await?;
    let until = Instant::now() + FILL_WITHIN;
    let mut counter = 0;
    while Instant::now() < until {
        let ids: Vec<_> = (0..BATCH.0).map(|n| ValueId { client, counter: counter + n }).collect();
        counter += BATCH.0;
        match append_once(&stubs, recorder, place, &ids, BATCH.1).await {
            Ok(_) => {}
            Err(status) if is_full(&status) => return Ok(counter),
            // The broker's memory is bounded: that is no full disk.
            Err(status) if reason_of(&status) == "OVERLOADED" => {
                sleep(Duration::from_millis(10)).await;
            }
            Err(status) => return Err(ChaosError::refused("filling the disk")(status)),
        }
    }
    Err(ChaosError::broken(format!("the disk was not full after {FILL_WITHIN:?}")))
}
