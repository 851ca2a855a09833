//! The decoders of the durable engine, for the fuzzer of `tests/fuzz` and nobody else.
//!
//! Each target takes any bytes. It panics when a law of its format does not hold: what was decoded,
//! put together again, is decoded to the same.

use bytes::Bytes;

use super::chunk::{self, CHUNK_HEADER_BYTES};
use super::frame::{self, FrameBuffer, HEADER_BYTES, Kind};
use super::index::contents;
use super::keys::Key;
use super::values::{self, ChunkValue, GroupValue, Place, SegmentValue};
use super::writes;
use crate::disk::BLOCK;
use crate::engine::GroupWrite;

/// A decoder, and what a fuzzer must know of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Sets lengths and checksums to what the other bytes ask for, so that more of the decoder is
    /// reached.
    pub repair: fn(&mut Vec<u8>),
    /// Decodes; says whether the bytes were what they should be.
    pub check: fn(&[u8]) -> bool,
}

/// Every decoder.
pub const TARGETS: [Target; 7] = [
    Target { name: "frame", repair: repair_frame, check: check_frame },
    Target { name: "writes", repair: |_| (), check: check_writes },
    Target { name: "chunk", repair: repair_chunk, check: check_chunk },
    Target { name: "key", repair: |_| (), check: check_key },
    Target { name: "value", repair: repair_value, check: check_value },
    Target { name: "redo", repair: |_| (), check: check_redo },
    Target { name: "stamp", repair: |bytes| repair_stamp(bytes), check: check_stamp },
];

/// Inputs that the files of a data directory hold, each with the name of its target.
#[must_use]
pub fn seeds(journals: &[Vec<u8>], redo: &[u8], segments: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |name: &str, bytes: &[u8]| seeds.push((name.to_owned(), bytes.to_vec()));
    for bytes in journals {
        for at in (0..bytes.len()).step_by(BLOCK) {
            let Ok((_, payload)) = frame::decode(&bytes[at..]) else { continue };
            add("frame", &bytes[at..at + frame::frame_bytes(payload.len())]);
            add("writes", &bytes[at..][payload]);
        }
    }
    for at in (0..redo.len()).step_by(BLOCK) {
        let Ok((head, payload)) = frame::decode(&redo[at..]) else { continue };
        let (payload, is_dump) = (&redo[at..][payload], head.kind == Kind::Dump);
        add("redo", &[&[u8::from(is_dump)], payload].concat());
        for (key, value) in contents::pairs_of(payload, is_dump) {
            add("key", &key);
            add("value", &keyed(&key, &value));
        }
    }
    for bytes in segments {
        let mut at = 0;
        while let Ok(head) = chunk::head(&bytes[at..]) {
            let end = usize::try_from(head.bytes).map_or(bytes.len(), |n| at.saturating_add(n));
            add("chunk", &bytes[at..end.min(bytes.len())]);
            at = end.min(bytes.len());
        }
    }
    seeds
}

fn repair_frame(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().max(HEADER_BYTES), 0);
    let most = bytes.len() - HEADER_BYTES;
    let claimed = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    let payload = (claimed as usize).min(most);
    bytes.resize(frame::frame_bytes(payload).max(bytes.len()), 0);
    bytes[..4].copy_from_slice(b"RWFR");
    bytes[4] = 1;
    bytes[5] = 1 + bytes[5] % 5;
    let length = u32::try_from(payload).unwrap_or(0);
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    let crc = frame::checksum(bytes, payload);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
}

fn check_frame(bytes: &[u8]) -> bool {
    let Ok((head, payload)) = frame::decode(bytes) else { return false };
    assert_eq!(frame::peek(bytes), Some(head));
    let mut buffer = FrameBuffer::default();
    buffer.begin(0).extend_from_slice(&bytes[payload.clone()]);
    let again = buffer.end(&head);
    let (same, range) = frame::decode(again).expect("what was just framed is a frame");
    assert_eq!((same, &again[range]), (head, &bytes[payload]));
    true
}

fn put_all(writes: &[GroupWrite]) -> Vec<u8> {
    let mut bytes = Vec::new();
    writes.iter().for_each(|write| writes::put_write(&mut bytes, write));
    bytes
}

