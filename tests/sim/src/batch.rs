//! Many lives, on all cores.

use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::life::{Life, Outcome};
use crate::moments::Moments;

/// How many lives there are when nobody asks for more.
const DEFAULT_SEEDS: u64 = 200;
/// The lives to live: a number of them, or a range of seeds.
const VARIABLE: &str = "ROPEWALK_SEEDS";

/// What many lives were.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many lives there were.
    pub lives: u64,
    /// The seeds of those that have failed.
    pub failed: Vec<u64>,
    /// How many proposals were carried out.
    pub answers: u64,
    /// How many followers were put to sleep while things happened.
    pub marks: u64,
    /// What has happened.
    pub moments: Moments,
}

impl Batch {
    fn add(&mut self, seed: u64, outcome: Option<Outcome>) {
        self.lives += 1;
        match outcome {
            None => self.failed.push(seed),
            Some(outcome) => {
                self.answers += outcome.answers;
                self.marks += outcome.marks;
                self.moments.add(&outcome.moments);
            }
        }
    }
}

/// The seeds that the environment asks for: `ROPEWALK_SEEDS=5000`, or `ROPEWALK_SEEDS=17..18`.
///
/// # Panics
/// When it asks for something else.
#[must_use]
pub fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var(VARIABLE) else { return 0..DEFAULT_SEEDS };
    let number = |text: &str| text.parse().expect("ROPEWALK_SEEDS is a number or a range: 17..18");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&text),
    }
}

/// Does something with each of these seeds, side by side, in any order, for as long as it says so.
pub fn each(seeds: &Range<u64>, act: impl Fn(u64) -> bool + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end || !act(seed) {
            // The others end too.
            next.fetch_max(seeds.end, Ordering::Relaxed);
            return;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
}

/// Lives the lives of these seeds, side by side, in any order: none knows of another.
#[must_use]
pub fn run(seeds: Range<u64>) -> Batch {
    let batch = Mutex::new(Batch::default());
    each(&seeds, |seed| {
        let outcome = catch_unwind(|| Life::live(seed, false)).ok();
        if outcome.is_none() {
            eprintln!("this was {VARIABLE}={seed}..{}", seed + 1);
        }
        batch.lock().unwrap().add(seed, outcome);
        true
    });
    let mut batch = batch.into_inner().unwrap();
    batch.failed.sort_unstable();
    batch
}
