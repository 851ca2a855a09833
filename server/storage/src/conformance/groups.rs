//! Groups, their raft state and their rows.

use ropewalk_core::{GroupId, ReplicaId};

use super::{
    Check, GROUP, Harness, OTHER, append, conf_state, creation, deletion, entries, hard_state,
    holds, reclaim_all, refused, reopen, rows, start, state, with_log, write,
};
use crate::engine::{Engine, GroupState, GroupWrite, WriteBatch};

pub(super) const CHECKS: &[Check] = &[
    ("a new engine is empty", a_new_engine_is_empty),
    ("a created group is listed", a_created_group_is_listed),
    ("groups are listed by id", groups_are_listed_by_id),
    ("a group may know nothing until a snapshot comes", a_group_may_wait_for_a_snapshot),
    ("raft's state is the last that was written", raft_state_is_the_last_written),
    ("rows are put, replaced, deleted and sorted", rows_are_put_replaced_deleted_and_sorted),
    ("rows are found by the beginning of their key", rows_are_found_by_prefix),
    ("rows of another group are not seen", rows_of_another_group_are_not_seen),
    ("a deleted group is gone, also after reclaim", a_deleted_group_is_gone),
    ("deleting twice changes nothing", deleting_twice_changes_nothing),
    ("a group that is created again is new", a_group_created_again_is_new),
    ("all of it may happen in one call", a_group_may_come_and_go_in_one_call),
    ("a write outside the contract is refused", a_write_outside_the_contract_is_refused),
    ("after a failed write nothing is written", after_a_failed_write_nothing_is_written),
    ("nothing is written after close", nothing_is_written_after_close),
    ("an empty write is no error", an_empty_write_is_no_error),
];

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(pairs: &[(&str, &str)]) -> Rows {
    pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn a_new_engine_is_empty(place: &mut dyn Harness) {
    let engine = place.open();
    assert_eq!(engine.groups().unwrap(), []);
    holds(engine.as_ref(), GROUP, &[]);
    assert_eq!(engine.rows(GROUP, b"").unwrap(), []);
    assert!(!engine.reclaim().unwrap());
    let engine = reopen(place, engine);
    assert_eq!(engine.groups().unwrap(), []);
}

fn a_created_group_is_listed(place: &mut dyn Harness) {
    let engine = place.open();
    write(engine.as_ref(), vec![creation(GROUP)]);
    let expected = GroupState {
        group: GROUP,
        replica: ReplicaId(GROUP.0 * 10 + 1),
        hard_state: hard_state(5, 0, 5),
        conf_state: conf_state(&[GROUP.0 * 10 + 1], &[]),
        start: start(5, 5),
        last: None,
    };
    assert_eq!(engine.groups().unwrap(), std::slice::from_ref(&expected));
    holds(engine.as_ref(), GROUP, &[]);
    let engine = reopen(place, engine);
    assert_eq!(engine.groups().unwrap(), [expected]);
}

fn a_group_may_wait_for_a_snapshot(place: &mut dyn Harness) {
    let blank = GroupWrite {
        hard_state: Some(hard_state(0, 0, 0)),
        conf_state: Some(conf_state(&[], &[])),
        start: Some(start(0, 0)),
        ..creation(GROUP)
    };
    let engine = place.open();
    write(engine.as_ref(), vec![blank]);
    let engine = reopen(place, engine);
    assert_eq!(state(engine.as_ref(), GROUP).start, start(0, 0));
    // It may take part in elections that it knows nothing of before.
    let voted = GroupWrite { hard_state: Some(hard_state(8, 0, 0)), ..GroupWrite::new(GROUP) };
    let snapshot = GroupWrite {
        hard_state: Some(hard_state(8, 0, 30)),
        conf_state: Some(conf_state(&[1, 2], &[3])),
        start: Some(start(30, 7)),
        ..append(GROUP, entries(31..34, 8, 100))
    };
    write(engine.as_ref(), vec![voted, snapshot]);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &entries(31..34, 8, 100));
    assert_eq!(state(engine.as_ref(), GROUP).start, start(30, 7));
    assert_eq!(state(engine.as_ref(), GROUP).conf_state, conf_state(&[1, 2], &[3]));
}

