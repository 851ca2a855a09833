//! Idempotent producers over one replica: a batch that is sent until it is answered is in the log
//! once, whatever is lost meanwhile.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ropewalk_core::{ProducerId, ProducerSequence};

use super::*;

const GROUP: GroupId = GroupId::FIRST_PARTITION;
const QUORUM: Durability = Durability::Quorum;

fn sequenced(id: u32, producer: u64, epoch: u32, first: u32, records: u32) -> ProposalKind {
    let times = RecordTimes { newest: None, untimed: true, shortest_ttl: None };
    let sequence = ProducerSequence { producer: ProducerId(producer), epoch, first };
    let (codec, times_of) = (Compression::None, TimestampType::Create);
    let payload = id.to_le_bytes();
    let draft = BatchDraft::new(&payload, records, codec, times_of, times, Some(sequence));
    ProposalKind::Batch { draft, expected: None, durability: QUORUM, epoch: None }
}

fn appended(base: u64, records: u32) -> End {
    End::Appended { base, records, achieved: QUORUM }
}

fn again(base: u64, records: u32) -> End {
    End::Again { base, records }
}

fn gap(expected: u32, actual: u32) -> End {
    End::Failed(ProposeError::SequenceGap { expected, actual })
}

#[test]
fn a_batch_that_comes_again_is_answered_as_the_first_time_and_when_that_is() {
    let mut bench = Bench::serving(GROUP);
    bench.propose(GROUP, 1, sequenced(1, 9, 0, 0, 3));
    bench.propose(GROUP, 2, sequenced(1, 9, 0, 0, 3));
    assert_eq!(bench.ends, [], "the first one is not on disk yet");
    bench.settle();
    assert_eq!(bench.ends, [(1, appended(0, 3)), (2, again(0, 3))]);
    bench.propose(GROUP, 3, sequenced(1, 9, 0, 0, 3));
    assert_eq!(bench.ends.last(), Some(&(3, again(0, 3))), "nothing is written for it");
    assert_eq!(bench.log(GROUP), [(0, 1)]);
}

#[test]
fn a_batch_does_not_fail_the_condition_that_it_has_met_itself() {
    let mut bench = Bench::serving(GROUP);
    for at in 1..3 {
        let mut kind = sequenced(1, 9, 0, 0, 3);
        if let ProposalKind::Batch { expected, .. } = &mut kind {
            *expected = Some(Box::new(Expected::Offset(Offset(0))));
        }
        bench.propose(GROUP, at, kind);
    }
    bench.settle();
    assert_eq!(bench.ends, [(1, appended(0, 3)), (2, again(0, 3))]);
}

#[test]
fn up_to_five_are_on_their_way_and_a_missing_one_stops_those_behind_it() {
    let mut bench = Bench::serving(GROUP);
    for at in [0, 1, 3, 4] {
        bench.propose(GROUP, at, sequenced(at, 9, 0, at, 1));
    }
    assert_eq!(bench.ends, [(3, gap(2, 3)), (4, gap(2, 4))]);
    for at in [2, 3, 4] {
        bench.propose(GROUP, at, sequenced(at, 9, 0, at, 1));
    }
    bench.settle();
    assert_eq!(bench.log(GROUP), (0..5).map(|at| (u64::from(at), at)).collect::<Vec<_>>());
}

/// Whoever forwards them hears of the wrong epoch, and sends all of them again in order.
#[test]
fn those_behind_one_that_was_for_another_epoch_are_no_gap() {
    let mut bench = Bench::serving(GROUP);
    bench.propose(GROUP, 0, sequenced(0, 9, 0, 0, 1));
    for at in 0..3 {
        let mut kind = sequenced(at, 9, 0, at, 1);
        if let ProposalKind::Batch { epoch, .. } = &mut kind {
            *epoch = Some(1_000);
        }
        bench.propose(GROUP, 10 + at, kind);
    }
    bench.settle();
    let refused = || End::Failed(ProposeError::NoLeader);
    let ends = [(11, refused()), (12, refused()), (0, appended(0, 1)), (10, again(0, 1))];
    assert_eq!(bench.ends, ends, "what is there already is so in any epoch");
}

