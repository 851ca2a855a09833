//! How long partitions take nothing: after kill -9 of the broker that leads them, after kill -9 of
//! another one, and after a restart of all with many partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use ropewalk_chaos::{
    ChaosError, Cluster, History, NodeId, Options, Place, Recorder, Rng, Stubs, Swarm,
    create_replicated_topics, longest_gaps,
};
use ropewalk_proto::v1;
use tokio::time::{Instant, sleep};

use crate::cluster::COPIES;
use crate::judge::{judge, needs_network, settings, temporary};

/// Brokers that are killed.
const KILLS: u32 = 6;
/// A follower that hears nothing stands for election after 1 to 2 s, the first of the two counts.
const WITHOUT_LEADER: Duration = Duration::from_millis(2_500);
/// A client of the broker that is gone connects to another one.
const WITHOUT_FOLLOWER: Duration = Duration::from_millis(500);
/// How long a killed broker is gone.
const GONE: Duration = Duration::from_secs(4);
/// How long the brokers have to spread the leaders evenly again.
const SETTLE: Duration = Duration::from_secs(2);
/// By how much an epoch may rise when its leader is killed: another one is chosen, and the
/// preferred one leads again once it is back.
const EACH_KILL: i64 = 2;
/// By how much it may rise for nothing in each minute that has begun.
const EACH_MINUTE: u64 = 3;
/// The partitions of the restart of all.
const MANY: i32 = 300;
const MANY_TOPIC: &str = "many";
/// How long they may be without a leader after all are ready.
const ALL_LED: Duration = Duration::from_secs(10);

/// Each partition's leader, and its epoch.
type Leaders = BTreeMap<Place, (NodeId, i64)>;

pub(crate) async fn run(options: Options) -> Result<String, ChaosError> {
    needs_network()?;
    let mut cluster = Cluster::make(3, temporary()?, settings)?;
    cluster.start().await?;
    let recorder = Recorder::of(History::timed());
    create_replicated_topics(&cluster.addresses()[0].1, &recorder, COPIES).await?;
    let swarm = Swarm::start_steady(cluster.addresses(), &recorder, options.seed);
    let mut rng = Rng::new(options.seed);
    let (mut of_leaders, mut of_others) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    let mut first_epochs = None;
    let mut allowed: BTreeMap<Place, i64> = BTreeMap::new();
    for _ in 0..options.rounds.unwrap_or(KILLS) {
        sleep(SETTLE).await;
        let leaders = all_leaders(&cluster, "plain").await?;
        first_epochs.get_or_insert_with(|| leaders.clone());
        let places: Vec<_> = leaders.keys().collect();
        let victim = leaders[places[rng.index(places.len())]].0;
        let from = recorder.lock().now();
        cluster.node(victim).kill9().await?;
        sleep(GONE).await;
        let gaps = {
            let history = recorder.lock();
            longest_gaps(&history, from, history.now())
        };
        for (place, (leader, _)) in &leaders {
            let gap = Duration::from_micros(gaps.get(place).copied().unwrap_or(u64::MAX));
            if *leader == victim {
                of_leaders.push(gap);
                *allowed.entry(place.clone()).or_default() += EACH_KILL;
            } else {
                of_others.push(gap);
            }
        }
        cluster.node(victim).begin()?;
        cluster.wait_ready().await?;
    }
    swarm.stop().await?;
    let epochs = all_leaders(&cluster, "plain").await?;
    judge("failover", &recorder)?;
    within("led by the killed broker", &of_leaders, WITHOUT_LEADER)?;
    within("led by another broker", &of_others, WITHOUT_FOLLOWER)?;
    let free = EACH_MINUTE * begun.elapsed().as_secs().div_ceil(60);
    let rose = rose_by(&first_epochs.unwrap_or_default(), &epochs, &allowed, free)?;
    let restarted = restart_of_all(&mut cluster).await?;
    Ok(format!(
        "killed leaders {}, killed others {}; {rose}; {restarted}",
        sum_up(&of_leaders),
        sum_up(&of_others),
    ))
}

