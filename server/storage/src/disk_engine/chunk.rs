//! A chunk: consecutive entries of one log, as they lie in a segment file or, when they are small,
//! in the index.
//!
//! ```text
//! magic "RWCH" | version u8 | 0 u8 x 3 | crc32c u32 | heads u32 | log u64 | first index u64
//! | entries u32 | data u32 | heads | zeros | data
//! ```
//! `heads` counts the zeros too: they let a large chunk end with a block, so that it can be written
//! past the cache.
//! Numbers are little-endian; the checksum covers everything behind it. The number of the log and
//! the index tell a chunk from one that was left behind in the same place. Pure.

use bytes::Bytes;
use ropewalk_core::codec::Reader;
use thiserror::Error;

use super::entry_codec::{MAX_HEAD_BYTES, put_heads, take_heads};
use super::writes::take_entries;
use crate::disk::BLOCK;
use crate::engine::LogEntry;
use crate::planted::Plant;

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
    encode_into(&mut chunk, log, entries, None);
    chunk
}

/// The most bytes that a chunk of these entries takes.
pub(crate) fn max_bytes(entries: &[LogEntry]) -> usize {
    let data: usize = entries.iter().map(|entry| entry.data.len()).sum();
    CHUNK_HEADER_BYTES + entries.len() * MAX_HEAD_BYTES + data + BLOCK
}

/// Appends a chunk of entries, of which there is at least one. Where it is to stand `at` a place of
/// a file, zeros between heads and data make it end with a block.
pub(crate) fn encode_into(out: &mut Vec<u8>, log: u64, entries: &[LogEntry], at: Option<u64>) {
    let first = entries.first().map_or(0, |entry| entry.index);
    let data: usize = entries.iter().map(|entry| entry.data.len()).sum();
    let begin = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&log.to_le_bytes());
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&length(entries.len()).to_le_bytes());
    out.extend_from_slice(&length(data).to_le_bytes());
    put_heads(out, entries);
    if let Some(at) = at {
        let end = at + (out.len() - begin + data) as u64;
        let filler = end.next_multiple_of(BLOCK as u64) - end;
        out.resize(out.len() + usize::try_from(filler).unwrap_or(0), 0);
    }
    let heads = length(out.len() - begin - CHUNK_HEADER_BYTES);
    out[begin + CRC_END..begin + CRC_END + 4].copy_from_slice(&heads.to_le_bytes());
    for entry in entries {
        out.extend_from_slice(&entry.data);
    }
    let crc = crc32c::crc32c(&out[begin + CRC_END..]);
    out[begin + CRC_AT..begin + CRC_END].copy_from_slice(&crc.to_le_bytes());
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
    let is_sound = crc32c::crc32c(&bytes[CRC_END..]) == crc(bytes);
    if is_sound || Plant::ServeDamaged.is_planted() { Ok(head) } else { Err(NoChunk::Changed) }
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
    let data = CHUNK_HEADER_BYTES + u32_at(chunk, 12) as usize;
    let (heads, data) = chunk.split_at_checked(data).ok_or(NoChunk::Foreign)?;
    let mut heads = Reader::new(&heads[CHUNK_HEADER_BYTES..], "chunk");
    let mut data = Reader::new(data, "chunk");
    let found = take_heads(&mut heads, head.entries as usize);
    let entries = found.and_then(|found| take_entries(&mut data, chunk, head.first, found));
    let entries = entries.map_err(|_| NoChunk::Changed)?;
    let is_filler = heads.rest().iter().all(|byte| *byte == 0);
    if data.is_done() && is_filler { Ok(entries) } else { Err(NoChunk::Changed) }
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

    #[test]
    fn a_chunk_ends_with_a_block_where_that_is_wanted() {
        let entries = conformance::entries(6..40, 5, 333);
        for at in [0, 1, 4_095, 4_096, 123_457] {
            let mut chunk = b"before".to_vec();
            encode_into(&mut chunk, 7, &entries, Some(at));
            let chunk = Bytes::from(chunk.split_off(6));
            assert_eq!((at as usize + chunk.len()) % BLOCK, 0);
            assert!(chunk.len() <= max_bytes(&entries));
            assert_eq!(decode(&chunk, 7, 6).unwrap(), entries);
        }
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
