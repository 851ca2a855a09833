//! What a reader gets of a batch, with real encoded records.

use std::time::Duration;

use prost::Message;
use ropewalk_cluster::TopicSettings;
use ropewalk_core::compress::compress;
use ropewalk_core::expiry::Expiry;
use ropewalk_core::{
    Compression, Offset, PartitionId, ShortestTtl, StoredBatch, Timestamp, limits,
};
use ropewalk_proto::v1::{Record, RecordSet};

use crate::delivery::{
    Accepted, Delivery, DeliveryError, DeliveryOptions, deliver, deliver_living, find_time,
    most_memory,
};
use crate::ingest::{Payload, place, prepare};

const WHOLE: Offset = Offset(u64::MAX);

fn set(values: std::ops::Range<u32>) -> RecordSet {
    let time = |n: u32| prost_types::Timestamp { seconds: i64::from(n) * 10, nanos: 0 };
    let record = |n: u32| Record {
        key_text: Some(format!("k{n}")),
        text: Some(format!("value {n}")),
        timestamp: Some(time(n)),
        ..Record::default()
    };
    RecordSet { records: values.map(record).collect() }
}

fn stored(payload: &Payload, base: u64) -> StoredBatch {
    let draft = prepare(payload, None, &TopicSettings::default()).unwrap();
    let bytes = draft.seal(Offset(base), 6, 9, Timestamp::from_parts(1_000, 0));
    StoredBatch::checked(&bytes.into()).unwrap()
}

fn plain(base: u64) -> StoredBatch {
    stored(&Payload::Records(set(0..10).encode_to_vec().into()), base)
}

fn compressed(codec: Compression, record_count: u32) -> StoredBatch {
    let records =
        prepare(&Payload::Records(set(0..10).encode_to_vec().into()), None, &<_>::default());
    let normal = StoredBatch::checked(&records.unwrap().seal(Offset(0), 1, 1, Timestamp(0)).into());
    let bytes = compress(codec, &normal.unwrap().payload).into();
    stored(&Payload::Compressed { codec, bytes, record_count, shortest_ttl: None }, 100)
}

fn options(max_bytes: usize) -> DeliveryOptions {
    DeliveryOptions { accepted: Accepted::default(), text: false, max_bytes }
}

/// The values of a delivery, with their offsets.
fn values(deliveries: &[Delivery]) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for delivery in deliveries {
        let records = RecordSet::decode(delivery.payload.clone()).unwrap().records;
        assert_eq!(records.len(), delivery.record_count as usize);
        for (at, record) in (0..).zip(records) {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.push((delivery.base_offset.0 + at, value));
        }
    }
    found
}

fn expected(range: std::ops::Range<u32>) -> Vec<(u64, String)> {
    range.map(|n| (100 + u64::from(n), format!("value {n}"))).collect()
}

#[test]
fn a_batch_is_cut_to_the_offsets_and_the_size_that_a_reader_wants() {
    let batch = plain(100);
    let all = deliver(&batch, Offset(0), WHOLE, &options(1 << 20)).unwrap();
    assert_eq!((all.len(), values(&all)), (1, expected(0..10)));
    let middle = deliver(&batch, Offset(103), Offset(107), &options(1 << 20)).unwrap();
    assert_eq!(values(&middle), expected(3..7));
    let small = deliver(&batch, Offset(101), WHOLE, &options(60)).unwrap();
    assert!(small.len() > 2 && small.iter().all(|piece| piece.payload.len() <= 60));
    assert_eq!(values(&small), expected(1..10));
    let single = deliver(&batch, Offset(100), Offset(102), &options(1)).unwrap();
    assert_eq!(single.len(), 2, "one record alone is delivered, however large");
}

#[test]
fn text_is_given_as_text() {
    let text = DeliveryOptions { text: true, ..options(1 << 20) };
    let delivery = deliver(&plain(100), Offset(0), WHOLE, &text).unwrap().remove(0);
    let records = RecordSet::decode(delivery.payload).unwrap();
    assert_eq!(records, set(0..10));
}

#[test]
fn a_compressed_batch_goes_as_it_is_to_whoever_accepts_its_codec_and_wants_it_whole() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let batch = compressed(codec, 10);
        let mut accepted = Accepted::default();
        accepted.insert(codec);
        let accepting = DeliveryOptions { accepted, ..options(1 << 20) };
        let raw = deliver(&batch, Offset(0), WHOLE, &accepting).unwrap();
        assert_eq!((raw.len(), raw[0].compression), (1, codec));
        assert_eq!(raw[0].payload, batch.payload);
        let part = deliver(&batch, Offset(105), WHOLE, &accepting).unwrap();
        assert_eq!((part[0].compression, values(&part)), (Compression::None, expected(5..10)));
        let other = deliver(&batch, Offset(0), WHOLE, &options(1 << 20)).unwrap();
        assert_eq!(values(&other), expected(0..10));
    }
}

#[test]
fn a_compressed_batch_that_lies_about_its_records_is_not_delivered_as_if_it_did_not() {
    let batch = compressed(Compression::Zstd, 9);
    let result = deliver(&batch, Offset(0), WHOLE, &options(1 << 20));
    assert!(matches!(result, Err(DeliveryError::Count { expected: 9, .. })));
}

