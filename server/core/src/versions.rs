//! The version of each key of a partition: the offset of its latest record. Conditional appends
//! compare it.
//!
//! A key is known by a hash of 128 bits, so that an entry has a fixed size: two of a billion keys
//! have the same hash once in 10^20 times. A tombstone is a record like any other. Who reads the
//! log, and when, is not known here.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use crate::batch::StoredBatch;
use crate::ids::Offset;
use crate::{Compression, compress, limits, records};

#[cfg(test)]
mod tests;

/// So many keys are taken up at a time: with more, whoever takes them up would keep others waiting.
pub const MAX_KEYS_AT_A_TIME: usize = 16_384;
/// What one key takes in memory at most, hash and offset, in a table that is half empty.
pub const KEY_BYTES: u64 = 64;
/// A table that grows is copied. There are many, so that each copy is short.
const TABLES: usize = 64;

/// What a key is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash([u64; 2]);

impl KeyHash {
    /// That of a key: SipHash, of which the standard library has one of 64 bits, so two of them.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let mut first = DefaultHasher::new();
        first.write(key);
        let mut second = first.clone();
        second.write_u8(1);
        Self([first.finish(), second.finish()])
    }
}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// The latest record of each key among those of a run of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRun(Vec<(KeyHash, Offset)>);

impl KeyRun {
    /// The keys of one batch, as if its first offset were 0; `None` when they are too many to be
    /// taken up at a time ([`MAX_KEYS_AT_A_TIME`]).
    ///
    /// A compressed batch that cannot be decompressed within the limits has no keys: nobody can
    /// read its records.
    #[must_use]
    pub fn of_batch(codec: Compression, payload: &[u8], record_count: u32) -> Option<Self> {
        let mut found = BTreeMap::new();
        let (all, last) = (0..u64::from(record_count), Offset(u64::from(record_count)));
        let end = collect(codec, payload, all.map(Offset), last, Offset::ZERO, &mut found);
        (end == last).then(|| Self(found.into_iter().collect()))
    }

    /// The keys of stored batches, of the records from an offset on, and the offset up to which
    /// they are all here.
    #[must_use]
    pub fn of_stored(batches: &[StoredBatch], from: Offset) -> (Self, Offset) {
        let (mut found, mut end) = (BTreeMap::new(), from);
        for batch in batches {
            let header = &batch.header;
            let (base, last) = (header.base_offset, header.end_offset());
            let at = |position: u32| base.plus(u64::from(position));
            let records = batch.records();
            end = match batch.positions() {
                Some(left) => {
                    let offsets = left.map(at);
                    collect(header.compression, &records, offsets, last, from, &mut found)
                }
                None => {
                    let offsets = (0..header.record_count).map(at);
                    collect(header.compression, &records, offsets, last, from, &mut found)
                }
            };
            if end < last {
                break;
            }
        }
        (Self(found.into_iter().collect()), end)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len() * size_of::<(KeyHash, Offset)>()
    }
}

/// Collects the keys of a batch whose records have these offsets, from `from` on. Returns the
/// offset up to which all of them are collected: `end` when none is left out.
fn collect(
    codec: Compression,
    payload: &[u8],
    offsets: impl Iterator<Item = Offset>,
    end: Offset,
    from: Offset,
    found: &mut BTreeMap<KeyHash, Offset>,
) -> Offset {
    let decompressed;
    let payload = match codec {
        Compression::None => payload,
        codec => match compress::decompress(codec, payload, limits::MAX_DECOMPRESSED_BYTES) {
            Ok(bytes) => {
                decompressed = Bytes::from(bytes);
                &decompressed[..]
            }
            Err(_) => return end,
        },
    };
    for (offset, (_, key)) in offsets.zip(records::keys(payload)) {
        let Some(key) = key.filter(|_| offset >= from) else { continue };
        let hash = KeyHash::of(key);
        if found.len() == MAX_KEYS_AT_A_TIME && !found.contains_key(&hash) {
            return offset;
        }
        found.insert(hash, offset);
    }
    end
}

/// The hash of a [`KeyHash`] is a part of it.
#[derive(Default)]
struct Part(u64);

impl Hasher for Part {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, part: u64) {
        self.0 = part;
    }
}

type Table = HashMap<KeyHash, Offset, BuildHasherDefault<Part>>;

/// The version of each key that was noted, in any order.
///
/// Nothing here depends on the order in which a map gives its entries.
pub struct KeyVersions {
    tables: Vec<Table>,
    len: usize,
    /// The table that is swept next.
    swept: usize,
}

impl Default for KeyVersions {
    fn default() -> Self {
        Self { tables: (0..TABLES).map(|_| Table::default()).collect(), len: 0, swept: 0 }
    }
}

impl KeyVersions {
    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Notes the keys of a run; its offsets count from `base`.
    pub fn note(&mut self, run: &KeyRun, base: Offset) {
        for (hash, offset) in &run.0 {
            let offset = base.plus(offset.0);
            let table = &mut self.tables[table_of(*hash)];
            let before = table.len();
            let latest = table.entry(*hash).or_insert(offset);
            *latest = (*latest).max(offset);
            self.len += table.len() - before;
        }
    }

    /// The offset of the latest record with this key, if there is one at or after the log start.
    #[must_use]
    pub fn version(&self, hash: KeyHash, start: Offset) -> Option<Offset> {
        self.tables[table_of(hash)].get(&hash).copied().filter(|offset| *offset >= start)
    }

    /// Forgets keys whose records are all gone.
    pub fn sweep_all(&mut self, start: Offset) {
        (0..TABLES).for_each(|_| self.sweep(start));
    }

    /// The same of a part of them, which takes less time: to be called often.
    pub fn sweep(&mut self, start: Offset) {
        let table = &mut self.tables[self.swept];
        let before = table.len();
        table.retain(|_, offset| *offset >= start);
        self.len -= before - table.len();
        if table.len() < before / 2 {
            table.shrink_to_fit();
        }
        self.swept = (self.swept + 1) % TABLES;
    }
}

fn table_of(hash: KeyHash) -> usize {
    // The other part is that which the table goes by.
    (hash.0[1] % TABLES as u64) as usize
}
