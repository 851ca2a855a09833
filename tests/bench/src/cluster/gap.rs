//! For how long a partition takes no record when a broker is killed: its leader, or a follower.

use std::time::Duration;

use ropewalk_proto::broker::Durability;
use tokio::time::{Instant, sleep, timeout};

use super::nodes::{Led, Nodes};
use super::run::{Context, NODES};
use super::serving::{CALL, PAUSE};
use crate::gate::Gate;
use crate::goals::figure::{Figure, Goal};
use crate::goals::run::RECORD;
use crate::records::{Batch, request};
use crate::wire::{Failure, Wire};

/// Records are appended for so long before the kill, and after it.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_secs(5);
/// Kills of each kind: the slowest of them is a p99, more or less.
const KILLS: usize = 20;
const KILLS_QUICK: usize = 3;

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    context.check_disk(0)?;
    let mut nodes = context.nodes(NODES).await?;
    let mut topic = nodes.topic(1).await?;
    for (case, is_leader, middle, most) in
        [("the leader killed", true, Some(2.0), 3.0), ("a follower killed", false, None, 0.2)]
    {
        let mut gaps = Vec::new();
        for _ in 0..context.options.pick(KILLS_QUICK, KILLS) {
            gaps.push(gap(&mut nodes, &topic, is_leader).await?.as_secs_f64());
            topic = nodes.led(&topic.name).await?;
        }
        let slowest = gaps.iter().copied().fold(0.0, f64::max);
        let note = format!("of {} kills", gaps.len());
        let figure = Figure::of("gap", case, "s", gaps);
        context.report.figure(match middle {
            Some(middle) => figure.map(|figure| figure.goal(Goal::AtMost(middle))),
            None => figure,
        });
        let slowest = Figure::of("gap", case, "s, slowest", vec![slowest]);
        context.report.figure(slowest.map(|f| f.goal(Goal::AtMost(most)).note(note)));
    }
    nodes.end().await
}

/// Appends one record after the other through a broker that lives on, kills another one meanwhile,
/// and starts it again. Returns the longest time without an ack.
async fn gap(nodes: &mut Nodes, topic: &Led, is_leader: bool) -> Result<Duration, Failure> {
    let (leader, count) = (topic.leaders[0], usize::from(NODES));
    let next = (leader + 1) % count;
    let (victim, asked) = if is_leader { (leader, next) } else { (next, leader) };
    let wire = Wire::connect(nodes.address(asked)).await?;
    let gate = Gate::new(Duration::ZERO, BEFORE + AFTER, u64::MAX);
    let appending = tokio::spawn(append(wire, topic.name.clone(), gate.clone()));
    sleep(BEFORE).await;
    nodes.brokers()[victim].kill9().await?;
    gate.closed().await;
    let acks = appending.await?;
    let closed = gate.opens() + BEFORE + AFTER;
    nodes.brokers()[victim].restart().await?;
    Ok(longest(gate.opens(), &acks, closed))
}

/// Appends until the gate closes. Returns when each record was acked.
async fn append(mut wire: Wire, topic: String, gate: Gate) -> Vec<Instant> {
    let set = Batch::of(1, RECORD).encoded;
    let mut acks = Vec::new();
    while !gate.is_over(Instant::now()) {
        let append = request(&topic, 0, set.clone(), Durability::Quorum);
        if let Ok(Ok(_)) = timeout(CALL, wire.produce(append)).await {
            acks.push(Instant::now());
        } else {
            sleep(PAUSE).await;
        }
    }
    acks
}

/// The longest time without an ack from a start to an end.
fn longest(start: Instant, acks: &[Instant], end: Instant) -> Duration {
    let times = || std::iter::once(start).chain(acks.iter().copied().filter(|ack| *ack < end));
    let later = times().skip(1).chain(std::iter::once(end));
    times().zip(later).map(|(before, after)| after - before).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_may_be_open_at_either_end() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let longest = |acks: &[u64]| {
            let acks: Vec<_> = acks.iter().map(|millis| at(*millis)).collect();
            longest(start, &acks, at(100)).as_millis()
        };
        assert_eq!(longest(&[10, 20, 60, 70]), 40);
        assert_eq!(longest(&[90]), 90);
        assert_eq!(longest(&[10, 300]), 90, "what comes after the end does not count");
        assert_eq!(longest(&[]), 100);
    }
}
