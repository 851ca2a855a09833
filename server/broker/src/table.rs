//! The partition table: which topics and partitions this broker serves.
//!
//! [`Reconciler`] is its only writer. It follows the metadata and takes up, changes and removes
//! replica groups until the table says the same; everybody else sees immutable snapshots of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ropewalk_cluster::{Metadata, MetadataWatch, Topic, TopicSettings};
use ropewalk_consensus::shard::NewGroup;
use ropewalk_core::{GroupId, PartitionId};
use ropewalk_storage::GroupState;
use ropewalk_storage::group_log::SegmentPolicy;
use tokio::sync::watch;

use crate::driver::{Driver, GroupWatch, Stopped};
use crate::partition::Partition;
use crate::pools::Pools;

/// A topic with its partitions.
#[derive(Clone)]
pub struct ServedTopic {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Its partitions, by number.
    pub partitions: Arc<[Arc<Partition>]>,
}

impl ServedTopic {
    /// A partition of it.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Arc<Partition>> {
        self.partitions.get(id.0 as usize)
    }
}

/// The table at one moment.
#[derive(Clone, Default)]
pub struct TableSnapshot {
    /// The metadata that it carries out.
    pub metadata: Arc<Metadata>,
    /// The topics, by name.
    pub topics: Arc<BTreeMap<String, ServedTopic>>,
    /// The index up to which the metadata is carried out for certain: what is newer may not be
    /// served yet.
    pub settled: u64,
}

/// Where the newest table is seen.
pub type TableWatch = watch::Receiver<TableSnapshot>;

/// Makes the table follow the metadata.
pub(crate) struct Reconciler {
    driver: Driver,
    metadata: MetadataWatch,
    table: watch::Sender<TableSnapshot>,
    pools: Pools,
    /// What storage has of groups that are not taken up yet.
    stored: HashMap<GroupId, GroupState>,
}

impl Reconciler {
    /// A reconciler that has not begun, and the watch of its table.
    pub(crate) fn new(
        driver: Driver,
        metadata: MetadataWatch,
        pools: Pools,
        stored: HashMap<GroupId, GroupState>,
    ) -> (Self, TableWatch) {
        let (table, watch) = watch::channel(TableSnapshot::default());
        (Self { driver, metadata, table, pools, stored }, watch)
    }

    /// Makes the table say what the metadata says now. At the first time, groups in storage that no
    /// topic has are removed: their topic was deleted, and the broker stopped before they were.
    pub(crate) async fn first(&mut self) -> Result<(), Stopped> {
        self.follow().await?;
        for (group, _) in self.stored.drain().filter(|(group, _)| group.is_partition()) {
            tracing::info!(%group, "removing what is left of a deleted topic");
            self.driver.remove(group).await?;
        }
        Ok(())
    }

    /// Follows the metadata until the broker stops.
    pub(crate) async fn run(mut self) {
        while self.metadata.changed().await.is_ok() {
            if self.follow().await == Err(Stopped) {
                return;
            }
        }
    }

    async fn follow(&mut self) -> Result<(), Stopped> {
        let metadata = self.metadata.borrow_and_update().clone();
        let old = Arc::clone(&self.table.borrow().topics);
        let mut topics = BTreeMap::clone(&old);
        for (name, served) in old.iter() {
            if metadata.topic(name).is_none_or(|topic| topic.id != served.topic.id) {
                topics.remove(name);
            }
        }
        // Readers and writers see that a topic is gone before its data is.
        self.publish(&metadata, &topics, false);
        for served in old.values() {
            let now = metadata.topic(&served.topic.name);
            if now.is_none_or(|topic| topic.id != served.topic.id) {
                for partition in served.partitions.iter() {
                    self.driver.remove(partition.group).await?;
                }
            }
        }
        let mut opened = Vec::new();
        for topic in metadata.topics.values() {
            match topics.get(&topic.name) {
                Some(served) if Arc::ptr_eq(&served.topic, topic) => {}
                served => {
                    let served = self.serve(topic, served, &mut opened).await?;
                    topics.insert(topic.name.clone(), served);
                }
            }
        }
        for group in opened {
            group.served().await;
        }
        self.publish(&metadata, &topics, true);
        Ok(())
    }

    fn publish(
        &self,
        metadata: &Arc<Metadata>,
        topics: &BTreeMap<String, ServedTopic>,
        is_settled: bool,
    ) {
        let settled = if is_settled { metadata.index } else { self.table.borrow().settled };
        self.table.send_replace(TableSnapshot {
            metadata: Arc::clone(metadata),
            topics: Arc::new(topics.clone()),
            settled,
        });
    }

    /// Takes up the partitions that are new, and changes the policy of the others.
    async fn serve(
        &mut self,
        topic: &Arc<Topic>,
        served: Option<&ServedTopic>,
        opened: &mut Vec<Arc<GroupWatch>>,
    ) -> Result<ServedTopic, Stopped> {
        let policy = segment_policy(&topic.settings);
        let mut partitions = served.map_or_else(Vec::new, |served| served.partitions.to_vec());
        for partition in &partitions {
            self.driver.set_policy(partition.group, policy).await?;
        }
        let name: Arc<str> = topic.name.as_str().into();
        for (id, group) in topic.groups().skip(partitions.len()) {
            let watch = Arc::new(GroupWatch::default());
            let stored = self.stored.remove(&group);
            let new = NewGroup { group, stored, machine: None, policy };
            self.driver.open(new, Arc::clone(&watch)).await?;
            opened.push(Arc::clone(&watch));
            let (name, driver) = (Arc::clone(&name), self.driver.clone());
            let pools = self.pools.clone();
            let partition = Partition::new(name, topic.id, id, group, watch, driver, pools);
            partitions.push(Arc::new(partition));
        }
        Ok(ServedTopic { topic: Arc::clone(topic), partitions: partitions.into() })
    }
}

fn segment_policy(settings: &TopicSettings) -> SegmentPolicy {
    SegmentPolicy { max_bytes: settings.segment_bytes, max_age: settings.segment_age }
}
