//! What those who run a cluster ask of it, far more often than they would: other leaders, other
//! replicas, nodes that are to lead nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost_types::FieldMask;
use ropewalk_chaos::{ChaosError, Cluster, NodeId, Place, Rng, Stubs, places};
use ropewalk_proto::v1;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::COPIES;

/// The time between two transfers.
const TRANSFER_EVERY: Duration = Duration::from_millis(100);
/// The longest time between two changes of members, in milliseconds.
const CHANGE_MILLIS: u64 = 400;
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long undraining is tried.
const UNDRAIN_WITHIN: Duration = Duration::from_secs(20);
/// How long replicas may be on their way after the last change.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// How many changes of members there are for one node that is drained, or no longer.
const DRAIN_PERCENT: u64 = 20;

/// Counts what was done.
#[derive(Debug, Default)]
pub(super) struct Operators {
    transfers: Tally,
    moves: Tally,
    drains: Tally,
    /// Where the replicas were before the first change.
    before: Option<Placement>,
}

/// The nodes of each partition's replicas.
type Placement = BTreeMap<Place, BTreeSet<NodeId>>;

#[derive(Debug, Default)]
struct Tally {
    asked: u32,
    done: u32,
}

impl Tally {
    fn count(&mut self, done: bool) {
        self.asked += 1;
        self.done += u32::from(done);
    }
}

impl Operators {
    /// Gives partitions other leaders, whoever that is, through any node. A call does not wait for
    /// the one before.
    pub(super) async fn transfer(
        &mut self,
        cluster: &Cluster,
        rng: &mut Rng,
        lasts: Duration,
    ) -> Result<(), ChaosError> {
        let until = Instant::now() + lasts;
        let mut calls = JoinSet::new();
        while Instant::now() < until {
            let request = v1::TransferLeadershipRequest {
                // Now and then the preferred leader is to lead again.
                broker_id: if rng.percent(80) { any_node(cluster, rng) } else { 0 },
                ..any_place(rng)
            };
            let address = any_address(cluster, rng);
            calls.spawn(async move {
                let stubs = Stubs::connect_within(&address, CONNECT_TIMEOUT).await.ok()?;
                let mut admin = stubs.admin();
                timeout(CALL_TIMEOUT, admin.transfer_leadership(request)).await.ok()?.ok()
            });
            sleep(TRANSFER_EVERY).await;
        }
        while let Some(ended) = calls.join_next().await {
            let ended = ended.map_err(|error| ChaosError::broken(format!("a call: {error}")))?;
            self.transfers.count(ended.is_some());
        }
        Ok(())
    }

