//! The stored form of the index's values.
//!
//! Every value begins with a version and ends with a crc32c over its key and itself, so that
//! neither a changed byte nor a value under another's key passes for what was written.

use bytes::Bytes;
use raft::eraftpb::{ConfState, HardState};
use ropewalk_core::codec::{DecodeError, Reader};
use ropewalk_core::{Offset, ReplicaId, Timestamp};

use super::entry_codec::{put_heads, put_number, take_heads, take_number};
use super::writes::{
    put_conf_state, put_hard_state, put_start, take_conf_state, take_hard_state, take_start,
};
use crate::engine::{EntryMeta, LogEntry, LogStart};

/// The version of every value that this code writes.
const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;
/// The most bytes of a chunk that stands in the index itself: with its key and its summary it stays
/// below 4 KiB, beyond which sled keeps values less well.
pub(crate) const MAX_INLINE_BYTES: usize = 3_900;

type Decoded<T> = Result<T, DecodeError>;

/// What the index knows of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupValue {
    /// The number of its log.
    pub(crate) log: u64,
    /// This broker's replica.
    pub(crate) replica: ReplicaId,
    pub(crate) hard_state: HardState,
    pub(crate) conf_state: ConfState,
    pub(crate) start: LogStart,
    /// The last entry that stands in a chunk.
    pub(crate) drained: Option<(u64, EntryMeta)>,
}

/// What the index knows of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentValue {
    /// The raft index at which its log segment begins.
    pub(crate) base_index: u64,
    /// Its bytes, up to the end of its last chunk.
    pub(crate) bytes: u64,
}

/// Where a chunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the index.
    Inline(Bytes),
    /// In a segment file.
    File {
        /// The number of the file.
        segment: u64,
        /// Where in the file it begins.
        at: u64,
        /// How many bytes it has.
        bytes: u32,
        /// Its checksum.
        crc: u32,
    },
}

/// What the index knows of a chunk: enough to search for an offset or a time without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkValue {
    /// The index of its last entry.
    pub(crate) last: u64,
    /// The partition's next offset after it.
    pub(crate) end_offset: Offset,
    /// The newest time of a record in the log up to its end.
    pub(crate) newest: Timestamp,
    /// Where it is.
    pub(crate) place: Place,
}

impl GroupValue {
    /// The stored bytes.
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = vec![VERSION];
        put_number(&mut value, self.log);
        put_number(&mut value, self.replica.0);
        put_hard_state(&mut value, &self.hard_state);
        put_conf_state(&mut value, &self.conf_state);
        put_start(&mut value, &self.start);
        if let Some((index, meta)) = self.drained {
            put_number(&mut value, index);
            put_heads(&mut value, &[LogEntry { index, meta, data: Bytes::new() }]);
        }
        seal(key, value)
    }

    /// The state of stored bytes.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Decoded<Self> {
        let mut reader = unseal(key, value, "group state")?;
        let log = take_number(&mut reader)?;
        let replica = ReplicaId(take_number(&mut reader)?);
        let hard_state = take_hard_state(&mut reader)?;
        let conf_state = take_conf_state(&mut reader)?;
        let start = take_start(&mut reader)?;
        let mut drained = None;
        if !reader.is_done() {
            let index = take_number(&mut reader)?;
            let (meta, _) = take_heads(&mut reader, 1)?.pop().ok_or(reader.error())?;
            drained = Some((index, meta));
        }
        reader.finish()?;
        Ok(Self { log, replica, hard_state, conf_state, start, drained })
    }
}

impl SegmentValue {
    /// The stored bytes.
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = vec![VERSION];
        put_number(&mut value, self.base_index);
        put_number(&mut value, self.bytes);
        seal(key, value)
    }

    /// The segment of stored bytes.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Decoded<Self> {
        let mut reader = unseal(key, value, "segment")?;
        let base_index = take_number(&mut reader)?;
        let bytes = take_number(&mut reader)?;
        reader.finish()?;
        Ok(Self { base_index, bytes })
    }
}

impl ChunkValue {
    /// The stored bytes.
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = vec![VERSION];
        put_number(&mut value, self.last);
        put_number(&mut value, self.end_offset.0);
        value.extend_from_slice(&self.newest.0.to_le_bytes());
        match &self.place {
            Place::Inline(chunk) => {
                value.push(0);
                value.extend_from_slice(chunk);
            }
            Place::File { segment, at, bytes, crc } => {
                value.push(1);
                put_number(&mut value, *segment);
                put_number(&mut value, *at);
                put_number(&mut value, u64::from(*bytes));
                value.extend_from_slice(&crc.to_le_bytes());
            }
        }
        seal(key, value)
    }

    /// The chunk of stored bytes.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Decoded<Self> {
        let mut reader = unseal(key, value, "chunk")?;
        let last = take_number(&mut reader)?;
        let end_offset = Offset(take_number(&mut reader)?);
        let newest = Timestamp(reader.i64()?);
        let place = match reader.u8()? {
            0 => {
                let chunk = reader.rest();
                reader.raw(chunk.len())?;
                Place::Inline(Bytes::copy_from_slice(chunk))
            }
            1 => Place::File {
                segment: take_number(&mut reader)?,
                at: take_number(&mut reader)?,
                bytes: u32::try_from(take_number(&mut reader)?).map_err(|_| reader.error())?,
                crc: reader.u32()?,
            },
            _ => return Err(reader.error()),
        };
        reader.finish()?;
        Ok(Self { last, end_offset, newest, place })
    }
}

