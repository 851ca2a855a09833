//! One open Subscribe: what happens to its partitions, as events on the wire.
//!
//! It is polled by the connection as the client's flow control permits, and has no task and no
//! queue of its own beyond one turn of its reader: a slow client holds a bounded amount of memory.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::stream;
use futures::{Stream, StreamExt, TryStreamExt};
use ropewalk_broker::delivery::Delivery;
use ropewalk_broker::errors::{Missing, ReadError};
use ropewalk_broker::follow::{FollowEvent, Follower};
use ropewalk_broker::metrics::ActiveGuard;
use ropewalk_broker::table::TableWatch;
use ropewalk_broker::{Broker, Partition};
use ropewalk_core::{Compression, GroupId, Offset};
use ropewalk_proto::broker as pb;
use ropewalk_proto::broker::subscribe_response::Event;
use tokio::time::Instant;
use tonic::Status;

use crate::convert;
use crate::failure::Failure;
use crate::group_request::check_no_group;
use crate::leading::CallRoute;
use crate::server::Drain;
use crate::subscribe::{
    Stop, SubscribePlan, check_count, committed_for, resolve_start, resolve_stop,
};

/// Partitions of a new stream whose starts and ends are found side by side.
const RESOLVED_AT_A_TIME: usize = 64;

pub(crate) struct Subscription {
    broker: Arc<Broker>,
    plan: SubscribePlan,
    follower: Follower,
    /// The replica groups of the slots, those included that are no longer read.
    known: BTreeSet<GroupId>,
    table: TableWatch,
    drain: Drain,
    route: CallRoute,
    ready: VecDeque<Event>,
    last_sent: Instant,
    _active: ActiveGuard,
}

impl Subscription {
    /// Resolves where everything starts and ends. What is appended from then on is delivered.
    pub(crate) async fn open(
        broker: Arc<Broker>,
        drain: Drain,
        route: CallRoute,
        request: pb::SubscribeRequest,
    ) -> Result<Self, Failure> {
        check_no_group(&request)?;
        let plan = SubscribePlan::read(request)?;
        // Seen before the partitions are listed, so that none that comes between is missed.
        let table = broker.watch_table();
        let partitions = plan.partitions(&broker, &route).await?;
        let mut follower = broker.follower(plan.options);
        if plan.stop == Stop::Never {
            follower.never_end();
        }
        let mut known = BTreeSet::new();
        let mut positions = Vec::with_capacity(partitions.len());
        let starts = partitions.iter().map(|(_, start)| start);
        let committed = committed_for(&broker, starts).await?;
        // Side by side: each may have to ask another broker.
        let (committed, stop) = (Arc::new(committed), plan.stop);
        let resolved = partitions.into_iter().map(|(partition, start)| {
            let committed = Arc::clone(&committed);
            async move {
                let from = resolve_start(&partition, &start, &committed).await?;
                let until = resolve_stop(&partition, stop).await?;
                Ok::<_, Failure>((partition, from, until))
            }
        });
        let resolved = stream::iter(resolved).buffered(RESOLVED_AT_A_TIME);
        let resolved: Vec<_> = resolved.try_collect().await?;
        for (partition, from, until) in resolved {
            known.insert(partition.group);
            let slot = follower.add(partition, from, until);
            positions.push(position(follower.partition(slot), from));
        }
        let active = broker.config().metrics.subscription_opened();
        Ok(Self {
            broker,
            plan,
            follower,
            known,
            table,
            drain,
            route,
            ready: VecDeque::from([Event::Started(started(positions))]),
            last_sent: Instant::now(),
            _active: active,
        })
    }

