//! Appending, with faults.

use std::collections::HashMap;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use prost::Message;
use ropewalk_compress::{Compression, decompress};
use ropewalk_proto::google::rpc::Status as RpcStatus;
use ropewalk_proto::v1;
use ropewalk_proto::v1::expected_version::KeyForm;
use ropewalk_proto::v1::produce_request::{Data, Expected};
use ropewalk_proto::v1::producer_service_server::ProducerService;
use tokio::sync::mpsc;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Fake, Known, Log, State, now, status};

/// What happens to a produce request.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Append,
    /// As `Append`, but the answer is held back until another request has come.
    AppendLater,
    /// Answers with UNAVAILABLE and this reason.
    Refuse(&'static str),
    /// As `Refuse`, but the answer is held back until another request has come.
    RefuseLater(&'static str),
    /// Appends, and answers with UNAVAILABLE and this reason all the same.
    AppendThenRefuse(&'static str),
    /// Appends and never answers.
    AppendSilently,
    /// Appends, and breaks the stream instead of answering.
    AppendThenCut,
    /// Ends the stream with BROKER_DRAINING without appending.
    Drain,
}

type Answers = mpsc::Sender<Result<v1::ProduceStreamResponse, Status>>;

#[tonic::async_trait]
impl ProducerService for Fake {
    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        let request = request.into_inner();
        self.change(|state| match state.step(&request) {
            Step::Refuse(reason) => Err(status(Code::Unavailable, reason)),
            Step::AppendThenRefuse(reason) => {
                state.append(request).and_then(|_| Err(status(Code::Unavailable, reason)))
            }
            _ => state.append(request),
        })
        .map(Response::new)
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        let name = request.into_inner().name;
        self.change(|state| {
            if let Some(reason) = state.init_refusals.pop_front() {
                return Err(status(Code::Unavailable, reason));
            }
            state.inits.push(name.clone());
            let new = (state.inits.len() as u64, 0);
            let (producer_id, epoch) = match state.names.get(&name) {
                Some((id, epoch)) if !name.is_empty() => (*id, epoch + (1 << 16)),
                _ => new,
            };
            state.names.insert(name, (producer_id, epoch));
            Ok(Response::new(v1::InitProducerResponse { producer_id, epoch }))
        })
    }

    type ProduceStreamStream = BoxStream<'static, Result<v1::ProduceStreamResponse, Status>>;

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let (answers, mut queue) = mpsc::channel(1024);
        let forwards = request.metadata().get("ropewalk-no-forward").is_none();
        tokio::spawn(self.clone().serve(request.into_inner(), forwards, answers));
        Ok(Response::new(stream::poll_fn(move |context| queue.poll_recv(context)).boxed()))
    }
}

impl Fake {
    async fn serve(
        self,
        mut requests: Streaming<v1::ProduceStreamRequest>,
        forwards: bool,
        answers: Answers,
    ) {
        let mut held = None;
        loop {
            self.until(|state| !state.paused).await;
            let Ok(Some(message)) = requests.message().await else {
                return;
            };
            let request = message.request.unwrap();
            if let Some(refused) =
                self.change(|state| state.not_leader(self.id, forwards, &request))
            {
                let answer = stream_answer(message.correlation, Err(refused));
                answers.send(Ok(answer)).await.unwrap();
                continue;
            }
            let step = self.change(|state| state.step(&request));
            let answer = match step {
                Step::Append | Step::AppendLater | Step::AppendSilently | Step::AppendThenCut => {
                    self.take(request)
                }
                Step::AppendThenRefuse(reason) => {
                    self.take(request).and_then(|_| Err(status(Code::Unavailable, reason)))
                }
                Step::Refuse(reason) | Step::RefuseLater(reason) => {
                    Err(status(Code::Unavailable, reason))
                }
                Step::Drain => Err(status(Code::Unavailable, "BROKER_DRAINING")),
            };
            let answer = stream_answer(message.correlation, answer);
            if let Some(held) = held.take() {
                answers.send(Ok(held)).await.unwrap();
            }
            match step {
                Step::Append | Step::Refuse(_) | Step::AppendThenRefuse(_) => {
                    answers.send(Ok(answer)).await.unwrap()
                }
                Step::AppendLater | Step::RefuseLater(_) => held = Some(answer),
                Step::AppendSilently => {}
                Step::AppendThenCut => {
                    answers.send(Err(Status::unknown("cut"))).await.unwrap();
                    return;
                }
                Step::Drain => {
                    let draining = status(Code::Unavailable, "BROKER_DRAINING");
                    answers.send(Err(draining)).await.unwrap();
                    return;
                }
            }
        }
    }
}