#[test]
fn what_is_known_outlives_restarts_and_the_segments() {
    let mut bench = Bench::serving(GROUP);
    bench.propose(GROUP, 1, sequenced(1, 9, 4, 0, 2));
    bench.settle();
    bench.propose(GROUP, 2, ProposalKind::Trim { before: None });
    bench.settle();
    bench.step(Input::Settle);
    bench.settle();
    let mut bench = bench.crash();
    bench.open(GROUP, None);
    bench.settle();
    for (at, kind) in [
        (1, sequenced(1, 9, 4, 0, 2)),
        (2, sequenced(2, 9, 4, 1, 2)),
        (3, sequenced(3, 9, 3, 2, 2)),
        (4, sequenced(4, 9, 5, 2, 1)),
        (5, sequenced(5, 8, 0, 2, 1)),
    ] {
        bench.propose(GROUP, at, kind);
    }
    let fenced = ProposeError::ProducerFenced { expected: 4, actual: 3 };
    let ends = [
        (1, again(0, 2)),
        (2, gap(2, 1)),
        (3, End::Failed(fenced)),
        (4, gap(0, 2)),
        (5, gap(0, 2)),
    ];
    assert_eq!(bench.ends, ends);
}

#[test]
fn numbers_go_around_and_what_was_before_that_is_known_after_it() {
    let mut bench = Bench::serving(GROUP);
    let batches = [(1, 0, u32::MAX), (2, u32::MAX, 3), (3, 2, 1)];
    for (id, first, records) in batches {
        bench.propose(GROUP, id, sequenced(id, 9, 0, first, records));
    }
    bench.settle();
    let places = [0, u64::from(u32::MAX), u64::from(u32::MAX) + 3];
    let ends: Vec<_> =
        batches.iter().zip(places).map(|((id, _, n), at)| (*id, appended(at, *n))).collect();
    assert_eq!(bench.ends, ends);
    let mut bench = bench.crash();
    bench.open(GROUP, None);
    bench.settle();
    for (id, first, records) in batches {
        bench.propose(GROUP, id, sequenced(id, 9, 0, first, records));
    }
    bench.propose(GROUP, 4, sequenced(4, 9, 0, u32::MAX, 1));
    let known = batches.iter().zip(places).map(|((id, _, n), at)| (*id, again(at, *n)));
    assert_eq!(bench.ends, known.chain([(4, gap(3, u32::MAX))]).collect::<Vec<_>>());
}

#[test]
fn whoever_was_idle_longest_makes_room_and_is_told_when_it_comes_back() {
    let mut bench = Bench::serving(GROUP);
    for producer in 0..8 {
        bench.propose(GROUP, producer, sequenced(producer, producer.into(), 0, 0, 1));
        bench.settle();
    }
    bench.ends.clear();
    // Each of them may be about to try its batch again.
    bench.propose(GROUP, 18, sequenced(18, 8, 0, 0, 1));
    let full = End::Failed(ProposeError::TooManyProducers { limit: 8 });
    assert_eq!(std::mem::take(&mut bench.ends), [(18, full)]);
    bench.now += 100_000;
    // Two come at once, so that two go.
    bench.propose(GROUP, 18, sequenced(18, 8, 0, 0, 1));
    bench.propose(GROUP, 19, sequenced(19, 9, 0, 0, 1));
    bench.settle();
    assert_eq!(std::mem::take(&mut bench.ends), [(18, appended(8, 1)), (19, appended(9, 1))]);
    for producer in [0, 1, 2] {
        bench.propose(GROUP, 20, sequenced(20, producer, 0, 1, 1));
    }
    bench.settle();
    assert_eq!(bench.ends, [(20, gap(0, 1)), (20, gap(0, 1)), (20, appended(10, 1))]);
    // All of them have been idle for too long now, but for the last one.
    bench.now += 100_000;
    bench.propose(GROUP, 22, sequenced(22, 2, 0, 2, 1));
    bench.settle();
    (0..4_000).for_each(|_| bench.step(Input::Tick));
    bench.settle();
    bench.ends.clear();
    for producer in [3, 8, 2] {
        bench.propose(GROUP, producer, sequenced(producer, producer.into(), 0, 3, 1));
    }
    bench.settle();
    assert_eq!(bench.ends, [(3, gap(0, 3)), (8, gap(0, 3)), (2, appended(12, 1))]);
}

