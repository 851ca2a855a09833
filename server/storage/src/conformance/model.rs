//! Two engines under the same random writes must always show the same.

use proptest::prelude::*;
use ropewalk_core::{GroupId, Offset, Timestamp};

use super::{
    Harness, append, conf_state, creation, deletion, entry, hard_state, reclaim_all, start, trim,
};
use crate::engine::{Engine, GroupWrite, LogEntry, Seek, WriteBatch};

/// A step, in terms that fit whatever state it meets.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write { changes: Vec<(u64, Change)>, sync: bool, split: bool },
    Reclaim,
    Reopen,
}

/// A change to a group. Groups that do not exist are created first.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Delete,
    /// Entries of these sizes, after the last one or in place of the last ones.
    Append {
        back: u64,
        sizes: Vec<usize>,
    },
    /// A start at this part of the log, in percent, perhaps beyond it, perhaps of another history.
    Trim {
        percent: u64,
        other_term: bool,
    },
    /// A start beyond the log, with entries after it.
    Snapshot {
        beyond: u64,
        sizes: Vec<usize>,
    },
    Rows(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// Raft's state, with a commit index at this part of the log, in percent.
    State {
        term: u64,
        voters: Vec<u64>,
        percent: u64,
    },
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write =
        (proptest::collection::vec((0..3u64, change()), 1..5), any::<bool>(), any::<bool>())
            .prop_map(|(changes, sync, split)| Step::Write { changes, sync, split });
    let step = prop_oneof![12 => write, 2 => Just(Step::Reclaim), 1 => Just(Step::Reopen)];
    proptest::collection::vec(step, 1..30)
}

fn change() -> impl Strategy<Value = Change> {
    let sizes = || {
        let size = prop_oneof![4 => 0..200usize, 1 => 3_900..4_200usize, 1 => 8_000..20_000usize];
        proptest::collection::vec(size, 1..8)
    };
    let key = proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..3);
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9));
    prop_oneof![
        1 => Just(Change::Delete),
        8 => (prop_oneof![3 => Just(0u64), 1 => 0..6u64], sizes())
            .prop_map(|(back, sizes)| Change::Append { back, sizes }),
        3 => (0..130u64, proptest::bool::weighted(0.2))
            .prop_map(|(percent, other_term)| Change::Trim { percent, other_term }),
        1 => (1..9u64, sizes()).prop_map(|(beyond, sizes)| Change::Snapshot { beyond, sizes }),
        2 => proptest::collection::vec((key, value), 1..4).prop_map(Change::Rows),
        3 => (1..9u64, proptest::collection::vec(1..5u64, 0..3), 0..120u64)
            .prop_map(|(term, voters, percent)| Change::State { term, voters, percent }),
    ]
}

/// Where a group of the model stands, as far as the next change must know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stand {
    start: u64,
    terms: Vec<u64>,
    committed: u64,
}

/// Runs the steps on both and compares them after each.
pub(crate) fn compare(steps: Vec<Step>, model: &mut dyn Harness, tested: &mut dyn Harness) {
    let (mut expected, mut actual) = (model.open(), tested.open());
    let mut stands: Vec<Option<Stand>> = vec![None; 3];
    let mut term = 6;
    for step in steps {
        match step {
            Step::Write { changes, sync, split } => {
                let mut writes = Vec::new();
                for (group, change) in changes {
                    term += 1;
                    concrete(group, change, term, &mut stands, &mut writes);
                }
                let batches: Vec<WriteBatch> = if split {
                    let batch = |write| WriteBatch { groups: vec![write], sync };
                    writes.into_iter().map(batch).collect()
                } else {
                    vec![WriteBatch { groups: writes, sync }]
                };
                expected.write(&batches).unwrap();
                actual.write(&batches).unwrap();
            }
            Step::Reclaim => reclaim_all(actual.as_ref()),
            Step::Reopen => {
                actual.close().unwrap();
                drop(actual);
                actual = tested.open();
                expected = model.open();
            }
        }
        same(expected.as_ref(), actual.as_ref(), &stands);
    }
}

