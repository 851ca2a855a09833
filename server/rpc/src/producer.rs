//! ProducerService: from a request to appends, and from appends to an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ropewalk_broker::ingest::{self, Payload};
use ropewalk_broker::metrics::AppendDurability;
use ropewalk_broker::partition::Reserved;
use ropewalk_broker::table::ServedTopic;
use ropewalk_broker::{Appended, Broker, Durability, Expected, Partition, ProposeError};
use ropewalk_core::batch::MAX_HEADER_BYTES;
use ropewalk_core::limits::{MAX_COMPRESSED_RECORDS, MAX_EXPECTED_KEY_BYTES, MIN_RECORD_TTL};
use ropewalk_core::{
    BatchDraft, Compression, Offset, ProducerId, ProducerSequence, ShortestTtl, names, partitioner,
};
use ropewalk_proto::broker as pb;
use ropewalk_proto::broker::producer_service_server::ProducerService;
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::convert;
use crate::failure::{Failure, Reason};
use crate::leading::CallRoute;
use crate::produce_stream::ProduceSession;
use crate::server::Drain;

/// How long a single Produce waits for memory.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Producer {
    pub(crate) broker: Arc<Broker>,
    pub(crate) drain: Drain,
}

#[tonic::async_trait]
impl ProducerService for Producer {
    async fn produce(
        &self,
        request: Request<pb::ProduceRequest>,
    ) -> Result<Response<pb::ProduceResponse>, Status> {
        let (done, ended) = oneshot::channel();
        let wait = Some(RESERVE_TIMEOUT);
        let route = CallRoute::of(&request);
        let append = Append::plan(&self.broker, &route, request.into_inner(), wait).await?;
        append
            .submit(&self.broker, move |answer| {
                // Nobody waits any more: the call was given up, and the records stand all the same.
                let _ = done.send(answer);
            })
            .await;
        match ended.await {
            Ok(answer) => Ok(Response::new(answer?)),
            Err(_) => Err(Failure::draining().into()),
        }
    }

    type ProduceStreamStream = ReceiverStream<Result<pb::ProduceStreamResponse, Status>>;

    async fn produce_stream(
        &self,
        request: Request<Streaming<pb::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let (broker, drain) = (Arc::clone(&self.broker), self.drain.clone());
        let route = CallRoute::of(&request);
        Ok(Response::new(ProduceSession::start(broker, drain, route, request.into_inner())))
    }

    async fn init_producer(
        &self,
        request: Request<pb::InitProducerRequest>,
    ) -> Result<Response<pb::InitProducerResponse>, Status> {
        let route = CallRoute::of(&request);
        let name = request.into_inner().name;
        if !name.is_empty() {
            let checked = names::check_group(&name);
            checked.map_err(|error| Failure::field("name", error.to_string()))?;
            route.asks(&self.broker.coordinator_of(&name).map_err(Failure::from)?)?;
        }
        let given = self.broker.init_producer(&name).await.map_err(Failure::from)?;
        let (producer_id, epoch) = (given.id.0, given.epoch);
        Ok(Response::new(pb::InitProducerResponse { producer_id, epoch }))
    }
}

/// One batch for one partition.
struct Part {
    partition: Arc<Partition>,
    draft: BatchDraft,
    indexes: Vec<u32>,
}

/// A request that was checked as a whole, and is not yet appended.
pub(crate) struct Append {
    parts: Vec<Part>,
    durability: Durability,
    expected: Option<Expected>,
    reserved: Reserved,
}

impl Append {
    /// Checks a request, once memory is free for it. Nothing of it is appended when it is refused.
    pub(crate) async fn plan(
        broker: &Broker,
        route: &CallRoute,
        request: pb::ProduceRequest,
        reserve_timeout: Option<Duration>,
    ) -> Result<Self, Failure> {
        let planned = Self::plan_inner(broker, route, request, reserve_timeout).await;
        planned.inspect_err(|failure| {
            broker.config().metrics.produce_failed(failure.reason().name());
        })
    }

