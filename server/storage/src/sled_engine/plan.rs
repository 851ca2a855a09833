//! Turns writes into the one sled batch that does them, without touching the database.
//!
//! A plan sees the index as it will be after what was planned before, so that a group may be
//! written, deleted and created again in one call.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use ropewalk_core::GroupId;
use sled::IVec;

use crate::contract::{self, Span};
use crate::engine::{GroupWrite, LogEntry, Result};

use super::keys::Key;
use super::source::Source;
use super::value::{self, EntryHead};

/// Changes that are to happen together.
pub(super) struct Plan<'a> {
    source: &'a Source,
    before: &'a BTreeMap<GroupId, Span>,
    /// What becomes of keys: a value, or nothing when the key goes.
    keys: BTreeMap<IVec, Option<IVec>>,
    /// What becomes of groups.
    spans: BTreeMap<GroupId, Option<Span>>,
    /// Groups that leave garbage behind, and whether they have it no longer.
    garbage: BTreeSet<GroupId>,
    cleaned: BTreeSet<GroupId>,
}

/// What is left to do of a plan.
pub(super) struct Planned {
    pub(super) batch: sled::Batch,
    pub(super) is_empty: bool,
    pub(super) spans: BTreeMap<GroupId, Option<Span>>,
    pub(super) garbage: BTreeSet<GroupId>,
    pub(super) cleaned: BTreeSet<GroupId>,
}

impl<'a> Plan<'a> {
    /// Nothing, to groups that stand so.
    pub(super) fn new(source: &'a Source, before: &'a BTreeMap<GroupId, Span>) -> Self {
        Self {
            source,
            before,
            keys: BTreeMap::new(),
            spans: BTreeMap::new(),
            garbage: BTreeSet::new(),
            cleaned: BTreeSet::new(),
        }
    }

    /// Adds a write.
    pub(super) fn add(&mut self, write: &GroupWrite) -> Result<()> {
        let id = write.group;
        let current = self.span(id);
        let change = contract::check(current, write, |index, term| self.holds(id, index, term))?;
        let Some(change) = change else {
            if current.is_some() {
                self.delete(id);
            }
            return Ok(());
        };
        if let Some(replica) = write.create {
            self.finish_delete(id)?;
            let key = Key::Group(id).encode();
            self.put(&key, &value::encode_replica(&key, replica));
        }
        if let Some(from) = change.cut_from {
            let last = current.map_or(from, |span| span.last);
            self.remove_range(&Key::Entry(id, from), &Key::Entry(id, last))?;
            self.remove_range(&Key::Chunk(id, from, 0), &Key::Chunk(id, last, u32::MAX))?;
        }
        // Entries that the same write trims are never seen.
        for entry in write.append.iter().filter(|entry| change.span.contains(entry.index)) {
            self.append(id, entry);
        }
        self.put_state(write);
        if current.is_some_and(|span| change.span.start > span.start && span.last > span.start) {
            self.garbage.insert(id);
        }
        self.spans.insert(id, Some(change.span));
        Ok(())
    }

