//! Directories that the engine made, sound and damaged.

use std::collections::BTreeMap;
use std::fs;
use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::conformance::{GROUP, synced};
use crate::directory::DataDirectory;
use crate::disk_engine::golden::{
    checkpoint, committed, copy, entries, fill, fill_and_go_on, open, start,
};
use crate::disk_engine::{DiskEngine, Engine, Options, frame};
use crate::engine::{GroupWrite, LogEntry};
use ropewalk_core::NodeId;

fn checked(dir: &Path) -> Report {
    let (mut last, mut calls) = (Progress::default(), 0);
    let report = verify(dir, &mut |progress| {
        assert!(progress.done >= last.done && progress.done <= progress.total);
        (last, calls) = (progress, calls + 1);
    });
    let report = report.unwrap();
    assert!(calls > 2);
    report
}

fn sound(dir: &Path) -> Report {
    let report = checked(dir);
    let is_sound = report.worst().is_none_or(|worst| worst == Severity::Note);
    assert!(is_sound, "{:#?}", report.findings);
    report
}

/// A directory after a close, and one after a crash.
fn closed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path()).close().unwrap();
    dir
}

fn crashed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    drop(fill_and_go_on(dir.path()));
    dir
}

/// Every file, with its bytes and the time of its last change.
fn snapshot(dir: &Path, into: &mut BTreeMap<PathBuf, (Vec<u8>, SystemTime)>) {
    for found in fs::read_dir(dir).unwrap() {
        let path = found.unwrap().path();
        let changed = fs::metadata(&path).unwrap().modified().unwrap();
        if path.is_dir() {
            into.insert(path.clone(), (Vec::new(), changed));
            snapshot(&path, into);
        } else {
            into.insert(path.clone(), (fs::read(&path).unwrap(), changed));
        }
    }
}

fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}

/// The largest file of a directory below.
fn largest(dir: &Path, below: &str) -> PathBuf {
    let mut all = BTreeMap::new();
    snapshot(&dir.join(below), &mut all);
    let all = all.into_iter().max_by_key(|(_, (bytes, _))| bytes.len());
    all.unwrap().0
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The findings of this severity that name this file.
fn found<'a>(report: &'a Report, severity: Severity, path: &Path) -> Vec<&'a Finding> {
    let of = |finding: &&Finding| finding.severity == severity && finding.path == path;
    report.findings.iter().filter(of).collect()
}

fn damaged(dir: &Path, path: &Path) -> Report {
    let report = checked(dir);
    let found = found(&report, Severity::Damage, path).len();
    assert!(found > 0, "{}: {:#?}", path.display(), report.findings);
    report
}

#[test]
fn a_directory_is_sound_after_a_close_and_after_a_crash() {
    let dir = closed();
    let report = sound(dir.path());
    assert_eq!(report.journal.replayed_frames, 1, "the mark of the close");
    assert_eq!(report.journal.acked, Some(report.journal.last_lsn - 1));
    let dir = crashed();
    let report = sound(dir.path());
    let large = &report.logs[0];
    assert_eq!((large.start_index, large.last.unwrap().0, large.committed), (17, 35, 35));
    assert_eq!((large.undrained, large.segments.len()), (2, 3));
    let small = &report.logs[1];
    assert_eq!((small.committed, small.undrained, small.inline_chunks), (11, 5, 1));
    assert_eq!(report.logs[2].rows, 2);
    assert!(report.store_files > 0 && report.journal.files.len() > 1);
    drop(open(dir.path()));
    sound(dir.path());
    // What was drained and is in no checkpoint is cut off by the next start.
    let engine = open(dir.path());
    engine.core.drain(&mut engine.core.work(), true).unwrap();
    drop(engine);
    let report = checked(dir.path());
    assert_eq!(report.worst(), Some(Severity::Repairable), "{:#?}", report.findings);
    let engine = open(dir.path());
    checkpoint(&engine);
    drop(engine);
    sound(dir.path());
}

#[test]
fn inspect_says_the_same_of_what_is_there() {
    let dir = crashed();
    let (deep, report) = (checked(dir.path()), inspect(dir.path(), &mut |_| ()).unwrap());
    assert_eq!(format!("{:?}", report.logs), format!("{:?}", deep.logs));
    assert_eq!(format!("{:?}", report.journal), format!("{:?}", deep.journal));
    assert_eq!(format!("{:?}", report.index), format!("{:?}", deep.index));
}

