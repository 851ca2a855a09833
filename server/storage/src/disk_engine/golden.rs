//! Whole data directories that an earlier build wrote: a broker must read them for ever.
//!
//! They lie under `tests/vectors/storage-v1*`, without sled's files, which the engine makes anew.
//! `UPDATE_GOLDEN=1 cargo test -p ropewalk-storage golden` writes them again. That is for a format
//! that no release has yet: a new one gets directories of its own, beside those of the old.

use std::fs;
use std::path::{Path, PathBuf};

use ropewalk_core::{NodeId, Offset, Timestamp};

use super::inspect::{self, Severity};
use super::*;
use crate::conformance::{GROUP, hard_state};
use crate::conformance::{OTHER, append, conf_state, creation, deletion, rows, synced};
use crate::directory::{ClusterId, DataDirectory, Membership};
use crate::engine::{GroupWrite, LogStart, SegmentMark};

/// Its entries are large, and stand in files; its log was trimmed.
const LARGE: GroupId = GROUP;
/// Its entries are small, and stand in the index.
const SMALL: GroupId = OTHER;
/// It has rows and no entries.
const ROWS: GroupId = GroupId(0x102);
/// It was deleted.
const GONE: GroupId = GroupId(0x103);
/// It came after the last checkpoint.
const LATE: GroupId = GroupId(0x104);
const DIRECTORY: u64 = 0x0123_4567_89ab_cdef;
const CLUSTER: ClusterId = ClusterId([0x2a; 16]);
/// So many entries of a log are one segment.
const SEGMENT_ENTRIES: u64 = 8;

fn options() -> Options {
    Options {
        journal_bytes: 256 * 1024,
        memory_bytes: 1024 * 1024,
        cache_bytes: 32 * 1024,
        free_floor: 0,
        background: false,
        chunk_bytes: 8 * 1024,
        checkpoint_room: 0,
        drain_bytes: 1024,
        unbuffered_bytes: usize::MAX,
        first_file_bytes: 16 * 1024,
        last_file_bytes: 32 * 1024,
        ..Options::default()
    }
}

/// An entry of a log that begins after index 5, as a partition's would be.
pub(super) fn entry(index: u64, size: usize) -> LogEntry {
    let base = index - (index - 6) % SEGMENT_ENTRIES;
    let time = |index: u64| Timestamp(1_700_000_000_000_000_000 + index.cast_signed() * 1_000_000);
    LogEntry {
        index,
        meta: EntryMeta {
            term: 5 + index / 20,
            entry_type: 0,
            base_offset: Offset((index - 6) * 3),
            record_count: 3,
            max_timestamp: time(index),
            newest_so_far: time(index),
            segment: SegmentMark {
                base_index: base,
                base_offset: Offset((base - 6) * 3),
                created: time(base),
                bytes: (index - base + 1) * size as u64,
                max_timestamp: time(index),
            },
        },
        data: (0..size).map(|at| (at as u64 * 31 + index * 7) as u8).collect::<Vec<u8>>().into(),
    }
}

pub(super) fn entries(range: Range<u64>, size: usize) -> Vec<LogEntry> {
    range.map(|index| entry(index, size)).collect()
}

pub(super) fn start(index: u64) -> LogStart {
    let base_offset = Offset((index - 5) * 3);
    let newest_gone = if index == 5 { Timestamp::MIN } else { entry(index, 0).meta.newest_so_far };
    LogStart { index, term: 5 + index / 20, offset: base_offset, base_offset, newest_gone }
}

pub(super) fn created(group: GroupId) -> GroupWrite {
    GroupWrite { start: Some(start(5)), ..creation(group) }
}

pub(super) fn committed(group: GroupId, entries: Vec<LogEntry>) -> GroupWrite {
    let last = entries.last().map_or(5, |entry| entry.index);
    GroupWrite { hard_state: Some(hard_state(7, 1, last)), ..append(group, entries) }
}

/// An engine whose directory has a number that does not change from run to run.
pub(super) fn open(dir: &Path) -> DiskEngine {
    let disk = Arc::new(RealDisk::default()) as Arc<dyn Disk>;
    let stores = SledStores::new(&dir.join("index"));
    DiskEngine::open_on(&disk, dir, options(), &stores, DIRECTORY).unwrap()
}

pub(super) fn checkpoint(engine: &DiskEngine) {
    engine.core.checkpoint(&mut engine.core.checkpoints()).unwrap();
}

fn write(engine: &DiskEngine, groups: Vec<GroupWrite>) {
    engine.write(&synced(groups)).unwrap();
}

/// What both directories have in common: logs in files and in the index, one that was trimmed, one
/// that was deleted, and rows.
pub(super) fn fill(dir: &Path) -> DiskEngine {
    let founders = vec![(NodeId(3), [0x13; 16])];
    let cluster = Membership { cluster_id: CLUSTER, founders };
    DataDirectory::open(dir, NodeId(3)).unwrap().0.join(&cluster).unwrap();
    let engine = open(dir);
    write(&engine, [LARGE, SMALL, ROWS, GONE].map(created).to_vec());
    for from in (6..30).step_by(4) {
        write(&engine, vec![committed(LARGE, entries(from..from + 4, 1_500))]);
    }
    write(&engine, vec![committed(SMALL, entries(6..12, 40)), committed(GONE, entries(6..9, 900))]);
    write(&engine, vec![rows(ROWS, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))])]);
    checkpoint(&engine);
    let trim = GroupWrite { start: Some(start(17)), ..GroupWrite::new(LARGE) };
    write(&engine, vec![trim, deletion(GONE), rows(ROWS, &[("b", None)])]);
    checkpoint(&engine);
    engine
}

