//! What a member of a consumer group is to read, and how.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ropewalk_proto::broker as proto;

use super::consumer::GroupConsumer;
use super::event::Revoked;
use super::planning::{GroupPlan, PlanRequest, Planner};
use crate::client::Client;
use crate::consumer::{PartitionState, Start};
use crate::error::Error;
use crate::intercept::{Hooks, ReceiveInterceptor};
use crate::offsets::Position;

/// How often what is done is committed, unless told otherwise.
const AUTO_COMMIT: Duration = Duration::from_secs(5);

/// Everything that a stream of a member needs to know.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) client: Client,
    pub(super) group: Arc<str>,
    pub(super) topics: Vec<String>,
    pub(super) patterns: Vec<String>,
    pub(super) start: Start,
    pub(super) instance_name: String,
    pub(super) client_id: String,
    pub(super) strategy: String,
    pub(super) rejoin_grace: Option<Duration>,
    pub(super) drain_timeout: Option<Duration>,
    pub(super) in_flight: Option<proto::InFlightLimit>,
    pub(super) auto_commit: Option<Duration>,
    pub(super) max_batch_bytes: Option<i32>,
    pub(super) read_ahead_bytes: u32,
    pub(super) heartbeat: Duration,
    pub(super) reconnect_timeout: Duration,
    pub(super) interceptors: Hooks<dyn ReceiveInterceptor>,
}

type Called<T> = Box<dyn FnMut(T) + Send + Sync>;
type Awaited<T> = Box<dyn FnMut(T) -> BoxFuture<'static, ()> + Send + Sync>;

/// What the application wants to be told of.
#[derive(Default)]
pub(super) struct Handlers {
    pub(super) assigned: Option<Called<Vec<PartitionState>>>,
    pub(super) revoked: Option<Awaited<Revoked>>,
    pub(super) lost: Option<Called<Vec<Position>>>,
    pub(super) gap: Option<Called<crate::consumer::Gap>>,
    pub(super) planner: Option<Planner>,
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handlers")
    }
}

/// How a [`GroupConsumer`] is set up. Made by [`Group::consumer`](crate::Group::consumer).
#[derive(Debug)]
pub struct GroupConsumerBuilder {
    plan: Plan,
    handlers: Handlers,
}

impl GroupConsumerBuilder {
    pub(crate) fn new(client: Client, group: String) -> GroupConsumerBuilder {
        let plan = Plan {
            client,
            group: group.into(),
            topics: Vec::new(),
            patterns: Vec::new(),
            start: Start::Earliest,
            instance_name: String::new(),
            client_id: String::new(),
            strategy: String::new(),
            rejoin_grace: None,
            drain_timeout: None,
            in_flight: None,
            auto_commit: Some(AUTO_COMMIT),
            max_batch_bytes: None,
            read_ahead_bytes: 4 * 1024 * 1024,
            heartbeat: Duration::from_secs(5),
            reconnect_timeout: Duration::from_secs(300),
            interceptors: Hooks::default(),
        };
        GroupConsumerBuilder { plan, handlers: Handlers::default() }
    }

    /// Reads a topic, also partitions that are added to it. It may be called for several topics.
    #[must_use]
    pub fn topic(mut self, name: impl Into<String>) -> Self {
        self.plan.topics.push(name.into());
        self
    }

