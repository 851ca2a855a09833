//! The durable engine: the suite, the model, and what only it can get wrong.

use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, Harness, model};
use crate::memory::MemoryEngine;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Harness for Place {
    fn open(&mut self) -> Box<dyn Engine> {
        Box::new(open(self.0.path()))
    }
}

fn open(dir: &Path) -> SledEngine {
    SledEngine::open(dir).unwrap()
}

#[test]
fn conforms() {
    conformance::run(|| Box::new(Place::new()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn does_what_the_memory_engine_does(steps in model::steps()) {
        model::compare(steps, &mut MemoryEngine::new(), &mut Place::new());
    }
}
