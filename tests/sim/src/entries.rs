//! Log matching: two logs that have an entry of the same index and term have the same entry there,
//! and the same ones before it (Ongaro's thesis, 3.5).

use std::collections::BTreeMap;

use ropewalk_core::{BatchHeader, Compression, GroupId, NodeId, StoredBatch, Timestamp};
use ropewalk_storage::{GroupWrite, LogEntry};

/// An entry, and the term of the one before it where that is known.
struct Known {
    sum: u32,
    before: Option<u64>,
}

/// All entries that any broker has written, and what each has at each index.
#[derive(Default)]
pub struct Entries {
    known: BTreeMap<(GroupId, u64, u64), Known>,
    logs: BTreeMap<(NodeId, GroupId), BTreeMap<u64, u64>>,
}

impl Entries {
    /// A broker writes. Returns whether that replaces entries.
    pub fn written(&mut self, node: NodeId, write: &GroupWrite) -> bool {
        let log = self.logs.entry((node, write.group)).or_default();
        if write.delete || write.create.is_some() || write.start.is_some() {
            // Where a log starts anew, what stands before its entries is not known.
            log.clear();
        }
        let Some(first) = write.append.first() else { return false };
        let replaced = log.split_off(&first.index);
        for entry in &write.append {
            let before = log.get(&(entry.index - 1)).copied();
            let known = Known { sum: sum(entry), before };
            let place = (write.group, entry.index, entry.meta.term);
            match self.known.get_mut(&place) {
                Some(other) => {
                    assert_eq!(other.sum, known.sum, "two entries at {place:?}, one of {node}");
                    if let (Some(one), Some(two)) = (other.before, before) {
                        assert_eq!(one, two, "the logs before {place:?} differ, one of {node}");
                    }
                    other.before = other.before.or(before);
                }
                None => {
                    self.known.insert(place, known);
                }
            }
            log.insert(entry.index, entry.meta.term);
        }
        !replaced.is_empty()
    }

    /// A broker begins anew: what it has of what it wrote is not known.
    pub fn forget(&mut self, node: NodeId) {
        self.logs.retain(|(of, _), _| *of != node);
    }
}

/// A batch from which compaction has taken records is the same entry.
fn sum(entry: &LogEntry) -> u32 {
    if let Ok(batch) = StoredBatch::trusted(&entry.data) {
        let produced = batch.header.produced_crc();
        let whole = BatchHeader {
            payload_bytes: 0,
            payload_crc: produced,
            max_timestamp: Timestamp::MIN,
            compression: Compression::None,
            remains: None,
            shortest_ttl: None,
            ..batch.header
        };
        let mut bytes = vec![0; whole.stored_len()];
        whole.write(&mut bytes);
        return crc32c::crc32c(&bytes);
    }
    crc32c::crc32c_append(crc32c::crc32c(&[entry.meta.entry_type]), &entry.data)
}
