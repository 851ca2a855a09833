//! A checkpoint: all that changed since the last one comes into the index, so that the journal is
//! needed no longer up to here.
//!
//! The order is what makes it safe: first the segments are synced, then the index is written and
//! synced, which is the moment from which the chunks are part of their logs; only then are journal
//! files used again, and files removed that nothing refers to any more.

use std::sync::atomic::Ordering;

use super::core::Core;
use super::index::Changes;
use super::keys::Key;
use super::segments::Unsynced;
use super::snapshot::{Snapshot, Stored};
use super::values::ChunkValue;
use super::work::{Checkpoints, Sweep, Work};
use crate::engine::Result;
use crate::planted::Plant;

/// The most keys that one step of a sweep removes.
const SWEEP_KEYS: usize = 4_096;
/// A pair of the index is written to its redo file once, and to its store a few times.
const INDEX_FACTOR: u64 = 4;

impl Core {
    /// Makes a checkpoint of all that was written so far; or none, and says so, when the disk has
    /// no room for it.
    pub(super) fn checkpoint(&self, checkpoints: &mut Checkpoints) -> Result<bool> {
        let done = self.try_checkpoint(checkpoints)?;
        self.journal.set_stuck(!done);
        Ok(done)
    }

    fn try_checkpoint(&self, checkpoints: &mut Checkpoints) -> Result<bool> {
        let Some((snapshot, mut unsynced)) = self.prepared(checkpoints)? else { return Ok(false) };
        tracing::debug!(target: super::MOMENTS, lsn = snapshot.lsn, "checkpoint begins");
        if Plant::RecycleEarly.is_planted() {
            self.journal.recycle(snapshot.lsn)?;
        }
        self.files.sync(&mut unsynced)?;
        tracing::debug!(target: super::MOMENTS, lsn = snapshot.lsn, "checkpoint synced");
        self.index.checkpoint(snapshot.lsn, &snapshot.changes, &snapshot.pending())?;
        tracing::debug!(target: super::MOMENTS, lsn = snapshot.lsn, "index flushed");
        self.forget_stored(&snapshot);
        self.journal.recycle(snapshot.lsn)?;
        self.checkpointed(checkpoints, snapshot.written);
        // Whoever drains must not have one of these logs in hand.
        let mut work = self.work();
        for id in snapshot.dropped {
            self.files.remove(id, &mut work.unsynced)?;
        }
        for gone in &snapshot.gone {
            self.files.remove_log(gone.log, &mut work.unsynced)?;
        }
        checkpoints.sweeps.extend(snapshot.sweeps);
        Ok(true)
    }

    /// A snapshot that the disk has room for, with all that can be written out of it in chunks. One
    /// that it has no room for is kept until it has.
    fn prepared(&self, checkpoints: &mut Checkpoints) -> Result<Option<(Snapshot, Unsynced)>> {
        let mut work = self.work();
        let kept = checkpoints.kept.take();
        if !self.make_room(kept.as_ref(), &mut work, 0)? {
            checkpoints.kept = kept;
            return Ok(None);
        }
        let (snapshot, has_room) = match kept {
            Some(kept) => (kept, !self.is_refused.load(Ordering::Relaxed)),
            None => {
                let written = self.journal.written();
                let mut snapshot = Snapshot::take(&mut self.state_mut(), written);
                let Work { chunk, unsynced, .. } = &mut *work;
                let drained = snapshot.write_out(
                    |job| self.write_chunks(job, chunk, unsynced),
                    |job, done| self.take_drained(job, done, false),
                );
                (snapshot, self.has_drained(drained)?)
            }
        };
        // Without room it is worth the trouble only where it gives some back; and what was written
        // out may have taken what it needs.
        let is_worth_it = has_room || snapshot.gives_back();
        let needed = snapshot.bytes(INDEX_FACTOR);
        if !is_worth_it || !self.make_room(Some(&snapshot), &mut work, needed)? {
            checkpoints.kept = Some(snapshot);
            return Ok(None);
        }
        Ok(Some((snapshot, std::mem::take(&mut work.unsynced))))
    }

