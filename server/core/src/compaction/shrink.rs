//! Takes records from a batch.

use bytes::Bytes;
use ropewalk_compress::{Compression, compress, decompress};

use super::{CleanUp, KeyMap};
use crate::batch::{BatchHeader, StoredBatch, TimestampType};
use crate::expiry::ShortestTtl;
use crate::ids::Offset;
use crate::limits::MAX_DECOMPRESSED_BYTES;
use crate::records::{RecordFacts, facts};
use crate::time::Timestamp;

/// What is to become of the records of a log.
pub struct Verdict<'a> {
    /// The latest offset of each key of a later part of the log, or of this one.
    pub keys: &'a KeyMap,
    /// What goes beside superseded records.
    pub clean_up: CleanUp,
}

/// What becomes of a record.
enum Fate {
    Stays,
    /// It goes, and its key has a later one, or it has no key.
    Goes,
    /// It goes, and may be the last of its key.
    EndsKey,
}

impl Verdict<'_> {
    fn fate(&self, header: &BatchHeader, offset: Offset, record: &RecordFacts<'_>) -> Fate {
        let may_end = header.index < self.clean_up.lasting_from;
        let is_expired = may_end && header.append_time < self.clean_up.expired_before;
        let has_ended = may_end && self.has_ended(header, record);
        let Some(key) = record.key else {
            return if is_expired || has_ended { Fate::Goes } else { Fate::Stays };
        };
        if self.keys.latest(key).is_some_and(|latest| latest > offset) {
            return Fate::Goes;
        }
        let is_old = may_end && header.index < self.clean_up.tombstones_below;
        let is_tombstone = !record.has_value || has_ended;
        if is_expired || (is_tombstone && is_old) { Fate::EndsKey } else { Fate::Stays }
    }

    /// Whether its own time to live has been over for as long as tombstones stay.
    fn has_ended(&self, header: &BatchHeader, record: &RecordFacts<'_>) -> bool {
        header.end_of(record).is_some_and(|end| end < self.clean_up.ended_before)
    }
}

/// What becomes of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shrunk {
    /// What is left of it; `None` where all of it stays.
    pub left: Option<StoredBatch>,
    /// Some of that are tombstones, or have been for as long as those stay.
    pub has_tombstones: bool,
    /// When the first of the rest ends by a time to live of its own.
    pub first_end: Option<Timestamp>,
    /// A record went that may have been the last of its key.
    pub ends_keys: bool,
}

/// The records of a batch without its codec, if it holds as many as it says; what cannot be read is
/// left as it is.
fn readable(batch: &StoredBatch) -> Option<Bytes> {
    let records = batch.records();
    let codec = batch.header.compression;
    let records = match codec {
        Compression::None => records,
        _ => decompress(codec, &records, MAX_DECOMPRESSED_BYTES).ok()?.into(),
    };
    let (mut count, mut end) = (0_u32, 0);
    for record in facts(&records) {
        count += 1;
        end = record.range.end;
    }
    let left = batch.header.records_left();
    let are_placed = batch.positions().is_none_or(|held| {
        let last = held.clone().last();
        held.count() == left as usize && last.is_none_or(|last| last < batch.header.record_count)
    });
    (count == left && end == records.len() && are_placed).then_some(records)
}

/// Tells the key and the offset of each record of a batch that has a key, in order, until `note`
/// returns false. Returns whether it never did.
pub fn keys_of(batch: &StoredBatch, mut note: impl FnMut(&[u8], Offset) -> bool) -> bool {
    let Some(records) = readable(batch) else { return true };
    for (position, record) in batch.held().zip(facts(&records)) {
        let offset = batch.header.base_offset.plus(u64::from(position));
        if record.key.is_some_and(|key| !note(key, offset)) {
            return false;
        }
    }
    true
}

/// What becomes of a batch.
#[must_use]
pub fn shrink(batch: &StoredBatch, verdict: &Verdict<'_>) -> Shrunk {
    let mut shrunk = Shrunk::default();
    let Some(records) = readable(batch) else { return shrunk };
    let header = &batch.header;
    let (mut kept, mut kept_positions) = (Vec::new(), Vec::new());
    let (mut newest, mut shortest_ttl) = (Timestamp::MIN, None);
    for (position, record) in batch.held().zip(facts(&records)) {
        let offset = header.base_offset.plus(u64::from(position));
        match verdict.fate(header, offset, &record) {
            Fate::Stays if verdict.has_ended(header, &record) => shrunk.has_tombstones = true,
            Fate::Stays => {
                shrunk.has_tombstones |= record.key.is_some() && !record.has_value;
                shrunk.first_end = shrunk.first_end.into_iter().chain(header.end_of(&record)).min();
            }
            Fate::Goes => continue,
            Fate::EndsKey => {
                shrunk.ends_keys = true;
                continue;
            }
        }
        shortest_ttl = shortest_ttl.into_iter().chain(header.ttl_of(&record)).min();
        newest = newest.max(match (header.timestamp_type, record.time) {
            (TimestampType::Create, Some(time)) => time,
            _ => header.append_time,
        });
        kept.extend_from_slice(&records[record.range]);
        kept_positions.push(position);
    }
    if kept_positions.len() < header.records_left() as usize {
        let shortest_ttl = shortest_ttl.and_then(ShortestTtl::of);
        let header = BatchHeader { max_timestamp: newest, shortest_ttl, ..*header };
        shrunk.left = Some(rebuilt(&header, &kept, &kept_positions));
    }
    shrunk
}

fn rebuilt(header: &BatchHeader, kept: &[u8], positions: &[u32]) -> StoredBatch {
    let codec = if kept.is_empty() { Compression::None } else { header.compression };
    match codec {
        Compression::None => StoredBatch::of_left(header, positions, codec, kept),
        _ => StoredBatch::of_left(header, positions, codec, &compress(codec, kept)),
    }
}
