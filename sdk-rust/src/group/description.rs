//! Consumer groups, as people see them.

use std::time::SystemTime;

use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;

use crate::admin::Admin;
use crate::client::Repeat;
use crate::error::Error;
use crate::offsets::Group;

/// The most groups in one answer.
const PAGE: i32 = 1_000;

/// In a word how a consumer group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// Every member has what it is to have.
    Stable,
    /// Partitions are on their way from one member to another.
    Rebalancing,
    /// A state that a later version has.
    Unknown,
}

impl GroupState {
    fn from_proto(state: v1::ConsumerGroupState) -> GroupState {
        match state {
            v1::ConsumerGroupState::Empty => GroupState::Empty,
            v1::ConsumerGroupState::Stable => GroupState::Stable,
            v1::ConsumerGroupState::Rebalancing => GroupState::Rebalancing,
            v1::ConsumerGroupState::Unspecified => GroupState::Unknown,
        }
    }

    /// Its name, in small letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "empty",
            GroupState::Stable => "stable",
            GroupState::Rebalancing => "rebalancing",
            GroupState::Unknown => "unknown",
        }
    }
}

/// A consumer group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: GroupState,
    /// How many members it has.
    pub member_count: i32,
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id, a UUID.
    pub id: String,
    /// The name of a static member; empty for others.
    pub instance_name: String,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// The topics and patterns that it reads.
    pub subscriptions: Vec<String>,
    /// What it has, as topic and partition.
    pub assigned: Vec<(String, i32)>,
    /// Until when the group waits for it, if its connection broke.
    pub lost_until: Option<SystemTime>,
}

/// How far a consumer group has read a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// The topic's name.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The next offset to read, if one was committed.
    pub committed: Option<i64>,
    /// What was kept beside it.
    pub metadata: String,
    /// When it was committed.
    pub commit_time: Option<SystemTime>,
    /// The offset of the first record; `None` while the partition has no leader.
    pub log_start_offset: Option<i64>,
    /// The offset after the last record; `None` while the partition has no leader.
    pub high_watermark: Option<i64>,
    /// How many offsets are not committed yet.
    pub lag: Option<i64>,
    /// The member that has the partition; empty: nobody.
    pub member_id: String,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: GroupState,
    /// Its generation. 0: it never had members.
    pub generation: i64,
    /// How partitions are assigned.
    pub strategy: String,
    /// Its members, in the order in which they joined.
    pub members: Vec<MemberDescription>,
    /// Its positions, by topic and partition.
    pub offsets: Vec<GroupOffset>,
}

/// A partition that is on its way from one member to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMove {
    /// The topic's name.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The member that has it still; empty: nobody.
    pub from_member_id: String,
    /// The member that is to have it; empty while a plan is waited for.
    pub to_member_id: String,
    /// When it is taken from the member that has it.
    pub deadline: Option<SystemTime>,
}

/// A consumer group and its members, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMembers {
    /// The group's name.
    pub name: String,
    /// How it is.
    pub state: GroupState,
    /// Its generation. 0: it never had members.
    pub generation: i64,
    /// How partitions are assigned.
    pub strategy: String,
    /// Its members, in the order in which they joined.
    pub members: Vec<MemberDescription>,
    /// What is not where it is to be.
    pub moves: Vec<GroupMove>,
}

impl GroupMembers {
    pub(super) fn from_proto(group: v1::ConsumerGroup) -> GroupMembers {
        let one_move = |proto: v1::PartitionMove| GroupMove {
            topic: proto.topic,
            partition: proto.partition,
            from_member_id: proto.from_member_id,
            to_member_id: proto.to_member_id,
            deadline: proto.deadline.and_then(|time| time.try_into().ok()),
        };
        GroupMembers {
            state: GroupState::from_proto(group.state()),
            name: group.group,
            generation: group.generation,
            strategy: group.strategy,
            members: group.members.into_iter().map(member).collect(),
            moves: group.moves.into_iter().map(one_move).collect(),
        }
    }
}

fn member(proto: v1::ConsumerGroupMember) -> MemberDescription {
    MemberDescription {
        id: proto.member_id,
        instance_name: proto.instance_name,
        client_id: proto.client_id,
        host: proto.host,
        subscriptions: proto.subscriptions,
        assigned: proto.assigned.into_iter().map(|at| (at.topic, at.partition)).collect(),
        lost_until: proto.lost_until.and_then(|time| time.try_into().ok()),
    }
}

fn offset(proto: v1::ConsumerGroupOffset) -> GroupOffset {
    GroupOffset {
        topic: proto.topic,
        partition: proto.partition,
        committed: proto.committed_offset,
        metadata: proto.metadata,
        commit_time: proto.commit_time.and_then(|time| time.try_into().ok()),
        log_start_offset: proto.log_start_offset,
        high_watermark: proto.high_watermark,
        lag: proto.lag,
        member_id: proto.member_id,
    }
}

