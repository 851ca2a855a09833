//! Snapshots: what comes in replaces everything; what went out may have been lost.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::Snapshot;
use raft::{ProgressState, RawNode, SnapshotStatus};
use ropewalk_core::NodeId;
use ropewalk_core::ReplicaId;
use ropewalk_storage::group_log::GroupLog;
use ropewalk_storage::own_rows::{APPLIED_KEY, PRODUCER_KEY, applied_index, applied_row, is_own};
use ropewalk_storage::{GroupWrite, StorageError};

use super::ReplicaGroup;
use crate::machine::Row;
use crate::shard::Output;
use crate::wire::members_of;

/// A snapshot that was not answered for this many ticks is sent again.
const PATIENCE_TICKS: u32 = 30;
/// This many keys of rows are remembered before those that are on the disk are forgotten.
const TRAIL_KEYS: usize = 1_024;

/// Snapshots that were sent and not answered, with the ticks since then. Raft sends a replica
/// nothing more until it is told how its snapshot fared.
#[derive(Default)]
pub(super) struct SentSnapshots(BTreeMap<u64, u32>);

impl SentSnapshots {
    pub(super) fn note(&mut self, to: u64) {
        self.0.insert(to, 0);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Time passes: what has waited too long counts as lost.
    pub(super) fn tick(&mut self, node: &mut RawNode<GroupLog>) {
        self.0.retain(|to, ticks| {
            *ticks += 1;
            if !awaits_snapshot(node, *to) {
                return false;
            }
            let is_lost = *ticks >= PATIENCE_TICKS;
            if is_lost {
                node.report_snapshot(*to, SnapshotStatus::Failure);
            }
            !is_lost
        });
    }

    /// What was sent to a broker that cannot be reached is lost.
    pub(super) fn lose(&mut self, broker: NodeId, node: &mut RawNode<GroupLog>) {
        self.0.retain(|to, _| {
            let is_lost = ReplicaId(*to).node() == broker;
            if is_lost && awaits_snapshot(node, *to) {
                node.report_snapshot(*to, SnapshotStatus::Failure);
            }
            !is_lost
        });
    }
}

fn awaits_snapshot(node: &RawNode<GroupLog>, to: u64) -> bool {
    node.raft.prs().get(to).is_some_and(|progress| progress.state == ProgressState::Snapshot)
}

/// The keys of rows that were given out to be written and that the engine may not have yet.
#[derive(Default)]
pub(super) struct RowTrail {
    keys: VecDeque<(u64, Vec<u8>)>,
    limit: usize,
}

impl RowTrail {
    /// The entry at `index` changed these rows.
    pub(super) fn note(
        &mut self,
        index: u64,
        rows: &[Row],
        log: &GroupLog,
    ) -> Result<(), StorageError> {
        self.keys.extend(rows.iter().map(|(key, _)| (index, key.clone())));
        if self.keys.len() > self.limit.max(TRAIL_KEYS) {
            let stored = log.engine_rows(APPLIED_KEY)?;
            let written = applied_index(&stored).ok().flatten().unwrap_or(0);
            while self.keys.front().is_some_and(|(index, _)| *index <= written) {
                self.keys.pop_front();
            }
            self.limit = 2 * self.keys.len();
        }
        Ok(())
    }
}

impl<T> ReplicaGroup<T> {
    /// Begins anew as a snapshot says.
    pub(super) fn install(
        &mut self,
        snapshot: &Snapshot,
        write: &mut GroupWrite,
        out: &mut Vec<Output<T>>,
    ) -> Result<(), StorageError> {
        let group = self.id();
        let data = self.node.mut_store().install(snapshot, write)?;
        self.pending.clear();
        self.forget_unconfirmed(0);
        self.applied = data.start.index;
        self.members_since = self.applied;
        if let Some(machine) = &mut self.machine {
            let mut gone: Vec<Vec<u8>> =
                self.node.store().engine_rows(&[])?.into_iter().map(|(key, _)| key).collect();
            gone.extend(self.trail.keys.drain(..).map(|(_, key)| key));
            // The later of two changes of a row counts.
            write.rows.extend(gone.into_iter().filter(|key| !is_own(key)).map(|key| (key, None)));
            let put = data.rows.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
            write.rows.extend(put);
            write.rows.push(applied_row(self.applied));
            self.trail.keys.extend(data.rows.iter().map(|(key, _)| (self.applied, key.clone())));
            machine.restore(self.applied, data.rows).map_err(|error| {
                StorageError::Refused(format!(
                    "replica group {group} cannot take up a snapshot, which may be of a later \
                     version than this broker's: {error}"
                ))
            })?;
            self.node.mut_store().set_rows_index(self.applied);
        } else {
            let stored = self.node.store().engine_rows(PRODUCER_KEY)?;
            self.sequences.install(group, stored, &data.rows, write)?;
            self.producers_stand();
        }
        let high_watermark = self.reader().bounds().high_watermark;
        out.push(Output::Progress { group, high_watermark });
        self.tell_members(out);
        Ok(())
    }

    pub(super) fn tell_members(&self, out: &mut Vec<Output<T>>) {
        let (voters, learners) = members_of(self.log().conf_state());
        out.push(Output::Members { group: self.id(), voters, learners });
    }
}