/// Turns a change into writes that fit where its group stands.
pub(crate) fn concrete(
    number: u64,
    change: Change,
    term: u64,
    stands: &mut [Option<Stand>],
    writes: &mut Vec<GroupWrite>,
) {
    let (group, stand) = (GroupId(number), &mut stands[number as usize]);
    if matches!(change, Change::Delete) {
        *stand = None;
        writes.push(deletion(group));
        return;
    }
    let stand = stand.get_or_insert_with(|| {
        writes.push(creation(group));
        Stand { start: 5, terms: Vec::new(), committed: 5 }
    });
    let last = stand.start + stand.terms.len() as u64;
    let log = |from: u64, sizes: Vec<usize>| -> Vec<LogEntry> {
        (from..).zip(sizes).map(|(index, size)| entry(index, term, size)).collect()
    };
    writes.push(match change {
        Change::Delete => return,
        Change::Append { back, sizes } => {
            let from = (last + 1).saturating_sub(back).max(stand.committed.min(last) + 1);
            stand.terms.truncate((from - stand.start - 1) as usize);
            stand.terms.extend(sizes.iter().map(|_| term));
            append(group, log(from, sizes))
        }
        Change::Trim { percent, other_term } => {
            let at = stand.start + (stand.terms.len() as u64) * percent / 100;
            let gone = (at - stand.start) as usize;
            let same_term = gone.checked_sub(1).and_then(|at| stand.terms.get(at));
            // What is committed is never of another history.
            let other_term = other_term && at > stand.committed;
            let keeps = gone == 0 || (same_term.is_some() && !other_term);
            let at_term = if other_term { term } else { same_term.copied().unwrap_or(term) };
            stand.terms = if keeps { stand.terms.split_off(gone) } else { Vec::new() };
            stand.start = at;
            stand.committed = stand.committed.max(at);
            trim(group, start(at, at_term))
        }
        Change::Snapshot { beyond, sizes } => {
            stand.start = last + beyond;
            stand.committed = stand.start;
            stand.terms = sizes.iter().map(|_| term).collect();
            let append = log(stand.start + 1, sizes);
            GroupWrite { append, ..trim(group, start(stand.start, term)) }
        }
        Change::Rows(rows) => GroupWrite { rows, ..GroupWrite::new(group) },
        Change::State { term, voters, percent } => {
            let commit = (stand.start + stand.terms.len() as u64 * percent.min(100) / 100)
                .max(stand.committed);
            stand.committed = commit;
            GroupWrite {
                hard_state: Some(hard_state(term, 1, commit)),
                conf_state: Some(conf_state(&voters, &[])),
                ..GroupWrite::new(group)
            }
        }
    });
}

fn same(expected: &dyn Engine, actual: &dyn Engine, stands: &[Option<Stand>]) {
    assert_eq!(expected.groups().unwrap(), actual.groups().unwrap());
    for (number, stand) in (0..).zip(stands) {
        let group = GroupId(number);
        assert_eq!(expected.rows(group, b"").unwrap(), actual.rows(group, b"").unwrap());
        assert_eq!(expected.rows(group, &[255]).unwrap(), actual.rows(group, &[255]).unwrap());
        let Stand { start, terms, .. } = stand.clone().unwrap_or_default();
        let first = start + 1;
        let log = actual.entries(group, first..u64::MAX, u64::MAX).unwrap();
        assert_eq!(log.iter().map(|entry| entry.meta.term).collect::<Vec<_>>(), terms);
        assert_eq!(expected.entries(group, first..u64::MAX, u64::MAX).unwrap(), log);
        for index in start.saturating_sub(2)..first + terms.len() as u64 + 2 {
            let meta = actual.meta(group, index).unwrap();
            assert_eq!(expected.meta(group, index).unwrap(), meta);
            let range = index..index + 5;
            // Offsets and times of the entries rise with their indexes.
            for seek in [Seek::After(Offset(index * 10)), Seek::Since(Timestamp(index as i64))] {
                let all = first..first + terms.len() as u64;
                assert_eq!(
                    expected.find(group, all.clone(), seek).unwrap(),
                    actual.find(group, all, seek).unwrap()
                );
            }
            assert_eq!(
                expected.entries(group, range.clone(), 9_000).unwrap(),
                actual.entries(group, range, 9_000).unwrap()
            );
        }
    }
}
