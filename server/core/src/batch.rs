//! The stored form of a batch: a header of fixed size, then the producer's bytes, untouched.
//!
//! It is what a raft entry carries, what the log keeps and what readers share. The producer's part
//! is opaque here; `records` knows what is inside.
//!
//! Layout, little-endian, 64 bytes of header in version 1; in version 2, that of a batch of an
//! idempotent producer, 16 more; of one that compaction has taken records from, another 16:
//!
//! ```text
//!  0  u8   entry kind (1: batch)      16  i64  append time, ns        48  u64  raft index
//!  1  u8   format version (1 to 8)    24  i64  newest record time, ns 56  u32  shortest ttl
//!  2  u8   compression                32  u64  base offset            60  u32  crc32c of 0..60
//!  3  u8   timestamp type             40  u64  leader epoch (term)    64  ...  payload
//!  4  u32  record count
//!  8  u32  payload bytes
//! 12  u32  crc32c of the payload      64  u64  producer id   (versions 2 and 4)
//!                                     72  u32  producer epoch
//!                                     76  u32  first sequence
//! 64 or 80 (versions 3 and 4)         +8  u32  crc32c of the payload as it was produced
//! +0  u32  records that are left      +12 u32  0
//! +4  u32  bytes of their positions
//! ```
//!
//! Versions 5 to 8 are 1 to 4 of a batch of which some record has a time to live of its own: at 56
//! stands the shortest of these, in ms. In the others that is 0.
//!
//! The payload begins behind all that, and the checksum at 60 also covers what lies from 64 on. In
//! versions 3 and 4 the record count still says how many offsets the batch takes, and the payload
//! begins with the positions of the records that are left: for each, as a varint, how many are gone
//! before it.

mod positions;
mod stored;

use bytes::Bytes;
use ropewalk_compress::Compression;
use thiserror::Error;

use crate::entry::EntryKind;
use crate::expiry::ShortestTtl;
use crate::ids::{Offset, ProducerId};
use crate::sequence::ProducerSequence;
use crate::time::Timestamp;
use crate::versions::KeyRun;

pub use self::positions::Positions;
use self::positions::encode_positions;
pub use self::stored::StoredBatch;

/// The bytes of a header without a sequence.
const PLAIN_BYTES: usize = 64;
/// What a sequence adds to it, and what compaction adds.
const SEQUENCE_BYTES: usize = 16;
const REMAINS_BYTES: usize = 16;
/// The most bytes that a header has: one of a compacted batch with a sequence.
pub const MAX_HEADER_BYTES: usize = PLAIN_BYTES + SEQUENCE_BYTES + REMAINS_BYTES;
/// The version of a batch without a sequence.
pub const PLAIN_VERSION: u8 = 1;
/// The version of a batch with one.
pub const SEQUENCED_VERSION: u8 = 2;
/// The version of a compacted batch without a sequence.
pub const COMPACTED_VERSION: u8 = 3;
/// The version of a compacted batch with one.
pub const COMPACTED_SEQUENCED_VERSION: u8 = 4;
/// So much is added to the version of a batch of which some record has a time to live of its own.
pub const TTL_VERSIONS: u8 = 4;

/// Whose clock gives the records of a batch their time. The numbers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    Create = 0,
    /// The leader's.
    Append = 1,
}

/// Bytes that are not a batch of a known format, or that have changed since they were written.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// Fewer bytes than the header says.
    #[error("{actual} bytes where {expected} belong")]
    Length {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// Another version or codec than this code knows.
    #[error("unknown {what} {value}")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// What it says.
        value: u8,
    },
    /// The checksum does not fit.
    #[error("checksum mismatch in the {0}")]
    Checksum(&'static str),
}

/// What the broker knows of a batch without looking inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The codec of the payload.
    pub compression: Compression,
    /// Whose clock gives the records their time.
    pub timestamp_type: TimestampType,
    /// The number of records, at least 1.
    pub record_count: u32,
    /// The length of the payload.
    pub payload_bytes: u32,
    /// The checksum of the payload.
    pub payload_crc: u32,
    /// When the leader appended it.
    pub append_time: Timestamp,
    /// The newest time of a record in it.
    pub max_timestamp: Timestamp,
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The raft term in which it was appended.
    pub leader_epoch: u64,
    /// Its raft index.
    pub index: u64,
    /// How the batch is known again when it comes twice, if its producer cares.
    pub sequence: Option<ProducerSequence>,
    /// What is left of it, once compaction has taken records from it.
    pub remains: Option<Remains>,
    /// The shortest time to live that a record of it has of its own, if one has.
    pub shortest_ttl: Option<ShortestTtl>,
}

