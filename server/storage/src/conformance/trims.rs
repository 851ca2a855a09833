//! The start of a log: trims, snapshots, and the space that they give back.

use super::{
    Check, GROUP, Harness, OTHER, append, creation, deletion, entries, entry, holds, reclaim_all,
    reopen, start, state, trim, with_log, write,
};
use crate::engine::{Engine, GroupWrite, LogStart, WriteBatch};

pub(super) const CHECKS: &[Check] = &[
    ("trimmed entries are gone at once", trimmed_entries_are_gone_at_once),
    ("a log may be trimmed to nothing", a_log_may_be_trimmed_to_nothing),
    ("a start may change without its index", a_start_may_change_without_its_index),
    ("the start of a snapshot beyond the log empties it", a_start_beyond_the_log_empties_it),
    ("the start of another history empties the log", another_history_empties_the_log),
    ("a snapshot and entries after it come in one write", a_snapshot_and_entries_after_it),
    ("entries may be trimmed as they are written", entries_may_be_trimmed_as_they_are_written),
    ("trims and entries of one call happen in order", trims_and_entries_of_one_call),
    ("reclaim never removes what can be read", reclaim_never_removes_what_can_be_read),
    ("reclaim takes bounded steps and ends", reclaim_takes_bounded_steps_and_ends),
    ("reclaim goes on after a start", reclaim_goes_on_after_a_start),
];

fn trimmed_entries_are_gone_at_once(place: &mut dyn Harness) {
    for size in [100, 9_000] {
        let engine = with_log(place, entries(6..20, 6, size));
        write(engine.as_ref(), vec![trim(GROUP, start(10, 6))]);
        holds(engine.as_ref(), GROUP, &entries(11..20, 6, size));
        assert_eq!(engine.meta(GROUP, 10).unwrap(), None);
        assert_eq!(engine.entries(GROUP, 6..20, u64::MAX).unwrap(), []);
        assert_eq!(state(engine.as_ref(), GROUP).start, start(10, 6));
        let engine = reopen(place, engine);
        holds(engine.as_ref(), GROUP, &entries(11..20, 6, size));
        reclaim_all(engine.as_ref());
        holds(engine.as_ref(), GROUP, &entries(11..20, 6, size));
        let engine = reopen(place, engine);
        holds(engine.as_ref(), GROUP, &entries(11..20, 6, size));
        assert_eq!(state(engine.as_ref(), GROUP).start, start(10, 6));
        assert!(!engine.reclaim().unwrap());
        write(engine.as_ref(), vec![deletion(GROUP)]);
    }
}

fn a_log_may_be_trimmed_to_nothing(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..20, 6, 100));
    write(engine.as_ref(), vec![trim(GROUP, start(19, 6))]);
    holds(engine.as_ref(), GROUP, &[]);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &[]);
    assert_eq!(state(engine.as_ref(), GROUP).last, None);
    reclaim_all(engine.as_ref());
    write(engine.as_ref(), vec![append(GROUP, entries(20..22, 6, 100))]);
    holds(engine.as_ref(), GROUP, &entries(20..22, 6, 100));
}

fn a_start_may_change_without_its_index(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..8, 6, 100));
    let moved = LogStart { offset: super::Offset(53), ..start(5, 5) };
    write(engine.as_ref(), vec![trim(GROUP, moved)]);
    let engine = reopen(place, engine);
    assert_eq!(state(engine.as_ref(), GROUP).start, moved);
    holds(engine.as_ref(), GROUP, &entries(6..8, 6, 100));
}

fn a_start_beyond_the_log_empties_it(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..20, 6, 9_000));
    write(engine.as_ref(), vec![trim(GROUP, start(100, 9))]);
    let empty = |engine: &dyn Engine| {
        holds(engine, GROUP, &[]);
        assert_eq!(engine.entries(GROUP, 6..200, u64::MAX).unwrap(), []);
        assert_eq!(engine.meta(GROUP, 100).unwrap(), None);
    };
    empty(engine.as_ref());
    let engine = reopen(place, engine);
    empty(engine.as_ref());
    write(engine.as_ref(), vec![append(GROUP, entries(101..103, 9, 10))]);
    holds(engine.as_ref(), GROUP, &entries(101..103, 9, 10));
    reclaim_all(engine.as_ref());
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &entries(101..103, 9, 10));
}

fn another_history_empties_the_log(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..20, 6, 5_000));
    // Index 10 has term 6 here and term 8 in the snapshot: nothing after it can be part of that
    // history.
    write(engine.as_ref(), vec![trim(GROUP, start(10, 8))]);
    holds(engine.as_ref(), GROUP, &[]);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &[]);
    write(engine.as_ref(), vec![append(GROUP, entries(11..12, 8, 10))]);
    reclaim_all(engine.as_ref());
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &entries(11..12, 8, 10));
}

