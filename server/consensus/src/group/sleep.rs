//! Groups in which nothing happens sleep: raft's clock stands still for them, and nothing is sent.
//!
//! The idea is CockroachDB's quiescence and TiKV's hibernation. A leader whose members all have its
//! log and its commit index, and have said so since anything last happened, sends each of them the
//! *mark*, a heartbeat with [`Message::quiesce`], and ticks no more. A follower that agrees with
//! the mark (same leader, term, last index and commit index, all of it durable) does not answer and
//! ticks no more either. Whatever happens to a sleeping replica wakes it: a proposal or a read; any
//! message but the mark and late answers to heartbeats; and the end of a connection, in either
//! direction, between its broker and its leader's, or one of its followers'.
//!
//! # Why it is safe
//!
//! To sleep is to get no ticks, and only that: raft keeps its promises whatever its clocks do. A
//! clock decides when a replica stands for election and when a leader gives up, and nothing else
//! here counts on it; reads ask a majority each time (`reads.rs`) rather than trust a lease. A
//! leader that sleeps while others have chosen a new one is no more than a leader that is slow:
//! what it is asked wakes it, and it can neither commit nor confirm a read without a majority.
//!
//! # Why a group without a leader wakes
//!
//! Say that follower F sleeps, and L is the leader of term T that it follows. F took L's mark, so
//! at that time connections led from L's broker to F's, by which the mark came, and back: the shard
//! takes no mark while a broker cannot be reached. From then on:
//! - When L's process ends, or L's broker or the network dies, one of the connections ends and F
//!   wakes. The end of the one that the mark came by is told after all that came by it, so that an
//!   old mark cannot come after the news.
//! - Else L's replica still runs. If it sleeps, it leads T: all is well. Were it asleep as the
//!   follower of a later leader, that one would have F's answer of its own term, and F a newer
//!   term.
//! - If it is awake and leads, F gets a heartbeat within [`HEARTBEAT_TICKS`], and wakes with it.
//! - If it is awake and does not lead, it stands for election or hears of who leads, and both wake
//!   F: an election by its question, a new leader by its first append.
//! - If it is removed while it leads, it says goodbye by a plain heartbeat ([`take_leave`]).
//!
//! A message that is lost while both connections stand could leave F asleep; and nobody should have
//! to believe the above. So the shard looks at each sleeping replica now and then ([`look_in`]): a
//! leader wakes, and its heartbeats with it; a follower wakes when several looks have passed
//! without a word of its leader.
//!
//! A leader that is cut off sees its own connections end: it wakes, finds no quorum, and steps down
//! as ever. It sleeps only while all members can be reached, so that a group that lacks one stays
//! awake.
//!
//! # Why it does not disturb
//!
//! A follower that misses the mark hears no more heartbeats and asks for votes. The leader's own
//! lease refuses it, and so does that of a sleeping follower, as no time passes for it; but the
//! question wakes the leader, whose next heartbeat calls the follower back. No term is spent, as
//! raft asks before it does (pre-vote). A follower that does not agree with a mark says so, which
//! wakes the leader.
//!
//! [`Message::quiesce`]: crate::message::Message::quiesce
//! [`take_leave`]: ReplicaGroup::take_leave
//! [`look_in`]: ReplicaGroup::look_in
//! [`HEARTBEAT_TICKS`]: super::HEARTBEAT_TICKS

use std::collections::BTreeSet;

use bytes::Bytes;
use raft::{INVALID_INDEX, ProgressState, StateRole};
use ropewalk_core::{NodeId, ReplicaId};

use super::ReplicaGroup;
use crate::message::{Message, MessageKind};
use crate::shard::Output;

/// A leader sleeps after so many ticks in which nothing happened: two election timeouts, so that
/// each member has answered anew since.
const QUIET_TICKS: u32 = 20;
/// A follower wakes when it was looked at so often in one sleep. Its leader wakes at each look, so
/// that the follower is woken by it long before.
const LOOKS_IN_VAIN: u8 = 3;

/// Whether a replica sleeps, or how near it is to that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sleep {
    is_asleep: bool,
    /// Ticks since something happened.
    quiet_ticks: u32,
    /// How often it was looked at in this sleep.
    looks: u8,
}

impl<T> ReplicaGroup<T> {
    /// Whether it gets no ticks until something happens to it.
    pub(crate) fn is_asleep(&self) -> bool {
        self.sleep.is_asleep
    }

    /// Something happens.
    pub(super) fn wake(&mut self) {
        self.sleep = Sleep::default();
    }

    /// A message has come. Returns whether it was the mark, and this replica sleeps now.
    pub(super) fn sleeps_on(
        &mut self,
        message: &Message,
        reached: &BTreeSet<NodeId>,
        out: &mut Vec<Output<T>>,
    ) -> bool {
        let is_mark = message.quiesce && message.kind == MessageKind::Heartbeat;
        if is_mark && self.agrees(message, reached) {
            self.sleep = Sleep { is_asleep: true, ..Sleep::default() };
            // The leader was there just now.
            self.node.raft.election_elapsed = 0;
            return true;
        }
        // Heartbeats were answered all the time that nothing happened.
        let is_echo = message.kind == MessageKind::HeartbeatResponse
            && !message.quiesce
            && message.term == self.node.raft.term;
        if !(is_echo && self.leads()) {
            self.wake();
        }
        if is_mark && message.term == self.node.raft.term {
            let refusal = self.beat(MessageKind::HeartbeatResponse, message.from.0, true);
            out.push(Output::Send(refusal));
        }
        false
    }