    /// Whether the disk has room for bytes that are written for the index.
    fn has_room_for_index(&self, bytes: u64) -> Result<bool> {
        let needed = self.options.checkpoint_room + bytes;
        Ok(self.disk.free_bytes(self.files.dir())? >= needed)
    }

    /// Whether the disk has room for what a checkpoint writes for the index. If it has not, files
    /// go first that the index still knows: what trimmed or deleted them is in the journal.
    fn make_room(&self, kept: Option<&Snapshot>, work: &mut Work, bytes: u64) -> Result<bool> {
        if self.has_room_for_index(bytes)? {
            return Ok(true);
        }
        let (mut logs, mut files) = {
            let state = self.state();
            let logs: Vec<u64> = state.gone.iter().map(|gone| gone.log).collect();
            let mut files = Vec::new();
            for log in state.logs.values() {
                files.extend(log.expendable().map(|segment| (log.number, segment.number)));
            }
            (logs, files)
        };
        if let Some(kept) = kept {
            logs.extend(kept.gone.iter().map(|gone| gone.log));
            files.extend(&kept.expendable);
        }
        for log in logs {
            self.files.remove_log(log, &mut work.unsynced)?;
        }
        for file in files {
            self.files.remove(file, &mut work.unsynced)?;
        }
        self.has_room_for_index(bytes)
    }

    /// What the index has now need not be kept in memory. A chunk that was replaced meanwhile by
    /// one that holds more stays.
    fn forget_stored(&self, snapshot: &Snapshot) {
        let mut state = self.state_mut();
        for Stored { group, log, chunks, segments } in &snapshot.stored {
            let found = state.logs.get_mut(group).filter(|found| found.number == *log);
            let Some(log) = found else { continue };
            log.flushing.clear();
            for (first, chunk) in chunks {
                if log.chunks.get(first) == Some(chunk) {
                    log.chunks.remove(first);
                }
            }
            for (number, bytes) in segments {
                log.segment_stored(*number, *bytes);
            }
        }
    }

    /// Removes some of what nothing refers to any more from the index. Returns whether more is
    /// left.
    pub(super) fn sweep(&self, checkpoints: &mut Checkpoints) -> Result<bool> {
        let Some((&log, &sweep)) = checkpoints.sweeps.first_key_value() else { return Ok(false) };
        let mut changes = Changes::new();
        let last_chunk = match sweep {
            Sweep::UpTo(index) => index,
            Sweep::All => u64::MAX,
        };
        let range = (Key::Chunk(log, 0).encode(), Key::Chunk(log, last_chunk).encode());
        let found = self.index.range(&range.0, &range.1, SWEEP_KEYS)?;
        let mut done = found.len() < SWEEP_KEYS;
        for (key, value) in found {
            let chunk = self.decoded(&key, ChunkValue::decode(&key, &value))?;
            if chunk.last <= last_chunk {
                changes.insert(key, None);
            }
        }
        if done && sweep == Sweep::All {
            let last_row = Key::Segment(0, 0).encode();
            let rows = self.index.range(&Key::Row(log, vec![]).encode(), &last_row, SWEEP_KEYS)?;
            let own = |key: &[u8]| matches!(Key::decode(key), Ok(Key::Row(of, _)) if of == log);
            let rows: Vec<_> = rows.into_iter().filter(|(key, _)| own(key)).collect();
            done = rows.len() < SWEEP_KEYS;
            changes.extend(rows.into_iter().map(|(key, _)| (key, None)));
            if done {
                changes.insert(Key::Deleted(log).encode(), None);
            }
        }
        if !changes.is_empty() {
            let bytes = changes.keys().map(|key| INDEX_FACTOR * 2 * key.len() as u64).sum();
            if !self.has_room_for_index(bytes)? {
                return Ok(false);
            }
            self.index.sweep(&changes)?;
        }
        if done {
            checkpoints.sweeps.remove(&log);
        }
        Ok(!checkpoints.sweeps.is_empty())
    }
}
