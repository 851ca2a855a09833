//! What people are shown of a group.

use std::collections::BTreeMap;
use std::fmt;

use ropewalk_core::{MemberId, Timestamp};

use super::{ConsumerGroup, Lost, Selection, TopicPartition};

/// In a word how a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// Everybody has what is to be theirs.
    Stable,
    /// Something is on its way from one to another, or not planned yet.
    Rebalancing,
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Stable => "stable",
            Self::Rebalancing => "rebalancing",
        })
    }
}

/// A member, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub id: MemberId,
    /// The name of a static member.
    pub instance: Option<String>,
    /// Its client's name for itself.
    pub client_id: String,
    /// The host that it runs on.
    pub host: String,
    /// What it wants to read.
    pub selections: Vec<Selection>,
    /// Since when it is lost and until when it is waited for, if its stream broke.
    pub lost: Option<Lost>,
    /// What it has, with what it is to give back. Nothing: it waits for some to become free.
    pub assigned: Vec<TopicPartition>,
}

/// A partition that is not where it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The partition.
    pub partition: TopicPartition,
    /// The member that has it still.
    pub holder: Option<MemberId>,
    /// When it is taken from that.
    pub until: Option<Timestamp>,
    /// The member that is to have it; nobody while a plan is waited for.
    pub taker: Option<MemberId>,
}

/// A group, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// How it is.
    pub state: GroupState,
    /// Its generation.
    pub generation: u64,
    /// The name of its strategy.
    pub strategy: String,
    /// Its members, in the order in which they joined.
    pub members: Vec<MemberDescription>,
    /// What is not where it is to be.
    pub waits: Vec<Wait>,
    /// The member that is asked to plan, and until when.
    pub planner: Option<(MemberId, Timestamp)>,
}

impl ConsumerGroup {
    /// How it is.
    #[must_use]
    pub fn state(&self) -> GroupState {
        if self.is_empty() {
            GroupState::Empty
        } else if self.plan.is_some() || self.waits().next().is_some() {
            GroupState::Rebalancing
        } else {
            GroupState::Stable
        }
    }

    /// Everything there is to show.
    #[must_use]
    pub fn describe(&self) -> Description {
        let mut assigned = BTreeMap::<MemberId, Vec<TopicPartition>>::new();
        for (partition, slot) in self.slots() {
            if let Some(holding) = slot.holding {
                assigned.entry(holding.member).or_default().push(partition);
            }
        }
        let members = self.order().into_iter().map(|id| {
            let member = &self.members[&id];
            MemberDescription {
                id,
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                host: member.host.clone(),
                selections: member.selections.clone(),
                lost: member.lost,
                assigned: assigned.remove(&id).unwrap_or_default(),
            }
        });
        Description {
            state: self.state(),
            generation: self.generation,
            strategy: self.strategy.to_string(),
            members: members.collect(),
            waits: self.waits().collect(),
            planner: self.plan.map(|plan| (plan.planner, plan.deadline)),
        }
    }

    fn waits(&self) -> impl Iterator<Item = Wait> {
        self.slots().filter_map(|(partition, slot)| {
            let holding = slot.holding;
            let is_there = holding
                .is_some_and(|held| held.drain.is_none() && slot.target == Some(held.member));
            (!is_there).then_some(Wait {
                partition,
                holder: holding.map(|held| held.member),
                until: holding.and_then(|held| held.drain),
                taker: slot.target,
            })
        })
    }
}
