//! What one reader holds of the log: what it is about to deliver, and work for it under way.
//!
//! It has a lock of its own, so that it can be let go while its reader is not there.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use ropewalk_core::StoredBatch;
use ropewalk_storage::log_view::Cursor;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::delivery::Delivery;
use crate::follow::FollowError;
use crate::metrics::DeliverySource;
use crate::pools::Read;

/// What one reader holds.
#[derive(Default)]
pub(crate) struct Holding(Mutex<Held>);

#[derive(Default)]
struct Held {
    /// What was read last, until all of it is delivered.
    take: Option<Take>,
    /// The first batch of it, while it is decompressed.
    decoding: Option<Work<Decoded>>,
    /// A read of the log. What it finds goes out behind `take`.
    reading: Option<Work<Read>>,
    /// Its reader has asked since it was last looked at.
    has_asked: bool,
    /// Slots of which something was let go.
    let_go: Vec<usize>,
}

/// Batches of one slot on their way to the reader.
pub(crate) struct Take {
    pub(crate) slot: usize,
    pub(crate) source: DeliverySource,
    /// Each is decompressed when its turn comes and not before: a small one may turn out to be
    /// large.
    pub(crate) batches: VecDeque<StoredBatch>,
    /// The room that it takes; without any, nothing of it may be kept.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    /// Parts of the batch that was first.
    pieces: VecDeque<Piece>,
    /// The memory of the pieces, where they were decompressed.
    decompressed: Option<OwnedSemaphorePermit>,
}

impl Take {
    pub(crate) fn new(
        slot: usize,
        source: DeliverySource,
        batches: VecDeque<StoredBatch>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { slot, source, batches, room, pieces: VecDeque::new(), decompressed: None }
    }
}

/// What goes out at once.
pub(crate) struct Piece {
    pub(crate) delivery: Delivery,
    /// Where the slot stands once it is out.
    pub(crate) then: Cursor,
}

/// A batch that was decompressed.
pub(crate) struct Decoded {
    pub(crate) batch: StoredBatch,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) memory: Option<OwnedSemaphorePermit>,
}

/// Work for a slot, on a task of its own, which ends when nobody wants it any more.
pub(crate) struct Work<T> {
    slot: usize,
    task: JoinHandle<Result<T, FollowError>>,
}

impl<T: Send + 'static> Work<T> {
    pub(crate) fn spawn(
        slot: usize,
        work: impl Future<Output = Result<T, FollowError>> + Send + 'static,
    ) -> Self {
        Self { slot, task: tokio::spawn(work) }
    }
}

