//! The faults of a cluster: each is made, lasts for a while, and is mended again.

mod operators;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ropewalk_chaos::{
    ChaosError, Cluster, ControlResult, From, GROUP, Node, NodeId, Recorder, Rng, SlowDisk, Stubs,
    faketime_library, places,
};
use ropewalk_proto::v1;
use tokio::time::{Instant, sleep, sleep_until};

use self::operators::Operators;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Kill -9 of the node that leads some partition.
    KillLeader,
    /// Kill -9 of a node that does not lead some partition.
    KillFollower,
    /// Kill -9 of the node that coordinates the consumer group, once partitions are on their way
    /// from one member to another.
    KillCoordinator,
    /// Kill -9 of all nodes at once.
    KillAll,
    /// A node stands still.
    Pause,
    /// A node does not hear the others, or they do not hear it.
    CutOneWay,
    /// A node and the others do not hear each other; at times the clients do not reach it either.
    Cut,
    /// All nodes lose 30 % of the packets of one another.
    Loss,
    /// The power of a node fails.
    PowerOne,
    /// The power of all nodes fails at once.
    PowerAll,
    /// The disk of a node writes 300 kB a second.
    SlowDisk,
    /// Somebody else fills the disk of a node.
    FullDisk,
    /// The wall clock of a node jumps.
    Clock,
    /// A node loses its data directory. Once in a run: the copies have to be made again first.
    Wipe,
    /// Each node ends in good order and comes back, one after the other.
    Rolling,
    /// Ten times a second a partition is given another leader.
    Transfer,
    /// Partitions get other replicas, and nodes are drained, several times a second. Some replicas
    /// are still on their way when it is over.
    Members,
}

const LOSS_PERCENT: u8 = 30;
const SLOW_BYTES: u64 = 300_000;
/// What is left of a full disk.
const LEFT: [u64; 4] = [24 << 20, 12 << 20, 6 << 20, 0];
/// The longest that a killed node, or one without power, is gone, in milliseconds.
const GONE_MILLIS: u64 = 2_000;
/// About how long groups without a leader need to get one.
const ELECTED: Duration = Duration::from_secs(2);
/// What is counted of coordinators that were killed as it was meant.
const IN_THE_MIDDLE: &str = "of them in the middle of a rebalance";
/// How long and how often it is looked for partitions that move in a consumer group.
const MOVES_WITHIN: Duration = Duration::from_secs(5);
const LOOK_FOR_MOVES: Duration = Duration::from_millis(5);
/// How far a clock jumps, in seconds.
const JUMP: i64 = 3_600;

/// Makes faults, and counts them.
#[derive(Debug)]
pub(crate) struct Nemesis {
    recorder: Recorder,
    made: BTreeMap<&'static str, u32>,
    controls: Vec<ControlResult>,
    operators: Operators,
}

/// The nodes that cannot go on to lead what they lead; those of one entry at the same time.
type Met = Vec<Vec<NodeId>>;

impl Fault {
    /// Says why this cannot be made here, if it cannot.
    pub(crate) fn needs(self) -> Result<(), ChaosError> {
        let missing = match self {
            Self::SlowDisk if !SlowDisk::is_offered() => "a control group for block devices",
            Self::Clock if faketime_library().is_none() => "libfaketime",
            _ => return Ok(()),
        };
        Err(ChaosError::Skipped(format!("needs {missing}")))
    }

    fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill -9 of a leader",
            Self::KillFollower => "kill -9 of a follower",
            Self::KillCoordinator => "kill -9 of a coordinator",
            Self::KillAll => "kill -9 of all",
            Self::Pause => "pause",
            Self::CutOneWay => "one-way partition",
            Self::Cut => "partition",
            Self::Loss => "loss",
            Self::PowerOne => "power cut of one",
            Self::PowerAll => "power cut of all",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::Clock => "clock jump",
            Self::Wipe => "wiped node",
            Self::Rolling => "rolling restart",
            Self::Transfer => "storm of transfers",
            Self::Members => "change of members",
        }
    }

    /// Whether leaders change because somebody says so, and nobody knows how often.
    fn changes_leaders(self) -> bool {
        matches!(self, Self::Transfer | Self::Members)
    }

    /// How long it lasts, where it lasts: in the long tier up to half a minute.
    fn lasts(self, rng: &mut Rng, long: bool) -> Duration {
        let most = match self {
            Self::SlowDisk | Self::FullDisk | Self::Loss => 8_000,
            Self::Members => 2_000,
            _ if long => 29_000,
            _ => 7_000,
        };
        Duration::from_secs(1) + rng.up_to_millis(most)
    }
}