#[test]
fn nothing_is_changed() {
    let dir = crashed();
    fs::remove_file(file(dir.path(), "lock")).unwrap();
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    snapshot(dir.path(), &mut before);
    inspect(dir.path(), &mut |_| ()).unwrap();
    verify(dir.path(), &mut |_| ()).unwrap();
    snapshot(dir.path(), &mut after);
    assert!(before == after);
}

#[test]
fn a_directory_in_use_and_one_that_is_none_are_refused() {
    let dir = closed();
    let held = DataDirectory::open(dir.path(), NodeId(3)).unwrap();
    let error = verify(dir.path(), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("in use") && error.contains("stop it"), "{error}");
    drop(held);
    sound(dir.path());
    let empty = tempfile::tempdir().unwrap();
    let error = inspect(empty.path(), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("no data directory"), "{error}");
}

#[test]
fn damage_to_segments_is_found() {
    let dir = closed();
    let segment = largest(dir.path(), "segments");
    let sound_bytes = fs::read(&segment).unwrap();
    let length = sound_bytes.len();
    for at in [0, 9, 30, length / 2, length - 1] {
        change(&segment, |bytes| bytes[at] ^= 4);
        let report = damaged(dir.path(), &segment);
        let first = found(&report, Severity::Damage, &segment)[0];
        assert!(first.at.unwrap() <= at as u64 && first.what.contains("group 256"), "{first:?}");
        fs::write(&segment, &sound_bytes).unwrap();
    }
    for keep in [0, 100, length - 1] {
        change(&segment, |bytes| bytes.truncate(keep));
        damaged(dir.path(), &segment);
        fs::write(&segment, &sound_bytes).unwrap();
    }
    change(&segment, |bytes| bytes[..4096].fill(0));
    damaged(dir.path(), &segment);
    fs::remove_file(&segment).unwrap();
    let report = damaged(dir.path(), &segment);
    assert!(report.findings.iter().any(|finding| finding.what.contains("missing")));
    fs::write(&segment, [sound_bytes.as_slice(), b"more"].concat()).unwrap();
    let orphan = segment.with_file_name("00000000000000ff.segment");
    fs::write(&orphan, b"left").unwrap();
    let log = dir.path().join("segments/99");
    fs::create_dir(&log).unwrap();
    let report = checked(dir.path());
    for path in [&segment, &orphan, &log] {
        assert_eq!(found(&report, Severity::Repairable, path).len(), 1, "{path:?}");
    }
    assert_eq!(report.count(Severity::Damage), 0);
    open(dir.path()).close().unwrap();
    sound(dir.path());
}

#[test]
fn what_stands_in_for_a_lost_file_is_not_taken_for_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(fill(dir.path()));
    let segment = dir.path().join("segments/1/0000000000000003.segment");
    fs::remove_file(&segment).unwrap();
    let engine = open(dir.path());
    // They go on where the index says that the file ends.
    let more: Vec<LogEntry> = entries(30..34, 1_500)
        .into_iter()
        .map(|mut entry| {
            entry.meta.segment.base_index = 22;
            entry
        })
        .collect();
    engine.write(&synced(vec![committed(GROUP, more)])).unwrap();
    engine.close().unwrap();
    drop(engine);
    let report = damaged(dir.path(), &segment);
    let lost = found(&report, Severity::Damage, &segment);
    assert!(lost.iter().all(|finding| finding.at.unwrap() < 12_192), "{lost:#?}");
}

#[test]
fn a_chunk_that_was_trimmed_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let engine = fill(dir.path());
    let trim = GroupWrite { start: Some(start(20)), ..GroupWrite::new(GROUP) };
    engine.write(&synced(vec![trim])).unwrap();
    drop(engine);
    let mut all = BTreeMap::new();
    snapshot(&dir.path().join("segments"), &mut all);
    // The start lies in the middle of this file: what stands before it was deleted.
    let first = all.into_keys().find(|path| path.is_file()).unwrap();
    change(&first, |bytes| bytes[100] ^= 1);
    let report = sound(dir.path());
    assert_eq!(found(&report, Severity::Note, &first).len(), 1, "{:#?}", report.findings);
    change(&first, |bytes| {
        bytes[100] ^= 1;
        bytes[6] = 1;
    });
    assert_eq!(found(&sound(dir.path()), Severity::Note, &first).len(), 1);
}

