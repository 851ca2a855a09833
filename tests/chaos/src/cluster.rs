//! Nodes that form a cluster, or one alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_harness::BrokerBuilder;
use ropewalk_proto::v1;
use tempfile::TempDir;
use tonic::metadata::MetadataValue;

use crate::calls::Caller;
use crate::client::{Stubs, within};
use crate::error::ChaosError;
use crate::history::{NodeId, Place, RecordedAs, Recorder};
use crate::load::TOPICS;
use crate::network::Network;
use crate::node::Node;

/// Asks a node to answer itself, or not at all.
const NO_FORWARD: &str = "ropewalk-no-forward";
/// How long a node may take to say who leads.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// Nodes, and the network between them.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    network: Network,
    // Last: it goes after what lies in it.
    directory: TempDir,
}

/// Where the clients reach each node.
pub type Addresses = Arc<[(NodeId, String)]>;

impl Cluster {
    /// A cluster of so many nodes, which are not started yet.
    ///
    /// # Errors
    /// When the system does not let us, or there is no binary.
    pub fn make(
        nodes: NodeId,
        directory: TempDir,
        builder: impl Fn() -> BrokerBuilder,
    ) -> Result<Self, ChaosError> {
        let network = Network::make(nodes)?;
        let members: Vec<NodeId> = (1..=nodes).collect();
        let make = |id: &NodeId| Node::make(*id, &members, directory.path(), builder());
        let nodes = members.iter().map(make).collect::<Result<_, _>>()?;
        Ok(Self { nodes, network, directory })
    }

    /// Starts every node, and waits until all are ready.
    ///
    /// # Errors
    /// When one is not ready in time; its log is in the error.
    pub async fn start(&mut self) -> Result<(), ChaosError> {
        self.nodes.iter_mut().try_for_each(Node::begin)?;
        self.wait_ready().await
    }

    /// Waits until every node is ready.
    ///
    /// # Errors
    /// When one is not ready in time; its log is in the error.
    pub async fn wait_ready(&mut self) -> Result<(), ChaosError> {
        for node in &mut self.nodes {
            node.wait_ready().await?;
        }
        Ok(())
    }

    /// The ids of the nodes.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(Node::id).collect()
    }

    /// All nodes.
    pub fn nodes(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// One node.
    pub fn node(&mut self, id: NodeId) -> &mut Node {
        let found = self.nodes.iter_mut().find(|node| node.id() == id);
        found.expect("ids are those that the cluster gave")
    }

    /// One node, to look at.
    #[must_use]
    pub fn peek(&self, id: NodeId) -> &Node {
        let found = self.nodes.iter().find(|node| node.id() == id);
        found.expect("ids are those that the cluster gave")
    }

    /// What joins the nodes.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The directory of everything.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Where clients reach each node.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.nodes.iter().map(|node| (node.id(), node.broker().address().to_owned())).collect()
    }

    /// The node that leads a partition; nothing while nobody says so.
    pub async fn leader_of(&self, place: &Place) -> Option<NodeId> {
        for node in &self.nodes {
            let Ok(stubs) = Stubs::connect_within(node.broker().address(), ASK_WITHIN).await else {
                continue;
            };
            let request = v1::GetTopicRequest { name: place.topic.to_string() };
            let Ok(found) = stubs.admin().get_topic(within(request, ASK_WITHIN)).await else {
                continue;
            };
            let partitions = found.into_inner().partitions;
            let found = partitions.iter().find(|found| found.partition == place.partition);
            let leader = found.map(|found| found.leader_broker_id).filter(|leader| *leader != 0);
            if leader.is_some() {
                return leader;
            }
        }
        None
    }

    /// The node that coordinates a consumer group, and whether the group is on its way from one
    /// assignment to another; nothing while nobody says so.
    pub async fn coordinator_of(&self, group: &str) -> Option<(NodeId, bool)> {
        for node in &self.nodes {
            let Ok(stubs) = Stubs::connect_within(node.broker().address(), ASK_WITHIN).await else {
                continue;
            };
            let group = group.to_owned();
            let mut request = within(v1::GetConsumerGroupRequest { group }, ASK_WITHIN);
            request.metadata_mut().insert(NO_FORWARD, MetadataValue::from_static("1"));
            let Ok(found) = stubs.admin().get_consumer_group(request).await else { continue };
            let state = found.into_inner().group.unwrap_or_default().state();
            return Some((node.id(), state == v1::ConsumerGroupState::Rebalancing));
        }
        None
    }

    /// Records who leads the partitions that the clients use, as the first node says it that
    /// answers for all of them.
    pub async fn note_leaders(&self, recorder: &Recorder) {
        for node in &self.nodes {
            let Ok(stubs) = Stubs::connect_within(node.broker().address(), ASK_WITHIN).await else {
                continue;
            };
            let (stubs, node, timeout) = (&stubs, node.id(), ASK_WITHIN);
            let caller = Caller { stubs, recorder, client: 0, node, timeout };
            let mut said = true;
            for (topic, ..) in TOPICS {
                said &= caller.describe(topic).await == RecordedAs::Ok;
            }
            if said {
                return;
            }
        }
    }

    /// Where the partitions that the clients use are and where they are to be, as a node says it.
    ///
    /// # Errors
    /// When no node answers, and what the last one said.
    pub async fn partitions(&self) -> Result<BTreeMap<Place, v1::PartitionInfo>, ChaosError> {
        let mut last = ChaosError::broken("there is no node");
        for node in &self.nodes {
            match partitions_of(node.broker().address()).await {
                Ok(found) => return Ok(found),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn partitions_of(address: &str) -> Result<BTreeMap<Place, v1::PartitionInfo>, ChaosError> {
    let stubs = Stubs::connect_within(address, ASK_WITHIN).await?;
    let mut all = BTreeMap::new();
    for (topic, ..) in TOPICS {
        let request = v1::GetTopicRequest { name: topic.to_owned() };
        let found = stubs.admin().get_topic(within(request, ASK_WITHIN)).await;
        let found = found.map_err(ChaosError::refused(format!("describing {topic}")))?;
        let found = found.into_inner().partitions.into_iter();
        all.extend(found.map(|found| (Place::new(topic, found.partition), found)));
    }
    Ok(all)
}
