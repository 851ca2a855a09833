//! What compaction means for the versions of keys, over one replica.

use bytes::Bytes;
use ropewalk_core::compaction::CleanUp;
use ropewalk_storage::compaction::{Compaction, CompactionBounds};

use super::*;

const GROUP: GroupId = GroupId::FIRST_PARTITION;

/// An append of one record, with a value or none, if its key has this version.
fn set(key: &str, has_value: bool, version: Option<u64>) -> ProposalKind {
    let mut record = [&[0x0a, key.len() as u8], key.as_bytes()].concat();
    if has_value {
        record.extend([0x1a, 1, b'v']);
    }
    let payload = [&[0x0a, record.len() as u8], record.as_slice()].concat();
    let times = RecordTimes { newest: None, untimed: true, shortest_ttl: None };
    let create = TimestampType::Create;
    let mut draft = BatchDraft::new(&payload, 1, Compression::None, create, times, None);
    draft.find_keys();
    let key = Bytes::copy_from_slice(key.as_bytes());
    let expected = Some(Box::new(Expected::Version { key, version: version.map(Offset) }));
    ProposalKind::Batch { draft, expected, durability: Durability::Quorum, epoch: None }
}

impl Bench {
    /// Has the log compacted, by as many tries as it takes when each gets one read further than the
    /// one before.
    fn compact(&mut self, clean_up: CleanUp) {
        self.step(Input::OrderCompaction(GROUP, clean_up, false));
        self.settle();
        let (group, order, reader) = self.compactions.pop_front().expect("it was ordered");
        let bounds = CompactionBounds { read_bytes: 1, map_bytes: 1 << 10, merged_bytes: 0 };
        let done = (1..).find_map(|reads| {
            let mut left = reads;
            let mut pace = |_| {
                left -= 1;
                left > 0
            };
            Compaction::new(&reader, order.order, bounds, &mut pace).run().unwrap()
        });
        self.step(Input::Compacted(group, order, Ok(done.expect("it ends"))));
        self.settle();
    }

    /// Whether an append is carried out, with the keys that are known; if they are.
    fn sets(&mut self, id: u32, kind: ProposalKind) -> Option<End> {
        self.propose(GROUP, id, kind);
        self.settle();
        self.ends.iter().find(|(of, _)| *of == id).map(|(_, end)| end.clone())
    }
}

fn appended(base: u64) -> Option<End> {
    Some(End::Appended { base, records: 1, achieved: Durability::Quorum })
}

#[test]
fn versions_are_read_again_only_after_a_compaction_by_which_a_key_went() {
    let mut bench = Bench::serving(GROUP);
    assert_eq!(bench.sets(1, set("a", true, None)), appended(0));
    assert_eq!(bench.sets(2, set("a", true, Some(0))), appended(1));
    assert_eq!(bench.sets(3, set("b", true, None)), appended(2));
    assert_eq!(bench.sets(4, set("b", false, Some(2))), appended(3));
    bench.compact(CleanUp::NONE);
    assert_eq!(bench.sets(5, set("a", true, Some(1))), appended(4));
    assert_eq!(bench.sets(6, set("b", false, Some(3))), appended(5));
    let order = bench.reader(GROUP).compaction().done.unwrap().order;
    // The last tombstone of the key comes after what is let go.
    bench.compact(CleanUp { tombstones_below: order.index, ..CleanUp::NONE });
    assert_eq!(bench.sets(7, set("b", false, Some(5))), appended(6));
    let tombstones_below = bench.reader(GROUP).compaction().done.unwrap().order.index;
    bench.compact(CleanUp { tombstones_below, ..CleanUp::NONE });
    let tombstones_below = bench.reader(GROUP).compaction().done.unwrap().order.index;
    bench.compact(CleanUp { tombstones_below, ..CleanUp::NONE });
    assert!(bench.key_reads.is_empty(), "nothing that they are about went before");

    assert_eq!(bench.sets(8, set("b", true, Some(6))), None, "now it did");
    while let Some(read) = bench.key_reads.pop_front() {
        bench.step(Input::KeysRead(read.carry_out()));
    }
    bench.settle();
    let none = ProposeError::ExpectedVersion { current: None };
    assert!(bench.ends.contains(&(8, End::Failed(none))), "{:?}", bench.ends);
}
