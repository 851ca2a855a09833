//! Batches to produce, encoded once.

use bytes::Bytes;
use prost::Message;
use ropewalk::Compression;
use ropewalk_core::compress::compress_at;
use ropewalk_proto::broker;
use ropewalk_proto::v1;

use crate::wire::Failure;

/// A batch is full at this many bytes of values, or records.
const BATCH_BYTES: usize = 256 * 1024;
const BATCH_RECORDS: usize = 1000;

/// An encoded record set that is produced over and over.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) encoded: Bytes,
    pub(crate) records: u64,
    /// The bytes of its values.
    pub(crate) value_bytes: u64,
    /// What it is compressed with.
    pub(crate) codec: Compression,
}

impl Batch {
    /// A full batch of values of this size.
    pub(crate) fn full(size: usize) -> Self {
        let records = (BATCH_BYTES / size.max(1)).clamp(1, BATCH_RECORDS);
        Self::of(records, size)
    }

    /// A batch of this many values of this size.
    pub(crate) fn of(records: usize, size: usize) -> Self {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let values = (0..records).map(|_| noise.bytes(size));
        Self {
            encoded: encode(values),
            records: records as u64,
            value_bytes: (records * size) as u64,
            codec: Compression::None,
        }
    }

    /// The records of an encoded set, compressed at the codec's own level.
    pub(crate) fn packed(set: &Bytes, codec: Compression) -> Result<Self, Failure> {
        let records = v1::RecordSet::decode(set.clone())?.records;
        let value_bytes = records.iter().map(|r| r.value.as_ref().map_or(0, |v| v.len() as u64));
        Ok(Self {
            encoded: compress_at(codec, None, set).into(),
            records: records.len() as u64,
            value_bytes: value_bytes.sum(),
            codec,
        })
    }

    /// A request that appends it.
    pub(crate) fn request(
        &self,
        topic: &str,
        partition: i32,
        durability: broker::Durability,
    ) -> broker::ProduceRequest {
        let plain = request(topic, partition, self.encoded.clone(), durability);
        let compression = match self.codec {
            Compression::None => return plain,
            Compression::Gzip => v1::Compression::Gzip,
            Compression::Snappy => v1::Compression::Snappy,
            Compression::Lz4 => v1::Compression::Lz4,
            Compression::Zstd => v1::Compression::Zstd,
        };
        let data = broker::produce_request::Data::Compressed(self.encoded.clone());
        broker::ProduceRequest {
            data: Some(data),
            compression: compression.into(),
            record_count: self.records as i32,
            ..plain
        }
    }
}

/// Encodes one record for each value.
pub(crate) fn encode(values: impl Iterator<Item = Bytes>) -> Bytes {
    let records = values.map(|value| v1::Record { value: Some(value), ..v1::Record::default() });
    let set = v1::RecordSet { records: records.collect() };
    set.encode_to_vec().into()
}

/// Decodes every record of a delivered batch.
pub(crate) fn decode(batch: broker::RecordBatch) -> Result<Vec<v1::Record>, Failure> {
    match batch.data {
        Some(broker::record_batch::Data::Records(set)) => Ok(v1::RecordSet::decode(set)?.records),
        _ => Err("a batch came in a form that was not asked for".into()),
    }
}

/// A request that appends an encoded record set.
pub(crate) fn request(
    topic: &str,
    partition: i32,
    set: Bytes,
    durability: broker::Durability,
) -> broker::ProduceRequest {
    broker::ProduceRequest {
        topic: topic.to_owned(),
        partition: Some(partition),
        data: Some(broker::produce_request::Data::Records(set)),
        durability: durability.into(),
        ..broker::ProduceRequest::default()
    }
}

/// Bytes that no codec can shrink, the same in every run.
#[derive(Debug)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// xorshift64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn bytes(&mut self, size: usize) -> Bytes {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        words.flatten().take(size).collect::<Vec<u8>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_what_it_says() {
        for (size, records) in [(100, 1000), (1024, 256), (65536, 4), (1 << 20, 1)] {
            let batch = Batch::full(size);
            assert_eq!(batch.records, records);
            assert_eq!(batch.value_bytes, records * size as u64);
            let delivered = broker::RecordBatch {
                data: Some(broker::record_batch::Data::Records(batch.encoded)),
                ..broker::RecordBatch::default()
            };
            let decoded = decode(delivered).unwrap();
            assert_eq!(decoded.len() as u64, records);
            assert!(decoded.iter().all(|r| r.value.as_ref().unwrap().len() == size));
        }
    }
}
