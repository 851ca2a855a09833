//! What the parts of the engine share, and the path of a write.
//!
//! A write is checked against the state, written to the journal, and then applied to the state:
//! what can be seen is durable. Locks are taken in the order of the fields: `writer`,
//! `checkpoints`, `work`, `state`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::cache::ChunkCache;
use super::frame::Kind;
use super::index::Index;
use super::journal::{Journal, Purpose};
use super::options::Options;
use super::segments::SegmentFiles;
use super::state::State;
use super::work::{Alarm, Checkpoints, Work};
use super::writes;
use crate::disk::Disk;
use crate::engine::{GroupWrite, Result, StorageError, WriteBatch};

/// The engine without its thread.
pub(super) struct Core {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(super) index: Index,
    pub(super) journal: Journal,
    pub(super) files: SegmentFiles,
    pub(super) cache: ChunkCache,
    /// Whether the engine still takes writes. Held while one is made.
    pub(super) writer: Mutex<Writer>,
    /// Held while a checkpoint is made.
    pub(super) checkpoints: Mutex<Checkpoints>,
    /// Held while memory is drained, and while files of segments go.
    pub(super) work: Mutex<Work>,
    pub(super) state: RwLock<State>,
    pub(super) drain_alarm: Alarm,
    pub(super) checkpoint_alarm: Alarm,
    /// Memory was given back.
    pub(super) drained: Condvar,
    drained_lock: Mutex<()>,
    /// The bytes of entries that may be in memory: more than `memory_bytes` after a start that
    /// found more in the journal, until that is written out. Nobody waits for that.
    allowed: AtomicU64,
    /// The bytes that the journal had written at the last checkpoint.
    pub(super) checkpointed: AtomicU64,
    /// There is room for records on the disk.
    pub(super) room: AtomicBool,
    /// The last drain was told that there is no room. What the disk says of its free bytes is not
    /// all: there are quotas, and inodes.
    pub(super) is_refused: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<StorageError>>,
}

/// What only the writer knows.
#[derive(Debug, Default)]
pub(super) struct Writer {
    ended: bool,
}

impl Writer {
    /// Nothing is taken after this.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }
}

