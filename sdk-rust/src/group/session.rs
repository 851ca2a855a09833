//! One stream of a member: from connecting to the broker's word that it has joined.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_compress::Compression;
use ropewalk_proto::broker as proto;
use ropewalk_proto::broker::topic_selection::Selection as ProtoSelection;
use tokio::time::timeout;
use tonic::Streaming;

use super::builder::Plan;
use super::holdings::SharedHoldings;
use crate::backoff::insist;
use crate::connector::Connection;
use crate::consumer::start_stream;
use crate::error::{Error, timed_out};
use crate::wire::codec_to_proto;

/// The reason of a stream that is no member's any more.
pub(super) const FENCED: &str = "MEMBER_FENCED";

/// A stream that has started.
pub(super) struct Session {
    pub(super) events: Streaming<proto::SubscribeResponse>,
    pub(super) started: proto::Started,
    pub(super) connection: Connection,
}

/// Opens a stream of the member, trying for `patience`.
///
/// # Errors
/// With the reason [`FENCED`] when the group has gone on without the member.
pub(super) async fn open(
    plan: Arc<Plan>,
    holdings: SharedHoldings,
    patience: Duration,
) -> Result<Session, Error> {
    insist(patience, "joining", || attempt(&plan, request(&plan, &holdings))).await
}

async fn attempt(plan: &Plan, request: proto::SubscribeRequest) -> Result<Session, Error> {
    let connector = plan.client.connector();
    let connection = connector.connect(plan.read_ahead_bytes).await?;
    let starting = start_stream(&connection, request);
    let error = match timeout(plan.client.request_timeout(), starting).await {
        Ok(Ok((events, started))) => return Ok(Session { events, started, connection }),
        Ok(Err(error)) => error,
        Err(_) => timed_out().context("joining"),
    };
    if error.is_retriable() {
        connector.avoid(&connection);
    }
    Err(error)
}

fn request(plan: &Plan, holdings: &SharedHoldings) -> proto::SubscribeRequest {
    let selection =
        |selection| proto::TopicSelection { selection: Some(selection), partitions: Vec::new() };
    let names = plan.topics.iter().cloned().map(ProtoSelection::Name);
    let patterns = plan.patterns.iter().cloned().map(ProtoSelection::Pattern);
    let holdings = holdings.lock();
    let (member_id, generation) = holdings.identity();
    let is_known = !member_id.is_empty();
    let duration = |duration: Option<Duration>| duration.and_then(|it| it.try_into().ok());
    let member = proto::GroupMember {
        member_id,
        instance_name: plan.instance_name.clone(),
        client_id: plan.client_id.clone(),
        rejoin_grace: duration(plan.rejoin_grace),
        drain_timeout: duration(plan.drain_timeout),
        strategy: plan.strategy.clone(),
        generation: if is_known { generation } else { 0 },
        positions: if is_known { holdings.to_go_on() } else { Vec::new() },
    };
    proto::SubscribeRequest {
        topics: names.chain(patterns).map(selection).collect(),
        default_start: Some(plan.start.to_proto()),
        max_batch_bytes: plan.max_batch_bytes.unwrap_or_default(),
        heartbeat_interval: plan.heartbeat.try_into().ok(),
        group: plan.group.to_string(),
        member: Some(member),
        in_flight_limit: plan.in_flight,
        accepted_compressions: Compression::ALL.into_iter().map(codec_to_proto).collect(),
        ..Default::default()
    }
}
