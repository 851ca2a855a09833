//! A chunk: consecutive entries of one log, as they lie in a segment file or, when they are small,
//! in the index.
//!
//! ```text
//! magic "RWCH" | version u8 | 0 u8 x 3 | crc32c u32 | heads u32 | log u64 | first index u64
//! | entries u32 | data u32 | heads | data
//! ```
//! Numbers are little-endian; the checksum covers everything behind it. The number of the log and
//! the index tell a chunk from one that was left behind in the same place. Pure.

use bytes::Bytes;
use ropewalk_core::codec::Reader;
use thiserror::Error;

use super::entry_codec::put_heads;
use super::writes::take_entries;
use crate::engine::LogEntry;

const MAGIC: [u8; 4] = *b"RWCH";
const VERSION: u8 = 1;
/// The bytes of a chunk before its heads.
pub(crate) const CHUNK_HEADER_BYTES: usize = 40;
const CRC_AT: usize = 8;
const CRC_END: usize = 12;

/// Bytes that are not the chunk that was looked for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum NoChunk {
    /// It does not begin as a chunk does, or does not end where it should.
    #[error("no chunk of this length stands here")]
    Foreign,
    /// A version that this code does not know.
    #[error("the chunk has version {0}, and this build reads version {VERSION}")]
    Version(u8),
    /// Not as it was written.
    #[error("the chunk's checksum does not fit")]
    Changed,
    /// A sound chunk of another log, or of another part of the log.
    #[error("another chunk stands here: entry {first} of log {log}")]
    Other {
        /// Its log.
        log: u64,
        /// Its first entry.
        first: u64,
    },
}

/// Builds a chunk of entries, of which there is at least one.
#[cfg(test)]
pub(crate) fn encode(log: u64, entries: &[LogEntry]) -> Vec<u8> {
    let mut chunk = Vec::new();
    encode_into(&mut chunk, log, entries);
    chunk
}

/// Builds a chunk of entries, of which there is at least one, in place of what the buffer holds.
pub(crate) fn encode_into(chunk: &mut Vec<u8>, log: u64, entries: &[LogEntry]) {
    let first = entries.first().map_or(0, |entry| entry.index);
    let data: usize = entries.iter().map(|entry| entry.data.len()).sum();
    chunk.clear();
    chunk.reserve(CHUNK_HEADER_BYTES + entries.len() * 16 + 64 + data);
    chunk.extend_from_slice(&MAGIC);
    chunk.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    chunk.extend_from_slice(&log.to_le_bytes());
    chunk.extend_from_slice(&first.to_le_bytes());
    chunk.extend_from_slice(&length(entries.len()).to_le_bytes());
    chunk.extend_from_slice(&length(data).to_le_bytes());
    put_heads(chunk, entries);
    let heads = length(chunk.len() - CHUNK_HEADER_BYTES);
    chunk[CRC_END..CRC_END + 4].copy_from_slice(&heads.to_le_bytes());
    for entry in entries {
        chunk.extend_from_slice(&entry.data);
    }
    let crc = crc32c::crc32c(&chunk[CRC_END..]);
    chunk[CRC_AT..CRC_END].copy_from_slice(&crc.to_le_bytes());
}

/// The checksum that a chunk carries.
pub(crate) fn crc(chunk: &[u8]) -> u32 {
    u32_at(chunk, CRC_AT)
}

/// What a chunk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHead {
    /// The log's number.
    pub(crate) log: u64,
    /// The raft index of its first entry.
    pub(crate) first: u64,
    /// How many entries it has.
    pub(crate) entries: u32,
    /// The bytes of all of it.
    pub(crate) bytes: u64,
}

/// The head of a chunk, from its first bytes alone; nothing is checked but what it looks like.
pub(crate) fn head(bytes: &[u8]) -> Result<ChunkHead, NoChunk> {
    let header = bytes.get(..CHUNK_HEADER_BYTES).ok_or(NoChunk::Foreign)?;
    if header[..4] != MAGIC {
        return Err(NoChunk::Foreign);
    }
    if header[4] != VERSION {
        return Err(NoChunk::Version(header[4]));
    }
    let (heads, data) = (u64::from(u32_at(header, 12)), u64::from(u32_at(header, 36)));
    Ok(ChunkHead {
        log: u64_at(header, 16),
        first: u64_at(header, 24),
        entries: u32_at(header, 32),
        bytes: CHUNK_HEADER_BYTES as u64 + heads + data,
    })
}

/// Makes sure that bytes are one whole chunk, every byte of it as it was written.
pub(crate) fn check(bytes: &[u8]) -> Result<ChunkHead, NoChunk> {
    let head = head(bytes)?;
    if head.bytes != bytes.len() as u64 {
        return Err(NoChunk::Foreign);
    }
    if crc32c::crc32c(&bytes[CRC_END..]) == crc(bytes) { Ok(head) } else { Err(NoChunk::Changed) }
}

/// The entries of a chunk, which must be that of this log and index. Their data is sliced, not
/// copied.
pub(crate) fn decode(chunk: &Bytes, log: u64, first: u64) -> Result<Vec<LogEntry>, NoChunk> {
    let head = check(chunk)?;
    if (head.log, head.first) != (log, first) {
        return Err(NoChunk::Other { log: head.log, first: head.first });
    }
    entries(chunk)
}

/// The entries of a chunk that was checked before.
pub(crate) fn entries(chunk: &Bytes) -> Result<Vec<LogEntry>, NoChunk> {
    let head = head(chunk)?;
    let mut reader = Reader::new(&chunk[CHUNK_HEADER_BYTES..], "chunk");
    let entries = take_entries(&mut reader, chunk, head.first, head.entries as usize);
    let entries = entries.map_err(|_| NoChunk::Changed)?;
    if reader.is_done() { Ok(entries) } else { Err(NoChunk::Changed) }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a chunk is bounded far below 4 GiB")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conformance;

    #[test]
    fn entries_go_both_ways() {
        let entries = conformance::entries(6..40, 5, 333);
        let chunk = Bytes::from(encode(7, &entries));
        assert_eq!(decode(&chunk, 7, 6).unwrap(), entries);
        let head = head(&chunk).unwrap();
        assert_eq!((head.entries, head.bytes), (34, chunk.len() as u64));
        assert_eq!(decode(&chunk, 8, 6), Err(NoChunk::Other { log: 7, first: 6 }));
        assert_eq!(decode(&chunk, 7, 7), Err(NoChunk::Other { log: 7, first: 6 }));
    }

    proptest! {
        #[test]
        fn a_changed_byte_shows(at: prop::sample::Index, flip in 1..=255u8) {
            let mut chunk = encode(7, &conformance::entries(6..9, 5, 50));
            let at = at.index(chunk.len());
            chunk[at] ^= flip;
            // Three bytes of the header have no meaning yet.
            prop_assume!(!(5..8).contains(&at));
            prop_assert!(decode(&Bytes::from(chunk), 7, 6).is_err());
        }

        #[test]
        fn any_bytes_are_safe_to_look_at(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&Bytes::from(bytes), 7, 6).is_err());
        }
    }
}
