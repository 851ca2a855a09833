//! The stored form, byte by byte: a broker must read what an older one wrote.

use super::*;
use crate::conformance::{conf_state, hard_state, start};

const GOLDEN: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/index-v1/pairs.txt"));

/// One key of each kind, but the one of a deleted group.
fn content() -> Vec<GroupWrite> {
    let group = GroupWrite {
        hard_state: Some(hard_state(7, 2561, 8)),
        conf_state: Some(conf_state(&[2561, 3], &[4])),
        start: Some(start(5, 5)),
        append: vec![entry(6, 6, 20), entry(7, 7, 4_500)],
        rows: vec![(b"\x01row".to_vec(), Some(b"value".to_vec()))],
        ..creation(GROUP)
    };
    vec![group]
}

fn deleted() -> Vec<GroupWrite> {
    vec![creation(OTHER), GroupWrite { delete: true, ..GroupWrite::new(OTHER) }]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// Lines of `key value` in hexadecimal, each under the key in words.
fn text(engine: &SledEngine) -> String {
    let line = |(key, value): &(Vec<u8>, Vec<u8>)| {
        format!("# {:?}\n{} {}\n", Key::decode(key).unwrap(), hex(key), hex(value))
    };
    dump(engine).iter().map(line).collect()
}

#[test]
fn the_bytes_are_those_of_format_1() {
    let place = Place::new();
    let engine = open(place.0.path());
    engine.write(&synced([content(), deleted()].concat())).unwrap();
    let written = text(&engine);
    assert!(written == GOLDEN, "the stored form changed; it is now\n{written}");
}

#[test]
fn the_bytes_of_format_1_are_read() {
    let place = Place::new();
    let db = sled::open(place.0.path().join("index")).unwrap();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.split_once(' ').unwrap();
        db.insert(unhex(key), unhex(value)).unwrap();
    }
    drop(db);
    let engine = open(place.0.path());
    let group = &content()[0];
    let read = &engine.groups().unwrap()[..];
    let [state] = read else { panic!("{read:?}") };
    assert_eq!((state.group, Some(state.replica)), (GROUP, group.create));
    assert_eq!(Some(&state.hard_state), group.hard_state.as_ref());
    assert_eq!(Some(&state.conf_state), group.conf_state.as_ref());
    assert_eq!(Some(state.start), group.start);
    assert_eq!(state.last, Some((7, group.append[1].meta)));
    assert_eq!(engine.entries(GROUP, 6..9, u64::MAX).unwrap(), group.append);
    assert_eq!(engine.rows(GROUP, b"\x01").unwrap(), [(b"\x01row".to_vec(), b"value".to_vec())]);
    conformance::reclaim_all(&engine);
    assert!(!text(&engine).contains("Deleted"));
}
