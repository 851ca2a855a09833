//! From the members that a group has to those that it is to have, one step at a time.
//!
//! A replica gets the log as a learner, votes once it has caught up, and only then does another one
//! go: the group never has fewer copies than before. What is lost is no copy: it goes first. Pure:
//! whoever leads the group carries it out.

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
    /// The next step towards the members that the group is to have; `None` when it has them, when
    /// only those who are behind keep it from having them, or when later metadata are needed.
    #[must_use]
    pub fn next_step(&self, desired: &Desired) -> Option<Step> {
        let wanted = desired.voters.iter().chain(&desired.learners);
        let missing: Vec<_> = wanted.copied().filter(|new| !self.is_member(*new)).collect();
        let before = |new: &ReplicaId| Some((self.beside(*new)?, *new));
        let mut replaced = missing.iter().filter_map(before);
        if replaced.clone().any(|(member, wanted)| member.serial() > wanted.serial()) {
            // Ids of a broker rise: the group is further than what is known of the metadata.
            return None;
        }
        if let Some(step) = replaced.find_map(|(lost, _)| self.let_go_of_lost(lost, desired)) {
            return Some(step);
        }
        // On its own broker another one comes when it is led elsewhere.
        if let Some(new) = missing.iter().find(|new| new.node() != self.own.node()) {
            return Some(Step::Change(MembershipChange::AddLearner(*new)));
        }
        let is_ready = |replica: &&ReplicaId| !self.behind.contains(replica);
        let learns = |replica: &&ReplicaId| self.learners.contains(replica);
        let mut promoted = desired.voters.iter().filter(learns).peekable();
        if promoted.peek().is_some() {
            let ready = promoted.find(is_ready);
            return ready.map(|learner| Step::Change(MembershipChange::Promote(*learner)));
        }
        if missing.is_empty() { self.let_go(desired) } else { None }
    }

    fn is_member(&self, replica: ReplicaId) -> bool {
        self.voters.contains(&replica) || self.learners.contains(&replica)
    }

    /// The member on the broker of one that is none.
    fn beside(&self, other: ReplicaId) -> Option<ReplicaId> {
        let mut members = self.voters.iter().chain(self.learners);
        members.find(|member| member.node() == other.node()).copied()
    }

    /// Has a member go whose broker is to have the group under a later id: it is lost with its
    /// disk, or was damaged where the others have everything. Without what counts for nothing no
    /// more votes are needed than before. The only voter stays until there is another one.
    fn let_go_of_lost(&self, lost: ReplicaId, desired: &Desired) -> Option<Step> {
        if self.voters == [lost] {
            return None;
        }
        if lost != self.own {
            return Some(Step::Change(MembershipChange::Remove(lost)));
        }
        let takes_over = |voter: &&ReplicaId| **voter != lost && !self.behind.contains(voter);
        let mut wanted = self.voters.iter().filter(|voter| desired.voters.contains(voter));
        let to = wanted.find(takes_over).or_else(|| self.voters.iter().find(takes_over))?;
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
        let is_wanted = |learner: &ReplicaId| {
            desired.learners.contains(learner) || desired.voters.contains(learner)
        };
        if let Some(learner) = self.learners.iter().find(|learner| !is_wanted(learner)) {
            return Some(Step::Change(MembershipChange::Remove(*learner)));
        }
        this.first()?;
        let to = desired.voters.iter().find(|voter| !self.behind.contains(voter));
        to.map(|to| Step::HandOver(*to))
    }
}
