//! Logs are compacted, each replica's at its own pace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ropewalk_consensus::Input;
use ropewalk_core::NodeId;
use ropewalk_core::compaction::CleanUp;
use ropewalk_core::records::facts;
use ropewalk_storage::StorageError;
use ropewalk_storage::compaction::{Compaction, CompactionBounds, CompactionState, Order};
use ropewalk_storage::log_view::{Cursor, LogReader, ReadOutcome};

use super::{Cluster, LOG};
use crate::checks::Kept;
use crate::moments::Moment;

impl Cluster {
    /// Whoever leads the partition is to have it compacted, if it is this broker. With tombstones
    /// those records count as such whose own time is over.
    pub fn order_compaction(&mut self, node: NodeId, with_tombstones: bool, is_by_age: bool) {
        let mut wanted = CleanUp::NONE;
        if let Some(reader) = self.see(node).readers.get(&LOG).filter(|_| with_tombstones) {
            wanted.tombstones_below =
                reader.compaction().tombstones_below(self.now(), Duration::ZERO);
            wanted.ended_before = self.now();
        }
        self.step(node, vec![Input::OrderCompaction(LOG, wanted, is_by_age)]);
    }

    /// A broker carries out what was ordered of its replica of the partition, up to so many reads
    /// of the disk. Returns whether nothing is left to do.
    pub fn compact(&mut self, node: NodeId, reads: u64) -> bool {
        let broker = self.at(node);
        if !broker.is_up() || broker.is_still || broker.is_disk_still {
            return false;
        }
        let Some((order, reader)) = broker.compactions.get(&LOG).cloned() else { return true };
        // Of a disk that fails, or has turned, there may be less to see.
        let takes_tombstones = order.order.clean_up.tombstones_below > 0;
        let before = takes_tombstones.then(|| records_of(&reader).ok()).flatten();
        let state = reader.compaction();
        let mut left = reads;
        let mut pace = |_| {
            left = left.saturating_sub(1);
            left > 0
        };
        let bounds = CompactionBounds { read_bytes: 500, map_bytes: 16 * 10, merged_bytes: 4_000 };
        let ended = Compaction::new(&reader, order.order, bounds, &mut pace).run();
        let broker = self.at(node);
        broker.store.keep_rewritten(LOG);
        match ended {
            Ok(Some(done)) => {
                broker.compactions.remove(&LOG);
                self.moments.note(Moment::CompactionDone);
                if let (Some(before), Ok(left)) = (before, records_of(&reader)) {
                    tombstones_go_alone(&before, &left, &order.order, &state);
                }
                self.step(node, vec![Input::Compacted(LOG, order, Ok(done))]);
                true
            }
            Ok(None) => {
                self.moments.note(Moment::CompactionCutShort);
                false
            }
            Err(error) if error.is_damage() && self.see(node).is_rotten => {
                self.at(node).compactions.remove(&LOG);
                self.step(node, vec![Input::Compacted(LOG, order, Err(error))]);
                false
            }
            Err(error) => {
                self.fail(node, &error);
                false
            }
        }
    }

    /// Every record that can be read at a broker, with its offset.
    #[must_use]
    pub fn records(&self, node: NodeId) -> Vec<(u64, Kept)> {
        records_of(&self.see(node).readers[&LOG]).unwrap()
    }
}

/// Every record that can be read of a log, with its offset.
fn records_of(reader: &LogReader) -> Result<Vec<(u64, Kept)>, StorageError> {
    let start = reader.bounds().start;
    let mut cursor = Cursor::at(start);
    let mut found = Vec::new();
    while let ReadOutcome::Batches { batches, next } = reader.read(cursor, 64)? {
        cursor = next;
        for batch in &batches {
            let all = 0..batch.header.record_count;
            let positions = batch.positions().map_or(all.collect(), Iterator::collect);
            let positions: Vec<u32> = positions;
            let records = batch.records();
            for (position, record) in positions.into_iter().zip(facts(&records)) {
                let offset = batch.header.base_offset.0 + u64::from(position);
                if offset >= start.0 {
                    found.push((offset, Kept::of(&batch.header, &record, &records)));
                }
            }
        }
    }
    Ok(found)
}

/// A tombstone goes only where what it ends went with an earlier order: who reads there, and has
/// met that, has time to meet the tombstone. One that was away gets several orders at once.
fn tombstones_go_alone(
    before: &[(u64, Kept)],
    left: &[(u64, Kept)],
    order: &Order,
    state: &CompactionState,
) {
    if state.done.map_or(0, |done| done.order.index) < order.clean_up.tombstones_below {
        return;
    }
    let left: BTreeSet<u64> = left.iter().map(|(offset, _)| *offset).collect();
    let last: BTreeMap<u8, u64> = before.iter().map(|(at, record)| (record.key, *at)).collect();
    for (offset, record) in before {
        let end = last[&record.key];
        let stays = end == *offset || left.contains(&end) || left.contains(offset);
        assert!(stays, "a tombstone goes at {end} with what it ends at {offset}");
    }
}
