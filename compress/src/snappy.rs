//! The snappy framing format: chunks of at most 64 KiB of data each, behind a stream identifier.

use std::io::Write;

use crate::frames::CompressError;
use crate::output::Output;
use crate::reader::Reader;

const STREAM_IDENTIFIER: u8 = 0xff;
const COMPRESSED: u8 = 0x00;
const UNCOMPRESSED: u8 = 0x01;
const FIRST_SKIPPABLE: u8 = 0x80;
const SIGNATURE: &[u8] = b"sNaPpY";
/// The most uncompressed bytes of a chunk.
const MAX_CHUNK_DATA: usize = 65_536;
const IDENTIFIER_CHUNK: [u8; 10] = *b"\xff\x06\x00\x00sNaPpY";

/// Walks all chunks, and puts what is in them into `out` if it is given.
pub(crate) fn walk(bytes: &[u8], mut out: Option<&mut Output>) -> Result<(), CompressError> {
    let mut reader = Reader::new(bytes);
    if !bytes.starts_with(&IDENTIFIER_CHUNK) {
        return Err(CompressError::Corrupt("no snappy stream identifier"));
    }
    while !reader.is_done() {
        let [kind, length @ ..] = reader.array::<4>()?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], 0]);
        let chunk = reader.raw(length as usize)?;
        match kind {
            COMPRESSED | UNCOMPRESSED => data_chunk(kind, chunk, out.as_deref_mut())?,
            STREAM_IDENTIFIER if chunk == SIGNATURE => {}
            STREAM_IDENTIFIER => return Err(CompressError::Corrupt("not a snappy stream")),
            FIRST_SKIPPABLE.. => {}
            _ => return Err(CompressError::Corrupt("unknown snappy chunk")),
        }
    }
    Ok(())
}

fn data_chunk(kind: u8, chunk: &[u8], out: Option<&mut Output>) -> Result<(), CompressError> {
    let mut reader = Reader::new(chunk);
    let checksum = reader.u32()?;
    let data = reader.rest();
    let length = match kind {
        COMPRESSED => snap::raw::decompress_len(data)
            .map_err(|_| CompressError::Corrupt("no length in a snappy chunk"))?,
        _ => data.len(),
    };
    if length > MAX_CHUNK_DATA {
        return Err(CompressError::Corrupt("a snappy chunk is larger than 64 KiB"));
    }
    if kind == UNCOMPRESSED {
        verify(checksum, data)?;
        return out.map_or(Ok(()), |out| out.push(data));
    }
    let Some(out) = out else {
        return Ok(());
    };
    let too_large = out.too_large();
    let (_, room) = out.parts(length);
    if room.len() < length {
        return Err(too_large);
    }
    let count = snap::raw::Decoder::new()
        .decompress(data, room)
        .map_err(|_| CompressError::Corrupt("a snappy chunk does not decompress"))?;
    verify(checksum, &room[..count])?;
    out.advance(count);
    Ok(())
}

/// Compares the masked CRC-32C that the format asks for.
fn verify(checksum: u32, data: &[u8]) -> Result<(), CompressError> {
    let masked = crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8);
    if checksum == masked {
        Ok(())
    } else {
        Err(CompressError::Corrupt("checksum mismatch in a snappy chunk"))
    }
}

pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        // The encoder would write nothing at all.
        return IDENTIFIER_CHUNK.to_vec();
    }
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).expect("writing to memory does not fail");
    encoder.into_inner().expect("writing to memory does not fail")
}
