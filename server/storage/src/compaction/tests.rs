//! Logs that are compacted while they grow, are trimmed, and lose their power at any moment, beside
//! a model that knows every record that was ever appended.
//!
//! At any moment, and whatever was cut short: what can be read was appended, in the order of its
//! offsets; the last record of each key that can be read is the last one that was appended, or it
//! was a tombstone, or past its time, and then none of the key can be read any more. After a
//! compaction that came to its end exactly that is left which its order says, and it is known when
//! time will end some of it. And who reads the log in less time than tombstones stay knows at its
//! end which keys are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use raft::eraftpb::{Entry as RaftEntry, HardState};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::entry::Entry;
use ropewalk_core::records;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, Offset, ReplicaId, ShortestTtl, StoredBatch, Timestamp,
    TimestampType,
};

use super::*;
use crate::disk_engine::sim::Machine;
use crate::engine::{Engine, GroupWrite, WriteBatch};
use crate::group_log::{BOOTSTRAP_TERM, GroupLog};
use crate::log_view::{Cursor, ReadOutcome};
use crate::memory::MemoryEngine;

const GROUP: GroupId = GroupId::FIRST_PARTITION;
/// So long tombstones stay after what they ended went.
const RETENTION: Duration = Duration::from_millis(80);
/// So long a step takes.
const STEP: i64 = 10_000_000;

/// A record: the number of its key, whether there is a value, and half milliseconds that it lives.
type Drawn = (u8, bool, Option<u32>);

/// What happens to a log.
#[derive(Clone, Debug)]
enum Step {
    /// Records are appended.
    Append(Vec<Drawn>),
    /// What stands in the log is to be compacted. All records that were appended in the first so
    /// much of a hundred of its time go, those are tombstones whose own time was over by then, and
    /// all of that counts where a replica has it that has so much of the log.
    Order { expired: u8, ended: u8, lasting: u8 },
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
    let ttl = prop::option::weighted(0.3, 2..400_u32);
    let record = (0..10_u8, prop::bool::weighted(0.7), ttl);
    let percent = || prop_oneof![2 => Just(0_u8), 1 => 0..120_u8];
    let most = || prop_oneof![1 => Just(100), 1 => percent()];
    let step = prop_oneof![
        8 => prop::collection::vec(record, 1..8).prop_map(Step::Append),
        3 => (percent(), most(), most())
            .prop_map(|(expired, ended, lasting)| Step::Order { expired, ended, lasting }),
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

/// What can be read of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    /// When it ends by a time to live of its own.
    end: Option<Timestamp>,
}

/// A record that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    index: u64,
    append_time: Timestamp,
    record: Record,
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

    fn produce(&mut self, records: &[Drawn]) {
        let (mut payload, base) = (Vec::new(), self.log.next_offset().0);
        let (index, append_time) = (self.log.last() + 1, Timestamp(self.now));
        let codec = if base % 3 == 0 { Compression::Lz4 } else { Compression::None };
        let ttl_of = |record: &Drawn| record.2.map(|halves| Duration::from_micros(500) * halves);
        // Of what is compressed the broker knows what was said: the truth, nothing, or too much.
        let shortest_ttl = match (codec, base % 5) {
            (Compression::Lz4, 1) => None,
            (Compression::Lz4, 2) => ShortestTtl::from_millis(120),
            _ => records.iter().filter_map(ttl_of).min().and_then(ShortestTtl::of),
        };
        for (offset, drawn) in (base..).zip(records) {
            // Of different sizes, and of bytes that no codec makes small.
            let (key, ttl) = (vec![b'k', drawn.0], ttl_of(drawn));
            let byte = |at: u64| ((at.wrapping_mul(0x9e37_79b9) >> 13) ^ (offset * 7)) as u8;
            let value = drawn.1.then(|| (0..10 + offset % 90).map(byte).collect::<Vec<u8>>());
            let body = encoded(&key, value.as_deref(), ttl);
            payload.extend_from_slice(&[0x0a, body.len() as u8]);
            payload.extend_from_slice(&body);
            let said = shortest_ttl.map(|said| Duration::from_millis(said.millis().into()));
            let end = ttl.zip(said).map(|(ttl, said)| append_time.plus(ttl.max(said)));
            let record = Record { key, value, end };
            self.known.insert(offset, Known { index, append_time, record });
        }
        let payload = ropewalk_core::compress::compress(codec, &payload);
        let times = RecordTimes { newest: None, untimed: true, shortest_ttl };
        let (count, of) = (records.len() as u32, TimestampType::Create);
        let draft = BatchDraft::new(&payload, count, codec, of, times, None);
        let sealed = draft.seal(Offset(base), BOOTSTRAP_TERM, index, append_time);
        self.append(sealed, |_, _, _| {});
    }

