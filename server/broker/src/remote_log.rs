//! The log of a partition that has no replica on this broker, as its readers see it.
//!
//! While somebody follows it, one task asks another broker for the end of the log, which answers
//! when it has moved. Records are fetched by the readers themselves, within the budget of all
//! reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ropewalk_core::{NodeId, Offset, Timestamp};
use ropewalk_storage::log_view::LogBounds;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::follow::{FollowSignal, Followers};
use crate::group_handle::GroupHandle;
use crate::peers::{Fetch, FetchError, Fetched, RemoteError};

/// How long another broker may wait for records before it answers all the same.
const WAIT: Duration = Duration::from_secs(10);
/// An offset that no log reaches.
const BEYOND: Offset = Offset(i64::MAX as u64);
/// The pause after a broker could not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long a read is tried while no broker that has the log can be reached: one that has just been
/// started is connected to again in a moment, and a reader of many partitions is not to be ended by
/// one of them.
const REACHED_WITHIN: Duration = Duration::from_secs(2);

/// The log of a partition on other brokers.
pub(crate) struct RemoteLog {
    handle: GroupHandle,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    bounds: LogBounds,
    followers: Followers,
    /// Who asks for the end of the log, while somebody follows it.
    asking: Option<AbortHandle>,
}

impl RemoteLog {
    pub(crate) fn new(handle: GroupHandle) -> Self {
        Self { handle, seen: Arc::default() }
    }

    /// Where the log started and ended when it was last asked for.
    pub(crate) fn bounds(&self) -> LogBounds {
        lock(&self.seen).bounds
    }

    /// Where the log starts and ends on a broker that has it.
    pub(crate) async fn ask(&self) -> Result<LogBounds, RemoteError> {
        let fetched = self.fetch(BEYOND, 0).await?;
        Ok(LogBounds { start: fetched.start, high_watermark: fetched.high_watermark })
    }

    /// Raises `slot` of the signal whenever there is more to read.
    pub(crate) fn follow(&self, signal: &Arc<FollowSignal>, slot: usize) {
        let mut seen = lock(&self.seen);
        seen.followers.add(signal, slot);
        if seen.asking.is_none() {
            let task = tokio::spawn(ask(self.handle.clone(), Arc::clone(&self.seen)));
            seen.asking = Some(task.abort_handle());
        }
    }

    /// Raises one slot of the signal no more.
    pub(crate) fn unfollow_slot(&self, signal: &Arc<FollowSignal>, slot: usize) {
        self.forget(|followers| followers.leave_slot(signal, slot));
    }

    pub(crate) fn unfollow(&self, signal: &Arc<FollowSignal>) {
        self.forget(|followers| followers.leave(signal));
    }

    /// Asks for the end of the log no more once nobody is left.
    fn forget(&self, leave: impl FnOnce(&mut Followers)) {
        let mut seen = lock(&self.seen);
        leave(&mut seen.followers);
        if seen.followers.is_empty()
            && let Some(task) = seen.asking.take()
        {
            task.abort();
        }
    }

    /// Reads what there is from an offset on, from a broker that has it. Waits when that one is
    /// behind the one that told of the end: followers are told once.
    pub(crate) async fn fetch(
        &self,
        offset: Offset,
        max_bytes: usize,
    ) -> Result<Fetched, RemoteError> {
        let fetch = Fetch {
            group: self.handle.group,
            offset,
            max_bytes,
            wait: Duration::ZERO,
            since: None,
        };
        let until = Instant::now() + REACHED_WITHIN;
        loop {
            let fetched = match fetch_from_any(&self.handle, fetch).await {
                Err(RemoteError::Unreachable { .. } | RemoteError::Lost { .. })
                    if Instant::now() < until =>
                {
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
                fetched => fetched?,
            };
            let has_end = fetched.high_watermark >= self.bounds().high_watermark;
            if has_end || fetched.high_watermark > offset || fetched.trimmed.is_some() {
                return Ok(fetched);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

impl Drop for RemoteLog {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.seen).asking.take() {
            task.abort();
        }
    }
}

/// Asks for the end of the log, for ever.
async fn ask(handle: GroupHandle, seen: Arc<Mutex<Seen>>) {
    let mut offset = BEYOND;
    loop {
        // The first time for the bounds alone, then for the records after them.
        let wait = if offset == BEYOND { Duration::ZERO } else { WAIT };
        let fetch = Fetch { group: handle.group, offset, max_bytes: 0, wait, since: None };
        match fetch_from_any(&handle, fetch).await {
            Ok(fetched) => {
                offset = fetched.high_watermark;
                let mut seen = lock(&seen);
                let bounds = LogBounds { start: fetched.start, high_watermark: offset };
                if seen.bounds != bounds {
                    seen.bounds = bounds;
                    seen.followers.raise();
                }
            }
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

/// The first record of a log on another broker whose time is at or after `time`.
pub(crate) async fn find_time(
    handle: &GroupHandle,
    time: Timestamp,
) -> Result<Option<(Offset, Timestamp)>, RemoteError> {
    let fetch = Fetch {
        group: handle.group,
        offset: Offset::ZERO,
        max_bytes: 0,
        wait: Duration::ZERO,
        since: Some(time),
    };
    Ok(fetch_from_any(handle, fetch).await?.found)
}

/// Fetches from the leader, or else from another broker that has the log: what is committed is the
/// same everywhere.
pub(crate) async fn fetch_from_any(
    handle: &GroupHandle,
    fetch: Fetch,
) -> Result<Fetched, RemoteError> {
    let own = handle.ways().node;
    let mut nodes: Vec<NodeId> = handle.leader().map(|leader| leader.node).into_iter().collect();
    nodes.extend(handle.nodes());
    let mut tried = BTreeMap::new();
    for node in nodes {
        if node == own || tried.contains_key(&node) {
            continue;
        }
        match handle.ways().peers.fetch(node, fetch).await {
            // Another replica may be sound.
            Err(error) => tried.insert(node, error),
            fetched => return fetched,
        };
    }
    // Damage is told rather than that somebody is away: it does not pass.
    let is_damage =
        |error: &RemoteError| matches!(error, RemoteError::Fetch(FetchError::Corrupt { .. }));
    let worst = tried.values().find(|error| is_damage(error)).or(tried.values().next());
    Err(worst.cloned().unwrap_or(RemoteError::Fetch(FetchError::NoGroup)))
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
