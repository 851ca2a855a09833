//! Bytes of a data directory change, or go, or are those of an earlier day.
//!
//! Whatever is damaged, and whether the engine was closed before or its process just ended: either
//! it shows exactly what was acked; or it does not start, and names the file; or it starts, and a
//! read that needs what is damaged fails and names the file. It never shows anything else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_core::Offset;

use super::script::{Script, difference};
use super::{DiskEngine, Options, small};
use crate::conformance::{GROUP, append, creation, entries, hard_state, synced};
use crate::disk::Disk;
use crate::disk::sim::{ROOT, Rng, SimDisk};
use crate::disk_engine::index::MemoryStores;
use crate::engine::{Engine, GroupWrite, Result, Seek, StorageError, WriteBatch};
use crate::memory::MemoryEngine;

const DIRECTORY: u64 = 7;
const PAGE: usize = 4096;

/// A directory, and what an engine must show of it.
struct Sample {
    disk: SimDisk,
    /// As it was some time before.
    older: SimDisk,
    stores: MemoryStores,
    model: MemoryEngine,
}

fn options() -> Options {
    Options { memory_bytes: 16 * 1024, cache_bytes: 0, redo_bytes: 1 << 20, ..small() }
}

fn open(disk: &SimDisk, stores: &MemoryStores) -> Result<DiskEngine> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    DiskEngine::open_on(&disk, Path::new(ROOT), options(), stores, DIRECTORY)
}

/// Runs random steps on an engine and on a model.
fn fill(engine: &DiskEngine, model: &MemoryEngine, script: &mut Script, rng: &mut Rng, steps: u64) {
    for _ in 0..steps {
        let batches = script.batches(rng);
        engine.write(&batches).unwrap();
        model.write(&batches).unwrap();
        if rng.below(4) == 0 {
            engine.reclaim().unwrap();
        }
    }
}

fn sample(seed: u64, closed: bool) -> Sample {
    let (mut rng, mut script) = (Rng::new(seed), Script::new());
    let (disk, stores, model) = (SimDisk::new(seed), MemoryStores::default(), MemoryEngine::new());
    let engine = open(&disk, &stores).unwrap();
    // A log that has files in any case.
    let hard_state = Some(hard_state(5, 1, 12));
    let log = GroupWrite { hard_state, ..append(GROUP, entries(6..15, 5, 5_000)) };
    for batches in [synced(vec![creation(GROUP)]), synced(vec![log])] {
        engine.write(&batches).unwrap();
        model.write(&batches).unwrap();
    }
    fill(&engine, &model, &mut script, &mut rng, 40);
    let older = disk.copy();
    fill(&engine, &model, &mut script, &mut rng, 12);
    if closed {
        engine.close().unwrap();
    }
    Sample { disk, older, stores, model }
}

/// All files under a directory.
fn files(disk: &SimDisk, dir: &Path) -> Vec<PathBuf> {
    let paths = disk.list(dir).unwrap().into_iter().map(|name| dir.join(name));
    let under = |path: PathBuf| {
        if disk.bytes(&path).is_some() { vec![path] } else { files(disk, &path) }
    };
    paths.flat_map(under).collect()
}

/// An error is of the right kind, and names the file or its directory.
fn names(error: &StorageError, path: &Path, what: &str) {
    let text = error.to_string();
    let is_told = matches!(error, StorageError::Corrupt { .. } | StorageError::Refused(_));
    let dir = path.parent().unwrap_or(path).display().to_string();
    assert!(is_told && text.contains(&dir), "{what}: {text}");
}

/// What happened in many cases.
#[derive(Debug, Default)]
struct Counts {
    same: u32,
    refused: u32,
    unreadable: u32,
}

