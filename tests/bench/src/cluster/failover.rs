//! A thousand partitions after one broker was killed, and after all were: the time until each of
//! them has taken a record.

use futures::future::try_join_all;
use tokio::time::Instant;

use super::nodes::{Led, Nodes};
use super::run::{Context, NODES};
use super::serving::serve_all;
use crate::goals::figure::{Figure, Goal};
use crate::wire::Failure;

/// The times of a round, in seconds: the partition in the middle, and the last.
type Times = (f64, f64);

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    context.check_disk(0)?;
    let partitions = context.options.pick(300, 1_000);
    let mut nodes = context.nodes(NODES).await?;
    let topic = nodes.topic(partitions).await?;
    // So that every log has something.
    serve(&nodes, &topic, None, Instant::now()).await?;

    let mut dead = Vec::new();
    for number in 0..context.options.rounds() {
        dead.push(one_dies(&mut nodes, &topic, number % usize::from(NODES)).await?);
    }
    report(context, &format!("{partitions} partitions, one killed"), &dead, 5.0);
    let mut restarted = Vec::new();
    for _ in 0..context.options.rounds() {
        restarted.push(all_die(&mut nodes, &topic).await?);
    }
    report(context, &format!("{partitions} partitions, all killed"), &restarted, 10.0);
    nodes.end().await
}

/// From the kill of a broker until the partitions that it led have taken a record. Then it comes
/// back.
async fn one_dies(nodes: &mut Nodes, topic: &Led, place: usize) -> Result<Times, Failure> {
    let orphans = topic.leaders.iter().filter(|leader| **leader == place).count();
    nodes.brokers()[place].kill9().await?;
    let killed = Instant::now();
    let acked = serve(nodes, topic, Some(place), killed).await?;
    // The others have taken theirs before: the last ones are those that had to be led anew.
    let anew = &acked[acked.len() - orphans.max(1)..];
    let times = (anew[anew.len() / 2], anew[anew.len() - 1]);
    nodes.brokers()[place].restart().await?;
    nodes.led(&topic.name).await?;
    Ok(times)
}

/// From the start of the processes until all partitions have taken a record.
async fn all_die(nodes: &mut Nodes, topic: &Led) -> Result<Times, Failure> {
    for broker in nodes.brokers() {
        broker.kill9().await?;
    }
    let started = Instant::now();
    for broker in nodes.brokers() {
        broker.begin()?;
    }
    let acked = serve(nodes, topic, None, started).await?;
    let ready = nodes.brokers().iter_mut().map(ropewalk_harness::Broker::wait_ready);
    try_join_all(ready).await?;
    nodes.led(&topic.name).await?;
    Ok((acked[acked.len() / 2], acked[acked.len() - 1]))
}

/// The seconds after which each partition had taken a record, through those that are not dead.
async fn serve(
    nodes: &Nodes,
    topic: &Led,
    dead: Option<usize>,
    since: Instant,
) -> Result<Vec<f64>, Failure> {
    let places = (0..usize::from(NODES)).filter(|place| Some(*place) != dead);
    let addresses: Vec<_> = places.map(|place| nodes.address(place)).collect();
    let partitions = u32::try_from(topic.leaders.len())?;
    let acked = serve_all(since, &addresses, &topic.name, partitions).await?;
    Ok(acked.iter().map(std::time::Duration::as_secs_f64).collect())
}

fn report(context: &mut Context<'_>, case: &str, rounds: &[Times], most: f64) {
    let of = |value: fn(&Times) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let last = Figure::of("failover", case, "s, the last", of(|times| times.1));
    let note = "until each partition has taken a record";
    context.report.figure(last.map(|figure| figure.goal(Goal::AtMost(most)).note(note)));
    context.report.figure(Figure::of("failover", case, "s, the middle", of(|times| times.0)));
}
