//! Compaction of a partition's log: ordered by its leader, carried out by somebody else.

use ropewalk_core::Timestamp;
use ropewalk_core::compaction::CleanUp;
use ropewalk_core::entry::Entry;
use ropewalk_storage::compaction::{Compacted, Order};
use ropewalk_storage::{GroupWrite, StorageError};

use super::ReplicaGroup;
use crate::planted::Plant;
use crate::shard::Output;

/// A compaction that a replica is to carry out, and that replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionOrder {
    /// What is to be done.
    pub order: Order,
    incarnation: u64,
}

impl<T> ReplicaGroup<T> {
    /// Orders that what stands in the log is compacted, if this replica leads and nothing that was
    /// ordered is left to do here. `wanted` says what goes by its age; where it goes is decided
    /// here. With `is_by_age` there is nothing to do but that. Returns whether it was ordered.
    pub(crate) fn order_compaction(&mut self, wanted: CleanUp, is_by_age: bool) -> bool {
        let raft = &self.node.raft;
        let leads = self.serving == Some(raft.term) && raft.lead_transferee.is_none();
        let state = self.log().compaction();
        if !leads || state.pending().is_some() {
            return false;
        }
        // What goes by its age must be known to every member, or one that has an older record and
        // never meets the newer one keeps it. Who joins later copies only from replicas that have
        // carried out all that was ordered (`CompactionState::letting_go_below`), so it must be
        // certain who the members are.
        let matched = raft.prs().iter().map(|(_, member)| member.matched).min().unwrap_or(0);
        let mut lasting_from = if raft.has_pending_conf() { 0 } else { matched + 1 };
        if Plant::ForgetTombstones.is_planted() {
            lasting_from = u64::MAX;
        }
        if is_by_age && state.ordered.is_none_or(|before| lasting_from <= before.index) {
            return false;
        }
        self.wake();
        let tombstones_below = wanted.tombstones_below.min(lasting_from);
        let clean_up = CleanUp { tombstones_below, lasting_from, ..wanted };
        let before = state.ordered.map_or(CleanUp::NONE, |before| before.clean_up);
        let data = Entry::encode_compact(&clean_up.max(before));
        // Where raft has no room for it, it is wanted again.
        self.node.propose(Vec::new(), data).is_ok()
    }

    /// A compaction was carried out here, or met damage: this replica must be replaced then.
    pub(crate) fn on_compacted(
        &mut self,
        ordered: CompactionOrder,
        done: Result<Compacted, StorageError>,
        now: Timestamp,
        write: &mut GroupWrite,
        out: &mut Vec<Output<T>>,
    ) {
        if ordered.incarnation != self.incarnation {
            return;
        }
        match done {
            Ok(done) => {
                // A key may be gone, and its version with it. Otherwise versions stay: they are
                // those of records that did.
                if self.node.mut_store().compacted(done, now, write) {
                    self.keys.forget();
                }
            }
            Err(error) => self.cannot_read(&error, out),
        }
    }

    /// Says what is to be compacted, if anything is.
    pub(super) fn tell_compaction(&mut self, out: &mut Vec<Output<T>>) {
        // Who reads keys beside a compaction could meet a value before it goes, and miss the
        // tombstone that went with it.
        if self.has_unread_keys() {
            self.keys.forget();
        }
        let state = self.log().compaction();
        if state.is_stale {
            out.push(Output::Stale { group: self.id() });
        }
        let Some(order) = state.pending() else { return };
        let order = CompactionOrder { order, incarnation: self.incarnation };
        out.push(Output::Compact { group: self.id(), order, reader: self.reader() });
    }
}
