//! AdminService: topics, records, the cluster.

use std::sync::Arc;

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

pub(crate) struct Admin {
    pub(crate) broker: Arc<Broker>,
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_topic(
        &self,
        request: Request<pb::CreateTopicRequest>,
    ) -> Result<Response<pb::CreateTopicResponse>, Status> {
        let request = request.into_inner();
        let settings = convert::read_settings(&request.settings.unwrap_or_default())?;
        let count = Some(i64::from(request.partition_count)).filter(|count| *count != 0);
        let topic = self.broker.create_topic(&request.name, count, settings).await;
        let topic = topic.map_err(Failure::from)?;
        Ok(Response::new(pb::CreateTopicResponse { topic: Some(convert::topic(&topic)) }))
    }

    async fn get_topic(
        &self,
        request: Request<pb::GetTopicRequest>,
    ) -> Result<Response<pb::GetTopicResponse>, Status> {
        let served = self.broker.topic(&request.into_inner().name).map_err(Failure::from)?;
        let node = self.broker.config().node.0;
        let partitions = served.partitions.iter().map(|partition| info(partition, node)).collect();
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
        let deleted = self.broker.delete_topic(&request.into_inner().name).await;
        deleted.map_err(Failure::from)?;
        Ok(Response::new(pb::DeleteTopicResponse {}))
    }

    async fn delete_records(
        &self,
        request: Request<pb::DeleteRecordsRequest>,
    ) -> Result<Response<pb::DeleteRecordsResponse>, Status> {
        let request = request.into_inner();
        let targets = self.read_targets(&request.topic, &request.targets)?;
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
        _request: Request<pb::GetClusterRequest>,
    ) -> Result<Response<pb::GetClusterResponse>, Status> {
        let table = self.broker.table();
        let config = self.broker.config();
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let led = table.topics.values().flat_map(|topic| topic.partitions.iter());
        let led = led.filter(|partition| partition.epoch().is_some()).count();
        let brokers = table.metadata.brokers.values().map(|broker| pb::Broker {
            broker_id: broker.id.0,
            address: broker.address.clone(),
            version: broker.version.clone(),
            leader_count: if broker.id == config.node { count(led) } else { 0 },
            start_time: Some(convert::timestamp(broker.started)),
        });
        Ok(Response::new(pb::GetClusterResponse {
            cluster_id: config.cluster_id.clone(),
            brokers: brokers.collect(),
            controller_broker_id: if self.broker.leads_metadata() { config.node.0 } else { 0 },
            topic_count: count(table.topics.len()),
            partition_count: count(table.metadata.partition_count()),
            limits: Some(limits_of_the_broker()),
        }))
    }
}

/// A partition, and the offset that its log is to start at; `None`: its high watermark.
type Target = (Arc<Partition>, Option<Offset>);

impl Admin {
    /// Checks all targets, so that nothing is deleted when one of them is wrong.
    fn read_targets(
        &self,
        topic: &str,
        targets: &[pb::DeleteRecordsTarget],
    ) -> Result<Vec<Target>, Failure> {
        let served = self.broker.topic(topic)?;
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
            let bounds = partition.bounds();
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

fn info(partition: &Partition, node: u64) -> pb::PartitionInfo {
    let bounds = partition.bounds();
    let epoch = partition.epoch();
    pb::PartitionInfo {
        partition: i32::try_from(partition.id.0).unwrap_or(i32::MAX),
        leader_broker_id: if epoch.is_some() { node } else { 0 },
        leader_epoch: epoch.and_then(|epoch| i64::try_from(epoch).ok()).unwrap_or(0),
        replica_broker_ids: vec![node],
        log_start_offset: convert::offset(bounds.start),
        high_watermark: convert::offset(bounds.high_watermark),
        size_bytes: i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX),
    }
}

fn limits_of_the_broker() -> pb::Limits {
    let signed = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    pb::Limits {
        max_record_bytes: signed(limits::MAX_RECORD_BYTES),
        max_message_bytes: signed(limits::MAX_MESSAGE_BYTES),
        max_record_header_bytes: signed(limits::MAX_RECORD_HEADER_BYTES),
        max_metadata_bytes: signed(limits::MAX_METADATA_BYTES),
        max_partitions_per_topic: signed(limits::MAX_PARTITIONS_PER_TOPIC as usize),
        max_name_bytes: signed(limits::MAX_NAME_BYTES),
        max_page_size: signed(limits::MAX_PAGE_SIZE),
    }
}
