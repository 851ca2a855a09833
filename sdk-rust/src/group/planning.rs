//! Plans of who is to have what, for groups whose members plan themselves.

use std::collections::BTreeMap;
use std::time::SystemTime;

use ropewalk_proto::broker as proto;
use ropewalk_proto::v1;
use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;

use crate::client::{Client, Repeat};
use crate::error::Error;

/// What a member is asked that plans for its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRequest {
    /// The topics that the group reads, each with its number of partitions, which count from 0.
    pub topics: BTreeMap<String, i32>,
    /// The members, in the order in which they joined.
    pub members: Vec<PlanMember>,
    /// When the broker assigns instead, by its own clock.
    pub deadline: Option<SystemTime>,
}

/// A member to plan for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanMember {
    /// Its id, a UUID.
    pub id: String,
    /// The name of a static member; empty for others.
    pub instance_name: String,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// The topics that it reads: only of these it can get partitions.
    pub topics: Vec<String>,
    /// What it was to have so far, as topic and partition.
    pub current: Vec<(String, i32)>,
}

/// Who is to have what. A plan is taken if every partition that is asked for is in it, each once,
/// and given to a member that reads its topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPlan(BTreeMap<String, BTreeMap<String, Vec<i32>>>);

impl GroupPlan {
    /// A plan with nothing in it.
    #[must_use]
    pub fn new() -> GroupPlan {
        GroupPlan::default()
    }

    /// A member is to have this partition.
    pub fn assign(&mut self, member_id: &str, topic: &str, partition: i32) {
        let topics = self.0.entry(member_id.to_owned()).or_default();
        topics.entry(topic.to_owned()).or_default().push(partition);
    }
}

/// What plans, as the application gave it.
pub(super) type Planner = Box<dyn FnMut(&PlanRequest) -> GroupPlan + Send + Sync>;

/// Has a request planned.
pub(super) fn submission(
    group: &str,
    member_id: String,
    request: proto::PlanRequest,
    planner: &mut Planner,
) -> v1::SubmitAssignmentRequest {
    let plan_id = request.plan_id;
    let GroupPlan(members) = planner(&PlanRequest::from_proto(request));
    let assignments = members.into_iter().map(|(member_id, topics)| v1::MemberAssignment {
        member_id,
        partitions: topics
            .into_iter()
            .map(|(topic, partitions)| v1::TopicPartitions { topic, partitions })
            .collect(),
    });
    v1::SubmitAssignmentRequest {
        group: group.to_owned(),
        member_id,
        plan_id,
        assignments: assignments.collect(),
    }
}

pub(super) async fn submit(
    client: Client,
    request: v1::SubmitAssignmentRequest,
) -> Result<(), Error> {
    let submit = client.call(Repeat::Freely, request, |channel, request| async move {
        ConsumerServiceClient::new(channel).submit_assignment(request).await
    });
    submit.await.map(drop)
}

impl PlanRequest {
    fn from_proto(proto: proto::PlanRequest) -> PlanRequest {
        let member = |member: proto::PlanMember| PlanMember {
            id: member.member_id,
            instance_name: member.instance_name,
            client_id: member.client_id,
            host: member.host,
            topics: member.topics,
            current: member.current.into_iter().flat_map(named).collect(),
        };
        let topics = proto.topics.into_iter();
        PlanRequest {
            topics: topics.map(|topic| (topic.topic, topic.partition_count)).collect(),
            members: proto.members.into_iter().map(member).collect(),
            deadline: proto.deadline.and_then(|at| at.try_into().ok()),
        }
    }
}

fn named(of: proto::TopicPartitions) -> impl Iterator<Item = (String, i32)> {
    let proto::TopicPartitions { topic, partitions } = of;
    partitions.into_iter().map(move |partition| (topic.clone(), partition))
}
