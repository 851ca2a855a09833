//! The index loses power, its store and bytes of its redo file, and is what it was.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::memory_store::Content;
use super::*;
use crate::disk::sim::{ROOT, Rng, SimDisk};
use crate::disk::{BLOCK, Mode};

mod damage;
mod sled;

const DIRECTORY: u64 = 7;
/// Small enough that the redo file is replaced often.
const SMALL_ROLL: u64 = 60 * BLOCK as u64;

/// What an index is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    lsn: u64,
    pairs: Content,
    pending: Vec<u8>,
}

/// A change of an index.
#[derive(Clone, Debug)]
enum Step {
    Checkpoint(u64, Changes, Vec<u8>),
    Sweep(Changes),
}

impl Step {
    fn random(rng: &mut Rng, state: &State) -> Self {
        let mut changes = Changes::new();
        for _ in 0..rng.below(8) {
            let key = [vec![10 + rng.below(3) as u8], vec![b'k'; rng.below(3) as usize]].concat();
            let key = [key, rng.below(20).to_be_bytes().to_vec()].concat();
            let value = vec![rng.next() as u8; rng.below(3_000) as usize];
            changes.insert(key, (rng.below(3) > 0).then_some(value));
        }
        if rng.below(4) == 0 {
            changes.values_mut().for_each(|value| *value = None);
            return Self::Sweep(changes);
        }
        let pending = vec![rng.next() as u8; (rng.below(3) * rng.below(6_000)) as usize];
        Self::Checkpoint(state.lsn + rng.below(9), changes, pending)
    }

    fn apply_to(&self, state: &mut State) {
        let changes = match self {
            Self::Checkpoint(lsn, changes, pending) => {
                (state.lsn, state.pending) = (*lsn, pending.clone());
                changes
            }
            Self::Sweep(changes) => changes,
        };
        for (key, value) in changes {
            match value {
                Some(value) => state.pairs.insert(key.clone(), value.clone()),
                None => state.pairs.remove(key),
            };
        }
    }

    fn run(&self, index: &Index) -> Result<()> {
        match self {
            Self::Checkpoint(lsn, changes, pending) => index.checkpoint(*lsn, changes, pending),
            Self::Sweep(changes) => index.sweep(changes),
        }
    }
}

fn dir() -> PathBuf {
    Path::new(ROOT).join("index")
}

fn open(disk: &SimDisk, stores: &MemoryStores) -> Result<Opened> {
    open::open(Arc::new(disk.clone()), &dir(), stores, DIRECTORY, SMALL_ROLL)
}

/// All that an index tells of itself.
fn state_of(opened: &Opened) -> State {
    let mut pairs = Content::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        pairs.insert(key.to_vec(), value.to_vec());
        Ok(())
    };
    opened.index.for_each(&[1], &[255; 99], &mut visit).unwrap();
    assert_eq!(opened.directory, DIRECTORY);
    assert_eq!(opened.checkpoint, opened.index.checkpoint_lsn());
    State { lsn: opened.checkpoint, pairs, pending: opened.pending.clone() }
}

/// Runs steps until there are enough or one fails; gives what may be the state then.
fn run(index: &Index, rng: &mut Rng, mut state: State, seen: &mut dyn FnMut()) -> Vec<State> {
    for _ in 0..rng.below(40) {
        let step = Step::random(rng, &state);
        let mut next = state.clone();
        step.apply_to(&mut next);
        if step.run(index).is_err() {
            assert!(step.run(index).is_err(), "nothing is written after a failure");
            return vec![state, next];
        }
        state = next;
        seen();
    }
    vec![state]
}

/// What a power cut may leave of a store, whose states so far are given.
fn store_after(history: &[Option<Content>], rng: &mut Rng) -> Option<Content> {
    let mut content = history.last().cloned().flatten()?;
    let some = |content: &Content, rng: &mut Rng| {
        content.keys().nth(rng.below(content.len() as u64) as usize).cloned()
    };
    match rng.below(7) {
        0 => return None,
        4 => return cut_short(history, rng),
        1 => return history[rng.below(history.len() as u64) as usize].clone(),
        2 => {
            for _ in 0..=rng.below(3) {
                some(&content, rng).and_then(|key| content.remove(&key));
            }
        }
        3 => {
            let key = some(&content, rng)?;
            let value = content.get_mut(&key).unwrap();
            value.push(0);
            let at = rng.below(value.len() as u64) as usize;
            value[at] ^= 1 << rng.below(8);
        }
        _ => {}
    }
    Some(content)
}