impl<T> Work<T> {
    /// Waits for work, if there is any, and takes it: its slot and what it came to.
    #[allow(clippy::type_complexity)]
    fn poll(
        work: &mut Option<Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<(usize, Result<T, FollowError>)>> {
        let Some(Self { slot, task }) = work else { return Poll::Ready(None) };
        let done = ready!(Pin::new(task).poll(context)).expect("work on the log does not panic");
        let done = (*slot, done);
        *work = None;
        Poll::Ready(Some(done))
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a reader does next.
pub(crate) enum Turn {
    /// Something of this slot was let go: it is read again from where it was delivered.
    LetGo(usize),
    /// This goes out.
    Piece(usize, DeliverySource, Piece),
    /// This batch is cut.
    Batch(usize, StoredBatch),
    /// A batch was decompressed.
    Decoded(usize, Result<Decoded, FollowError>),
    /// The log was read.
    Read(usize, Result<Read, FollowError>),
    /// It holds nothing.
    Nothing,
}

impl Holding {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().expect("no holder of the lock panics")
    }

    /// What to do next, in the order of the log. Nothing is lost when the wait is given up: work is
    /// awaited the next time. However short the turns are that its reader gets, a slow disk is read
    /// in the end.
    pub(crate) async fn turn(&self) -> Turn {
        std::future::poll_fn(|context| self.lock().poll_turn(context)).await
    }

    /// Puts what was read in front of the reader, who has nothing else.
    pub(crate) fn put(&self, take: Take) {
        self.lock().take = Some(take);
    }

    /// Puts the parts of a batch before those behind it. Without memory for them, only the first
    /// stays: returns the place behind it, from where the log is read again.
    pub(crate) fn put_pieces(
        &self,
        mut pieces: VecDeque<Piece>,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Option<Cursor> {
        let mut held = self.lock();
        let take = held.take.as_mut()?;
        let mut kept_to = None;
        if take.room.is_none() && memory.is_none() && pieces.len() > 1 {
            pieces.truncate(1);
            take.batches.clear();
            kept_to = pieces.front().map(|piece| piece.then);
        }
        (take.pieces, take.decompressed) = (pieces, memory);
        held.settle();
        kept_to
    }

    /// Begins to decompress the first batch.
    pub(crate) fn decode(&self, work: Work<Decoded>) {
        self.lock().decoding = Some(work);
    }

    /// Begins a read.
    pub(crate) fn read(&self, work: Work<Read>) {
        self.lock().reading = Some(work);
    }

    /// Whether something goes out while more is read, and nothing of it is read again before.
    pub(crate) fn may_read_ahead(&self) -> bool {
        self.lock().take.as_ref().is_some_and(|take| take.room.is_some())
    }

    /// Lets go of what it holds of a slot.
    pub(crate) fn forget(&self, slot: usize) {
        let mut held = self.lock();
        if held.take.as_ref().is_some_and(|take| take.slot == slot) {
            (held.take, held.decoding) = (None, None);
        }
        if held.reading.as_ref().is_some_and(|work| work.slot == slot) {
            held.reading = None;
        }
    }

    /// Lets go of everything, if its reader has not asked since the last time. Not while there is
    /// work to wait for: then the reader may be there and wait too.
    pub(crate) fn let_go_if_idle(&self) {
        let mut held = self.lock();
        let is_working = held.is_working();
        if std::mem::replace(&mut held.has_asked, is_working) || is_working {
            return;
        }
        let (take, reading) = (held.take.take(), held.reading.take());
        held.decoding = None;
        held.let_go.extend(take.map(|take| take.slot));
        held.let_go.extend(reading.map(|work| work.slot));
    }

    /// The bytes of the log that it holds.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let held = self.lock();
        let Some(take) = &held.take else { return 0 };
        let batches = take.batches.iter().map(|batch| batch.payload.len());
        let pieces = take.pieces.iter().map(|piece| piece.delivery.payload.len());
        batches.chain(pieces).sum()
    }
}

impl Held {
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        self.has_asked = true;
        if let Some(slot) = self.let_go.pop() {
            return Poll::Ready(Turn::LetGo(slot));
        }
        if let Some(take) = &mut self.take {
            let (slot, source) = (take.slot, take.source);
            if let Some(piece) = take.pieces.pop_front() {
                self.settle();
                return Poll::Ready(Turn::Piece(slot, source, piece));
            }
            if let Some((slot, done)) = ready!(Work::poll(&mut self.decoding, context)) {
                return Poll::Ready(Turn::Decoded(slot, done));
            }
            if let Some(batch) = take.batches.pop_front() {
                return Poll::Ready(Turn::Batch(slot, batch));
            }
        }
        let read = ready!(Work::poll(&mut self.reading, context));
        Poll::Ready(read.map_or(Turn::Nothing, |(slot, done)| Turn::Read(slot, done)))
    }

    /// Gives back the memory of what has left.
    fn settle(&mut self) {
        let Some(take) = &mut self.take else { return };
        if take.pieces.is_empty() {
            take.decompressed = None;
            if take.batches.is_empty() {
                self.take = None;
            }
        }
    }

    fn is_working(&self) -> bool {
        let is_decoding = self.decoding.as_ref().is_some_and(|work| !work.task.is_finished());
        is_decoding || self.reading.as_ref().is_some_and(|work| !work.task.is_finished())
    }
}
