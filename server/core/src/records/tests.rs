//! Examples, and properties that hold the bytes against prost.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use ropewalk_proto::v1::{Header, Record, RecordSet};

use super::*;
use crate::batch::RecordTimes;
use crate::expiry::ShortestTtl;
use crate::limits::MAX_RECORD_HEADER_BYTES;
use crate::time::Timestamp;

const NO_LIMIT: usize = usize::MAX;

fn payload(records: &[Record]) -> Vec<u8> {
    let records = records.to_vec();
    RecordSet { records }.encode_to_vec()
}

fn decode(payload: &[u8]) -> Vec<Record> {
    RecordSet::decode(payload).unwrap().records
}

/// A payload of one record with this encoding.
fn one(body: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x0a];
    prost::encoding::encode_varint(body.len() as u64, &mut payload);
    payload.extend_from_slice(body);
    payload
}

fn refusal(body: &[u8]) -> RecordsError {
    inspect(&one(body), NO_LIMIT).unwrap_err()
}

fn detail(body: &[u8]) -> &'static str {
    match refusal(body) {
        RecordsError::Corrupt { record: 0, detail } => detail,
        other => panic!("{other:?}"),
    }
}

fn keyed(key: &'static str, value: &'static str) -> Record {
    Record {
        key: Some(Bytes::from_static(key.as_bytes())),
        value: Some(Bytes::from_static(value.as_bytes())),
        ..Record::default()
    }
}

fn at(seconds: i64, nanos: i32) -> Record {
    Record { timestamp: Some(prost_types::Timestamp { seconds, nanos }), ..keyed("k", "v") }
}

fn lives(seconds: i64, nanos: i32) -> Record {
    Record { ttl: Some(prost_types::Duration { seconds, nanos }), ..keyed("k", "v") }
}

fn texts() -> Record {
    Record {
        key_text: Some("k".into()),
        text: Some("v".into()),
        headers: vec![Header { key: "h".into(), text: Some("x".into()), ..Header::default() }],
        ..Record::default()
    }
}

#[test]
fn a_payload_tells_what_is_in_it() {
    let set = payload(&[keyed("a", "1"), at(7, 5), Record::default()]);
    let inspection = Inspection {
        record_count: 3,
        times: RecordTimes {
            newest: Some(Timestamp(7_000_000_005)),
            untimed: true,
            shortest_ttl: None,
        },
        has_text: false,
        has_timestamps: true,
        keyless: Some(2),
        short_lived: None,
        largest_record: at(7, 5).encoded_len(),
    };
    assert_eq!(inspect(&set, NO_LIMIT), Ok(inspection));
    assert!(inspect(&payload(&[texts()]), NO_LIMIT).unwrap().has_text);
}

#[test]
fn a_batch_has_at_least_one_record() {
    assert_eq!(inspect(b"", NO_LIMIT), Err(RecordsError::Empty));
}

#[test]
fn the_limit_of_a_record_counts_its_own_encoding() {
    let set = payload(&[keyed("a", "1"), keyed("a", "12")]);
    assert_eq!(inspect(&set, 7).unwrap().largest_record, 7);
    let refused = RecordsError::RecordTooLarge { record: 1, limit: 6, actual: 7 };
    assert_eq!(inspect(&set, 6), Err(refused));
}

#[test]
fn the_limit_of_headers_counts_names_values_and_their_frames() {
    let header =
        |bytes| Header { key: "h".into(), value: Some(vec![0; bytes].into()), ..Header::default() };
    // Tag and length of the header, its name, tag and length of its value.
    let room = MAX_RECORD_HEADER_BYTES - 4 - 3 - 4;
    let with = |headers| {
        let record = Record { headers, ..Record::default() };
        inspect(&payload(&[Record::default(), record]), NO_LIMIT)
    };
    assert!(with(vec![header(room)]).is_ok());
    let refused = RecordsError::HeadersTooLarge {
        record: 1,
        limit: MAX_RECORD_HEADER_BYTES,
        actual: MAX_RECORD_HEADER_BYTES + 1,
    };
    assert_eq!(with(vec![header(room + 1)]), Err(refused));
    let many = vec![Header::default(); MAX_RECORD_HEADER_BYTES / 2 + 1];
    assert!(matches!(with(many), Err(RecordsError::HeadersTooLarge { .. })));
}