/// What compaction has left of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remains {
    /// The number of records that are left, perhaps none.
    pub records: u32,
    /// The bytes at the front of the payload that tell their positions.
    pub positions_bytes: u32,
    /// The checksum of the payload as it was produced: a batch that comes twice is known by it.
    pub produced_crc: u32,
}

impl BatchHeader {
    /// The bytes that it takes.
    #[must_use]
    pub fn stored_len(&self) -> usize {
        length_of(self.version())
    }

    fn version(&self) -> u8 {
        let version = match (self.sequence.is_some(), self.remains.is_some()) {
            (false, false) => PLAIN_VERSION,
            (true, false) => SEQUENCED_VERSION,
            (false, true) => COMPACTED_VERSION,
            (true, true) => COMPACTED_SEQUENCED_VERSION,
        };
        if self.shortest_ttl.is_some() { version + TTL_VERSIONS } else { version }
    }

    /// The number of records that are there: all, unless compaction has taken some.
    #[must_use]
    pub fn records_left(&self) -> u32 {
        self.remains.map_or(self.record_count, |remains| remains.records)
    }

    /// The checksum of the payload as it was produced.
    #[must_use]
    pub fn produced_crc(&self) -> u32 {
        self.remains.map_or(self.payload_crc, |remains| remains.produced_crc)
    }

    /// The offset after the last record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.record_count))
    }

    /// Writes the header, with its checksum, over the first bytes, [`Self::stored_len`] of them.
    ///
    /// # Panics
    /// When `out` is shorter than that.
    pub fn write(&self, out: &mut [u8]) {
        let out = &mut out[..self.stored_len()];
        out[0] = EntryKind::Batch as u8;
        out[1] = self.version();
        out[2] = self.compression as u8;
        out[3] = self.timestamp_type as u8;
        out[4..8].copy_from_slice(&self.record_count.to_le_bytes());
        out[8..12].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[16..24].copy_from_slice(&self.append_time.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.max_timestamp.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.base_offset.0.to_le_bytes());
        out[40..48].copy_from_slice(&self.leader_epoch.to_le_bytes());
        out[48..56].copy_from_slice(&self.index.to_le_bytes());
        let shortest_ttl = self.shortest_ttl.map_or(0, ShortestTtl::millis);
        out[56..60].copy_from_slice(&shortest_ttl.to_le_bytes());
        if let Some(sequence) = &self.sequence {
            out[64..72].copy_from_slice(&sequence.producer.0.to_le_bytes());
            out[72..76].copy_from_slice(&sequence.epoch.to_le_bytes());
            out[76..80].copy_from_slice(&sequence.first.to_le_bytes());
        }
        if let Some(remains) = &self.remains {
            let at = out.len() - REMAINS_BYTES;
            out[at..at + 4].copy_from_slice(&remains.records.to_le_bytes());
            out[at + 4..at + 8].copy_from_slice(&remains.positions_bytes.to_le_bytes());
            out[at + 8..at + 12].copy_from_slice(&remains.produced_crc.to_le_bytes());
            out[at + 12..].fill(0);
        }
        let crc = header_crc(out);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header and checks its own checksum and the length of what follows; not the
    /// payload's.
    pub fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let length = Self::length_in(bytes)?;
        Self::read_before(&bytes[..length], bytes.len() - length)
    }

    /// How many bytes the header at the front of these takes, which are at least so many.
    fn length_in(bytes: &[u8]) -> Result<usize, BatchError> {
        let expected = length_of(bytes.get(1).copied().unwrap_or(PLAIN_VERSION));
        if bytes.len() < expected {
            return Err(BatchError::Length { expected, actual: bytes.len() });
        }
        Ok(expected)
    }

    /// The same, of a header that stands apart from the `payload_bytes` that follow it.
    fn read_before(head: &[u8], payload_bytes: usize) -> Result<Self, BatchError> {
        if header_crc(head) != u32_at(head, 60) {
            return Err(BatchError::Checksum("batch header"));
        }
        if head[0] != EntryKind::Batch as u8 {
            return Err(BatchError::Unknown { what: "entry kind", value: head[0] });
        }
        let (version, has_ttl) = without_ttl(head[1]);
        let (is_sequenced, is_compacted) = match version {
            PLAIN_VERSION => (false, false),
            SEQUENCED_VERSION => (true, false),
            COMPACTED_VERSION => (false, true),
            COMPACTED_SEQUENCED_VERSION => (true, true),
            value => return Err(BatchError::Unknown { what: "batch format version", value }),
        };
        let shortest_ttl = ShortestTtl::from_millis(u32_at(head, 56)).filter(|_| has_ttl);
        if has_ttl && shortest_ttl.is_none() {
            return Err(BatchError::Unknown { what: "time to live", value: 0 });
        }
        let sequence = is_sequenced.then(|| ProducerSequence {
            producer: ProducerId(u64_at(head, 64)),
            epoch: u32_at(head, 72),
            first: u32_at(head, 76),
        });
        let at = head.len().saturating_sub(REMAINS_BYTES);
        let remains = is_compacted.then(|| Remains {
            records: u32_at(head, at),
            positions_bytes: u32_at(head, at + 4),
            produced_crc: u32_at(head, at + 8),
        });
        let header = Self {
            compression: stored_codec(head[2])?,
            timestamp_type: TimestampType::from_stored(head[3])?,
            record_count: u32_at(head, 4),
            payload_bytes: u32_at(head, 8),
            payload_crc: u32_at(head, 12),
            append_time: Timestamp(u64_at(head, 16).cast_signed()),
            max_timestamp: Timestamp(u64_at(head, 24).cast_signed()),
            base_offset: Offset(u64_at(head, 32)),
            leader_epoch: u64_at(head, 40),
            index: u64_at(head, 48),
            sequence,
            remains,
            shortest_ttl,
        };
        let positions = remains.map_or(0, |remains| remains.positions_bytes);
        if positions > header.payload_bytes {
            let (expected, actual) = (positions as usize, header.payload_bytes as usize);
            return Err(BatchError::Length { expected, actual });
        }
        let expected = head.len() + header.payload_bytes as usize;
        let actual = head.len() + payload_bytes;
        if actual != expected {
            return Err(BatchError::Length { expected, actual });
        }
        Ok(header)
    }
}

