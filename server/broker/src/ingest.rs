//! From what a producer sends to what is appended: checked, in stored form, placed on partitions.

use bytes::{Bytes, BytesMut};
use ropewalk_cluster::TopicSettings;
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::compress::{self, CompressError};
use ropewalk_core::limits::MIN_RECORD_TTL;
use ropewalk_core::records::{self, RecordsError};
use ropewalk_core::{
    BatchDraft, Compression, PartitionId, ProducerSequence, ShortestTtl, TimestampType, limits,
    partitioner,
};
use thiserror::Error;

/// The records of a request, as they came.
#[derive(Clone, Debug)]
pub enum Payload {
    /// An encoded record set.
    Records(Bytes),
    /// An encoded record set that the client has compressed.
    Compressed {
        /// The codec; not `None`.
        codec: Compression,
        /// The compressed bytes.
        bytes: Bytes,
        /// The number of records in it, at least 1.
        record_count: u32,
        /// The shortest time to live that a record in it has, if one has.
        shortest_ttl: Option<ShortestTtl>,
    },
}

impl Payload {
    /// The bytes that came.
    #[must_use]
    pub fn len(&self) -> usize {
        let (Self::Records(bytes) | Self::Compressed { bytes, .. }) = self;
        bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A batch that is refused.
#[derive(Debug, Error)]
pub enum IngestError {
    /// The records are not well formed, or too large.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The codec's frame is damaged.
    #[error("`compressed` is not a {codec:?} frame: {source}")]
    Frame {
        /// The codec.
        codec: Compression,
        /// What is wrong.
        source: CompressError,
    },
    /// A record without a key, of a topic that is compacted by key.
    #[error(
        "record {record} has no key: the topic is compacted, which keeps the latest of each key"
    )]
    NoKey {
        /// Which record.
        record: u32,
    },
    /// A time to live that is none.
    #[error("the ttl of record {record} is less than {} ms", MIN_RECORD_TTL.as_millis())]
    ShortTtl {
        /// Which record.
        record: u32,
    },
    /// The batch is too large.
    #[error("the batch has {actual} bytes, more than {limit}: send the records in several batches")]
    BatchTooLarge {
        /// The bound.
        limit: usize,
        /// What came.
        actual: usize,
    },
}

/// Checks a batch and brings it into its stored form, with the sequence that makes it known again
/// when it comes twice.
pub fn prepare(
    payload: &Payload,
    sequence: Option<ProducerSequence>,
    settings: &TopicSettings,
) -> Result<BatchDraft, IngestError> {
    let (limit, actual) = (limits::MAX_BATCH_BYTES, payload.len());
    if actual > limit {
        return Err(IngestError::BatchTooLarge { limit, actual });
    }
    let timestamp_type = settings.timestamp_type;
    match payload {
        Payload::Records(bytes) => {
            let found = records::inspect(bytes, settings.max_record_bytes as usize)?;
            if let Some(record) = found.keyless.filter(|_| settings.cleanup.policy.compacts()) {
                return Err(IngestError::NoKey { record });
            }
            if let Some(record) = found.short_lived {
                return Err(IngestError::ShortTtl { record });
            }
            let drop_times = timestamp_type == TimestampType::Append && found.has_timestamps;
            let draft = |payload: &[u8]| {
                let count = found.record_count;
                let (codec, times) = (Compression::None, found.times);
                BatchDraft::new(payload, count, codec, timestamp_type, times, sequence)
            };
            if found.has_text || drop_times {
                return Ok(draft(&records::normalize(bytes, drop_times)));
            }
            Ok(draft(bytes))
        }
        Payload::Compressed { codec, bytes, record_count, shortest_ttl } => {
            compress::check_frame(*codec, bytes)
                .map_err(|source| IngestError::Frame { codec: *codec, source })?;
            // The times inside are not looked at: on the time axis it stands at its append time.
            let shortest_ttl = *shortest_ttl;
            let times = RecordTimes { newest: None, untimed: true, shortest_ttl };
            Ok(BatchDraft::new(bytes, *record_count, *codec, timestamp_type, times, sequence))
        }
    }
}

/// The records of a request that go to one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: PartitionId,
    /// The encoded records.
    pub records: Bytes,
    /// Their positions in the request; empty when all records of the request are here.
    pub indexes: Vec<u32>,
}

/// Places each record of an encoded record set: by its key, or, without one, on `keyless`.
#[must_use]
pub fn place(records: &Bytes, partition_count: u32, keyless: PartitionId) -> Vec<Placed> {
    let partition = |key: Option<&[u8]>| match key {
        Some(key) => partitioner::partition_of(key, partition_count),
        None => keyless,
    };
    let mut keys = records::keys(records).map(|(_, key)| partition(key));
    let first = keys.next().unwrap_or(keyless);
    if keys.all(|other| other == first) {
        let records = records.clone();
        return vec![Placed { partition: first, records, indexes: Vec::new() }];
    }
    let mut split: std::collections::BTreeMap<_, (BytesMut, Vec<u32>)> = Default::default();
    for (index, (range, key)) in (0..).zip(records::keys(records)) {
        let (bytes, indexes) = split.entry(partition(key)).or_default();
        bytes.extend_from_slice(&records[range]);
        indexes.push(index);
    }
    split
        .into_iter()
        .map(|(partition, (bytes, indexes))| Placed { partition, records: bytes.freeze(), indexes })
        .collect()
}
