//! Bytes of the redo file change, and parts of it go.

use super::*;

/// An index with a base, checkpoints and sweeps, closed; and what it held before its last change.
fn sample(pending: &[u8]) -> (SimDisk, MemoryStores, State, State) {
    let (disk, stores) = (SimDisk::new(1), MemoryStores::default());
    let mut state = State::default();
    let mut rng = Rng::new(8);
    let mut before = state.clone();
    for part in 0..3 {
        let opened = open(&disk, &stores).unwrap();
        for _ in 0..9 {
            before = state.clone();
            let mut step = Step::random(&mut rng, &state);
            if let Step::Checkpoint(.., left) = &mut step {
                *left = pending.to_vec();
            }
            step.run(&opened.index).unwrap();
            step.apply_to(&mut state);
        }
        if part == 0 {
            // A base that holds something.
            let mut writer = opened.index.writer.lock().unwrap();
            let pending = state.pending.clone();
            opened.index.roll(&mut writer, &pending).unwrap();
        }
    }
    assert_ne!(before, state);
    (disk, stores, before, state)
}

fn redo_path() -> PathBuf {
    redo::path(&dir())
}

/// Damages the redo file in a copy of everything, and opens it.
fn open_damaged(
    disk: &SimDisk,
    store: Option<Content>,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<(State, Option<String>)> {
    let disk = disk.copy();
    disk.damage(&redo_path(), change);
    let stores = MemoryStores::holding(store);
    let opened = open(&disk, &stores)?;
    let state = state_of(&opened);
    opened.index.checkpoint(99, &Changes::new(), &[]).unwrap();
    let again = open(&disk, &stores).unwrap();
    assert!(again.rebuilt.is_none(), "{:?}", again.rebuilt);
    assert_eq!(state_of(&again).pairs, state.pairs);
    Ok((state, opened.rebuilt))
}

fn names_the_file(error: &StorageError) {
    let text = error.to_string();
    let is_told = matches!(error, StorageError::Corrupt { .. } | StorageError::Refused(_));
    assert!(is_told && text.contains("/data/index/redo"), "{text}");
}

#[test]
fn every_flipped_byte_shows_or_does_no_harm() {
    for (pending, has_store) in [(&b""[..], true), (b"", false), (b"left", true), (b"left", false)]
    {
        let (disk, stores, before, state) = sample(pending);
        let store = stores.content().filter(|_| has_store);
        let length = disk.bytes(&redo_path()).unwrap().len();
        let (mut same, mut repaired, mut refused, mut older) = (0, 0, 0, 0);
        for at in (0..length).step_by(512).flat_map(|at| [at, at + 4, at + 12, at + 300]) {
            match open_damaged(&disk, store.clone(), |bytes| bytes[at] ^= 0x41) {
                Ok((found, rebuilt)) if found == state => {
                    same += 1;
                    repaired += u32::from(rebuilt.is_some() && has_store);
                }
                Ok((found, _)) => {
                    assert!(found == before && !has_store, "only what may be torn is cut off");
                    older += 1;
                }
                Err(error) => {
                    names_the_file(&error);
                    refused += 1;
                }
            }
        }
        assert!(same > 20, "much of the file is filling");
        assert_eq!(repaired > 20, has_store && pending.is_empty(), "{repaired}");
        assert!(refused > 0 && (refused > 20) != (repaired > 20), "{refused}");
        assert_eq!(older > 0, !has_store);
    }
}

#[test]
fn a_file_that_is_cut_shows_or_does_no_harm() {
    let (disk, stores, _, state) = sample(b"");
    let length = disk.bytes(&redo_path()).unwrap().len();
    for keep in (0..length).step_by(512) {
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(keep);
        let (found, rebuilt) = open_damaged(&disk, stores.content(), cut).unwrap();
        assert_eq!(found, state);
        assert!(rebuilt.unwrap().contains("nothing is lost"));
    }
    let (disk, stores, _, state) = sample(b"left");
    let mut same = 0;
    for keep in (0..length).step_by(512) {
        match open_damaged(&disk, stores.content(), |bytes| bytes.truncate(keep)) {
            Ok((found, _)) => {
                assert_eq!(found, state);
                same += 1;
            }
            Err(error) => names_the_file(&error),
        }
    }
    assert_eq!(same, 0, "what is pending is nowhere else");
}

#[test]
fn a_file_that_is_gone_comes_back_from_the_store_or_is_named() {
    let (disk, stores, _, state) = sample(b"");
    disk.remove(&redo_path()).unwrap();
    let mut lost = stores.content().unwrap();
    lost.pop_last();
    for store in [Some(lost), Some(Content::new())] {
        let error = open(&disk, &MemoryStores::holding(store)).err().unwrap();
        names_the_file(&error);
        assert!(error.to_string().contains("missing"), "{error}");
    }
    let opened = open(&disk, &stores).unwrap();
    assert!(opened.rebuilt.as_ref().unwrap().contains("nothing is lost"));
    assert_eq!(state_of(&opened), state);

    let (disk, stores, ..) = sample(b"left");
    disk.remove(&redo_path()).unwrap();
    names_the_file(&open(&disk, &stores).err().unwrap());
}

#[test]
fn a_store_of_another_index_is_not_used() {
    let (disk, _, _, state) = sample(b"left");
    let (other, stores) = (SimDisk::new(2), MemoryStores::default());
    let opened = open::open(Arc::new(other), &dir(), &stores, DIRECTORY + 1, SMALL_ROLL).unwrap();
    for lsn in 0..100 {
        opened.index.checkpoint(lsn, &Changes::from([(vec![10], Some(vec![1]))]), &[]).unwrap();
    }
    let opened = open(&disk, &stores).unwrap();
    assert_eq!(state_of(&opened), state);
    assert!(opened.rebuilt.unwrap().contains("do not belong together"));
}

#[test]
fn a_store_that_is_behind_catches_up() {
    let (disk, stores) = (SimDisk::new(1), MemoryStores::default());
    let opened = open(&disk, &stores).unwrap();
    let put = |n| Changes::from([(vec![10, n], Some(vec![n])), (vec![10, n - 1], None)]);
    let mut history = Vec::new();
    for n in 1..9 {
        opened.index.checkpoint(n.into(), &put(n), &[n]).unwrap();
        history.push(stores.content());
    }
    for content in history {
        let stores = MemoryStores::holding(content);
        for _ in 0..2 {
            let opened = open(&disk.copy(), &stores).unwrap();
            assert_eq!(opened.rebuilt, None);
            let pairs = Content::from([(vec![10, 8], vec![8])]);
            assert_eq!(state_of(&opened), State { lsn: 8, pairs, pending: vec![8] });
        }
    }
}

#[test]
fn another_version_and_another_format_are_refused() {
    let (disk, stores, ..) = sample(b"");
    let frame = |bytes: &mut Vec<u8>| bytes[4] = 9;
    let error = open_damaged(&disk, stores.content(), frame).unwrap_err();
    assert!(error.to_string().contains("version 9"), "{error}");

    let disk = SimDisk::new(1);
    disk.create_dir(&dir()).unwrap();
    disk.open(&dir().join("db"), Mode::Create).unwrap();
    let error = open(&disk, &MemoryStores::default()).err().unwrap();
    assert!(matches!(error, StorageError::Refused(_)), "{error}");
}
