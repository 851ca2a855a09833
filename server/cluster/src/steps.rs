//! From the members that a group has to those that it is to have, one step at a time.
//!
//! A replica gets the log as a learner, votes once it has caught up, and only then does another one
//! go: the group never has fewer copies than before, but for that of a broker which is to have a
//! new one in its place. Pure: whoever leads the group carries it out.

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
    /// Those that were found to lack too much of the log to be promoted or to lead, as the replicas
    /// of a dead broker do: others do not wait for them.
    pub behind: &'a [ReplicaId],
}

impl Members<'_> {
    /// The next step towards the members that the group is to have; `None` when it has them, or
    /// when only those who are behind keep it from having them.
    #[must_use]
    pub fn next_step(&self, desired: &Desired) -> Option<Step> {
        let wanted = desired.voters.iter().chain(&desired.learners);
        let missing: Vec<_> = wanted.copied().filter(|new| !self.is_member(*new)).collect();
        if let Some(new) = missing.iter().find(|new| self.before(**new).is_none()) {
            return Some(Step::Change(MembershipChange::AddLearner(*new)));
        }
        let is_ready = |replica: &&ReplicaId| !self.behind.contains(replica);
        let learns = |replica: &&ReplicaId| self.learners.contains(replica);
        let mut promoted = desired.voters.iter().filter(learns).peekable();
        if promoted.peek().is_some() {
            let ready = promoted.find(is_ready);
            return ready.map(|learner| Step::Change(MembershipChange::Promote(*learner)));
        }
        if let Some(old) = missing.iter().find_map(|new| self.before(*new)) {
            return self.clear_the_place(old, desired);
        }
        self.let_go(desired)
    }

    fn is_member(&self, replica: ReplicaId) -> bool {
        self.voters.contains(&replica) || self.learners.contains(&replica)
    }

    /// The member that a new replica's broker has already. A broker has one replica of a group: the
    /// new one is taken up once the group has let the other go.
    fn before(&self, new: ReplicaId) -> Option<ReplicaId> {
        let mut members = self.voters.iter().chain(self.learners);
        members.find(|member| member.node() == new.node()).copied()
    }

    /// Has a replica go whose broker is to have another one. It may have all there is, as where a
    /// partition moves back before it has moved away, or be lost with its disk: so the only voter
    /// stays, and stands for the new one; and else those who stay have everything.
    fn clear_the_place(&self, old: ReplicaId, desired: &Desired) -> Option<Step> {
        if self.voters == [old] {
            return self.let_go_of_learners(desired);
        }
        if old != self.own {
            return Some(Step::Change(MembershipChange::Remove(old)));
        }
        let stays = |voter: &&ReplicaId| **voter != old && !self.behind.contains(voter);
        let mut wanted = self.voters.iter().filter(|voter| desired.voters.contains(voter));
        let to = wanted.find(stays).or_else(|| self.voters.iter().find(stays))?;
        Some(Step::HandOver(*to))
    }

    /// Has those go who are members and are not to be.
    fn let_go(&self, desired: &Desired) -> Option<Step> {
        let extra = self.voters.iter().filter(|replica| !desired.voters.contains(replica));
        // This replica goes last: it is the one that lets the others go.
        let (this, others): (Vec<_>, Vec<_>) =
            extra.copied().partition(|replica| *replica == self.own);
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
        if let Some(step) = self.let_go_of_learners(desired) {
            return Some(step);
        }
        this.first()?;
        let to = desired.voters.iter().find(|voter| !self.behind.contains(voter));
        to.map(|to| Step::HandOver(*to))
    }

    fn let_go_of_learners(&self, desired: &Desired) -> Option<Step> {
        let is_wanted = |learner: &ReplicaId| {
            desired.learners.contains(learner) || desired.voters.contains(learner)
        };
        let extra = self.learners.iter().find(|learner| !is_wanted(learner));
        extra.map(|learner| Step::Change(MembershipChange::Remove(*learner)))
    }
}
