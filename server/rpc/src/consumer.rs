//! ConsumerService: subscriptions, committed offsets, and the resolution of positions.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use prost::Message as _;
use ropewalk_broker::coordinator::CoordinatorCommand;
use ropewalk_broker::errors::ReadError;
use ropewalk_broker::offsets::Committed;
use ropewalk_broker::table::TableSnapshot;
use ropewalk_broker::{Broker, Partition};
use ropewalk_core::{PartitionId, TopicId, limits, names};
use ropewalk_proto::broker as pb;
use ropewalk_proto::broker::consumer_service_server::ConsumerService;
use tonic::{Request, Response, Status};

use crate::convert;
use crate::failure::{Failure, Reason};
use crate::leading::CallRoute;
use crate::server::Drain;
use crate::subscribe::check_offset;
use crate::subscription::Subscription;

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
        let subscription = Subscription::open(broker, drain, route, request.into_inner()).await?;
        Ok(Response::new(Box::pin(subscription.into_stream())))
    }

    async fn commit_offset(
        &self,
        request: Request<pb::CommitOffsetRequest>,
    ) -> Result<Response<pb::CommitOffsetResponse>, Status> {
        let route = CallRoute::of(&request);
        let request = request.into_inner();
        check_group(&request.group)?;
        check_count("offsets", request.offsets.len())?;
        let mut offsets = Vec::with_capacity(request.offsets.len());
        let mut seen = BTreeSet::new();
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
            let offset = check_offset(&partition, committed.offset).await?;
            offsets.push((partition.topic_id, partition.id, offset, committed.metadata));
        }
        route.asks(&self.broker.coordinator_of(&request.group).map_err(Failure::from)?)?;
        let time = self.broker.config().clock.now();
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

fn check_group(group: &str) -> Result<(), Failure> {
    names::check_group(group).map_err(|error| Failure::field("group", error.to_string()))
}

fn check_count(field: &str, count: usize) -> Result<(), Failure> {
    let limit = limits::MAX_PARTITIONS_PER_REQUEST;
    if (1..=limit).contains(&count) {
        return Ok(());
    }
    let message = format!("`{field}` must name 1 to {limit} partitions, not {count}");
    Err(Failure::field(field, message).with("limit", limit).with("actual", count))
}

fn names_by_id(table: &TableSnapshot) -> BTreeMap<TopicId, String> {
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