impl Group {
    /// Its members, what each of them has, how far it has read and what it lacks.
    ///
    /// # Errors
    ///
    /// `GROUP_NOT_FOUND` when it has neither members nor positions, and what every call may meet.
    pub async fn describe(&self) -> Result<GroupDescription, Error> {
        let request = v1::GetConsumerGroupRequest { group: self.name().to_owned() };
        let answer = self
            .client()
            .call(Repeat::Freely, request, |channel, request| async move {
                AdminServiceClient::new(channel).get_consumer_group(request).await
            })
            .await?;
        let group = answer.group.unwrap_or_default();
        Ok(GroupDescription {
            state: GroupState::from_proto(group.state()),
            name: group.group,
            generation: group.generation,
            strategy: group.strategy,
            members: group.members.into_iter().map(member).collect(),
            offsets: answer.offsets.into_iter().map(offset).collect(),
        })
    }

    /// Deletes the group and its positions.
    ///
    /// # Errors
    ///
    /// `GROUP_NOT_EMPTY` while it has members, `GROUP_NOT_FOUND`, and what every call may meet.
    pub async fn delete(&self) -> Result<(), Error> {
        let request = v1::DeleteConsumerGroupRequest { group: self.name().to_owned() };
        self.client()
            .call(Repeat::WhileNotDone, request, |channel, request| async move {
                AdminServiceClient::new(channel).delete_consumer_group(request).await
            })
            .await?;
        Ok(())
    }

    /// Removes a member, by its id, as if it had left for good: its partitions go to the others,
    /// and a stream that it has open ends with `MEMBER_FENCED`.
    ///
    /// # Errors
    ///
    /// `INVALID_FIELD` when the group has no such member, `GROUP_NOT_FOUND`, and what every call
    /// may meet.
    pub async fn remove_member(&self, member_id: &str) -> Result<(), Error> {
        use v1::remove_consumer_group_member_request::Member;
        self.remove(Member::MemberId(member_id.to_owned())).await
    }

    /// The same by the instance name of a static member, which need not be waited for.
    ///
    /// # Errors
    ///
    /// As for [`Group::remove_member`].
    pub async fn remove_instance(&self, instance_name: &str) -> Result<(), Error> {
        use v1::remove_consumer_group_member_request::Member;
        self.remove(Member::InstanceName(instance_name.to_owned())).await
    }

    async fn remove(
        &self,
        member: v1::remove_consumer_group_member_request::Member,
    ) -> Result<(), Error> {
        let group = self.name().to_owned();
        let request = v1::RemoveConsumerGroupMemberRequest { group, member: Some(member) };
        self.client()
            .call(Repeat::WhileNotDone, request, |channel, request| async move {
                AdminServiceClient::new(channel).remove_consumer_group_member(request).await
            })
            .await?;
        Ok(())
    }

    /// Deletes positions of the group, given as topic and partition. Giving none does nothing.
    ///
    /// # Errors
    ///
    /// `GROUP_NOT_EMPTY` while it has members, `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, and what
    /// every call may meet.
    pub async fn delete_offsets(
        &self,
        partitions: impl IntoIterator<Item = (String, i32)>,
    ) -> Result<(), Error> {
        let partition = |(topic, partition)| v1::GroupPartition { topic, partition };
        let partitions: Vec<_> = partitions.into_iter().map(partition).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let group = self.name().to_owned();
        let request = v1::DeleteCommittedOffsetsRequest { group, partitions };
        self.client()
            .call(Repeat::Freely, request, |channel, request| async move {
                AdminServiceClient::new(channel).delete_committed_offsets(request).await
            })
            .await?;
        Ok(())
    }
}

impl Admin {
    /// The consumer groups whose names begin so, by name: those with members, and those that have
    /// positions.
    ///
    /// # Errors
    ///
    /// What every call may meet.
    pub async fn list_groups(&self, prefix: &str) -> Result<Vec<GroupSummary>, Error> {
        let mut groups = Vec::new();
        let mut page_token = String::new();
        loop {
            let name_prefix = prefix.to_owned();
            let request =
                v1::ListConsumerGroupsRequest { name_prefix, page_size: PAGE, page_token };
            let answer = self
                .client()
                .call(Repeat::Freely, request, |channel, request| async move {
                    AdminServiceClient::new(channel).list_consumer_groups(request).await
                })
                .await?;
            groups.extend(answer.groups.into_iter().map(|group| GroupSummary {
                state: GroupState::from_proto(group.state()),
                name: group.group,
                member_count: group.member_count,
            }));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(groups);
            }
        }
    }
}
