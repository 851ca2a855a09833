//! The commands of a coordinator group, in their stored form.

use ropewalk_consensus::machine::LaterVersion;
use ropewalk_consensus::planted::Plant;
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{MemberId, Offset, PartitionId, Timestamp, TopicId};
use ropewalk_groups::command::{COMMAND_VERSION, LAST_COMMAND_KIND};
use ropewalk_groups::{Committer, GroupCommand, TopicPartition};

use crate::offsets::Commit;

const VERSION: u8 = 1;
pub(super) const WHAT: &str = "coordinator command";
/// The last kind of command. A new one needs a level, as those of the metadata do.
const LAST_KIND: u8 = 7;
/// The kind that holds a command about the members of consumer groups, with kinds of its own.
const GROUP_KIND: u8 = 4;

/// A command to a coordinator group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorCommand {
    /// An administrator sets positions of a consumer group, all together. Refused while the group
    /// has members.
    Commit {
        /// The consumer group.
        group: String,
        /// The time of the broker that leads.
        time: Timestamp,
        /// The positions, and what is kept beside each.
        offsets: Vec<Commit>,
    },
    /// A topic is deleted: nothing committed for it is kept.
    ForgetTopic(TopicId),
    /// A producer asks for an id and an epoch.
    InitProducer {
        /// Its name; empty for a producer that has none.
        name: String,
    },
    /// Something happens to the members of consumer groups.
    Group(GroupCommand),
    /// A member of a consumer group keeps positions and gives partitions back, all together.
    /// Refused when it is not the owner of all that it commits.
    MemberCommit {
        /// The consumer group.
        group: String,
        /// The member.
        committer: Committer,
        /// The time of the broker that leads.
        time: Timestamp,
        /// The positions, and what is kept beside each.
        offsets: Vec<Commit>,
        /// What it has finished with.
        released: Vec<TopicPartition>,
    },
    /// A consumer group is forgotten, with its positions. Refused while it has members.
    DeleteGroup {
        /// Its name.
        group: String,
        /// The time of the broker that leads.
        time: Timestamp,
    },
    /// An administrator removes positions of a consumer group. Refused while it has members.
    DeleteOffsets {
        /// The consumer group.
        group: String,
        /// Of which partitions.
        partitions: Vec<TopicPartition>,
    },
}

impl CoordinatorCommand {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::versioned(VERSION);
        match self {
            Self::Commit { group, time, offsets } => {
                out.u8(1).i64(time.0).bytes(group.as_bytes());
                write_commits(&mut out, offsets);
            }
            Self::ForgetTopic(topic) => {
                out.u8(2).raw(&topic.0);
            }
            Self::InitProducer { name } => {
                out.u8(3).bytes(name.as_bytes());
            }
            Self::Group(command) => {
                out.u8(GROUP_KIND).raw(&command.encode());
            }
            Self::MemberCommit { group, committer, time, offsets, released } => {
                out.u8(5).i64(time.0).bytes(group.as_bytes());
                out.raw(&committer.member.0).u64(committer.generation);
                write_commits(&mut out, offsets);
                write_partitions(&mut out, released);
            }
            Self::DeleteGroup { group, time } => {
                out.u8(6).i64(time.0).bytes(group.as_bytes());
            }
            Self::DeleteOffsets { group, partitions } => {
                out.u8(7).bytes(group.as_bytes());
                write_partitions(&mut out, partitions);
            }
        }
        out.finish()
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::versioned(bytes, VERSION, WHAT)?;
        let command = match reader.u8()? {
            1 => Self::Commit {
                time: Timestamp(reader.i64()?),
                group: reader.string()?,
                offsets: read_commits(&mut reader)?,
            },
            2 => Self::ForgetTopic(TopicId(reader.array()?)),
            3 => Self::InitProducer { name: reader.string()? },
            GROUP_KIND => return GroupCommand::decode(reader.rest()).map(Self::Group),
            5 => {
                let (time, group) = (Timestamp(reader.i64()?), reader.string()?);
                let (member, generation) = (MemberId(reader.array()?), reader.u64()?);
                Self::MemberCommit {
                    group,
                    committer: Committer { member, generation },
                    time,
                    offsets: read_commits(&mut reader)?,
                    released: read_partitions(&mut reader)?,
                }
            }
            6 => {
                let time = Timestamp(reader.i64()?);
                Self::DeleteGroup { group: reader.string()?, time }
            }
            7 => Self::DeleteOffsets {
                group: reader.string()?,
                partitions: read_partitions(&mut reader)?,
            },
            _ => return Err(reader.error()),
        };
        reader.finish()?;
        Ok(command)
    }
}

/// The time of a command on its way to the broker that leads, which gives it another.
pub const UNTIMED: Timestamp = Timestamp(0);

/// Gives a command in its stored form another time, if it has one: in all of them it stands behind
/// the version and the kind.
pub(crate) fn set_time(command: &mut [u8], time: Timestamp) {
    let behind = match command {
        [VERSION, 1 | 5 | 6, behind @ ..] => behind,
        [VERSION, GROUP_KIND, COMMAND_VERSION, _, behind @ ..] => behind,
        _ => return,
    };
    if let Some(old) = behind.first_chunk_mut::<8>() {
        // Whoever takes early says that it is later than it is.
        let is_later = i64::from_le_bytes(*old) > time.0;
        if !(is_later && Plant::TakeEarly.is_planted()) {
            *old = time.0.to_le_bytes();
        }
    }
}

/// Refuses a command that a later version has written.
pub(super) fn check_version(command: &[u8]) -> Result<(), LaterVersion> {
    LaterVersion::check(WHAT, command, VERSION, LAST_KIND)?;
    match command {
        [VERSION, GROUP_KIND, nested @ ..] => {
            let what = "consumer group command";
            LaterVersion::check(what, nested, COMMAND_VERSION, LAST_COMMAND_KIND)
        }
        _ => Ok(()),
    }
}

fn write_count(out: &mut Writer, count: usize) {
    out.u32(u32::try_from(count).expect("limits bound the partitions of a command"));
}

fn write_commits(out: &mut Writer, offsets: &[Commit]) {
    write_count(out, offsets.len());
    for (topic, partition, offset, metadata) in offsets {
        out.raw(&topic.0).u32(partition.0).u64(offset.0).bytes(metadata.as_bytes());
    }
}

fn read_commits(reader: &mut Reader<'_>) -> Result<Vec<Commit>, DecodeError> {
    let count = reader.u32()?;
    let read = |_| {
        let (topic, partition) = (TopicId(reader.array()?), PartitionId(reader.u32()?));
        Ok((topic, partition, Offset(reader.u64()?), reader.string()?))
    };
    (0..count).map(read).collect()
}

fn write_partitions(out: &mut Writer, partitions: &[TopicPartition]) {
    write_count(out, partitions.len());
    for (topic, partition) in partitions {
        out.raw(&topic.0).u32(partition.0);
    }
}

fn read_partitions(reader: &mut Reader<'_>) -> Result<Vec<TopicPartition>, DecodeError> {
    let count = reader.u32()?;
    let read = |_| Ok((TopicId(reader.array()?), PartitionId(reader.u32()?)));
    (0..count).map(read).collect()
}