#[test]
fn two_forms_of_one_thing_are_a_conflict() {
    let both = |body: &[u8]| match refusal(body) {
        RecordsError::Conflict { record: 0, detail } => detail,
        other => panic!("{other:?}"),
    };
    assert_eq!(both(b"\x0a\x01a\x12\x01a"), "both key and key_text");
    assert_eq!(both(b"\x22\x01a\x1a\x00"), "both value and text");
    assert_eq!(both(b"\x2a\x04\x12\x00\x1a\x00"), "a header with both value and text");
}

#[test]
fn malformed_records_are_refused() {
    let wrong_type = "a field has the wrong wire type";
    assert_eq!(detail(b"\x08\x01"), wrong_type);
    assert_eq!(detail(b"\x1d1234"), wrong_type);
    assert_eq!(detail(b"\x29abcdefgh"), wrong_type);
    assert_eq!(detail(b"\x30\x01"), wrong_type);
    assert_eq!(detail(b"\x2a\x02\x10\x01"), wrong_type);
    assert_eq!(detail(b"\x12\x01\xff"), "a text is not UTF-8");
    assert_eq!(detail(b"\x22\x02\xc3\x28"), "a text is not UTF-8");
    assert_eq!(detail(b"\x2a\x03\x0a\x01\xff"), "a text is not UTF-8");
    assert_eq!(detail(b"\x2a\x03\x1a\x01\xff"), "a text is not UTF-8");
    let twice = "a field that is not repeated is given twice";
    assert_eq!(detail(b"\x0a\x00\x0a\x00"), twice);
    assert_eq!(detail(b"\x32\x00\x32\x00"), twice);
    assert_eq!(detail(b"\x2a\x04\x0a\x00\x0a\x00"), twice);
    assert_eq!(detail(b"\x0a\x02a"), "a field reaches past the end of its message");
    assert_eq!(detail(b"\x0a\xff"), "a varint is cut short");
    assert_eq!(detail(b"\x0a"), "a varint is cut short");
    let long = b"\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
    assert_eq!(detail(long), "a varint is longer than 64 bits");
    assert_eq!(detail(b"\x02\x00"), "a field has the number 0");
    assert_eq!(detail(b"\x3b\x3c"), "a field is a group, which records do not have");
    assert_eq!(detail(b"\x3e"), "a field has an unknown wire type");
    let far = b"\x80\x80\x80\x80\x10\x00";
    assert_eq!(detail(far), "a field number is out of range");
}

#[test]
fn malformed_timestamps_are_refused() {
    let nanos = "the nanoseconds of a timestamp are not from 0 to 999999999";
    let stamp = |body: &[u8]| detail(&[&[0x32, body.len() as u8], body].concat());
    assert_eq!(stamp(b"\x10\x80\x94\xeb\xdc\x03"), nanos);
    let negative = b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_eq!(stamp(negative), nanos);
    assert_eq!(stamp(b"\x0a\x00"), "a part of a time has the wrong wire type");
    assert_eq!(stamp(b"\x08\x01\x08\x01"), "a part of a time is given twice");
    assert!(inspect(&payload(&[at(-1, 999_999_999)]), NO_LIMIT).is_ok());
}

#[test]
fn times_to_live_are_found_and_the_short_ones_named() {
    let found = |ttls: &[(i64, i32)]| {
        let records: Vec<_> = ttls.iter().map(|(seconds, nanos)| lives(*seconds, *nanos)).collect();
        let found = inspect(&payload(&records), NO_LIMIT).unwrap();
        (found.times.shortest_ttl.map(ShortestTtl::millis), found.short_lived)
    };
    assert_eq!(found(&[(9, 0), (2, 500_999_999), (3, 0)]), (Some(2_500), None));
    assert_eq!(found(&[(0, 1_000_000)]), (Some(1), None));
    assert_eq!(found(&[(0, 999_999), (5, 0), (0, 0)]), (Some(5_000), Some(0)));
    assert_eq!(found(&[(5, 0), (-1, 0), (0, -1)]), (Some(5_000), Some(1)));
    assert_eq!(found(&[(i64::MAX, 0)]), (Some(u32::MAX), None));
    let ttl = |body: &[u8]| detail(&[&[0x3a, body.len() as u8], body].concat());
    let nanos = "the nanoseconds of a duration are not below 1000000000";
    assert_eq!(ttl(b"\x10\x80\x94\xeb\xdc\x03"), nanos);
    assert_eq!(ttl(b"\x08\x01\x08\x01"), "a part of a time is given twice");
    assert_eq!(detail(b"\x38\x01"), "a field has the wrong wire type");
    assert_eq!(detail(b"\x3a\x00\x3a\x00"), "a field that is not repeated is given twice");
}

