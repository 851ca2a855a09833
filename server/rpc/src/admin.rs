//! AdminService: topics, records, the cluster.

mod cluster;
mod groups;
mod watch;

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use futures::future::join_all;
use ropewalk_broker::errors::ReadError;
use ropewalk_broker::metrics::TrimCause;
use ropewalk_broker::{Broker, Partition};
use ropewalk_core::{Offset, limits};
use ropewalk_proto::broker as pb;
use ropewalk_proto::broker::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use crate::convert;
use crate::failure::Failure;
use crate::group_request::check_group;
use crate::leading::CallRoute;
use crate::server::Drain;

use self::groups::GroupWatch;
use self::watch::TopicWatch;

pub(crate) struct Admin {
    pub(crate) broker: Arc<Broker>,
    pub(crate) drain: Drain,
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_topic(
        &self,
        request: Request<pb::CreateTopicRequest>,
    ) -> Result<Response<pb::CreateTopicResponse>, Status> {
        CallRoute::of(&request).asks(self.broker.metadata_group())?;
        let request = request.into_inner();
        let settings = convert::read_settings(&request.settings.unwrap_or_default())?;
        let count = Some(i64::from(request.partition_count)).filter(|count| *count != 0);
        let replicas = convert::read_replication_factor(request.replication_factor)?;
        let topic = self.broker.create_topic(&request.name, count, replicas, settings).await;
        let topic = topic.map_err(Failure::from)?;
        Ok(Response::new(pb::CreateTopicResponse { topic: Some(convert::topic(&topic)) }))
    }

    async fn get_topic(
        &self,
        request: Request<pb::GetTopicRequest>,
    ) -> Result<Response<pb::GetTopicResponse>, Status> {
        let name = request.into_inner().name;
        let served = self.broker.find_topic(&name).await.map_err(Failure::from)?;
        let partitions = cluster::describe_partitions(&served).await;
        let topic = Some(convert::topic(&served.topic));
        Ok(Response::new(pb::GetTopicResponse { topic, partitions }))
    }

    async fn list_topics(
        &self,
        request: Request<pb::ListTopicsRequest>,
    ) -> Result<Response<pb::ListTopicsResponse>, Status> {
        let request = request.into_inner();
        let page_size = read_page_size(request.page_size)?;
        let table = self.broker.table();
        // The token is the last name of the page before: a topic that is deleted meanwhile shifts
        // nothing.
        let mut found = table
            .topics
            .range(request.name_prefix.clone()..)
            .map(|(_, served)| &served.topic)
            .take_while(|topic| topic.name.starts_with(&request.name_prefix))
            .filter(|topic| request.page_token.is_empty() || topic.name > request.page_token);
        let topics: Vec<_> = found.by_ref().take(page_size).map(|t| convert::topic(t)).collect();
        let last = topics.last().map(|topic| topic.name.clone());
        let next_page_token = found.next().and(last).unwrap_or_default();
        Ok(Response::new(pb::ListTopicsResponse { topics, next_page_token }))
    }

    async fn update_topic(
        &self,
        request: Request<pb::UpdateTopicRequest>,
    ) -> Result<Response<pb::UpdateTopicResponse>, Status> {
        CallRoute::of(&request).asks(self.broker.metadata_group())?;
        let request = request.into_inner();
        let topic = request.topic.unwrap_or_default();
        let mask = request.update_mask.unwrap_or_default().paths;
        let update = convert::read_topic_update(&topic, &mask)?;
        let updated = self.broker.update_topic(&topic.name, update).await;
        let updated = updated.map_err(Failure::from)?;
        Ok(Response::new(pb::UpdateTopicResponse { topic: Some(convert::topic(&updated)) }))
    }

    async fn delete_topic(
        &self,
        request: Request<pb::DeleteTopicRequest>,
    ) -> Result<Response<pb::DeleteTopicResponse>, Status> {
        CallRoute::of(&request).asks(self.broker.metadata_group())?;
        let deleted = self.broker.delete_topic(&request.into_inner().name).await;
        deleted.map_err(Failure::from)?;
        Ok(Response::new(pb::DeleteTopicResponse {}))
    }

