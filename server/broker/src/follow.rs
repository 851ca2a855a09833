//! One reader of many partitions.
//!
//! Each partition that the reader follows has a slot. A slot is raised when there may be something
//! to read, waits in a queue that holds each slot at most once, and is served in turn, so that no
//! partition starves another. Between the log in memory and the log on disk the high watermark is
//! the only edge.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ropewalk_core::{Clock, Offset, StoredBatch};
use ropewalk_storage::log_view::{Cursor, ReadOutcome};
use thiserror::Error;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::delivery::{self, Delivery, DeliveryError, DeliveryOptions};
use crate::errors::LogError;
use crate::holding::{Decoded, Holding, Piece, Take, Turn, Work};
use crate::metrics::{DeliverySource, Metrics};
use crate::partition::Partition;
use crate::pools::{Pools, Read, Room, behind};

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

    /// Adds a slot; returns its number.
    pub(crate) fn add_slot(&self) -> usize {
        let mut raised = self.raised.lock().expect("no holder of the queue panics");
        raised.is_queued.push(false);
        raised.is_queued.len() - 1
    }

    /// Waits until a slot is raised. Nothing is lost when the wait is given up.
    pub(crate) async fn raised(&self) {
        while self.take().is_none() {
            self.notify.notified().await;
        }
    }

    fn take(&self) -> Option<usize> {
        let mut raised = self.raised.lock().expect("no holder of the queue panics");
        let slot = raised.queue.pop_front()?;
        raised.is_queued[slot] = false;
        Some(slot)
    }
}

/// Who is told when there is more of one log to read.
#[derive(Debug, Default)]
pub(crate) struct Followers(Vec<(Arc<FollowSignal>, usize)>);

impl Followers {
    /// Raises `slot` of the signal from now on.
    pub(crate) fn add(&mut self, signal: &Arc<FollowSignal>, slot: usize) {
        self.0.push((Arc::clone(signal), slot));
    }

    /// Raises one slot of the signal no more.
    pub(crate) fn leave_slot(&mut self, signal: &Arc<FollowSignal>, slot: usize) {
        self.0.retain(|(follower, of)| !Arc::ptr_eq(follower, signal) || *of != slot);
    }

    /// Raises no slot of the signal any more.
    pub(crate) fn leave(&mut self, signal: &Arc<FollowSignal>) {
        self.0.retain(|(follower, _)| !Arc::ptr_eq(follower, signal));
    }

    /// Tells them all.
    pub(crate) fn raise(&self) {
        for (signal, slot) in &self.0 {
            signal.raise(*slot);
        }
    }

    /// Whether there is nobody.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    Log(#[from] LogError),
    /// A batch cannot be delivered.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
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
    /// Slots that were forgotten: the next partitions get them. What is still said of them is that
    /// there may be something to read.
    free: Vec<usize>,
    unfinished: usize,
    /// Whether it ends once every slot has; otherwise it waits for slots that come later.
    ends: bool,
    options: DeliveryOptions,
    holding: Arc<Holding>,
    pools: Pools,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

impl Follower {
    pub(crate) fn new(
        options: DeliveryOptions,
        pools: Pools,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            clock,
            signal: Arc::default(),
            slots: Vec::new(),
            free: Vec::new(),
            unfinished: 0,
            ends: true,
            options,
            holding: pools.holding(),
            pools,
            metrics,
        }
    }

    /// Follows a partition from an offset, up to before another if one is given. Returns its slot.
    pub fn add(&mut self, partition: Arc<Partition>, from: Offset, until: Option<Offset>) -> usize {
        let number = self.free.pop().unwrap_or_else(|| self.signal.add_slot());
        partition.follow(&self.signal, number);
        let until = until.unwrap_or(Offset(u64::MAX));
        let is_done = from >= until;
        self.unfinished += usize::from(!is_done);
        let slot = Slot {
            partition,
            delivered: Cursor::at(from),
            read: Cursor::at(from),
            until,
            is_done,
            is_behind: true,
        };
        match self.slots.get_mut(number) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.signal.raise(number);
        number
    }

