//! A group's log and its readers: where reads come from, how offsets and times are found, what
//! trims, evictions and conflicts leave.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use raft::Storage;
use raft::eraftpb::{ConfState, Entry as RaftEntry};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, Offset, ReplicaId, StoredBatch, Timestamp, TimestampType,
};

use crate::engine::{Engine, GroupState, GroupWrite, StorageError, WriteBatch};
use crate::group_log::{BOOTSTRAP_INDEX, BOOTSTRAP_TERM, GroupLog, SegmentPolicy, SnapshotData};
use crate::log_view::{Cursor, ReadOutcome};
use crate::memory::MemoryEngine;
use crate::own_rows::{PRODUCER_KEY, producers_row};

const GROUP: GroupId = GroupId::FIRST_PARTITION;

struct Bench {
    engine: Arc<dyn Engine>,
    log: GroupLog,
    now: i64,
}

impl Bench {
    fn new() -> Self {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
        let (state, write) = GroupLog::bootstrap(GROUP, ReplicaId(1), &[ReplicaId(1)]);
        let log = GroupLog::begin(Arc::clone(&engine), state);
        let bench = Self { engine, log, now: 0 };
        bench.write(write);
        bench
    }

    fn write(&self, write: GroupWrite) {
        self.engine.write(&[WriteBatch { groups: vec![write], sync: true }]).unwrap();
    }

    /// Appends a batch whose records carry this time, makes it durable, and makes it readable.
    fn append(&mut self, records: u32, time: i64) {
        let entry = self.entry(self.log.last() + 1, BOOTSTRAP_TERM, records, time);
        let mut write = GroupWrite::new(GROUP);
        self.log.append(vec![entry], Timestamp(self.now), &mut write).unwrap();
        self.write(write);
        self.log.set_durable(self.log.last());
        self.log.set_high_watermark(self.log.next_offset());
    }

    fn entry(&self, index: u64, term: u64, records: u32, time: i64) -> RaftEntry {
        let times =
            RecordTimes { newest: Some(Timestamp(time)), untimed: false, shortest_ttl: None };
        let payload = [7; 100];
        let draft = BatchDraft::new(
            &payload,
            records,
            Compression::None,
            TimestampType::Create,
            times,
            None,
        );
        let data = draft.seal(self.log.next_offset(), term, index, Timestamp(self.now));
        RaftEntry { index, term, data: data.into(), ..RaftEntry::default() }
    }

    fn trim(&mut self, before: u64) -> u64 {
        let mut write = GroupWrite::new(GROUP);
        let start = self.log.trim(Offset(before), self.log.last(), &mut write).unwrap();
        self.write(write);
        start.0
    }

    fn reopened(self) -> Self {
        let state = stored(&self);
        let mut log = GroupLog::open(Arc::clone(&self.engine), state).unwrap();
        log.set_high_watermark(log.next_offset());
        Self { log, ..self }
    }

