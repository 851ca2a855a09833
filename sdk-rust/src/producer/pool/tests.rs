//! Producers with numbers against a broker that keeps the contract and leaves much in doubt: it
//! refuses, appends some of that all the same, does not answer, loses connections, and takes late
//! what was sent into them. There is no network: the test moves each message, by a clock of its
//! own, and every run can be had again.

use futures::FutureExt;
use prost::Message;
use ropewalk_proto::v1;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::producer::handle::Durability;

/// More than any rest lasts: by this the clock goes on, so that rests, which are random, decide
/// nothing.
const STEP: Duration = Duration::from_secs(1);
const RECORDS: u64 = 120;
const FLIGHTS: usize = 5;
/// Longer than any run.
const PATIENT: Duration = Duration::from_secs(1_000_000);

/// SplitMix64 (Steele and others, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn hits(&mut self, rate: usize) -> bool {
        self.below(1000) < rate
    }
}

/// Says which run it was when one fails.
struct Witness(u64);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was run {}", self.0);
        }
    }
}

/// Faults in a thousand batches, or in a thousand steps.
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    /// Connections that break.
    cut: usize,
    /// What was sent into one of those comes late.
    late: usize,
    refused: usize,
    /// What was appended is refused all the same, so that it is in doubt.
    appended: usize,
    /// What was appended is not answered.
    silent: usize,
    /// Refusals of a number that are not true.
    stale_gap: usize,
    /// Answers that overtake others.
    disorder: usize,
}

/// What a partition has, and what it knows of the producer.
#[derive(Default)]
struct Partition {
    identity: Option<(u64, u32)>,
    next: u32,
    /// First number, count and offset of the last batches.
    last: VecDeque<(u32, u32, i64)>,
    log: Vec<u64>,
}

#[derive(Clone)]
struct Request {
    partition: usize,
    number: (u64, u32, u32),
    values: Vec<u64>,
}

impl Partition {
    fn append(&mut self, request: &Request, is_poison: impl Fn(u64) -> bool) -> Result<i64, Error> {
        let (id, epoch, first) = request.number;
        let count = request.values.len() as u32;
        let known = self.identity.filter(|known| known.0 == id && known.1 >= epoch);
        match known {
            None if first != 0 => return Err(refusal("SEQUENCE_GAP")),
            Some(known) if known.1 > epoch => return Err(refusal("PRODUCER_FENCED")),
            Some(_) if first != self.next => {
                let again = self.last.iter().find(|last| (last.0, last.1) == (first, count));
                return again.map(|again| again.2).ok_or_else(|| refusal("SEQUENCE_GAP"));
            }
            _ => {}
        }
        if request.values.iter().any(|value| is_poison(*value)) {
            return Err(refusal("INVALID_FIELD"));
        }
        if known.is_none() {
            self.last.clear();
            self.identity = Some((id, epoch));
        }
        let base = self.log.len() as i64;
        self.log.extend(&request.values);
        self.next = first + count;
        self.last.push_back((first, count, base));
        if self.last.len() > FLIGHTS {
            self.last.pop_front();
        }
        Ok(base)
    }
}

fn refusal(reason: &str) -> Error {
    let code = match reason {
        "SEQUENCE_GAP" | "PRODUCER_FENCED" => Code::FailedPrecondition,
        "INVALID_FIELD" => Code::InvalidArgument,
        "INTERNAL" => Code::Internal,
        _ => Code::Unavailable,
    };
    let details = ErrorDetails::with_error_info(reason, ropewalk_proto::ERROR_DOMAIN, []);
    Error::from_status(&Status::with_error_details(code, "why", details))
}

struct Run {
    dice: Dice,
    rates: Rates,
    pool: Pool,
    partitions: Vec<Partition>,
    poison: Vec<u64>,
    deliveries: Vec<Delivery>,
    last_correlation: u64,
    /// The batches in flight, as a link has them.
    in_flight: BTreeMap<u64, Batch>,
    /// What the broker has not read yet.
    wire: VecDeque<(u64, Request)>,
    /// What the producer has not read yet.
    answers: VecDeque<(u64, Result<i64, Error>)>,
    late: Vec<Request>,
}

