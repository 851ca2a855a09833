//! The durable engine: the suite, the model, and what only it can get wrong.

mod golden;

use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::conformance::{
    self, GROUP, Harness, OTHER, append, creation, entry, model, synced, trim,
};
use crate::engine::GroupWrite;
use crate::memory::MemoryEngine;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Harness for Place {
    fn open(&mut self) -> Box<dyn Engine> {
        Box::new(open(self.0.path()))
    }
}

fn open(dir: &Path) -> SledEngine {
    SledEngine::open(dir).unwrap()
}

/// Writes a value past the engine.
fn put(engine: &SledEngine, key: &[u8], value: &[u8]) {
    let mut batch = sled::Batch::default();
    batch.insert(key, value);
    engine.source.apply(batch).unwrap();
}

fn remove(engine: &SledEngine, key: &[u8]) {
    let mut batch = sled::Batch::default();
    batch.remove(key);
    engine.source.apply(batch).unwrap();
}

fn stored(engine: &SledEngine, key: &[u8]) -> Vec<u8> {
    engine.source.get(key).unwrap().unwrap().to_vec()
}

fn is_corrupt<T: fmt::Debug>(result: Result<T>, what: &str) {
    let Err(error) = result else { panic!("{result:?} where {what} is corrupt") };
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(what) && text.contains("index/db"), "{text}");
}

