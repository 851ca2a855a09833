//! What every engine must do, as small named checks; each engine's tests run all of them.
//!
//! The checks know the trait and nothing of what stands behind it. `model` compares two engines
//! under random writes.

mod groups;
mod logs;
pub(crate) mod model;
mod rewrites;
mod trims;

use std::ops::Range;

use bytes::Bytes;
use raft::eraftpb::{ConfState, HardState};
use ropewalk_core::{GroupId, Offset, ReplicaId, Timestamp};

use crate::engine::{
    Engine, EntryMeta, GroupState, GroupWrite, LogEntry, LogStart, SegmentMark, StorageError,
    WriteBatch,
};

/// A place where an engine keeps its data, empty at first.
pub(crate) trait Harness {
    /// Opens the engine on whatever the place holds.
    fn open(&mut self) -> Box<dyn Engine>;
}

/// A check, and what it says in one line.
type Check = (&'static str, fn(&mut dyn Harness));

/// Runs every check, each in a place of its own.
pub(crate) fn run(mut place: impl FnMut() -> Box<dyn Harness>) {
    for (name, check) in
        groups::CHECKS.iter().chain(logs::CHECKS).chain(trims::CHECKS).chain(rewrites::CHECKS)
    {
        // Shown only when a check fails.
        println!("check: {name}");
        check(place().as_mut());
    }
}

/// Closes an engine and opens it again on the same data.
fn reopen(place: &mut dyn Harness, engine: Box<dyn Engine>) -> Box<dyn Engine> {
    engine.close().unwrap();
    drop(engine);
    place.open()
}

pub(crate) const GROUP: GroupId = GroupId(0x100);
pub(crate) const OTHER: GroupId = GroupId(0x101);

pub(crate) fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit, ..HardState::default() }
}

pub(crate) fn conf_state(voters: &[u64], learners: &[u64]) -> ConfState {
    let (voters, learners) = (voters.to_vec(), learners.to_vec());
    ConfState { voters, learners, ..ConfState::default() }
}

pub(crate) fn start(index: u64, term: u64) -> LogStart {
    LogStart {
        index,
        term,
        offset: Offset(index * 10),
        base_offset: Offset(index * 10),
        newest_gone: Timestamp(-1),
    }
}

/// The creation of a group whose log starts after index 5.
pub(crate) fn creation(group: GroupId) -> GroupWrite {
    GroupWrite {
        create: Some(ReplicaId(group.0 * 10 + 1)),
        hard_state: Some(hard_state(5, 0, 5)),
        conf_state: Some(conf_state(&[group.0 * 10 + 1], &[])),
        start: Some(start(5, 5)),
        ..GroupWrite::new(group)
    }
}

/// An entry, all of whose fields follow from its index, term and size, and differ from each other.
pub(crate) fn entry(index: u64, term: u64, size: usize) -> LogEntry {
    let byte = |at: usize| (at as u64 * 31 + index * 7 + term) as u8;
    let time = i64::try_from(index).unwrap();
    LogEntry {
        index,
        meta: EntryMeta {
            term,
            entry_type: (index % 3) as u8,
            base_offset: Offset(index * 10),
            record_count: 10,
            max_timestamp: if size == 0 { Timestamp::MIN } else { Timestamp(time) },
            newest_so_far: Timestamp(time + 1),
            segment: SegmentMark {
                base_index: index - index % 4,
                base_offset: Offset(index * 10 - 3),
                created: Timestamp(time - 2),
                bytes: size as u64 + 77,
                max_timestamp: Timestamp(time + 2),
            },
        },
        data: (0..size).map(byte).collect::<Vec<u8>>().into(),
    }
}

pub(crate) fn entries(indexes: Range<u64>, term: u64, size: usize) -> Vec<LogEntry> {
    indexes.map(|index| entry(index, term, size)).collect()
}

pub(crate) fn append(group: GroupId, append: Vec<LogEntry>) -> GroupWrite {
    GroupWrite { append, ..GroupWrite::new(group) }
}

pub(crate) fn trim(group: GroupId, start: LogStart) -> GroupWrite {
    GroupWrite { start: Some(start), ..GroupWrite::new(group) }
}

/// Everything up to an index is committed.
pub(crate) fn commit(group: GroupId, index: u64) -> GroupWrite {
    GroupWrite { hard_state: Some(hard_state(9, 1, index)), ..GroupWrite::new(group) }
}

pub(crate) fn deletion(group: GroupId) -> GroupWrite {
    GroupWrite { delete: true, ..GroupWrite::new(group) }
}

pub(crate) fn rows(group: GroupId, rows: &[(&str, Option<&str>)]) -> GroupWrite {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let rows = rows.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
    GroupWrite { rows, ..GroupWrite::new(group) }
}

pub(crate) fn synced(groups: Vec<GroupWrite>) -> [WriteBatch; 1] {
    [WriteBatch { groups, sync: true }]
}

fn write(engine: &dyn Engine, groups: Vec<GroupWrite>) {
    engine.write(&synced(groups)).unwrap();
}

/// A new engine with one group whose log holds these entries.
fn with_log(place: &mut dyn Harness, log: Vec<LogEntry>) -> Box<dyn Engine> {
    let engine = place.open();
    write(engine.as_ref(), vec![creation(GROUP), append(GROUP, log)]);
    engine
}

fn refused(engine: &dyn Engine, groups: Vec<GroupWrite>) {
    let result = engine.write(&synced(groups));
    assert!(matches!(result, Err(StorageError::Refused(_))), "{result:?}");
}

/// Everything that the log of a group holds, which must be these entries.
fn holds(engine: &dyn Engine, group: GroupId, expected: &[LogEntry]) {
    let first = expected.first().map_or(0, |entry| entry.index);
    let end = expected.last().map_or(0, |entry| entry.index + 1);
    assert_eq!(engine.entries(group, first..u64::MAX, u64::MAX).unwrap(), expected);
    for entry in expected {
        assert_eq!(engine.meta(group, entry.index).unwrap(), Some(entry.meta));
    }
    for outside in [first.saturating_sub(1), end, end + 1, u64::MAX] {
        assert_eq!(engine.meta(group, outside).unwrap(), None, "index {outside}");
        let read = engine.entries(group, outside..u64::MAX, u64::MAX).unwrap();
        assert_eq!(read, [], "index {outside}");
    }
    if let Some(state) = engine.groups().unwrap().into_iter().find(|state| state.group == group) {
        let last = expected.last().map(|entry| (entry.index, entry.meta));
        assert_eq!(state.last, last);
    }
}

/// Runs `reclaim` until nothing is left.
pub(crate) fn reclaim_all(engine: &dyn Engine) {
    for _ in 0..10_000 {
        if !engine.reclaim().unwrap() {
            return;
        }
    }
    panic!("reclaim never ends");
}

fn state(engine: &dyn Engine, group: GroupId) -> GroupState {
    engine.groups().unwrap().into_iter().find(|state| state.group == group).unwrap()
}

fn indexes(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.index).collect()
}

fn data(entries: &[LogEntry]) -> Vec<Bytes> {
    entries.iter().map(|entry| entry.data.clone()).collect()
}
