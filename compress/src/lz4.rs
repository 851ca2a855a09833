//! LZ4 frames. The blocks are decompressed by `lz4_flex`, the frames are read here: one walk checks
//! them and, where asked, writes into a buffer that is bounded over all blocks and frames.

use std::io::Write;

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{FrameEncoder, FrameInfo};

use crate::frames::CompressError;
use crate::output::Output;
use crate::reader::Reader;
use crate::xxh32::xxh32;

const MAGIC: u32 = 0x184d_2204;
const SKIPPABLE: u32 = 0x184d_2a50;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;

const VERSION_MASK: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const RESERVED: u8 = 1 << 1;
const DICTIONARY: u8 = 1;

const BLOCK_IS_RAW: u32 = 1 << 31;
/// How far back a block may refer into the blocks before it.
const WINDOW_BYTES: usize = 64 * 1024;

/// What a frame says of itself.
struct Frame {
    flags: u8,
    /// The most bytes of a block, compressed or not.
    block_bytes: usize,
    content_bytes: Option<u64>,
}

/// Walks all frames, and puts what is in them into `out` if it is given.
pub(crate) fn walk(bytes: &[u8], mut out: Option<&mut Output>) -> Result<(), CompressError> {
    let mut reader = Reader::new(bytes);
    let mut frames = 0_usize;
    while !reader.is_done() {
        match reader.u32()? {
            MAGIC => {
                let frame = header(&mut reader)?;
                blocks(&frame, &mut reader, out.as_deref_mut())?;
                frames += 1;
            }
            magic if magic & SKIPPABLE_MASK == SKIPPABLE => {
                let count = reader.u32()?;
                reader.raw(count as usize)?;
            }
            _ => return Err(CompressError::Corrupt("no lz4 magic number")),
        }
    }
    if frames == 0 {
        return Err(CompressError::Corrupt("no lz4 frame"));
    }
    Ok(())
}

fn header(reader: &mut Reader<'_>) -> Result<Frame, CompressError> {
    let flags = reader.clone().u8()?;
    if flags & VERSION_MASK != VERSION {
        return Err(CompressError::Corrupt("unknown version of the lz4 frame"));
    }
    if flags & DICTIONARY != 0 {
        return Err(CompressError::Corrupt("the lz4 frame needs a dictionary"));
    }
    let has_size = flags & CONTENT_SIZE != 0;
    let descriptor = reader.raw(if has_size { 10 } else { 2 })?;
    let sizes = descriptor[1];
    if flags & RESERVED != 0 || sizes & 0b1000_1111 != 0 {
        return Err(CompressError::Corrupt("reserved bits of the lz4 frame are set"));
    }
    let block_bytes = match sizes >> 4 {
        4 => 64 * 1024,
        5 => 256 * 1024,
        6 => 1024 * 1024,
        7 => 4 * 1024 * 1024,
        _ => {
            return Err(CompressError::Corrupt("unknown block size of the lz4 frame"));
        }
    };
    let [_, check, ..] = xxh32(descriptor).to_le_bytes();
    if reader.u8()? != check {
        return Err(CompressError::Corrupt("checksum mismatch in the lz4 header"));
    }
    let content_bytes = descriptor[2..].first_chunk().map(|size| u64::from_le_bytes(*size));
    Ok(Frame { flags, block_bytes, content_bytes })
}

fn blocks(
    frame: &Frame,
    reader: &mut Reader<'_>,
    mut out: Option<&mut Output>,
) -> Result<(), CompressError> {
    let start = out.as_ref().map_or(0, |out| out.written());
    loop {
        let word = reader.u32()?;
        if word == 0 {
            break;
        }
        let length = (word & !BLOCK_IS_RAW) as usize;
        if length > frame.block_bytes {
            return Err(CompressError::Corrupt("an lz4 block is larger than its frame allows"));
        }
        let block = reader.raw(length)?;
        if frame.flags & BLOCK_CHECKSUMS != 0 && reader.u32()? != xxh32(block) {
            return Err(CompressError::Corrupt("checksum mismatch in an lz4 block"));
        }
        match out.as_deref_mut() {
            Some(out) if word & BLOCK_IS_RAW != 0 => out.push(block)?,
            Some(out) => unpack(frame, block, start, out)?,
            None => {}
        }
    }
    let checksum = match frame.flags & CONTENT_CHECKSUM {
        0 => None,
        _ => Some(reader.u32()?),
    };
    let Some(content) = out.map(|out| out.since(start)) else {
        return Ok(());
    };
    if frame.content_bytes.is_some_and(|size| size != content.len() as u64) {
        return Err(CompressError::Corrupt("the lz4 frame does not have the size it names"));
    }
    if checksum.is_some_and(|checksum| checksum != xxh32(content)) {
        return Err(CompressError::Corrupt("checksum mismatch in the lz4 content"));
    }
    Ok(())
}

fn unpack(
    frame: &Frame,
    block: &[u8],
    start: usize,
    out: &mut Output,
) -> Result<(), CompressError> {
    let too_large = out.too_large();
    let (before, room) = out.parts(frame.block_bytes);
    let clipped = room.len() < frame.block_bytes;
    let unpacked = if frame.flags & INDEPENDENT != 0 {
        decompress_into(block, room)
    } else {
        let window = start.max(before.len().saturating_sub(WINDOW_BYTES));
        decompress_into_with_dict(block, room, &before[window..])
    };
    match unpacked {
        Ok(count) => {
            out.advance(count);
            Ok(())
        }
        Err(DecompressError::OutputTooSmall { .. }) if clipped => Err(too_large),
        Err(_) => Err(CompressError::Corrupt("an lz4 block does not decompress")),
    }
}

pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new().content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}
