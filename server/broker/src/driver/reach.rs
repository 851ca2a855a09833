//! The way to the shards: what is proposed, and what comes from other brokers.

use std::sync::Arc;

use ropewalk_consensus::shard::NewGroup;
use ropewalk_consensus::{Input, Message, Proposal, ProposalKind};
use ropewalk_core::compaction::CleanUp;
use ropewalk_core::{GroupId, NodeId, Timestamp};
use ropewalk_storage::group_log::SegmentPolicy;
use tokio::sync::{mpsc, oneshot};

use super::Command;
use crate::coordinator;
use crate::group_watch::GroupWatch;
use crate::peers::Reply;
use crate::steady_clock::SteadyClock;

/// Reaches the shards. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    pub(super) shards: Vec<mpsc::Sender<Command>>,
    pub(super) time: Arc<SteadyClock>,
}

/// The broker is stopping, and takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Driver {
    /// For tests of what goes to other brokers: one that reaches no shard.
    #[cfg(test)]
    pub(crate) fn without_shards() -> Self {
        let clock = Arc::new(ropewalk_core::SystemClock::default());
        Self { shards: Vec::new(), time: Arc::new(SteadyClock::new(clock)) }
    }

    pub(super) fn shard(&self, group: GroupId) -> &mpsc::Sender<Command> {
        &self.shards[usize::try_from(group.0).unwrap_or(0) % self.shards.len()]
    }

    async fn send(&self, group: GroupId, command: Command) -> Result<(), Stopped> {
        self.shard(group).send(command).await.map_err(|_| Stopped)
    }

    /// Takes up a group. `watch` tells when it serves.
    pub async fn open(&self, new: NewGroup, watch: Arc<GroupWatch>) -> Result<(), Stopped> {
        self.send(new.group, Command::Open(Box::new(new), watch)).await
    }

    /// Removes a group and all its data.
    pub async fn remove(&self, group: GroupId) -> Result<(), Stopped> {
        self.send(group, Command::Input(Input::Remove(group))).await
    }

    /// Waits until all that the shard of a group has taken up and applied so far is on the disk.
    pub async fn keep(&self, group: GroupId) -> Result<(), Stopped> {
        let (done, kept) = oneshot::channel();
        let reply: Reply = Box::new(move |_| {
            // Nobody waits any more: the broker stops.
            let _ = done.send(());
        });
        self.send(group, Command::Input(Input::Keep(reply))).await?;
        kept.await.map_err(|_| Stopped)
    }

    /// Says when a group's segments are closed from now on.
    pub async fn set_policy(&self, group: GroupId, policy: SegmentPolicy) -> Result<(), Stopped> {
        self.send(group, Command::Input(Input::SetPolicy(group, policy))).await
    }

    /// The time by which the groups that are led here reckon.
    pub(crate) fn time(&self) -> Timestamp {
        self.time.now()
    }

    /// Proposes. Proposals to one group that are sent one after the other stay in that order.
    /// Whatever time a proposer has given to a command of a coordinator, it gets that of here,
    /// where it is led: deadlines are reckoned by one clock, and not by that of whichever broker
    /// asks.
    pub async fn propose(
        &self,
        group: GroupId,
        mut proposal: Proposal<Reply>,
    ) -> Result<(), Stopped> {
        if let ProposalKind::Command(command) = &mut proposal.kind
            && GroupId::COORDINATORS.contains(&group)
        {
            coordinator::set_time(command, self.time());
        }
        self.send(group, Command::Input(Input::Propose(group, proposal))).await
    }

    /// Hands over what another replica says. Waits while the group's shard is busy.
    pub async fn receive(&self, message: Message) -> Result<(), Stopped> {
        self.send(message.group, Command::Input(Input::Message(message))).await
    }

    /// A stream of messages from another broker has ended. Waits while the shards are busy, as it
    /// must not overtake the messages, nor be lost.
    pub async fn silent(&self, node: NodeId) -> Result<(), Stopped> {
        for shard in &self.shards {
            let told = Command::Input(Input::Unreachable(node));
            shard.send(told).await.map_err(|_| Stopped)?;
        }
        Ok(())
    }

    /// Has what stands in a group's log compacted, if its replica here leads. Dropped while its
    /// shard is busy: it is wanted again.
    pub(crate) fn order_compaction(&self, group: GroupId, wanted: CleanUp, is_by_age: bool) {
        let order = Input::OrderCompaction(group, wanted, is_by_age);
        let _ = self.shard(group).try_send(Command::Input(order));
    }

    pub(super) fn tick(&self, settle: bool) {
        for shard in &self.shards {
            // A shard that is too busy for a tick is not idle, and writes enough without it.
            let _ = shard.try_send(Command::Input(Input::Tick));
            if settle {
                let _ = shard.try_send(Command::Input(Input::Settle));
            }
        }
    }
}
