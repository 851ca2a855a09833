//! One reader of many partitions.
//!
//! Each partition that the reader follows has a slot. A slot is raised when there may be something
//! to read, waits in a queue that holds each slot at most once, and is served in turn, so that no
//! partition starves another. Between the log in memory and the log on disk the high watermark is
//! the only edge.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ropewalk_core::batch::BatchHeader;
use ropewalk_core::{Offset, StoredBatch, limits};
use ropewalk_storage::StorageError;
use ropewalk_storage::log_view::{Cursor, ReadOutcome};
use thiserror::Error;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::delivery::{self, Delivery, DeliveryError, DeliveryOptions};
use crate::metrics::{DeliverySource, Metrics};
use crate::partition::Partition;

/// What one turn of a slot takes from the log at most.
const READ_BYTES: usize = 1024 * 1024;
/// What all readers together hold of what they read from the disk, as long as there are few enough
/// of them: each gets a part of it, of `READ_BYTES` at most and of `LEAST_READ_BYTES` at least.
const READS_BUDGET: usize = 16 * 1024 * 1024;
const LEAST_READ_BYTES: usize = 64 * 1024;

/// Slots that may have something to read.
#[derive(Debug, Default)]
pub struct FollowSignal {
    raised: Mutex<Raised>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Raised {
    queue: VecDeque<usize>,
    is_queued: Vec<bool>,
}

impl FollowSignal {
    /// Says that there may be something to read for a slot.
    pub(crate) fn raise(&self, slot: usize) {
        {
            let mut raised = self.raised.lock().expect("no holder of the queue panics");
            match raised.is_queued.get_mut(slot) {
                Some(queued) if !*queued => *queued = true,
                _ => return,
            }
            raised.queue.push_back(slot);
        }
        self.notify.notify_one();
    }

    fn add_slot(&self) {
        self.raised.lock().expect("no holder of the queue panics").is_queued.push(false);
    }

    fn take(&self) -> Option<usize> {
        let mut raised = self.raised.lock().expect("no holder of the queue panics");
        let slot = raised.queue.pop_front()?;
        raised.is_queued[slot] = false;
        Some(slot)
    }
}

/// What happened to a slot.
#[derive(Debug)]
pub enum FollowEvent {
    /// Records.
    Records(Delivery),
    /// The offsets from the first to before the second are gone.
    Gap(Offset, Offset),
    /// Everything below the high watermark was delivered, up to this offset.
    CaughtUp(Offset),
    /// Every slot has reached its end.
    End,
}

/// Why a reader cannot go on.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The log cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A batch cannot be delivered.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// A batch that was read and is not yet delivered. It is decompressed when its turn comes and not
/// before: a small one may turn out to be large.
struct Pending {
    slot: usize,
    batch: StoredBatch,
    source: DeliverySource,
}

/// What goes out next.
struct Piece {
    slot: usize,
    delivery: Delivery,
    source: DeliverySource,
    /// Where the slot stands once it is out.
    then: Cursor,
}

struct Slot {
    partition: Arc<Partition>,
    /// Everything before it was delivered.
    delivered: Cursor,
    /// Where the next read begins: not before what is pending was passed.
    read: Cursor,
    until: Offset,
    /// Nothing more is delivered for it: it has reached its end, or was left.
    is_done: bool,
    /// What is in memory was not enough since it last caught up, or it has never caught up.
    is_behind: bool,
}

impl Slot {
    fn is_read_to_end(&self) -> bool {
        self.is_done || self.read.offset >= self.until
    }
}

/// One reader of many partitions.
pub struct Follower {
    signal: Arc<FollowSignal>,
    slots: Vec<Slot>,
    unfinished: usize,
    /// Whether it ends once every slot has; otherwise it waits for slots that come later.
    ends: bool,
    options: DeliveryOptions,
    /// What goes out before anything else is read.
    ready: VecDeque<Piece>,
    /// What was read; it goes out behind `ready`.
    pending: VecDeque<Pending>,
    /// A read of the disk that is under way. What it finds goes out behind `pending`.
    reading: Option<Work>,
    /// The first of what was pending, while it is decompressed.
    decoding: Option<Work>,
    /// It is counted among those that read from the disk.
    is_reading: bool,
    /// The memory of what was decompressed for `ready`.
    held: Option<OwnedSemaphorePermit>,
    pools: Pools,
    metrics: Arc<Metrics>,
}

/// What all readers share.
#[derive(Clone)]
pub(crate) struct Pools {
    /// Reads of the disk, and decompressions, at a time.
    disk_reads: Arc<Semaphore>,
    /// Bytes of decompressed batches that wait for their readers.
    decompressed: Arc<Semaphore>,
    /// Readers that read from the disk, and not at the tail.
    readers: Arc<AtomicUsize>,
}

impl Pools {
    pub(crate) fn new(disk_reads: usize) -> Self {
        Self {
            disk_reads: Arc::new(Semaphore::new(disk_reads)),
            decompressed: Arc::new(Semaphore::new(limits::DECOMPRESSED_BUDGET)),
            readers: Arc::default(),
        }
    }

