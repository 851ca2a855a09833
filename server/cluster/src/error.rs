//! Why a command changed nothing, and its form on the way to a proposer on another broker.

use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{NodeId, PartitionId, ReplicaId};
use thiserror::Error;

use crate::settings::OutOfRange;

/// Why a command changed nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MetadataError {
    /// The name is taken.
    #[error("topic `{0}` exists already")]
    TopicExists(String),
    /// There is no such topic, or no longer.
    #[error("the topic does not exist")]
    TopicNotFound,
    /// Partitions only grow.
    #[error("the topic has {current} partitions and cannot have fewer")]
    PartitionsShrink {
        /// How many there are.
        current: u32,
    },
    /// The cluster would have too many partitions.
    #[error("the cluster would have more than {limit} partitions: delete topics, or ask for fewer")]
    TooManyPartitions {
        /// The bound.
        limit: usize,
    },
    /// A broker would hold too many replicas.
    #[error(
        "broker {broker} would hold more than {limit} replicas: add brokers, or ask for fewer \
         partitions or a smaller replication factor"
    )]
    TooManyReplicas {
        /// The broker with the most.
        broker: NodeId,
        /// The bound.
        limit: usize,
    },
    /// Each replica stands on a broker of its own.
    #[error(
        "replication factor {replication_factor} needs {replication_factor} brokers and the \
         cluster has {brokers}: start more brokers, or choose a smaller factor"
    )]
    TooFewBrokers {
        /// What was asked for.
        replication_factor: u32,
        /// How many brokers there are.
        brokers: u32,
    },
    /// There is no such partition.
    #[error("topic `{topic}` has no partition {partition}")]
    PartitionNotFound {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
    },
    /// The replicas that are asked for cannot be.
    #[error("partition {partition} of topic `{topic}` cannot be placed so: {problem}")]
    InvalidReplicas {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// There is no such broker, or no longer.
    #[error("broker {0} is not in the cluster: see the cluster's status for those that are")]
    BrokerNotFound(NodeId),
    /// The data directory belongs to a broker that was removed, or that has started with another
    /// directory since.
    #[error(
        "broker {0} gave up this data directory: it was removed from the cluster, or has started \
         with another directory since. Start it with an empty data directory"
    )]
    BrokerRemoved(NodeId),
    /// Two brokers use the same data directory, or copies of it.
    #[error(
        "the data directory is that of broker {0}: data directories cannot be copied. Start with \
         an empty one, or with that broker's id"
    )]
    DirectoryTaken(NodeId),
    /// The broker is needed.
    #[error(
        "broker {0} is the last one of the cluster and cannot be removed: start another one with \
         cluster.join first"
    )]
    LastBroker(NodeId),
    /// A topic has too many replicas for the brokers that would be left.
    #[error(
        "without broker {broker} there are {brokers} brokers, and topic `{topic}` has replication \
         factor {replication_factor}: add a broker, or lower the factor of the topic first"
    )]
    BrokerNeeded {
        /// The broker.
        broker: NodeId,
        /// How many would be left.
        brokers: u32,
        /// A topic that needs more.
        topic: String,
        /// How many it needs.
        replication_factor: u32,
    },
    /// The cluster has all the brokers that it can have.
    #[error("the cluster has {limit} brokers already, and cannot have more")]
    TooManyBrokers {
        /// The bound.
        limit: usize,
    },
    /// The first command of a cluster forms it.
    #[error("the cluster is not formed yet: start its founders, and try again")]
    NotFormed,
    /// Serial numbers of replicas are used up.
    #[error("the metadata group has taken 4 billion commands, and takes no more")]
    Exhausted,
    /// A damaged replica is needed: who votes in its group is about to change.
    #[error("replica {0} is damaged, and its group needs it: it is replaced later")]
    ReplicaNeeded(ReplicaId),
    /// A value would be outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The broker is older than what the cluster may write.
    #[error(
        "this version of the broker is too old: it knows what is written up to level {broker}, and \
         all brokers of the cluster write up to level {cluster}. Start it with the version that \
         the others run; `ropewalk cluster status` shows it"
    )]
    LevelTooLow {
        /// The broker's level.
        broker: u32,
        /// The cluster's.
        cluster: u32,
    },
    /// Some brokers do not know the command yet.
    #[error(
        "this needs level {needed}, and not all brokers of the cluster know more than level \
         {cluster}: upgrade all of them first; `ropewalk cluster status` shows their versions"
    )]
    NotUpgraded {
        /// The command's level.
        needed: u32,
        /// The cluster's.
        cluster: u32,
    },
    /// The command is damaged, or of a later version than that of the broker that leads.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// Writes a number that says which error it is, and its fields. The numbers travel between
