//! What is left is what a plain model leaves, whatever the batches, the codecs and the orders are.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;
use ropewalk_compress::{Compression, compress, decompress};
use ropewalk_proto::v1::{Record, RecordSet};

use super::*;
use crate::batch::{BatchDraft, RecordTimes, StoredBatch, TimestampType};
use crate::expiry::ShortestTtl;
use crate::ids::Offset;
use crate::vectors;

/// A key of few, a value or none, no key at all now and then; and how many ms it lives, if it says.
type Drawn = (Option<u8>, Option<u8>, Option<u64>);

fn record((key, value, ttl): Drawn) -> Record {
    let bytes = |byte: u8| Bytes::from(vec![byte; 3]);
    let ttl = ttl.map(|millis| Duration::from_millis(millis).try_into().unwrap());
    Record { key: key.map(bytes), value: value.map(bytes), ttl, ..Record::default() }
}

fn at(millis: u64) -> Timestamp {
    Timestamp(0).plus(Duration::from_millis(millis))
}

/// One that was appended as many ms after the beginning as its index says.
fn batch(records: &[Drawn], codec: Compression, base: u64, index: u64) -> StoredBatch {
    let mut batch = untimed(records, codec, base, index);
    batch.header.append_time = at(index);
    batch
}

fn untimed(records: &[Drawn], codec: Compression, base: u64, index: u64) -> StoredBatch {
    let ttls = records.iter().filter_map(|(_, _, ttl)| *ttl).map(Duration::from_millis);
    let shortest_ttl = ttls.min().and_then(ShortestTtl::of);
    let records: Vec<_> = records.iter().copied().map(record).collect();
    let count = records.len() as u32;
    let payload = compress(codec, &RecordSet { records }.encode_to_vec());
    packed(&payload, count, codec, (base, index), shortest_ttl)
}

fn packed(
    payload: &[u8],
    count: u32,
    codec: Compression,
    (base, index): (u64, u64),
    shortest_ttl: Option<ShortestTtl>,
) -> StoredBatch {
    let times = RecordTimes { newest: None, untimed: true, shortest_ttl };
    let of = TimestampType::Create;
    let draft = BatchDraft::new(payload, count, codec, of, times, None);
    let sealed = draft.seal(Offset(base), 1, index, Timestamp(index as i64));
    StoredBatch::checked(&sealed.into()).unwrap()
}

/// The records that a batch holds, each with its offset.
fn held(batch: &StoredBatch) -> Vec<(u64, Record)> {
    let records = batch.records();
    let bytes = decompress(batch.header.compression, &records, usize::MAX).unwrap();
    let records = RecordSet::decode(bytes.as_slice()).unwrap().records;
    let all = 0..batch.header.record_count;
    let positions: Vec<u32> = batch.positions().map_or(all.collect(), Iterator::collect);
    assert_eq!(positions.len(), records.len());
    let base = batch.header.base_offset.0;
    positions.into_iter().map(|position| base + u64::from(position)).zip(records).collect()
}

fn compacted(log: &[StoredBatch], clean_up: CleanUp) -> Vec<StoredBatch> {
    let mut keys = KeyMap::new(Offset::ZERO, 1_000, 1 << 20);
    for batch in log {
        assert!(keys_of(batch, |key, offset| keys.note(key, offset)));
    }
    let verdict = Verdict { keys: &keys, clean_up };
    let left = |batch: &StoredBatch| {
        let left = shrink(batch, &verdict).left.unwrap_or_else(|| batch.clone());
        StoredBatch::checked(&left.stored()).unwrap()
    };
    log.iter().map(left).collect()
}

/// The same, said plainly.
fn model(log: &[StoredBatch], clean_up: CleanUp) -> Vec<(u64, Record)> {
    let all = log.iter().flat_map(|batch| held(batch).into_iter().map(move |r| (batch, r)));
    let all: Vec<_> = all.collect();
    let latest: BTreeMap<_, _> =
        all.iter().filter_map(|(_, (at, r))| Some((r.key.clone()?, *at))).collect();
    let stays = |batch: &StoredBatch, at: u64, record: &Record| {
        let header = &batch.header;
        let may_end = header.index < clean_up.lasting_from;
        let is_expired = may_end && header.append_time < clean_up.expired_before;
        let is_old = may_end && header.index < clean_up.tombstones_below;
        let is_latest = record.key.as_ref().is_none_or(|key| latest[key] == at);
        let is_tombstone = record.key.is_some() && record.value.is_none();
        // One whose own time has been over for as long as tombstones stay is such a tombstone.
        let ttl = record.ttl.map(|ttl| Duration::try_from(ttl).unwrap());
        let end = ttl.map(|ttl| header.append_time.plus(ttl));
        let is_over = may_end && end.is_some_and(|end| end < clean_up.ended_before);
        let is_over = is_over && (is_old || record.key.is_none());
        let is_past = is_expired || is_over || (is_tombstone && is_old);
        is_latest && !is_past
    };
    let left = all.into_iter().filter(|(batch, (at, record))| stays(batch, *at, record));
    left.map(|(_, left)| left).collect()
}

fn log() -> impl Strategy<Value = Vec<StoredBatch>> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    let key = prop_oneof![9 => (0..12_u8).prop_map(Some), 1 => Just(Option::None)];
    let value = proptest::option::weighted(0.7, any::<u8>());
    let codec = select(vec![None, None, None, Gzip, Snappy, Lz4, Zstd]);
    // The clocks of leaders differ, and are set back.
    let astray = prop_oneof![3 => Just(0), 1 => -6..12_i64];
    let ttl = proptest::option::weighted(0.3, 1..20_u64);
    vec((vec((key, value, ttl), 1..9), codec, astray), 1..20).prop_map(|drawn| {
        let mut base = 0;
        let batches = drawn.into_iter().zip(6..).map(|((records, codec, astray), index)| {
            let mut batch = batch(&records, codec, base, index);
            batch.header.append_time = at(index.saturating_add_signed(astray));
            base += records.len() as u64;
            batch
        });
        batches.collect()
    })
}