    /// What one read of the disk takes at most: less, the more readers there are.
    fn read_bytes(&self) -> usize {
        let readers = self.readers.load(Ordering::Relaxed).max(1);
        // Each holds what it read last, and what is read ahead of that.
        (READS_BUDGET / readers / 2).clamp(LEAST_READ_BYTES, READ_BYTES)
    }

    /// Runs a search of the log off the async threads, when its turn has come.
    pub(crate) async fn search<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let permit = Arc::clone(&self.disk_reads).acquire_owned().await;
        blocking(move || {
            let _permit = permit;
            run()
        })
        .await
    }
}

struct Work {
    slot: usize,
    task: JoinHandle<Result<Worked, FollowError>>,
}

impl Work {
    /// Waits for work, if there is any, and takes it: its slot and what it came to.
    async fn finish(work: &mut Option<Self>) -> Option<(usize, Result<Worked, FollowError>)> {
        let Self { slot, task } = work.as_mut()?;
        let done = (*slot, task.await.expect("work on the log does not panic"));
        *work = None;
        Some(done)
    }
}

enum Worked {
    Read(ReadOutcome),
    Decoded(BatchHeader, Vec<Delivery>, DeliverySource, Option<OwnedSemaphorePermit>),
}

impl Follower {
    pub(crate) fn new(options: DeliveryOptions, pools: Pools, metrics: Arc<Metrics>) -> Self {
        Self {
            signal: Arc::default(),
            slots: Vec::new(),
            unfinished: 0,
            ends: true,
            options,
            ready: VecDeque::new(),
            pending: VecDeque::new(),
            reading: None,
            decoding: None,
            is_reading: false,
            held: None,
            pools,
            metrics,
        }
    }

    /// Follows a partition from an offset, up to before another if one is given. Returns its slot.
    pub fn add(&mut self, partition: Arc<Partition>, from: Offset, until: Option<Offset>) -> usize {
        let slot = self.slots.len();
        self.signal.add_slot();
        partition.watch().follow(&self.signal, slot);
        let until = until.unwrap_or(Offset(u64::MAX));
        let is_done = from >= until;
        self.unfinished += usize::from(!is_done);
        self.slots.push(Slot {
            partition,
            delivered: Cursor::at(from),
            read: Cursor::at(from),
            until,
            is_done,
            is_behind: true,
        });
        self.signal.raise(slot);
        slot
    }

    /// Waits for slots to come, also while none is left that is read.
    pub fn never_end(&mut self) {
        self.ends = false;
    }

