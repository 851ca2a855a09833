//! From memory to segments: writes committed entries out as chunks.
//!
//! Nothing is synced here; until the next checkpoint the journal stands for what was drained. A
//! chunk never reaches over the end of a log segment, so that a file can go as a whole. What is too
//! little for a file goes into the index, together with what was too little before.

use bytes::Bytes;
use ropewalk_core::GroupId;

use super::chunk;
use super::core::Core;
use super::keys::Key;
use super::segments::{FileId, Unsynced};
use super::state::{Log, Segment, State};
use super::values::{ChunkValue, MAX_INLINE_BYTES, Place};
use super::work::Work;
use crate::disk::BLOCK;
use crate::engine::{EntryMeta, LogEntry, Result};

/// A chunk has at most this many entries, so that finding one of them in it stays cheap.
pub(super) const MAX_ENTRIES: usize = 4_096;
/// A buffer that has grown beyond this is given back.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Committed entries of a log, on their way into chunks.
pub(super) struct Job {
    pub(super) group: GroupId,
    pub(super) log: u64,
    pub(super) entries: Vec<LogEntry>,
    segment: Option<Segment>,
    next_segment: u64,
    start: u64,
}

impl Job {
    /// Entries that are written anew, to a file of this number.
    pub(super) fn anew(group: GroupId, log: u64, file: u64) -> (Self, Done) {
        let (segment, next_segment) = (None, file);
        let job = Self { group, log, entries: Vec::new(), segment, next_segment, start: 0 };
        (job, Done { chunks: Vec::new(), segments: Vec::new(), next_segment })
    }

    /// All of a log that can be written out, if there is anything.
    pub(super) fn of(group: GroupId, log: &Log) -> Option<Self> {
        (log.drainable_bytes > 0).then(|| Self {
            group,
            log: log.number,
            entries: log.drainable().cloned().collect(),
            segment: log.open_segment(),
            next_segment: log.next_segment,
            start: log.start.index,
        })
    }

    /// The last of the entries.
    pub(super) fn last(&self) -> Option<(u64, EntryMeta)> {
        self.entries.last().map(|entry| (entry.index, entry.meta))
    }
}

/// What became of them.
pub(super) struct Done {
    pub(super) chunks: Vec<(u64, ChunkValue)>,
    /// The files that they are in, and the one that was open before.
    pub(super) segments: Vec<Segment>,
    next_segment: u64,
}

impl Done {
    /// Where the next chunk of a segment is to stand.
    fn end_of(&self, base_index: u64) -> u64 {
        let open = self.segments.last().filter(|last| last.base_index == base_index);
        open.map_or(0, |segment| segment.bytes)
    }
}

/// Makes room for this many bytes that are aligned in memory; returns where they begin.
fn align(buffer: &mut Vec<u8>, bytes: usize) -> usize {
    buffer.clear();
    buffer.reserve(bytes + BLOCK);
    let begin = buffer.as_ptr().align_offset(BLOCK);
    buffer.resize(begin, 0);
    begin
}