fn groups_are_listed_by_id(place: &mut dyn Harness) {
    let engine = place.open();
    let ids = [300, 1, u64::MAX, 0x1_0000, 2, 255, 256].map(GroupId);
    write(engine.as_ref(), ids.map(creation_at_any_id).to_vec());
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let listed = |engine: &dyn Engine| -> Vec<GroupId> {
        engine.groups().unwrap().iter().map(|state| state.group).collect()
    };
    assert_eq!(listed(engine.as_ref()), sorted);
    let engine = reopen(place, engine);
    assert_eq!(listed(engine.as_ref()), sorted);
}

fn creation_at_any_id(group: GroupId) -> GroupWrite {
    GroupWrite { group, ..creation(GROUP) }
}

fn raft_state_is_the_last_written(place: &mut dyn Harness) {
    let engine = place.open();
    write(engine.as_ref(), vec![creation(GROUP), creation(OTHER)]);
    for term in [6, 7] {
        let change = GroupWrite {
            hard_state: Some(hard_state(term, term + 1, term + 2)),
            conf_state: Some(conf_state(&[1, 2, term], &[9])),
            ..GroupWrite::new(GROUP)
        };
        write(engine.as_ref(), vec![change]);
    }
    let engine = reopen(place, engine);
    let changed = state(engine.as_ref(), GROUP);
    assert_eq!(changed.hard_state, hard_state(7, 8, 9));
    assert_eq!(changed.conf_state, conf_state(&[1, 2, 7], &[9]));
    assert_eq!(state(engine.as_ref(), OTHER).hard_state, hard_state(5, 0, 5));
}

fn rows_are_put_replaced_deleted_and_sorted(place: &mut dyn Harness) {
    let engine = place.open();
    write(engine.as_ref(), vec![creation(GROUP)]);
    let first = [("b", Some("1")), ("a", Some("2")), ("", Some("3")), ("c", Some("")), ("d", None)];
    write(engine.as_ref(), vec![rows(GROUP, &first)]);
    let expected = pairs(&[("", "3"), ("a", "2"), ("b", "1"), ("c", "")]);
    assert_eq!(engine.rows(GROUP, b"").unwrap(), expected);
    // The later of two changes of a row counts, in one write and in one call.
    let second = [("a", None), ("b", Some("4")), ("e", Some("5")), ("e", None)];
    write(engine.as_ref(), vec![rows(GROUP, &second), rows(GROUP, &[("b", Some("6"))])]);
    let engine = reopen(place, engine);
    let expected = pairs(&[("", "3"), ("b", "6"), ("c", "")]);
    assert_eq!(engine.rows(GROUP, b"").unwrap(), expected);
}

fn rows_are_found_by_prefix(place: &mut dyn Harness) {
    let engine = place.open();
    write(engine.as_ref(), vec![creation(GROUP)]);
    let put: Vec<Vec<u8>> = [&b"a"[..], b"ab", b"ab\x00", b"ab\xff", b"ab\xff\xff", b"ac", b"\xff"]
        .iter()
        .map(|key| key.to_vec())
        .collect();
    let change = GroupWrite {
        rows: put.iter().map(|key| (key.clone(), Some(key.clone()))).collect(),
        ..GroupWrite::new(GROUP)
    };
    write(engine.as_ref(), vec![change]);
    for prefix in [&b""[..], b"a", b"ab", b"ab\xff", b"abc", b"b", b"\xff", b"\xff\xff"] {
        let expected: Rows = put
            .iter()
            .filter(|key| key.starts_with(prefix))
            .map(|key| (key.clone(), key.clone()))
            .collect();
        assert_eq!(engine.rows(GROUP, prefix).unwrap(), expected, "{}", prefix.escape_ascii());
    }
}