impl Fake {
    fn take(&self, request: v1::ProduceRequest) -> Result<v1::ProduceResponse, Status> {
        self.change(|state| {
            state.takers.push(self.id);
            state.append(request)
        })
    }
}

fn stream_answer(
    correlation: u64,
    answer: Result<v1::ProduceResponse, Status>,
) -> v1::ProduceStreamResponse {
    let (status, response) = match answer {
        Ok(response) => (None, Some(response)),
        Err(status) => (Some(RpcStatus::decode(status.details()).unwrap()), None),
    };
    v1::ProduceStreamResponse { correlation, status, response }
}

impl State {
    /// The answer of a broker that does not lead to a batch that it is not to forward.
    fn not_leader(
        &mut self,
        id: u64,
        forwards: bool,
        request: &v1::ProduceRequest,
    ) -> Option<Status> {
        let partition = request.partition? as usize;
        let (leader, epoch) = self.topics.get(&request.topic)?.partitions.get(partition)?.leader;
        if forwards || leader == id {
            return None;
        }
        self.refused += 1;
        let metadata = [
            ("leader_id".to_owned(), leader.to_string()),
            ("leader_address".to_owned(), self.brokers[&leader].clone()),
            ("leader_epoch".to_owned(), epoch.to_string()),
        ];
        let domain = ropewalk_proto::ERROR_DOMAIN;
        let details = ErrorDetails::with_error_info("NOT_LEADER", domain, metadata);
        Some(Status::with_error_details(Code::Unavailable, "not the leader", details))
    }

    fn step(&mut self, request: &v1::ProduceRequest) -> Step {
        let (bytes, count) = match &request.data {
            Some(Data::Records(set)) => (set.encoded_len(), set.records.len()),
            Some(Data::Compressed(packed)) => (packed.len(), request.record_count as usize),
            None => panic!("a request has records"),
        };
        self.requests.push((request.partition, bytes, count));
        self.codecs.push(request.compression());
        self.steps.pop_front().unwrap_or(Step::Append)
    }

    fn append(&mut self, request: v1::ProduceRequest) -> Result<v1::ProduceResponse, Status> {
        if !self.topics.contains_key(&request.topic) {
            if !self.auto_create {
                return Err(status(Code::NotFound, "TOPIC_NOT_FOUND"));
            }
            self.create(&request.topic, 4);
        }
        let topic = self.topics.get_mut(&request.topic).unwrap();
        let set = records_of(request.data, request.compression);
        check_content(&set, self.poison.as_ref())?;
        let count = topic.partitions.len() as i32;
        if let (Some(sequence), Some(partition)) = (&request.sequence, request.partition) {
            let records = set.records.len() as u32;
            let log = topic.partitions.get_mut(partition as usize);
            let log = log.ok_or_else(|| status(Code::NotFound, "PARTITION_NOT_FOUND"))?;
            if let Some(base_offset) = log.check(sequence, records)? {
                let append = v1::PartitionAppend {
                    partition,
                    base_offset,
                    record_count: records as i32,
                    leader_epoch: log.leader.1,
                    append_time: now(),
                    duplicate: true,
                    ..v1::PartitionAppend::default()
                };
                return Ok(v1::ProduceResponse { appends: vec![append] });
            }
        }
        let mut appends: Vec<v1::PartitionAppend> = Vec::new();
        for (index, record) in set.records.into_iter().enumerate() {
            let key = record.key.clone().unwrap_or_default();
            let partition =
                request.partition.unwrap_or_else(|| ropewalk::partition_of(&key, count));
            let log = topic
                .partitions
                .get_mut(partition as usize)
                .ok_or_else(|| status(Code::NotFound, "PARTITION_NOT_FOUND"))?;
            if let Some(Expected::ExpectedOffset(offset)) = request.expected
                && index == 0
                && offset != log.end()
            {
                return Err(status(Code::Aborted, "EXPECTED_OFFSET_MISMATCH"));
            }
            if let Some(Expected::ExpectedVersion(expected)) = &request.expected
                && index == 0
            {
                log.check_version(expected)?;
            }
            let place = appends.iter().position(|append| append.partition == partition);
            let place = place.unwrap_or_else(|| {
                appends.push(v1::PartitionAppend {
                    partition,
                    base_offset: log.end(),
                    leader_epoch: log.leader.1,
                    append_time: now(),
                    ..v1::PartitionAppend::default()
                });
                appends.len() - 1
            });
            log.records.push(record);
            appends[place].record_count += 1;
            appends[place].record_indexes.push(index as i32);
        }
        if let [only] = appends.as_mut_slice() {
            only.record_indexes.clear();
        }
        Ok(v1::ProduceResponse { appends })
    }
}

