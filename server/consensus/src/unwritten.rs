//! What leaders have sent and the disk does not have yet.
//!
//! While the writes are full, appends go into the groups all the same, as their answers must wait
//! for the disk anyway. Raft bounds what is under way to a replica, not to a broker: with a disk
//! that stands still, hundreds of groups would hold a gigabyte. So a shard takes no more than a
//! bound, and drops what comes then. Leaders learn of it by what follows: an append, be it an empty
//! one after a heartbeat, that does not fit the log is refused with the place where to go on.

use std::collections::VecDeque;

use ropewalk_core::limits::MAX_UNWRITTEN_BYTES;

use crate::message::{Message, MessageKind};

/// The bytes of appends in one shard that are not durable.
#[derive(Default)]
pub(crate) struct Unwritten {
    /// What is to be part of the next write.
    gathered: usize,
    /// What each write on its way has, oldest first.
    writes: VecDeque<(u64, usize)>,
    /// The sum of both.
    bytes: usize,
    /// Something was dropped since there was nothing.
    is_full: bool,
}

impl Unwritten {
    /// Whether a message may be taken. Counts it if so.
    pub(crate) fn admits(&mut self, message: &Message) -> bool {
        if message.kind != MessageKind::Append || message.entries.is_empty() {
            return true;
        }
        let size = message.size();
        if self.bytes + size > MAX_UNWRITTEN_BYTES {
            if !self.is_full {
                tracing::warn!(
                    waiting = self.bytes,
                    "the disk does not keep up with what leaders send: entries are dropped until \
                     it does, and sent again"
                );
            }
            self.is_full = true;
            return false;
        }
        self.gathered += size;
        self.bytes += size;
        true
    }

    /// What was gathered leaves with this write.
    pub(crate) fn hand_out(&mut self, number: u64) {
        if self.gathered > 0 {
            self.writes.push_back((number, std::mem::take(&mut self.gathered)));
        }
    }

    /// Nothing of what was gathered is to be written.
    pub(crate) fn forget_gathered(&mut self) {
        self.bytes -= std::mem::take(&mut self.gathered);
    }

    /// The write of this number, and all before it, are on the disk.
    pub(crate) fn become_durable(&mut self, number: u64) {
        while let Some((_, bytes)) = self.writes.pop_front_if(|(first, _)| *first <= number) {
            self.bytes -= bytes;
        }
        self.is_full &= self.bytes > 0;
    }
}
