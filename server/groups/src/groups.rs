//! The consumer groups of one coordinator group: what each command does to them.
//!
//! A command is carried out on a copy, which shares what it does not change: one that is refused
//! changes nothing. Its rows are what differs afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ropewalk_core::codec::DecodeError;
use ropewalk_core::{Timestamp, limits};

use crate::answer::{GroupAnswer, GroupReply};
use crate::command::{Action, GroupCommand};
use crate::error::{Fence, Fenced, GroupError, TooMany};
use crate::group::{Committer, ConsumerGroup, Step, TopicPartition};
use crate::rows::{self, Changes, Row};

/// The consumer groups of a coordinator group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    groups: BTreeMap<String, Arc<ConsumerGroup>>,
    /// When something is to happen to which group.
    deadlines: BTreeSet<(Timestamp, String)>,
    /// What their rows take.
    bytes: usize,
}

/// A group that a command has changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Its name.
    pub group: String,
    /// What it was.
    pub former: Option<Arc<ConsumerGroup>>,
    /// What it is.
    pub current: Option<Arc<ConsumerGroup>>,
}

/// What a command did.
#[derive(Debug)]
pub struct Applied {
    /// The answer to the proposer.
    pub answer: GroupAnswer,
    /// The rows that changed.
    pub rows: Vec<Row>,
    /// The groups that changed.
    pub changed: Vec<Changed>,
}

impl Groups {
    /// Applies a command in its stored form. `index` is its place in the log of the coordinator
    /// group: it rises from command to command, and is never used twice.
    pub fn apply(&mut self, index: u64, command: &[u8]) -> Applied {
        match GroupCommand::decode(command) {
            Ok(command) => self.carry_out(index, command),
            Err(error) => Applied { answer: Err(error.into()), rows: vec![], changed: vec![] },
        }
    }

    /// The same for a command that was read already, or is a part of another one.
    pub fn carry_out(&mut self, index: u64, command: GroupCommand) -> Applied {
        let mut applied = Applied { answer: Ok(GroupReply::Done), rows: vec![], changed: vec![] };
        applied.answer = match command {
            GroupCommand::Begin { time } => {
                let step = Step { index, time };
                self.begin(step, &mut applied);
                Ok(GroupReply::Done)
            }
            GroupCommand::Change { group, time, action } => {
                let step = Step { index, time };
                self.change(step, group, action, &mut applied)
            }
        };
        applied
    }

    fn begin(&mut self, step: Step, applied: &mut Applied) {
        for (name, group) in self.groups.clone() {
            let mut next = ConsumerGroup::clone(&group);
            next.begin(step);
            let put = self.put(name, Some(group), Some(next), None, applied);
            put.expect("nothing is refused without a bound");
        }
    }

    fn change(
        &mut self,
        step: Step,
        name: String,
        action: Action,
        applied: &mut Applied,
    ) -> GroupAnswer {
        let former = self.groups.get(&name).cloned();
        let mut next = match (&former, &action) {
            (Some(former), _) => ConsumerGroup::clone(former),
            (None, Action::Join(join)) if join.is_new => self.found(step, &name)?,
            (None, Action::Join(_)) => return Err(Fenced::new(Fence::NotAMember, 0, 0).into()),
            (None, _) => return Err(GroupError::NotFound),
        };
        // What gives room or changes nothing but times is never refused.
        let bound = matches!(action, Action::Join(_) | Action::Resolve(_));
        let bound = bound.then_some(limits::MAX_CONSUMER_GROUP_BYTES);
        let is_deleted = matches!(action, Action::Delete);
        let reply = next.carry_out(step, action)?;
        self.put(name, former, (!is_deleted).then_some(next), bound, applied)?;
        Ok(reply)
    }

    fn found(&self, step: Step, name: &str) -> Result<ConsumerGroup, GroupError> {
        let longest = limits::MAX_NAME_BYTES;
        if !(1..=longest).contains(&name.len()) {
            return Err(GroupError::InvalidField {
                field: "group".to_owned(),
                expected: format!("1 to {longest} bytes long"),
                actual: name.len().to_string(),
            });
        }
        let limit = limits::MAX_CONSUMER_GROUPS_PER_COORDINATOR;
        if self.groups.len() >= limit {
            return Err(TooMany::Groups { limit }.into());
        }
        Ok(ConsumerGroup::new(step.index))
    }

