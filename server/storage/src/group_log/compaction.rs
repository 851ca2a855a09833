//! What was ordered to be compacted, and how much of it this replica has done.

use ropewalk_core::Timestamp;
use ropewalk_core::compaction::CleanUp;

use super::GroupLog;
use crate::compaction::{Compacted, CompactionState, Order};
use crate::engine::{GroupWrite, Result, StorageError};
use crate::own_rows::{COMPACTION_KEY, compaction_row, compaction_state};

impl GroupLog {
    /// How far the compaction of this log is.
    #[must_use]
    pub fn compaction(&self) -> CompactionState {
        self.view.lock().compaction
    }

    /// The entry at an index orders a compaction of what stands before it, which includes what
    /// earlier ones have ordered. Returns the order.
    pub fn order_compaction(
        &mut self,
        index: u64,
        clean_up: CleanUp,
        write: &mut GroupWrite,
    ) -> Order {
        let mut state = self.compaction();
        let before = state.ordered.map_or(CleanUp::NONE, |before| before.clean_up);
        let order = Order { index, clean_up: clean_up.max(before) };
        state.ordered = Some(order);
        // One that joins begins as a member, by its snapshot. One that was moved away and back goes
        // on with what it had, and nobody waited for it meanwhile.
        let (own, members) = (self.replica.0, self.conf_state());
        let is_member = members.voters.contains(&own) || members.learners.contains(&own);
        state.is_stale |= !is_member && order.clean_up != before;
        self.set_compaction(state, write);
        order
    }

    /// This replica has carried out an order. It counts unless the log has begun anew meanwhile.
    /// Returns whether keys may have gone since an order was carried out last, as opposed to older
    /// records of keys that are still there.
    pub fn compacted(&mut self, done: Compacted, now: Timestamp, write: &mut GroupWrite) -> bool {
        let mut state = self.compaction();
        let is_known = state.ordered.is_some_and(|ordered| ordered.index >= done.order.index);
        let is_news = state.done.is_none_or(|before| before.order.index <= done.order.index);
        if is_known && is_news {
            state.note_done(done, now);
            self.set_compaction(state, write);
            // Memory has what was there before: readers would never see that anything is gone.
            self.drop_to((done.order.index - 1).min(self.durable_index));
        }
        std::mem::take(&mut self.view.lock().has_ended_keys)
    }

    fn set_compaction(&self, state: CompactionState, write: &mut GroupWrite) {
        write.rows.push(compaction_row(&state));
        self.view.lock().compaction = state;
    }

    pub(super) fn load_compaction(&self) -> Result<()> {
        let rows = self.engine.rows(self.group, COMPACTION_KEY)?;
        let refused =
            |error| StorageError::Refused(format!("replica group {}: {error}", self.group));
        self.view.lock().compaction = compaction_state(&rows).map_err(refused)?;
        Ok(())
    }
}