fn rows_of_another_group_are_not_seen(place: &mut dyn Harness) {
    let engine = place.open();
    write(engine.as_ref(), vec![creation(GROUP), creation(OTHER)]);
    write(engine.as_ref(), vec![rows(GROUP, &[("a", Some("1"))]), rows(OTHER, &[("", Some("2"))])]);
    assert_eq!(engine.rows(GROUP, b"").unwrap(), pairs(&[("a", "1")]));
    assert_eq!(engine.rows(OTHER, b"").unwrap(), pairs(&[("", "2")]));
    assert_eq!(engine.rows(GroupId(0x102), b"").unwrap(), []);
}

/// A group with something of everything.
fn full(group: GroupId) -> Vec<GroupWrite> {
    let log = [entries(6..20, 6, 100), entries(20..24, 6, 10_000)].concat();
    vec![creation(group), append(group, log), rows(group, &[("a", Some("1")), ("b", Some("2"))])]
}

fn a_deleted_group_is_gone(place: &mut dyn Harness) {
    let engine = place.open();
    write(engine.as_ref(), [full(GROUP), full(OTHER)].concat());
    write(engine.as_ref(), vec![deletion(GROUP)]);
    let gone = |engine: &dyn Engine| {
        assert_eq!(engine.groups().unwrap().len(), 1);
        holds(engine, GROUP, &[]);
        assert_eq!(engine.entries(GROUP, 6..30, u64::MAX).unwrap(), []);
        assert_eq!(engine.meta(GROUP, 7).unwrap(), None);
        assert_eq!(engine.rows(GROUP, b"").unwrap(), []);
        holds(engine, OTHER, &full(OTHER)[1].append);
        assert_eq!(engine.rows(OTHER, b"").unwrap().len(), 2);
    };
    gone(engine.as_ref());
    let engine = reopen(place, engine);
    gone(engine.as_ref());
    reclaim_all(engine.as_ref());
    gone(engine.as_ref());
    let engine = reopen(place, engine);
    gone(engine.as_ref());
    assert!(!engine.reclaim().unwrap());
}

fn deleting_twice_changes_nothing(place: &mut dyn Harness) {
    let engine = place.open();
    write(engine.as_ref(), full(GROUP));
    write(engine.as_ref(), vec![deletion(GROUP), deletion(GROUP), deletion(OTHER)]);
    write(engine.as_ref(), vec![deletion(GROUP)]);
    assert_eq!(engine.groups().unwrap(), []);
}

fn a_group_created_again_is_new(place: &mut dyn Harness) {
    for reclaimed in [false, true] {
        let engine = place.open();
        write(engine.as_ref(), full(GROUP));
        write(engine.as_ref(), vec![deletion(GROUP)]);
        if reclaimed {
            reclaim_all(engine.as_ref());
        }
        write(engine.as_ref(), vec![creation(GROUP)]);
        assert_eq!(state(engine.as_ref(), GROUP).last, None);
        assert_eq!(engine.rows(GROUP, b"").unwrap(), []);
        holds(engine.as_ref(), GROUP, &[]);
        let log = entries(6..9, 8, 5_000);
        write(engine.as_ref(), vec![append(GROUP, log.clone()), rows(GROUP, &[("c", Some("3"))])]);
        reclaim_all(engine.as_ref());
        let engine = reopen(place, engine);
        holds(engine.as_ref(), GROUP, &log);
        assert_eq!(engine.rows(GROUP, b"").unwrap(), pairs(&[("c", "3")]));
        write(engine.as_ref(), vec![deletion(GROUP)]);
        reclaim_all(engine.as_ref());
    }
}

