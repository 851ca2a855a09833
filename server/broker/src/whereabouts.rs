//! Where the other brokers are: what the metadata says, and what is found where that is old.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Where it was expected then. What the metadata says later is newer.
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
            let said = addresses_of(&known);
            addresses.extend(said.iter().cloned());
            for (node, sighting) in seen.borrow_and_update().iter() {
                if self.expected(&known, *node) == Some(&sighting.instead_of) {
                    addresses.insert(*node, sighting.address.clone());
                }
            }
            if told.as_ref() != Some(&addresses) {
                self.peers.announce(addresses.clone());
                told = Some(addresses.clone());
            }
            let changed = async {
                tokio::select! {
                    moved = moved_from(&said, &mut metadata) => moved,
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
        let (mut alive, mut metadata) = (self.inbound.watch_alive(), self.metadata.clone());
        let mut pause = ASK_FIRST;
        loop {
            let known = self.metadata.borrow().clone();
            let all_are_there = self.all_are_there(&known, &alive.borrow_and_update());
            if all_are_there || self.join.is_empty() {
                pause = ASK_FIRST;
                let said = addresses_of(&known);
                let is_running = tokio::select! {
                    changed = alive.changed() => changed.is_ok(),
                    moved = moved_from(&said, &mut metadata) => moved,
                };
                if !is_running {
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

    /// Whether all other brokers can be reached. One that was taken in and has no metadata yet goes
    /// by those that it met: it gets none where it cannot answer who leads the metadata group.
    fn all_are_there(&self, known: &Metadata, alive: &BTreeSet<NodeId>) -> bool {
        let met = self.met.keys().filter(|_| known.brokers.is_empty());
        let mut others = known.brokers.keys().chain(met).filter(|node| **node != self.node);
        others.all(|node| alive.contains(node))
    }

    /// Where a broker is to be, as far as nobody has found it elsewhere.
    fn expected<'a>(&'a self, known: &'a Metadata, node: NodeId) -> Option<&'a String> {
        let said = known.brokers.get(&node).map(|broker| &broker.peer_address);
        said.or_else(|| self.met.get(&node))
    }

    /// The brokers of this cluster that answer where they are not expected.
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
            let expected = self.expected(known, node)?;
            let sighting = Sighting { instead_of: expected.clone(), address };
            (sighting.address != sighting.instead_of).then_some((node, sighting))
        });
        moved.collect()
    }
}

/// Waits until the metadata say something else of where the brokers are. False when the broker
/// stops.
async fn moved_from(before: &[(NodeId, String)], metadata: &mut MetadataWatch) -> bool {
    metadata.wait_for(|now| addresses_of(now) != before).await.is_ok()
}

fn addresses_of(metadata: &Metadata) -> Vec<(NodeId, String)> {
    let brokers = metadata.brokers.values();
    brokers.map(|broker| (broker.id, broker.peer_address.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_peers::FakePeers;
    use crate::peers::{ClusterIdentity, Introduction};

    fn introduction(node: u64) -> Introduction {
        let cluster = ClusterIdentity { cluster_id: [7; 16], founders: Vec::new() };
        let (node, directory) = (NodeId(node), [node as u8; 16]);
        Introduction {
            node,
            directory,
            cluster: Some(cluster),
            leader: None,
            addresses: Vec::new(),
        }
    }

    /// A broker was told of another one that had just moved. It gets the metadata from there, so
    /// that it could wait for them for ever.
    #[tokio::test(start_paused = true)]
    async fn a_broker_without_metadata_finds_one_that_has_moved() {
        let peers = Arc::new(FakePeers::default());
        let (_tell, metadata) = watch::channel(Arc::new(Metadata::default()));
        let whereabouts = Whereabouts {
            node: NodeId(4),
            metadata,
            met: BTreeMap::from([(NodeId(1), "before:1".to_owned())]),
            join: vec!["after:1".to_owned()],
            peers: Arc::clone(&peers) as Arc<dyn Peers>,
            inbound: Inbound::new(introduction(4)),
            groups: Arc::new(Groups::default()),
        };
        let follows = tokio::spawn(whereabouts.follow());
        sleep(ASK_FIRST * 2).await;
        assert_eq!(peers.announced(1).as_deref(), Some("before:1"), "nobody answers yet");
        peers.put("after:1", introduction(1));
        sleep(ASK_FIRST * 4).await;
        assert_eq!(peers.announced(1).as_deref(), Some("after:1"));
        follows.abort();
    }
}
