//! A group's log as raft-rs wants to read it.

use bytes::Bytes;
use raft::eraftpb::{Entry as RaftEntry, EntryType, Snapshot};
use raft::{
    Error as RaftError, GetEntriesContext, RaftState, Storage, StorageError as RaftStorageError,
};
use ropewalk_core::ReplicaId;

use super::GroupLog;
use crate::engine::{EntryMeta, StorageError};

fn raft_entry(index: u64, meta: &EntryMeta, data: Bytes) -> RaftEntry {
    let entry_type = match meta.entry_type {
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => EntryType::EntryNormal,
    };
    RaftEntry { entry_type, term: meta.term, index, data, ..RaftEntry::default() }
}

pub(super) fn unavailable(error: StorageError) -> RaftError {
    RaftError::Store(RaftStorageError::Other(Box::new(error)))
}

impl Storage for GroupLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.members.newest().clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<RaftEntry>> {
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        if low <= self.start().index {
            return Err(RaftError::Store(RaftStorageError::Compacted));
        }
        // Only followers are read for so. Raft asks again.
        if context.can_async() && low < self.compaction().letting_go_below() {
            return Err(RaftError::Store(RaftStorageError::LogTemporarilyUnavailable));
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut take = |index, meta: &EntryMeta, data: Bytes| {
            bytes += data.len() as u64;
            let fits = bytes <= max_bytes || entries.is_empty();
            if fits {
                entries.push(raft_entry(index, meta, data));
            }
            fits
        };
        let tail_start = self.view.lock().tail.first_index().unwrap_or(u64::MAX);
        let mut next = low;
        if low < tail_start {
            let stored = if context.can_async() {
                // A follower lacks it: the shard does not wait for the disk.
                let lent = self.behind.lent_or_wanted(low);
                lent.ok_or(RaftError::Store(RaftStorageError::LogTemporarilyUnavailable))?
            } else {
                let stored = self.engine.entries(self.group, low..high.min(tail_start), max_bytes);
                stored.map_err(unavailable)?
            };
            for entry in stored.into_iter().take_while(|entry| entry.index < high) {
                if entry.index != next || !take(entry.index, &entry.meta, entry.data) {
                    return Ok(entries);
                }
                next += 1;
            }
        }
        let view = self.view.lock();
        for entry in view.tail.starting_at(next).take_while(|entry| entry.index < high) {
            if entry.index != next || !take(entry.index, &entry.meta, entry.data.clone()) {
                break;
            }
            next += 1;
        }
        if entries.is_empty() && low < high {
            return Err(RaftError::Store(RaftStorageError::Unavailable));
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let start = self.start();
        if index < start.index {
            return Err(RaftError::Store(RaftStorageError::Compacted));
        }
        if index == start.index {
            return Ok(start.term);
        }
        if index > self.last() {
            return Err(RaftError::Store(RaftStorageError::Unavailable));
        }
        if let Some(term) = self.term_in_memory(index) {
            return Ok(term);
        }
        // Only a leader asks for those before the last committed one, when it is refused the
        // entries after it or looks for where a follower's log parts from its own: there it goes on
        // with the place that the follower named. A shard does not wait for the disk for that.
        let unknown = RaftError::Store(RaftStorageError::Unavailable);
        if index < self.hard_state.commit {
            return Err(unknown);
        }
        match self.meta(index) {
            Ok(meta) => Ok(meta.term),
            // Raft-rs panics at any other error, at each start anew.
            Err(error) if error.is_damage() => {
                self.behind.note_damage(error);
                Err(unknown)
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start().index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        self.snapshot_for(request_index, ReplicaId(to))
    }
}