fn clean_up() -> impl Strategy<Value = CleanUp> {
    let time = || (0..30_u64).prop_map(at);
    (0..30_u64, time(), time(), 0..30_u64).prop_map(
        |(tombstones_below, ended_before, expired_before, lasting_from)| CleanUp {
            tombstones_below,
            ended_before,
            expired_before,
            lasting_from,
        },
    )
}

proptest! {
    #[test]
    fn what_is_left_is_what_the_model_leaves(log in log(), clean_up in clean_up()) {
        let left = compacted(&log, clean_up);
        let records: Vec<_> = left.iter().flat_map(held).collect();
        prop_assert_eq!(&records, &model(&log, clean_up));
        for (before, after) in log.iter().zip(&left) {
            let ttls = held(after).into_iter().filter_map(|(_, record)| record.ttl);
            let ttls = ttls.map(|ttl| Duration::try_from(ttl).unwrap());
            prop_assert_eq!(after.header.shortest_ttl, ttls.min().and_then(ShortestTtl::of));
            let (before, after) = (before.header, after.header);
            prop_assert_eq!(before.base_offset, after.base_offset);
            prop_assert_eq!(before.end_offset(), after.end_offset());
            prop_assert_eq!(before.index, after.index);
            prop_assert_eq!(before.payload_crc, after.produced_crc());
        }
        prop_assert_eq!(&compacted(&left, clean_up), &left, "the second time nothing goes");
    }

    #[test]
    fn a_later_order_includes_the_earlier_ones(
        log in log(),
        (one, other) in (clean_up(), clean_up()),
        part in any::<prop::sample::Index>(),
    ) {
        let both = one.max(other);
        let part = part.index(log.len() + 1);
        // One replica has carried out the first order, of a part of the log, and one has not.
        let mut partly = compacted(&log[..part], one);
        partly.extend_from_slice(&log[part..]);
        prop_assert_eq!(compacted(&partly, both), compacted(&log, both));
    }
}

#[test]
fn what_cannot_be_read_stays_as_it_is() {
    let records = [(Some(1), Some(1), None), (Some(1), Some(2), None)];
    let sound = batch(&records, Compression::Zstd, 0, 6);
    let mut payload = sound.payload.to_vec();
    let end = payload.len();
    payload[end - 1] ^= 1;
    let mut header = sound.header;
    (header.payload_crc, header.record_count) = (crc32c::crc32c(&payload), 2);
    let damaged = StoredBatch { header, payload: payload.into() };
    assert_eq!(compacted(std::slice::from_ref(&damaged), CleanUp::NONE), [damaged]);
    // A record that ends in the middle of its value is no tombstone, whoever has packed it.
    let key = [0x0a, 3, b'k', b'k', b'k'];
    let broken: [&[u8]; 4] = [&[0x1a, 0x05, b'v'], &[0x18, 0x05], &[0x1b], &[0x1d, 0, 0]];
    for broken in broken {
        let body = [key.as_slice(), broken].concat();
        let payload = [&[0x0a, body.len() as u8], body.as_slice()].concat();
        for codec in [Compression::None, Compression::Lz4] {
            let batch = packed(&compress(codec, &payload), 1, codec, (0, 6), None);
            let whole = CleanUp { tombstones_below: 9, lasting_from: 9, ..CleanUp::NONE };
            assert_eq!(compacted(std::slice::from_ref(&batch), whole), [batch]);
        }
    }
    let mut miscounted = batch(&[(Some(1), None, None); 2], Compression::None, 0, 6);
    miscounted.header.record_count = 3;
    assert_eq!(compacted(&[miscounted.clone()], CleanUp::NONE), [miscounted]);
}

#[test]
fn a_map_takes_no_more_keys_than_it_has_room_for() {
    let mut keys = KeyMap::new(Offset(100), 1_000, 16 * 100);
    let mut taken = 0;
    while keys.note(&u64::to_be_bytes(taken), Offset(100 + taken)) {
        taken += 1;
    }
    assert_eq!((taken, keys.len()), (85, 85));
    assert!(keys.note(&u64::to_be_bytes(3), Offset(990)), "one that is there is noted again");
    assert_eq!(keys.latest(&u64::to_be_bytes(3)), Some(Offset(990)));
    assert_eq!(keys.latest(&u64::to_be_bytes(84)), Some(Offset(184)));
    assert_eq!(keys.latest(&u64::to_be_bytes(85)), None);
}

#[test]
fn the_stored_forms_stay() {
    let records = [(b'a', b'1'), (b'b', b'2'), (b'a', b'3')];
    let records = records.map(|(key, value)| (Some(key), Some(value), None));
    let log = [untimed(&records, Compression::None, 0x0102, 0x0405)];
    let left = compacted(&log, CleanUp::NONE).pop().unwrap();
    let expected = vectors::read("batch-v3.hex");
    assert_eq!(expected, [left.stored()]);
    let clean_up = CleanUp {
        tombstones_below: 0x0102,
        ended_before: Timestamp(0x0506),
        expired_before: Timestamp(-2),
        lasting_from: 0x0304,
    };
    let order = crate::entry::Entry::encode_compact(&clean_up);
    assert_eq!(vectors::read("entry-compact-v1.hex"), std::slice::from_ref(&order));
    let read = crate::entry::Entry::decode(&Bytes::from(order)).unwrap();
    assert_eq!(read, crate::entry::Entry::Compact(clean_up));
}