#[test]
fn conforms() {
    conformance::run(|| Box::new(Place::new()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn does_what_the_memory_engine_does(steps in model::steps()) {
        model::compare(steps, &mut MemoryEngine::new(), &mut Place::new());
    }
}

/// A log of a small entry, a large one and a small one.
fn three_entries(dir: &Path) -> SledEngine {
    let engine = open(dir);
    let log = vec![entry(6, 6, 100), entry(7, 6, 9_000), entry(8, 6, 100)];
    engine.write(&synced(vec![creation(GROUP), append(GROUP, log)])).unwrap();
    engine
}

/// Every key of the engine with its value.
fn dump(engine: &SledEngine) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = engine.source.prefix(b"").map(|pair| pair.unwrap());
    pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

#[test]
fn no_changed_byte_of_an_entry_is_served() {
    let place = Place::new();
    let engine = three_entries(place.0.path());
    let read = |index: u64| engine.entries(GROUP, index..index + 1, u64::MAX);
    // The data stands behind the head of the first; the parts of the second are elsewhere.
    for (index, inline) in [(6, 100), (7, 0)] {
        let key = Key::Entry(GROUP, index);
        let (key, what) = (key.encode(), format!("entry {index} of replica group {GROUP}"));
        let sound = stored(&engine, &key);
        for at in 0..sound.len() {
            for flip in [1, 0x80] {
                let mut damaged = sound.clone();
                damaged[at] ^= flip;
                put(&engine, &key, &damaged);
                is_corrupt(read(index), &what);
                // `meta` neither serves nor checks the data.
                if at < sound.len() - inline {
                    is_corrupt(engine.meta(GROUP, index), &what);
                }
            }
        }
        for length in [0, 1, 93, 94, sound.len() - 1, sound.len() + 1] {
            let mut damaged = sound.clone();
            damaged.resize(length, 0);
            if damaged != sound {
                put(&engine, &key, &damaged);
                is_corrupt(read(index), &what);
            }
        }
        put(&engine, &key, &sound);
        assert_eq!(read(index).unwrap()[0].index, index);
    }
    // An entry before the damage is served, and nothing with it or behind it.
    let key = Key::Chunk(GROUP, 7, 1).encode();
    put(&engine, &key, &[]);
    assert_eq!(read(6).unwrap().len(), 1);
    is_corrupt(engine.entries(GROUP, 6..9, u64::MAX), "entry 7 of replica group");
}

#[test]
fn no_changed_byte_of_a_chunk_is_served() {
    let place = Place::new();
    let engine = three_entries(place.0.path());
    let read = || engine.entries(GROUP, 7..8, u64::MAX);
    let chunk = |number| Key::Chunk(GROUP, 7, number).encode();
    let chunks: Vec<Vec<u8>> = (0..3).map(|number| stored(&engine, &chunk(number))).collect();
    for (number, sound) in (0..).zip(&chunks) {
        for at in (0..sound.len()).step_by(13) {
            let mut damaged = sound.clone();
            damaged[at] ^= 4;
            put(&engine, &chunk(number), &damaged);
            is_corrupt(read(), "entry 7 of replica group");
        }
        remove(&engine, &chunk(number));
        is_corrupt(read(), "entry 7 of replica group");
        put(&engine, &chunk(number), sound);
    }
    put(&engine, &chunk(3), &chunks[2]);
    is_corrupt(read(), "entry 7 of replica group");
    remove(&engine, &chunk(3));
    put(&engine, &chunk(0), &chunks[1]);
    put(&engine, &chunk(1), &chunks[0]);
    is_corrupt(read(), "entry 7 of replica group");
    put(&engine, &chunk(0), &chunks[0]);
    put(&engine, &chunk(1), &chunks[1]);
    assert_eq!(read().unwrap(), [entry(7, 6, 9_000)]);
}

#[test]
fn a_value_under_anothers_key_is_not_served() {
    let place = Place::new();
    let engine = three_entries(place.0.path());
    let first = stored(&engine, &Key::Entry(GROUP, 6).encode());
    put(&engine, &Key::Entry(GROUP, 8).encode(), &first);
    is_corrupt(engine.entries(GROUP, 8..9, u64::MAX), "entry 8 of replica group");
    is_corrupt(engine.meta(GROUP, 8), "entry 8 of replica group");
}

#[test]
fn a_missing_entry_is_not_the_end_of_the_log() {
    let place = Place::new();
    let engine = three_entries(place.0.path());
    remove(&engine, &Key::Entry(GROUP, 7).encode());
    is_corrupt(engine.entries(GROUP, 6..9, u64::MAX), "entry 7 of replica group");
    is_corrupt(engine.entries(GROUP, 7..9, u64::MAX), "entry 7 of replica group");
    is_corrupt(engine.meta(GROUP, 7), "entry 7 of replica group");
}

#[test]
fn no_changed_byte_of_the_state_is_served() {
    let place = Place::new();
    let engine = open(place.0.path());
    let rows = vec![(b"row".to_vec(), Some(b"value".to_vec()))];
    engine.write(&synced(vec![GroupWrite { rows, ..creation(GROUP) }])).unwrap();
    for (key, sound) in dump(&engine) {
        let is_row = matches!(Key::decode(&key).unwrap(), Key::Row(..));
        let reads = |engine: &SledEngine| -> Result<()> {
            load::check_format(&engine.source)?;
            engine.groups()?;
            engine.rows(GROUP, b"").map(drop)
        };
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            put(&engine, &key, &damaged);
            is_corrupt(reads(&engine), "");
        }
        remove(&engine, &key);
        // A row may be missing: nothing says that there was one.
        assert!(is_row || reads(&engine).is_err(), "{:?}", Key::decode(&key));
        put(&engine, &key, &sound);
        reads(&engine).unwrap();
    }
}

#[test]
fn an_index_of_another_format_is_refused() {
    let place = Place::new();
    let engine = open(place.0.path());
    let key = Key::Format.encode();
    put(&engine, &key, &value::encode_format(&key, 2));
    engine.close().unwrap();
    drop(engine);
    let error = SledEngine::open(place.0.path()).unwrap_err();
    assert!(matches!(error, StorageError::Refused(_)), "{error}");
    assert!(error.to_string().contains("format 2"), "{error}");
}

#[test]
fn a_database_of_something_else_is_not_taken() {
    let place = Place::new();
    let db = sled::open(place.0.path().join("index")).unwrap();
    db.insert("key", "value").unwrap();
    drop(db);
    is_corrupt(SledEngine::open(place.0.path()).map(drop), "format");
}

#[test]
fn an_index_in_use_is_refused() {
    let place = Place::new();
    let engine = open(place.0.path());
    let error = SledEngine::open(place.0.path()).unwrap_err();
    assert!(matches!(error, StorageError::Refused(_)), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    engine.close().unwrap();
}

#[test]
fn a_file_that_is_no_index_is_not_opened() {
    let place = Place::new();
    let index = place.0.path().join("index");
    std::fs::create_dir_all(&index).unwrap();
    std::fs::write(index.join("conf"), b"this is not what sled writes\n").unwrap();
    let error = SledEngine::open(place.0.path()).unwrap_err();
    assert!(error.to_string().contains("index/db"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn writes_of_the_index_go_through_where_the_filesystem_can() {
    use rustix::fs::{IFlags, ioctl_getflags};
    let place = Place::new();
    let (_, can) = crate::files::open_write_through(&place.0.path().join("probe")).unwrap();
    for _ in 0..2 {
        let engine = open(place.0.path());
        let file = std::fs::File::open(engine.source.path()).unwrap();
        let set = ioctl_getflags(&file).is_ok_and(|flags| flags.contains(IFlags::SYNC));
        assert_eq!(set, can);
        engine.close().unwrap();
    }
}

#[test]
fn values_stay_below_4_kib() {
    let place = Place::new();
    let engine = open(place.0.path());
    let sizes = [0, 4_000, 4_001, 4_002, 4_094, 4_095, 8_188, 100_000];
    let log = (6..).zip(sizes).map(|(index, size)| entry(index, 6, size)).collect();
    engine.write(&synced(vec![creation(GROUP), append(GROUP, log)])).unwrap();
    for (key, value) in dump(&engine) {
        assert!(value.len() < 4_096, "{:?} has {} bytes", Key::decode(&key), value.len());
    }
}

#[test]
fn nothing_of_a_deleted_or_trimmed_log_is_left() {
    let place = Place::new();
    let engine = three_entries(place.0.path());
    let log = (6..40).map(|index| entry(index, 6, 5_000)).collect();
    let rows = (0..700_u32).map(|row| (row.to_be_bytes().to_vec(), Some(vec![1]))).collect();
    let writes = vec![GroupWrite { rows, ..creation(OTHER) }, append(OTHER, log)];
    engine.write(&synced(writes)).unwrap();
    let deletion = GroupWrite { delete: true, ..GroupWrite::new(OTHER) };
    let moved = trim(GROUP, conformance::start(7, 6));
    engine.write(&synced(vec![deletion, moved])).unwrap();
    conformance::reclaim_all(&engine);
    let left: Vec<Key> = dump(&engine).iter().map(|(key, _)| Key::decode(key).unwrap()).collect();
    let expected = [
        Key::Format,
        Key::Group(GROUP),
        Key::HardState(GROUP),
        Key::ConfState(GROUP),
        Key::LogStart(GROUP),
        Key::Entry(GROUP, 8),
    ];
    assert_eq!(left, expected);
}

#[test]
fn groups_are_read_anew_after_a_write() {
    let place = Place::new();
    drop(three_entries(place.0.path()));
    let engine = open(place.0.path());
    engine.write(&synced(vec![append(GROUP, vec![entry(9, 6, 1)])])).unwrap();
    assert_eq!(engine.groups().unwrap()[0].last.map(|last| last.0), Some(9));
    assert_eq!(engine.groups().unwrap().len(), 1);
}
