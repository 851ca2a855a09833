//! The metadata as a pure state: clusters made by commands, stored forms, and that rows restore
//! what commands made.

mod brokers;
mod former;
mod forms;
mod placement;
mod random;
mod topics;

use std::collections::BTreeMap;

use ropewalk_core::{GroupId, NodeId, PartitionId, ReplicaId, Timestamp, TopicId};

use crate::state::MetadataState;
use crate::{
    BrokerRegistration, DirectoryId, Metadata, MetadataAnswer, MetadataCommand, PartitionMove,
    Topic, TopicSettings, TopicUpdate,
};

/// A state, and what storage would hold of it.
#[derive(Clone, Default)]
struct Cluster {
    state: MetadataState,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    index: u64,
}

impl Cluster {
    /// Founders 1 to `count`, all of them registered.
    fn of(count: u64) -> Self {
        let mut cluster = Self::default();
        cluster.apply(&form(count)).unwrap();
        for id in 1..=count {
            cluster.apply(&register(id)).unwrap();
        }
        cluster
    }

    fn apply(&mut self, command: &MetadataCommand) -> MetadataAnswer {
        self.index += 1;
        let (answer, rows) = self.state.apply(self.index, &command.encode());
        for (key, value) in rows {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        answer
    }

    fn restored(&self) -> MetadataState {
        let mut state = MetadataState::default();
        state.restore(self.index, self.rows.clone().into_iter().collect()).unwrap();
        state
    }

    fn metadata(&self) -> &Metadata {
        self.state.metadata()
    }

    fn topic(&self, name: &str) -> &Topic {
        self.metadata().topic(name).unwrap()
    }

    /// The brokers that a group is to be on, the preferred leader first.
    fn on(&self, group: GroupId) -> Vec<u64> {
        nodes(self.metadata().replicas(group).unwrap())
    }
}

fn nodes(replicas: &[ReplicaId]) -> Vec<u64> {
    replicas.iter().map(|replica| replica.node().0).collect()
}

fn replica(node: u64, serial: u32) -> ReplicaId {
    ReplicaId::new(NodeId(node), serial)
}

/// The data directory that a broker has at first.
fn directory(id: u64) -> DirectoryId {
    [u8::try_from(id).unwrap(); 16]
}

fn form(count: u64) -> MetadataCommand {
    let founders = (1..=count).map(|id| (NodeId(id), directory(id))).collect();
    MetadataCommand::Form { cluster_id: [0xcc; 16], founders }
}

fn registration(id: u64) -> BrokerRegistration {
    BrokerRegistration {
        id: NodeId(id),
        directory: directory(id),
        address: format!("broker-{id}:9092"),
        peer_address: format!("broker-{id}:9093"),
        rack: None,
        version: "1.2.3".to_owned(),
        started: Timestamp(5),
        level: 1,
    }
}

fn register(id: u64) -> MetadataCommand {
    MetadataCommand::RegisterBroker(registration(id))
}

fn register_in(rack: &str, id: u64) -> MetadataCommand {
    let rack = Some(rack.to_owned());
    MetadataCommand::RegisterBroker(BrokerRegistration { rack, ..registration(id) })
}

fn register_with(directory: DirectoryId, id: u64) -> MetadataCommand {
    MetadataCommand::RegisterBroker(BrokerRegistration { directory, ..registration(id) })
}

fn drain(id: u64, is_draining: bool) -> MetadataCommand {
    MetadataCommand::SetBrokerState { id: NodeId(id), is_draining }
}

fn remove(id: u64) -> MetadataCommand {
    MetadataCommand::RemoveBroker { id: NodeId(id) }
}

fn create(id: u8, name: &str, partition_count: u32) -> MetadataCommand {
    create_with(id, name, partition_count, None)
}

fn create_with(
    id: u8,
    name: &str,
    partition_count: u32,
    replication_factor: Option<u32>,
) -> MetadataCommand {
    MetadataCommand::CreateTopic {
        id: TopicId([id; 16]),
        name: name.to_owned(),
        partition_count,
        replication_factor,
        settings: TopicSettings::default(),
        created: Timestamp(1_700_000_000_000_000_000),
    }
}

fn update(id: u8, update: TopicUpdate) -> MetadataCommand {
    MetadataCommand::UpdateTopic { id: TopicId([id; 16]), update }
}

fn partition_count(count: u32) -> TopicUpdate {
    TopicUpdate { partition_count: Some(count), ..TopicUpdate::default() }
}

fn replication_factor(factor: u32) -> TopicUpdate {
    TopicUpdate { replication_factor: Some(factor), ..TopicUpdate::default() }
}

fn delete(id: u8) -> MetadataCommand {
    MetadataCommand::DeleteTopic { id: TopicId([id; 16]) }
}

fn reassign(id: u8, partition: u32, brokers: &[u64]) -> MetadataCommand {
    let brokers = brokers.iter().copied().map(NodeId).collect();
    let (topic, partition) = (TopicId([id; 16]), PartitionId(partition));
    MetadataCommand::ReassignPartitions { moves: vec![PartitionMove { topic, partition, brokers }] }
}
