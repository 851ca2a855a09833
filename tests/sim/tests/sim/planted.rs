//! Each bug that is planted is found, by a life that goes well without it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use ropewalk_sim::batch;
use ropewalk_sim::life::Life;
use ropewalk_storage::planted::{Plant, with};

use crate::changes;

/// A bug that so many lives do not find counts as missed.
const SEEDS: u64 = 2_000;

/// The seeds of a life that fails with a bug and of how many lives that took.
fn finds(plant: Plant) -> Option<u64> {
    let found = Mutex::new(None);
    batch::each(&(0..SEEDS), |seed| {
        let life = AssertUnwindSafe(|| with(plant, || Life::live(seed, false)));
        let is_fine = catch_unwind(life).is_ok();
        if !is_fine {
            *found.lock().unwrap() = Some(seed);
        }
        is_fine
    });
    found.into_inner().unwrap()
}

fn all_are_found(plants: &[Plant]) {
    let mut missed = Vec::new();
    for plant in plants {
        match finds(*plant) {
            // It fails because of the bug.
            Some(seed) => {
                println!("{plant:?}: seed {seed}");
                let _ = Life::live(seed, false);
            }
            None => missed.push(plant),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn promises_that_are_not_kept_are_found() {
    all_are_found(&[
        Plant::AckBeforeSync,
        Plant::AckAtLeader,
        Plant::ForgetVote,
        Plant::PromiseBeforeSync,
        Plant::VoteForAnyone,
        Plant::LearnerCounts,
    ]);
}

#[test]
fn reads_of_what_is_not_so_are_found() {
    all_are_found(&[
        Plant::ServeBeforeNoop,
        Plant::StaleBounds,
        Plant::StaleQuery,
        Plant::ServeBeyondCommit,
    ]);
}

#[test]
fn states_that_go_wrong_are_found() {
    all_are_found(&[Plant::ApplyTwice, Plant::TrimBeyondCommit, Plant::OldIdsAfterWipe]);
}

#[test]
fn a_store_that_loses_or_invents_is_found() {
    all_are_found(&[Plant::CutAtDamage, Plant::RecycleEarly, Plant::ServeDamaged]);
}

/// Its window is too narrow for a life: a power cut in the half second after a change, and a split
/// right after.
#[test]
fn a_start_that_forgets_changes_is_found() {
    let script = changes::a_start_knows_of_the_changes_before_the_last_one_in_its_log;
    assert!(catch_unwind(|| with(Plant::ForgetChanges, script)).is_err());
}

/// The one that is left is a broker's, whose replicas say nothing wrong: runs of real brokers find
/// it (`tests/chaos/planted`).
#[test]
fn there_is_no_bug_that_nobody_looks_for() {
    assert_eq!(Plant::ALL.len(), 6 + 4 + 3 + 3 + 1 + 1);
}
