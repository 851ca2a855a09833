//! Brings the members of the groups that this broker leads to what the metadata wants, one step at
//! a time, and hands groups over to those who should lead them.
//!
//! What the next step is, is a pure function ([`Members::next_step`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use ropewalk_cluster::{
    Desired, Members, Metadata, MetadataCommand, MetadataWatch, Step, Topic, leader_moves,
};
use ropewalk_consensus::{ProposalKind, ProposeError};
use ropewalk_core::{GroupId, NodeId, ReplicaId};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::broker::command_metadata;
use crate::group_handle::{GroupHandle, Ways};
use crate::group_watch::{GroupChanges, GroupWatch, Role};
use crate::groups::Groups;

/// How often steps that could not be made are tried again: a learner catches up meanwhile.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How often it is looked who should lead.
const BALANCE: Duration = Duration::from_secs(5);
/// Groups that are brought along at a time.
const SIDE_BY_SIDE: usize = 16;

/// The next step from the members that a group has to those that it is to have, past those who are
/// behind.
fn next_step(role: &Role, desired: &Desired, behind: &[ReplicaId]) -> Option<Step> {
    let own = role.replica?;
    let members = Members { own, voters: &role.voters, learners: &role.learners, behind };
    members.next_step(desired)
}

/// The groups that may be meant to be elsewhere than before. What is not new is shared by both.
fn groups_changed(before: &Metadata, now: &Metadata) -> Vec<GroupId> {
    let is_new = |topic: &&Arc<Topic>| {
        !before.topic(&topic.name).is_some_and(|known| Arc::ptr_eq(known, topic))
    };
    let topics = now.topics.values().filter(is_new);
    let partitions = topics.flat_map(|topic| topic.groups().map(|(_, group)| group));
    now.system.keys().copied().chain(partitions).collect()
}

/// Keeps the groups of this broker in step with the metadata.
pub(crate) struct Keeper {
    pub(crate) ways: Arc<Ways>,
    pub(crate) metadata: MetadataWatch,
    pub(crate) groups: Arc<Groups>,
    pub(crate) changes: Arc<GroupChanges>,
    pub(crate) alive: watch::Receiver<BTreeSet<NodeId>>,
}

