//! What the engine holds in memory: every log's state, and the entries that are in no chunk yet.
//!
//! It is what the index says at the last checkpoint, with every frame of the journal since applied
//! to it. Readers look here first. Pure: it knows neither files nor threads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use raft::eraftpb::{ConfState, HardState};
use ropewalk_core::{GroupId, ReplicaId};

use super::values::{ChunkValue, GroupValue};
use crate::contract::{self, Span, SpanChange};
use crate::engine::{EntryMeta, GroupState, GroupWrite, LogEntry, LogStart, Result};
use crate::queue;

/// The bytes that an entry counts for besides its data.
const ENTRY_BYTES: u64 = size_of::<LogEntry>() as u64;

/// A segment file of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) base_index: u64,
    /// How long it is, and how long the index knows it to be.
    pub(super) bytes: u64,
    pub(super) stored_bytes: u64,
    /// The last entry in it, or one after it.
    pub(super) last: u64,
}

/// A log and the state around it.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) number: u64,
    replica: ReplicaId,
    hard_state: HardState,
    conf_state: ConfState,
    pub(super) start: LogStart,
    committed: u64,
    /// The last entry that stands in a chunk.
    pub(super) drained: Option<(u64, EntryMeta)>,
    /// The entries after it.
    entries: VecDeque<LogEntry>,
    /// The bytes of those of them that are committed.
    pub(super) drainable_bytes: u64,
    /// Rows that changed since the last checkpoint, and those that the one under way writes.
    pub(super) rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(super) flushing: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Chunks that the index does not have yet, by first entry.
    pub(super) chunks: BTreeMap<u64, ChunkValue>,
    /// Its files, oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// Number of the next file.
    pub(super) next_segment: u64,
    /// Chunks up to this index were looked for in the index, to be removed.
    pub(super) swept: u64,
    /// Chunks, by first entry, and files that others have taken the place of, and that the index
    /// may still have.
    pub(super) replaced: Replaced,
}

/// What the index is to forget, as something else stands in its place.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    pub(super) chunks: Vec<u64>,
    pub(super) files: Vec<u64>,
}

impl Log {
    /// A log as the index has it.
    pub(super) fn stored(value: GroupValue, mut segments: VecDeque<Segment>) -> Self {
        // One that was written anew has a higher number than those that come after it.
        let newest = segments.iter().map(|segment| segment.number).max();
        let next_segment = newest.map_or(1, |number| number + 1);
        let order = |segment: &Segment| (segment.base_index, segment.number);
        segments.make_contiguous().sort_by_key(order);
        let drained = value.drained.map_or(0, |(index, _)| index);
        let mut last = drained;
        for segment in segments.iter_mut().rev() {
            segment.last = last;
            last = segment.base_index.saturating_sub(1);
        }
        Self {
            number: value.log,
            replica: value.replica,
            committed: value.hard_state.commit.max(value.start.index).max(drained),
            hard_state: value.hard_state,
            conf_state: value.conf_state,
            start: value.start,
            drained: value.drained,
            entries: VecDeque::new(),
            drainable_bytes: 0,
            rows: BTreeMap::new(),
            flushing: BTreeMap::new(),
            chunks: BTreeMap::new(),
            segments,
            next_segment,
            swept: 0,
            replaced: Replaced::default(),
        }
    }

    /// What the index is to know.
    pub(super) fn value(&self) -> GroupValue {
        GroupValue {
            log: self.number,
            replica: self.replica,
            hard_state: self.hard_state.clone(),
            conf_state: self.conf_state.clone(),
            start: self.start,
            drained: self.drained,
        }
    }

    /// The last entry, if the log has any.
    fn last(&self) -> Option<(u64, EntryMeta)> {
        let last = self.entries.back().map(|entry| (entry.index, entry.meta)).or(self.drained);
        last.filter(|(index, _)| *index > self.start.index)
    }

