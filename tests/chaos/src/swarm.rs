//! The load of a cluster: clients that ride over faults, until they are stopped.
//!
//! Each goes to another node when one fails it. After an append whose outcome is unknown it goes on
//! under another number: that append may still happen, behind those that come later. An idempotent
//! producer sends it again instead.

mod members;
mod others;
mod producers;
mod readers;
mod stale;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::calls::Caller;
use crate::check::is_stable;
use crate::client::Stubs;
use crate::cluster::Addresses;
use crate::error::ChaosError;
use crate::history::{Client, NodeId, Place, Recorder};
use crate::load::TOPICS;
use crate::rng::Rng;

pub use members::GROUP;
pub(crate) use members::Habits;
use members::Member;
pub use stale::STALE_GROUP;

/// How long one call may take. Shorter than most pauses, so that clients meet the other nodes.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client waits after a node failed it.
const AGAIN: Duration = Duration::from_millis(50);
/// How often it is asked how a group is, and for how long: longer than it may need.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASK_FOR: Duration = Duration::from_secs(25);
/// The longest pause between two calls of one client, in milliseconds.
const PAUSE_MILLIS: u64 = 6;

/// Clients at work.
#[derive(Debug)]
pub struct Swarm {
    stop: Arc<AtomicBool>,
    /// The readers go on until the appends are over.
    stop_reading: Arc<AtomicBool>,
    clients: JoinSet<()>,
    readers: JoinSet<()>,
    /// Whether members of groups come and go.
    is_restless: Arc<AtomicBool>,
    next_client: Arc<AtomicU32>,
    addresses: Addresses,
    recorder: Recorder,
    seed: u64,
}

/// What every client has.
#[derive(Clone)]
struct Worker {
    addresses: Addresses,
    /// Which of the addresses it is at.
    at: usize,
    recorder: Recorder,
    client: Client,
    next_client: Arc<AtomicU32>,
    rng: Rng,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn node(&self) -> NodeId {
        self.addresses[self.at].0
    }

    /// A connection to the node that it is at, or to the next that answers.
    async fn connect(&mut self) -> Option<Stubs> {
        while self.goes_on() {
            match Stubs::connect_within(&self.addresses[self.at].1, CONNECT_TIMEOUT).await {
                Ok(stubs) => return Some(stubs),
                Err(_) => self.elsewhere().await,
            }
        }
        None
    }

    /// Goes to another node, after a moment.
    async fn elsewhere(&mut self) {
        self.at = (self.at + 1) % self.addresses.len();
        sleep(AGAIN).await;
    }

    /// This client, calling over a connection to the node that it is at.
    fn caller<'a>(&'a self, stubs: &'a Stubs) -> Caller<'a> {
        let (recorder, client, node) = (&self.recorder, self.client, self.node());
        Caller { stubs, recorder, client, node, timeout: CALL_TIMEOUT }
    }

    /// Goes on under another number.
    fn rename(&mut self) {
        self.client = self.next_client.fetch_add(1, Ordering::Relaxed);
    }

    async fn rest(&mut self) {
        sleep(self.rng.up_to_millis(PAUSE_MILLIS)).await;
    }
}

impl Swarm {
    /// Starts the clients.
    #[must_use]
    pub fn start(addresses: Addresses, recorder: &Recorder, seed: u64) -> Self {
        let mut swarm = Self::idle(addresses, recorder, seed);
        for at in 0..2 {
            swarm.clients.spawn(producers::one_by_one(swarm.worker(at)));
            swarm.clients.spawn(producers::pipelined(swarm.worker(at + 1)));
            swarm.clients.spawn(producers::insistent(swarm.worker(at + 1)));
        }
        swarm.clients.spawn(others::ask_for_ends(swarm.worker(0)));
        swarm.clients.spawn(others::commit(swarm.worker(1)));
        swarm.clients.spawn(others::trim(swarm.worker(2)));
        swarm.clients.spawn(others::describe(swarm.worker(0)));
        let topics = TOPICS.map(|(topic, ..)| topic);
        for habits in [Habits::STEADY, Habits::WILD, Habits::WILD] {
            swarm.join(habits, GROUP, &topics);
        }
        for at in 0..swarm.addresses.len() {
            let worker = Worker { stop: Arc::clone(&swarm.stop_reading), ..swarm.worker(at) };
            swarm.readers.spawn(readers::read(worker));
        }
        swarm
    }

