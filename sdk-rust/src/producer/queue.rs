//! The batches of one partition, in order: the one that is filling, those that wait, and which are
//! in flight. It knows nothing of connections or of other partitions.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::batch::{Batch, Completion, Delivery, OpenBatch};
use super::numbers::{Identity, Numbers};
use crate::record::Record;
use crate::wire::Sizes;

/// Stands for whichever broker answers. Brokers count from 1.
pub(super) const ANY: u64 = 0;

/// The first buffer of a queue whose batches are small.
const SMALLEST_BUFFER: usize = 1024;

#[derive(Debug)]
pub(super) struct Queue {
    /// The topic's place in the pool.
    pub(super) topic: usize,
    /// The partition, or `None` where the broker places the records.
    pub(super) partition: Option<i32>,
    /// The broker that leads the partition, as far as is known; otherwise [`ANY`].
    pub(super) leader: u64,
    /// The leader's epoch, as far as is known; otherwise 0.
    pub(super) epoch: i64,
    /// Whose link its batches in flight went by.
    via: u64,
    /// Whether it stands in the pool's list of queues with something to send.
    pub(super) listed: bool,
    /// Nothing is sent before this, after a refusal.
    pub(super) not_before: Option<Instant>,
    /// Whether the last answer was a refusal: then one batch goes at a time until one is appended,
    /// so that the broker's recovery cannot fall between two batches in flight and swap them.
    pub(super) probing: bool,
    open: Option<OpenBatch>,
    waiting: VecDeque<Batch>,
    /// The sequences of the batches that were sent and are not answered.
    in_flight: Vec<u64>,
    /// The numbers of its batches, where the producer is idempotent.
    numbers: Numbers,
    /// While its numbers wait to begin anew: the first batch that surely was not appended under
    /// the old ones. None after it was either, as the broker takes none before it.
    nothing_from: Option<u64>,
    next_sequence: u64,
    last_size: usize,
}

impl Queue {
    pub(super) fn new(topic: usize, partition: Option<i32>) -> Queue {
        Queue {
            topic,
            partition,
            leader: ANY,
            epoch: 0,
            via: ANY,
            listed: false,
            not_before: None,
            probing: false,
            open: None,
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            numbers: Numbers::default(),
            nothing_from: None,
            next_sequence: 0,
            last_size: 0,
        }
    }

    /// Whether a record of `bytes` would join a batch that is filling.
    pub(super) fn has_room(&self, bytes: usize, limit: usize) -> bool {
        self.open.as_ref().is_some_and(|open| open.has_room(bytes, limit))
    }

    /// Adds a record. Where a batch begins with it, its sequence and completion are given too.
    pub(super) fn push(
        &mut self,
        id: usize,
        topic: &Arc<str>,
        record: &Record,
        sizes: Sizes,
        limit: usize,
    ) -> (Delivery, Option<(u64, Arc<Completion>)>) {
        let bytes = sizes.in_set();
        if !self.has_room(bytes, limit) {
            self.seal(id);
        }
        let mut begun = None;
        let (last_size, sequence) = (self.last_size, self.next_sequence);
        let open = self.open.get_or_insert_with(|| {
            let completion = Arc::new(Completion::new(Arc::clone(topic)));
            begun = Some((sequence, Arc::clone(&completion)));
            // Batches of a queue tend to be alike: one buffer of the last one's size is rarely
            // moved.
            let likely = last_size.min(limit) + last_size / 8;
            OpenBatch::new(completion, likely.max(bytes).max(SMALLEST_BUFFER))
        });
        let delivery = open.push(record, sizes);
        if open.bytes() >= limit {
            self.seal(id);
        }
        (delivery, begun)
    }

    fn seal(&mut self, id: usize) {
        if let Some(open) = self.open.take() {
            self.last_size = open.bytes();
            self.waiting.push_back(open.seal(id, self.next_sequence));
            self.next_sequence += 1;
        }
    }

    /// Whether nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Whether a batch may be sent now. A batch that comes back waits until none that was sent
    /// after it is in flight, so that what happened to those is known first.
    pub(super) fn may_send(&self, now: Instant, most_in_flight: usize) -> bool {
        let most_in_flight = if self.probing { 1 } else { most_in_flight };
        let rests = self.not_before.is_some_and(|at| at > now);
        if self.numbers.is_restarting() || rests || self.in_flight.len() >= most_in_flight {
            return false;
        }
        let begun = self.open.as_ref().map(|_| self.next_sequence);
        let Some(next) = self.waiting.front().map(|next| next.sequence).or(begun) else {
            return false;
        };
        // The broker knows only the last batches again: one that is not answered is to be among
        // them, also where those after it are answered.
        let reach = if self.numbers.are_given() { most_in_flight as u64 } else { u64::MAX };
        self.in_flight.iter().all(|sent| *sent < next && next - *sent < reach)
    }

