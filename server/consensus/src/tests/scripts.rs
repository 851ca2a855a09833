//! Scripts: what happens in which order.

use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use ropewalk_core::codec::DecodeError;

use super::*;
use crate::machine::{Applied, LaterVersion};
use crate::shard::MAX_WRITES_IN_FLIGHT;

const GROUP: GroupId = GroupId::FIRST_PARTITION;
const QUORUM: Durability = Durability::Quorum;

fn appended(base: u64, records: u32, achieved: Durability) -> End {
    End::Appended { base, records, achieved }
}

#[test]
fn a_batch_is_answered_and_seen_only_when_it_is_on_disk() {
    let mut bench = Bench::serving(GROUP);
    bench.produce(GROUP, 1, 3, QUORUM);
    assert_eq!((bench.ends.len(), bench.log(GROUP).len()), (0, 0));
    bench.settle();
    assert_eq!(bench.ends, [(1, appended(0, 3, QUORUM))]);
    assert_eq!(bench.log(GROUP), [(0, 1)]);
    assert_eq!(bench.reader(GROUP).bounds().high_watermark, Offset(3));
}

#[test]
fn a_batch_is_appended_in_the_epoch_that_it_is_for_and_in_no_other() {
    let taken_in = |bench: &mut Bench| {
        for id in 0..20 {
            let mut kind = batch(id, 1, None, QUORUM);
            if let ProposalKind::Batch { epoch, .. } = &mut kind {
                *epoch = Some(u64::from(id));
            }
            bench.propose(GROUP, id, kind);
        }
        bench.settle();
        let ends = std::mem::take(&mut bench.ends);
        let is_refused = |end: &End| *end == End::Failed(ProposeError::NoLeader);
        let taken = ends.iter().filter(|(_, end)| !is_refused(end)).map(|(id, _)| *id);
        assert_eq!(ends.len(), 20);
        taken.collect::<Vec<_>>()
    };
    let mut bench = Bench::serving(GROUP);
    let first = taken_in(&mut bench);
    let mut bench = bench.crash();
    bench.open(GROUP, None);
    bench.settle();
    let second = taken_in(&mut bench);
    assert_eq!((first.len(), second.len()), (1, 1));
    assert!(first < second, "it leads again, and takes nothing that was for its time before");
}

#[test]
fn raft_s_clock_costs_nothing_where_nobody_else_is() {
    let mut bench = Bench::new();
    bench.open(GROUP, None);
    assert_eq!(bench.shard.ticking(), 0, "it leads at once");
    bench.settle();
    bench.produce(GROUP, 1, 1, QUORUM);
    bench.settle();
    bench.step(Input::Tick);
    assert_eq!((bench.shard.ticking(), bench.writes.len()), (0, 0));
}

#[test]
fn what_is_not_durable_does_not_survive_and_what_was_answered_does() {
    let mut bench = Bench::serving(GROUP);
    bench.produce(GROUP, 1, 1, QUORUM);
    bench.settle();
    bench.produce(GROUP, 2, 1, Durability::None);
    assert_eq!(bench.ends.last(), Some(&(2, appended(1, 1, Durability::None))));
    let mut bench = bench.crash();
    bench.open(GROUP, None);
    bench.settle();
    assert_eq!(bench.log(GROUP), [(0, 1)]);
    bench.produce(GROUP, 3, 1, QUORUM);
    bench.settle();
    assert_eq!(bench.log(GROUP), [(0, 1), (1, 3)], "the log goes on where it ended");
}

#[test]
fn what_is_durable_and_was_not_answered_is_in_the_log_after_a_restart() {
    let mut bench = Bench::serving(GROUP);
    bench.produce(GROUP, 1, 2, QUORUM);
    let (_, batch) = bench.writes.pop_front().unwrap();
    bench.engine.write(&[batch]).unwrap();
    let mut bench = bench.crash();
    bench.open(GROUP, None);
    bench.settle();
    assert_eq!(bench.log(GROUP), [(0, 1)]);
}

#[test]
fn inputs_that_come_while_the_disk_is_busy_share_one_write() {
    let mut bench = Bench::serving(GROUP);
    for id in 0..100 {
        bench.produce(GROUP, id, 1, QUORUM);
    }
    assert_eq!(bench.writes.len(), MAX_WRITES_IN_FLIGHT);
    for _ in 0..MAX_WRITES_IN_FLIGHT {
        bench.persist_one();
    }
    let entries = |(_, batch): &(u64, WriteBatch)| batch.groups[0].append.len();
    assert_eq!(bench.writes.iter().map(entries).max(), Some(100 - MAX_WRITES_IN_FLIGHT));
    bench.settle();
    let ids: Vec<_> = bench.ends.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (0..100).collect::<Vec<_>>(), "answers come in the order of the appends");
}

