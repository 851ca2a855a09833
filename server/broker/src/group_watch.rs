//! What others see of a replica group that runs on a shard: its log, who leads it, who belongs to
//! it, and when there is more to read.
//!
//! The shard's thread is the only writer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ropewalk_core::{GroupId, ReplicaId, Timestamp, limits};
use ropewalk_storage::log_view::LogReader;
use tokio::sync::{Notify, watch};

use crate::follow::{FollowSignal, Followers};

/// What is known of a group's members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// The replica on this broker.
    pub replica: Option<ReplicaId>,
    /// The epoch in which this broker leads and serves the group.
    pub epoch: Option<u64>,
    /// Who leads, as far as this replica knows.
    pub leader: Option<ReplicaId>,
    /// The term in which it does; without a leader, the newest one that this replica knows.
    pub term: u64,
    /// Who votes; empty before the group was taken up, or the first snapshot came.
    pub voters: Vec<ReplicaId>,
    /// Who gets the log and does not vote.
    pub learners: Vec<ReplicaId>,
    /// The disk has lost what this replica had promised to keep, and it takes no further part; or a
    /// part of the log cannot be read here. Another replica is to take its place.
    pub is_damaged: bool,
}

impl Role {
    /// Whether the replica belongs to the group, with a vote or without.
    #[must_use]
    pub fn has_member(&self, replica: ReplicaId) -> bool {
        self.voters.contains(&replica) || self.learners.contains(&replica)
    }
}

/// So much longer than a shard knows the versions of keys that nobody asks for, keys are looked
/// for.
const KEYS_SLACK: Duration = Duration::from_secs(60);

/// What others see of a group.
pub struct GroupWatch {
    reader: OnceLock<LogReader>,
    role: watch::Sender<Role>,
    followers: Mutex<Followers>,
    /// When a version of a key was asked for last.
    version_asked: AtomicI64,
}

impl GroupWatch {
    /// A watch of this broker's replica of a group that is about to be taken up.
    #[must_use]
    pub fn new(replica: ReplicaId) -> Self {
        let (role, _) = watch::channel(Role { replica: Some(replica), ..Role::default() });
        let version_asked = AtomicI64::new(Timestamp::MIN.0);
        Self { reader: OnceLock::new(), role, followers: Mutex::default(), version_asked }
    }

    /// Reads the group's log.
    ///
    /// # Panics
    /// Before the group was taken up: nobody sees it before.
    #[must_use]
    pub fn reader(&self) -> &LogReader {
        self.reader.get().expect("a group is seen only after it was opened")
    }

    /// Who leads and who belongs to it, as of now.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// The epoch in which this broker leads and serves the group.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.role.borrow().epoch
    }

    /// Who leads, and in which term, as far as is known.
    #[must_use]
    pub fn leader(&self) -> (Option<ReplicaId>, u64) {
        let role = self.role.borrow();
        (role.leader, role.term)
    }

    /// Whether this replica is the only one that votes.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        let role = self.role.borrow();
        matches!(role.voters.as_slice(), [only] if Some(*only) == role.replica)
    }

    /// Whether another replica is to take the place of this one.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.role.borrow().is_damaged
    }

    /// Where changes of it are seen.
    #[must_use]
    pub fn watch_role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Somebody expects a version of a key.
    pub(crate) fn note_version_asked(&self, now: Timestamp) {
        self.version_asked.store(now.0, Ordering::Relaxed);
    }

    /// Whether somebody has expected one so lately that the group may know the versions of its
    /// keys.
    pub(crate) fn is_version_asked(&self, now: Timestamp) -> bool {
        let asked = Timestamp(self.version_asked.load(Ordering::Relaxed));
        now.since(asked) < limits::KEYS_IDLE + KEYS_SLACK
    }

    /// Waits until this broker has taken up the group.
    pub async fn opened(&self) {
        // The sender is part of self, so the wait ends only with success.
        let opened = |_: &Role| self.reader.get().is_some();
        let _ = self.role.subscribe().wait_for(opened).await;
    }

    /// Waits until this broker serves the group.
    pub async fn served(&self) {
        let _ = self.role.subscribe().wait_for(|role| role.epoch.is_some()).await;
    }

    /// Whether this broker has taken up the group.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.reader.get().is_some()
    }

    /// A signal that is raised whenever there is more to read, until it is taken off again.
    pub(crate) fn signal(&self) -> Arc<FollowSignal> {
        let signal = Arc::new(FollowSignal::default());
        let slot = signal.add_slot();
        self.follow(&signal, slot);
        signal
    }

    /// Raises `slot` of the signal whenever there is more to read.
    pub(crate) fn follow(&self, signal: &Arc<FollowSignal>, slot: usize) {
        self.lock_followers().add(signal, slot);
    }

    /// Raises one slot of the signal no more.
    pub(crate) fn unfollow_slot(&self, signal: &Arc<FollowSignal>, slot: usize) {
        self.lock_followers().leave_slot(signal, slot);
    }

    pub(crate) fn unfollow(&self, signal: &Arc<FollowSignal>) {
        self.lock_followers().leave(signal);
    }

    pub(crate) fn progress(&self) {
        self.lock_followers().raise();
    }

    pub(crate) fn open(&self, reader: LogReader) {
        let _ = self.reader.set(reader);
        self.role.send_modify(|_| {});
    }

    pub(crate) fn set_epoch(&self, epoch: Option<u64>) {
        self.role.send_modify(|role| role.epoch = epoch);
    }

    pub(crate) fn set_leader(&self, leader: Option<ReplicaId>, term: u64) {
        self.role.send_modify(|role| (role.leader, role.term) = (leader, term));
    }

    pub(crate) fn set_members(&self, voters: Vec<ReplicaId>, learners: Vec<ReplicaId>) {
        self.role.send_modify(|role| (role.voters, role.learners) = (voters, learners));
    }

    pub(crate) fn set_damaged(&self) {
        self.role.send_modify(|role| role.is_damaged = true);
    }

    fn lock_followers(&self) -> MutexGuard<'_, Followers> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Groups that are led otherwise than before, or have other members: for whoever keeps them in step
/// with the metadata.
#[derive(Debug, Default)]
pub struct GroupChanges {
    groups: Mutex<BTreeSet<GroupId>>,
    noted: Notify,
}

impl GroupChanges {
    /// Notes a group. Each is held once, however often it changes.
    pub(crate) fn note(&self, group: GroupId) {
        self.lock().insert(group);
        self.noted.notify_one();
    }

    /// Takes what was noted; waits while there is nothing.
    pub(crate) async fn take(&self) -> BTreeSet<GroupId> {
        loop {
            let groups = std::mem::take(&mut *self.lock());
            if !groups.is_empty() {
                return groups;
            }
            self.noted.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<GroupId>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
