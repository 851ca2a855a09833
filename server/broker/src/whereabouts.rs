//! Where the other brokers are: what the metadata says, and what is found where that is old.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_cluster::{Metadata, MetadataWatch};
use ropewalk_core::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::broker::BrokerConfig;
use crate::groups::Groups;
use crate::inbound::Inbound;
use crate::peers::Peers;
use crate::registration::meet;

/// How long a broker that was removed is reached at least: what it is to hand over to this one may
/// not have been taken up yet.
const REMOVED_FOR: Duration = Duration::from_secs(60);
/// How often it is looked whether groups need one that was removed.
const LOOK_AT_REMOVED: Duration = Duration::from_secs(5);
/// How often the addresses that this broker was given are asked while a broker cannot be reached:
/// from this, doubling, to that.
const ASK_FIRST: Duration = Duration::from_millis(300);
const ASK_AT_LEAST: Duration = Duration::from_secs(30);

/// A broker that answered somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sighting {
    address: String,
    /// Where the metadata said then that it was. What it says later is newer.
    instead_of: String,
}

type Sightings = BTreeMap<NodeId, Sighting>;

/// Tells the transport where the brokers are.
pub(crate) struct Whereabouts {
    /// This broker.
    node: NodeId,
    metadata: MetadataWatch,
    /// Where brokers were before there was metadata.
    met: BTreeMap<NodeId, String>,
    /// Peer addresses that this broker was given.
    join: Vec<String>,
    peers: Arc<dyn Peers>,
    inbound: Arc<Inbound>,
    groups: Arc<Groups>,
}

impl Whereabouts {
    pub(crate) fn new(
        config: &BrokerConfig,
        metadata: &MetadataWatch,
        groups: &Arc<Groups>,
    ) -> Self {
        Self {
            node: config.node,
            metadata: metadata.clone(),
            met: config.addresses.clone(),
            join: config.join.clone(),
            peers: Arc::clone(&config.links.peers),
            inbound: Arc::clone(&config.links.inbound),
            groups: Arc::clone(groups),
        }
    }

    /// Runs until the broker stops.
    pub(crate) async fn follow(self) {
        let (tell, seen) = watch::channel(Sightings::new());
        tokio::select! {
            () = self.announce(seen) => {}
            () = self.look(&tell) => {}
        }
    }

    /// Tells the transport whenever something changes. A broker that was removed is reached for as
    /// long as groups need it: it may have what nobody else has, or lead until others can.
    async fn announce(&self, mut seen: watch::Receiver<Sightings>) {
        let mut metadata = self.metadata.clone();
        let mut addresses = self.met.clone();
        let mut leaving: BTreeMap<NodeId, Instant> = BTreeMap::new();
        let mut told = None;
        loop {
            let known = metadata.borrow_and_update().clone();
            let is_removed = |node: &NodeId| {
                known.cluster_id.is_some()
                    && !known.brokers.contains_key(node)
                    && !known.awaited.contains_key(node)
            };
            addresses.retain(|node, _| {
                if !is_removed(node) {
                    leaving.remove(node);
                    return true;
                }
                let since = leaving.entry(*node).or_insert_with(Instant::now);
                since.elapsed() < REMOVED_FOR || self.groups.may_have_member_on(*node)
            });
            leaving.retain(|node, _| addresses.contains_key(node));
            addresses.extend(addresses_of(&known));
            for (node, sighting) in seen.borrow_and_update().iter() {
                let expected = known.brokers.get(node).map(|broker| &broker.peer_address);
                if expected == Some(&sighting.instead_of) {
                    addresses.insert(*node, sighting.address.clone());
                }
            }
            if told.as_ref() != Some(&addresses) {
                self.peers.announce(addresses.clone());
                told = Some(addresses.clone());
            }
            let before = addresses_of(&known);
            let changed = async {
                tokio::select! {
                    moved = metadata.wait_for(|now| addresses_of(now) != before) => moved.is_ok(),
                    told = seen.changed() => told.is_ok(),
                }
            };
            let look = if leaving.is_empty() { Duration::MAX } else { LOOK_AT_REMOVED };
            if timeout(look, changed).await == Ok(false) {
                return;
            }
        }
    }

    /// While a broker cannot be reached, asks at the addresses that this broker was given: brokers
    /// that have all moved at once would find one another in no other way, as the metadata changes
    /// only once enough of them have.
    async fn look(&self, seen: &watch::Sender<Sightings>) {
        let mut alive = self.inbound.watch_alive();
        let mut pause = ASK_FIRST;
        loop {
            let known = self.metadata.borrow().clone();
            let all_are_there = {
                let alive = alive.borrow_and_update();
                let mut others = known.brokers.keys().filter(|node| **node != self.node);
                self.join.is_empty() || others.all(|node| alive.contains(node))
            };
            if all_are_there {
                pause = ASK_FIRST;
                if alive.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let found = self.ask(&known).await;
            seen.send_if_modified(|seen| {
                let before = seen.clone();
                seen.extend(found);
                *seen != before
            });
            sleep(pause).await;
            pause = (pause * 2).min(ASK_AT_LEAST);
        }
    }

    /// The brokers of this cluster that answer where the metadata does not expect them.
    async fn ask(&self, known: &Metadata) -> Sightings {
        let own = self.inbound.introduction();
        let met = match meet(self.peers.as_ref(), &own, &self.join).await {
            Ok(met) => met,
            Err(error) => {
                tracing::warn!(%error, "the brokers of cluster.join are not asked where they are");
                return Sightings::new();
            }
        };
        let [theirs, ours] = [met.cluster, own.cluster].map(|it| it.map(|it| it.cluster_id));
        if theirs != ours {
            return Sightings::new();
        }
        let answered = met.addresses.into_iter().filter(|(node, _)| met.answered.contains(node));
        let moved = answered.filter_map(|(node, address)| {
            let expected = &known.brokers.get(&node)?.peer_address;
            let sighting = Sighting { instead_of: expected.clone(), address };
            (sighting.address != sighting.instead_of).then_some((node, sighting))
        });
        moved.collect()
    }
}

fn addresses_of(metadata: &Metadata) -> Vec<(NodeId, String)> {
    let brokers = metadata.brokers.values();
    brokers.map(|broker| (broker.id, broker.peer_address.clone())).collect()
}