/// The version of a batch without times to live that is otherwise the same; and whether it has any.
fn without_ttl(version: u8) -> (u8, bool) {
    match version.checked_sub(TTL_VERSIONS) {
        Some(plain @ PLAIN_VERSION..=COMPACTED_SEQUENCED_VERSION) => (plain, true),
        _ => (version, false),
    }
}

/// The bytes of a header of this version.
fn length_of(version: u8) -> usize {
    match without_ttl(version).0 {
        SEQUENCED_VERSION => PLAIN_BYTES + SEQUENCE_BYTES,
        COMPACTED_VERSION => PLAIN_BYTES + REMAINS_BYTES,
        COMPACTED_SEQUENCED_VERSION => MAX_HEADER_BYTES,
        _ => PLAIN_BYTES,
    }
}

/// The checksum of a header: over all of it but the checksum's own place.
fn header_crc(head: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&head[..60]);
    crc32c::crc32c_append(crc, &head[PLAIN_BYTES..])
}

/// The codec with this number.
pub fn stored_codec(value: u8) -> Result<Compression, BatchError> {
    Compression::from_number(value).ok_or(BatchError::Unknown { what: "compression", value })
}

impl TimestampType {
    /// The one with this number.
    pub fn from_stored(value: u8) -> Result<Self, BatchError> {
        Ok(match value {
            0 => Self::Create,
            1 => Self::Append,
            _ => {
                return Err(BatchError::Unknown { what: "timestamp type", value });
            }
        })
    }
}

/// The times that the records of a batch carry themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordTimes {
    /// The newest of them, if there is any.
    pub newest: Option<Timestamp>,
    /// Whether some record carries none, so that it has the append time.
    pub untimed: bool,
    /// The shortest time to live that a record has of its own, if one has.
    pub shortest_ttl: Option<ShortestTtl>,
}

/// A batch on its way into the log: the payload behind a header whose offset, epoch, index and
/// append time the leader fills in. Making one copies the payload once and computes its checksum,
/// off the thread that orders appends; from then on the bytes are shared.
#[derive(Debug)]
pub struct BatchDraft {
    bytes: Vec<u8>,
    header: BatchHeader,
    takes_append_time: bool,
    keys: Option<KeyRun>,
}

impl BatchDraft {
    /// A draft of `payload`.
    ///
    /// # Panics
    /// When the payload is 4 GiB or longer, which `limits` rule out long before.
    #[must_use]
    pub fn new(
        payload: &[u8],
        record_count: u32,
        compression: Compression,
        timestamp_type: TimestampType,
        times: RecordTimes,
        sequence: Option<ProducerSequence>,
    ) -> Self {
        let header = BatchHeader {
            compression,
            timestamp_type,
            record_count,
            payload_bytes: u32::try_from(payload.len()).expect("a payload is below 4 MiB"),
            payload_crc: crc32c::crc32c(payload),
            append_time: Timestamp::MIN,
            max_timestamp: times.newest.unwrap_or(Timestamp::MIN),
            base_offset: Offset::ZERO,
            leader_epoch: 0,
            index: 0,
            sequence,
            remains: None,
            shortest_ttl: times.shortest_ttl,
        };
        let mut bytes = Vec::with_capacity(header.stored_len() + payload.len());
        bytes.resize(header.stored_len(), 0);
        bytes.extend_from_slice(payload);
        Self { bytes, header, takes_append_time: times.untimed, keys: None }
    }

