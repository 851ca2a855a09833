//! Where the replicas of groups are now and how far each has the log, asked of those who lead them.
//!
//! What the metadata says is what is to be; this is what is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use ropewalk_consensus::{MemberProgress, ProposalKind, Receipt};
use ropewalk_core::{GroupId, NodeId};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::broker::Broker;
use crate::group_handle::GroupHandle;

/// How long a leader may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Leaders that are asked at a time.
const SIDE_BY_SIDE: usize = 128;
/// How long an answer is given again.
const FRESH_FOR: Duration = Duration::from_millis(250);

/// The replicas of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReplicas {
    /// The broker that leads it.
    pub leader: NodeId,
    /// Its members, by replica id.
    pub members: Vec<MemberProgress>,
}

impl GroupReplicas {
    /// The number of voters that are in sync.
    #[must_use]
    pub fn in_sync(&self) -> usize {
        let in_sync = |member: &&MemberProgress| member.is_voter && member.is_in_sync();
        self.members.iter().filter(in_sync).count()
    }
}

/// What a broker has and leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerLoad {
    /// Partitions that it leads.
    pub leads: usize,
    /// Partitions of which it has a replica.
    pub replicas: usize,
    /// Groups of the broker's own that it leads.
    pub system_leads: usize,
    /// Groups of the broker's own of which it has a replica.
    pub system_replicas: usize,
}

/// All groups of the cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// What each broker has and leads, also one that was removed and still has something.
    pub loads: BTreeMap<NodeId, BrokerLoad>,
    /// Partitions with fewer replicas in sync than they are to have.
    pub under_replicated: usize,
    /// Partitions for which no leader answered.
    pub leaderless: usize,
    /// Both kinds, by their groups, as their leaders see them.
    pub unhealthy: BTreeMap<GroupId, Option<GroupReplicas>>,
}

impl Survey {
    fn add(&mut self, group: GroupId, wanted: usize, found: Option<&GroupReplicas>) {
        let is_partition = group.is_partition();
        let in_sync = found.map_or(0, GroupReplicas::in_sync);
        if is_partition {
            self.under_replicated += usize::from(in_sync < wanted);
            self.leaderless += usize::from(found.is_none());
            if in_sync < wanted {
                self.unhealthy.insert(group, found.cloned());
            }
        }
        let Some(found) = found else { return };
        let leader = self.loads.entry(found.leader).or_default();
        let leads = if is_partition { &mut leader.leads } else { &mut leader.system_leads };
        *leads += 1;
        for member in &found.members {
            let load = self.loads.entry(member.replica.node()).or_default();
            let has = if is_partition { &mut load.replicas } else { &mut load.system_replicas };
            *has += 1;
        }
    }
}

/// The newest survey. Whoever asks while one is made waits for that one.
pub(crate) type SurveyCache = Mutex<Option<(Instant, Arc<Survey>)>>;

impl GroupHandle {
    /// The replicas of the group, as its leader sees them; `None` when none answers in time.
    async fn ask_for_replicas(&self) -> Option<GroupReplicas> {
        if self.watch().is_some() && self.leader().is_none() {
            return None;
        }
        let asked = self.propose(|| ProposalKind::Progress, None);
        let Ok(Ok(Receipt::Progress { members, .. })) = timeout(ANSWER_WITHIN, asked).await else {
            return None;
        };
        Some(GroupReplicas { leader: self.leader()?.node, members })
    }
}

/// The replicas of groups, in their order; `None` for each whose leader does not answer in half a
/// second.
pub async fn replicas_of(handles: &[GroupHandle]) -> Vec<Option<GroupReplicas>> {
    let asked =
        stream::iter(handles.to_vec()).map(|handle| async move { handle.ask_for_replicas().await });
    asked.buffered(SIDE_BY_SIDE).collect().await
}

impl Broker {
    /// The replicas of this broker that lack too much of what their groups have, or have nothing
    /// yet, or whose leader does not answer. Groups that are in `caught_up` are not asked again,
    /// and those that have caught up are put there.
    pub async fn behind(&self, caught_up: &mut BTreeSet<GroupId>) -> usize {
        let node = self.config().node;
        let mut handles = self.handles();
        handles.retain(|handle| {
            let is_here = handle.watch().is_some() || handle.nodes().contains(&node);
            is_here && !caught_up.contains(&handle.group)
        });
        let found = replicas_of(&handles).await;
        let is_own = |member: &&MemberProgress| member.replica.node() == node;
        for (handle, found) in handles.iter().zip(&found) {
            let own = found.as_ref().and_then(|found| found.members.iter().find(is_own));
            if own.is_some_and(MemberProgress::is_in_sync) {
                caught_up.insert(handle.group);
            }
        }
        handles.iter().filter(|handle| !caught_up.contains(&handle.group)).count()
    }

    /// The ways to all groups of the cluster.
    fn handles(&self) -> Vec<GroupHandle> {
        let table = self.table();
        let partitions = table.topics.values().flat_map(|topic| topic.partitions.iter());
        let coordinators = table.coordinators.values().map(|found| found.handle.clone());
        std::iter::once(self.metadata_group().clone())
            .chain(coordinators)
            .chain(partitions.map(|partition| partition.handle().clone()))
            .collect()
    }

    /// Asks the leaders of all groups of the cluster, or gives what they said a moment ago.
    pub async fn survey(&self) -> Arc<Survey> {
        let mut newest = self.survey.lock().await;
        if let Some((made, survey)) = newest.as_ref().filter(|(made, _)| made.elapsed() < FRESH_FOR)
        {
            tracing::trace!(age = ?made.elapsed(), "a survey is given again");
            return Arc::clone(survey);
        }
        let handles = self.handles();
        let mut survey = Survey::default();
        for (handle, found) in handles.iter().zip(replicas_of(&handles).await) {
            survey.add(handle.group, handle.nodes().len(), found.as_ref());
        }
        let survey = Arc::new(survey);
        *newest = Some((Instant::now(), Arc::clone(&survey)));
        survey
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_core::ReplicaId;

    use super::*;

    fn member(node: u64, is_active: bool, lag: u64) -> MemberProgress {
        let replica = ReplicaId::new(NodeId(node), 0);
        MemberProgress { replica, is_voter: true, is_active, matched: 10, lag }
    }

    #[test]
    fn a_survey_counts_what_is_and_what_is_missing() {
        let all = GroupReplicas {
            leader: NodeId(1),
            members: vec![member(1, true, 0), member(2, true, 3), member(3, true, 128)],
        };
        let behind = GroupReplicas {
            leader: NodeId(2),
            members: vec![member(1, false, 0), member(2, true, 0), member(3, true, 129)],
        };
        let mut survey = Survey::default();
        survey.add(GroupId::FIRST_PARTITION, 3, Some(&all));
        survey.add(GroupId(GroupId::FIRST_PARTITION.0 + 1), 3, Some(&behind));
        survey.add(GroupId(GroupId::FIRST_PARTITION.0 + 2), 3, None);
        survey.add(GroupId::METADATA, 3, Some(&all));
        assert_eq!((survey.under_replicated, survey.leaderless), (2, 1));
        let [first, second] = [1, 2].map(|at| GroupId(GroupId::FIRST_PARTITION.0 + at));
        assert_eq!(survey.unhealthy, [(first, Some(behind)), (second, None)].into());
        let first = survey.loads[&NodeId(1)];
        assert_eq!((first.leads, first.replicas), (1, 2));
        assert_eq!((first.system_leads, first.system_replicas), (1, 1));
    }
}