    /// Reads all topics whose whole name this regular expression matches (RE2 syntax), also those
    /// that are created later.
    #[must_use]
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.plan.patterns.push(pattern.into());
        self
    }

    /// Where a partition begins of which the group has committed nothing: [`Start::Earliest`] (the
    /// default), [`Start::Latest`] or a time.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.plan.start = start;
        self
    }

    /// The name by which a member is known again that is restarted: within its rejoin grace nothing
    /// moves. No two members that run may have the same: the older one ends with
    /// [`Error::is_instance_taken`]. Default: none.
    #[must_use]
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.plan.instance_name = name.into();
        self
    }

    /// What the member calls itself, for people. Default: nothing.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.plan.client_id = id.into();
        self
    }

    /// How partitions are assigned: `range`, `round-robin`, `sticky`, or as members plan it
    /// ([`planned_by`](GroupConsumerBuilder::planned_by)). What most members ask for holds.
    /// Default: no wish; `sticky` when nobody has one.
    #[must_use]
    pub fn strategy(mut self, name: impl Into<String>) -> Self {
        self.plan.strategy = name.into();
        self
    }

    /// Has partitions assigned as members plan it, by a strategy of this name. It holds when most
    /// members ask for it; whichever of them the group asks, plans for all. The planner runs while
    /// the consumer is asked for more; when a plan is late (5 s) or not sound, the broker assigns.
    ///
    /// ```no_run
    /// # fn build(client: ropewalk::Client) -> ropewalk::GroupConsumerBuilder {
    /// use ropewalk::{GroupPlan, PlanRequest};
    ///
    /// // Everything to the member that joined first, as long as it lives.
    /// let leads = |request: &PlanRequest| {
    ///     let mut plan = GroupPlan::new();
    ///     for (topic, count) in &request.topics {
    ///         let reads = |member: &&ropewalk::PlanMember| member.topics.contains(topic);
    ///         if let Some(first) = request.members.iter().find(reads) {
    ///             (0..*count).for_each(|partition| plan.assign(&first.id, topic, partition));
    ///         }
    ///     }
    ///     plan
    /// };
    /// client.group("billing").consumer().topic("orders").planned_by("first-leads", leads)
    /// # }
    /// ```
    #[must_use]
    pub fn planned_by(
        mut self,
        name: impl AsRef<str>,
        planner: impl FnMut(&PlanRequest) -> GroupPlan + Send + Sync + 'static,
    ) -> Self {
        self.plan.strategy = format!("client:{}", name.as_ref());
        self.handlers.planner = Some(Box::new(planner));
        self
    }

    /// How long the group waits for the member when its connection breaks. Default: 5 s; at most
    /// 1 h.
    #[must_use]
    pub fn rejoin_grace(mut self, grace: Duration) -> Self {
        self.plan.rejoin_grace = Some(grace);
        self
    }

    /// How long the member has to finish with a partition that another one is to have. Default:
    /// 5 s; at most 1 h.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.plan.drain_timeout = Some(timeout);
        self
    }

    /// Bounds how many records the broker sends beyond what is committed. With nothing at hand the
    /// member commits at once then, ten times a second at most, unless the application commits by
    /// itself. Default: no bound but that of
    /// [`read_ahead_bytes`](GroupConsumerBuilder::read_ahead_bytes).
    #[must_use]
    pub fn max_records_in_flight(mut self, records: u32) -> Self {
        self.plan.in_flight.get_or_insert_default().records = records.into();
        self
    }

    /// Bounds how many bytes of records the broker sends beyond what is committed, as
    /// [`max_records_in_flight`](GroupConsumerBuilder::max_records_in_flight) does.
    #[must_use]
    pub fn max_bytes_in_flight(mut self, bytes: u32) -> Self {
        self.plan.in_flight.get_or_insert_default().bytes = bytes.into();
        self
    }

    /// How often what is done is committed: everything that was given before the consumer was asked
    /// for more. So is it before a partition is given back, and by
    /// [`close`](GroupConsumer::close). Default: every 5 s.
    #[must_use]
    pub fn auto_commit(mut self, interval: Duration) -> Self {
        self.plan.auto_commit = Some(interval);
        self
    }

    /// Commits nothing by itself: the application calls [`commit`](GroupConsumer::commit).
    #[must_use]
    pub fn manual_commit(mut self) -> Self {
        self.plan.auto_commit = None;
        self
    }

    /// The most bytes of records in one batch. Default: the broker's, 1 MiB; at most 3.5 MiB.
    #[must_use]
    pub fn max_batch_bytes(mut self, bytes: u32) -> Self {
        self.plan.max_batch_bytes = Some(i32::try_from(bytes).unwrap_or(i32::MAX));
        self
    }

    /// How many bytes the broker may send ahead of what is read. Default: 4 MiB; 64 KiB to 1 GiB.
    #[must_use]
    pub fn read_ahead_bytes(mut self, bytes: u32) -> Self {
        self.plan.read_ahead_bytes = bytes.clamp(64 * 1024, 1 << 30);
        self
    }

    /// How often a quiet stream gives a sign of life; after three that are missing it counts as
    /// broken. Default: 5 s; 100 ms to 5 min.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(300));
        self.plan.heartbeat = interval.clamp(shortest, longest);
        self
    }

    /// For how long it tries to reconnect before it ends with an error. Default: 5 min.
    #[must_use]
    pub fn reconnect_timeout(mut self, timeout: Duration) -> Self {
        self.plan.reconnect_timeout = timeout;
        self
    }

    /// Calls this when the member gets partitions, for those who read records or batches rather
    /// than events.
    #[must_use]
    pub fn on_assigned(
        mut self,
        handler: impl FnMut(Vec<PartitionState>) + Send + Sync + 'static,
    ) -> Self {
        self.handlers.assigned = Some(Box::new(handler));
        self
    }

    /// Calls this, and waits for it, before partitions are given back: a member that commits by
    /// itself commits here what it has done ([`Revoked::committer`]), and then nothing comes twice.
    #[must_use]
    pub fn on_revoked<F>(
        mut self,
        mut handler: impl FnMut(Revoked) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.handlers.revoked = Some(Box::new(move |revoked| handler(revoked).boxed()));
        self
    }

    /// Calls this when partitions were taken that the member had not given back.
    #[must_use]
    pub fn on_lost(mut self, handler: impl FnMut(Vec<Position>) + Send + Sync + 'static) -> Self {
        self.handlers.lost = Some(Box::new(handler));
        self
    }

    /// Calls this when records that were to be read are gone. Default: a warning in the log.
    #[must_use]
    pub fn on_gap(
        mut self,
        handler: impl FnMut(crate::consumer::Gap) + Send + Sync + 'static,
    ) -> Self {
        self.handlers.gap = Some(Box::new(handler));
        self
    }

    /// Shows each record to this before it is handed out. It may be called for several, which are
    /// called in this order. Default: none.
    #[must_use]
    pub fn intercept(mut self, interceptor: impl ReceiveInterceptor + 'static) -> Self {
        self.plan.interceptors.add(Arc::new(interceptor));
        self
    }

    /// Joins the group.
    ///
    /// # Errors
    ///
    /// `INVALID_FIELD` for what a broker does not take, `TOPIC_NOT_FOUND`, `TOO_MANY`, and what
    /// every call may meet. What may pass is tried again for the client's request timeout.
    pub async fn build(self) -> Result<GroupConsumer, Error> {
        if self.plan.topics.is_empty() && self.plan.patterns.is_empty() {
            return Err(Error::invalid("the consumer names no topic"));
        }
        GroupConsumer::start(self.plan, self.handlers).await
    }
}
