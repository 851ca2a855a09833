//! The unit in which the journal and the index's redo file are written.
//!
//! A frame is a header of 64 bytes and a payload, filled up with zeros to a whole number of 4 KiB
//! blocks, so that it can be written past the cache. Its checksum covers the header and the
//! payload; what it says of itself, its file's turn, its number and its directory, tells it from a
//! frame that an earlier use of the same blocks has left behind. Knows bytes, not files.

use std::ops::Range;

use thiserror::Error;

use crate::disk::BLOCK;

/// The bytes of a frame before its payload.
pub(crate) const HEADER_BYTES: usize = 64;
/// The most bytes of a payload: more than one write of all shards can have.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 1 << 30;

/// A buffer that has grown beyond this is given back.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"RWFR";
const VERSION: u8 = 1;
/// The header's bytes that the checksum does not cover: itself and what stands before it.
const CRC_END: usize = 12;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Writes of groups, in the journal.
    Writes = 1,
    /// Nothing: it says how far everything is durable, in the journal.
    Mark = 2,
    /// A part of a whole index, in the redo file.
    Dump = 3,
    /// Changes of a checkpoint, in the redo file.
    Checkpoint = 4,
    /// Keys that went because nothing refers to them any more, in the redo file.
    Sweep = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Writes,
            2 => Self::Mark,
            3 => Self::Dump,
            4 => Self::Checkpoint,
            5 => Self::Sweep,
            _ => return None,
        })
    }
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// What it holds.
    pub(crate) kind: Kind,
    /// The data directory that it belongs to: a number drawn when the directory was made.
    pub(crate) directory: u64,
    /// How often its file had been put to use when it was written.
    pub(crate) turn: u64,
    /// Its log sequence number, which rises by one from frame to frame.
    pub(crate) lsn: u64,
    /// All frames up to this one were durable, and could be acked, when it was written.
    pub(crate) acked: u64,
    /// All frames up to this one were in the index, durably, when it was written.
    pub(crate) checkpoint: u64,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// Zeros: nothing was written here.
    #[error("nothing was written here")]
    Blank,
    /// Something else.
    #[error("no frame begins here")]
    Foreign,
    /// A frame of a version that this code does not know.
    #[error("the frame has version {0}, and this build reads version {VERSION}")]
    Version(u8),
    /// A frame that is cut off.
    #[error("the frame is cut off")]
    Short,
    /// A frame that is not as it was written.
    #[error("the frame's checksum does not fit")]
    Changed,
}

/// The bytes that a frame takes on the disk.
pub(crate) fn frame_bytes(payload: usize) -> usize {
    (HEADER_BYTES + payload).next_multiple_of(BLOCK)
}

/// A buffer in which frames are built, aligned for direct writes.
#[derive(Default)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
    /// Where the frame begins, so that it is aligned in memory.
    start: usize,
}

impl FrameBuffer {
    /// Begins a frame whose payload has about `payload` bytes, and gives back what to append it to.
    pub(crate) fn begin(&mut self, payload: usize) -> &mut Vec<u8> {
        self.give_back(KEPT_BYTES);
        self.bytes.clear();
        self.bytes.reserve(frame_bytes(payload) + 2 * BLOCK);
        self.start = self.bytes.as_ptr().align_offset(BLOCK);
        self.bytes.resize(self.start + HEADER_BYTES, 0);
        &mut self.bytes
    }

    /// Lets memory go that is more than this.
    pub(crate) fn give_back(&mut self, kept: usize) {
        if self.bytes.capacity() > kept {
            self.bytes = Vec::new();
        }
    }

    /// This many zeros, aligned as a frame is.
    pub(crate) fn blank(&mut self, bytes: usize) -> &[u8] {
        self.bytes.clear();
        self.bytes.resize(bytes + BLOCK, 0);
        let start = self.bytes.as_ptr().align_offset(BLOCK);
        &self.bytes[start..start + bytes]
    }

    /// The bytes of the payload so far.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.bytes.len() - self.start - HEADER_BYTES
    }

    /// Ends the frame and gives back all of it.
    pub(crate) fn end(&mut self, head: &Head) -> &[u8] {
        let payload = self.payload_bytes();
        let length = frame_bytes(payload);
        self.bytes.resize(self.start + length, 0);
        let moved = self.bytes.as_ptr().align_offset(BLOCK);
        if moved != self.start {
            // The payload outgrew what was expected, and the allocator moved it.
            self.bytes.resize(self.bytes.len() + BLOCK, 0);
            let moved = self.bytes.as_ptr().align_offset(BLOCK);
            self.bytes.copy_within(self.start..self.start + length, moved);
            self.start = moved;
        }
        let frame = &mut self.bytes[self.start..self.start + length];
        seal(frame, head, payload);
        frame
    }
}

