//! Reading, with faults.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use prost::Message;
use ropewalk_proto::v1;
use ropewalk_proto::v1::consumer_service_server::ConsumerService;
use ropewalk_proto::v1::subscribe_response::Event;
use ropewalk_proto::v1::topic_selection::Selection;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

use super::{Fake, State, now, status};

/// What a broker takes in one subscription.
const MAX_SELECTIONS: usize = 1_000;
const MAX_PATTERNS: usize = 16;
const MAX_PATTERN_BYTES: usize = 1024;

/// Records in a batch of the fake.
const BATCH: usize = 10;

/// What happens to a subscription.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    Normal,
    /// The stream breaks after this many batches.
    CutAfter(usize),
    /// The stream ends with BROKER_DRAINING after this many batches.
    DrainAfter(usize),
    /// Nothing at all is sent after this many batches.
    SilentAfter(usize),
    /// The subscription is refused as UNAVAILABLE with this reason.
    Refuse(&'static str),
}

struct Cursor {
    topic: String,
    partition: usize,
    next: i64,
    end: Option<i64>,
}

type Events = mpsc::Sender<Result<v1::SubscribeResponse, Status>>;

#[tonic::async_trait]
impl ConsumerService for Fake {
    type SubscribeStream = BoxStream<'static, Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        if !request.group.is_empty() {
            return Ok(Response::new(self.join(request)));
        }
        let (reading, cursors) = self.change(|state| {
            state.subscriptions.push(request.clone());
            state.readers.push(self.id);
            check(&request)?;
            let reading = state.readings.pop_front().unwrap_or(Reading::Normal);
            if let Reading::Refuse(reason) = reading {
                return Err(status(Code::Unavailable, reason));
            }
            Ok((reading, state.cursors(&request)?))
        })?;
        let (events, mut queue) = mpsc::channel(4);
        tokio::spawn(self.clone().deliver(request, reading, cursors, events));
        Ok(Response::new(stream::poll_fn(move |context| queue.poll_recv(context)).boxed()))
    }

    async fn commit_offset(
        &self,
        request: Request<v1::CommitOffsetRequest>,
    ) -> Result<Response<v1::CommitOffsetResponse>, Status> {
        let request = request.into_inner();
        if !request.member_id.is_empty() {
            let answer = self.commit_of_member(request);
            self.until(|state| !state.holds_commits).await;
            return answer;
        }
        if request.offsets.len() > 10_000 || request.encoded_len() >= 4 << 20 {
            return Err(status(Code::InvalidArgument, "INVALID_FIELD"));
        }
        self.change(|state| {
            let committed = state.committed.entry(request.group).or_default();
            let is_anew = |old: &v1::CommittedOffset| {
                let of = |at: &&v1::CommittedOffset| at.topic == old.topic;
                request.offsets.iter().filter(of).any(|at| at.partition == old.partition)
            };
            committed.retain(|old| !is_anew(old));
            committed.extend(request.offsets);
        });
        Ok(Response::new(v1::CommitOffsetResponse {}))
    }

    async fn get_committed_offsets(
        &self,
        request: Request<v1::GetCommittedOffsetsRequest>,
    ) -> Result<Response<v1::GetCommittedOffsetsResponse>, Status> {
        let group = request.into_inner().group;
        let offsets = self.state().committed.get(&group).cloned().unwrap_or_default();
        Ok(Response::new(v1::GetCommittedOffsetsResponse { offsets }))
    }

    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        let state = self.state();
        let mut offsets = Vec::new();
        for query in request.into_inner().queries {
            let topic = state
                .topics
                .get(&query.topic)
                .ok_or_else(|| status(Code::NotFound, "TOPIC_NOT_FOUND"))?;
            for (partition, log) in topic.partitions.iter().enumerate() {
                let earliest =
                    matches!(query.position, Some(v1::offset_query::Position::Earliest(())));
                offsets.push(v1::PartitionOffset {
                    topic: query.topic.clone(),
                    partition: partition as i32,
                    offset: if earliest { log.start } else { log.end() },
                    ..v1::PartitionOffset::default()
                });
            }
        }
        Ok(Response::new(v1::ListOffsetsResponse { offsets }))
    }

    async fn submit_assignment(
        &self,
        request: Request<v1::SubmitAssignmentRequest>,
    ) -> Result<Response<v1::SubmitAssignmentResponse>, Status> {
        self.change(|state| state.plans.push(request.into_inner()));
        Ok(Response::new(v1::SubmitAssignmentResponse {}))
    }
}

fn check(request: &v1::SubscribeRequest) -> Result<(), Status> {
    let patterns = request.topics.iter().filter_map(|topic| match &topic.selection {
        Some(Selection::Pattern(pattern)) => Some(pattern.len()),
        _ => None,
    });
    let lengths: Vec<_> = patterns.collect();
    let is_right = request.topics.len() <= MAX_SELECTIONS
        && lengths.len() <= MAX_PATTERNS
        && lengths.iter().all(|length| (1..=MAX_PATTERN_BYTES).contains(length));
    let wrong = || status(Code::InvalidArgument, "INVALID_FIELD");
    is_right.then_some(()).ok_or_else(wrong)
}

