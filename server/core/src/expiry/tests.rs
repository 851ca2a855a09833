//! What is left is what a plain model leaves, whatever the batches are.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use ropewalk_compress::Compression;
use ropewalk_proto::v1::{Record, RecordSet};

use super::*;
use crate::batch::{BatchDraft, RecordTimes, TimestampType};
use crate::ids::Offset;

/// When the batches were appended, in ms.
const APPENDED: u64 = 1_000;

fn at(millis: u64) -> Timestamp {
    Timestamp(0).plus(Duration::from_millis(millis))
}

/// A key or none, a value or none, and how many ms it lives if that is said.
type Drawn = (Option<u8>, Option<u8>, Option<u64>);

fn record((key, value, ttl): Drawn) -> Record {
    let bytes = |byte: u8| Bytes::from(vec![byte; 3]);
    let ttl = ttl.map(|millis| Duration::from_millis(millis).try_into().unwrap());
    Record { key: key.map(bytes), value: value.map(bytes), ttl, ..Record::default() }
}

/// A batch that says `shortest` of its records, whatever they have.
fn batch(records: &[Drawn], shortest: Option<u64>) -> StoredBatch {
    let count = records.len() as u32;
    let records = records.iter().copied().map(record).collect();
    let payload = RecordSet { records }.encode_to_vec();
    let shortest_ttl = shortest.map(Duration::from_millis).and_then(ShortestTtl::of);
    let times = RecordTimes { newest: None, untimed: true, shortest_ttl };
    let (codec, of) = (Compression::None, TimestampType::Create);
    let draft = BatchDraft::new(&payload, count, codec, of, times, None);
    StoredBatch::checked(&draft.seal(Offset(100), 1, 6, at(APPENDED)).into()).unwrap()
}

/// The records that a batch holds, with their offsets.
fn held(batch: &StoredBatch) -> Vec<(u64, Record)> {
    let records = RecordSet::decode(batch.records()).unwrap().records;
    let offsets = batch.held().map(|position| 100 + u64::from(position));
    assert_eq!(records.len(), batch.held().count());
    offsets.zip(records).collect()
}

/// What is delivered, said plainly.
fn model(records: &[Drawn], shortest: Option<u64>, expiry: Expiry) -> Vec<(u64, Record)> {
    let mut left = Vec::new();
    for (offset, (key, value, ttl)) in (100..).zip(records.iter().copied()) {
        let end = shortest.zip(ttl).map(|(shortest, ttl)| at(APPENDED + ttl.max(shortest)));
        if end.is_none_or(|end| end >= expiry.now) {
            left.push((offset, record((key, value, ttl))));
        } else if expiry.keeps_keys && key.is_some() {
            left.push((offset, record((key, None, ttl))));
        }
    }
    left
}

proptest! {
    #[test]
    fn what_is_left_is_what_the_model_leaves(
        records in vec((option::of(0..3_u8), option::of(any::<u8>()), option::of(1..9_u64)), 1..9),
        said in option::of(1..9_u64),
        is_honest: bool,
        (now, keeps_keys) in (APPENDED - 1..APPENDED + 10, any::<bool>()),
    ) {
        // The broker finds it, or a producer says it.
        let found = records.iter().filter_map(|(_, _, ttl)| *ttl).min();
        let shortest = if is_honest { found } else { said };
        let batch = batch(&records, shortest);
        let expiry = Expiry { now: at(now), keeps_keys };
        let left = living(&batch, &batch.records(), expiry);
        prop_assert!(left.is_none() || batch.header.may_have_expired(expiry.now));
        let left = left.unwrap_or_else(|| batch.clone());
        prop_assert_eq!(StoredBatch::checked(&left.stored()), Ok(left.clone()));
        prop_assert_eq!(held(&left), model(&records, shortest, expiry));
        prop_assert_eq!(left.header.end_offset(), batch.header.end_offset());
        // Of one that nobody else holds, as a copy has just what it needs.
        if let Some(left) = living(&batch, &batch.records(), expiry) {
            let payload = Vec::from(left.payload);
            prop_assert_eq!(payload.capacity(), payload.len(), "it holds no more than it must");
        }
        if left.header != batch.header {
            let again = living(&left, &left.records(), expiry).unwrap_or_else(|| left.clone());
            prop_assert_eq!(held(&again), held(&left));
        }
    }
}

#[test]
fn a_record_is_there_until_its_time_is_over_and_not_longer() {
    let batch = batch(&[(None, Some(1), Some(5)), (None, Some(2), None)], Some(5));
    let (last, over) = (at(APPENDED + 5), Timestamp(at(APPENDED + 5).0 + 1));
    assert!(!batch.header.may_have_expired(last));
    assert!(batch.header.may_have_expired(over));
    let left = |now| living(&batch, &batch.records(), Expiry { now, keeps_keys: false });
    assert_eq!(left(last), None);
    let left = left(over).unwrap();
    assert_eq!(held(&left), [(101, record((None, Some(2), None)))]);
}

#[test]
fn no_time_is_too_long() {
    let batch = batch(&[(None, Some(1), Some(u64::MAX / 1_000_000))], Some(u64::MAX));
    assert_eq!(batch.header.shortest_ttl.map(ShortestTtl::millis), Some(u32::MAX));
    assert!(batch.header.may_have_expired(Timestamp::MAX));
    let expiry = Expiry { now: Timestamp::MAX, keeps_keys: false };
    assert_eq!(living(&batch, &batch.records(), expiry), None);
}
