//! What readers see of a group's log, while its owner appends to it.
//!
//! The owner ([`crate::group_log::GroupLog`], on the shard's thread) is the only writer. Readers
//! get the recent entries from memory, the same bytes that were written and shared by all of them,
//! and older ones from the engine. Nothing at or above the high watermark is ever given out.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use ropewalk_core::entry::{Entry, EntryError};
use ropewalk_core::{GroupId, Offset, StoredBatch, Timestamp};

use crate::compaction::CompactionState;
use crate::engine::{
    Engine, EntryMeta, LogEntry, LogStart, Result, Rewrite, Seek, SegmentMark, StorageError,
};

/// Entries that are kept in memory, by index, without a hole.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: VecDeque<LogEntry>,
}

impl Tail {
    pub(crate) fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.index)
    }

    pub(crate) fn get(&self, index: u64) -> Option<&LogEntry> {
        let at = index.checked_sub(self.first_index()?)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn starting_at(&self, index: u64) -> impl Iterator<Item = &LogEntry> {
        let skipped = self.first_index().map_or(0, |first| index.saturating_sub(first));
        self.entries.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX))
    }

    pub(crate) fn push(&mut self, entry: LogEntry) {
        self.entries.push_back(entry);
    }

    pub(crate) fn truncate_from(&mut self, index: u64) {
        while self.entries.back().is_some_and(|last| last.index >= index) {
            self.entries.pop_back();
        }
    }

    pub(crate) fn drop_to(&mut self, index: u64) {
        while self.entries.front().is_some_and(|first| first.index <= index) {
            self.entries.pop_front();
        }
        crate::queue::give_back(&mut self.entries);
    }

    /// The position of the first entry that ends after `offset`, if the tail reaches down to it.
    fn position_of(&self, offset: Offset) -> Option<usize> {
        let covered = self.entries.front().is_some_and(|first| first.meta.base_offset <= offset);
        covered.then(|| self.entries.partition_point(|entry| entry.meta.end_offset() <= offset))
    }
}

#[derive(Debug, Default)]
pub(crate) struct ViewState {
    pub(crate) start: LogStart,
    pub(crate) high_watermark: Offset,
    pub(crate) tail: Tail,
    /// The last entry; the start's when the log is empty.
    pub(crate) last_index: u64,
    /// The segments from the oldest to the one that is written, each as it stood after its last
    /// entry.
    pub(crate) segments: VecDeque<SegmentMark>,
    /// How far its compaction is.
    pub(crate) compaction: CompactionState,
    /// Compaction took records that may have been the last of their keys, and nobody has asked
    /// since.
    pub(crate) has_ended_keys: bool,
    /// The group was removed, and its data with it.
    pub(crate) is_gone: bool,
}

/// The shared part of a group's log.
#[derive(Debug, Default)]
pub(crate) struct LogView(Mutex<ViewState>);

impl LogView {
    pub(crate) fn lock(&self) -> MutexGuard<'_, ViewState> {
        self.0.lock().expect("no holder of a log view panics")
    }

    /// Where in a range of the log a search ends: in memory, or where that does not reach down, in
    /// the engine.
    pub(crate) fn search(
        &self,
        engine: &dyn Engine,
        group: GroupId,
        range: Range<u64>,
        seek: Seek,
    ) -> Result<u64> {
        let stored_end = {
            let view = self.lock();
            match view.tail.entries.front() {
                Some(first) if first.index < range.end => {
                    if !seek.holds(&first.meta) {
                        let at = view.tail.entries.partition_point(|e| !seek.holds(&e.meta));
                        return Ok((first.index + at as u64).clamp(range.start, range.end));
                    }
                    first.index
                }
                _ => range.end,
            }
        };
        engine.find(group, range.start..stored_end.max(range.start), seek)
    }
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Consecutive batches. The first contains the offset that was asked for, perhaps not as its
    /// first.
    Batches {
        /// The batches.
        batches: Vec<StoredBatch>,
        /// Where the read after this one goes on.
        next: Cursor,
    },
    /// There is nothing below the high watermark at or after the offset.
    End,
    /// The log starts at a later offset.
    Trimmed(Offset),
    /// Not in memory; only given where a read must not wait for the disk.
    Cold,
}