impl Fake {
    async fn deliver(
        self,
        request: v1::SubscribeRequest,
        reading: Reading,
        mut cursors: Vec<Cursor>,
        events: Events,
    ) {
        let heartbeat = request.heartbeat_interval.unwrap();
        let heartbeat = Duration::try_from(heartbeat).unwrap();
        let send = async |event| {
            let message = v1::SubscribeResponse { event: Some(event) };
            events.send(Ok(message)).await.is_ok()
        };
        let positions = self.state().positions(&cursors);
        send(Event::Started(v1::Started { positions, ..Default::default() })).await;
        let mut batches = 0;
        while cursors.iter().any(|cursor| cursor.end.is_none_or(|end| cursor.next < end)) {
            match reading {
                Reading::CutAfter(after) if batches == after => {
                    events.send(Err(Status::unknown("cut"))).await.unwrap_or(());
                    return;
                }
                Reading::DrainAfter(after) if batches == after => {
                    let draining = status(Code::Unavailable, "BROKER_DRAINING");
                    events.send(Err(draining)).await.unwrap_or(());
                    return;
                }
                Reading::SilentAfter(after) if batches == after => {
                    events.closed().await;
                    return;
                }
                _ => {}
            }
            let next = cursors.iter_mut().find_map(|cursor| self.state().next(cursor));
            let alive = match next {
                Some(event) => {
                    batches += usize::from(matches!(event, Event::Batch(_)));
                    send(event).await
                }
                None => {
                    let grown = self.until(|state| state.has_more(&cursors));
                    match timeout(heartbeat, grown).await {
                        Ok(()) => !events.is_closed(),
                        Err(_) => {
                            let positions = self.state().positions(&cursors);
                            send(Event::Heartbeat(v1::Heartbeat { positions })).await
                        }
                    }
                }
            };
            if !alive {
                return;
            }
        }
    }
}

impl State {
    fn cursors(&self, request: &v1::SubscribeRequest) -> Result<Vec<Cursor>, Status> {
        let mut cursors = Vec::new();
        for selection in &request.topics {
            // A pattern would only matter for partitions that are added later.
            let Some(Selection::Name(name)) = &selection.selection else {
                continue;
            };
            let topic =
                self.topics.get(name).ok_or_else(|| status(Code::NotFound, "TOPIC_NOT_FOUND"))?;
            for (partition, log) in topic.partitions.iter().enumerate() {
                let named = &selection.partitions;
                let own = named.iter().find(|named| named.partition == partition as i32);
                if !named.is_empty() && own.is_none() {
                    continue;
                }
                let own = own.and_then(|own| own.start.as_ref());
                let start = own.or(request.default_start.as_ref());
                let next = match start.and_then(|start| start.position.as_ref()) {
                    Some(v1::start::Position::Latest(())) => log.end(),
                    Some(v1::start::Position::Offset(offset)) => *offset,
                    _ => log.start,
                };
                if next > log.end() {
                    return Err(status(Code::OutOfRange, "OFFSET_OUT_OF_RANGE"));
                }
                let end = request.stop.as_ref().map(|_| log.end());
                cursors.push(Cursor { topic: name.clone(), partition, next, end });
            }
        }
        Ok(cursors)
    }

    fn positions(&self, cursors: &[Cursor]) -> Vec<v1::PartitionPosition> {
        let position = |cursor: &Cursor| {
            let topic = &self.topics[&cursor.topic];
            let log = &topic.partitions[cursor.partition];
            v1::PartitionPosition {
                topic: cursor.topic.clone(),
                topic_id: topic.id.clone(),
                partition: cursor.partition as i32,
                offset: cursor.next,
                high_watermark: log.end(),
                log_start_offset: log.start,
            }
        };
        cursors.iter().map(position).collect()
    }

    fn has_more(&self, cursors: &[Cursor]) -> bool {
        cursors.iter().any(|cursor| {
            let topic = self.topics.get(&cursor.topic);
            topic.is_some_and(|topic| topic.partitions[cursor.partition].end() > cursor.next)
        })
    }

    fn next(&self, cursor: &mut Cursor) -> Option<Event> {
        let log = &self.topics.get(&cursor.topic)?.partitions[cursor.partition];
        let partition = cursor.partition as i32;
        if cursor.next < log.start {
            let from_offset = std::mem::replace(&mut cursor.next, log.start);
            return Some(Event::Gap(v1::Gap {
                topic: cursor.topic.clone(),
                partition,
                from_offset,
                to_offset: log.start,
                reason: v1::gap::Reason::Deleted.into(),
            }));
        }
        let from = (cursor.next - log.start) as usize;
        let records: Vec<_> = log.records.iter().skip(from).take(BATCH).cloned().collect();
        if records.is_empty() {
            return None;
        }
        let base_offset = cursor.next;
        cursor.next += records.len() as i64;
        Some(Event::Batch(v1::RecordBatch {
            topic: cursor.topic.clone(),
            partition,
            base_offset,
            record_count: records.len() as i32,
            append_time: now(),
            data: Some(v1::record_batch::Data::Records(v1::RecordSet { records })),
            ..v1::RecordBatch::default()
        }))
    }
}