/// A store to which the last change came in part.
fn cut_short(history: &[Option<Content>], rng: &mut Rng) -> Option<Content> {
    let after = history.last()?.clone()?;
    let mut content = history.iter().rev().flatten().find(|before| **before != after)?.clone();
    let keys: Vec<_> = content.keys().chain(after.keys()).cloned().collect();
    for key in keys.into_iter().filter(|key| key != stamp::KEY && rng.below(2) == 0) {
        match after.get(&key) {
            Some(value) => content.insert(key, value.clone()),
            None => content.remove(&key),
        };
    }
    Some(content)
}

/// Runs an index through power cuts. Gives a number that follows from all that was done.
fn survives(seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let mut disk = SimDisk::new(seed);
    let mut stores = MemoryStores::default();
    let mut allowed = vec![State::default()];
    let mut history = vec![None];
    let mut trace = 0;
    for _ in 0..6 {
        if rng.below(2) == 0 {
            disk.arm(1 + rng.below(12));
        }
        match open(&disk, &stores) {
            Ok(opened) => {
                let state = state_of(&opened);
                assert!(allowed.contains(&state), "seed {seed}: {state:?} is none of {allowed:?}");
                disk.arm(1 + rng.below(80));
                let mut seen = || history.push(stores.content());
                allowed = run(&opened.index, &mut rng, state, &mut seen);
            }
            Err(error) => assert!(error.to_string().contains("power cut"), "seed {seed}: {error}"),
        }
        history.push(stores.content());
        trace = Rng::new(trace ^ disk.trace()).next();
        disk = disk.crash();
        stores = MemoryStores::holding(store_after(&history, &mut rng));
        history.push(stores.content());
    }
    let opened = open(&disk, &stores).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(allowed.contains(&state_of(&opened)), "seed {seed}");
    trace
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn it_survives_power_cuts(seed: u64) {
        prop_assert_eq!(survives(seed), survives(seed));
    }
}

#[test]
fn it_reads_what_was_put() {
    let opened = open(&SimDisk::new(1), &MemoryStores::default()).unwrap();
    assert!(opened.is_new && opened.rebuilt.is_none());
    let index = opened.index;
    let key = |n: u8| vec![10, n];
    let changes: Changes = (0..9).map(|n| (key(2 * n), Some(vec![n]))).collect();
    index.checkpoint(5, &changes, b"left").unwrap();
    index.sweep(&Changes::from([(key(4), None), (key(5), None)])).unwrap();
    assert_eq!(index.get(&key(2)).unwrap(), Some(vec![1]));
    assert_eq!(index.get(&key(4)).unwrap(), None);
    assert_eq!(index.last_in(&key(0), &key(5)).unwrap(), Some((key(2), vec![1])));
    assert_eq!(index.last_in(&key(3), &key(5)).unwrap(), None);
    assert_eq!(index.last_in(&key(16), &key(99)).unwrap(), Some((key(16), vec![8])));
    let keys = |first, last, limit| -> Vec<u8> {
        let pairs = index.range(&key(first), &key(last), limit).unwrap();
        pairs.into_iter().map(|(key, _)| key[1]).collect()
    };
    assert_eq!(keys(1, 8, 99), [2, 6, 8]);
    assert_eq!(keys(1, 8, 2), [2, 6]);
    assert_eq!(keys(1, 8, 0), []);
    assert_eq!(keys(8, 1, 9), []);
    assert_eq!(index.checkpoint_lsn(), 5);
    assert!(index.size_bytes() > 0);
    index.close().unwrap();
    assert!(index.is_ended());
    let refused = index.sweep(&Changes::new()).unwrap_err().to_string();
    assert!(refused.contains("restart the broker"), "{refused}");
    assert_eq!(keys(1, 8, 1), [2]);
}

