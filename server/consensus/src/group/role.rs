//! Whether this replica leads, and when it stands for election.

use std::collections::BTreeSet;

use raft::StateRole;
use ropewalk_core::{NodeId, ReplicaId};

use super::{ELECTION_TICKS, ReplicaGroup};
use crate::planted::Plant;
use crate::shard::Output;

impl<T> ReplicaGroup<T> {
    pub(super) fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Raft's clock moves on. Returns whether something is ready.
    pub(crate) fn tick(&mut self, reached: &BTreeSet<NodeId>, out: &mut Vec<Output<T>>) -> bool {
        // A replica whose disk is behind promises nothing, and raft-rs cannot bear that the only
        // voter of a group becomes the leader meanwhile.
        let waits = !self.leads() && (self.awaits_disk() || self.has_much_to_say());
        if self.is_damaged || self.is_asleep() || waits {
            return false;
        }
        self.eager_ticks = self.eager_ticks.saturating_sub(1);
        if self.eager_ticks > 0 && !self.hears_of_others() {
            // What raft refuses here it does at the next tick.
            let _ = self.node.campaign();
        } else {
            self.eager_ticks = 0;
            self.note_heard();
            self.node.tick();
        }
        self.set_timeout();
        let mut has_lost = false;
        if self.leads() {
            self.sent_snapshots.tick(&mut self.node);
            has_lost = self.tick_behind();
            self.tire(reached, out);
        }
        has_lost || self.node.has_ready()
    }

    /// Notes who has answered since raft last forgot it: a leader forgets all once in an election
    /// timeout, and would take each for silent until the next heartbeat.
    fn note_heard(&mut self) {
        if !self.leads() {
            return self.heard.clear();
        }
        self.heard.retain(|_, left| {
            *left -= 1;
            *left > 0
        });
        let members = self.node.raft.prs().iter();
        let active = members.filter(|(_, progress)| progress.recent_active);
        self.heard.extend(active.map(|(id, _)| (*id, ELECTION_TICKS)));
    }

    /// Whether raft's clock matters to this replica. It does not to one that leads and has nobody
    /// to lead: it owes no heartbeat, and nobody can depose it. And not to one that sleeps.
    pub(crate) fn needs_ticks(&self) -> bool {
        if self.is_asleep() {
            return false;
        }
        let members = self.node.raft.prs().iter().count();
        !(self.leads() && members == 1 && self.log().conf_state().voters == [self.node.raft.id])
    }

    /// Whether entries, or a snapshot, are on their way to the disk.
    pub(super) fn awaits_disk(&self) -> bool {
        let log = &self.node.raft.raft_log;
        log.persisted != log.last_index()
    }

    /// Whether the group is not new any more: somebody leads, or has stood for election.
    fn hears_of_others(&self) -> bool {
        let raft = &self.node.raft;
        raft.leader_id != raft::INVALID_ID
            || raft.term > ropewalk_storage::group_log::BOOTSTRAP_TERM
    }

    /// Raft-rs draws the election timeout at random whenever a replica's role changes; here it
    /// follows from the group, the replica's place among the members and the term, so that the same
    /// inputs lead to the same outputs.
    pub(super) fn set_timeout(&mut self) {
        let raft = &self.node.raft;
        let members = raft.prs().iter().count();
        let before = raft.prs().iter().filter(|(id, _)| **id < raft.id).count();
        let ticks = timeout_ticks(self.id().0, raft.term, before, members);
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    /// Tells who leads when that has changed, and those who wait in vain.
    pub(super) fn note_role(&mut self, out: &mut Vec<Output<T>>) {
        let group = self.id();
        let raft = &self.node.raft;
        let (term, leads) = (raft.term, self.leads());
        let leader = (raft.leader_id != raft::INVALID_ID).then_some(ReplicaId(raft.leader_id));
        let (told, told_term) = self.told_leader;
        if leader != told || (leader.is_some() && term != told_term) {
            self.told_leader = (leader, term);
            out.push(Output::Leader { group, leader, term });
        }
        if self.serving.is_some_and(|serving| serving != term || !leads) {
            self.serving = None;
            self.sequences.lose_lead();
            if !Plant::KeepVersions.is_planted() {
                self.keys.forget();
            }
            self.sent_snapshots.clear();
            out.push(Output::Leadership { group, epoch: None });
        }
        // Whoever waits for an entry of another term than the leader's may wait for ever.
        if self.serving.is_none() {
            self.abandon(out);
        }
    }

    /// A leader serves once an entry of its own term is applied: everything before it is then
    /// known.
    pub(super) fn start_serving(&mut self, out: &mut Vec<Output<T>>) {
        let term = self.node.raft.term;
        let is_early = Plant::ServeBeforeNoop.is_planted();
        if self.serving.is_some() || !self.leads() || !(is_early || self.pending.is_empty()) {
            return;
        }
        if is_early || self.node.raft.commit_to_current_term() {
            self.serving = Some(term);
            self.next_offset = self.log().next_offset();
            out.push(Output::Leadership { group: self.id(), epoch: Some(term) });
        }
    }
}

/// How long a replica waits for a leader before it stands for election, in ticks: between
/// [`ELECTION_TICKS`] and twice as many.
///
/// All members heard of their leader last at about the same time. Drawn one by one, two of three
/// would choose the same tick in one group of ten, and where votes take long, as they do when a
/// thousand groups ask for them at once, each would vote for itself and wait once more. So a hash
/// says where the first stands on the round of ticks, and the others stand evenly around it.
fn timeout_ticks(group: u64, term: u64, place: usize, members: usize) -> usize {
    let first = (mix(mix(group) ^ term) % ELECTION_TICKS as u64) as usize;
    let apart = place * ELECTION_TICKS / members.max(1);
    ELECTION_TICKS + (first + apart) % ELECTION_TICKS
}

/// The finalizer of splitmix64 (Steele, Lea and Flood, 2014).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ELECTION_TICKS, timeout_ticks};

    /// The ticks at which the members of a group stand for election.
    fn choices(group: u64, term: u64, members: usize) -> BTreeSet<usize> {
        (0..members).map(|place| timeout_ticks(group, term, place, members)).collect()
    }

    #[test]
    fn members_stand_for_election_at_times_of_their_own() {
        let cases = (0..200_u64).flat_map(|group| (5..15_u64).map(move |term| (group, term)));
        for (group, term) in cases {
            for members in [1, 2, 3, 5, 7] {
                let ticks = choices(group, term, members);
                assert_eq!(ticks.len(), members, "group {group}, term {term}");
                assert!(ticks.iter().all(|t| (ELECTION_TICKS..2 * ELECTION_TICKS).contains(t)));
            }
            // Whoever leads: of three, one that is left does not wait longer than 1.6 timeouts.
            let ticks: Vec<usize> = choices(group, term, 3).into_iter().collect();
            let apart = ticks.windows(2).map(|pair| pair[1] - pair[0]).min();
            assert!(apart >= Some(3), "{ticks:?}");
            assert!(ticks[1] <= ELECTION_TICKS * 8 / 5, "{ticks:?}");
        }
    }

    #[test]
    fn no_member_is_always_the_first() {
        let firsts: BTreeSet<usize> = (0..50)
            .filter_map(|group| (0..3).min_by_key(|place| timeout_ticks(group, 5, *place, 3)))
            .collect();
        assert_eq!(firsts.len(), 3);
    }
}
