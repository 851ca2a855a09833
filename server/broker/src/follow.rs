//! One reader of many partitions.
//!
//! Each partition that the reader follows has a slot. A slot is raised when there may be something
//! to read, waits in a queue that holds each slot at most once, and is served in turn, so that no
//! partition starves another. Between the log in memory and the log on disk the high watermark is
//! the only edge.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ropewalk_core::{Offset, StoredBatch};
use ropewalk_storage::StorageError;
use ropewalk_storage::log_view::{Cursor, ReadOutcome};
use thiserror::Error;
use tokio::sync::{Notify, Semaphore};

use crate::delivery::{self, Delivery, DeliveryError, DeliveryOptions};
use crate::metrics::{DeliverySource, Metrics};
use crate::partition::Partition;

/// What one turn of a slot takes from the log at most.
const READ_BYTES: usize = 1024 * 1024;

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
    from: Offset,
    source: DeliverySource,
}

struct Slot {
    partition: Arc<Partition>,
    cursor: Cursor,
    until: Option<Offset>,
    /// Nothing more is read for it: it has reached its end, or was left.
    is_done: bool,
    /// What is in memory was not enough since it last caught up, or it has never caught up.
    is_behind: bool,
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
    ready: VecDeque<(usize, FollowEvent)>,
    /// What was read last, of one slot; it goes out behind `ready`.
    pending: VecDeque<Pending>,
    disk_reads: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Follower {
    pub(crate) fn new(
        options: DeliveryOptions,
        disk_reads: Arc<Semaphore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            signal: Arc::default(),
            slots: Vec::new(),
            unfinished: 0,
            ends: true,
            options,
            ready: VecDeque::new(),
            pending: VecDeque::new(),
            disk_reads,
            metrics,
        }
    }

    /// Follows a partition from an offset, up to before another if one is given. Returns its slot.
    pub fn add(&mut self, partition: Arc<Partition>, from: Offset, until: Option<Offset>) -> usize {
        let slot = self.slots.len();
        self.signal.add_slot();
        partition.watch().follow(&self.signal, slot);
        let is_done = until.is_some_and(|until| from >= until);
        self.unfinished += usize::from(!is_done);
        self.slots.push(Slot {
            partition,
            cursor: Cursor::at(from),
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

    /// Reads nothing more for a slot: its partition is gone.
    pub fn leave(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.slots[slot].is_done, true) {
            self.unfinished -= 1;
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
            .map(|(number, slot)| (number, slot.cursor.offset))
    }

    /// The next event, with its slot. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Result<(usize, FollowEvent), FollowError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Some(pending) = self.pending.pop_front() {
                self.deliver(pending)?;
                continue;
            }
            if self.ends && self.unfinished == 0 {
                return Ok((0, FollowEvent::End));
            }
            match self.signal.take() {
                Some(slot) if !self.slots[slot].is_done => self.serve(slot).await?,
                Some(_) => {}
                None => self.signal.notify.notified().await,
            }
        }
    }

    async fn serve(&mut self, number: usize) -> Result<(), FollowError> {
        // Given up in the middle, the slot must be served again.
        let guard = RaiseOnDrop { signal: &self.signal, slot: number, armed: true };
        let slot = &self.slots[number];
        let mut source = DeliverySource::Tail;
        let mut outcome = slot.partition.reader().read_tail(slot.cursor, READ_BYTES)?;
        if outcome == ReadOutcome::Cold {
            source = DeliverySource::Storage;
            outcome = read_disk(&self.disk_reads, slot).await?;
        }
        guard.disarm();
        self.take_outcome(number, outcome, source)
    }

    fn take_outcome(
        &mut self,
        number: usize,
        outcome: ReadOutcome,
        source: DeliverySource,
    ) -> Result<(), FollowError> {
        let slot = &mut self.slots[number];
        match outcome {
            ReadOutcome::End => {
                if std::mem::take(&mut slot.is_behind) {
                    self.ready.push_back((number, FollowEvent::CaughtUp(slot.cursor.offset)));
                }
                return Ok(());
            }
            ReadOutcome::Trimmed(start) => {
                let from = std::mem::replace(&mut slot.cursor, Cursor::at(start)).offset;
                self.ready.push_back((number, FollowEvent::Gap(from, start)));
            }
            ReadOutcome::Cold => slot.cursor.index = None,
            ReadOutcome::Batches { batches, next } => {
                slot.is_behind |= source == DeliverySource::Storage;
                let from = slot.cursor.offset;
                slot.cursor = next;
                let until = slot.until.unwrap_or(Offset(u64::MAX));
                let wanted = batches.into_iter().take_while(|b| b.header.base_offset < until);
                self.pending.extend(wanted.map(|batch| Pending {
                    slot: number,
                    batch,
                    from,
                    source,
                }));
            }
        }
        let slot = &mut self.slots[number];
        if slot.until.is_some_and(|until| slot.cursor.offset >= until) {
            slot.is_done = true;
            self.unfinished -= 1;
        } else {
            self.signal.raise(number);
        }
        Ok(())
    }

    fn deliver(&mut self, pending: Pending) -> Result<(), FollowError> {
        let Pending { slot, batch, from, source } = pending;
        let until = self.slots[slot].until.unwrap_or(Offset(u64::MAX));
        for delivery in delivery::deliver(&batch, from, until, &self.options)? {
            let records = u64::from(delivery.record_count);
            self.metrics.delivered(source, records, delivery.payload.len() as u64);
            self.ready.push_back((slot, FollowEvent::Records(delivery)));
        }
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        for slot in &self.slots {
            slot.partition.watch().unfollow(&self.signal);
        }
    }
}

struct RaiseOnDrop<'a> {
    signal: &'a FollowSignal,
    slot: usize,
    armed: bool,
}

impl RaiseOnDrop<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.signal.raise(self.slot);
        }
    }
}

async fn read_disk(reads: &Arc<Semaphore>, slot: &Slot) -> Result<ReadOutcome, StorageError> {
    let permit = Arc::clone(reads).acquire_owned().await;
    let (reader, cursor) = (slot.partition.reader().clone(), slot.cursor);
    let read = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        reader.read(cursor, READ_BYTES)
    });
    read.await.expect("a read of the log does not panic, and is not cancelled")
}