/// Producers that do not wait would otherwise make one write of all that their budget allows.
#[test]
fn a_write_is_of_bounded_size_and_what_is_beyond_it_keeps_its_order() {
    let mut bench = Bench::serving(GROUP);
    let large = |id: u32| {
        let times = RecordTimes { newest: None, untimed: true, shortest_ttl: None };
        let mut payload = vec![0; 700 << 10];
        payload[..4].copy_from_slice(&id.to_le_bytes());
        let (compression, timestamp_type) = (Compression::None, TimestampType::Create);
        let draft = BatchDraft::new(&payload, 1, compression, timestamp_type, times, None);
        ProposalKind::Batch { draft, expected: None, durability: QUORUM, epoch: None }
    };
    let mut out = Vec::new();
    for id in 0..20 {
        let proposal = Proposal { kind: large(id), reply: id, held: Box::new(()) };
        bench.shard.step(Timestamp(1), Input::Propose(GROUP, proposal), &mut out).unwrap();
    }
    bench.shard.flush(Timestamp(1), &mut out).unwrap();
    out.into_iter().for_each(|output| bench.take(output));
    let sizes: Vec<_> = bench.writes.iter().map(|(_, b)| b.groups[0].append.len()).collect();
    assert_eq!(sizes, [2; MAX_WRITES_IN_FLIGHT]);
    bench.settle();
    let ids: Vec<_> = bench.log(GROUP).iter().map(|(_, id)| *id).collect();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
    assert!(bench.shard.is_written());
}

#[test]
fn a_condition_that_does_not_hold_appends_nothing() {
    let mut bench = Bench::serving(GROUP);
    bench.propose(GROUP, 1, batch(1, 2, Some(0), QUORUM));
    // The first is not on disk yet, and its offsets are taken all the same. But they might get
    // lost, so nobody is told yet.
    bench.propose(GROUP, 2, batch(2, 1, Some(0), QUORUM));
    bench.propose(GROUP, 3, batch(3, 1, Some(2), QUORUM));
    assert_eq!(bench.ends, []);
    bench.settle();
    let failed = End::Failed(ProposeError::ExpectedOffset { current: Offset(2) });
    assert!(bench.ends.contains(&(2, failed)), "{:?}", bench.ends);
    assert_eq!(bench.log(GROUP), [(0, 1), (2, 3)]);
}

#[test]
fn memory_is_held_until_the_entry_is_committed_also_when_it_was_answered_before() {
    let mut bench = Bench::serving(GROUP);
    let memory = Arc::new(());
    let held: Weak<()> = Arc::downgrade(&memory);
    let kind = batch(1, 1, None, Durability::None);
    bench.step(Input::Propose(GROUP, Proposal { kind, reply: 1, held: Box::new(memory) }));
    assert_eq!((bench.ends.len(), held.strong_count()), (1, 1));
    bench.settle();
    assert_eq!(held.strong_count(), 0);
}

#[test]
fn the_log_start_moves_up_and_stays_there() {
    let mut bench = Bench::serving(GROUP);
    for id in 0..4 {
        bench.produce(GROUP, id, 10, QUORUM);
        bench.settle();
    }
    bench.propose(GROUP, 10, ProposalKind::Trim { before: Some(Offset(25)) });
    bench.settle();
    let out_of_range = ProposalKind::Trim { before: Some(Offset(41)) };
    bench.propose(GROUP, 11, out_of_range);
    bench.settle();
    let refused = ProposeError::OutOfRange { start: Offset(25), high_watermark: Offset(40) };
    assert_eq!(bench.ends[4..], [(10, End::Trimmed(25)), (11, End::Failed(refused))]);
    assert_eq!(bench.log(GROUP), [(20, 2), (30, 3)], "the batch that holds the start stays");
    bench.step(Input::Settle);
    bench.settle();
    let mut bench = bench.crash();
    bench.open(GROUP, None);
    bench.settle();
    assert_eq!(bench.reader(GROUP).bounds().start, Offset(25));
    bench.propose(GROUP, 12, ProposalKind::Trim { before: None });
    bench.settle();
    assert_eq!(bench.log(GROUP), []);
    bench.produce(GROUP, 13, 1, QUORUM);
    bench.settle();
    assert_eq!(bench.log(GROUP), [(40, 13)], "an emptied log does not begin anew");
}

