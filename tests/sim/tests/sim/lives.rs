//! Random lives, as many as `ROPEWALK_SEEDS` says: `ROPEWALK_SEEDS=17..18` is one.

use std::time::{Duration, Instant};

use ropewalk_sim::batch;
use ropewalk_sim::life::Life;

/// So many lives have every moment in them.
const ENOUGH: u64 = 1_000;
/// How long the lives of every change may take on two cores.
const ALL_WITHIN: Duration = Duration::from_secs(8 * 60);

#[test]
#[allow(clippy::disallowed_methods)] // What is timed is the test itself.
fn whatever_happens_what_was_answered_stays() {
    let begun = Instant::now();
    let batch = batch::run(batch::seeds());
    // Shown only when it fails, or when it is asked for.
    println!("{} lives, {} answers\n{}", batch.lives, batch.answers, batch.moments);
    let (took, most) = (begun.elapsed().as_secs(), ALL_WITHIN.as_secs());
    println!("{} lives took {took} s; 5000 have {most} s", batch.lives);
    assert!(batch.failed.is_empty(), "failed seeds: {:?}", batch.failed);
    let lives = batch.lives;
    assert!(batch.answers > 20 * lives, "the brokers got nothing done: {}", batch.answers);
    assert!(batch.marks > 4 * lives, "the groups hardly ever slept: {} marks", batch.marks);
    let missing = batch.moments.missing();
    assert!(missing.is_empty() || lives < ENOUGH, "it never happened: {missing:#?}");
}

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in 0..16 {
        assert_eq!(Life::live(seed, true), Life::live(seed, true), "seed {seed}");
    }
}
