//! What must hold from one state of a group to the next, whatever the command: it is checked after
//! every command of every test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ropewalk_core::{MemberId, Timestamp};

use crate::error::Fence;
use crate::group::{Member, Slot};
use crate::{
    Action, ConsumerGroup, GroupAnswer, GroupCommand, GroupError, MemberName, Strategy,
    TopicPartition, news_for, news_for_all,
};

/// What the states of a group were like so far, over all that have had its name.
#[derive(Clone, Default)]
pub(super) struct History {
    /// The highest generation that there was.
    generation: u64,
}

/// A command and what it did.
pub(super) struct Event<'a> {
    pub(super) command: &'a GroupCommand,
    pub(super) answer: &'a GroupAnswer,
    pub(super) former: Option<Arc<ConsumerGroup>>,
    pub(super) current: Option<Arc<ConsumerGroup>>,
}

impl History {
    pub(super) fn check(&mut self, event: &Event<'_>) {
        let (former, current) = (event.former.as_deref(), event.current.as_deref());
        if event.answer.is_err() {
            assert_eq!(former, current, "what is refused changes nothing");
            event.check_fence(current);
        }
        check_news(former, current);
        let nobody = ConsumerGroup::default();
        let (old, new) = (former.unwrap_or(&nobody), current.unwrap_or(&nobody));
        event.check_members(old, new);
        if let Some(new) = current {
            let begins = former.map_or(self.generation, |former| former.generation);
            assert!(begins <= new.generation, "generations rise");
            for (partition, slot) in new.slots() {
                let former = old.slot(partition.0, partition.1).copied().unwrap_or_default();
                self.check_era(new, partition, &former, slot);
            }
            check_targets(new);
            event.check_balance(old, new);
        }
        for (partition, slot) in old.slots() {
            event.check_end(old, new, partition, slot);
        }
        let generation = current.map_or(0, |current| current.generation);
        self.generation = self.generation.max(generation);
        event.check_deadlines(new);
    }

    /// An era begins in a generation that never was before, and is what it is until it ends.
    fn check_era(&self, group: &ConsumerGroup, partition: TopicPartition, old: &Slot, new: &Slot) {
        let Some(holding) = new.holding else {
            assert!(new.target.is_none(), "{partition:?} is kept from {:?}", new.target);
            return;
        };
        assert!(group.members.contains_key(&holding.member), "owners are members");
        match old.holding.filter(|old| (old.member, old.since) == (holding.member, holding.since)) {
            Some(old) => {
                assert!(old.drain.is_none() || holding.drain.is_some(), "it was taken back");
            }
            None => {
                assert!(holding.since > self.generation, "{partition:?} in an old generation");
                assert_eq!(holding.since, group.generation);
            }
        }
        let is_to_move = new.target != Some(holding.member);
        assert!(!is_to_move || holding.drain.is_some(), "{partition:?} is never taken back");
    }
}

