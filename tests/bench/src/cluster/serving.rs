//! When each partition takes a record again.

use std::time::Duration;

use futures::future::try_join_all;
use ropewalk_proto::broker::Durability;
use tokio::time::{Instant, sleep, timeout};

use crate::goals::run::RECORD;
use crate::records::{Batch, request};
use crate::wire::{Failure, Wire};

/// How long one call may take before it is tried at another broker.
pub(crate) const CALL: Duration = Duration::from_secs(1);
/// The time between a refusal and the next try.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);
/// What takes longer is given up.
const WITHIN: Duration = Duration::from_secs(120);
/// Calls of one connection at a time.
const CALLS: usize = 250;

/// Appends a record to every partition of a topic, all at a time, through brokers that may not be
/// there yet, and over and over until it is acked.
///
/// Returns the time from `since` to each ack, in the order of time.
pub(crate) async fn serve_all(
    since: Instant,
    addresses: &[&str],
    topic: &str,
    partitions: u32,
) -> Result<Vec<Duration>, Failure> {
    let set = Batch::of(1, RECORD).encoded;
    let count = (partitions as usize).div_ceil(CALLS) * addresses.len();
    let wires = addresses.iter().cycle().take(count).map(|address| Wire::lazy(address));
    let wires = wires.collect::<Result<Vec<_>, _>>()?;
    let each = (0..partitions).map(|partition| {
        let (set, wires) = (set.clone(), &wires);
        async move {
            let number = i32::try_from(partition)?;
            for wire in wires.iter().cycle().skip(partition as usize) {
                let append = request(topic, number, set.clone(), Durability::Quorum);
                let mut wire = wire.clone();
                let last = match timeout(CALL, wire.produce(append)).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("no answer within {CALL:?}"),
                };
                if since.elapsed() > WITHIN {
                    let text = format!("partition {number} serves no record: {last}");
                    return Err(Failure::from(text));
                }
                sleep(PAUSE).await;
            }
            Ok(since.elapsed())
        }
    });
    let mut acked = try_join_all(each).await?;
    acked.sort();
    Ok(acked)
}
