//! The stored form stays, and whatever is not it is refused.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::vectors;

/// Two records: key "a" and value "1"; value "2" and the time 1 s.
const PAYLOAD: &[u8] = b"\x0a\x06\x0a\x01a\x1a\x011\x0a\x07\x1a\x012\x32\x02\x08\x01";

fn draft(timestamp_type: TimestampType, times: RecordTimes) -> BatchDraft {
    BatchDraft::new(PAYLOAD, 2, Compression::None, timestamp_type, times, None)
}

fn newest(timestamp_type: TimestampType, newest: Option<i64>, untimed: bool) -> i64 {
    let times = RecordTimes { newest: newest.map(Timestamp), untimed, shortest_ttl: None };
    let sealed = draft(timestamp_type, times).seal(Offset::ZERO, 1, 1, Timestamp(100));
    BatchHeader::read(&sealed).unwrap().max_timestamp.0
}

#[test]
fn the_stored_form_of_version_1_stays() {
    let times =
        RecordTimes { newest: Some(Timestamp(1_000_000_000)), untimed: true, shortest_ttl: None };
    let append_time = Timestamp(1_700_000_000_123_456_789);
    let sealed =
        draft(TimestampType::Create, times).seal(Offset(0x0102), 0x03, 0x0405, append_time);
    assert_eq!(vectors::read("batch-v1.hex"), std::slice::from_ref(&sealed));
    let batch = StoredBatch::checked(&Bytes::from(sealed)).unwrap();
    assert_eq!(batch.payload, PAYLOAD);
    assert_eq!(batch.header.max_timestamp, append_time);
    assert_eq!(batch.header.end_offset(), Offset(0x0104));
}

#[test]
fn the_newest_time_counts_the_append_time_where_records_have_it() {
    use TimestampType::{Append, Create};
    assert_eq!(newest(Create, Some(7), false), 7);
    assert_eq!(newest(Create, Some(7), true), 100);
    assert_eq!(newest(Create, Some(700), true), 700);
    assert_eq!(newest(Create, None, true), 100);
    assert_eq!(newest(Append, Some(700), false), 100);
}

