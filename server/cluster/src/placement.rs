//! Which brokers get the replicas of a partition, and which of them is to lead it.
//!
//! A replica goes to a rack that has none of the partition yet, if there is one (as in Kafka's
//! KIP-36); then to the broker with the fewest replicas of the topic, so that each topic's load is
//! spread; then to the one with the fewest replicas of all topics. The broker of a set that leads
//! is chosen likewise. What is draining comes last. Equal ones go by id: the same state places
//! alike on every replica.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::{GroupId, NodeId, ReplicaId, limits};

use crate::error::MetadataError;
use crate::former::Formers;
use crate::metadata::{BrokerInfo, Metadata, Topic, TopicPartition};

/// How much a broker has.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    replicas: usize,
    leaders: usize,
}

/// A broker that can get replicas.
struct Candidate<'a> {
    rack: &'a str,
    is_draining: bool,
    /// Of the topic that is placed.
    topic: Load,
    /// Of all topics.
    cluster: Load,
}

/// Places partitions, topic by topic.
pub(crate) struct Placer<'a> {
    candidates: BTreeMap<NodeId, Candidate<'a>>,
}

/// The rack of a broker: those that name none count as one.
pub(crate) fn rack(broker: &BrokerInfo) -> &str {
    broker.rack.as_deref().unwrap_or_default()
}

impl<'a> Placer<'a> {
    /// With what the brokers have of all topics.
    pub(crate) fn new(metadata: &'a Metadata) -> Self {
        let candidates = metadata.brokers.values().map(|broker| {
            let (rack, is_draining) = (rack(broker), broker.is_draining);
            let (topic, cluster) = (Load::default(), Load::default());
            (broker.id, Candidate { rack, is_draining, topic, cluster })
        });
        let mut placer = Self { candidates: candidates.collect() };
        for partition in metadata.topics.values().flat_map(|topic| &topic.partitions) {
            placer.count(nodes(partition), |candidate| &mut candidate.cluster);
        }
        placer
    }

    /// From now on partitions of this topic are placed.
    pub(crate) fn begin(&mut self, topic: &Topic) {
        self.candidates.values_mut().for_each(|candidate| candidate.topic = Load::default());
        for partition in &topic.partitions {
            self.count(nodes(partition), |candidate| &mut candidate.topic);
        }
    }

    /// No replica goes to this broker, and what it has does not count.
    pub(crate) fn exclude(&mut self, id: NodeId) {
        self.candidates.remove(&id);
    }

    /// Says where the partition with this number of a new topic or part of one is to be.
    pub(crate) fn place(&mut self, number: usize, replication_factor: u32) -> Vec<NodeId> {
        let mut chosen = Vec::new();
        while chosen.len() < replication_factor as usize
            && let Some(next) = self.next(&chosen)
        {
            chosen.push(next);
        }
        // The others take over in turn when the leader goes.
        let leader = self.leader(&chosen);
        chosen.retain(|id| Some(*id) != leader);
        if !chosen.is_empty() {
            let turn = number % chosen.len();
            chosen.rotate_left(turn);
        }
        chosen.splice(0..0, leader);
        self.add(&chosen);
        chosen
    }

    /// Counts replicas of the topic, the leader first.
    pub(crate) fn add(&mut self, chosen: &[NodeId]) {
        self.count(chosen.iter().copied(), |candidate| &mut candidate.topic);
        self.count(chosen.iter().copied(), |candidate| &mut candidate.cluster);
    }

    /// Counts replicas of the topic no longer.
    pub(crate) fn subtract(&mut self, chosen: &[NodeId]) {
        for (at, id) in chosen.iter().enumerate() {
            if let Some(candidate) = self.candidates.get_mut(id) {
                for load in [&mut candidate.topic, &mut candidate.cluster] {
                    load.replicas -= 1;
                    load.leaders -= usize::from(at == 0);
                }
            }
        }
    }

