//! One replica group's log: raft's `Storage`, and the only writer of what readers see.
//!
//! It turns what raft wants kept into [`GroupWrite`]s, which somebody else makes durable, and keeps
//! recent entries in memory until they are durable and until the shard's budget pushes them out. It
//! writes nothing itself and knows no thread.

mod behind;
mod compaction;
mod members;
mod raft_storage;
mod snapshots;
mod terms;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use raft::eraftpb::{ConfState, Entry as RaftEntry, EntryType, HardState};
use ropewalk_core::entry::Entry as CoreEntry;
use ropewalk_core::{GroupId, Offset, ReplicaId, Timestamp, limits};

use crate::engine::{
    Engine, EntryMeta, GroupState, GroupWrite, LogEntry, LogStart, Result, Seek, SegmentMark,
    StorageError,
};
use crate::log_view::{LogReader, LogView, ViewState, record_facts};
use crate::planted::Plant;
use behind::Behind;
pub use behind::StoredRun;
use members::MemberHistory;
pub use snapshots::SnapshotData;
use terms::Terms;

/// Every group begins here rather than at 0, so that a new replica always learns the membership
/// from a snapshot, never from an empty log.
pub const BOOTSTRAP_INDEX: u64 = 5;
/// The term of the bootstrap index.
pub const BOOTSTRAP_TERM: u64 = 5;

/// When a segment is closed and the next one begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentPolicy {
    /// At this many bytes.
    pub max_bytes: u64,
    /// At this age.
    pub max_age: Duration,
}

impl Default for SegmentPolicy {
    fn default() -> Self {
        Self { max_bytes: limits::MAX_SEGMENT_BYTES, max_age: Duration::MAX }
    }
}

/// The log of one replica group.
pub struct GroupLog {
    group: GroupId,
    replica: ReplicaId,
    engine: Arc<dyn Engine>,
    view: Arc<LogView>,
    hard_state: HardState,
    /// Raft's membership as of what is applied, and what it was before.
    members: MemberHistory,
    /// The index of the last entry that changed rows, if the group keeps a state machine's rows.
    rows_index: Option<u64>,
    /// The index of the last entry that changed the rows of a partition's producers; 0: none has.
    producers_index: u64,
    /// The last entry's facts; those of the log start while the log is empty.
    last: EntryMeta,
    /// Entries up to here are durable.
    durable_index: u64,
    policy: SegmentPolicy,
    /// What followers lack that is not in memory.
    behind: Behind,
    /// The index and the term of the entry before those in memory.
    before_tail: (u64, u64),
    terms: Terms,
}

impl GroupLog {
    /// The state of a group that starts with these replicas as its voters, all of which start it
    /// alike, and the write that makes it durable.
    #[must_use]
    pub fn bootstrap(
        group: GroupId,
        replica: ReplicaId,
        founders: &[ReplicaId],
    ) -> (GroupState, GroupWrite) {
        let hard_state =
            HardState { term: BOOTSTRAP_TERM, commit: BOOTSTRAP_INDEX, ..HardState::default() };
        let voters = founders.iter().map(|founder| founder.0).collect();
        let conf_state = ConfState { voters, ..ConfState::default() };
        let start = LogStart {
            index: BOOTSTRAP_INDEX,
            term: BOOTSTRAP_TERM,
            newest_gone: Timestamp::MIN,
            ..LogStart::default()
        };
        creation(GroupState { group, replica, hard_state, conf_state, start, last: None })
    }

    /// The state of a replica that joins a group later, and the write that makes it durable: it
    /// knows no member and no entry, and waits for the snapshot of a leader.
    #[must_use]
    pub fn blank(group: GroupId, replica: ReplicaId) -> (GroupState, GroupWrite) {
        let start = LogStart { newest_gone: Timestamp::MIN, ..LogStart::default() };
        let (hard_state, conf_state) = (HardState::default(), ConfState::default());
        creation(GroupState { group, replica, hard_state, conf_state, start, last: None })
    }

    /// The log of a group that the engine has.
    pub fn open(engine: Arc<dyn Engine>, state: GroupState) -> Result<Self> {
        let (start, last) = (state.start, state.last);
        let rows = engine.rows(state.group, members::KEY)?;
        let members = MemberHistory::read(rows, state.conf_state.clone(), start.index)
            .map_err(|error| StorageError::Refused(error.to_string()))?;
        let mut terms = Terms::default();
        let segments = match last {
            Some((_, last)) => {
                segments_back_from(engine.as_ref(), state.group, last, start, &mut terms)?
            }
            None => VecDeque::new(),
        };
        let log = Self::over(engine, state, members, segments, terms);
        log.load_compaction()?;
        Ok(log)
    }