    /// The batch, and what changes with it.
    pub(super) fn finish(self) -> Planned {
        let is_empty = self.keys.is_empty();
        let mut batch = sled::Batch::default();
        for (key, value) in self.keys {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let Self { spans, garbage, cleaned, .. } = self;
        Planned { batch, is_empty, spans, garbage, cleaned }
    }

    fn span(&self, id: GroupId) -> Option<Span> {
        self.spans.get(&id).copied().unwrap_or_else(|| self.before.get(&id).copied())
    }

    fn holds(&self, id: GroupId, index: u64, term: u64) -> Result<bool> {
        let key = Key::Entry(id, index).encode();
        let stored = match self.keys.get(key.as_slice()) {
            Some(planned) => planned.clone(),
            None => self.source.get(&key)?,
        };
        let Some(stored) = stored else {
            return Ok(false);
        };
        let (head, _) = self.source.decoded(&key, EntryHead::decode(&key, &stored))?;
        Ok(head.meta.term == term)
    }

    fn append(&mut self, id: GroupId, entry: &LogEntry) {
        let key = Key::Entry(id, entry.index).encode();
        let head = EntryHead::new(entry.meta, &entry.data);
        self.put(&key, &head.encode(&key, &entry.data));
        if head.chunks() > 0 {
            for (number, chunk) in (0..).zip(value::encode_chunks(&entry.data)) {
                self.put(&Key::Chunk(id, entry.index, number).encode(), &chunk);
            }
        }
    }

    fn put_state(&mut self, write: &GroupWrite) {
        let id = write.group;
        if let Some(state) = &write.hard_state {
            let key = Key::HardState(id).encode();
            self.put(&key, &value::encode_hard_state(&key, state));
        }
        if let Some(state) = &write.conf_state {
            let key = Key::ConfState(id).encode();
            self.put(&key, &value::encode_conf_state(&key, state));
        }
        if let Some(start) = &write.start {
            let key = Key::LogStart(id).encode();
            self.put(&key, &value::encode_start(&key, start));
        }
        for (row, value) in &write.rows {
            let key = Key::Row(id, row.clone()).encode();
            match value {
                Some(value) => self.put(&key, &value::encode_row(&key, value)),
                None => self.remove(&key),
            }
        }
    }

    /// The group no longer exists; what it leaves is removed later, a step at a time.
    fn delete(&mut self, id: GroupId) {
        for key in [Key::Group(id), Key::HardState(id), Key::ConfState(id), Key::LogStart(id)] {
            self.remove(&key.encode());
        }
        let key = Key::Deleted(id).encode();
        self.put(&key, &value::encode_deleted(&key));
        self.spans.insert(id, None);
        self.garbage.insert(id);
        self.cleaned.remove(&id);
    }

    /// Removes at once what an earlier group of this id has left: the new one must not inherit it.
    /// Ids are not used again in practice, so that this need not be fast.
    fn finish_delete(&mut self, id: GroupId) -> Result<()> {
        let tombstone = Key::Deleted(id).encode();
        let planned = self.keys.get(tombstone.as_slice());
        let deleted = match planned {
            Some(planned) => planned.is_some(),
            None => self.source.get(&tombstone)?.is_some(),
        };
        if !deleted {
            return Ok(());
        }
        self.remove_range(&Key::Entry(id, 0), &Key::Entry(id, u64::MAX))?;
        self.remove_range(&Key::Chunk(id, 0, 0), &Key::Chunk(id, u64::MAX, u32::MAX))?;
        let rows = Key::Row(id, Vec::new()).encode();
        for key in self.source.keys_with_prefix(&rows)? {
            self.remove(&key);
        }
        let planned = self.keys.range(IVec::from(rows.as_slice())..);
        let planned = planned.take_while(|(key, _)| key.starts_with(&rows));
        let planned: Vec<IVec> = planned.map(|(key, _)| key.clone()).collect();
        planned.iter().for_each(|key| self.remove(key));
        self.remove(&tombstone);
        self.garbage.remove(&id);
        self.cleaned.insert(id);
        Ok(())
    }

    /// Removes the keys from `first` to `last`, those that are stored and those that are planned.
    fn remove_range(&mut self, first: &Key, last: &Key) -> Result<()> {
        let (first, last) = (first.encode(), last.encode());
        for key in self.source.keys_in(&first, &last)? {
            self.remove(&key);
        }
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) =
            (Bound::Included(&first), Bound::Included(&last));
        for (_, value) in self.keys.range_mut::<[u8], _>(bounds) {
            *value = None;
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.keys.insert(IVec::from(key), Some(IVec::from(value)));
    }

    fn remove(&mut self, key: &[u8]) {
        self.keys.insert(IVec::from(key), None);
    }
}