#[test]
fn between_records_there_is_nothing_else() {
    let alien = |tail: &[u8]| {
        let set = [&payload(&[Record::default()]), tail].concat();
        inspect(&set, NO_LIMIT).unwrap_err().to_string()
    };
    let foreign = "record 1 is malformed: a field that is not a record stands between the records";
    assert_eq!(alien(b"\x12\x00"), foreign);
    assert_eq!(alien(b"\x08\x00"), "record 1 is malformed: a record has the wrong wire type");
}

/// Fields of every wire type that this version does not know: 8, 9, 10, and 16 with a long tag.
const UNKNOWN: &[u8] = b"\x50\x96\x01\x45abcd\x49abcdefgh\x82\x01\x02hi";

#[test]
fn unknown_fields_pass_and_stay() {
    let text = Record { headers: vec![], ..texts() };
    let mut body = text.encode_to_vec();
    body.extend_from_slice(b"\x32\x02\x08\x01");
    body.extend_from_slice(UNKNOWN);
    assert!(inspect(&one(&body), NO_LIMIT).unwrap().has_text);
    let mut stored = keyed("k", "v").encode_to_vec();
    stored.extend_from_slice(UNKNOWN);
    assert_eq!(normalize(&one(&body), true), one(&stored));
}

#[test]
fn text_is_stored_as_bytes_and_read_as_either() {
    let stored = normalize(&payload(&[texts()]), false);
    let record = &decode(&stored)[0];
    assert_eq!(record.key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(record.value.as_deref(), Some(b"v".as_slice()));
    assert_eq!(record.headers[0].value.as_deref(), Some(b"x".as_slice()));
    assert_eq!(decode(&to_text(&stored)), [texts()]);
    let binary = payload(&[Record { value: Some(Bytes::from_static(b"\xff")), ..keyed("k", "") }]);
    let record = &decode(&to_text(&binary))[0];
    assert_eq!(record.key_text.as_deref(), Some("k"));
    assert_eq!(record.value.as_deref(), Some(b"\xff".as_slice()));
}

#[test]
fn a_tag_of_more_bytes_than_it_needs_is_rewritten_too() {
    let stored = normalize(&one(b"\x92\x80\x00\x01k"), false);
    assert_eq!(stored, one(b"\x8a\x80\x00\x01k"));
    assert_eq!(decode(&stored)[0].key.as_deref(), Some(b"k".as_slice()));
}

#[test]
fn the_first_record_at_or_after_a_time_is_found() {
    let set = payload(&[at(3, 0), Record::default(), at(9, 0)]);
    let seconds = |seconds| Timestamp::from_parts(seconds, 0);
    let find = |time| find_time(&set, seconds(5), seconds(time));
    assert_eq!(find(1), Some((0, seconds(3))));
    assert_eq!(find(3), Some((0, seconds(3))));
    assert_eq!(find(4), Some((1, seconds(5))));
    assert_eq!(find(6), Some((2, seconds(9))));
    assert_eq!(find(10), None);
}

#[test]
fn a_cut_has_at_least_one_record() {
    let set = payload(&[keyed("a", "1"), keyed("b", "2"), keyed("c", "3")]);
    let record = set.len() / 3;
    assert_eq!(cut(&set, 0), (record, 1));
    assert_eq!(cut(&set, 2 * record - 1), (record, 1));
    assert_eq!(cut(&set, 2 * record), (2 * record, 2));
    assert_eq!(cut(&set, NO_LIMIT), (3 * record, 3));
    assert_eq!(cut(b"", 10), (0, 0));
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        "[a-zé]{0,150}".prop_map(Bytes::from),
    ]
}