    fn count(
        &mut self,
        chosen: impl Iterator<Item = NodeId>,
        load: impl for<'b> Fn(&'b mut Candidate<'a>) -> &'b mut Load,
    ) {
        for (at, id) in chosen.enumerate() {
            if let Some(candidate) = self.candidates.get_mut(&id) {
                let load = load(candidate);
                load.replicas += 1;
                load.leaders += usize::from(at == 0);
            }
        }
    }

    /// The best broker for one more replica beside these.
    pub(crate) fn next(&self, held: &[NodeId]) -> Option<NodeId> {
        let others = self.candidates.iter().filter(|(id, _)| !held.contains(id));
        let best = others.min_by_key(|(id, candidate)| {
            let beside = self.in_rack(held, candidate.rack);
            let (topic, cluster) = (candidate.topic.replicas, candidate.cluster.replicas);
            (candidate.is_draining, beside, topic, cluster, **id)
        });
        best.map(|(id, _)| *id)
    }

    /// Which of these should rather lead than others.
    pub(crate) fn leader(&self, nodes: &[NodeId]) -> Option<NodeId> {
        let known = nodes.iter().filter_map(|id| Some((*id, self.candidates.get(id)?)));
        let best = known.min_by_key(|(_, candidate)| {
            (candidate.is_draining, candidate.topic.leaders, candidate.cluster.leaders)
        });
        best.map(|(id, _)| id)
    }

    /// Which of these to do without: one that is draining, one beside others in its rack, the one
    /// with the most; the preferred leader only when it is draining.
    pub(crate) fn least(&self, nodes: &[NodeId]) -> Option<NodeId> {
        let known = nodes.iter().enumerate().filter_map(|(at, id)| {
            let candidate = self.candidates.get(id)?;
            let beside = self.in_rack(nodes, candidate.rack);
            let (topic, cluster) = (candidate.topic.replicas, candidate.cluster.replicas);
            Some(((candidate.is_draining, at > 0, beside, topic, cluster, Reverse(*id)), *id))
        });
        known.max_by_key(|(key, _)| *key).map(|(_, id)| id)
    }

    fn in_rack(&self, nodes: &[NodeId], rack: &str) -> usize {
        let racks = nodes.iter().filter_map(|id| self.candidates.get(id));
        racks.filter(|other| other.rack == rack).count()
    }

    /// Refuses what gives a broker too much.
    pub(crate) fn check(&self) -> Result<(), MetadataError> {
        let limit = limits::MAX_PARTITIONS_PER_BROKER;
        let fullest = self.candidates.iter().max_by_key(|(_, c)| c.cluster.replicas);
        match fullest {
            Some((broker, candidate)) if candidate.cluster.replicas > limit => {
                Err(MetadataError::TooManyReplicas { broker: *broker, limit })
            }
            _ => Ok(()),
        }
    }
}

/// The brokers that a partition is to be on, the preferred leader first.
pub(crate) fn nodes(partition: &TopicPartition) -> impl Iterator<Item = NodeId> {
    partition.replicas.iter().map(|replica| replica.node())
}

/// Puts a group on these brokers. Replicas stay who they are, and one that has not left yet comes
/// back; new ones get this serial number. Those that are to leave are noted.
pub(crate) fn put(
    group: GroupId,
    replicas: &mut Vec<ReplicaId>,
    nodes: &[NodeId],
    serial: u32,
    former: &mut Formers,
) {
    let before = std::mem::take(replicas);
    let moved = nodes.iter().map(|node| {
        let current = before.iter().find(|replica| replica.node() == *node).copied();
        let known = current.or_else(|| former.take_back(group, *node));
        known.unwrap_or(ReplicaId::new(*node, serial))
    });
    replicas.extend(moved);
    for left in before.iter().filter(|replica| !replicas.contains(replica)) {
        former.leave(group, *left, serial.into());
    }
}

/// Whether these are different brokers.
pub(crate) fn are_distinct(nodes: &[NodeId]) -> bool {
    nodes.iter().collect::<BTreeSet<_>>().len() == nodes.len()
}