impl Nemesis {
    /// One that notes what it does in a history.
    pub(crate) fn new(recorder: &Recorder) -> Self {
        Self {
            recorder: recorder.clone(),
            made: BTreeMap::new(),
            controls: Vec::new(),
            operators: Operators::default(),
        }
    }

    /// Gets nodes ready that do not run yet, for what cannot be made later.
    pub(crate) fn prepare(cluster: &mut Cluster, faults: &[Fault]) -> Result<(), ChaosError> {
        if faults.contains(&Fault::Clock)
            && let Some(library) = faketime_library()
        {
            for node in cluster.nodes() {
                node.fake_clock(&library)?;
                node.shift_clock(JUMP)?;
            }
        }
        Ok(())
    }

    /// Checks that what was prepared acts: a broker whose clock cannot be moved proves nothing, and
    /// neither does a disk that is as fast as ever.
    pub(crate) async fn started(cluster: &mut Cluster, faults: &[Fault]) -> Result<(), ChaosError> {
        if faults.contains(&Fault::SlowDisk) {
            cluster.nodes()[0].prove_slow(SLOW_BYTES).await?;
        }
        if !faults.contains(&Fault::Clock) {
            return Ok(());
        }
        let stubs = Stubs::connect(&cluster.addresses()[0].1).await?;
        let found = stubs.admin().get_cluster(v1::GetClusterRequest::default()).await;
        let found = found.map_err(ChaosError::refused("asking when the brokers started"))?;
        for broker in found.into_inner().brokers {
            let started = broker.start_time.unwrap_or_default().seconds;
            if started < wall_clock() + JUMP / 2 {
                let what = format!("the clock of broker {} does not jump", broker.broker_id);
                return Err(ChaosError::broken(what));
            }
        }
        // The first jump is one back.
        cluster.ids().into_iter().try_for_each(|id| cluster.peek(id).shift_clock(0))
    }

    /// Some node does not hear the others, or they do not hear it, until the network is healed.
    pub(crate) async fn cut_one_way(
        &self,
        cluster: &Cluster,
        rng: &mut Rng,
    ) -> Result<(), ChaosError> {
        let ids = cluster.ids();
        let cut = ids[rng.index(ids.len())];
        cluster.note_leaders(&self.recorder).await;
        let from = self.recorder.lock().now();
        lose(cluster, Fault::CutOneWay, cut, rng)?;
        self.recorder.lock().disturb(from, vec![cut]);
        Ok(())
    }

    /// Makes one fault after the other until that time; all are mended then, and all nodes ready.
    pub(crate) async fn run(
        &mut self,
        cluster: &mut Cluster,
        faults: &[Fault],
        rng: &mut Rng,
        until: Instant,
        long: bool,
    ) -> Result<(), ChaosError> {
        // All kinds come before one comes again.
        let mut left: Vec<Fault> = Vec::new();
        let mut wiped = false;
        loop {
            sleep(Duration::from_millis(500) + rng.up_to_millis(1_500)).await;
            if Instant::now() >= until {
                break;
            }
            if left.is_empty() {
                left = faults.iter().copied().filter(|f| *f != Fault::Wipe || !wiped).collect();
            }
            if left.is_empty() {
                sleep_until(until).await;
                break;
            }
            let fault = left.remove(rng.index(left.len()));
            wiped |= fault == Fault::Wipe;
            let lasts = fault.lasts(rng, long);
            if faults.iter().any(|fault| fault.changes_leaders()) {
                self.make(cluster, fault, rng, lasts).await?;
            } else {
                cluster.note_leaders(&self.recorder).await;
                let from = self.recorder.lock().now();
                for met in self.make(cluster, fault, rng, lasts).await? {
                    self.recorder.lock().disturb(from, met);
                }
            }
            *self.made.entry(fault.name()).or_default() += 1;
        }
        cluster.network().heal()?;
        cluster.wait_ready().await
    }

