//! From the producer to a subscriber, at a rate that a broker is not busy with: records are sent
//! one by one, with the time in their value.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ropewalk_proto::broker::subscribe_response::Event;
use ropewalk_proto::broker::{Durability, ProduceStreamRequest};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;

use super::{Context, grid, per_second};
use crate::gate::Gate;
use crate::load::check;
use crate::reader::Reader;
use crate::records::{Batch, decode, encode, request};
use crate::report::Row;
use crate::stats::Latencies;
use crate::target::Target;
use crate::wire::{Failure, Wire};

/// Records a second, and the most bytes of them.
const RATE: usize = 1000;
const BYTES_PER_SECOND: usize = 4 * 1024 * 1024;
/// The time in a value: nanoseconds since the run began.
const STAMP_BYTES: usize = 8;
/// A record that leaves later than it should by more than a timer's grain counts from when it
/// should have left: a producer that is held up must not hide that.
const GRAIN: Duration = Duration::from_millis(2);

pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    context
        .rounds(&grid(context.options), async |&(partitions, size)| {
            one(context, partitions, size.max(STAMP_BYTES)).await
        })
        .await
}

fn rate(size: usize) -> usize {
    RATE.min(BYTES_PER_SECOND / size).max(1)
}

async fn one(context: &Context<'_>, partitions: u32, size: usize) -> Result<Row, Failure> {
    let target = context.target(partitions).await?;
    let reader = Reader::at_tail(target.address(), &target.topic, true).await?;
    let gate = context.gate();
    let began = Instant::now();
    let ((), usage, latencies) = tokio::try_join!(
        produce(&target, partitions, size, began, &gate),
        target.watch(&gate),
        receive(reader, began, &gate)
    )?;
    target.end().await?;
    let received = per_second(latencies.count(), usage.seconds);
    let mut row = Row::new("latency", "end to end, QUORUM").rate(received, size).used(&usage);
    row.partitions = Some(partitions);
    row.size = Some(size);
    row.latency = latencies.percentiles();
    row.is_paced = true;
    Ok(row)
}

/// Sends records one by one, at the moderate rate, until the gate closes.
pub(crate) async fn produce(
    target: &Target,
    partitions: u32,
    size: usize,
    began: Instant,
    gate: &Gate,
) -> Result<(), Failure> {
    let mut wire = Wire::connect(target.address()).await?;
    let (requests, queue) = mpsc::channel(rate(size).max(16));
    let mut answers = wire.produce_stream(ReceiverStream::new(queue)).await?;
    let sending = async {
        let filler = Batch::of(1, size).encoded;
        let period = Duration::from_secs(1) / u32::try_from(rate(size))?;
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut partition = 0;
        while !gate.is_over(Instant::now()) {
            let due = ticks.tick().await;
            let now = Instant::now();
            let stamp = if now - due > GRAIN { due } else { now };
            let value = stamped(stamp.saturating_duration_since(began), &filler[..], size);
            let set = encode(std::iter::once(value));
            let append = request(&target.topic, partition, set, Durability::Quorum);
            let message = ProduceStreamRequest { correlation: 0, request: Some(append) };
            requests.send(message).await?;
            partition = (partition + 1) % i32::try_from(partitions)?;
        }
        drop(requests);
        Ok::<(), Failure>(())
    };
    let answering = async {
        while let Some(answer) = answers.message().await? {
            check(&answer)?;
        }
        Ok::<(), Failure>(())
    };
    tokio::try_join!(sending, answering)?;
    Ok(())
}

fn stamped(time: Duration, filler: &[u8], size: usize) -> Bytes {
    let mut value = BytesMut::with_capacity(size);
    value.put_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    value.put_slice(&filler[..size - STAMP_BYTES]);
    value.freeze()
}

/// Takes the time of every record that comes.
pub(crate) async fn receive(
    mut reader: Reader,
    began: Instant,
    gate: &Gate,
) -> Result<Latencies, Failure> {
    let mut latencies = Latencies::new();
    let closed = gate.closed();
    tokio::pin!(closed);
    loop {
        let event = tokio::select! {
            event = reader.next() => event?.ok_or("a subscription ended by itself")?,
            () = &mut closed => return Ok(latencies),
        };
        let now = Instant::now();
        let Event::Batch(batch) = event else { continue };
        if !gate.is_open(now) {
            continue;
        }
        for record in decode(batch)? {
            let value = record.value.unwrap_or_default();
            let stamp = value.first_chunk::<STAMP_BYTES>();
            let sent = Duration::from_nanos(u64::from_be_bytes(*stamp.ok_or("a short value")?));
            latencies.record((now - began).saturating_sub(sent));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_moderate_for_every_size() {
        assert_eq!(rate(100), 1000);
        assert_eq!(rate(65536), 64);
        assert_eq!(rate(usize::MAX), 1);
    }

    #[test]
    fn a_value_begins_with_its_time() {
        let value = stamped(Duration::from_nanos(258), &[7; 100], 10);
        assert_eq!(value[..], [0, 0, 0, 0, 0, 0, 1, 2, 7, 7]);
    }
}
