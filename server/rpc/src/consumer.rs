//! ConsumerService: subscriptions, committed offsets, and the resolution of positions.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use prost::Message as _;
use ropewalk_broker::coordinator::{CoordinatorCommand, UNTIMED};
use ropewalk_broker::errors::ReadError;
use ropewalk_broker::offsets::Committed;
use ropewalk_broker::table::TableSnapshot;
use ropewalk_broker::{Broker, Partition};
use ropewalk_core::{Offset, PartitionId, TopicId, limits};
use ropewalk_groups::{Action, Committer, MemberAssignment, TopicPartition};
use ropewalk_proto::broker as pb;
use ropewalk_proto::broker::consumer_service_server::ConsumerService;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use crate::convert;
use crate::failure::{Failure, Reason};
use crate::group_request::{check_count, check_group, read_member};
use crate::group_stream::GroupStream;
use crate::leading::CallRoute;
use crate::line::ClientLine;
use crate::server::Drain;
use crate::subscribe::check_offset;
use crate::subscription::Subscription;

/// How long a member's commit waits to hear where its partitions end.
const CHECKED_WITHIN: Duration = Duration::from_secs(1);

pub(crate) struct Consumer {
    pub(crate) broker: Arc<Broker>,
    pub(crate) drain: Drain,
}

