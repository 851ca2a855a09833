//! How a broker comes into its cluster: it forms it with others, or is taken in.
//!
//! A cluster is formed once. Each founder knows the data directories of all of them before it takes
//! part, so that all begin with the same members, and one that lost its disk meanwhile is told from
//! the one that was: it joins as any other does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_cluster::answer::decode_applied;
use ropewalk_cluster::{BrokerRegistration, MetadataCommand, MetadataError};
use ropewalk_consensus::{ProposalKind, Receipt};
use ropewalk_core::{GroupId, NodeId, ReplicaId};
use ropewalk_storage::StorageError;
use thiserror::Error;

use crate::inbound::Inbound;
use crate::peers::{ClusterIdentity, Introduction, Peers, RemoteProposal};

/// The pause before brokers that did not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// After so many rounds without an end, what is missing is told.
const ROUNDS_BEFORE_TOLD: u32 = 10;

/// Why a broker does not come into a cluster.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The brokers that were asked belong to several clusters.
    #[error(
        "the brokers of cluster.join belong to different clusters ({one} at {first}, {other} at \
         {second}): correct the addresses"
    )]
    Several {
        /// One cluster.
        one: String,
        /// Who belongs to it.
        first: String,
        /// Another one.
        other: String,
        /// Who belongs to it.
        second: String,
    },
    /// Another broker has the id.
    #[error(
        "the broker at {address} has node id {node} too: give each broker an id of its own \
         (server.node_id)"
    )]
    SameId {
        /// Where it is.
        address: String,
        /// The id.
        node: NodeId,
    },
    /// The cluster does not take it.
    #[error("the cluster does not take this broker in: {0}")]
    Refused(#[from] MetadataError),
    /// What it is could not be written down.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How a broker that is in no cluster yet is to come into one.
#[derive(Clone, Debug, Default)]
pub struct Joining {
    /// Peer addresses of members, or of brokers that form the cluster with this one.
    pub addresses: Vec<String>,
    /// The brokers that form the cluster, this one among them; empty where it only joins.
    pub founders: BTreeSet<NodeId>,
}

/// What is known of the other brokers.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// The cluster that some of them belong to.
    pub cluster: Option<ClusterIdentity>,
    /// Where they are.
    pub addresses: BTreeMap<NodeId, String>,
    /// Those that answered at their address themselves; the others were told of.
    pub answered: BTreeSet<NodeId>,
    /// Which of them leads the metadata group, as far as they say.
    pub leader: Option<NodeId>,
    /// The data directories of those that belong to no cluster yet.
    unformed: BTreeMap<NodeId, [u8; 16]>,
}

/// Asks the brokers at these addresses what they know, once.
pub async fn meet(
    peers: &dyn Peers,
    own: &Introduction,
    addresses: &[String],
) -> Result<Met, JoinError> {
    let asked = addresses
        .iter()
        .map(|address| async move { (address, peers.introduce(address, own.clone()).await) });
    let mut met = Met::default();
    let mut told_by: Option<(ClusterIdentity, String)> = None;
    for (address, answer) in futures::future::join_all(asked).await {
        let other = match answer {
            Ok(other) => other,
            Err(error) => {
                tracing::debug!(%error, "a broker of cluster.join does not answer");
                continue;
            }
        };
        if other.node == own.node {
            if other.directory == own.directory {
                continue;
            }
            return Err(JoinError::SameId { address: address.clone(), node: own.node });
        }
        met.addresses.insert(other.node, address.clone());
        met.answered.insert(other.node);
        for (node, theirs) in other.addresses {
            if node != own.node {
                met.addresses.entry(node).or_insert(theirs);
            }
        }
        met.leader = met.leader.or(other.leader);
        let Some(cluster) = other.cluster else {
            met.unformed.insert(other.node, other.directory);
            continue;
        };
        match &told_by {
            Some((one, first)) if one.cluster_id != cluster.cluster_id => {
                return Err(JoinError::Several {
                    one: one.to_string(),
                    first: first.clone(),
                    other: cluster.to_string(),
                    second: address.clone(),
                });
            }
            Some(_) => {}
            None => told_by = Some((cluster, address.clone())),
        }
    }
    met.cluster = told_by.map(|(cluster, _)| cluster);
    Ok(met)
}

