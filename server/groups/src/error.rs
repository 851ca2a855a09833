//! Why a command changed nothing, and the form of that on the way to another broker.

use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{MemberId, PartitionId, TopicId};
use thiserror::Error;

/// Why a command changed nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GroupError {
    /// MEMBER_FENCED.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// GROUP_NOT_EMPTY.
    #[error(
        "the consumer group has {members} members: stop them first (`ropewalk group describe` \
         shows them), or wait until those that were lost have expired"
    )]
    NotEmpty {
        /// How many.
        members: u32,
    },
    /// GROUP_NOT_FOUND.
    #[error("there is no consumer group of this name: see `ropewalk group list`")]
    NotFound,
    /// TOO_MANY.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// A plan that nobody asked for, or no longer, or not this member.
    #[error(
        "plan {plan} is not asked of this member, or no longer: plan what its newest plan request \
         says, and submit it under the id in that"
    )]
    UnknownPlan {
        /// Its id.
        plan: u64,
    },
    /// A plan that cannot be.
    #[error("the plan cannot be carried out: {0}")]
    InvalidPlan(#[from] InvalidPlan),
    /// INVALID_FIELD.
    #[error("`{field}` must be {expected}, not {actual}")]
    InvalidField {
        /// The field of the request.
        field: String,
        /// What it may be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The command is damaged, or of a later version than that of the broker that leads.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// What a member says that does not count any more.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{fence}")]
pub struct Fenced {
    /// Why.
    pub fence: Fence,
    /// The generation that it should be of at least, 0 where there is no such group.
    pub expected: u64,
    /// The generation that it is of.
    pub actual: u64,
}

impl Fenced {
    pub(crate) fn new(fence: Fence, expected: u64, actual: u64) -> Self {
        Self { fence, expected, actual }
    }
}

/// Why it does not count.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fence {
    /// It is no member, or no longer.
    #[error(
        "this is no member of the consumer group any more: it left, was away for longer than its \
         rejoin grace, or another one took its instance name. Join again without a member id, and \
         go on from the committed offsets"
    )]
    NotAMember,
    /// A member that came later has its instance name.
    #[error(
        "another member has taken this one's instance name: stop one of the two, or give each a \
         name of its own. Whoever joins without a member id takes the name"
    )]
    InstanceTaken,
    /// Another one has the partition, or nobody.
    #[error(
        "partition {partition} of topic {topic} is not this member's any more: drop what is left \
         of its records, and go on with what the newest assignment holds"
    )]
    NotTheOwner {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionId,
    },
    /// It has the partition, but not since then.
    #[error(
        "partition {partition} of topic {topic} went away from this member and came back: drop \
         records from before, and commit with the generation of the newest assignment"
    )]
    Outdated {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionId,
    },
}

/// A bound of the broker.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TooMany {
    /// Consumer groups.
    #[error(
        "a coordinator keeps at most {limit} consumer groups: delete some that are not used with \
         `ropewalk group delete`"
    )]
    Groups {
        /// The bound.
        limit: usize,
    },
    /// Members of a group.
    #[error(
        "a consumer group has at most {limit} members: stop some, or give the new ones another \
         group"
    )]
    Members {
        /// The bound.
        limit: usize,
    },
    /// Partitions of a group.
    #[error(
        "a consumer group reads at most {limit} partitions: subscribe to fewer topics, or spread \
         them over several groups"
    )]
    Partitions {
        /// The bound.
        limit: usize,
    },
    /// Bytes of a coordinator.
    #[error(
        "the consumer groups of this coordinator would take more than {limit} bytes: delete some \
         that are not used with `ropewalk group delete`, or subscribe by pattern instead of by name"
    )]
    Bytes {
        /// The bound.
        limit: usize,
    },
}

/// What is wrong with a plan.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidPlan {
    /// Somebody gets something who is not there.
    #[error("{member} is no member: give partitions to the members in the plan request only")]
    NoMember {
        /// The member.
        member: MemberId,
    },
    /// It assigns what is not there.
    #[error(
        "partition {partition} of topic {topic} is not the group's: assign the partitions in the \
         plan request only"
    )]
    NoPartition {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionId,
    },
    /// Somebody gets what it does not read.
    #[error("{member} does not read topic {topic}: give it partitions of its own topics only")]
    NotSubscribed {
        /// The member.
        member: MemberId,
        /// The topic.
        topic: TopicId,
    },
    /// A partition is assigned more than once.
    #[error("partition {partition} of topic {topic} is assigned twice: assign it once")]
    Twice {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionId,
    },
    /// A partition is assigned to nobody.
    #[error("partition {partition} of topic {topic} is assigned to nobody: assign every partition")]
    LeftOut {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionId,
    },
}