/// Opens what was damaged, and makes sure that it is one of the things that may be.
fn check(
    disk: &SimDisk,
    stores: &MemoryStores,
    model: &MemoryEngine,
    (path, what): (&Path, &str),
    counts: &mut Counts,
) {
    let what = &format!("{}, {what}", path.display());
    let stores = MemoryStores::holding(stores.content());
    let engine = match open(disk, &stores) {
        Ok(engine) => engine,
        Err(error) => {
            names(&error, path, what);
            counts.refused += 1;
            return;
        }
    };
    let unreadable = reads(&engine, model, path, what);
    if unreadable == 0 {
        assert_eq!(difference(model, &engine), None, "{what}");
        counts.same += 1;
        // The rest is worth its time now and then.
        if !counts.same.is_multiple_of(16) {
            return;
        }
    } else {
        counts.unreadable += 1;
    }
    // It goes on with what there is.
    for state in engine.groups().unwrap() {
        let next = state.last.map_or(state.start.index, |(index, _)| index) + 1;
        let writes = vec![append(state.group, entries(next..next + 2, 1_000, 3_000))];
        engine.write(&[WriteBatch { groups: writes, sync: true }]).unwrap();
    }
    engine.reclaim().unwrap();
    engine.close().unwrap();
    drop(engine);
    let engine = open(disk, &stores).unwrap();
    for state in engine.groups().unwrap() {
        let last = state.last.unwrap().0;
        let found = engine.entries(state.group, last - 1..last + 1, u64::MAX).unwrap();
        assert_eq!(found, entries(last - 1..last + 1, 1_000, 3_000), "{what}");
    }
}

/// Reads everything; what can be read is right. Gives how many reads have failed.
fn reads(engine: &DiskEngine, model: &MemoryEngine, path: &Path, what: &str) -> u32 {
    let groups = model.groups().unwrap();
    assert_eq!(engine.groups().unwrap(), groups, "{what}");
    let mut failed = 0;
    let mut count = |error: StorageError| {
        names(&error, path, what);
        failed += 1;
    };
    for state in groups {
        let group = state.group;
        let (first, end) = (state.start.index + 1, state.last.map_or(0, |(last, _)| last) + 1);
        match engine.rows(group, b"") {
            Ok(rows) => assert_eq!(rows, model.rows(group, b"").unwrap(), "{what}"),
            Err(error) => count(error),
        }
        match engine.entries(group, first..u64::MAX, u64::MAX) {
            Ok(log) => {
                // What stands before the damage is given out; a read after it fails.
                let all = model.entries(group, first..u64::MAX, u64::MAX).unwrap();
                assert!(all.starts_with(&log) && log.is_empty() == all.is_empty(), "{what}");
                let next = first + log.len() as u64;
                if next < end {
                    count(engine.entries(group, next..u64::MAX, u64::MAX).unwrap_err());
                }
            }
            Err(error) => count(error),
        }
        for index in first..end {
            match engine.entries(group, index..index + 1, u64::MAX) {
                Ok(log) => {
                    let expected = model.entries(group, index..index + 1, u64::MAX).unwrap();
                    assert_eq!(log, expected, "{what}");
                }
                Err(error) => count(error),
            }
            match engine.meta(group, index) {
                Ok(meta) => assert_eq!(meta, model.meta(group, index).unwrap(), "{what}"),
                Err(error) => count(error),
            }
            let seek = Seek::After(Offset(index * 10));
            match engine.find(group, first..end, seek) {
                Ok(at) => {
                    // In a chunk that cannot be read a search ends at its begin.
                    let right = model.find(group, first..end, seek).unwrap();
                    let is_read = engine.entries(group, at..at + 1, u64::MAX).is_ok();
                    assert!(at == right || (at < right && !is_read), "{what}");
                }
                Err(error) => count(error),
            }
        }
    }
    failed
}

/// What may become of a file: a name, and the change.
fn damages(bytes: &[u8], older: Option<Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    let mut damages = Vec::new();
    for at in (0..bytes.len()).step_by(64) {
        // Not always the same byte of what is written in whole blocks.
        let at = (at + (at / 64) * 7 % 64).min(bytes.len() - 1);
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        damages.push((format!("byte {at} changed"), changed));
    }
    for at in (0..bytes.len()).step_by(PAGE) {
        let mut changed = bytes.to_vec();
        changed[at..bytes.len().min(at + PAGE)].fill(0);
        damages.push((format!("page at {at} zeroed"), changed));
        damages.push((format!("cut at {at}"), bytes[..at].to_vec()));
        let within = (at + 1_000).min(bytes.len() - 1);
        damages.push((format!("cut at {within}"), bytes[..within].to_vec()));
        if let Some(older) = older.as_ref().filter(|older| at < older.len()) {
            let mut changed = bytes.to_vec();
            let end = bytes.len().min(older.len()).min(at + PAGE).max(at);
            changed[at..end].copy_from_slice(&older[at..end]);
            damages.push((format!("page at {at} older"), changed));
        }
    }
    damages.extend(older.map(|older| ("all of it older".to_owned(), older)));
    damages
}

