//! A store in memory, for simulation: what is left of it after a power cut is up to the test.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use super::stamp;
use super::store::{Changes, Pair, Store, StoreResult, Stores, Visit};
use crate::engine::Result;

/// What a store holds, stamp and all.
pub(crate) type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// The place of a store in memory. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryStores(Arc<Mutex<Option<Content>>>);

impl MemoryStores {
    /// A place where this is; the place that it was read from is another.
    pub(crate) fn holding(content: Option<Content>) -> Self {
        Self(Arc::new(Mutex::new(content)))
    }

    /// What is there now.
    pub(crate) fn content(&self) -> Option<Content> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Content>> {
        self.0.lock().expect("no holder of a store panics")
    }

    fn with<T>(&self, read: impl FnOnce(&mut Content) -> T) -> T {
        read(self.lock().get_or_insert_default())
    }
}

impl Stores for MemoryStores {
    fn exists(&self) -> bool {
        self.lock().is_some()
    }

    fn open(&self) -> StoreResult<Box<dyn Store>> {
        self.with(|_| ());
        Ok(Box::new(self.clone()))
    }

    fn destroy(&self) -> Result<()> {
        *self.lock() = None;
        Ok(())
    }
}

impl Store for MemoryStores {
    fn get(&self, key: &[u8]) -> StoreResult<Option<Vec<u8>>> {
        Ok(self.with(|content| content.get(key).cloned()))
    }

    fn last_in(&self, first: &[u8], last: &[u8]) -> StoreResult<Option<Pair>> {
        let range = (Bound::Included(first), Bound::Included(last));
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(self.with(|content| content.range::<[u8], _>(range).next_back().map(owned)))
    }

    fn scan(&self, first: &[u8], last: Option<&[u8]>, visit: Visit<'_>) -> StoreResult<()> {
        let range = (Bound::Included(first), last.map_or(Bound::Unbounded, Bound::Included));
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        let pairs: Vec<Pair> =
            self.with(|content| content.range::<[u8], _>(range).map(owned).collect());
        for (key, value) in pairs {
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, changes: &Changes, stamp: Option<&[u8]>) -> StoreResult<()> {
        self.with(|content| {
            for (key, value) in changes {
                match value {
                    Some(value) => content.insert(key.clone(), value.clone()),
                    None => content.remove(key),
                };
            }
            if let Some(stamp) = stamp {
                content.insert(stamp::KEY.to_vec(), stamp.to_vec());
            }
        });
        Ok(())
    }

    fn flush(&self) -> StoreResult<()> {
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.with(|content| content.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum())
    }
}