    fn order(&mut self, expired: u8, ended: u8, lasting: u8) {
        let lasting_from = self.log.last() * u64::from(lasting) / 100;
        let ripe = self.log.compaction().tombstones_below(Timestamp(self.now), RETENTION);
        let time = |percent: u8| Timestamp(self.now / 100 * i64::from(percent));
        let clean_up = CleanUp {
            tombstones_below: ripe.min(lasting_from),
            ended_before: time(ended),
            expired_before: time(expired),
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
        let compaction = self.log.compaction();
        self.engine = Arc::new(MemoryEngine::new());
        self.log = GroupLog::begin(
            Arc::clone(&self.engine),
            GroupLog::bootstrap(GROUP, ReplicaId(1), &[ReplicaId(1)]).0,
        );
        self.engine = self.place.start();
        let state = self.engine.groups().unwrap().remove(0);
        self.log = GroupLog::open(Arc::clone(&self.engine), state).unwrap();
        assert_eq!(self.log.compaction(), compaction, "what was done is known after a start");
        self.log.set_high_watermark(self.log.next_offset());
    }

    /// All that can be read, by offset.
    fn read(&self) -> BTreeMap<u64, Record> {
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
                    slow.found.extend(found.into_iter().map(|(offset, found)| (found.key, offset)));
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
            let of_key = |known: &(&u64, &Known)| known.1.record.key == *key;
            let Some((last, known)) = self.known.iter().rev().find(of_key) else { continue };
            let expired_before = self.clean_up.expired_before;
            assert!(
                last == found || known.append_time < expired_before,
                "who has read key {key:?} at {found} misses {last}: {known:?}"
            );
        }
    }

    /// Whether a record is a tombstone by now: it has no value, or its own time was over long ago.
    fn is_tombstone(&self, known: &Known) -> bool {
        let end = known.record.end;
        known.record.value.is_none() || end.is_some_and(|end| end < self.clean_up.ended_before)
    }

    /// Whether a record may be gone although it is the last of its key.
    fn may_have_ended(&self, known: &Known) -> bool {
        let clean_up = self.clean_up;
        let is_old = self.is_tombstone(known) && known.index < clean_up.tombstones_below;
        let is_past = known.append_time < clean_up.expired_before || is_old;
        is_past && known.index < clean_up.lasting_from
    }

    fn check(&self, is_compacted: bool) {
        let found = self.read();
        let mut last = BTreeMap::new();
        for (offset, record) in &found {
            assert_eq!(&self.known[offset].record, record, "at {offset}");
            last.insert(record.key.clone(), *offset);
        }
        let key_at = |(offset, known): (&u64, &Known)| (known.record.key.clone(), *offset);
        let appended: BTreeMap<_, _> = self.known.iter().map(key_at).collect();
        for (key, offset) in &appended {
            match last.get(key) {
                Some(found) => assert_eq!(found, offset, "the last record of key {key:?}"),
                None => assert!(self.may_have_ended(&self.known[offset]), "key {key:?} is gone"),
            }
        }
        if is_compacted {
            self.check_compacted(&found);
        }
    }

    /// An order was carried out.
    fn check_compacted(&self, found: &BTreeMap<u64, Record>) {
        let done = self.log.compaction().done.unwrap();
        let order = done.order.index;
        let before = || self.known.iter().filter(|(_, known)| known.index < order);
        for (offset, known) in before() {
            let mut later = before().filter(|(at, _)| *at > offset);
            let is_superseded = later.any(|(_, later)| later.record.key == known.record.key);
            let is_gone = is_superseded || self.may_have_ended(known);
            assert_eq!(found.contains_key(offset), !is_gone, "offset {offset}");
        }
        let left = || before().filter(|(at, _)| found.contains_key(at)).map(|(_, known)| known);
        let first_tombstone =
            left().filter(|known| self.is_tombstone(known)).map(|known| known.index).min();
        let is_to_end = |end: &Timestamp| *end >= self.clean_up.ended_before;
        let first_end = left().filter_map(|known| known.record.end).filter(is_to_end).min();
        let oldest_record = left().map(|known| known.append_time).min();
        let expected = Compacted { order: done.order, first_tombstone, first_end, oldest_record };
        if self.log.reader().bounds().start == Offset::ZERO {
            assert_eq!(done, expected);
        }
        // What was trimmed meanwhile, or stands in a batch before the start, may be told as well.
        let is_told = |told: Option<i64>, least: Option<i64>| {
            least.is_none_or(|least| told.is_some_and(|told| told <= least))
        };
        let nanos = |time: Option<Timestamp>| time.map(|time| time.0);
        assert!(is_told(nanos(done.first_end), nanos(first_end)), "{done:?}, {expected:?}");
        let index = |index: Option<u64>| index.map(u64::cast_signed);
        let is_told = is_told(index(done.first_tombstone), index(first_tombstone));
        assert!(is_told, "{done:?}, {expected:?}");
    }
}

