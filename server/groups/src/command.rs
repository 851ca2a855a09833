//! The commands of a coordinator group about its consumer groups, in their stored form.
//!
//! Everything that a command needs and that a replica could see differently (ids, times, topics) is
//! in it.

use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{MemberId, Timestamp, TopicId};

use crate::group::{Committer, Patience, Selection, TopicPartition};
use crate::stored::{
    read_bool, read_duration, read_list, read_partition, read_selection, read_topic, write_bool,
    write_duration, write_list, write_partition, write_selection, write_text,
};
use crate::strategy::Strategy;

/// The version of the form: its first byte.
pub const COMMAND_VERSION: u8 = 1;
/// The last kind of command, which is the second byte of its form. A new one needs a level, as
/// those of the metadata do.
pub const LAST_COMMAND_KIND: u8 = 10;
const WHAT: &str = "consumer group command";

/// A change to consumer groups, at the time of its proposer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupCommand {
    /// A broker has begun to lead the coordinator group, and has no streams of members yet.
    Begin {
        /// Now.
        time: Timestamp,
    },
    /// Something happens to one consumer group.
    Change {
        /// Its name.
        group: String,
        /// Now.
        time: Timestamp,
        /// What.
        action: Action,
    },
}

/// What happens to a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A stream of a member begins. It makes the group if there is none.
    Join(Box<Join>),
    /// A member goes for good: it closed its stream. A static one that closes its stream is lost
    /// instead.
    Leave {
        /// The member.
        member: MemberId,
        /// The session of the stream.
        session: u32,
    },
    /// The stream of a member broke.
    Lose {
        /// The member.
        member: MemberId,
        /// The session of the stream.
        session: u32,
    },
    /// A deadline of the group has come.
    Expire,
    /// A member has finished with partitions that it was to give back.
    Release {
        /// The member, and the newest generation that it was told.
        releaser: Committer,
        /// The partitions.
        partitions: Vec<TopicPartition>,
    },
    /// What the members' selections stand for has changed.
    Resolve(Resolution),
    /// A member has planned the assignment.
    Submit {
        /// The member.
        member: MemberId,
        /// The id of the plan request.
        plan: u64,
        /// Who is to have what.
        assignments: Vec<MemberAssignment>,
    },
    /// The group is to be forgotten.
    Delete,
    /// An administrator removes a member, whatever streams it has.
    Remove(MemberName),
}

/// By what an administrator names a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberName {
    /// Its id.
    Id(MemberId),
    /// The name of a static member.
    Instance(String),
}

/// Somebody who joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The member's id: its old one, or one that the proposer has chosen at random.
    pub member: MemberId,
    /// Whether the id is new. One that is not is refused when the group has no such member any
    /// more. The same new one twice is one member.
    pub is_new: bool,
    /// The number of the stream, which its broker has chosen at random.
    pub stream: u64,
    /// Whether the stream was the member's already, and the group has lost sight of it. Refused
    /// when another stream is the member's by now.
    pub is_again: bool,
    /// The name of a static member. A new member takes the place of the one that has it.
    pub instance: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// The host that it runs on.
    pub host: String,
    /// What it wants to read.
    pub selections: Vec<Selection>,
    /// What these stand for now. Where the group knows one of them already, it keeps to that.
    pub resolution: Resolution,
    /// The strategy that it asks for, if it does.
    pub strategy: Option<Strategy>,
    /// How long the group waits for it.
    pub patience: Patience,
}

/// What selections stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The index of the metadata that says so.
    pub as_of: u64,
    /// The topics, and how many partitions each has.
    pub topics: Vec<(TopicId, u32)>,
    /// For each selection its topics.
    pub selected: Vec<(Selection, Vec<TopicId>)>,
}

/// What a member is to have, by a client's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAssignment {
    /// The member.
    pub member: MemberId,
    /// Its partitions.
    pub partitions: Vec<TopicPartition>,
}

/// The kinds of commands. The numbers are stored: they are never used again, and rise.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Begin = 1,
    Join = 2,
    Leave = 3,
    Lose = 4,
    Expire = 5,
    Release = 6,
    Resolve = 7,
    Submit = 8,
    Delete = 9,
    Remove = 10,
}

