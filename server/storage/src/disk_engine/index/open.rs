//! Decides, at start, what the redo file and the store are good for.
//!
//! The redo file is the authority. The store is used as it is, brought up to date or made anew from
//! it; only where the redo file is damaged, and the store surely has all of it, is it the other way
//! round.

use std::path::Path;
use std::sync::Arc;

use super::redo::{self, Redo};
use super::stamp::{self, Stamp, Sum};
use super::store::{Changes, Store, StoreError, StoreResult, Stores};
use super::survey::{self, Damage, Found, Whole, damaged};
use super::{Index, Opened, Writer};
use crate::disk::Disk;
use crate::engine::{Result, StorageError};

/// The names that an index has in its directory.
const NAMES: [&str; 3] = ["redo", "redo.new", "sled"];

const NOT_AS_LEFT: &str = "the store is not as it was left";

/// What the store is found to be.
enum Beside {
    Absent,
    Unsound(String),
    /// It is not what its stamp says. It may be that changes were cut short that the redo file has.
    Torn(Box<dyn Store>, Stamp),
    Sound(Box<dyn Store>, Stamp),
}

/// Opens the index, or begins one.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    stores: &dyn Stores,
    fresh_directory: u64,
    roll_bytes: u64,
) -> Result<Opened> {
    // First: a store that another process has open is refused before anything is touched.
    let beside = inspect(stores)?;
    disk.create_dir(dir)?;
    // Names that an earlier process left in the kernel's cache must be durable before they count.
    if let Some(parent) = dir.parent() {
        disk.sync_dir(parent)?;
    }
    disk.remove(&redo::new_path(dir))?;
    disk.sync_dir(dir)?;
    let found = survey::look(disk.as_ref(), dir)?;
    let place = Place { disk: disk.as_ref(), dir, stores };
    #[cfg(test)]
    let is_new = matches!((&found, &beside), (Found::Missing, Beside::Absent));
    let ready = match (found, beside) {
        (Found::Missing, Beside::Absent) => place.begin(fresh_directory)?,
        (Found::Missing, beside) => {
            let why = "the file is missing".to_owned();
            let damage = Damage { at: 0, why, newest: 0, turn: 0, directory: None };
            place.repair(damage, beside)?
        }
        (Found::Damaged(damage), beside) => place.repair(damage, beside)?,
        (Found::Whole(whole), beside) => place.bring_up(&whole, beside)?,
    };
    let Ready { store, redo, stamp, pending, rebuilt } = ready;
    let writer = Writer::new(redo, stamp, roll_bytes);
    Ok(Opened {
        index: Index::new(disk, dir, store, writer),
        checkpoint: stamp.lsn,
        directory: stamp.directory,
        pending,
        rebuilt,
        #[cfg(test)]
        is_new,
    })
}

/// Opens the store, if there is one, and checks all that it holds.
fn inspect(stores: &dyn Stores) -> Result<Beside> {
    if !stores.exists() {
        return Ok(Beside::Absent);
    }
    let checked = stores.open().and_then(|store| check(store.as_ref()).map(|stamp| (store, stamp)));
    match checked {
        Ok((store, Some((stamp, true)))) => Ok(Beside::Sound(store, stamp)),
        Ok((store, Some((stamp, false)))) => Ok(Beside::Torn(store, stamp)),
        Ok((_, None)) => Ok(Beside::Unsound("the store has no stamp".to_owned())),
        Err(StoreError::Damaged(why)) => Ok(Beside::Unsound(why)),
        Err(StoreError::System(error)) => Err(error),
    }
}

/// The stamp of a store, and whether the store holds what it says.
fn check(store: &dyn Store) -> StoreResult<Option<(Stamp, bool)>> {
    let Some(bytes) = store.get(stamp::KEY)? else { return Ok(None) };
    let Ok(stamp) = Stamp::decode(&bytes) else { return Ok(None) };
    Ok(Some((stamp, sum_of(store)? == stamp.sum)))
}

fn sum_of(store: &dyn Store) -> StoreResult<Sum> {
    let mut sum = Sum::default();
    store.scan(stamp::FIRST_KEY, None, &mut |key, value| {
        sum.add(key, value);
        Ok(true)
    })?;
    Ok(sum)
}

/// An index that is about to be used.
struct Ready {
    store: Box<dyn Store>,
    redo: Redo,
    stamp: Stamp,
    pending: Vec<u8>,
    rebuilt: Option<String>,
}

struct Place<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    stores: &'a dyn Stores,
}

