//! Brings the members of the groups that this broker leads to what the metadata wants, one step at
//! a time, and hands groups over to those who should lead them.
//!
//! What the next step is, is a pure function ([`Members::next_step`]).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use ropewalk_cluster::{
    Desired, Gone, Members, Metadata, MetadataCommand, MetadataWatch, Step, Topic, leader_moves,
    replacement,
};
use ropewalk_consensus::proposal::MembershipChange;
use ropewalk_consensus::{MemberProgress, ProposalKind, ProposeError, Receipt};
use ropewalk_core::{GroupId, NodeId, ReplicaId, limits};
use tokio::sync::{OnceCell, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::broker::{command_metadata, metadata_index};
use crate::errors::TopicError;
use crate::group_handle::{GroupHandle, Ways};
use crate::group_watch::{GroupChanges, GroupWatch, Role};
use crate::groups::Groups;

/// How often steps that could not be made are tried again: a learner catches up meanwhile.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How often it is looked who should lead.
const BALANCE: Duration = Duration::from_secs(5);
/// How long a leader may take to answer before it is asked again later.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// How long a command of the metadata may take, likewise.
const COMMAND_WITHIN: Duration = Duration::from_secs(2);
/// Groups that are brought along at a time.
const SIDE_BY_SIDE: usize = 16;

/// The next step from the members that a group has to those that it is to have, past those who are
/// behind.
fn next_step(role: &Role, desired: &Desired, behind: &[ReplicaId]) -> Option<Step> {
    let own = role.replica?;
    let members = Members { own, voters: &role.voters, learners: &role.learners, behind };
    members.next_step(desired)
}

/// The same, where it is known who is in sync: others are let go before them, as the group may need
/// each vote that it gets; and one of them takes over.
fn next_step_among(
    role: &Role,
    desired: &Desired,
    in_sync: &[ReplicaId],
    behind: &[ReplicaId],
) -> Option<Step> {
    let (mut role, mut behind) = (role.clone(), behind.to_vec());
    role.voters.sort_by_key(|voter| in_sync.contains(voter));
    loop {
        match next_step(&role, desired, &behind) {
            // To one that is not there a leader hands over in vain, and takes no records meanwhile.
            Some(Step::HandOver(to)) if !in_sync.contains(&to) => behind.push(to),
            step => return step,
        }
    }
}

/// What a broker answers that may lead a group, if it does in time.
async fn answer(handle: &GroupHandle, node: NodeId, kind: ProposalKind) -> Option<Receipt> {
    timeout(ANSWER_WITHIN, handle.propose_at(node, kind)).await.ok()?.ok()
}

/// What has become of a group for now.
#[derive(Default)]
struct Along {
    /// There is more to do later.
    has_more: bool,
    /// Who counts no more, and is to be forgotten.
    gone: Vec<Gone>,
}

impl Along {
    fn later_if(has_more: bool) -> Self {
        Self { has_more, gone: Vec::new() }
    }
}

/// One look at groups that are not as they are to be.
struct Round {
    /// The groups, with the epochs in which this broker led them when it began.
    epochs: BTreeMap<GroupId, Option<u64>>,
    /// Whether this broker has all of the metadata that there were after that. Asked once, by the
    /// first that needs it.
    is_up_to_date: OnceCell<bool>,
}

/// The groups that may be meant to be elsewhere than before. What is not new is shared by both.
fn groups_changed(before: &Metadata, now: &Metadata) -> Vec<GroupId> {
    let is_new = |topic: &&Arc<Topic>| {
        !before.topic(&topic.name).is_some_and(|known| Arc::ptr_eq(known, topic))
    };
    let topics = now.topics.values().filter(is_new);
    let partitions = topics.flat_map(|topic| topic.groups().map(|(_, group)| group));
    now.system.keys().copied().chain(partitions).collect()
}

/// Keeps the groups of this broker in step with the metadata.
pub(crate) struct Keeper {
    pub(crate) ways: Arc<Ways>,
    pub(crate) metadata: MetadataWatch,
    pub(crate) groups: Arc<Groups>,
    pub(crate) changes: Arc<GroupChanges>,
    pub(crate) alive: watch::Receiver<BTreeSet<NodeId>>,
}

impl Keeper {
    /// Runs until the broker stops.
    pub(crate) async fn run(mut self) {
        let mut unsettled: BTreeSet<GroupId> = BTreeSet::new();
        let (mut tries, mut balances) = (interval(TRY_AGAIN), interval(BALANCE));
        // Nobody waited for them while there was nothing to try.
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut balanced_to = None;
        let mut seen = Arc::default();
        loop {
            let is_balanced = tokio::select! {
                changed = self.metadata.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = self.metadata.borrow_and_update().clone();
                    unsettled.extend(groups_changed(&seen, &now));
                    seen = now;
                    self.must_hand_over()
                }
                changed = self.changes.take() => {
                    unsettled.extend(changed);
                    false
                }
                _ = tries.tick(), if !unsettled.is_empty() || self.must_hand_over() => {
                    self.must_hand_over()
                }
                _ = balances.tick() => {
                    unsettled.extend(self.damaged());
                    true
                }
            };
            if is_balanced {
                balanced_to = self.balance(balanced_to).await;
            }
            let round = self.round(std::mem::take(&mut unsettled));
            let groups: Vec<_> = round.epochs.keys().copied().collect();
            let steps = stream::iter(groups).map(|group| {
                let (keeper, round) = (&self, &round);
                async move { (group, keeper.bring_along(group, round).await) }
            });
            let left: Vec<_> = steps.buffer_unordered(SIDE_BY_SIDE).collect().await;
            let has_more = left.iter().filter(|(_, along)| along.has_more);
            unsettled = has_more.map(|(group, _)| *group).collect();
            self.forget(left.into_iter().flat_map(|(_, along)| along.gone).collect()).await;
        }
    }

    /// Whether this broker is draining and leads something yet: that does not wait for the balance.
    fn must_hand_over(&self) -> bool {
        self.metadata.borrow().is_draining(self.ways.node) && !self.led().is_empty()
    }

    /// The groups that this broker leads.
    fn led(&self) -> BTreeMap<GroupId, Arc<GroupWatch>> {
        self.groups.filtered(|_, watch| watch.epoch().is_some())
    }

    /// Partitions whose log cannot be read here: a reader found that, and the shard does not know.
    fn damaged(&self) -> impl Iterator<Item = GroupId> {
        let is_damaged =
            |group: GroupId, watch: &GroupWatch| group.is_partition() && watch.is_damaged();
        self.groups.filtered(is_damaged).into_keys()
    }

    fn round(&self, groups: BTreeSet<GroupId>) -> Round {
        let epoch = |group| self.groups.get(group).and_then(|watch| watch.epoch());
        let epochs = groups.into_iter().map(|group| (group, epoch(group))).collect();
        Round { epochs, is_up_to_date: OnceCell::new() }
    }

    /// Makes the next step of a group.
    async fn bring_along(&self, group: GroupId, round: &Round) -> Along {
        let Some(watch) = self.groups.get(group) else { return Along::default() };
        if watch.is_damaged() {
            return Along::later_if(self.replace(group, &watch).await);
        }
        if watch.epoch().is_none() {
            return Along::default();
        }
        let metadata: Arc<Metadata> = self.metadata.borrow().clone();
        let Some(mut desired) = metadata.desired(group) else { return Along::default() };
        if next_step(&watch.role(), &desired, &[]).is_none() {
            return self.let_go(group, watch, &metadata).await;
        }
        let members = self.progress(group, &watch).await;
        let in_sync = members.iter().filter(|member| member.is_in_sync());
        let in_sync: Vec<_> = in_sync.map(|member| member.replica).collect();
        let role = watch.role();
        let mut behind = Vec::new();
        let mut may_add = group == GroupId::METADATA;
        while let Some(step) = next_step_among(&role, &desired, &in_sync, &behind) {
            if matches!(step, Step::Change(MembershipChange::AddLearner(_))) && !may_add {
                let Some(newest) = self.newest(group, &watch, round).await else { break };
                (desired, may_add) = (newest, true);
                continue;
            }
            let kind = match step {
                Step::Change(change) => ProposalKind::Membership(change),
                Step::HandOver(to) => ProposalKind::TransferLeadership(to),
            };
            let Err(error) = self.propose(group, Arc::clone(&watch), kind).await else { break };
            tracing::debug!(%group, ?step, %error, "a step of the members is made later");
            match error {
                // Another one may be ready: this one's broker may be dead.
                ProposeError::Behind(replica) if !behind.contains(&replica) => behind.push(replica),
                _ => break,
            }
        }
        Along { has_more: true, ..self.let_go(group, watch, &metadata).await }
    }

    /// The members that a group is to have by the newest metadata, if this broker has them and has
    /// led the group since before it asked for them. A replica that was let go of and forgotten is
    /// deleted: were it a member again by older metadata, the group might count on it meanwhile. So
    /// nobody adds one who does not know all. Whoever finds that one is no member has led since it
    /// was not to be one, and after that nobody else adds it: who led before cannot any more.
    ///
    /// A broker that was removed gets no newer ones, and gives away what it has. Who is forgotten
    /// after that was found to be no member by one that did not count this broker either.
    async fn newest(&self, group: GroupId, watch: &GroupWatch, round: &Round) -> Option<Desired> {
        let known = self.metadata.borrow().clone();
        if known.metadata_replica(self.ways.node).is_none() {
            return known.desired(group);
        }
        let is_up_to_date = *round.is_up_to_date.get_or_init(|| self.catch_up()).await;
        let since = round.epochs.get(&group).copied().flatten()?;
        let is_safe = is_up_to_date && watch.epoch() == Some(since);
        let metadata = is_safe.then(|| self.metadata.borrow().clone())?;
        metadata.desired(group)
    }

    /// Asks whoever leads the metadata how far they are, and waits until this broker has them.
    async fn catch_up(&self) -> bool {
        let Some(metadata) = self.metadata_group() else { return false };
        let Ok(Ok(index)) = timeout(ANSWER_WITHIN, metadata_index(&metadata)).await else {
            return false;
        };
        let mut known = self.metadata.clone();
        let has_all = known.wait_for(|known| known.index >= index);
        if timeout(ANSWER_WITHIN, has_all).await.is_ok_and(|known| known.is_ok()) {
            return true;
        }
        // After a start it counts entries that are no commands. The next command is at the same
        // index everywhere.
        let nothing = MetadataCommand::ForgetReplicas { gone: Vec::new() };
        if let Err(error) = self.command(&nothing).await {
            tracing::debug!(%error, "this broker is behind with the metadata");
        }
        false
    }

    /// The way to the metadata group.
    fn metadata_group(&self) -> Option<GroupHandle> {
        let metadata = self.groups.get(GroupId::METADATA)?;
        let voters = metadata.role().voters;
        Some(GroupHandle::new(GroupId::METADATA, &self.ways, Some(metadata), &voters))
    }

    /// The members of a group that is led here.
    async fn progress(&self, group: GroupId, watch: &Arc<GroupWatch>) -> Vec<MemberProgress> {
        let handle = GroupHandle::new(group, &self.ways, Some(Arc::clone(watch)), &[]);
        match handle.propose_here(ProposalKind::Progress).await {
            Ok(Receipt::Progress { members, .. }) => members,
            _ => Vec::new(),
        }
    }

    /// The members of a group by the word of a broker that leads it, and led it still after it had
    /// given it: one that stood still for long may not know who became a member meanwhile.
    async fn members_at(&self, handle: &GroupHandle, node: NodeId) -> Option<Vec<MemberProgress>> {
        let progress = answer(handle, node, ProposalKind::Progress).await?;
        let Receipt::Progress { members, leader_epoch } = progress else { return None };
        let still = answer(handle, node, ProposalKind::Bounds).await?.leader_epoch()?;
        (still == leader_epoch).then_some(members)
    }

    /// Returns who is to be forgotten, if anybody: those that the group counts no more. Until then
    /// a broker goes on with a replica to which nothing comes any more, so this waits for no other
    /// step; but for brokers that were removed (see [`Self::newest`]).
    async fn let_go(&self, group: GroupId, watch: Arc<GroupWatch>, metadata: &Metadata) -> Along {
        if !metadata.has_former(group) {
            return Along::default();
        }
        let handle = GroupHandle::new(group, &self.ways, Some(watch), &[]);
        let members = self.members_at(&handle, self.ways.node).await;
        let is_known =
            |member: &MemberProgress| metadata.brokers.contains_key(&member.replica.node());
        let members = members.filter(|members| members.iter().all(is_known));
        let gone = members.map(|members| metadata.gone(group, &members)).unwrap_or_default();
        Along { has_more: true, gone }
    }

    /// Has replicas forgotten that their groups count no more.
    async fn forget(&self, mut gone: Vec<Gone>) {
        gone.truncate(limits::MAX_PARTITIONS_PER_REQUEST);
        // With older metadata this broker would make members of them again, were it to start now.
        let kept = timeout(COMMAND_WITHIN, self.ways.driver.keep(GroupId::METADATA));
        if gone.is_empty() || !matches!(kept.await, Ok(Ok(()))) {
            return;
        }
        if let Err(error) = self.command(&MetadataCommand::ForgetReplicas { gone }).await {
            tracing::debug!(%error, "replicas that have left their groups are forgotten later");
        }
    }

    /// Has a command of the metadata carried out, by whoever leads them.
    async fn command(&self, command: &MetadataCommand) -> Result<(), TopicError> {
        let metadata = self.metadata_group().ok_or(ProposeError::NoLeader)?;
        let level = self.metadata.borrow().level();
        let carried_out =
            timeout(COMMAND_WITHIN, command_metadata(&metadata, level, command)).await;
        // Whoever does not wait any more asks once more.
        carried_out.map_err(|_| ProposeError::NoLeader)?.map(|_| ())
    }

    /// Has this broker's replica, which is damaged, replaced by a new one that gets everything from
    /// the others, where these can do without it. One that leads hands over first, and one that is
    /// alone stays: it is the only one that has something. Returns whether there is more to do.
    async fn replace(&self, group: GroupId, watch: &Arc<GroupWatch>) -> bool {
        let role = watch.role();
        let (Some(own), false) = (role.replica, watch.is_alone()) else { return false };
        let wanted = self.metadata.borrow().replicas(group).unwrap_or_default().to_vec();
        let is_wanted = group == GroupId::METADATA || wanted.contains(&own);
        if role.epoch.is_none() && !is_wanted {
            // It is to go, or was replaced already.
            return false;
        }
        if role.epoch.is_some() {
            let members = self.progress(group, watch).await;
            let is_behind = |member: &MemberProgress| member.is_active && !member.is_in_sync();
            // It leads on where nothing would come of it: the balance would give the lead back.
            if group == GroupId::METADATA
                || !is_wanted
                || members.iter().any(is_behind)
                || replacement(group, own, &members).is_some()
            {
                self.give_up_lead(group, watch, own, &members).await;
            }
            return true;
        }
        if group == GroupId::METADATA {
            tracing::error!(
                "the metadata on this broker's disk is damaged, and cannot be replaced while the \
                 broker runs: stop it, and start it with an empty data directory"
            );
            return false;
        }
        let Some(command) = self.replacement(group, watch, &wanted).await else {
            tracing::debug!(%group, "a damaged replica is needed, and is replaced later");
            return true;
        };
        match self.command(&command).await {
            Ok(()) => {
                tracing::warn!(%group, replica = %own, "a damaged replica is replaced");
                false
            }
            Err(error) => {
                tracing::debug!(%group, %error, "a damaged replica is replaced later");
                true
            }
        }
    }

    /// Hands the lead of a group to another voter. Not to one that lacks too much: it may be behind
    /// because of the damage here.
    async fn give_up_lead(
        &self,
        group: GroupId,
        watch: &Arc<GroupWatch>,
        own: ReplicaId,
        members: &[MemberProgress],
    ) {
        let is_fit = |member: &&MemberProgress| {
            member.is_voter && member.replica != own && member.is_in_sync()
        };
        let wanted = self.metadata.borrow().replicas(group).unwrap_or_default().to_vec();
        let mut others: Vec<_> = members.iter().filter(is_fit).collect();
        // One that is to go itself would hand over at once, and maybe to this one.
        others.sort_by_key(|member| !wanted.contains(&member.replica));
        for other in others {
            let kind = ProposalKind::TransferLeadership(other.replica);
            if self.propose(group, Arc::clone(watch), kind).await.is_ok() {
                break;
            }
        }
    }

    /// How the damaged replica here can be replaced now, by what the leader of its group says.
    async fn replacement(
        &self,
        group: GroupId,
        watch: &Arc<GroupWatch>,
        wanted: &[ReplicaId],
    ) -> Option<MetadataCommand> {
        let role = watch.role();
        let handle = GroupHandle::new(group, &self.ways, Some(Arc::clone(watch)), wanted);
        // One that takes no part any more does not know who leads.
        let all = role.leader.iter().chain(&role.voters).chain(wanted);
        let mut others: Vec<_> = all.map(|replica| replica.node()).collect();
        others.retain(|node| *node != self.ways.node);
        let mut asked = BTreeSet::new();
        for node in others {
            if asked.insert(node)
                && let Some(members) = self.members_at(&handle, node).await
            {
                return replacement(group, role.replica?, &members);
            }
        }
        None
    }

    async fn propose(
        &self,
        group: GroupId,
        watch: Arc<GroupWatch>,
        kind: ProposalKind,
    ) -> Result<(), ProposeError> {
        let handle = GroupHandle::new(group, &self.ways, Some(watch), &[]);
        handle.propose_here(kind).await.map(|_| ())
    }

    /// Hands over some of the groups that others should lead. Returns the last of them.
    async fn balance(&self, after: Option<GroupId>) -> Option<GroupId> {
        if self.alive.borrow().is_empty() {
            // Nobody could take over.
            return after;
        }
        let led = self.led();
        let own = |watch: &Arc<GroupWatch>| watch.role().replica;
        let leaders: BTreeMap<_, _> =
            led.iter().filter_map(|(group, watch)| Some((*group, own(watch)?))).collect();
        let mut alive = self.alive.borrow().clone();
        alive.insert(self.ways.node);
        let metadata: Arc<Metadata> = self.metadata.borrow().clone();
        let moves = leader_moves(&metadata, &leaders, &alive, after);
        for (group, to) in &moves {
            let Some(watch) = led.get(group) else { continue };
            if watch.role().voters.contains(to) {
                // One that lacks too much of the log is asked again later.
                let kind = ProposalKind::TransferLeadership(*to);
                let _ = self.propose(*group, Arc::clone(watch), kind).await;
            }
        }
        moves.last().map(|(group, _)| *group)
    }
}
