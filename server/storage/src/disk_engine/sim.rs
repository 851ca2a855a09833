//! The engine on a simulated disk, for the simulation of `tests/sim` and nobody else.
//!
//! A [`Machine`] is what is left of a broker's disk when its process or its power is gone. An
//! engine that was started on it has no thread: everything happens in the calls that are made, and
//! the same seed and the same calls always do the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::{Content, MemoryStores};
use super::{DiskEngine, Options};
use crate::disk::Disk;
pub(crate) use crate::disk::sim::Fault;
use crate::disk::sim::{ROOT, Rng, SimDisk};
use crate::engine::{Result, StorageError};

/// The number of the data directory.
const DIRECTORY: u64 = 7;
/// The error of a disk that fails.
const EIO: i32 = 5;

/// What has become of the store under the index in a power cut. The redo file beside it is what
/// counts: nothing may be lost with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFate {
    /// It is as it was.
    Kept,
    /// It is as it was some time before.
    Older,
    /// It is gone.
    Lost,
}

/// Why an engine does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The power was cut while this was done to a file of this kind.
    PowerCut(&'static str, &'static str),
    /// The disk failed a call.
    Disk,
    /// Bytes are damaged: that was found, and said.
    Damage,
}

impl Failure {
    /// What an error says; `None` for one that a simulated disk gives no reason for.
    #[must_use]
    pub fn of(error: &StorageError) -> Option<Self> {
        match error {
            StorageError::Io { action, path, source } => match source.raw_os_error() {
                Some(EIO) => Some(Self::Disk),
                None if source.to_string() == "power cut" => {
                    Some(Self::PowerCut(action, crate::disk::sim::kind(path)))
                }
                _ => None,
            },
            StorageError::Corrupt { .. } => Some(Self::Damage),
            StorageError::Missing { .. } | StorageError::Refused(_) => None,
        }
    }
}

/// A disk, and the store of the index on it.
pub struct Machine {
    disk: SimDisk,
    stores: MemoryStores,
    /// The store as it was at an earlier start.
    older: Option<Content>,
    rng: Rng,
    free_floor: u64,
}

impl Machine {
    /// A machine with an empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            stores: MemoryStores::default(),
            older: None,
            rng: Rng::new(!seed),
            free_floor: 0,
        }
    }

    /// From the next start on so many bytes of the disk are to be left free.
    #[cfg(test)]
    pub(crate) fn keep_free(&mut self, bytes: u64) {
        self.free_floor = bytes;
    }

    /// From now on the disk has room for so many bytes beside those.
    #[cfg(test)]
    pub(crate) fn leave(&self, bytes: u64) {
        const ALL: u64 = 1 << 40;
        self.disk.fill(ALL);
        let used = ALL - self.disk.free_bytes(Path::new(ROOT)).unwrap_or(ALL);
        self.disk.fill(used + self.free_floor + bytes);
    }

    /// Starts the engine, with everything small, so that all of it happens often.
    ///
    /// # Errors
    /// Those of [`DiskEngine::open`].
    pub fn start(&mut self) -> Result<DiskEngine> {
        self.older = self.stores.content();
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let options = Options { free_floor: self.free_floor, ..small() };
        DiskEngine::open_on(&disk, Path::new(ROOT), options, &self.stores, DIRECTORY)
    }

    /// The power goes in the middle of the `n`-th change of the disk from now.
    pub fn cut_power_at(&self, n: u64) {
        self.disk.arm_with(n, Fault::PowerCut);
    }

    /// The disk fails the `n`-th change from now.
    pub fn fail_at(&self, n: u64) {
        self.disk.arm_with(n, Fault::Failure);
    }

    /// What was to happen to the disk does not.
    pub fn disarm(&self) {
        self.disk.disarm();
    }

    /// The power goes, and comes back: of what was not synced anything may be there. Says what has
    /// become of the store of the index.
    pub fn cut_power(&mut self) -> StoreFate {
        self.disk = self.disk.crash();
        let fate = match self.rng.below(4) {
            0 => StoreFate::Lost,
            1 => StoreFate::Older,
            _ => StoreFate::Kept,
        };
        let content = match fate {
            StoreFate::Kept => self.stores.content(),
            StoreFate::Older => self.older.clone(),
            StoreFate::Lost => None,
        };
        self.stores = MemoryStores::holding(content);
        fate
    }

    /// A bit of one of these files turns. Returns which, if there is any.
    pub fn rot(&mut self, of: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let mut files = self.disk.files();
        files.retain(|path| of(path));
        let at = self.rng.below(files.len() as u64);
        let path = files.get(usize::try_from(at).ok()?)?.clone();
        let rng = &mut self.rng;
        self.disk.damage(&path, |bytes| {
            let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap_or(0);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        });
        Some(path)
    }

    /// The changes of the disk, by what was done and to which kind of file: `journal`, `segment`,
    /// `redo`, and so on. A file of the journal that is written from its start counts as begun.
    #[must_use]
    pub fn done(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.disk.done()
    }

    /// A number that follows from all changes of the disk, in order.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.disk.trace()
    }
}

impl DiskEngine {
    /// Makes a checkpoint now, due or not.
    ///
    /// # Errors
    /// After one the engine takes nothing more.
    pub fn make_checkpoint(&self) -> Result<()> {
        self.core.change(|_| self.core.checkpoint(&mut self.core.checkpoints()).map(|_| ()))
    }

    /// Writes what is committed out of memory: of logs that have enough of it, or of `all`.
    ///
    /// # Errors
    /// After one the engine takes nothing more.
    pub fn write_out(&self, all: bool) -> Result<()> {
        self.core.change(|_| self.core.drain(&mut self.core.work(), all))
    }
}

/// Small enough that everything happens often.
pub(super) fn small() -> Options {
    Options {
        journal_bytes: 256 * 1024,
        memory_bytes: 64 * 1024,
        cache_bytes: 32 * 1024,
        free_floor: 0,
        open_files: 8,
        background: false,
        chunk_bytes: 4 * 1024,
        checkpoint_room: 0,
        drain_bytes: 1024,
        unbuffered_bytes: 3 * 1024,
        first_file_bytes: 16 * 1024,
        last_file_bytes: 64 * 1024,
        redo_bytes: 160 * 1024,
    }
}