#[tonic::async_trait]
impl ConsumerService for Consumer {
    type SubscribeStream =
        Pin<Box<dyn Stream<Item = Result<pb::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (broker, drain) = (Arc::clone(&self.broker), self.drain.clone());
        let route = CallRoute::of(&request);
        let line = request.extensions().get::<Arc<ClientLine>>().cloned().unwrap_or_default();
        let request = request.into_inner();
        if !request.group.is_empty() {
            let stream = GroupStream::open(broker, drain, route, line, request).await?;
            return Ok(Response::new(Box::pin(stream.into_stream())));
        }
        let subscription = Subscription::open(broker, drain, route, request).await?;
        Ok(Response::new(Box::pin(subscription.into_stream())))
    }

    async fn commit_offset(
        &self,
        request: Request<pb::CommitOffsetRequest>,
    ) -> Result<Response<pb::CommitOffsetResponse>, Status> {
        let route = CallRoute::of(&request);
        let request = request.into_inner();
        check_group(&request.group)?;
        let committer = read_committer(&request)?;
        if !request.offsets.is_empty() || request.release.is_empty() {
            check_count("offsets", request.offsets.len())?;
        }
        let mut offsets = Vec::with_capacity(request.offsets.len());
        let mut seen = BTreeSet::new();
        let check_until = Instant::now() + CHECKED_WITHIN;
        for committed in request.offsets {
            let topic = self.broker.find_topic(&committed.topic).await.map_err(Failure::from)?;
            let partition = self.broker.partition(&topic, committed.partition.into());
            let partition = partition.map_err(Failure::from)?;
            if !seen.insert(partition.group) {
                let message = format!(
                    "partition {} of `{}` stands in `offsets` twice: name it once",
                    partition.id, partition.topic
                );
                return Err(Failure::field("offsets", message).into());
            }
            let limit = limits::MAX_COMMIT_METADATA_BYTES;
            if committed.metadata.len() > limit {
                let message = format!("`offsets.metadata` must have at most {limit} bytes");
                let failure = Failure::field("offsets.metadata", message);
                return Err(failure.with("actual", committed.metadata.len()).into());
            }
            let offset = match &committer {
                Some(_) => check_own_offset(&partition, committed.offset, check_until).await?,
                None => check_offset(&partition, committed.offset).await?,
            };
            offsets.push((partition.topic_id, partition.id, offset, committed.metadata));
        }
        route.asks(&self.broker.coordinator_of(&request.group).map_err(Failure::from)?)?;
        if let Some(committer) = committer {
            let released = self.read_partitions("release", &request.release).await?;
            let kept = self.broker.commit_of_member(&request.group, committer, offsets, released);
            kept.await.map_err(Failure::from)?;
            return Ok(Response::new(pb::CommitOffsetResponse {}));
        }
        // Whoever leads gives it its time.
        let time = UNTIMED;
        let command = CoordinatorCommand::Commit { group: request.group.clone(), time, offsets };
        self.broker.commit(&request.group, command).await.map_err(Failure::from)?;
        Ok(Response::new(pb::CommitOffsetResponse {}))
    }

    async fn get_committed_offsets(
        &self,
        request: Request<pb::GetCommittedOffsetsRequest>,
    ) -> Result<Response<pb::GetCommittedOffsetsResponse>, Status> {
        let route = CallRoute::of(&request);
        let request = request.into_inner();
        check_group(&request.group)?;
        let named = request.topics.iter().map(|topic| topic.partitions.len().max(1)).sum();
        if named > 0 {
            check_count("topics", named)?;
        }
        let mut wanted: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
        for topic in request.topics {
            let served = self.broker.find_topic(&topic.topic).await.map_err(Failure::from)?;
            let ids = wanted.entry(served.topic.id).or_default();
            for id in topic.partitions {
                let partition = self.broker.partition(&served, id.into()).map_err(Failure::from)?;
                ids.insert(partition.id.0);
            }
        }
        route.asks(&self.broker.coordinator_of(&request.group).map_err(Failure::from)?)?;
        let names = names_by_id(&self.broker.table());
        let positions = self.broker.positions(&request.group).await.map_err(Failure::from)?;
        let mut offsets: Vec<_> = positions
            .iter()
            .filter(|(topic, partition, _)| is_wanted(&wanted, *topic, *partition))
            .filter_map(|(topic, partition, committed)| {
                Some(committed_offset(names.get(topic)?, *partition, committed))
            })
            .collect();
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let response = pb::GetCommittedOffsetsResponse { offsets };
        let (limit, actual) = (limits::MAX_MESSAGE_BYTES, response.encoded_len());
        if actual > limit {
            let message = "the answer is too large for one message: name some topics only";
            let failure = Failure::new(Reason::TooMany, message).with("limit", limit);
            return Err(failure.with("actual", actual).into());
        }
        Ok(Response::new(response))
    }

    async fn list_offsets(
        &self,
        request: Request<pb::ListOffsetsRequest>,
    ) -> Result<Response<pb::ListOffsetsResponse>, Status> {
        let route = CallRoute::of(&request);
        let queries = request.into_inner().queries;
        check_count("queries", queries.len())?;
        let mut offsets = Vec::with_capacity(queries.len());
        for query in queries {
            let topic = self.broker.find_topic(&query.topic).await.map_err(Failure::from)?;
            let partitions = match query.partition {
                Some(id) => {
                    vec![self.broker.partition(&topic, id.into()).map_err(Failure::from)?]
                }
                None => topic.partitions.to_vec(),
            };
            check_count("queries", offsets.len() + partitions.len())?;
            for partition in partitions {
                route.asks_partition(&partition)?;
                offsets.push(resolve(&partition, query.position.as_ref()).await?);
            }
        }
        Ok(Response::new(pb::ListOffsetsResponse { offsets }))
    }

    async fn submit_assignment(
        &self,
        request: Request<pb::SubmitAssignmentRequest>,
    ) -> Result<Response<pb::SubmitAssignmentResponse>, Status> {
        let route = CallRoute::of(&request);
        let request = request.into_inner();
        check_group(&request.group)?;
        let member = read_member(&request.member_id, "member_id")?;
        let plan = u64::try_from(request.plan_id);
        let plan = plan.map_err(|_| Failure::field("plan_id", "`plan_id` cannot be negative"))?;
        let mut assignments = Vec::with_capacity(request.assignments.len());
        for assignment in &request.assignments {
            let member = read_member(&assignment.member_id, "assignments.member_id")?;
            let field = "assignments.partitions";
            let partitions = self.read_partitions(field, &assignment.partitions).await?;
            assignments.push(MemberAssignment { member, partitions });
        }
        route.asks(&self.broker.coordinator_of(&request.group).map_err(Failure::from)?)?;
        let submit = Action::Submit { member, plan, assignments };
        self.broker.submit_plan(&request.group, submit).await.map_err(Failure::from)?;
        Ok(Response::new(pb::SubmitAssignmentResponse {}))
    }
}

