//! Members that go, are lost, or give partitions back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::{MemberId, Timestamp, limits};

use super::{Committer, ConsumerGroup, Lost, Member, Step, TopicPartition};
use crate::command::MemberName;
use crate::error::{Fence, Fenced, GroupError};

impl ConsumerGroup {
    /// A member says that it goes. One that has another stream by now stays.
    pub(crate) fn leave(&mut self, step: Step, member: MemberId, session: u32) {
        if self.members.get(&member).is_some_and(|known| known.session == session) {
            self.remove(&[member].into());
            self.retarget(step);
        }
    }

    /// An administrator removes a member, which does not come back or does no work.
    pub(crate) fn remove_named(
        &mut self,
        step: Step,
        named: &MemberName,
    ) -> Result<(), GroupError> {
        let (field, name, found) = match named {
            MemberName::Id(id) => {
                ("member_id", id.to_string(), self.members.contains_key(id).then_some(*id))
            }
            MemberName::Instance(name) => ("instance_name", name.clone(), self.instance(name)),
        };
        let member = found.ok_or_else(|| GroupError::InvalidField {
            field: field.to_owned(),
            expected: "that of a member, as `ropewalk group describe` shows it".to_owned(),
            actual: name,
        })?;
        self.remove(&[member].into());
        self.retarget(step);
        Ok(())
    }

    /// The stream of a member broke: it may come back for a while, and keeps what it has.
    pub(crate) fn lose(&mut self, step: Step, member: MemberId, session: u32) {
        let Some(known) = self.members.get_mut(&member) else { return };
        if known.session == session && known.lost.is_none() {
            let grace = known.patience.grace;
            lose(known, step.time, grace);
            self.replace_planner(step);
        }
    }

    /// Another broker leads the coordinator group, and has none of the streams yet: all members
    /// have their time anew to come back, and to finish with what they are to give back.
    pub(crate) fn begin(&mut self, step: Step) {
        for member in self.members.values_mut() {
            // However short its grace, it has the time that a broker needs to tell of its stream.
            let grace = member.patience.grace.max(limits::FAILOVER_GRACE);
            lose(member, step.time, grace);
        }
        let members = self.members.clone();
        self.change_slots(|slot| {
            let mut slot = *slot;
            if let Some(holding) = slot.holding.as_mut().filter(|held| held.drain.is_some()) {
                let patience = members.get(&holding.member).map(|m| m.patience);
                let drain = patience.unwrap_or_default().drain;
                holding.drain = Some(step.time.plus(drain));
            }
            slot
        });
        if let Some(plan) = &mut self.plan {
            plan.deadline = step.time.plus(limits::PLAN_TIMEOUT);
        }
    }

    /// Carries out what is due: the group goes on without members that did not come back, takes
    /// partitions that were not given back, and plans itself what no client has planned.
    pub(crate) fn expire(&mut self, step: Step) {
        let is_due = |deadline: Timestamp| deadline <= step.time;
        let lost = self.members.iter().filter(|(_, member)| {
            let lost = member.lost;
            lost.is_some_and(|lost| is_due(lost.until))
        });
        let gone: BTreeSet<_> = lost.map(|(id, _)| *id).collect();
        self.remove(&gone);
        self.change_slots(|slot| {
            let mut slot = *slot;
            slot.holding = slot.holding.filter(|held| !held.drain.is_some_and(is_due));
            slot
        });
        let is_late = self.plan.is_some_and(|plan| is_due(plan.deadline));
        if is_late {
            self.retarget_by_server(step);
        } else if !gone.is_empty() {
            self.retarget(step);
        } else {
            self.settle(step, false);
        }
    }

    /// A member has finished with partitions. What it is not to give back, or has got anew since
    /// the generation that it knows, stays with it.
    pub(crate) fn release(
        &mut self,
        step: Step,
        releaser: Committer,
        partitions: &[TopicPartition],
    ) -> Result<(), Fenced> {
        let Committer { member, generation } = releaser;
        if !self.members.contains_key(&member) {
            return Err(Fenced::new(Fence::NotAMember, self.generation, generation));
        }
        for (topic, partition) in partitions {
            let at = partition.0 as usize;
            let Some(slots) = self.topics.get_mut(topic).filter(|slots| at < slots.len()) else {
                continue;
            };
            let is_over = slots[at].holding.is_some_and(|held| {
                held.member == member && held.drain.is_some() && held.since <= generation
            });
            if is_over {
                Arc::make_mut(slots)[at].holding = None;
            }
        }
        self.settle(step, false);
        Ok(())
    }

    fn remove(&mut self, gone: &BTreeSet<MemberId>) {
        if gone.is_empty() {
            return;
        }
        self.members.retain(|id, _| !gone.contains(id));
        self.change_slots(|slot| {
            let mut slot = *slot;
            slot.target = slot.target.filter(|id| !gone.contains(id));
            slot.holding = slot.holding.filter(|held| !gone.contains(&held.member));
            slot
        });
    }
}

fn lose(member: &mut Arc<Member>, time: Timestamp, grace: Duration) {
    let until = time.plus(grace);
    Arc::make_mut(member).lost = Some(Lost { since: time, until });
}
