//! What goes to other replicas, and when; and what comes from them.
//!
//! A leader's own messages go out at once, while its disk still writes (Ongaro's thesis, 10.2.1).
//! Whatever promises something, a vote or that entries are kept, waits until it is durable.

use std::collections::BTreeSet;

use raft::eraftpb::{Message as RaftMessage, MessageType};
use ropewalk_core::{NodeId, ReplicaId};

use super::{MAX_BYTES_PER_MESSAGE, ReplicaGroup};
use crate::message::{Message, MessageKind};
use crate::planted::Plant;
use crate::shard::Output;
use crate::wire::{from_raft, to_raft};

/// With so many messages that wait for the disk, a replica answers no heartbeat and no question for
/// its vote, which come again, and asks for no votes itself.
const MAX_UNSENT_MESSAGES: usize = 256;

impl<T> ReplicaGroup<T> {
    /// Takes a message of another replica. `collect` must follow.
    pub(crate) fn receive(
        &mut self,
        message: Message,
        reached: &BTreeSet<NodeId>,
        out: &mut Vec<Output<T>>,
    ) {
        let is_for_me = message.to == self.log().replica() && message.from != message.to;
        if self.is_damaged || !is_for_me {
            return;
        }
        let is_repeated = matches!(
            message.kind,
            MessageKind::Heartbeat | MessageKind::PreVote | MessageKind::Vote
        );
        if is_repeated && self.has_much_to_say() {
            return;
        }
        if self.lacks_what_it_said(&message) {
            return self.stop_as_damaged(out);
        }
        if self.sleeps_on(&message, reached, out) {
            return;
        }
        // To stand for election while entries are on their way to the disk would end in a panic
        // of raft-rs where this is the only voter.
        if message.kind == MessageKind::TimeoutNow && self.awaits_disk() {
            return;
        }
        if let Some(mut message) = to_raft(message) {
            let is_ack = message.get_msg_type() == MessageType::MsgAppendResponse;
            if is_ack && Plant::LearnerCounts.is_planted() {
                self.take_for_voter(&message);
            }
            let asks_for_vote = matches!(
                message.get_msg_type(),
                MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
            );
            if asks_for_vote && Plant::VoteForAnyone.is_planted() {
                (message.index, message.log_term) = (u64::MAX, u64::MAX);
            }
            // What raft refuses comes from a replica that is no member any more.
            let _ = self.node.step(message);
            self.set_timeout();
        }
    }

    /// Whether so much waits for the disk that more of it is worth nothing: while that stands
    /// still, each heartbeat would add an answer.
    pub(super) fn has_much_to_say(&self) -> bool {
        self.held.len() + self.node.raft.msgs.len() >= MAX_UNSENT_MESSAGES
    }

    /// The bug of [`Plant::LearnerCounts`]: what a learner says, a voter has said too.
    fn take_for_voter(&mut self, message: &RaftMessage) {
        let members = self.log().conf_state();
        let other = members.voters.iter().find(|voter| **voter != self.node.raft.id);
        if let Some(other) = other.filter(|_| members.learners.contains(&message.from)) {
            let taken = RaftMessage { from: *other, ..message.clone() };
            // It is of no other term than the learner's own answer, which raft judges next.
            let _ = self.node.step(taken);
        }
    }

    /// A connection to or from a broker has ended. Returns whether that matters to the group.
    pub(crate) fn on_unreachable(&mut self, broker: NodeId) -> bool {
        let slept = self.is_asleep();
        self.wake_without(broker);
        self.on_lost(broker) || slept != self.is_asleep()
    }

    /// What was sent to a broker lately is lost.
    pub(crate) fn on_lost(&mut self, broker: NodeId) -> bool {
        if self.is_damaged || !self.leads() {
            return false;
        }
        let ids = self.node.raft.prs().iter().map(|(id, _)| *id);
        let mut lost: Vec<u64> = ids.filter(|id| ReplicaId(*id).node() == broker).collect();
        lost.sort_unstable();
        lost.retain(|id| *id != self.log().replica().0);
        let awaited = self.awaits_acknowledgement();
        for id in lost {
            self.lose_sent(id);
        }
        self.sent_snapshots.lose(broker, &mut self.node);
        self.node.has_ready() || awaited
    }