fn a_group_may_come_and_go_in_one_call(place: &mut dyn Harness) {
    let engine = place.open();
    let again = [full(GROUP), vec![deletion(GROUP)]].concat();
    let batches = [again.clone(), again, vec![creation(GROUP)]]
        .map(|groups| WriteBatch { groups, sync: false });
    engine.write(&batches).unwrap();
    holds(engine.as_ref(), GROUP, &[]);
    assert_eq!(engine.rows(GROUP, b"").unwrap(), []);
    write(engine.as_ref(), vec![append(GROUP, entries(6..8, 6, 9_000))]);
    reclaim_all(engine.as_ref());
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &entries(6..8, 6, 9_000));
    assert_eq!(engine.rows(GROUP, b"").unwrap(), []);
    write(engine.as_ref(), [vec![deletion(GROUP)], full(GROUP), vec![deletion(GROUP)]].concat());
    reclaim_all(engine.as_ref());
    let engine = reopen(place, engine);
    assert_eq!(engine.groups().unwrap(), []);
}

fn a_write_outside_the_contract_is_refused(place: &mut dyn Harness) {
    let log = entries(6..10, 6, 10);
    let outside: Vec<GroupWrite> = vec![
        creation(GROUP),
        GroupWrite { hard_state: None, ..creation(OTHER) },
        GroupWrite { conf_state: None, ..creation(OTHER) },
        GroupWrite { start: None, ..creation(OTHER) },
        rows(OTHER, &[("a", None)]),
        GroupWrite { delete: true, ..rows(GROUP, &[("a", None)]) },
        append(GROUP, entries(11..12, 6, 1)),
        append(GROUP, entries(5..7, 6, 1)),
        append(GROUP, [entries(10..12, 6, 1), entries(13..14, 6, 1)].concat()),
        append(GROUP, [entries(10..12, 6, 1), entries(11..14, 6, 1)].concat()),
        GroupWrite { start: Some(start(4, 5)), ..GroupWrite::new(GROUP) },
        GroupWrite { start: Some(start(8, 9)), ..append(GROUP, entries(10..12, 6, 1)) },
        GroupWrite { start: Some(start(20, 9)), ..append(GROUP, entries(22..23, 9, 1)) },
        GroupWrite { start: Some(start(11, 9)), ..append(GROUP, entries(10..13, 6, 1)) },
    ];
    let mut engine = with_log(place, log.clone());
    for change in outside {
        refused(engine.as_ref(), vec![change]);
        engine = reopen_failed(place, engine);
        holds(engine.as_ref(), GROUP, &log);
        assert_eq!(engine.groups().unwrap().len(), 1);
    }
}

fn reopen_failed(place: &mut dyn Harness, engine: Box<dyn Engine>) -> Box<dyn Engine> {
    drop(engine);
    place.open()
}

fn after_a_failed_write_nothing_is_written(place: &mut dyn Harness) {
    let log = entries(6..10, 6, 10);
    let engine = with_log(place, log.clone());
    refused(engine.as_ref(), vec![creation(GROUP)]);
    refused(engine.as_ref(), vec![append(GROUP, entries(10..11, 6, 1))]);
    holds(engine.as_ref(), GROUP, &log);
    let engine = reopen_failed(place, engine);
    write(engine.as_ref(), vec![append(GROUP, entries(10..11, 6, 1))]);
}

fn nothing_is_written_after_close(place: &mut dyn Harness) {
    let log = entries(6..10, 6, 10);
    let engine = with_log(place, log.clone());
    engine.close().unwrap();
    refused(engine.as_ref(), vec![append(GROUP, entries(10..11, 6, 1))]);
    let engine = reopen_failed(place, engine);
    holds(engine.as_ref(), GROUP, &log);
}

fn an_empty_write_is_no_error(place: &mut dyn Harness) {
    let engine = with_log(place, entries(6..8, 6, 1));
    engine.write(&[]).unwrap();
    engine
        .write(&[WriteBatch::default(), WriteBatch { sync: true, ..WriteBatch::default() }])
        .unwrap();
    write(engine.as_ref(), vec![GroupWrite::new(GROUP)]);
    holds(engine.as_ref(), GROUP, &entries(6..8, 6, 1));
}
