//! One open Subscribe of a member of a consumer group: what it has, and the records of that.
//!
//! As every Subscribe it is polled by the connection, and has no queue beyond one turn of its
//! reader. What the member has changes by itself; the records follow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream;
use ropewalk_broker::errors::ReadError;
use ropewalk_broker::follow::{FollowEvent, Follower};
use ropewalk_broker::membership::Membership;

use ropewalk_broker::Broker;
use ropewalk_broker::metrics::ActiveGuard;
use ropewalk_broker::sights::Commits;
use ropewalk_broker::table::TableWatch;
use ropewalk_core::{Timestamp, TopicId, limits};
use ropewalk_groups::{Delta, PlanRequest, TopicPartition};
use ropewalk_proto::broker as pb;
use ropewalk_proto::broker::subscribe_response::Event;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;

use crate::convert;
use crate::failure::Failure;
use crate::group_request::GroupRequest;
use crate::group_starts::{Begins, Got, Starts};
use crate::in_flight::InFlight;
use crate::leading::CallRoute;
use crate::line::ClientLine;
use crate::server::Drain;
use crate::subscribe::{Selection, SubscribePlan};
use crate::subscription::{batch, id, position};

/// How long it takes at most until a connection knows how it ended, once its streams have.
const LINE_ENDS_WITHIN: Duration = Duration::from_millis(50);

/// How long what a member is to be told may wait for the start of a partition that it has lost and
/// got again.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// How long everything else waits for a look at what the group has committed.
const SEEN_WITHIN: Duration = Duration::from_millis(200);

/// What the member is told together with the starts of partitions that it has lost and got again.
struct Held {
    ended: BTreeSet<TopicPartition>,
    revoked: Vec<(TopicPartition, Timestamp)>,
    until: Instant,
}

/// A partition that the member has.
#[derive(Default)]
struct Owned {
    /// The member was told where it begins. Before that nothing else is said of it.
    is_told: bool,
    /// Where it is read here.
    slot: Option<usize>,
    /// When it is taken, if it is to be given back.
    revoked: Option<Timestamp>,
}

pub(crate) struct GroupStream {
    plan: SubscribePlan,
    group: String,
    /// Taken when the stream ends.
    membership: Option<Membership>,
    /// The generation of what the member has.
    generation: u64,
    assignments_only: bool,
    /// Whether the first assignment was told.
    is_begun: bool,
    follower: Follower,
    owned: BTreeMap<TopicPartition, Owned>,
    /// Until it is told, nothing else is taken up that the member is to be told of.
    held: Option<Held>,
    starts: Starts,
    names: BTreeMap<TopicId, String>,
    in_flight: InFlight,
    /// Looked at while too much is in flight.
    commits: Commits,
    table: TableWatch,
    drain: Drain,
    route: CallRoute,
    line: Arc<ClientLine>,
    ready: VecDeque<Event>,
    last_sent: Instant,
    _active: ActiveGuard,
}

impl GroupStream {
    /// Joins the group.
    pub(crate) async fn open(
        broker: Arc<Broker>,
        drain: Drain,
        route: CallRoute,
        line: Arc<ClientLine>,
        request: pb::SubscribeRequest,
    ) -> Result<Self, Failure> {
        let GroupRequest { join, going_on, assignments_only, limit } =
            GroupRequest::read(&request, line.host())?;
        let plan = SubscribePlan::read(request)?;
        route.asks(&broker.coordinator_of(&join.group)?)?;
        for selection in &plan.selections {
            if let Selection::Name { name, .. } = selection {
                route.topic_for_use(name).await?;
            }
        }
        let table = broker.watch_table();
        let group = join.group.clone();
        let is_back = join.member.is_some();
        let claimed = going_on.generation;
        let membership = Membership::open(&broker, join).await?;
        let generation = membership.generation();
        let started = pb::Started {
            positions: Vec::new(),
            member_id: membership.member().to_string(),
            // Of what came between, the member hears with its first assignment. Until then it knows
            // no more than before, and what it commits must not count as if it did.
            generation: number(if is_back { claimed.min(generation) } else { generation }),
        };
        let start = plan.default_start.clone();
        let starts =
            Starts::new(Arc::clone(&broker), group.clone(), membership.member(), start, going_on);
        let commits = broker.watch_commits(&group);
        let mut follower = broker.follower(plan.options);
        follower.never_end();
        let active = broker.config().metrics.subscription_opened();
        Ok(Self {
            plan,
            group,
            membership: Some(membership),
            generation,
            assignments_only,
            is_begun: false,
            follower,
            owned: BTreeMap::new(),
            held: None,
            starts,
            names: BTreeMap::new(),
            in_flight: InFlight::new(limit),
            commits,
            table,
            drain,
            route,
            line,
            ready: VecDeque::from([Event::Started(started)]),
            last_sent: Instant::now(),
            _active: active,
        })
    }