    /// Whether somebody counts on entries that this replica does not have: its disk has lost what
    /// it had said to be durable. Raft-rs panics there.
    fn lacks_what_it_said(&self, message: &Message) -> bool {
        let raft = &self.node.raft;
        let last = raft.raft_log.last_index();
        match message.kind {
            MessageKind::Heartbeat => message.term >= raft.term && message.commit > last,
            MessageKind::AppendResponse => {
                let is_ack = !message.reject && message.term == raft.term;
                self.leads() && is_ack && message.index > last
            }
            _ => false,
        }
    }

    fn stop_as_damaged(&mut self, out: &mut Vec<Output<T>>) {
        let group = self.id();
        let replica = self.log().replica();
        tracing::error!(
            %group, %replica,
            "this broker lacks entries that it had said to be durable: the replica takes no \
             further part, and must be replaced by a new one"
        );
        self.is_damaged = true;
        if self.leads() {
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, raft::INVALID_ID);
        }
        self.held.clear();
        out.push(Output::Damaged { group });
    }

    /// Sends raft's messages, or keeps them until what they promise is durable.
    pub(super) fn route(
        &mut self,
        messages: Vec<RaftMessage>,
        leads: bool,
        out: &mut Vec<Output<T>>,
    ) {
        let is_free =
            self.newest_sync <= self.durable_ready || Plant::PromiseBeforeSync.is_planted();
        let term_is_durable = self.durable_term == self.node.raft.term;
        let mut at_once = Vec::new();
        for message in messages {
            // Raft-rs calls everything a leader's message that was there when it became the leader.
            let of_leader = leads
                && message.term == self.node.raft.term
                && matches!(
                    message.get_msg_type(),
                    MessageType::MsgAppend
                        | MessageType::MsgHeartbeat
                        | MessageType::MsgSnapshot
                        | MessageType::MsgTimeoutNow
                );
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.sent_snapshots.note(message.to);
            }
            // The only voter of a group leads before its disk knows of the term.
            if is_free || (of_leader && term_is_durable) {
                at_once.push(message);
            } else {
                self.held.push_back((self.newest_sync, message));
            }
        }
        for message in join(at_once) {
            self.send(message, out);
        }
    }

    /// Sends what waited for the disk.
    pub(super) fn release(&mut self, out: &mut Vec<Output<T>>) {
        let mut released = Vec::new();
        while self.held.front().is_some_and(|(ready, _)| *ready <= self.durable_ready) {
            released.extend(self.held.pop_front().map(|(_, message)| message));
        }
        for message in join(released) {
            self.send(message, out);
        }
    }

    fn send(&self, message: RaftMessage, out: &mut Vec<Output<T>>) {
        out.extend(from_raft(self.id(), message).map(Output::Send));
    }
}

/// Joins appends that follow one another. Raft makes one for each proposal; its own `batch_append`
/// puts entries into an append of another place.
fn join(messages: Vec<RaftMessage>) -> Vec<RaftMessage> {
    let mut joined: Vec<(RaftMessage, u64)> = Vec::with_capacity(messages.len());
    for mut message in messages {
        let bytes: u64 = message.entries.iter().map(|entry| entry.data.len() as u64).sum();
        let before = joined.iter_mut().rev().find(|(before, _)| before.to == message.to);
        match before {
            Some((before, total))
                if follows(before, &message) && *total + bytes <= MAX_BYTES_PER_MESSAGE =>
            {
                *total += bytes;
                before.commit = message.commit;
                for entry in message.take_entries() {
                    before.mut_entries().push(entry);
                }
            }
            _ => joined.push((message, bytes)),
        }
    }
    joined.into_iter().map(|(message, _)| message).collect()
}

fn follows(before: &RaftMessage, message: &RaftMessage) -> bool {
    let are_appends = [before, message].iter().all(|m| m.get_msg_type() == MessageType::MsgAppend);
    let end = before.entries.last().map_or((before.index, before.log_term), |e| (e.index, e.term));
    are_appends && before.term == message.term && end == (message.index, message.log_term)
}