/// Waits until this broker knows its cluster: that which others belong to, or the one that it forms
/// with the founders once each of them is known.
pub async fn find_cluster(
    peers: &dyn Peers,
    own: &Introduction,
    joining: &Joining,
) -> Result<Met, JoinError> {
    let is_founder = joining.founders.contains(&own.node);
    let mut rounds = 0u32;
    loop {
        let mut met = meet(peers, own, &joining.addresses).await?;
        if met.cluster.is_some() {
            return Ok(met);
        }
        met.unformed.insert(own.node, own.directory);
        let founders: Vec<_> = joining
            .founders
            .iter()
            .filter_map(|node| Some((*node, *met.unformed.get(node)?)))
            .collect();
        if is_founder && founders.len() == joining.founders.len() {
            let cluster_id = cluster_id_of(&founders);
            met.cluster = Some(ClusterIdentity { cluster_id, founders });
            return Ok(met);
        }
        rounds += 1;
        if rounds.is_multiple_of(ROUNDS_BEFORE_TOLD) {
            let missing: Vec<_> = joining
                .founders
                .iter()
                .filter(|node| !met.unformed.contains_key(node))
                .map(ToString::to_string)
                .collect();
            tracing::info!(
                missing = missing.join(","),
                addresses = joining.addresses.join(","),
                "waiting for the other brokers: a cluster is formed once all of cluster.bootstrap \
                 are there"
            );
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// The id of the cluster that these found: the same on each, and another one with other
/// directories, which are random (FNV-1a of 128 bits).
fn cluster_id_of(founders: &[(NodeId, [u8; 16])]) -> [u8; 16] {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = founders.iter().flat_map(|(node, directory)| {
        node.0.to_be_bytes().into_iter().chain(directory.iter().copied())
    });
    let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    hash.to_be_bytes()
}

/// Registers a broker that has no metadata yet with the cluster that it joins. Returns its replica
/// of the metadata group, and where the others were met last: some may have moved meanwhile. Waits
/// until the cluster answers.
pub async fn register_anew(
    peers: &dyn Peers,
    inbound: &Inbound,
    joining: &Joining,
    mut met: Met,
    registration: &BrokerRegistration,
) -> Result<(ReplicaId, Met), JoinError> {
    let own = inbound.introduction();
    loop {
        peers.announce(met.addresses.clone());
        let first = met.leader.into_iter();
        let nodes: Vec<_> = first.chain(met.addresses.keys().copied()).collect();
        for node in nodes.into_iter().filter(|node| *node != own.node) {
            let command = MetadataCommand::RegisterBroker(registration.clone()).encode();
            let kind = ProposalKind::Command(command);
            let proposal = RemoteProposal { group: GroupId::METADATA, kind };
            let proposed = tokio::select! {
                proposed = peers.propose(node, proposal) => proposed,
                () = inbound.refused() => return Err(MetadataError::BrokerRemoved(own.node).into()),
            };
            let Ok(Receipt::Applied(answer)) = proposed else { continue };
            match decode_applied(&answer) {
                Ok((_, Ok(reply))) => {
                    if let Some(broker) = reply.broker {
                        return Ok((broker.metadata_replica, met));
                    }
                }
                Ok((_, Err(MetadataError::NotFormed))) | Err(_) => {}
                Ok((_, Err(error))) => return Err(error.into()),
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
        met = meet(peers, &own, &joining.addresses).await?;
    }
}

/// The replica that a founder has of the metadata group.
#[must_use]
pub fn founding_replica(node: NodeId) -> ReplicaId {
    ReplicaId::new(node, 0)
}

/// The ways to other brokers and what comes in from them.
#[derive(Clone)]
pub struct PeerLinks {
    /// Out.
    pub peers: Arc<dyn Peers>,
    /// In.
    pub inbound: Arc<Inbound>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn founders_agree_on_an_id_that_others_do_not_have() {
        let founders = [(NodeId(1), [1; 16]), (NodeId(2), [2; 16])];
        assert_eq!(cluster_id_of(&founders), cluster_id_of(&founders));
        let wiped = [(NodeId(1), [1; 16]), (NodeId(2), [3; 16])];
        let swapped = [(NodeId(1), [2; 16]), (NodeId(2), [1; 16])];
        assert_ne!(cluster_id_of(&founders), cluster_id_of(&wiped));
        assert_ne!(cluster_id_of(&founders), cluster_id_of(&swapped));
    }
}
