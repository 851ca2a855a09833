//! Identifiers. Each is a type of its own, so that one cannot stand where another is meant.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The position of a record in a partition, from 0. Also used for the next position to write or
/// read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);

    /// The offset `count` records later.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// How many records lie between `earlier` and this offset; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a partition in its topic, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a topic: random, never used again, so that a topic created under an old name is
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// An id that no other topic has.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().into_bytes())
    }
}

/// A text that is no topic id.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a UUID")]
pub struct InvalidTopicId;

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for TopicId {
    type Err = InvalidTopicId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = uuid::Uuid::parse_str(text).map_err(|_| InvalidTopicId)?;
        Ok(Self(id.into_bytes()))
    }
}

/// The id of a member of a consumer group: random, never used again, so that what a member says
/// that is gone never counts for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub [u8; 16]);

impl MemberId {
    /// An id that no other member has.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().into_bytes())
    }
}

/// A text that is no id of a member.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a UUID")]
pub struct InvalidMemberId;

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for MemberId {
    type Err = InvalidMemberId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = uuid::Uuid::parse_str(text).map_err(|_| InvalidMemberId)?;
        Ok(Self(id.into_bytes()))
    }
}

/// The id of a broker in its cluster, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a producer whose retries are known again: given by the broker, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub u64);

impl ProducerId {
    /// What stands where no id was given: no producer has it.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a replica within its group: the broker that holds it, and a serial number that is
/// never used again for that broker and group. A replica that lost its disk, or that left its group
/// and came back, is another one: what was said to or by the old one must not count for the new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

impl ReplicaId {
    /// The replica of a broker with this serial number. Broker ids take 32 bits at most.
    #[must_use]
    pub fn new(node: NodeId, serial: u32) -> Self {
        Self(node.0 << 32 | u64::from(serial))
    }

    /// The broker that holds it.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId(self.0 >> 32)
    }

    /// Its serial number.
    #[must_use]
    pub fn serial(self) -> u32 {
        (self.0 & u64::from(u32::MAX)) as u32
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node(), self.serial())
    }
}

/// The id of a replica group: one raft log. Given by the metadata group and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

impl GroupId {
    /// The group that keeps brokers, topics and their settings.
    pub const METADATA: Self = Self(1);
    /// The groups that keep consumer groups: a consumer group lives in one, by the hash of its
    /// name.
    pub const COORDINATORS: [Self; 16] = {
        let mut ids = [Self(0); 16];
        let mut i = 0;
        while i < ids.len() {
            ids[i] = Self(0x10 + i as u64);
            i += 1;
        }
        ids
    };
    /// The first id that a partition can have.
    pub const FIRST_PARTITION: Self = Self(0x100);

    /// Whether this group is the log of a partition, rather than one of the broker's own.
    #[must_use]
    pub fn is_partition(self) -> bool {
        self >= Self::FIRST_PARTITION
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_topics_and_members_are_written_as_uuids() {
        let id = TopicId([0x11; 16]);
        assert_eq!(id.to_string(), "11111111-1111-1111-1111-111111111111");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("x".parse::<TopicId>(), Err(InvalidTopicId));
        let member = MemberId([0x22; 16]);
        assert_eq!(member.to_string().parse(), Ok(member));
        assert_eq!("x".parse::<MemberId>(), Err(InvalidMemberId));
    }

    #[test]
    fn the_brokers_own_groups_are_not_partitions() {
        assert!(!GroupId::METADATA.is_partition());
        assert!(GroupId::COORDINATORS.iter().all(|id| !id.is_partition()));
        assert!(GroupId::FIRST_PARTITION.is_partition());
    }
}
