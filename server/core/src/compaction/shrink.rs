//! Takes records from a batch.

use bytes::Bytes;
use ropewalk_compress::{Compression, compress, decompress};

use super::{CleanUp, KeyMap};
use crate::batch::{BatchHeader, Remains, StoredBatch, TimestampType, encode_positions};
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

impl Verdict<'_> {
    fn keeps(&self, header: &BatchHeader, offset: Offset, record: &RecordFacts<'_>) -> bool {
        let may_end = header.index < self.clean_up.lasting_from;
        if may_end && header.append_time < self.clean_up.expired_before {
            return false;
        }
        let Some(key) = record.key else { return true };
        if self.keys.latest(key).is_some_and(|latest| latest > offset) {
            return false;
        }
        let is_old = may_end && header.append_time < self.clean_up.tombstones_before;
        record.has_value || !is_old
    }
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

/// The positions of the records that a batch holds.
fn positions(batch: &StoredBatch) -> Box<dyn Iterator<Item = u32> + '_> {
    match batch.positions() {
        Some(positions) => Box::new(positions),
        None => Box::new(0..batch.header.record_count),
    }
}

/// Tells the key and the offset of each record of a batch that has a key, in order, until `note`
/// returns false. Returns whether it never did.
pub fn keys_of(batch: &StoredBatch, mut note: impl FnMut(&[u8], Offset) -> bool) -> bool {
    let Some(records) = readable(batch) else { return true };
    for (position, record) in positions(batch).zip(facts(&records)) {
        let offset = batch.header.base_offset.plus(u64::from(position));
        if record.key.is_some_and(|key| !note(key, offset)) {
            return false;
        }
    }
    true
}

/// What is left of a batch, `None` where all of it stays; and whether some of that are tombstones.
#[must_use]
pub fn shrink(batch: &StoredBatch, verdict: &Verdict<'_>) -> (Option<StoredBatch>, bool) {
    let Some(records) = readable(batch) else { return (None, false) };
    let header = &batch.header;
    let (mut kept, mut kept_positions) = (Vec::new(), Vec::new());
    let (mut newest, mut has_tombstones) = (Timestamp::MIN, false);
    for (position, record) in positions(batch).zip(facts(&records)) {
        let offset = header.base_offset.plus(u64::from(position));
        if !verdict.keeps(header, offset, &record) {
            continue;
        }
        has_tombstones |= record.key.is_some() && !record.has_value;
        newest = newest.max(match (header.timestamp_type, record.time) {
            (TimestampType::Create, Some(time)) => time,
            _ => header.append_time,
        });
        kept.extend_from_slice(&records[record.range]);
        kept_positions.push(position);
    }
    if kept_positions.len() == header.records_left() as usize {
        return (None, has_tombstones);
    }
    (Some(rebuilt(header, &kept, &kept_positions, newest)), has_tombstones)
}

fn rebuilt(header: &BatchHeader, kept: &[u8], positions: &[u32], newest: Timestamp) -> StoredBatch {
    let codec = if kept.is_empty() { Compression::None } else { header.compression };
    let mut payload = encode_positions(positions.iter().copied());
    let length = |bytes: usize| u32::try_from(bytes).expect("a batch is far below 4 GiB");
    let remains = Remains {
        records: length(positions.len()),
        positions_bytes: length(payload.len()),
        produced_crc: header.produced_crc(),
    };
    match codec {
        Compression::None => payload.extend_from_slice(kept),
        codec => payload.extend_from_slice(&compress(codec, kept)),
    }
    let header = BatchHeader {
        compression: codec,
        payload_bytes: length(payload.len()),
        payload_crc: crc32c::crc32c(&payload),
        max_timestamp: newest,
        remains: Some(remains),
        ..*header
    };
    StoredBatch { header, payload: payload.into() }
}