/// A record as it is sent.
fn encoded(key: &[u8], value: Option<&[u8]>, ttl: Option<Duration>) -> Vec<u8> {
    let mut body = [&[0x0a, key.len() as u8], key].concat();
    if let Some(value) = value {
        body.extend_from_slice(&[0x1a, value.len() as u8]);
        body.extend_from_slice(value);
    }
    if let Some(ttl) = ttl {
        let nanos = ttl.subsec_nanos();
        let mut message = vec![0x10];
        message.extend((0..4).map(|at| (nanos >> (7 * at)) as u8 | 0x80));
        message.push((nanos >> 28) as u8);
        body.extend_from_slice(&[0x3a, message.len() as u8]);
        body.extend_from_slice(&message);
    }
    body
}

fn take(batch: &StoredBatch, from: Offset, out: &mut BTreeMap<u64, Record>) {
    let (header, held) = (&batch.header, batch.records());
    let bytes = ropewalk_core::compress::decompress(header.compression, &held, 1 << 20).unwrap();
    let positions: Vec<u32> =
        batch.positions().map_or((0..header.record_count).collect(), Iterator::collect);
    assert_eq!(records::facts(&bytes).count(), positions.len());
    for (position, record) in positions.iter().zip(records::facts(&bytes)) {
        let offset = header.base_offset.0 + u64::from(*position);
        // The first batch may begin before what is read.
        if offset >= from.0 {
            let (key, end) = (record.key.unwrap().to_vec(), header.end_of(&record));
            let value = record.has_value.then(|| {
                let at = record.range.start + 2 + 2 + key.len() + 2;
                bytes[at..at + usize::from(bytes[at - 1])].to_vec()
            });
            let before = out.insert(offset, Record { key, value, end });
            assert_eq!(before, None, "offset {offset} twice");
        }
    }
}

fn live(place: Place, steps: &[Step]) {
    let mut bench = Bench::new(place);
    for step in steps {
        bench.now += STEP;
        let mut is_compacted = false;
        match step {
            Step::Append(records) => bench.produce(records),
            Step::Order { expired, ended, lasting } => bench.order(*expired, *ended, *lasting),
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
    bench.order(0, 0, 0);
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
        bench.now += STEP;
        bench.produce(&[(round % 3, true, None)]);
        bench.order(0, 0, 0);
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
            bench.now += STEP;
            bench.produce(&[(key, true, None)]);
            bench.order(0, 0, 0);
        }
        bench.compact(u16::MAX, Some((after, 30)));
        let segments = bench.log.reader().segments();
        bench.reopen();
        assert_eq!(bench.log.reader().segments(), segments, "trimmed after {after} reads");
    }
}

/// To merge small segments is no reason to put an order off. Only what is to go is one, and that
/// needs no more room than its own segment.
#[test]
fn an_order_is_carried_out_without_the_room_to_merge_segments() {
    let mut machine = Machine::new(7);
    machine.keep_free(64 * 1024);
    let mut bench = Bench::new(Place::Disk(machine));
    let segments = |bench: &Bench| bench.log.reader().segments().len();
    let leave = |bench: &Bench, bytes| match &bench.place {
        Place::Disk(machine) => machine.leave(bytes),
        Place::Memory(_) => unreachable!(),
    };
    let order = |bench: &mut Bench, key| {
        bench.now += STEP;
        bench.produce(&[(key, true, None)]);
        bench.order(0, 0, 0);
    };
    (0..10).for_each(|key| order(&mut bench, key));
    let before = segments(&bench);
    leave(&bench, 0);
    assert!(bench.compact(u16::MAX, None), "nothing has to go");
    bench.check(true);
    assert_eq!(segments(&bench), before);

    order(&mut bench, 0);
    let before = segments(&bench);
    leave(&bench, 0);
    assert!(!bench.compact(u16::MAX, None), "the first record of its key has to go");
    let room = (0..100).find(|room| {
        leave(&bench, room * 50);
        bench.compact(u16::MAX, None)
    });
    assert!(room.is_some());
    bench.check(true);
    assert_eq!(segments(&bench), before);

    leave(&bench, 1 << 30);
    order(&mut bench, 0);
    assert!(bench.compact(u16::MAX, None));
    bench.check(true);
    assert!(segments(&bench) < before);
}
