//! The replica groups of this broker, for those who are told of them by number.
//!
//! The reconciler adds and removes them; everybody else looks.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ropewalk_core::{GroupId, NodeId};

use crate::group_watch::GroupWatch;

/// The replica groups of this broker.
#[derive(Default)]
pub(crate) struct Groups(RwLock<BTreeMap<GroupId, Arc<GroupWatch>>>);

impl Groups {
    /// The group with this number, if it is on this broker.
    pub(crate) fn get(&self, group: GroupId) -> Option<Arc<GroupWatch>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    /// Those groups of which that is so.
    pub(crate) fn filtered(
        &self,
        is_so: impl Fn(GroupId, &GroupWatch) -> bool,
    ) -> BTreeMap<GroupId, Arc<GroupWatch>> {
        let groups = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = groups.iter().filter(|(group, watch)| is_so(**group, watch));
        found.map(|(group, watch)| (*group, Arc::clone(watch))).collect()
    }

    /// Whether a group of this broker has a member on another one, or does not know its members
    /// yet: a new replica hears of them from the leader, which may be there.
    pub(crate) fn may_have_member_on(&self, node: NodeId) -> bool {
        let may_have_one = |_, watch: &GroupWatch| {
            let role = watch.role();
            let mut members = role.voters.iter().chain(&role.learners);
            role.voters.is_empty() || members.any(|replica| replica.node() == node)
        };
        !self.filtered(may_have_one).is_empty()
    }

    pub(crate) fn insert(&self, group: GroupId, watch: Arc<GroupWatch>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(group, watch);
    }

    pub(crate) fn remove(&self, group: GroupId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
    }
}
