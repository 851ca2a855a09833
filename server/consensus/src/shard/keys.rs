//! Conditional appends that wait until the keys of their partition are read.

use ropewalk_core::{GroupId, Timestamp};

use super::{Output, Shard};
use crate::key_reads::KeysRead;
use crate::proposal::{Expected, Proposal, ProposalKind, ProposeError};

impl<T> Shard<T> {
    /// A conditional append comes before the keys of its partition are known.
    pub(super) fn wait_for_keys(
        &mut self,
        group: GroupId,
        proposal: Proposal<T>,
        out: &mut Vec<Output<T>>,
    ) {
        let bytes = match &proposal.kind {
            ProposalKind::Batch { draft, expected, .. } => {
                let key = expected.as_deref().map_or(0, Expected::key_bytes);
                draft.len() + draft.keys_bytes() + key
            }
            _ => 0,
        };
        let now = self.key_room.time();
        if let Some(refused) = self.keyed.wait(now, group, proposal, bytes) {
            let result = Err(ProposeError::Overloaded);
            out.push(Output::Reply { to: refused.reply, result });
        }
    }

    /// Has keys read, as far as the bounds allow.
    pub(super) fn read_keys(&mut self, out: &mut Vec<Output<T>>) {
        for group in self.keyed.turns() {
            let Some(read) = self.groups.get_mut(&group).and_then(|found| found.next_key_read())
            else {
                // What is to be read may not be committed yet.
                continue;
            };
            out.push(Output::ReadKeys(read));
            if !self.keyed.began(group) {
                return;
            }
        }
    }

    pub(super) fn note_keys(&mut self, now: Timestamp, read: KeysRead, out: &mut Vec<Output<T>>) {
        self.keyed.ended();
        let group = read.group;
        if let Some(replica) = self.groups.get_mut(&group) {
            replica.note_keys_read(read, out);
        }
        self.go_on(now, group, out);
    }

    /// Time passes for what is known of keys, and for those who wait for it.
    pub(super) fn tick_keys(&mut self, now: Timestamp, out: &mut Vec<Output<T>>) {
        for late in self.keyed.take_late(self.key_room.time()) {
            out.push(Output::Reply { to: late.reply, result: Err(ProposeError::KeysUnread) });
        }
        for group in self.keyed.groups() {
            if let Some(replica) = self.groups.get_mut(&group) {
                replica.tick_keys();
            }
            self.go_on(now, group, out);
        }
    }

    /// Lets those go on who wait for the keys of a group, unless there is more to read.
    fn go_on(&mut self, now: Timestamp, group: GroupId, out: &mut Vec<Output<T>>) {
        let replica = self.groups.get(&group);
        if replica.is_some_and(|replica| replica.has_unread_keys()) {
            return;
        }
        self.keyed.is_read(group);
        for proposal in self.keyed.take(group) {
            self.propose(now, group, proposal, out);
        }
        if !self.groups.get(&group).is_some_and(|replica| replica.knows_keys()) {
            self.keyed.forget(group);
        }
    }

    /// The group goes: nobody gets to know its keys any more.
    pub(super) fn fail_awaiting(&mut self, group: GroupId, out: &mut Vec<Output<T>>) {
        self.keyed.forget(group);
        for proposal in self.keyed.take(group) {
            out.push(Output::Reply { to: proposal.reply, result: Err(ProposeError::NoGroup) });
        }
    }
}
