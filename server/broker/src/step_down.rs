//! Handing over what this broker leads, before it stops: nobody then waits for an election.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use ropewalk_cluster::Metadata;
use ropewalk_consensus::{MemberProgress, ProposalKind, Receipt};
use ropewalk_core::{GroupId, NodeId, ReplicaId};
use tokio::time::{sleep, timeout};

use crate::broker::Broker;
use crate::group_handle::GroupHandle;

/// Groups that are handed over at a time.
const SIDE_BY_SIDE: usize = 64;
/// The pause before a group that could not be handed over is looked at again.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// How long the one who was chosen may take. Raft gives a transfer up after a second.
const TAKEN_WITHIN: Duration = Duration::from_millis(1_200);

impl Broker {
    /// Hands over every group that this broker leads and that has another voter in sync, for as
    /// long as `within`. Returns how many it still leads that others could.
    ///
    /// Nothing hinders others from handing a group back (this broker is still alive, and perhaps
    /// the preferred leader): whoever waits long after it does it once more.
    pub async fn step_down(&self, within: Duration) -> usize {
        let handed = stream::iter(self.led_with_others()).for_each_concurrent(
            SIDE_BY_SIDE,
            |handle| async move {
                while handle.is_led_here() && !self.hand_over_to_any(&handle).await {
                    sleep(TRY_AGAIN).await;
                }
            },
        );
        let _ = timeout(within, handed).await;
        self.led_with_others().len()
    }

    /// The groups that this broker leads and is not alone in. The metadata comes last: the others
    /// may need it to find their leaders.
    fn led_with_others(&self) -> Vec<GroupHandle> {
        let table = self.table();
        let partitions = table.topics.values().flat_map(|topic| topic.partitions.iter());
        let coordinators = table.coordinators.values().map(|found| found.handle.clone());
        let handles = partitions
            .map(|partition| partition.handle().clone())
            .chain(coordinators)
            .chain([self.metadata_group().clone()]);
        let has_others = |handle: &GroupHandle| {
            let watch = handle.watch().filter(|watch| watch.epoch().is_some());
            watch.is_some_and(|watch| watch.role().voters.len() > 1)
        };
        handles.filter(has_others).collect()
    }

    /// Hands over to the best of the others. Returns whether it, or somebody else, leads now.
    async fn hand_over_to_any(&self, handle: &GroupHandle) -> bool {
        let Ok(Receipt::Progress { members, .. }) =
            handle.propose_here(ProposalKind::Progress).await
        else {
            return !handle.is_led_here();
        };
        let metadata = self.metadata();
        let Some(to) = successor(&metadata, handle.group, self.config.node, &members) else {
            return false;
        };
        let transfer = handle.propose_here(ProposalKind::TransferLeadership(to)).await;
        let Some(watch) = handle.watch().filter(|_| transfer.is_ok()).map(Arc::clone) else {
            return false;
        };
        let mut role = watch.watch_role();
        // Calls that come here go on to the new leader once it is known, and not before.
        let taken = role.wait_for(|role| {
            role.epoch.is_none() && role.leader.is_some() && role.leader != role.replica
        });
        timeout(TAKEN_WITHIN, taken).await.is_ok()
    }
}

/// Who is to lead a group when this broker does not: the first of the replicas in the order of
/// preference that is in sync and not draining; else whoever in sync has most of the log.
fn successor(
    metadata: &Metadata,
    group: GroupId,
    own: NodeId,
    members: &[MemberProgress],
) -> Option<ReplicaId> {
    let ready = |member: &&MemberProgress| {
        member.is_voter && member.is_in_sync() && member.replica.node() != own
    };
    let ready: Vec<_> = members.iter().filter(ready).collect();
    let is_ready = |replica: &&ReplicaId| {
        !metadata.is_draining(replica.node())
            && ready.iter().any(|member| member.replica == **replica)
    };
    let preferred = metadata.replicas(group).and_then(|all| all.iter().find(is_ready));
    let fullest = || ready.iter().max_by_key(|member| member.matched).map(|member| member.replica);
    preferred.copied().or_else(fullest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_is_in_sync_and_has_most() {
        let member = |node, is_active, lag| MemberProgress {
            replica: ReplicaId::new(NodeId(node), 0),
            is_voter: true,
            is_active,
            matched: 1_000 - lag,
            lag,
        };
        let members =
            [member(1, true, 0), member(2, false, 0), member(3, true, 9), member(4, true, 2)];
        let choose = |members: &[MemberProgress]| {
            let chosen = successor(&Metadata::default(), GroupId::METADATA, NodeId(1), members);
            chosen.map(|replica| replica.node().0)
        };
        assert_eq!(choose(&members), Some(4));
        assert_eq!(choose(&members[..2]), None);
        assert_eq!(choose(&[member(1, true, 0), member(2, true, 500)]), None);
    }
}
