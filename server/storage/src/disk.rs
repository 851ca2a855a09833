//! What the durable engine asks of a disk, and nothing more.
//!
//! Two implementations stand behind it: the system's ([`real`]), and a simulated one that loses
//! power. Whatever is written is durable only after the sync that the method names; names in a
//! directory are durable only after [`Disk::sync_dir`].

use std::path::Path;
use std::sync::Arc;

use crate::engine::Result;

pub(crate) mod real;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod sim;

/// What a file that is written directly is aligned to, in memory and on the disk.
pub(crate) const BLOCK: usize = 4096;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To be read; it must exist.
    Read,
    /// To be read and written through the cache; it must exist.
    Write,
    /// As `Write`, and created, empty, when it does not exist.
    Create,
    /// To be read, and written past the cache: each write is durable when it returns, and is
    /// aligned to [`BLOCK`] in memory, place and length. Created when it does not exist.
    Direct,
    /// To be written past the cache, aligned as `Direct` asks for, and durable only after `sync`;
    /// it must exist.
    Unbuffered,
}

/// An open file. Any number of threads may use it.
pub(crate) trait DiskFile: Send + Sync {
    /// Reads at a place until the buffer is full or the file ends. Returns the bytes read.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize>;

    /// Reads this many bytes at a place, or up to the end of the file, into memory of their own.
    fn read(&self, bytes: usize, at: u64) -> Result<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        let read = self.read_at(&mut buffer, at)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    /// Writes all bytes at a place; the file grows as needed. Durable after `sync`, or at once when
    /// the file is direct.
    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()>;

    /// Lets what was written at a place begin its way to the disk, so that a later `sync` finds
    /// less to do. It promises nothing.
    fn begin_sync(&self, _at: u64, _bytes: u64) {}

    /// Makes what was written, and the length, durable.
    fn sync(&self) -> Result<()>;

    /// Cuts or extends, with zeros. Durable after `sync`.
    fn set_len(&self, bytes: u64) -> Result<()>;

    /// Makes the file this long, with zeros, and takes the room for all of it: no write to it is
    /// refused later for want of room. The length is durable after `sync`, or after the next write
    /// when the file is direct.
    fn allocate(&self, bytes: u64) -> Result<()>;

    /// The length.
    fn len(&self) -> Result<u64>;

    /// Where it was opened.
    fn path(&self) -> &Path;
}

/// A file system.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>>;

    /// Whether there is a file or a directory of this name.
    fn exists(&self, path: &Path) -> bool;

    /// The names in a directory, sorted; none when there is no such directory.
    fn list(&self, dir: &Path) -> Result<Vec<String>>;

    /// Creates a directory, whose parent exists, if there is none.
    fn create_dir(&self, dir: &Path) -> Result<()>;

    /// Removes a file, if there is one. Who has it open can still read it.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Removes a directory with all files in it, if there is one.
    fn remove_dir(&self, dir: &Path) -> Result<()>;

    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> Result<()>;

    /// Makes everything that was written to any file under the directory durable, names included:
    /// for many files at once it is far cheaper than one sync a file.
    fn sync_all(&self, dir: &Path) -> Result<()>;

    /// The bytes that are left for this process.
    fn free_bytes(&self, dir: &Path) -> Result<u64>;
}
