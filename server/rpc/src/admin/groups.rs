//! Consumer groups, as people see them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use ropewalk_broker::coordinator::{ListedGroup, Sight};
use ropewalk_broker::offsets::Committed;
use ropewalk_broker::sights::Sights;
use ropewalk_broker::table::TableSnapshot;
use ropewalk_broker::{Broker, Partition};
use ropewalk_core::{MemberId, PartitionId, TopicId};
use ropewalk_groups::{ConsumerGroup, GroupState, MemberDescription, MemberName, TopicPartition};
use ropewalk_proto::broker as pb;
use tonic::Status;

use crate::consumer::names_by_id;
use crate::convert;
use crate::failure::{Failure, Reason};
use crate::group_request::{check_count, check_group, read_member};
use crate::leading::CallRoute;
use crate::server::Drain;

use super::read_page_size;

/// Partitions whose ends are asked for side by side, and how long one of them has to answer.
const ASKED_AT_A_TIME: usize = 64;
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

fn state(state: GroupState) -> i32 {
    let state = match state {
        GroupState::Empty => pb::ConsumerGroupState::Empty,
        GroupState::Stable => pb::ConsumerGroupState::Stable,
        GroupState::Rebalancing => pb::ConsumerGroupState::Rebalancing,
    };
    state.into()
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

pub(super) async fn list(
    broker: &Broker,
    request: pb::ListConsumerGroupsRequest,
) -> Result<pb::ListConsumerGroupsResponse, Failure> {
    let page_size = read_page_size(request.page_size)?;
    // The token is the last name of the page before: a group that is deleted meanwhile shifts
    // nothing.
    let (prefix, after) = (&request.name_prefix, &request.page_token);
    let (groups, has_more) = broker.list_groups(prefix, after, page_size).await?;
    let last = groups.last().filter(|_| has_more).map(|group| group.name.clone());
    let summary = |group: ListedGroup| pb::ConsumerGroupSummary {
        state: state(group.state),
        member_count: number(group.members),
        group: group.name,
    };
    Ok(pb::ListConsumerGroupsResponse {
        groups: groups.into_iter().map(summary).collect(),
        next_page_token: last.unwrap_or_default(),
    })
}

pub(super) async fn get(
    broker: &Broker,
    route: &CallRoute,
    group: &str,
) -> Result<pb::GetConsumerGroupResponse, Failure> {
    check_group(group)?;
    route.asks(&broker.coordinator_of(group)?)?;
    let sight = broker.group_now(group).await?;
    let committed = broker.positions(group).await?;
    if sight.group.is_none() && committed.is_empty() {
        let message = format!("there is no consumer group `{group}`: see `ropewalk group list`");
        let failure = Failure::new(Reason::GroupNotFound, message);
        return Err(failure.about_resource("consumer group", group));
    }
    let owners = sight.group.as_deref().map(owners).unwrap_or_default();
    let committed: BTreeMap<TopicPartition, Committed> =
        committed.into_iter().map(|(topic, id, known)| ((topic, id), known)).collect();
    let table = broker.table();
    let names = names_by_id(&table);
    let keys: BTreeSet<_> = committed.keys().chain(owners.keys()).copied().collect();
    let asked = keys.into_iter().filter_map(|(topic, id)| {
        let name = names.get(&topic)?;
        let partition = table.topics.get(name)?.partition(id)?;
        let known = committed.get(&(topic, id));
        let owner = owners.get(&(topic, id)).copied();
        Some(describe_offset(Arc::clone(partition), known.cloned(), owner))
    });
    let mut offsets: Vec<_> = stream::iter(asked).buffered(ASKED_AT_A_TIME).collect().await;
    offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let group = Some(describe(group, sight.group.as_deref(), &table));
    Ok(pb::GetConsumerGroupResponse { group, offsets })
}

fn owners(group: &ConsumerGroup) -> BTreeMap<TopicPartition, MemberId> {
    let members = group.describe().members.into_iter();
    members
        .flat_map(|member| member.assigned.into_iter().map(move |owned| (owned, member.id)))
        .collect()
}

async fn describe_offset(
    partition: Arc<Partition>,
    committed: Option<Committed>,
    owner: Option<MemberId>,
) -> pb::ConsumerGroupOffset {
    let bounds = tokio::time::timeout(ANSWER_WITHIN, partition.latest_bounds()).await;
    let bounds = bounds.ok().and_then(Result::ok);
    let start = bounds.map(|bounds| convert::offset(bounds.start));
    let end = bounds.map(|bounds| convert::offset(bounds.high_watermark));
    let offset = committed.as_ref().map(|known| convert::offset(known.offset));
    let lag = |(start, end): (i64, i64)| (end - offset.unwrap_or(start).max(start)).max(0);
    pb::ConsumerGroupOffset {
        topic: partition.topic.to_string(),
        partition: number(partition.id.0),
        committed_offset: offset,
        commit_time: committed.as_ref().map(|known| convert::timestamp(known.time)),
        metadata: committed.map(|known| known.metadata).unwrap_or_default(),
        log_start_offset: start,
        high_watermark: end,
        lag: start.zip(end).map(lag),
        member_id: owner.map(|owner| owner.to_string()).unwrap_or_default(),
    }
}

fn describe(name: &str, group: Option<&ConsumerGroup>, table: &TableSnapshot) -> pb::ConsumerGroup {
    let Some(group) = group else {
        let state = state(GroupState::Empty);
        return pb::ConsumerGroup { group: name.to_owned(), state, ..Default::default() };
    };
    let names = names_by_id(table);
    let described = group.describe();
    let moves = described.waits.iter().filter_map(|wait| {
        let (topic, partition) = wait.partition;
        Some(pb::PartitionMove {
            topic: names.get(&topic)?.clone(),
            partition: number(partition.0),
            from_member_id: wait.holder.map(|id| id.to_string()).unwrap_or_default(),
            to_member_id: wait.taker.map(|id| id.to_string()).unwrap_or_default(),
            deadline: wait.until.map(convert::timestamp),
        })
    });
    pb::ConsumerGroup {
        group: name.to_owned(),
        state: state(described.state),
        generation: i64::try_from(described.generation).unwrap_or(i64::MAX),
        strategy: described.strategy.clone(),
        moves: moves.collect(),
        members: described.members.into_iter().map(|known| member(known, &names)).collect(),
    }
}

fn member(member: MemberDescription, names: &BTreeMap<TopicId, String>) -> pb::ConsumerGroupMember {
    let assigned = member.assigned.into_iter().filter_map(|(topic, PartitionId(partition))| {
        let topic = names.get(&topic)?.clone();
        Some(pb::GroupPartition { topic, partition: number(partition) })
    });
    pb::ConsumerGroupMember {
        member_id: member.id.to_string(),
        instance_name: member.instance.unwrap_or_default(),
        client_id: member.client_id,
        host: member.host,
        subscriptions: member.selections.iter().map(|named| named.text().to_owned()).collect(),
        assigned: assigned.collect(),
        lost_until: member.lost.map(|lost| convert::timestamp(lost.until)),
    }
}

pub(super) async fn remove_member(
    broker: &Broker,
    request: pb::RemoveConsumerGroupMemberRequest,
) -> Result<(), Failure> {
    use pb::remove_consumer_group_member_request::Member;
    let member = match request.member {
        Some(Member::MemberId(id)) => MemberName::Id(read_member(&id, "member_id")?),
        Some(Member::InstanceName(name)) => MemberName::Instance(name),
        None => {
            let message = "one of `member_id` and `instance_name` must say which member is meant";
            return Err(Failure::field("member_id", message));
        }
    };
    Ok(broker.remove_member(&request.group, member).await?)
}

pub(super) async fn delete_offsets(
    broker: &Broker,
    request: pb::DeleteCommittedOffsetsRequest,
) -> Result<(), Failure> {
    check_count("partitions", request.partitions.len())?;
    let mut partitions = Vec::with_capacity(request.partitions.len());
    for named in &request.partitions {
        let topic = broker.find_topic(&named.topic).await?;
        let partition = broker.partition(&topic, named.partition.into())?;
        partitions.push((partition.topic_id, partition.id));
    }
    Ok(broker.delete_positions(&request.group, partitions).await?)
}

/// WatchConsumerGroup: a group, then how it changes. The stream holds what it has told last.
pub(super) struct GroupWatch {
    broker: Arc<Broker>,
    group: String,
    sights: Sights,
    drain: Drain,
    told: Option<pb::ConsumerGroup>,
    /// The index of what was told: this broker may be behind the leader, which told first.
    index: u64,
}

impl GroupWatch {
    pub(super) fn open(broker: &Arc<Broker>, drain: Drain, group: String) -> Result<Self, Failure> {
        check_group(&group)?;
        let sights = broker.watch_group(&group);
        Ok(Self { broker: Arc::clone(broker), group, sights, drain, told: None, index: 0 })
    }

    /// The states, until the broker drains.
    pub(super) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<pb::WatchConsumerGroupResponse, Status>> + Send {
        stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            match watch.next().await {
                Ok(group) => {
                    let group = Some(group);
                    Some((Ok(pb::WatchConsumerGroupResponse { group }), Some(watch)))
                }
                Err(failure) => Some((Err(failure.into_status()), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<pb::ConsumerGroup, Failure> {
        if self.told.is_none() {
            let Sight { group, index } = self.broker.group_now(&self.group).await?;
            self.index = index;
            let now = describe(&self.group, group.as_deref(), &self.broker.table());
            self.told = Some(now.clone());
            return Ok(now);
        }
        loop {
            if self.drain.has_begun() {
                return Err(Failure::draining());
            }
            tokio::select! {
                () = self.sights.changed() => {}
                () = self.drain.begun() => continue,
            }
            let Sight { group, index } = self.sights.last().clone();
            if index < self.index {
                continue;
            }
            let now = describe(&self.group, group.as_deref(), &self.broker.table());
            if self.told.as_ref() != Some(&now) {
                self.told = Some(now.clone());
                return Ok(now);
            }
        }
    }
}