    /// Makes a fault, and mends it.
    async fn make(
        &mut self,
        cluster: &mut Cluster,
        fault: Fault,
        rng: &mut Rng,
        lasts: Duration,
    ) -> Result<Met, ChaosError> {
        let ids = cluster.ids();
        let any = ids[rng.index(ids.len())];
        match fault {
            Fault::KillLeader => {
                let leader = leader(cluster, rng).await.unwrap_or(any);
                kill(cluster, vec![leader], rng).await
            }
            Fault::KillFollower => {
                let leader = leader(cluster, rng).await;
                let followers: Vec<_> = ids.into_iter().filter(|id| Some(*id) != leader).collect();
                let follower = followers.get(rng.index(followers.len())).copied().unwrap_or(any);
                kill(cluster, vec![follower], rng).await
            }
            Fault::KillCoordinator => {
                let coordinator = self.rebalancing(cluster).await.unwrap_or(any);
                kill(cluster, vec![coordinator], rng).await
            }
            Fault::KillAll => {
                let met = kill(cluster, ids, rng).await?;
                // A group that is never led shows nothing.
                sleep(ELECTED).await;
                Ok(met)
            }
            Fault::CutOneWay | Fault::Cut | Fault::Loss => {
                lose(cluster, fault, any, rng)?;
                sleep(lasts).await;
                cluster.network().heal()?;
                Ok(vec![if fault == Fault::Loss { ids } else { vec![any] }])
            }
            Fault::PowerOne => self.power(cluster, vec![any], rng).await,
            Fault::PowerAll => {
                let met = self.power(cluster, ids, rng).await?;
                sleep(ELECTED).await;
                Ok(met)
            }
            Fault::Rolling => {
                for id in &ids {
                    let node = cluster.node(*id);
                    node.terminate().await?;
                    node.begin()?;
                    node.wait_ready().await?;
                }
                Ok(ids.into_iter().map(|id| vec![id]).collect())
            }
            Fault::Transfer => {
                self.operators.transfer(cluster, rng, lasts).await?;
                Ok(Met::new())
            }
            Fault::Members => {
                self.operators.change_members(cluster, rng, lasts).await?;
                Ok(Met::new())
            }
            _ => bother(cluster.node(any), fault, rng, lasts).await,
        }
    }

    /// Waits until partitions move in the group, for a while; gives its coordinator.
    async fn rebalancing(&mut self, cluster: &Cluster) -> Option<NodeId> {
        let until = Instant::now() + MOVES_WITHIN;
        loop {
            let found = cluster.coordinator_of(GROUP).await;
            match found {
                Some((coordinator, true)) => {
                    *self.made.entry(IN_THE_MIDDLE).or_default() += 1;
                    return Some(coordinator);
                }
                _ if Instant::now() > until => return found.map(|(coordinator, _)| coordinator),
                _ => sleep(LOOK_FOR_MOVES).await,
            }
        }
    }

    /// The power of these fails, and comes back.
    async fn power(
        &mut self,
        cluster: &mut Cluster,
        ids: Vec<NodeId>,
        rng: &mut Rng,
    ) -> Result<Met, ChaosError> {
        let mut armed = Vec::new();
        for id in &ids {
            armed.push((*id, cluster.node(*id).arm()?));
        }
        // The controls write something that they can lose.
        sleep(Duration::from_millis(100) + rng.up_to_millis(400)).await;
        let mut dark = Vec::new();
        for (id, armed) in armed {
            dark.push((id, cluster.node(id).power_off(armed).await?));
        }
        sleep(rng.up_to_millis(GONE_MILLIS)).await;
        for (id, dark) in dark {
            self.controls.push(cluster.node(id).power_on(dark)?);
        }
        cluster.wait_ready().await?;
        Ok(vec![ids])
    }

    /// Waits until every replica is where it is to be, where that was changed.
    pub(crate) async fn settle(&self, cluster: &Cluster) -> Result<(), ChaosError> {
        self.operators.settle(cluster).await
    }

