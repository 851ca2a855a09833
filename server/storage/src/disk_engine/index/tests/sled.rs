//! The real store on the real disk, whose files are damaged in every way.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::disk::real::RealDisk;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Result<Opened> {
        let dir = self.0.path().join("index");
        let stores = SledStores::new(&dir);
        open::open(Arc::new(RealDisk::default()), &dir, &stores, DIRECTORY, SMALL_ROLL)
    }

    fn sled(&self) -> PathBuf {
        self.0.path().join("index/sled")
    }

    /// All files of sled.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.sled()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.is_file());
        files.sort();
        files
    }
}

fn steps(opened: &Opened, state: &mut State, rng: &mut Rng, count: u32) {
    for _ in 0..count {
        let step = Step::random(rng, state);
        step.run(&opened.index).unwrap();
        step.apply_to(state);
    }
}

#[test]
fn it_is_what_it_was_after_each_start() {
    let place = Place::new();
    let (mut state, mut rng) = (State::default(), Rng::new(1));
    for round in 0..6 {
        let opened = place.open().unwrap();
        assert_eq!((opened.is_new, &opened.rebuilt), (round == 0, &None));
        assert_eq!(state_of(&opened), state);
        steps(&opened, &mut state, &mut rng, 30);
        if round % 2 == 0 {
            opened.index.close().unwrap();
        }
    }
    fs::remove_dir_all(place.sled()).unwrap();
    let opened = place.open().unwrap();
    assert!(opened.rebuilt.is_some());
    assert_eq!(state_of(&opened), state);
}

#[test]
fn it_is_what_it_was_whatever_becomes_of_sled() {
    let place = Place::new();
    let (mut state, mut rng) = (State::default(), Rng::new(2));
    let mut rebuilt = 0;
    for round in 0..40 {
        let opened = place.open().unwrap();
        assert_eq!(state_of(&opened), state, "round {round}");
        rebuilt += u32::from(opened.rebuilt.is_some());
        steps(&opened, &mut state, &mut rng, 5);
        drop(opened);
        let files = place.files();
        let file = &files[if round % 4 == 0 { round / 4 % files.len() } else { 1 % files.len() }];
        let mut bytes = fs::read(file).unwrap();
        let at = rng.below(bytes.len() as u64) as usize;
        match round % 5 {
            0 => bytes.truncate(at),
            1 => bytes[at..].iter_mut().take(4096).for_each(|byte| *byte = 0),
            2 => bytes.iter_mut().skip(at).take(64).for_each(|byte| *byte = 0xff),
            3 => bytes.iter_mut().step_by(997).for_each(|byte| *byte ^= 1),
            _ => bytes[at] ^= 0x80,
        }
        fs::write(file, bytes).unwrap();
    }
    assert!(rebuilt > 5, "{rebuilt}");
}

#[test]
fn an_index_that_is_in_use_is_refused_and_left_alone() {
    let place = Place::new();
    let (mut state, mut rng) = (State::default(), Rng::new(3));
    let opened = place.open().unwrap();
    steps(&opened, &mut state, &mut rng, 3);
    let error = place.open().err().unwrap();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    steps(&opened, &mut state, &mut rng, 3);
    drop(opened);
    let opened = place.open().unwrap();
    assert_eq!((state_of(&opened), opened.rebuilt), (state, None));
}

#[test]
fn it_is_read_while_it_is_changed() {
    let place = Place::new();
    let index = place.open().unwrap().index;
    let put = |n: u64| Changes::from([(vec![10], Some(n.to_be_bytes().to_vec()))]);
    index.checkpoint(0, &put(0), &[]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while last < 200 {
                    let (_, value) = index.last_in(&[10], &[11]).unwrap().unwrap();
                    let now = u64::from_be_bytes(value.try_into().unwrap());
                    assert!(now >= last);
                    last = now;
                }
            });
        }
        for n in 1..=200 {
            index.checkpoint(n, &put(n), &[]).unwrap();
            assert_eq!(index.get(&[10]).unwrap(), Some(n.to_be_bytes().to_vec()));
        }
    });
}
