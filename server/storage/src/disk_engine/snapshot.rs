//! What a checkpoint brings into the index: all logs as they were at one moment.
//!
//! What is committed then is written out only afterwards, and what comes meanwhile is none of this
//! checkpoint's: under load there is always as much of it again. So a snapshot is taken with what
//! is to be written out, becomes whole as that stands in chunks, and goes into the index. Knows
//! neither files nor locks.

use ropewalk_core::GroupId;

use super::drain::{Done, Job};
use super::index::Changes;
use super::keys::Key;
use super::segments::FileId;
use super::state::{Gone, Log, State};
use super::values::{self, ChunkValue, GroupValue, SegmentValue};
use super::work::Sweep;
use super::writes;
use crate::engine::{GroupWrite, LogEntry};

/// What a pair of the index takes besides its key and its value.
const PAIR_BYTES: usize = 64;

/// The logs at one moment.
pub(super) struct Snapshot {
    /// Every write up to here is in it.
    pub(super) lsn: u64,
    /// The bytes that the journal had written then.
    pub(super) written: u64,
    pub(super) changes: Changes,
    /// What is still to be written out.
    unwritten: Vec<Unwritten>,
    /// What the index will have, and the logs need not keep.
    pub(super) stored: Vec<Stored>,
    /// Files that nothing refers to any more once this is in the index.
    pub(super) dropped: Vec<FileId>,
    /// Those of them that may go before.
    pub(super) expendable: Vec<FileId>,
    pub(super) gone: Vec<Gone>,
    pub(super) sweeps: Vec<(u64, Sweep)>,
}

/// What of a log stands in no chunk.
struct Unwritten {
    group: GroupId,
    /// What was committed, until it is written out.
    job: Option<Job>,
    value: GroupValue,
    /// What was not, and what could not be written out.
    rest: Vec<LogEntry>,
}

/// What the index will have of a log.
pub(super) struct Stored {
    pub(super) group: GroupId,
    pub(super) log: u64,
    /// Chunks, by first entry.
    pub(super) chunks: Vec<(u64, ChunkValue)>,
    /// Files, and how long they are.
    pub(super) segments: Vec<(u64, u64)>,
}

impl Snapshot {
    /// Takes all that changed since the last one.
    pub(super) fn take(state: &mut State, written: u64) -> Self {
        let mut snapshot = Self {
            lsn: state.lsn,
            written,
            changes: Changes::new(),
            unwritten: Vec::new(),
            stored: Vec::new(),
            dropped: Vec::new(),
            expendable: Vec::new(),
            gone: std::mem::take(&mut state.gone),
            sweeps: Vec::new(),
        };
        snapshot.take_gone();
        for group in std::mem::take(&mut state.dirty) {
            if let Some(log) = state.logs.get_mut(&group) {
                snapshot.take_log(group, log);
            }
        }
        for group in &state.holding {
            let Some(log) = state.logs.get(group) else { continue };
            let job = Job::of(*group, log);
            let after = job.as_ref().and_then(Job::last).map_or(0, |(index, _)| index + 1);
            let rest = log.held_from(after).cloned().collect();
            snapshot.unwritten.push(Unwritten { group: *group, job, value: log.value(), rest });
        }
        state.has_garbage = false;
        snapshot
    }

    fn take_gone(&mut self) {
        for gone in &self.gone {
            self.changes.insert(Key::Group(gone.group).encode(), None);
            let key = Key::Deleted(gone.log).encode();
            let value = values::encode_deleted(&key);
            self.changes.insert(key, Some(value));
            for number in &gone.segments {
                self.changes.insert(Key::Segment(gone.log, *number).encode(), None);
            }
            self.sweeps.push((gone.log, Sweep::All));
        }
    }

