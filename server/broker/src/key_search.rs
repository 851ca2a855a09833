//! Looks for the keys of a batch before its leader's shard gets it, where their versions matter: on
//! partitions to which conditional appends go.
//!
//! It saves the shard from reading them from the log afterwards, and whoever expects a version next
//! from waiting for that. What is not found here is read there, so that it need not be complete:
//! where there is no turn or no memory for a search for long, the batch goes on without its keys.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::limits::FOUND_KEYS_BYTES;
use ropewalk_core::{BatchDraft, Compression, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::group_watch::GroupWatch;

/// Uncompressed batches of up to so many bytes are searched at once: it takes less time than to
/// hand them to another thread.
const SEARCHED_HERE: usize = 64 * 1024;
/// Searches of larger ones at a time.
const SEARCHES: usize = 2;
/// How long a batch waits for its turn, and for memory. It holds memory itself, and others of its
/// client wait behind it; but those that go on without their keys keep the appends that expect
/// versions waiting until they are read from the log.
const PATIENCE: Duration = Duration::from_secs(1);

/// What searches for keys share. They read no disk, and wait for nobody who does.
#[derive(Clone)]
pub(crate) struct KeySearches {
    pub(crate) turns: Arc<Semaphore>,
    /// Bytes of keys that were found, of batches that are under way.
    pub(crate) found: Arc<Semaphore>,
}

impl Default for KeySearches {
    fn default() -> Self {
        let (turns, found) = (Semaphore::new(SEARCHES), Semaphore::new(FOUND_KEYS_BYTES));
        Self { turns: Arc::new(turns), found: Arc::new(found) }
    }
}

impl KeySearches {
    /// Finds the keys of a batch for the partition that `watch` shows, which this broker leads, if
    /// they are of use there. Returns the memory that they take, to be held as long as the batch.
    pub(crate) async fn find(
        &self,
        mut draft: BatchDraft,
        expects_version: bool,
        watch: &GroupWatch,
        now: Timestamp,
    ) -> (BatchDraft, Option<OwnedSemaphorePermit>) {
        if expects_version {
            watch.note_version_asked(now);
        } else if !watch.is_version_asked(now) {
            return (draft, None);
        }
        if draft.compression() == Compression::None && draft.len() <= SEARCHED_HERE {
            draft.find_keys();
        } else {
            draft = self.search(draft).await;
        }
        let bytes = u32::try_from(draft.keys_bytes()).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.found).acquire_many_owned(bytes);
        match tokio::time::timeout(PATIENCE, held).await {
            Ok(Ok(held)) => (draft, Some(held)),
            _ => {
                drop(draft.take_keys());
                (draft, None)
            }
        }
    }

    /// Searches off the async threads, if its turn comes soon.
    async fn search(&self, mut draft: BatchDraft) -> BatchDraft {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(PATIENCE, turn).await else { return draft };
        let search = move || {
            let _turn = turn;
            draft.find_keys();
            draft
        };
        tokio::task::spawn_blocking(search).await.expect("a search for keys does not panic")
    }
}
