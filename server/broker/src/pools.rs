//! What all readers share: turns at the disk, and room in memory for what they read.
//!
//! One budget bounds what they hold of the log together. A read takes room of it by what it keeps
//! in memory, and gives it back when the last of it was delivered. Nobody waits for room for long:
//! a reader that gets none goes on with one batch at a time, which goes out at once. And nobody
//! keeps it for long without asking for more: a reader that does not is made to let go of what it
//! has, and reads it again when it asks.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use ropewalk_core::batch::MAX_HEADER_BYTES;
use ropewalk_core::{StoredBatch, limits};
use ropewalk_storage::StorageError;
use ropewalk_storage::log_view::{Cursor, LogReader, ReadOutcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::errors::LogError;
use crate::group_watch::GroupWatch;
use crate::holding::Holding;
use crate::key_search::KeySearches;
use crate::metrics::DeliverySource;
use crate::partition::PartitionLog;
use crate::peers::Fetched;
use crate::remote_log::RemoteLog;

/// What one read of the disk takes at most.
const READ_BYTES: usize = 1024 * 1024;
/// What one read of the disk takes at least, if there is room for it.
const LEAST_READ_BYTES: usize = 64 * 1024;
/// What one turn takes from the entries in memory, if it is more than one batch: enough for small
/// batches to be cheap, and little enough for readers that are slow.
const TAIL_BYTES: usize = 64 * 1024;
/// Storage reads so much at a time, and any part of it that is held keeps all of it.
const CHUNK_BYTES: usize = 256 * 1024;
/// How long a reader waits for room before it does without.
const PATIENCE: Duration = Duration::from_millis(20);
/// A reader that has not asked for this long lets go of what it holds; at the latest after twice
/// that.
const IDLE: Duration = Duration::from_millis(500);

/// What all readers share.
#[derive(Clone)]
pub(crate) struct Pools {
    /// Reads of the disk, and decompressions, at a time.
    pub(crate) disk_reads: Arc<Semaphore>,
    /// Bytes of decompressed batches that wait for their readers.
    pub(crate) decompressed: Arc<Semaphore>,
    /// Bytes of the log that readers may hold yet.
    pub(crate) room: Arc<Semaphore>,
    /// Searches for the keys of what is appended.
    pub(crate) keys: KeySearches,
    readers: Arc<Mutex<Vec<Weak<Holding>>>>,
}

/// What one read may take.
pub(crate) struct Room {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

/// What was read.
pub(crate) struct Read {
    pub(crate) outcome: ReadOutcome,
    pub(crate) source: DeliverySource,
    /// The room that it takes. Without any it is one batch, which nobody may keep.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Pools {
    /// So many reads of the disk at a time, and so many bytes of the log that all readers hold
    /// together.
    pub(crate) fn new(disk_reads: usize, reads_budget: usize) -> Self {
        Self {
            disk_reads: Arc::new(Semaphore::new(disk_reads)),
            decompressed: Arc::new(Semaphore::new(limits::DECOMPRESSED_BUDGET)),
            room: Arc::new(Semaphore::new(reads_budget.min(Semaphore::MAX_PERMITS))),
            keys: KeySearches::default(),
            readers: Arc::default(),
        }
    }

    /// What a new reader holds: nothing yet.
    pub(crate) fn holding(&self) -> Arc<Holding> {
        let holding = Arc::default();
        self.lock_readers().push(Arc::downgrade(&holding));
        holding
    }

    /// Makes readers that have not asked for a while let go of what they hold, for ever.
    pub(crate) async fn keep_room(self) {
        loop {
            tokio::time::sleep(IDLE).await;
            self.lock_readers().retain(|reader| {
                let reader = reader.upgrade();
                reader.inspect(|reader| reader.let_go_if_idle()).is_some()
            });
        }
    }

    /// The bytes of the log that all readers hold.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.lock_readers().iter().filter_map(Weak::upgrade).map(|reader| reader.bytes()).sum()
    }

    fn lock_readers(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Holding>>> {
        self.readers.lock().expect("no holder of the readers panics")
    }

    /// Runs a search of the log off the async threads, when its turn has come.
    pub(crate) async fn search<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let permit = Arc::clone(&self.disk_reads).acquire_owned().await;
        let run = move || {
            let _permit = permit;
            run()
        };
        tokio::task::spawn_blocking(run).await.expect("work on the log does not panic")
    }

    /// Room for one read, if there is any: less, the less there is.
    pub(crate) fn try_room(&self) -> Option<Room> {
        let share = self.room.available_permits() / 2;
        // A small read is copied out of its chunks; any other keeps the rest of the two at its
        // ends.
        let (bytes, kept) = if share >= 3 * CHUNK_BYTES {
            ((share - 2 * CHUNK_BYTES).min(READ_BYTES), 2 * CHUNK_BYTES)
        } else {
            (share.clamp(LEAST_READ_BYTES, CHUNK_BYTES), 0)
        };
        let permit = self.try_permit(bytes + kept)?;
        Some(Room { bytes, permit: Some(permit) })
    }

    async fn room(&self) -> Room {
        if let Some(room) = self.try_room() {
            return room;
        }
        let permit = Arc::clone(&self.room).acquire_many_owned(permits(LEAST_READ_BYTES));
        match tokio::time::timeout(PATIENCE, permit).await {
            Ok(Ok(permit)) => Room { bytes: LEAST_READ_BYTES, permit: Some(permit) },
            _ => Room { bytes: 0, permit: None },
        }
    }

    fn try_permit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_many_owned(permits(bytes)).ok()
    }

    /// Reads from memory alone; `None` where that does not reach down.
    pub(crate) fn read_tail(
        &self,
        reader: &LogReader,
        cursor: Cursor,
    ) -> Result<Option<Read>, StorageError> {
        Ok(match reader.read_tail(cursor, TAIL_BYTES)? {
            ReadOutcome::Cold => None,
            outcome => Some(self.settle(outcome, DeliverySource::Tail, None)),
        })
    }

    /// Reads, off the async threads: `ahead` of what its reader has asked for, with the room that
    /// was given, or what it waits for.
    pub(crate) async fn read(
        &self,
        log: &PartitionLog,
        cursor: Cursor,
        ahead: Option<Room>,
    ) -> Result<Read, LogError> {
        let is_ahead = ahead.is_some();
        let room = match ahead {
            Some(room) => room,
            None => self.room().await,
        };
        let mut read = match log {
            PartitionLog::Here(watch, others) => {
                let (pools, reader) = (self.clone(), watch.reader().clone());
                let bytes = room.bytes;
                match self.search(move || pools.read_now(&reader, cursor, room)).await {
                    Err(error @ StorageError::Corrupt { .. }) => {
                        self.read_beside(watch, others, cursor, bytes, error).await?
                    }
                    read => read?,
                }
            }
            PartitionLog::Elsewhere(log) => {
                let Room { bytes, permit } = room;
                let fetched = log.fetch(cursor.offset, bytes.max(1)).await?;
                self.settle(outcome_of(fetched), DeliverySource::Peer, permit)
            }
        };
        let is_kept = read.room.is_some() || !matches!(read.outcome, ReadOutcome::Batches { .. });
        if is_ahead && !is_kept {
            read.outcome = ReadOutcome::Cold;
        }
        Ok(read)
    }

    /// Reads from another broker what cannot be read here, and has this broker's replica replaced.
    /// Where nobody else has it, the damage is told.
    async fn read_beside(
        &self,
        watch: &GroupWatch,
        others: &RemoteLog,
        cursor: Cursor,
        bytes: usize,
        error: StorageError,
    ) -> Result<Read, LogError> {
        if watch.is_alone() {
            return Err(error.into());
        }
        tracing::error!(%error, "a part of a log is damaged: it is read from another broker");
        watch.set_damaged();
        let fetched = others.fetch(cursor.offset, bytes.max(1)).await.map_err(|_| error)?;
        Ok(self.settle(outcome_of(fetched), DeliverySource::Peer, None))
    }

    fn read_now(
        &self,
        reader: &LogReader,
        cursor: Cursor,
        room: Room,
    ) -> Result<Read, StorageError> {
        let Room { bytes, permit } = room;
        let (outcome, source) = match reader.read_tail(cursor, bytes)? {
            ReadOutcome::Cold => (reader.read(cursor, bytes)?, DeliverySource::Storage),
            outcome => (outcome, DeliverySource::Tail),
        };
        Ok(self.settle(outcome, source, permit))
    }

    /// Makes a read take the room that it needs, or need none: then one batch is left of it.
    fn settle(
        &self,
        mut outcome: ReadOutcome,
        source: DeliverySource,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Read {
        let ReadOutcome::Batches { batches, next } = &mut outcome else {
            return Read { outcome, source, room: None };
        };
        let kept = match source {
            DeliverySource::Tail | DeliverySource::Peer => bytes_of(batches),
            DeliverySource::Storage => kept_by(batches),
        };
        let room = self.resize(permit, kept);
        if room.is_none() && batches.len() > 1 {
            batches.truncate(1);
            *next = behind(&batches[0]);
        }
        Read { outcome, source, room }
    }

    fn resize(
        &self,
        permit: Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Option<OwnedSemaphorePermit> {
        let Some(mut permit) = permit else { return self.try_permit(bytes) };
        if let Some(missing) = bytes.checked_sub(permit.num_permits()) {
            permit.merge(self.try_permit(missing)?);
        } else {
            drop(permit.split(permit.num_permits() - bytes));
        }
        Some(permit)
    }
}

/// The place behind a batch.
pub(crate) fn behind(batch: &StoredBatch) -> Cursor {
    Cursor { offset: batch.header.end_offset(), index: Some(batch.header.index + 1) }
}

fn outcome_of(fetched: Fetched) -> ReadOutcome {
    if let Some(start) = fetched.trimmed {
        return ReadOutcome::Trimmed(start);
    }
    match fetched.batches.last().map(behind) {
        Some(next) => ReadOutcome::Batches { batches: fetched.batches, next },
        None => ReadOutcome::End,
    }
}

fn bytes_of(batches: &[StoredBatch]) -> usize {
    batches.iter().map(|batch| MAX_HEADER_BYTES + batch.payload.len()).sum()
}

/// What batches that were read from the disk keep in memory, at most. Little is copied, so that it
/// does not keep whole chunks; a batch that is larger than a chunk has one of its own.
fn kept_by(batches: &mut [StoredBatch]) -> usize {
    let bytes = bytes_of(batches);
    if bytes <= CHUNK_BYTES {
        for batch in batches {
            batch.payload = Bytes::copy_from_slice(&batch.payload);
        }
        return bytes;
    }
    if batches.len() == 1 { bytes } else { bytes + 2 * CHUNK_BYTES }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("what is read at once is far below 4 GiB")
}
