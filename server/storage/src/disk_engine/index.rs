//! The index: keys and values that are changed in whole checkpoints, each of them durable.
//!
//! Keys are looked up in a store that is not trusted to survive anything; a redo file beside it is
//! what is durable. A change is appended there, with one durable write, before the store gets it.
//! At start the store is used if it says, and a sum over all that it holds confirms, that it is
//! what the redo file describes; otherwise it is made anew. Knows nothing of what keys and values
//! mean, but that keys begin with a byte above 0: that one is the index's own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::frame::Kind;
use crate::disk::Disk;
use crate::engine::{Result, StorageError};

pub(crate) mod contents;
#[cfg(any(test, feature = "sim"))]
mod memory_store;
mod open;
mod redo;
mod sled_store;
mod stamp;
mod store;
mod survey;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "sim"))]
pub(crate) use memory_store::{Content, MemoryStores};
pub(crate) use sled_store::SledStores;
pub(crate) use store::{Changes, Each, Pair, Stores};

use self::redo::Redo;
use self::stamp::{Stamp, pending_of};
use self::store::Store;

/// A redo file is not replaced before it has so many times the size that it would have as a new
/// one.
const ROLL_FACTOR: u64 = 4;

/// An index that was opened.
pub(crate) struct Opened {
    pub(crate) index: Index,
    /// The last checkpoint, 0 when there was none.
    pub(crate) checkpoint: u64,
    /// The number of the data directory.
    pub(crate) directory: u64,
    /// What the last checkpoint left pending.
    pub(crate) pending: Vec<u8>,
    /// Why the store, or the redo file, was made anew, when it was: for the log.
    pub(crate) rebuilt: Option<String>,
    /// There was no index before.
    #[cfg(test)]
    pub(crate) is_new: bool,
}

/// An open index. Any number of threads may read it; changes are made one at a time.
pub(crate) struct Index {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: Box<dyn Store>,
    writer: Mutex<Writer>,
    lsn: AtomicU64,
    redo_bytes: AtomicU64,
    ended: AtomicBool,
}

struct Writer {
    redo: Redo,
    stamp: Stamp,
    /// The size at which the redo file is replaced.
    roll_at: u64,
    roll_bytes: u64,
}

impl Writer {
    fn new(redo: Redo, stamp: Stamp, roll_bytes: u64) -> Self {
        let roll_at = roll_bytes.max(ROLL_FACTOR * redo.base_bytes());
        Self { redo, stamp, roll_at, roll_bytes }
    }
}