impl Core {
    /// Writes committed entries out: those of logs that have enough of them, or of `all` logs. Two
    /// threads share the logs, as one spends half of its time waiting for the disk: 16 partitions
    /// take 730 instead of 580 MB/s.
    pub(super) fn drain(&self, work: &mut Work, all: bool) -> Result<()> {
        let groups: Vec<GroupId> = self.state().holding.iter().copied().collect();
        if !self.options.background || groups.len() < 2 {
            return self.drain_groups(&groups, all, &mut work.chunk, &mut work.unsynced);
        }
        let (mine, others) = groups.split_at(groups.len() / 2);
        let (mut chunk, mut unsynced) = (std::mem::take(&mut work.second), Unsynced::default());
        let drained = std::thread::scope(|scope| {
            let other = scope.spawn(|| self.drain_groups(others, all, &mut chunk, &mut unsynced));
            let mine = self.drain_groups(mine, all, &mut work.chunk, &mut work.unsynced);
            worse(mine, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        // Also after an error: what was written is there, and is to be synced or to go.
        work.second = chunk;
        work.unsynced.add(unsynced);
        drained
    }

    pub(super) fn drain_groups(
        &self,
        groups: &[GroupId],
        all: bool,
        chunk: &mut Vec<u8>,
        unsynced: &mut Unsynced,
    ) -> Result<()> {
        for group in groups {
            let Some(job) = self.job(*group, all) else { continue };
            let done = self.write_chunks(&job, chunk, unsynced)?;
            self.take_drained(&job, done, true);
        }
        Ok(())
    }

    fn job(&self, group: GroupId, all: bool) -> Option<Job> {
        let state = self.state();
        let log = state.logs.get(&group)?;
        let is_enough = all || log.drainable_bytes >= self.options.drain_bytes;
        is_enough.then(|| Job::of(group, log)).flatten()
    }

    /// What was written out need not be kept in memory. `is_new` where no checkpoint has it yet.
    pub(super) fn take_drained(&self, job: &Job, done: Done, is_new: bool) {
        let mut state = self.state_mut();
        if let Some((_, last)) = job.last() {
            take_segments(&mut state, job, &done);
            state.drained(job.group, job.log, done.chunks, last);
            if is_new {
                state.dirty.insert(job.group);
            }
        }
        drop(state);
        self.notify_drained();
    }

    pub(super) fn write_chunks(
        &self,
        job: &Job,
        chunk: &mut Vec<u8>,
        unsynced: &mut Unsynced,
    ) -> Result<Done> {
        let mut done = Done {
            chunks: Vec::new(),
            segments: job.segment.into_iter().collect(),
            next_segment: job.next_segment,
        };
        let parts = parts(&job.entries, self.options.chunk_bytes);
        for (number, part) in parts.iter().enumerate() {
            let before = if number == 0 { self.inline_before(job, part)? } else { Vec::new() };
            if before.is_empty() {
                self.write_chunk(job, part, &mut done, chunk, unsynced)?;
            } else {
                let part = [before.as_slice(), part].concat();
                self.write_chunk(job, &part, &mut done, chunk, unsynced)?;
            }
        }
        Ok(done)
    }

    /// Writes a chunk behind what its segment has; or puts a small one where the index will have
    /// it.
    pub(super) fn write_chunk(
        &self,
        job: &Job,
        entries: &[LogEntry],
        done: &mut Done,
        buffer: &mut Vec<u8>,
        unsynced: &mut Unsynced,
    ) -> Result<()> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let base_index = first.meta.segment.base_index;
        let at = done.end_of(base_index);
        if buffer.capacity() > KEPT_BYTES {
            *buffer = Vec::new();
        }
        let begin = align(buffer, chunk::max_bytes(entries));
        let data: usize = entries.iter().map(|entry| entry.data.len()).sum();
        let is_large = data >= self.options.unbuffered_bytes;
        chunk::encode_into(buffer, job.log, entries, is_large.then_some(at));
        let chunk = &buffer[begin..];
        let place = if chunk.len() <= MAX_INLINE_BYTES {
            Place::Inline(Bytes::copy_from_slice(chunk))
        } else {
            let segment = self.open_segment(job, base_index, done, unsynced)?;
            let id: FileId = (job.log, segment.number);
            self.files.write(id, at, chunk, unsynced)?;
            segment.bytes = at + chunk.len() as u64;
            segment.last = last.index;
            let bytes = u32::try_from(chunk.len()).expect("a chunk is far below 4 GiB");
            Place::File { segment: segment.number, at, bytes, crc: chunk::crc(chunk) }
        };
        let (end_offset, newest) = (last.meta.end_offset(), last.meta.newest_so_far);
        done.chunks.push((first.index, ChunkValue { last: last.index, end_offset, newest, place }));
        Ok(())
    }

    /// The file that chunks of a segment go to; a new one where the segment is new.
    fn open_segment<'a>(
        &self,
        job: &Job,
        base_index: u64,
        done: &'a mut Done,
        unsynced: &mut Unsynced,
    ) -> Result<&'a mut Segment> {
        if done.segments.last().is_none_or(|last| last.base_index != base_index) {
            let number = done.next_segment;
            done.next_segment += 1;
            self.files.create((job.log, number), unsynced)?;
            done.segments.push(Segment { number, base_index, last: 0, bytes: 0, stored_bytes: 0 });
            tracing::debug!(target: super::MOMENTS, log = job.log, number, "segment rolled");
        }
        Ok(done.segments.last_mut().expect("a segment was just made"))
    }

