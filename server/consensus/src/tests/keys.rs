//! Appends that expect the version of a key, over one replica: of those that expect the same, one
//! is appended, whatever is known of the keys, and when.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use ropewalk_core::{ProducerId, ProducerSequence, compress, limits, records};

use super::*;
use crate::group::OWN_ROOM;
use crate::key_reads::KeysRead;

const GROUP: GroupId = GroupId::FIRST_PARTITION;
const QUORUM: Durability = Durability::Quorum;

/// A record set with one record for each key, which has the id for its value.
fn payload(id: u32, keys: &[&str]) -> Vec<u8> {
    let mut set = Vec::new();
    for key in keys {
        let mut record = vec![0x0a, key.len() as u8];
        record.extend(key.as_bytes());
        record.extend([0x1a, 4]);
        record.extend(id.to_be_bytes());
        set.extend([0x0a, record.len() as u8]);
        set.extend(record);
    }
    set
}

/// An append as its leader's broker hands it over, with its keys found or not.
struct Keyed<'a> {
    keys: &'a [&'a str],
    expected: Option<(&'a str, Option<u64>)>,
    sequence: Option<ProducerSequence>,
    codec: Compression,
    is_searched: bool,
}

impl<'a> Keyed<'a> {
    fn new(keys: &'a [&'a str]) -> Self {
        let codec = Compression::None;
        Self { keys, expected: None, sequence: None, codec, is_searched: false }
    }

    fn expecting(keys: &'a [&'a str], key: &'a str, version: Option<u64>) -> Self {
        Self { expected: Some((key, version)), is_searched: true, ..Self::new(keys) }
    }

    fn kind(&self, id: u32) -> ProposalKind {
        let times = RecordTimes { newest: None, untimed: true, shortest_ttl: None };
        let payload = compress::compress(self.codec, &payload(id, self.keys));
        let (count, create) = (self.keys.len() as u32, TimestampType::Create);
        let mut draft = BatchDraft::new(&payload, count, self.codec, create, times, self.sequence);
        if self.is_searched {
            draft.find_keys();
        }
        let expected = self.expected.map(|(key, version)| {
            let key = Bytes::copy_from_slice(key.as_bytes());
            Box::new(Expected::Version { key, version: version.map(Offset) })
        });
        ProposalKind::Batch { draft, expected, durability: QUORUM, epoch: None }
    }
}

impl Bench {
    fn append(&mut self, id: u32, keyed: &Keyed<'_>) {
        self.propose(GROUP, id, keyed.kind(id));
    }

    /// The oldest read of keys ends. Returns whether there was one.
    fn read_one(&mut self) -> bool {
        let Some(read) = self.key_reads.pop_front() else { return false };
        self.step(Input::KeysRead(read.carry_out()));
        true
    }

    /// Everything that is under way ends.
    fn rest(&mut self) {
        while self.persist_one() || self.read_one() {}
    }

    fn end(&self, id: u32) -> Option<&End> {
        self.ends.iter().find(|(of, _)| *of == id).map(|(_, end)| end)
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            self.now += 100_000_000;
            self.step(Input::Tick);
        }
    }
}

fn appended(base: u64, records: u32) -> End {
    End::Appended { base, records, achieved: QUORUM }
}

fn mismatch(current: Option<u64>) -> End {
    End::Failed(ProposeError::ExpectedVersion { current: current.map(Offset) })
}

#[test]
fn of_appends_that_expect_the_same_version_one_is_appended() {
    let mut bench = Bench::serving(GROUP);
    let first = Keyed::expecting(&["a", "b", "a"], "a", None);
    (1..4).for_each(|id| bench.append(id, &first));
    bench.append(4, &Keyed::expecting(&["c"], "b", Some(1)));
    assert_eq!(bench.ends, [], "what they were compared with might get lost yet");
    bench.settle();
    assert_eq!(bench.end(1), Some(&appended(0, 3)));
    assert_eq!(bench.end(2), Some(&mismatch(Some(2))));
    assert_eq!(bench.end(3), Some(&mismatch(Some(2))));
    assert_eq!(bench.end(4), Some(&appended(3, 1)), "it is not about its own keys");
    bench.append(5, &Keyed::expecting(&["a"], "a", Some(2)));
    bench.append(6, &Keyed::expecting(&["d"], "d", Some(0)));
    bench.settle();
    assert_eq!(bench.end(5), Some(&appended(4, 1)));
    assert_eq!(bench.end(6), Some(&mismatch(None)));
    assert!(bench.key_reads.is_empty(), "the log was empty when the first one came");
}