    /// The events, until an error.
    pub(crate) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<pb::SubscribeResponse, Status>> + Send {
        stream::unfold(Some(self), async |stream| {
            let mut stream = stream?;
            match stream.next().await {
                Ok(event) => Some((Ok(pb::SubscribeResponse { event: Some(event) }), Some(stream))),
                Err(failure) => {
                    stream.cut_off();
                    Some((Err(failure.into_status()), None))
                }
            }
        })
    }

    /// The broker ends the stream: the member is waited for.
    fn cut_off(&mut self) {
        if let Some(membership) = &mut self.membership {
            membership.cut_off();
        }
    }

    async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last_sent = Instant::now();
                return Ok(event);
            }
            if self.drain.has_begun() {
                return Err(Failure::draining());
            }
            let heartbeat = self.last_sent + self.plan.heartbeat;
            let is_full = self.in_flight.is_full();
            let held_until = self.held.as_ref().map(|held| held.until);
            let membership = self.membership.as_mut().expect("it is taken when the stream ends");
            tokio::select! {
                biased;
                changed = self.table.changed() => {
                    changed.map_err(|_| Failure::draining())?;
                    self.follow_table()?;
                }
                delta = membership.next(), if held_until.is_none() => self.take(delta?),
                () = self.drain.begun() => return Err(Failure::draining()),
                begins = self.starts.next() => self.begin(begins?)?,
                () = sleep_until(held_until.unwrap_or(heartbeat)), if held_until.is_some() => {
                    return Err(Failure::no_leader());
                }
                () = self.commits.changed(), if is_full => self.see_commits().await,
                event = self.follower.next(), if !is_full => match event {
                    Ok((slot, event)) => self.read(slot, event),
                    // The log of a topic that was deleted meanwhile is not damaged, but gone.
                    Err(_) if self.table.has_changed().unwrap_or(false) => {
                        self.follow_table()?;
                    }
                    Err(error) => return Err(ReadError::from(error).into()),
                },
                () = sleep_until(heartbeat) => {
                    self.ready.push_back(Event::Heartbeat(self.heartbeat()));
                }
            }
        }
    }

    fn read(&mut self, slot: usize, event: FollowEvent) {
        if matches!(event, FollowEvent::End) {
            return;
        }
        let read = self.follower.partition(slot);
        let key = (read.topic_id, read.id);
        let (topic, partition) = (read.topic.to_string(), id(read.id.0));
        self.ready.push_back(match event {
            FollowEvent::Records(delivery) => {
                let records = u64::from(delivery.record_count);
                let end = delivery.end_offset();
                self.in_flight.sent(key, end, records, delivery.payload.len() as u64);
                Event::Batch(batch(topic, partition, delivery))
            }
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
            FollowEvent::End => return,
        });
    }

    /// What the member has, has changed. What it has got it is told once it is known where that
    /// begins.
    fn take(&mut self, delta: Delta) {
        self.generation = delta.generation;
        self.learn_names();
        let mut ended = BTreeSet::new();
        for partition in delta.ended {
            self.stop(partition);
            self.starts.forget(&partition);
            self.in_flight.forget(partition);
            if self.owned.remove(&partition).is_some_and(|owned| owned.is_told) {
                ended.insert(partition);
            }
        }
        let got = delta.assigned.into_iter().filter_map(|partition| self.got(partition));
        let got: Vec<_> = got.collect();
        self.owned.extend(got.iter().map(|got| (got.partition, Owned::default())));
        let back = got.iter().map(|got| got.partition).filter(|place| ended.contains(place));
        let back: Vec<_> = back.collect();
        let is_held = !back.is_empty();
        self.starts.wait_for(back);
        self.starts.seek(self.generation, got);
        let mut revoked = Vec::new();
        for (partition, deadline) in delta.revoked {
            self.stop(partition);
            let Some(owned) = self.owned.get_mut(&partition) else { continue };
            owned.revoked = Some(deadline);
            if owned.is_told {
                revoked.push((partition, deadline));
            }
        }
        // What went and came back is told at once: a member that knew of the loss alone, or of the
        // generation alone, could commit what it had before, in the generation in which the
        // partition is its own again. A broker that cannot find the start leaves it to others.
        match is_held {
            true => {
                let until = Instant::now() + TOLD_WITHIN;
                self.held = Some(Held { ended, revoked, until });
            }
            false => self.tell(ended, Vec::new(), revoked),
        }
        if let Some(plan) = delta.plan {
            self.ready.push_back(Event::PlanRequest(self.plan_request(plan)));
        }
    }

    fn got(&self, partition: TopicPartition) -> Option<Got> {
        let membership = self.membership.as_ref()?;
        let holding = membership.has(partition.0, partition.1)?;
        let is_added = membership.is_added(partition.0, partition.1);
        Some(Got { partition, since: holding.since, is_added })
    }

    /// Tells what has changed, if anything has: a generation alone can wait.
    fn tell(
        &mut self,
        ended: BTreeSet<TopicPartition>,
        assigned: Vec<pb::PartitionPosition>,
        revoked: Vec<(TopicPartition, Timestamp)>,
    ) {
        if !(ended.is_empty() && assigned.is_empty() && revoked.is_empty()) {
            self.tell_all(ended, assigned, revoked);
        }
    }

    fn tell_all(
        &mut self,
        ended: BTreeSet<TopicPartition>,
        assigned: Vec<pb::PartitionPosition>,
        revoked: Vec<(TopicPartition, Timestamp)>,
    ) {
        let mut by_deadline = BTreeMap::<Timestamp, BTreeSet<TopicPartition>>::new();
        for (partition, deadline) in revoked {
            by_deadline.entry(deadline).or_default().insert(partition);
        }
        let revoked = by_deadline.into_iter().flat_map(|(deadline, partitions)| {
            let topics = self.by_topic(&partitions).into_iter();
            topics.map(move |partitions| pb::Revocation {
                partitions: Some(partitions),
                deadline: Some(convert::timestamp(deadline)),
            })
        });
        let revoked: Vec<_> = revoked.collect();
        let generation = number(self.generation);
        let (mut ended, mut assigned) = (self.by_topic(&ended), assigned.into_iter().peekable());
        loop {
            let some: Vec<_> = assigned.by_ref().take(limits::MAX_PARTITIONS_PER_REQUEST).collect();
            let more = assigned.peek().is_some();
            let mut assignment =
                pb::Assignment { generation, assigned: some, more, ..Default::default() };
            // What is taken back may be among what was assigned.
            assignment.ended = std::mem::take(&mut ended);
            if !more {
                assignment.revoked = revoked;
                return self.ready.push_back(Event::Assignment(assignment));
            }
            self.ready.push_back(Event::Assignment(assignment));
        }
    }

    /// Stops to read a partition.
    fn stop(&mut self, partition: TopicPartition) {
        let slot = self.owned.get_mut(&partition).and_then(|owned| owned.slot.take());
        if let Some(slot) = slot {
            self.follower.forget(slot);
        }
    }

    /// Begins with partitions of which it is known where they begin, and tells of them.
    fn begin(&mut self, begins: Vec<Begins>) -> Result<(), Failure> {
        let table = self.table.borrow().clone();
        let served: BTreeMap<TopicId, _> =
            table.topics.values().map(|served| (served.topic.id, served)).collect();
        let (mut assigned, mut revoked, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let mut ended = BTreeSet::new();
        if let Some(held) = self.held.take() {
            (ended, revoked) = (held.ended, held.revoked);
        }
        for Begins { partition, from, is_paused } in begins {
            let (topic, id) = partition;
            let Some(served) = served.get(&topic).and_then(|topic| topic.partition(id)) else {
                // The topic is gone, and the group is about to say so.
                gone.extend(self.got(partition));
                continue;
            };
            let Some(owned) = self.owned.get_mut(&partition) else { continue };
            owned.is_told = true;
            assigned.push(position(served, from));
            if let Some(deadline) = owned.revoked {
                revoked.push((partition, deadline));
            } else if !self.assignments_only && !is_paused {
                self.route.reads(served)?;
                owned.slot = Some(self.follower.add(Arc::clone(served), from, None));
            }
        }
        self.starts.seek(self.generation, gone);
        // The first assignment is told also when there is nothing in it.
        match std::mem::replace(&mut self.is_begun, true) {
            true => self.tell(ended, assigned, revoked),
            false => self.tell_all(ended, assigned, revoked),
        }
        Ok(())
    }

    /// Takes up what this broker has learned of partitions.
    fn follow_table(&mut self) -> Result<(), Failure> {
        let table = self.table.borrow_and_update().clone();
        let read = self.owned.iter().filter_map(|(key, owned)| Some((*key, owned.slot?)));
        for (key, slot) in read.collect::<Vec<_>>() {
            let known = self.follower.partition(slot);
            let served = table.topics.get(&*known.topic);
            let served = served.filter(|served| served.topic.id == known.topic_id);
            match served.and_then(|served| served.partition(known.id)) {
                Some(now) if Arc::ptr_eq(now, known) => {}
                Some(now) => {
                    self.route.reads(now)?;
                    self.follower.replace(slot, Arc::clone(now));
                }
                // The topic is gone: the group is about to say so.
                None => self.stop(key),
            }
        }
        self.starts.look();
        Ok(())
    }

    /// Looks what the group has committed of what was delivered.
    async fn see_commits(&mut self) {
        let partitions = self.in_flight.partitions();
        let Ok(seen) = timeout(SEEN_WITHIN, self.commits.of(&partitions)).await else { return };
        match seen {
            Ok(committed) => {
                for (partition, offset) in committed {
                    self.in_flight.committed(partition, offset);
                }
            }
            // It is looked again soon, when the coordinator is led again.
            Err(error) => tracing::debug!(%error, group = self.group, "no commits are seen"),
        }
    }

    fn heartbeat(&self) -> pb::Heartbeat {
        let positions = self.follower.positions().take(limits::MAX_PARTITIONS_PER_REQUEST);
        let positions =
            positions.map(|(slot, offset)| position(self.follower.partition(slot), offset));
        pb::Heartbeat { positions: positions.collect() }
    }

    /// Remembers the names of topics: one that is deleted is named once more.
    fn learn_names(&mut self) {
        let table = self.table.borrow();
        for served in table.topics.values() {
            let (id, name) = (served.topic.id, &served.topic.name);
            self.names.entry(id).or_insert_with(|| name.clone());
        }
        let owned = &self.owned;
        let metadata = &table.metadata;
        self.names.retain(|id, name| {
            metadata.topic(name).is_some_and(|topic| topic.id == *id)
                || owned.keys().any(|(topic, _)| topic == id)
        });
    }

    fn name(&self, topic: TopicId) -> String {
        self.names.get(&topic).cloned().unwrap_or_default()
    }

    fn by_topic<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Vec<pb::TopicPartitions> {
        let mut topics = BTreeMap::<TopicId, Vec<i32>>::new();
        for (topic, partition) in partitions {
            topics.entry(*topic).or_default().push(id(partition.0));
        }
        let topics = topics.into_iter();
        let topics = topics
            .map(|(topic, partitions)| pb::TopicPartitions { topic: self.name(topic), partitions });
        topics.filter(|partitions| !partitions.topic.is_empty()).collect()
    }

    fn plan_request(&self, plan: PlanRequest) -> pb::PlanRequest {
        let topics = plan.topics.iter().map(|(topic, count)| pb::PlanTopic {
            topic: self.name(*topic),
            partition_count: id(*count),
        });
        let members = plan.members.iter().map(|member| pb::PlanMember {
            member_id: member.id.to_string(),
            instance_name: member.instance.clone().unwrap_or_default(),
            client_id: member.client_id.clone(),
            host: member.host.clone(),
            topics: member.topics.iter().map(|topic| self.name(*topic)).collect(),
            current: self.by_topic(&member.current),
        });
        pb::PlanRequest {
            plan_id: number(plan.id),
            deadline: Some(convert::timestamp(plan.deadline)),
            topics: topics.collect(),
            members: members.collect(),
        }
    }
}

impl Drop for GroupStream {
    fn drop(&mut self) {
        let Some(mut membership) = self.membership.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.line.is_closed() {
            // It leaves at once.
            return;
        }
        let line = Arc::clone(&self.line);
        // One that fails later was closed by a client that did not read the rest: it had ended its
        // stream before.
        let has_failed = line.has_failed();
        runtime.spawn(async move {
            tokio::time::sleep(LINE_ENDS_WITHIN).await;
            if has_failed || line.went_silent() {
                membership.cut_off();
            }
        });
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