impl Place<'_> {
    /// Begins an index: first the redo file, so that a store never stands without one.
    fn begin(&self, directory: u64) -> Result<Ready> {
        let names = self.disk.list(self.dir)?;
        if let Some(name) = names.iter().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(StorageError::Refused(format!(
                "{} holds \"{name}\", and no index that this broker knows: start the broker that \
                 wrote the data directory, or give this one a directory of its own",
                self.dir.display()
            )));
        }
        let pending = stamp::pending_of(&[]);
        let sum = Sum::default();
        let stamp = Stamp { directory, turn: 1, sequence: 1, lsn: 0, sum, pending };
        let redo = Redo::create(self.disk, self.dir, None, &stamp, &[])?;
        let store = self.stores.open().map_err(|error| error.at(self.dir))?;
        self.put_stamp(store.as_ref(), &stamp)?;
        Ok(Ready { store, redo, stamp, pending: Vec::new(), rebuilt: None })
    }

    fn put_stamp(&self, store: &dyn Store, stamp: &Stamp) -> Result<()> {
        let put = store.apply(&Changes::new(), Some(&stamp.encode()));
        put.and_then(|()| store.flush()).map_err(|error| error.at(self.dir))
    }

    /// Makes a new redo file from a store that surely has all that the old one had.
    fn repair(&self, damage: Damage, beside: Beside) -> Result<Ready> {
        let path = redo::path(self.dir);
        let Damage { at, why, newest, turn, directory } = damage;
        let (store, stamp) = match beside {
            Beside::Sound(store, stamp) => (store, stamp),
            Beside::Absent => return Err(damaged(&path, at, &why)),
            Beside::Torn(..) => return Err(self.no_help(at, &why, NOT_AS_LEFT)),
            Beside::Unsound(store) => return Err(self.no_help(at, &why, &store)),
        };
        let is_of_here = directory.is_none_or(|directory| directory == stamp.directory);
        if !is_of_here || stamp.sequence < newest || stamp.pending.0 > 0 {
            return Err(damaged(&path, at, &why));
        }
        let stamp = Stamp { turn: stamp.turn.max(turn) + 1, ..stamp };
        let redo = Redo::create(self.disk, self.dir, Some(store.as_ref()), &stamp, &[])?;
        let rebuilt = Some(format!(
            "{} was damaged at byte {at} ({why}); it was written anew, and nothing is lost",
            path.display()
        ));
        Ok(Ready { store, redo, stamp, pending: Vec::new(), rebuilt })
    }

    /// Neither the redo file nor the store is whole.
    fn no_help(&self, at: u64, why: &str, store: &str) -> StorageError {
        let why = format!("{why}; and {} does not help: {store}", self.dir.display());
        damaged(&redo::path(self.dir), at, &why)
    }

    /// Makes the store what a redo file that is whole says.
    fn bring_up(&self, whole: &Whole, beside: Beside) -> Result<Ready> {
        let (store, stamp, is_sound) = match beside {
            Beside::Sound(store, stamp) => (store, stamp, true),
            Beside::Torn(store, stamp) => (store, stamp, false),
            Beside::Absent => return self.rebuild(whole, "there was no store".to_owned()),
            Beside::Unsound(why) => return self.rebuild(whole, why),
        };
        let target = whole.stamp();
        if !is_sound && stamp.sequence >= target.sequence {
            drop(store);
            return self.rebuild(whole, NOT_AS_LEFT.to_owned());
        }
        if stamp.directory == target.directory && stamp.sequence > target.sequence {
            let (newest, last) = (target.sequence, stamp.sequence);
            let why = format!("frame {newest} is the last one, and there was a frame {last}");
            let (at, directory) = (whole.end, Some(target.directory));
            let damage = Damage { at, why, newest, turn: target.turn, directory };
            return self.repair(damage, Beside::Sound(store, stamp));
        }
        match self.catch_up(whole, store.as_ref(), &stamp) {
            Ok(true) => self.ready(whole, store, None),
            Err(StoreError::System(error)) => Err(error),
            Ok(false) => {
                drop(store);
                let why = "the store and the redo file do not belong together".to_owned();
                self.rebuild(whole, why)
            }
            Err(StoreError::Damaged(why)) => {
                drop(store);
                self.rebuild(whole, why)
            }
        }
    }

    /// Applies what the store has not got, or only in part, if that makes it what the redo file
    /// says: whatever it held before, the sum over all of it tells.
    fn catch_up(&self, whole: &Whole, store: &dyn Store, stamp: &Stamp) -> StoreResult<bool> {
        let target = whole.stamp();
        let known = whole.steps.iter().find(|step| step.sequence == stamp.sequence);
        if stamp.directory != target.directory || known.is_none_or(|step| step.sum != stamp.sum) {
            return Ok(false);
        }
        if stamp.sequence == target.sequence {
            return Ok(Stamp { turn: target.turn, ..*stamp } == target);
        }
        whole.replay(Some(stamp.sequence), &mut |changes| store.apply(changes, None))?;
        if sum_of(store)? != target.sum {
            return Ok(false);
        }
        store.apply(&Changes::new(), Some(&target.encode()))?;
        store.flush()?;
        Ok(true)
    }

    fn ready(
        &self,
        whole: &Whole,
        store: Box<dyn Store>,
        rebuilt: Option<String>,
    ) -> Result<Ready> {
        let redo = Redo::open(self.disk, self.dir, whole.base_bytes, whole.end)?;
        let pending = whole.pending.clone();
        Ok(Ready { store, redo, stamp: whole.stamp(), pending, rebuilt })
    }

    /// Makes the store anew.
    fn rebuild(&self, whole: &Whole, why: String) -> Result<Ready> {
        self.stores.destroy()?;
        let (store, sum) = self.fill(whole).map_err(|error| error.at(self.dir))?;
        let target = whole.stamp();
        if sum == target.sum {
            self.put_stamp(store.as_ref(), &target)?;
            return self.ready(whole, store, Some(why));
        }
        // Each frame is as it was written, and none is missing: what they hold counts. The sums
        // were wrong, as the store by which they were reckoned had given wrong answers.
        let stamp = Stamp { turn: target.turn + 1, sum, ..target };
        let pending = whole.pending.clone();
        let redo = Redo::create(self.disk, self.dir, Some(store.as_ref()), &stamp, &pending)?;
        self.put_stamp(store.as_ref(), &stamp)?;
        let rebuilt = Some(format!("{why}; its sum was wrong too"));
        Ok(Ready { store, redo, stamp, pending, rebuilt })
    }

    fn fill(&self, whole: &Whole) -> StoreResult<(Box<dyn Store>, Sum)> {
        let store = self.stores.open()?;
        whole.replay(None, &mut |changes| store.apply(changes, None))?;
        let sum = sum_of(store.as_ref())?;
        Ok((store, sum))
    }
}
