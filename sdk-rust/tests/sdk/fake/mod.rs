//! A broker in memory, in the test's own process, that does as it is told: refuses, stays silent,
//! cuts streams.

mod admin;
mod consume;
mod group;
mod produce;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::Bytes;
use ropewalk_proto::v1;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub use consume::Reading;
pub use group::MemberStream;
pub use produce::Step;

#[derive(Clone)]
pub struct Fake {
    pub id: u64,
    pub address: SocketAddr,
    serving: Arc<watch::Sender<bool>>,
    state: Arc<Mutex<State>>,
    /// Counts changes, for those who wait for one.
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
pub struct State {
    pub topics: BTreeMap<String, Topic>,
    pub auto_create: bool,
    /// What happens to the next produce requests. Empty: they are appended.
    pub steps: VecDeque<Step>,
    /// A value that no record may have: its batch is refused for good.
    pub poison: Option<Bytes>,
    /// While set, produce streams are not read.
    pub paused: bool,
    /// Every produce request: partition, bytes of the request's records, number of records.
    pub requests: Vec<(Option<i32>, usize, usize)>,
    /// How each of them was compressed.
    pub codecs: Vec<v1::Compression>,
    /// The names of the producers that have asked for an id.
    pub inits: Vec<String>,
    /// Reasons for which the next of them are refused, as UNAVAILABLE.
    pub init_refusals: VecDeque<&'static str>,
    /// The id and the newest epoch of each name.
    pub names: BTreeMap<String, (u64, u32)>,
    /// What happens to the next subscriptions. Empty: they go on.
    pub readings: VecDeque<Reading>,
    pub subscriptions: Vec<v1::SubscribeRequest>,
    /// Reasons for which the next admin calls are refused, as UNAVAILABLE.
    pub refusals: VecDeque<&'static str>,
    pub updates: Vec<v1::UpdateTopicRequest>,
    pub committed: HashMap<String, Vec<v1::CommittedOffset>>,
    /// The streams of members of groups that no test has taken yet.
    pub members: VecDeque<MemberStream>,
    /// Every commit, and whether it was taken.
    pub commits: Vec<(v1::CommitOffsetRequest, bool)>,
    /// Partitions whose commits are refused, as another member's.
    pub fenced: Vec<i32>,
    /// Partitions whose commits are refused, as beyond their end.
    pub out_of_range: Vec<i32>,
    /// So many commits are taken, and not answered: what they give back is another member's then.
    pub unanswered: usize,
    /// No commit of a member is answered until this is over.
    pub holds_commits: bool,
    pub plans: Vec<v1::SubmitAssignmentRequest>,
    /// What the next streams that watch a group tell, before they break.
    pub watched: VecDeque<Vec<v1::ConsumerGroup>>,
    pub get_topic_calls: usize,
    pub get_cluster_calls: usize,
    /// The cluster that the brokers are in. None: `fake`.
    pub cluster: Option<&'static str>,
    /// Where the brokers are, by id. Empty: the one broker says nothing of itself.
    pub brokers: BTreeMap<u64, String>,
    /// The broker that appended each produce request, or forwarded it.
    pub takers: Vec<u64>,
    /// The broker that each subscription came to.
    pub readers: Vec<u64>,
    /// How many requests were refused as they were not to be forwarded.
    pub refused: usize,
}

#[derive(Clone, Default)]
pub struct Topic {
    pub id: String,
    /// How it wants its records compressed.
    pub compression: v1::TopicCompression,
    pub partitions: Vec<Log>,
}

#[derive(Clone, Default)]
pub struct Log {
    pub start: i64,
    /// Who leads the partition, 0 for nobody, and the epoch.
    pub leader: (u64, i64),
    pub records: Vec<v1::Record>,
    /// What is known of idempotent producers, by id.
    pub producers: BTreeMap<u64, Known>,
}

/// What a partition knows of a producer: its epoch, and its batches: the first sequence, the base
/// offset and the number of records of each.
#[derive(Clone, Default)]
pub struct Known {
    pub epoch: u32,
    pub batches: Vec<(u32, i64, u32)>,
}

impl Log {
    pub fn end(&self) -> i64 {
        self.start + self.records.len() as i64
    }