    /// The events, until an end or an error.
    pub(crate) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<pb::SubscribeResponse, Status>> + Send {
        stream::unfold(Some(self), async |subscription| {
            let mut subscription = subscription?;
            match subscription.next().await {
                Ok(Some(event)) => {
                    Some((Ok(pb::SubscribeResponse { event: Some(event) }), Some(subscription)))
                }
                Ok(None) => None,
                Err(failure) => Some((Err(failure.into_status()), None)),
            }
        })
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last_sent = Instant::now();
                return Ok(Some(event));
            }
            if self.drain.has_begun() {
                return Err(Failure::draining());
            }
            let heartbeat = self.last_sent + self.plan.heartbeat;
            tokio::select! {
                biased;
                changed = self.table.changed() => {
                    changed.map_err(|_| Failure::draining())?;
                    self.follow_table().await?;
                }
                event = self.follower.next() => match event {
                    Ok((slot, event)) => match self.event(slot, event) {
                        Some(event) => self.ready.push_back(event),
                        None => return Ok(None),
                    },
                    // The log of a topic that was deleted meanwhile is not damaged, but gone.
                    Err(_) if self.table.has_changed().unwrap_or(false) => {
                        self.follow_table().await?;
                    }
                    Err(error) => return Err(ReadError::from(error).into()),
                },
                () = self.drain.begun() => return Err(Failure::draining()),
                () = tokio::time::sleep_until(heartbeat) => {
                    self.ready.push_back(Event::Heartbeat(self.heartbeat()));
                }
            }
        }
    }

    fn event(&self, slot: usize, event: FollowEvent) -> Option<Event> {
        // No slot may be left, or there never was one.
        if matches!(event, FollowEvent::End) {
            return None;
        }
        let partition = self.follower.partition(slot);
        let (topic, partition) = (partition.topic.to_string(), id(partition.id.0));
        Some(match event {
            FollowEvent::Records(delivery) => Event::Batch(batch(topic, partition, delivery)),
            FollowEvent::Gap(from, to) => Event::Gap(pb::Gap {
                topic,
                partition,
                from_offset: convert::offset(from),
                to_offset: convert::offset(to),
                reason: pb::gap::Reason::Deleted.into(),
            }),
            FollowEvent::CaughtUp(offset) => {
                Event::CaughtUp(pb::CaughtUp { topic, partition, offset: convert::offset(offset) })
            }
            FollowEvent::End => return None,
        })
    }

    fn heartbeat(&self) -> pb::Heartbeat {
        let positions = self
            .follower
            .positions()
            .map(|(slot, offset)| position(self.follower.partition(slot), offset))
            .collect();
        pb::Heartbeat { positions }
    }

    /// Takes up partitions that are new, and leaves those that are gone.
    async fn follow_table(&mut self) -> Result<(), Failure> {
        let table = self.table.borrow_and_update().clone();
        let slots: Vec<_> = self.follower.positions().map(|(slot, _)| slot).collect();
        for slot in slots {
            let partition = self.follower.partition(slot);
            let served = table.topics.get(&*partition.topic);
            let served = served.filter(|served| served.topic.id == partition.topic_id);
            if let Some(now) = served.and_then(|served| served.partition(partition.id)) {
                if !Arc::ptr_eq(now, partition) {
                    self.route.reads(now)?;
                    self.follower.replace(slot, Arc::clone(now));
                }
            } else {
                let topic = partition.topic.to_string();
                if self.plan.names(&topic) {
                    return Err(Missing::Topic(topic).into());
                }
                self.follower.leave(slot);
            }
        }
        if !self.plan.stop.takes_later_partitions() {
            return Ok(());
        }
        let mut positions = Vec::new();
        let later = self.plan.later_partitions(&self.broker, &self.known);
        check_count(self.known.len() + later.len())?;
        for partition in later {
            self.route.reads(&partition)?;
            let from = partition.latest_bounds().await?.start;
            let until = resolve_stop(&partition, self.plan.stop).await?;
            self.known.insert(partition.group);
            let slot = self.follower.add(partition, from, until);
            positions.push(position(self.follower.partition(slot), from));
        }
        if !positions.is_empty() {
            self.ready.push_back(Event::Started(started(positions)));
        }
        Ok(())
    }
}

fn started(positions: Vec<pb::PartitionPosition>) -> pb::Started {
    pb::Started { positions, ..Default::default() }
}

pub(crate) fn position(partition: &Partition, offset: Offset) -> pb::PartitionPosition {
    let bounds = partition.bounds();
    pb::PartitionPosition {
        topic: partition.topic.to_string(),
        topic_id: partition.topic_id.to_string(),
        partition: id(partition.id.0),
        offset: convert::offset(offset),
        high_watermark: convert::offset(bounds.high_watermark),
        log_start_offset: convert::offset(bounds.start),
    }
}

pub(crate) fn batch(topic: String, partition: i32, delivery: Delivery) -> pb::RecordBatch {
    let offsets = delivery.offsets;
    let data = match delivery.compression {
        Compression::None => pb::record_batch::Data::Records(delivery.payload),
        _ => pb::record_batch::Data::Compressed(delivery.payload),
    };
    pb::RecordBatch {
        topic,
        partition,
        base_offset: convert::offset(delivery.base_offset),
        record_count: id(delivery.record_count),
        leader_epoch: i64::try_from(delivery.leader_epoch).unwrap_or(i64::MAX),
        append_time: Some(convert::timestamp(delivery.append_time)),
        timestamp_type: convert::timestamp_type(delivery.timestamp_type).into(),
        compression: convert::compression(delivery.compression).into(),
        data: Some(data),
        offsets: offsets.into_iter().flatten().map(convert::offset).collect(),
    }
}

pub(crate) fn id(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
