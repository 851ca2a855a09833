//! A batch of records, and those who wait to hear what became of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use ropewalk_compress::{Compression, compress_at};
use ropewalk_proto::v1::ProduceResponse;
use tokio::time::Instant;

use super::numbers::Number;
use crate::error::{Error, ErrorKind, Outcome};
use crate::intercept::Outcomes;
use crate::record::Record;
use crate::wire::{Sizes, put_record};

/// Where a record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// When the leader appended the record's batch, by its clock.
    pub timestamp: SystemTime,
}

/// A record on its way: a future of where it went. Given by
/// [`Producer::enqueue`](crate::Producer::enqueue).
///
/// The record is sent whether this is awaited or dropped. Awaiting fails with the error of the
/// record's batch; see [`Error::may_have_happened`] for what that says.
#[derive(Debug)]
#[must_use = "a record may fail: await this, or drop it on purpose"]
pub struct Delivery {
    completion: Arc<Completion>,
    index: usize,
    slot: Option<usize>,
}

impl Delivery {
    pub(super) fn new(completion: Arc<Completion>, index: usize) -> Delivery {
        Delivery { completion, index, slot: None }
    }

    /// Has interceptors told what becomes of the record.
    pub(super) fn tell(&self, outcomes: &mut Outcomes) {
        if !outcomes.is_empty() {
            let outcomes = std::mem::take(outcomes.on_its_way());
            self.completion.watching().push((self.index, outcomes));
        }
    }
}

impl Future for Delivery {
    type Output = Result<Appended, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.completion.poll_done(&mut this.slot, context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(this.completion.of_record(this.index))
    }
}

/// What became of a batch: one for all its records.
#[derive(Debug)]
pub(super) struct Completion {
    topic: Arc<str>,
    result: OnceLock<Result<Placement, Error>>,
    waiting: Mutex<Vec<Waker>>,
    /// Interceptors that want to know of a record, by its position.
    watching: Mutex<Vec<(usize, Outcomes)>>,
}

/// Where the records of a batch went.
#[derive(Debug)]
enum Placement {
    /// All to one partition, one after the other.
    Together { partition: i32, base_offset: i64, time: SystemTime },
    /// The broker placed each: partition, offset and time by position in the request.
    Apart(Vec<(i32, i64, SystemTime)>),
}

impl Completion {
    pub(super) fn new(topic: Arc<str>) -> Completion {
        let (waiting, watching) = (Mutex::default(), Mutex::default());
        Completion { topic, result: OnceLock::new(), waiting, watching }
    }