#[test]
fn a_change_that_the_store_got_in_part_is_finished() {
    let mut rng = Rng::new(4);
    for _ in 0..50 {
        let (disk, stores) = (SimDisk::new(1), MemoryStores::default());
        let opened = open(&disk, &stores).unwrap();
        let (mut state, mut history) = (State::default(), Vec::new());
        for _ in 0..3 {
            history.push(stores.content());
            let step = Step::random(&mut rng, &state);
            step.run(&opened.index).unwrap();
            step.apply_to(&mut state);
        }
        history.push(stores.content());
        drop(opened);
        let torn = MemoryStores::holding(cut_short(&history, &mut rng));
        let opened = open(&disk, &torn).unwrap();
        assert_eq!(state_of(&opened), state);
        assert_eq!(opened.rebuilt, None);
    }
}

#[test]
fn the_redo_file_does_not_grow_without_end() {
    let (disk, stores) = (SimDisk::new(1), MemoryStores::default());
    let mut state = State::default();
    let mut rng = Rng::new(3);
    let mut opened = open(&disk, &stores).unwrap();
    let mut sizes = Vec::new();
    for round in 0..400 {
        let step = Step::random(&mut rng, &state);
        step.run(&opened.index).unwrap();
        step.apply_to(&mut state);
        sizes.push(disk.bytes(&redo::path(&dir())).unwrap().len() as u64);
        if round % 50 == 0 {
            drop(opened);
            opened = open(&disk, &stores).unwrap();
            assert!(opened.rebuilt.is_none() && !opened.is_new, "{:?}", opened.rebuilt);
            assert_eq!(state_of(&opened), state);
        }
    }
    let replaced = sizes.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(replaced > 3, "{replaced}");
    assert!(*sizes.iter().max().unwrap() < 2 * SMALL_ROLL + 64 * BLOCK as u64);
}

#[test]
fn a_full_disk_ends_changes_and_not_what_needs_no_room() {
    let (disk, stores) = (SimDisk::new(1), MemoryStores::default());
    let opened = open(&disk, &stores).unwrap();
    let value = Some(vec![1; 3_000]);
    let changes: Changes = (0..40).map(|n| (vec![10, n], value.clone())).collect();
    let mut lsn = 0;
    let mut checkpoint = || {
        lsn += 1;
        opened.index.checkpoint(lsn, &changes, &[])
    };
    checkpoint().unwrap();
    // Room for one more checkpoint, and not for the new redo file that it asks for.
    disk.fill(disk.bytes(&redo::path(&dir())).unwrap().len() as u64 + 45 * BLOCK as u64);
    checkpoint().unwrap();
    assert!(!disk.exists(&redo::new_path(&dir())) && !opened.index.is_ended());
    let full = checkpoint().unwrap_err().to_string();
    assert!(full.contains("redo") && opened.index.is_ended(), "{full}");
    disk.fill(u64::MAX);
    assert!(checkpoint().is_err(), "nothing is written after a failure");
    let opened = open(&disk, &stores).unwrap();
    assert!(opened.checkpoint == 2 && opened.rebuilt.is_none(), "{:?}", opened.rebuilt);
}

#[test]
fn a_store_that_gave_wrong_answers_does_no_harm() {
    let (disk, stores) = (SimDisk::new(1), MemoryStores::default());
    let opened = open(&disk, &stores).unwrap();
    let put = |n, value| Changes::from([(vec![10, n], Some(vec![value]))]);
    opened.index.checkpoint(1, &put(1, 1), b"left").unwrap();
    let forgets = MemoryStores::holding(stores.content().map(|mut content| {
        content.remove(&vec![10, 1]);
        content
    }));
    // As if the store had lost the key while it was open.
    let index = Index { store: Box::new(forgets.clone()), ..opened.index };
    index.checkpoint(2, &put(1, 2), b"left").unwrap();
    for rebuilt in [true, false] {
        let opened = open(&disk, &forgets).unwrap();
        assert_eq!(opened.rebuilt.is_some(), rebuilt, "{:?}", opened.rebuilt);
        let pairs = BTreeMap::from([(vec![10, 1], vec![2])]);
        assert_eq!(state_of(&opened), State { lsn: 2, pairs, pending: b"left".to_vec() });
    }
}