fn a_snapshot_and_entries_after_it(place: &mut dyn Harness) {
    for at in [10, 15, 100] {
        let engine = with_log(place, entries(6..16, 6, 5_000));
        let both = GroupWrite {
            start: Some(start(at, 9)),
            ..append(GROUP, entries(at + 1..at + 3, 9, 10))
        };
        write(engine.as_ref(), vec![both]);
        holds(engine.as_ref(), GROUP, &entries(at + 1..at + 3, 9, 10));
        reclaim_all(engine.as_ref());
        let engine = reopen(place, engine);
        holds(engine.as_ref(), GROUP, &entries(at + 1..at + 3, 9, 10));
        write(engine.as_ref(), vec![deletion(GROUP)]);
    }
}

fn entries_may_be_trimmed_as_they_are_written(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..8, 6, 5_000));
    let both = |append_to, at| GroupWrite {
        start: Some(start(at, 6)),
        ..append(GROUP, entries(append_to..append_to + 4, 6, 5_000))
    };
    write(engine.as_ref(), vec![both(8, 9)]);
    holds(engine.as_ref(), GROUP, &entries(10..12, 6, 5_000));
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &entries(10..12, 6, 5_000));
    write(engine.as_ref(), vec![both(12, 15)]);
    holds(engine.as_ref(), GROUP, &[]);
    write(engine.as_ref(), vec![both(16, 40)]);
    reclaim_all(engine.as_ref());
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &[]);
    assert_eq!(state(engine.as_ref(), GROUP).start, start(40, 6));
}

fn trims_and_entries_of_one_call(place: &mut dyn Harness) {
    let engine = place.open();
    let writes = vec![
        creation(GROUP),
        append(GROUP, entries(6..20, 6, 5_000)),
        trim(GROUP, start(8, 6)),
        append(GROUP, entries(15..17, 7, 5_000)),
        trim(GROUP, start(15, 7)),
        append(GROUP, entries(17..18, 7, 10)),
    ];
    write(engine.as_ref(), writes);
    let log = [entry(16, 7, 5_000), entry(17, 7, 10)];
    holds(engine.as_ref(), GROUP, &log);
    reclaim_all(engine.as_ref());
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &log);
    // The term of a start is compared with an entry that the same call wrote.
    let writes = vec![append(GROUP, entries(18..22, 8, 10)), trim(GROUP, start(19, 9))];
    write(engine.as_ref(), writes);
    holds(engine.as_ref(), GROUP, &[]);
}

fn reclaim_never_removes_what_can_be_read(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..60, 6, 5_000));
    write(engine.as_ref(), vec![creation(OTHER), append(OTHER, entries(6..60, 6, 50))]);
    for at in [7, 20, 45] {
        write(engine.as_ref(), vec![trim(GROUP, start(at, 6)), trim(OTHER, start(at + 1, 6))]);
        loop {
            let more = engine.reclaim().unwrap();
            holds(engine.as_ref(), GROUP, &entries(at + 1..60, 6, 5_000));
            holds(engine.as_ref(), OTHER, &entries(at + 2..60, 6, 50));
            if !more {
                break;
            }
        }
    }
}

fn reclaim_takes_bounded_steps_and_ends(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..6000, 6, 0));
    assert!(!engine.reclaim().unwrap());
    write(engine.as_ref(), vec![trim(GROUP, start(5900, 6))]);
    reclaim_all(engine.as_ref());
    assert!(!engine.reclaim().unwrap());
    holds(engine.as_ref(), GROUP, &entries(5901..6000, 6, 0));
}

fn reclaim_goes_on_after_a_start(place: &mut dyn Harness) {
    let mut engine = with_log(place, entries(6..3000, 6, 0));
    let other = [entries(6..10, 6, 200_000), entries(10..12, 6, 10)].concat();
    write(engine.as_ref(), vec![creation(OTHER), append(OTHER, other)]);
    let writes = vec![deletion(GROUP), trim(OTHER, start(10, 6))];
    engine.write(&[WriteBatch { groups: writes, sync: true }]).unwrap();
    while engine.reclaim().unwrap() {
        engine = reopen(place, engine);
        holds(engine.as_ref(), OTHER, &entries(11..12, 6, 10));
    }
    let engine = reopen(place, engine);
    assert!(!engine.reclaim().unwrap());
    holds(engine.as_ref(), OTHER, &entries(11..12, 6, 10));
    holds(engine.as_ref(), GROUP, &[]);
}