    /// Whether its next batch may go by another link than the one before: only when none is in
    /// flight, or it could overtake them.
    pub(super) fn may_go_by(&self, via: u64) -> bool {
        self.via == via || self.in_flight.is_empty()
    }

    /// Takes the next batch to send, by the link of a broker; with a number, if it is told who the
    /// producer is.
    pub(super) fn take(
        &mut self,
        id: usize,
        via: u64,
        producer: Option<Identity>,
    ) -> Option<Batch> {
        if self.waiting.is_empty() {
            self.seal(id);
        }
        let mut batch = self.waiting.pop_front()?;
        if let Some(producer) = producer.filter(|_| self.partition.is_some()) {
            let numbers = &mut self.numbers;
            batch.number.get_or_insert_with(|| numbers.give(producer, batch.count));
        }
        self.via = via;
        self.in_flight.push(batch.sequence);
        Some(batch)
    }

    /// A batch is no longer in flight.
    pub(super) fn landed(&mut self, batch: &Batch) {
        self.in_flight.retain(|sent| *sent != batch.sequence);
    }

    /// Puts a batch back, to be sent again in its old place.
    pub(super) fn put_back(&mut self, batch: Batch) {
        let place = self.waiting.partition_point(|other| other.sequence < batch.sequence);
        self.waiting.insert(place, batch);
    }

    /// Whether no batch before this one waits or is in flight.
    pub(super) fn is_oldest(&self, sequence: u64) -> bool {
        self.in_flight.iter().all(|sent| *sent >= sequence)
            && self.waiting.front().is_none_or(|first| first.sequence >= sequence)
    }

    /// Whether its numbers begin anew once nothing is in flight.
    pub(super) fn is_restarting(&self) -> bool {
        self.numbers.is_restarting()
    }

    /// Its numbers are to begin anew, as this batch is not sent under its own any more.
    /// `is_absent`: it surely was not appended under it.
    pub(super) fn end_numbers(&mut self, batch: &Batch, is_absent: bool) {
        if self.numbers.end_at(batch.number) && is_absent {
            let before = self.nothing_from.unwrap_or(u64::MAX);
            self.nothing_from = Some(before.min(batch.sequence));
        }
    }

    /// Begins its numbers anew, if that is due and nothing is in flight. Returns the batches that
    /// may have been appended under their old numbers, and whether a new identity is needed.
    pub(super) fn begin_again(&mut self, newest: Option<Identity>) -> Option<(Vec<Batch>, bool)> {
        if !self.numbers.is_restarting() || !self.in_flight.is_empty() {
            return None;
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let nothing_from = self.nothing_from.take().unwrap_or(u64::MAX);
        let (lost, mut left): (Vec<_>, Vec<_>) =
            waiting.partition(|batch| batch.unsure && batch.sequence < nothing_from);
        left.iter_mut().for_each(|batch| (batch.number, batch.unsure) = (None, false));
        self.waiting = left.into();
        Some((lost, self.numbers.begin_again(newest)))
    }

    /// Takes out everything that is not in flight.
    pub(super) fn drain(&mut self, id: usize) -> Vec<Batch> {
        self.seal(id);
        self.waiting.drain(..).collect()
    }

    /// Takes out the batches that wait to be sent again although one after them was appended.
    pub(super) fn overtaken(&mut self, appended: u64) -> Vec<Batch> {
        let late = self.waiting.partition_point(|other| other.sequence < appended);
        self.waiting.drain(..late).collect()
    }

    /// Takes out the batches that were begun before `oldest`.
    pub(super) fn expired(&mut self, id: usize, oldest: Instant) -> Vec<Batch> {
        if self.open.as_ref().is_some_and(|open| open.opened() < oldest) {
            self.seal(id);
        }
        // Batches are begun in order, so the old ones are in front.
        let late = self.waiting.iter().take_while(|batch| batch.opened < oldest).count();
        self.waiting.drain(..late).collect()
    }
}