fn damage_every_file(sample: &Sample, stores: &MemoryStores, counts: &mut Counts) {
    for path in files(&sample.disk, Path::new(ROOT)) {
        let bytes = sample.disk.bytes(&path).unwrap();
        for (what, changed) in damages(&bytes, sample.older.bytes(&path)) {
            if changed == bytes {
                continue;
            }
            let disk = sample.disk.copy();
            disk.damage(&path, |bytes| *bytes = changed);
            check(&disk, stores, &sample.model, (&path, &what), counts);
        }
        let disk = sample.disk.copy();
        disk.remove(&path).unwrap();
        check(&disk, stores, &sample.model, (&path, "gone"), counts);
    }
}

#[test]
fn damage_after_a_close_shows_or_does_no_harm() {
    let mut counts = Counts::default();
    let sample = sample(1, true);
    damage_every_file(&sample, &sample.stores, &mut counts);
    println!("{counts:?}");
    assert!(counts.same > 100 && counts.refused > 100 && counts.unreadable > 20, "{counts:?}");
}

#[test]
fn damage_after_a_crash_of_the_process_shows_or_does_no_harm() {
    let mut counts = Counts::default();
    let sample = sample(0, false);
    damage_every_file(&sample, &sample.stores, &mut counts);
    // Without a store that could stand in for the index.
    damage_every_file(&sample, &MemoryStores::default(), &mut counts);
    println!("{counts:?}");
    assert!(counts.same > 100 && counts.refused > 100 && counts.unreadable > 20, "{counts:?}");
}

#[test]
fn a_journal_that_is_gone_is_missed() {
    let sample = sample(0, false);
    let journal = Path::new(ROOT).join("journal");
    for path in files(&sample.disk, &journal) {
        sample.disk.remove(&path).unwrap();
    }
    let error = open(&sample.disk, &sample.stores).err().unwrap();
    names(&error, &journal.join("acked"), "all of it gone");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, name) = (from.join(entry.as_ref().unwrap().file_name()), entry.unwrap());
        let to = to.join(name.file_name());
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// Whatever becomes of sled's files: its store is made anew.
#[test]
fn damage_to_sled_does_no_harm() {
    for closed in [true, false] {
        let (mut rng, mut script) = (Rng::new(5), Script::new());
        let model = MemoryEngine::new();
        let (dir, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let engine = DiskEngine::open(dir.path(), options()).unwrap();
        fill(&engine, &model, &mut script, &mut rng, 30);
        copy(&dir.path().join("index/sled"), older.path());
        fill(&engine, &model, &mut script, &mut rng, 10);
        if closed {
            engine.close().unwrap();
        }
        drop(engine);
        let with = |change: &dyn Fn(&Path)| {
            let copied = tempfile::tempdir().unwrap();
            copy(dir.path(), copied.path());
            change(&copied.path().join("index/sled"));
            let engine = DiskEngine::open(copied.path(), options()).unwrap();
            assert_eq!(difference(&model, &engine), None);
        };
        with(&|sled| fs::remove_dir_all(sled).unwrap());
        with(&|sled| {
            fs::remove_dir_all(sled).unwrap();
            copy(older.path(), sled);
        });
        for name in ["conf", "db"] {
            let bytes = fs::read(dir.path().join("index/sled").join(name)).unwrap();
            with(&|sled| fs::remove_file(sled.join(name)).unwrap());
            with(&|sled| fs::write(sled.join(name), &bytes[..bytes.len() / 2]).unwrap());
            let old = older.path().join(name);
            with(&|sled| assert!(fs::copy(&old, sled.join(name)).is_ok()));
            for _ in 0..12 {
                let mut changed = bytes.clone();
                changed[rng.below(bytes.len() as u64) as usize] ^= 1 << rng.below(8);
                if rng.below(3) == 0 {
                    let at = rng.below(bytes.len() as u64) as usize / PAGE * PAGE;
                    changed[at..bytes.len().min(at + PAGE)].fill(0);
                }
                with(&|sled| fs::write(sled.join(name), &changed).unwrap());
            }
        }
    }
}

#[test]
fn without_its_index_a_directory_is_refused_and_left_as_it_is() {
    for closed in [false, true] {
        let sample = sample(3, closed);
        let index = Path::new(ROOT).join("index");
        sample.disk.remove_dir(&index).unwrap();
        let before = files(&sample.disk, Path::new(ROOT));
        let error = open(&sample.disk, &MemoryStores::default()).err().unwrap();
        names(&error, &index.join("redo"), "no index");
        assert_eq!(files(&sample.disk, Path::new(ROOT)), before);
    }
}