/// Ten records of which every second lives for so many seconds as it stands behind the first, and
/// one more.
fn ending(codec: Compression) -> StoredBatch {
    let mut set = set(0..10);
    for (n, record) in (1..).zip(&mut set.records).step_by(2) {
        record.ttl = Some(prost_types::Duration { seconds: n, nanos: 0 });
    }
    let bytes = set.encode_to_vec();
    let payload = match codec {
        Compression::None => Payload::Records(bytes.into()),
        codec => Payload::Compressed {
            codec,
            bytes: compress(codec, &bytes).into(),
            record_count: 10,
            shortest_ttl: ShortestTtl::of(Duration::from_secs(1)),
        },
    };
    stored(&payload, 100)
}

#[test]
fn records_whose_time_is_over_are_left_out_and_nothing_else_changes() {
    let at = |seconds: i64| Timestamp::from_parts(1_000 + seconds, 0);
    for codec in [Compression::None, Compression::Zstd] {
        let batch = ending(codec);
        let mut accepted = Accepted::default();
        accepted.insert(codec);
        let options = DeliveryOptions { accepted, ..options(1 << 20) };
        let get = |seconds, keeps_keys, from: u64| {
            let expiry = Expiry { now: at(seconds), keeps_keys };
            deliver_living(&batch, expiry, Offset(from), WHOLE, &options).unwrap()
        };
        let same = get(1, false, 0);
        assert_eq!((same[0].compression, &same[0].offsets), (codec, &None));
        assert_eq!(same[0].payload, batch.payload, "nothing is over yet: the very same bytes");

        let left = get(4, false, 101);
        let offsets: Vec<_> = [1, 3, 4, 5, 6, 7, 8, 9].map(|n| Offset(100 + n)).into();
        assert_eq!((left[0].compression, left[0].record_count), (Compression::None, 8));
        assert_eq!(left[0].offsets, Some(offsets));
        let records = RecordSet::decode(left[0].payload.clone()).unwrap().records;
        assert_eq!(records[2].value.as_deref(), Some(b"value 4".as_slice()));
        assert_eq!(records[2].ttl, Some(prost_types::Duration { seconds: 5, nanos: 0 }));

        let kept = get(4, true, 0);
        let records = RecordSet::decode(kept[0].payload.clone()).unwrap().records;
        let tombstones: Vec<_> =
            (0..).zip(&records).filter(|(_, record)| record.value.is_none()).collect();
        assert_eq!(tombstones.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(tombstones[1].1.key.as_deref(), Some(b"k2".as_slice()));
        assert_eq!(get(100, false, 0)[0].record_count, 5);
    }
}

/// Whatever is held at the same time counts: what was decompressed, and what is made of it.
#[test]
fn memory_is_asked_for_what_a_delivery_takes_at_its_peak() {
    let most = |batch: &StoredBatch, may_expire, text| {
        most_memory(batch, may_expire, &DeliveryOptions { text, ..options(1 << 20) })
    };
    let (plain, zstd) = (ending(Compression::None), ending(Compression::Zstd));
    let (whole, places) = (limits::MAX_DECOMPRESSED_BYTES, 10 * 21);
    assert_eq!(most(&zstd, false, false), whole);
    assert_eq!(most(&zstd, false, true), 2 * whole);
    assert_eq!(most(&zstd, true, true), 2 * whole + places);
    assert_eq!(most(&plain, true, false), plain.payload.len() + places);
    let mut countless = zstd;
    countless.header.record_count = limits::MAX_COMPRESSED_RECORDS;
    let half = limits::DECOMPRESSED_BUDGET / 2;
    assert_eq!(most(&countless, true, false), half, "others have some, too");

    let expiry = Expiry { now: Timestamp::MAX, keeps_keys: true };
    let deliveries = deliver_living(&plain, expiry, Offset(0), WHOLE, &options(20)).unwrap();
    let taken: usize = deliveries.iter().map(Delivery::bytes).sum();
    let payloads: usize = deliveries.iter().map(|delivery| delivery.payload.len()).sum();
    assert_eq!(taken, payloads + 10 * 8, "the offsets too");
    assert!(taken <= most(&plain, true, false));
}

#[test]
fn a_time_is_found_within_a_batch_from_an_offset_on() {
    let at = |seconds| Timestamp::from_parts(seconds, 0);
    let batch = plain(100);
    assert_eq!(find_time(&batch, Offset(0), at(35)), Some((Offset(104), at(40))));
    assert_eq!(find_time(&batch, Offset(106), at(35)), Some((Offset(106), at(60))));
    assert_eq!(find_time(&batch, Offset(0), at(91)), None);
}

#[test]
fn records_are_placed_by_key_and_keep_their_order() {
    let records = set(0..10).encode_to_vec().into();
    let placed = place(&records, 3, PartitionId(1));
    let mut indexes: Vec<_> = placed.iter().flat_map(|part| part.indexes.clone()).collect();
    assert!(placed.iter().all(|part| part.indexes.is_sorted()));
    indexes.sort_unstable();
    assert_eq!(indexes, (0..10).collect::<Vec<_>>());
    for part in &placed {
        for record in RecordSet::decode(part.records.clone()).unwrap().records {
            let key = record.key_text.unwrap();
            let own = ropewalk_core::partitioner::partition_of(key.as_bytes(), 3);
            assert_eq!(own, part.partition);
        }
    }
    let keyless = RecordSet { records: vec![Record::default(); 2] }.encode_to_vec().into();
    let placed = place(&keyless, 3, PartitionId(1));
    assert_eq!((placed.len(), placed[0].partition), (1, PartitionId(1)));
    assert!(placed[0].indexes.is_empty());
}
