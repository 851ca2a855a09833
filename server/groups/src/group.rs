//! A consumer group: its members, what they subscribe to, and the owner of each partition.

mod commit;
mod describe;
mod join;
mod leave;
mod plan;
mod settle;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::{MemberId, PartitionId, Timestamp, TopicId, limits};

use crate::strategy::Strategy;

pub use commit::Committer;
pub use describe::{Description, GroupState, MemberDescription, Wait};
pub use plan::{PlanMember, PlanRequest};

/// A partition of a topic.
pub type TopicPartition = (TopicId, PartitionId);

/// What a member names to say which topics it reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selection {
    /// The topic of this name.
    Name(String),
    /// All topics whose names match.
    Pattern(String),
}

impl Selection {
    /// The name or the pattern.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Name(text) | Self::Pattern(text) => text,
        }
    }
}

/// How long a group waits for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// When its stream broke: for it to come back.
    pub grace: Duration,
    /// When a partition is taken back from it: for it to finish.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { grace: limits::DEFAULT_REJOIN_GRACE, drain: limits::DEFAULT_DRAIN_TIMEOUT }
    }
}

/// A member whose stream broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When that was noticed.
    pub since: Timestamp,
    /// When the group goes on without it.
    pub until: Timestamp,
}

/// What a group knows of the streams of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which of its streams is the last one.
    pub session: u32,
    /// Whether that is thought to be broken.
    pub is_lost: bool,
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The name by which a static member is known again.
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    /// Sorted, and none twice.
    pub(crate) selections: Vec<Selection>,
    /// The strategy that it asks for, if it does.
    pub(crate) strategy: Option<Strategy>,
    pub(crate) patience: Patience,
    /// The number of the command with which it came, or its first predecessor of its name.
    pub(crate) joined: u64,
    /// How often it has joined: which of its streams is the last one.
    pub(crate) session: u32,
    /// The number that the broker of that stream has chosen for it.
    pub(crate) stream: u64,
    pub(crate) lost: Option<Lost>,
}

/// Who has a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The owner.
    pub member: MemberId,
    /// The generation since which it is that.
    pub since: u64,
    /// When it loses the partition, if it is to give it back.
    pub drain: Option<Timestamp>,
}

/// A partition in the eyes of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Who is to have it.
    pub(crate) target: Option<MemberId>,
    /// Who has it.
    pub(crate) holding: Option<Holding>,
    /// It was added to what the group read already: a new topic of a pattern, or a new partition.
    pub(crate) is_added: bool,
}

/// A plan that a client is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PendingPlan {
    /// Its id, which no other plan of the group has.
    pub(crate) id: u64,
    pub(crate) planner: MemberId,
    /// When the server plans instead.
    pub(crate) deadline: Timestamp,
}

/// What selections stand for.
pub type Selected = BTreeMap<Selection, BTreeSet<TopicId>>;

/// A consumer group. Snapshots of it share what did not change between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerGroup {
    /// Rises when the target assignment changes or a partition gets an owner. No two groups that
    /// have had a name one after the other have had the same generation, because it begins with the
    /// number of the command that made the group, and no command raises it by more than one.
    pub(crate) generation: u64,
    /// The strategy that most members ask for.
    pub(crate) strategy: Strategy,
    /// The index of the metadata of which the selections are.
    pub(crate) as_of: u64,
    pub(crate) members: BTreeMap<MemberId, Arc<Member>>,
    /// What the selections of all members stand for.
    pub(crate) selected: Arc<Selected>,
    /// The partitions of the topics that some selection stands for.
    pub(crate) topics: BTreeMap<TopicId, Arc<Vec<Slot>>>,
    pub(crate) plan: Option<PendingPlan>,
}

/// A command that is being carried out.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Its number.
    pub(crate) index: u64,
    /// The time of its proposer.
    pub(crate) time: Timestamp,
}

impl ConsumerGroup {
    /// A group that the command of this number makes.
    pub(crate) fn new(index: u64) -> Self {
        Self { generation: index.saturating_sub(1), ..Self::default() }
    }

    /// The generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many members it has.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The members whose streams are thought to be open, each with the number of its session. One
    /// of them that has no stream with the leader of the coordinator group is lost.
    pub fn connected(&self) -> impl Iterator<Item = (MemberId, u32)> {
        let members = self.members.iter().filter(|(_, member)| member.lost.is_none());
        members.map(|(id, member)| (*id, member.session))
    }

    /// How it stands with the streams of a member; `None`: it is no member.
    #[must_use]
    pub fn standing(&self, member: MemberId) -> Option<Standing> {
        let member = self.members.get(&member)?;
        Some(Standing { session: member.session, is_lost: member.lost.is_some() })
    }

    /// Who has a partition.
    #[must_use]
    pub fn holding(&self, topic: TopicId, partition: PartitionId) -> Option<Holding> {
        self.slot(topic, partition)?.holding
    }

    /// Whether a partition was added to what the group read already, rather than there when its
    /// first reader came. Its members agree on it, whenever they joined.
    #[must_use]
    pub fn is_added(&self, topic: TopicId, partition: PartitionId) -> bool {
        self.slot(topic, partition).is_some_and(|slot| slot.is_added)
    }

    pub(crate) fn slot(&self, topic: TopicId, partition: PartitionId) -> Option<&Slot> {
        self.topics.get(&topic)?.get(partition.0 as usize)
    }

    /// Every partition that the group reads.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (TopicPartition, &Slot)> {
        self.topics.iter().flat_map(|(topic, slots)| {
            let numbered = (0..).map(PartitionId).zip(slots.iter());
            numbered.map(|(partition, slot)| ((*topic, partition), slot))
        })
    }

    pub(crate) fn partition_count(&self) -> usize {
        self.topics.values().map(|slots| slots.len()).sum()
    }

    /// The topics that a member reads.
    pub(crate) fn topics_of(&self, member: &Member) -> BTreeSet<TopicId> {
        let selected = member.selections.iter().filter_map(|named| self.selected.get(named));
        selected.flatten().copied().filter(|topic| self.topics.contains_key(topic)).collect()
    }

    /// When something is to happen if nothing does before: then `Expire` is to be proposed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let lost = self.members.values().filter_map(|member| member.lost).map(|lost| lost.until);
        let slots = self.topics.values().flat_map(|slots| slots.iter());
        let drains = slots.filter_map(|slot| slot.holding?.drain);
        lost.chain(drains).chain(self.plan.map(|plan| plan.deadline)).min()
    }
}
