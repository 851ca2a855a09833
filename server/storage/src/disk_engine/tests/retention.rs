//! Readers at the start of a log that is trimmed at the same time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::scope;

use ropewalk_core::Offset;

use super::{DiskEngine, Options, small};
use crate::conformance::{GROUP, creation, entry, hard_state, start, synced};
use crate::engine::{Engine, GroupState, GroupWrite, LogEntry, Seek};

const ROUNDS: u64 = 1_500;
/// Entries that are left by a trim.
const KEPT: u64 = 60;

fn nth(index: u64) -> LogEntry {
    entry(index, 5, (index * 37 % 5_000) as usize)
}

fn state(engine: &DiskEngine) -> GroupState {
    engine.groups().unwrap().pop().unwrap()
}

/// Reads on from where it is, and from the start when that has passed it, until the end of the last
/// entry. Returns how often it was passed.
fn follow(engine: &DiskEngine, written: &AtomicU64, end: u64) -> u32 {
    let (mut next, mut passed) = (6, 0);
    while next < end {
        let written = written.load(Ordering::Acquire);
        let read = engine.entries(GROUP, next..u64::MAX, 20_000).unwrap();
        for entry in &read {
            assert_eq!(*entry, nth(next));
            next += 1;
        }
        let meta = engine.meta(GROUP, next - 1).unwrap();
        assert!(meta.is_none_or(|meta| meta == nth(next - 1).meta));
        let from = next.saturating_sub(KEPT);
        let found = engine.find(GROUP, from..next, Seek::After(Offset(from * 10))).unwrap();
        assert!((from..=next).contains(&found));
        if read.is_empty() && written >= next {
            let first = state(engine).start.index + 1;
            assert!(first > next, "entry {next} of {first}..={written} was not read");
            (next, passed) = (first, passed + 1);
        }
    }
    passed
}

#[test]
fn a_reader_sees_what_is_right_or_that_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { background: true, cache_bytes: 8 * 1024, ..small() };
    let engine = DiskEngine::open(dir.path(), options).unwrap();
    engine.write(&synced(vec![creation(GROUP)])).unwrap();
    let written = AtomicU64::new(5);
    let end = 6 + ROUNDS * 2;
    scope(|threads| {
        let readers = [1, 2].map(|_| threads.spawn(|| follow(&engine, &written, end)));
        for round in 0..ROUNDS {
            let first = 6 + round * 2;
            let trims = round % 8 == 7;
            let write = GroupWrite {
                append: vec![nth(first), nth(first + 1)],
                hard_state: Some(hard_state(5, 1, first + 1)),
                start: trims.then(|| start(first.saturating_sub(KEPT).max(5), 5)),
                ..GroupWrite::new(GROUP)
            };
            engine.write(&synced(vec![write])).unwrap();
            written.store(first + 1, Ordering::Release);
        }
        readers.map(|reader| reader.join().unwrap())
    });
    let first = state(&engine).start.index + 1;
    let left = engine.entries(GROUP, first..u64::MAX, u64::MAX).unwrap();
    assert_eq!(left, (first..end).map(nth).collect::<Vec<_>>());
    engine.close().unwrap();
    drop(engine);
    let engine = DiskEngine::open(dir.path(), options).unwrap();
    assert_eq!(engine.entries(GROUP, first..u64::MAX, u64::MAX).unwrap(), left);
}