fn seal(frame: &mut [u8], head: &Head, payload: usize) {
    let length = u32::try_from(payload).expect("a payload is bounded far below 4 GiB");
    frame[0..4].copy_from_slice(&MAGIC);
    frame[4] = VERSION;
    frame[5] = head.kind as u8;
    frame[12..16].copy_from_slice(&length.to_le_bytes());
    let numbers = [head.directory, head.turn, head.lsn, head.acked, head.checkpoint];
    for (at, number) in (16..).step_by(8).zip(numbers) {
        frame[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let crc = checksum(frame, payload);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// Covers the version, the kind, the rest of the header and the payload.
pub(crate) fn checksum(frame: &[u8], payload: usize) -> u32 {
    let crc = crc32c::crc32c(&frame[4..8]);
    crc32c::crc32c_append(crc, &frame[CRC_END..HEADER_BYTES + payload])
}

/// The length that the frame at the begin of these bytes claims to have, from its header alone.
pub(crate) fn claimed_bytes(bytes: &[u8]) -> Result<usize, NoFrame> {
    claimed(bytes).map(|(frame, _)| frame)
}

/// The lengths that the frame claims to have: of all of it, and of its payload.
pub(crate) fn claimed(bytes: &[u8]) -> Result<(usize, usize), NoFrame> {
    let header = bytes.get(..HEADER_BYTES).ok_or(NoFrame::Short)?;
    if header[..4] != MAGIC {
        let blank = header.iter().all(|byte| *byte == 0);
        return Err(if blank { NoFrame::Blank } else { NoFrame::Foreign });
    }
    if header[4] != VERSION {
        return Err(NoFrame::Version(header[4]));
    }
    let payload = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
    if payload > MAX_PAYLOAD_BYTES {
        return Err(NoFrame::Changed);
    }
    Ok((frame_bytes(payload), payload))
}

/// What the frame at the begin of these bytes says of itself, unchecked.
pub(crate) fn peek(bytes: &[u8]) -> Option<Head> {
    claimed_bytes(bytes).ok()?;
    head(bytes).ok()
}

fn head(frame: &[u8]) -> Result<Head, NoFrame> {
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&frame[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    Ok(Head {
        kind: Kind::of(frame[5]).ok_or(NoFrame::Version(frame[4]))?,
        directory: number(16),
        turn: number(24),
        lsn: number(32),
        acked: number(40),
        checkpoint: number(48),
    })
}

/// The frame at the begin of these bytes, and where its payload stands in them.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Head, Range<usize>), NoFrame> {
    let length = claimed_bytes(bytes)?;
    let frame = bytes.get(..length).ok_or(NoFrame::Short)?;
    let payload = u32::from_le_bytes([frame[12], frame[13], frame[14], frame[15]]) as usize;
    if frame[8..12] != checksum(frame, payload).to_le_bytes() {
        return Err(NoFrame::Changed);
    }
    let head = head(frame)?;
    Ok((head, HEADER_BYTES..HEADER_BYTES + payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: Head =
        Head { kind: Kind::Writes, directory: 7, turn: 2, lsn: 41, acked: 40, checkpoint: 12 };

    fn frame(payload: &[u8], expected: usize) -> Vec<u8> {
        let mut buffer = FrameBuffer::default();
        buffer.begin(expected).extend_from_slice(payload);
        let frame = buffer.end(&HEAD);
        assert_eq!(frame.as_ptr().align_offset(BLOCK), 0, "it can be written past the cache");
        frame.to_vec()
    }

    proptest! {
        #[test]
        fn what_was_framed_is_found_again(
            payload in proptest::collection::vec(any::<u8>(), 0..20_000),
            expected in 0..20_000usize,
        ) {
            let frame = frame(&payload, expected);
            prop_assert_eq!(frame.len() % BLOCK, 0);
            prop_assert_eq!(claimed_bytes(&frame), Ok(frame.len()));
            let (head, range) = decode(&frame).unwrap();
            prop_assert_eq!(head, HEAD);
            prop_assert_eq!(&frame[range], payload.as_slice());
        }

        #[test]
        fn a_changed_byte_shows(payload in 0..6_000usize, at: usize, flip in 1..=255u8) {
            let mut frame = frame(&vec![0x5a; payload], payload);
            let at = at % (HEADER_BYTES + payload);
            frame[at] ^= flip;
            prop_assert!(decode(&frame).is_err());
        }

        #[test]
        fn any_bytes_are_safe_to_look_at(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }

    #[test]
    fn zeros_are_blank_and_a_part_is_short() {
        assert_eq!(decode(&[0; BLOCK]), Err(NoFrame::Blank));
        let whole = frame(&[1; 5_000], 0);
        assert_eq!(decode(&whole[..BLOCK]), Err(NoFrame::Short));
    }
}
