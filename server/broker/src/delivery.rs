//! From stored batches to what one reader gets: cut to its offsets and its size, decompressed where
//! it must be.
//!
//! An uncompressed batch is cut at record boundaries without a copy: any run of encoded records is
//! a record set of its own.

use bytes::Bytes;
use ropewalk_core::compress::{self, CompressError};
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
    let header = &batch.header;
    let piece = |base_offset, record_count, compression, payload| Delivery {
        base_offset,
        record_count,
        leader_epoch: header.leader_epoch,
        append_time: header.append_time,
        timestamp_type: header.timestamp_type,
        compression,
        payload,
    };
    let codec = header.compression;
    if codec != Compression::None && !is_decompressed(batch, from, until, options) {
        let payload = batch.payload.clone();
        return Ok(vec![piece(header.base_offset, header.record_count, codec, payload)]);
    }
    let records = uncompressed(batch)?;
    let begin = from.since(header.base_offset).min(u64::from(header.record_count));
    let end = until.since(header.base_offset).min(u64::from(header.record_count));
    let all = begin == 0 && end == u64::from(header.record_count);
    let mut rest = if all { records } else { slice(&records, begin, end) };
    let mut offset = header.base_offset.plus(begin);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (bytes, count) = match rest.len() <= options.max_bytes {
            true => {
                (rest.len(), u32::try_from(end - offset.since(header.base_offset)).unwrap_or(0))
            }
            false => records::cut(&rest, options.max_bytes),
        };
        if count == 0 {
            break;
        }
        if bytes > limits::MAX_BATCH_BYTES {
            return Err(DeliveryError::Record { offset: header.base_offset, actual: bytes });
        }
        let payload = rest.split_to(bytes);
        let payload = if options.text { records::to_text(&payload).into() } else { payload };
        pieces.push(piece(offset, count, Compression::None, payload));
        offset = offset.plus(u64::from(count));
    }
    Ok(pieces)
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
    let as_it_is = whole && !options.text && options.accepted.has(header.compression);
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
    let skipped = from.since(header.base_offset);
    if header.timestamp_type == TimestampType::Append {
        let first = header.base_offset.max(from);
        return (header.append_time >= time).then_some((first, header.append_time));
    }
    // A batch that its producer damaged has only its append time.
    let Ok(records) = uncompressed(batch) else {
        let first = header.base_offset.max(from);
        return (header.append_time >= time).then_some((first, header.append_time));
    };
    let rest = slice(&records, skipped, u64::from(header.record_count));
    let (at, found) = records::find_time(&rest, header.append_time, time)?;
    Some((header.base_offset.plus(skipped + u64::from(at)), found))
}

fn uncompressed(batch: &StoredBatch) -> Result<Bytes, DeliveryError> {
    let header = &batch.header;
    if header.compression == Compression::None {
        return Ok(batch.payload.clone());
    }
    let offset = header.base_offset;
    let limit = limits::MAX_DECOMPRESSED_BYTES;
    let bytes = compress::decompress(header.compression, &batch.payload, limit)
        .map_err(|source| DeliveryError::Compressed { offset, source })?;
    let claimed = DeliveryError::Count { offset, expected: header.record_count };
    match records::inspect(&bytes, limit) {
        // Text is for people who produce by hand; a consumer meets values, however they came.
        Ok(found) if found.record_count == header.record_count && found.has_text => {
            Ok(records::normalize(&bytes, false).into())
        }
        Ok(found) if found.record_count == header.record_count => Ok(bytes.into()),
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