/// Neither form, the form of bytes, or that of text.
fn content() -> impl Strategy<Value = (Option<Bytes>, Option<String>)> {
    prop_oneof![
        Just((None, None)),
        bytes().prop_map(|bytes| (Some(bytes), None)),
        "[a-zé]{0,20}".prop_map(|text| (None, Some(text))),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    ("[a-zé]{0,5}", content()).prop_map(|(key, (value, text))| Header { key, value, text })
}

fn record() -> impl Strategy<Value = Record> {
    let nanos = 0..1_000_000_000;
    let timestamp = (-9_000_000_000_i64..9_000_000_000, nanos)
        .prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos });
    let headers = vec(header(), 0..3);
    let ttl = (-1..9_i64, -1..1_000_000_000)
        .prop_map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
    (content(), content(), headers, option::of(timestamp), option::of(ttl)).prop_map(
        |((key, key_text), (value, text), headers, timestamp, ttl)| Record {
            key,
            key_text,
            value,
            text,
            headers,
            timestamp,
            ttl,
        },
    )
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    vec(record(), 1..8)
}

fn time_of(record: &Record) -> Option<Timestamp> {
    let time = record.timestamp?;
    Some(Timestamp::from_parts(time.seconds, time.nanos))
}

/// The time to live, if the record has one that is long enough.
fn ttl_of(record: &Record) -> Option<Duration> {
    let ttl = Duration::try_from(record.ttl?).ok()?;
    (ttl >= Duration::from_millis(1)).then_some(ttl)
}

fn has_text(record: &Record) -> bool {
    record.key_text.is_some()
        || record.text.is_some()
        || record.headers.iter().any(|header| header.text.is_some())
}

fn stored(record: &Record, drop_timestamps: bool) -> Record {
    let mut record = record.clone();
    let fold = |bytes: &mut Option<Bytes>, text: &mut Option<String>| {
        if let Some(text) = text.take() {
            *bytes = Some(Bytes::from(text));
        }
    };
    fold(&mut record.key, &mut record.key_text);
    fold(&mut record.value, &mut record.text);
    for header in &mut record.headers {
        fold(&mut header.value, &mut header.text);
    }
    record.timestamp = record.timestamp.filter(|_| !drop_timestamps);
    record
}

fn as_text(record: &Record) -> Record {
    let mut record = record.clone();
    let unfold = |bytes: &mut Option<Bytes>, text: &mut Option<String>| {
        if let Some(utf8) = bytes.as_ref().and_then(|b| String::from_utf8(b.to_vec()).ok()) {
            *bytes = None;
            *text = Some(utf8);
        }
    };
    unfold(&mut record.key, &mut record.key_text);
    unfold(&mut record.value, &mut record.text);
    for header in &mut record.headers {
        unfold(&mut header.value, &mut header.text);
    }
    record
}

/// Whatever the bytes are, nothing panics, and what passes is what prost reads.
fn no_harm(bytes: &[u8]) {
    let passed = inspect(bytes, NO_LIMIT);
    for drop_timestamps in [false, true] {
        let _ = normalize(bytes, drop_timestamps);
    }
    let _ = to_text(bytes);
    let (length, count) = cut(bytes, bytes.len());
    assert_eq!(skip(bytes, count), Some(length));
    assert_eq!(skip(bytes, count + 1), None);
    assert_eq!(keys(bytes).count(), count as usize);
    let _ = find_time(bytes, Timestamp::MIN, Timestamp(0));
    if let Ok(inspection) = passed {
        assert_eq!((inspection.record_count, length), (count, bytes.len()));
        let records = decode(bytes);
        assert_eq!(records.len(), count as usize);
        assert_eq!(records.iter().any(has_text), inspection.has_text);
        assert_eq!(records.iter().filter_map(time_of).max(), inspection.times.newest);
        let stored: Vec<_> = records.iter().map(|record| stored(record, true)).collect();
        assert_eq!(decode(&normalize(bytes, true)), stored);
    }
}

