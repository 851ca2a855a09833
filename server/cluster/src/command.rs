//! The commands of the metadata group, in their stored form.
//!
//! Everything that a command needs and that a replica could see differently (ids, times) is in it.

use ropewalk_consensus::LaterVersion;
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{GroupId, NodeId, PartitionId, ReplicaId, Timestamp, TopicId};

use crate::former::Gone;
use crate::level::FIRST;
use crate::metadata::{ClusterId, DirectoryId};
use crate::settings::{TopicSettings, TopicUpdate};
use crate::stored::{read_bool, read_level, read_list, write_level, write_list, write_text};

const VERSION: u8 = 2;
const WHAT: &str = "metadata command";

/// What a broker says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its id, from 1 to 2^32 - 1.
    pub id: NodeId,
    /// The id of its data directory.
    pub directory: DirectoryId,
    /// Where clients reach it, as HOST:PORT.
    pub address: String,
    /// Where other brokers reach it, as HOST:PORT.
    pub peer_address: String,
    /// The rack or zone it stands in.
    pub rack: Option<String>,
    /// The version of its binary.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
    /// The level up to which it knows what is written: [`crate::LEVEL`].
    pub level: u32,
}

/// Where a partition is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMove {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The brokers that are to have it, the preferred leader first.
    pub brokers: Vec<NodeId>,
}

/// A change to the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataCommand {
    /// A broker has started: it is new, or its addresses or version are, or it lost its disk.
    RegisterBroker(BrokerRegistration),
    /// A topic is created, unless its name is taken.
    CreateTopic {
        /// Its id, chosen by the proposer at random.
        id: TopicId,
        /// Its name.
        name: String,
        /// The number of its partitions.
        partition_count: u32,
        /// The number of replicas of each: 1, 3 or 5. `None`: 3 with at least three brokers that
        /// are not draining, else 1.
        replication_factor: Option<u32>,
        /// Its settings.
        settings: TopicSettings,
        /// The time of the proposer.
        created: Timestamp,
    },
    /// A topic is changed.
    UpdateTopic {
        /// Its id.
        id: TopicId,
        /// What changes.
        update: TopicUpdate,
    },
    /// A topic is deleted.
    DeleteTopic {
        /// Its id.
        id: TopicId,
    },
    /// The cluster is formed: the first command. When it is formed already nothing happens.
    Form {
        /// The id of the cluster, chosen by the proposer at random.
        cluster_id: ClusterId,
        /// The brokers that form it, each with the id of its data directory.
        founders: Vec<(NodeId, DirectoryId)>,
    },
    /// A broker is to be spared, or no longer: it leads nothing and gets no new replica while
    /// others can.
    SetBrokerState {
        /// Its id.
        id: NodeId,
        /// Whether it is draining.
        is_draining: bool,
    },
    /// A broker is taken out, and its replicas are placed on others.
    RemoveBroker {
        /// Its id.
        id: NodeId,
    },
    /// A replica has lost entries that it had confirmed, or cannot read what it has: its broker
    /// gets another one in its place. When it is placed nowhere any more nothing happens.
    ReplaceReplica {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The same for a replica that votes, if its group can do without it.
    ReplaceVoter {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
        /// All who vote, the replica among them, as the leader says; most of them, others than the
        /// replica, are in sync. Refused when others are to vote.
        voters: Vec<ReplicaId>,
    },
    /// Replicas that their brokers are not to have any more are counted by their groups no more, as
    /// their leaders say: their data may be deleted, and their ids are never given again.
    ForgetReplicas {
        /// The replicas.
        gone: Vec<Gone>,
    },
    /// Partitions are placed by hand. One that is refused refuses them all.
    ReassignPartitions {
        /// Where each is to be.
        moves: Vec<PartitionMove>,
    },
    /// What the next version could bring: how much of a topic is kept, by itself.
    #[cfg(feature = "next")]
    SetRetentionBytes {
        /// The topic.
        id: TopicId,
        /// The bytes of each partition.
        bytes: u64,
    },
}