/// The value that says that a log is gone.
pub(crate) fn encode_deleted(key: &[u8]) -> Vec<u8> {
    seal(key, vec![VERSION])
}

/// Makes sure that a value says that a log is gone.
pub(crate) fn decode_deleted(key: &[u8], value: &[u8]) -> Decoded<()> {
    unseal(key, value, "deletion")?.finish()
}

/// The value of a row.
pub(crate) fn encode_row(key: &[u8], row: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(row.len() + 1 + CRC_BYTES);
    value.push(VERSION);
    value.extend_from_slice(row);
    seal(key, value)
}

/// A row.
pub(crate) fn decode_row<'a>(key: &[u8], value: &'a [u8]) -> Decoded<&'a [u8]> {
    unseal(key, value, "row").map(|reader| reader.rest())
}

fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend_from_slice(&crc.to_le_bytes());
    value
}

fn unseal<'a>(key: &[u8], value: &'a [u8], what: &'static str) -> Decoded<Reader<'a>> {
    let length = value.len().checked_sub(CRC_BYTES).ok_or(DecodeError(what))?;
    let (sealed, crc) = value.split_at(length);
    if crc32c::crc32c_append(crc32c::crc32c(key), sealed).to_le_bytes() != crc {
        return Err(DecodeError("bytes: their checksum does not fit"));
    }
    match sealed.split_first() {
        Some((&VERSION, body)) => Ok(Reader::new(body, what)),
        _ => Err(DecodeError("version: this build does not know it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{conf_state, entry, hard_state, start};

    const KEY: &[u8] = b"a key";

    fn group() -> GroupValue {
        GroupValue {
            log: 3,
            replica: ReplicaId(9),
            hard_state: hard_state(7, 1, 300),
            conf_state: conf_state(&[9, 10], &[11]),
            start: start(200, 6),
            drained: Some((250, entry(250, 7, 0).meta)),
        }
    }

    fn chunk(place: Place) -> ChunkValue {
        ChunkValue { last: 44, end_offset: Offset(440), newest: Timestamp(-3), place }
    }

    fn values() -> Vec<Vec<u8>> {
        let file = Place::File { segment: 1, at: 1 << 40, bytes: u32::MAX, crc: 0x1234_5678 };
        vec![
            group().encode(KEY),
            SegmentValue { base_index: 5, bytes: 1 << 33 }.encode(KEY),
            chunk(file).encode(KEY),
            chunk(Place::Inline(Bytes::from_static(b"chunk"))).encode(KEY),
            encode_deleted(KEY),
            encode_row(KEY, b"row"),
        ]
    }

    fn any_decodes(key: &[u8], value: &[u8]) -> bool {
        GroupValue::decode(key, value).is_ok()
            || SegmentValue::decode(key, value).is_ok()
            || ChunkValue::decode(key, value).is_ok()
            || decode_deleted(key, value).is_ok()
            || decode_row(key, value).is_ok()
    }

    #[test]
    fn values_go_both_ways() {
        assert_eq!(GroupValue::decode(KEY, &group().encode(KEY)), Ok(group()));
        let fresh = GroupValue { drained: None, ..group() };
        assert_eq!(GroupValue::decode(KEY, &fresh.encode(KEY)), Ok(fresh));
        let segment = SegmentValue { base_index: 5, bytes: 1 << 33 };
        assert_eq!(SegmentValue::decode(KEY, &segment.encode(KEY)), Ok(segment));
        for place in [
            Place::Inline(Bytes::from_static(b"chunk")),
            Place::File { segment: 1, at: 2, bytes: 3, crc: 4 },
        ] {
            let value = chunk(place);
            assert_eq!(ChunkValue::decode(KEY, &value.encode(KEY)), Ok(value));
        }
        assert_eq!(decode_deleted(KEY, &encode_deleted(KEY)), Ok(()));
        assert_eq!(decode_row(KEY, &encode_row(KEY, b"row")), Ok(&b"row"[..]));
    }

    #[test]
    fn a_changed_byte_and_another_key_show() {
        for value in values() {
            assert!(any_decodes(KEY, &value));
            assert!(!any_decodes(b"another key", &value));
            for at in 0..value.len() {
                let mut changed = value.clone();
                changed[at] ^= 0x10;
                assert!(!any_decodes(KEY, &changed), "byte {at} of {value:?}");
                assert!(!any_decodes(KEY, &value[..at]), "{at} bytes of {value:?}");
            }
        }
    }

    #[test]
    fn the_largest_inline_chunk_stays_below_4_kib() {
        let place = Place::Inline(Bytes::from(vec![1; MAX_INLINE_BYTES]));
        let value = ChunkValue {
            last: u64::MAX,
            end_offset: Offset(u64::MAX),
            newest: Timestamp(i64::MAX),
            place,
        };
        assert!(value.encode(KEY).len() + 17 < 4096);
    }
}