    async fn plan_inner(
        broker: &Broker,
        route: &CallRoute,
        mut request: pb::ProduceRequest,
        reserve_timeout: Option<Duration>,
    ) -> Result<Self, Failure> {
        let durability = convert::read_durability(request.durability)?;
        let expected = request.expected.take().map(read_expected).transpose()?;
        if matches!(expected, Some(Expected::Version { .. })) {
            broker.check_key_versions()?;
        }
        let sequence = request.sequence.as_ref().map(read_sequence).transpose()?;
        if sequence.is_some() {
            broker.check_sequences()?;
        }
        let payload = read_payload(&mut request)?;
        // Before a topic is created for it: that would take of the reserve.
        broker.check_room()?;
        let topic = route.topic_for_use(&request.topic).await?;
        let settings = &topic.topic.settings;
        // Before the payload is copied: what waits for memory has none of its own.
        let bytes = payload.len() + MAX_HEADER_BYTES;
        let reserved = broker.reserve(bytes, expected.as_ref(), reserve_timeout).await?;
        // That may have taken long, and what is on its way must fit what is left of the disk.
        broker.check_room()?;
        let parts = match request.partition {
            Some(id) => {
                let partition = broker.partition(&topic, id.into())?;
                route.asks_partition(&partition)?;
                let draft = ingest::prepare(&payload, sequence, settings)?;
                vec![Part { partition, draft, indexes: Vec::new() }]
            }
            None if matches!(expected, Some(Expected::Offset(_))) => {
                let message =
                    "`partition` must be given with `expected_offset`, which is one partition's";
                return Err(Failure::field("partition", message));
            }
            None if sequence.is_some() => {
                let message = "`partition` must be given with `sequence`, which counts the records \
                               of one partition";
                return Err(Failure::field("partition", message));
            }
            None => {
                let keys = match &expected {
                    Some(Expected::Version { key, .. }) => Some(&key[..]),
                    _ => None,
                };
                spread(broker, route, &topic, &payload, keys)?
            }
        };
        if parts.iter().any(|part| part.draft.has_ttl()) {
            broker.check_record_ttls()?;
        }
        Ok(Self { parts, durability, expected, reserved })
    }

    /// Appends it. `done` is told how it ended, on a thread that must not be kept waiting.
    pub(crate) async fn submit(
        self,
        broker: &Broker,
        done: impl FnOnce(Result<pb::ProduceResponse, Failure>) + Send + 'static,
    ) {
        let mut reserved = self.reserved;
        let metrics = Arc::clone(&broker.config().metrics);
        let clock = Arc::clone(&broker.config().clock);
        let begun = clock.monotonic();
        let durability = self.durability;
        let join = Arc::new(Join {
            unfinished: AtomicUsize::new(self.parts.len()),
            outcomes: Mutex::new(Vec::with_capacity(self.parts.len())),
            done: Mutex::new(Some(done)),
        });
        for Part { partition, draft, indexes } in self.parts {
            let own = reserved.split(draft.len());
            let (join, metrics) = (Arc::clone(&join), Arc::clone(&metrics));
            let (clock, bytes) = (Arc::clone(&clock), draft.len() as u64);
            let (id, failed) = (partition.id.0, Arc::clone(&join));
            let finish = move |result: Result<Appended, ProposeError>| {
                match &result {
                    Ok(appended) => {
                        metrics.produced(u64::from(appended.record_count), bytes);
                        let took = clock.monotonic().saturating_sub(begun);
                        metrics.append_acknowledged(metrics_durability(durability), took);
                    }
                    Err(error) => metrics.produce_failed(Failure::from(*error).reason().name()),
                }
                join.finish(result.map(|appended| partition_append(id, &appended, &indexes)));
            };
            let expected = self.expected.clone();
            if partition.append(draft, expected, durability, own, finish).await.is_err() {
                failed.finish(Err(ProposeError::NoLeader));
            }
        }
    }
}