    /// The base offsets of all batches from an offset on, and whether the disk was needed.
    fn read_from(&self, offset: u64) -> (Vec<u64>, bool) {
        let reader = self.log.reader();
        let (mut cursor, mut found, mut cold) = (Cursor::at(Offset(offset)), Vec::new(), false);
        loop {
            cold |= reader.read_tail(cursor, 150).unwrap() == ReadOutcome::Cold;
            match reader.read(cursor, 150).unwrap() {
                ReadOutcome::Batches { batches, next } => {
                    found.extend(batches.iter().map(|batch| batch.header.base_offset.0));
                    cursor = next;
                }
                ReadOutcome::End => return (found, cold),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The base offset of the first batch with a record at or after a time, as an index would find
    /// it.
    fn find_time(&self, time: i64) -> Option<u64> {
        let at = |batch: &StoredBatch, from: Offset| {
            let newest = batch.header.max_timestamp;
            let offset = batch.header.base_offset.max(from);
            (newest >= Timestamp(time)).then_some((offset, newest))
        };
        self.log.reader().find_time(Timestamp(time), at).unwrap().map(|(offset, _)| offset.0)
    }
}

#[test]
fn reads_come_from_memory_until_entries_are_evicted_and_then_from_the_engine() {
    let mut bench = Bench::new();
    for _ in 0..6 {
        bench.append(10, 0);
    }
    assert_eq!(bench.read_from(25), (vec![20, 30, 40, 50], false));
    bench.log.evict(BOOTSTRAP_INDEX + 4);
    assert_eq!(bench.read_from(25), (vec![20, 30, 40, 50], true));
    assert_eq!(bench.read_from(40), (vec![40, 50], false), "the tail needs no disk");
    let bench = bench.reopened();
    assert_eq!(bench.read_from(0), (vec![0, 10, 20, 30, 40, 50], true));
}

#[test]
fn nothing_at_or_above_the_high_watermark_is_given_out() {
    let mut bench = Bench::new();
    bench.append(10, 0);
    let entry = bench.entry(bench.log.last() + 1, BOOTSTRAP_TERM, 5, 0);
    bench.log.append(vec![entry], Timestamp(0), &mut GroupWrite::new(GROUP)).unwrap();
    assert_eq!(bench.read_from(0).0, [0]);
    let reader = bench.log.reader();
    assert_eq!(reader.read(Cursor::at(Offset(10)), 1).unwrap(), ReadOutcome::End);
    assert_eq!(bench.find_time(0), Some(0));
}

/// Their places may come to hold records, which a reader that has passed them would miss.
#[test]
fn a_reader_does_not_pass_entries_without_records_that_may_be_replaced() {
    let mut bench = Bench::new();
    bench.append(10, 0);
    let first = bench.log.last() + 1;
    let noop = |index, term| RaftEntry { index, term, ..RaftEntry::default() };
    let noops = vec![noop(first, BOOTSTRAP_TERM + 1), noop(first + 1, BOOTSTRAP_TERM + 2)];
    bench.log.append(noops, Timestamp(0), &mut GroupWrite::new(GROUP)).unwrap();
    let reader = bench.log.reader();
    let read = reader.read(Cursor::at(Offset(0)), 1000).unwrap();
    let ReadOutcome::Batches { next, .. } = read else { panic!("{read:?}") };

    let (mut write, entry) = (GroupWrite::new(GROUP), bench.entry(first, BOOTSTRAP_TERM + 3, 5, 0));
    bench.log.append(vec![entry], Timestamp(0), &mut write).unwrap();
    bench.write(write);
    bench.log.set_durable(first);
    bench.log.set_high_watermark(bench.log.next_offset());
    bench.log.evict(first);
    let read = reader.read(next, 1000).unwrap();
    let ReadOutcome::Batches { batches, .. } = read else { panic!("{read:?}") };
    assert_eq!(batches[0].header.base_offset, Offset(10));
}

#[test]
fn a_reader_below_the_log_start_is_told_where_it_is() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.append(10, 0);
    }
    assert_eq!(bench.trim(15), 15);
    assert_eq!(bench.trim(3), 15, "the log start never goes back");
    let reader = bench.log.reader();
    let trimmed = ReadOutcome::Trimmed(Offset(15));
    assert_eq!(reader.read(Cursor::at(Offset(14)), 1).unwrap(), trimmed);
    assert_eq!(bench.read_from(15).0, [10, 20, 30], "the batch that holds the start stays");
    assert_eq!(bench.reopened().read_from(15).0, [10, 20, 30]);
}

#[test]
fn entries_that_others_replace_are_gone_from_memory_offsets_and_segments() {
    let mut bench = Bench::new();
    bench.log.set_policy(SegmentPolicy { max_bytes: 1, max_age: Duration::MAX });
    bench.append(10, 50);
    let first = bench.log.last() + 1;
    let lost: Vec<_> = (0..3).map(|n| bench.entry(first + n, BOOTSTRAP_TERM, 5, 90)).collect();
    bench.log.append(lost, Timestamp(0), &mut GroupWrite::new(GROUP)).unwrap();
    assert_eq!((bench.log.next_offset(), bench.log.reader().segments().len()), (Offset(25), 4));
    let mut replaced = bench.entry(first, BOOTSTRAP_TERM + 1, 7, 60);
    let draft = bench.entry(first, BOOTSTRAP_TERM + 1, 7, 60);
    replaced.data = draft.data;
    let mut write = GroupWrite::new(GROUP);
    bench.log.append(vec![replaced], Timestamp(0), &mut write).unwrap();
    assert_eq!((bench.log.next_offset(), bench.log.last()), (Offset(17), first));
    assert_eq!(bench.log.reader().segments().len(), 2);
    assert_eq!(write.append[0].meta.newest_so_far, Timestamp(60));
}

/// A replica that joins gets the members as of where its log starts, and itself: the changes in
/// between are yet to come.
#[test]
fn a_snapshot_begins_a_log_where_another_one_starts() {
    let mut bench = Bench::new();
    for _ in 0..6 {
        bench.append(10, 40);
    }
    let members = ConfState { voters: vec![1, 2], ..ConfState::default() };
    let mut write = GroupWrite::new(GROUP);
    bench.log.set_conf_state(BOOTSTRAP_INDEX + 5, members.clone(), &mut write);
    bench.write(write);
    bench.trim(35);
    let bench = bench.reopened();
    let snapshot = bench.log.snapshot(0, 3).unwrap();
    let (state, write) = GroupLog::blank(GROUP, ReplicaId(3));
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let log = GroupLog::begin(Arc::clone(&engine), state);
    let mut joined = Bench { engine, log, now: 0 };
    joined.write(write);
    let mut write = GroupWrite::new(GROUP);
    joined.log.install(&snapshot, &mut write).unwrap();
    joined.write(write);
    let mut joined = joined.reopened();
    assert_eq!(joined.log.start(), bench.log.start());
    assert_eq!(joined.log.conf_state().voters, [1]);
    assert_eq!(joined.log.conf_state().learners, [3]);
    assert_eq!(*bench.log.conf_state(), members);
    assert_eq!(joined.log.reader().bounds().start, Offset(35));
    joined.append(10, 50);
    assert_eq!(joined.read_from(35).0, [30]);
    assert_eq!(joined.log.snapshot(0, 4).unwrap().get_metadata().get_conf_state().learners, [3, 4]);
}

/// What the log has let go must be known of its producers by whoever begins where it starts.
#[test]
fn a_snapshot_waits_for_the_rows_of_producers_that_its_log_has_let_go() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.append(10, 40);
    }
    let producer = (PRODUCER_KEY.to_vec(), Some(b"known".to_vec()));
    let mut stands_at = |index| {
        bench.log.set_producers_index(index);
        let rows = vec![producer.clone(), producers_row(index)];
        GroupWrite { rows, ..GroupWrite::new(GROUP) }
    };
    let (first, second) = (stands_at(BOOTSTRAP_INDEX + 1), stands_at(BOOTSTRAP_INDEX + 2));
    bench.write(first);
    assert_eq!(bench.log.snapshot(0, 3).unwrap().get_metadata().index, BOOTSTRAP_INDEX);
    bench.trim(25);
    assert!(bench.log.snapshot(0, 3).is_err(), "the second batch is in the log no more");
    bench.write(second);
    let snapshot = SnapshotData::decode(&bench.log.snapshot(0, 3).unwrap().data).unwrap();
    let rows =
        [producer, producers_row(BOOTSTRAP_INDEX + 2)].map(|(key, value)| (key, value.unwrap()));
    assert_eq!(snapshot.rows, rows);
}