#[test]
fn every_changed_bit_is_noticed() {
    let draft = draft(TimestampType::Create, RecordTimes::default());
    assert_eq!((draft.record_count(), draft.is_empty()), (2, false));
    assert_eq!(draft.len(), PLAIN_BYTES + PAYLOAD.len());
    let sealed = draft.seal(Offset(1), 2, 3, Timestamp(4));
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(StoredBatch::checked(&changed.into()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_missing_or_added_byte_is_noticed() {
    let draft = draft(TimestampType::Create, RecordTimes::default());
    let sealed = Bytes::from(draft.seal(Offset(1), 2, 3, Timestamp(4)));
    for end in 0..sealed.len() {
        let short = StoredBatch::trusted(&sealed.slice(..end));
        assert!(matches!(short, Err(BatchError::Length { .. })), "{end}");
    }
    let longer = Bytes::from([sealed.as_ref(), b"\0"].concat());
    assert_eq!(
        StoredBatch::trusted(&longer),
        Err(BatchError::Length { expected: sealed.len(), actual: sealed.len() + 1 })
    );
}

#[test]
fn what_a_later_version_wrote_is_named() {
    let draft = draft(TimestampType::Create, RecordTimes::default());
    let sealed = draft.seal(Offset(1), 2, 3, Timestamp(4));
    let names = ["entry kind", "batch format version", "compression", "timestamp type"];
    for (at, what) in names.into_iter().enumerate() {
        let mut other = sealed.clone();
        other[at] = 9;
        let crc = crc32c::crc32c(&other[..60]);
        other[60..64].copy_from_slice(&crc.to_le_bytes());
        let refused = BatchError::Unknown { what, value: 9 };
        assert_eq!(StoredBatch::trusted(&other.into()), Err(refused));
    }
}

/// Versions are told apart by the sequence.
const SEQUENCE: ProducerSequence =
    ProducerSequence { producer: ProducerId(0x0708), epoch: 9, first: 0x0a0b };

#[test]
fn the_stored_form_of_version_2_stays() {
    let times =
        RecordTimes { newest: Some(Timestamp(1_000_000_000)), untimed: true, shortest_ttl: None };
    let (codec, of) = (Compression::None, TimestampType::Create);
    let draft = BatchDraft::new(PAYLOAD, 2, codec, of, times, Some(SEQUENCE));
    let append_time = Timestamp(1_700_000_000_123_456_789);
    let sealed = draft.seal(Offset(0x0102), 0x03, 0x0405, append_time);
    assert_eq!(vectors::read("batch-v2.hex"), std::slice::from_ref(&sealed));
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(StoredBatch::checked(&changed.into()).is_err(), "bit {bit}");
    }
    let batch = StoredBatch::checked(&Bytes::from(sealed)).unwrap();
    assert_eq!((batch.payload.as_ref(), batch.header.sequence), (PAYLOAD, Some(SEQUENCE)));
}

#[test]
fn the_stored_forms_with_times_to_live_stay() {
    let vectors = vectors::read("batch-v5.hex");
    let batches: Vec<_> = vectors
        .iter()
        .map(|stored| StoredBatch::checked(&Bytes::copy_from_slice(stored)).unwrap())
        .collect();
    let [plain, sequenced, compacted, both] = &batches[..] else { panic!("four of them") };
    for (stored, batch) in vectors.iter().zip(&batches) {
        assert_eq!(batch.stored(), stored);
        let header = batch.header;
        assert_eq!(header.shortest_ttl.map(ShortestTtl::millis), Some(2_500));
        assert_eq!((header.end_offset(), header.index), (Offset(0x0104), 0x0405));
        for bit in 0..stored.len() * 8 {
            let mut changed = stored.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(StoredBatch::checked(&changed.into()).is_err(), "bit {bit}");
        }
    }
    let held = [plain, sequenced, compacted, both].map(|batch| batch.held().collect::<Vec<_>>());
    assert_eq!(held, [vec![0, 1], vec![0, 1], vec![0], vec![0]]);
    let sequences = [plain, sequenced, compacted, both].map(|batch| batch.header.sequence);
    assert_eq!(sequences, [None, Some(SEQUENCE), None, Some(SEQUENCE)]);
    assert_eq!(compacted.header.produced_crc(), plain.header.payload_crc);

    let shortest_ttl = ShortestTtl::from_millis(2_500);
    let newest = Some(Timestamp(1_000_000_000));
    let times = RecordTimes { newest, untimed: true, shortest_ttl };
    let (codec, of) = (Compression::None, TimestampType::Create);
    let draft = BatchDraft::new(&plain.payload, 2, codec, of, times, None);
    let append_time = Timestamp(1_700_000_000_123_456_789);
    assert_eq!(draft.seal(Offset(0x0102), 0x03, 0x0405, append_time), vectors[0]);

    let mut none = vectors[0].clone();
    none[56..60].fill(0);
    let crc = crc32c::crc32c(&none[..60]);
    none[60..64].copy_from_slice(&crc.to_le_bytes());
    let refused = BatchError::Unknown { what: "time to live", value: 0 };
    assert_eq!(StoredBatch::trusted(&none.into()), Err(refused));
}

fn sequence() -> impl Strategy<Value = Option<ProducerSequence>> {
    option::of(any::<(u64, u32, u32)>().prop_map(|(producer, epoch, first)| {
        let producer = ProducerId(producer);
        ProducerSequence { producer, epoch, first }
    }))
}

fn compression() -> impl Strategy<Value = Compression> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    select(vec![None, Gzip, Snappy, Lz4, Zstd])
}

fn timestamp_type() -> impl Strategy<Value = TimestampType> {
    select(vec![TimestampType::Create, TimestampType::Append])
}

fn times() -> impl Strategy<Value = RecordTimes> {
    (option::of(any::<i64>()), any::<bool>(), any::<u32>()).prop_map(|(newest, untimed, ttl)| {
        let shortest_ttl = ShortestTtl::from_millis(ttl % 4);
        RecordTimes { newest: newest.map(Timestamp), untimed, shortest_ttl }
    })
}

proptest! {
    #[test]
    fn headers_round_trip(
        (compression, timestamp_type) in (compression(), timestamp_type()),
        (record_count, payload_crc) in any::<(u32, u32)>(),
        (append_time, max_timestamp) in any::<(i64, i64)>(),
        (base_offset, leader_epoch, index) in any::<(u64, u64, u64)>(),
        sequence in sequence(),
        remains in option::of((any::<u32>(), 0..=3_u32, any::<u32>())),
        shortest_ttl in option::of(any::<u32>()),
    ) {
        let remains = remains.map(|(records, positions_bytes, produced_crc)| {
            Remains { records, positions_bytes, produced_crc }
        });
        let header = BatchHeader {
            compression,
            timestamp_type,
            record_count,
            payload_bytes: 3,
            payload_crc,
            append_time: Timestamp(append_time),
            max_timestamp: Timestamp(max_timestamp),
            base_offset: Offset(base_offset),
            leader_epoch,
            index,
            sequence,
            remains,
            shortest_ttl: shortest_ttl.and_then(ShortestTtl::from_millis),
        };
        let mut bytes = vec![0xff; header.stored_len() + 3];
        header.write(&mut bytes);
        prop_assert_eq!(BatchHeader::read(&bytes), Ok(header));
    }

    #[test]
    fn sealed_batches_round_trip_and_notice_damage(
        payload in vec(any::<u8>(), 0..300),
        compression in compression(),
        (timestamp_type, times) in (timestamp_type(), times()),
        (record_count, sequence) in (any::<u32>(), sequence()),
        (offset, epoch, index, append_time) in any::<(u64, u64, u64, i64)>(),
        (damaged, bit) in (any::<Index>(), 0_u8..8),
    ) {
        let draft =
            BatchDraft::new(&payload, record_count, compression, timestamp_type, times, sequence);
        let sealed = draft.seal(Offset(offset), epoch, index, Timestamp(append_time));
        let batch = StoredBatch::checked(&sealed.clone().into()).unwrap();
        let header = batch.header;
        prop_assert_eq!(&batch.payload, &payload);
        prop_assert_eq!(header.compression, compression);
        prop_assert_eq!(header.timestamp_type, timestamp_type);
        prop_assert_eq!(header.record_count, record_count);
        prop_assert_eq!(header.base_offset, Offset(offset));
        prop_assert_eq!((header.leader_epoch, header.index), (epoch, index));
        prop_assert_eq!(header.append_time, Timestamp(append_time));

        let mut changed = sealed;
        let at = damaged.index(changed.len());
        changed[at] ^= 1 << bit;
        prop_assert!(StoredBatch::checked(&changed.into()).is_err());
    }

    #[test]
    fn a_draft_that_went_to_another_broker_seals_to_the_same_bytes(
        payload in vec(any::<u8>(), 0..300),
        compression in compression(),
        (timestamp_type, times) in (timestamp_type(), times()),
        (record_count, sequence) in (any::<u32>(), sequence()),
    ) {
        let draft = || {
            BatchDraft::new(&payload, record_count, compression, timestamp_type, times, sequence)
        };
        let sealed = |draft: BatchDraft| draft.seal(Offset(9), 2, 3, Timestamp(4));
        let mut parts = draft().into_parts();
        let there = BatchDraft::from_parts(&parts).unwrap();
        let stored = sealed(draft());
        prop_assert_eq!(&sealed(there), &stored);
        parts.payload_crc ^= 1;
        let refused = BatchDraft::from_parts(&parts).unwrap_err();
        prop_assert_eq!(refused, BatchError::Checksum("batch payload"));

        let batch = StoredBatch::checked(&stored.into()).unwrap();
        let header = batch.header_bytes();
        let joined = StoredBatch::from_parts(&header, batch.payload.clone());
        prop_assert_eq!(joined.as_ref(), Ok(&batch));
        prop_assert!(StoredBatch::from_parts(&header[1..], batch.payload.clone()).is_err());
        let longer = Bytes::from([&batch.payload[..], b"x"].concat());
        prop_assert!(StoredBatch::from_parts(&header, longer).is_err());
    }

    #[test]
    fn random_bytes_are_no_batch(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(StoredBatch::checked(&bytes.into()).is_err());
    }
}
