//! From stored batches to what one reader gets: cut to its offsets and its size, decompressed where
//! it must be.
//!
//! An uncompressed batch is cut at record boundaries without a copy: any run of encoded records is
//! a record set of its own.

use bytes::Bytes;
use ropewalk_core::compress::{self, CompressError};
use ropewalk_core::expiry::{self, Expiry};
use ropewalk_core::{Compression, Offset, StoredBatch, Timestamp, TimestampType, limits, records};
use thiserror::Error;

/// A run of records on its way to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The number of records.
    pub record_count: u32,
    /// The epoch of the leader that appended them.
    pub leader_epoch: u64,
    /// When they were appended.
    pub append_time: Timestamp,
    /// Whose clock gives them their time.
    pub timestamp_type: TimestampType,
    /// The codec of the payload.
    pub compression: Compression,
    /// The encoded records.
    pub payload: Bytes,
    /// The offset of each record, where compaction has taken others from between them.
    pub offsets: Option<Vec<Offset>>,
}

impl Delivery {
    /// The offset after its last record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        let last = self.offsets.as_ref().and_then(|offsets| offsets.last());
        last.map_or(self.base_offset.plus(u64::from(self.record_count)), |last| last.plus(1))
    }

    /// The memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let offsets = self.offsets.as_ref().map_or(0, Vec::len);
        self.payload.len() + offsets * size_of::<Offset>()
    }
}

/// A batch that cannot be delivered as it was asked for.
#[derive(Debug, Error)]
pub enum DeliveryError {
    /// A compressed batch that its producer has damaged.
    #[error("the batch at offset {offset} cannot be decompressed: {source}")]
    Compressed {
        /// The batch's first offset.
        offset: Offset,
        /// Why not.
        source: CompressError,
    },
    /// A compressed batch that holds another number of records than its producer said.
    #[error(
        "the compressed batch at offset {offset} does not hold the {expected} records it claims"
    )]
    Count {
        /// The batch's first offset.
        offset: Offset,
        /// What was said.
        expected: u32,
    },
    /// A compressed batch with a record that no message can hold: the broker saw its size only now.
    #[error("the compressed batch at offset {offset} holds a record of {actual} bytes: too large")]
    Record {
        /// The batch's first offset.
        offset: Offset,
        /// The size of the record.
        actual: usize,
    },
}

/// Which codecs a reader decompresses itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted(u8);

impl Accepted {
    /// Accepts one codec more.
    pub fn insert(&mut self, codec: Compression) {
        self.0 |= 1 << codec as u8;
    }

    fn has(self, codec: Compression) -> bool {
        codec == Compression::None || self.0 & (1 << codec as u8) != 0
    }
}

/// How a reader wants its records.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryOptions {
    /// The codecs that it decompresses itself.
    pub accepted: Accepted,
    /// Keys and values as text where they are UTF-8.
    pub text: bool,
    /// The most bytes of records in one delivery.
    pub max_bytes: usize,
}

/// What a batch holds of the offsets from `from` to before `until`, in pieces of at most
/// `max_bytes` (but at least one record).
pub fn deliver(
    batch: &StoredBatch,
    from: Offset,
    until: Offset,
    options: &DeliveryOptions,
) -> Result<Vec<Delivery>, DeliveryError> {
    pieces(batch, None, from, until, options)
}

