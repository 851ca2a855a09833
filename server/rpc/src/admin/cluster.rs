//! Brokers, and where partitions are: what is, and what is to be.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, stream};
use ropewalk_broker::errors::TopicError;
use ropewalk_broker::operations::{Assignment, TransferError};
use ropewalk_broker::survey::{BrokerLoad, GroupReplicas, Survey, replicas_of};
use ropewalk_broker::table::{ServedTopic, TableSnapshot};
use ropewalk_broker::{Broker, Partition};
use ropewalk_cluster::{BrokerInfo, MetadataError};
use ropewalk_core::{NodeId, limits};
use ropewalk_proto::broker as pb;
use ropewalk_storage::directory::ClusterId;
use ropewalk_storage::log_view::LogBounds;

use crate::convert;
use crate::failure::{Failure, Reason};
use crate::leading::CallRoute;

/// A number of things, on the wire.
fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) async fn describe(
    broker: &Broker,
    request: pb::GetClusterRequest,
) -> pb::GetClusterResponse {
    let survey = match request.without_survey {
        true => Arc::default(),
        false => broker.survey().await,
    };
    let table = broker.table();
    let known = &table.metadata.brokers;
    let gone = survey.loads.iter().filter(|(node, _)| !known.contains_key(node));
    let removed = gone.map(|(node, load)| {
        let removed = pb::Broker { broker_id: node.0, removed: true, ..pb::Broker::default() };
        with_load(removed, load)
    });
    let described = known.values().map(|info| describe_broker(broker, info, &survey));
    let mut brokers: Vec<_> = described.chain(removed).collect();
    brokers.sort_unstable_by_key(|broker| broker.broker_id);
    pb::GetClusterResponse {
        cluster_id: ClusterId(broker.config().cluster_id).to_string(),
        brokers,
        controller_broker_id: broker.metadata_group().leader().map_or(0, |at| at.node.0),
        topic_count: count(table.topics.len()),
        partition_count: count(table.metadata.partition_count()),
        limits: Some(limits_of_the_broker()),
        under_replicated_partition_count: count(survey.under_replicated),
        leaderless_partition_count: count(survey.leaderless),
        unhealthy_partitions: unhealthy(&table, &survey),
    }
}

/// The first of the partitions that are not as they are to be, by topic and partition.
fn unhealthy(table: &TableSnapshot, survey: &Survey) -> Vec<pb::UnhealthyPartition> {
    if survey.unhealthy.is_empty() {
        return Vec::new();
    }
    let partitions = table.topics.values().flat_map(|topic| topic.partitions.iter());
    let mut found: Vec<_> = partitions
        .filter_map(|partition| Some((partition, survey.unhealthy.get(&partition.group)?)))
        .collect();
    found.sort_by_key(|(partition, _)| (Arc::clone(&partition.topic), partition.id));
    let first = found.into_iter().take(limits::MAX_PAGE_SIZE);
    let told = first.map(|(partition, replicas)| pb::UnhealthyPartition {
        topic: partition.topic.to_string(),
        partition: Some(info(partition, replicas.clone(), partition.bounds())),
    });
    told.collect()
}

/// Other brokers that are asked for the end of a log at a time.
const ASKED_AT_A_TIME: usize = 128;

fn describe_broker(broker: &Broker, info: &BrokerInfo, survey: &Survey) -> pb::Broker {
    let described = pb::Broker {
        broker_id: info.id.0,
        address: info.address.clone(),
        version: info.version.clone(),
        start_time: Some(convert::timestamp(info.started)),
        rack: info.rack.clone().unwrap_or_default(),
        draining: info.is_draining,
        alive: info.id == broker.config().node || broker.alive().contains(&info.id),
        ..pb::Broker::default()
    };
    with_load(described, survey.loads.get(&info.id).unwrap_or(&BrokerLoad::default()))
}

fn with_load(broker: pb::Broker, load: &BrokerLoad) -> pb::Broker {
    pb::Broker {
        leader_count: count(load.leads),
        replica_count: count(load.replicas),
        system_leader_count: count(load.system_leads),
        system_replica_count: count(load.system_replicas),
        ..broker
    }
}

pub(super) async fn describe_partitions(topic: &ServedTopic) -> Vec<pb::PartitionInfo> {
    let handles: Vec<_> =
        topic.partitions.iter().map(|partition| partition.handle().clone()).collect();
    let bounds = stream::iter(topic.partitions.to_vec());
    let bounds = bounds.map(|partition| async move { partition.shown_bounds().await });
    let bounds = bounds.buffered(ASKED_AT_A_TIME).collect::<Vec<_>>();
    let (found, bounds) = tokio::join!(replicas_of(&handles), bounds);
    let partitions = topic.partitions.iter().zip(found).zip(bounds);
    partitions.map(|((partition, found), bounds)| info(partition, found, bounds)).collect()
}

