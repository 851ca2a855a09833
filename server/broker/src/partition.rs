//! A partition as its users see it: append, read, follow, trim.
//!
//! It owns nothing: the log belongs to its replica group's shard, here or on another broker, and
//! this is the way there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ropewalk_cluster::Cleanup;
use ropewalk_consensus::planted::Plant;
use ropewalk_consensus::{Durability, Expected, ProposalKind, ProposeError, Receipt};
use ropewalk_core::expiry::Expiry;
use ropewalk_core::{
    BatchDraft, BatchHeader, Clock, GroupId, NodeId, Offset, PartitionId, StoredBatch, Timestamp,
    TopicId,
};
use ropewalk_storage::StorageError;
use ropewalk_storage::log_view::{LogBounds, LogReader};
use tokio::sync::OwnedSemaphorePermit;

use crate::delivery;
use crate::driver::Stopped;
use crate::errors::LogError;
use crate::follow::FollowSignal;
use crate::group_handle::{GroupHandle, GroupLeader};
use crate::group_watch::GroupWatch;
use crate::peers::Reply;
use crate::pools::Pools;
use crate::remote_log::{self, RemoteLog};

/// How long another broker may take to say where a log starts and ends that is only to be shown.
const SHOWN_WITHIN: Duration = Duration::from_millis(500);

/// A partition, wherever it is led and wherever its replicas are.
pub struct Partition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id.
    pub topic_id: TopicId,
    /// Its number in the topic.
    pub id: PartitionId,
    /// Its replica group.
    pub group: GroupId,
    handle: GroupHandle,
    pub(crate) log: PartitionLog,
    /// What its leader said last, where that is more than what the log here says.
    told: Mutex<LogBounds>,
    /// How long its records are delivered, in ns; 0 stands for as long as they are there.
    record_ttl: AtomicU64,
    /// Whether its topic is compacted: where a record is over, it is a tombstone of its key.
    keeps_keys: AtomicBool,
    pools: Pools,
}

/// Where the log of a partition is read.
pub(crate) enum PartitionLog {
    /// On this broker, which has a replica; and on others, where that is damaged.
    Here(Arc<GroupWatch>, RemoteLog),
    /// On other brokers.
    Elsewhere(RemoteLog),
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The number of its records.
    pub record_count: u32,
    /// When the leader appended it.
    pub append_time: Timestamp,
    /// The leader's epoch.
    pub leader_epoch: u64,
    /// What was true of it when it was answered.
    pub achieved: Durability,
    /// Whether it had been appended before.
    pub duplicate: bool,
}

/// Memory that is reserved for a batch until its append has ended.
pub struct Reserved(pub(crate) OwnedSemaphorePermit);

impl Reserved {
    /// Takes the part of one batch out of what was reserved for several.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let part = bytes.min(self.0.num_permits());
        Self(self.0.split(part).expect("no more is split off than there is"))
    }
}

impl Partition {
    pub(crate) fn new(
        topic: Arc<str>,
        topic_id: TopicId,
        id: PartitionId,
        handle: GroupHandle,
        pools: Pools,
    ) -> Self {
        let log = match handle.watch() {
            Some(watch) => PartitionLog::Here(Arc::clone(watch), RemoteLog::new(handle.clone())),
            None => PartitionLog::Elsewhere(RemoteLog::new(handle.clone())),
        };
        let (told, record_ttl) = (Mutex::default(), AtomicU64::new(0));
        let (group, keeps_keys) = (handle.group, AtomicBool::new(false));
        Self { topic, topic_id, id, group, handle, log, told, record_ttl, keeps_keys, pools }
    }

    /// Says how long its records are delivered from now on, and as what after that.
    pub(crate) fn set_cleanup(&self, cleanup: &Cleanup) {
        let nanos = |ttl: Duration| u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
        self.record_ttl.store(cleanup.record_ttl.map_or(0, nanos), Ordering::Relaxed);
        self.keeps_keys.store(cleanup.policy.compacts(), Ordering::Relaxed);
    }