    /// Waits for slots to come, also while none is left that is read.
    pub fn never_end(&mut self) {
        self.ends = false;
    }

    /// Delivers nothing more for a slot: its partition is gone.
    pub fn leave(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.slots[slot].is_done, true) {
            self.unfinished -= 1;
            self.holding.forget(slot);
        }
    }

    /// Delivers nothing more for a slot, and hears nothing more of its partition: another slot may
    /// follow that again. The number of the slot is given to another partition.
    pub fn forget(&mut self, slot: usize) {
        self.leave(slot);
        self.slots[slot].partition.unfollow_slot(&self.signal, slot);
        self.free.push(slot);
    }

    /// Reads a slot from another place from now on: its partition has moved. Nothing is missed.
    pub fn replace(&mut self, number: usize, partition: Arc<Partition>) {
        let slot = &mut self.slots[number];
        slot.partition.unfollow_slot(&self.signal, number);
        partition.follow(&self.signal, number);
        slot.partition = partition;
        self.rewind(number);
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
            match self.holding.turn().await {
                Turn::Piece(slot, source, piece) => return Ok(self.hand_out(slot, source, piece)),
                Turn::Batch(slot, batch) => self.deliver(slot, batch)?,
                Turn::Decoded(slot, done) => {
                    let Decoded { batch, deliveries, memory } = self.or_rewind(slot, done)?;
                    self.make_ready(slot, &batch, deliveries, memory);
                }
                Turn::Read(slot, done) => {
                    let read = self.or_rewind(slot, done)?;
                    if let Some(event) = self.take_read(slot, read) {
                        return Ok((slot, event));
                    }
                    self.read_ahead();
                }
                Turn::LetGo(slot) => self.rewind(slot),
                Turn::Nothing if self.ends && self.unfinished == 0 => {
                    return Ok((0, FollowEvent::End));
                }
                Turn::Nothing => match self.signal.take() {
                    Some(slot) => {
                        if let Some(event) = self.serve(slot)? {
                            return Ok((slot, event));
                        }
                    }
                    None => self.signal.notify.notified().await,
                },
            }
        }
    }

    fn serve(&mut self, number: usize) -> Result<Option<FollowEvent>, FollowError> {
        let slot = &self.slots[number];
        if slot.is_read_to_end() {
            return Ok(None);
        }
        if let Some(reader) = slot.partition.reader() {
            let read = self.pools.read_tail(reader, slot.read).map_err(LogError::from);
            if let Some(read) = self.or_rewind(number, read)? {
                return Ok(self.take_read(number, read));
            }
        }
        self.read(number, None);
        Ok(None)
    }

    /// Begins to read what comes after what was just read, while that goes out.
    fn read_ahead(&mut self) {
        if !self.holding.may_read_ahead() {
            return;
        }
        let Some(number) = self.signal.take() else { return };
        if self.slots[number].is_read_to_end() {
            return;
        }
        match self.pools.try_room() {
            Some(room) => self.read(number, Some(room)),
            None => self.signal.raise(number),
        }
    }

    fn read(&mut self, number: usize, ahead: Option<Room>) {
        let slot = &self.slots[number];
        let (partition, cursor) = (Arc::clone(&slot.partition), slot.read);
        let pools = self.pools.clone();
        let read = async move { Ok(pools.read(&partition.log, cursor, ahead).await?) };
        self.holding.read(Work::spawn(number, read));
    }

    /// What work came to. Whoever goes on after a failure meets it again, and misses nothing.
    fn or_rewind<T, E>(&mut self, slot: usize, done: Result<T, E>) -> Result<T, FollowError>
    where
        FollowError: From<E>,
    {
        Ok(done.inspect_err(|_| self.rewind(slot))?)
    }

    /// Reads a slot again from where it was delivered.
    fn rewind(&mut self, number: usize) {
        self.holding.forget(number);
        let slot = &mut self.slots[number];
        slot.read = slot.delivered;
        self.signal.raise(number);
    }

    /// Takes what was read while nothing else is there: what is to be said goes out at once.
    fn take_read(&mut self, number: usize, read: Read) -> Option<FollowEvent> {
        let Read { outcome, source, room } = read;
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
            ReadOutcome::Batches { mut batches, next } => {
                if let Some(before) = slot.partition.expired_before(self.clock.as_ref()) {
                    let expired = |batch: &&mut StoredBatch| batch.header.append_time < before;
                    batches.iter_mut().filter(expired).for_each(|batch| *batch = batch.emptied());
                }
                slot.is_behind |= source == DeliverySource::Storage;
                slot.read = next;
                batches.retain(|batch| batch.header.base_offset < slot.until);
                if batches.is_empty() {
                    self.advance(number, next);
                } else {
                    self.holding.put(Take::new(number, source, batches.into(), room));
                }
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

    fn deliver(&mut self, number: usize, batch: StoredBatch) -> Result<(), FollowError> {
        let slot = &self.slots[number];
        let (from, until, options) = (slot.delivered.offset, slot.until, self.options);
        let expiry = slot.partition.expiry(&batch.header, self.clock.as_ref());
        if expiry.is_none() && !delivery::is_decompressed(&batch, from, until, &options) {
            let deliveries = delivery::deliver(&batch, from, until, &options);
            let deliveries = self.or_rewind(number, deliveries)?;
            self.make_ready(number, &batch, deliveries, None);
            return Ok(());
        }
        let pools = self.pools.clone();
        let most = delivery::most_memory(&batch, expiry.is_some(), &options);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let decode = async move {
            let mut memory = Arc::clone(&pools.decompressed).acquire_many_owned(most).await.ok();
            let decode = move || {
                let deliveries = match expiry {
                    Some(at) => delivery::deliver_living(&batch, at, from, until, &options),
                    None => delivery::deliver(&batch, from, until, &options),
                };
                deliveries.map(|deliveries| (batch, deliveries))
            };
            let (batch, deliveries) = pools.search(decode).await?;
            let bytes: usize = deliveries.iter().map(Delivery::bytes).sum();
            if let Some(memory) = &mut memory {
                drop(memory.split(memory.num_permits().saturating_sub(bytes)));
            }
            Ok(Decoded { batch, deliveries, memory })
        };
        self.holding.decode(Work::spawn(number, decode));
        Ok(())
    }

    /// Lets what a batch was cut to go out.
    fn make_ready(
        &mut self,
        number: usize,
        batch: &StoredBatch,
        deliveries: Vec<Delivery>,
        memory: Option<OwnedSemaphorePermit>,
    ) {
        let index = Some(batch.header.index);
        let pieces = deliveries.into_iter().map(|delivery| {
            let offset = delivery.end_offset();
            Piece { delivery, then: Cursor { offset, index } }
        });
        let mut pieces: VecDeque<_> = pieces.collect();
        match pieces.back_mut() {
            Some(last) => last.then = behind(batch),
            None => self.advance(number, behind(batch)),
        }
        if let Some(kept_to) = self.holding.put_pieces(pieces, memory) {
            self.slots[number].read = kept_to;
            self.signal.raise(number);
        }
    }

    fn hand_out(
        &mut self,
        slot: usize,
        source: DeliverySource,
        piece: Piece,
    ) -> (usize, FollowEvent) {
        let Piece { delivery, then } = piece;
        let records = u64::from(delivery.record_count);
        self.metrics.delivered(source, records, delivery.payload.len() as u64);
        self.advance(slot, then);
        (slot, FollowEvent::Records(delivery))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        for slot in &self.slots {
            slot.partition.unfollow(&self.signal);
        }
    }
}