impl Keeper {
    /// Runs until the broker stops.
    pub(crate) async fn run(mut self) {
        let mut unsettled: BTreeSet<GroupId> = BTreeSet::new();
        let (mut tries, mut balances) = (interval(TRY_AGAIN), interval(BALANCE));
        // Nobody waited for them while there was nothing to try.
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut balanced_to = None;
        let mut seen = Arc::default();
        loop {
            let is_balanced = tokio::select! {
                changed = self.metadata.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = self.metadata.borrow_and_update().clone();
                    unsettled.extend(groups_changed(&seen, &now));
                    seen = now;
                    self.must_hand_over()
                }
                changed = self.changes.take() => {
                    unsettled.extend(changed);
                    false
                }
                _ = tries.tick(), if !unsettled.is_empty() || self.must_hand_over() => {
                    self.must_hand_over()
                }
                _ = balances.tick() => {
                    unsettled.extend(self.damaged());
                    true
                }
            };
            if is_balanced {
                balanced_to = self.balance(balanced_to).await;
            }
            let groups = std::mem::take(&mut unsettled);
            let steps = stream::iter(groups).map(|group| {
                let keeper = &self;
                async move { keeper.bring_along(group).await.then_some(group) }
            });
            let left: Vec<_> = steps.buffer_unordered(SIDE_BY_SIDE).collect().await;
            unsettled = left.into_iter().flatten().collect();
        }
    }

    /// Whether this broker is draining and leads something yet: that does not wait for the balance.
    fn must_hand_over(&self) -> bool {
        self.metadata.borrow().is_draining(self.ways.node) && !self.led().is_empty()
    }

    /// The groups that this broker leads.
    fn led(&self) -> BTreeMap<GroupId, Arc<GroupWatch>> {
        self.groups.filtered(|_, watch| watch.epoch().is_some())
    }

    /// Partitions whose log cannot be read here: a reader found that, and the shard does not know.
    fn damaged(&self) -> impl Iterator<Item = GroupId> {
        let is_damaged =
            |group: GroupId, watch: &GroupWatch| group.is_partition() && watch.is_damaged();
        self.groups.filtered(is_damaged).into_keys()
    }

    /// Makes the next step of a group. Returns whether there is more to do.
    async fn bring_along(&self, group: GroupId) -> bool {
        let Some(watch) = self.groups.get(group) else { return false };
        if watch.is_damaged() {
            return self.replace(group, &watch).await;
        }
        if watch.epoch().is_none() {
            return false;
        }
        let Some(desired) = self.metadata.borrow().desired(group) else { return false };
        let role = watch.role();
        let mut behind = Vec::new();
        while let Some(step) = next_step(&role, &desired, &behind) {
            let kind = match step {
                Step::Change(change) => ProposalKind::Membership(change),
                Step::HandOver(to) => ProposalKind::TransferLeadership(to),
            };
            let Err(error) = self.propose(group, Arc::clone(&watch), kind).await else {
                return true;
            };
            tracing::debug!(%group, ?step, %error, "a step of the members is made later");
            match error {
                // Another one may be ready: this one's broker may be dead.
                ProposeError::Behind(replica) if !behind.contains(&replica) => behind.push(replica),
                _ => return true,
            }
        }
        !behind.is_empty()
    }

    /// Has this broker's replica, which is damaged, replaced by a new one that gets everything from
    /// the others. One that leads hands over first, and one that is alone stays: it is the only one
    /// that has something. Returns whether there is more to do.
    async fn replace(&self, group: GroupId, watch: &Arc<GroupWatch>) -> bool {
        let role = watch.role();
        let (Some(own), false) = (role.replica, watch.is_alone()) else { return false };
        let metadata = self.metadata.borrow().clone();
        if metadata.replicas(group).is_some_and(|placed| !placed.contains(&own)) {
            // Another one is to come in its place already, once the group has let this one go.
            return false;
        }
        if role.epoch.is_some() {
            // Not to one that lacks too much: it may be behind because of the damage here.
            for other in role.voters.iter().filter(|voter| **voter != own) {
                let kind = ProposalKind::TransferLeadership(*other);
                if self.propose(group, Arc::clone(watch), kind).await.is_ok() {
                    break;
                }
            }
            return true;
        }
        if group == GroupId::METADATA {
            tracing::error!(
                "the metadata on this broker's disk is damaged, and cannot be replaced while the \
                 broker runs: stop it, and start it with an empty data directory"
            );
            return false;
        }
        let Some(metadata) = self.groups.get(GroupId::METADATA) else { return true };
        let voters = metadata.role().voters;
        let metadata = GroupHandle::new(GroupId::METADATA, &self.ways, Some(metadata), &voters);
        let command = MetadataCommand::ReplaceReplica { group, replica: own };
        let level = self.metadata.borrow().level();
        match command_metadata(&metadata, level, &command).await {
            Ok(_) => {
                tracing::warn!(%group, replica = %own, "a damaged replica is replaced");
                false
            }
            Err(error) => {
                tracing::debug!(%group, %error, "a damaged replica is replaced later");
                true
            }
        }
    }

    async fn propose(
        &self,
        group: GroupId,
        watch: Arc<GroupWatch>,
        kind: ProposalKind,
    ) -> Result<(), ProposeError> {
        let handle = GroupHandle::new(group, &self.ways, Some(watch), &[]);
        handle.propose_here(kind).await.map(|_| ())
    }

    /// Hands over some of the groups that others should lead. Returns the last of them.
    async fn balance(&self, after: Option<GroupId>) -> Option<GroupId> {
        if self.alive.borrow().is_empty() {
            // Nobody could take over.
            return after;
        }
        let led = self.led();
        let own = |watch: &Arc<GroupWatch>| watch.role().replica;
        let leaders: BTreeMap<_, _> =
            led.iter().filter_map(|(group, watch)| Some((*group, own(watch)?))).collect();
        let mut alive = self.alive.borrow().clone();
        alive.insert(self.ways.node);
        let metadata: Arc<Metadata> = self.metadata.borrow().clone();
        let moves = leader_moves(&metadata, &leaders, &alive, after);
        for (group, to) in &moves {
            let Some(watch) = led.get(group) else { continue };
            if watch.role().voters.contains(to) {
                // One that lacks too much of the log is asked again later.
                let kind = ProposalKind::TransferLeadership(*to);
                let _ = self.propose(*group, Arc::clone(watch), kind).await;
            }
        }
        moves.last().map(|(group, _)| *group)
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_consensus::proposal::MembershipChange;

    use super::*;

    fn replica(node: u64, serial: u32) -> ReplicaId {
        ReplicaId::new(NodeId(node), serial)
    }

    /// Makes all steps, each with success, and returns them.
    fn steps(voters: &[ReplicaId], learners: &[ReplicaId], desired: &Desired) -> Vec<Step> {
        steps_past(&[], voters, learners, desired)
    }

    /// The same while some are behind, and stay so.
    fn steps_past(
        behind: &[ReplicaId],
        voters: &[ReplicaId],
        learners: &[ReplicaId],
        desired: &Desired,
    ) -> Vec<Step> {
        let mut role = Role {
            replica: voters.first().copied(),
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            ..Role::default()
        };
        let mut steps = Vec::new();
        while let Some(step) = next_step(&role, desired, behind) {
            steps.push(step);
            assert!(steps.len() < 20, "it does not end: {steps:?}");
            let Step::Change(change) = step else { break };
            match change {
                MembershipChange::AddLearner(replica) => {
                    role.voters.retain(|voter| *voter != replica);
                    role.learners.push(replica);
                }
                MembershipChange::Promote(replica) => {
                    role.learners.retain(|learner| *learner != replica);
                    role.voters.push(replica);
                }
                MembershipChange::Remove(replica) => {
                    role.voters.retain(|voter| *voter != replica);
                    role.learners.retain(|learner| *learner != replica);
                }
            }
        }
        steps
    }

    /// What has no disk counts for nothing: without it no more votes are needed than before.
    #[test]
    fn a_replica_that_lost_its_disk_goes_before_the_new_one_comes() {
        let (one, two, lost, new) = (replica(1, 0), replica(2, 0), replica(3, 0), replica(3, 9));
        let desired = Desired { voters: vec![one, two, new], learners: Vec::new() };
        let expected = [
            Step::Change(MembershipChange::Remove(lost)),
            Step::Change(MembershipChange::AddLearner(new)),
            Step::Change(MembershipChange::Promote(new)),
        ];
        assert_eq!(steps(&[one, two, lost], &[], &desired), expected);
    }

    /// The broker that a group comes back to has its old replica still, under another id: it goes
    /// when others have everything, and never while it is the only one that has something.
    #[test]
    fn a_group_that_moves_back_before_it_has_moved_away_loses_nothing() {
        let (old, new) = (replica(1, 0), replica(1, 13));
        let (away, other) = (replica(2, 10), replica(3, 13));
        let desired = Desired { voters: vec![away, new, other], learners: Vec::new() };
        let expected = [
            Step::Change(MembershipChange::AddLearner(other)),
            Step::Change(MembershipChange::Promote(other)),
            Step::HandOver(away),
        ];
        assert_eq!(steps(&[old, away], &[], &desired), expected, "while the old one leads");
        let expected = [
            Step::Change(MembershipChange::Remove(old)),
            Step::Change(MembershipChange::AddLearner(new)),
            Step::Change(MembershipChange::Promote(new)),
        ];
        assert_eq!(steps(&[away, old, other], &[], &desired), expected);

        let back = Desired { voters: vec![new], learners: Vec::new() };
        let let_go = [Step::Change(MembershipChange::Remove(away))];
        assert_eq!(steps(&[old], &[away], &back), let_go, "the only voter stands for the new one");
        let expected = [
            Step::Change(MembershipChange::Remove(old)),
            Step::Change(MembershipChange::AddLearner(new)),
            Step::Change(MembershipChange::Promote(new)),
            Step::HandOver(new),
        ];
        assert_eq!(steps(&[away, old], &[], &back), expected, "there was another one");
    }

    /// All that can come comes first; then one by one, so that most of them have everything.
    #[test]
    fn replicas_that_were_moved_away_and_back_are_replaced_one_by_one() {
        let (one, two, three, four) = (replica(1, 0), replica(2, 0), replica(3, 0), replica(4, 5));
        let (new_two, new_three) = (replica(2, 5), replica(3, 5));
        let desired = Desired { voters: vec![new_two, new_three, four], learners: Vec::new() };
        let expected = [
            Step::Change(MembershipChange::AddLearner(four)),
            Step::Change(MembershipChange::Promote(four)),
            Step::Change(MembershipChange::Remove(two)),
            Step::Change(MembershipChange::AddLearner(new_two)),
            Step::Change(MembershipChange::Promote(new_two)),
            Step::Change(MembershipChange::Remove(three)),
            Step::Change(MembershipChange::AddLearner(new_three)),
            Step::Change(MembershipChange::Promote(new_three)),
            Step::HandOver(new_two),
        ];
        assert_eq!(steps(&[one, two, three], &[], &desired), expected);
    }

    #[test]
    fn one_that_is_in_the_way_goes_before_one_that_is_not() {
        let (one, two, three) = (replica(1, 0), replica(2, 0), replica(3, 0));
        let (late, new) = (replica(4, 5), replica(4, 7));
        let desired = Desired { voters: vec![one, two, new], learners: Vec::new() };
        let expected = [
            Step::Change(MembershipChange::Remove(late)),
            Step::Change(MembershipChange::AddLearner(new)),
            Step::Change(MembershipChange::Promote(new)),
            Step::Change(MembershipChange::Remove(three)),
        ];
        assert_eq!(steps(&[one, two, three], &[late], &desired), expected);
        assert_eq!(steps(&[one, two, three, late], &[], &desired), expected);
        // Also where that is the leader.
        let desired = Desired { voters: vec![replica(1, 5), two, late], learners: Vec::new() };
        assert_eq!(steps(&[one, two, three, late], &[], &desired), [Step::HandOver(two)]);
    }

    #[test]
    fn a_leader_that_was_moved_away_and_back_hands_over_to_one_that_votes() {
        let (old, two, three, new) = (replica(1, 0), replica(2, 0), replica(3, 0), replica(1, 5));
        let desired = Desired { voters: vec![new, two, three], learners: Vec::new() };
        assert_eq!(steps(&[old, two, three], &[], &desired), [Step::HandOver(two)]);
        // Where nobody else votes it stays: it is the only one that has anything.
        let desired = Desired { voters: vec![new], learners: Vec::new() };
        assert_eq!(steps(&[old], &[], &desired), []);
    }

    #[test]
    fn a_leader_that_is_to_go_lets_the_others_go_and_hands_over_last() {
        let (one, two, three, four) = (replica(1, 0), replica(2, 0), replica(3, 0), replica(4, 5));
        let desired = Desired { voters: vec![four], learners: Vec::new() };
        let expected = [
            Step::Change(MembershipChange::AddLearner(four)),
            Step::Change(MembershipChange::Promote(four)),
            Step::Change(MembershipChange::Remove(two)),
            Step::Change(MembershipChange::Remove(three)),
            Step::HandOver(four),
        ];
        assert_eq!(steps(&[one, two, three], &[], &desired), expected);
    }

    #[test]
    fn one_dead_target_keeps_no_other_from_voting_and_nobody_goes_before_it_votes() {
        let (old, dead, new) = (replica(1, 0), replica(4, 7), replica(5, 7));
        let desired = Desired { voters: vec![dead, new], learners: Vec::new() };
        let expected = [
            Step::Change(MembershipChange::AddLearner(dead)),
            Step::Change(MembershipChange::AddLearner(new)),
            Step::Change(MembershipChange::Promote(new)),
        ];
        assert_eq!(steps_past(&[dead], &[old], &[], &desired), expected);
        let rest = [Step::Change(MembershipChange::Promote(dead)), Step::HandOver(dead)];
        assert_eq!(steps(&[old, new], &[dead], &desired), rest, "it is back");
    }

    #[test]
    fn a_leader_that_is_to_go_hands_over_to_one_that_is_ready() {
        let (old, dead, new) = (replica(1, 0), replica(4, 7), replica(5, 7));
        let desired = Desired { voters: vec![dead, new], learners: Vec::new() };
        let expected = [Step::HandOver(new)];
        assert_eq!(steps_past(&[dead], &[old, dead, new], &[], &desired), expected);
        assert_eq!(steps_past(&[dead, new], &[old, dead, new], &[], &desired), []);
    }

    #[test]
    fn who_is_to_go_goes_before_another_loses_its_vote() {
        let (one, two, dead) = (replica(1, 0), replica(2, 0), replica(3, 0));
        let desired = Desired { voters: vec![one], learners: vec![two] };
        let expected = [
            Step::Change(MembershipChange::Remove(dead)),
            Step::Change(MembershipChange::AddLearner(two)),
        ];
        assert_eq!(steps(&[one, two, dead], &[], &desired), expected);
    }

    #[test]
    fn a_voter_that_is_to_listen_only_keeps_the_log() {
        let (one, two) = (replica(1, 0), replica(2, 0));
        let desired = Desired { voters: vec![one], learners: vec![two] };
        let expected = [Step::Change(MembershipChange::AddLearner(two))];
        assert_eq!(steps(&[one, two], &[], &desired), expected);
        assert_eq!(steps(&[one], &[two], &desired), []);
    }
}