    /// How the records of a batch are looked at one by one before it is delivered, if some may be
    /// past a time to live of their own.
    pub(crate) fn expiry(&self, header: &BatchHeader, clock: &dyn Clock) -> Option<Expiry> {
        header.shortest_ttl?;
        let (now, keeps_keys) = (clock.now(), self.keeps_keys.load(Ordering::Relaxed));
        header.may_have_expired(now).then_some(Expiry { now, keeps_keys })
    }

    /// What was appended before this is delivered no more, if anything is not.
    pub(crate) fn expired_before(&self, clock: &dyn Clock) -> Option<Timestamp> {
        let ttl = self.record_ttl.load(Ordering::Relaxed);
        let before = |ttl: u64| {
            let ttl = i64::try_from(ttl).unwrap_or(i64::MAX);
            Timestamp(clock.now().0.saturating_sub(ttl))
        };
        (ttl > 0).then(|| before(ttl))
    }

    /// Takes over what another view of the same partition has said of its bounds: a reader that
    /// goes from one to the other must not see them go back.
    #[must_use]
    pub(crate) fn following(self, before: Option<&Arc<Self>>) -> Self {
        if let Some(before) = before {
            self.note(before.bounds());
        }
        self
    }

    fn note(&self, bounds: LogBounds) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = told.max(bounds);
    }

    /// Where the log starts and ends for readers, as far as this broker knows: never beyond what
    /// is, and perhaps behind it where another broker leads.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.max(match &self.log {
            PartitionLog::Here(watch, _) => watch.reader().bounds(),
            PartitionLog::Elsewhere(log) => log.bounds(),
        })
    }

    /// Where the log starts and ends, including everything that was answered before this is called.
    ///
    /// # Errors
    /// `NoLeader` when the leader cannot be found in time.
    pub async fn latest_bounds(&self) -> Result<LogBounds, ProposeError> {
        let is_alone = |watch: &Arc<GroupWatch>| watch.epoch().is_some() && watch.is_alone();
        let asks_nobody = Plant::FollowerBounds.is_planted() && self.handle.watch().is_some();
        if asks_nobody || self.handle.watch().is_some_and(is_alone) {
            return Ok(self.bounds());
        }
        match self.handle.propose(|| ProposalKind::Bounds, None).await? {
            Receipt::Bounds { start, high_watermark, .. } => {
                let bounds = LogBounds { start, high_watermark };
                self.note(bounds);
                Ok(bounds)
            }
            _ => unreachable!("bounds are answered as bounds"),
        }
    }

    /// Where the log starts and ends, to be shown: as this broker knows it, or, where it has no
    /// replica, as another one does that answers in time.
    pub async fn shown_bounds(&self) -> LogBounds {
        if let PartitionLog::Elsewhere(log) = &self.log {
            let asked = tokio::time::timeout(SHOWN_WITHIN, log.ask()).await;
            if let Ok(Ok(bounds)) = asked {
                self.note(bounds);
            }
        }
        self.bounds()
    }

    /// The epoch in which this broker leads it.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.handle.watch()?.epoch()
    }

    /// Who leads it, as far as this broker knows.
    #[must_use]
    pub fn leader(&self) -> Option<GroupLeader> {
        self.handle.leader()
    }

    /// The brokers that are to have it, the preferred leader first.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        self.handle.nodes()
    }

    /// The way to its replica group.
    #[must_use]
    pub fn handle(&self) -> &GroupHandle {
        &self.handle
    }

    /// The bytes of its log on this broker.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.reader().map_or(0, LogReader::size_bytes)
    }

    /// The log of this broker's replica, if it has one.
    pub(crate) fn reader(&self) -> Option<&LogReader> {
        match &self.log {
            PartitionLog::Here(watch, _) => Some(watch.reader()),
            PartitionLog::Elsewhere(_) => None,
        }
    }

    /// Raises `slot` of the signal whenever there is more to read.
    pub(crate) fn follow(&self, signal: &Arc<FollowSignal>, slot: usize) {
        match &self.log {
            PartitionLog::Here(watch, _) => watch.follow(signal, slot),
            PartitionLog::Elsewhere(log) => log.follow(signal, slot),
        }
    }

    pub(crate) fn unfollow_slot(&self, signal: &Arc<FollowSignal>, slot: usize) {
        match &self.log {
            PartitionLog::Here(watch, _) => watch.unfollow_slot(signal, slot),
            PartitionLog::Elsewhere(log) => log.unfollow_slot(signal, slot),
        }
    }

    pub(crate) fn unfollow(&self, signal: &Arc<FollowSignal>) {
        match &self.log {
            PartitionLog::Here(watch, _) => watch.unfollow(signal),
            PartitionLog::Elsewhere(log) => log.unfollow(signal),
        }
    }

    /// Hands a batch to the log. Batches that are handed over one after the other are appended in
    /// that order; `done` is told how it ended, on a thread that must not be kept waiting. Waits
    /// while nobody leads the partition, up to two seconds.
    pub async fn append(
        &self,
        draft: BatchDraft,
        expected: Option<Expected>,
        durability: Durability,
        reserved: Reserved,
        done: impl FnOnce(Result<Appended, ProposeError>) + Send + 'static,
    ) -> Result<(), Stopped> {
        let reply: Reply = Box::new(move |result| {
            done(result.map(|receipt| match receipt {
                Receipt::Appended {
                    base_offset,
                    record_count,
                    append_time,
                    leader_epoch,
                    achieved,
                    duplicate,
                } => Appended {
                    base_offset,
                    record_count,
                    append_time,
                    leader_epoch,
                    achieved,
                    duplicate,
                },
                _ => unreachable!("a batch is answered as a batch"),
            }));
        });
        let (draft, keys) = match self.handle.watch().filter(|watch| watch.epoch().is_some()) {
            // Where another broker leads, that one looks for the keys.
            None => (draft, None),
            Some(watch) => {
                let (expects, now) = (expects_version(expected.as_ref()), self.handle.time());
                self.pools.keys.find(draft, expects, watch, now).await
            }
        };
        let kind = ProposalKind::Batch {
            draft,
            expected: expected.map(Box::new),
            durability,
            epoch: None,
        };
        self.handle.submit(kind, Box::new((reserved.0, keys)), reply).await
    }

    /// Moves the log start up to an offset, or to the high watermark. Returns the log start.
    pub async fn trim(&self, before: Option<Offset>) -> Result<Offset, ProposeError> {
        match self.handle.propose(|| ProposalKind::Trim { before }, None).await? {
            Receipt::Trimmed(start) => Ok(start),
            _ => unreachable!("a trim is answered as a trim"),
        }
    }

    /// The offset after the last record that this broker's replica holds, and when that was
    /// appended. Reads the disk off the async threads.
    pub(crate) async fn last_append(&self) -> Result<Option<(Offset, Timestamp)>, StorageError> {
        let Some(reader) = self.reader().cloned() else { return Ok(None) };
        self.pools.search(move || reader.last_append()).await
    }

    /// The first record whose time is at or after `time`. Reads the disk off the async threads.
    pub async fn find_time(
        &self,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, LogError> {
        match &self.log {
            PartitionLog::Here(watch, _) => {
                let found = find_time(&self.pools, watch.reader(), time).await?;
                if found.is_some() || watch.epoch().is_some() || watch.is_alone() {
                    return Ok(found);
                }
                // What this replica does not have yet may be it.
                Ok(remote_log::find_time(&self.handle, time).await?)
            }
            PartitionLog::Elsewhere(_) => Ok(remote_log::find_time(&self.handle, time).await?),
        }
    }
}

/// Whether a condition is one on the version of a key.
pub(crate) fn expects_version(expected: Option<&Expected>) -> bool {
    matches!(expected, Some(Expected::Version { .. }))
}

/// The first record of a log whose time is at or after `time`.
pub(crate) async fn find_time(
    pools: &Pools,
    reader: &LogReader,
    time: Timestamp,
) -> Result<Option<(Offset, Timestamp)>, StorageError> {
    let reader = reader.clone();
    let find = move |batch: &StoredBatch, from| delivery::find_time(batch, from, time);
    pools.search(move || reader.find_time(time, find)).await
}
