//! What a coordinator's machine shares with the rest of its broker: the state itself, who watches a
//! consumer group, and which streams of members were heard of.
//!
//! Only the state is the same on every replica.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ropewalk_core::MemberId;
use ropewalk_groups::{Changed, ConsumerGroup};
use tokio::sync::watch;

use super::CoordinatorState;
use super::questions::OpenStream;

/// A consumer group as it is after a command.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// The place of the command in the log of the coordinator that has changed the group last, or
    /// of a later one that has not.
    pub index: u64,
    /// The group, if there is one.
    pub group: Option<Arc<ConsumerGroup>>,
}

/// A consumer group that somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// What it is.
    pub(crate) sight: watch::Sender<Sight>,
    /// The place of the command with which it committed last, or of a later one.
    pub(crate) commits: watch::Sender<u64>,
}

impl Watched {
    /// One that nobody watches yet.
    pub(crate) fn new(sight: Sight) -> Self {
        let commits = watch::channel(sight.index).0;
        Self { sight: watch::channel(sight).0, commits }
    }

    /// Whether nobody watches it any more.
    pub(crate) fn is_left(&self) -> bool {
        self.sight.receiver_count() == 0 && self.commits.receiver_count() == 0
    }
}

/// How much of a group is known to whoever watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The index of what was seen last.
    pub(crate) sight: u64,
    /// That of what is known of its commits; `None`: they are of no interest.
    pub(crate) commits: Option<u64>,
}

/// So many groups may be watched before those that nobody watches any more are looked for.
const SWEEP_AT: usize = 64;

/// A state that its machine changes and others read.
#[derive(Clone, Debug, Default)]
pub struct SharedState {
    state: Arc<Mutex<CoordinatorState>>,
    /// Locked after the state, never before it.
    seen: Arc<Mutex<Seen>>,
    /// How often something about consumer groups has changed.
    changes: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The last command that was applied.
    applied: u64,
    /// Who watches which group.
    watched: BTreeMap<String, Watched>,
    /// When there are so many, those that were left are forgotten.
    sweep_at: usize,
    /// The streams that were heard of since they were last taken. Only streams of members are kept,
    /// so the groups bound them.
    heard: BTreeMap<(String, MemberId), u32>,
}

impl SharedState {
    /// The state of this moment.
    ///
    /// # Panics
    /// Never: nobody panics while holding it.
    pub fn lock(&self) -> MutexGuard<'_, CoordinatorState> {
        self.state.lock().expect("no holder of a coordinator's state panics")
    }

    /// Whether it is this very state.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a consumer group: what it is now, then each change of it, the last one of several.
    pub(crate) fn watch(&self, group: &str) -> watch::Receiver<Sight> {
        self.watched(group, |watched| watched.sight.subscribe())
    }

    /// Watches when a consumer group commits.
    pub(crate) fn watch_commits(&self, group: &str) -> watch::Receiver<u64> {
        self.watched(group, |watched| watched.commits.subscribe())
    }

    fn watched<T>(&self, group: &str, of: impl Fn(&Watched) -> T) -> T {
        let state = self.lock();
        let mut seen = self.seen();
        if seen.watched.len() >= seen.sweep_at {
            seen.watched.retain(|_, watched| !watched.is_left());
            seen.sweep_at = SWEEP_AT.max(2 * seen.watched.len());
        }
        let index = seen.applied;
        let sight = || Sight { index, group: state.groups.get(group).cloned() };
        of(seen.watched.entry(group.to_owned()).or_insert_with(|| Watched::new(sight())))
    }

    /// What is known of a consumer group and of its commits, with the state locked.
    pub(super) fn sight(&self, state: &CoordinatorState, group: &str) -> (Sight, u64) {
        let seen = self.seen();
        let unwatched = || {
            let (index, group) = (seen.applied, state.groups.get(group).cloned());
            (Sight { index, group }, index)
        };
        let watched = seen.watched.get(group);
        let watched = watched.map(|w| (w.sight.borrow().clone(), *w.commits.borrow()));
        watched.unwrap_or_else(unwatched)
    }

    /// A command was applied, with the state still locked. `committed` has new positions by it.
    pub(super) fn applied(&self, index: u64, changed: Vec<Changed>, committed: Option<&str>) {
        let mut seen = self.seen();
        seen.applied = index;
        if let Some(watched) = committed.and_then(|group| seen.watched.get(group)) {
            watched.commits.send_replace(index);
        }
        if changed.is_empty() {
            return;
        }
        for Changed { group, current, .. } in changed {
            if let Some(watched) = seen.watched.get(&group) {
                watched.sight.send_replace(Sight { index, group: current });
            }
        }
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// The state was replaced, and is still locked.
    pub(super) fn restored(&self, state: &CoordinatorState, index: u64) {
        let mut seen = self.seen();
        seen.applied = index;
        for (name, watched) in &seen.watched {
            let group = state.groups.get(name).cloned();
            watched.sight.send_replace(Sight { index, group });
            watched.commits.send_replace(index);
        }
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How many groups it holds as watched.
    #[cfg(test)]
    pub(super) fn watched_groups(&self) -> usize {
        self.seen().watched.len()
    }

    /// Streams are open, says a broker. The state is locked.
    pub(super) fn hear(&self, state: &CoordinatorState, streams: Vec<OpenStream>) {
        let mut seen = self.seen();
        for OpenStream { group, member, session } in streams {
            let standing = state.groups.get(&group).and_then(|group| group.standing(member));
            if standing.is_some_and(|standing| standing.session == session) {
                seen.heard.insert((group, member), session);
            }
        }
    }

    /// The streams that were heard of since this was last asked.
    pub(crate) fn take_heard(&self) -> BTreeMap<(String, MemberId), u32> {
        std::mem::take(&mut self.seen().heard)
    }

    /// How often something about consumer groups has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}