    async fn delete_records(
        &self,
        request: Request<pb::DeleteRecordsRequest>,
    ) -> Result<Response<pb::DeleteRecordsResponse>, Status> {
        let route = CallRoute::of(&request);
        let request = request.into_inner();
        let targets = self.read_targets(&route, &request.topic, &request.targets).await?;
        let metrics = &self.broker.config().metrics;
        let trims = targets.iter().map(|(partition, before)| async {
            let old = partition.bounds().start;
            let start = partition.trim(*before).await.map_err(Failure::from)?;
            metrics.trimmed(TrimCause::Request, start.since(old));
            Ok::<_, Failure>(pb::DeletedRecords {
                partition: i32::try_from(partition.id.0).unwrap_or(i32::MAX),
                log_start_offset: convert::offset(start),
            })
        });
        // Side by side, so that they share a sync; all end, also when one fails.
        let partitions = join_all(trims).await.into_iter().collect::<Result<_, _>>()?;
        Ok(Response::new(pb::DeleteRecordsResponse { partitions }))
    }

    async fn get_cluster(
        &self,
        request: Request<pb::GetClusterRequest>,
    ) -> Result<Response<pb::GetClusterResponse>, Status> {
        Ok(Response::new(cluster::describe(&self.broker, request.into_inner()).await))
    }

    type WatchTopicsStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchTopicsResponse, Status>> + Send>>;

    async fn watch_topics(
        &self,
        request: Request<pb::WatchTopicsRequest>,
    ) -> Result<Response<Self::WatchTopicsStream>, Status> {
        let prefix = request.into_inner().name_prefix;
        let watch = TopicWatch::open(&self.broker, self.drain.clone(), prefix);
        Ok(Response::new(Box::pin(watch.into_stream())))
    }

    async fn update_broker(
        &self,
        request: Request<pb::UpdateBrokerRequest>,
    ) -> Result<Response<pb::UpdateBrokerResponse>, Status> {
        CallRoute::of(&request).asks(self.broker.metadata_group())?;
        let updated = cluster::update(&self.broker, request.into_inner()).await?;
        Ok(Response::new(pb::UpdateBrokerResponse { broker: Some(updated) }))
    }

    async fn remove_broker(
        &self,
        request: Request<pb::RemoveBrokerRequest>,
    ) -> Result<Response<pb::RemoveBrokerResponse>, Status> {
        CallRoute::of(&request).asks(self.broker.metadata_group())?;
        cluster::remove(&self.broker, &request.into_inner()).await?;
        Ok(Response::new(pb::RemoveBrokerResponse {}))
    }

