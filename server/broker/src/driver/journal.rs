//! The journal's thread, the only one that writes to the engine, but for a shard that writes a
//! little itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use ropewalk_consensus::Input;
use ropewalk_core::Clock;
use ropewalk_storage::{Engine, StorageError, WriteBatch};

use super::{Command, Driver, DriverConfig, OnFatal};
use crate::metrics::Metrics;

/// A write of a shard.
pub(super) struct JournalWrite {
    pub(super) shard: usize,
    pub(super) number: u64,
    pub(super) batch: WriteBatch,
}

impl JournalWrite {
    pub(super) fn bytes(&self) -> usize {
        let entries = self.batch.groups.iter().flat_map(|write| &write.append);
        entries.map(|entry| entry.data.len()).sum()
    }
}

/// Writes to the engine.
pub(super) struct JournalWriter {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) on_fatal: OnFatal,
    /// Writes that were handed to the journal's thread and are not durable yet.
    pub(super) queued: AtomicUsize,
    /// The bytes of all that was written so far.
    pub(super) written: AtomicU64,
}

impl JournalWriter {
    pub(super) fn new(config: &DriverConfig) -> Self {
        Self {
            engine: Arc::clone(&config.engine),
            clock: Arc::clone(&config.clock),
            metrics: Arc::clone(&config.metrics),
            on_fatal: Arc::clone(&config.on_fatal),
            queued: AtomicUsize::new(0),
            written: AtomicU64::new(0),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queued.load(Ordering::Acquire) == 0
    }

    /// The journal's thread: merges what waits into one write.
    pub(super) fn run(&self, writes: &Receiver<JournalWrite>, driver: &Driver) {
        let mut batches = Vec::new();
        let mut newest = vec![None; driver.shards.len()];
        while let Ok(first) = writes.recv() {
            for write in std::iter::once(first).chain(writes.try_iter()) {
                newest[write.shard] = Some(write.number);
                batches.push(write.batch);
            }
            if let Err(error) = self.write(&batches) {
                return (self.on_fatal)(&error);
            }
            self.queued.fetch_sub(batches.len(), Ordering::AcqRel);
            batches.clear();
            for (shard, number) in driver.shards.iter().zip(&mut newest) {
                if let Some(number) = number.take() {
                    let _ = shard.blocking_send(Command::Input(Input::Durable(number)));
                }
            }
        }
    }

    pub(super) fn write(&self, batches: &[WriteBatch]) -> Result<(), StorageError> {
        let begun = self.clock.monotonic();
        self.engine.write(batches)?;
        let took = self.clock.monotonic().saturating_sub(begun);
        let (mut bytes, mut records) = (0, 0);
        for entry in batches.iter().flat_map(|b| &b.groups).flat_map(|write| &write.append) {
            bytes += entry.data.len() as u64;
            records += u64::from(entry.meta.record_count > 0);
        }
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.synced(took, bytes, records);
        Ok(())
    }
}