/// A condition of an append.
fn read_expected(expected: pb::produce_request::Expected) -> Result<Expected, Failure> {
    use pb::expected_version::KeyForm;
    use pb::produce_request::Expected as Form;
    let offset = |at: i64, field: &str| {
        let negative = format!("`{field}` cannot be negative: the first offset is 0");
        u64::try_from(at).map(Offset).map_err(|_| Failure::field(field, negative))
    };
    let expected = match expected {
        Form::ExpectedOffset(at) => return Ok(Expected::Offset(offset(at, "expected_offset")?)),
        Form::ExpectedVersion(expected) => expected,
    };
    let key = match expected.key_form {
        // A part of the request would keep all of it in memory, for as long as the append waits.
        Some(KeyForm::Key(key)) => Bytes::copy_from_slice(&key),
        Some(KeyForm::KeyText(text)) => text.into(),
        None => {
            let message = "`key` or `key_text` must say of which key the version is expected";
            return Err(Failure::field("expected_version.key", message));
        }
    };
    let (limit, actual) = (MAX_EXPECTED_KEY_BYTES, key.len());
    if actual > limit {
        let message = format!("the key has {actual} bytes, more than {limit}");
        let failure = Failure::field("expected_version.key", message);
        return Err(failure.with("limit", limit).with("actual", actual));
    }
    let version = expected.version.map(|at| offset(at, "expected_version.version")).transpose()?;
    Ok(Expected::Version { key, version })
}

/// The batches of records that name no partition. All of them can be appended from here, or none
/// is. Where the version of a key is expected, all go to the partition of that key.
fn spread(
    broker: &Broker,
    route: &CallRoute,
    topic: &ServedTopic,
    payload: &Payload,
    expected_key: Option<&[u8]>,
) -> Result<Vec<Part>, Failure> {
    let Payload::Records(records) = payload else {
        let message =
            "`partition` must be given with `compressed`: the broker does not look inside";
        return Err(Failure::field("partition", message));
    };
    let settings = &topic.topic.settings;
    // The whole is checked before it is taken apart, so that errors name positions in the request.
    let whole = ingest::prepare(payload, None, settings)?;
    let count = topic.topic.partition_count();
    let expected = expected_key.map(|key| partitioner::partition_of(key, count));
    let keyless = expected.unwrap_or_else(|| broker.keyless_partition(topic));
    let mut placed = ingest::place(records, count, keyless);
    if expected.is_some_and(|expected| placed.iter().any(|part| part.partition != expected)) {
        let message = "`partition` must be given with `expected_version` where not all records \
                       have that key, or go to its partition: a condition is of one partition";
        return Err(Failure::field("partition", message));
    }
    let mut parts = Vec::with_capacity(placed.len());
    if let [only] = placed.as_mut_slice() {
        let partition = broker.partition(topic, only.partition.0.into())?;
        route.asks_partition(&partition)?;
        parts.push(Part { partition, draft: whole, indexes: Vec::new() });
    } else {
        for placed in placed {
            let partition = broker.partition(topic, placed.partition.0.into())?;
            route.asks_partition(&partition)?;
            let draft = ingest::prepare(&Payload::Records(placed.records), None, settings)?;
            parts.push(Part { partition, draft, indexes: placed.indexes });
        }
    }
    Ok(parts)
}

fn read_sequence(sequence: &pb::ProducerSequence) -> Result<ProducerSequence, Failure> {
    let producer = ProducerId(sequence.producer_id);
    if producer == ProducerId::NONE {
        // Or all those that forgot to ask would be taken for one.
        let message = "0 is no producer: ask InitProducer for an id";
        return Err(Failure::field("sequence.producer_id", message));
    }
    let (epoch, first) = (sequence.epoch, sequence.first_sequence);
    Ok(ProducerSequence { producer, epoch, first })
}

