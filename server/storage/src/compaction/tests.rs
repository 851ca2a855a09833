//! Logs that are compacted while they grow, are trimmed, and lose their power at any moment, beside
//! a model that knows every record that was ever appended.
//!
//! At any moment, and whatever was cut short: what can be read was appended, in the order of its
//! offsets; the last record of each key that can be read is the last one that was appended, or it
//! was a tombstone, or past its time, and then none of the key can be read any more. After a
//! compaction that came to its end exactly that is left which its order says. And who reads the log
//! in less time than tombstones stay knows at its end which keys are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use raft::eraftpb::{Entry as RaftEntry, HardState};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::entry::Entry;
use ropewalk_core::records;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, Offset, ReplicaId, StoredBatch, Timestamp, TimestampType,
};

use super::*;
use crate::disk_engine::sim::Machine;
use crate::engine::{Engine, GroupWrite, WriteBatch};
use crate::group_log::{BOOTSTRAP_TERM, GroupLog};
use crate::log_view::{Cursor, ReadOutcome};
use crate::memory::MemoryEngine;

const GROUP: GroupId = GroupId::FIRST_PARTITION;
/// So long tombstones stay after what they ended went. A step takes 10 ns.
const RETENTION: Duration = Duration::from_nanos(80);

/// What happens to a log.
#[derive(Clone, Debug)]
enum Step {
    /// Records are appended: the number of the key, and whether there is a value.
    Append(Vec<(u8, bool)>),
    /// What stands in the log is to be compacted. All records that were appended in the first so
    /// much of a hundred of its time go, and what a replica has that has so much of the log.
    Order { expired: u8, lasting: u8 },
    /// The order is carried out, up to so many steps. After some of them so much of a hundred of
    /// the log goes.
    Compact { steps: u16, trim: Option<(u16, u8)> },
    /// So much of a hundred of the log goes. It may be written only with what comes next, and
    /// never where the power goes first.
    Trim { percent: u8, is_late: bool },
    /// Who reads the log from its start reads so many parts of it.
    Read(u8),
    /// The engine does its work.
    Reclaim,
    /// The power goes.
    Crash,
    /// The broker starts again.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0..10_u8, prop::bool::weighted(0.7));
    let percent = || prop_oneof![2 => Just(0_u8), 1 => 0..120_u8];
    let step = prop_oneof![
        8 => prop::collection::vec(record, 1..8).prop_map(Step::Append),
        3 => (percent(), prop_oneof![1 => Just(100), 1 => percent()])
            .prop_map(|(expired, lasting)| Step::Order { expired, lasting }),
        3 => (1..10_u8).prop_map(Step::Read),
        4 => (
            prop_oneof![2 => Just(u16::MAX), 1 => 0..30_u16],
            prop::option::weighted(0.3, (0..30_u16, 0..100_u8)),
        )
            .prop_map(|(steps, trim)| Step::Compact { steps, trim }),
        1 => (0..60_u8, any::<bool>())
            .prop_map(|(percent, is_late)| Step::Trim { percent, is_late }),
        2 => Just(Step::Reclaim),
        1 => Just(Step::Crash),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

/// A record that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    index: u64,
    append_time: Timestamp,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// One that takes its time to read a log from its start, and since when.
struct Slow {
    since: i64,
    cursor: Cursor,
    /// The last record of each key so far.
    found: BTreeMap<Vec<u8>, u64>,
}

/// Where a log is kept, and what becomes of that.
enum Place {
    Memory(MemoryEngine),
    Disk(Machine),
}

impl Place {
    fn start(&mut self) -> Arc<dyn Engine> {
        match self {
            Self::Memory(engine) => Arc::new(engine.reopened()),
            Self::Disk(machine) => Arc::new(machine.start().unwrap()),
        }
    }
}

struct Bench {
    place: Place,
    engine: Arc<dyn Engine>,
    log: GroupLog,
    now: i64,
    known: BTreeMap<u64, Known>,
    /// Trims that are not written yet, and what they have taken.
    late: Vec<GroupWrite>,
    taken: BTreeMap<u64, Known>,
    /// What ended keys, by orders that were applied.
    clean_up: CleanUp,
    slow: Option<Slow>,
}

impl Bench {
    fn new(mut place: Place) -> Self {
        let engine = place.start();
        let (state, write) = GroupLog::bootstrap(GROUP, ReplicaId(1), &[ReplicaId(1)]);
        let log = GroupLog::begin(Arc::clone(&engine), state);
        let mut bench = Self {
            place,
            engine,
            log,
            now: 0,
            known: BTreeMap::new(),
            late: Vec::new(),
            taken: BTreeMap::new(),
            clean_up: CleanUp::NONE,
            slow: None,
        };
        bench.write(write);
        bench
    }

    fn write(&mut self, write: GroupWrite) {
        let mut groups = std::mem::take(&mut self.late);
        groups.push(write);
        self.engine.write(&[WriteBatch { groups, sync: true }]).unwrap();
        self.taken.clear();
    }

    /// Appends an entry, durably, and commits it.
    fn append(&mut self, data: Vec<u8>, also: impl FnOnce(&mut GroupLog, u64, &mut GroupWrite)) {
        let (index, term) = (self.log.last() + 1, BOOTSTRAP_TERM);
        let entry = RaftEntry { index, term, data: data.into(), ..RaftEntry::default() };
        let commit = HardState { term, commit: index, ..HardState::default() };
        let mut write = GroupWrite { hard_state: Some(commit), ..GroupWrite::new(GROUP) };
        self.log.append(vec![entry], Timestamp(self.now), &mut write).unwrap();
        also(&mut self.log, index, &mut write);
        self.write(write);
        self.log.set_durable(index);
        self.log.set_high_watermark(self.log.next_offset());
        self.log.evict(index);
    }

    fn produce(&mut self, records: &[(u8, bool)]) {
        let (mut payload, base) = (Vec::new(), self.log.next_offset().0);
        let (index, append_time) = (self.log.last() + 1, Timestamp(self.now));
        for (offset, (key, has_value)) in (base..).zip(records) {
            // Of different sizes, and of bytes that no codec makes small.
            let key = vec![b'k', *key];
            let byte = |at: u64| ((at.wrapping_mul(0x9e37_79b9) >> 13) ^ (offset * 7)) as u8;
            let value = has_value.then(|| (0..10 + offset % 90).map(byte).collect::<Vec<u8>>());
            let mut body = [&[0x0a, key.len() as u8], key.as_slice()].concat();
            if let Some(value) = &value {
                body.extend_from_slice(&[0x1a, value.len() as u8]);
                body.extend_from_slice(value);
            }
            payload.extend_from_slice(&[0x0a, body.len() as u8]);
            payload.extend_from_slice(&body);
            self.known.insert(offset, Known { index, append_time, key, value });
        }
        let codec = if base % 3 == 0 { Compression::Lz4 } else { Compression::None };
        let payload = ropewalk_core::compress::compress(codec, &payload);
        let times = RecordTimes { newest: None, untimed: true, shortest_ttl: None };
        let (count, of) = (records.len() as u32, TimestampType::Create);
        let draft = BatchDraft::new(&payload, count, codec, of, times, None);
        let sealed = draft.seal(Offset(base), BOOTSTRAP_TERM, index, append_time);
        self.append(sealed, |_, _, _| {});
    }

    fn order(&mut self, expired: u8, lasting: u8) {
        let lasting_from = self.log.last() * u64::from(lasting) / 100;
        let ripe = self.log.compaction().tombstones_below(Timestamp(self.now), RETENTION);
        let clean_up = CleanUp {
            tombstones_below: ripe.min(lasting_from),
            ended_before: Timestamp::MIN,
            expired_before: Timestamp(self.now * i64::from(expired) / 100),
            lasting_from,
        };
        self.clean_up = self.clean_up.max(clean_up);
        self.append(Entry::encode_compact(&clean_up), |log, index, write| {
            log.order_compaction(index, clean_up, write);
        });
    }

    /// Carries the order out, as far as so many steps lead. Returns whether it came to its end.
    fn compact(&mut self, steps: u16, trim: Option<(u16, u8)>) -> bool {
        let Some(order) = self.log.compaction().pending() else { return false };
        let bounds = CompactionBounds { read_bytes: 150, map_bytes: 16 * 14, merged_bytes: 2_000 };
        let reader = self.log.reader();
        let mut taken = 0;
        let mut pace = |_| {
            if let Some((_, percent)) = trim.filter(|(after, _)| *after == taken) {
                self.trim(percent, false);
            }
            taken += 1;
            taken < steps
        };
        let done = Compaction::new(&reader, order, bounds, &mut pace).run().unwrap();
        let Some(done) = done else { return false };
        let mut write = GroupWrite::new(GROUP);
        self.log.compacted(done, Timestamp(self.now), &mut write);
        self.write(write);
        true
    }

    fn trim(&mut self, percent: u8, is_late: bool) {
        let before = Offset(self.log.next_offset().0 * u64::from(percent) / 100);
        let mut write = GroupWrite::new(GROUP);
        let start = self.log.trim(before, self.log.last(), &mut write).unwrap();
        let left = self.known.split_off(&start.0);
        self.taken.append(&mut std::mem::replace(&mut self.known, left));
        match is_late {
            true => self.late.push(write),
            false => self.write(write),
        }
    }

    fn reopen(&mut self) {
        self.late.clear();
        self.known.append(&mut self.taken);
        self.engine = Arc::new(MemoryEngine::new());
        self.log = GroupLog::begin(
            Arc::clone(&self.engine),
            GroupLog::bootstrap(GROUP, ReplicaId(1), &[ReplicaId(1)]).0,
        );
        self.engine = self.place.start();
        let state = self.engine.groups().unwrap().remove(0);
        self.log = GroupLog::open(Arc::clone(&self.engine), state).unwrap();
        self.log.set_high_watermark(self.log.next_offset());
    }

    /// All that can be read, by offset.
    fn read(&self) -> BTreeMap<u64, (Vec<u8>, Option<Vec<u8>>)> {
        let reader = self.log.reader();
        let mut cursor = Cursor::at(reader.bounds().start);
        let mut found = BTreeMap::new();
        loop {
            match reader.read(cursor, 500).unwrap() {
                ReadOutcome::Batches { batches, next } => {
                    batches.iter().for_each(|batch| take(batch, cursor.offset, &mut found));
                    cursor = next;
                }
                ReadOutcome::End => return found,
                ReadOutcome::Cold => cursor.index = None,
                ReadOutcome::Trimmed(_) => panic!("it begins where the log does"),
            }
        }
    }

    /// Who reads slowly reads so many parts, and is to know at the end which keys are gone, unless
    /// it was too slow.
    fn read_slowly(&mut self, parts: u8) {
        let reader = self.log.reader();
        let begin = Cursor::at(reader.bounds().start);
        let begun = || Slow { since: self.now, cursor: begin, found: BTreeMap::new() };
        let mut slow = self.slow.take().unwrap_or_else(begun);
        for _ in 0..parts {
            match reader.read(slow.cursor, 1).unwrap() {
                ReadOutcome::Batches { batches, next } => {
                    let mut found = BTreeMap::new();
                    batches.iter().for_each(|batch| take(batch, slow.cursor.offset, &mut found));
                    slow.found.extend(found.into_iter().map(|(offset, (key, _))| (key, offset)));
                    slow.cursor = next;
                }
                ReadOutcome::End => return self.has_read(&slow),
                ReadOutcome::Cold => slow.cursor.index = None,
                // It is told, and knows that it misses something.
                ReadOutcome::Trimmed(_) => return,
            }
        }
        self.slow = Some(slow);
    }

    fn has_read(&self, slow: &Slow) {
        if self.now - slow.since >= RETENTION.as_nanos() as i64 {
            return;
        }
        for (key, found) in &slow.found {
            let of_key = |known: &(&u64, &Known)| known.1.key == *key;
            let Some((last, known)) = self.known.iter().rev().find(of_key) else { continue };
            let expired_before = self.clean_up.expired_before;
            assert!(
                last == found || known.append_time < expired_before,
                "who has read key {key:?} at {found} misses {last}: {known:?}"
            );
        }
    }

    /// Whether a record may be gone although it is the last of its key.
    fn may_have_ended(&self, record: &Known) -> bool {
        let clean_up = self.clean_up;
        let is_old = record.value.is_none() && record.index < clean_up.tombstones_below;
        let is_past = record.append_time < clean_up.expired_before || is_old;
        is_past && record.index < clean_up.lasting_from
    }

    fn check(&self, is_compacted: bool) {
        let found = self.read();
        let mut last = BTreeMap::new();
        for (offset, (key, value)) in &found {
            let known = &self.known[offset];
            assert_eq!((&known.key, &known.value), (key, value), "at {offset}");
            last.insert(key.clone(), *offset);
        }
        let appended: BTreeMap<_, _> =
            self.known.iter().map(|(offset, known)| (known.key.clone(), *offset)).collect();
        for (key, offset) in &appended {
            match last.get(key) {
                Some(found) => assert_eq!(found, offset, "the last record of key {key:?}"),
                None => assert!(self.may_have_ended(&self.known[offset]), "key {key:?} is gone"),
            }
        }
        if is_compacted {
            let order = self.log.compaction().done.unwrap().order.index;
            for (offset, known) in &self.known {
                let is_superseded = self
                    .known
                    .range(offset + 1..)
                    .any(|(_, later)| later.key == known.key && later.index < order);
                let is_gone = known.index < order && (is_superseded || self.may_have_ended(known));
                assert_eq!(found.contains_key(offset), !is_gone, "offset {offset}");
            }
        }
    }
}

fn take(batch: &StoredBatch, from: Offset, out: &mut BTreeMap<u64, (Vec<u8>, Option<Vec<u8>>)>) {
    let (header, held) = (&batch.header, batch.records());
    let bytes = ropewalk_core::compress::decompress(header.compression, &held, 1 << 20).unwrap();
    let positions: Vec<u32> =
        batch.positions().map_or((0..header.record_count).collect(), Iterator::collect);
    assert_eq!(records::facts(&bytes).count(), positions.len());
    for (position, record) in positions.iter().zip(records::facts(&bytes)) {
        let offset = header.base_offset.0 + u64::from(*position);
        // The first batch may begin before what is read.
        if offset >= from.0 {
            let value = record.has_value.then(|| {
                let body = &bytes[record.range.clone()];
                let at = 2 + 2 + record.key.unwrap().len() + 2;
                body[at..].to_vec()
            });
            let before = out.insert(offset, (record.key.unwrap().to_vec(), value));
            assert_eq!(before, None, "offset {offset} twice");
        }
    }
}

fn live(place: Place, steps: &[Step]) {
    let mut bench = Bench::new(place);
    for step in steps {
        bench.now += 10;
        let mut is_compacted = false;
        match step {
            Step::Append(records) => bench.produce(records),
            Step::Order { expired, lasting } => bench.order(*expired, *lasting),
            Step::Compact { steps, trim } => is_compacted = bench.compact(*steps, *trim),
            Step::Trim { percent, is_late } => bench.trim(*percent, *is_late),
            Step::Read(parts) => bench.read_slowly(*parts),
            Step::Reclaim => drop(bench.engine.reclaim().unwrap()),
            Step::Crash => {
                if let Place::Disk(machine) = &mut bench.place {
                    machine.cut_power();
                }
                bench.reopen();
            }
            Step::Reopen => {
                let is_kept = bench.late.is_empty() && bench.engine.keep_rewrites().unwrap();
                let segments = bench.log.reader().segments();
                bench.reopen();
                if is_kept {
                    assert_eq!(bench.log.reader().segments(), segments, "the log knows them");
                }
            }
        }
        bench.check(is_compacted);
    }
    bench.order(0, 0);
    assert!(bench.compact(u16::MAX, None));
    bench.check(true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_last_record_of_each_key_stays_and_no_older_one_comes_back(
        steps in steps(),
        seed: u64,
    ) {
        live(Place::Memory(MemoryEngine::new()), &steps);
        live(Place::Disk(Machine::new(seed)), &steps);
    }
}

#[test]
fn many_small_segments_become_one() {
    let mut bench = Bench::new(Place::Memory(MemoryEngine::new()));
    for round in 0..40 {
        bench.now += 10;
        bench.produce(&[(round % 3, true)]);
        bench.order(0, 0);
        assert!(bench.compact(u16::MAX, None));
        bench.check(true);
    }
    let segments = bench.log.reader().segments().len();
    assert!(segments < 12, "{segments} segments");
    let first = bench.log.reader().segments()[0];
    bench.reopen();
    assert_eq!(bench.log.reader().segments()[0], first, "the log knows it after a start");
    bench.check(true);
}

#[test]
fn segments_that_become_one_while_some_of_them_are_trimmed_are_known_as_they_are_stored() {
    for after in 0..40 {
        let mut bench = Bench::new(Place::Memory(MemoryEngine::new()));
        for key in 0..10 {
            bench.now += 10;
            bench.produce(&[(key, true)]);
            bench.order(0, 0);
        }
        bench.compact(u16::MAX, Some((after, 30)));
        let segments = bench.log.reader().segments();
        bench.reopen();
        assert_eq!(bench.log.reader().segments(), segments, "trimmed after {after} reads");
    }
}
