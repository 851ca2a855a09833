//! One subscription: from connecting to the broker's word that it has started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ropewalk_compress::Compression;
use ropewalk_proto::broker::subscribe_response::Event as ProtoEvent;
use ropewalk_proto::broker::topic_selection::Selection as ProtoSelection;
use ropewalk_proto::broker::{
    PartitionSelection, Started, SubscribeRequest, SubscribeResponse, TopicSelection,
};
use tokio::time::{sleep, timeout};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::builder::{Plan, Selection};
use super::event::{PartitionState, Start, Stop};
use crate::backoff::insist;
use crate::brokers::Brokers;
use crate::connector::Connection;
use crate::error::{Error, ErrorKind, timed_out};
use crate::settings::Topic;
use crate::wire::codec_to_proto;

/// A message of the broker, and room for what later versions add to it.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// What a broker takes: topics and patterns of a request, patterns among them, bytes of a pattern.
const MAX_SELECTIONS: usize = 1_000;
const MAX_PATTERNS: usize = 16;
const MAX_PATTERN_BYTES: usize = 1024;

/// Topics for which there was no pattern are looked at once in this many heartbeats.
const HEARTBEATS_PER_LOOK: u32 = 12;

/// How long a leader may take to be reached before another broker is asked, which reads for it.
const DIRECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The most topics that are looked at to find the broker that leads most of what is read.
const LOOKED_AT: usize = 16;

/// The next offset of each partition, by topic, and the topic's id.
pub(super) type Progress = BTreeMap<Arc<str>, TopicProgress>;

#[derive(Clone, Debug, Default)]
pub(super) struct TopicProgress {
    pub(super) id: String,
    pub(super) next: BTreeMap<i32, i64>,
}

/// A subscription that has started.
pub(super) struct Session {
    pub(super) events: Streaming<SubscribeResponse>,
    pub(super) started: Vec<PartitionState>,
    pub(super) connection: Connection,
    /// Ready once partitions were added that do not join the stream by themselves.
    pub(super) grown: BoxFuture<'static, ()>,
}

/// Opens a subscription that goes on at `progress`, trying for `patience`.
pub(super) async fn open(
    plan: Arc<Plan>,
    progress: Progress,
    patience: Duration,
) -> Result<Session, Error> {
    insist(patience, "subscribing", || attempt(&plan, &progress)).await
}

async fn attempt(plan: &Arc<Plan>, progress: &Progress) -> Result<Session, Error> {
    let (request, unwatched) = request(plan, progress).await?;
    let connector = plan.client.connector();
    let connection = connect(plan).await?;
    let subscribing = subscribe(&connection, request);
    let outcome = match timeout(plan.client.request_timeout(), subscribing).await {
        Ok(Ok((events, started))) => {
            let started: Vec<PartitionState> = started;
            check_ids(progress, &started)?;
            let grown = grown(Arc::clone(plan), unwatched).boxed();
            return Ok(Session { events, started, connection, grown });
        }
        Ok(Err(error)) => error,
        Err(_) => timed_out().context("subscribing"),
    };
    if outcome.is_retriable() {
        connector.avoid(&connection);
    }
    Err(outcome)
}

/// Connects to the broker that leads most of what is read, which asks others for the least; to any
/// broker where there is no choice, or that one cannot be reached.
async fn connect(plan: &Plan) -> Result<Connection, Error> {
    let (client, window) = (&plan.client, plan.read_ahead_bytes);
    if let Some(leader) = leader_of_most(plan).await {
        let direct = Brokers::connect(client.clone(), leader, window);
        match timeout(DIRECT_TIMEOUT, direct).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => tracing::debug!(leader, %error, "a leader cannot be reached"),
            Err(_) => tracing::debug!(leader, "a leader does not answer"),
        }
        client.brokers().failed(leader);
    }
    client.connector().connect(window).await
}

