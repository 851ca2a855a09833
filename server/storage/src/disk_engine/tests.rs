//! The durable engine: the suite, the model, and what only it can get wrong.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, Harness, model};
use crate::memory::MemoryEngine;

mod damage;
mod failing;
mod meddling;
mod power_cut;
mod retention;
mod scarce;
mod script;
mod watched;

/// A directory on the real disk.
struct Place {
    dir: TempDir,
    options: Options,
}

impl Place {
    fn new(options: Options) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), options }
    }
}

impl Harness for Place {
    fn open(&mut self) -> Box<dyn Engine> {
        Box::new(DiskEngine::open(self.dir.path(), self.options).unwrap())
    }
}

/// Small enough that everything happens often.
fn small() -> Options {
    Options {
        journal_bytes: 256 * 1024,
        memory_bytes: 64 * 1024,
        cache_bytes: 32 * 1024,
        free_floor: 0,
        open_files: 8,
        background: false,
        chunk_bytes: 4 * 1024,
        checkpoint_room: 0,
        drain_bytes: 1024,
        unbuffered_bytes: 3 * 1024,
        first_file_bytes: 16 * 1024,
        last_file_bytes: 64 * 1024,
        redo_bytes: 160 * 1024,
    }
}

#[test]
fn conforms() {
    conformance::run(|| Box::new(Place::new(small())));
}

#[test]
fn conforms_with_its_thread() {
    conformance::run(|| Box::new(Place::new(Options { background: true, ..small() })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn does_what_the_memory_engine_does(steps in model::steps(), background: bool) {
        let options = Options { background, ..small() };
        model::compare(steps, &mut MemoryEngine::new(), &mut Place::new(options));
    }
}
