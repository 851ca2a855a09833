//! What those who run a cluster ask of it: to spare a broker, to take one out, to move partitions
//! and their leaders.

use std::time::Duration;

use ropewalk_cluster::{BrokerInfo, MetadataCommand, MetadataError, PartitionMove};
use ropewalk_consensus::{MemberProgress, ProposalKind, ProposeError};
use ropewalk_core::{GroupId, NodeId, ReplicaId, TopicId};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::broker::Broker;
use crate::errors::{Missing, TopicError};
use crate::group_handle::{GroupHandle, LEADER_TIMEOUT};
use crate::survey::replicas_of;

/// How often it is looked whether the new leader leads.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where a partition is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i64,
    /// The brokers that are to have it, the preferred leader first.
    pub brokers: Vec<NodeId>,
}

/// Why a partition is not, or perhaps not, led by another broker.
#[derive(Debug, Error)]
pub enum TransferError {
    /// There is no such partition.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The broker has no replica of it.
    #[error(
        "broker {broker} has no replica of the partition and cannot lead it: name one of \
         {holders}, or reassign the partition first"
    )]
    NoReplica {
        /// The broker.
        broker: NodeId,
        /// Those that have one.
        holders: String,
    },
    /// The broker is to lead nothing.
    #[error("broker {0} is draining and is to lead nothing: undrain it first, or name another one")]
    Draining(NodeId),
    /// The broker does not answer the leader, or lacks too much of the log, and that has lasted for
    /// [`LEADER_TIMEOUT`].
    #[error("the replica on broker {0} is not in sync with the leader's")]
    NotInSync(NodeId),
    /// It was told to take over, and has not yet.
    #[error("broker {0} has not taken over in time: look who leads, and try again")]
    NotTaken(NodeId),
    /// The leader, or the metadata, refuses it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// It leads, and is not the preferred leader.
    #[error(transparent)]
    Preferred(#[from] TopicError),
}

/// The partition whose leader is to change, and what the metadata says of it.
struct Target {
    topic: TopicId,
    handle: GroupHandle,
    replicas: Vec<ReplicaId>,
    to: ReplicaId,
}

impl Broker {
    /// Has a broker drained, or no longer. Returns it as it is then.
    pub async fn set_draining(
        &self,
        broker: NodeId,
        is_draining: bool,
    ) -> Result<BrokerInfo, TopicError> {
        let command = MetadataCommand::SetBrokerState { id: broker, is_draining };
        let reply = self.change_metadata(&command).await?;
        reply.broker.ok_or_else(|| MetadataError::BrokerNotFound(broker).into())
    }

    /// Takes a broker out of the cluster. Its replicas move from then on.
    pub async fn remove_broker(&self, broker: NodeId) -> Result<(), TopicError> {
        self.change_metadata(&MetadataCommand::RemoveBroker { id: broker }).await.map(|_| ())
    }

    /// Places partitions by hand. Their replicas move from then on. All are placed, or none.
    pub async fn reassign(&self, assignments: &[Assignment]) -> Result<(), TopicError> {
        let mut moves = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let served = self.find_topic(&assignment.topic).await?;
            let partition = self.partition(&served, assignment.partition)?.id;
            let (topic, brokers) = (served.topic.id, assignment.brokers.clone());
            moves.push(PartitionMove { topic, partition, brokers });
        }
        let command = MetadataCommand::ReassignPartitions { moves };
        self.change_metadata(&command).await.map(|_| ())
    }

    /// Has another broker lead a partition, `None`: the preferred leader. When it returns, that
    /// broker leads; one that was named is the preferred leader from then on, or the balance of
    /// leaders would take it back.
    pub async fn transfer_leadership(
        &self,
        topic: &str,
        partition: i64,
        to: Option<NodeId>,
    ) -> Result<NodeId, TransferError> {
        let served = self.find_topic(topic).await?;
        let partition = self.partition(&served, partition)?;
        let target = self.target(served.topic.id, partition.handle(), topic, to)?;
        let Target { handle, to: replica, .. } = &target;
        let node = replica.node();
        if !handle.is_led_by(node).await {
            self.hand_over(handle, *replica).await?;
        }
        if target.replicas.first() != Some(replica) && to.is_some() {
            let others = target.replicas.iter().map(|other| other.node());
            let others = others.filter(|other| *other != node);
            let brokers = std::iter::once(node).chain(others).collect();
            let moved = PartitionMove { topic: target.topic, partition: partition.id, brokers };
            let command = MetadataCommand::ReassignPartitions { moves: vec![moved] };
            self.change_metadata(&command).await?;
        }
        Ok(node)
    }

    fn target(
        &self,
        topic: TopicId,
        handle: &GroupHandle,
        name: &str,
        to: Option<NodeId>,
    ) -> Result<Target, TransferError> {
        let metadata = self.metadata();
        let group: GroupId = handle.group;
        let gone = || Missing::Topic(name.to_owned());
        let replicas = metadata.replicas(group).ok_or_else(gone)?.to_vec();
        let to = match to {
            None => metadata.preferred_leader(group).ok_or_else(gone)?,
            Some(broker) if metadata.is_draining(broker) => {
                return Err(TransferError::Draining(broker));
            }
            Some(broker) => {
                let found = replicas.iter().find(|replica| replica.node() == broker).copied();
                found.ok_or_else(|| {
                    let holders: Vec<_> =
                        replicas.iter().map(|replica| replica.node().to_string()).collect();
                    TransferError::NoReplica { broker, holders: holders.join(", ") }
                })?
            }
        };
        Ok(Target { topic, handle: handle.clone(), replicas, to })
    }

    /// Has the leader hand over, and waits until the other one leads.
    ///
    /// It waits before that, too: the replica of a partition which was just made has answered
    /// nothing yet, and another may be catching up.
    async fn hand_over(&self, handle: &GroupHandle, to: ReplicaId) -> Result<(), TransferError> {
        let deadline = Instant::now() + LEADER_TIMEOUT;
        loop {
            match Self::begin_to_hand_over(handle, to).await {
                Err(TransferError::NotInSync(_)) if Instant::now() < deadline => {
                    sleep(LOOK_AGAIN).await;
                }
                begun => break begun?,
            }
        }
        while Instant::now() < deadline {
            if handle.is_led_by(to.node()).await {
                return Ok(());
            }
            sleep(LOOK_AGAIN).await;
        }
        Err(TransferError::NotTaken(to.node()))
    }

    async fn begin_to_hand_over(handle: &GroupHandle, to: ReplicaId) -> Result<(), TransferError> {
        let not_in_sync = || TransferError::NotInSync(to.node());
        // A leader that hands over takes no records until it has ended: to one that does not answer
        // it must not even begin.
        let found = replicas_of(std::slice::from_ref(handle)).await.pop().flatten();
        let found = found.ok_or(ProposeError::NoLeader)?;
        let is_ready = |member: &MemberProgress| member.is_voter && member.is_in_sync();
        if !found.members.iter().any(|member| member.replica == to && is_ready(member)) {
            return Err(not_in_sync());
        }
        match handle.propose(|| ProposalKind::TransferLeadership(to), None).await {
            Ok(_) => Ok(()),
            Err(ProposeError::Behind(_)) => Err(not_in_sync()),
            Err(error) => Err(error.into()),
        }
    }
}

impl GroupHandle {
    /// Whether a broker leads and serves the group, by its own word.
    async fn is_led_by(&self, node: NodeId) -> bool {
        let asked = self.propose_at(node, ProposalKind::Progress);
        matches!(tokio::time::timeout(LEADER_TIMEOUT, asked).await, Ok(Ok(_)))
    }
}