    /// Puts a state of a group in the place of another, unless the rows of all would then take more
    /// than `bound`.
    fn put(
        &mut self,
        name: String,
        former: Option<Arc<ConsumerGroup>>,
        current: Option<ConsumerGroup>,
        bound: Option<usize>,
        applied: &mut Applied,
    ) -> Result<(), TooMany> {
        if former.as_deref() == current.as_ref() {
            return Ok(());
        }
        let changes = Changes::between(&name, former.as_deref(), current.as_ref());
        let bytes = self.bytes - changes.before + changes.after;
        if let Some(limit) = bound.filter(|limit| bytes > (*limit).max(self.bytes)) {
            return Err(TooMany::Bytes { limit });
        }
        self.bytes = bytes;
        applied.rows.extend(changes.rows);
        let current = current.map(Arc::new);
        let deadline = |group: &Option<Arc<ConsumerGroup>>| group.as_ref()?.next_deadline();
        if let Some(deadline) = deadline(&former) {
            self.deadlines.remove(&(deadline, name.clone()));
        }
        if let Some(deadline) = deadline(&current) {
            self.deadlines.insert((deadline, name.clone()));
        }
        match &current {
            Some(group) => self.groups.insert(name.clone(), Arc::clone(group)),
            None => self.groups.remove(&name),
        };
        applied.changed.push(Changed { group: name, former, current });
        Ok(())
    }

    /// The groups that rows hold, of which each has passed [`crate::is_group_row`].
    pub fn restored(rows: &[(Vec<u8>, Vec<u8>)]) -> Result<Self, DecodeError> {
        let groups = rows::read(rows.iter().map(|(key, value)| (&key[..], &value[..])))?;
        let deadline = |(name, group): (&String, &Arc<ConsumerGroup>)| {
            Some((group.next_deadline()?, name.clone()))
        };
        let deadlines = groups.iter().filter_map(deadline).collect();
        let bytes = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        Ok(Self { groups, deadlines, bytes })
    }

    /// The rows of one group, as they would be stored: the form in which it travels to a broker
    /// that has no replica of its coordinator. [`Groups::restored`] reads them.
    #[must_use]
    pub fn rows_of(name: &str, group: &ConsumerGroup) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = Changes::between(name, None, Some(group)).rows;
        rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The names of all groups that have members.
    pub fn with_members(&self) -> impl Iterator<Item = (&str, &Arc<ConsumerGroup>)> {
        let groups = self.groups.iter().filter(|(_, group)| !group.is_empty());
        groups.map(|(name, group)| (name.as_str(), group))
    }

    /// A group.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<ConsumerGroup>> {
        self.groups.get(name)
    }

    /// The groups by name, from this one on (for lists in pages).
    pub fn from_name(&self, first: &str) -> impl Iterator<Item = (&str, &Arc<ConsumerGroup>)> {
        let groups = self
            .groups
            .range::<str, _>((std::ops::Bound::Included(first), std::ops::Bound::Unbounded));
        groups.map(|(name, group)| (name.as_str(), group))
    }

    /// The group to which something is to happen first, and when: by then the leader of the
    /// coordinator group proposes [`Action::Expire`] for it.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Timestamp, &str)> {
        self.deadlines.first().map(|(time, name)| (*time, name.as_str()))
    }

    /// Whether a commit counts: that of a member by the fence, that of an administrator (`None`)
    /// while the group has no members.
    pub fn check_commit(
        &self,
        group: &str,
        committer: Option<Committer>,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), GroupError> {
        match (self.groups.get(group), committer) {
            (Some(group), Some(committer)) => Ok(group.check_commit(committer, partitions)?),
            (Some(group), None) => group.check_idle(),
            (None, Some(Committer { generation, .. })) => {
                Err(Fenced::new(Fence::NotAMember, 0, generation).into())
            }
            (None, None) => Ok(()),
        }
    }
}

impl ConsumerGroup {
    fn carry_out(&mut self, step: Step, action: Action) -> GroupAnswer {
        match action {
            Action::Join(join) => return Ok(GroupReply::Joined(self.join(step, *join)?)),
            Action::Leave { member, session } => self.leave(step, member, session),
            Action::Lose { member, session } => self.lose(step, member, session),
            Action::Expire => self.expire(step),
            Action::Release { releaser, partitions } => {
                self.release(step, releaser, &partitions)?;
            }
            Action::Resolve(resolution) => self.resolve(step, resolution)?,
            Action::Submit { member, plan, assignments } => {
                self.submit(step, member, plan, &assignments)?;
            }
            Action::Delete => self.check_idle()?,
            Action::Remove(member) => self.remove_named(step, &member)?,
        }
        Ok(GroupReply::Done)
    }
}
