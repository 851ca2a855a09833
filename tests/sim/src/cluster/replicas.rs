//! Replicas are taken up, and replaced by hand, as scripts ask for it.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_consensus::{Input, NewGroup, StateMachine};
use ropewalk_core::{GroupId, NodeId, ReplicaId};
use ropewalk_storage::GroupState;
use ropewalk_storage::group_log::SegmentPolicy;

use super::{COMMANDS, Cluster, GROUPS, LOG};
use crate::broker::Assignment;
use crate::machine::Watched;

/// The age at which a segment is closed.
const SEGMENT_AGE: Duration = Duration::from_secs(4);

impl Cluster {
    /// A broker takes up the replica that it is to have of a group, with what it has stored of it,
    /// if that is of this replica.
    pub(super) fn take_up(&mut self, node: NodeId, group: GroupId) {
        let broker = self.at(node);
        let Some(assigned) = broker.assigned.get(&group) else { return };
        let replica = assigned.replica;
        let mut stored = broker.stored.remove(&group);
        if stored.as_ref().is_some_and(|state| state.replica != replica) {
            stored = None;
            self.step(node, vec![Input::Remove(group)]);
        }
        self.open(node, group, stored);
    }

    fn open(&mut self, node: NodeId, group: GroupId, stored: Option<GroupState>) {
        let Assignment { replica, founders } = self.at(node).assigned[&group].clone();
        let machine = (group == COMMANDS).then(|| {
            let (machine, watch) = Watched::new(Arc::clone(&self.ledger));
            self.at(node).metadata = Some(watch);
            Box::new(machine) as Box<dyn StateMachine>
        });
        let policy = SegmentPolicy { max_bytes: self.segment_bytes, max_age: SEGMENT_AGE };
        let new = NewGroup { group, stored, replica, founders, machine, policy };
        self.step(node, vec![Input::Open(Box::new(new))]);
    }

    /// Another replica takes the place of the one that a broker has of a group, or it gets its
    /// first one.
    pub(super) fn assign(&mut self, node: NodeId, group: GroupId, assignment: Assignment) {
        let is_up = self.is_up(node);
        self.checks.forget_reads(node);
        let broker = self.at(node);
        broker.damaged.remove(&group);
        if group == LOG {
            broker.was_rotten |= std::mem::take(&mut broker.is_rotten);
        }
        let before = broker.assigned.insert(group, assignment);
        if is_up && before.is_some() {
            self.drop_replica(node, group);
        }
        if is_up {
            self.open(node, group, None);
        }
    }

    /// A broker's replica of a group goes, with all its data.
    pub(super) fn drop_replica(&mut self, node: NodeId, group: GroupId) {
        let broker = self.at(node);
        broker.stored.remove(&group);
        broker.serves.remove(&group);
        broker.leaders.remove(&group);
        broker.members.remove(&group);
        broker.readers.remove(&group);
        self.checks.forget_reads(node);
        self.step(node, vec![Input::Remove(group)]);
    }

    /// A broker's replica of a group goes, and one with a new id takes its place, which must be
    /// made a member. Returns the old and the new one.
    pub fn replace(&mut self, node: NodeId, group: GroupId) -> (ReplicaId, ReplicaId) {
        let old = self.at(node).assigned[&group].replica;
        let new = ReplicaId::new(node, old.serial() + 1);
        self.assign(node, group, Assignment { replica: new, founders: Vec::new() });
        (old, new)
    }

    /// A broker loses its disk while it is down.
    pub fn wipe(&mut self, node: NodeId) -> Vec<(GroupId, ReplicaId, ReplicaId)> {
        self.crash(node, 0);
        let seed = self.next_id;
        self.at(node).store.wipe(seed);
        let replaced = GROUPS.map(|group| {
            let (old, new) = self.replace(node, group);
            (group, old, new)
        });
        replaced.to_vec()
    }
}
