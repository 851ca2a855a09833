//! The latest offset of each key, in a bounded piece of memory.

use std::hash::{DefaultHasher, Hasher};

use crate::ids::Offset;

/// The bytes of a slot: 96 bits of a hash of the key, and where its latest record stands. Two of
/// ten million keys have the same hash once in 10^15 times.
const SLOT_BYTES: usize = 16;
/// So many of a hundred slots are filled at most, so that a search stays short.
const FULL_PERCENT: u64 = 85;

/// The latest offset of each key of a run of records. Kafka's offset map is the model.
pub struct KeyMap {
    /// Three words of the hash, and one more than the position of the key's latest record from
    /// `base`; 0 where the slot is empty.
    slots: Vec<[u32; 4]>,
    most: u64,
    len: u64,
    base: Offset,
}

impl KeyMap {
    /// A map for the records from an offset on, with room for so many of them if `max_bytes` allow.
    #[must_use]
    pub fn new(base: Offset, records: u64, max_bytes: usize) -> Self {
        let wanted = records.max(1).saturating_mul(100) / FULL_PERCENT + 1;
        let slots = wanted.min((max_bytes / SLOT_BYTES).max(2) as u64);
        let most = (slots * FULL_PERCENT / 100).max(1);
        Self { slots: vec![[0; 4]; slots as usize], most, len: 0, base }
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The record at an offset has this key, and is the latest so far. Returns whether there was
    /// room for it; without, nothing more is to be noted.
    #[must_use]
    pub fn note(&mut self, key: &[u8], offset: Offset) -> bool {
        let Ok(position) = u32::try_from(offset.since(self.base) + 1) else { return false };
        let hash = hash(key);
        let at = self.find(hash);
        let slot = &mut self.slots[at];
        if slot[3] == 0 {
            if self.len == self.most {
                return false;
            }
            self.len += 1;
        }
        *slot = [hash.0, hash.1, hash.2, position];
        true
    }

    /// The latest record with this key, if there is one among those that were noted.
    #[must_use]
    pub fn latest(&self, key: &[u8]) -> Option<Offset> {
        let position = self.slots[self.find(hash(key))][3];
        position.checked_sub(1).map(|position| self.base.plus(u64::from(position)))
    }

    /// The slot of a hash, or the empty one that it is to have.
    fn find(&self, hash: (u32, u32, u32)) -> usize {
        let slots = self.slots.len() as u64;
        let spread = (u64::from(hash.0) << 32) | u64::from(hash.1);
        let mut at = ((u128::from(spread) * u128::from(slots)) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot[3] == 0 || (slot[0], slot[1], slot[2]) == hash {
                return at;
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }
}

/// SipHash, of which the standard library has one of 64 bits: two of them.
fn hash(key: &[u8]) -> (u32, u32, u32) {
    let mut first = DefaultHasher::new();
    first.write(key);
    let mut second = first.clone();
    second.write_u8(1);
    let (first, second) = (first.finish(), second.finish());
    ((first >> 32) as u32, first as u32, second as u32)
}
