//! Entries: appended, read in ranges, replaced; and what a reader sees of a batch.

use std::sync::atomic::{AtomicBool, Ordering};

use ropewalk_core::GroupId;

use super::{
    Check, GROUP, Harness, OTHER, append, creation, data, entries, entry, hard_state, holds,
    indexes, reopen, rows, state, with_log, write,
};
use crate::engine::{GroupWrite, WriteBatch};

pub(super) const CHECKS: &[Check] = &[
    ("what is appended is read back", what_is_appended_is_read_back),
    ("entries of every size are read back", entries_of_every_size_are_read_back),
    ("a range ends where it ends", a_range_ends_where_it_ends),
    ("a read stops at its bytes, after one entry", a_read_stops_at_its_bytes),
    ("an entry without data is an entry", an_entry_without_data_is_an_entry),
    ("entries replace what stood there, and what followed", entries_replace_a_suffix),
    ("large entries replace small ones, and the reverse", sizes_are_replaced),
    ("the whole log may be replaced", the_whole_log_may_be_replaced),
    ("batches happen in order", batches_happen_in_order),
    ("unsynced batches are durable with the next synced one", unsynced_batches_come_along),
    ("unsynced batches are durable after close", unsynced_batches_survive_a_close),
    ("a group may occur twice in a batch", a_group_may_occur_twice),
    ("all parts of a write happen", all_parts_of_a_write_happen),
    ("a reader sees a batch wholly or not at all", a_reader_sees_whole_batches),
    ("many groups keep apart", many_groups_keep_apart),
];

fn what_is_appended_is_read_back(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..9, 6, 100));
    write(engine.as_ref(), vec![append(GROUP, entries(9..30, 7, 120))]);
    let log = [entries(6..9, 6, 100), entries(9..30, 7, 120)].concat();
    holds(engine.as_ref(), GROUP, &log);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &log);
    write(engine.as_ref(), vec![append(GROUP, entries(30..31, 7, 1))]);
    holds(engine.as_ref(), GROUP, &[log, entries(30..31, 7, 1)].concat());
}

fn entries_of_every_size_are_read_back(place: &mut dyn Harness) {
    const KIB: usize = 1024;
    let around = [3900, 3993, 3999, 4000, 4001, 4002, 4094, 4095, 4 * KIB, 4 * KIB + 1];
    let large = [8187, 8188, 8189, 100 * KIB, KIB * KIB, 4 * KIB * KIB];
    let sizes = [0, 1, 2].into_iter().chain(around).chain(large);
    let log: Vec<_> = (6..).zip(sizes).map(|(index, size)| entry(index, 6, size)).collect();
    let engine = with_log(place, log.clone());
    holds(engine.as_ref(), GROUP, &log);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &log);
    for expected in log {
        let range = expected.index..expected.index + 1;
        assert_eq!(engine.entries(GROUP, range, 0).unwrap(), [expected]);
    }
}

fn a_range_ends_where_it_ends(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..20, 6, 50));
    let read = |range| indexes(&engine.entries(GROUP, range, u64::MAX).unwrap());
    assert_eq!(read(6..8), [6, 7]);
    assert_eq!(read(18..25), [18, 19]);
    assert_eq!(read(19..20), [19]);
    for empty in [0..6, 0..30, 5..20, 20..30, 7..7, u64::MAX..u64::MAX, 0..0] {
        assert_eq!(read(empty.clone()), [0; 0], "{empty:?}");
    }
}

fn a_read_stops_at_its_bytes(place: &mut dyn Harness) {
    for size in [100, 5_000] {
        let engine = place.open();
        let group = GroupId(0x200 + size as u64);
        write(engine.as_ref(), vec![creation(group), append(group, entries(6..20, 6, size))]);
        let read = |from: u64, bytes: usize| {
            indexes(&engine.entries(group, from..u64::MAX, bytes as u64).unwrap())
        };
        assert_eq!(read(6, 0), [6]);
        assert_eq!(read(6, size), [6]);
        assert_eq!(read(6, 2 * size - 1), [6]);
        assert_eq!(read(6, 2 * size), [6, 7]);
        assert_eq!(read(18, 9 * size), [18, 19]);
    }
}

