//! What is fuzzed: the decoders of the store, and those of batches, which `core` has.

use bytes::Bytes;
use ropewalk_core::batch::{
    COMPACTED_SEQUENCED_VERSION, COMPACTED_VERSION, MAX_HEADER_BYTES, SEQUENCED_VERSION,
    TTL_VERSIONS,
};
use ropewalk_core::compaction::{CleanUp, KeyMap, Verdict, keys_of, shrink};
use ropewalk_core::entry::Entry;
use ropewalk_core::expiry::{Expiry, living};
use ropewalk_core::{Compression, StoredBatch, Timestamp, records};
use ropewalk_storage::fuzzing::TARGETS;
pub(crate) use ropewalk_storage::fuzzing::Target;

/// Every target.
pub(crate) fn all() -> Vec<Target> {
    let own = [
        Target { name: "batch", repair: repair_batch, check: check_batch },
        Target { name: "records", repair: |_| (), check: check_records },
    ];
    TARGETS.into_iter().chain(own).collect()
}

/// The header of a batch without a sequence; its checksum stands at the end.
const PLAIN_HEADER_BYTES: usize = 64;

fn repair_batch(bytes: &mut Vec<u8>) {
    let version = bytes.get(1).map_or(0, |version| version.wrapping_sub(1) % (2 * TTL_VERSIONS));
    let header = match 1 + version % TTL_VERSIONS {
        SEQUENCED_VERSION | COMPACTED_VERSION => PLAIN_HEADER_BYTES + 16,
        COMPACTED_SEQUENCED_VERSION => MAX_HEADER_BYTES,
        _ => PLAIN_HEADER_BYTES,
    };
    bytes.resize(bytes.len().max(header), 0);
    (bytes[0], bytes[1]) = (1, 1 + version);
    if version >= TTL_VERSIONS {
        bytes[56] |= 1;
    }
    bytes[2] %= 5;
    bytes[3] %= 2;
    let payload = u32::try_from(bytes.len() - header).unwrap_or(0);
    bytes[8..12].copy_from_slice(&payload.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[header..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    let crc = crc32c::crc32c_append(crc, &bytes[PLAIN_HEADER_BYTES..header]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
}

fn check_batch(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let entry = Entry::decode(&bytes);
    let Ok(batch) = StoredBatch::checked(&bytes) else { return false };
    assert_eq!(entry, Ok(Entry::Batch(batch.header)));
    let mut again = bytes.to_vec();
    batch.header.write(&mut again);
    assert_eq!(StoredBatch::checked(&Bytes::from(again)), Ok(batch.clone()));
    check_records(&batch.payload);
    check_records(&batch.records());
    check_compaction(&batch);
    check_expiry(&batch);
    true
}

/// What compaction leaves can be compacted again, and is the same then.
fn check_compaction(batch: &StoredBatch) {
    if batch.payload.len() > 100_000 {
        return;
    }
    let count = batch.positions().map_or(0, Iterator::count);
    assert!(count <= batch.payload.len());
    let mut keys = KeyMap::new(batch.header.base_offset, 100, 100_000);
    keys_of(batch, |key, offset| keys.note(key, offset));
    let verdict = Verdict { keys: &keys, clean_up: CleanUp::NONE };
    if let Some(left) = shrink(batch, &verdict).left {
        let left = StoredBatch::checked(&left.stored()).expect("what is left is a batch");
        assert_eq!(left.header.end_offset(), batch.header.end_offset());
        assert_eq!(shrink(&left, &verdict).left, None);
    }
}

/// What lives is a batch, of the same offsets.
fn check_expiry(batch: &StoredBatch) {
    if batch.payload.len() > 100_000 || batch.header.compression != Compression::None {
        return;
    }
    for keeps_keys in [false, true] {
        let expiry = Expiry { now: Timestamp::MAX, keeps_keys };
        if let Some(left) = living(batch, &batch.records(), expiry) {
            let left = StoredBatch::checked(&left.stored()).expect("what lives is a batch");
            assert_eq!(left.header.end_offset(), batch.header.end_offset());
            assert!(left.held().count() <= batch.records().len());
        }
    }
}

/// The producer's bytes, which are checked before they are stored and walked over after.
fn check_records(payload: &[u8]) -> bool {
    let (bytes, count) = records::cut(payload, payload.len() / 2);
    assert!(bytes <= payload.len() && count as usize <= payload.len());
    let _ = records::skip(payload, count);
    records::keys(payload).for_each(drop);
    let Ok(inspected) = records::inspect(payload, 1 << 20) else { return false };
    let normal = records::normalize(payload, false);
    let again = records::inspect(&normal, usize::MAX).expect("a normal form is a record set");
    assert_eq!(again.record_count, inspected.record_count);
    let _ = records::to_text(payload);
    true
}
