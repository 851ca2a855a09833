//! Zstandard frames (RFC 8878).

use ::zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;
use ::zstd::zstd_safe::{self, DCtx, is_error_kind};

use crate::frames::CompressError;
use crate::reader::Reader;

const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE: u32 = 0x184d_2a50;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;

const SINGLE_SEGMENT: u8 = 1 << 5;
const RESERVED: u8 = 1 << 3;
const CHECKSUM: u8 = 1 << 2;
const CHECKSUM_BYTES: usize = 4;
/// The most bytes that a frame may ask a decoder to keep: RFC 8878 has every decoder support so
/// many, and other clients must be able to read what the broker takes. Far more than a batch has.
const MAX_WINDOW_BYTES: u64 = 8 * 1024 * 1024;
/// The most bytes of a block, before and after decompression.
const MAX_BLOCK_BYTES: u64 = 128 * 1024;

/// Checks all frames and gives the most bytes that they can decompress to.
pub(crate) fn check(bytes: &[u8]) -> Result<u64, CompressError> {
    let mut reader = Reader::new(bytes);
    let (mut frames, mut most) = (0_usize, 0_u64);
    while !reader.is_done() {
        match reader.u32()? {
            MAGIC => {
                most = most.saturating_add(frame(&mut reader)?);
                frames += 1;
            }
            magic if magic & SKIPPABLE_MASK == SKIPPABLE => {
                let count = reader.u32()?;
                reader.raw(count as usize)?;
            }
            _ => return Err(CompressError::Corrupt("no zstd magic number")),
        }
    }
    if frames == 0 {
        return Err(CompressError::Corrupt("no zstd frame"));
    }
    Ok(most)
}

/// Walks a frame after its magic number; gives the most bytes that it can decompress to.
fn frame(reader: &mut Reader<'_>) -> Result<u64, CompressError> {
    let descriptor = reader.u8()?;
    if descriptor & RESERVED != 0 {
        return Err(CompressError::Corrupt("reserved bits of the zstd frame are set"));
    }
    let single_segment = descriptor & SINGLE_SEGMENT != 0;
    let window = if single_segment {
        None
    } else {
        let byte = reader.u8()?;
        let base = 1_u64 << (10 + (byte >> 3));
        Some(base + base / 8 * u64::from(byte & 7))
    };
    if window.is_some_and(|window| window > MAX_WINDOW_BYTES) {
        let what = "the zstd frame needs a window of more than 8 MiB: compress with a smaller one";
        return Err(CompressError::Corrupt(what));
    }
    let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    if little_endian(reader.raw(dictionary_bytes)?) != 0 {
        return Err(CompressError::Corrupt("the zstd frame needs a dictionary"));
    }
    let content = match descriptor >> 6 {
        0 if single_segment => Some(u64::from(reader.u8()?)),
        0 => None,
        // Two bytes count from 256, as one byte has the sizes below.
        1 => Some(little_endian(reader.raw(2)?) + 256),
        2 => Some(little_endian(reader.raw(4)?)),
        _ => Some(little_endian(reader.raw(8)?)),
    };
    let block_limit = window.or(content).unwrap_or(MAX_BLOCK_BYTES).min(MAX_BLOCK_BYTES);
    let most = blocks(reader, block_limit)?;
    if descriptor & CHECKSUM != 0 {
        reader.raw(CHECKSUM_BYTES)?;
    }
    Ok(content.unwrap_or(most))
}

/// Walks the blocks of a frame; gives the most bytes that they can decompress to.
fn blocks(reader: &mut Reader<'_>, block_limit: u64) -> Result<u64, CompressError> {
    let mut most = 0_u64;
    loop {
        let head = little_endian(reader.raw(3)?);
        let size = head >> 3;
        if size > block_limit {
            return Err(CompressError::Corrupt("a zstd block is larger than its frame allows"));
        }
        let (stored, regenerated) = match (head >> 1) & 3 {
            0 => (size, size),
            1 => (1, size),
            2 => (size, block_limit),
            _ => return Err(CompressError::Corrupt("unknown zstd block type")),
        };
        // A size has 21 bits.
        reader.raw(stored as usize)?;
        most = most.saturating_add(regenerated);
        if head & 1 != 0 {
            return Ok(most);
        }
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// In one step and straight into the result: so a frame cannot make the decoder allocate a window.
pub(crate) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, CompressError> {
    let most = check(bytes)?;
    let capacity = usize::try_from(most).unwrap_or(usize::MAX).min(limit);
    let mut out = Vec::with_capacity(capacity);
    match DCtx::create().decompress(&mut out, bytes) {
        Ok(_) => {
            out.shrink_to_fit();
            Ok(out)
        }
        Err(code) if most > limit as u64 && is_error_kind(code, ZSTD_error_dstSize_tooSmall) => {
            Err(CompressError::TooLarge { limit })
        }
        Err(_) => Err(CompressError::Corrupt("the zstd data do not decompress")),
    }
}

pub(crate) fn compress(level: Option<i32>, bytes: &[u8]) -> Vec<u8> {
    let level = level.unwrap_or(::zstd::DEFAULT_COMPRESSION_LEVEL);
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    zstd_safe::compress(&mut out, bytes, level)
        .expect("the buffer has the size that compression needs at most");
    out
}
