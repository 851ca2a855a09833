use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use ropewalk_proto::v1::{Record, RecordSet};

use super::*;
use crate::batch::RecordTimes;
use crate::compaction::{CleanUp, KeyMap, Verdict, keys_of, shrink};
use crate::{BatchDraft, Timestamp, TimestampType};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Records with these keys; the odd ones are tombstones.
fn payload(keys: &[Option<String>]) -> Vec<u8> {
    let record = |(place, key): (usize, &Option<String>)| Record {
        key: key.as_ref().map(|key| key.clone().into_bytes().into()),
        value: (place % 2 == 0).then(|| "value".into()),
        ..Record::default()
    };
    let records = keys.iter().enumerate().map(record).collect();
    RecordSet { records }.encode_to_vec()
}

fn stored(keys: &[Option<String>], codec: Compression, base: Offset) -> StoredBatch {
    let bytes = compress::compress(codec, &payload(keys));
    let count = keys.len() as u32;
    let (times, create) = (RecordTimes::default(), TimestampType::Create);
    let draft = BatchDraft::new(&bytes, count, codec, create, times, None);
    StoredBatch::checked(&draft.seal(base, 6, 6, Timestamp(0)).into()).unwrap()
}

fn key() -> impl Strategy<Value = Option<String>> {
    prop_oneof![1 => Just(None), 8 => "[a-f]{0,2}".prop_map(Some)]
}

#[derive(Clone, Debug)]
enum Step {
    /// A batch is appended, and what it holds noted at once, or later, as it is read.
    Append { keys: Vec<Option<String>>, codec: usize, at_once: bool },
    /// The log starts so much later.
    Trim(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (vec(key(), 1..8), 0..5_usize, any::<bool>())
            .prop_map(|(keys, codec, at_once)| Step::Append { keys, codec, at_once }),
        1 => (0..12_u64).prop_map(Step::Trim),
    ]
}

proptest! {
    /// What was read of the log in the end, in whatever order, is what a model says.
    #[test]
    fn versions_are_those_of_a_model(steps in vec(step(), 1..40)) {
        let mut versions = KeyVersions::default();
        let mut model: BTreeMap<String, Offset> = BTreeMap::new();
        let (mut batches, mut start, mut next) = (Vec::new(), Offset::ZERO, Offset::ZERO);
        for step in &steps {
            match step {
                Step::Append { keys, codec, at_once } => {
                    let codec = CODECS[*codec];
                    let batch = stored(keys, codec, next);
                    let count = keys.len() as u32;
                    if *at_once {
                        let run = KeyRun::of_batch(codec, &batch.payload, count).unwrap();
                        versions.note(&run, next);
                    }
                    for (offset, key) in (next.0..).zip(keys) {
                        key.iter().for_each(|key| {
                            model.insert(key.clone(), Offset(offset));
                        });
                    }
                    batches.push(batch);
                    next = next.plus(u64::from(count));
                }
                Step::Trim(by) => {
                    start = start.plus(*by).min(next);
                    versions.sweep(start);
                }
            }
        }
        // Of the older ones, what comes after the newer ones changes nothing.
        let (run, end) = KeyRun::of_stored(&batches, Offset::ZERO);
        prop_assert_eq!(end, next);
        versions.note(&run, Offset::ZERO);
        model.retain(|_, offset| *offset >= start);
        for key in ["", "a", "b", "ab", "ff", "nobody"] {
            let version = versions.version(KeyHash::of(key.as_bytes()), start);
            prop_assert_eq!(version, model.get(key).copied(), "{}", key);
        }
        versions.sweep_all(start);
        prop_assert_eq!(versions.len(), model.len());
        versions.sweep_all(next);
        prop_assert!(versions.is_empty());
    }
}

#[test]
fn a_batch_is_read_from_the_middle_on() {
    let key = |key: &str| Some(key.to_owned());
    let batch = stored(&[key("a"), key("b"), None, key("b")], Compression::Zstd, Offset(10));
    let (run, end) = KeyRun::of_stored(&[batch], Offset(12));
    assert_eq!((run.len(), end), (1, Offset(14)));
}

/// Compaction has taken records from between: those that are left have the offsets that they had.
#[test]
fn a_compacted_batch_is_read_at_the_offsets_that_are_left() {
    let key = |key: &str| Some(key.to_owned());
    let batch = stored(&[key("a"), key("b"), key("a"), key("c")], Compression::Zstd, Offset(10));
    let mut keys = KeyMap::new(Offset::ZERO, 10, 1 << 10);
    assert!(keys_of(&batch, |key, offset| keys.note(key, offset)));
    let verdict = Verdict { keys: &keys, clean_up: CleanUp::NONE };
    let left = shrink(&batch, &verdict).left.expect("the first record is superseded");
    let (run, end) = KeyRun::of_stored(&[left], Offset::ZERO);
    let mut versions = KeyVersions::default();
    versions.note(&run, Offset::ZERO);
    let version = |key: &[u8]| versions.version(KeyHash::of(key), Offset::ZERO);
    assert_eq!((version(b"a"), version(b"b")), (Some(Offset(12)), Some(Offset(11))));
    assert_eq!((version(b"c"), end), (Some(Offset(13)), Offset(14)));
}

/// A client that packs millions of keys into a batch keeps nobody waiting: they are read in parts.
#[test]
fn more_keys_than_are_taken_up_at_a_time_are_read_in_parts() {
    let count = MAX_KEYS_AT_A_TIME as u64 * 2 + 7;
    let keys: Vec<_> = (0..count).map(|key| Some(key.to_string())).collect();
    let batch = stored(&keys, Compression::Lz4, Offset(5));
    assert_eq!(KeyRun::of_batch(Compression::Lz4, &batch.payload, count as u32), None);
    let (mut from, mut parts) = (Offset(5), 0);
    let mut versions = KeyVersions::default();
    while from < batch.header.end_offset() {
        let (run, end) = KeyRun::of_stored(std::slice::from_ref(&batch), from);
        assert!(run.len() <= MAX_KEYS_AT_A_TIME && end > from);
        versions.note(&run, Offset::ZERO);
        (from, parts) = (end, parts + 1);
    }
    assert_eq!((parts, versions.len() as u64), (3, count));
    assert_eq!(versions.version(KeyHash::of(b"0"), Offset::ZERO), Some(Offset(5)));
}

#[test]
fn what_nobody_can_read_has_no_keys() {
    let zeros = compress::compress(Compression::Zstd, &vec![0; limits::MAX_DECOMPRESSED_BYTES + 1]);
    for damaged in [zeros.as_slice(), b"no frame"] {
        let run = KeyRun::of_batch(Compression::Zstd, damaged, 3).unwrap();
        assert!(run.is_empty());
    }
    // More records than were said have no offsets.
    let more = payload(&[Some("a".to_owned()), Some("b".to_owned())]);
    assert_eq!(KeyRun::of_batch(Compression::None, &more, 1).unwrap().len(), 1);
}
