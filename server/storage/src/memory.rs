//! An engine in memory: for tests, for simulation, and for brokers that need keep nothing.
//!
//! It does what the durable engine does, in the plainest way there is, and knows no file. Clones
//! share their content, so that a test can drop an engine and open it again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use raft::eraftpb::{ConfState, HardState};
use ropewalk_core::{GroupId, ReplicaId};

use crate::contract::{self, Span};
use crate::engine::{
    Engine, EntryMeta, GroupState, GroupWrite, LogEntry, LogStart, Result, Rewrite, StorageError,
    WriteBatch,
};

/// The bytes that an entry counts for besides its data.
const ENTRY_BYTES: u64 = size_of::<LogEntry>() as u64;

/// An engine whose content lives as long as one of its clones.
#[derive(Clone, Debug, Default)]
pub struct MemoryEngine(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<GroupId, Group>,
    bytes: u64,
    /// A write failed, or the engine was closed: nothing may be written any more.
    ended: bool,
}

#[derive(Debug)]
struct Group {
    replica: ReplicaId,
    hard_state: HardState,
    conf_state: ConfState,
    start: LogStart,
    log: BTreeMap<u64, LogEntry>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    committed: u64,
}

impl MemoryEngine {
    /// An empty engine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same content, as a broker finds it that starts again.
    #[must_use]
    pub fn reopened(&self) -> Self {
        self.write_lock().ended = false;
        self.clone()
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().expect("no holder of the lock panics")
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().expect("no holder of the lock panics")
    }
}

impl Group {
    fn span(&self) -> Span {
        let last = self.log.last_key_value().map_or(self.start.index, |(index, _)| *index);
        Span { start: self.start.index, last, committed: self.committed }
    }

    fn bytes(&self) -> u64 {
        let rows: u64 = self.rows.iter().map(|(key, value)| row_bytes(key, value)).sum();
        self.log.values().map(entry_bytes).sum::<u64>() + rows
    }
}

fn entry_bytes(entry: &LogEntry) -> u64 {
    ENTRY_BYTES + entry.data.len() as u64
}

