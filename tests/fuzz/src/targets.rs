//! What is fuzzed: the decoders of the store, and those of batches, which `core` has.

use bytes::Bytes;
use ropewalk_core::batch::{MAX_HEADER_BYTES, PLAIN_VERSION, SEQUENCED_VERSION};
use ropewalk_core::entry::Entry;
use ropewalk_core::{StoredBatch, records};
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
    let is_sequenced = bytes.get(1).is_some_and(|version| version % 2 == 0);
    let (version, header) = match is_sequenced {
        true => (SEQUENCED_VERSION, MAX_HEADER_BYTES),
        false => (PLAIN_VERSION, PLAIN_HEADER_BYTES),
    };
    bytes.resize(bytes.len().max(header), 0);
    (bytes[0], bytes[1]) = (1, version);
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
    true
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