/// The same, of a batch whose uncompressed records may be known.
fn pieces(
    batch: &StoredBatch,
    records: Option<Bytes>,
    from: Offset,
    until: Offset,
    options: &DeliveryOptions,
) -> Result<Vec<Delivery>, DeliveryError> {
    let header = &batch.header;
    let left = Left::of(batch);
    if left.count == 0 {
        return Ok(Vec::new());
    }
    let piece = |first: u32, record_count, compression, payload| Delivery {
        base_offset: left.offset(first),
        record_count,
        leader_epoch: header.leader_epoch,
        append_time: header.append_time,
        timestamp_type: header.timestamp_type,
        compression,
        payload,
        offsets: left.offsets(first, record_count),
    };
    let codec = header.compression;
    if codec != Compression::None && !is_decompressed(batch, from, until, options) {
        return Ok(vec![piece(0, left.count, codec, batch.records())]);
    }
    let records = records.map_or_else(|| uncompressed(batch), Ok)?;
    let (begin, end) = (left.before(from), left.before(until));
    let all = begin == 0 && end == left.count;
    let mut rest = if all { records } else { slice(&records, begin.into(), end.into()) };
    let most = left.most_bytes(options.max_bytes);
    let mut at = begin;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (bytes, count) = match rest.len() <= most {
            true => (rest.len(), end - at),
            false => records::cut(&rest, most),
        };
        if count == 0 {
            break;
        }
        if bytes > limits::MAX_BATCH_BYTES {
            return Err(DeliveryError::Record { offset: header.base_offset, actual: bytes });
        }
        let payload = rest.split_to(bytes);
        let payload = if options.text { records::to_text(&payload).into() } else { payload };
        pieces.push(piece(at, count, Compression::None, payload));
        at += count;
    }
    Ok(pieces)
}

/// The same of a batch that may have records whose own time to live is over: they are left out.
/// What cannot be read goes as it is to those who can read it, as it does without.
pub(crate) fn deliver_living(
    batch: &StoredBatch,
    expiry: Expiry,
    from: Offset,
    until: Offset,
    options: &DeliveryOptions,
) -> Result<Vec<Delivery>, DeliveryError> {
    let records = uncompressed(batch).ok();
    match records.as_ref().and_then(|records| expiry::living(batch, records, expiry)) {
        Some(living) => {
            drop(records);
            deliver(&living, from, until, options)
        }
        None => pieces(batch, records, from, until, options),
    }
}

/// The memory that it takes at most to look into a batch and to deliver it, beside the batch
/// itself. No delivery asks for more than a half of what readers have for that together, or it
/// would wait until none of the others had any: a batch of millions of records, all but empty, may
/// take more.
pub(crate) fn most_memory(
    batch: &StoredBatch,
    may_expire: bool,
    options: &DeliveryOptions,
) -> usize {
    let header = &batch.header;
    let (decompressed, records) = match header.compression {
        Compression::None => (0, batch.payload.len()),
        _ => (limits::MAX_DECOMPRESSED_BYTES, limits::MAX_DECOMPRESSED_BYTES),
    };
    // What is left is put together anew before the records go, and text beside what it is made of.
    let copied = if may_expire || options.text { records } else { 0 };
    let is_shrunk = may_expire || header.remains.is_some();
    let places = if is_shrunk { PLACE_BYTES * header.records_left() as usize } else { 0 };
    (decompressed + copied + places).min(limits::DECOMPRESSED_BUDGET / 2)
}

/// Whether a batch must be decompressed to be delivered so.
pub(crate) fn is_decompressed(
    batch: &StoredBatch,
    from: Offset,
    until: Offset,
    options: &DeliveryOptions,
) -> bool {
    let header = &batch.header;
    let whole = from <= header.base_offset && header.end_offset() <= until;
    // The offsets of the records must fit the message too.
    let offsets = header.remains.map_or(0, |left| OFFSET_BYTES * left.records as usize);
    let fits = batch.payload.len() + offsets <= limits::MAX_BATCH_BYTES;
    let as_it_is = whole && fits && !options.text && options.accepted.has(header.compression);
    header.compression != Compression::None && !as_it_is
}