    /// Whether this replica has all that the leader had when it sent the mark, and would learn of
    /// the leader's end.
    fn agrees(&self, mark: &Message, reached: &BTreeSet<NodeId>) -> bool {
        let raft = &self.node.raft;
        let follows = raft.state == StateRole::Follower
            && (raft.term, raft.leader_id) == (mark.term, mark.from.0);
        let last = raft.raft_log.last_index();
        follows
            && (mark.index, mark.commit) == (last, last)
            && reached.contains(&mark.from.node())
            && self.is_settled()
    }

    /// Whether everything in the log is on the disk, committed and applied, and nothing is under
    /// way.
    fn is_settled(&self) -> bool {
        let (raft, log) = (&self.node.raft, &self.node.raft.raft_log);
        let last = log.last_index();
        [log.committed, log.persisted, self.applied] == [last; 3]
            && self.durable_term == raft.term
            && raft.pending_request_snapshot == INVALID_INDEX
            && self.held.is_empty()
            && self.unconfirmed.is_empty()
            && self.waiters.is_empty()
            && self.reads.is_empty()
            && !self.node.has_ready()
    }

    /// A tick has passed: puts the group to sleep if nothing has happened for long.
    pub(super) fn tire(&mut self, reached: &BTreeSet<NodeId>, out: &mut Vec<Output<T>>) {
        self.sleep.quiet_ticks = self.sleep.quiet_ticks.saturating_add(1);
        if self.sleep.quiet_ticks < QUIET_TICKS || !self.may_sleep(reached) {
            return;
        }
        for member in self.others() {
            out.push(Output::Send(self.beat(MessageKind::Heartbeat, member, true)));
        }
        self.sleep = Sleep { is_asleep: true, ..Sleep::default() };
    }

    /// Whether this replica leads and owes nothing to anybody.
    fn may_sleep(&self, reached: &BTreeSet<NodeId>) -> bool {
        let raft = &self.node.raft;
        let last = raft.raft_log.last_index();
        let is_idle = self.leads()
            && self.serving == Some(raft.term)
            && raft.lead_transferee.is_none()
            && !raft.has_pending_conf()
            && self.is_settled();
        is_idle
            && raft.prs().iter().filter(|(id, _)| **id != raft.id).all(|(id, member)| {
                (member.matched, member.committed_index) == (last, last)
                    && member.recent_active
                    && member.state != ProgressState::Snapshot
                    && reached.contains(&ReplicaId(*id).node())
            })
    }

    /// A connection to or from a broker has ended.
    pub(super) fn wake_without(&mut self, broker: NodeId) {
        let raft = &self.node.raft;
        let counts_on_it = if self.leads() {
            raft.prs().iter().any(|(id, _)| ReplicaId(*id).node() == broker)
        } else {
            ReplicaId(raft.leader_id).node() == broker
        };
        if counts_on_it {
            self.wake();
        }
    }

    /// The shard looks at each of its replicas in turn. Returns whether this one has slept long
    /// enough.
    pub(crate) fn look_in(&mut self) -> bool {
        if !self.sleep.is_asleep {
            return false;
        }
        self.sleep.looks += 1;
        let is_due = self.leads() || self.sleep.looks >= LOOKS_IN_VAIN;
        if is_due {
            self.wake();
        }
        is_due
    }

    /// This replica is removed. Those that sleep and count on it are to choose somebody else.
    pub(crate) fn take_leave(&self, out: &mut Vec<Output<T>>) {
        if self.leads() && self.durable_term == self.node.raft.term {
            for member in self.others() {
                out.push(Output::Send(self.beat(MessageKind::Heartbeat, member, false)));
            }
        }
    }

    /// The other members, by id.
    pub(super) fn others(&self) -> Vec<u64> {
        let raft = &self.node.raft;
        let ids = raft.prs().iter().map(|(id, _)| *id);
        let mut others: Vec<u64> = ids.filter(|id| *id != raft.id).collect();
        others.sort_unstable();
        others
    }

    /// A heartbeat, or the answer to one, beside those that raft sends itself.
    fn beat(&self, kind: MessageKind, to: u64, quiesce: bool) -> Message {
        let raft = &self.node.raft;
        let matched = raft.prs().get(to).map_or(0, |member| member.matched);
        let commit = match kind {
            // Never more than the receiver is known to have.
            MessageKind::Heartbeat => raft.raft_log.committed.min(matched),
            _ => raft.raft_log.committed,
        };
        Message {
            group: self.id(),
            from: ReplicaId(raft.id),
            to: ReplicaId(to),
            kind,
            term: raft.term,
            index: if quiesce { raft.raft_log.last_index() } else { 0 },
            log_term: 0,
            commit,
            commit_term: 0,
            reject: false,
            reject_hint: 0,
            request_snapshot: 0,
            priority: 0,
            context: Bytes::new(),
            quiesce,
            entries: Vec::new(),
            snapshot: None,
        }
    }
}
