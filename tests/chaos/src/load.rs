//! The load: clients that append, create and delete topics, commit offsets, delete records and ask
//! for ends, all at a time, until they are stopped or the broker is gone. Every call is recorded.

mod others;
mod producers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ropewalk_proto::v1;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::calls::Caller;
use crate::client::{Stubs, outcome_of, seconds};
use crate::error::ChaosError;
use crate::history::{Answer, Call, Client, Place, Recorder};
use crate::rng::Rng;

pub(crate) use producers::Values;
pub use producers::append_once;

/// The topics that every load writes to: name, partitions, whether retention removes records.
pub const TOPICS: [(&str, i32, bool); 3] =
    [("plain", 4, false), ("trimmed", 2, false), ("retained", 2, true)];
/// The consumer group that commits.
pub const COMMIT_GROUP: &str = "readers";

/// The smallest segment that the broker takes: they are to roll often.
const SEGMENT_BYTES: i64 = 64 * 1024;
/// What retention leaves of a partition of the retained topic.
const RETENTION_BYTES: i64 = 512 * 1024;
/// The large batches of a round: hundreds of megabytes, which go through a journal more than once.
const LARGE_BATCHES: u32 = 600;
/// The time between two tries to connect.
const CONNECT_AGAIN: Duration = Duration::from_millis(3);

/// What a load does.
#[derive(Clone, Copy, Debug)]
pub struct LoadPlan {
    /// Decides sizes, places and pauses.
    pub seed: u64,
    /// The first number for its clients: nobody else, in any round, has it or one of the next 20.
    pub first_client: Client,
    /// How many large batches (half a megabyte) are written to the retained topic, as fast as the
    /// broker takes them.
    pub flood: u32,
    /// The longest pause of a client between two calls.
    pub pause: Duration,
}

impl LoadPlan {
    /// The load of a round.
    #[must_use]
    pub fn of_round(seed: u64, round: u32) -> Self {
        let mut rng = Rng::part(seed, u64::from(round));
        Self {
            seed: rng.number(),
            first_client: (round + 1) * 100,
            flood: if rng.percent(40) { LARGE_BATCHES } else { 0 },
            pause: [Duration::ZERO, Duration::from_millis(2), Duration::from_millis(8)]
                [rng.index(3)],
        }
    }

    /// The same with large batches, for what comes only with many bytes.
    #[must_use]
    pub fn heavy(self) -> Self {
        Self { flood: LARGE_BATCHES, ..self }
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

/// What every client has.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) address: Arc<str>,
    pub(crate) recorder: Recorder,
    pub(crate) client: Client,
    pub(crate) rng: Rng,
    pub(crate) pause: Duration,
    stop: Arc<AtomicBool>,
}

impl Worker {
    pub(crate) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// A connection, as soon as there is one; nothing when the load was stopped before.
    pub(crate) async fn connect(&self) -> Option<Stubs> {
        while self.goes_on() {
            if let Ok(stubs) = Stubs::connect(&self.address).await {
                return Some(stubs);
            }
            sleep(CONNECT_AGAIN).await;
        }
        None
    }

    /// This client, calling over a connection.
    pub(crate) fn caller<'a>(&'a self, stubs: &'a Stubs, timeout: Duration) -> Caller<'a> {
        let (recorder, client) = (&self.recorder, self.client);
        Caller { stubs, recorder, client, node: 0, timeout }
    }

    pub(crate) async fn rest(&mut self) {
        if !self.pause.is_zero() {
            let millis = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX);
            sleep(self.rng.up_to_millis(millis)).await;
        }
    }
}

impl Load {
    /// Starts the clients. They connect as soon as the broker lets them.
    #[must_use]
    pub fn start(address: &str, recorder: &Recorder, plan: LoadPlan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = |number: u32| Worker {
            address: address.into(),
            recorder: recorder.clone(),
            client: plan.first_client + number,
            rng: Rng::part(plan.seed, u64::from(number)),
            pause: plan.pause,
            stop: Arc::clone(&stop),
        };
        let mut clients = JoinSet::new();
        clients.spawn(producers::one_by_one(worker(0)));
        clients.spawn(producers::one_by_one(worker(1)));
        clients.spawn(producers::pipelined(worker(2), None));
        clients.spawn(producers::pipelined(worker(3), None));
        if plan.flood > 0 {
            clients.spawn(producers::pipelined(worker(4), Some(plan.flood)));
        }
        clients.spawn(others::create_and_delete(worker(5)));
        clients.spawn(others::commit(worker(6)));
        clients.spawn(others::trim(worker(7)));
        clients.spawn(others::ask_for_ends(worker(8)));
        Self { stop, clients }
    }

    /// Waits until every client has the outcome of its last call, and has ended.
    ///
    /// # Errors
    /// When one of them panicked.
    pub async fn stop(mut self) -> Result<(), ChaosError> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.map_err(|error| ChaosError::broken(format!("a client ended: {error}")))?;
        }
        Ok(())
    }
}

/// Creates the topics that loads write to, with small segments, on one broker.
///
/// # Errors
/// When the broker refuses one.
pub async fn create_topics(address: &str, recorder: &Recorder) -> Result<(), ChaosError> {
    create_replicated_topics(address, recorder, 1).await
}

/// Creates the topics that loads write to, with so many replicas of each partition.
///
/// # Errors
/// When the cluster refuses one.
pub async fn create_replicated_topics(
    address: &str,
    recorder: &Recorder,
    replication_factor: i32,
) -> Result<(), ChaosError> {
    let stubs = Stubs::connect(address).await?;
    for (name, partition_count, retained) in TOPICS {
        let settings = v1::TopicSettings {
            segment_bytes: Some(SEGMENT_BYTES),
            segment_age: Some(seconds(5)),
            retention_bytes: retained.then_some(RETENTION_BYTES),
            ..Default::default()
        };
        let settings = Some(settings);
        let request = v1::CreateTopicRequest {
            name: name.to_owned(),
            partition_count,
            settings,
            replication_factor,
        };
        let id = recorder.invoke(0, Call::CreateTopic { topic: name.into(), retained });
        let created = stubs.admin().create_topic(request).await.map(|_| Answer::Done);
        recorder.end(id, outcome_of(created.clone()));
        created.map_err(ChaosError::refused(format!("creating {name}")))?;
    }
    Ok(())
}

/// Any partition of the topics that loads write to.
pub(crate) fn any_place(rng: &mut Rng) -> Place {
    let (topic, partitions, _) = TOPICS[rng.index(TOPICS.len())];
    partition_of(rng, topic, partitions)
}

pub(crate) fn partition_of(rng: &mut Rng, topic: &str, partitions: i32) -> Place {
    let partition = rng.within(0..u64::from(partitions.unsigned_abs()));
    Place::new(topic, i32::try_from(partition).expect("it is one of a few"))
}
