//! What the members of a group are to be told: the difference between what they were told and what
//! is now.
//!
//! A stream keeps the snapshot that its member was told last and is told the difference to the
//! newest one whenever it can take something. So a slow stream holds nothing up, needs no queue,
//! and misses nothing that still counts; one that has been told nothing yet is told everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_core::{MemberId, PartitionId, Timestamp, TopicId};

use crate::group::{ConsumerGroup, Holding, PlanRequest, Slot, TopicPartition};

/// A change to what one member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The generation to commit with from here on. A delta that holds nothing else may wait for
    /// the next one: a commit with the older generation counts as much.
    pub generation: u64,
    /// Partitions that are no longer the member's: what is left of their records is to be dropped.
    pub ended: Vec<TopicPartition>,
    /// Partitions that are the member's from here on, each from its committed offset.
    pub assigned: Vec<TopicPartition>,
    /// Partitions that it is to give back: it stops reading, finishes, commits and releases them,
    /// by the time given. Then they are taken.
    pub revoked: Vec<(TopicPartition, Timestamp)>,
    /// A plan that it is asked for.
    pub plan: Option<PlanRequest>,
}

impl Delta {
    /// Whether it holds nothing but a generation.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.ended.is_empty()
            && self.assigned.is_empty()
            && self.revoked.is_empty()
            && self.plan.is_none()
    }
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something has changed.
    Delta(Delta),
    /// It is no member any more: its stream ends with MEMBER_FENCED.
    Fenced {
        /// The generation of the group, 0 when there is none any more.
        generation: u64,
    },
}

/// What one member is to be told, if anything: `told` is the snapshot that its stream was told
/// last, `None` in the beginning, and `now` is the newest one.
#[must_use]
pub fn news_for(
    member: MemberId,
    told: Option<&ConsumerGroup>,
    now: Option<&ConsumerGroup>,
) -> Option<News> {
    let Some(now) = now.filter(|now| now.members.contains_key(&member)) else {
        return Some(News::Fenced { generation: now.map_or(0, ConsumerGroup::generation) });
    };
    let mut delta = Delta { generation: now.generation, ..Delta::default() };
    differences(told, now, |partition, old, new| {
        let own = |holding: Option<Holding>| holding.filter(|held| held.member == member);
        delta.note(partition, own(old), own(new));
    });
    delta.plan = plan_news(member, told, now);
    let is_news = !delta.is_quiet() || told.is_none_or(|told| told.generation != now.generation);
    is_news.then_some(News::Delta(delta))
}

/// What all members are to be told that were told `former`. Those whose stream is new are not among
/// them, unless they are members since then.
#[must_use]
pub fn news_for_all(
    former: Option<&ConsumerGroup>,
    current: Option<&ConsumerGroup>,
) -> BTreeMap<MemberId, News> {
    let mut deltas = BTreeMap::<MemberId, Delta>::new();
    let members = |group: Option<&ConsumerGroup>| -> Vec<MemberId> {
        group.into_iter().flat_map(|group| group.members.keys().copied()).collect()
    };
    if let Some(now) = current {
        for member in members(current) {
            let plan = plan_news(member, former, now);
            deltas.insert(member, Delta { generation: now.generation, plan, ..Delta::default() });
        }
        differences(former, now, |partition, old, new| {
            let same = old.zip(new).filter(|(old, new)| old.member == new.member);
            for holding in [old.filter(|_| same.is_none()), new].into_iter().flatten() {
                if let Some(delta) = deltas.get_mut(&holding.member) {
                    let own = |held: &Holding| held.member == holding.member;
                    delta.note(partition, old.filter(own), new.filter(own));
                }
            }
        });
        let is_same_generation = former.is_some_and(|f| f.generation == now.generation);
        deltas.retain(|member, delta| {
            let is_known = former.is_some_and(|former| former.members.contains_key(member));
            !(delta.is_quiet() && is_same_generation && is_known)
        });
    }
    let generation = current.map_or(0, ConsumerGroup::generation);
    let is_gone = |id: &MemberId| current.is_none_or(|now| !now.members.contains_key(id));
    let gone = members(former).into_iter().filter(is_gone);
    let fenced = gone.map(|id| (id, News::Fenced { generation }));
    deltas.into_iter().map(|(id, delta)| (id, News::Delta(delta))).chain(fenced).collect()
}

impl Delta {
    fn note(&mut self, partition: TopicPartition, old: Option<Holding>, new: Option<Holding>) {
        let is_same_era = old.zip(new).is_some_and(|(old, new)| old.since == new.since);
        if old.is_some() && !is_same_era {
            self.ended.push(partition);
        }
        if new.is_some() && !is_same_era {
            self.assigned.push(partition);
        }
        let known = old.filter(|_| is_same_era).and_then(|old| old.drain);
        if let Some(drain) = new.and_then(|new| new.drain)
            && known != Some(drain)
        {
            self.revoked.push((partition, drain));
        }
    }
}

fn plan_news(
    member: MemberId,
    told: Option<&ConsumerGroup>,
    now: &ConsumerGroup,
) -> Option<PlanRequest> {
    let asked = |group: &ConsumerGroup| group.plan.filter(|plan| plan.planner == member);
    let known = told.and_then(asked);
    (asked(now) != known).then(|| now.plan_request(member)).flatten()
}

/// Visits the partitions of which another one has become the owner, or in another way.
fn differences(
    told: Option<&ConsumerGroup>,
    now: &ConsumerGroup,
    mut visit: impl FnMut(TopicPartition, Option<Holding>, Option<Holding>),
) {
    let former = |topic: &TopicId| told.and_then(|told| told.topics.get(topic));
    for (topic, slots) in &now.topics {
        let old = former(topic);
        if old.is_some_and(|old| Arc::ptr_eq(old, slots)) {
            continue;
        }
        // A topic that went and came back meanwhile may have come with fewer partitions.
        let old = old.map_or(&[][..], |old| old.as_slice());
        for (at, number) in (0..old.len().max(slots.len())).zip(0..) {
            let holding = |slots: &[Slot]| slots.get(at).and_then(|slot| slot.holding);
            let (old, new) = (holding(old), holding(slots));
            if old != new {
                visit((*topic, PartitionId(number)), old, new);
            }
        }
    }
    let gone = told.into_iter().flat_map(|told| &told.topics);
    for (topic, slots) in gone.filter(|(topic, _)| !now.topics.contains_key(topic)) {
        for (at, Slot { holding, .. }) in (0..).zip(slots.iter()) {
            if holding.is_some() {
                visit((*topic, PartitionId(at)), *holding, None);
            }
        }
    }
}
