//! Clients that do not append: topics, commits, trims, ends.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_proto::v1;

use super::{COMMIT_GROUP, TOPICS, Worker, any_place, partition_of};
use crate::client::{outcome_of, within};
use crate::history::{Answer, Call, RecordedAs};

const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause between two topics or two trims: they are rarer than appends.
const LONG_PAUSE: Duration = Duration::from_millis(40);
/// The records that a trim leaves.
const LEFT: u64 = 400;

/// Creates topics, and deletes some of them again.
pub(crate) async fn create_and_delete(worker: Worker) {
    let Some(stubs) = worker.connect().await else { return };
    let mut admin = stubs.admin();
    for number in 0.. {
        let name: Arc<str> = format!("topic-{}-{number}", worker.client).into();
        let call = Call::CreateTopic { topic: Arc::clone(&name), retained: false };
        let id = worker.recorder.invoke(worker.client, call);
        let request = v1::CreateTopicRequest { name: name.to_string(), ..Default::default() };
        let created = admin.create_topic(within(request, CALL_TIMEOUT)).await;
        let created = worker.recorder.end(id, outcome_of(created.map(|_| Answer::Done)));
        if !worker.goes_on() || created == RecordedAs::Unknown {
            return;
        }
        tokio::time::sleep(LONG_PAUSE).await;
        // A few of every round stay.
        if created == RecordedAs::Fail || number % 8 == 0 {
            continue;
        }
        let call = Call::DeleteTopic { topic: Arc::clone(&name) };
        let id = worker.recorder.invoke(worker.client, call);
        let request = v1::DeleteTopicRequest { name: name.to_string() };
        let deleted = admin.delete_topic(within(request, CALL_TIMEOUT)).await;
        let deleted = worker.recorder.end(id, outcome_of(deleted.map(|_| Answer::Done)));
        if !worker.goes_on() || deleted == RecordedAs::Unknown {
            return;
        }
    }
}

/// Commits offsets, back and forth.
pub(crate) async fn commit(mut worker: Worker) {
    let Some(stubs) = worker.connect().await else { return };
    let group: Arc<str> = COMMIT_GROUP.into();
    while worker.goes_on() {
        let place = partition_of(&mut worker.rng, TOPICS[0].0, TOPICS[0].1);
        let Some(end) = worker.caller(&stubs, CALL_TIMEOUT).latest(&place).await else { return };
        for _ in 0..5 {
            let offset = i64::try_from(worker.rng.within(0..end.unsigned_abs() + 1)).unwrap_or(0);
            let caller = worker.caller(&stubs, CALL_TIMEOUT);
            let committed = caller.commit(&group, place.clone(), offset, None).await;
            if committed == RecordedAs::Unknown || !worker.goes_on() {
                return;
            }
            worker.rest().await;
        }
    }
}

/// Deletes the older records of partitions that retention does not touch.
pub(crate) async fn trim(mut worker: Worker) {
    let Some(stubs) = worker.connect().await else { return };
    while worker.goes_on() {
        let (topic, partitions, _) = TOPICS[worker.rng.index(2)];
        let place = partition_of(&mut worker.rng, topic, partitions);
        let Some(end) = worker.caller(&stubs, CALL_TIMEOUT).latest(&place).await else { return };
        let left = i64::try_from(worker.rng.within(LEFT / 2..LEFT * 2)).unwrap_or(0);
        let before = (end - left).max(0);
        let caller = worker.caller(&stubs, CALL_TIMEOUT);
        if caller.trim(place, before).await == RecordedAs::Unknown {
            return;
        }
        tokio::time::sleep(LONG_PAUSE).await;
    }
}

/// Asks for the ends of partitions while others append to them.
pub(crate) async fn ask_for_ends(mut worker: Worker) {
    let Some(stubs) = worker.connect().await else { return };
    while worker.goes_on() {
        let place = any_place(&mut worker.rng);
        if worker.caller(&stubs, CALL_TIMEOUT).latest(&place).await.is_none() {
            return;
        }
        worker.rest().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
