//! Reads that must not miss what was answered before they were asked: raft's ReadIndex (Ongaro's
//! thesis, 6.4).
//!
//! The leader notes its commit index, asks a majority whether it still leads, and answers once it
//! has applied that far. Reads that come while one such round is under way share the next.

use std::any::Any;

use raft::{RawNode, ReadState};
use ropewalk_storage::group_log::GroupLog;

use crate::proposal::{ProposeError, Receipt};
use crate::shard::Output;

/// The most reads of one group that wait.
pub(super) const MAX_WAITING: usize = 4_096;

/// What is asked.
pub(super) enum Question {
    /// Of the state machine.
    Machine(Vec<u8>),
    /// Where the log starts and ends.
    Bounds,
    /// None: a condition does not hold, which is to be told when the entries that say so, up to an
    /// index, are applied.
    Refused {
        /// What is told.
        error: ProposeError,
        /// The last index.
        after: u64,
    },
}

impl Question {
    /// The index that must be applied before it is answered.
    fn after(&self) -> u64 {
        match self {
            Self::Refused { after, .. } => *after,
            Self::Machine(_) | Self::Bounds => 0,
        }
    }
}

struct Read<T> {
    question: Question,
    reply: T,
    _held: Box<dyn Any + Send>,
}

/// The reads of one group that wait.
pub(super) struct Reads<T> {
    /// They wait for the next round.
    queued: Vec<Read<T>>,
    /// They wait for the round that is under way.
    asked: Vec<Read<T>>,
    /// Their round has ended, and they wait for entries that were on their way.
    late: Vec<Read<T>>,
    /// The index to which the round that has ended applies.
    confirmed: Option<u64>,
    /// The number of the last round.
    round: u64,
}

impl<T> Reads<T> {
    pub(super) fn new() -> Self {
        Self { queued: Vec::new(), asked: Vec::new(), late: Vec::new(), confirmed: None, round: 0 }
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.asked.is_empty() && self.late.is_empty()
    }

    /// Takes a read, if there is room.
    pub(super) fn push(
        &mut self,
        question: Question,
        reply: T,
        held: Box<dyn Any + Send>,
        out: &mut Vec<Output<T>>,
    ) {
        if self.queued.len() + self.asked.len() + self.late.len() >= MAX_WAITING {
            return out.push(Output::Reply { to: reply, result: Err(ProposeError::Overloaded) });
        }
        self.queued.push(Read { question, reply, _held: held });
    }

    /// Begins a round for what waits, unless one is under way.
    pub(super) fn ask(&mut self, node: &mut RawNode<GroupLog>) {
        if self.asked.is_empty() && !self.queued.is_empty() {
            self.asked = std::mem::take(&mut self.queued);
            self.round += 1;
            node.read_index(self.round.to_be_bytes().to_vec());
        }
    }

    /// Raft says that a round has ended.
    pub(super) fn confirm(&mut self, state: &ReadState) {
        if !self.asked.is_empty() && state.request_ctx == self.round.to_be_bytes() {
            self.confirmed = Some(state.index);
        }
    }

    /// Answers the reads of a round that has ended, once everything that they must see is applied.
    pub(super) fn answer(
        &mut self,
        applied: u64,
        out: &mut Vec<Output<T>>,
        find: impl Fn(&Question) -> Result<Receipt, ProposeError>,
    ) {
        if self.confirmed.is_some_and(|index| index <= applied) {
            self.confirmed = None;
            self.late.append(&mut self.asked);
        }
        for read in self.late.extract_if(.., |read| read.question.after() <= applied) {
            out.push(Output::Reply { to: read.reply, result: find(&read.question) });
        }
    }

    /// This replica does not lead any more: somebody else may know better.
    pub(super) fn fail(&mut self, out: &mut Vec<Output<T>>) {
        self.confirmed = None;
        let waiting = self.late.drain(..).chain(self.asked.drain(..)).chain(self.queued.drain(..));
        for read in waiting {
            out.push(Output::Reply { to: read.reply, result: Err(ProposeError::NoLeader) });
        }
    }
}
