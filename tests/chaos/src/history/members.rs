//! Members of consumer groups, as they see themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Client, NodeId, Place};

/// Who commits as a member of a consumer group. Each member is a client of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committer {
    /// The member's id.
    pub member: Arc<str>,
    /// The newest generation that it was told.
    pub generation: i64,
    /// Whether it gives the partition back with that.
    pub releases: bool,
}

/// Something that happened to a member.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    /// When; [`super::History::tell`] sets it.
    pub at: u64,
    /// The member: no client is two members, one after the other.
    pub client: Client,
    /// The node of its stream.
    pub node: NodeId,
    /// The consumer group.
    pub group: Arc<str>,
    /// What.
    pub event: MemberEvent,
}

/// What a member's stream brought, or its end.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberEvent {
    /// It is a member, or one again.
    Joined {
        /// Its id.
        member: Arc<str>,
        /// The generation of the group.
        generation: i64,
        /// The tick before it asked.
        asked: u64,
        /// How many ticks it has to finish with a partition that is revoked.
        drain: u64,
    },
    /// It has a partition from here on.
    Assigned {
        /// The generation to commit with.
        generation: i64,
        /// The partition.
        place: Place,
        /// Where it asked to go on, if it did, after its stream had broken.
        asked: Option<i64>,
        /// The first offset that it gets.
        offset: i64,
        /// Where the log starts.
        log_start: i64,
    },
    /// It is to give a partition back.
    Revoked {
        /// The generation to commit with.
        generation: i64,
        /// The partition.
        place: Place,
        /// The tick at which the partition is taken.
        until: u64,
    },
    /// A partition is its own no more.
    Ended {
        /// The generation to commit with.
        generation: i64,
        /// The partition.
        place: Place,
    },
    /// Its stream ended: it left, or has lost it.
    Gone {
        /// Whether it was the one that ended it.
        left: bool,
    },
}

impl MemberEvent {
    /// The generation that it was told with it.
    #[must_use]
    pub fn generation(&self) -> Option<i64> {
        match self {
            Self::Joined { generation, .. }
            | Self::Assigned { generation, .. }
            | Self::Revoked { generation, .. }
            | Self::Ended { generation, .. } => Some(*generation),
            Self::Gone { .. } => None,
        }
    }
}

/// A consumer group, as a node describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Whether everybody has what it is to have.
    pub is_stable: bool,
    /// Its generation.
    pub generation: i64,
    /// The members' ids, and what each has.
    pub members: BTreeMap<Arc<str>, Vec<Place>>,
}