/// Refuses a set with a record of this value.
fn check_content(set: &v1::RecordSet, poison: Option<&Bytes>) -> Result<(), Status> {
    let is_poison = |record: &v1::Record| poison.is_some() && record.value.as_ref() == poison;
    if set.records.iter().any(is_poison) {
        return Err(status(Code::InvalidArgument, "INVALID_FIELD"));
    }
    Ok(())
}

fn records_of(data: Option<Data>, compression: i32) -> v1::RecordSet {
    match data {
        Some(Data::Records(set)) => set,
        Some(Data::Compressed(packed)) => {
            let codec = Compression::from_number(compression as u8 - 1).unwrap();
            let set = decompress(codec, &packed, 1 << 20).unwrap();
            v1::RecordSet::decode(set.as_slice()).unwrap()
        }
        None => panic!("a request has records"),
    }
}

impl Log {
    /// Whether a key has the version that is expected.
    fn check_version(&self, expected: &v1::ExpectedVersion) -> Result<(), Status> {
        let Some(KeyForm::Key(key)) = &expected.key_form else { panic!("the library has bytes") };
        let offsets = (self.start..).zip(&self.records);
        let of_key = offsets.filter(|(_, record)| record.key.as_ref() == Some(key));
        let current = of_key.map(|(offset, _)| offset).last();
        if current == expected.version {
            return Ok(());
        }
        let metadata = current.map(|current| ("current".to_owned(), current.to_string()));
        let metadata: HashMap<_, _> = metadata.into_iter().collect();
        let (reason, domain) = ("EXPECTED_VERSION_MISMATCH", ropewalk_proto::ERROR_DOMAIN);
        let details = ErrorDetails::with_error_info(reason, domain, metadata);
        Err(Status::with_error_details(Code::Aborted, reason, details))
    }

    /// The base offset of a batch that is there already. One that is new is noted.
    fn check(
        &mut self,
        sequence: &v1::ProducerSequence,
        records: u32,
    ) -> Result<Option<i64>, Status> {
        let end = self.end();
        let refused = |reason| Err(status(Code::FailedPrecondition, reason));
        let known = self.producers.get(&sequence.producer_id).cloned();
        let mut known = known
            .filter(|known| known.epoch >= sequence.epoch)
            .unwrap_or(Known { epoch: sequence.epoch, batches: Vec::new() });
        if known.epoch > sequence.epoch {
            return refused("PRODUCER_FENCED");
        }
        let next = known.batches.last().map_or(0, |(first, _, count)| first + count);
        if sequence.first_sequence != next {
            let wanted = (sequence.first_sequence, records);
            let last = known.batches.iter().rev().take(5);
            let again = last.clone().find(|(first, _, count)| (*first, *count) == wanted);
            return again.map_or_else(|| refused("SEQUENCE_GAP"), |(_, base, _)| Ok(Some(*base)));
        }
        known.batches.push((sequence.first_sequence, end, records));
        self.producers.insert(sequence.producer_id, known);
        Ok(None)
    }
}
