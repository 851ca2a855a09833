//! An immutable picture of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_core::{GroupId, NodeId, PartitionId, Timestamp, TopicId};

use crate::settings::TopicSettings;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Never used again, unlike the name.
    pub id: TopicId,
    /// The name, which another topic may have after this one is deleted.
    pub name: String,
    /// The replica group of each partition, by partition.
    pub partitions: Vec<GroupId>,
    /// The settings in force.
    pub settings: TopicSettings,
    /// When it was created.
    pub created: Timestamp,
}

impl Topic {
    /// The number of partitions.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("limits bound the partitions of a topic")
    }

    /// The partitions and their replica groups.
    pub fn groups(&self) -> impl Iterator<Item = (PartitionId, GroupId)> {
        (0..).map(PartitionId).zip(self.partitions.iter().copied())
    }
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerInfo {
    /// Its id.
    pub id: NodeId,
    /// Where clients reach it, as HOST:PORT.
    pub address: String,
    /// The version of its binary.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
}

/// The cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The index of the last command that is in it.
    pub index: u64,
    /// The brokers, by id.
    pub brokers: BTreeMap<NodeId, Arc<BrokerInfo>>,
    /// The topics, by name.
    pub topics: BTreeMap<String, Arc<Topic>>,
}

impl Metadata {
    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The number of partitions of all topics.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.topics.values().map(|topic| topic.partitions.len()).sum()
    }
}