    /// Which indexes it holds.
    pub(super) fn span(&self) -> Span {
        let last = self.last().map_or(self.start.index, |(index, _)| index);
        Span { start: self.start.index, last, committed: self.committed }
    }

    /// An entry that is in no chunk yet.
    pub(super) fn entry(&self, index: u64) -> Option<&LogEntry> {
        let at = index.checked_sub(self.entries.front()?.index)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// What is known of the last entry that stands in a chunk, if it is this one.
    pub(super) fn drained_meta(&self, index: u64) -> Option<EntryMeta> {
        let (last, meta) = self.drained?;
        (last == index && self.span().contains(index)).then_some(meta)
    }

    /// The index of the first entry that is in no chunk.
    pub(super) fn first_held(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.index)
    }

    /// The entries from an index on that are in no chunk yet.
    pub(super) fn held_from(&self, index: u64) -> impl Iterator<Item = &LogEntry> {
        let skipped = self.first_held().map_or(0, |first| index.saturating_sub(first));
        self.entries.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX))
    }

    /// The entries that are committed and in no chunk yet.
    pub(super) fn drainable(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter().take_while(|entry| entry.index <= self.committed)
    }

    /// The row as it is now, if it changed since the last checkpoint.
    pub(super) fn changed_rows(&self) -> BTreeMap<&Vec<u8>, &Option<Vec<u8>>> {
        self.flushing.iter().chain(&self.rows).collect()
    }

    fn state(&self, group: GroupId) -> GroupState {
        GroupState {
            group,
            replica: self.replica,
            hard_state: self.hard_state.clone(),
            conf_state: self.conf_state.clone(),
            start: self.start,
            last: self.last(),
        }
    }

    /// Takes a change that was checked; returns by how many bytes memory grew and shrank.
    fn apply(&mut self, write: &GroupWrite, change: &SpanChange) -> (u64, u64) {
        let (mut grown, mut shrunk) = (0, 0);
        if let Some(from) = change.cut_from {
            while let Some(entry) = self.entries.pop_back_if(|last| last.index >= from) {
                shrunk += self.let_go(&entry);
            }
        }
        for entry in write.append.iter().filter(|entry| change.span.contains(entry.index)) {
            grown += held_bytes(entry);
            if entry.index <= self.committed {
                self.drainable_bytes += held_bytes(entry);
            }
            self.entries.push_back(entry.clone());
        }
        if let Some(start) = write.start {
            self.start = start;
            while let Some(entry) = self.entries.pop_front_if(|first| first.index <= start.index) {
                shrunk += self.let_go(&entry);
            }
            self.chunks.retain(|_, chunk| chunk.last > start.index);
        }
        let newly = self.held_from(self.committed + 1);
        let newly = newly.take_while(|entry| entry.index <= change.span.committed);
        self.drainable_bytes += newly.map(held_bytes).sum::<u64>();
        self.committed = change.span.committed;
        if let Some(state) = &write.hard_state {
            self.hard_state = state.clone();
        }
        if let Some(state) = &write.conf_state {
            self.conf_state = state.clone();
        }
        for (key, row) in &write.rows {
            self.rows.insert(key.clone(), row.clone());
        }
        (grown, shrunk)
    }

    /// An entry is no longer held. Returns the bytes that it took.
    fn let_go(&mut self, entry: &LogEntry) -> u64 {
        let bytes = held_bytes(entry);
        if entry.index <= self.committed {
            self.drainable_bytes -= bytes;
        }
        bytes
    }

    /// Lets files go of which no entry is left. Only whoever writes to them may do that.
    pub(super) fn drop_segments(&mut self) -> Vec<Segment> {
        let count = self.droppable().count();
        self.segments.drain(..count).collect()
    }

    /// Files of which no entry is left.
    pub(super) fn droppable(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().take_while(|segment| segment.last <= self.start.index)
    }

    /// Files of which no entry is left, as can be told from the index and the log's start alone: a
    /// start after a crash will know it too.
    pub(super) fn expendable(&self) -> impl Iterator<Item = &Segment> {
        let stored = || self.segments.iter().filter(|segment| segment.stored_bytes > 0);
        let pairs = stored().zip(stored().skip(1));
        let is_gone = |next: &Segment| next.base_index <= self.start.index + 1;
        pairs.take_while(move |(_, next)| is_gone(next)).map(|(segment, _)| segment)
    }

    /// The index has this much of a file.
    pub(super) fn segment_stored(&mut self, number: u64, bytes: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|of| of.number == number) {
            segment.stored_bytes = bytes;
        }
    }

    /// The file that is written to; none when nothing is left of it.
    pub(super) fn open_segment(&self) -> Option<Segment> {
        let is_left = self.droppable().count() < self.segments.len();
        self.segments.back().copied().filter(|_| is_left)
    }

    /// A stretch of whole segments stands in these chunks, and in this file if it needs one, from
    /// now on. `known` are the chunks of it that the index has, by first entry; `last` is what is
    /// known of its last entry.
    pub(super) fn replace(
        &mut self,
        range: &Range<u64>,
        (chunks, file): (Vec<(u64, ChunkValue)>, Option<Segment>),
        known: Vec<u64>,
        last: EntryMeta,
    ) {
        let fresh: Vec<u64> = self.chunks.range(range.clone()).map(|(first, _)| *first).collect();
        self.chunks.retain(|first, _| !range.contains(first));
        self.replaced.chunks.extend(fresh.into_iter().chain(known));
        let is_replaced = |segment: &Segment| range.contains(&segment.base_index);
        let gone = self.segments.iter().filter(|segment| is_replaced(segment));
        self.replaced.files.extend(gone.map(|segment| segment.number));
        self.segments.retain(|segment| !is_replaced(segment));
        if let Some(file) = file {
            let place = self.segments.partition_point(|of| of.base_index < range.start);
            self.segments.insert(place, file);
        }
        self.chunks.extend(chunks.into_iter().filter(|(_, chunk)| chunk.last > self.start.index));
        if let Some(drained) = self.drained.as_mut().filter(|(index, _)| index + 1 == range.end) {
            drained.1 = last;
        }
    }

    /// Entries up to the last of these chunks stand in them. Returns the bytes that memory shrank.
    pub(super) fn drain(&mut self, chunks: Vec<(u64, ChunkValue)>, last: EntryMeta) -> u64 {
        let Some(end) = chunks.last().map(|(_, chunk)| chunk.last) else { return 0 };
        let mut shrunk = 0;
        while let Some(entry) = self.entries.pop_front_if(|first| first.index <= end) {
            shrunk += self.let_go(&entry);
        }
        queue::give_back(&mut self.entries);
        self.drained = Some((end, last));
        // A chunk that was trimmed meanwhile is never seen.
        self.chunks.extend(chunks.into_iter().filter(|(_, chunk)| chunk.last > self.start.index));
        shrunk
    }
}