    /// What was made; an error when the power cuts were none.
    pub(crate) fn sum_up(&self) -> Result<String, ChaosError> {
        if self.made.is_empty() {
            return Err(ChaosError::broken("no fault was made: the load was too short"));
        }
        let has_made = |fault: &str| self.made.contains_key(fault);
        if has_made(Fault::KillCoordinator.name()) && !has_made(IN_THE_MIDDLE) {
            let what = "no coordinator was killed in the middle of a rebalance";
            return Err(ChaosError::broken(what));
        }
        if self.controls.iter().any(ControlResult::lost_synced) {
            let what = "the control lost what it had synced: the fault is not one of a disk";
            return Err(ChaosError::broken(what));
        }
        let lost = self.controls.iter().filter(|control| control.lost_unsynced()).count();
        if lost == 0 && self.controls.len() > 2 {
            let what = "the control kept what it had not synced: the power cuts prove nothing";
            return Err(ChaosError::broken(what));
        }
        let made = self.made.iter().map(|(name, times)| format!("{times} {name}"));
        let made = made.chain(self.operators.sum_up()?);
        Ok(made.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The seconds of the machine's own clock, since 1970.
#[allow(clippy::disallowed_methods)] // A broker's clock is compared with it.
fn wall_clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// The leader of any partition.
async fn leader(cluster: &Cluster, rng: &mut Rng) -> Option<NodeId> {
    let places = places();
    cluster.leader_of(&places[rng.index(places.len())]).await
}

async fn kill(cluster: &mut Cluster, ids: Vec<NodeId>, rng: &mut Rng) -> Result<Met, ChaosError> {
    for id in &ids {
        cluster.node(*id).kill9().await?;
    }
    sleep(rng.up_to_millis(GONE_MILLIS)).await;
    for id in &ids {
        cluster.node(*id).begin()?;
    }
    cluster.wait_ready().await?;
    Ok(vec![ids])
}

/// What happens to one node whose process goes on.
async fn bother(
    node: &mut Node,
    fault: Fault,
    rng: &mut Rng,
    lasts: Duration,
) -> Result<Met, ChaosError> {
    match fault {
        Fault::Pause => {
            let _stopped = node.pause()?;
            sleep(lasts).await;
        }
        Fault::SlowDisk => {
            let _slow = node.slow_down(SLOW_BYTES)?;
            sleep(lasts).await;
        }
        Fault::FullDisk => {
            let _filler = node.fill_disk(LEFT[rng.index(LEFT.len())])?;
            sleep(lasts).await;
        }
        Fault::Wipe => wipe(node, rng).await?,
        // Who leads has nothing to do with what time it is.
        _ => return jump(node, rng, lasts).await.map(|()| vec![Vec::new()]),
    }
    Ok(vec![vec![node.id()]])
}

/// Packets get lost between this node and the others, or between all.
fn lose(cluster: &Cluster, fault: Fault, any: NodeId, rng: &mut Rng) -> Result<(), ChaosError> {
    let others = |id: NodeId, percent: u8| -> BTreeMap<From, u8> {
        let others = cluster.ids().into_iter().filter(|other| *other != id);
        others.map(|other| (From::Node(other), percent)).collect()
    };
    let deaf = |id: NodeId| cluster.network().lose(id, &others(id, 100));
    // The others do not hear one.
    let mute = |id: NodeId| {
        let lost = BTreeMap::from([(From::Node(id), 100)]);
        let mut rest = cluster.ids().into_iter().filter(|other| *other != id);
        rest.try_for_each(|other| cluster.network().lose(other, &lost))
    };
    match fault {
        Fault::CutOneWay if rng.percent(50) => deaf(any),
        Fault::CutOneWay => mute(any),
        Fault::Cut => {
            mute(any)?;
            let mut lost = others(any, 100);
            if rng.percent(30) {
                lost.insert(From::Clients, 100);
            }
            cluster.network().lose(any, &lost)
        }
        _ => {
            let mut all = cluster.ids().into_iter();
            all.try_for_each(|id| cluster.network().lose(id, &others(id, LOSS_PERCENT)))
        }
    }
}

/// The clock of a node goes forth or back, and then to where it was.
async fn jump(node: &Node, rng: &mut Rng, lasts: Duration) -> Result<(), ChaosError> {
    let far = i64::try_from(rng.within(1..JUMP.unsigned_abs())).unwrap_or(JUMP);
    node.shift_clock(if rng.percent(50) { far } else { -far })?;
    sleep(lasts).await;
    node.shift_clock(0)
}

/// The node loses its disk, and comes back without anything.
async fn wipe(node: &mut Node, rng: &mut Rng) -> Result<(), ChaosError> {
    node.kill9().await?;
    node.wipe()?;
    sleep(rng.up_to_millis(GONE_MILLIS)).await;
    node.begin()?;
    node.wait_ready().await
}