/// A position in a log: the offset, and, where it is known, the index of the entry that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The next offset to read.
    pub offset: Offset,
    /// The raft index of the entry that holds it, if a read has just ended before it.
    pub index: Option<u64>,
}

impl Cursor {
    /// A position of which only the offset is known.
    #[must_use]
    pub fn at(offset: Offset) -> Self {
        Self { offset, index: None }
    }
}

/// The bounds of a log at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The offset of the first record.
    pub start: Offset,
    /// The offset after the last record that can be read.
    pub high_watermark: Offset,
}

impl LogBounds {
    /// The newer of two views of one log: neither of its bounds ever goes back.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            start: self.start.max(other.start),
            high_watermark: self.high_watermark.max(other.high_watermark),
        }
    }
}

/// Whether an entry surely stands below the high watermark. One without records that stands at it
/// may not be committed: a cursor that had passed it would be wrong once it is replaced.
fn is_below(meta: &EntryMeta, high_watermark: Offset) -> bool {
    meta.end_offset() <= high_watermark && meta.base_offset < high_watermark
}

/// Reads a group's log. Cheap to clone; any number read at a time.
#[derive(Clone)]
pub struct LogReader {
    group: GroupId,
    engine: Arc<dyn Engine>,
    view: Arc<LogView>,
}

impl LogReader {
    pub(crate) fn new(group: GroupId, engine: Arc<dyn Engine>, view: Arc<LogView>) -> Self {
        Self { group, engine, view }
    }