/// Says by how much epochs rose; an error when one rose more than the kills of its leaders and this
/// much more.
fn rose_by(
    before: &Leaders,
    after: &Leaders,
    allowed: &BTreeMap<Place, i64>,
    free: u64,
) -> Result<String, ChaosError> {
    let free = i64::try_from(free).unwrap_or(i64::MAX);
    let mut most = 0;
    for (place, (_, epoch)) in before {
        let rose = after[place].1 - epoch;
        let kills = allowed.get(place).copied().unwrap_or(0);
        if rose > kills + free {
            let what = format!(
                "the epoch of {place} rose by {rose}: kills of its leaders explain {kills}, and \
                 {free} are free"
            );
            return Err(ChaosError::broken(what));
        }
        most = most.max(rose);
    }
    Ok(format!("epochs rose by {most} at most"))
}

/// Kills all at once and starts them again, with many partitions.
async fn restart_of_all(cluster: &mut Cluster) -> Result<String, ChaosError> {
    let stubs = Stubs::connect(&cluster.addresses()[0].1).await?;
    let request = v1::CreateTopicRequest {
        name: MANY_TOPIC.to_owned(),
        partition_count: MANY,
        replication_factor: COPIES,
        ..Default::default()
    };
    let created = stubs.admin().create_topic(request).await;
    created.map_err(ChaosError::refused("creating many partitions"))?;
    let before = all_leaders(cluster, MANY_TOPIC).await?;
    for id in cluster.ids() {
        cluster.node(id).kill9().await?;
    }
    let begun = Instant::now();
    cluster.start().await?;
    let ready = begun.elapsed();
    let after = all_leaders(cluster, MANY_TOPIC).await?;
    let led = begun.elapsed();
    if led > ready + ALL_LED {
        let what = format!("{MANY} partitions were without leaders for {led:.1?} after a restart");
        return Err(ChaosError::broken(what));
    }
    let grown = after.iter().map(|(place, (_, epoch))| epoch - before[place].1).max();
    Ok(format!(
        "restart of all with {MANY} partitions: ready after {ready:.1?}, all led after {led:.1?}, \
         epochs rose by {} at most",
        grown.unwrap_or(0)
    ))
}

/// The leaders of all partitions of a topic, once each has one.
async fn all_leaders(cluster: &Cluster, topic: &str) -> Result<Leaders, ChaosError> {
    let until = Instant::now() + Duration::from_secs(30);
    let address = &cluster.addresses()[0].1;
    while Instant::now() < until {
        let stubs = Stubs::connect(address).await?;
        let request = v1::GetTopicRequest { name: topic.to_owned() };
        if let Ok(found) = stubs.admin().get_topic(request).await {
            let found = found.into_inner().partitions;
            if found.iter().all(|partition| partition.leader_broker_id != 0) {
                let leader = |found: v1::PartitionInfo| {
                    let place = Place::new(topic, found.partition);
                    (place, (found.leader_broker_id, found.leader_epoch))
                };
                return Ok(found.into_iter().map(leader).collect());
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(ChaosError::broken(format!("some partition of {topic} has no leader for 30 s")))
}

fn within(what: &str, gaps: &[Duration], most: Duration) -> Result<(), ChaosError> {
    match gaps.iter().max() {
        Some(longest) if *longest > most => Err(ChaosError::broken(format!(
            "a partition {what} took nothing for {longest:.1?}, more than {most:.1?}: {}",
            sum_up(gaps)
        ))),
        _ => Ok(()),
    }
}

fn sum_up(gaps: &[Duration]) -> String {
    let mut sorted = gaps.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied();
    let [middle, most] = [50, 100].map(|percent| at(percent).unwrap_or_default());
    format!("{} times {middle:.1?} without an ack, at most {most:.1?}", sorted.len())
}
