//! Requests and their parts, made briefly.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ropewalk_core::{Compression, compress};
use ropewalk_proto::v1;
use v1::produce_request::Data;

pub(crate) fn value_record(value: &[u8]) -> v1::Record {
    v1::Record { value: Some(Bytes::copy_from_slice(value)), ..Default::default() }
}

pub(crate) fn keyed_record(key: &[u8], value: &[u8]) -> v1::Record {
    v1::Record { key: Some(Bytes::copy_from_slice(key)), ..value_record(value) }
}

pub(crate) fn timed_record(value: &[u8], millis: i64) -> v1::Record {
    v1::Record { timestamp: Some(time(millis)), ..value_record(value) }
}

/// A record whose encoded form has exactly this many bytes.
pub(crate) fn record_of_size(bytes: usize) -> v1::Record {
    let size_with = |payload| v1::Record::encoded_len(&value_record(&vec![b'x'; payload]));
    let payload = (bytes.saturating_sub(8)..bytes).find(|payload| size_with(*payload) == bytes);
    value_record(&vec![b'x'; payload.expect("every size from 2 can be made")])
}

pub(crate) fn time(millis: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(millis.rem_euclid(1000)).unwrap() * 1_000_000;
    prost_types::Timestamp { seconds: millis.div_euclid(1000), nanos }
}

pub(crate) fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap()
}

/// An append to one partition.
pub(crate) fn produce(topic: &str, partition: i32, records: Vec<v1::Record>) -> v1::ProduceRequest {
    v1::ProduceRequest { partition: Some(partition), ..place(topic, records) }
}

/// An append whose records the broker places.
pub(crate) fn place(topic: &str, records: Vec<v1::Record>) -> v1::ProduceRequest {
    v1::ProduceRequest {
        topic: topic.to_owned(),
        data: Some(Data::Records(v1::RecordSet { records })),
        ..Default::default()
    }
}

/// The codecs, as the contract and as the core name them.
pub(crate) const CODECS: [(v1::Compression, Compression); 4] = [
    (v1::Compression::Gzip, Compression::Gzip),
    (v1::Compression::Snappy, Compression::Snappy),
    (v1::Compression::Lz4, Compression::Lz4),
    (v1::Compression::Zstd, Compression::Zstd),
];

/// An append of bytes that are said to be compressed.
pub(crate) fn produce_compressed(
    topic: &str,
    partition: i32,
    codec: v1::Compression,
    bytes: impl Into<Bytes>,
    record_count: i32,
) -> v1::ProduceRequest {
    v1::ProduceRequest {
        topic: topic.to_owned(),
        partition: Some(partition),
        data: Some(Data::Compressed(bytes.into())),
        compression: codec.into(),
        record_count,
        ..Default::default()
    }
}

pub(crate) fn compressed(codec: Compression, records: Vec<v1::Record>) -> Vec<u8> {
    compress::compress(codec, &v1::RecordSet { records }.encode_to_vec())
}

pub(crate) fn commit_request(group: &str, offsets: &[(&str, i32, i64)]) -> v1::CommitOffsetRequest {
    let offsets = offsets.iter().map(|(topic, partition, offset)| v1::CommittedOffset {
        topic: (*topic).to_owned(),
        partition: *partition,
        offset: *offset,
        ..Default::default()
    });
    v1::CommitOffsetRequest {
        group: group.to_owned(),
        offsets: offsets.collect(),
        ..Default::default()
    }
}

pub(crate) fn query(
    topic: &str,
    partition: Option<i32>,
    position: v1::offset_query::Position,
) -> v1::ListOffsetsRequest {
    let query = v1::OffsetQuery { topic: topic.to_owned(), partition, position: Some(position) };
    v1::ListOffsetsRequest { queries: vec![query] }
}
