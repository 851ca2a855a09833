//! Commands to the metadata: those that a cluster needs, and random ones.

use ropewalk_cluster::{
    BrokerRegistration, LEVEL, MetadataCommand, PartitionMove, TopicSettings, TopicUpdate,
};
use ropewalk_core::{NodeId, PartitionId, Timestamp, TopicId};

use crate::broker::directory;
use crate::random::Random;

/// The topic with the partition that is carried out.
pub const LOG_TOPIC: TopicId = TopicId([0; 16]);
/// Names are few, so that they are taken now and then.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The first command of a cluster.
#[must_use]
pub fn form(count: u64) -> MetadataCommand {
    let founders = (1..=count).map(|node| (NodeId(node), directory(NodeId(node), 1))).collect();
    MetadataCommand::Form { cluster_id: [0xcc; 16], founders }
}

/// A broker says that it has started, with its first, second, ... disk. `version` makes one
/// registration differ from another.
#[must_use]
pub fn registration(node: NodeId, disk: u8, version: u64) -> MetadataCommand {
    MetadataCommand::RegisterBroker(BrokerRegistration {
        id: node,
        directory: directory(node, disk),
        address: format!("broker-{node}:9092"),
        peer_address: format!("broker-{node}:9093"),
        rack: None,
        version: format!("1.2.{version}"),
        started: Timestamp(5),
        level: LEVEL,
    })
}

/// A topic with this number is created.
#[must_use]
pub fn create(number: u64, name: &str, partitions: u32, replicas: Option<u32>) -> MetadataCommand {
    MetadataCommand::CreateTopic {
        id: topic_id(number),
        name: name.to_owned(),
        partition_count: partitions,
        replication_factor: replicas,
        settings: TopicSettings::default(),
        created: Timestamp(1_700_000_000_000_000_000),
    }
}

fn topic_id(number: u64) -> TopicId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    TopicId(id)
}

/// Any command, of which many are refused. `disks` has the number of the disk of each broker,
/// `topics` those of the topics that there may be.
pub fn random(random: &mut Random, disks: &[u8], topics: &mut Vec<u64>) -> Vec<u8> {
    let brokers = disks.len() as u64;
    let node = NodeId(1 + random.below(brokers));
    let number = topics.last().map_or(1, |last| last + 1);
    let known = topics[topics.len().saturating_sub(5)..].to_vec();
    let id = topic_id(if known.is_empty() { u64::MAX } else { random.pick(&known) });
    let command = match random.below(12) {
        0..3 => registration(node, disks[node.0 as usize - 1], random.below(4)),
        3..6 => {
            let replicas = random.pick(&[None, Some(1), Some(2), Some(3), Some(5)]);
            topics.push(number);
            create(number, random.pick(&NAMES), 1 + random.below(3) as u32, replicas)
        }
        6 => {
            let partition_count = Some(1 + random.below(4) as u32);
            let update = TopicUpdate { partition_count, ..TopicUpdate::default() };
            MetadataCommand::UpdateTopic { id, update }
        }
        7..9 => MetadataCommand::DeleteTopic { id },
        9 => MetadataCommand::SetBrokerState { id: node, is_draining: random.one_in(3) },
        10 => form(brokers),
        _ => {
            // Damage, or a command of a later version: a registration that is cut short, or any
            // bytes.
            let bytes = random.number().to_le_bytes();
            let head: &[u8] = if bytes[7] < 0x80 { &[2, 1] } else { &[] };
            return [head, &bytes].concat();
        }
    };
    command.encode()
}

/// The partition is placed on so many brokers, from one on.
#[must_use]
pub fn move_log(first: NodeId, count: u64, of: u64) -> MetadataCommand {
    let brokers = (0..count).map(|at| NodeId(1 + (first.0 - 1 + at) % of)).collect();
    let (topic, partition) = (LOG_TOPIC, PartitionId(0));
    MetadataCommand::ReassignPartitions { moves: vec![PartitionMove { topic, partition, brokers }] }
}