/// As `fill`, and more that only the journal has: entries that are committed, some that are not,
/// rows, a new group; and entries that the last checkpoint left pending.
pub(super) fn fill_and_go_on(dir: &Path) -> DiskEngine {
    let engine = fill(dir);
    let uncommitted = append(SMALL, entries(12..15, 40));
    write(&engine, vec![uncommitted, committed(LARGE, entries(30..34, 1_500))]);
    checkpoint(&engine);
    write(&engine, vec![committed(LARGE, entries(34..36, 1_500))]);
    write(&engine, vec![append(SMALL, entries(15..17, 40)), rows(ROWS, &[("d", Some("4"))])]);
    write(&engine, vec![created(LATE), committed(LATE, entries(6..8, 2_000))]);
    engine
}

/// What a log must hold: the first entry, the one after the last, and the size of each.
fn holds(engine: &DiskEngine, group: GroupId, range: Range<u64>, size: usize) {
    let found = engine.entries(group, range.start..u64::MAX, u64::MAX).unwrap();
    assert_eq!(found, entries(range.clone(), size), "{group}");
    let states = engine.groups().unwrap();
    let state = states.iter().find(|state| state.group == group).unwrap();
    assert_eq!(state.start, start(range.start - 1));
    assert_eq!(state.last.map(|(index, _)| index), Some(range.end - 1));
    assert_eq!(state.conf_state, conf_state(&[group.0 * 10 + 1], &[]));
    let seek = Seek::After(entry(range.end - 1, 0).meta.base_offset);
    assert_eq!(engine.find(group, range.clone(), seek).unwrap(), range.end - 1);
}

fn has_rows(engine: &DiskEngine, expected: &[(&str, &str)]) {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let expected: Vec<_> = expected.iter().map(|(k, v)| (bytes(k), bytes(v))).collect();
    assert_eq!(engine.rows(ROWS, b"").unwrap(), expected);
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name)
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let path = found.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// Writes a golden directory anew when that was asked for, and gives a copy of it.
fn take(name: &str, make: fn(&Path) -> DiskEngine, close: bool) -> tempfile::TempDir {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let made = tempfile::tempdir().unwrap();
        let engine = make(made.path());
        if close {
            engine.close().unwrap();
        }
        drop(engine);
        fs::remove_dir_all(made.path().join("index/sled")).unwrap();
        fs::remove_file(made.path().join("lock")).unwrap();
        let _ = fs::remove_dir_all(golden(name));
        copy(made.path(), &golden(name));
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&golden(name), dir.path());
    dir
}

fn verified(dir: &Path) -> inspect::Report {
    let report = inspect::verify(dir, &mut |_| ()).unwrap();
    assert_eq!(report.count(Severity::Damage), 0, "{:?}", report.findings);
    report
}

#[test]
fn golden_directory_of_format_1_is_read() {
    let dir = take("storage-v1", fill, true);
    let report = verified(dir.path());
    let is_sound = report.worst().is_none_or(|worst| worst == Severity::Note);
    assert!(is_sound, "{:?}", report.findings);
    assert_eq!(report.directory, Some(DIRECTORY));
    assert_eq!(report.identity.unwrap().cluster.unwrap().cluster_id, CLUSTER);
    assert_eq!(report.logs.len(), 3);
    assert!(report.logs[0].file_chunks > 0 && report.logs[1].inline_chunks > 0);
    let engine = open(dir.path());
    holds(&engine, LARGE, 18..30, 1_500);
    holds(&engine, SMALL, 6..12, 40);
    has_rows(&engine, &[("a", "1"), ("c", "3")]);
    assert_eq!(engine.groups().unwrap().len(), 3);
    engine.close().unwrap();
}

#[test]
fn golden_directory_of_a_crash_in_format_1_is_read() {
    let dir = take("storage-v1-crashed", fill_and_go_on, false);
    let report = verified(dir.path());
    assert_eq!(report.journal.replayed_frames, 3);
    assert_eq!(report.logs.len(), 4);
    assert!(report.index.unwrap().pending_bytes > 0);
    let engine = open(dir.path());
    holds(&engine, LARGE, 18..36, 1_500);
    holds(&engine, SMALL, 6..17, 40);
    holds(&engine, LATE, 6..8, 2_000);
    has_rows(&engine, &[("a", "1"), ("c", "3"), ("d", "4")]);
    // What was not committed can still be replaced.
    let other = vec![LogEntry { data: bytes::Bytes::from_static(b"other"), ..entry(12, 40) }];
    write(&engine, vec![append(SMALL, other.clone())]);
    assert_eq!(engine.entries(SMALL, 12..99, u64::MAX).unwrap(), other);
    engine.close().unwrap();
}