/// The same as [`check_offset`] for a member, which had the records below the offset: where nobody
/// says in time where the partition ends, it is believed. One partition that nobody leads does not
/// keep the commits of all others from being made.
async fn check_own_offset(
    partition: &Partition,
    offset: i64,
    until: Instant,
) -> Result<Offset, Failure> {
    let checked = timeout_at(until, check_offset(partition, offset)).await;
    let checked = checked.unwrap_or_else(|_| Err(Failure::no_leader()));
    match (checked, u64::try_from(offset)) {
        (Err(failure), Ok(offset)) if failure.passes() => Ok(Offset(offset)),
        (checked, _) => checked,
    }
}

impl Consumer {
    /// Partitions that are named one by one.
    async fn read_partitions(
        &self,
        field: &str,
        named: &[pb::TopicPartitions],
    ) -> Result<Vec<TopicPartition>, Failure> {
        let mut partitions = Vec::new();
        for topic in named {
            let served = self.broker.find_topic(&topic.topic).await?;
            if topic.partitions.is_empty() {
                let message = format!("`{field}` must name the partitions of each topic");
                return Err(Failure::field(field, message));
            }
            for id in &topic.partitions {
                let partition = self.broker.partition(&served, (*id).into())?;
                partitions.push((partition.topic_id, partition.id));
            }
        }
        if !partitions.is_empty() {
            check_count(field, partitions.len())?;
        }
        Ok(partitions)
    }
}

/// The member that commits; `None`: an administrator.
fn read_committer(request: &pb::CommitOffsetRequest) -> Result<Option<Committer>, Failure> {
    if request.member_id.is_empty() {
        let given =
            [("generation", request.generation != 0), ("release", !request.release.is_empty())];
        return match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((field, _)) => {
                Err(Failure::field(field, format!("`{field}` goes with `member_id`: give one")))
            }
            None => Ok(None),
        };
    }
    let member = read_member(&request.member_id, "member_id")?;
    let generation = u64::try_from(request.generation);
    let generation =
        generation.map_err(|_| Failure::field("generation", "`generation` cannot be negative"))?;
    Ok(Some(Committer { member, generation }))
}

async fn resolve(
    partition: &Partition,
    position: Option<&pb::offset_query::Position>,
) -> Result<pb::PartitionOffset, Failure> {
    use pb::offset_query::Position;
    let bounds = partition.latest_bounds().await?;
    let (offset, time) = match position {
        None | Some(Position::Earliest(())) => (bounds.start, None),
        Some(Position::Latest(())) => (bounds.high_watermark, None),
        Some(Position::Timestamp(time)) => {
            let time = convert::read_timestamp(time, "queries.timestamp")?;
            match partition.find_time(time).await.map_err(ReadError::Log)? {
                Some((offset, time)) => (offset, Some(time)),
                None => (bounds.high_watermark, None),
            }
        }
    };
    Ok(pb::PartitionOffset {
        topic: partition.topic.to_string(),
        partition: i32::try_from(partition.id.0).unwrap_or(i32::MAX),
        offset: convert::offset(offset),
        timestamp: time.map(convert::timestamp),
        leader_epoch: partition
            .leader()
            .and_then(|leader| i64::try_from(leader.epoch?).ok())
            .unwrap_or(0),
    })
}

pub(crate) fn names_by_id(table: &TableSnapshot) -> BTreeMap<TopicId, String> {
    let topics = table.topics.values();
    topics.map(|served| (served.topic.id, served.topic.name.clone())).collect()
}

fn is_wanted(
    wanted: &BTreeMap<TopicId, BTreeSet<u32>>,
    topic: TopicId,
    partition: PartitionId,
) -> bool {
    let named = wanted.get(&topic);
    wanted.is_empty() || named.is_some_and(|ids| ids.is_empty() || ids.contains(&partition.0))
}

fn committed_offset(
    topic: &str,
    partition: PartitionId,
    committed: &Committed,
) -> pb::CommittedOffset {
    pb::CommittedOffset {
        topic: topic.to_owned(),
        partition: i32::try_from(partition.0).unwrap_or(i32::MAX),
        offset: convert::offset(committed.offset),
        metadata: committed.metadata.clone(),
        commit_time: Some(convert::timestamp(committed.time)),
    }
}
