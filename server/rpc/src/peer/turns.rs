//! Keeps the proposals of another broker in order where one of its streams follows another.
//!
//! What a lost connection has brought is read to its end, and what comes in on the next one would
//! overtake it. So proposals of a stream are taken only until a newer one has brought some.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ropewalk_core::NodeId;
use tokio::sync::OwnedMutexGuard;

/// The number of the newest stream that has brought a proposal.
type Newest = Arc<tokio::sync::Mutex<u64>>;

/// The streams of all brokers.
#[derive(Default)]
pub(super) struct Turns {
    begun: AtomicU64,
    /// Of each broker that has ever called: as many as the cluster has had.
    newest: Mutex<BTreeMap<NodeId, Newest>>,
}

impl Turns {
    /// For a stream that begins.
    pub(super) fn next(&self, from: NodeId) -> Turn {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = Arc::clone(newest.entry(from).or_default());
        Turn { number: self.begun.fetch_add(1, Ordering::Relaxed) + 1, newest }
    }
}

/// The turn of one stream.
pub(super) struct Turn {
    number: u64,
    newest: Newest,
}

impl Turn {
    /// Begins a proposal, which ends before the next of that broker begins. `None` when a newer
    /// stream has brought one: what this one brings comes too late.
    pub(super) async fn take(&self) -> Option<OwnedMutexGuard<u64>> {
        let mut newest = Arc::clone(&self.newest).lock_owned().await;
        (*newest <= self.number).then(|| {
            *newest = self.number;
            newest
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_stream_has_its_turn_until_a_newer_one_has_brought_something() {
        let turns = Turns::default();
        let (first, other) = (turns.next(NodeId(1)), turns.next(NodeId(2)));
        let second = turns.next(NodeId(1));
        assert!(first.take().await.is_some());
        let taken = first.take().await;
        assert!(second.take().now_or_never().is_none(), "the proposal before it is not begun yet");
        drop(taken);
        assert!(second.take().await.is_some());
        assert!(first.take().await.is_none() && second.take().await.is_some());
        assert!(other.take().await.is_some(), "brokers do not wait for one another");
    }
}