    /// The bounds of the log.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        let view = self.view.lock();
        LogBounds { start: view.start.offset, high_watermark: view.high_watermark }
    }

    /// The segments from the oldest to the one that is written.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentMark> {
        self.view.lock().segments.iter().copied().collect()
    }

    /// The bytes of all entries that the log holds.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.view.lock().segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The group.
    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    /// Where the log starts.
    pub(crate) fn start(&self) -> LogStart {
        self.view.lock().start
    }

    /// Whether its group was removed, and its data with it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.view.lock().is_gone
    }

    /// How far the compaction of the log is.
    #[must_use]
    pub fn compaction(&self) -> CompactionState {
        self.view.lock().compaction
    }

    /// The entries of a range as the engine has them: as many as follow its first one, and as
    /// `max_bytes` allow. None where the log starts behind that by now.
    pub(crate) fn stored_entries(
        &self,
        range: Range<u64>,
        max_bytes: u64,
    ) -> Result<Vec<LogEntry>> {
        let (group, first) = (self.group, range.start);
        let entries = self.engine.entries(group, range, max_bytes)?;
        let is_held = {
            let view = self.view.lock();
            !view.is_gone && view.start.index < first
        };
        if entries.is_empty() && is_held {
            let offset = self.bounds().start;
            return Err(StorageError::Missing { group, index: first, offset });
        }
        Ok(entries)
    }

    /// Begins to write segments anew. See [`Engine::rewrite`]. `None` also while the engine holds
    /// what a trim took from the log: a crash may bring that back.
    pub(crate) fn rewrite(&self, range: Range<u64>) -> Result<Option<Box<dyn Rewrite + '_>>> {
        let (start, bytes) = {
            let view = self.view.lock();
            let within = view.segments.iter().filter(|of| range.contains(&of.base_index));
            (view.start.index, within.map(|of| of.bytes).sum())
        };
        let rewrite = self.engine.rewrite(self.group, range, bytes)?;
        Ok(rewrite.filter(|rewrite| rewrite.log_start() >= start))
    }

    /// Makes durable what was written anew. See [`Engine::keep_rewrites`].
    pub(crate) fn keep_rewrites(&self) -> Result<bool> {
        self.engine.keep_rewrites()
    }

    /// Segments were written anew, as one. Records may have gone that were the last of their keys.
    pub(crate) fn rewritten(&self, range: &Range<u64>, mark: SegmentMark, ends_keys: bool) {
        let mut view = self.view.lock();
        view.has_ended_keys |= ends_keys;
        let begin = view.segments.partition_point(|of| of.base_index < range.start);
        let end = view.segments.partition_point(|of| of.base_index < range.end);
        if begin < end {
            view.segments.drain(begin + 1..end);
            // As its entries say, also where the first of what became one was trimmed meanwhile.
            view.segments[begin] = mark;
        }
    }

    /// Reads from memory alone: never waits for the disk.
    pub fn read_tail(&self, cursor: Cursor, max_bytes: usize) -> Result<ReadOutcome> {
        let mut found = Vec::new();
        {
            let view = self.view.lock();
            if cursor.offset < view.start.offset {
                return Ok(ReadOutcome::Trimmed(view.start.offset));
            }
            if cursor.offset >= view.high_watermark {
                return Ok(ReadOutcome::End);
            }
            let Some(position) = view.tail.position_of(cursor.offset) else {
                return Ok(ReadOutcome::Cold);
            };
            let mut bytes = 0;
            for entry in view.tail.entries.iter().skip(position) {
                if !is_below(&entry.meta, view.high_watermark) {
                    break;
                }
                bytes += entry.data.len();
                if bytes > max_bytes && !found.is_empty() {
                    break;
                }
                found.push((entry.index, entry.meta.record_count, entry.data.clone()));
            }
        }
        self.outcome(cursor, found)
    }

    /// Reads from memory or, where that does not reach down, from the engine. May wait for the
    /// disk.
    pub fn read(&self, cursor: Cursor, max_bytes: usize) -> Result<ReadOutcome> {
        match self.read_tail(cursor, max_bytes)? {
            ReadOutcome::Cold => {}
            outcome => return Ok(outcome),
        }
        let (start, end, high_watermark) = self.stored_range();
        let index = match cursor.index {
            Some(index) => index,
            None => self.search(start.index + 1..end, Seek::After(cursor.offset))?,
        };
        let entries = self.engine.entries(self.group, index..end, max_bytes as u64)?;
        let found: Vec<_> = entries
            .into_iter()
            .take_while(|entry| is_below(&entry.meta, high_watermark))
            .map(|entry| (entry.index, entry.meta.record_count, entry.data))
            .collect();
        if found.first().is_none_or(|(first, ..)| *first != index) {
            return self.vanished(cursor, index);
        }
        self.outcome(cursor, found)
    }

    /// The first record at or above the log start whose time is at or after `time`, with its time;
    /// `None` when there is none below the high watermark. `find_in` looks inside a batch. May wait
    /// for the disk.
    pub fn find_time(
        &self,
        time: Timestamp,
        find_in: impl Fn(&StoredBatch, Offset) -> Option<(Offset, Timestamp)>,
    ) -> Result<Option<(Offset, Timestamp)>> {
        loop {
            let (start, end) = {
                let view = self.view.lock();
                (view.start, view.last_index + 1)
            };
            match self.find_time_from(start, end, time, &find_in) {
                // Retention took the entries that were being looked at: those after them remain.
                Ok(None) | Err(StorageError::Missing { .. })
                    if self.view.lock().start.index != start.index => {}
                found => return found,
            }
        }
    }

    /// The offset after the last record below the high watermark, and when its batch was appended;
    /// `None` where there is none. May wait for the disk.
    pub fn last_append(&self) -> Result<Option<(Offset, Timestamp)>> {
        let (start, end, high_watermark) = {
            let view = self.view.lock();
            (view.start, view.last_index + 1, view.high_watermark)
        };
        if high_watermark <= start.offset {
            return Ok(None);
        }
        let last = Offset(high_watermark.0 - 1);
        let index = self.search(start.index + 1..end, Seek::After(last))?;
        Ok(Some((high_watermark, self.batch(index)?.header.append_time)))
    }

    fn find_time_from(
        &self,
        start: LogStart,
        end: u64,
        time: Timestamp,
        find_in: &impl Fn(&StoredBatch, Offset) -> Option<(Offset, Timestamp)>,
    ) -> Result<Option<(Offset, Timestamp)>> {
        // The running maximum rises past `time` at the first entry that has such a record, unless a
        // record that is gone had risen past it before: then every entry is asked.
        let mut index = if start.newest_gone < time {
            self.search(start.index + 1..end, Seek::Since(time))?
        } else {
            start.index + 1
        };
        while index < end {
            let Some(meta) = self.meta(index)? else { break };
            if meta.end_offset() > self.bounds().high_watermark {
                break;
            }
            // After a trim to the very end, the last batch is kept though none of it can be read.
            let is_readable = meta.record_count > 0 && meta.end_offset() > start.offset;
            if is_readable && meta.max_timestamp >= time {
                let batch = self.batch(index)?;
                if let Some(found) = find_in(&batch, start.offset) {
                    return Ok(Some(found));
                }
            }
            index += 1;
        }
        Ok(None)
    }

    /// The log start, the index after the last entry that only the engine has, and the high
    /// watermark.
    fn stored_range(&self) -> (LogStart, u64, Offset) {
        let view = self.view.lock();
        let end = view.tail.first_index().unwrap_or(view.last_index + 1);
        (view.start, end, view.high_watermark)
    }

    /// An entry that should be there is not: retention took it meanwhile, or the store has lost it.
    fn vanished(&self, cursor: Cursor, index: u64) -> Result<ReadOutcome> {
        let view = self.view.lock();
        if cursor.offset < view.start.offset {
            return Ok(ReadOutcome::Trimmed(view.start.offset));
        }
        if index <= view.start.index {
            return Ok(ReadOutcome::Cold);
        }
        Err(StorageError::Missing { group: self.group, index, offset: cursor.offset })
    }

    fn outcome(&self, cursor: Cursor, found: Vec<(u64, u32, Bytes)>) -> Result<ReadOutcome> {
        let mut next = cursor;
        let mut batches = Vec::with_capacity(found.len());
        for (index, record_count, data) in found {
            next.index = Some(index + 1);
            if record_count == 0 {
                continue;
            }
            let batch = StoredBatch::trusted(&data)
                .map_err(|error| StorageError::entry(self.group, index, &error))?;
            next.offset = batch.header.end_offset();
            batches.push(batch);
        }
        Ok(ReadOutcome::Batches { batches, next })
    }

    pub(crate) fn meta(&self, index: u64) -> Result<Option<EntryMeta>> {
        if let Some(entry) = self.view.lock().tail.get(index) {
            return Ok(Some(entry.meta));
        }
        self.engine.meta(self.group, index)
    }

    fn batch(&self, index: u64) -> Result<StoredBatch> {
        let in_memory = self.view.lock().tail.get(index).map(|entry| entry.data.clone());
        let data = match in_memory {
            Some(data) => data,
            None => {
                let mut entries = self.engine.entries(self.group, index..index + 1, 0)?;
                let missing =
                    StorageError::Missing { group: self.group, index, offset: Offset::ZERO };
                entries.pop().ok_or(missing)?.data
            }
        };
        StoredBatch::trusted(&data).map_err(|error| StorageError::entry(self.group, index, &error))
    }

    fn search(&self, range: Range<u64>, seek: Seek) -> Result<u64> {
        self.view.search(self.engine.as_ref(), self.group, range, seek)
    }
}

/// A batch whose entry kind is not a batch is a bug of the caller; a no-op or a trim is not one.
pub(crate) fn record_facts(data: &Bytes) -> std::result::Result<(u32, Timestamp), EntryError> {
    match Entry::decode(data)? {
        Entry::Batch(header) => Ok((header.record_count, header.max_timestamp)),
        _ => Ok((0, Timestamp::MIN)),
    }
}
