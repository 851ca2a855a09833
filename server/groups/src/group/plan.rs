//! Assignments that a client plans: one member is asked, and the server stands in for it when it
//! does not answer in time.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::{MemberId, Timestamp, TopicId, limits};

use super::{ConsumerGroup, PendingPlan, Step, TopicPartition};
use crate::command::MemberAssignment;
use crate::error::{Fence, Fenced, GroupError, InvalidPlan};
use crate::strategy::{Assignment, Strategy};

/// What a client needs to plan an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRequest {
    /// The id to submit it under.
    pub id: u64,
    /// Without a plan by then, the server assigns.
    pub deadline: Timestamp,
    /// The number of partitions of each topic.
    pub topics: BTreeMap<TopicId, u32>,
    /// The members, in the order in which they joined.
    pub members: Vec<PlanMember>,
}

/// A member in the eyes of a planner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanMember {
    /// Its id.
    pub id: MemberId,
    /// The name of a static member.
    pub instance: Option<String>,
    /// Its client's name for itself.
    pub client_id: String,
    /// The host that it runs on.
    pub host: String,
    /// The topics that it reads: only of these it can get partitions.
    pub topics: BTreeSet<TopicId>,
    /// What it was to have so far.
    pub current: Vec<TopicPartition>,
}

impl ConsumerGroup {
    /// The plan that a member is asked for.
    #[must_use]
    pub fn plan_request(&self, member: MemberId) -> Option<PlanRequest> {
        let plan = self.plan.filter(|plan| plan.planner == member)?;
        let mut current = BTreeMap::<MemberId, Vec<TopicPartition>>::new();
        for (partition, slot) in self.slots() {
            if let Some(member) = slot.target {
                current.entry(member).or_default().push(partition);
            }
        }
        let members = self.order().into_iter().map(|id| {
            let member = &self.members[&id];
            PlanMember {
                id,
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                host: member.host.clone(),
                topics: self.topics_of(member),
                current: current.remove(&id).unwrap_or_default(),
            }
        });
        let topics = self.topics.iter().map(|(topic, slots)| {
            let count = u32::try_from(slots.len()).expect("limits bound a topic's partitions");
            (*topic, count)
        });
        Some(PlanRequest {
            id: plan.id,
            deadline: plan.deadline,
            topics: topics.collect(),
            members: members.collect(),
        })
    }

    /// The member to ask: of those that are there and ask for the strategy the one that is asked
    /// already, or else the one that joined first. Nobody when the strategy is the server's.
    pub(crate) fn planner(&self) -> Option<MemberId> {
        if !matches!(self.strategy, Strategy::Client(_)) {
            return None;
        }
        let can = |id: &MemberId| {
            let member = self.members.get(id);
            member.is_some_and(|m| m.lost.is_none() && m.strategy.as_ref() == Some(&self.strategy))
        };
        let asked = self.plan.map(|plan| plan.planner).filter(can);
        asked.or_else(|| self.order().into_iter().find(can))
    }

    /// Asks for a plan of the group as it is now. Time is not given anew for it: a group whose
    /// members come and go all the while would never be assigned.
    pub(crate) fn ask(&mut self, planner: MemberId, step: Step) {
        let fresh = step.time.plus(limits::PLAN_TIMEOUT);
        let deadline = self.plan.map_or(fresh, |plan| plan.deadline);
        self.plan = Some(PendingPlan { id: step.index, planner, deadline });
    }

    /// Asks another one, if the one that was asked is not there.
    pub(crate) fn replace_planner(&mut self, step: Step) {
        if let (Some(plan), Some(planner)) = (self.plan, self.planner())
            && plan.planner != planner
        {
            self.ask(planner, step);
        }
    }

    /// A client's plan.
    pub(crate) fn submit(
        &mut self,
        step: Step,
        member: MemberId,
        plan: u64,
        assignments: &[MemberAssignment],
    ) -> Result<(), GroupError> {
        if !self.members.contains_key(&member) {
            return Err(Fenced::new(Fence::NotAMember, self.generation, self.generation).into());
        }
        if self.plan.is_none_or(|asked| (asked.id, asked.planner) != (plan, member)) {
            return Err(GroupError::UnknownPlan { plan });
        }
        let order = self.order();
        let assignment = self.checked(&order, assignments)?;
        self.plan = None;
        let is_changed = self.set_targets(&order, &assignment);
        self.settle(step, is_changed);
        Ok(())
    }

    /// The plan in the form of the server's own, if it is a sound one.
    fn checked(
        &self,
        order: &[MemberId],
        assignments: &[MemberAssignment],
    ) -> Result<Assignment, InvalidPlan> {
        let places: BTreeMap<_, _> = order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let topics: BTreeMap<_, _> =
            self.topics.keys().enumerate().map(|(at, t)| (*t, at)).collect();
        let mut assignment: Assignment =
            self.topics.values().map(|slots| vec![None; slots.len()]).collect();
        for MemberAssignment { member, partitions } in assignments {
            let place = *places.get(member).ok_or(InvalidPlan::NoMember { member: *member })?;
            let read = self.topics_of(&self.members[member]);
            for (topic, partition) in partitions {
                let (topic, partition) = (*topic, *partition);
                let slot = topics
                    .get(&topic)
                    .and_then(|at| assignment[*at].get_mut(partition.0 as usize))
                    .ok_or(InvalidPlan::NoPartition { topic, partition })?;
                if !read.contains(&topic) {
                    return Err(InvalidPlan::NotSubscribed { member: *member, topic });
                }
                if slot.replace(place).is_some() {
                    return Err(InvalidPlan::Twice { topic, partition });
                }
            }
        }
        let rows = self.slots().map(|(partition, _)| partition);
        let left = rows.zip(assignment.iter().flatten()).find(|(_, place)| place.is_none());
        match left {
            Some(((topic, partition), _)) => Err(InvalidPlan::LeftOut { topic, partition }),
            None => Ok(assignment),
        }
    }
}
