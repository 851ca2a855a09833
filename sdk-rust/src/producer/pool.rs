//! The records that wait, by partition. Callers put records in, the sender takes batches out; the
//! lock is held for as long as it takes to copy a record.

mod numbered;
mod refused;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ropewalk_compress::Compression;
use ropewalk_proto::v1::ProduceResponse;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::batch::{Batch, Completion, Delivery};
use super::handle::Settings;
use super::numbers::Identity;
use super::queue::{ANY, Queue};
use crate::error::{Error, ErrorKind};
use crate::intercept::Outcomes;
use crate::partitioner::partition_of;
use crate::record::Record;
use crate::wire::Sizes;

/// How long the partition count of a topic is taken for true.
const LAYOUT_AGE: Duration = Duration::from_secs(300);
/// A topic is asked about at most this often, whatever contradicts what is known.
const LEARN_PAUSE: Duration = Duration::from_secs(1);
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
    /// Queues that may have something to send, by the leader they had when they were listed.
    ready: BTreeMap<u64, VecDeque<usize>>,
    /// Queues that wait after a refusal.
    resting: Vec<usize>,
    /// Every batch that is not completed, by queue and sequence.
    outstanding: BTreeMap<(usize, u64), Arc<Completion>>,
    closing: bool,
    /// Who the producer is, once the broker has said it, if it is idempotent.
    identity: Option<Identity>,
    /// Why nothing can be sent any more.
    fatal: Option<Error>,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    layout: Layout,
    learned: Instant,
    /// When it was last asked for.
    asked: Option<Instant>,
    /// Whether it is being asked for now.
    asking: bool,
    /// Something contradicts what is known of its leaders, or nothing is known of them.
    stale: bool,
    /// Who leads each partition, and in which epoch, as far as is known.
    leaders: Vec<Leader>,
    /// How it wants its records compressed, as far as is known.
    codec: Compression,
    /// Where records without a key go until the next batch.
    sticky: i32,
    partitions: Vec<Option<usize>>,
    /// For records that the broker is to place.
    unplaced: Option<usize>,
}

/// Who leads a partition: a broker, or [`ANY`], and its epoch.
pub(super) type Leader = (u64, i64);

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

