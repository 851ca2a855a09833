//! Clients that append.

use std::collections::{BTreeMap, HashMap};

use ropewalk_proto::v1;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{AGAIN, CALL_TIMEOUT, Worker};
use crate::calls::{append_request, appended, record_append, streamed};
use crate::client::{Stubs, within};
use crate::history::{Call, OperationId, Outcome, Place, RecordedAs};
use crate::load::{Values, any_place};

/// The most appends of one stream that are under way.
const IN_FLIGHT: usize = 8;

/// One append to one place.
async fn append(
    worker: &mut Worker,
    stubs: &Stubs,
    values: &mut Values,
    place: Place,
) -> RecordedAs {
    let (ids, records) = values.batch(&mut worker.rng, false);
    match worker.caller(stubs).append(place, ids, records).await {
        Ok(_) => RecordedAs::Ok,
        Err((recorded, _)) => recorded,
    }
}

/// One append after the other, each when the one before was answered.
pub(super) async fn one_by_one(mut worker: Worker) {
    let mut values = Values { client: worker.client, counter: 0 };
    while let Some(stubs) = worker.connect().await {
        while worker.goes_on() {
            let place = any_place(&mut worker.rng);
            match append(&mut worker, &stubs, &mut values, place).await {
                RecordedAs::Ok => worker.rest().await,
                RecordedAs::Fail => {
                    worker.elsewhere().await;
                    break;
                }
                RecordedAs::Unknown => {
                    worker.rename();
                    values = Values { client: worker.client, counter: 0 };
                    worker.elsewhere().await;
                    break;
                }
            }
        }
    }
}

/// Asks for the id of a producer, until some node gives one.
async fn init(worker: &mut Worker) -> Option<v1::InitProducerResponse> {
    while let Some(stubs) = worker.connect().await {
        let request = within(v1::InitProducerRequest::default(), CALL_TIMEOUT);
        match stubs.producer().init_producer(request).await {
            Ok(given) => return Some(given.into_inner()),
            Err(_) => worker.elsewhere().await,
        }
    }
    None
}

/// An idempotent producer: each append is sent again under its number, through one node after the
/// other, until it is answered. In the history that is one append.
pub(super) async fn insistent(mut worker: Worker) {
    let Some(producer) = init(&mut worker).await else { return };
    let mut values = Values { client: worker.client, counter: 0 };
    let mut next: BTreeMap<Place, u32> = BTreeMap::new();
    while worker.goes_on() {
        let place = any_place(&mut worker.rng);
        let (ids, records) = values.batch(&mut worker.rng, false);
        let first_sequence = next.get(&place).copied().unwrap_or(0);
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        next.insert(place.clone(), first_sequence.wrapping_add(count));
        let v1::InitProducerResponse { producer_id, epoch } = producer;
        let sequence = v1::ProducerSequence { producer_id, epoch, first_sequence };
        let request =
            v1::ProduceRequest { sequence: Some(sequence), ..append_request(&place, records) };
        let call = Call::Append { place, values: ids };
        let id = worker.recorder.invoke_at(worker.node(), worker.client, call);
        let answer = until_answered(&mut worker, request).await;
        record_append(&worker.recorder, id, &answer);
        worker.rest().await;
    }
}

/// Sends one append until it is answered, or the run is over: then its outcome is unknown.
async fn until_answered(
    worker: &mut Worker,
    request: v1::ProduceRequest,
) -> Result<(i64, i64), Status> {
    while let Some(stubs) = worker.connect().await {
        let sent = stubs.producer().produce(within(request.clone(), CALL_TIMEOUT)).await;
        match sent.and_then(|sent| appended(sent.into_inner())) {
            Ok(answer) => return Ok(answer),
            // A leader that was replaced and does not know it may say that one is missing.
            Err(_) => worker.elsewhere().await,
        }
    }
    Err(Status::unknown("the run was over before it was answered"))
}

/// Appends to a place until it went well.
pub(super) async fn until_acked(mut worker: Worker, place: Place) {
    while let Some(stubs) = worker.connect().await {
        let mut values = Values { client: worker.client, counter: 0 };
        if append(&mut worker, &stubs, &mut values, place.clone()).await == RecordedAs::Ok {
            return;
        }
        worker.rename();
        worker.elsewhere().await;
    }
}

/// Appends to a place all the time, through another node whenever one fails it.
pub(super) async fn steadily(mut worker: Worker, place: Place) {
    let mut values = Values { client: worker.client, counter: 0 };
    while let Some(stubs) = worker.connect().await {
        while worker.goes_on() {
            let appended = append(&mut worker, &stubs, &mut values, place.clone()).await;
            if appended != RecordedAs::Ok {
                worker.rename();
                values = Values { client: worker.client, counter: 0 };
                worker.elsewhere().await;
                break;
            }
            worker.rest().await;
        }
    }
}

/// Many appends under way at a time, over one stream; over another one when it ends or an outcome
/// is unknown.
pub(super) async fn pipelined(mut worker: Worker) {
    while let Some(stubs) = worker.connect().await {
        let mut open = HashMap::new();
        stream(&mut worker, &stubs, &mut open).await;
        for id in open.into_values() {
            worker.recorder.end(id, Outcome::Unknown("its stream ended".to_owned()));
        }
        worker.rename();
        worker.elsewhere().await;
    }
}

/// One stream, to its end. What is left open has no answer.
async fn stream(worker: &mut Worker, stubs: &Stubs, open: &mut HashMap<u64, OperationId>) {
    let (sender, requests) = mpsc::channel(IN_FLIGHT);
    let mut producer = stubs.producer();
    let stream = timeout(CALL_TIMEOUT, producer.produce_stream(ReceiverStream::new(requests)));
    let Ok(Ok(stream)) = stream.await else { return };
    let mut answers = stream.into_inner();
    let mut values = Values { client: worker.client, counter: 0 };
    let mut correlation = 0;
    loop {
        while open.len() < IN_FLIGHT && worker.goes_on() {
            let place = any_place(&mut worker.rng);
            let (ids, records) = values.batch(&mut worker.rng, false);
            let message = v1::ProduceStreamRequest {
                correlation,
                request: Some(append_request(&place, records)),
            };
            let call = Call::Append { place, values: ids };
            open.insert(correlation, worker.recorder.invoke_at(worker.node(), worker.client, call));
            correlation += 1;
            // The channel has room for all that may be open.
            if sender.try_send(message).is_err() {
                return;
            }
            worker.rest().await;
        }
        if open.is_empty() {
            return;
        }
        let Ok(Ok(Some(answer))) = timeout(CALL_TIMEOUT, answers.message()).await else { return };
        let Some(id) = open.remove(&answer.correlation) else { return };
        match record_append(&worker.recorder, id, &streamed(answer)) {
            RecordedAs::Ok => {}
            RecordedAs::Fail => sleep(AGAIN).await,
            RecordedAs::Unknown => return,
        }
    }
}