proptest! {
    #[test]
    fn inspection_agrees_with_prost(records in records()) {
        let inspection = Inspection {
            record_count: records.len() as u32,
            times: RecordTimes {
                newest: records.iter().filter_map(time_of).max(),
                untimed: records.iter().any(|record| record.timestamp.is_none()),
                shortest_ttl: records.iter().filter_map(ttl_of).min().and_then(ShortestTtl::of),
            },
            has_text: records.iter().any(has_text),
            has_timestamps: records.iter().any(|record| record.timestamp.is_some()),
            keyless: records
                .iter()
                .position(|record| record.key.is_none() && record.key_text.is_none())
                .map(|at| at as u32),
            short_lived: records
                .iter()
                .position(|record| record.ttl.is_some() && ttl_of(record).is_none())
                .map(|at| at as u32),
            largest_record: records.iter().map(Message::encoded_len).max().unwrap(),
        };
        prop_assert_eq!(inspect(&payload(&records), NO_LIMIT), Ok(inspection));
    }

    #[test]
    fn the_stored_form_agrees_with_prost(records in records(), drop_timestamps: bool) {
        let normal = normalize(&payload(&records), drop_timestamps);
        let expected: Vec<_> =
            records.iter().map(|record| stored(record, drop_timestamps)).collect();
        prop_assert_eq!(decode(&normal), expected);
        let inspection = inspect(&normal, NO_LIMIT).unwrap();
        prop_assert!(!inspection.has_text);
        prop_assert!(!(drop_timestamps && inspection.has_timestamps));
        prop_assert_eq!(&normalize(&normal, drop_timestamps), &normal);
    }

    #[test]
    fn the_text_form_agrees_with_prost_and_leads_back(records in records()) {
        let normal = normalize(&payload(&records), false);
        let text = to_text(&normal);
        let expected: Vec<_> = decode(&normal).iter().map(as_text).collect();
        prop_assert_eq!(decode(&text), expected);
        prop_assert_eq!(normalize(&text, false), normal);
    }

    #[test]
    fn slices_at_record_boundaries_are_record_sets(
        records in records(),
        max_bytes in 0_usize..900,
    ) {
        let set = payload(&records);
        for count in 0..=records.len() {
            let at = skip(&set, count as u32).unwrap();
            prop_assert_eq!(decode(&set[..at]), &records[..count]);
            prop_assert_eq!(decode(&set[at..]), &records[count..]);
        }
        prop_assert_eq!(skip(&set, records.len() as u32 + 1), None);
        let (length, count) = cut(&set, max_bytes);
        prop_assert_eq!(skip(&set, count), Some(length));
        prop_assert!(count >= 1 && (count == 1 || length <= max_bytes));
        if let Some(next) = skip(&set, count + 1) {
            prop_assert!(next > max_bytes);
        }
    }

    #[test]
    fn keys_and_their_records_agree_with_prost(records in records()) {
        let set = payload(&records);
        let mut end = 0;
        for ((range, key), record) in keys(&set).zip(&records) {
            prop_assert_eq!(range.start, end);
            end = range.end;
            prop_assert_eq!(&decode(&set[range])[0], record);
            let stored = stored(record, false);
            prop_assert_eq!(key, stored.key.as_deref());
        }
        prop_assert_eq!(end, set.len());
    }

    #[test]
    fn what_compaction_and_expiry_ask_agrees_with_prost(records in records()) {
        let set = payload(&records);
        for (found, record) in facts(&set).zip(&records) {
            let stored = stored(record, false);
            prop_assert_eq!(found.key, stored.key.as_deref());
            prop_assert_eq!(found.has_value, stored.value.is_some());
            prop_assert_eq!((found.time, found.ttl), (time_of(record), ttl_of(record)));
        }
        let tombstone = |record: &Record| Record { value: None, text: None, ..record.clone() };
        let tombstones: Vec<_> = records.iter().map(tombstone).collect();
        prop_assert_eq!(decode(&without_values(&set)), tombstones);
    }

    #[test]
    fn times_agree_with_prost(records in records(), default: i64, pick: i64) {
        let (default, pick) = (Timestamp(default), Timestamp(pick));
        let times = records.iter().map(|record| time_of(record).unwrap_or(default));
        let expected = (0..).zip(times).find(|(_, time)| *time >= pick);
        prop_assert_eq!(find_time(&payload(&records), default, pick), expected);
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        no_harm(&bytes);
        no_harm(&one(&bytes));
    }

    #[test]
    fn damaged_records_do_no_harm(
        records in records(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut set = payload(&records);
        for (at, byte) in damage {
            let at = at.index(set.len());
            set[at] = byte;
        }
        no_harm(&set);
    }

    #[test]
    fn records_that_are_cut_short_do_no_harm(records in records(), end: prop::sample::Index) {
        let set = payload(&records);
        no_harm(&set[..end.index(set.len())]);
    }
}
