//! A stretch of a log is written anew, to a file of its own, and takes the place of the old one.
//!
//! The new chunks are synced before anything refers to them. Then memory has them instead of the
//! old ones, and the next checkpoint brings that into the index, all in one frame; only then do the
//! old files go. A crash before the frame leaves the old chunks and a file that nobody knows, which
//! goes at the next start.

use std::ops::Range;
use std::sync::atomic::Ordering;

use ropewalk_core::GroupId;

use super::core::Core;
use super::drain::{Done, Job, MAX_ENTRIES};
use super::keys::Key;
use super::segments::Unsynced;
use crate::engine::{LogEntry, Result, Rewrite};

/// See [`Rewrite`].
struct DiskRewrite<'a> {
    core: &'a Core,
    range: Range<u64>,
    job: Job,
    done: Done,
    /// Entries of the chunk that is not full yet, and the bytes of their data.
    waiting: Vec<LogEntry>,
    waiting_bytes: usize,
    /// The index of the first entry that was taken, and the last one.
    first: Option<u64>,
    last: Option<LogEntry>,
    log_start: u64,
    buffer: Vec<u8>,
    unsynced: Unsynced,
    is_in_place: bool,
}

impl Core {
    /// See [`crate::Engine::rewrite`].
    pub(super) fn begin_rewrite(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes: u64,
    ) -> Result<Option<Box<dyn Rewrite + '_>>> {
        // Nobody drains meanwhile: a drain knows the number of the next file.
        let mut work = self.work();
        // The old entries stay until the new ones are in their place.
        let is_refused = self.is_refused.load(Ordering::Relaxed);
        let has_room = !is_refused && self.bytes_above_floor()? >= bytes;
        let is_held = || {
            let state = self.state();
            let log = state.logs.get(&group);
            log.and_then(|log| log.first_held()).is_some_and(|first| first < range.end)
        };
        if has_room && is_held() {
            let (chunk, unsynced) = (&mut std::mem::take(&mut work.chunk), &mut work.unsynced);
            let drained = self.drain_groups(&[group], true, chunk, unsynced);
            self.has_drained(drained)?;
        }
        let mut state = self.state_mut();
        let Some(log) = state.logs.get_mut(&group) else { return Ok(None) };
        let span = log.span();
        let is_there = range.end > span.start + 1
            && range.end <= span.last.min(span.committed) + 1
            && log.first_held().is_none_or(|first| first >= range.end);
        if !has_room || !is_there {
            return Ok(None);
        }
        let (job, done) = Job::anew(group, log.number, log.next_segment);
        log.next_segment += 1;
        Ok(Some(Box::new(DiskRewrite {
            core: self,
            range,
            job,
            done,
            waiting: Vec::new(),
            waiting_bytes: 0,
            first: None,
            last: None,
            log_start: span.start,
            buffer: Vec::new(),
            unsynced: Unsynced::default(),
            is_in_place: false,
        })))
    }
}

impl Rewrite for DiskRewrite<'_> {
    fn log_start(&self) -> u64 {
        self.log_start
    }

    fn push(&mut self, entries: Vec<LogEntry>) -> Result<bool> {
        for entry in entries {
            let bytes = entry.data.len();
            let is_full = self.waiting_bytes + bytes > self.core.options.chunk_bytes
                || self.waiting.len() == MAX_ENTRIES;
            if !self.waiting.is_empty() && is_full && !self.write_waiting()? {
                return Ok(false);
            }
            self.first.get_or_insert(entry.index);
            self.last = Some(LogEntry { data: bytes::Bytes::new(), ..entry.clone() });
            self.waiting.push(entry);
            self.waiting_bytes += bytes;
        }
        Ok(true)
    }

    fn finish(mut self: Box<Self>) -> Result<bool> {
        if !self.write_waiting()? {
            return Ok(false);
        }
        self.core.files.sync(&mut self.unsynced)?;
        self.is_in_place = self.take_place()?;
        if self.is_in_place {
            self.core.checkpoint_alarm.ring();
        }
        Ok(self.is_in_place)
    }
}

impl DiskRewrite<'_> {
    fn write_waiting(&mut self) -> Result<bool> {
        let entries = std::mem::take(&mut self.waiting);
        let bytes = std::mem::take(&mut self.waiting_bytes);
        // What is left is for records that come meanwhile, and below the floor for what makes room.
        if self.core.bytes_above_floor()? < bytes as u64 {
            return Ok(false);
        }
        let Self { core, job, done, buffer, unsynced, .. } = self;
        let written = core.write_chunk(job, &entries, done, buffer, unsynced);
        match written {
            Err(error) if error.is_no_space() => Ok(false),
            written => written.map(|()| true),
        }
    }

    /// Has memory refer to the new chunks, if the log is as it was.
    fn take_place(&mut self) -> Result<bool> {
        let (core, group, log) = (self.core, self.job.group, self.job.log);
        // The index must not change: it tells which chunks are to go from it.
        let checkpoints = core.checkpoints();
        let _work = core.work();
        let Some(last) = self.last.take() else { return Ok(false) };
        if checkpoints.kept.is_some() || last.index + 1 != self.range.end {
            return Ok(false);
        }
        let (first, end) = (Key::Chunk(log, self.range.start), Key::Chunk(log, last.index));
        let mut known = Vec::new();
        core.index.for_each(&first.encode(), &end.encode(), &mut |key, _| {
            if let Key::Chunk(_, first) = core.decoded(key, Key::decode(key))? {
                known.push(first);
            }
            Ok(())
        })?;
        let mut state = core.state_mut();
        let found = state.logs.get_mut(&group).filter(|found| found.number == log);
        let Some(found) = found.filter(|found| found.span().contains(last.index)) else {
            return Ok(false);
        };
        let held = self.range.start.max(found.span().start + 1);
        if self.first.is_none_or(|first| first > held) {
            return Ok(false);
        }
        let chunks = std::mem::take(&mut self.done.chunks);
        let file = self.done.segments.first().copied();
        found.replace(&self.range, (chunks, file), known, last.meta);
        state.dirty.insert(group);
        state.has_garbage = true;
        Ok(true)
    }
}

impl Drop for DiskRewrite<'_> {
    /// What has not taken its place goes. What cannot be removed now is removed at the next start.
    fn drop(&mut self) {
        if self.is_in_place || self.done.segments.is_empty() {
            return;
        }
        let (core, group, log) = (self.core, self.job.group, self.job.log);
        let mut work = core.work();
        let is_there = core.state().logs.get(&group).is_some_and(|found| found.number == log);
        let removed = match is_there {
            true => {
                let mut files = self.done.segments.iter().map(|file| (log, file.number));
                files.try_for_each(|file| core.files.remove(file, &mut work.unsynced))
            }
            false => core.files.remove_log(log, &mut work.unsynced),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "a file that is of no use stays until the next start");
        }
    }
}
