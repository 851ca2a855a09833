//! gzip members (RFC 1952).

use std::io::{Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::frames::CompressError;
use crate::output::Output;
use crate::reader::Reader;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const HAS_HEADER_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;
/// The shortest deflate stream: an empty block with fixed codes.
const MIN_DEFLATE_BYTES: usize = 2;
/// The checksum and the length at the end of a member.
const TRAILER_BYTES: usize = 8;
/// How much is decompressed at a time.
const STEP_BYTES: usize = 64 * 1024;

/// Checks the first member's header, and that a deflate stream and a trailer can follow it.
pub(crate) fn check(bytes: &[u8]) -> Result<(), CompressError> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != MAGIC {
        return Err(CompressError::Corrupt("no gzip magic number"));
    }
    if reader.u8()? != DEFLATE {
        return Err(CompressError::Corrupt("unknown gzip method"));
    }
    let flags = reader.u8()?;
    if flags & RESERVED != 0 {
        return Err(CompressError::Corrupt("reserved gzip flags are set"));
    }
    // Time, extra flags, operating system.
    reader.raw(6)?;
    if flags & HAS_EXTRA != 0 {
        let count = u16::from_le_bytes(reader.array()?);
        reader.raw(usize::from(count))?;
    }
    for flag in [HAS_NAME, HAS_COMMENT] {
        while flags & flag != 0 && reader.u8()? != 0 {}
    }
    let header = &bytes[..bytes.len() - reader.rest().len()];
    if flags & HAS_HEADER_CRC != 0 {
        let mut crc = flate2::Crc::new();
        crc.update(header);
        // The header keeps the lower half of the CRC-32.
        if u16::from_le_bytes(reader.array()?) != crc.sum() as u16 {
            return Err(CompressError::Corrupt("checksum mismatch in the gzip header"));
        }
    }
    let body = reader.rest();
    if body.len() < MIN_DEFLATE_BYTES + TRAILER_BYTES {
        return Err(CompressError::Corrupt("the gzip member is cut short"));
    }
    if body[0] & 0b110 == 0b110 {
        return Err(CompressError::Corrupt("reserved deflate block type"));
    }
    Ok(())
}

pub(crate) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, CompressError> {
    check(bytes)?;
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut out = Output::new(limit);
    loop {
        let (_, room) = out.parts(STEP_BYTES);
        // At the limit one byte more is asked for, to tell the end from too much.
        let mut beyond = [0];
        let full = room.is_empty();
        let target = if full { &mut beyond } else { room };
        let count = decoder
            .read(target)
            .map_err(|_| CompressError::Corrupt("the gzip data do not decompress"))?;
        match count {
            0 => return Ok(out.finish()),
            _ if full => return Err(out.too_large()),
            _ => out.advance(count),
        }
    }
}

pub(crate) fn compress(level: Option<i32>, bytes: &[u8]) -> Vec<u8> {
    let level = level.and_then(|level| u32::try_from(level).ok());
    let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}