/// Found by the random test: the log must not start beyond what is committed.
#[test]
fn a_trim_leaves_what_is_not_committed() {
    let mut bench = Bench::serving(GROUP);
    bench.produce(GROUP, 0, 10, QUORUM);
    bench.settle();
    bench.propose(GROUP, 1, ProposalKind::Trim { before: None });
    bench.propose(GROUP, 2, ProposalKind::Trim { before: None });
    bench.produce(GROUP, 3, 1, QUORUM);
    while !bench.ends.iter().any(|(id, _)| *id == 1) {
        bench.persist_one();
    }
    // The write that moves the log start is on disk; the entries behind it may not be.
    if let Some((_, batch)) = bench.writes.pop_front() {
        bench.engine.write(&[batch]).unwrap();
    }
    let mut bench = bench.crash();
    bench.open(GROUP, None);
    bench.settle();
    assert_eq!(bench.reader(GROUP).bounds().start, Offset(10));
}

#[test]
fn a_removed_group_answers_those_who_wait_and_takes_nothing_more() {
    let mut bench = Bench::serving(GROUP);
    bench.produce(GROUP, 1, 1, QUORUM);
    bench.step(Input::Remove(GROUP));
    assert!(matches!(bench.ends[..], [(1, End::Failed(ProposeError::LeaderChanged { .. }))]));
    bench.produce(GROUP, 2, 1, QUORUM);
    assert_eq!(bench.ends[1], (2, End::Failed(ProposeError::NoGroup)));
    bench.settle();
    assert_eq!(bench.engine.groups().unwrap(), []);
}

/// Adds numbers, and answers with the sum. Of two bytes, the second says the kind of the command.
struct Adder {
    sum: Arc<AtomicU32>,
    known_kind: u8,
}

impl Adder {
    fn new(sum: &Arc<AtomicU32>) -> Box<Self> {
        Box::new(Self { sum: Arc::clone(sum), known_kind: 0 })
    }

    fn check(&self, command: &[u8]) -> Result<(), LaterVersion> {
        LaterVersion::check("sum command", command, 7, self.known_kind)
    }
}

