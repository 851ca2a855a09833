//! Each bug that is planted is found, by a life that goes well without it.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use ropewalk_sim::batch;
use ropewalk_sim::life::Life;
use ropewalk_storage::planted::{Plant, with};

use crate::{changes, compacting};

/// A bug that so many lives do not find counts as missed.
const SEEDS: u64 = 2_000;

/// A bug, and what a life says that finds it. One that fails with other words fell over something
/// else, and has found nothing.
type Sought = (Plant, &'static [&'static str]);

const PROMISES: &[Sought] = &[
    (Plant::AckBeforeSync, &["lacks what was answered", "another batch", "a read misses"]),
    (Plant::AckAtLeader, &["lacks what was answered", "a read misses what was answered"]),
    (Plant::ForgetVote, &["two leaders in term"]),
    (
        Plant::PromiseBeforeSync,
        &["two leaders in term", "lacks what was answered", "a read misses", "another batch"],
    ),
    (Plant::VoteForAnyone, &["lacks what was answered", "a read misses", "another batch"]),
    (
        Plant::LearnerCounts,
        &["lacks what was answered", "a read misses", "another batch", "bounds of broker"],
    ),
];

const READS: &[Sought] = &[
    (Plant::ServeBeforeNoop, &["lacks what was answered", "undone a trim"]),
    (Plant::StaleBounds, &["a read misses what was answered", "a read misses a trim"]),
    (Plant::StaleQuery, &["a read misses a command"]),
    (Plant::ServeBeyondCommit, &["is another batch"]),
];

const STATES: &[Sought] = &[
    (Plant::ApplyTwice, &["comes after"]),
    (Plant::TrimBeyondCommit, &["is out of range"]),
    (
        Plant::ForgetProducers,
        &["is at two offsets", "is out of order at", "a producer is never answered"],
    ),
    (Plant::KeepVersions, &["has a fork at"]),
    (Plant::OldIdsAfterWipe, &["bounds of broker", "lacks what was answered", "other metadata"]),
];

const STORE: &[Sought] = &[
    (Plant::CutAtDamage, &["do not join the log", "lacks what was answered"]),
    (Plant::RecycleEarly, &["is damaged or missing"]),
    (Plant::ServeDamaged, &["a batch is damaged"]),
];

/// One of a broker's, whose replicas say nothing wrong: its own tests find it
/// (`server/broker/src/cluster_tests.rs`), and runs of real brokers (`tests/chaos/planted`). Two
/// that scripts find. And those of consumer groups, which runs of real brokers find.
const ELSEWHERE: &[Plant] = &[
    Plant::FollowerBounds,
    Plant::ForgetChanges,
    Plant::ForgetTombstones,
    Plant::StaleCommits,
    Plant::TakeEarly,
    Plant::ForgetCommits,
    Plant::BeginLater,
];

/// The seed of a life that finds a bug, and what it says.
fn finds((plant, words): &Sought) -> Option<(u64, String)> {
    let found = Mutex::new(None);
    batch::each(&(0..SEEDS), |seed| {
        let life = AssertUnwindSafe(|| with(*plant, || Life::live(seed, false)));
        let Err(panic) = catch_unwind(life) else { return true };
        let said = said_by(panic.as_ref());
        let is_it = words.iter().any(|word| said.contains(word));
        if is_it {
            *found.lock().unwrap() = Some((seed, said));
        } else {
            println!("{plant:?}: seed {seed} fell over something else: {said}");
        }
        !is_it
    });
    found.into_inner().unwrap()
}

fn said_by(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn all_are_found(sought: &[Sought]) {
    let mut missed = Vec::new();
    for sought in sought {
        match finds(sought) {
            // It fails because of the bug.
            Some((seed, said)) => {
                println!("{:?}: seed {seed}: {said}", sought.0);
                let _ = Life::live(seed, false);
            }
            None => missed.push(sought.0),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn promises_that_are_not_kept_are_found() {
    all_are_found(PROMISES);
}

#[test]
fn reads_of_what_is_not_so_are_found() {
    all_are_found(READS);
}

#[test]
fn states_that_go_wrong_are_found() {
    all_are_found(STATES);
}

#[test]
fn a_store_that_loses_or_invents_is_found() {
    all_are_found(STORE);
}

/// Its window is too narrow for a life: a power cut in the half second after a change, and a split
/// right after.
#[test]
fn a_start_that_forgets_changes_is_found() {
    let script = changes::a_start_knows_of_the_changes_before_the_last_one_in_its_log;
    assert!(catch_unwind(|| with(Plant::ForgetChanges, script)).is_err());
}

/// Nor does a life often have a member away while two orders are carried out.
#[test]
fn tombstones_that_go_too_early_are_found() {
    let script = compacting::a_tombstone_stays_as_long_as_a_member_lacks_it;
    assert!(catch_unwind(|| with(Plant::ForgetTombstones, script)).is_err());
}

#[test]
fn there_is_no_bug_that_nobody_looks_for() {
    let name = |plant: &Plant| format!("{plant:?}");
    let sought = [PROMISES, READS, STATES, STORE].concat();
    let sought: BTreeSet<_> =
        sought.iter().map(|(plant, _)| plant).chain(ELSEWHERE).map(name).collect();
    let all: BTreeSet<_> = Plant::ALL.iter().map(|(_, plant)| name(plant)).collect();
    assert_eq!(sought, all);
}