impl Run {
    fn new(mut dice: Dice) -> Run {
        let rates = Rates {
            cut: dice.pick(&[0, 5, 20, 60]),
            late: dice.pick(&[0, 500]),
            refused: dice.pick(&[0, 20, 100, 300]),
            appended: dice.pick(&[0, 20, 100]),
            silent: dice.pick(&[0, 0, 20]),
            stale_gap: dice.pick(&[0, 0, 20]),
            disorder: dice.pick(&[0, 0, 300]),
        };
        let settings = Settings {
            batch_bytes: dice.pick(&[1, 1, 50]),
            in_flight: dice.pick(&[FLIGHTS, FLIGHTS, 2]),
            memory_bytes: 1 << 20,
            delivery_timeout: dice.pick(&[PATIENT, PATIENT, 20 * STEP, 4 * STEP]),
            durability: Durability::Quorum,
            retry_unknown: false,
            keep_order: true,
            idempotent: true,
            codec: None,
            level: None,
        };
        let poisoned = dice.pick(&[0, 20, 100]);
        let poison = (0..RECORDS).filter(|_| dice.hits(poisoned)).collect();
        let pool = Pool::new(settings);
        pool.identified(Identity { id: 1, epoch: 0, is_named: false });
        let count = 1 + dice.below(2);
        Run {
            dice,
            rates,
            pool,
            partitions: (0..count).map(|_| Partition::default()).collect(),
            poison,
            deliveries: Vec::new(),
            last_correlation: 0,
            in_flight: BTreeMap::new(),
            wire: VecDeque::new(),
            answers: VecDeque::new(),
            late: Vec::new(),
        }
    }

    fn partition_of(&self, value: u64) -> usize {
        value as usize % self.partitions.len()
    }

    fn enqueue(&mut self) {
        let value = self.deliveries.len() as u64;
        let record = Record::to("t")
            .partition(self.partition_of(value) as i32)
            .value(value.to_be_bytes().to_vec());
        let sizes = Sizes::of(&record);
        let delivery = self.pool.append(&record, sizes, &mut Outcomes::default()).unwrap();
        self.deliveries.push(delivery.unwrap());
    }

    fn send(&mut self) -> bool {
        let Some((batch, partition, _)) = self.pool.next(ANY, ANY, Instant::now()) else {
            return false;
        };
        let number = batch.number.unwrap();
        let set = v1::RecordSet::decode(batch.set.clone()).unwrap();
        let value = |record: v1::Record| {
            u64::from_be_bytes(record.value.unwrap().as_ref().try_into().unwrap())
        };
        let request = Request {
            partition: partition.unwrap() as usize,
            number: (number.identity.id, number.identity.epoch, number.first),
            values: set.records.into_iter().map(value).collect(),
        };
        self.last_correlation += 1;
        self.wire.push_back((self.last_correlation, request));
        self.in_flight.insert(self.last_correlation, batch);
        true
    }

    fn append(&mut self, request: &Request) -> Result<i64, Error> {
        let poison = &self.poison;
        self.partitions[request.partition].append(request, |value| poison.contains(&value))
    }

    /// The broker reads a request, and answers it or not.
    fn serve(&mut self) -> bool {
        let Some((correlation, request)) = self.wire.pop_front() else { return false };
        let answer = if self.dice.hits(self.rates.refused) {
            let reasons = ["NO_LEADER", "OVERLOADED", "NO_QUORUM", "LEADER_CHANGED", "INTERNAL"];
            Err(refusal(self.dice.pick(&reasons)))
        } else if self.dice.hits(self.rates.stale_gap) {
            Err(refusal("SEQUENCE_GAP"))
        } else {
            let appended = self.append(&request);
            if appended.is_ok() && self.dice.hits(self.rates.silent) {
                return true;
            }
            let in_doubt = appended.is_ok() && self.dice.hits(self.rates.appended);
            if in_doubt { Err(refusal("NO_QUORUM")) } else { appended }
        };
        self.answers.push_back((correlation, answer));
        true
    }

    /// The producer reads an answer.
    fn answer(&mut self) -> bool {
        if self.answers.is_empty() {
            return false;
        }
        let overtakes = self.dice.hits(self.rates.disorder);
        let at = if overtakes { self.dice.below(self.answers.len()) } else { 0 };
        let (correlation, answer) = self.answers.remove(at).unwrap();
        let Some(batch) = self.in_flight.remove(&correlation) else { return true };
        match answer {
            Ok(base_offset) => {
                let append = v1::PartitionAppend { base_offset, ..v1::PartitionAppend::default() };
                self.pool.succeeded(&batch, &ProduceResponse { appends: vec![append] });
            }
            Err(error) => self.pool.refused(batch, error, false),
        }
        true
    }

