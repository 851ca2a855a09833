//! The durable engine: the suite, the model, and what only it can get wrong.

use proptest::prelude::*;
use tempfile::TempDir;

use super::sim::small;
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