/// The bytes that an entry takes in memory.
pub(super) fn held_bytes(entry: &LogEntry) -> u64 {
    entry.data.len() as u64 + ENTRY_BYTES
}

/// A log that is gone, and whose keys and files are not.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) group: GroupId,
    pub(super) log: u64,
    /// Its segment files that the index may have.
    pub(super) segments: Vec<u64>,
}

/// All logs.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Every frame up to here is applied.
    pub(super) lsn: u64,
    /// In boxes: a map's nodes are half empty.
    pub(super) logs: BTreeMap<GroupId, Box<Log>>,
    pub(super) next_log: u64,
    /// Groups that changed since the last checkpoint began.
    pub(super) dirty: BTreeSet<GroupId>,
    /// Groups that have entries in memory.
    pub(super) holding: BTreeSet<GroupId>,
    /// Logs that went since the last checkpoint began.
    pub(super) gone: Vec<Gone>,
    /// The bytes of all entries in memory.
    pub(super) held_bytes: u64,
    /// The bytes of those that are committed.
    pub(super) drainable_bytes: u64,
    /// Something is to be given back to the disk.
    pub(super) has_garbage: bool,
}

impl State {
    /// Every group.
    pub(super) fn groups(&self) -> Vec<GroupState> {
        self.logs.iter().map(|(group, log)| log.state(*group)).collect()
    }