impl Event<'_> {
    fn time(&self) -> Timestamp {
        match self.command {
            GroupCommand::Begin { time } | GroupCommand::Change { time, .. } => *time,
        }
    }

    fn action(&self) -> Option<&Action> {
        match self.command {
            GroupCommand::Begin { .. } => None,
            GroupCommand::Change { action, .. } => Some(action),
        }
    }

    /// Whether a deadline has come, and the command says so.
    fn is_due(&self, deadline: Option<Timestamp>) -> bool {
        matches!(self.action(), Some(Action::Expire))
            && deadline.is_some_and(|deadline| deadline <= self.time())
    }

    /// Nobody is thrown out but who left, stayed away, or has a successor.
    fn check_members(&self, old: &ConsumerGroup, new: &ConsumerGroup) {
        for (id, member) in &old.members {
            let may_go = match self.action() {
                Some(Action::Leave { member: gone, session }) => {
                    (gone, *session) == (id, member.session)
                }
                Some(Action::Expire) => self.is_due(member.lost.map(|lost| lost.until)),
                Some(Action::Remove(MemberName::Id(gone))) => gone == id,
                Some(Action::Remove(MemberName::Instance(name))) => {
                    member.instance.as_ref() == Some(name)
                }
                Some(Action::Join(join)) => {
                    join.member != *id
                        && join.instance.is_some()
                        && join.instance == member.instance
                }
                _ => false,
            };
            let is_there = new.members.contains_key(id);
            assert!(is_there || may_go, "{id} was thrown out by {:?}", self.action());
            let must_go = may_go && self.answer.is_ok();
            assert!(!is_there || !must_go, "{id} is still there after {:?}", self.action());
            let is_lost = new.members.get(id).is_some_and(|member| member.lost.is_some());
            let may_be_lost = member.lost.is_some()
                || match self.action() {
                    None => true,
                    Some(Action::Lose { member: lost, session }) => {
                        (lost, *session) == (id, member.session)
                    }
                    _ => false,
                };
            assert!(!is_lost || may_be_lost, "{id} was lost by {:?}", self.action());
        }
    }

    /// Who cannot come back is told whether another one has its name.
    fn check_fence(&self, group: Option<&ConsumerGroup>) {
        let (Some(Action::Join(join)), Err(GroupError::Fenced(fenced))) =
            (self.action(), self.answer)
        else {
            return;
        };
        let others = group.into_iter().flat_map(|group| &group.members);
        let mut others = others.filter(|(id, _)| **id != join.member);
        let is_taken = join.instance.is_some() && others.any(|(_, m)| m.instance == join.instance);
        let expected = if is_taken { Fence::InstanceTaken } else { Fence::NotAMember };
        assert_eq!(fenced.fence, expected, "{} of {:?}", join.member, join.instance);
    }

    /// An era ends when its owner has released the partition, its time is over, its owner is gone,
    /// or the topic is.
    fn check_end(
        &self,
        old: &ConsumerGroup,
        new: &ConsumerGroup,
        partition: TopicPartition,
        slot: &Slot,
    ) {
        let Some(holding) = slot.holding else { return };
        let now = new.holding(partition.0, partition.1);
        if now.is_some_and(|now| (now.member, now.since) == (holding.member, holding.since)) {
            return;
        }
        let is_given_back = match self.action() {
            Some(Action::Release { releaser, partitions }) => {
                releaser.member == holding.member
                    && releaser.generation >= holding.since
                    && partitions.contains(&partition)
                    && holding.drain.is_some()
            }
            _ => self.is_due(holding.drain),
        };
        let is_owner_gone = !new.members.contains_key(&holding.member);
        let is_topic_gone = !new.topics.contains_key(&partition.0);
        assert!(
            is_given_back || is_owner_gone || is_topic_gone,
            "{partition:?} was taken from {} by {:?} ({:?})",
            holding.member,
            self.action(),
            old.slot(partition.0, partition.1)
        );
    }

    /// Where all read the same, sticky is even, and has moved nothing that need not move.
    fn check_balance(&self, old: &ConsumerGroup, new: &ConsumerGroup) {
        let topics = |member: &Member| new.topics_of(member);
        let subscriptions: BTreeSet<_> =
            new.members.values().map(|member| topics(member)).collect();
        let is_equal = subscriptions.len() == 1;
        if new.strategy != Strategy::Sticky || new.plan.is_some() || !is_equal {
            return;
        }
        let mut had: BTreeMap<MemberId, usize> = new.members.keys().map(|id| (*id, 0)).collect();
        let mut has = had.clone();
        let (mut count, mut moved) = (0, 0);
        for ((topic, partition), slot) in new.slots() {
            count += 1;
            let target = slot.target.expect("everything has somebody who is to have it");
            *has.get_mut(&target).expect("a member") += 1;
            let former = old.slot(topic, partition).copied().unwrap_or_default();
            let holder = former.holding.filter(|held| !self.is_due(held.drain));
            let holder = holder.map(|holding| holding.member);
            let there = |id: Option<MemberId>| {
                id.map(|id| self.successor_of(old, id)).filter(|id| had.contains_key(id))
            };
            // Who was to have it, or else who has it still.
            if let Some(former) = there(former.target).or(there(holder)) {
                *had.get_mut(&former).expect("a member") += 1;
                moved += usize::from(former != target);
            }
        }
        let spread = has.values().max().unwrap() - has.values().min().unwrap();
        assert!(spread <= 1, "{has:?}");
        let (share, more) = (count / had.len(), count % had.len());
        let kept: usize = had.values().map(|had| (*had).min(share)).sum();
        let kept = kept + had.values().filter(|had| **had > share).count().min(more);
        let all: usize = had.values().sum();
        assert_eq!(moved, all - kept, "{:?}: {had:?} to {has:?}", self.action());
    }

    fn successor_of(&self, old: &ConsumerGroup, id: MemberId) -> MemberId {
        match self.action() {
            Some(Action::Join(join))
                if self.answer.is_ok()
                    && join.instance.is_some()
                    && old.members[&id].instance == join.instance =>
            {
                join.member
            }
            _ => id,
        }
    }

    fn check_deadlines(&self, new: &ConsumerGroup) {
        if matches!(self.action(), Some(Action::Expire)) {
            let next = new.next_deadline();
            assert!(next.is_none_or(|next| next > self.time()), "what is due is done");
        }
    }
}

/// Everything is to be somebody's who reads it, and nothing is anybody's who does not, but for what
/// a client is still to plan.
fn check_targets(group: &ConsumerGroup) {
    let topics = |id: &MemberId| group.topics_of(&group.members[id]);
    let read: BTreeMap<_, _> = group.members.keys().map(|id| (*id, topics(id))).collect();
    let all: BTreeSet<_> = read.values().flatten().copied().collect();
    assert!(group.topics.keys().eq(all.iter()), "the group reads what its members read");
    for ((topic, partition), slot) in group.slots() {
        match slot.target {
            Some(target) if group.plan.is_none() => {
                assert!(read[&target].contains(&topic), "{target} does not read {topic}");
            }
            Some(target) => assert!(read.contains_key(&target), "{target} is gone"),
            None => assert!(group.plan.is_some(), "{topic}/{partition} is nobody's"),
        }
    }
}

/// What all are told at once is what each would be told.
fn check_news(former: Option<&ConsumerGroup>, current: Option<&ConsumerGroup>) {
    let mut all = news_for_all(former, current);
    for id in former.into_iter().flat_map(|former| former.members.keys()) {
        assert_eq!(all.remove(id), news_for(*id, former, current));
    }
    for (id, news) in all {
        assert_eq!(Some(news), news_for(id, None, current), "{id} is new");
    }
}