impl Core {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        index: Index,
        journal: Journal,
        files: SegmentFiles,
        state: State,
    ) -> Self {
        let allowed = options.allowed_bytes(state.held_bytes);
        Self {
            disk,
            options,
            index,
            journal,
            files,
            cache: ChunkCache::new(options.cache_bytes),
            writer: Mutex::default(),
            checkpoints: Mutex::default(),
            work: Mutex::default(),
            state: RwLock::new(state),
            drain_alarm: Alarm::default(),
            checkpoint_alarm: Alarm::default(),
            drained: Condvar::new(),
            drained_lock: Mutex::new(()),
            allowed: AtomicU64::new(allowed),
            checkpointed: AtomicU64::new(0),
            room: AtomicBool::new(true),
            is_refused: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no holder of the state panics")
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("no holder of the state panics")
    }

    pub(super) fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().expect("no holder of the work panics")
    }

    pub(super) fn checkpoints(&self) -> MutexGuard<'_, Checkpoints> {
        self.checkpoints.lock().expect("no holder of the checkpoints panics")
    }

    /// Runs a change; after a failure, here or in the thread, nothing is written any more.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        let mut writer = self.writer.lock().expect("no holder of the writer panics");
        self.check_failure()?;
        if writer.ended {
            return Err(StorageError::ended());
        }
        let result = change(&mut writer);
        writer.ended |= result.is_err();
        // A writer that was told to wait no longer says why the thread has failed.
        result.or_else(|error| self.check_failure().and(Err(error)))
    }

    /// Applies batches, all together and durably.
    pub(super) fn write(&self, batches: &[WriteBatch]) -> Result<()> {
        self.change(|_| {
            let writes = batches.iter().flat_map(|batch| &batch.groups);
            let writes: Vec<&GroupWrite> = writes.filter(|write| !write.is_empty()).collect();
            if writes.is_empty() {
                return Ok(());
            }
            self.wait_for_memory()?;
            let changes = self.state().check(writes.iter().copied())?;
            let expected = writes.iter().map(|write| writes::expected_bytes(write)).sum();
            let purpose = purpose_of(&writes);
            let lsn = self.journal.append((Kind::Writes, purpose), expected, |payload| {
                writes.iter().for_each(|write| writes::put_write(payload, write));
            })?;
            let mut state = self.state_mut();
            for (write, change) in writes.iter().zip(&changes) {
                state.apply(write, change.as_ref());
            }
            state.lsn = lsn;
            let held_bytes = state.held_bytes;
            drop(state);
            self.ring(held_bytes);
            Ok(())
        })
    }

    /// No more is taken than fits in memory, as long as what is there can be written out.
    fn wait_for_memory(&self) -> Result<()> {
        if self.state().held_bytes <= self.allowed.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.options.background {
            return self.try_drain(&mut self.work(), true).map(|_| ());
        }
        let mut guard = self.drained_lock.lock().expect("no holder of the lock panics");
        while self.has_too_much_to_drain() {
            // `change` says why.
            if self.failed.load(Ordering::Acquire) {
                return Err(has_failed());
            }
            self.drain_alarm.ring();
            guard = self.drained.wait(guard).expect("no holder of the lock panics");
        }
        Ok(())
    }

    fn has_too_much_to_drain(&self) -> bool {
        let state = self.state();
        let is_full = !self.room.load(Ordering::Relaxed);
        if state.held_bytes <= self.allowed.load(Ordering::Relaxed) || is_full {
            return false;
        }
        state.drainable_bytes > self.options.memory_bytes / 2
    }

    /// What a start has found is written out as far as this: there is no more of it to allow for.
    pub(super) fn lower_allowed(&self) {
        if self.allowed.load(Ordering::Relaxed) > self.options.memory_bytes {
            let needed = self.options.allowed_bytes(self.state().held_bytes);
            self.allowed.fetch_min(needed, Ordering::Relaxed);
        }
    }

    /// Tells writers that memory was given back, or that there will be no more of it.
    pub(super) fn notify_drained(&self) {
        let _guard = self.drained_lock.lock().expect("no holder of the lock panics");
        self.drained.notify_all();
    }

    /// The bytes that the engine takes on its disk.
    pub(super) fn size_bytes(&self) -> u64 {
        let state = self.state();
        let segments = state.logs.values().flat_map(|log| &log.segments);
        let segments: u64 = segments.map(|segment| segment.bytes).sum();
        segments + self.journal.size_bytes() + self.index.size_bytes()
    }

    /// Remembers a failure of the thread: it is told to whoever writes next, or asks.
    pub(super) fn fail(&self, error: StorageError) {
        tracing::error!(%error, "the store cannot go on");
        let mut failure = self.failure.lock().expect("no holder of the failure panics");
        failure.get_or_insert(error);
        drop(failure);
        self.failed.store(true, Ordering::Release);
        self.journal.end();
        self.notify_drained();
    }

    /// The failure of the thread; the first to ask gets the cause, the others that there was one.
    pub(super) fn check_failure(&self) -> Result<()> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut failure = self.failure.lock().expect("no holder of the failure panics");
        Err(failure.take().unwrap_or_else(has_failed))
    }
}

/// The error of whoever comes after the one who was told the cause.
pub(super) fn has_failed() -> StorageError {
    StorageError::Refused("the store has failed: restart the broker".to_owned())
}

fn purpose_of(writes: &[&GroupWrite]) -> Purpose {
    let mut entries = writes.iter().flat_map(|write| &write.append);
    let has_records = entries.any(|entry| entry.meta.record_count > 0);
    if has_records { Purpose::Records } else { Purpose::Other }
}