    /// Sets the outcome, once: tells interceptors, and wakes those who wait.
    fn finish(&self, result: Result<Placement, Error>) {
        let watching = std::mem::take(&mut *self.watching());
        for (index, mut outcomes) in watching {
            outcomes.tell(self.of(Some(&result), index).as_ref());
        }
        // Taken under the lock, so that whoever looked before and found nothing is in the list by
        // now.
        let waiting = {
            let mut waiting = self.waiting();
            let first = self.result.set(result).is_ok();
            debug_assert!(first, "a batch is completed once");
            std::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Ready when the outcome is known. `slot` remembers the place in the list of those who wait.
    fn poll_done(&self, slot: &mut Option<usize>, context: &Context<'_>) -> Poll<()> {
        if self.result.get().is_some() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting();
        if self.result.get().is_some() {
            return Poll::Ready(());
        }
        match slot.and_then(|slot| waiting.get_mut(slot)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                *slot = Some(waiting.len());
                waiting.push(context.waker().clone());
            }
        }
        Poll::Pending
    }

    /// Waits for the outcome of the whole batch.
    pub(super) async fn done(&self) -> Result<(), Error> {
        let mut slot = None;
        std::future::poll_fn(|context| self.poll_done(&mut slot, context)).await;
        match self.result.get() {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn of_record(&self, index: usize) -> Result<Appended, Error> {
        self.of(self.result.get(), index)
    }

    fn of(
        &self,
        result: Option<&Result<Placement, Error>>,
        index: usize,
    ) -> Result<Appended, Error> {
        let placed = |partition, offset, timestamp| {
            Ok(Appended { topic: Arc::clone(&self.topic), partition, offset, timestamp })
        };
        match result {
            Some(Ok(Placement::Together { partition, base_offset, time })) => {
                placed(*partition, base_offset + index as i64, *time)
            }
            Some(Ok(Placement::Apart(places))) => match places.get(index) {
                Some((partition, offset, time)) => placed(*partition, *offset, *time),
                None => Err(senseless()),
            },
            Some(Err(error)) => Err(error.clone()),
            None => Err(senseless()),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watching(&self) -> MutexGuard<'_, Vec<(usize, Outcomes)>> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch that still takes records.
#[derive(Debug)]
pub(super) struct OpenBatch {
    set: BytesMut,
    count: usize,
    /// The shortest that a record lives which says how long.
    shortest_ttl: Option<Duration>,
    opened: Instant,
    pub(super) completion: Arc<Completion>,
}

impl OpenBatch {
    pub(super) fn new(completion: Arc<Completion>, capacity: usize) -> OpenBatch {
        let set = BytesMut::with_capacity(capacity);
        OpenBatch { set, count: 0, shortest_ttl: None, opened: Instant::now(), completion }
    }

    /// Whether a record of `bytes` fits below `limit`. The first always does.
    pub(super) fn has_room(&self, bytes: usize, limit: usize) -> bool {
        self.count == 0 || self.set.len() + bytes <= limit
    }

    pub(super) fn push(&mut self, record: &Record, sizes: Sizes) -> Delivery {
        put_record(&mut self.set, record, sizes);
        let delivery = Delivery::new(Arc::clone(&self.completion), self.count);
        self.count += 1;
        self.shortest_ttl = self.shortest_ttl.into_iter().chain(record.ttl).min();
        delivery
    }

    pub(super) fn bytes(&self) -> usize {
        self.set.len()
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn seal(self, queue: usize, sequence: u64) -> Batch {
        Batch {
            queue,
            sequence,
            count: self.count,
            set: self.set.freeze(),
            shortest_ttl: self.shortest_ttl,
            packed: Packed::NotTried,
            opened: self.opened,
            tries: 0,
            unsure: false,
            last_error: None,
            verdict: None,
            number: None,
            completion: self.completion,
        }
    }
}

/// A batch that is complete: waiting, in flight, or waiting to be sent again.
#[derive(Debug)]
pub(super) struct Batch {
    /// The queue it belongs to.
    pub(super) queue: usize,
    /// Its place among the batches of its queue.
    pub(super) sequence: u64,
    pub(super) count: usize,
    pub(super) set: Bytes,
    pub(super) shortest_ttl: Option<Duration>,
    packed: Packed,
    pub(super) opened: Instant,
    /// How often it was refused.
    pub(super) tries: u32,
    /// Whether an earlier try may have appended it.
    pub(super) unsure: bool,
    pub(super) last_error: Option<Error>,
    /// Why it is refused for good, while it waits for the batches before it.
    pub(super) verdict: Option<Error>,
    /// What the broker knows it again by, once it was sent, if the producer is idempotent.
    pub(super) number: Option<Number>,
    completion: Arc<Completion>,
}

/// The compressed form of a batch.
#[derive(Debug)]
enum Packed {
    NotTried,
    /// It would not be smaller.
    InVain,
    As(Compression, Bytes),
}

impl Batch {
    /// The error of a batch that is given up, when all its tries are taken together.
    pub(super) fn concluded(&self, error: Error) -> Error {
        if self.unsure { error.with_outcome(Outcome::Unknown) } else { error }
    }

    /// The compressed form, made when it is first asked for and kept for later tries; `None` where
    /// that is not smaller.
    pub(super) fn packed(
        &mut self,
        codec: Compression,
        level: Option<i32>,
    ) -> Option<(Compression, Bytes)> {
        if let Packed::NotTried = self.packed {
            let packed = match codec {
                Compression::None => Vec::new(),
                _ => compress_at(codec, level, &self.set),
            };
            let is_smaller = codec != Compression::None && packed.len() < self.set.len();
            self.packed =
                if is_smaller { Packed::As(codec, packed.into()) } else { Packed::InVain };
        }
        match &self.packed {
            Packed::As(codec, bytes) => Some((*codec, bytes.clone())),
            Packed::NotTried | Packed::InVain => None,
        }
    }

    pub(super) fn topic(&self) -> &Arc<str> {
        &self.completion.topic
    }

    /// Tells those who wait where the records went. Fails when the answer does not say.
    pub(super) fn succeed(&self, response: &ProduceResponse) -> Result<(), Error> {
        let placement = placement(self.count, response).ok_or_else(senseless)?;
        self.completion.finish(Ok(placement));
        Ok(())
    }

    /// Tells those who wait that the records were not appended, or may not have been.
    pub(super) fn fail(&self, error: Error) {
        self.completion.finish(Err(error));
    }
}

fn placement(count: usize, response: &ProduceResponse) -> Option<Placement> {
    let time = |time: Option<prost_types::Timestamp>| {
        time.and_then(|time| time.try_into().ok()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    if let [append] = response.appends.as_slice()
        && append.record_indexes.is_empty()
    {
        return Some(Placement::Together {
            partition: append.partition,
            base_offset: append.base_offset,
            time: time(append.append_time),
        });
    }
    let mut places = vec![None; count];
    for append in &response.appends {
        for (step, index) in append.record_indexes.iter().enumerate() {
            let place = places.get_mut(usize::try_from(*index).ok()?)?;
            let offset = append.base_offset + step as i64;
            *place = Some((append.partition, offset, time(append.append_time)));
        }
    }
    places.into_iter().collect::<Option<Vec<_>>>().map(Placement::Apart)
}

/// Where the records of one answered request went, in the order of the request.
pub(super) fn places(
    topic: &Arc<str>,
    count: usize,
    response: &ProduceResponse,
) -> Result<Vec<Appended>, Error> {
    let completion = Completion::new(Arc::clone(topic));
    completion.finish(placement(count, response).ok_or_else(senseless));
    (0..count).map(|index| completion.of_record(index)).collect()
}

fn senseless() -> Error {
    Error::new(ErrorKind::Internal, "the broker's answer does not say where the records went")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk_proto::v1::PartitionAppend;

    fn append(partition: i32, base_offset: i64, record_indexes: Vec<i32>) -> PartitionAppend {
        PartitionAppend { partition, base_offset, record_indexes, ..PartitionAppend::default() }
    }

    #[test]
    fn records_that_the_broker_spread_each_get_their_own_place() {
        let response =
            ProduceResponse { appends: vec![append(0, 10, vec![1]), append(2, 5, vec![0, 2])] };
        let places = places(&"t".into(), 3, &response).unwrap();
        let places: Vec<_> = places.iter().map(|place| (place.partition, place.offset)).collect();
        assert_eq!(places, [(2, 5), (0, 10), (2, 6)]);
    }

    #[test]
    fn an_answer_that_leaves_a_record_out_is_an_error() {
        for appends in [vec![], vec![append(0, 0, vec![0])], vec![append(0, 0, vec![0, 9])]] {
            assert!(places(&"t".into(), 2, &ProduceResponse { appends }).is_err());
        }
    }
}