    /// The connection breaks.
    fn cut(&mut self) {
        self.answers.clear();
        let mut wire = std::mem::take(&mut self.wire);
        let taken = self.dice.below(wire.len() + 1);
        let unsent: Vec<u64> = wire.split_off(taken).iter().map(|(unsent, _)| *unsent).collect();
        let is_read = self.dice.below(taken + 1);
        for (at, (_, request)) in wire.into_iter().enumerate() {
            if at < is_read {
                let _ = self.append(&request);
            } else if self.dice.hits(self.rates.late) {
                self.late.push(request);
            }
        }
        for (correlation, batch) in std::mem::take(&mut self.in_flight) {
            if unsent.contains(&correlation) {
                let error = Error::new(ErrorKind::Unreachable, "cut");
                self.pool.refused(batch, error, true);
            } else {
                self.pool.refused(batch, Error::new(ErrorKind::Disconnected, "cut"), false);
            }
        }
    }

    /// What was sent into a connection that broke comes at last.
    fn take_late(&mut self) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let at = self.dice.below(self.late.len());
        let request = self.late.remove(at);
        let _ = self.append(&request);
        true
    }

    /// Time passes, as in a sender's tick.
    async fn pass(&mut self) {
        tokio::time::advance(STEP).await;
        let now = Instant::now();
        self.pool.wake_rested(now);
        if let Some(oldest) = now.checked_sub(self.pool.settings.delivery_timeout) {
            let late = self.in_flight.extract_if(.., |_, batch| batch.opened < oldest);
            late.for_each(|(_, batch)| self.pool.not_answered(&batch));
        }
        self.pool.expire(now, |_| Error::new(ErrorKind::TimedOut, "not delivered"));
    }

    /// Sends everything; the faults end at last.
    async fn play(&mut self) {
        for step in 0.. {
            let is_sent = self.deliveries.len() as u64 == RECORDS;
            if is_sent && self.pool.is_idle() {
                break;
            }
            assert!(step < 20_000, "it goes on for ever");
            if step == 10_000 {
                self.rates = Rates::default();
            }
            if self.dice.hits(self.rates.cut) {
                self.cut();
            }
            let moved = match self.dice.below(20) {
                0..4 if !is_sent => {
                    self.enqueue();
                    true
                }
                0..8 => self.send(),
                8..13 => self.serve(),
                13..18 => self.answer(),
                18 => self.take_late(),
                _ => false,
            };
            let waits = self.wire.is_empty() && self.answers.is_empty();
            if !moved && waits {
                // Whoever waits for an answer that does not come loses the connection at last.
                if !self.in_flight.is_empty() && self.dice.below(20) == 0 {
                    self.cut();
                }
                if self.dice.below(4) == 0 {
                    self.pass().await;
                }
            }
        }
        while self.serve() || self.take_late() {}
    }

    /// What was acknowledged is there once and in order, what surely was not appended is not there,
    /// and nothing is given up without need.
    fn check(self) {
        let is_patient = self.pool.settings.delivery_timeout == PATIENT;
        let is_alone = self.pool.settings.batch_bytes == 1;
        for partition in &self.partitions {
            assert!(partition.log.is_sorted_by(|one, next| one < next), "{:?}", partition.log);
        }
        let mut in_doubt = vec![false; self.partitions.len()];
        let count = self.partitions.len();
        for (value, delivery) in (0..).zip(self.deliveries) {
            let at = value as usize % count;
            let place = self.partitions[at].log.iter().position(|there| *there == value);
            let is_poison = self.poison.contains(&value);
            let error = match delivery.now_or_never().expect("an outcome") {
                Ok(placed) => {
                    assert_eq!(place, Some(placed.offset as usize), "record {value}");
                    continue;
                }
                Err(error) => error,
            };
            let maybe = error.may_have_happened();
            assert!(maybe || place.is_none(), "record {value} is there: {error}");
            assert_ne!(error.reason(), "PRODUCER_FENCED", "record {value}");
            if !is_patient {
                continue;
            }
            let is_refused = error.reason() == "INVALID_FIELD" && (is_poison || !is_alone);
            // What is refused for good and may have been appended by an earlier try leaves those
            // behind it in doubt: nothing else may.
            in_doubt[at] |= is_refused && maybe;
            assert!(is_refused || maybe && in_doubt[at], "record {value}: {error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_acked_is_there_once_and_nothing_is_given_up_without_need() {
    for number in 0..2_000 {
        let _witness = Witness(number);
        let mut run = Run::new(Dice(number));
        run.play().await;
        run.check();
    }
}
