//! The state from which a replica can go on with appends: where the log starts, who the members
//! are, and the rows of the state machine, or those of a partition's idempotent producers. The
//! records of a partition are no part of it.

use raft::eraftpb::Snapshot;
use raft::{Error as RaftError, StorageError as RaftStorageError};
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{Offset, ReplicaId, Timestamp};

use super::raft_storage::unavailable;
use super::{GroupLog, facts_at};
use crate::compaction::CompactionState;
use crate::engine::{GroupWrite, LogStart, Result, StorageError};
use crate::own_rows::{COMPACTION_KEY, PRODUCER_KEY, applied_index, is_own, producers_index};

const VERSION: u8 = 1;

/// What raft carries in a snapshot beside the index, the term and the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotData {
    /// Where the log of the receiver starts.
    pub start: LogStart,
    /// The rows of the state machine, as of the start's index; or those of the producers of a
    /// partition, which say themselves as of which entry they are: it may be a later one.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl SnapshotData {
    /// The form in which raft carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let LogStart { index, term, offset, base_offset, newest_gone } = self.start;
        let mut writer = Writer::versioned(VERSION);
        writer.u64(index).u64(term).u64(offset.0).u64(base_offset.0).i64(newest_gone.0);
        for (key, value) in &self.rows {
            writer.bytes(key).bytes(value);
        }
        writer.finish()
    }

    /// Reads what `encode` wrote.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::versioned(bytes, VERSION, "snapshot")?;
        let start = LogStart {
            index: reader.u64()?,
            term: reader.u64()?,
            offset: Offset(reader.u64()?),
            base_offset: Offset(reader.u64()?),
            newest_gone: Timestamp(reader.i64()?),
        };
        let mut rows = Vec::new();
        while !reader.is_done() {
            rows.push((reader.bytes()?.to_vec(), reader.bytes()?.to_vec()));
        }
        Ok(Self { start, rows })
    }
}

impl GroupLog {
    /// The group keeps rows of a state machine, which stand at this index: they are part of its
    /// snapshots.
    pub fn set_rows_index(&mut self, index: u64) {
        self.rows_index = Some(index);
    }

    /// The rows of the partition's producers stand at this index: they are part of its snapshots.
    pub fn set_producers_index(&mut self, index: u64) {
        self.producers_index = index;
    }

    /// The rows of this group that the engine has and whose key begins with `prefix`. Those that
    /// are on their way to it are not among them.
    pub fn engine_rows(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.engine.rows(self.group, prefix)
    }

    /// A snapshot for a replica. Reads the rows from the engine.
    pub(super) fn snapshot_for(&self, request_index: u64, to: ReplicaId) -> raft::Result<Snapshot> {
        let later = || RaftError::Store(RaftStorageError::SnapshotTemporarilyUnavailable);
        if self.compaction().letting_go_below() > 0 {
            return Err(later());
        }
        let mut start = self.start();
        let mut rows;
        if let Some(newest) = self.rows_index {
            rows = self.engine.rows(self.group, &[]).map_err(unavailable)?;
            // Rows may still be on their way to the disk, and the log be compacted already by what
            // they hold. What is compacted after the last row held no command.
            let found = applied_index(&rows).map_err(|_| later())?.unwrap_or(0);
            if found < newest && found < start.index {
                return Err(later());
            }
            if found > start.index {
                start.index = found;
                start.term = match self.term_in_memory(found) {
                    Some(term) => term,
                    None => self.meta(found).map_err(unavailable)?.term,
                };
            }
            rows.retain(|(key, _)| !is_own(key));
        } else {
            rows = self.engine.rows(self.group, PRODUCER_KEY).map_err(unavailable)?;
            // The same: what is after the log's start its receiver notes itself. What is later than
            // all of this group is of a log that is about to be replaced.
            let found = producers_index(&rows).map_err(|_| later())?.unwrap_or(0);
            let newest = self.producers_index;
            if found > newest || (found < newest && found < start.index) {
                return Err(later());
            }
        }
        if request_index > start.index {
            return Err(later());
        }
        let mut members = self.members.at(start.index).clone();
        // Raft-rs takes a snapshot only where the receiver is a member. To be one that does not
        // vote makes no difference to anybody, and the change that adds it is yet to come.
        if !members.voters.contains(&to.0) && !members.learners.contains(&to.0) {
            members.learners.push(to.0);
        }
        let data = SnapshotData { start, rows }.encode().into();
        let mut snapshot = Snapshot { data, ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        metadata.set_conf_state(members);
        metadata.index = start.index;
        metadata.term = start.term;
        Ok(snapshot)
    }

    /// Begins anew where a snapshot says: the log goes, and so do the members as they were known.
    /// Returns what the snapshot holds; its rows are the caller's to write.
    pub fn install(&mut self, snapshot: &Snapshot, write: &mut GroupWrite) -> Result<SnapshotData> {
        let data = SnapshotData::decode(&snapshot.data)
            .map_err(|error| StorageError::Refused(format!("group {}: {error}", self.group)))?;
        let members = snapshot.get_metadata().get_conf_state().clone();
        write.append.clear();
        write.start = Some(data.start);
        write.conf_state = Some(members.clone());
        self.members.replace(members, &mut write.rows);
        write.rows.push((COMPACTION_KEY.to_vec(), None));
        self.last = facts_at(&data.start);
        self.durable_index = data.start.index;
        self.before_tail = (data.start.index, data.start.term);
        self.terms.begin_after(data.start.index, data.start.term);
        let mut view = self.view.lock();
        view.start = data.start;
        view.last_index = data.start.index;
        view.high_watermark = view.high_watermark.max(data.start.base_offset);
        view.segments.clear();
        view.compaction = CompactionState::default();
        view.tail.drop_to(u64::MAX);
        drop(view);
        Ok(data)
    }
}