    /// The entries of the log's last chunk, when it stands in the index and the next part is little
    /// too and of the same segment: then one chunk takes both.
    fn inline_before(&self, job: &Job, part: &[LogEntry]) -> Result<Vec<LogEntry>> {
        let bytes: usize = part.iter().map(|entry| entry.data.len()).sum();
        let Some(next) = part.first().filter(|_| bytes < MAX_INLINE_BYTES) else {
            return Ok(Vec::new());
        };
        let range = (Key::Chunk(job.log, 0), Key::Chunk(job.log, next.index));
        let Some((first, value)) = self.last_chunk(job.group, job.log, range)? else {
            return Ok(Vec::new());
        };
        let Place::Inline(chunk) = &value.place else { return Ok(Vec::new()) };
        let mut entries = self.inline_entries(chunk, job.log, first)?;
        let joins = value.last + 1 == next.index && value.last > job.start;
        let same = entries
            .first()
            .is_some_and(|first| first.meta.segment.base_index == next.meta.segment.base_index);
        if !joins || !same {
            entries.clear();
        }
        Ok(entries)
    }
}

/// Of two ends the worse one: a full disk is waited out, and must not hide a disk that fails.
fn worse(one: Result<()>, other: Result<()>) -> Result<()> {
    match (one, other) {
        (Err(one), Err(other)) => Err(if one.is_no_space() { other } else { one }),
        (one, other) => one.and(other),
    }
}

/// Divides entries into those of one chunk each.
fn parts(entries: &[LogEntry], chunk_bytes: usize) -> Vec<&[LogEntry]> {
    let mut parts = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (at, entry) in entries.iter().enumerate() {
        let is_full = bytes > 0 && bytes + entry.data.len() > chunk_bytes;
        let is_other = entry.meta.segment.base_index != entries[begin].meta.segment.base_index;
        if at > begin && (is_full || is_other || at - begin == MAX_ENTRIES) {
            parts.push(&entries[begin..at]);
            (begin, bytes) = (at, 0);
        }
        bytes += entry.data.len();
    }
    parts.push(&entries[begin..]);
    parts
}

fn take_segments(state: &mut State, job: &Job, done: &Done) {
    let Some(log) = state.logs.get_mut(&job.group).filter(|log| log.number == job.log) else {
        // It went meanwhile. What was written is to go with it.
        let gone = state.gone.iter_mut().find(|gone| gone.log == job.log);
        gone.into_iter().for_each(|gone| {
            gone.segments.extend(done.segments.iter().map(|segment| segment.number));
        });
        return;
    };
    log.next_segment = done.next_segment;
    for segment in &done.segments {
        match log.segments.iter_mut().find(|known| known.number == segment.number) {
            Some(known) => *known = Segment { stored_bytes: known.stored_bytes, ..*segment },
            None => log.segments.push_back(*segment),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;
    use std::path::Path;

    use super::*;
    use crate::files::io_error;

    const ENOSPC: i32 = 28;
    const EIO: i32 = 5;

    #[test]
    fn a_full_disk_does_not_hide_one_that_fails() {
        let end = |code| Err(io_error("write", Path::new("a"), Error::from_raw_os_error(code)));
        for (one, other) in [(ENOSPC, EIO), (EIO, ENOSPC), (EIO, EIO)] {
            assert!(!worse(end(one), end(other)).unwrap_err().is_no_space());
        }
        assert!(worse(end(ENOSPC), Ok(())).unwrap_err().is_no_space());
        assert!(worse(Ok(()), end(EIO)).is_err() && worse(Ok(()), Ok(())).is_ok());
    }
}
