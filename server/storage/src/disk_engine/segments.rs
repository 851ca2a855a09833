//! The segment files: where they are, and which of them are open.
//!
//! A file belongs to one log and is written once, from its begin to its end, by chunks. Nothing
//! here knows what a chunk holds, or which of them count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{BLOCK, Disk, DiskFile, Mode};
use crate::engine::{Result, StorageError};

/// Up to this many files and directories are synced one by one; more of them all together.
const MAX_SINGLE_SYNCS: usize = 8;

/// A file, by the numbers of its log and of itself.
pub(super) type FileId = (u64, u64);

/// The segment files of a data directory.
pub(super) struct SegmentFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    most_open: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    files: BTreeMap<FileId, Arc<dyn DiskFile>>,
    /// Those of them that large chunks are written to.
    unbuffered: BTreeMap<FileId, Arc<dyn DiskFile>>,
    /// In the order in which they were opened: the first leave first.
    order: VecDeque<FileId>,
}

impl Open {
    /// Files that were removed are open no longer.
    fn forget(&mut self, is_gone: impl Fn(FileId) -> bool) {
        self.files.retain(|id, _| !is_gone(*id));
        self.unbuffered.retain(|id, _| !is_gone(*id));
        self.order.retain(|id| !is_gone(*id));
    }

    fn keep(&mut self, id: FileId, file: Arc<dyn DiskFile>, most: usize) {
        self.files.insert(id, file);
        self.order.push_back(id);
        while self.order.len() > most {
            if let Some(oldest) = self.order.pop_front() {
                self.files.remove(&oldest);
            }
        }
    }
}

/// Whether bytes can be written past the cache.
fn is_aligned(bytes: &[u8], at: u64) -> bool {
    bytes.len().is_multiple_of(BLOCK)
        && at.is_multiple_of(BLOCK as u64)
        && bytes.as_ptr().align_offset(BLOCK) == 0
}

/// What was written since the last sync.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    files: BTreeSet<FileId>,
    /// Logs whose directory got a file.
    logs: BTreeSet<u64>,
    /// Whether a log got a directory.
    root: bool,
}

impl Unsynced {
    /// What somebody else has written, too.
    pub(super) fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.logs.extend(other.logs);
        self.root |= other.root;
    }
}

/// Whether an error says that there is no such file.
pub(super) fn is_missing(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

impl SegmentFiles {
    /// The files in `<data directory>/segments`, of which at most so many stay open.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf, most_open: usize) -> Self {
        Self { disk, dir, most_open: most_open.max(1), open: Mutex::new(Open::default()) }
    }

    /// The directory of all files.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of a log's files.
    pub(super) fn log_dir(&self, log: u64) -> PathBuf {
        self.dir.join(log.to_string())
    }

    /// Where a file is.
    pub(super) fn path(&self, (log, number): FileId) -> PathBuf {
        self.log_dir(log).join(format!("{number:016x}.segment"))
    }

    /// The number of a file, by its name.
    pub(super) fn number(name: &str) -> Option<u64> {
        u64::from_str_radix(name.strip_suffix(".segment")?, 16).ok()
    }

    /// Makes an empty file, and the log's directory if it has none.
    pub(super) fn create(&self, id: FileId, unsynced: &mut Unsynced) -> Result<()> {
        let dir = self.log_dir(id.0);
        if !self.disk.exists(&dir) {
            self.disk.create_dir(&dir)?;
            unsynced.root = true;
        }
        let file = self.disk.open(&self.path(id), Mode::Create)?;
        unsynced.logs.insert(id.0);
        unsynced.files.insert(id);
        self.open().keep(id, file, self.most_open);
        Ok(())
    }

    /// Writes at a place of a file; durable after `sync`.
    pub(super) fn write(
        &self,
        id: FileId,
        at: u64,
        bytes: &[u8],
        unsynced: &mut Unsynced,
    ) -> Result<()> {
        unsynced.files.insert(id);
        let file = match self.get(id) {
            // It was lost, which is said at start. What was in it cannot be read; this can.
            Err(error) if is_missing(&error) => {
                self.create(id, unsynced)?;
                self.get(id)?
            }
            file => file?,
        };
        if is_aligned(bytes, at) {
            // Past the cache: it costs neither the copy nor the pages, and the sync finds it done.
            return self.unbuffered(id)?.write_at(bytes, at);
        }
        file.write_at(bytes, at)?;
        file.begin_sync(at, bytes.len() as u64);
        Ok(())
    }

    /// A file that exists, for writes past the cache.
    fn unbuffered(&self, id: FileId) -> Result<Arc<dyn DiskFile>> {
        let mut open = self.open();
        if let Some(file) = open.unbuffered.get(&id) {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(&self.path(id), Mode::Unbuffered)?;
        while open.unbuffered.len() >= self.most_open {
            open.unbuffered.pop_first();
        }
        open.unbuffered.insert(id, Arc::clone(&file));
        Ok(file)
    }

    /// A file that exists.
    pub(super) fn get(&self, id: FileId) -> Result<Arc<dyn DiskFile>> {
        let mut open = self.open();
        if let Some(file) = open.files.get(&id) {
            return Ok(Arc::clone(file));
        }
        // Under the lock: a file that is removed meanwhile must not stay open here, with its space.
        let file = self.disk.open(&self.path(id), Mode::Write)?;
        open.keep(id, Arc::clone(&file), self.most_open);
        Ok(file)
    }

    /// Makes everything that was written durable.
    pub(super) fn sync(&self, unsynced: &mut Unsynced) -> Result<()> {
        let count = unsynced.files.len() + unsynced.logs.len();
        if count > MAX_SINGLE_SYNCS {
            self.disk.sync_all(&self.dir)?;
        } else {
            for id in &unsynced.files {
                self.get(*id)?.sync()?;
            }
            for log in &unsynced.logs {
                self.disk.sync_dir(&self.log_dir(*log))?;
            }
            if unsynced.root {
                self.disk.sync_dir(&self.dir)?;
            }
        }
        *unsynced = Unsynced::default();
        Ok(())
    }

    /// Removes a file. Who reads it can go on.
    pub(super) fn remove(&self, id: FileId, unsynced: &mut Unsynced) -> Result<()> {
        unsynced.files.remove(&id);
        self.disk.remove(&self.path(id))?;
        self.open().forget(|of| of == id);
        Ok(())
    }

    /// Removes a log's directory with all its files.
    pub(super) fn remove_log(&self, log: u64, unsynced: &mut Unsynced) -> Result<()> {
        unsynced.files.retain(|(of, _)| *of != log);
        unsynced.logs.remove(&log);
        self.disk.remove_dir(&self.log_dir(log))?;
        self.open().forget(|(of, _)| of == log);
        Ok(())
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of the open files panics")
    }
}