    /// Looks at the keys of its records, for a partition of which their versions are known. That
    /// is work for a thread that may take a while.
    pub fn find_keys(&mut self) {
        let BatchHeader { compression, record_count, .. } = self.header;
        let payload = &self.bytes[self.header.stored_len()..];
        self.keys = KeyRun::of_batch(compression, payload, record_count);
    }

    /// Takes out what was found of its keys, if somebody has looked and they are not too many.
    #[must_use]
    pub fn take_keys(&mut self) -> Option<KeyRun> {
        self.keys.take()
    }

    /// The number of records.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        self.header.record_count
    }

    /// How it is known again when it comes twice.
    #[must_use]
    pub fn sequence(&self) -> Option<ProducerSequence> {
        self.header.sequence
    }

    /// The checksum of the payload.
    #[must_use]
    pub fn payload_crc(&self) -> u32 {
        self.header.payload_crc
    }

    /// Whether some record has a time to live of its own.
    #[must_use]
    pub fn has_ttl(&self) -> bool {
        self.header.shortest_ttl.is_some()
    }

    /// The codec of the payload.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.header.compression
    }

    /// What was found of its keys takes so many bytes beside it.
    #[must_use]
    pub fn keys_bytes(&self) -> usize {
        self.keys.as_ref().map_or(0, KeyRun::bytes)
    }

    /// The bytes that it takes in memory and in the log.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no bytes: never, it has a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What another broker needs to make the same draft. Nothing is copied.
    #[must_use]
    pub fn into_parts(self) -> DraftParts {
        let header = &self.header;
        let newest = header.max_timestamp;
        DraftParts {
            record_count: header.record_count,
            compression: header.compression,
            timestamp_type: header.timestamp_type,
            times: RecordTimes {
                newest: (newest != Timestamp::MIN).then_some(newest),
                untimed: self.takes_append_time,
                shortest_ttl: header.shortest_ttl,
            },
            payload_crc: header.payload_crc,
            sequence: header.sequence,
            payload: Bytes::from(self.bytes).slice(header.stored_len()..),
        }
    }

    /// A draft whose parts came over a network: the payload is copied once, and its checksum
    /// compared.
    pub fn from_parts(parts: &DraftParts) -> Result<Self, BatchError> {
        let DraftParts { record_count, compression, timestamp_type, times, .. } = parts;
        let DraftParts { payload_crc, sequence, payload, .. } = parts;
        if u32::try_from(payload.len()).is_err() {
            let expected = u32::MAX as usize;
            return Err(BatchError::Length { expected, actual: payload.len() });
        }
        let (compression, sequence) = (*compression, *sequence);
        let draft =
            Self::new(payload, *record_count, compression, *timestamp_type, *times, sequence);
        if draft.header.payload_crc != *payload_crc {
            return Err(BatchError::Checksum("batch payload"));
        }
        Ok(draft)
    }

    /// Completes the header and gives the stored bytes.
    ///
    /// A record without a time of its own has the append time, which counts for the newest time
    /// then.
    #[must_use]
    pub fn seal(
        mut self,
        base_offset: Offset,
        leader_epoch: u64,
        index: u64,
        append_time: Timestamp,
    ) -> Vec<u8> {
        let header = &mut self.header;
        header.base_offset = base_offset;
        header.leader_epoch = leader_epoch;
        header.index = index;
        header.append_time = append_time;
        if header.timestamp_type == TimestampType::Append {
            header.max_timestamp = append_time;
        } else if self.takes_append_time {
            header.max_timestamp = header.max_timestamp.max(append_time);
        }
        self.header.write(&mut self.bytes);
        self.bytes
    }
}

/// A draft taken apart, on its way to the leader on another broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftParts {
    /// The number of records.
    pub record_count: u32,
    /// The codec of the payload.
    pub compression: Compression,
    /// Whose clock gives the records their time.
    pub timestamp_type: TimestampType,
    /// The times that the records carry.
    pub times: RecordTimes,
    /// The checksum of the payload.
    pub payload_crc: u32,
    /// How it is known again when it comes twice.
    pub sequence: Option<ProducerSequence>,
    /// The producer's bytes.
    pub payload: Bytes,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests;
