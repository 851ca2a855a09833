//! The stored form of the index's values.
//!
//! Every value begins with a version. All but chunks carry a crc32c over their key and themselves,
//! so that neither a changed byte nor a value under another's key passes for what was written; a
//! chunk is covered by the crc of its entry's data. Numbers are little-endian.

use protobuf::Message;
use raft::eraftpb::{ConfState, HardState};
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{Offset, ReplicaId, Timestamp};

use crate::engine::{EntryMeta, LogStart, SegmentMark};

/// The version of every value that this code writes.
const VERSION: u8 = 1;
/// The bytes of a checksum.
const CRC_BYTES: usize = 4;
/// A value has fewer bytes than this: sled keeps larger ones less well, and very large ones in
/// files that no sync of ours covers.
const VALUE_LIMIT: usize = 4096;
/// The bytes of an entry's value before its data.
const ENTRY_HEAD_BYTES: usize = 94;
/// The most data that stands in an entry's value.
pub(crate) const MAX_INLINE_BYTES: usize = VALUE_LIMIT - 1 - ENTRY_HEAD_BYTES;
/// The data of a chunk; of an entry's last one the rest.
pub(crate) const CHUNK_BYTES: usize = VALUE_LIMIT - 2;

/// How a value shows that it is not what was written.
pub(crate) type Damage = DecodeError;
type Decoded<T> = Result<T, Damage>;

/// The value of a group.
pub(crate) fn encode_replica(key: &[u8], replica: ReplicaId) -> Vec<u8> {
    seal(key, Writer::versioned(VERSION).u64(replica.0))
}

/// The replica of a group.
pub(crate) fn decode_replica(key: &[u8], value: &[u8]) -> Decoded<ReplicaId> {
    let mut reader = unseal(key, value, "group")?;
    let replica = ReplicaId(reader.u64()?);
    reader.finish()?;
    Ok(replica)
}

/// The value of the format row.
pub(crate) fn encode_format(key: &[u8], format: u32) -> Vec<u8> {
    seal(key, Writer::versioned(VERSION).u32(format))
}

/// The format of an index.
pub(crate) fn decode_format(key: &[u8], value: &[u8]) -> Decoded<u32> {
    let mut reader = unseal(key, value, "format")?;
    let format = reader.u32()?;
    reader.finish()?;
    Ok(format)
}

/// The value that says that a group is gone.
pub(crate) fn encode_deleted(key: &[u8]) -> Vec<u8> {
    seal(key, &mut Writer::versioned(VERSION))
}

/// The value of a hard state.
pub(crate) fn encode_hard_state(key: &[u8], state: &HardState) -> Vec<u8> {
    seal(key, Writer::versioned(VERSION).u64(state.term).u64(state.vote).u64(state.commit))
}

/// A hard state.
pub(crate) fn decode_hard_state(key: &[u8], value: &[u8]) -> Decoded<HardState> {
    let mut reader = unseal(key, value, "hard state")?;
    let (term, vote, commit) = (reader.u64()?, reader.u64()?, reader.u64()?);
    reader.finish()?;
    let state = HardState { term, vote, commit, ..HardState::default() };
    Ok(state)
}

/// The value of a membership: raft's own encoding of it.
pub(crate) fn encode_conf_state(key: &[u8], state: &ConfState) -> Vec<u8> {
    let bytes =
        state.write_to_bytes().expect("a message without required fields is always complete");
    seal(key, Writer::versioned(VERSION).raw(&bytes))
}

/// A membership.
pub(crate) fn decode_conf_state(key: &[u8], value: &[u8]) -> Decoded<ConfState> {
    let body = unseal_body(key, value, "membership")?;
    ConfState::parse_from_bytes(body).map_err(|_| DecodeError("membership"))
}

/// The value of a log start.
pub(crate) fn encode_start(key: &[u8], start: &LogStart) -> Vec<u8> {
    let mut writer = Writer::versioned(VERSION);
    writer.u64(start.index).u64(start.term).u64(start.offset.0).u64(start.base_offset.0);
    seal(key, writer.i64(start.newest_gone.0))
}

/// A log start.
pub(crate) fn decode_start(key: &[u8], value: &[u8]) -> Decoded<LogStart> {
    let mut reader = unseal(key, value, "log start")?;
    let start = LogStart {
        index: reader.u64()?,
        term: reader.u64()?,
        offset: Offset(reader.u64()?),
        base_offset: Offset(reader.u64()?),
        newest_gone: Timestamp(reader.i64()?),
    };
    reader.finish()?;
    Ok(start)
}

/// The value of a row.
pub(crate) fn encode_row(key: &[u8], row: &[u8]) -> Vec<u8> {
    seal(key, Writer::versioned(VERSION).raw(row))
}

/// A row.
pub(crate) fn decode_row<'a>(key: &[u8], value: &'a [u8]) -> Decoded<&'a [u8]> {
    unseal_body(key, value, "row")
}

