//! The store in sled. It knows sled, which is not safe in a power cut and panics over what it does
//! not understand: here each of its failures becomes a word.

use std::any::Any;
use std::fs;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::stamp;
use super::store::{Changes, Pair, Store, StoreError, StoreResult, Stores, Visit};
use crate::engine::{Result, StorageError};
use crate::files::io_error;

/// sled's cache. The entries that readers ask for most are in memory above this crate already.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// About how many bytes go to sled at once. It frees nothing that a batch replaces before the batch
/// ends, and a checkpoint of ten thousand logs then takes some 100 MB.
const BATCH_BYTES: usize = 256 * 1024;
/// How often a lock that is held is tried, and a directory that sled still writes to is removed.
const TRIES: u32 = 40;
/// The time between tries.
const PAUSE: Duration = Duration::from_millis(25);
/// Errors of the system that no other store would do away with: EIO, EMFILE, ENFILE.
const SYSTEM_CODES: [i32; 3] = [5, 24, 23];

/// The place of a store in sled.
#[derive(Clone, Debug)]
pub(crate) struct SledStores {
    path: PathBuf,
}

impl SledStores {
    /// The store in the directory of an index.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { path: dir.join("sled") }
    }
}

impl Stores for SledStores {
    fn exists(&self) -> bool {
        self.path.exists()
    }

    #[expect(clippy::disallowed_methods, reason = "nothing tells when a file lock is free")]
    fn open(&self) -> StoreResult<Box<dyn Store>> {
        let config = sled::Config::new().path(&self.path);
        let config = config.cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let mut tries = 0;
        let db = loop {
            let opened = caught(|| config.open())?;
            tries += 1;
            match opened {
                // A store that was just dropped holds the lock until sled's threads have ended.
                Err(error) if is_locked(&error) && tries < TRIES => sleep(PAUSE),
                Err(error) if is_locked(&error) => return Err(in_use(&self.path).into()),
                opened => break opened.map_err(|error| failed("open", &self.path, error))?,
            }
        };
        Ok(Box::new(SledStore { db: Some(db), path: self.path.clone() }))
    }

    #[expect(clippy::disallowed_methods, reason = "nothing tells when sled's threads have ended")]
    fn destroy(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            match fs::remove_dir_all(&self.path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                // A store that was just dropped may still be writing.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && tries < TRIES => {
                    sleep(PAUSE);
                }
                Err(error) => return Err(io_error("remove", &self.path, error)),
            }
        }
    }
}

struct SledStore {
    /// There until the store is dropped.
    db: Option<sled::Db>,
    path: PathBuf,
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // sled writes once more, and panics when what it read was damaged.
        let db = self.db.take();
        let _ = caught(|| drop(db));
    }
}

impl SledStore {
    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("a store is open until it is dropped")
    }

    fn run<T>(
        &self,
        action: &'static str,
        run: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> StoreResult<T> {
        caught(|| run(self.db()))?.map_err(|error| failed(action, &self.path, error))
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> StoreResult<Option<Vec<u8>>> {
        let value = self.run("read", |db| db.get(key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn last_in(&self, first: &[u8], last: &[u8]) -> StoreResult<Option<Pair>> {
        let pair =
            self.run("read", |db| db.range::<&[u8], _>(first..=last).next_back().transpose())?;
        Ok(pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    fn scan(&self, first: &[u8], last: Option<&[u8]>, visit: Visit<'_>) -> StoreResult<()> {
        let mut pairs = self.run("read", |db| {
            Ok(match last {
                Some(last) => db.range::<&[u8], _>(first..=last),
                None => db.range::<&[u8], _>(first..),
            })
        })?;
        // Whoever visits may panic, and that is no fault of sled's.
        while let Some((key, value)) = self.run("read", |_| pairs.next().transpose())? {
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, changes: &Changes, stamp: Option<&[u8]>) -> StoreResult<()> {
        let mut batch = sled::Batch::default();
        let mut bytes = 0;
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            if bytes >= BATCH_BYTES {
                let full = std::mem::take(&mut batch);
                self.run("write", |db| db.apply_batch(full))?;
                bytes = 0;
            }
        }
        if let Some(stamp) = stamp {
            batch.insert(stamp::KEY, stamp);
        }
        self.run("write", |db| db.apply_batch(batch))
    }

    fn flush(&self) -> StoreResult<()> {
        self.run("write", |db| db.flush().map(|_| ()))
    }

    fn size_bytes(&self) -> u64 {
        self.run("read", sled::Db::size_on_disk).unwrap_or_default()
    }
}

fn caught<T>(run: impl FnOnce() -> T) -> StoreResult<T> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|panic| StoreError::Damaged(format!("sled panics: {}", text(panic.as_ref()))))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no word".to_owned())
}

/// sled tells a lock that is held from other failures by its words alone.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(source) if source.to_string().contains("acquire lock"))
}

fn in_use(path: &Path) -> StorageError {
    StorageError::Refused(format!(
        "{} is in use by another process: stop the other broker, or give this one a data \
         directory of its own",
        path.display()
    ))
}

fn failed(action: &'static str, path: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) if is_of_system(&source) => {
            StoreError::System(io_error(action, path, source))
        }
        other => StoreError::Damaged(format!("sled cannot {action} it: {other}")),
    }
}

/// Whether an error says something of the system. sled makes errors of its own when it reads what
/// it does not understand, and asks the system for places that cannot be.
fn is_of_system(error: &io::Error) -> bool {
    let is_known = matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
    );
    is_known || error.raw_os_error().is_some_and(|code| SYSTEM_CODES.contains(&code))
}