/// Writes a number that says which error it is, and its fields. The numbers travel between brokers
/// of different versions: they are never used again.
pub(crate) fn write_error(out: &mut Writer, error: &GroupError) {
    use GroupError as E;
    match error {
        E::Fenced(Fenced { fence, expected, actual }) => {
            match fence {
                Fence::NotAMember => out.u8(1),
                Fence::InstanceTaken => out.u8(18),
                Fence::NotTheOwner { topic, partition } => out.u8(2).raw(&topic.0).u32(partition.0),
                Fence::Outdated { topic, partition } => out.u8(3).raw(&topic.0).u32(partition.0),
            };
            out.u64(*expected).u64(*actual)
        }
        E::NotEmpty { members } => out.u8(4).u32(*members),
        E::NotFound => out.u8(5),
        E::TooMany(TooMany::Groups { limit }) => out.u8(6).u64(*limit as u64),
        E::TooMany(TooMany::Members { limit }) => out.u8(7).u64(*limit as u64),
        E::TooMany(TooMany::Partitions { limit }) => out.u8(8).u64(*limit as u64),
        E::TooMany(TooMany::Bytes { limit }) => out.u8(9).u64(*limit as u64),
        E::UnknownPlan { plan } => out.u8(10).u64(*plan),
        E::InvalidPlan(InvalidPlan::NoMember { member }) => out.u8(11).raw(&member.0),
        E::InvalidPlan(InvalidPlan::NoPartition { topic, partition }) => {
            out.u8(12).raw(&topic.0).u32(partition.0)
        }
        E::InvalidPlan(InvalidPlan::NotSubscribed { member, topic }) => {
            out.u8(13).raw(&member.0).raw(&topic.0)
        }
        E::InvalidPlan(InvalidPlan::Twice { topic, partition }) => {
            out.u8(14).raw(&topic.0).u32(partition.0)
        }
        E::InvalidPlan(InvalidPlan::LeftOut { topic, partition }) => {
            out.u8(15).raw(&topic.0).u32(partition.0)
        }
        E::InvalidField { field, expected, actual } => {
            out.u8(16).bytes(field.as_bytes()).bytes(expected.as_bytes()).bytes(actual.as_bytes())
        }
        E::Malformed(_) => out.u8(17),
    };
}

pub(crate) fn read_error(reader: &mut Reader<'_>) -> Result<GroupError, DecodeError> {
    use GroupError as E;
    Ok(match reader.u8()? {
        1 => read_fenced(Fence::NotAMember, reader)?.into(),
        2 => {
            let (topic, partition) = read_partition(reader)?;
            read_fenced(Fence::NotTheOwner { topic, partition }, reader)?.into()
        }
        3 => {
            let (topic, partition) = read_partition(reader)?;
            read_fenced(Fence::Outdated { topic, partition }, reader)?.into()
        }
        4 => E::NotEmpty { members: reader.u32()? },
        5 => E::NotFound,
        6 => TooMany::Groups { limit: read_limit(reader)? }.into(),
        7 => TooMany::Members { limit: read_limit(reader)? }.into(),
        8 => TooMany::Partitions { limit: read_limit(reader)? }.into(),
        9 => TooMany::Bytes { limit: read_limit(reader)? }.into(),
        10 => E::UnknownPlan { plan: reader.u64()? },
        11 => InvalidPlan::NoMember { member: MemberId(reader.array()?) }.into(),
        12 => {
            let (topic, partition) = read_partition(reader)?;
            InvalidPlan::NoPartition { topic, partition }.into()
        }
        13 => {
            let (member, topic) = (MemberId(reader.array()?), TopicId(reader.array()?));
            InvalidPlan::NotSubscribed { member, topic }.into()
        }
        14 => {
            let (topic, partition) = read_partition(reader)?;
            InvalidPlan::Twice { topic, partition }.into()
        }
        15 => {
            let (topic, partition) = read_partition(reader)?;
            InvalidPlan::LeftOut { topic, partition }.into()
        }
        16 => E::InvalidField {
            field: reader.string()?,
            expected: reader.string()?,
            actual: reader.string()?,
        },
        17 => E::Malformed(DecodeError("consumer group command")),
        18 => read_fenced(Fence::InstanceTaken, reader)?.into(),
        _ => return Err(reader.error()),
    })
}

fn read_fenced(fence: Fence, reader: &mut Reader<'_>) -> Result<Fenced, DecodeError> {
    Ok(Fenced { fence, expected: reader.u64()?, actual: reader.u64()? })
}

fn read_partition(reader: &mut Reader<'_>) -> Result<(TopicId, PartitionId), DecodeError> {
    Ok((TopicId(reader.array()?), PartitionId(reader.u32()?)))
}

fn read_limit(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    usize::try_from(reader.u64()?).map_err(|_| reader.error())
}