fn check_writes(bytes: &[u8]) -> bool {
    let Ok(found) = writes::take_writes(&Bytes::copy_from_slice(bytes)) else { return false };
    let encoded = put_all(&found);
    let again = writes::take_writes(&Bytes::from(encoded.clone()));
    let again = again.expect("what was just encoded can be decoded");
    assert_eq!((again.len(), put_all(&again)), (found.len(), encoded));
    true
}

fn repair_chunk(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().max(CHUNK_HEADER_BYTES), 0);
    bytes[..5].copy_from_slice(b"RWCH\x01");
    let body = u32::try_from(bytes.len() - CHUNK_HEADER_BYTES).unwrap_or(0);
    let heads = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]).min(body);
    bytes[12..16].copy_from_slice(&heads.to_le_bytes());
    bytes[36..40].copy_from_slice(&(body - heads).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
}

fn check_chunk(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(head) = chunk::check(&bytes) else { return false };
    let Ok(entries) = chunk::decode(&bytes, head.log, head.first) else { return false };
    assert_eq!(entries.len(), head.entries as usize);
    if !entries.is_empty() {
        let mut again = Vec::new();
        chunk::encode_into(&mut again, head.log, &entries, None);
        let again = Bytes::from(again);
        assert_eq!(chunk::decode(&again, head.log, head.first).as_ref(), Ok(&entries));
    }
    true
}

fn check_key(bytes: &[u8]) -> bool {
    let _ = Key::describe(bytes);
    let Ok(key) = Key::decode(bytes) else { return false };
    assert_eq!(key.encode(), bytes);
    true
}

/// A value with its key before it, and the length of the key before that.
fn keyed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(key.len()).unwrap_or(u8::MAX);
    [&[length], &key[..length.into()], value].concat()
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked((*length).into())
}

fn repair_value(bytes: &mut Vec<u8>) {
    let Some((key, value)) = split(bytes) else { return };
    let Some(length) = value.len().checked_sub(4) else { return };
    let mut value = value.to_vec();
    if let Some(version) = value[..length].first_mut() {
        *version = 1;
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &value[..length]);
    value[length..].copy_from_slice(&crc.to_le_bytes());
    *bytes = keyed(key, &value);
}

fn check_value(bytes: &[u8]) -> bool {
    let Some((key, value)) = split(bytes) else { return false };
    // Any value may stand under any key: the key is no proof of what it is.
    let mut found = values::decode_deleted(key, value).is_ok();
    if let Ok(row) = values::decode_row(key, value) {
        assert_eq!(values::encode_row(key, row), value);
        found = true;
    }
    if let Ok(group) = GroupValue::decode(key, value) {
        assert_eq!(GroupValue::decode(key, &group.encode(key)), Ok(group));
    }
    if let Ok(segment) = SegmentValue::decode(key, value) {
        assert_eq!(SegmentValue::decode(key, &segment.encode(key)), Ok(segment));
    }
    if let Ok(chunk) = ChunkValue::decode(key, value) {
        assert_eq!(ChunkValue::decode(key, &chunk.encode(key)).as_ref(), Ok(&chunk));
        if let Place::Inline(bytes) = &chunk.place {
            check_chunk(bytes);
        }
    }
    found
}

fn check_redo(bytes: &[u8]) -> bool {
    let Some((kind, payload)) = bytes.split_first() else { return false };
    let is_dump = kind & 1 == 1;
    let Some(once) = contents::round_trip(is_dump, payload) else { return false };
    assert_eq!(contents::round_trip(is_dump, &once), Some(once));
    true
}

fn repair_stamp(bytes: &mut [u8]) {
    let Some(length) = bytes.len().checked_sub(4) else { return };
    let crc = crc32c::crc32c(&bytes[..length]);
    bytes[length..].copy_from_slice(&crc.to_le_bytes());
}

fn check_stamp(bytes: &[u8]) -> bool {
    let Some(again) = contents::stamp_round_trip(bytes) else { return false };
    assert_eq!(again, bytes);
    true
}

/// An input of the target `stamp`, which no file but sled's holds.
#[must_use]
pub fn stamp() -> Vec<u8> {
    contents::sample_stamp()
}
