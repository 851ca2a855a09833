//! A partition as its users see it: append, read, follow, trim.
//!
//! It owns nothing: the log belongs to its replica group's shard, and this is the way there.

use std::sync::Arc;

use ropewalk_consensus::{Durability, Proposal, ProposalKind, ProposeError, Receipt};
use ropewalk_core::{BatchDraft, GroupId, Offset, PartitionId, StoredBatch, Timestamp, TopicId};
use ropewalk_storage::StorageError;
use ropewalk_storage::log_view::{LogBounds, LogReader};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::delivery;
use crate::driver::{Driver, GroupWatch, Reply, Stopped};
use crate::pools::Pools;

/// A partition that this broker leads.
pub struct Partition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id.
    pub topic_id: TopicId,
    /// Its number in the topic.
    pub id: PartitionId,
    /// Its replica group.
    pub group: GroupId,
    watch: Arc<GroupWatch>,
    driver: Driver,
    pools: Pools,
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
        group: GroupId,
        watch: Arc<GroupWatch>,
        driver: Driver,
        pools: Pools,
    ) -> Self {
        Self { topic, topic_id, id, group, watch, driver, pools }
    }

    /// Where the log starts and ends for readers.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        self.watch.reader().bounds()
    }

    /// The epoch in which this broker leads it.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.watch.epoch()
    }

    /// The bytes of its log.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.reader().size_bytes()
    }

    pub(crate) fn reader(&self) -> &LogReader {
        self.watch.reader()
    }

    pub(crate) fn watch(&self) -> &Arc<GroupWatch> {
        &self.watch
    }

    /// Hands a batch to the log. Batches that are handed over one after the other are appended in
    /// that order; `done` is told how it ended, on a thread that must not be kept waiting.
    pub async fn append(
        &self,
        draft: BatchDraft,
        expected: Option<Offset>,
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
                } => Appended { base_offset, record_count, append_time, leader_epoch, achieved },
                Receipt::Trimmed(_) | Receipt::Applied(_) => {
                    unreachable!("a batch is answered as a batch")
                }
            }));
        });
        let kind = ProposalKind::Batch { draft, expected, durability };
        self.driver.propose(self.group, Proposal { kind, reply, held: Box::new(reserved.0) }).await
    }

    /// Moves the log start up to an offset, or to the high watermark. Returns the log start.
    pub async fn trim(&self, before: Option<Offset>) -> Result<Offset, ProposeError> {
        match propose(&self.driver, self.group, ProposalKind::Trim { before }, None).await? {
            Receipt::Trimmed(start) => Ok(start),
            Receipt::Appended { .. } | Receipt::Applied(_) => {
                unreachable!("a trim is answered as a trim")
            }
        }
    }

    /// The first record whose time is at or after `time`. Reads the disk off the async threads.
    pub async fn find_time(
        &self,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, StorageError> {
        let reader = self.reader().clone();
        let find = move |batch: &StoredBatch, from| delivery::find_time(batch, from, time);
        self.pools.search(move || reader.find_time(time, find)).await
    }
}

/// Proposes to a group and waits for the end.
pub(crate) async fn propose(
    driver: &Driver,
    group: GroupId,
    kind: ProposalKind,
    held: Option<Reserved>,
) -> Result<Receipt, ProposeError> {
    let (done, ended) = oneshot::channel();
    let reply: Reply = Box::new(move |result| {
        // Nobody waits any more: the caller was cancelled, and the entry stands all the same.
        let _ = done.send(result);
    });
    let proposal = Proposal { kind, reply, held: Box::new(held.map(|reserved| reserved.0)) };
    let stopped = |_| ProposeError::NoLeader;
    driver.propose(group, proposal).await.map_err(|Stopped| ProposeError::NoLeader)?;
    ended.await.map_err(stopped)?
}