fn an_entry_without_data_is_an_entry(place: &mut dyn Harness) {
    let log = [entries(6..8, 6, 0), entries(8..9, 6, 5), entries(9..10, 6, 0)].concat();
    let engine = with_log(place, log.clone());
    assert_eq!(indexes(&engine.entries(GROUP, 6..20, 0).unwrap()), [6, 7]);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &log);
}

fn entries_replace_a_suffix(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..20, 6, 100));
    write(engine.as_ref(), vec![append(GROUP, entries(10..12, 7, 60))]);
    let log = [entries(6..10, 6, 100), entries(10..12, 7, 60)].concat();
    holds(engine.as_ref(), GROUP, &log);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &log);
    // What was cut off does not come back when the log grows past it.
    write(engine.as_ref(), vec![append(GROUP, entries(12..13, 7, 60))]);
    holds(engine.as_ref(), GROUP, &[log, entries(12..13, 7, 60)].concat());
}

fn sizes_are_replaced(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..9, 6, 10));
    let mut term = 7;
    for (from, size) in [(7, 20_000), (7, 9_000), (7, 30), (8, 40_000), (6, 4_500), (6, 0)] {
        let kept = engine.entries(GROUP, 6..from, u64::MAX).unwrap();
        let new = entries(from..from + 2, term, size);
        write(engine.as_ref(), vec![append(GROUP, new.clone())]);
        holds(engine.as_ref(), GROUP, &[kept, new].concat());
        term += 1;
    }
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &entries(6..8, term - 1, 0));
}

fn the_whole_log_may_be_replaced(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..12, 6, 5_000));
    write(engine.as_ref(), vec![append(GROUP, entries(6..7, 9, 10))]);
    holds(engine.as_ref(), GROUP, &entries(6..7, 9, 10));
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &entries(6..7, 9, 10));
}

fn batches_happen_in_order(place: &mut dyn Harness) {
    let engine = place.open();
    let batch = |write| WriteBatch { groups: vec![write], sync: false };
    let batches = [
        batch(creation(GROUP)),
        batch(append(GROUP, entries(6..12, 6, 9_000))),
        batch(append(GROUP, entries(8..10, 7, 100))),
        batch(append(GROUP, entries(9..11, 8, 5_000))),
        batch(rows(GROUP, &[("a", Some("1"))])),
        WriteBatch { groups: vec![rows(GROUP, &[("a", Some("2"))])], sync: true },
    ];
    engine.write(&batches).unwrap();
    let log = [entries(6..8, 6, 9_000), entries(8..9, 7, 100), entries(9..11, 8, 5_000)].concat();
    holds(engine.as_ref(), GROUP, &log);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &log);
    assert_eq!(engine.rows(GROUP, b"a").unwrap(), [(b"a".to_vec(), b"2".to_vec())]);
}

fn unsynced_batches_come_along(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..7, 6, 10));
    for index in 7..12 {
        let groups = vec![append(GROUP, entries(index..index + 1, 6, 10))];
        engine.write(&[WriteBatch { groups, sync: false }]).unwrap();
        holds(engine.as_ref(), GROUP, &entries(6..index + 1, 6, 10));
    }
    engine.write(&[WriteBatch { groups: Vec::new(), sync: true }]).unwrap();
    drop(engine);
    holds(place.open().as_ref(), GROUP, &entries(6..12, 6, 10));
}

fn unsynced_batches_survive_a_close(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..7, 6, 10));
    let groups = vec![append(GROUP, entries(7..9, 6, 10))];
    engine.write(&[WriteBatch { groups, sync: false }]).unwrap();
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &entries(6..9, 6, 10));
}

