//! Followers that lack entries which are not in memory: where they wait, and what they are sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::ProgressState;

use super::ReplicaGroup;
use crate::catch_up::{CatchUpRead, CaughtUp};
use crate::shard::Output;

/// What is under way for followers that are behind.
#[derive(Default)]
pub(super) struct Behind {
    /// Where they wait, as the shard was told.
    told: BTreeSet<u64>,
    /// What each was sent and has not acknowledged: up to which index, and how many bytes.
    sent: BTreeMap<u64, VecDeque<(u64, u64)>>,
    /// For so many ticks nothing is read: the disk could not read it just now.
    pause_ticks: u32,
}

/// A part of the log that could not be read is read again after so many ticks, five seconds, if
/// nobody else leads by then.
const PAUSE_TICKS: u32 = 50;

impl<T> ReplicaGroup<T> {
    /// The places at which followers wait, that were not told yet.
    pub(crate) fn new_places(&mut self) -> Vec<u64> {
        let wanted = self.node.mut_store().take_wanted();
        if self.behind.pause_ticks > 0 {
            // Raft asks again.
            return Vec::new();
        }
        wanted.into_iter().filter(|place| self.behind.told.insert(*place)).collect()
    }

    /// The bytes that followers were sent and have not acknowledged. What was sent to one that raft
    /// begins anew with counts as lost.
    pub(crate) fn unacknowledged(&mut self) -> u64 {
        if self.behind.sent.is_empty() {
            return 0;
        }
        let leads = self.leads();
        let members = self.node.raft.prs();
        self.behind.sent.retain(|id, sent| {
            let progress =
                members.get(*id).filter(|member| leads && member.state == ProgressState::Replicate);
            let Some(progress) = progress else { return false };
            while sent.front().is_some_and(|(last, _)| *last <= progress.matched) {
                sent.pop_front();
            }
            !sent.is_empty()
        });
        self.behind.sent.values().flatten().map(|(_, bytes)| bytes).sum()
    }

    /// Time passes.
    pub(super) fn tick_behind(&mut self) {
        self.behind.pause_ticks = self.behind.pause_ticks.saturating_sub(1);
    }

    /// Whether something was sent that is not acknowledged.
    pub(super) fn awaits_acknowledgement(&self) -> bool {
        !self.behind.sent.is_empty()
    }

    /// What to read for those who wait at a place, if anybody does yet.
    pub(crate) fn read_at(&mut self, first: u64, max_bytes: u64) -> Option<CatchUpRead> {
        let end = self.log().stored_from(first).filter(|_| self.leads());
        let waits = || self.others().iter().any(|id| self.takes_from(*id) == Some(first));
        let Some(end) = end.filter(|_| waits()) else {
            self.behind.told.remove(&first);
            return None;
        };
        let start = self.log().start();
        let term_before = (first - 1 == start.index).then_some(start.term);
        let (group, term, incarnation) = (self.id(), self.node.raft.term, self.incarnation);
        Some(CatchUpRead { group, incarnation, term, first, end, term_before, max_bytes })
    }

    /// Sends followers what was read for them. `collect` must follow.
    pub(crate) fn send_stored(&mut self, caught_up: CaughtUp, out: &mut Vec<Output<T>>) {
        let CaughtUp { read, run } = caught_up;
        if read.incarnation != self.incarnation {
            return;
        }
        self.behind.told.remove(&read.first);
        if self.is_damaged || !self.leads() || self.node.raft.term != read.term {
            return;
        }
        let run = match run {
            Ok(run) => run,
            Err(error) => {
                let group = self.id();
                tracing::error!(
                    %group, %error,
                    "a follower cannot be sent what it lacks: another replica must lead"
                );
                self.behind.pause_ticks = PAUSE_TICKS;
                return out.push(Output::Damaged { group });
            }
        };
        let range = run.range();
        if range.is_empty() {
            return;
        }
        self.node.mut_store().lend(run.clone());
        for id in self.others() {
            while let Some(first) = self.takes_from(id).filter(|first| range.contains(first)) {
                self.node.raft.send_append(id);
                let Some(next) = self.takes_from(id).filter(|next| *next > first) else { break };
                let sent = run.entries.iter().filter(|entry| (first..next).contains(&entry.index));
                let bytes = sent.map(|entry| entry.data.len() as u64).sum();
                self.behind.sent.entry(id).or_default().push_back((next - 1, bytes));
            }
        }
        self.node.mut_store().take_back();
        self.ask_on(range.end);
    }

    /// Has raft ask for what follows for those who have taken all so far: else it would wait until
    /// they have acknowledged something.
    fn ask_on(&mut self, from: u64) {
        for id in self.others() {
            if self.takes_from(id) == Some(from) && self.log().stored_from(from).is_some() {
                self.node.raft.send_append(id);
            }
        }
    }

    /// From where on a member is to be sent entries, if it takes any now.
    fn takes_from(&self, id: u64) -> Option<u64> {
        let progress = self.node.raft.prs().get(id).filter(|progress| !progress.is_paused());
        progress.map(|progress| progress.next_idx)
    }
}