    pub fn values(&self) -> Vec<String> {
        let value = |record: &v1::Record| record.value.clone().unwrap_or_default().to_vec();
        self.records.iter().map(|record| String::from_utf8(value(record)).unwrap()).collect()
    }
}

impl Fake {
    pub async fn start() -> Fake {
        Fake::start_with(1, Arc::default(), Arc::new(watch::Sender::new(0))).await
    }

    /// Starts brokers with the ids from 1 that share all they have.
    pub async fn start_cluster(count: u64) -> Vec<Fake> {
        let (state, changes) = (Arc::default(), Arc::new(watch::Sender::new(0)));
        let mut fakes: Vec<Fake> = Vec::new();
        for id in 1..=count {
            fakes.push(Fake::start_with(id, Arc::clone(&state), Arc::clone(&changes)).await);
        }
        let brokers = fakes.iter().map(|fake| (fake.id, fake.address.to_string()));
        fakes[0].change(|state| state.brokers.extend(brokers));
        fakes
    }

    async fn start_with(
        id: u64,
        state: Arc<Mutex<State>>,
        changes: Arc<watch::Sender<u64>>,
    ) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Fake {
            id,
            address: listener.local_addr().unwrap(),
            serving: Arc::new(watch::Sender::new(true)),
            state,
            changes,
        };
        fake.listen(listener);
        fake
    }

    fn listen(&self, listener: TcpListener) {
        let fake = self.clone();
        let server = Server::builder()
            .add_service(v1::producer_service_server::ProducerServiceServer::new(fake.clone()))
            .add_service(v1::consumer_service_server::ConsumerServiceServer::new(fake.clone()))
            .add_service(v1::admin_service_server::AdminServiceServer::new(fake.clone()));
        let mut serving = fake.serving.subscribe();
        tokio::spawn(async move {
            let stopped = async move { drop(serving.wait_for(|serving| !*serving).await) };
            server
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped)
                .await
                .unwrap();
        });
    }

    /// Takes no more connections, and ends those that it has.
    pub async fn stop(&self) {
        self.serving.send_replace(false);
        while tokio::net::TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Is there again after [`stop`](Fake::stop), at the same address.
    pub async fn come_back(&self) {
        self.serving.send_replace(true);
        self.listen(TcpListener::bind(self.address).await.unwrap());
    }

    /// Has a broker lead a partition from now on.
    pub fn lead(&self, topic: &str, partition: usize, broker: u64) {
        self.change(|state| {
            let log = &mut state.topics.get_mut(topic).unwrap().partitions[partition];
            log.leader = (broker, log.leader.1 + 1);
        });
    }

    pub async fn client(&self) -> ropewalk::Client {
        ropewalk::Client::connect(&self.address.to_string()).await.unwrap()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes the state, and wakes those who wait for a change.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state());
        self.changes.send_modify(|count| *count += 1);
        value
    }

    pub fn create(&self, topic: &str, partitions: usize) {
        self.change(|state| state.create(topic, partitions));
    }

    pub fn append(&self, topic: &str, partition: usize, values: impl IntoIterator<Item = String>) {
        let records = values
            .into_iter()
            .map(|value| v1::Record { value: Some(value.into()), ..v1::Record::default() });
        self.change(|state| {
            let log = &mut state.topics.get_mut(topic).unwrap().partitions[partition];
            log.records.extend(records);
        });
    }

    pub fn log(&self, topic: &str, partition: usize) -> Log {
        self.state().topics[topic].partitions[partition].clone()
    }

    /// Waits until the state is as wanted.
    pub async fn until(&self, wanted: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        while !wanted(&self.state()) {
            changes.changed().await.unwrap();
        }
    }
}

impl State {
    pub fn create(&mut self, topic: &str, partitions: usize) {
        let id = format!("id-{}", self.topics.len());
        let partitions = vec![Log::default(); partitions];
        let topic_of = Topic { id, partitions, ..Topic::default() };
        self.topics.insert(topic.to_owned(), topic_of);
    }
}

pub fn status(code: Code, reason: &str) -> Status {
    status_with(code, reason, &[])
}

pub fn status_with(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let metadata: HashMap<_, _> = metadata.collect();
    let details = ErrorDetails::with_error_info(reason, ropewalk_proto::ERROR_DOMAIN, metadata);
    Status::with_error_details(code, format!("told to say {reason}"), details)
}

pub fn now() -> Option<prost_types::Timestamp> {
    Some(SystemTime::now().into())
}
