//! The database under the index: opened, synced and read, with every failure named.
//!
//! It knows sled and the file, and no more of the index than that its keys and values have a form.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use sled::IVec;

use crate::engine::{Result, StorageError};
use crate::files::{self, io_error};

use super::keys::Key;
use super::value::Damage;

/// sled's cache. The entries that readers ask for most are in memory above this crate already.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// How often a lock that is held is tried.
const LOCK_TRIES: u32 = 40;
/// The time between tries.
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// An open database.
pub(super) struct Source {
    db: sled::Db,
    /// A second descriptor of sled's file: sled itself starts writes and never syncs them.
    file: File,
    path: PathBuf,
}

impl Source {
    /// Opens the database in `<dir>/index`, or creates it, durably.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let index = dir.join("index");
        let path = index.join("db");
        fs::create_dir_all(&index).map_err(|source| io_error("create", &index, source))?;
        // sled reuses the place of what it has moved as soon as the move is on its way to the disk.
        // Only where each write is durable before the next begins, a power cut cannot take both;
        // and what an earlier process left in the kernel's cache must be durable before it counts
        // as stored.
        let (file, write_through) = files::open_write_through(&path)?;
        if cfg!(target_os = "linux") && !write_through {
            tracing::warn!(
                path = %path.display(),
                "this filesystem has no synchronous files: a power cut may damage the index; use \
                 ext4, xfs or btrfs for the data directory"
            );
        }
        let db = open_db(&index, &path)?;
        let source = Self { db, file, path };
        source.sync()?;
        files::sync(&index.join("conf"))?;
        files::sync(&index)?;
        files::sync(dir)?;
        Ok(source)
    }

    /// Makes everything that was applied durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.db.flush().map_err(|error| self.error("write", error))?;
        self.file.sync_data().map_err(|source| io_error("sync", &self.path, source))
    }

    /// Applies changes, all together.
    pub(super) fn apply(&self, batch: sled::Batch) -> Result<()> {
        self.db.apply_batch(batch).map_err(|error| self.error("write", error))
    }

    /// The bytes of the file.
    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// sled's file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.db.is_empty()
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>> {
        self.db.get(key).map_err(|error| self.error("read", error))
    }

    /// The keys and values from `first` to `last`, in order, or in reverse from the end.
    pub(super) fn range<'a>(
        &'a self,
        first: &[u8],
        last: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(IVec, IVec)>> + use<'a> {
        let range = self.db.range::<&[u8], _>(first..=last);
        range.map(|pair| pair.map_err(|error| self.error("read", error)))
    }

    /// The keys and values whose key begins with `prefix`, in order.
    pub(super) fn prefix<'a>(
        &'a self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(IVec, IVec)>> + use<'a> {
        let pairs = self.db.scan_prefix(prefix);
        pairs.map(|pair| pair.map_err(|error| self.error("read", error)))
    }

    /// The keys from `first` to `last`.
    pub(super) fn keys_in(&self, first: &[u8], last: &[u8]) -> Result<Vec<IVec>> {
        self.range(first, last).map(|pair| pair.map(|(key, _)| key)).collect()
    }

    /// The keys that begin with `prefix`.
    pub(super) fn keys_with_prefix(&self, prefix: &[u8]) -> Result<Vec<IVec>> {
        self.prefix(prefix).map(|pair| pair.map(|(key, _)| key)).collect()
    }

    /// A value that was decoded, or what is wrong with the value of this key.
    pub(super) fn decoded<T>(
        &self,
        key: &[u8],
        result: std::result::Result<T, Damage>,
    ) -> Result<T> {
        result.map_err(|damage| self.corrupt(key, &damage.to_string()))
    }

    /// The value of this key is not what was written.
    pub(super) fn corrupt(&self, key: &[u8], detail: &str) -> StorageError {
        let what = match Key::decode(key) {
            Ok(Key::Format) => "the format of the index".to_owned(),
            Ok(Key::Group(group)) => format!("the replica id of replica group {group}"),
            Ok(Key::HardState(group)) => format!("the raft state of replica group {group}"),
            Ok(Key::ConfState(group)) => format!("the membership of replica group {group}"),
            Ok(Key::LogStart(group)) => format!("the log start of replica group {group}"),
            Ok(Key::Deleted(group)) => format!("the deletion of replica group {group}"),
            Ok(Key::Row(group, row)) => {
                format!("row \"{}\" of replica group {group}", row.escape_ascii())
            }
            Ok(Key::Entry(group, index)) => format!("entry {index} of replica group {group}"),
            Ok(Key::Chunk(group, index, number)) => {
                format!("part {number} of entry {index} of replica group {group}")
            }
            Err(_) => format!("key \"{}\"", key.escape_ascii()),
        };
        StorageError::Corrupt { what, path: self.path.clone(), detail: detail.to_owned() }
    }

    fn error(&self, action: &'static str, error: sled::Error) -> StorageError {
        match error {
            sled::Error::Corruption { at, .. } => StorageError::Corrupt {
                what: "page of the index".to_owned(),
                path: self.path.clone(),
                detail: at.map_or_else(|| "place unknown".to_owned(), |at| format!("at {at:?}")),
            },
            sled::Error::Io(source) => io_error(action, &self.path, source),
            other => io_error(action, &self.path, io::Error::other(other.to_string())),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when a file lock is free")]
fn open_db(index: &Path, path: &Path) -> Result<sled::Db> {
    let config = sled::Config::new().path(index).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let mut tries = 0;
    loop {
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|panic| unreadable(path, &panic_text(panic.as_ref())))?;
        tries += 1;
        match opened {
            // An engine that was just dropped holds the lock until sled's threads have ended.
            Err(error) if is_locked(&error) && tries < LOCK_TRIES => sleep(LOCK_PAUSE),
            opened => return opened.map_err(|error| open_error(path, error)),
        }
    }
}

/// sled tells a lock that is held from other failures by its words alone.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(source) if source.to_string().contains("acquire lock"))
}

fn open_error(path: &Path, error: sled::Error) -> StorageError {
    match error {
        error if is_locked(&error) => StorageError::Refused(format!(
            "{} is in use by another process: stop the other broker, or give this one a data \
                 directory of its own",
            path.display()
        )),
        sled::Error::Io(source) => io_error("open", path, source),
        other => unreadable(path, &other.to_string()),
    }
}

fn unreadable(path: &Path, why: &str) -> StorageError {
    StorageError::Corrupt {
        what: "index".to_owned(),
        path: path.to_owned(),
        detail: format!(
            "it does not open: {why}; this version cannot repair it: keep a copy of the data \
             directory, and start the broker from a backup or with an empty one"
        ),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