#[test]
fn a_leader_whose_clock_is_behind_lets_nobody_go_who_may_try_again() {
    let mut bench = Bench::serving(GROUP);
    bench.now += 1_000_000;
    for producer in 0..8 {
        bench.propose(GROUP, producer, sequenced(producer, producer.into(), 0, 0, 1));
        bench.settle();
    }
    bench.now -= 50_000;
    (0..4_000).for_each(|_| bench.step(Input::Tick));
    bench.settle();
    bench.ends.clear();
    bench.propose(GROUP, 18, sequenced(18, 8, 0, 0, 1));
    bench.propose(GROUP, 10, sequenced(10, 0, 0, 1, 1));
    bench.settle();
    let full = End::Failed(ProposeError::TooManyProducers { limit: 8 });
    assert_eq!(std::mem::take(&mut bench.ends), [(18, full), (10, appended(8, 1))]);
    // Nobody waits for a time to come that was never there.
    bench.now -= 500_000;
    bench.propose(GROUP, 18, sequenced(18, 8, 0, 0, 1));
    bench.settle();
    assert_eq!(bench.ends, [(18, appended(9, 1))]);
}

#[derive(Clone, Debug)]
enum Step {
    Send { producer: usize, records: u32 },
    Resend { producer: usize },
    Persist,
    Settle,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3usize, 1..4u32).prop_map(|(producer, records)| Step::Send { producer, records }),
        3 => (0..3usize).prop_map(|producer| Step::Resend { producer }),
        5 => Just(Step::Persist),
        1 => Just(Step::Settle),
        1 => Just(Step::Crash),
    ]
}

/// A producer as an SDK has it: batches in order, each sent again until it is answered.
#[derive(Default)]
struct Client {
    next: u32,
    sent: Vec<u32>,
    /// Batches without an answer: id, first sequence, records.
    unanswered: Vec<(u32, u32, u32)>,
}

struct Run {
    bench: Bench,
    clients: Vec<Client>,
    places: BTreeMap<u32, u64>,
}

impl Run {
    fn resend(&mut self, producer: usize) {
        for (id, first, records) in self.clients[producer].unanswered.clone() {
            self.bench.propose(GROUP, id, sequenced(id, producer as u64, 0, first, records));
        }
        self.take_answers();
    }

    fn take_answers(&mut self) {
        for (id, end) in std::mem::take(&mut self.bench.ends) {
            match end {
                End::Appended { base, .. } | End::Again { base, .. } => {
                    assert_eq!(*self.places.entry(id).or_insert(base), base, "it moved");
                    for client in &mut self.clients {
                        client.unanswered.retain(|(other, ..)| *other != id);
                    }
                }
                End::Failed(
                    ProposeError::SequenceGap { .. } | ProposeError::LeaderChanged { .. },
                ) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn take_step(&mut self, id: u32, step: &Step) {
        match step {
            Step::Send { producer, records } => {
                let client = &mut self.clients[*producer];
                if client.unanswered.len() == 5 {
                    return;
                }
                let first = client.next;
                client.next += records;
                client.sent.push(id);
                client.unanswered.push((id, first, *records));
                let kind = sequenced(id, *producer as u64, 0, first, *records);
                self.bench.propose(GROUP, id, kind);
            }
            Step::Resend { producer } => self.resend(*producer),
            Step::Persist => {
                self.bench.persist_one();
            }
            Step::Settle => self.bench.step(Input::Settle),
            Step::Crash => {
                self.take_answers();
                let bench = std::mem::replace(&mut self.bench, Bench::new());
                self.bench = bench.crash();
                self.bench.open(GROUP, None);
                self.bench.settle();
                (0..self.clients.len()).for_each(|producer| self.resend(producer));
            }
        }
        self.take_answers();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_batch_is_in_the_log_once_and_in_order(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let clients = (0..3).map(|_| Client::default()).collect();
        let mut run = Run { bench: Bench::serving(GROUP), clients, places: BTreeMap::new() };
        for (id, step) in (0..).zip(&steps) {
            run.take_step(id, step);
        }
        for producer in 0..3 {
            run.resend(producer);
            run.bench.settle();
            run.take_answers();
            prop_assert_eq!(&run.clients[producer].unanswered, &[]);
        }
        let log = run.bench.log(GROUP);
        for client in &run.clients {
            let of_client: Vec<u32> =
                log.iter().map(|(_, id)| *id).filter(|id| client.sent.contains(id)).collect();
            prop_assert_eq!(&of_client, &client.sent);
        }
        for (id, place) in &run.places {
            prop_assert!(log.contains(&(*place, *id)));
        }
    }
}