/// An entry without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryHead {
    pub(crate) meta: EntryMeta,
    pub(crate) data_bytes: u32,
    /// The data of each chunk but the last; 0 when the data stands behind the head.
    pub(crate) chunk_bytes: u32,
    data_crc: u32,
}

impl EntryHead {
    /// The head of an entry with this data.
    pub(crate) fn new(meta: EntryMeta, data: &[u8]) -> Self {
        let chunk_bytes = if data.len() > MAX_INLINE_BYTES { CHUNK_BYTES as u32 } else { 0 };
        Self {
            meta,
            data_bytes: u32::try_from(data.len()).expect("an entry is far below 4 GiB"),
            chunk_bytes,
            data_crc: crc32c::crc32c(data),
        }
    }

    /// How many chunks hold the data; none when it stands behind the head.
    pub(crate) fn chunks(&self) -> u32 {
        if self.chunk_bytes == 0 { 0 } else { self.data_bytes.div_ceil(self.chunk_bytes) }
    }

    /// Whether this is the data that was written.
    pub(crate) fn check_data(&self, data: &[u8]) -> Decoded<()> {
        let whole = data.len() == self.data_bytes as usize;
        if whole && crc32c::crc32c(data) == self.data_crc {
            Ok(())
        } else {
            Err(DecodeError("data: its checksum does not fit"))
        }
    }

    /// The entry's value, with the data where it is small.
    pub(crate) fn encode(&self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let (meta, segment) = (&self.meta, &self.meta.segment);
        let mut writer = Writer::versioned(VERSION);
        writer.u64(meta.term).u8(meta.entry_type).u64(meta.base_offset.0).u32(meta.record_count);
        writer.i64(meta.max_timestamp.0).i64(meta.newest_so_far.0);
        writer.u64(segment.base_index).u64(segment.base_offset.0).i64(segment.created.0);
        writer.u64(segment.bytes).i64(segment.max_timestamp.0);
        writer.u32(self.data_bytes).u32(self.chunk_bytes).u32(self.data_crc);
        let mut value = seal(key, &mut writer);
        debug_assert_eq!(value.len(), ENTRY_HEAD_BYTES);
        if self.chunk_bytes == 0 {
            value.extend_from_slice(data);
        }
        value
    }

    /// The head of an entry's value and the data behind it, which is not yet checked.
    pub(crate) fn decode<'a>(key: &[u8], value: &'a [u8]) -> Decoded<(Self, &'a [u8])> {
        let what = "entry";
        let (head, data) = value.split_at_checked(ENTRY_HEAD_BYTES).ok_or(DecodeError(what))?;
        let mut reader = unseal(key, head, what)?;
        let meta = EntryMeta {
            term: reader.u64()?,
            entry_type: reader.u8()?,
            base_offset: Offset(reader.u64()?),
            record_count: reader.u32()?,
            max_timestamp: Timestamp(reader.i64()?),
            newest_so_far: Timestamp(reader.i64()?),
            segment: SegmentMark {
                base_index: reader.u64()?,
                base_offset: Offset(reader.u64()?),
                created: Timestamp(reader.i64()?),
                bytes: reader.u64()?,
                max_timestamp: Timestamp(reader.i64()?),
            },
        };
        let (data_bytes, chunk_bytes) = (reader.u32()?, reader.u32()?);
        let head = Self { meta, data_bytes, chunk_bytes, data_crc: reader.u32()? };
        reader.finish()?;
        let behind = if chunk_bytes == 0 { data_bytes as usize } else { 0 };
        if data.len() == behind { Ok((head, data)) } else { Err(DecodeError("entry length")) }
    }
}

/// The values of the chunks of an entry's data.
pub(crate) fn encode_chunks(data: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    data.chunks(CHUNK_BYTES).map(|part| Writer::versioned(VERSION).raw(part).finish())
}

/// The data of a chunk.
pub(crate) fn decode_chunk(value: &[u8]) -> Decoded<&[u8]> {
    match value.split_first() {
        Some((&VERSION, data)) => Ok(data),
        _ => Err(DecodeError("chunk: unknown version")),
    }
}

fn seal(key: &[u8], writer: &mut Writer) -> Vec<u8> {
    let mut value = writer.finish();
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend_from_slice(&crc.to_le_bytes());
    value
}

fn unseal<'a>(key: &[u8], value: &'a [u8], what: &'static str) -> Decoded<Reader<'a>> {
    unseal_body(key, value, what).map(|body| Reader::new(body, what))
}

fn unseal_body<'a>(key: &[u8], value: &'a [u8], what: &'static str) -> Decoded<&'a [u8]> {
    let length = value.len().checked_sub(CRC_BYTES).ok_or(DecodeError(what))?;
    let (sealed, crc) = value.split_at(length);
    if crc32c::crc32c_append(crc32c::crc32c(key), sealed).to_le_bytes() != crc {
        return Err(DecodeError("bytes: their checksum does not fit"));
    }
    match sealed.split_first() {
        Some((&VERSION, body)) => Ok(body),
        _ => Err(DecodeError("version: this build does not know it")),
    }
}
