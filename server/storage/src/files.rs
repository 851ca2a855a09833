//! What every part of the crate that touches files does in the same way.

use std::fs::{File, OpenOptions};
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

/// Opens or creates a file of which every later write, through any descriptor, is durable and in
/// place before the call that writes returns. Says whether the filesystem can do that.
pub(crate) fn open_write_through(path: &Path) -> Result<(File, bool)> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    let file = file.map_err(|source| io_error("open", path, source))?;
    let write_through = set_write_through(&file);
    file.sync_all().map_err(|source| io_error("sync", path, source))?;
    Ok((file, write_through))
}

/// The inode's flag of synchronous updates, which a file keeps.
#[cfg(target_os = "linux")]
fn set_write_through(file: &File) -> bool {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    ioctl_getflags(file).is_ok_and(|flags| {
        flags.contains(IFlags::SYNC) || ioctl_setflags(file, flags | IFlags::SYNC).is_ok()
    })
}

#[cfg(not(target_os = "linux"))]
fn set_write_through(_: &File) -> bool {
    false
}
