//! A group under a steady load, watched while nothing happens, while a member joins, and while one
//! leaves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use ropewalk::Client;
use ropewalk_proto::broker::{Durability, ProduceStreamRequest};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

use super::pauses::{Delivery, Pauses};
use crate::gate::Gate;
use crate::goals::figure::{Figure, Goal};
use crate::goals::members::{JOINING, Member, stable};
use crate::goals::run::Context;
use crate::load::check;
use crate::machine::allow_descriptors;
use crate::options::EngineKind;
use crate::records::{Batch, request};
use crate::target::Target;
use crate::wire::{Failure, Wire};

/// The partitions of each member.
const EACH: usize = 4;
/// A record goes to each partition this often, in so many portions.
const EVERY: Duration = Duration::from_millis(40);
const PORTIONS: usize = 8;
/// The bytes of a record.
const RECORD: usize = 100;
/// A turn is watched for this long at least, once the group has come to rest.
const LEAST_SPAN: Duration = Duration::from_secs(2);
/// Who has a partition is seen for this long before something happens.
const BEFORE: Duration = Duration::from_millis(300);
const GROUP: &str = "rebalance";

/// One of each.
#[derive(Debug)]
struct Round {
    nothing: Pauses,
    join: Pauses,
    leave: Pauses,
}

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let members = context.options.pick(20, 100);
    allow_descriptors(2 * members as u64)?;
    let partitions = u32::try_from(members * EACH)?;
    let target = context.target(EngineKind::Disk, partitions).await?;
    let gate = Gate::for_bytes(u64::MAX);
    let turns = async {
        let rounds = rounds(context, &target, members).await;
        gate.close();
        rounds
    };
    let (rounds, ()) = tokio::try_join!(turns, steady(&target, members * EACH, &gate))?;
    target.end().await?;
    report(context, members, &rounds);
    Ok(())
}

async fn rounds(
    context: &Context<'_>,
    target: &Target,
    count: usize,
) -> Result<Vec<Round>, Failure> {
    let partitions = i32::try_from(count * EACH)?;
    let span = context.options.span().max(LEAST_SPAN);
    let watch = Watch { seen: Arc::default(), partitions, span };
    let mut members: Vec<_> = stream::iter(0..count)
        .map(|number| join(target, number, &watch))
        .buffered(JOINING)
        .try_collect()
        .await?;
    let client = Client::connect(target.address()).await?;
    let mut rounds = Vec::new();
    for number in 0..context.options.rounds() {
        stable(&client, GROUP, count).await?;
        // Until what was produced meanwhile is read: the pauses are to be those of a quiet time.
        watch.turn(async { Ok(()) }).await?;
        let nothing = watch.turn(async { Ok(()) }).await?;
        let joining = async {
            members.push(join(target, count + number, &watch).await?);
            stable(&client, GROUP, count + 1).await
        };
        let join = watch.turn(joining).await?;
        // One of the first, not the one that has just come.
        let first = members.remove(0);
        let leaving = async {
            first.leave().await?;
            stable(&client, GROUP, count).await
        };
        let leave = watch.turn(leaving).await?;
        for (pauses, what) in [(&join, "joined"), (&leave, "left")] {
            if pauses.moved.is_empty() {
                let longest = pauses.stayed;
                return Err(format!(
                    "a member {what} and no partition moved; one had no record for {longest:?}"
                )
                .into());
            }
        }
        rounds.push(Round { nothing, join, leave });
    }
    for member in members {
        member.leave().await?;
    }
    Ok(rounds)
}

async fn join(target: &Target, number: usize, watch: &Watch) -> Result<Member, Failure> {
    let seen = Arc::clone(&watch.seen);
    Member::join(target.address(), &target.topic, GROUP, move |batch| {
        let delivery =
            Delivery { partition: batch.partition(), member: number, at: Instant::now() };
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
    })
    .await
}

/// What all members get.
struct Watch {
    /// Since the last look. Bounded by the rate, and by the length of a turn.
    seen: Arc<Mutex<Vec<Delivery>>>,
    partitions: i32,
    span: Duration,
}

impl Watch {
    /// What is delivered in a time in which something happens.
    async fn turn(
        &self,
        happens: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Pauses, Failure> {
        drop(self.take());
        let from = Instant::now();
        sleep_until(from + BEFORE).await;
        happens.await?;
        sleep(self.span).await;
        let to = Instant::now();
        let mut seen = self.take();
        seen.retain(|delivery| delivery.at >= from && delivery.at <= to);
        Ok(Pauses::of(&seen, self.partitions, (from, to)))
    }

    fn take(&self) -> Vec<Delivery> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends a record to each partition, over and over, until the gate closes.
async fn steady(target: &Target, partitions: usize, gate: &Gate) -> Result<(), Failure> {
    let mut wire = Wire::connect(target.address()).await?;
    let portion = partitions.div_ceil(PORTIONS);
    let (requests, queue) = mpsc::channel(portion);
    let mut answers = wire.produce_stream(ReceiverStream::new(queue)).await?;
    let sending = async {
        let set = Batch::of(1, RECORD).encoded;
        let mut ticks = interval(EVERY / u32::try_from(PORTIONS)?);
        let mut next = 0;
        while !gate.is_over(Instant::now()) {
            ticks.tick().await;
            for _ in 0..portion {
                let partition = i32::try_from(next)?;
                let append = request(&target.topic, partition, set.clone(), Durability::Quorum);
                let message = ProduceStreamRequest { correlation: 0, request: Some(append) };
                requests.send(message).await?;
                next = (next + 1) % partitions;
            }
        }
        drop(requests);
        Ok::<(), Failure>(())
    };
    let answering = async {
        while let Some(answer) = answers.message().await? {
            check(&answer)?;
        }
        Ok::<(), Failure>(())
    };
    tokio::try_join!(sending, answering)?;
    Ok(())
}

/// One of the three of a round.
type Of = fn(&Round) -> &Pauses;

fn report(context: &mut Context<'_>, members: usize, rounds: &[Round]) {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let every = EVERY.as_millis();
    let cases: [(String, Of); 2] = [
        (format!("one joins {members}"), |round| &round.join),
        (format!("one leaves {}", members + 1), |round| &round.leave),
    ];
    for (case, of) in cases {
        let pairs: Vec<_> = rounds
            .iter()
            .map(|round| (millis(of(round).stayed), millis(round.nothing.stayed)))
            .collect();
        let stayed = Figure::beside("rebalance", &case, "others max ms", "nothing happens", &pairs);
        let note = format!("a record each {every} ms");
        let stayed = stayed.map(|figure| figure.goal(Goal::RatioAtMost(2.0)).note(note));
        context.report.figure(stayed);
        let moved: Vec<_> =
            rounds.iter().flat_map(|round| &of(round).moved).map(|time| millis(*time)).collect();
        let note = format!("{} moves", moved.len());
        // The goal is of each of them.
        let longest = moved.iter().copied().fold(0.0, f64::max);
        context.report.figure(Figure::of("rebalance", &case, "moved p50 ms", moved));
        let longest = Figure::of("rebalance", &case, "moved max ms", vec![longest]);
        context.report.figure(longest.map(|it| it.goal(Goal::AtMost(200.0)).note(note)));
    }
}