    /// The log of a group that the engine is about to have.
    #[must_use]
    pub fn begin(engine: Arc<dyn Engine>, state: GroupState) -> Self {
        let members = MemberHistory::new(state.conf_state.clone());
        Self::over(engine, state, members, VecDeque::new(), Terms::default())
    }

    fn over(
        engine: Arc<dyn Engine>,
        state: GroupState,
        members: MemberHistory,
        segments: VecDeque<SegmentMark>,
        mut terms: Terms,
    ) -> Self {
        let start = state.start;
        let (last_index, last) = state.last.unwrap_or_else(|| (start.index, facts_at(&start)));
        terms.learn(start.index, start.term);
        terms.learn(last_index, last.term);
        let view = ViewState {
            start,
            high_watermark: start.base_offset,
            last_index,
            segments,
            ..ViewState::default()
        };
        Self {
            group: state.group,
            replica: state.replica,
            engine,
            view: Arc::new(LogView::from(view)),
            hard_state: state.hard_state,
            members,
            rows_index: None,
            producers_index: 0,
            last,
            durable_index: last_index,
            policy: SegmentPolicy::default(),
            behind: Behind::default(),
            before_tail: (last_index, last.term),
            terms,
        }
    }

    /// A reader of this log.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.group, Arc::clone(&self.engine), Arc::clone(&self.view))
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// This broker's replica.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// The offset after the last record in the log, committed or not.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last.end_offset()
    }

    /// Where the log starts.
    #[must_use]
    pub fn start(&self) -> LogStart {
        self.view.lock().start
    }

    /// The last index, of the log or of its start.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.view.lock().last_index
    }

    /// Raft's term, vote and commit index, as given last.
    #[must_use]
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// When segments are closed from now on.
    pub fn set_policy(&mut self, policy: SegmentPolicy) {
        self.policy = policy;
    }

    /// Takes raft's term, vote and commit index. The caller decides when they are written.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Raft's membership, as of what is applied.
    #[must_use]
    pub fn conf_state(&self) -> &ConfState {
        self.members.newest()
    }

    /// Takes the membership that the entry at this index has led to.
    pub fn set_conf_state(&mut self, index: u64, conf_state: ConfState, write: &mut GroupWrite) {
        let start = self.start().index;
        write.conf_state = Some(conf_state.clone());
        self.members.push(start, index, conf_state, &mut write.rows);
    }

    /// Appends entries, which replace whatever the log holds from the first of them on. Returns
    /// their facts, in order.
    pub fn append(
        &mut self,
        entries: Vec<RaftEntry>,
        now: Timestamp,
        write: &mut GroupWrite,
    ) -> Result<Vec<LogEntry>> {
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return Ok(Vec::new());
        };
        self.cut_from(first)?;
        write.append.retain(|entry| entry.index < first);
        let mut appended = Vec::with_capacity(entries.len());
        for entry in entries {
            let (record_count, max_timestamp) = match entry.entry_type {
                EntryType::EntryNormal => record_facts(&entry.data)
                    .map_err(|error| StorageError::undecoded(self.group, entry.index, error))?,
                // Raft's own encoding, which holds no records.
                _ => (0, Timestamp::MIN),
            };
            let base_offset = self.next_offset();
            let meta = EntryMeta {
                term: entry.term,
                entry_type: entry.entry_type as u8,
                base_offset,
                record_count,
                max_timestamp,
                newest_so_far: self.last.newest_so_far.max(max_timestamp),
                segment: self.segment_for(&entry, base_offset, max_timestamp, now),
            };
            let mut view = self.view.lock();
            if view.tail.first_index().is_none() {
                self.before_tail = (view.last_index, self.last.term);
            }
            self.last = meta;
            self.terms.learn(entry.index, entry.term);
            let entry = LogEntry { index: entry.index, meta, data: entry.data };
            view.last_index = entry.index;
            match view.segments.back_mut() {
                Some(last) if last.base_index == meta.segment.base_index => *last = meta.segment,
                _ => view.segments.push_back(meta.segment),
            }
            view.tail.push(entry.clone());
            appended.push(entry);
        }
        write.append.extend(appended.iter().cloned());
        Ok(appended)
    }

    /// Moves the high watermark up; readers see it at once.
    pub fn set_high_watermark(&mut self, offset: Offset) {
        let mut view = self.view.lock();
        view.high_watermark = view.high_watermark.max(offset);
    }

    /// Moves the log start up to an offset at or below the high watermark; readers see it at once.
    /// Returns the log start, which an offset at or below it leaves as it is.
    pub fn trim(&mut self, before: Offset, applied: u64, write: &mut GroupWrite) -> Result<Offset> {
        let (start, last_index) = {
            let view = self.view.lock();
            (view.start, view.last_index)
        };
        let mut before = before;
        if !Plant::TrimBeyondCommit.is_planted() {
            before = before.min(self.view.lock().high_watermark);
        }
        if before <= start.offset {
            return Ok(start.offset);
        }
        // The first entry that stays is the one that ends after the offset; without one, the last
        // entry stays, as its facts are what the next one continues from.
        let is_planted = Plant::TrimBeyondCommit.is_planted();
        let range = start.index + 1..if is_planted { last_index } else { last_index.min(applied) };
        if range.is_empty() {
            return self.start_after(start.index, before, write);
        }
        let first =
            self.view.search(self.engine.as_ref(), self.group, range, Seek::After(before))?;
        self.start_after(first - 1, before, write)
    }

    /// Drops entries up to an index from the log of a group without records.
    pub fn compact(&mut self, index: u64, write: &mut GroupWrite) -> Result<()> {
        let start = self.start();
        if index > start.index && index < self.last() {
            self.start_after(index, start.offset, write)?;
        }
        Ok(())
    }

    fn start_after(
        &mut self,
        index: u64,
        offset: Offset,
        write: &mut GroupWrite,
    ) -> Result<Offset> {
        let old = self.start();
        let start = if index == old.index {
            LogStart { offset, ..old }
        } else {
            match self.meta(index) {
                Ok(meta) => LogStart {
                    index,
                    term: meta.term,
                    offset,
                    base_offset: meta.end_offset(),
                    newest_gone: meta.newest_so_far,
                },
                // Where it cannot be read, the entries stay, and only the offset moves.
                Err(error @ StorageError::Corrupt { .. }) => {
                    tracing::error!(%error, "what a trim lets go stays on the disk");
                    LogStart { offset, ..old }
                }
                Err(error) => return Err(error),
            }
        };
        write.start = Some(start);
        self.members.drop_to(start.index, &mut write.rows);
        self.terms.drop_to(start.index);
        // Entries that are not yet written stay in memory until they are.
        self.drop_to(start.index.min(self.durable_index));
        let mut view = self.view.lock();
        view.start = start;
        while view.segments.len() > 1 && view.segments[1].base_index <= start.index + 1 {
            view.segments.pop_front();
        }
        Ok(start.offset)
    }

    /// Entries up to this index are durable.
    pub fn set_durable(&mut self, index: u64) {
        self.durable_index = self.durable_index.max(index);
    }

    /// The index up to which entries are durable.
    #[must_use]
    pub fn durable_index(&self) -> u64 {
        self.durable_index
    }

    /// Forgets entries up to an index in memory; they must be durable.
    pub fn evict(&mut self, index: u64) {
        debug_assert!(index <= self.durable_index, "only durable entries leave the memory");
        self.drop_to(index);
    }

    fn drop_to(&mut self, index: u64) {
        let mut view = self.view.lock();
        if let Some(entry) = view.tail.get(index) {
            self.before_tail = (index, entry.meta.term);
        }
        view.tail.drop_to(index);
    }

    /// Forgets all entries in memory: nobody reads this log any more.
    pub fn forget(&mut self) {
        let mut view = self.view.lock();
        view.tail.drop_to(u64::MAX);
        view.is_gone = true;
    }

    /// The entries after an index, with their data: what a start has to apply.
    pub fn entries_after(&mut self, index: u64) -> Result<Vec<LogEntry>> {
        let start = index.max(self.start().index) + 1;
        let end = self.last() + 1;
        if start >= end {
            return Ok(Vec::new());
        }
        let entries = self.engine.entries(self.group, start..end, u64::MAX)?;
        let found = start + entries.len() as u64;
        if found < end {
            return Err(StorageError::Missing {
                group: self.group,
                index: found,
                offset: Offset::ZERO,
            });
        }
        for entry in &entries {
            self.terms.learn(entry.index, entry.meta.term);
        }
        Ok(entries)
    }

    /// Begins with an entry as the last one that readers see.
    pub fn start_at(&mut self, committed: u64) -> Result<()> {
        let meta = self.meta(committed)?;
        self.terms.learn(committed, meta.term);
        self.set_high_watermark(meta.end_offset());
        Ok(())
    }

    fn term_in_memory(&self, index: u64) -> Option<u64> {
        // Raft may look through thousands of them in a row.
        let known = self.terms.at(index);
        let known = known.or_else(|| (index == self.before_tail.0).then_some(self.before_tail.1));
        let held = || self.view.lock().tail.get(index).map(|entry| entry.meta.term);
        known.or_else(held).or_else(|| self.behind.term(index))
    }

    /// The facts of an entry that the log has.
    pub fn meta(&self, index: u64) -> Result<EntryMeta> {
        if let Some(entry) = self.view.lock().tail.get(index) {
            return Ok(entry.meta);
        }
        let missing = StorageError::Missing { group: self.group, index, offset: Offset::ZERO };
        self.engine.meta(self.group, index)?.ok_or(missing)
    }

    fn segment_for(
        &self,
        entry: &RaftEntry,
        base_offset: Offset,
        max_timestamp: Timestamp,
        now: Timestamp,
    ) -> SegmentMark {
        let bytes = entry.data.len() as u64;
        let current = self.last.segment;
        let full = current.bytes > 0 && current.bytes + bytes > self.policy.max_bytes;
        let old = now.since(current.created) >= self.policy.max_age;
        let begins = CoreEntry::begins_segment(&entry.data);
        if current.base_index == 0 || begins || (bytes > 0 && (full || old)) {
            return SegmentMark {
                base_index: entry.index,
                base_offset,
                created: now,
                bytes,
                max_timestamp,
            };
        }
        SegmentMark {
            bytes: current.bytes + bytes,
            max_timestamp: current.max_timestamp.max(max_timestamp),
            ..current
        }
    }

    /// Forgets the entries from `first` on, which others replace.
    fn cut_from(&mut self, first: u64) -> Result<()> {
        let last_index = self.last();
        if first > last_index {
            return Ok(());
        }
        let start = self.start();
        let previous = if first - 1 == start.index { None } else { Some(self.meta(first - 1)?) };
        self.durable_index = self.durable_index.min(first - 1);
        let mut view = self.view.lock();
        view.tail.truncate_from(first);
        view.last_index = first - 1;
        view.segments.retain(|segment| segment.base_index < first);
        self.last = previous.unwrap_or_else(|| facts_at(&start));
        self.terms.cut_from(first);
        self.terms.learn(first - 1, self.last.term);
        if let Some(last) = view.segments.back_mut() {
            *last = self.last.segment;
        }
        Ok(())
    }
}

