//! Followers that lack entries which are not in memory: where they wait, and what they are sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::{Progress, ProgressState};
use ropewalk_storage::StorageError;

use super::{ELECTION_TICKS, ReplicaGroup};
use crate::catch_up::{CatchUpRead, CaughtUp};
use crate::shard::Output;

/// What is under way for followers that are behind.
#[derive(Default)]
pub(super) struct Behind {
    /// Where they wait, as the shard was told.
    told: BTreeSet<u64>,
    /// What each was sent and has not acknowledged.
    sent: BTreeMap<u64, Sent>,
    /// For so many ticks nothing is read: the disk could not read it just now.
    pause_ticks: u32,
}

/// What a member was sent from the disk and has not acknowledged.
#[derive(Default)]
struct Sent {
    /// Up to which index, and how many bytes, in the order in which it was sent.
    runs: VecDeque<(u64, u64)>,
    /// Where the only run begins while raft probes where the member's log ends: it is not sent
    /// again from there, as raft would at each heartbeat, before it has counted as lost.
    probed_from: Option<u64>,
    /// What the member had when this last moved, and for how many ticks it has not.
    matched: u64,
    idle_ticks: usize,
}

/// A part of the log that could not be read is read again after so many ticks, five seconds, if
/// nobody else leads by then.
const PAUSE_TICKS: u32 = 50;
/// What was sent counts as lost when the member has taken nothing for so many ticks. Not every loss
/// is told: a broker whose disk is full drops entries and answers heartbeats, and a replica that
/// was replaced answers nothing. Without the bound, what such a one was sent would be kept from all
/// other followers for ever.
const PATIENCE_TICKS: usize = 2 * ELECTION_TICKS;

impl Sent {
    /// Forgets what was acknowledged. Returns whether there is more. What was sent to a member that
    /// raft begins anew with counts as lost.
    fn is_under_way(&mut self, member: &Progress) -> bool {
        let counts = match member.state {
            ProgressState::Replicate => {
                self.probed_from = None;
                true
            }
            ProgressState::Probe => self.probed_from == Some(member.next_idx),
            ProgressState::Snapshot => false,
        };
        while self.runs.front().is_some_and(|(last, _)| *last <= member.matched) {
            self.runs.pop_front();
        }
        counts && !self.runs.is_empty()
    }

    /// Time passes. Returns whether the member has taken nothing for too long.
    fn tick(&mut self, matched: u64) -> bool {
        let has_moved = matched != self.matched;
        self.matched = matched;
        self.idle_ticks = if has_moved { 0 } else { self.idle_ticks + 1 };
        self.idle_ticks >= PATIENCE_TICKS
    }
}

impl<T> ReplicaGroup<T> {
    /// The places at which followers wait, that were not told yet.
    pub(crate) fn new_places(&mut self, out: &mut Vec<Output<T>>) -> Vec<u64> {
        let wanted = self.node.mut_store().take_wanted();
        let damage = self.node.mut_store().take_damage();
        if self.behind.pause_ticks > 0 {
            // Raft asks again.
            return Vec::new();
        }
        if let Some(error) = damage {
            self.cannot_read(&error, out);
        }
        wanted.into_iter().filter(|place| self.behind.told.insert(*place)).collect()
    }

    /// The bytes that followers were sent and have not acknowledged.
    pub(crate) fn unacknowledged(&mut self) -> u64 {
        if self.behind.sent.is_empty() {
            return 0;
        }
        let leads = self.leads();
        let members = self.node.raft.prs();
        self.behind.sent.retain(|id, sent| {
            members.get(*id).is_some_and(|member| leads && sent.is_under_way(member))
        });
        let runs = self.behind.sent.values().flat_map(|sent| &sent.runs);
        runs.map(|(_, bytes)| bytes).sum()
    }

    /// Time passes. Returns whether something counts as lost from now on.
    pub(super) fn tick_behind(&mut self) -> bool {
        self.behind.pause_ticks = self.behind.pause_ticks.saturating_sub(1);
        // What has just been acknowledged is not lost.
        self.unacknowledged();
        let members = self.node.raft.prs();
        let mut lost = Vec::new();
        for (id, sent) in &mut self.behind.sent {
            if sent.tick(members.get(*id).map_or(0, |member| member.matched)) {
                lost.push(*id);
            }
        }
        for id in &lost {
            self.lose_sent(*id);
        }
        !lost.is_empty()
    }

    /// What a member was sent is lost: raft begins anew with it.
    pub(super) fn lose_sent(&mut self, id: u64) {
        self.behind.sent.remove(&id);
        self.node.report_unreachable(id);
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
            Err(error) => return self.cannot_read(&error, out),
        };
        let range = run.range();
        if range.is_empty() {
            return;
        }
        // What was sent before may count as lost by now.
        self.unacknowledged();
        self.node.mut_store().lend(run);
        for id in self.others() {
            while let Some(first) = self.takes_from(id).filter(|first| range.contains(first)) {
                if !self.send_lent(id, first, range.end) {
                    break;
                }
            }
        }
        self.node.mut_store().take_back();
        self.ask_on(range.end);
    }

    /// Has raft send a member what was lent, and counts what is below `end`. Returns whether raft
    /// did.
    fn send_lent(&mut self, id: u64, first: u64, end: u64) -> bool {
        let place = self.node.raft.msgs.len();
        self.node.raft.send_append(id);
        let Some(message) = self.node.raft.msgs.get(place) else { return false };
        let Some(last) = message.entries.last().map(|entry| entry.index) else { return false };
        let lent = message.entries.iter().filter(|entry| entry.index < end);
        let bytes = lent.map(|entry| entry.data.len() as u64).sum();
        let Some(member) = self.node.raft.prs().get(id) else { return false };
        let probed_from = (member.state == ProgressState::Probe).then_some(first);
        let matched = member.matched;
        let new = || Sent { matched, ..Sent::default() };
        let sent = self.behind.sent.entry(id).or_insert_with(new);
        sent.probed_from = probed_from;
        sent.runs.push_back((last, bytes));
        true
    }

    /// Something could not be read. Where it is damaged, only another replica can lead.
    pub(super) fn cannot_read(&mut self, error: &StorageError, out: &mut Vec<Output<T>>) {
        let group = self.id();
        self.behind.pause_ticks = PAUSE_TICKS;
        if !error.is_damage() {
            tracing::warn!(
                %group, %error,
                "a follower cannot be sent what it lacks just now: it is read again in five seconds"
            );
            return;
        }
        tracing::error!(
            %group, %error,
            "a part of the log on this broker's disk is damaged: another replica must lead"
        );
        out.push(Output::Damaged { group });
        if self.serving.is_none() && self.leads() {
            // Nobody can have it hand over, and what cannot be read here may be what keeps its
            // first entry from being committed: it would lead for ever, and never serve.
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, raft::INVALID_ID);
            self.set_timeout();
            self.note_role(out);
        }
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
        let progress = self.node.raft.prs().get(id).filter(|progress| !progress.is_paused())?;
        // Before it serves, a leader may not know of all that was let go before this one joined.
        if self.serving.is_none() && self.log().conf_state().learners.contains(&id) {
            return None;
        }
        let is_probe = progress.state == ProgressState::Probe;
        let probed = self.behind.sent.get(&id).and_then(|sent| sent.probed_from);
        (!is_probe || probed != Some(progress.next_idx)).then_some(progress.next_idx)
    }
}