#[test]
fn the_first_condition_has_the_log_read_also_after_a_restart() {
    let mut bench = Bench::serving(GROUP);
    bench.append(1, &Keyed::new(&["a", "b"]));
    bench.append(2, &Keyed { codec: Compression::Zstd, ..Keyed::new(&["b"]) });
    bench.settle();
    bench.append(3, &Keyed::expecting(&["b"], "b", Some(2)));
    bench.settle();
    assert_eq!(bench.end(3), None, "nothing is known yet");
    bench.append(4, &Keyed::new(&["x"]));
    bench.settle();
    assert_eq!(bench.end(4), Some(&appended(3, 1)), "others do not wait for it");
    bench.rest();
    assert_eq!(bench.end(3), Some(&appended(4, 1)));
    let mut bench = bench.crash();
    bench.open(GROUP, None);
    bench.settle();
    bench.append(5, &Keyed::expecting(&["b"], "b", Some(2)));
    bench.append(6, &Keyed::expecting(&["b"], "b", Some(4)));
    bench.settle();
    assert_eq!(bench.ends, []);
    bench.rest();
    assert_eq!(bench.end(5), Some(&mismatch(Some(4))));
    assert_eq!(bench.end(6), Some(&appended(5, 1)));
}

/// A batch whose keys nobody has looked for, as one that was on its way when the first condition
/// came.
#[test]
fn a_batch_without_its_keys_is_read_before_the_next_condition() {
    let mut bench = Bench::serving(GROUP);
    bench.append(1, &Keyed::expecting(&["a"], "a", None));
    bench.append(2, &Keyed { codec: Compression::Lz4, ..Keyed::new(&["a"]) });
    bench.append(3, &Keyed::expecting(&["a"], "a", Some(0)));
    bench.append(4, &Keyed::expecting(&["a"], "a", Some(1)));
    assert!(bench.key_reads.is_empty(), "it is not committed yet");
    bench.rest();
    assert_eq!(bench.end(3), Some(&mismatch(Some(1))));
    assert_eq!(bench.end(4), Some(&appended(2, 1)));
    // One whose keys are found is not read again.
    bench.append(5, &Keyed { is_searched: true, codec: Compression::Lz4, ..Keyed::new(&["a"]) });
    bench.append(6, &Keyed::expecting(&["a"], "a", Some(3)));
    bench.settle();
    assert_eq!(bench.end(6), Some(&appended(4, 1)));
}

#[test]
fn a_key_whose_records_are_gone_has_no_version() {
    let mut bench = Bench::serving(GROUP);
    bench.append(1, &Keyed::expecting(&["a", "b"], "a", None));
    bench.settle();
    bench.propose(GROUP, 2, ProposalKind::Trim { before: Some(Offset(1)) });
    bench.settle();
    bench.append(3, &Keyed::expecting(&["a"], "a", Some(0)));
    bench.append(4, &Keyed::expecting(&["b"], "b", None));
    bench.append(5, &Keyed::expecting(&["a"], "a", None));
    bench.settle();
    assert_eq!(bench.end(3), Some(&mismatch(None)));
    assert_eq!(bench.end(4), Some(&mismatch(Some(1))));
    assert_eq!(bench.end(5), Some(&appended(2, 1)));
}

#[test]
fn a_batch_that_comes_again_does_not_fail_the_condition_that_it_has_met_itself() {
    let mut bench = Bench::serving(GROUP);
    let sequence = ProducerSequence { producer: ProducerId(9), epoch: 0, first: 0 };
    let create = Keyed { sequence: Some(sequence), ..Keyed::expecting(&["a"], "a", None) };
    bench.append(1, &create);
    bench.append(1, &create);
    bench.settle();
    let again = End::Again { base: 0, records: 1 };
    assert_eq!(bench.ends, [(1, appended(0, 1)), (1, again.clone())]);
    // Nor does it need the keys: after a restart they are not known, and cannot be.
    let mut bench = bench.crash();
    bench.open(GROUP, None);
    bench.settle();
    bench.append(1, &create);
    assert_eq!(bench.ends, [(1, again.clone())]);
    // Two that wait for the keys: the first is appended.
    let sequence = ProducerSequence { first: 1, ..sequence };
    let update = Keyed { sequence: Some(sequence), ..Keyed::expecting(&["a"], "a", Some(0)) };
    bench.append(2, &update);
    bench.append(2, &update);
    bench.rest();
    let second = End::Again { base: 1, records: 1 };
    assert_eq!(bench.ends, [(1, again), (2, appended(1, 1)), (2, second)]);
}

