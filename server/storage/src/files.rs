//! What every part of the crate that touches files does in the same way.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::engine::{Result, StorageError};

/// A call of the system that failed.
pub(crate) fn io_error(action: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::Io { action, path: path.to_owned(), source }
}

/// Makes a file, or the names in a directory, durable.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| io_error("sync", path, source))
}

/// The bytes that the file system of a directory has left for this process.
#[cfg(unix)]
pub(crate) fn free_bytes(dir: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(dir);
    let stat = stat.map_err(|error| io_error("ask for the free space of", dir, error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