impl Index {
    /// Opens the index in a directory whose parent exists, or begins one there for the data
    /// directory of the number `fresh_directory`. Its redo file is not replaced below `roll_bytes`.
    ///
    /// # Errors
    /// `Corrupt` when bytes that count are damaged, with the file and the place; `Refused` for a
    /// format of another version and an index that is in use; `Io` for everything else.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        stores: &dyn Stores,
        fresh_directory: u64,
        roll_bytes: u64,
    ) -> Result<Opened> {
        open::open(disk, dir, stores, fresh_directory, roll_bytes)
    }

    /// Whether a directory holds an index, whole or not.
    pub(crate) fn is_in(disk: &dyn Disk, dir: &Path, stores: &dyn Stores) -> bool {
        disk.exists(&redo::path(dir)) || stores.exists()
    }

    fn new(disk: Arc<dyn Disk>, dir: &Path, store: Box<dyn Store>, writer: Writer) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            store,
            lsn: AtomicU64::new(writer.stamp.lsn),
            redo_bytes: AtomicU64::new(writer.redo.bytes()),
            ended: AtomicBool::new(false),
            writer: Mutex::new(writer),
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.store.get(key).map_err(|error| error.at(&self.dir))
    }

    /// The greatest key from `first` to `last`, with its value.
    pub(crate) fn last_in(&self, first: &[u8], last: &[u8]) -> Result<Option<Pair>> {
        self.store.last_in(first, last).map_err(|error| error.at(&self.dir))
    }

    /// The keys from `first` to `last` with their values, in order, at most `limit` of them.
    pub(crate) fn range(&self, first: &[u8], last: &[u8], limit: usize) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        if limit > 0 && first <= last {
            let mut visit = |key: &[u8], value: &[u8]| {
                pairs.push((key.to_vec(), value.to_vec()));
                Ok(pairs.len() < limit)
            };
            let scanned = self.store.scan(first, Some(last), &mut visit);
            scanned.map_err(|error| error.at(&self.dir))?;
        }
        Ok(pairs)
    }

    /// Visits the keys from `first` to `last` with their values, in order. A change that is made
    /// meanwhile may be seen in part.
    pub(crate) fn for_each(&self, first: &[u8], last: &[u8], f: Each<'_>) -> Result<()> {
        if first > last {
            return Ok(());
        }
        let scanned =
            self.store.scan(first, Some(last), &mut |key, value| f(key, value).map(|()| true));
        scanned.map_err(|error| error.at(&self.dir))
    }

    /// Makes a checkpoint: it is durable, and readers see it, on return. After an error nothing can
    /// be changed any more, and whether this was is open until the next start.
    pub(crate) fn checkpoint(&self, lsn: u64, changes: &Changes, pending: &[u8]) -> Result<()> {
        self.change(|writer| {
            let stamp = Stamp { lsn, pending: pending_of(pending), ..writer.stamp };
            self.apply(writer, Kind::Checkpoint, stamp, changes, pending)?;
            self.lsn.store(lsn, Ordering::Release);
            if writer.redo.bytes() > writer.roll_at {
                self.roll(writer, pending)?;
            }
            Ok(())
        })
    }

    /// Makes changes, durably, that belong to no checkpoint: the last one stays what it is.
    pub(crate) fn sweep(&self, changes: &Changes) -> Result<()> {
        self.change(|writer| self.apply(writer, Kind::Sweep, writer.stamp, changes, &[]))
    }

    fn change(&self, change: impl FnOnce(&mut Writer) -> Result<()>) -> Result<()> {
        let mut writer = self.writer.lock().expect("no holder of the index panics");
        if self.is_ended() {
            return Err(StorageError::Refused(
                "the index is closed, or an earlier write to it failed: restart the broker"
                    .to_owned(),
            ));
        }
        let result = change(&mut writer);
        self.redo_bytes.store(writer.redo.bytes(), Ordering::Relaxed);
        self.ended.fetch_or(result.is_err(), Ordering::AcqRel);
        result
    }

    fn apply(
        &self,
        writer: &mut Writer,
        kind: Kind,
        mut stamp: Stamp,
        changes: &Changes,
        pending: &[u8],
    ) -> Result<()> {
        for (key, value) in changes {
            debug_assert!(key.as_slice() >= stamp::FIRST_KEY, "the key is the index's own");
            if let Some(old) = self.get(key)? {
                stamp.sum.remove(key, &old);
            }
            if let Some(value) = value {
                stamp.sum.add(key, value);
            }
        }
        stamp.sequence += 1;
        writer.redo.append(kind, &stamp, changes, pending)?;
        let applied = self.store.apply(changes, Some(&stamp.encode()));
        applied.and_then(|()| self.store.flush()).map_err(|error| error.at(&self.dir))?;
        writer.stamp = stamp;
        Ok(())
    }

    /// Replaces the redo file, which has grown, by one that begins with what there is now.
    fn roll(&self, writer: &mut Writer, pending: &[u8]) -> Result<()> {
        let stamp = Stamp { turn: writer.stamp.turn + 1, ..writer.stamp };
        let store = Some(self.store.as_ref());
        match Redo::replace(self.disk.as_ref(), &self.dir, store, &stamp, pending)? {
            Some(redo) => *writer = Writer::new(redo, stamp, writer.roll_bytes),
            // The disk is full. There is no use in trying again at each checkpoint.
            None => writer.roll_at = writer.redo.bytes() + writer.redo.bytes() / 4,
        }
        Ok(())
    }

    /// The last checkpoint.
    #[cfg(test)]
    pub(crate) fn checkpoint_lsn(&self) -> u64 {
        self.lsn.load(Ordering::Acquire)
    }

    /// Whether nothing can be changed any more.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// The bytes that the index takes on its disk.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.redo_bytes.load(Ordering::Relaxed) + self.store.size_bytes()
    }

    /// Ends the index. Reads go on, changes do not.
    pub(crate) fn close(&self) -> Result<()> {
        let _writer = self.writer.lock().expect("no holder of the index panics");
        self.ended.store(true, Ordering::Release);
        self.store.flush().map_err(|error| error.at(&self.dir))
    }
}