    /// Checks writes that are to be applied one after the other, and says what each does.
    pub(super) fn check<'a>(
        &self,
        writes: impl Iterator<Item = &'a GroupWrite>,
    ) -> Result<Vec<Option<SpanChange>>> {
        let mut planned: BTreeMap<GroupId, (Option<Span>, Vec<&'a GroupWrite>)> = BTreeMap::new();
        let mut changes = Vec::new();
        for write in writes {
            let log = self.logs.get(&write.group);
            let now = || (log.map(|log| log.span()), Vec::new());
            let (span, before) = planned.entry(write.group).or_insert_with(now);
            let has_term = |index: u64, term: u64| {
                let appended = before.iter().rev().flat_map(|write| write.append.iter().rev());
                let mut found = appended.filter(|entry| entry.index == index);
                let found = found.next().or_else(|| log.and_then(|log| log.entry(index)));
                Ok(found.is_some_and(|entry| entry.meta.term == term))
            };
            let change = contract::check(*span, write, has_term)?;
            *span = change.map(|change| change.span);
            if change.is_none() {
                before.clear();
            }
            before.push(write);
            changes.push(change);
        }
        Ok(changes)
    }

    /// Takes a write that was checked.
    pub(super) fn apply(&mut self, write: &GroupWrite, change: Option<&SpanChange>) {
        self.dirty.insert(write.group);
        let Some(change) = change else {
            self.delete(write.group);
            return;
        };
        if let Some(replica) = write.create {
            self.create(write.group, replica);
        }
        let Some(log) = self.logs.get_mut(&write.group) else { return };
        let drainable = log.drainable_bytes;
        let (grown, shrunk) = log.apply(write, change);
        self.held_bytes = self.held_bytes + grown - shrunk;
        self.drainable_bytes = self.drainable_bytes + log.drainable_bytes - drainable;
        self.has_garbage |= write.start.is_some() && write.create.is_none();
        if log.entries.is_empty() {
            self.holding.remove(&write.group);
        } else {
            self.holding.insert(write.group);
        }
    }

    fn create(&mut self, group: GroupId, replica: ReplicaId) {
        self.next_log += 1;
        let value = GroupValue {
            log: self.next_log,
            replica,
            hard_state: HardState::default(),
            conf_state: ConfState::default(),
            start: LogStart::default(),
            drained: None,
        };
        self.logs.insert(group, Box::new(Log::stored(value, VecDeque::new())));
    }

    fn delete(&mut self, group: GroupId) {
        self.holding.remove(&group);
        let Some(log) = self.logs.remove(&group) else { return };
        self.held_bytes -= log.entries.iter().map(held_bytes).sum::<u64>();
        self.drainable_bytes -= log.drainable_bytes;
        let segments = log.segments.iter().map(|segment| segment.number);
        let segments = segments.chain(log.replaced.files).collect();
        self.gone.push(Gone { group, log: log.number, segments });
        self.has_garbage = true;
    }

    /// Entries of a log stand in chunks now.
    pub(super) fn drained(
        &mut self,
        group: GroupId,
        log: u64,
        chunks: Vec<(u64, ChunkValue)>,
        last: EntryMeta,
    ) {
        let Some(found) = self.logs.get_mut(&group).filter(|found| found.number == log) else {
            return;
        };
        let drained = found.drain(chunks, last);
        self.held_bytes -= drained;
        self.drainable_bytes -= drained;
        if found.entries.is_empty() {
            self.holding.remove(&group);
        }
    }
}