impl From<ViewState> for LogView {
    fn from(state: ViewState) -> Self {
        let view = Self::default();
        *view.lock() = state;
        view
    }
}

/// A state that is new, and the write that makes it durable.
fn creation(state: GroupState) -> (GroupState, GroupWrite) {
    let mut write = GroupWrite::new(state.group);
    write.create = Some(state.replica);
    write.hard_state = Some(state.hard_state.clone());
    write.conf_state = Some(state.conf_state.clone());
    write.start = Some(state.start);
    (state, write)
}

/// What stands for the last entry while a log is empty.
fn facts_at(start: &LogStart) -> EntryMeta {
    EntryMeta {
        term: start.term,
        entry_type: EntryType::EntryNormal as u8,
        base_offset: start.base_offset,
        record_count: 0,
        max_timestamp: Timestamp::MIN,
        newest_so_far: start.newest_gone,
        segment: SegmentMark::default(),
    }
}

/// The segments, oldest first: each entry names its segment, and the entry before that segment's
/// first names the one before.
fn segments_back_from(
    engine: &dyn Engine,
    group: GroupId,
    last: EntryMeta,
    start: LogStart,
    terms: &mut Terms,
) -> Result<VecDeque<SegmentMark>> {
    let mut segments = VecDeque::from([last.segment]);
    let mut before = last.segment.base_index.saturating_sub(1);
    while before > start.index {
        let missing = StorageError::Missing { group, index: before, offset: Offset::ZERO };
        let segment = match engine.meta(group, before) {
            Ok(meta) => {
                let meta = meta.ok_or(missing)?;
                terms.learn(before, meta.term);
                meta.segment
            }
            // Retention sees no segments before it: they go when the next one does.
            Err(error @ StorageError::Corrupt { .. }) => {
                tracing::error!(%error, "the older segments of a log are not known");
                break;
            }
            Err(error) => return Err(error),
        };
        before = segment.base_index.saturating_sub(1);
        segments.push_front(segment);
    }
    Ok(segments)
}
