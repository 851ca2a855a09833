//! The records that wait, by partition. Callers put records in, the sender takes batches out; the
//! lock is held for as long as it takes to copy a record.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ropewalk_proto::v1::ProduceResponse;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::batch::{Batch, Completion, Delivery};
use super::handle::Settings;
use super::queue::Queue;
use crate::error::{Error, ErrorKind};
use crate::partitioner::partition_of;
use crate::record::Record;
use crate::wire::Sizes;

/// How long the partition count of a topic is taken for true.
const LAYOUT_AGE: Duration = Duration::from_secs(300);
/// The most partitions a topic can have.
const MAX_PARTITIONS: i32 = 10_000;

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) settings: Settings,
    /// Tells the sender that there is something to send, or that the producer was closed.
    pub(super) wake: Notify,
    memory: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    names: HashMap<Arc<str>, usize>,
    topics: Vec<Topic>,
    queues: Vec<Queue>,
    /// Queues that may have something to send.
    ready: VecDeque<usize>,
    /// Queues that wait after a refusal.
    resting: Vec<usize>,
    /// Every batch that is not completed, by queue and sequence.
    outstanding: BTreeMap<(usize, u64), Arc<Completion>>,
    closing: bool,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    layout: Layout,
    learned: Instant,
    /// Where records without a key go until the next batch.
    sticky: i32,
    partitions: Vec<Option<usize>>,
    /// For records that the broker is to place.
    unplaced: Option<usize>,
}