#[test]
fn damage_to_the_journal_is_found() {
    let dir = crashed();
    let report = checked(dir.path());
    let newest = report.journal.files.iter().max_by_key(|file| file.lsns).unwrap();
    let path = newest.path.clone();
    let bytes = fs::read(&path).unwrap();
    // Where the frames are that a start replays.
    let newer: Vec<usize> = (0..bytes.len())
        .step_by(4096)
        .filter(|at| {
            let decoded = frame::decode(&bytes[*at..]);
            decoded.is_ok_and(|(head, _)| head.lsn > report.index.as_ref().unwrap().checkpoint)
        })
        .collect();
    assert_eq!(newer.len(), 3);
    for at in newer {
        change(&path, |bytes| bytes[at + 70] ^= 1);
        let report = damaged(dir.path(), &path);
        assert!(found(&report, Severity::Damage, &path).iter().any(|f| f.at == Some(at as u64)));
        fs::write(&path, &bytes).unwrap();
    }
    // Without the proof that more was acked, the last frame may be torn.
    let torn = tempfile::tempdir().unwrap();
    copy(dir.path(), torn.path());
    fs::remove_file(file(torn.path(), "journal/acked")).unwrap();
    let path = torn.path().join(path.strip_prefix(dir.path()).unwrap());
    let end = fs::metadata(&path).unwrap().len();
    change(&path, |bytes| {
        let last = (0..end as usize)
            .step_by(4096)
            .filter(|at| frame::decode(&bytes[*at..]).is_ok())
            .max_by_key(|at| frame::peek(&bytes[*at..]).unwrap().lsn);
        bytes[last.unwrap() + 70] ^= 1;
    });
    let report = checked(torn.path());
    assert_eq!(found(&report, Severity::Repairable, &path).len(), 1, "{:#?}", report.findings);
    assert_eq!(report.count(Severity::Damage), 0);
    fs::remove_file(path).unwrap();
    fs::copy(file(dir.path(), "journal/acked"), file(torn.path(), "journal/acked")).unwrap();
    assert_eq!(checked(torn.path()).worst(), Some(Severity::Damage));
}

#[test]
fn a_journal_that_is_gone_is_found() {
    let dir = closed();
    fs::remove_dir_all(file(dir.path(), "journal")).unwrap();
    damaged(dir.path(), &file(dir.path(), "journal"));
}

#[test]
fn damage_to_frames_that_the_index_has_is_a_note() {
    let dir = crashed();
    let report = checked(dir.path());
    let oldest = report.journal.files.iter().min_by_key(|file| file.lsns).unwrap();
    change(&oldest.path, |bytes| bytes[80] ^= 1);
    let report = sound(dir.path());
    assert_eq!(found(&report, Severity::Note, &oldest.path).len(), 1);
    change(&oldest.path, |bytes| bytes[80] ^= 1);
    let filling = largest(dir.path(), "journal");
    change(&filling, |bytes| bytes[4095] = 1);
    assert_eq!(found(&sound(dir.path()), Severity::Note, &filling).len(), 1);
}

#[test]
fn damage_to_the_index_is_found() {
    let dir = crashed();
    let redo = file(dir.path(), "index/redo");
    let bytes = fs::read(&redo).unwrap();
    change(&redo, |bytes| bytes[4096 + 80] ^= 1);
    let report = damaged(dir.path(), &redo);
    assert_eq!(found(&report, Severity::Damage, &redo)[0].at, Some(4096));
    assert!(report.index.is_none() && report.logs.is_empty());
    // The last frame: it may be torn, but the journal knows better.
    fs::write(&redo, &bytes).unwrap();
    change(&redo, |bytes| bytes.truncate(bytes.len() - 4096));
    let report = checked(dir.path());
    assert_eq!(report.worst(), Some(Severity::Damage), "{:#?}", report.findings);
    fs::write(&redo, [bytes.as_slice(), &[0x52; 100]].concat()).unwrap();
    let report = checked(dir.path());
    assert_eq!(found(&report, Severity::Repairable, &redo).len(), 1);
    fs::remove_file(&redo).unwrap();
    damaged(dir.path(), &redo);
}

