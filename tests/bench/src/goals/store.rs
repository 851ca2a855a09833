//! The engine without a broker: groups of entries, as a shard hands them to the journal.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_core::{GroupId, ReplicaId, Timestamp};
use ropewalk_storage::disk_engine::{DiskEngine, Options};
use ropewalk_storage::engine::{EntryMeta, SegmentMark};
use ropewalk_storage::group_log::GroupLog;
use ropewalk_storage::{Engine, GroupState, GroupWrite, LogEntry, WriteBatch};
use tokio::time::Instant;

use crate::records::Noise;
use crate::wire::Failure;

/// The least bytes of an entry.
const LEAST_ENTRY: usize = 1024;
/// A record of an entry, as far as its count goes.
const RECORD: usize = 1024;
/// The bytes that entries are cut from.
const NOISE: usize = 64 * 1024 * 1024;
/// The groups that one write creates.
const CREATED_AT_ONCE: usize = 256;
/// As often as a broker does it.
const HOUSEKEEPING: Duration = Duration::from_millis(100);
const SEGMENT_BYTES: u64 = 1 << 30;
const FIRST_TIME: i64 = 1_700_000_000_000_000_000;

/// Opens the engine that a broker would open in this directory.
fn open_engine(dir: &Path) -> Result<Arc<dyn Engine>, Failure> {
    Ok(Arc::new(DiskEngine::open(dir, Options::default())?))
}

/// An engine with some partitions.
pub(crate) struct Store {
    engine: Arc<dyn Engine>,
    partitions: Vec<GroupState>,
    /// The partition that the next group begins with.
    next: usize,
    noise: Bytes,
    at: usize,
    written: i64,
    housekeeping: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Store {
    pub(crate) fn create(dir: &Path, partitions: usize) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)?;
        let engine = open_engine(dir)?;
        let ids = (0..partitions as u64).map(|number| GroupId(GroupId::FIRST_PARTITION.0 + number));
        let (states, creations): (Vec<_>, Vec<_>) =
            ids.map(|group| GroupLog::bootstrap(group, ReplicaId(1), &[ReplicaId(1)])).unzip();
        for groups in creations.chunks(CREATED_AT_ONCE) {
            engine.write(&[WriteBatch { groups: groups.to_vec(), sync: true }])?;
        }
        let (stop, stopped) = sync_channel(1);
        let keeper = Arc::clone(&engine);
        let keeping = std::thread::spawn(move || {
            while stopped.recv_timeout(HOUSEKEEPING) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = keeper.reclaim() {
                    eprintln!("the engine could not give space back: {error}");
                    return;
                }
            }
        });
        Ok(Self {
            engine,
            partitions: states,
            next: 0,
            noise: Noise(3).bytes(NOISE),
            at: 0,
            written: 0,
            housekeeping: Some((stop, keeping)),
        })
    }

    /// Writes a group of this many bytes and waits until it is durable. Returns how long the engine
    /// took.
    pub(crate) fn write(&mut self, bytes: usize) -> Result<Duration, Failure> {
        let groups = self.group(bytes);
        let batch = [WriteBatch { groups, sync: true }];
        let started = Instant::now();
        self.engine.write(&batch)?;
        Ok(started.elapsed())
    }

    /// Writes every commit index, as a broker does at its next tick.
    pub(crate) fn write_commits(&mut self) -> Result<(), Failure> {
        let groups = self.partitions.iter_mut().map(|state| {
            let mut write = GroupWrite::new(state.group);
            commit(state, &mut write);
            write
        });
        let batch = WriteBatch { groups: groups.collect(), sync: false };
        Ok(self.engine.write(&[batch])?)
    }

    pub(crate) fn close(&self) -> Result<(), Failure> {
        Ok(self.engine.close()?)
    }

    /// An entry each for as many partitions as there are bytes for, in turn.
    fn group(&mut self, bytes: usize) -> Vec<GroupWrite> {
        let touched = touched(bytes, self.partitions.len());
        let mut writes = Vec::with_capacity(touched);
        for number in 0..touched {
            // What does not divide goes to the first.
            let length = bytes / touched + usize::from(number < bytes % touched);
            if self.at + length > NOISE {
                self.at = 0;
            }
            let data = self.noise.slice(self.at..self.at + length);
            self.at += length;
            self.written += 1;
            let now = Timestamp(FIRST_TIME + self.written);
            writes.push(append(&mut self.partitions[self.next], data, now));
            self.next = (self.next + 1) % self.partitions.len();
        }
        writes
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some((stop, keeping)) = self.housekeeping.take() {
            drop(stop);
            // A thread that panicked has said so.
            let _ = keeping.join();
        }
    }
}

/// The partitions that a group of so many bytes touches.
pub(crate) fn touched(bytes: usize, partitions: usize) -> usize {
    (bytes / LEAST_ENTRY).clamp(1, partitions)
}

/// The next entry of a partition, and the commit of the one before it.
fn append(state: &mut GroupState, data: Bytes, now: Timestamp) -> GroupWrite {
    let mut write = GroupWrite::new(state.group);
    commit(state, &mut write);
    let bytes = data.len() as u64;
    let (last, base_offset, segment) = match state.last {
        Some((index, meta)) => (index, meta.end_offset(), meta.segment),
        None => (state.start.index, state.start.base_offset, SegmentMark::default()),
    };
    let index = last + 1;
    let is_new = segment.base_index == 0 || segment.bytes + bytes > SEGMENT_BYTES;
    let begun = SegmentMark { base_index: index, base_offset, created: now, ..segment };
    let segment = if is_new { SegmentMark { bytes: 0, ..begun } } else { segment };
    let meta = EntryMeta {
        term: state.hard_state.term,
        entry_type: 0,
        base_offset,
        record_count: u32::try_from(data.len() / RECORD).unwrap_or(u32::MAX).max(1),
        max_timestamp: now,
        newest_so_far: now,
        segment: SegmentMark { bytes: segment.bytes + bytes, max_timestamp: now, ..segment },
    };
    state.last = Some((index, meta));
    write.append.push(LogEntry { index, meta, data });
    write
}

/// Moves the commit index up to the last entry.
fn commit(state: &mut GroupState, write: &mut GroupWrite) {
    let last = state.last.map_or(state.start.index, |(index, _)| index);
    if state.hard_state.commit < last {
        state.hard_state.commit = last;
        write.hard_state = Some(state.hard_state.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_at_least_a_kibibyte() {
        assert_eq!(touched(16 * 1024, 16), 16);
        assert_eq!(touched(16 * 1024, 1000), 16);
        assert_eq!(touched(1024 * 1024, 16), 16);
        assert_eq!(touched(1024 * 1024, 1000), 1000);
        assert_eq!(touched(100, 1000), 1);
    }

    #[test]
    fn what_is_written_is_a_log_with_commits() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path(), 40).unwrap();
        for _ in 0..5 {
            store.write(33 * 1024 + 5).unwrap();
        }
        store.write_commits().unwrap();
        store.close().unwrap();
        drop(store);
        let states = open_engine(dir.path()).unwrap().groups().unwrap();
        assert_eq!(states.len(), 40);
        let entries: u64 = states.iter().map(|s| s.last.unwrap().0 - s.start.index).sum();
        let bytes: u64 = states.iter().map(|s| s.last.unwrap().1.segment.bytes).sum();
        assert_eq!((entries, bytes), (5 * 33, 5 * (33 * 1024 + 5)));
        assert!(states.iter().all(|s| s.hard_state.commit == s.last.unwrap().0));
    }
}