/// What the cluster says of a topic.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) layout: Layout,
    /// Who leads each partition, and in which epoch.
    pub(super) leaders: Vec<Leader>,
    pub(super) codec: Compression,
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

    /// Puts a record into a batch, and with it those who are to be told of it. `None`: the topic's
    /// layout has to be learned first.
    pub(super) fn append(
        &self,
        record: &Record,
        sizes: Sizes,
        outcomes: &mut Outcomes,
    ) -> Result<Option<Delivery>, Error> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.closing {
            return Err(closed());
        }
        if let Some(error) = &state.fatal {
            return Err(error.clone());
        }
        let topic = state.topic(&record.topic);
        let Some(id) = state.queue_for(topic, record, sizes, self.settings.batch_bytes)? else {
            return Ok(None);
        };
        let name = &state.topics[topic].name;
        let limit = self.settings.batch_bytes;
        let (delivery, begun) = state.queues[id].push(id, name, record, sizes, limit);
        delivery.tell(outcomes);
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

    pub(super) fn learn(&self, name: &Arc<str>, learned: Learned) {
        let Learned { layout, leaders, codec } = learned;
        let mut state = self.state();
        let index = state.topic(name);
        let topic = &mut state.topics[index];
        (topic.layout, topic.codec) = (layout, codec);
        topic.learned = Instant::now();
        // A record may have had to ask, rather than the sender: that counts too.
        topic.asked = Some(topic.learned);
        topic.asking = false;
        // A partition without a leader has one soon.
        topic.stale = leaders.iter().any(|(leader, _)| *leader == ANY);
        topic.leaders = leaders;
        for partition in 0..state.topics[index].partitions.len() {
            if let Some(queue) = state.topics[index].partitions[partition] {
                let (leader, epoch) = state.topics[index].leader(partition);
                // Whoever answered may be behind what an append has told; a broker without a
                // replica knows a leader and no epoch.
                if epoch == 0 || epoch >= state.queues[queue].epoch {
                    state.queues[queue].leader = leader;
                    state.queues[queue].epoch = state.queues[queue].epoch.max(epoch);
                } else {
                    state.topics[index].stale = true;
                }
            }
        }
    }

    /// A topic was asked about in vain.
    pub(super) fn not_learned(&self, name: &Arc<str>) {
        let mut state = self.state();
        let index = state.topic(name);
        let topic = &mut state.topics[index];
        topic.stale |= topic.asking;
        topic.asking = false;
    }

    /// The topics to be asked about: what is known of them is old or was contradicted, or nothing
    /// is known, as records that name their partition do not ask. None is given again for a second.
    pub(super) fn to_learn(&self, now: Instant) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        for topic in &mut self.state().topics {
            let is_known = matches!(topic.layout, Layout::Partitions(_));
            let is_old = is_known && topic.learned + LAYOUT_AGE < now;
            // The first record that such a topic takes tells when it is there.
            let is_missing = topic.layout == Layout::Missing;
            let rests = topic.asked.is_some_and(|asked| asked + LEARN_PAUSE > now);
            if (is_old || topic.stale) && !is_missing && !rests && !topic.asking {
                topic.asked = Some(now);
                topic.asking = true;
                topic.learned = now;
                topic.stale = false;
                names.push(Arc::clone(&topic.name));
            }
        }
        names
    }

    /// What is known of a queue's leader may be wrong.
    pub(super) fn suspect(&self, queue: usize) {
        let mut state = self.state();
        let topic = state.queues[queue].topic;
        state.topics[topic].stale = true;
    }

    /// A broker said who leads a queue's partition, or that it does not know.
    pub(super) fn moved(&self, queue: usize, leader: u64, epoch: i64) {
        let mut state = self.state();
        if epoch != 0 && epoch < state.queues[queue].epoch {
            return;
        }
        state.queues[queue].leader = leader;
        state.queues[queue].epoch = state.queues[queue].epoch.max(epoch);
    }

    /// Who leads a queue's partition, as far as is known.
    pub(super) fn leader_of(&self, queue: usize) -> u64 {
        self.state().queues[queue].leader
    }

    /// The leaders of which some queue may have something to send.
    pub(super) fn ready_leaders(&self) -> Vec<u64> {
        self.state().ready.keys().copied().collect()
    }

    /// The next batch for a leader, to be sent by the link of a broker; its partition, and how it
    /// is to be compressed.
    pub(super) fn next(
        &self,
        leader: u64,
        via: u64,
        now: Instant,
    ) -> Option<(Batch, Option<i32>, Compression)> {
        let mut guard = self.state();
        let state = &mut *guard;
        while let Some(id) = state.pop_ready(leader) {
            if state.queues[id].leader != leader {
                state.list(id, &self.settings);
                continue;
            }
            // What may not be sent is listed again when a batch of it has landed.
            if !state.may_send(id, now, &self.settings) || !state.queues[id].may_go_by(via) {
                continue;
            }
            let Some(batch) = state.queues[id].take(id, via, state.identity) else {
                continue;
            };
            state.list(id, &self.settings);
            let queue = &state.queues[id];
            let codec = self.settings.codec.unwrap_or(state.topics[queue.topic].codec);
            return Some((batch, queue.partition, codec));
        }
        None
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
        // What has a number and was overtaken is there: the broker takes none before it.
        let overtaken = if self.settings.keep_order && batch.number.is_none() {
            state.queues[batch.queue].overtaken(batch.sequence)
        } else {
            Vec::new()
        };
        state.forget(batch);
        overtaken.iter().for_each(|late| state.forget(late));
        let lost = state.begin_again(batch.queue);
        state.list_after(batch.queue, &self.settings);
        let topic = state.queues[batch.queue].topic;
        let learn = state.topics[topic].layout == Layout::Missing;
        if let [append] = response.appends.as_slice()
            && state.queues[batch.queue].partition.is_some()
            && append.leader_epoch > state.queues[batch.queue].epoch
        {
            // Another broker leads by now, or the same one anew.
            let known =
                std::mem::replace(&mut state.queues[batch.queue].epoch, append.leader_epoch);
            state.topics[topic].stale |= known != 0;
        }
        drop(state);
        self.memory.add_permits(batch.set.len());
        if let Err(error) = batch.succeed(response) {
            batch.fail(error);
        }
        self.give_up(lost);
        for late in overtaken {
            let error = late.last_error.clone().unwrap_or_else(closed);
            self.complete(&late, error.context("a later batch was appended in the meantime"));
        }
        learn
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
        let mut lost = Vec::new();
        for batch in &late {
            state.forget(batch);
            state.queues[batch.queue].end_numbers(batch, !batch.unsure);
        }
        for batch in &late {
            lost.extend(state.begin_again(batch.queue));
            state.list_after(batch.queue, &self.settings);
        }
        drop(state);
        for batch in late {
            let error = batch.verdict.clone().unwrap_or_else(|| error_of(&batch));
            self.complete(&batch, batch.concluded(error));
        }
        self.give_up(lost);
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
            asked: None,
            asking: false,
            stale: false,
            leaders: Vec::new(),
            codec: Compression::None,
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
            (Some(partition), layout) => {
                // It can be sent at once. The sender asks who leads it, and nothing waits for that.
                self.topics[topic].stale |= layout == Layout::Unknown;
                partition
            }
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
            let mut queue = Queue::new(topic, Some(partition));
            (queue.leader, queue.epoch) = self.topics[topic].leader(index);
            self.queues.push(queue);
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

    fn pop_ready(&mut self, leader: u64) -> Option<usize> {
        let list = self.ready.get_mut(&leader)?;
        let first = list.pop_front();
        if list.is_empty() {
            self.ready.remove(&leader);
        }
        if let Some(id) = first {
            self.queues[id].listed = false;
        }
        first
    }

    /// Lists a queue as ready if it is. True when that is news to the sender.
    fn list(&mut self, id: usize, settings: &Settings) -> bool {
        let news = !self.queues[id].listed && self.may_send(id, Instant::now(), settings);
        if news {
            self.queues[id].listed = true;
            self.ready.entry(self.queues[id].leader).or_default().push_back(id);
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

impl Topic {
    fn leader(&self, partition: usize) -> Leader {
        self.leaders.get(partition).copied().unwrap_or((ANY, 0))
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer was closed")
}
