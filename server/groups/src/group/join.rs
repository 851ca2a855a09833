//! Members that come, and come back.

use std::sync::Arc;

use ropewalk_core::{MemberId, limits};

use super::settle::with;
use super::{ConsumerGroup, Member, Selected, Selection, Step};
use crate::answer::Joined;
use crate::command::{Join, Resolution};
use crate::error::{Fence, Fenced, GroupError, TooMany};
use crate::strategy::Strategy;

/// The session of a member that has not come back yet.
const FIRST_SESSION: u32 = 1;

impl ConsumerGroup {
    /// A stream of a member begins.
    pub(crate) fn join(&mut self, step: Step, join: Join) -> Result<Joined, GroupError> {
        check(&join)?;
        let id = join.member;
        match self.members.get(&id).cloned() {
            Some(member) => self.come_back(step, join, &member)?,
            None if join.is_new => self.come(step, join)?,
            None => {
                let fence = self.fence_of(id, join.instance.as_deref());
                return Err(Fenced::new(fence, self.generation, self.generation).into());
            }
        }
        let session = self.members[&id].session;
        Ok(Joined { member: id, session, generation: self.generation })
    }

    /// A member that is known has a new stream: it stays what it was, if it asks for the same.
    fn come_back(&mut self, step: Step, join: Join, former: &Member) -> Result<(), GroupError> {
        if join.instance != former.instance {
            let named = |name: &Option<String>| name.as_deref().unwrap_or("none").to_owned();
            return Err(GroupError::InvalidField {
                field: "instance".to_owned(),
                expected: format!(
                    "what it was when the member joined, {}",
                    named(&former.instance)
                ),
                actual: named(&join.instance),
            });
        }
        if join.is_again && join.stream != former.stream {
            return Err(Fenced::new(Fence::NotAMember, self.generation, self.generation).into());
        }
        let (joined, session) = (former.joined, former.session.saturating_add(1));
        self.put(step, join, joined, session, Some(former))
    }

    fn come(&mut self, step: Step, join: Join) -> Result<(), GroupError> {
        let predecessor = join.instance.as_ref().and_then(|name| self.instance(name));
        let limit = limits::MAX_MEMBERS_PER_CONSUMER_GROUP;
        if predecessor.is_none() && self.members.len() >= limit {
            return Err(TooMany::Members { limit }.into());
        }
        let former = predecessor.and_then(|id| self.members.remove(&id));
        let joined = former.as_ref().map_or(step.index, |former| former.joined);
        if let Some(predecessor) = predecessor {
            self.succeed(predecessor, join.member);
        }
        self.put(step, join, joined, FIRST_SESSION, former.as_deref())
    }

    /// Why a stream is not that of a member any more which had this instance name. One that has
    /// another stream has its name still.
    #[must_use]
    pub fn fence_of(&self, member: MemberId, instance: Option<&str>) -> Fence {
        let has_it = instance.and_then(|name| self.instance(name));
        match has_it.is_some_and(|id| id != member) {
            true => Fence::InstanceTaken,
            false => Fence::NotAMember,
        }
    }

    /// The static member of this name.
    pub(super) fn instance(&self, name: &str) -> Option<MemberId> {
        let mut members = self.members.iter();
        members.find(|(_, m)| m.instance.as_deref() == Some(name)).map(|(id, _)| *id)
    }

    /// Puts a member in the place of another, which is fenced from here on: what that had is to be
    /// given anew, also what it was to give back.
    fn succeed(&mut self, predecessor: MemberId, successor: MemberId) {
        self.change_slots(|slot| {
            let mut slot = *slot;
            if slot.target == Some(predecessor) {
                slot.target = Some(successor);
            }
            slot.holding = slot.holding.filter(|holding| holding.member != predecessor);
            slot
        });
    }

    /// Takes a member in, as itself or in the place of its predecessor. Only where it asks for
    /// something else than that did, the assignment is made anew.
    fn put(
        &mut self,
        step: Step,
        join: Join,
        joined: u64,
        session: u32,
        former: Option<&Member>,
    ) -> Result<(), GroupError> {
        let Join { mut selections, resolution, member, .. } = join;
        selections.sort_unstable();
        selections.dedup();
        let is_as_before =
            former.is_some_and(|f| f.selections == selections && f.strategy == join.strategy);
        let newcomer = Member {
            instance: join.instance,
            client_id: join.client_id,
            host: join.host,
            selections,
            strategy: join.strategy,
            patience: join.patience,
            joined,
            session,
            stream: join.stream,
            lost: None,
        };
        if !is_as_before {
            self.learn(&newcomer.selections, resolution);
        }
        self.members.insert(member, Arc::new(newcomer));
        if is_as_before {
            self.settle(step, false);
            let is_successor = session == FIRST_SESSION;
            match self.planner().filter(|_| self.plan.is_some() && is_successor) {
                // What was asked for names its predecessor.
                Some(planner) => self.ask(planner, step),
                None => self.replace_planner(step),
            }
            return Ok(());
        }
        self.retarget(step);
        self.check_partitions()
    }

    /// Takes selections in that the group does not know, with what they stand for, if anything.
    fn learn(&mut self, selections: &[Selection], resolution: Resolution) {
        let unknown = selections.iter().filter(|named| !self.selected.contains_key(*named));
        let mut fresh: Selected = unknown.map(|named| (named.clone(), [].into())).collect();
        for (named, topics) in resolution.selected {
            if let Some(known) = fresh.get_mut(&named) {
                known.extend(topics);
            }
        }
        self.selected = with(&self.selected, fresh);
        self.grow(&resolution.topics, false);
    }
}

fn check(join: &Join) -> Result<(), GroupError> {
    let text = |field: &str, bytes: usize, most: usize, least: usize| {
        if (least..=most).contains(&bytes) {
            return Ok(());
        }
        let expected = format!("{least} to {most} bytes long");
        Err(GroupError::InvalidField {
            field: field.to_owned(),
            expected,
            actual: format!("{bytes}"),
        })
    };
    let name = limits::MAX_NAME_BYTES;
    text("instance", join.instance.as_ref().map_or(1, String::len), name, 1)?;
    text("client_id", join.client_id.len(), name, 0)?;
    text("host", join.host.len(), limits::MAX_ADDRESS_BYTES, 0)?;
    if let Some(Strategy::Client(own)) = &join.strategy {
        text("strategy", own.len(), name, 1)?;
    }
    let bytes = join.selections.iter().map(|selection| selection.text().len()).sum();
    text("topics", bytes, limits::MAX_SUBSCRIPTION_BYTES, 1)?;
    let bounds = [
        ("rejoin_grace", join.patience.grace, limits::MAX_REJOIN_GRACE),
        ("drain_timeout", join.patience.drain, limits::MAX_DRAIN_TIMEOUT),
    ];
    match bounds.into_iter().find(|(_, asked, most)| asked > most) {
        Some((field, asked, most)) => Err(GroupError::InvalidField {
            field: field.to_owned(),
            expected: format!("at most {} s", most.as_secs()),
            actual: format!("{} s", asked.as_secs_f64()),
        }),
        None => Ok(()),
    }
}
