//! Clients that do not append: ends, commits, trims, and what nodes say of themselves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Worker;
use crate::history::RecordedAs;
use crate::load::{COMMIT_GROUP, TOPICS, any_place, partition_of};

/// The pause between two trims, or two looks at the state of a node.
const LONG_PAUSE: Duration = Duration::from_millis(200);
/// The records that a trim leaves.
const LEFT: u64 = 400;
/// The calls after which a client goes to another node although all is well.
const CALLS: usize = 20;

/// Asks for the ends of partitions while others append to them, at all nodes in turn.
pub(super) async fn ask_for_ends(mut worker: Worker) {
    while let Some(stubs) = worker.connect().await {
        for _ in 0..CALLS {
            let place = any_place(&mut worker.rng);
            if !worker.goes_on() || worker.caller(&stubs).latest(&place).await.is_none() {
                break;
            }
            worker.rest().await;
        }
        worker.elsewhere().await;
    }
}

/// Commits offsets, back and forth.
pub(super) async fn commit(mut worker: Worker) {
    let group: Arc<str> = COMMIT_GROUP.into();
    while let Some(stubs) = worker.connect().await {
        for _ in 0..CALLS {
            let place = partition_of(&mut worker.rng, TOPICS[0].0, TOPICS[0].1);
            let Some(end) = worker.caller(&stubs).latest(&place).await else { break };
            let offset = i64::try_from(worker.rng.within(0..end.unsigned_abs() + 1)).unwrap_or(0);
            let committed = worker.caller(&stubs).commit(&group, place, offset, None).await;
            if committed != RecordedAs::Ok || !worker.goes_on() {
                break;
            }
            worker.rest().await;
        }
        worker.elsewhere().await;
    }
}

/// Deletes the older records of a topic, a few times a second.
pub(super) async fn trim(mut worker: Worker) {
    while let Some(stubs) = worker.connect().await {
        let (topic, partitions, _) = TOPICS[1];
        let place = partition_of(&mut worker.rng, topic, partitions);
        let left = worker.rng.within(LEFT / 2..LEFT * 2);
        let caller = worker.caller(&stubs);
        if let Some(end) = caller.latest(&place).await {
            let left = i64::try_from(left).unwrap_or(0);
            caller.trim(place, (end - left).max(0)).await;
        }
        sleep(LONG_PAUSE).await;
        worker.elsewhere().await;
    }
}

/// Asks each node in turn what it knows of every partition.
pub(super) async fn describe(mut worker: Worker) {
    while let Some(stubs) = worker.connect().await {
        for (topic, ..) in TOPICS {
            if worker.caller(&stubs).describe(topic).await != RecordedAs::Ok {
                break;
            }
        }
        sleep(LONG_PAUSE).await;
        worker.elsewhere().await;
    }
}