impl StateMachine for Adder {
    fn restore(&mut self, _index: u64, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError> {
        for (_, value) in rows {
            self.sum.store(u32::from_le_bytes(value.try_into().unwrap()), Ordering::Relaxed);
        }
        Ok(())
    }

    fn apply(&mut self, _index: u64, command: &[u8]) -> Result<Applied, LaterVersion> {
        self.check(command)?;
        let sum = self.sum.fetch_add(u32::from(command[0]), Ordering::Relaxed);
        let sum = (sum + u32::from(command[0])).to_le_bytes().to_vec();
        Ok(Applied { response: sum.clone(), rows: vec![(b"sum".to_vec(), Some(sum))] })
    }

    fn refusal(&self, command: &[u8]) -> Option<Vec<u8>> {
        self.check(command).err().map(|_| b"not known".to_vec())
    }

    fn query(&self, _question: &[u8]) -> Vec<u8> {
        self.sum.load(Ordering::Relaxed).to_le_bytes().to_vec()
    }
}

/// Who deletes something of another group by what a state machine says must not hear the opposite
/// after a start.
#[test]
fn what_was_applied_is_kept_when_somebody_waits_for_it() {
    let group = GroupId::METADATA;
    let mut bench = Bench::new();
    bench.open(group, Some(Adder::new(&Arc::default())));
    bench.settle();
    bench.propose(group, 1, ProposalKind::Command(vec![5]));
    bench.settle();
    assert!(bench.engine.rows(group, b"sum").unwrap().is_empty(), "nobody waits for the rows");
    bench.step(Input::Keep(2));
    let asks = bench.writes.iter().map(|(_, batch)| batch.sync).collect::<Vec<_>>();
    assert_eq!((asks, bench.ends.len()), (vec![true], 1), "not before it is on the disk");
    bench.settle();
    assert_eq!(bench.ends[1], (2, End::Done));
    assert_eq!(bench.engine.rows(group, b"sum").unwrap().len(), 1);

    // What was written already, but perhaps not synced, is made durable too.
    bench.step(Input::Keep(3));
    bench.settle();
    assert_eq!(bench.ends[2..], [(3, End::Done)]);
    assert!(bench.shard.is_written());
}

#[test]
fn a_question_is_answered_from_what_was_answered_before_it() {
    let group = GroupId::METADATA;
    let mut bench = Bench::new();
    let sum = Arc::new(AtomicU32::new(0));
    bench.open(group, Some(Adder::new(&sum)));
    bench.propose(group, 0, ProposalKind::Query(Vec::new()));
    assert_eq!(bench.ends, [(0, End::Failed(ProposeError::NoLeader))], "it does not serve yet");
    bench.settle();
    bench.propose(group, 1, ProposalKind::Command(vec![7]));
    bench.settle();
    bench.propose(group, 2, ProposalKind::Command(vec![9]));
    bench.propose(group, 3, ProposalKind::Query(Vec::new()));
    let seven = 7_u32.to_le_bytes().to_vec();
    assert_eq!(bench.ends[2], (3, End::Applied(seven)), "alone it needs to ask nobody");
    bench.settle();
    bench.propose(group, 4, ProposalKind::Bounds);
    assert_eq!(bench.ends.last(), Some(&(4, End::Bounds { start: 0, end: 0 })));
}

/// Each start appends a no-op; the log of a group without commands consists of nothing else.
#[test]
fn a_group_without_commands_starts_any_number_of_times() {
    let group = GroupId::COORDINATORS[0];
    let mut bench = Bench::new();
    for _ in 0..2_200 {
        let sum = Arc::new(AtomicU32::new(0));
        bench.open(group, Some(Adder::new(&sum)));
        bench.settle();
        assert_eq!(bench.served, [group]);
        bench = bench.crash();
    }
}

#[test]
fn commands_are_applied_once_over_crashes_and_compaction() {
    let group = GroupId::METADATA;
    let mut bench = Bench::new();
    let mut expected = 0;
    for round in 0..4 {
        let sum = Arc::new(AtomicU32::new(0));
        bench.open(group, Some(Adder::new(&sum)));
        bench.settle();
        assert_eq!(sum.load(Ordering::Relaxed), expected, "round {round}");
        for id in 0..1_500 {
            bench.propose(group, id, ProposalKind::Command(vec![3]));
            expected += 3;
            // The last command of a round is durable, and its effect on the state is not.
            if id == 1_499 {
                let (_, batch) = bench.writes.pop_front().unwrap();
                bench.engine.write(&[batch]).unwrap();
            } else {
                bench.settle();
            }
        }
        bench = bench.crash();
    }
    let stored = bench.engine.groups().unwrap().remove(0);
    assert!(stored.last.unwrap().0 - stored.start.index < 3_000, "the log was compacted");
}

/// Left out, it would make this replica differ from the others for ever, and nobody would see it.
#[test]
fn a_command_of_a_later_version_is_not_proposed_and_never_left_out() {
    let group = GroupId::METADATA;
    let later = |sum: &Arc<AtomicU32>| Box::new(Adder { known_kind: 1, ..*Adder::new(sum) });
    let sum = Arc::new(AtomicU32::new(0));
    let mut bench = Bench::new();
    bench.open(group, Some(later(&sum)));
    bench.settle();
    // It is on the disk, and its effect is not.
    bench.propose(group, 0, ProposalKind::Command(vec![7, 1]));
    let (_, batch) = bench.writes.pop_front().unwrap();
    bench.engine.write(&[batch]).unwrap();

    for _ in 0..2 {
        bench = bench.crash();
        let sum = Arc::new(AtomicU32::new(0));
        bench.open(group, Some(Adder::new(&sum)));
        let error = loop {
            let (number, batch) = bench.writes.pop_front().expect("the entry commits");
            bench.engine.write(&[batch]).unwrap();
            if let Err(error) = bench.try_step(Input::Durable(number)) {
                break error.to_string();
            }
        };
        assert!(error.contains("sum command 1 (form 7)") && error.contains("upgrade"), "{error}");
        assert_eq!(sum.load(Ordering::Relaxed), 0, "at each start anew");
    }
    let sum = Arc::new(AtomicU32::new(0));
    let mut bench = bench.crash();
    bench.open(group, Some(later(&sum)));
    bench.settle();
    assert_eq!(sum.load(Ordering::Relaxed), 7, "the later version goes on with it");

    bench.propose(group, 1, ProposalKind::Command(vec![7, 2]));
    assert_eq!(bench.ends, [(1, End::Applied(b"not known".to_vec()))]);
    assert!(bench.writes.is_empty(), "a leader proposes nothing that it does not know");
}
