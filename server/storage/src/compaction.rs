//! Carries out an order to compact a log.
//!
//! In passes, as Kafka's cleaner does: the keys of the part that was never compacted, or of as much
//! of it as fits in memory, are noted with the offset of their latest record; then every segment
//! from the first on is read, and written anew where a record goes. Segments go one after the other
//! from the oldest on, so at no time is a newer record of a key gone and an older one there.
//! Whatever ends it, it can begin again: what is done already stays as it is.
//!
//! It waits for the disk, and for its caller's pace. It knows no thread and no clock.

use std::ops::Range;
use std::time::Duration;

use ropewalk_core::compaction::{CleanUp, KeyMap, Shrunk, Verdict, keys_of, shrink};
use ropewalk_core::{Offset, StoredBatch, Timestamp};

use crate::engine::{LogEntry, Result, Rewrite, SegmentMark, StorageError};
use crate::log_view::LogReader;

/// So many segments in a row become one, if they are small enough together.
const MERGED_SEGMENTS: usize = 8;

/// An order to compact: what stands before an entry, and what goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The raft index of the entry that orders it.
    pub index: u64,
    /// What goes beside superseded records.
    pub clean_up: CleanUp,
}

/// An order that was carried out, and what is left that time will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The order.
    pub order: Order,
    /// The index of the first tombstone that is left.
    pub first_tombstone: Option<u64>,
    /// When the first record that is left ends by a time to live of its own, beside those that are
    /// tombstones by then.
    pub first_end: Option<Timestamp>,
    /// When the oldest record that is left was appended.
    pub oldest_record: Option<Timestamp>,
}

/// A part of a log that was compacted, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// Nothing is left that a record below this index supersedes.
    pub below: u64,
    /// Since this time.
    pub since: Timestamp,
}

/// How far the compaction of a log is on this replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionState {
    /// The last order, which includes all before it.
    pub ordered: Option<Order>,
    /// The last one that was carried out.
    pub done: Option<Compacted>,
    /// The part whose tombstones are to go next: when readers that met what they ended have had
    /// time to come to them.
    pub cleaned: Option<Cleaned>,
    /// This replica was no member of its group when others were told what they may let go, and may
    /// never get it: it must be replaced.
    pub is_stale: bool,
}

impl CompactionState {
    /// Below this index this replica may still hold what others have let go as it was past its
    /// time, and 0 where it does not. One that copies it from here now would miss what goes
    /// meanwhile, and keep what that had ended. Those who were members when it was ordered have all
    /// of it.
    #[must_use]
    pub fn letting_go_below(&self) -> u64 {
        let done = self.done.map_or(CleanUp::NONE, |done| done.order.clean_up);
        let pending = self.ordered.filter(|order| order.clean_up != done);
        pending.map_or(0, |order| order.clean_up.lasting_from)
    }

    /// The order that is still to be carried out, if there is one.
    #[must_use]
    pub fn pending(&self) -> Option<Order> {
        self.ordered.filter(|order| self.done.is_none_or(|done| done.order != *order))
    }

    /// The index below which tombstones may go now, if they stay for so long after what they ended
    /// went.
    #[must_use]
    pub fn tombstones_below(&self, now: Timestamp, retention: Duration) -> u64 {
        let ripe = self.cleaned.filter(|cleaned| cleaned.since.plus(retention) <= now);
        ripe.map_or(0, |cleaned| cleaned.below)
    }

    /// An order was carried out. Until the tombstones of one part have gone, the time of no other
    /// one runs: each of them stays for its time at least, and may for twice that, and until an
    /// order comes.
    pub(crate) fn note_done(&mut self, done: Compacted, now: Timestamp) {
        self.done = Some(done);
        let has_gone =
            |cleaned: &Cleaned| done.first_tombstone.is_none_or(|first| cleaned.below <= first);
        if self.cleaned.as_ref().is_none_or(has_gone) {
            self.cleaned = Some(Cleaned { below: done.order.index, since: now });
        }
    }
}

/// What a compaction may take.
#[derive(Clone, Copy, Debug)]
pub struct CompactionBounds {
    /// About how many bytes are read at once.
    pub read_bytes: u64,
    /// The bytes of the map of keys. It must hold the keys of any one batch.
    pub map_bytes: usize,
    /// Segments that became small are written together up to this many bytes.
    pub merged_bytes: u64,
}

/// What a compaction has read, and how many records and bytes it has removed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionWork {
    /// The bytes of data that were read.
    pub read_bytes: u64,
    /// The bytes of data that were written.
    pub written_bytes: u64,
    /// The records that went.
    pub records: u64,
}

/// How it is told to a compaction whether it may go on, after so many bytes that it has read or
/// written. It may be kept waiting.
pub type Pace<'a> = &'a mut dyn FnMut(u64) -> bool;

/// A compaction under way.
pub struct Compaction<'a> {
    log: &'a LogReader,
    order: Order,
    bounds: CompactionBounds,
    pace: Pace<'a>,
    /// What it has done so far.
    pub work: CompactionWork,
    left: Left,
    /// In the run under way a record went that may have been the last of its key.
    ends_keys: bool,
}

