//! From the members that a group has to those that it is to have, one step at a time.
//!
//! A replica gets the log as a learner, votes once it has caught up, and only then does another one
//! go: the group never has fewer copies than before. A broker has one replica of a group at a time:
//! where it is to have another one than it has, as it was moved away and back or lost its disk, the
//! old one goes before the new one comes, after all that can come without that. Pure: whoever leads
//! the group carries it out.

use ropewalk_consensus::proposal::MembershipChange;
use ropewalk_core::ReplicaId;

use crate::metadata::Desired;

/// What is to be done to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its members change.
    Change(MembershipChange),
    /// The replica that leads is to go: first another one has to lead.
    HandOver(ReplicaId),
}

/// The members that a group has, as the one that leads it knows them.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    /// The one that leads.
    pub own: ReplicaId,
    /// Those who vote.
    pub voters: &'a [ReplicaId],
    /// Those who do not.
    pub learners: &'a [ReplicaId],
}

impl Members<'_> {
    /// The next step towards the members that the group is to have; `None` when it has them.
    #[must_use]
    pub fn next_step(&self, desired: &Desired) -> Option<Step> {
        let is_member =
            |replica: &ReplicaId| self.voters.contains(replica) || self.learners.contains(replica);
        let wanted = desired.voters.iter().chain(&desired.learners);
        let missing: Vec<_> = wanted.filter(|replica| !is_member(replica)).collect();
        let members = || self.voters.iter().chain(self.learners);
        let has_room = |new: &&&ReplicaId| members().all(|member| member.node() != new.node());
        if let Some(new) = missing.iter().find(has_room) {
            return Some(Step::Change(MembershipChange::AddLearner(**new)));
        }
        let is_in_the_way =
            |member: &&ReplicaId| missing.iter().any(|new| new.node() == member.node());
        if let Some(learner) = self.learners.iter().find(is_in_the_way) {
            return Some(Step::Change(MembershipChange::Remove(*learner)));
        }
        if let Some(learner) = desired.voters.iter().find(|r| self.learners.contains(r)) {
            return Some(Step::Change(MembershipChange::Promote(*learner)));
        }
        let extra = self.voters.iter().filter(|replica| !desired.voters.contains(replica));
        let (this, others): (Vec<_>, Vec<_>) =
            extra.copied().partition(|replica| *replica == self.own);
        // One that votes alone stays, whatever is to come in its place: nobody else has anything.
        let heir = desired.voters.iter().find(|voter| self.voters.contains(voter));
        let hand_over = this.first().and(heir).map(|to| Step::HandOver(*to));
        if let Some(voter) = others.iter().find(is_in_the_way) {
            return Some(Step::Change(MembershipChange::Remove(*voter)));
        }
        if this.iter().any(|own| is_in_the_way(&own)) && hand_over.is_some() {
            return hand_over;
        }
        // One that is to go may be dead: before another one loses its vote, it goes.
        let goes = others.iter().find(|voter| !desired.learners.contains(voter));
        if let Some(voter) = goes.or(others.first()).copied() {
            let change = if desired.learners.contains(&voter) {
                MembershipChange::AddLearner(voter)
            } else {
                MembershipChange::Remove(voter)
            };
            return Some(Step::Change(change));
        }
        let learner = self.learners.iter().find(|learner| !desired.learners.contains(learner));
        if let Some(learner) = learner.filter(|learner| !desired.voters.contains(learner)) {
            return Some(Step::Change(MembershipChange::Remove(*learner)));
        }
        // This replica goes last: it is the one that lets the others go.
        hand_over
    }
}
