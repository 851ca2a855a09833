//! A state machine whose state tells everything that was done to it, and in which order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ropewalk_consensus::{Applied, StateMachine};
use ropewalk_core::codec::DecodeError;

/// What the state must be after the command at each index, as the first replica to get there found.
#[derive(Default)]
pub(crate) struct Digest(BTreeMap<u64, u64>);

impl Digest {
    fn check(&mut self, index: u64, state: u64) {
        let known = *self.0.entry(index).or_insert(state);
        assert_eq!(known, state, "the states after command {index} differ");
    }

    fn check_restored(&self, index: u64, state: u64) {
        let known = self.0.range(..=index).next_back().map_or(0, |(_, state)| *state);
        assert_eq!(known, state, "the rows as of index {index} are not its state");
    }
}

/// Keeps numbers under few keys: a command puts its number under one, or deletes it.
pub(crate) struct Chain {
    rows: BTreeMap<Vec<u8>, u64>,
    digests: Arc<Mutex<Digest>>,
}

impl Chain {
    pub(crate) fn new(digests: Arc<Mutex<Digest>>) -> Self {
        Self { rows: BTreeMap::new(), digests }
    }

    fn count(&self) -> u64 {
        self.rows.get(&b"count"[..]).copied().unwrap_or(0)
    }

    fn state(&self) -> u64 {
        let mut state: u64 = 0;
        for (key, value) in &self.rows {
            for byte in key.iter().copied().chain(value.to_le_bytes()) {
                state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
                state = state.rotate_left(7) ^ 1;
            }
        }
        state
    }
}

impl StateMachine for Chain {
    fn restore(&mut self, index: u64, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError> {
        let number = |value: Vec<u8>| u64::from_le_bytes(value.try_into().unwrap());
        self.rows = rows.into_iter().map(|(key, value)| (key, number(value))).collect();
        self.digests.lock().unwrap().check_restored(index, self.state());
        Ok(())
    }

    fn apply(&mut self, index: u64, command: &[u8]) -> Applied {
        let number = u64::from_le_bytes(command.try_into().unwrap());
        let key = format!("key {}", number % 8).into_bytes();
        let value = (!number.is_multiple_of(3)).then_some(number);
        let count = self.count() + 1;
        let changed = [(key, value), (b"count".to_vec(), Some(count))];
        for (key, value) in &changed {
            match value {
                Some(value) => self.rows.insert(key.clone(), *value),
                None => self.rows.remove(key),
            };
        }
        self.digests.lock().unwrap().check(index, self.state());
        let stored = changed.map(|(key, value)| (key, value.map(|v| v.to_le_bytes().to_vec())));
        Applied { response: count.to_le_bytes().to_vec(), rows: stored.to_vec() }
    }

    fn query(&self, _question: &[u8]) -> Vec<u8> {
        self.count().to_le_bytes().to_vec()
    }
}
