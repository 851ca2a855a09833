//! A checkpoint: all that changed since the last one comes into the index, so that the journal is
//! needed no longer up to here.
//!
//! The order is what makes it safe: first the segments are synced, then the index is written and
//! synced, which is the moment from which the chunks are part of their logs; only then are journal
//! files used again, and files removed that nothing refers to any more.

use ropewalk_core::GroupId;

use super::core::Core;
use super::index::Changes;
use super::keys::Key;
use super::state::{Gone, Log, State};
use super::values::{self, ChunkValue, SegmentValue};
use super::work::{Checkpoints, Sweep, Work};
use super::writes;
use crate::engine::{GroupWrite, Result};

/// The most keys that one step of a sweep removes.
const SWEEP_KEYS: usize = 4_096;

/// A log that changed, and its chunks that come into the index.
struct Changed {
    group: GroupId,
    number: u64,
    chunks: Vec<(u64, ChunkValue)>,
}

/// What is to come into the index, as it was at one moment.
struct Snapshot {
    lsn: u64,
    changes: Changes,
    /// Entries that are in no chunk: they stand in the checkpoint as a journal would hold them.
    pending: Vec<u8>,
    logs: Vec<Changed>,
    dropped: Vec<(u64, u64)>,
    gone: Vec<Gone>,
    sweeps: Vec<(u64, Sweep)>,
}

impl Core {
    /// Makes a checkpoint of all that was written so far; or none, and says so, when the disk has
    /// no room for it.
    pub(super) fn checkpoint(&self, checkpoints: &mut Checkpoints) -> Result<bool> {
        let written = self.journal.written();
        let (mut snapshot, mut unsynced) = {
            let mut work = self.work();
            if !self.make_room(&mut work)? {
                return Ok(false);
            }
            let has_room = self.try_drain(&mut work, true)?;
            // Without room it is worth the trouble only where it gives some back.
            if !has_room && !self.state().has_garbage {
                return Ok(false);
            }
            (snapshot(&mut self.state_mut()), std::mem::take(&mut work.unsynced))
        };
        tracing::debug!(target: super::MOMENTS, lsn = snapshot.lsn, "checkpoint begins");
        self.files.sync(&mut unsynced)?;
        tracing::debug!(target: super::MOMENTS, lsn = snapshot.lsn, "checkpoint synced");
        self.index.checkpoint(snapshot.lsn, &snapshot.changes, &snapshot.pending)?;
        tracing::debug!(target: super::MOMENTS, lsn = snapshot.lsn, "index flushed");
        self.forget_stored(&mut snapshot);
        self.journal.recycle(snapshot.lsn)?;
        self.checkpointed(checkpoints, written);
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

    /// Whether the disk has room for what a checkpoint writes. If it has not, files go first that
    /// the index still knows: what trimmed or deleted them is in the journal, durably.
    fn make_room(&self, work: &mut Work) -> Result<bool> {
        let has_room =
            || Ok(self.disk.free_bytes(self.files.dir())? >= self.options.checkpoint_room);
        if has_room()? {
            return Ok(true);
        }
        let (logs, files) = {
            let state = self.state();
            let logs: Vec<u64> = state.gone.iter().map(|gone| gone.log).collect();
            let mut files = Vec::new();
            for log in state.logs.values() {
                files.extend(log.expendable().map(|segment| (log.number, segment.number)));
            }
            (logs, files)
        };
        for log in logs {
            self.files.remove_log(log, &mut work.unsynced)?;
        }
        for file in files {
            self.files.remove(file, &mut work.unsynced)?;
        }
        has_room()
    }

    /// What the index has now need not be kept in memory. A chunk that was replaced meanwhile by
    /// one that holds more stays.
    fn forget_stored(&self, snapshot: &mut Snapshot) {
        let mut state = self.state_mut();
        for Changed { group, number, chunks } in std::mem::take(&mut snapshot.logs) {
            let log = state.logs.get_mut(&group).filter(|log| log.number == number);
            let Some(log) = log else { continue };
            log.flushing.clear();
            for (first, chunk) in chunks {
                if log.chunks.get(&first) == Some(&chunk) {
                    log.chunks.remove(&first);
                }
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
            self.index.sweep(&changes)?;
        }
        if done {
            checkpoints.sweeps.remove(&log);
        }
        Ok(!checkpoints.sweeps.is_empty())
    }
}

fn snapshot(state: &mut State) -> Snapshot {
    let mut snapshot = Snapshot {
        lsn: state.lsn,
        changes: Changes::new(),
        pending: Vec::new(),
        logs: Vec::new(),
        dropped: Vec::new(),
        gone: std::mem::take(&mut state.gone),
        sweeps: Vec::new(),
    };
    for gone in &snapshot.gone {
        snapshot.changes.insert(Key::Group(gone.group).encode(), None);
        let key = Key::Deleted(gone.log).encode();
        let value = values::encode_deleted(&key);
        snapshot.changes.insert(key, Some(value));
        for number in &gone.segments {
            snapshot.changes.insert(Key::Segment(gone.log, *number).encode(), None);
        }
        snapshot.sweeps.push((gone.log, Sweep::All));
    }
    for group in std::mem::take(&mut state.dirty) {
        let Some(log) = state.logs.get_mut(&group) else { continue };
        let key = Key::Group(group).encode();
        let value = log.value().encode(&key);
        snapshot.changes.insert(key, Some(value));
        take_log(log, &mut snapshot);
        let chunks = log.chunks.iter().map(|(first, chunk)| (*first, chunk.clone())).collect();
        snapshot.logs.push(Changed { group, number: log.number, chunks });
    }
    for group in &state.holding {
        let Some(log) = state.logs.get(group) else { continue };
        let append = log.held_from(0).cloned().collect();
        let write = GroupWrite { append, ..GroupWrite::new(*group) };
        writes::put_write(&mut snapshot.pending, &write);
    }
    state.has_garbage = false;
    snapshot
}

/// What changed of a log.
fn take_log(log: &mut Log, snapshot: &mut Snapshot) {
    for segment in log.drop_segments() {
        snapshot.changes.insert(Key::Segment(log.number, segment.number).encode(), None);
        snapshot.dropped.push((log.number, segment.number));
    }
    log.flushing = std::mem::take(&mut log.rows);
    for (row, value) in &log.flushing {
        let key = Key::Row(log.number, row.clone()).encode();
        let value = value.as_ref().map(|value| values::encode_row(&key, value));
        snapshot.changes.insert(key, value);
    }
    for (first, chunk) in &log.chunks {
        let key = Key::Chunk(log.number, *first).encode();
        let value = chunk.encode(&key);
        snapshot.changes.insert(key, Some(value));
    }
    for segment in log.segments.iter_mut().filter(|s| s.bytes != s.stored_bytes) {
        segment.stored_bytes = segment.bytes;
        let value = SegmentValue { base_index: segment.base_index, bytes: segment.bytes };
        let key = Key::Segment(log.number, segment.number).encode();
        let value = value.encode(&key);
        snapshot.changes.insert(key, Some(value));
    }
    if log.start.index > log.swept {
        log.swept = log.start.index;
        snapshot.sweeps.push((log.number, Sweep::UpTo(log.start.index)));
    }
}