#[test]
fn more_keys_than_there_is_room_for_are_not_known() {
    let mut bench = Bench::serving(GROUP);
    let most = KEYS.max - OWN_ROOM as u64;
    let names: Vec<String> = (0..=most).map(|name| name.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.append(1, &Keyed::new(&names));
    bench.settle();
    bench.append(2, &Keyed::expecting(&["0"], "0", Some(0)));
    bench.rest();
    let full = End::Failed(ProposeError::TooManyKeys { limit: KEYS.max });
    assert_eq!(bench.end(2), Some(&full));
    // It is not tried again at once, which would read the whole log.
    bench.append(3, &Keyed::expecting(&["0"], "0", Some(0)));
    assert_eq!(bench.end(3), Some(&full));
    // The first of them goes, and there is room.
    bench.propose(GROUP, 4, ProposalKind::Trim { before: Some(Offset(1)) });
    bench.settle();
    bench.pass(Duration::from_secs(61));
    bench.append(5, &Keyed::expecting(&["1"], "0", None));
    bench.rest();
    assert_eq!(bench.end(5), Some(&appended(most + 1, 1)));
    // Keys that are gone make room for others, also without a pause.
    bench.propose(GROUP, 6, ProposalKind::Trim { before: None });
    bench.settle();
    bench.append(7, &Keyed { is_searched: true, ..Keyed::new(&["x", "y", "z"]) });
    bench.append(8, &Keyed::expecting(&["x"], "x", Some(most + 2)));
    bench.settle();
    assert_eq!(bench.end(8), Some(&appended(most + 5, 1)));
}

#[test]
fn nobody_waits_for_keys_for_long_and_not_too_many() {
    let mut bench = Bench::serving(GROUP);
    bench.append(0, &Keyed::new(&["a"]));
    bench.settle();
    let most = limits::MAX_APPENDS_AWAITING_KEYS as u32;
    (1..=most).for_each(|id| bench.append(id, &Keyed::expecting(&["a"], "a", Some(0))));
    assert_eq!(bench.end(most), None);
    bench.append(most + 1, &Keyed::expecting(&["a"], "a", Some(0)));
    assert_eq!(bench.end(most + 1), Some(&End::Failed(ProposeError::Overloaded)));
    assert_eq!(bench.key_reads.len(), 1);
    // However the wall clock jumps.
    for hours in [1, -2] {
        bench.now += hours * 3_600_000_000_000;
        bench.step(Input::Tick);
        assert_eq!(bench.end(1), None);
    }
    bench.pass(limits::KEYS_TIMEOUT);
    let unread = End::Failed(ProposeError::KeysUnread);
    assert_eq!(bench.end(1), Some(&unread));
    assert_eq!(bench.end(most), Some(&unread));
    // It is read all the same, for those who ask again.
    bench.rest();
    bench.append(most + 2, &Keyed::expecting(&["a"], "a", Some(0)));
    bench.settle();
    assert_eq!(bench.end(most + 2), Some(&appended(1, 1)));
    assert!(bench.shard.is_written());
}

#[test]
fn keys_that_nobody_asks_for_are_forgotten() {
    let mut bench = Bench::serving(GROUP);
    bench.append(1, &Keyed::expecting(&["a"], "a", None));
    bench.settle();
    bench.pass(limits::KEYS_IDLE);
    bench.append(2, &Keyed::expecting(&["a"], "a", Some(0)));
    assert_eq!(bench.key_reads.len(), 1, "the log is read again");
    bench.rest();
    assert_eq!(bench.end(2), Some(&appended(1, 1)));
}

#[test]
fn where_nobody_else_has_what_is_damaged_no_version_is_known_and_it_is_told() {
    let mut bench = Bench::serving(GROUP);
    bench.append(0, &Keyed::new(&["a"]));
    bench.settle();
    bench.append(1, &Keyed::expecting(&["a"], "a", Some(0)));
    let KeyRead { group, incarnation, term, forgotten, from, .. } =
        bench.key_reads.pop_front().unwrap();
    let found = Err(StorageError::Missing { group, index: 7, offset: from });
    let read = KeysRead { group, incarnation, term, forgotten, found };
    let mut out = Vec::new();
    bench.shard.step(Timestamp(bench.now), Input::KeysRead(read), &mut out).unwrap();
    let told = out.extract_if(.., |output| matches!(output, Output::Damaged { .. }));
    assert_eq!(told.count(), 1);
    out.into_iter().for_each(|output| bench.take(output));
    let damaged = End::Failed(ProposeError::KeysDamaged { at: Offset(0) });
    assert_eq!(bench.end(1), Some(&damaged));
    bench.append(2, &Keyed::expecting(&["a"], "a", Some(0)));
    assert_eq!(bench.end(2), Some(&damaged), "it is not read again at once");
    bench.append(3, &Keyed::new(&["a"]));
    bench.settle();
    assert_eq!(bench.end(3), Some(&appended(1, 1)), "others go on");
    // The damage goes with what is trimmed.
    bench.propose(GROUP, 4, ProposalKind::Trim { before: Some(Offset(1)) });
    bench.settle();
    bench.pass(Duration::from_secs(5));
    bench.append(5, &Keyed::expecting(&["a"], "a", Some(1)));
    bench.rest();
    assert_eq!(bench.end(5), Some(&appended(2, 1)));
}

#[test]
fn who_waits_for_the_keys_of_a_group_that_goes_is_told() {
    let mut bench = Bench::serving(GROUP);
    bench.append(1, &Keyed::new(&["a"]));
    bench.settle();
    bench.append(2, &Keyed::expecting(&["a"], "a", Some(0)));
    bench.step(Input::Remove(GROUP));
    assert_eq!(bench.end(2), Some(&End::Failed(ProposeError::NoGroup)));
    bench.rest();
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        keys: Vec<usize>,
        codec: bool,
        is_searched: bool,
    },
    /// What is expected is what the log says up to the end, or so many records before it.
    Expect {
        key: usize,
        back: usize,
        is_searched: bool,
    },
    Persist,
    Read,
    Rest,
    Crash,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    let keys = prop::collection::vec(0..NAMES.len(), 1..4);
    prop_oneof![
        4 => (keys, any::<bool>(), any::<bool>())
            .prop_map(|(keys, codec, is_searched)| Step::Append { keys, codec, is_searched }),
        6 => (0..NAMES.len(), 0..3_usize, any::<bool>())
            .prop_map(|(key, back, is_searched)| Step::Expect { key, back, is_searched }),
        6 => Just(Step::Persist),
        6 => Just(Step::Read),
        1 => Just(Step::Rest),
        1 => Just(Step::Crash),
    ]
}