    /// Gives partitions other replicas, and drains nodes, through any node; at the end gives all
    /// partitions other replicas at once, and goes. No node is left drained.
    pub(super) async fn change_members(
        &mut self,
        cluster: &Cluster,
        rng: &mut Rng,
        lasts: Duration,
    ) -> Result<(), ChaosError> {
        if self.before.is_none() {
            self.before = Some(replicas(&cluster.partitions().await?));
        }
        let until = Instant::now() + lasts;
        let mut drained = BTreeSet::new();
        while Instant::now() < until {
            if rng.percent(DRAIN_PERCENT) {
                let node = any_node(cluster, rng);
                let is_drained = drained.contains(&node);
                let done = drain(&any_address(cluster, rng), node, !is_drained).await.is_ok();
                self.drains.count(done);
                // One whose answer did not come may be drained.
                drained.insert(node);
                if is_drained && done {
                    drained.remove(&node);
                }
            } else {
                let places = places();
                let place = &places[rng.index(places.len())];
                self.reassign(cluster, std::slice::from_ref(place), rng).await;
            }
            sleep(rng.up_to_millis(CHANGE_MILLIS)).await;
        }
        for node in drained {
            let until = Instant::now() + UNDRAIN_WITHIN;
            while let Err(error) = drain(&any_address(cluster, rng), node, false).await {
                if Instant::now() > until {
                    return Err(error);
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        self.reassign(cluster, &places(), rng).await;
        Ok(())
    }

    /// Each of these partitions is to be on some nodes, any of them the first.
    async fn reassign(&mut self, cluster: &Cluster, places: &[Place], rng: &mut Rng) {
        let assignments = places.iter().map(|place| {
            let mut left = cluster.ids();
            let count = usize::try_from(COPIES).unwrap_or(0).min(left.len());
            let broker_ids = (0..count).map(|_| left.swap_remove(rng.index(left.len()))).collect();
            let topic = place.topic.to_string();
            v1::PartitionAssignment { topic, partition: place.partition, broker_ids }
        });
        let request = v1::ReassignPartitionsRequest { assignments: assignments.collect() };
        let address = any_address(cluster, rng);
        let done = async {
            let stubs = Stubs::connect_within(&address, CONNECT_TIMEOUT).await.ok()?;
            timeout(CALL_TIMEOUT, stubs.admin().reassign_partitions(request)).await.ok()?.ok()
        };
        self.moves.count(done.await.is_some());
    }

    /// Waits until every replica is where it is to be and a voter, where that was changed; and
    /// checks that any of them moved.
    pub(super) async fn settle(&self, cluster: &Cluster) -> Result<(), ChaosError> {
        let Some(before) = &self.before else { return Ok(()) };
        let until = Instant::now() + SETTLED_WITHIN;
        loop {
            let found = cluster.partitions().await;
            let unsettled = match &found {
                Ok(found) => unsettled(found),
                Err(error) => Some(error.to_string()),
            };
            match (unsettled, found) {
                (None, Ok(found)) if replicas(&found) == *before => {
                    return Err(ChaosError::broken("no replica is elsewhere than at first"));
                }
                (None, _) => return Ok(()),
                (Some(what), _) if Instant::now() > until => {
                    let what =
                        format!("replicas are on their way after {SETTLED_WITHIN:?}: {what}");
                    return Err(ChaosError::broken(what));
                }
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// What was done; an error when next to nothing of what was asked was.
    pub(super) fn sum_up(&self) -> Result<Vec<String>, ChaosError> {
        let all = [
            ("transfers", &self.transfers),
            ("reassignments", &self.moves),
            ("drains and undrains", &self.drains),
        ];
        let mut lines = Vec::new();
        for (what, Tally { asked, done }) in all.into_iter().filter(|(_, tally)| tally.asked > 0) {
            // Many are refused: another change is under way, a node is down or has no replica.
            if *asked >= 10 && done * 10 < *asked {
                let what = format!("{done} of {asked} {what} were done: that is no load");
                return Err(ChaosError::broken(what));
            }
            lines.push(format!("{done} of {asked} {what}"));
        }
        Ok(lines)
    }
}

fn replicas(partitions: &BTreeMap<Place, v1::PartitionInfo>) -> Placement {
    let of = |found: &v1::PartitionInfo| found.replicas.iter().map(|at| at.broker_id).collect();
    partitions.iter().map(|(place, found)| (place.clone(), of(found))).collect()
}

/// A partition whose replicas are not where they are to be, if there is one.
fn unsettled(partitions: &BTreeMap<Place, v1::PartitionInfo>) -> Option<String> {
    let is_settled = |found: &v1::PartitionInfo| {
        let wanted: BTreeSet<_> = found.replica_broker_ids.iter().copied().collect();
        let voters = found.replicas.iter().filter(|replica| replica.voter);
        let voters: BTreeSet<_> = voters.map(|replica| replica.broker_id).collect();
        voters == wanted && found.replicas.len() == wanted.len()
    };
    let (place, found) = partitions.iter().find(|(_, found)| !is_settled(found))?;
    let wanted = &found.replica_broker_ids;
    Some(format!("{place} is to be on {wanted:?} and has {:?}", found.replicas))
}

async fn drain(address: &str, node: NodeId, draining: bool) -> Result<(), ChaosError> {
    let stubs = Stubs::connect_within(address, CONNECT_TIMEOUT).await?;
    let request = v1::UpdateBrokerRequest {
        broker: Some(v1::Broker { broker_id: node, draining, ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["draining".to_owned()] }),
    };
    let what = format!("setting whether node {node} is drained");
    match timeout(CALL_TIMEOUT, stubs.admin().update_broker(request)).await {
        Ok(answer) => answer.map(|_| ()).map_err(ChaosError::refused(what)),
        Err(_) => Err(ChaosError::broken(format!("{what}: no answer in {CALL_TIMEOUT:?}"))),
    }
}

fn any_node(cluster: &Cluster, rng: &mut Rng) -> NodeId {
    let ids = cluster.ids();
    ids[rng.index(ids.len())]
}

fn any_address(cluster: &Cluster, rng: &mut Rng) -> String {
    let addresses = cluster.addresses();
    addresses[rng.index(addresses.len())].1.clone()
}

/// A transfer of any partition.
fn any_place(rng: &mut Rng) -> v1::TransferLeadershipRequest {
    let places = places();
    let place = &places[rng.index(places.len())];
    let (topic, partition) = (place.topic.to_string(), place.partition);
    v1::TransferLeadershipRequest { topic, partition, ..Default::default() }
}
