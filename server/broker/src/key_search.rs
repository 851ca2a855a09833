//! Looks for the keys of a batch before its leader's shard gets it, where their versions matter: on
//! partitions to which conditional appends go.
//!
//! It saves the shard from reading them from the log afterwards, and whoever expects a version next
//! from waiting for that. What is not found here is read there, so that it need not be complete.

use std::sync::Arc;

use ropewalk_core::{BatchDraft, Compression, Timestamp};
use tokio::sync::OwnedSemaphorePermit;

use crate::group_watch::GroupWatch;
use crate::pools::Pools;

/// Uncompressed batches of up to so many bytes are searched at once: it takes less time than to
/// hand them to another thread.
const SEARCHED_HERE: usize = 64 * 1024;

/// Finds the keys of a batch for the partition that `watch` shows, which this broker leads, if they
/// are of use there. `reserved` is the memory of the batch; without more of it for the keys they
/// are left out.
pub(crate) async fn find_keys(
    mut draft: BatchDraft,
    expects_version: bool,
    watch: &GroupWatch,
    now: Timestamp,
    pools: &Pools,
    reserved: &mut OwnedSemaphorePermit,
) -> BatchDraft {
    if expects_version {
        watch.note_version_asked(now);
    } else if !watch.is_version_asked(now) {
        return draft;
    }
    if draft.compression() == Compression::None && draft.len() <= SEARCHED_HERE {
        draft.find_keys();
    } else {
        let search = move || {
            draft.find_keys();
            draft
        };
        draft = pools.search(search).await;
    }
    let bytes = u32::try_from(draft.keys_bytes()).unwrap_or(u32::MAX);
    match Arc::clone(reserved.semaphore()).try_acquire_many_owned(bytes) {
        Ok(more) => reserved.merge(more),
        Err(_) => drop(draft.take_keys()),
    }
    draft
}
