//! The system's disk.
//!
//! Knows system calls and their errors, not what the files mean.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::{Disk, DiskFile, Mode};
use crate::engine::Result;
use crate::files::io_error;
use crate::planted::Plant;

/// How far ahead of a reader that goes through a file its bytes are asked for.
const READ_AHEAD: u64 = 2 * 1024 * 1024;

/// The file system of this machine.
#[derive(Debug, Default)]
pub(crate) struct RealDisk {
    /// The directory that was synced as a whole before. The kernel tells an open file of the errors
    /// since it was opened: one that is opened anew would not hear of those that others were told.
    whole: OnceLock<File>,
}

struct RealFile {
    file: File,
    path: PathBuf,
    /// Writes go through the cache, although the file was to be direct: the file system cannot.
    synced_by_hand: bool,
    /// Where the last read ended.
    read_to: AtomicU64,
    /// Up to where bytes were asked for ahead of a reader.
    asked_to: AtomicU64,
}

impl RealFile {
    /// A read follows the one before it: what comes next is asked for, so that the disk is at work
    /// while this is used. Two readers of one file at most ask in vain.
    #[cfg(target_os = "linux")]
    fn read_ahead(&self, at: u64, end: u64) {
        if self.read_to.swap(end, Ordering::Relaxed) != at {
            self.asked_to.store(end, Ordering::Relaxed);
            return;
        }
        let to = end + READ_AHEAD;
        let from = self.asked_to.load(Ordering::Relaxed).clamp(end, to);
        if to - from < READ_AHEAD / 4 {
            return;
        }
        self.asked_to.store(to, Ordering::Relaxed);
        let length = std::num::NonZeroU64::new(to - from);
        // It is a hint: an error would say no more than that it was not taken.
        let _ = rustix::fs::fadvise(&self.file, from, length, rustix::fs::Advice::WillNeed);
    }

    #[cfg(not(target_os = "linux"))]
    fn read_ahead(&self, _at: u64, _end: u64) {}

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> crate::StorageError {
        move |source| io_error(action, &self.path, source)
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, mut buffer: &mut [u8], mut at: u64) -> Result<usize> {
        let (begin, mut read) = (at, 0);
        while !buffer.is_empty() {
            match self.file.read_at(buffer, at) {
                Ok(0) => break,
                Ok(bytes) => {
                    buffer = &mut buffer[bytes..];
                    at += bytes as u64;
                    read += bytes;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read")(error)),
            }
        }
        self.read_ahead(begin, at);
        Ok(read)
    }

    /// Into memory that was not zeroed before: the allocator zeroes large pieces by giving them
    /// back to the kernel, and each page of them is then met as a fault (a tenth of the time of a
    /// cached read).
    fn read(&self, bytes: usize, at: u64) -> Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(bytes);
        while buffer.len() < bytes {
            let next = at + buffer.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut buffer), next) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed("read")(error.into())),
            }
        }
        // The allocator may have given more room than was asked for.
        buffer.truncate(bytes);
        self.read_ahead(at, at + buffer.len() as u64);
        Ok(buffer)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.file.write_all_at(bytes, at).map_err(self.failed("write"))?;
        if self.synced_by_hand { self.sync() } else { Ok(()) }
    }

    #[cfg(target_os = "linux")]
    fn begin_sync(&self, at: u64, bytes: u64) {
        // The kernel begins to write out what this would drop, and does not drop what is under way.
        // An error would say no more than that it did not begin.
        let length = std::num::NonZeroU64::new(bytes);
        let _ = rustix::fs::fadvise(&self.file, at, length, rustix::fs::Advice::DontNeed);
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(self.failed("sync"))
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        self.file.set_len(bytes).map_err(self.failed("change the length of"))
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            // The file system cannot. Then a write may find the disk full, and end the process.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.set_len(bytes),
            done => done.map_err(|error| self.failed("allocate")(error.into())),
        }
    }

    fn len(&self) -> Result<u64> {
        let metadata = self.file.metadata().map_err(self.failed("ask for the length of"))?;
        Ok(metadata.len())
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens a file for writes past the cache, or through it where the file system refuses that.
fn open_direct(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let is_journal = path.extension().is_some_and(|extension| extension == "journal");
    if is_journal && Plant::AckBeforeSync.is_planted() {
        // No call says it where each write is a sync of its own. The index has a file of that kind
        // too, which a start would miss before anybody has read a record.
        return Ok((options.open(path)?, false));
    }
    let flags = OFlags::DSYNC.union(direct_flag());
    let flags = i32::try_from(flags.bits()).expect("open flags are small numbers");
    match options.clone().custom_flags(flags).open(path) {
        Ok(file) => Ok((file, false)),
        // tmpfs and some network file systems have no direct writes.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok((options.open(path)?, true)),
        Err(error) => Err(error),
    }
}

/// Opens a file for writes past the cache where the file system has them.
fn open_unbuffered(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let flags = i32::try_from(direct_flag().bits()).expect("open flags are small numbers");
    match options.clone().custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => options.open(path),
        opened => opened,
    }
}