/// What is left that time will end: see [`Compacted`].
#[derive(Default)]
struct Left {
    first_tombstone: Option<u64>,
    first_end: Option<Timestamp>,
    oldest_record: Option<Timestamp>,
}

/// Segments that are read, and perhaps written, as one.
struct Run {
    range: Range<u64>,
    mark: SegmentMark,
    is_merged: bool,
}

/// How a run has ended.
enum RunEnd {
    /// Nothing is left in it that is to go.
    Cleaned,
    /// There was no room for what was to be written, or it could not take its place.
    NotWritten,
    /// The whole compaction ends.
    CutShort,
}

impl<'a> Compaction<'a> {
    /// The compaction of a log as it was ordered.
    pub fn new(log: &'a LogReader, order: Order, bounds: CompactionBounds, pace: Pace<'a>) -> Self {
        let (work, left) = (CompactionWork::default(), Left::default());
        Self { log, order, bounds, pace, work, left, ends_keys: false }
    }

    /// Carries it out. `None` where it could not be brought to its end now: its caller has ended
    /// it, or the disk has no room. Waits for the disk.
    pub fn run(&mut self) -> Result<Option<Compacted>> {
        let mut from = self.log.compaction().done.map_or(0, |done| done.order.index);
        loop {
            let Some((keys, end)) = self.map_keys(from)? else { return Ok(None) };
            if end == from && from < self.order.index {
                tracing::warn!("a batch has more keys than the map of a compaction holds");
                return Ok(None);
            }
            let verdict = Verdict { keys: &keys, clean_up: self.order.clean_up };
            self.left = Left::default();
            if !self.clean(end, &verdict)? {
                return Ok(None);
            }
            if end >= self.order.index {
                break;
            }
            from = end;
        }
        // That it is done will be known after a crash: it must be so then.
        if !self.log.keep_rewrites()? {
            return Ok(None);
        }
        let Left { first_tombstone, first_end, oldest_record } = self.left;
        Ok(Some(Compacted { order: self.order, first_tombstone, first_end, oldest_record }))
    }

    /// The keys of what was never compacted, or of as much as there is room for, and the index of
    /// the first entry that is not among it.
    fn map_keys(&mut self, from: u64) -> Result<Option<(KeyMap, u64)>> {
        let end = self.order.index;
        let mut at = from.max(self.log.start().index + 1);
        let offset = |index: u64| {
            let meta = self.log.meta(index);
            meta.map(|meta| meta.map_or(Offset::ZERO, |meta| meta.base_offset))
        };
        let (base, last) = (offset(at)?, offset(end)?);
        let mut keys = KeyMap::new(base, last.since(base), self.bounds.map_bytes);
        while at < end {
            let Some(entries) = self.read(at..end)? else { return Ok(None) };
            // A part of the log went meanwhile.
            let Some(last) = entries.last() else {
                let begin = self.log.start().index + 1;
                if begin <= at {
                    return Ok(None);
                }
                at = begin;
                continue;
            };
            at = last.index + 1;
            for entry in entries.iter().filter(|entry| entry.meta.record_count > 0) {
                if !keys_of(&self.batch(entry)?, |key, offset| keys.note(key, offset)) {
                    return Ok(Some((keys, entry.index)));
                }
            }
        }
        Ok(Some((keys, end)))
    }