async fn leader_of_most(plan: &Plan) -> Option<u64> {
    let brokers = plan.client.brokers();
    let mut led: BTreeMap<u64, usize> = BTreeMap::new();
    for selection in plan.selections.iter().take(LOOKED_AT).filter(|_| brokers.has_choice()) {
        // What cannot be described cannot be subscribed to either, and that says why.
        let described = plan.client.admin().topic(&selection.topic).await.ok()?;
        let is_read = |partition: i32| {
            let named = &selection.partitions;
            named.is_empty() || named.iter().any(|(id, _)| *id == partition)
        };
        for partition in described.partitions.iter().filter(|at| is_read(at.partition)) {
            if let Some(leader) = partition.leader {
                *led.entry(leader).or_default() += 1;
            }
        }
    }
    let reachable = led.into_iter().filter(|(id, _)| brokers.reachable(*id).is_some());
    reachable.max_by_key(|(_, count)| *count).map(|(id, _)| id)
}

async fn subscribe(
    connection: &Connection,
    request: SubscribeRequest,
) -> Result<(Streaming<SubscribeResponse>, Vec<PartitionState>), Error> {
    let (events, started) = start_stream(connection, request).await?;
    Ok((events, started.positions.into_iter().map(PartitionState::from).collect()))
}

/// Opens a stream, and waits for the broker's word that it has started.
pub(crate) async fn start_stream(
    connection: &Connection,
    request: SubscribeRequest,
) -> Result<(Streaming<SubscribeResponse>, Started), Error> {
    let mut grpc =
        Grpc::new(connection.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let fault = |status: Status| Error::from_status(&status);
    grpc.ready().await.map_err(|error| fault(Status::from_error(error.into())))?;
    let codec = ProstCodec::<SubscribeRequest, SubscribeResponse>::default();
    let path = PathAndQuery::from_static("/ropewalk.v1.ConsumerService/Subscribe");
    let response = grpc.server_streaming(Request::new(request), path, codec).await;
    let mut events = response.map_err(fault)?.into_inner();
    match events.message().await.map_err(fault)?.and_then(|first| first.event) {
        Some(ProtoEvent::Started(started)) => Ok((events, started)),
        Some(_) => Err(Error::new(ErrorKind::Internal, "the stream does not begin with `started`")),
        None => Err(Error::new(ErrorKind::Disconnected, "the stream ended before it started")),
    }
}

/// A topic that was created anew has nothing to do with what was read so far.
fn check_ids(progress: &Progress, started: &[PartitionState]) -> Result<(), Error> {
    let replaced = started.iter().find(|state| {
        progress
            .get(state.topic.as_str())
            .is_some_and(|known| !known.id.is_empty() && known.id != state.topic_id)
    });
    match replaced {
        Some(state) => {
            let message =
                format!("topic {} was deleted and created anew while it was read", state.topic);
            Err(Error::new(ErrorKind::NotFound, message).with_reason("TOPIC_NOT_FOUND"))
        }
        None => Ok(()),
    }
}

/// Topics that are read as a whole, each with the number of partitions that are named.
type Unwatched = BTreeMap<String, i32>;

/// The request that goes on at `progress`.
///
/// Partitions are read from their next offsets, so they have to be named; a pattern beside them,
/// which covers the topic as a whole, lets those join that are added later. Topics for which a
/// broker takes no further pattern are given beside the request.
async fn request(plan: &Plan, progress: &Progress) -> Result<(SubscribeRequest, Unwatched), Error> {
    let mut topics = Vec::with_capacity(plan.selections.len());
    let mut patterns = Patterns::beside(plan.selections.len());
    let mut unwatched = Unwatched::new();
    for selection in &plan.selections {
        let partitions = match progress.get(selection.topic.as_str()) {
            Some(known) if selection.partitions.is_empty() => {
                let all = all_partitions(plan, &selection.topic, known).await?;
                if !patterns.add(&selection.topic) {
                    let count = i32::try_from(all.len()).unwrap_or(i32::MAX);
                    unwatched.insert(selection.topic.clone(), count);
                }
                all
            }
            known => named_partitions(selection, known),
        };
        let name = ProtoSelection::Name(selection.topic.clone());
        topics.push(TopicSelection { selection: Some(name), partitions });
    }
    topics.extend(patterns.all.into_iter().map(|pattern| TopicSelection {
        selection: Some(ProtoSelection::Pattern(pattern)),
        partitions: Vec::new(),
    }));
    let request = SubscribeRequest {
        topics,
        default_start: Some(plan.start.to_proto()),
        stop: plan.stop.to_proto(),
        max_batch_bytes: plan.max_batch_bytes.unwrap_or_default(),
        heartbeat_interval: plan.heartbeat.try_into().ok(),
        accepted_compressions: Compression::ALL.into_iter().map(codec_to_proto).collect(),
        ..SubscribeRequest::default()
    };
    Ok((request, unwatched))
}

/// Patterns that match topics by name, as many as a broker takes beside the topics of a request.
struct Patterns {
    all: Vec<String>,
    room: usize,
}

impl Patterns {
    fn beside(topics: usize) -> Patterns {
        let room = MAX_SELECTIONS.saturating_sub(topics).min(MAX_PATTERNS);
        Patterns { all: Vec::new(), room }
    }

    /// Adds a topic to the last pattern, or begins another where that would be too long. False
    /// where there is no room for another.
    fn add(&mut self, topic: &str) -> bool {
        // Of what a name may hold, only the dot means something else in a pattern.
        let name = topic.replace('.', "\\.");
        let count = self.all.len();
        match self.all.last_mut() {
            Some(last) if last.len() + 1 + name.len() <= MAX_PATTERN_BYTES => {
                last.push('|');
                last.push_str(&name);
            }
            _ if count < self.room => self.all.push(name),
            _ => return false,
        }
        true
    }
}

/// Looks from time to time whether one of the topics has more partitions than were named, and comes
/// back once one has. Where reading is to end nothing joins any more.
async fn grown(plan: Arc<Plan>, topics: Unwatched) {
    if topics.is_empty() || plan.stop != Stop::Never {
        return std::future::pending().await;
    }
    loop {
        sleep(plan.heartbeat * HEARTBEATS_PER_LOOK).await;
        match plan.client.admin().list_topics("").await {
            Ok(listed) => {
                let has_grown = |topic: &Topic| {
                    topics.get(&topic.name).is_some_and(|count| topic.partition_count > *count)
                };
                if listed.iter().any(has_grown) {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "topics could not be looked at"),
        }
    }
}

fn named_partitions(
    selection: &Selection,
    known: Option<&TopicProgress>,
) -> Vec<PartitionSelection> {
    let partitions = selection.partitions.iter().map(|(partition, start)| {
        let next = known.and_then(|known| known.next.get(partition));
        let start = next.map(|offset| Start::Offset(*offset)).or_else(|| start.clone());
        PartitionSelection { partition: *partition, start: start.map(|start| start.to_proto()) }
    });
    partitions.collect()
}

/// Every partition that the topic has now: at its next offset, or from its beginning if it is new.
async fn all_partitions(
    plan: &Plan,
    topic: &str,
    known: &TopicProgress,
) -> Result<Vec<PartitionSelection>, Error> {
    let now = plan.client.admin().topic(topic).await?.topic.partition_count;
    let highest = known.next.last_key_value().map_or(0, |(partition, _)| partition + 1);
    let partitions = (0..now.max(highest)).map(|partition| {
        let start = match known.next.get(&partition) {
            Some(offset) => Start::Offset(*offset),
            None => Start::Earliest,
        };
        PartitionSelection { partition, start: Some(start.to_proto()) }
    });
    Ok(partitions.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_within_what_a_broker_takes() {
        for (topics, room) in [(1, 16), (990, 10), (1_000, 0)] {
            let mut patterns = Patterns::beside(topics);
            let taken =
                (0..1_000).filter(|number| patterns.add(&format!("{number:0>249}"))).count();
            assert_eq!((taken, patterns.all.len()), (4 * room, room), "beside {topics} topics");
            assert!(patterns.all.iter().all(|pattern| pattern.len() <= MAX_PATTERN_BYTES));
        }
    }
}
