//! Clients that append.

use std::collections::HashMap;
use std::time::Duration;

use ropewalk_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{TOPICS, Worker, any_place, partition_of};
use crate::calls::{Caller, append_request, record_append, streamed};
use crate::client::Stubs;
use crate::history::{Call, OperationId, Place, RecordedAs, Recorder};
use crate::rng::Rng;
use crate::value::{ValueId, encode};

/// How long one append may take.
const APPEND_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client waits after it was refused, as by a full disk.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);
/// The most appends of one stream that are under way.
const IN_FLIGHT: usize = 16;
/// The records of a large batch, and the bytes of each.
const FLOOD: (u64, usize) = (24, 20_000);

/// Sizes on both sides of what the broker may keep inline or apart.
fn payload(rng: &mut Rng) -> usize {
    let (from, to) = [(1, 40), (100, 300), (900, 1_100), (3_900, 4_300), (9_000, 40_000)]
        [[0, 0, 1, 1, 1, 2, 2, 2, 3, 4][rng.index(10)]];
    usize::try_from(rng.within(from..to)).expect("it is small")
}

/// The next values of a client, and their records.
pub(crate) struct Values {
    pub(crate) client: u32,
    pub(crate) counter: u64,
}

impl Values {
    fn next(&mut self, payload: usize) -> (ValueId, v1::Record) {
        let id = ValueId { client: self.client, counter: self.counter };
        self.counter += 1;
        (id, v1::Record { value: Some(encode(id, payload)), ..Default::default() })
    }

    pub(crate) fn batch(&mut self, rng: &mut Rng, flood: bool) -> (Vec<ValueId>, Vec<v1::Record>) {
        if flood {
            return (0..FLOOD.0).map(|_| self.next(FLOOD.1)).unzip();
        }
        let count = if rng.percent(60) { 1 } else { rng.within(2..8) };
        (0..count).map(|_| self.next(payload(rng))).unzip()
    }
}

/// One append after the other, each when the one before was answered.
pub(crate) async fn one_by_one(mut worker: Worker) {
    let Some(stubs) = worker.connect().await else { return };
    let mut values = Values { client: worker.client, counter: 0 };
    while worker.goes_on() {
        let place = any_place(&mut worker.rng);
        let (ids, records) = values.batch(&mut worker.rng, false);
        match worker.caller(&stubs, APPEND_TIMEOUT).append(place, ids, records).await {
            Ok(_) => worker.rest().await,
            Err((RecordedAs::Fail, _)) => tokio::time::sleep(REFUSED_PAUSE).await,
            Err(_) => return,
        }
    }
}

/// Many appends under way at a time, over one stream: small ones to all topics, or so many large
/// ones to one.
pub(crate) async fn pipelined(mut worker: Worker, large: Option<u32>) {
    let Some(stubs) = worker.connect().await else { return };
    let (sender, requests) = mpsc::channel(IN_FLIGHT);
    let stream = stubs.producer().produce_stream(ReceiverStream::new(requests)).await;
    let Ok(stream) = stream else { return };
    let mut answers = stream.into_inner();
    let mut values = Values { client: worker.client, counter: 0 };
    let mut open: HashMap<u64, OperationId> = HashMap::new();
    let mut correlation = 0;
    let flood = large.is_some();
    let most = large.map_or(u64::MAX, u64::from);
    loop {
        while open.len() < IN_FLIGHT && worker.goes_on() && correlation < most {
            let place = match flood {
                true => partition_of(&mut worker.rng, TOPICS[2].0, TOPICS[2].1),
                false => any_place(&mut worker.rng),
            };
            let (ids, records) = values.batch(&mut worker.rng, flood);
            let message = v1::ProduceStreamRequest {
                correlation,
                request: Some(append_request(&place, records)),
            };
            let id = worker.recorder.invoke(worker.client, Call::Append { place, values: ids });
            open.insert(correlation, id);
            correlation += 1;
            if sender.send(message).await.is_err() {
                return;
            }
            if !flood {
                worker.rest().await;
            }
        }
        if open.is_empty() {
            return;
        }
        let answer = tokio::time::timeout(APPEND_TIMEOUT, answers.message()).await;
        let Ok(Ok(Some(answer))) = answer else { return };
        let Some(id) = open.remove(&answer.correlation) else { return };
        if record_append(&worker.recorder, id, &streamed(answer)) == RecordedAs::Fail {
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }
}

/// Appends one batch of records of this size, and records it.
///
/// # Errors
/// What the broker answered, when it did not append.
pub async fn append_once(
    stubs: &Stubs,
    recorder: &Recorder,
    place: &Place,
    ids: &[ValueId],
    payload: usize,
) -> Result<i64, Status> {
    let record =
        |id: &ValueId| v1::Record { value: Some(encode(*id, payload)), ..Default::default() };
    let records = ids.iter().map(record).collect();
    let client = ids.first().map_or(0, |id| id.client);
    let caller = Caller { stubs, recorder, client, node: 0, timeout: APPEND_TIMEOUT };
    let appended = caller.append(place.clone(), ids.to_vec(), records).await;
    appended.map_err(|(_, status)| status)
}
