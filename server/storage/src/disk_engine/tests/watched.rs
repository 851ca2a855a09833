//! A disk that tells somebody before it changes anything: he may refuse, or do something meanwhile.

use std::path::Path;
use std::sync::Arc;

use crate::disk::sim::SimDisk;
use crate::disk::{Disk, DiskFile, Mode};
use crate::engine::Result;

/// Who is told of changes.
pub(super) trait Watch: Send + Sync {
    /// Something is about to be written or synced.
    fn meet(&self, action: &'static str, path: &Path) -> Result<()>;

    /// Something is about to be read.
    fn read(&self, _path: &Path) -> Result<()> {
        Ok(())
    }
}

/// A simulated disk that is watched.
#[derive(Clone)]
pub(super) struct WatchedDisk {
    disk: SimDisk,
    watch: Arc<dyn Watch>,
}

impl WatchedDisk {
    pub(super) fn new(disk: &SimDisk, watch: Arc<dyn Watch>) -> Self {
        Self { disk: disk.clone(), watch }
    }
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    watch: Arc<dyn Watch>,
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize> {
        self.watch.read(self.path())?;
        self.file.read_at(buffer, at)
    }

    fn read(&self, bytes: usize, at: u64) -> Result<Vec<u8>> {
        self.watch.read(self.path())?;
        self.file.read(bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.watch.meet("write", self.path())?;
        self.file.write_at(bytes, at)
    }

    fn sync(&self) -> Result<()> {
        self.watch.meet("sync", self.path())?;
        self.file.sync()
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        self.watch.meet("change the length of", self.path())?;
        self.file.set_len(bytes)
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        self.watch.meet("allocate", self.path())?;
        self.file.allocate(bytes)
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn path(&self) -> &Path {
        self.file.path()
    }
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(WatchedFile { file, watch: Arc::clone(&self.watch) }))
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.disk.create_dir(dir)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.disk.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> Result<()> {
        self.disk.remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.watch.meet("rename", from)?;
        self.disk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.watch.meet("sync", dir)?;
        self.disk.sync_dir(dir)
    }

    fn sync_all(&self, dir: &Path) -> Result<()> {
        self.watch.meet("sync", dir)?;
        self.disk.sync_all(dir)
    }

    fn free_bytes(&self, dir: &Path) -> Result<u64> {
        self.disk.free_bytes(dir)
    }
}