#[test]
fn a_stale_copy_of_the_index_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let engine = fill(dir.path());
    let old = fs::read(file(dir.path(), "index/redo")).unwrap();
    engine.write(&synced(vec![committed(GROUP, entries(30..34, 1_500))])).unwrap();
    engine.close().unwrap();
    drop(engine);
    fs::write(file(dir.path(), "index/redo"), old).unwrap();
    let report = checked(dir.path());
    let told = report.findings.iter().any(|f| f.what.contains("older copy"));
    assert!(told && report.worst() == Some(Severity::Damage), "{:#?}", report.findings);
}

#[test]
fn a_missing_or_damaged_identity_is_found() {
    let dir = closed();
    let identity = file(dir.path(), "identity");
    change(&identity, |bytes| bytes[100] ^= 1);
    damaged(dir.path(), &identity);
    fs::remove_file(&identity).unwrap();
    damaged(dir.path(), &identity);
}

/// The files that count, but those that are looked at above: nothing in them is left unchecked.
fn any_file(dir: &Path) -> Vec<PathBuf> {
    let mut all = BTreeMap::new();
    snapshot(dir, &mut all);
    let counts = |path: &PathBuf| {
        let name = path.strip_prefix(dir).unwrap();
        path.is_file() && (name.starts_with("journal") || name.starts_with("segments"))
            || name == Path::new("index/redo")
    };
    all.into_keys().filter(counts).collect()
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip(u8),
    Blank,
    Cut,
    Delete,
}

fn any_harm() -> impl Strategy<Value = Harm> {
    let flip = (1..=255u8).prop_map(Harm::Flip);
    prop_oneof![3 => flip, 1 => Just(Harm::Blank), 1 => Just(Harm::Cut), 1 => Just(Harm::Delete)]
}

fn harm(path: &Path, harm: Harm, at: prop::sample::Index) {
    if let Harm::Delete = harm {
        return fs::remove_file(path).unwrap();
    }
    change(path, |bytes| {
        let at = at.index(bytes.len());
        let page = at - at % 4096;
        match harm {
            Harm::Flip(flip) => bytes[at] ^= flip,
            Harm::Blank => {
                let end = bytes.len().min(page + 4096);
                bytes[page..end].fill(0);
            }
            Harm::Cut | Harm::Delete => bytes.truncate(at),
        }
    });
}

/// Every entry that a broker serves from a directory; nothing when it refuses to.
fn served(dir: &Path) -> Option<Vec<(u64, Vec<LogEntry>)>> {
    let options = Options { background: false, free_floor: 0, ..Options::default() };
    let engine = DiskEngine::open(dir, options).ok()?;
    let groups = engine.groups().ok()?;
    let logs = groups.iter().map(|group| {
        let first = group.start.index + 1;
        Some((group.group.0, engine.entries(group.group, first..u64::MAX, u64::MAX).ok()?))
    });
    logs.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_damage_is_told_or_does_no_harm(
        which: prop::sample::Index,
        at: prop::sample::Index,
        what in any_harm(),
        closed: bool,
        has_store: bool,
    ) {
        let dir = if closed { self::closed() } else { crashed() };
        let sound = tempfile::tempdir().unwrap();
        copy(dir.path(), sound.path());
        let expected = served(sound.path());
        prop_assert!(expected.is_some());
        let files = any_file(dir.path());
        let path = which.get(&files);
        harm(path, what, at);
        let report = checked(dir.path());
        if !has_store {
            fs::remove_dir_all(dir.path().join("index/sled")).unwrap();
        }
        let found = served(dir.path());
        // Whatever the broker refuses, or does not serve, was told.
        let is_told = report.worst() >= Some(Severity::Repairable);
        let is_damage = report.worst() == Some(Severity::Damage);
        let told = format!("{} {what:?}: {:#?}", path.display(), report.findings);
        prop_assert!(found.is_some() || is_damage, "{}", told);
        prop_assert!(found == expected || is_told, "{}", told);
    }
}
