//! What the store says of itself, and the sum by which it is told whether it is as it was left.
//!
//! The stamp is stored, so its form is for ever: see the golden test. Knows bytes only.

use std::hash::Hasher;

use ropewalk_core::codec::{DecodeError, Reader, Writer};

/// The key of the stamp. Every key of the engine sorts after it.
pub(super) const KEY: &[u8] = &[0];
/// Where all other keys begin.
pub(super) const FIRST_KEY: &[u8] = &[1];

const VERSION: u8 = 1;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sum over pairs, in which their order does not count, so that it can be kept up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: u64,
    pub(super) fingerprint: u64,
}

impl Sum {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.fingerprint = self.fingerprint.wrapping_add(mix(key, value));
    }

    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.fingerprint = self.fingerprint.wrapping_sub(mix(key, value));
    }
}

/// 64 bits that follow from a pair. Two checksums of the same polynomial would not do: whatever
/// their seeds, one follows from the other.
fn mix(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = Mixer(key.len() as u64);
    hash.write(key);
    hash.write_u64(value.len() as u64);
    hash.write(value);
    hash.finish()
}

/// Takes words of eight bytes, and multiplies in between: what comes earlier reaches every bit.
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last));
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(MULTIPLIER);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What the store holds, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The data directory that it belongs to.
    pub(super) directory: u64,
    /// The redo file that was in use, by how many there had been.
    pub(super) turn: u64,
    /// The last frame of the redo file that was applied.
    pub(super) sequence: u64,
    /// The last checkpoint that was applied.
    pub(super) lsn: u64,
    pub(super) sum: Sum,
    /// The length and the checksum of what that checkpoint left pending, which is in the redo file.
    pub(super) pending: (u64, u32),
}

/// The length and the checksum of bytes.
pub(super) fn pending_of(bytes: &[u8]) -> (u64, u32) {
    (bytes.len() as u64, crc32c::crc32c(bytes))
}

impl Stamp {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::versioned(VERSION);
        writer.u64(self.directory).u64(self.turn).u64(self.sequence).u64(self.lsn);
        writer.u64(self.sum.count).u64(self.sum.fingerprint);
        let mut bytes = writer.u64(self.pending.0).u32(self.pending.1).finish();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::versioned(bytes, VERSION, "stamp")?;
        let stamp = Self {
            directory: reader.u64()?,
            turn: reader.u64()?,
            sequence: reader.u64()?,
            lsn: reader.u64()?,
            sum: Sum { count: reader.u64()?, fingerprint: reader.u64()? },
            pending: (reader.u64()?, reader.u32()?),
        };
        let covered = bytes.len() - reader.rest().len();
        if reader.u32()? != crc32c::crc32c(&bytes[..covered]) {
            return Err(reader.error());
        }
        reader.finish()?;
        Ok(stamp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &str = concat!(
        "01",
        "0100000000000000",
        "0200000000000000",
        "0300000000000000",
        "0400000000000000",
        "0100000000000000",
        "f77624236729552b",
        "0400000000000000",
        "70ba6cc2",
        "a35bd94d",
    );

    fn stamp() -> Stamp {
        let mut sum = Sum::default();
        sum.add(b"a key", b"and its value");
        Stamp { directory: 1, turn: 2, sequence: 3, lsn: 4, sum, pending: pending_of(b"more") }
    }

    #[test]
    fn the_stored_form_stays() {
        let hex: String = stamp().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(Stamp::decode(&stamp().encode()), Ok(stamp()));
    }

    #[test]
    fn a_changed_stamp_is_none() {
        let bytes = stamp().encode();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            assert!(Stamp::decode(&bytes).is_err());
            assert!(Stamp::decode(&bytes[..at]).is_err());
        }
    }

    proptest! {
        #[test]
        fn the_sum_knows_pairs_and_no_order(
            pairs in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..20),
                 proptest::collection::vec(any::<u8>(), 0..20)), 1..8),
            at: proptest::sample::Index,
            bit in 0..8u8,
        ) {
            let mut sum = Sum::default();
            pairs.iter().for_each(|(key, value)| sum.add(key, value));
            let mut other = Sum::default();
            pairs.iter().rev().for_each(|(key, value)| other.add(key, value));
            prop_assert_eq!(sum, other);
            let (key, value) = &pairs[at.index(pairs.len())];
            let mut changed = value.clone();
            changed.push(0);
            let last = at.index(changed.len());
            changed[last] ^= 1 << bit;
            other.remove(key, value);
            other.add(key, &changed);
            prop_assert_ne!(sum, other);
            other.remove(key, &changed);
            other.add(key, value);
            prop_assert_eq!(sum, other);
        }
    }
}