/// The kinds of commands. The numbers are stored: they are never used again, and rise. A command
/// that is to say more than it does is a new kind, with a level of its own
/// ([`MetadataCommand::level`]): a broker ends at a kind that it does not know, but takes a form
/// that it does not know for damage, and leaves it out.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    RegisterBroker = 1,
    CreateTopic = 2,
    UpdateTopic = 3,
    DeleteTopic = 4,
    Form = 5,
    SetBrokerState = 6,
    RemoveBroker = 7,
    ReassignPartitions = 8,
    ReplaceReplica = 9,
    ReplaceVoter = 10,
    ForgetReplicas = 11,
    /// With what earlier versions do not know of: the cleanup and the compression.
    CreateFurtherTopic = 12,
    UpdateFurther = 13,
    #[cfg(feature = "next")]
    SetRetentionBytes = 14,
}

/// The last kind of each level, from the first level on.
const LAST_KINDS: &[Kind] = &[
    Kind::ForgetReplicas,
    Kind::ForgetReplicas,
    Kind::UpdateFurther,
    #[cfg(feature = "next")]
    Kind::SetRetentionBytes,
];

impl MetadataCommand {
    /// The level that the cluster must have before it may be proposed.
    #[must_use]
    pub fn level(&self) -> u32 {
        let kind = self.encode()[1];
        let level = (FIRST..).zip(LAST_KINDS).find(|(_, last)| kind <= **last as u8);
        level.map_or(u32::MAX, |(level, _)| level)
    }

    /// Refuses a stored form that a broker of this level does not know.
    pub fn check(bytes: &[u8], level: u32) -> Result<(), LaterVersion> {
        let known = (FIRST..=level).zip(LAST_KINDS).last();
        LaterVersion::check(WHAT, bytes, VERSION, known.map_or(0, |(_, last)| *last as u8))
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::versioned(VERSION);
        match self {
            Self::RegisterBroker(registration) => {
                out.u8(Kind::RegisterBroker as u8);
                write_registration(&mut out, registration);
            }
            Self::CreateTopic {
                id,
                name,
                partition_count,
                replication_factor,
                settings,
                created,
            } => {
                let is_plain = settings.is_plain();
                let kind = if is_plain { Kind::CreateTopic } else { Kind::CreateFurtherTopic };
                out.u8(kind as u8).raw(&id.0).bytes(name.as_bytes());
                out.u32(*partition_count).option(*replication_factor, |out, factor| {
                    out.u32(factor);
                });
                out.i64(created.0);
                settings.write(&mut out);
            }
            Self::UpdateTopic { id, update } => {
                let is_plain = update.is_plain();
                let kind = if is_plain { Kind::UpdateTopic } else { Kind::UpdateFurther };
                out.u8(kind as u8).raw(&id.0);
                update.write(&mut out);
            }
            Self::DeleteTopic { id } => {
                out.u8(Kind::DeleteTopic as u8).raw(&id.0);
            }
            Self::Form { cluster_id, founders } => {
                out.u8(Kind::Form as u8).raw(cluster_id);
                write_list(&mut out, founders, |out, (id, directory)| {
                    out.u64(id.0).raw(directory);
                });
            }
            Self::SetBrokerState { id, is_draining } => {
                out.u8(Kind::SetBrokerState as u8).u64(id.0).u8(u8::from(*is_draining));
            }
            Self::RemoveBroker { id } => {
                out.u8(Kind::RemoveBroker as u8).u64(id.0);
            }
            Self::ReplaceReplica { group, replica } => {
                out.u8(Kind::ReplaceReplica as u8).u64(group.0).u64(replica.0);
            }
            Self::ReplaceVoter { group, replica, voters } => {
                out.u8(Kind::ReplaceVoter as u8).u64(group.0).u64(replica.0);
                write_list(&mut out, voters, |out, voter| {
                    out.u64(voter.0);
                });
            }
            Self::ForgetReplicas { gone } => {
                out.u8(Kind::ForgetReplicas as u8);
                write_list(&mut out, gone, write_gone);
            }
            Self::ReassignPartitions { moves } => {
                out.u8(Kind::ReassignPartitions as u8);
                write_list(&mut out, moves, write_move);
            }
            #[cfg(feature = "next")]
            Self::SetRetentionBytes { id, bytes } => {
                out.u8(Kind::SetRetentionBytes as u8).raw(&id.0).u64(*bytes);
            }
        }
        out.finish()
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::versioned(bytes, VERSION, WHAT)?;
        let command = match reader.u8()? {
            1 => Self::RegisterBroker(read_registration(&mut reader)?),
            2 | 12 => Self::CreateTopic {
                id: TopicId(reader.array()?),
                name: reader.string()?,
                partition_count: reader.u32()?,
                replication_factor: reader.option(Reader::u32)?,
                created: Timestamp(reader.i64()?),
                settings: TopicSettings::read(&mut reader)?,
            },
            3 | 13 => {
                let id = TopicId(reader.array()?);
                Self::UpdateTopic { id, update: TopicUpdate::read(&mut reader)? }
            }
            4 => Self::DeleteTopic { id: TopicId(reader.array()?) },
            5 => {
                let cluster_id = reader.array()?;
                let founder =
                    |reader: &mut Reader<'_>| Ok((reader.u64().map(NodeId)?, reader.array()?));
                Self::Form { cluster_id, founders: read_list(&mut reader, founder)? }
            }
            6 => {
                let id = NodeId(reader.u64()?);
                Self::SetBrokerState { id, is_draining: read_bool(&mut reader)? }
            }
            7 => Self::RemoveBroker { id: NodeId(reader.u64()?) },
            9 => Self::ReplaceReplica {
                group: GroupId(reader.u64()?),
                replica: ReplicaId(reader.u64()?),
            },
            10 => Self::ReplaceVoter {
                group: GroupId(reader.u64()?),
                replica: ReplicaId(reader.u64()?),
                voters: read_list(&mut reader, |reader| reader.u64().map(ReplicaId))?,
            },
            11 => Self::ForgetReplicas { gone: read_list(&mut reader, read_gone)? },
            8 => Self::ReassignPartitions { moves: read_list(&mut reader, read_move)? },
            #[cfg(feature = "next")]
            14 => Self::SetRetentionBytes { id: TopicId(reader.array()?), bytes: reader.u64()? },
            _ => return Err(reader.error()),
        };
        reader.finish()?;
        Ok(command)
    }
}

