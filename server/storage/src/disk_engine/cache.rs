//! Chunks that were read lately, for the readers that come by next.
//!
//! Bounded by bytes; the oldest leave first. A chunk in here was checked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::segments::FileId;
use super::state::held_bytes;
use crate::engine::LogEntry;

/// A chunk, by its file and its place.
type Place = (FileId, u64);

/// The entries of chunks that were read lately.
pub(super) struct ChunkCache {
    budget: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    chunks: BTreeMap<Place, Arc<Vec<LogEntry>>>,
    order: VecDeque<(Place, u64)>,
    bytes: u64,
}

impl ChunkCache {
    /// An empty cache of about this many bytes.
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, kept: Mutex::new(Kept::default()) }
    }

    /// The entries of a chunk, if they are here.
    pub(super) fn get(&self, file: FileId, at: u64) -> Option<Arc<Vec<LogEntry>>> {
        let kept = self.kept.lock().expect("no holder of the cache panics");
        kept.chunks.get(&(file, at)).cloned()
    }

    /// Keeps the entries of a chunk.
    pub(super) fn put(&self, file: FileId, at: u64, entries: &Arc<Vec<LogEntry>>) {
        let bytes = entries.iter().map(held_bytes).sum();
        if bytes > self.budget {
            return;
        }
        let mut kept = self.kept.lock().expect("no holder of the cache panics");
        if kept.chunks.insert((file, at), Arc::clone(entries)).is_some() {
            return;
        }
        kept.bytes += bytes;
        kept.order.push_back(((file, at), bytes));
        while kept.bytes > self.budget {
            let Some((oldest, bytes)) = kept.order.pop_front() else { break };
            kept.chunks.remove(&oldest);
            kept.bytes -= bytes;
        }
    }
}