fn row_bytes(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

impl State {
    fn apply(&mut self, write: &GroupWrite) -> Result<()> {
        let group = self.groups.get(&write.group);
        let change = contract::check(group.map(Group::span), write, |index, term| {
            let held = group.and_then(|group| group.log.get(&index));
            Ok(held.is_some_and(|entry| entry.meta.term == term))
        })?;
        let Some(change) = change else {
            let gone = self.groups.remove(&write.group);
            self.bytes -= gone.map_or(0, |group| group.bytes());
            return Ok(());
        };
        let group = self.groups.entry(write.group).or_insert_with(|| Group {
            replica: write.create.unwrap_or(ReplicaId(0)),
            hard_state: HardState::default(),
            conf_state: ConfState::default(),
            start: LogStart::default(),
            log: BTreeMap::new(),
            rows: BTreeMap::new(),
            committed: 0,
        });
        group.committed = change.span.committed;
        if let Some(from) = change.cut_from {
            let cut = group.log.split_off(&from);
            self.bytes -= cut.values().map(entry_bytes).sum::<u64>();
        }
        for entry in &write.append {
            self.bytes += entry_bytes(entry);
            group.log.insert(entry.index, entry.clone());
        }
        if let Some(start) = write.start {
            group.start = start;
            while let Some(first) =
                group.log.first_entry().filter(|first| *first.key() <= start.index)
            {
                self.bytes -= entry_bytes(&first.remove());
            }
        }
        if let Some(hard_state) = &write.hard_state {
            group.hard_state = hard_state.clone();
        }
        if let Some(conf_state) = &write.conf_state {
            group.conf_state = conf_state.clone();
        }
        for (key, value) in &write.rows {
            let old = match value {
                Some(value) => {
                    self.bytes += row_bytes(key, value);
                    group.rows.insert(key.clone(), value.clone())
                }
                None => group.rows.remove(key),
            };
            self.bytes -= old.map_or(0, |old| row_bytes(key, &old));
        }
        Ok(())
    }
}

impl Engine for MemoryEngine {
    fn groups(&self) -> Result<Vec<GroupState>> {
        let state = self.read_lock();
        let groups = state.groups.iter().map(|(id, group)| GroupState {
            group: *id,
            replica: group.replica,
            hard_state: group.hard_state.clone(),
            conf_state: group.conf_state.clone(),
            start: group.start,
            last: group.log.last_key_value().map(|(index, entry)| (*index, entry.meta)),
        });
        Ok(groups.collect())
    }

    fn write(&self, batches: &[WriteBatch]) -> Result<()> {
        let mut state = self.write_lock();
        if state.ended {
            return Err(StorageError::ended());
        }
        let mut writes = batches.iter().flat_map(|batch| &batch.groups);
        let result = writes.try_for_each(|write| state.apply(write));
        state.ended |= result.is_err();
        result
    }

    fn meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>> {
        let state = self.read_lock();
        let entry = state.groups.get(&group).and_then(|group| group.log.get(&index));
        Ok(entry.map(|entry| entry.meta))
    }

    fn entries(&self, group: GroupId, range: Range<u64>, max_bytes: u64) -> Result<Vec<LogEntry>> {
        let state = self.read_lock();
        let Some(group) = state.groups.get(&group) else {
            return Ok(Vec::new());
        };
        let held = group.span().clip(range.start, range.end);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in held.filter_map(|index| group.log.get(&index)) {
            bytes += entry.data.len() as u64;
            if !entries.is_empty() && bytes > max_bytes {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn rewrite(
        &self,
        group: GroupId,
        range: Range<u64>,
        _bytes: u64,
    ) -> Result<Option<Box<dyn Rewrite + '_>>> {
        let state = self.read_lock();
        let Some(log_start) = state.groups.get(&group).map(|group| group.span().start) else {
            return Ok(None);
        };
        let entries = Vec::new();
        Ok(Some(Box::new(MemoryRewrite { engine: self, group, range, entries, log_start })))
    }

    fn rows(&self, group: GroupId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let state = self.read_lock();
        let Some(group) = state.groups.get(&group) else {
            return Ok(Vec::new());
        };
        let from = group.rows.range(prefix.to_vec()..);
        let rows = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn reclaim(&self) -> Result<bool> {
        Ok(false)
    }

    fn size_bytes(&self) -> u64 {
        self.read_lock().bytes
    }

    fn close(&self) -> Result<()> {
        self.write_lock().ended = true;
        Ok(())
    }
}

/// Entries that wait to take the place of others.
struct MemoryRewrite<'a> {
    engine: &'a MemoryEngine,
    group: GroupId,
    range: Range<u64>,
    entries: Vec<LogEntry>,
    log_start: u64,
}

impl Rewrite for MemoryRewrite<'_> {
    fn log_start(&self) -> u64 {
        self.log_start
    }

    fn push(&mut self, mut entries: Vec<LogEntry>) -> Result<bool> {
        self.entries.append(&mut entries);
        Ok(true)
    }

    fn finish(self: Box<Self>) -> Result<bool> {
        let mut state = self.engine.write_lock();
        let is_ended = state.ended;
        let Some(group) = state.groups.get_mut(&self.group).filter(|_| !is_ended) else {
            return Ok(false);
        };
        let last = self.range.end.saturating_sub(1);
        let span = group.span();
        let held = self.range.start.max(span.start + 1);
        let is_whole = self.entries.first().is_some_and(|first| first.index <= held);
        if !span.contains(last) || last > span.committed || !is_whole {
            return Ok(false);
        }
        let (mut grown, mut shrunk) = (0, 0);
        for entry in self.entries.into_iter().filter(|entry| entry.index > span.start) {
            grown += entry_bytes(&entry);
            shrunk += group.log.insert(entry.index, entry).map_or(0, |old| entry_bytes(&old));
        }
        state.bytes = state.bytes + grown - shrunk;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conformance::{self, Harness, model};

    impl Harness for MemoryEngine {
        fn open(&mut self) -> Box<dyn Engine> {
            Box::new(self.reopened())
        }
    }

    #[test]
    fn conforms() {
        conformance::run(|| Box::new(MemoryEngine::new()));
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_content(steps in model::steps()) {
            let (mut engine, mut same) = (MemoryEngine::new(), MemoryEngine::new());
            model::compare(steps, &mut same, &mut engine);
            let counted: u64 = engine.read_lock().groups.values().map(Group::bytes).sum();
            prop_assert_eq!(engine.size_bytes(), counted);
        }
    }
}