/// The first record of a batch, at or after `from`, whose time is at or after `time`.
#[must_use]
pub fn find_time(
    batch: &StoredBatch,
    from: Offset,
    time: Timestamp,
) -> Option<(Offset, Timestamp)> {
    let header = &batch.header;
    let left = Left::of(batch);
    let skipped = left.before(from);
    if skipped >= left.count {
        return None;
    }
    let appended =
        || (header.append_time >= time).then(|| (left.offset(skipped), header.append_time));
    if header.timestamp_type == TimestampType::Append {
        return appended();
    }
    // A batch that its producer damaged has only its append time.
    let Ok(records) = uncompressed(batch) else { return appended() };
    let rest = slice(&records, skipped.into(), left.count.into());
    let (at, found) = records::find_time(&rest, header.append_time, time)?;
    Some((left.offset(skipped + at), found))
}

/// An offset on the wire takes so many bytes at most, and a record two at least.
const OFFSET_BYTES: usize = 9;
const LEAST_RECORD_BYTES: usize = 2;
/// Where records are gone, each that is left takes so much memory for its place at most: the
/// position as a batch has it, another in a list that grows, and the offset.
const PLACE_BYTES: usize = 5 + 2 * size_of::<u32>() + size_of::<Offset>();

/// The records that a batch holds, and their offsets.
struct Left {
    base: Offset,
    count: u32,
    /// Their positions, where some are gone.
    positions: Option<Vec<u32>>,
}

impl Left {
    fn of(batch: &StoredBatch) -> Self {
        let positions: Option<Vec<u32>> = batch.positions().map(Iterator::collect);
        let header = &batch.header;
        let held = positions.as_ref().map(|held| u32::try_from(held.len()).unwrap_or(u32::MAX));
        Self { base: header.base_offset, count: held.unwrap_or(header.record_count), positions }
    }

    /// The bytes of records of one delivery, where so many are asked for: beside them the message
    /// must have room for their offsets.
    fn most_bytes(&self, asked: usize) -> usize {
        let part = 1 + OFFSET_BYTES.div_ceil(LEAST_RECORD_BYTES);
        if self.positions.is_some() { asked.min(limits::MAX_BATCH_BYTES / part) } else { asked }
    }

    /// How many of them stand before an offset.
    fn before(&self, offset: Offset) -> u32 {
        let position = offset.since(self.base);
        match &self.positions {
            None => u32::try_from(position).unwrap_or(u32::MAX).min(self.count),
            Some(held) => {
                let before = held.partition_point(|of| u64::from(*of) < position);
                u32::try_from(before).unwrap_or(u32::MAX)
            }
        }
    }

    /// The offset of the one at a place.
    fn offset(&self, at: u32) -> Offset {
        let position = match &self.positions {
            Some(held) => held.get(at as usize).copied().unwrap_or(0),
            None => at,
        };
        self.base.plus(u64::from(position))
    }

    fn offsets(&self, first: u32, count: u32) -> Option<Vec<Offset>> {
        self.positions.as_ref()?;
        Some((first..first + count).map(|at| self.offset(at)).collect())
    }
}

fn uncompressed(batch: &StoredBatch) -> Result<Bytes, DeliveryError> {
    let header = &batch.header;
    if header.compression == Compression::None {
        return Ok(batch.records());
    }
    let offset = header.base_offset;
    let limit = limits::MAX_DECOMPRESSED_BYTES;
    let expected = header.records_left();
    let bytes = compress::decompress(header.compression, &batch.records(), limit)
        .map_err(|source| DeliveryError::Compressed { offset, source })?;
    let claimed = DeliveryError::Count { offset, expected };
    match records::inspect(&bytes, limit) {
        // Text is for people who produce by hand; a consumer meets values, however they came.
        Ok(found) if found.record_count == expected && found.has_text => {
            Ok(records::normalize(&bytes, false).into())
        }
        Ok(found) if found.record_count == expected => Ok(bytes.into()),
        _ => Err(claimed),
    }
}

fn slice(records: &Bytes, begin: u64, end: u64) -> Bytes {
    let position = |count: u64| {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        records::skip(records, count).unwrap_or(records.len())
    };
    let start = if begin == 0 { 0 } else { position(begin) };
    let stop = position(end);
    records.slice(start.min(stop)..stop)
}
