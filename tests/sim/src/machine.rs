//! The state machine of the metadata, watched: every replica must come to the same state by the
//! same commands, once each and in order, and what a command was answered stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ropewalk_cluster::{Metadata, MetadataMachine, MetadataWatch};
use ropewalk_consensus::{Applied, LaterVersion, StateMachine};
use ropewalk_core::codec::DecodeError;

/// What a command did, as the first replica to apply it found.
struct Done {
    command: Vec<u8>,
    response: Vec<u8>,
    after: Arc<Metadata>,
}

/// All commands that any replica has applied, by index.
#[derive(Default)]
pub struct Ledger(BTreeMap<u64, Done>);

impl Ledger {
    /// Somebody was told that this command led to this.
    pub fn answered(&self, index: u64, command: &[u8], response: &[u8]) {
        let done = self.0.get(&index).expect("what is answered was applied");
        assert_eq!(done.command, command, "another command is at index {index}");
        assert_eq!(done.response, response, "command {index} did something else");
    }

    /// The index of the last command up to an index, 0 when there is none.
    #[must_use]
    pub fn last_up_to(&self, index: u64) -> u64 {
        self.0.range(..=index).next_back().map_or(0, |(index, _)| *index)
    }

    /// The index of the last command.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last_up_to(u64::MAX)
    }

    /// The commands, carried out one after the other on a machine that sees nothing else, lead to
    /// this.
    pub fn replay(&self, found: &Metadata) {
        let (mut machine, watch) = MetadataMachine::new();
        for (index, done) in self.0.range(..=found.index) {
            machine.apply(*index, &done.command).unwrap();
        }
        let replayed = watch.borrow().clone();
        assert!(is_same(&replayed, found), "{replayed:?} is not {found:?}");
    }

    fn check(&mut self, index: u64, done: Done) {
        let known = match self.0.get(&index) {
            Some(known) => known,
            None => {
                self.0.insert(index, done);
                return;
            }
        };
        assert_eq!(known.command, done.command, "two commands at index {index}");
        assert_eq!(known.response, done.response, "command {index} did two things");
        assert!(is_same(&known.after, &done.after), "the states after command {index} differ");
    }

    fn check_restored(&self, index: u64, found: &Metadata) {
        match self.0.range(..=index).next_back() {
            Some((_, done)) => {
                assert!(is_same(&done.after, found), "the rows as of {index} are not its state");
            }
            None => assert!(is_same(&Metadata::default(), found), "rows before any command"),
        }
    }
}

/// Whether two states are the same, whatever the index that they stand at.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let mut moved = one.clone();
    moved.index = other.index;
    moved == *other
}

/// A broker's machine.
pub struct Watched {
    machine: MetadataMachine,
    watch: MetadataWatch,
    ledger: Arc<Mutex<Ledger>>,
    /// Everything up to here is in the state.
    at: u64,
}

impl Watched {
    /// An empty machine, and the watch of its state.
    #[must_use]
    pub fn new(ledger: Arc<Mutex<Ledger>>) -> (Self, MetadataWatch) {
        let (machine, watch) = MetadataMachine::new();
        (Self { machine, watch: watch.clone(), ledger, at: 0 }, watch)
    }

    fn now(&self) -> Arc<Metadata> {
        self.watch.borrow().clone()
    }
}

impl StateMachine for Watched {
    fn restore(&mut self, index: u64, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError> {
        self.machine.restore(index, rows)?;
        self.at = index;
        self.ledger.lock().unwrap().check_restored(index, &self.now());
        Ok(())
    }

    fn apply(&mut self, index: u64, command: &[u8]) -> Result<Applied, LaterVersion> {
        let applied = self.machine.apply(index, command)?;
        let mut ledger = self.ledger.lock().unwrap();
        assert!(index > self.at, "command {index} comes after {}", self.at);
        let before = ledger.last_up_to(index - 1);
        assert!(before <= self.at, "command {before} was left out before {index}");
        let (command, response) = (command.to_vec(), applied.response.clone());
        ledger.check(index, Done { command, response, after: self.now() });
        drop(ledger);
        self.at = index;
        Ok(applied)
    }

    fn refusal(&self, command: &[u8]) -> Option<Vec<u8>> {
        self.machine.refusal(command)
    }

    fn query(&self, question: &[u8]) -> Vec<u8> {
        self.machine.query(question)
    }
}