fn a_group_may_occur_twice(place: &mut dyn Harness) {
    let engine = place.open();
    let writes = vec![
        creation(GROUP),
        creation(OTHER),
        append(GROUP, entries(6..8, 6, 10)),
        append(OTHER, entries(6..7, 6, 10)),
        append(GROUP, entries(7..9, 7, 10)),
    ];
    write(engine.as_ref(), writes);
    let log = [entries(6..7, 6, 10), entries(7..9, 7, 10)].concat();
    holds(engine.as_ref(), GROUP, &log);
    holds(engine.as_ref(), OTHER, &entries(6..7, 6, 10));
}

fn all_parts_of_a_write_happen(place: &mut dyn Harness) {
    let engine = place.open();
    let all = GroupWrite {
        append: entries(6..9, 6, 10),
        rows: vec![(b"a".to_vec(), Some(b"1".to_vec()))],
        ..creation(GROUP)
    };
    write(engine.as_ref(), vec![all]);
    let all = GroupWrite {
        hard_state: Some(hard_state(7, 1, 8)),
        append: entries(9..11, 7, 20),
        start: Some(super::start(7, 6)),
        rows: vec![(b"b".to_vec(), Some(b"2".to_vec()))],
        ..GroupWrite::new(GROUP)
    };
    write(engine.as_ref(), vec![all]);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &[entries(8..9, 6, 10), entries(9..11, 7, 20)].concat());
    assert_eq!(engine.rows(GROUP, b"").unwrap().len(), 2);
    assert_eq!(state(engine.as_ref(), GROUP).hard_state, hard_state(7, 1, 8));
}

fn a_reader_sees_whole_batches(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..10, 6, 5_000));
    write(engine.as_ref(), vec![rows(GROUP, &[("a", Some("6")), ("b", Some("6"))])]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) || seen == 0 {
                let log = engine.entries(GROUP, 6..20, u64::MAX).unwrap();
                let term = log[0].meta.term;
                // Each batch replaces the log by one of its own term, size and length.
                let expected = entries(6..10 + term % 3, term, size_in(term));
                assert_eq!(data(&log), data(&expected));
                let rows = engine.rows(GROUP, b"").unwrap();
                assert_eq!(rows[0].1, rows[1].1);
                seen += 1;
            }
        });
        for term in 7..60_u64 {
            let value = term.to_string();
            let log = append(GROUP, entries(6..10 + term % 3, term, size_in(term)));
            let rows = rows(GROUP, &[("a", Some(&value)), ("b", Some(&value))]);
            engine.write(&[WriteBatch { groups: vec![log, rows], sync: false }]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

fn size_in(term: u64) -> usize {
    if term == 6 { 5_000 } else { [10, 9_000, 4_001][(term % 3) as usize] }
}

fn many_groups_keep_apart(place: &mut dyn Harness) {
    let engine = place.open();
    let ids: Vec<GroupId> = (0..300).map(|id| GroupId(0x100 + id)).collect();
    write(engine.as_ref(), ids.iter().map(|id| creation(*id)).collect());
    for round in 0..3 {
        let writes = ids.iter().map(|id| {
            let from = 6 + round * 2;
            append(*id, entries(from..from + 2, 6 + id.0 % 5, 20 + (id.0 % 7) as usize))
        });
        write(engine.as_ref(), writes.collect());
    }
    let engine = reopen(place, engine);
    let groups = engine.groups().unwrap();
    assert_eq!(groups.iter().map(|state| state.group).collect::<Vec<_>>(), ids);
    for state in groups {
        let (term, size) = (6 + state.group.0 % 5, 20 + (state.group.0 % 7) as usize);
        let log = engine.entries(state.group, 6..99, u64::MAX).unwrap();
        assert_eq!(log, entries(6..12, term, size));
        assert_eq!(state.last, log.last().map(|entry| (entry.index, entry.meta)));
    }
}
