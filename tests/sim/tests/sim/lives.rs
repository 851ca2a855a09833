//! Random lives, as many as `ROPEWALK_SEEDS` says: `ROPEWALK_SEEDS=17..18` is one.

use ropewalk_sim::batch;
use ropewalk_sim::life::Life;

/// So many lives have every moment in them.
const ENOUGH: u64 = 1_000;

#[test]
fn whatever_happens_what_was_answered_stays() {
    let batch = batch::run(batch::seeds());
    // Shown only when it fails, or when it is asked for.
    println!("{} lives, {} answers\n{}", batch.lives, batch.answers, batch.moments);
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