#[test]
fn segments_are_closed_by_size_and_by_age_and_survive_a_restart() {
    let mut bench = Bench::new();
    let policy = SegmentPolicy { max_bytes: 400, max_age: Duration::from_nanos(1_000) };
    bench.log.set_policy(policy);
    for number in 0..5 {
        bench.append(1, number);
    }
    bench.now = 1_000;
    bench.append(1, 9);
    let segments = bench.log.reader().segments();
    let bases: Vec<_> = segments.iter().map(|segment| segment.base_offset.0).collect();
    assert_eq!(bases, [0, 2, 4, 5], "two batches of 164 bytes fit; then the age is reached");
    assert_eq!(segments[1].max_timestamp, Timestamp(3));
    let mut bench = bench.reopened();
    assert_eq!(bench.log.reader().segments(), segments);
    bench.trim(4);
    assert_eq!(bench.log.reader().segments(), segments[2..]);
}

/// Raft-rs panics where it is told that the disk failed it.
#[test]
fn a_term_that_is_damaged_on_the_disk_is_unknown_to_raft_and_told() {
    let mut bench = Bench::new();
    let first = bench.log.last() + 1;
    let entries: Vec<_> =
        (0..3).map(|n| bench.entry(first + n, BOOTSTRAP_TERM + n, 1, 0)).collect();
    let mut write = GroupWrite::new(GROUP);
    bench.log.append(entries, Timestamp(0), &mut write).unwrap();
    bench.log.set_durable(first + 2);
    bench.log.evict(first + 2);
    let term = bench.log.term(first + 1).unwrap();
    assert_eq!(term, BOOTSTRAP_TERM + 1, "known without the disk");
    write.append.remove(1);
    write.append.remove(0);
    let state = GroupState { last: Some((first + 2, write.append[0].meta)), ..stored(&bench) };
    let mut log = GroupLog::open(Arc::clone(&bench.engine), state).unwrap();
    let unavailable = raft::Error::Store(raft::StorageError::Unavailable);
    assert_eq!(log.term(first + 1), Err(unavailable));
    assert!(
        matches!(log.take_damage(), Some(StorageError::Missing { index, .. }) if index == first + 1)
    );
    assert!(log.take_damage().is_none());
}

fn stored(bench: &Bench) -> GroupState {
    bench.engine.groups().unwrap().remove(0)
}

proptest! {
    /// Times need not be in order, and a trim may take the newest.
    #[test]
    fn a_time_is_found_where_a_scan_finds_it(
        times in prop::collection::vec(0..20i64, 1..40),
        trim in prop::option::of(0..40u64),
        evicted in any::<bool>(),
        wanted in 0..22i64,
    ) {
        let mut bench = Bench::new();
        for time in &times {
            bench.append(1, *time);
        }
        if evicted {
            bench.log.evict(bench.log.last());
        }
        let start = trim.map_or(0, |before| bench.trim(before));
        let scan = (0..).zip(&times).find(|(at, time)| *at >= start && **time >= wanted);
        prop_assert_eq!(bench.find_time(wanted), scan.map(|(at, _)| at));
        prop_assert_eq!(bench.reopened().find_time(wanted), scan.map(|(at, _)| at));
    }
}