/// What each append expected, by its id, as key and version.
type Conditions = BTreeMap<u32, (String, Option<u64>)>;

/// The versions of all keys as the log says, where every condition holds at its place.
fn replay(bench: &Bench, conditions: &Conditions) -> BTreeMap<String, Vec<u64>> {
    let mut versions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut cursor = Cursor::at(Offset::ZERO);
    while let ReadOutcome::Batches { batches, next } =
        bench.reader(GROUP).read(cursor, 1 << 20).unwrap()
    {
        cursor = next;
        for batch in batches {
            let codec = batch.header.compression;
            let set = compress::decompress(codec, &batch.payload, 1 << 20).unwrap();
            let id = u32::from_be_bytes(set[set.len() - 4..].try_into().unwrap());
            if let Some((key, version)) = conditions.get(&id) {
                let latest = versions.get(key).and_then(|all| all.last().copied());
                assert_eq!(latest, *version, "append {id} came after others");
            }
            for (offset, (_, key)) in (batch.header.base_offset.0..).zip(records::keys(&set)) {
                let key = String::from_utf8(key.unwrap().to_vec()).unwrap();
                versions.entry(key).or_default().push(offset);
            }
        }
    }
    versions
}

fn run(steps: &[Step]) -> Vec<(u32, End)> {
    let mut bench = Bench::serving(GROUP);
    let (mut conditions, mut trace) = (Conditions::new(), Vec::new());
    for (id, step) in (0..).zip(steps) {
        match step {
            Step::Append { keys, codec, is_searched } => {
                let keys: Vec<_> = keys.iter().map(|key| NAMES[*key]).collect();
                let codec = if *codec { Compression::Snappy } else { Compression::None };
                bench.append(id, &Keyed { codec, is_searched: *is_searched, ..Keyed::new(&keys) });
            }
            Step::Expect { key, back, is_searched } => {
                let known = replay(&bench, &conditions).remove(NAMES[*key]).unwrap_or_default();
                let version = known.iter().rev().nth(*back).copied();
                conditions.insert(id, (NAMES[*key].to_owned(), version));
                let keys = [NAMES[*key]];
                let keyed = Keyed::expecting(&keys, NAMES[*key], version);
                bench.append(id, &Keyed { is_searched: *is_searched, ..keyed });
            }
            Step::Persist => {
                bench.persist_one();
            }
            Step::Read => {
                bench.read_one();
            }
            Step::Rest => bench.rest(),
            Step::Crash => {
                trace.append(&mut bench.ends);
                bench = bench.crash();
                bench.open(GROUP, None);
                bench.settle();
            }
        }
    }
    bench.rest();
    trace.append(&mut bench.ends);
    let versions = replay(&bench, &conditions);
    for (id, end) in &trace {
        let Some((key, expected)) = conditions.get(id) else { continue };
        let all = versions.get(key).cloned().unwrap_or_default();
        match end {
            End::Appended { base, .. } => assert!(all.contains(base), "append {id} is lost"),
            End::Failed(ProposeError::ExpectedVersion { current }) => {
                let current = current.map(|offset| offset.0);
                assert_ne!(current, *expected);
                assert!(current.is_none_or(|at| all.contains(&at)), "{id} met what was lost");
            }
            other => panic!("append {id} ended with {other:?}"),
        }
    }
    trace
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_condition_holds_where_its_append_stands_and_runs_repeat(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        prop_assert_eq!(run(&steps), run(&steps));
    }
}