    /// Delivers nothing more for a slot: its partition is gone.
    pub fn leave(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.slots[slot].is_done, true) {
            self.unfinished -= 1;
            self.ready.retain(|piece| piece.slot != slot);
            self.pending.retain(|pending| pending.slot != slot);
        }
    }

    /// The partition of a slot.
    #[must_use]
    pub fn partition(&self, slot: usize) -> &Arc<Partition> {
        &self.slots[slot].partition
    }

    /// The slots that are read, each with the next offset that it delivers.
    pub fn positions(&self) -> impl Iterator<Item = (usize, Offset)> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| !slot.is_done)
            .map(|(number, slot)| (number, slot.delivered.offset))
    }

    /// The next event, with its slot. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Result<(usize, FollowEvent), FollowError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(self.hand_out(piece));
            }
            self.held = None;
            // Work that is given up here is awaited the next time: however short the turns are
            // that its reader gets, a slow disk is read in the end.
            if let Some((slot, done)) = Work::finish(&mut self.decoding).await {
                self.take_work(slot, done)?;
                continue;
            }
            if let Some(pending) = self.pending.pop_front() {
                self.deliver(pending)?;
                continue;
            }
            if let Some((slot, done)) = Work::finish(&mut self.reading).await {
                if let Some(event) = self.take_work(slot, done)? {
                    return Ok((slot, event));
                }
                self.read_ahead()?;
                continue;
            }
            if self.ends && self.unfinished == 0 {
                return Ok((0, FollowEvent::End));
            }
            match self.signal.take() {
                Some(slot) => {
                    if let Some(event) = self.serve(slot)? {
                        return Ok((slot, event));
                    }
                }
                None => {
                    self.count(false);
                    self.signal.notify.notified().await;
                }
            }
        }
    }

    /// Begins to read what comes after what was just read from the disk, while that goes out.
    fn read_ahead(&mut self) -> Result<(), FollowError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let Some(number) = self.signal.take() else { return Ok(()) };
        let slot = &self.slots[number];
        if slot.is_read_to_end() {
            return Ok(());
        }
        let tail = slot.partition.reader().read_tail(slot.read, READ_BYTES)?;
        if matches!(tail, ReadOutcome::Cold) {
            self.read(number);
        } else {
            // What it leads to must not overtake what is pending.
            self.signal.raise(number);
        }
        Ok(())
    }

    /// Counts it among those that read from the disk, or no longer does.
    fn count(&mut self, is_reading: bool) {
        if std::mem::replace(&mut self.is_reading, is_reading) != is_reading {
            let readers = &self.pools.readers;
            if is_reading {
                readers.fetch_add(1, Ordering::Relaxed);
            } else {
                readers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn serve(&mut self, number: usize) -> Result<Option<FollowEvent>, FollowError> {
        let slot = &self.slots[number];
        if slot.is_read_to_end() {
            return Ok(None);
        }
        match slot.partition.reader().read_tail(slot.read, READ_BYTES)? {
            ReadOutcome::Cold => {
                self.read(number);
                Ok(None)
            }
            outcome => Ok(self.take_outcome(number, outcome, DeliverySource::Tail)),
        }
    }

    /// Begins a read of the disk.
    fn read(&mut self, number: usize) {
        self.count(true);
        let slot = &self.slots[number];
        let (reader, cursor) = (slot.partition.reader().clone(), slot.read);
        let (reads, bytes) = (Arc::clone(&self.pools.disk_reads), self.pools.read_bytes());
        let read = async move {
            let permit = reads.acquire_owned().await;
            let outcome = blocking(move || {
                let _permit = permit;
                reader.read(cursor, bytes)
            });
            Ok(Worked::Read(outcome.await?))
        };
        self.reading = Some(Work { slot: number, task: tokio::spawn(read) });
    }

    /// Takes what work came to. What is to be said goes out at once: nothing is pending then.
    fn take_work(
        &mut self,
        slot: usize,
        done: Result<Worked, FollowError>,
    ) -> Result<Option<FollowEvent>, FollowError> {
        // It was left meanwhile, and its log may be gone.
        if self.slots[slot].is_done {
            return Ok(None);
        }
        match done? {
            Worked::Read(outcome) => Ok(self.take_outcome(slot, outcome, DeliverySource::Storage)),
            Worked::Decoded(header, deliveries, source, held) => {
                self.held = held;
                self.make_ready(slot, &header, deliveries, source);
                Ok(None)
            }
        }
    }

    fn take_outcome(
        &mut self,
        number: usize,
        outcome: ReadOutcome,
        source: DeliverySource,
    ) -> Option<FollowEvent> {
        let slot = &mut self.slots[number];
        let mut event = None;
        match outcome {
            ReadOutcome::End => {
                let is_news = std::mem::take(&mut slot.is_behind);
                return is_news.then_some(FollowEvent::CaughtUp(slot.delivered.offset));
            }
            ReadOutcome::Trimmed(start) => {
                let from = slot.delivered.offset;
                slot.read = Cursor::at(start);
                self.advance(number, Cursor::at(start));
                event = Some(FollowEvent::Gap(from, start));
            }
            ReadOutcome::Cold => slot.read.index = None,
            ReadOutcome::Batches { batches, next } => {
                slot.is_behind |= source == DeliverySource::Storage;
                slot.read = next;
                let wanted = batches.into_iter().take_while(|b| b.header.base_offset < slot.until);
                self.pending.extend(wanted.map(|batch| Pending { slot: number, batch, source }));
            }
        }
        if !self.slots[number].is_read_to_end() {
            self.signal.raise(number);
        }
        event
    }

    /// Everything before this was delivered.
    fn advance(&mut self, number: usize, delivered: Cursor) {
        let slot = &mut self.slots[number];
        slot.delivered = delivered;
        if delivered.offset >= slot.until {
            self.leave(number);
        }
    }

    fn deliver(&mut self, pending: Pending) -> Result<(), FollowError> {
        let Pending { slot: number, batch, source } = pending;
        let slot = &self.slots[number];
        let (from, until, options) = (slot.delivered.offset, slot.until, self.options);
        if !delivery::is_decompressed(&batch, from, until, &options) {
            let deliveries = delivery::deliver(&batch, from, until, &options)?;
            self.make_ready(number, &batch.header, deliveries, source);
            return Ok(());
        }
        let (header, pools) = (batch.header, self.pools.clone());
        let decode = async move {
            let most = u32::try_from(limits::MAX_DECOMPRESSED_BYTES).unwrap_or(u32::MAX);
            let mut held = pools.decompressed.acquire_many_owned(most).await.ok();
            let permit = pools.disk_reads.acquire_owned().await;
            let deliveries = blocking(move || {
                let _permit = permit;
                delivery::deliver(&batch, from, until, &options)
            });
            let deliveries = deliveries.await?;
            let bytes: usize = deliveries.iter().map(|delivery| delivery.payload.len()).sum();
            if let Some(held) = &mut held {
                drop(held.split(held.num_permits().saturating_sub(bytes)));
            }
            Ok(Worked::Decoded(header, deliveries, source, held))
        };
        self.decoding = Some(Work { slot: number, task: tokio::spawn(decode) });
        Ok(())
    }

    fn make_ready(
        &mut self,
        slot: usize,
        header: &BatchHeader,
        deliveries: Vec<Delivery>,
        source: DeliverySource,
    ) {
        self.ready.extend(deliveries.into_iter().map(|delivery| {
            let offset = delivery.base_offset.plus(u64::from(delivery.record_count));
            let then = Cursor { offset, index: Some(header.index) };
            Piece { slot, delivery, source, then }
        }));
        let end = Cursor { offset: header.end_offset(), index: Some(header.index + 1) };
        match self.ready.back_mut() {
            Some(last) => last.then = end,
            None => self.advance(slot, end),
        }
    }

    fn hand_out(&mut self, piece: Piece) -> (usize, FollowEvent) {
        let Piece { slot, delivery, source, then } = piece;
        let records = u64::from(delivery.record_count);
        self.metrics.delivered(source, records, delivery.payload.len() as u64);
        self.advance(slot, then);
        (slot, FollowEvent::Records(delivery))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.count(false);
        for work in self.reading.iter().chain(&self.decoding) {
            work.task.abort();
        }
        for slot in &self.slots {
            slot.partition.watch().unfollow(&self.signal);
        }
    }
}

/// Runs what may wait for the disk, or takes long, off the async threads.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.expect("work on the log does not panic")
}