/// brokers of different versions: they are never used again.
pub(crate) fn write_error(out: &mut Writer, error: &MetadataError) {
    use MetadataError as E;
    match error {
        E::TopicExists(name) => out.u8(1).bytes(name.as_bytes()),
        E::TopicNotFound => out.u8(2),
        E::PartitionsShrink { current } => out.u8(3).u32(*current),
        E::TooManyPartitions { limit } => out.u8(4).u64(*limit as u64),
        E::TooManyReplicas { broker, limit } => out.u8(5).u64(broker.0).u64(*limit as u64),
        E::TooFewBrokers { replication_factor, brokers } => {
            out.u8(6).u32(*replication_factor).u32(*brokers)
        }
        E::PartitionNotFound { topic, partition } => {
            out.u8(7).u32(partition.0).bytes(topic.as_bytes())
        }
        E::InvalidReplicas { topic, partition, problem } => {
            out.u8(8).u32(partition.0).bytes(topic.as_bytes()).bytes(problem.as_bytes())
        }
        E::BrokerNotFound(id) => out.u8(9).u64(id.0),
        E::BrokerRemoved(id) => out.u8(10).u64(id.0),
        E::DirectoryTaken(id) => out.u8(11).u64(id.0),
        E::LastBroker(id) => out.u8(12).u64(id.0),
        E::BrokerNeeded { broker, brokers, topic, replication_factor } => {
            out.u8(13).u64(broker.0).u32(*brokers).u32(*replication_factor).bytes(topic.as_bytes())
        }
        E::TooManyBrokers { limit } => out.u8(14).u64(*limit as u64),
        E::NotFormed => out.u8(15),
        E::Exhausted => out.u8(16),
        E::OutOfRange(OutOfRange { setting, expected, actual }) => {
            out.u8(17).bytes(setting.as_bytes()).bytes(expected.as_bytes()).bytes(actual.as_bytes())
        }
        E::Malformed(_) => out.u8(18),
        E::LevelTooLow { broker, cluster } => out.u8(19).u32(*broker).u32(*cluster),
        E::NotUpgraded { needed, cluster } => out.u8(20).u32(*needed).u32(*cluster),
        E::ReplicaNeeded(replica) => out.u8(21).u64(replica.0),
    };
}

pub(crate) fn read_error(reader: &mut Reader<'_>) -> Result<MetadataError, DecodeError> {
    use MetadataError as E;
    Ok(match reader.u8()? {
        1 => E::TopicExists(reader.string()?),
        2 => E::TopicNotFound,
        3 => E::PartitionsShrink { current: reader.u32()? },
        4 => E::TooManyPartitions { limit: read_limit(reader)? },
        5 => E::TooManyReplicas { broker: read_node(reader)?, limit: read_limit(reader)? },
        6 => E::TooFewBrokers { replication_factor: reader.u32()?, brokers: reader.u32()? },
        7 => {
            let partition = PartitionId(reader.u32()?);
            E::PartitionNotFound { partition, topic: reader.string()? }
        }
        8 => {
            let (partition, topic) = (PartitionId(reader.u32()?), reader.string()?);
            E::InvalidReplicas { partition, topic, problem: reader.string()? }
        }
        9 => E::BrokerNotFound(read_node(reader)?),
        10 => E::BrokerRemoved(read_node(reader)?),
        11 => E::DirectoryTaken(read_node(reader)?),
        12 => E::LastBroker(read_node(reader)?),
        13 => E::BrokerNeeded {
            broker: read_node(reader)?,
            brokers: reader.u32()?,
            replication_factor: reader.u32()?,
            topic: reader.string()?,
        },
        14 => E::TooManyBrokers { limit: read_limit(reader)? },
        15 => E::NotFormed,
        16 => E::Exhausted,
        17 => E::OutOfRange(OutOfRange {
            setting: reader.string()?,
            expected: reader.string()?,
            actual: reader.string()?,
        }),
        18 => E::Malformed(DecodeError("metadata command")),
        19 => E::LevelTooLow { broker: reader.u32()?, cluster: reader.u32()? },
        20 => E::NotUpgraded { needed: reader.u32()?, cluster: reader.u32()? },
        21 => E::ReplicaNeeded(ReplicaId(reader.u64()?)),
        _ => return Err(reader.error()),
    })
}

fn read_node(reader: &mut Reader<'_>) -> Result<NodeId, DecodeError> {
    reader.u64().map(NodeId)
}

fn read_limit(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    usize::try_from(reader.u64()?).map_err(|_| reader.error())
}
