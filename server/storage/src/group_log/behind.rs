//! What a leader sends to followers that lack more than is in memory.
//!
//! Raft asks for entries from the thread of its shard, which must not wait for the disk. What is
//! not in memory is refused, and its place noted; somebody else reads it ([`StoredRun::read`]), and
//! the leader then lends it to its log while raft makes messages of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use ropewalk_core::GroupId;

use super::GroupLog;
use crate::engine::{Engine, LogEntry, Result, StorageError};

/// Entries in a row, as storage has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRun {
    /// The term of the entry before the first one.
    pub term_before: u64,
    /// The entries.
    pub entries: Vec<LogEntry>,
}

impl StoredRun {
    /// Reads a run of a log, of as much data as `max_bytes` allow, but one entry in any case. The
    /// term before it is read too, where the caller does not know it. Without entries where the log
    /// does not reach down there any more.
    pub fn read(
        engine: &dyn Engine,
        group: GroupId,
        range: Range<u64>,
        max_bytes: u64,
        term_before: Option<u64>,
    ) -> Result<Self> {
        let term_before = match term_before {
            Some(term) => term,
            None => match engine.meta(group, range.start - 1)? {
                Some(meta) => meta.term,
                None => return Ok(Self::default()),
            },
        };
        let first = range.start;
        let mut entries = engine.entries(group, range, max_bytes)?;
        let whole = (first..).zip(&entries).take_while(|(index, entry)| *index == entry.index);
        let whole = whole.count();
        entries.truncate(whole);
        Ok(Self { term_before, entries })
    }

    /// The bytes of its data.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.data.len() as u64).sum()
    }

    /// The indexes of its entries.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        match (self.entries.first(), self.entries.last()) {
            (Some(first), Some(last)) => first.index..last.index + 1,
            _ => 0..0,
        }
    }

    fn term(&self, index: u64) -> Option<u64> {
        let first = self.entries.first()?.index;
        if index + 1 == first {
            return Some(self.term_before);
        }
        let place = usize::try_from(index.checked_sub(first)?).ok()?;
        self.entries.get(place).map(|entry| entry.meta.term)
    }
}

/// See the module. Raft reads through a shared reference, on one thread.
#[derive(Default)]
pub(super) struct Behind(RefCell<State>);

#[derive(Default)]
struct State {
    wanted: BTreeSet<u64>,
    lent: Option<StoredRun>,
    /// What raft asked for and cannot be read any more, as was seen last.
    damage: Option<StorageError>,
}

impl Behind {
    /// The entries from `low` on that were lent, or `None`, and the place is noted.
    pub(super) fn lent_or_wanted(&self, low: u64) -> Option<Vec<LogEntry>> {
        let mut state = self.0.borrow_mut();
        let lent = state.lent.as_ref().filter(|lent| lent.range().contains(&low));
        let found = lent
            .map(|lent| lent.entries.iter().filter(|entry| entry.index >= low).cloned().collect());
        if found.is_none() {
            state.wanted.insert(low);
        }
        found
    }

    /// The term of an entry that was lent, or of the one before.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        self.0.borrow().lent.as_ref()?.term(index)
    }

    /// Something that raft asked for is damaged.
    pub(super) fn note_damage(&self, error: StorageError) {
        self.0.borrow_mut().damage = Some(error);
    }
}

impl GroupLog {
    /// Takes the places at which followers wait for entries that are not in memory.
    pub fn take_wanted(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.behind.0.get_mut().wanted)
    }

    /// Takes the damage that raft has met, and was not told of.
    pub fn take_damage(&mut self) -> Option<StorageError> {
        self.behind.0.get_mut().damage.take()
    }

    /// Whether what begins at an index is on the disk alone. Returns where memory begins.
    #[must_use]
    pub fn stored_from(&self, index: u64) -> Option<u64> {
        let view = self.view.lock();
        let end = view.tail.first_index().unwrap_or(view.last_index + 1);
        (view.start.index < index && index < end).then_some(end)
    }

    /// Lends a run of the log to raft, until [`GroupLog::take_back`]. It must be what the log has.
    pub fn lend(&mut self, run: StoredRun) {
        self.behind.0.get_mut().lent = Some(run);
    }

    /// Ends the loan.
    pub fn take_back(&mut self) {
        self.behind.0.get_mut().lent = None;
    }
}