    async fn reassign_partitions(
        &self,
        request: Request<pb::ReassignPartitionsRequest>,
    ) -> Result<Response<pb::ReassignPartitionsResponse>, Status> {
        CallRoute::of(&request).asks(self.broker.metadata_group())?;
        cluster::reassign(&self.broker, request.into_inner()).await?;
        Ok(Response::new(pb::ReassignPartitionsResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<pb::TransferLeadershipRequest>,
    ) -> Result<Response<pb::TransferLeadershipResponse>, Status> {
        let route = CallRoute::of(&request);
        let leader = cluster::transfer(&self.broker, &route, &request.into_inner()).await?;
        Ok(Response::new(pb::TransferLeadershipResponse { leader_broker_id: leader.0 }))
    }

    async fn list_consumer_groups(
        &self,
        request: Request<pb::ListConsumerGroupsRequest>,
    ) -> Result<Response<pb::ListConsumerGroupsResponse>, Status> {
        Ok(Response::new(groups::list(&self.broker, request.into_inner()).await?))
    }

    async fn get_consumer_group(
        &self,
        request: Request<pb::GetConsumerGroupRequest>,
    ) -> Result<Response<pb::GetConsumerGroupResponse>, Status> {
        let route = CallRoute::of(&request);
        let group = request.into_inner().group;
        Ok(Response::new(groups::get(&self.broker, &route, &group).await?))
    }

    type WatchConsumerGroupStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchConsumerGroupResponse, Status>> + Send>>;

    async fn watch_consumer_group(
        &self,
        request: Request<pb::WatchConsumerGroupRequest>,
    ) -> Result<Response<Self::WatchConsumerGroupStream>, Status> {
        let group = request.into_inner().group;
        let watch = GroupWatch::open(&self.broker, self.drain.clone(), group)?;
        Ok(Response::new(Box::pin(watch.into_stream())))
    }

    async fn delete_consumer_group(
        &self,
        request: Request<pb::DeleteConsumerGroupRequest>,
    ) -> Result<Response<pb::DeleteConsumerGroupResponse>, Status> {
        let route = CallRoute::of(&request);
        let group = request.into_inner().group;
        check_group(&group)?;
        route.asks(&self.broker.coordinator_of(&group).map_err(Failure::from)?)?;
        self.broker.delete_group(&group).await.map_err(Failure::from)?;
        Ok(Response::new(pb::DeleteConsumerGroupResponse {}))
    }

    async fn remove_consumer_group_member(
        &self,
        request: Request<pb::RemoveConsumerGroupMemberRequest>,
    ) -> Result<Response<pb::RemoveConsumerGroupMemberResponse>, Status> {
        let route = CallRoute::of(&request);
        let request = request.into_inner();
        check_group(&request.group)?;
        route.asks(&self.broker.coordinator_of(&request.group).map_err(Failure::from)?)?;
        groups::remove_member(&self.broker, request).await?;
        Ok(Response::new(pb::RemoveConsumerGroupMemberResponse {}))
    }

    async fn delete_committed_offsets(
        &self,
        request: Request<pb::DeleteCommittedOffsetsRequest>,
    ) -> Result<Response<pb::DeleteCommittedOffsetsResponse>, Status> {
        let route = CallRoute::of(&request);
        let request = request.into_inner();
        check_group(&request.group)?;
        route.asks(&self.broker.coordinator_of(&request.group).map_err(Failure::from)?)?;
        groups::delete_offsets(&self.broker, request).await?;
        Ok(Response::new(pb::DeleteCommittedOffsetsResponse {}))
    }
}

/// A partition, and the offset that its log is to start at; `None`: its high watermark.
type Target = (Arc<Partition>, Option<Offset>);

impl Admin {
    /// Checks all targets, so that nothing is deleted when one of them is wrong.
    async fn read_targets(
        &self,
        route: &CallRoute,
        topic: &str,
        targets: &[pb::DeleteRecordsTarget],
    ) -> Result<Vec<Target>, Failure> {
        let served = self.broker.find_topic(topic).await?;
        if targets.is_empty() {
            return Err(Failure::field("targets", "`targets` must name at least one partition"));
        }
        let mut read: Vec<Target> = Vec::with_capacity(targets.len());
        for target in targets {
            let partition = self.broker.partition(&served, target.partition.into())?;
            if read.iter().any(|(other, _)| other.id == partition.id) {
                let message = format!("partition {} stands in `targets` twice", partition.id);
                return Err(Failure::field("targets", message));
            }
            route.asks_partition(&partition)?;
            let bounds = partition.latest_bounds().await?;
            let before = match target.before_offset {
                -1 => None,
                offset => {
                    let before = u64::try_from(offset).ok().map(Offset);
                    let in_range = before.filter(|before| *before <= bounds.high_watermark);
                    Some(in_range.ok_or_else(|| ReadError::OutOfRange {
                        topic: topic.to_owned(),
                        partition: partition.id,
                        offset,
                        earliest: bounds.start,
                        latest: bounds.high_watermark,
                    })?)
                }
            };
            read.push((partition, before));
        }
        Ok(read)
    }
}

fn read_page_size(size: i32) -> Result<usize, Failure> {
    let limit = limits::MAX_PAGE_SIZE;
    match usize::try_from(size) {
        Ok(0) => Ok(limits::DEFAULT_PAGE_SIZE),
        Ok(size) => Ok(size.min(limit)),
        Err(_) => Err(Failure::field("page_size", "`page_size` cannot be negative")),
    }
}
