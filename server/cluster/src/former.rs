//! Replicas that their brokers are not to have any more, and that their groups may still count.
//!
//! A replica that is placed elsewhere stays on its broker until the group has let it go: until then
//! it may be the only one that has everything. Should its broker get the group back meanwhile, it
//! comes back: nothing is copied, and nothing is lost. An id is forgotten when whoever leads
//! the group says that it counts it no more. Only then is its data deleted, and from then on the id
//! is never given again.
//!
//! A replica whose disk is lost or damaged, or whose broker was removed, is not given back. It is
//! remembered all the same: it may still have a vote that nobody casts, and that of a broker that
//! was removed may be the only one that has everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_consensus::MemberProgress;
use ropewalk_core::{GroupId, NodeId, ReplicaId};

use crate::metadata::Metadata;

/// So many lost replicas of a group are remembered: a broker may lose its disk any number of times
/// while nobody leads. They have nothing and are never given back, so that nothing depends on the
/// oldest ones.
const MAX_LOST: usize = 4;

/// What a former replica is good for. The numbers are stored: they are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Its broker has it, and gets it back with the group.
    Whole = 0,
    /// Its disk is lost or damaged.
    Lost = 1,
    /// Its broker was removed: it must not come back, and may have what nobody else has.
    Removed = 2,
}

impl Worth {
    pub(crate) fn of(number: u8) -> Option<Self> {
        [Self::Whole, Self::Lost, Self::Removed].into_iter().find(|worth| *worth as u8 == number)
    }
}

/// Since when a group is to do without a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Former {
    /// The command with which its broker was not to have it any more.
    pub(crate) since: u64,
    pub(crate) worth: Worth,
}

/// A replica that a group counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The group.
    pub group: GroupId,
    /// The replica.
    pub replica: ReplicaId,
    /// The command with which its broker was not to have it any more. Should it have been given
    /// back since then, it is not gone.
    pub since: u64,
}

/// The former replicas of all groups. Shared by all pictures until there is another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Formers(Arc<BTreeMap<(GroupId, ReplicaId), Former>>);

impl Formers {
    pub(crate) fn all(&self) -> &BTreeMap<(GroupId, ReplicaId), Former> {
        &self.0
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn of(&self, group: GroupId) -> impl Iterator<Item = (ReplicaId, Former)> {
        let range = (group, ReplicaId(0))..=(group, ReplicaId(u64::MAX));
        self.0.range(range).map(|((_, replica), former)| (*replica, *former))
    }

    pub(crate) fn has_any(&self, group: GroupId) -> bool {
        self.of(group).next().is_some()
    }

    /// A replica that is read from its row.
    pub(crate) fn insert(&mut self, group: GroupId, replica: ReplicaId, former: Former) {
        Arc::make_mut(&mut self.0).insert((group, replica), former);
    }

    /// A broker is not to have its replica any more; its data stays until the group lets it go.
    pub(crate) fn leave(&mut self, group: GroupId, replica: ReplicaId, since: u64) {
        self.insert(group, replica, Former { since, worth: Worth::Whole });
    }

    /// A replica is lost: it is not to come back.
    pub(crate) fn lose(&mut self, group: GroupId, replica: ReplicaId, since: u64) {
        self.insert(group, replica, Former { since, worth: Worth::Lost });
        self.forget_oldest_lost(group);
    }

    /// Nothing that a broker had is to come back: its disk is lost, or another broker has its id,
    /// so that nobody reaches it.
    pub(crate) fn lose_all(&mut self, node: NodeId) {
        for group in self.depreciate(node, Worth::Lost) {
            self.forget_oldest_lost(group);
        }
    }

    /// Nothing that a broker has is to come back. While it is needed it runs on.
    pub(crate) fn remove_all(&mut self, node: NodeId) {
        self.depreciate(node, Worth::Removed);
    }

    /// What a broker has, and is not lost, is worth this from now on. Returns the groups.
    fn depreciate(&mut self, node: NodeId, worth: Worth) -> Vec<GroupId> {
        let is_its = |replica: ReplicaId, former: &Former| {
            replica.node() == node && !matches!(former.worth, Worth::Lost)
        };
        let its = self.0.iter().filter(|((_, replica), former)| is_its(*replica, former));
        let keys: Vec<_> = its.map(|(key, _)| *key).collect();
        for key in &keys {
            if let Some(former) = Arc::make_mut(&mut self.0).get_mut(key) {
                former.worth = worth;
            }
        }
        keys.into_iter().map(|(group, _)| group).collect()
    }

    fn forget_oldest_lost(&mut self, group: GroupId) {
        let lost = self.of(group).filter(|(_, former)| former.worth == Worth::Lost);
        let mut lost: Vec<_> = lost.map(|(replica, former)| (former.since, replica)).collect();
        lost.sort_unstable();
        for (_, replica) in &lost[..lost.len().saturating_sub(MAX_LOST)] {
            Arc::make_mut(&mut self.0).remove(&(group, *replica));
        }
    }

    /// The replica that a broker has yet of a group that it is to have again.
    pub(crate) fn take_back(&mut self, group: GroupId, node: NodeId) -> Option<ReplicaId> {
        let (replica, _) = self
            .of(group)
            .find(|(replica, former)| replica.node() == node && former.worth == Worth::Whole)?;
        Arc::make_mut(&mut self.0).remove(&(group, replica));
        Some(replica)
    }

    /// The group does not count the replica any more, unless that was said of an earlier time.
    pub(crate) fn forget(&mut self, gone: &Gone) {
        let key = (gone.group, gone.replica);
        if self.0.get(&key).is_some_and(|former| former.since == gone.since) {
            Arc::make_mut(&mut self.0).remove(&key);
        }
    }

    /// A group is deleted.
    pub(crate) fn forget_group(&mut self, group: GroupId) {
        let replicas: Vec<_> = self.of(group).map(|(replica, _)| replica).collect();
        for replica in replicas {
            Arc::make_mut(&mut self.0).remove(&(group, replica));
        }
    }
}

impl Metadata {
    /// Whether a group may still count replicas that it is not to have.
    #[must_use]
    pub fn has_former(&self, group: GroupId) -> bool {
        self.former.has_any(group)
    }

    /// The replicas that a group is not to have and that are none of these members, as the one that
    /// leads it knows them.
    #[must_use]
    pub fn gone(&self, group: GroupId, members: &[MemberProgress]) -> Vec<Gone> {
        let is_member = |replica: ReplicaId| members.iter().any(|it| it.replica == replica);
        let former = self.former.of(group).filter(|(replica, _)| !is_member(*replica));
        former.map(|(replica, former)| Gone { group, replica, since: former.since }).collect()
    }

    /// Whether the data of a replica may be deleted by its broker, which is to have none of the
    /// group: it was forgotten. What was given after this picture was taken is not known to it.
    #[must_use]
    pub fn has_let_go(&self, group: GroupId, replica: ReplicaId) -> bool {
        u64::from(replica.serial()) <= self.index
            && self.replicas(group).is_some_and(|wanted| !wanted.contains(&replica))
            && !self.former.all().contains_key(&(group, replica))
    }
}