fn info(
    partition: &Arc<Partition>,
    found: Option<GroupReplicas>,
    bounds: LogBounds,
) -> pb::PartitionInfo {
    // One that is not known to lead in some epoch is only supposed to.
    let leader = partition.leader().filter(|leader| leader.epoch.is_some());
    let epoch = leader.and_then(|leader| leader.epoch);
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let members = found.map(|found| found.members).unwrap_or_default();
    let replicas = members.into_iter().map(|member| pb::ReplicaInfo {
        broker_id: member.replica.node().0,
        voter: member.is_voter,
        in_sync: member.is_in_sync(),
        lag: signed(member.lag),
        matched_index: signed(member.matched),
    });
    pb::PartitionInfo {
        partition: i32::try_from(partition.id.0).unwrap_or(i32::MAX),
        leader_broker_id: leader.map_or(0, |leader| leader.node.0),
        leader_epoch: epoch.map_or(0, signed),
        replica_broker_ids: partition.nodes().iter().map(|node| node.0).collect(),
        log_start_offset: convert::offset(bounds.start),
        high_watermark: convert::offset(bounds.high_watermark),
        size_bytes: signed(partition.size_bytes()),
        replicas: replicas.collect(),
    }
}

pub(super) async fn update(
    broker: &Broker,
    request: pb::UpdateBrokerRequest,
) -> Result<pb::Broker, Failure> {
    let wanted = request.broker.unwrap_or_default();
    let mask = request.update_mask.unwrap_or_default().paths;
    if mask.is_empty() {
        let message = "`update_mask` must name what to set: `draining`";
        return Err(Failure::field("update_mask", message));
    }
    if let Some(path) = mask.iter().find(|path| *path != "draining") {
        let message = format!("`{path}` of a broker cannot be set: only `draining` can");
        return Err(Failure::field("update_mask", message));
    }
    let id = read_broker_id(wanted.broker_id, "broker.broker_id")?;
    let info = broker.set_draining(id, wanted.draining).await.map_err(|error| match error {
        // In this request the broker stands in a message of its own.
        TopicError::Metadata(error @ MetadataError::BrokerNotFound(_)) => {
            Failure::field("broker.broker_id", error.to_string())
        }
        error => error.into(),
    })?;
    let survey = broker.survey().await;
    Ok(describe_broker(broker, &info, &survey))
}

pub(super) async fn remove(
    broker: &Broker,
    request: &pb::RemoveBrokerRequest,
) -> Result<(), Failure> {
    let id = read_broker_id(request.broker_id, "broker_id")?;
    Ok(broker.remove_broker(id).await?)
}

pub(super) async fn reassign(
    broker: &Broker,
    request: pb::ReassignPartitionsRequest,
) -> Result<(), Failure> {
    let limit = limits::MAX_PARTITIONS_PER_REQUEST;
    let actual = request.assignments.len();
    if !(1..=limit).contains(&actual) {
        let message = format!("`assignments` names {actual} partitions: name 1 to {limit}");
        return Err(Failure::field("assignments", message)
            .with("limit", limit)
            .with("actual", actual));
    }
    let mut seen = BTreeSet::new();
    for assignment in &request.assignments {
        if !seen.insert((&assignment.topic, assignment.partition)) {
            let message = format!(
                "partition {} of `{}` stands in `assignments` twice: name it once",
                assignment.partition, assignment.topic
            );
            return Err(Failure::field("assignments", message));
        }
    }
    let assignments = request.assignments.into_iter().map(|assignment| {
        let ids = assignment.broker_ids.into_iter();
        let brokers = ids.map(|id| read_broker_id(id, "assignments.broker_ids"));
        Ok(Assignment {
            topic: assignment.topic,
            partition: assignment.partition.into(),
            brokers: brokers.collect::<Result<_, Failure>>()?,
        })
    });
    let assignments = assignments.collect::<Result<Vec<_>, Failure>>()?;
    Ok(broker.reassign(&assignments).await?)
}

pub(super) async fn transfer(
    broker: &Broker,
    route: &CallRoute,
    request: &pb::TransferLeadershipRequest,
) -> Result<NodeId, Failure> {
    let to = match request.broker_id {
        0 => None,
        id => Some(read_broker_id(id, "broker_id")?),
    };
    let topic = broker.find_topic(&request.topic).await?;
    route.asks_partition(&*broker.partition(&topic, request.partition.into())?)?;
    Ok(broker.transfer_leadership(&request.topic, request.partition.into(), to).await?)
}

/// Replica ids have 32 bits for the broker: a larger id is none.
fn read_broker_id(id: u64, field: &str) -> Result<NodeId, Failure> {
    if (1..=u64::from(u32::MAX)).contains(&id) {
        return Ok(NodeId(id));
    }
    let message = format!("`{field}` must name a broker, 1 to {}, not {id}", u32::MAX);
    Err(Failure::field(field, message).with("actual", id))
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        let message = error.to_string();
        match error {
            TransferError::Missing(missing) => missing.into(),
            TransferError::NoReplica { .. } | TransferError::Draining(_) => {
                Self::field("broker_id", message)
            }
            TransferError::NotInSync(_) => Self::not_ready(message),
            TransferError::NotTaken(_) => Self::new(Reason::TimedOut, message),
            TransferError::Propose(error) => error.into(),
            TransferError::Preferred(error) => error.into(),
        }
    }
}

fn limits_of_the_broker() -> pb::Limits {
    pb::Limits {
        max_record_bytes: count(limits::MAX_RECORD_BYTES),
        max_message_bytes: count(limits::MAX_MESSAGE_BYTES),
        max_record_header_bytes: count(limits::MAX_RECORD_HEADER_BYTES),
        max_metadata_bytes: count(limits::MAX_METADATA_BYTES),
        max_partitions_per_topic: count(limits::MAX_PARTITIONS_PER_TOPIC as usize),
        max_name_bytes: count(limits::MAX_NAME_BYTES),
        max_page_size: count(limits::MAX_PAGE_SIZE),
    }
}