/// What is known about the partitions of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Nothing: it has to be asked for.
    Unknown,
    /// The topic does not exist. A record without a partition makes the broker create it, where
    /// allowed.
    Missing,
    /// The number of partitions.
    Partitions(i32),
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Pool {
        let memory = Semaphore::new(settings.memory_bytes);
        Pool { settings, wake: Notify::new(), memory, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for a record.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Error> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Ok(permit) = self.memory.try_acquire_many(permits) {
            return Ok(permit);
        }
        match timeout(self.settings.delivery_timeout, self.memory.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(Error::new(
                ErrorKind::ResourceExhausted,
                "the producer's buffer stayed full for the whole delivery timeout",
            )),
        }
    }

    /// Puts a record into a batch. `None`: the topic's layout has to be learned first.
    pub(super) fn append(&self, record: &Record, sizes: Sizes) -> Result<Option<Delivery>, Error> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.closing {
            return Err(closed());
        }
        let topic = state.topic(&record.topic);
        let Some(id) = state.queue_for(topic, record, sizes, self.settings.batch_bytes)? else {
            return Ok(None);
        };
        let name = &state.topics[topic].name;
        let limit = self.settings.batch_bytes;
        let (delivery, begun) = state.queues[id].push(id, name, record, sizes, limit);
        if let Some((sequence, completion)) = begun {
            state.outstanding.insert((id, sequence), completion);
        }
        let wake = state.list(id, &self.settings);
        drop(guard);
        if wake {
            self.wake.notify_one();
        }
        Ok(Some(delivery))
    }

    pub(super) fn layout(&self, name: &Arc<str>) -> Layout {
        let mut state = self.state();
        let topic = state.topic(name);
        state.topics[topic].layout
    }

    pub(super) fn learn(&self, name: &Arc<str>, layout: Layout) {
        let mut state = self.state();
        let topic = state.topic(name);
        state.topics[topic].layout = layout;
        state.topics[topic].learned = Instant::now();
    }

    /// The topics whose layout was learned too long ago. Each is given once per age.
    pub(super) fn outdated(&self, now: Instant) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        for topic in &mut self.state().topics {
            if matches!(topic.layout, Layout::Partitions(_)) && topic.learned + LAYOUT_AGE < now {
                topic.learned = now;
                names.push(Arc::clone(&topic.name));
            }
        }
        names
    }

    /// The next batch to send, and its partition.
    pub(super) fn next(&self, now: Instant) -> Option<(Batch, Option<i32>)> {
        let mut guard = self.state();
        let state = &mut *guard;
        while let Some(id) = state.ready.pop_front() {
            state.queues[id].listed = false;
            if !state.may_send(id, now, &self.settings) {
                continue;
            }
            let Some(batch) = state.queues[id].take(id) else {
                continue;
            };
            state.list(id, &self.settings);
            return Some((batch, state.queues[id].partition));
        }
        None
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.state().ready.is_empty()
    }

    /// Whether no batch is waiting or in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.state().outstanding.is_empty()
    }

    /// A batch in flight was appended. True: the broker may have created its topic, whose layout is
    /// to be learned now.
    pub(super) fn succeeded(&self, batch: &Batch, response: &ProduceResponse) -> bool {
        let mut state = self.state();
        state.queues[batch.queue].landed(batch);
        state.queues[batch.queue].probing = false;
        let overtaken = if self.settings.keep_order {
            state.queues[batch.queue].overtaken(batch.sequence)
        } else {
            Vec::new()
        };
        state.forget(batch);
        overtaken.iter().for_each(|late| state.forget(late));
        state.list_after(batch.queue, &self.settings);
        let topic = state.queues[batch.queue].topic;
        let learn = state.topics[topic].layout == Layout::Missing;
        drop(state);
        self.memory.add_permits(batch.set.len());
        if let Err(error) = batch.succeed(response) {
            batch.fail(error);
        }
        for late in overtaken {
            let error = late.last_error.clone().unwrap_or_else(closed);
            self.complete(&late, error.context("a later batch was appended in the meantime"));
        }
        learn
    }

    /// A batch in flight was not appended, or may not have been, and is given up.
    pub(super) fn failed(&self, batch: &Batch, error: Error) {
        let mut state = self.state();
        state.queues[batch.queue].landed(batch);
        if matches!(error.reason(), "TOPIC_NOT_FOUND" | "PARTITION_NOT_FOUND") {
            let topic = state.queues[batch.queue].topic;
            state.topics[topic].layout = Layout::Unknown;
        }
        state.forget(batch);
        state.list_after(batch.queue, &self.settings);
        drop(state);
        self.complete(batch, error);
    }

    /// A batch in flight is to be sent again, after `rest` where it was refused.
    pub(super) fn returned(&self, batch: Batch, rest: Option<Duration>) {
        let mut state = self.state();
        let id = batch.queue;
        state.queues[id].landed(&batch);
        state.queues[id].put_back(batch);
        if let Some(rest) = rest {
            let until = Instant::now() + rest;
            let queue = &mut state.queues[id];
            queue.probing = true;
            queue.not_before = queue.not_before.max(Some(until));
            if !state.resting.contains(&id) {
                state.resting.push(id);
            }
        }
        state.list(id, &self.settings);
    }

    /// When the first queue that rests has rested enough.
    pub(super) fn next_rested(&self) -> Option<Instant> {
        let state = self.state();
        state.resting.iter().filter_map(|id| state.queues[*id].not_before).min()
    }

    /// Lets the queues that have rested enough send again.
    pub(super) fn wake_rested(&self, now: Instant) {
        let mut state = self.state();
        for id in std::mem::take(&mut state.resting) {
            if state.queues[id].not_before.is_some_and(|until| until > now) {
                state.resting.push(id);
            } else {
                state.queues[id].not_before = None;
                state.list(id, &self.settings);
            }
        }
    }

    /// Gives up the batches that have waited for longer than the delivery timeout.
    pub(super) fn expire(&self, now: Instant, error_of: impl Fn(&Batch) -> Error) {
        let Some(oldest) = now.checked_sub(self.settings.delivery_timeout) else {
            return;
        };
        let mut state = self.state();
        let mut late = Vec::new();
        for id in 0..state.queues.len() {
            late.extend(state.queues[id].expired(id, oldest));
        }
        for batch in &late {
            state.forget(batch);
            state.list_after(batch.queue, &self.settings);
        }
        drop(state);
        for batch in late {
            let error = error_of(&batch);
            self.complete(&batch, error);
        }
    }

    fn complete(&self, batch: &Batch, error: Error) {
        self.memory.add_permits(batch.set.len());
        batch.fail(error);
    }

    /// Every batch that is not completed.
    pub(super) fn outstanding(&self) -> Vec<Arc<Completion>> {
        self.state().outstanding.values().cloned().collect()
    }

    /// Takes no more records. What is there is still sent.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.memory.close();
        self.wake.notify_one();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state().closing
    }
}

