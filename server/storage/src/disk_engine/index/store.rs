//! What the index asks of an ordered store of keys. It need not be durable, and it may be damaged:
//! the redo file is what counts, and a store that is not as it was left is made anew from it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::{Result, StorageError};

/// Keys to be put, with their values, and keys to be removed.
pub(crate) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Why a store does not answer.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// It is not whole: it is to be made anew.
    Damaged(String),
    /// The system refuses, or whoever asks does: another store would not help.
    System(StorageError),
}

/// A result of a store.
pub(crate) type StoreResult<T> = std::result::Result<T, StoreError>;

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        Self::System(error)
    }
}

impl StoreError {
    /// The error of someone who cannot make the store anew now.
    pub(super) fn at(self, path: &Path) -> StorageError {
        match self {
            Self::Damaged(why) => StorageError::Corrupt {
                offset: None,
                what: "index".to_owned(),
                path: path.to_owned(),
                detail: format!("{why}; restart the broker: it is made anew from its redo file"),
            },
            Self::System(error) => error,
        }
    }
}

/// What is told of each pair; it says whether there shall be more.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool>;

/// What is told of each pair.
pub(crate) type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// An open store. Any number of threads read it while one writes.
pub(crate) trait Store: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> StoreResult<Option<Vec<u8>>>;

    /// The greatest key from `first` to `last`, with its value.
    fn last_in(&self, first: &[u8], last: &[u8]) -> StoreResult<Option<Pair>>;

    /// Visits the keys from `first` to `last`, or to the end, in order. A change that is applied
    /// meanwhile may be seen in part.
    fn scan(&self, first: &[u8], last: Option<&[u8]>, visit: Visit<'_>) -> StoreResult<()>;

    /// Applies changes, and then puts the stamp, if there is one. If the process ends meanwhile,
    /// some of the changes may be there, and the stamp only if all are.
    fn apply(&self, changes: &Changes, stamp: Option<&[u8]>) -> StoreResult<()>;

    /// Hands everything to the kernel, so that it outlives this process.
    fn flush(&self) -> StoreResult<()>;

    /// The bytes that it takes on its disk.
    fn size_bytes(&self) -> u64;
}

/// The place of a store.
pub(crate) trait Stores: Send + Sync {
    /// Whether there is something, sound or not.
    fn exists(&self) -> bool;

    /// Opens the store, or begins an empty one.
    fn open(&self) -> StoreResult<Box<dyn Store>>;

    /// Removes the store, which nobody has open.
    fn destroy(&self) -> Result<()>;
}