    /// What changed of a log.
    fn take_log(&mut self, group: GroupId, log: &mut Log) {
        self.put_group(group, &log.value());
        self.expendable.extend(log.expendable().map(|segment| (log.number, segment.number)));
        for segment in log.drop_segments() {
            self.changes.insert(Key::Segment(log.number, segment.number).encode(), None);
            self.dropped.push((log.number, segment.number));
        }
        let replaced = std::mem::take(&mut log.replaced);
        for number in replaced.files {
            self.changes.insert(Key::Segment(log.number, number).encode(), None);
            self.dropped.push((log.number, number));
        }
        // Those that stand in their place under the same key follow.
        for first in replaced.chunks {
            self.changes.insert(Key::Chunk(log.number, first).encode(), None);
        }
        log.flushing = std::mem::take(&mut log.rows);
        for (row, value) in &log.flushing {
            let key = Key::Row(log.number, row.clone()).encode();
            let value = value.as_ref().map(|value| values::encode_row(&key, value));
            self.changes.insert(key, value);
        }
        let (chunks, segments) = (Vec::new(), Vec::new());
        let mut stored = Stored { group, log: log.number, chunks, segments };
        for (first, chunk) in &log.chunks {
            self.put_chunk(log.number, *first, chunk);
            stored.chunks.push((*first, chunk.clone()));
        }
        for segment in log.segments.iter().filter(|s| s.bytes != s.stored_bytes) {
            self.put_segment(log.number, segment.number, segment.base_index, segment.bytes);
            stored.segments.push((segment.number, segment.bytes));
        }
        self.stored.push(stored);
        if log.start.index > log.swept {
            log.swept = log.start.index;
            self.sweeps.push((log.number, Sweep::UpTo(log.start.index)));
        }
    }

    fn put_group(&mut self, group: GroupId, value: &GroupValue) {
        let key = Key::Group(group).encode();
        let value = value.encode(&key);
        self.changes.insert(key, Some(value));
    }

    fn put_chunk(&mut self, log: u64, first: u64, chunk: &ChunkValue) {
        let key = Key::Chunk(log, first).encode();
        let value = chunk.encode(&key);
        self.changes.insert(key, Some(value));
    }

    fn put_segment(&mut self, log: u64, number: u64, base_index: u64, bytes: u64) {
        let key = Key::Segment(log, number).encode();
        let value = SegmentValue { base_index, bytes }.encode(&key);
        self.changes.insert(key, Some(value));
    }

    /// Writes out what was committed, one log after the other. After a failure the rest stays
    /// pending: the files may not be as long any more as they were then.
    pub(super) fn write_out<E>(
        &mut self,
        write: impl FnMut(&Job) -> Result<Done, E>,
        written: impl FnMut(&Job, Done),
    ) -> Result<(), E> {
        let result = self.try_write_out(write, written);
        for Unwritten { job, rest, .. } in &mut self.unwritten {
            if let Some(job) = job.take() {
                rest.splice(..0, job.entries);
            }
        }
        result
    }

    fn try_write_out<E>(
        &mut self,
        mut write: impl FnMut(&Job) -> Result<Done, E>,
        mut written: impl FnMut(&Job, Done),
    ) -> Result<(), E> {
        for at in 0..self.unwritten.len() {
            let unwritten = &mut self.unwritten[at];
            let Some(job) = &unwritten.job else { continue };
            let done = write(job)?;
            let Some(job) = unwritten.job.take() else { continue };
            let group = unwritten.group;
            unwritten.value.drained = job.last();
            let value = unwritten.value.clone();
            self.put_group(group, &value);
            for (first, chunk) in &done.chunks {
                self.put_chunk(job.log, *first, chunk);
            }
            for segment in &done.segments {
                self.put_segment(job.log, segment.number, segment.base_index, segment.bytes);
            }
            self.stored.push(Stored {
                group,
                log: job.log,
                chunks: done.chunks.clone(),
                segments: done.segments.iter().map(|s| (s.number, s.bytes)).collect(),
            });
            written(&job, done);
        }
        Ok(())
    }

    /// What stands in no chunk, as the journal would hold it.
    pub(super) fn pending(&self) -> Vec<u8> {
        let mut pending = Vec::new();
        for Unwritten { group, rest, .. } in self.unwritten.iter().filter(|of| !of.rest.is_empty())
        {
            let write = GroupWrite { append: rest.clone(), ..GroupWrite::new(*group) };
            writes::put_write(&mut pending, &write);
        }
        pending
    }

    /// About how many bytes are written for the index, a pair of it `factor` times.
    pub(super) fn bytes(&self, factor: u64) -> u64 {
        let pair = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
            key.len() + value.as_ref().map_or(0, Vec::len) + PAIR_BYTES
        };
        let pairs: usize = self.changes.iter().map(pair).sum();
        let entries = self.unwritten.iter().flat_map(|unwritten| &unwritten.rest);
        let pending: usize = entries.map(|entry| entry.data.len() + PAIR_BYTES).sum();
        factor * pairs as u64 + pending as u64
    }

    /// Whether it gives room back to the disk.
    pub(super) fn gives_back(&self) -> bool {
        !self.gone.is_empty() || !self.dropped.is_empty()
    }
}
