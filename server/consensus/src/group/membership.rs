//! Who belongs to a group, one step at a time, and who leads it.

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, ConfChangeV2};
use raft::{Progress, ProgressState};
use ropewalk_core::ReplicaId;
use ropewalk_storage::{GroupWrite, StorageError};

use super::{Pending, ReplicaGroup};
use crate::proposal::{CAUGHT_UP_ENTRIES, MemberProgress, MembershipChange, ProposeError};
use crate::shard::Output;

impl<T> ReplicaGroup<T> {
    /// Puts a change of the members into raft's log, if it is one that may be made now.
    pub(super) fn propose_change(&mut self, change: MembershipChange) -> Result<(), ProposeError> {
        let (change_type, replica) = match change {
            MembershipChange::AddLearner(replica) => (ConfChangeType::AddLearnerNode, replica),
            MembershipChange::Promote(replica) => (ConfChangeType::AddNode, replica),
            MembershipChange::Remove(replica) => (ConfChangeType::RemoveNode, replica),
        };
        let members = self.log().conf_state();
        let votes = members.voters.contains(&replica.0);
        let learns = members.learners.contains(&replica.0);
        let is_possible = match change {
            // A voter becomes a learner: it keeps the log and loses its vote.
            MembershipChange::AddLearner(_) => {
                !learns && replica.0 != 0 && replica != self.log().replica()
            }
            MembershipChange::Promote(_) => learns,
            MembershipChange::Remove(_) => (votes || learns) && replica != self.log().replica(),
        };
        if !is_possible || self.node.raft.has_pending_conf() {
            return Err(ProposeError::Members);
        }
        if matches!(change, MembershipChange::Promote(_)) && !self.has_caught_up(replica) {
            return Err(ProposeError::Behind(replica));
        }
        let change = ConfChange { change_type, node_id: replica.0, ..ConfChange::default() };
        self.node.propose_conf_change(Vec::new(), change).map_err(|_| ProposeError::Overloaded)
    }

    /// Begins to hand over to another voter.
    pub(super) fn transfer(&mut self, to: ReplicaId) -> Result<(), ProposeError> {
        if to == self.log().replica() {
            return Ok(());
        }
        if !self.log().conf_state().voters.contains(&to.0) {
            return Err(ProposeError::Members);
        }
        if !self.has_caught_up(to) {
            return Err(ProposeError::Behind(to));
        }
        self.node.transfer_leader(to.0);
        Ok(())
    }

    /// Whether the members are those of the group whoever leads next: a majority knows of their
    /// last change.
    ///
    /// Raft-rs counts votes by the members that a replica has applied, not by those in its log.
    /// Whoever does not know that somebody was removed asks for its vote too: were it gone, and
    /// then the only one who knows, the others could choose no leader any more. One who knows is
    /// enough, as its answer to a candidate tells how far it has committed.
    pub(super) fn majority_knows_members(&self) -> bool {
        let raft = &self.node.raft;
        let knows = |id: &&u64| {
            let progress = raft.prs().get(**id);
            **id == raft.id || progress.is_some_and(|it| it.committed_index >= self.members_since)
        };
        let voters = &self.log().conf_state().voters;
        2 * voters.iter().filter(knows).count() > voters.len()
    }

    /// How far each member has the log, by id.
    pub(super) fn progress(&self) -> Vec<MemberProgress> {
        let last = self.node.raft.raft_log.last_index();
        let this = self.log().replica();
        let members = self.node.raft.prs();
        let of = |(id, progress): (&u64, &Progress)| MemberProgress {
            replica: ReplicaId(*id),
            is_voter: members.conf().voters().contains(*id),
            is_active: progress.recent_active
                || self.heard.contains_key(id)
                || ReplicaId(*id) == this,
            matched: progress.matched,
            lag: last.saturating_sub(progress.matched),
        };
        let mut found: Vec<_> = members.iter().map(of).collect();
        found.sort_unstable_by_key(|member| member.replica);
        found
    }

    fn has_caught_up(&self, replica: ReplicaId) -> bool {
        let last = self.node.raft.raft_log.last_index();
        self.node.raft.prs().get(replica.0).is_some_and(|progress| {
            let lag = last.saturating_sub(progress.matched);
            // After a snapshot of all there is, raft probes until there is a next entry.
            let is_fed = match progress.state {
                ProgressState::Replicate => true,
                ProgressState::Probe => progress.recent_active,
                ProgressState::Snapshot => false,
            };
            // One that has never answered lacks everything, however little that is.
            progress.matched > 0 && is_fed && lag <= CAUGHT_UP_ENTRIES
        })
    }

    /// A change of the members is committed.
    pub(super) fn apply_change(
        &mut self,
        entry: &Pending,
        write: &mut GroupWrite,
        out: &mut Vec<Output<T>>,
    ) -> Result<(), StorageError> {
        let unreadable =
            |_| StorageError::Refused(format!("entry {} is no change of the members", entry.index));
        let applied = if entry.meta.entry_type == 1 {
            let mut change = ConfChange::default();
            change.merge_from_bytes(&entry.data).map_err(unreadable)?;
            self.node.apply_conf_change(&change)
        } else {
            let mut change = ConfChangeV2::default();
            change.merge_from_bytes(&entry.data).map_err(unreadable)?;
            self.node.apply_conf_change(&change)
        };
        // A change that the members do not allow changes nothing, on every replica alike.
        let Ok(mut members) = applied else { return Ok(()) };
        members.voters.sort_unstable();
        members.learners.sort_unstable();
        self.node.mut_store().set_conf_state(entry.index, members, write);
        self.members_since = entry.index;
        self.tell_members(out);
        let this = self.log().replica().0;
        if self.leads() && !self.log().conf_state().voters.contains(&this) {
            // Raft-rs would go on to lead a group that it is no part of.
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, raft::INVALID_ID);
            self.set_timeout();
        }
        Ok(())
    }
}