    /// Takes from every segment before the order what goes; of entries before `end`.
    fn clean(&mut self, end: u64, verdict: &Verdict<'_>) -> Result<bool> {
        let mut may_merge = end >= self.order.index;
        let mut at = 0;
        while let Some(run) = self.next_run(at, may_merge) {
            let records = self.work.records;
            match self.clean_run(&run, end, verdict)? {
                RunEnd::Cleaned => at = run.range.end,
                // Small segments are no reason to put the order off: each stays by itself.
                RunEnd::NotWritten if run.is_merged => {
                    (may_merge, self.work.records) = (false, records);
                }
                RunEnd::NotWritten | RunEnd::CutShort => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next segment from an index on that nothing is added to; several together, where they
    /// are many and small.
    fn next_run(&self, from: u64, may_merge: bool) -> Option<Run> {
        let segments = self.log.segments();
        let begin = segments.partition_point(|segment| segment.base_index < from);
        let ends: Vec<u64> = segments.iter().skip(1).map(|next| next.base_index).collect();
        let is_closed = |at: usize| ends.get(at).is_some_and(|end| *end <= self.order.index);
        if !is_closed(begin) {
            return None;
        }
        let (mut count, mut bytes) = (0, 0);
        while is_closed(begin + count) {
            bytes += segments[begin + count].bytes;
            if bytes > self.bounds.merged_bytes {
                break;
            }
            count += 1;
        }
        let is_merged = may_merge && count >= MERGED_SEGMENTS;
        let count = if is_merged { count } else { 1 };
        let mark = segments[begin];
        Some(Run { range: mark.base_index..ends[begin + count - 1], mark, is_merged })
    }

    /// Reads a run, and writes it anew if something goes.
    fn clean_run(&mut self, run: &Run, end: u64, verdict: &Verdict<'_>) -> Result<RunEnd> {
        let first = run.range.start.max(self.log.start().index + 1);
        let mut at = first;
        let mut mark = SegmentMark { bytes: 0, max_timestamp: Timestamp::MIN, ..run.mark };
        let mut rewrite = None;
        self.ends_keys = false;
        while at < run.range.end {
            let read = self.read(at..run.range.end)?;
            let Some(entries) = read else { return Ok(RunEnd::CutShort) };
            let Some(last) = entries.last().map(|entry| entry.index) else {
                return Ok(self.end_of_trimmed(run));
            };
            let mut shrunk = Vec::with_capacity(entries.len());
            let mut is_changed = false;
            for entry in entries {
                let new = if entry.index < end { self.shrunk(&entry, verdict)? } else { None };
                is_changed |= new.is_some();
                shrunk.push(new.unwrap_or(entry));
            }
            if rewrite.is_none() && (is_changed || run.is_merged) {
                let begun = self.begin_rewrite(&run.range)?;
                let Some(mut begun) = begun else { return Ok(RunEnd::NotWritten) };
                // What stands before stays as it is.
                let mut copied = first;
                while copied < at {
                    let read = self.read(copied..at)?;
                    let Some(entries) = read else { return Ok(RunEnd::CutShort) };
                    let Some(last) = entries.last() else { return Ok(self.end_of_trimmed(run)) };
                    copied = last.index + 1;
                    if !begun.push(self.marked(entries, &mut mark))? {
                        return Ok(RunEnd::NotWritten);
                    }
                }
                rewrite = Some(begun);
            }
            at = last + 1;
            if let Some(rewrite) = &mut rewrite
                && !rewrite.push(self.marked(shrunk, &mut mark))?
            {
                return Ok(RunEnd::NotWritten);
            }
        }
        let Some(rewrite) = rewrite else { return Ok(RunEnd::Cleaned) };
        if !rewrite.finish()? {
            return Ok(RunEnd::NotWritten);
        }
        self.log.rewritten(&run.range, mark, self.ends_keys);
        Ok(RunEnd::Cleaned)
    }

    fn begin_rewrite(&self, range: &Range<u64>) -> Result<Option<Box<dyn Rewrite + 'a>>> {
        let log = self.log;
        let begun = log.rewrite(range.clone())?;
        // What was written anew so far may stand on the disk twice until it is kept.
        if begun.is_some() || self.work.written_bytes == 0 || !log.keep_rewrites()? {
            return Ok(begun);
        }
        log.rewrite(range.clone())
    }

    /// How a run ends of which something was trimmed. Where only a part of it is gone, what is left
    /// still has to be cleaned: the order is not carried out yet.
    fn end_of_trimmed(&self, run: &Run) -> RunEnd {
        let is_gone = self.log.start().index + 1 >= run.range.end;
        if is_gone { RunEnd::Cleaned } else { RunEnd::CutShort }
    }

    /// What is left of an entry; `None` where all of it is.
    fn shrunk(&mut self, entry: &LogEntry, verdict: &Verdict<'_>) -> Result<Option<LogEntry>> {
        if entry.meta.record_count == 0 {
            return Ok(None);
        }
        let batch = self.batch(entry)?;
        let Shrunk { left, has_tombstones, first_end, ends_keys } = shrink(&batch, verdict);
        self.ends_keys |= ends_keys;
        self.left.first_end = self.left.first_end.into_iter().chain(first_end).min();
        let records =
            left.as_ref().map_or(batch.header.records_left(), |left| left.header.records_left());
        let appended = (records > 0).then_some(batch.header.append_time);
        self.left.oldest_record = self.left.oldest_record.into_iter().chain(appended).min();
        if has_tombstones {
            self.left.first_tombstone.get_or_insert(entry.index);
        }
        Ok(left.map(|left| {
            self.work.records += u64::from(batch.header.records_left() - records);
            let mut meta = entry.meta;
            meta.max_timestamp = left.header.max_timestamp;
            LogEntry { index: entry.index, meta, data: left.stored() }
        }))
    }

    /// Entries as those of the segment that they are in now.
    fn marked(&mut self, mut entries: Vec<LogEntry>, mark: &mut SegmentMark) -> Vec<LogEntry> {
        for entry in &mut entries {
            mark.bytes += entry.data.len() as u64;
            mark.max_timestamp = mark.max_timestamp.max(entry.meta.max_timestamp);
            entry.meta.segment = *mark;
            self.work.written_bytes += entry.data.len() as u64;
        }
        entries
    }

    fn read(&mut self, range: Range<u64>) -> Result<Option<Vec<LogEntry>>> {
        let entries = self.log.stored_entries(range, self.bounds.read_bytes)?;
        let bytes: u64 = entries.iter().map(|entry| entry.data.len() as u64).sum();
        self.work.read_bytes += bytes;
        Ok((self.pace)(bytes).then_some(entries))
    }

    fn batch(&self, entry: &LogEntry) -> Result<StoredBatch> {
        let damaged = |error| StorageError::entry(self.log.group(), entry.index, &error);
        StoredBatch::trusted(&entry.data).map_err(damaged)
    }
}

#[cfg(test)]
mod tests;