#[cfg(target_os = "linux")]
fn direct_flag() -> OFlags {
    OFlags::DIRECT
}

#[cfg(not(target_os = "linux"))]
fn direct_flag() -> OFlags {
    OFlags::empty()
}

/// Keeps the kernel from reading ahead by itself. It does so by what the device says, up to 8 MiB a
/// file at once: with 16 files, a sync beside a reader took 100 ms for that.
#[cfg(target_os = "linux")]
fn read_ahead_is_ours(file: &File) {
    // A hint, too.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
}

#[cfg(not(target_os = "linux"))]
fn read_ahead_is_ours(_file: &File) {}

impl RealDisk {
    /// The open directory that stands for the whole file system.
    #[cfg(target_os = "linux")]
    fn whole(&self, dir: &Path) -> Result<&File> {
        if let Some(file) = self.whole.get() {
            return Ok(file);
        }
        let file = File::open(dir).map_err(|source| io_error("open", dir, source))?;
        Ok(self.whole.get_or_init(|| file))
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        let opened = match mode {
            Mode::Read => options.open(path).map(|file| (file, false)),
            Mode::Write => options.write(true).open(path).map(|file| (file, false)),
            Mode::Create => {
                options.write(true).create(true).truncate(false).open(path).map(|f| (f, false))
            }
            Mode::Direct => open_direct(path),
            Mode::Unbuffered => open_unbuffered(path).map(|file| (file, false)),
        };
        let (file, synced_by_hand) = opened.map_err(|source| io_error("open", path, source))?;
        read_ahead_is_ours(&file);
        Ok(Arc::new(RealFile {
            file,
            path: path.to_owned(),
            synced_by_hand,
            read_to: AtomicU64::new(u64::MAX),
            asked_to: AtomicU64::new(0),
        }))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let found = match fs::read_dir(dir) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("list", dir, error)),
        };
        let mut names = Vec::new();
        for entry in found {
            let entry = entry.map_err(|source| io_error("list", dir, source))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(io_error("create", dir, error))
            }
            _ => Ok(()),
        }
    }

    fn remove(&self, path: &Path) -> Result<()> {
        gone(path, fs::remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> Result<()> {
        gone(dir, fs::remove_dir_all(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|source| io_error("rename", from, source))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        crate::files::sync(dir)
    }

    #[cfg(target_os = "linux")]
    fn sync_all(&self, dir: &Path) -> Result<()> {
        let synced = rustix::fs::syncfs(self.whole(dir)?);
        synced.map_err(|error| io_error("sync the file system of", dir, error.into()))
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_all(&self, dir: &Path) -> Result<()> {
        for name in self.list(dir)? {
            let path = dir.join(name);
            if path.is_dir() {
                self.sync_all(&path)?;
            } else {
                crate::files::sync(&path)?;
            }
        }
        crate::files::sync(dir)
    }

    fn free_bytes(&self, dir: &Path) -> Result<u64> {
        // Asked for at start, and with it begins what a later sync of everything is to hear of.
        #[cfg(target_os = "linux")]
        self.whole(dir)?;
        crate::files::free_bytes(dir)
    }
}

fn gone(path: &Path, removed: io::Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", path, error)),
        _ => Ok(()),
    }
}