impl Action {
    fn kind(&self) -> Kind {
        match self {
            Self::Join(_) => Kind::Join,
            Self::Leave { .. } => Kind::Leave,
            Self::Lose { .. } => Kind::Lose,
            Self::Expire => Kind::Expire,
            Self::Release { .. } => Kind::Release,
            Self::Resolve(_) => Kind::Resolve,
            Self::Submit { .. } => Kind::Submit,
            Self::Delete => Kind::Delete,
            Self::Remove(_) => Kind::Remove,
        }
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::Join(join) => write_join(out, join),
            Self::Leave { member, session } | Self::Lose { member, session } => {
                out.raw(&member.0).u32(*session);
            }
            Self::Expire | Self::Delete => {}
            Self::Remove(MemberName::Id(member)) => {
                out.u8(1).raw(&member.0);
            }
            Self::Remove(MemberName::Instance(name)) => {
                out.u8(2);
                write_text(out, name);
            }
            Self::Release { releaser, partitions } => {
                out.raw(&releaser.member.0).u64(releaser.generation);
                write_list(out, partitions, write_partition);
            }
            Self::Resolve(resolution) => write_resolution(out, resolution),
            Self::Submit { member, plan, assignments } => {
                out.raw(&member.0).u64(*plan);
                write_list(out, assignments, |out, assignment| {
                    out.raw(&assignment.member.0);
                    write_list(out, &assignment.partitions, write_partition);
                });
            }
        }
    }

    fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            2 => Self::Join(Box::new(read_join(reader)?)),
            3 => Self::Leave { member: read_member(reader)?, session: reader.u32()? },
            4 => Self::Lose { member: read_member(reader)?, session: reader.u32()? },
            5 => Self::Expire,
            6 => {
                let releaser =
                    Committer { member: read_member(reader)?, generation: reader.u64()? };
                Self::Release { releaser, partitions: read_list(reader, read_partition)? }
            }
            7 => Self::Resolve(read_resolution(reader)?),
            8 => Self::Submit {
                member: read_member(reader)?,
                plan: reader.u64()?,
                assignments: read_list(reader, |reader| {
                    let member = read_member(reader)?;
                    Ok(MemberAssignment { member, partitions: read_list(reader, read_partition)? })
                })?,
            },
            9 => Self::Delete,
            10 => Self::Remove(match reader.u8()? {
                1 => MemberName::Id(read_member(reader)?),
                2 => MemberName::Instance(reader.string()?),
                _ => return Err(reader.error()),
            }),
            _ => return Err(reader.error()),
        })
    }
}

impl GroupCommand {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::versioned(COMMAND_VERSION);
        match self {
            Self::Begin { time } => {
                out.u8(Kind::Begin as u8).i64(time.0);
            }
            Self::Change { group, time, action } => {
                out.u8(action.kind() as u8).i64(time.0);
                write_text(&mut out, group);
                action.write(&mut out);
            }
        }
        out.finish()
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::versioned(bytes, COMMAND_VERSION, WHAT)?;
        let kind = reader.u8()?;
        let time = Timestamp(reader.i64()?);
        let command = if kind == Kind::Begin as u8 {
            Self::Begin { time }
        } else {
            let group = reader.string()?;
            Self::Change { group, time, action: Action::read(kind, &mut reader)? }
        };
        reader.finish()?;
        Ok(command)
    }
}

fn read_member(reader: &mut Reader<'_>) -> Result<MemberId, DecodeError> {
    reader.array().map(MemberId)
}

fn write_join(out: &mut Writer, join: &Join) {
    out.raw(&join.member.0);
    write_bool(out, join.is_new);
    out.u64(join.stream);
    write_bool(out, join.is_again);
    out.option(join.instance.as_deref(), write_text);
    write_text(out, &join.client_id);
    write_text(out, &join.host);
    write_list(out, &join.selections, write_selection);
    write_resolution(out, &join.resolution);
    out.option(join.strategy.as_ref(), |out, strategy| strategy.write(out));
    write_duration(out, join.patience.grace);
    write_duration(out, join.patience.drain);
}

fn read_join(reader: &mut Reader<'_>) -> Result<Join, DecodeError> {
    Ok(Join {
        member: read_member(reader)?,
        is_new: read_bool(reader)?,
        stream: reader.u64()?,
        is_again: read_bool(reader)?,
        instance: reader.option(Reader::string)?,
        client_id: reader.string()?,
        host: reader.string()?,
        selections: read_list(reader, read_selection)?,
        resolution: read_resolution(reader)?,
        strategy: reader.option(Strategy::read)?,
        patience: Patience { grace: read_duration(reader)?, drain: read_duration(reader)? },
    })
}

fn write_resolution(out: &mut Writer, resolution: &Resolution) {
    out.u64(resolution.as_of);
    write_list(out, &resolution.topics, |out, (topic, count)| {
        out.raw(&topic.0).u32(*count);
    });
    write_list(out, &resolution.selected, |out, (selection, topics)| {
        write_selection(out, selection);
        write_list(out, topics, |out, topic| {
            out.raw(&topic.0);
        });
    });
}

fn read_resolution(reader: &mut Reader<'_>) -> Result<Resolution, DecodeError> {
    Ok(Resolution {
        as_of: reader.u64()?,
        topics: read_list(reader, |reader| Ok((read_topic(reader)?, reader.u32()?)))?,
        selected: read_list(reader, |reader| {
            Ok((read_selection(reader)?, read_list(reader, read_topic)?))
        })?,
    })
}