    /// Starts members of a group that come and go, and commit what they got before they give it
    /// back.
    #[must_use]
    pub fn start_members(
        addresses: Addresses,
        recorder: &Recorder,
        seed: u64,
        group: &str,
        topic: &'static str,
        count: usize,
    ) -> Self {
        let mut swarm = Self::idle(addresses, recorder, seed);
        for _ in 0..count {
            swarm.join(Habits::TIDY, group, &[topic]);
        }
        swarm
    }

    /// More members of the group that every run has, which come and go.
    pub fn more_members(&mut self, count: usize) {
        for _ in 0..count {
            self.join(Habits::WILD, GROUP, &TOPICS.map(|(topic, ..)| topic));
        }
    }

    /// Starts one client for each partition, which appends to it all the time: what shows how long
    /// each takes nothing.
    #[must_use]
    pub fn start_steady(addresses: Addresses, recorder: &Recorder, seed: u64) -> Self {
        let mut swarm = Self::idle(addresses, recorder, seed);
        for (number, place) in places().into_iter().enumerate() {
            swarm.clients.spawn(producers::steadily(swarm.worker(number), place));
        }
        swarm
    }

    /// Starts a member of a group, which lives until the readers end.
    pub(crate) fn join(&mut self, habits: Habits, group: &str, topics: &[&'static str]) {
        let at = self.readers.len();
        let worker = Worker { stop: Arc::clone(&self.stop_reading), ..self.worker(at) };
        let member = Member::new(worker, habits, group, topics, &self.is_restless);
        self.readers.spawn(member.run());
    }

    /// From now on members of groups stay, and without faults; waits until each of these groups
    /// is stable, but no longer than it may need.
    pub async fn calm(&self, groups: &[&str]) {
        self.is_restless.store(false, Ordering::Relaxed);
        self.recorder.lock().calm_down();
        let until = Instant::now() + ASK_FOR;
        let mut worker = self.worker(0);
        while Instant::now() < until {
            let address = &worker.addresses[worker.at].1;
            if let Ok(stubs) = Stubs::connect_within(address, CONNECT_TIMEOUT).await {
                for group in groups {
                    worker.caller(&stubs).describe_group(&Arc::from(*group)).await;
                }
            }
            if is_stable(&self.recorder.lock()) {
                return;
            }
            sleep(ASK_EVERY).await;
            worker.elsewhere().await;
        }
    }

    fn idle(addresses: Addresses, recorder: &Recorder, seed: u64) -> Self {
        Self {
            stop: Arc::default(),
            stop_reading: Arc::default(),
            clients: JoinSet::new(),
            readers: JoinSet::new(),
            is_restless: Arc::new(AtomicBool::new(true)),
            next_client: Arc::new(AtomicU32::new(1)),
            addresses,
            recorder: recorder.clone(),
            seed,
        }
    }

    fn worker(&self, at: usize) -> Worker {
        let client = self.next_client.fetch_add(1, Ordering::Relaxed);
        Worker {
            at: at % self.addresses.len(),
            addresses: Arc::clone(&self.addresses),
            recorder: self.recorder.clone(),
            client,
            next_client: Arc::clone(&self.next_client),
            rng: Rng::part(self.seed, u64::from(client)),
            stop: Arc::clone(&self.stop),
        }
    }

    /// Appends to each partition until one append of each went well, for at most so long.
    ///
    /// # Errors
    /// When a client panicked.
    pub async fn probe(&self, within: Duration) -> Result<(), ChaosError> {
        let mut probes = JoinSet::new();
        for (number, place) in places().into_iter().enumerate() {
            probes.spawn(producers::until_acked(self.worker(number), place));
        }
        let all = async {
            while let Some(ended) = probes.join_next().await {
                ended.map_err(|error| ChaosError::broken(format!("a probe ended: {error}")))?;
            }
            Ok(())
        };
        // What is not done by then is for the checker to say.
        tokio::time::timeout(within, all).await.unwrap_or(Ok(()))
    }

    /// Waits until every client has ended: first those that write, then the readers.
    ///
    /// # Errors
    /// When one of them panicked.
    pub async fn stop(mut self) -> Result<(), ChaosError> {
        self.stop.store(true, Ordering::Relaxed);
        end(&mut self.clients).await?;
        self.stop_reading.store(true, Ordering::Relaxed);
        end(&mut self.readers).await
    }
}

async fn end(clients: &mut JoinSet<()>) -> Result<(), ChaosError> {
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|error| ChaosError::broken(format!("a client ended: {error}")))?;
    }
    Ok(())
}

/// Every partition that the clients use.
#[must_use]
pub fn places() -> Vec<Place> {
    let all = TOPICS.iter().flat_map(|(topic, partitions, _)| {
        (0..*partitions).map(move |partition| Place::new(*topic, partition))
    });
    all.collect()
}