fn write_registration(out: &mut Writer, registration: &BrokerRegistration) {
    out.u64(registration.id.0).raw(&registration.directory);
    write_text(out, &registration.address);
    write_text(out, &registration.peer_address);
    out.option(registration.rack.as_deref(), write_text);
    write_text(out, &registration.version);
    out.i64(registration.started.0);
    write_level(out, registration.level);
}

fn read_registration(reader: &mut Reader<'_>) -> Result<BrokerRegistration, DecodeError> {
    Ok(BrokerRegistration {
        id: NodeId(reader.u64()?),
        directory: reader.array()?,
        address: reader.string()?,
        peer_address: reader.string()?,
        rack: reader.option(Reader::string)?,
        version: reader.string()?,
        started: Timestamp(reader.i64()?),
        level: read_level(reader)?,
    })
}

fn write_move(out: &mut Writer, moved: &PartitionMove) {
    out.raw(&moved.topic.0).u32(moved.partition.0);
    write_list(out, &moved.brokers, |out, id| {
        out.u64(id.0);
    });
}

fn read_move(reader: &mut Reader<'_>) -> Result<PartitionMove, DecodeError> {
    Ok(PartitionMove {
        topic: TopicId(reader.array()?),
        partition: PartitionId(reader.u32()?),
        brokers: read_list(reader, |reader| reader.u64().map(NodeId))?,
    })
}

fn write_gone(out: &mut Writer, gone: &Gone) {
    out.u64(gone.group.0).u64(gone.replica.0).u64(gone.since);
}

fn read_gone(reader: &mut Reader<'_>) -> Result<Gone, DecodeError> {
    let (group, replica) = (GroupId(reader.u64()?), ReplicaId(reader.u64()?));
    Ok(Gone { group, replica, since: reader.u64()? })
}