fn read_payload(request: &mut pb::ProduceRequest) -> Result<Payload, Failure> {
    let codec = convert::read_compression(request.compression, "compression")?;
    let record_count = request.record_count;
    match request.data.take() {
        Some(pb::produce_request::Data::Records(records)) => {
            let misplaced = [
                ("compression", codec != Compression::None),
                ("record_count", record_count != 0),
                ("shortest_ttl", request.shortest_ttl.is_some()),
            ];
            if let Some((field, _)) = misplaced.into_iter().find(|(_, is_given)| *is_given) {
                let message =
                    format!("`{field}` belongs to `compressed`: leave it out with `records`");
                return Err(Failure::field(field, message));
            }
            Ok(Payload::Records(records))
        }
        Some(pb::produce_request::Data::Compressed(bytes)) => {
            if codec == Compression::None {
                let message = "`compression` must name the codec of `compressed`";
                return Err(Failure::field("compression", message));
            }
            let range = 1..=MAX_COMPRESSED_RECORDS;
            let count = u32::try_from(record_count).ok().filter(|count| range.contains(count));
            let missing = "`record_count` must give the number of records in `compressed`";
            let refused = || Failure::field("record_count", missing).with("actual", record_count);
            let record_count = count.ok_or_else(refused)?;
            let shortest_ttl = request.shortest_ttl.as_ref().map(read_shortest_ttl).transpose()?;
            Ok(Payload::Compressed { codec, bytes, record_count, shortest_ttl })
        }
        // A record set without records is a field without bytes, which some encoders leave out.
        None => Ok(Payload::Records(Bytes::new())),
    }
}

fn read_shortest_ttl(ttl: &prost_types::Duration) -> Result<ShortestTtl, Failure> {
    let ttl = convert::read_duration(ttl, "shortest_ttl")?.unwrap_or_default();
    let least = MIN_RECORD_TTL.as_millis();
    let short = format!("`shortest_ttl` is less than the {least} ms that a ttl must be");
    ShortestTtl::of(ttl).ok_or_else(|| Failure::field("shortest_ttl", short))
}

/// Gathers the ends of a request's appends.
struct Join<F> {
    unfinished: AtomicUsize,
    outcomes: Mutex<Vec<Result<pb::PartitionAppend, ProposeError>>>,
    done: Mutex<Option<F>>,
}

impl<F: FnOnce(Result<pb::ProduceResponse, Failure>)> Join<F> {
    fn finish(&self, outcome: Result<pb::PartitionAppend, ProposeError>) {
        let expect = "no holder of an append's outcome panics";
        self.outcomes.lock().expect(expect).push(outcome);
        if self.unfinished.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let outcomes = std::mem::take(&mut *self.outcomes.lock().expect(expect));
        if let Some(done) = self.done.lock().expect(expect).take() {
            done(answer(outcomes));
        }
    }
}

/// The answer of a request whose appends have all ended. When some failed, what the others did
/// cannot be taken back, so that the caller may not conclude that nothing happened.
fn answer(
    outcomes: Vec<Result<pb::PartitionAppend, ProposeError>>,
) -> Result<pb::ProduceResponse, Failure> {
    let mut appends = Vec::with_capacity(outcomes.len());
    let mut error = None;
    for outcome in outcomes {
        match outcome {
            Ok(append) => appends.push(append),
            Err(failed) => error = error.or(Some(failed)),
        }
    }
    appends.sort_by_key(|append| append.partition);
    match error {
        None => Ok(pb::ProduceResponse { appends }),
        Some(error) if appends.is_empty() => Err(error.into()),
        Some(error) => {
            let partitions: Vec<_> =
                appends.iter().map(|append| append.partition.to_string()).collect();
            let message = format!(
                "only some partitions took their records ({}): {error}",
                partitions.join(", ")
            );
            Err(Failure::new(Reason::NoQuorum, message).with("appended", partitions.join(",")))
        }
    }
}

fn partition_append(partition: u32, appended: &Appended, indexes: &[u32]) -> pb::PartitionAppend {
    let signed = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    pb::PartitionAppend {
        partition: signed(partition),
        base_offset: convert::offset(appended.base_offset),
        record_count: signed(appended.record_count),
        append_time: Some(convert::timestamp(appended.append_time)),
        achieved: convert::durability(appended.achieved).into(),
        leader_epoch: i64::try_from(appended.leader_epoch).unwrap_or(i64::MAX),
        record_indexes: indexes.iter().map(|index| signed(*index)).collect(),
        duplicate: appended.duplicate,
    }
}

fn metrics_durability(durability: Durability) -> AppendDurability {
    match durability {
        Durability::None => AppendDurability::None,
        Durability::Leader => AppendDurability::Leader,
        Durability::Quorum => AppendDurability::Quorum,
    }
}