impl State {
    fn topic(&mut self, name: &Arc<str>) -> usize {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = self.topics.len();
        self.topics.push(Topic {
            name: Arc::clone(name),
            layout: Layout::Unknown,
            learned: Instant::now(),
            sticky: (RandomState::new().hash_one(id) & 0xffff) as i32,
            partitions: Vec::new(),
            unplaced: None,
        });
        self.names.insert(Arc::clone(name), id);
        id
    }

    /// The queue that a record joins. `None`: the topic's layout has to be learned first.
    fn queue_for(
        &mut self,
        topic: usize,
        record: &Record,
        sizes: Sizes,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let partition = match (record.partition, self.topics[topic].layout) {
            (Some(partition), _) if !(0..MAX_PARTITIONS).contains(&partition) => {
                return Err(Error::invalid(format!("{partition} is not a partition")));
            }
            (Some(partition), _) => partition,
            (None, Layout::Unknown) => return Ok(None),
            (None, Layout::Missing) => return Ok(Some(self.unplaced(topic))),
            (None, Layout::Partitions(count)) => match &record.key {
                Some(key) => partition_of(key, count),
                None => self.sticky(topic, count, sizes.in_set(), limit),
            },
        };
        Ok(Some(self.partition(topic, partition)))
    }

    /// The partition for a record without a key: the same for all records of a batch, then the
    /// next.
    fn sticky(&mut self, topic: usize, count: i32, bytes: usize, limit: usize) -> i32 {
        let current = self.topics[topic].sticky % count.max(1);
        let queue = self.partition(topic, current);
        if self.queues[queue].has_room(bytes, limit) {
            return current;
        }
        let next = (current + 1) % count.max(1);
        self.topics[topic].sticky = next;
        next
    }

    fn partition(&mut self, topic: usize, partition: i32) -> usize {
        let index = partition.unsigned_abs() as usize;
        let partitions = &mut self.topics[topic].partitions;
        if partitions.len() <= index {
            partitions.resize(index + 1, None);
        }
        let id = *partitions[index].get_or_insert(self.queues.len());
        if id == self.queues.len() {
            self.queues.push(Queue::new(topic, Some(partition)));
        }
        id
    }

    fn unplaced(&mut self, topic: usize) -> usize {
        let id = *self.topics[topic].unplaced.get_or_insert(self.queues.len());
        if id == self.queues.len() {
            self.queues.push(Queue::new(topic, None));
        }
        id
    }

    fn may_send(&self, id: usize, now: Instant, settings: &Settings) -> bool {
        let queue = &self.queues[id];
        if queue.partition.is_none() {
            // The broker may place the next batch on the same partition: one at a time keeps the
            // order.
            return queue.may_send(now, 1);
        }
        // What the broker places comes first, so that a key's records stay in order.
        let unplaced = self.topics[queue.topic].unplaced;
        let first = unplaced.is_none_or(|unplaced| self.queues[unplaced].is_idle());
        first && queue.may_send(now, settings.in_flight)
    }

    /// Lists a queue as ready if it is. True when that is news to the sender.
    fn list(&mut self, id: usize, settings: &Settings) -> bool {
        let news = !self.queues[id].listed && self.may_send(id, Instant::now(), settings);
        if news {
            self.queues[id].listed = true;
            self.ready.push_back(id);
        }
        news
    }

    /// Lists what may be sent after a batch of a queue was completed.
    fn list_after(&mut self, id: usize, settings: &Settings) {
        self.list(id, settings);
        if self.queues[id].partition.is_none() && self.queues[id].is_idle() {
            let topic = self.queues[id].topic;
            for id in self.topics[topic].partitions.clone().into_iter().flatten() {
                self.list(id, settings);
            }
        }
    }

    fn forget(&mut self, batch: &Batch) {
        self.outstanding.remove(&(batch.queue, batch.sequence));
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer was closed")
}
