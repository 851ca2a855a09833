//! The task that owns a producer's connections and everything in flight on them.
//!
//! Batches go to the leader of their partition. As long as there is no connection to it, because it
//! is being made, because its address cannot be reached from here, or because nobody knows who
//! leads, they go through any broker, which forwards them. A partition changes from one way to the
//! other only when nothing of it is in flight, so that no batch overtakes another.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use ropewalk_compress::Compression;
use ropewalk_proto::v1::producer_service_client::ProducerServiceClient;
use ropewalk_proto::v1::{InitProducerRequest, ProduceStreamResponse};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::batch::Batch;
use super::link::{Link, LinkEvent};
use super::numbers::Identity;
use super::pool::{Layout, Leader, Learned, Pool};
use super::queue::ANY;
use super::stream::{ProduceStream, compressed, request};
use crate::backoff::Backoff;
use crate::brokers::Brokers;
use crate::client::{Client, Repeat};
use crate::error::{Error, ErrorKind, Outcome};
use crate::settings::TopicCompression;

/// What a broker may send ahead of what is read: answers are small.
const WINDOW: u32 = 1 << 20;
/// The most connections to leaders at a time. What others lead is forwarded.
const MAX_LINKS: usize = 64;
/// A leader that has answered nothing for so long is perhaps none any more.
const SILENCE: Duration = Duration::from_secs(2);

pub(super) struct Sender {
    client: Client,
    pool: Arc<Pool>,
    /// By broker; [`ANY`] is the way through whichever answers.
    links: BTreeMap<u64, Link>,
    /// The broker whose link was looked at last, so that none waits for another.
    turn: u64,
    last_correlation: u64,
    next_tick: Instant,
    learning: FuturesUnordered<BoxFuture<'static, Lesson>>,
    /// The name that the producer has; empty for none.
    name: String,
    /// The broker is being asked who the producer is.
    identifying: Option<BoxFuture<'static, Result<Identity, Error>>>,
    /// How long to wait before it is asked again.
    identify_backoff: Backoff,
    /// Why there is no connection, for the records that wait for one in vain.
    trouble: Option<Error>,
    /// Dropped when the task ends.
    _ended: watch::Sender<()>,
}

/// A topic, and what was learned about it.
type Lesson = (Arc<str>, Result<Learned, Error>);

enum Event {
    Link(u64, LinkEvent),
    Woken,
    Tick,
    Learned(Lesson),
    Identified(Result<Identity, Error>),
}

impl Sender {
    pub(super) fn new(
        client: Client,
        pool: Arc<Pool>,
        name: String,
        ended: watch::Sender<()>,
    ) -> Sender {
        Sender {
            client,
            pool,
            links: BTreeMap::new(),
            turn: ANY,
            last_correlation: 0,
            next_tick: Instant::now(),
            learning: FuturesUnordered::new(),
            name,
            identifying: None,
            identify_backoff: Backoff::default(),
            trouble: None,
            _ended: ended,
        }
    }

    /// Sends what the pool holds until the producer is closed and nothing is left.
    pub(super) async fn run(mut self) {
        while !(self.pool.is_closing() && self.pool.is_idle()) {
            let event = self.next_event().await;
            self.handle(event);
            self.dispatch();
        }
        futures::future::join_all(self.links.into_values().map(Link::close)).await;
    }

    async fn next_event(&mut self) -> Event {
        let busy = !self.pool.is_idle();
        let tick = busy.then_some(self.next_tick);
        let idle = self.links.values().filter_map(Link::idle_at).min();
        let timer = [tick, idle, self.pool.next_rested()].into_iter().flatten().min();
        let Sender { links, turn, learning, identifying, pool, .. } = self;
        let identified = async {
            match identifying {
                Some(identifying) => identifying.await,
                None => std::future::pending().await,
            }
        };
        let link_event = poll_fn(|context| {
            let after = links.range(*turn + 1..).map(|(id, _)| *id);
            let order: Vec<u64> = after.chain(links.range(..=*turn).map(|(id, _)| *id)).collect();
            for id in order {
                let Some(link) = links.get_mut(&id) else { continue };
                if let Poll::Ready(event) = link.poll_event(context) {
                    *turn = id;
                    return Poll::Ready(Event::Link(id, event));
                }
            }
            Poll::Pending
        });
        tokio::select! {
            event = link_event => event,
            () = pool.wake.notified() => Event::Woken,
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => Event::Tick,
            Some(lesson) = learning.next() => Event::Learned(lesson),
            identity = identified => Event::Identified(identity),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Link(id, LinkEvent::Answer(answer)) => self.answered(id, *answer),
            Event::Link(id, LinkEvent::Broken(error)) => self.broken(id, &error),
            Event::Link(id, LinkEvent::Opened(Ok(connection))) => {
                let stream = ProduceStream::open(connection, id == ANY);
                self.link(id).open(stream);
            }
            Event::Link(ANY, LinkEvent::Opened(Err(error))) => self.rest(error),
            Event::Link(id, LinkEvent::Opened(Err(error))) => {
                tracing::debug!(broker = id, %error, "a leader cannot be reached");
                self.client.brokers().failed(id);
                self.links.remove(&id);
            }
            Event::Link(id, LinkEvent::Rested) => self.link(id).rested(),
            Event::Link(_, LinkEvent::Room) | Event::Woken => {}
            Event::Tick => self.tick(),
            Event::Learned((topic, Ok(learned))) => {
                self.pool.learn(&topic, learned);
                self.leave_silent_links();
            }
            Event::Identified(identity) => self.identified(identity),
            Event::Learned((topic, Err(error))) => {
                tracing::debug!(%topic, %error, "the partitions of a topic could not be learned");
                self.pool.not_learned(&topic);
            }
        }
    }

    fn link(&mut self, id: u64) -> &mut Link {
        self.links.entry(id).or_insert_with(Link::new)
    }

    /// Gives each stream as many batches as it has room for, or sees to it that there is a stream.
    fn dispatch(&mut self) {
        for leader in self.pool.ready_leaders() {
            let via = self.way_to(leader);
            if via == ANY && self.link(ANY).is_down() {
                let client = self.client.clone();
                let connect = async move { client.connector().connect(WINDOW).await };
                self.link(ANY).connect(Box::pin(connect));
            }
            if self.pool.lacks_identity() {
                self.identify();
                continue;
            }
            while self.link(via).has_room() {
                let next = self.pool.next(leader, via, Instant::now());
                let Some((mut batch, partition, codec)) = next else { break };
                self.last_correlation += 1;
                let correlation = self.last_correlation;
                let settings = &self.pool.settings;
                let durability = settings.durability.to_proto();
                let (set, number) = (batch.set.clone(), batch.number);
                let ttl = batch.shortest_ttl;
                let mut request = request(batch.topic(), partition, set, durability, number);
                // What the broker is to place it has to read.
                let packed = partition.and_then(|_| batch.packed(codec, settings.level));
                if let Some((codec, packed)) = packed {
                    request = compressed(request, codec, packed, batch.count, ttl);
                }
                self.link(via).send(correlation, request, batch);
            }
        }
    }

    /// Asks the broker who the producer is, unless that is under way.
    fn identify(&mut self) {
        if self.identifying.is_some() {
            return;
        }
        let rest = self.trouble.is_some().then(|| self.identify_backoff.next(None));
        let (client, name) = (self.client.clone(), self.name.clone());
        self.identifying = Some(Box::pin(async move {
            sleep(rest.unwrap_or_default()).await;
            identify(&client, name).await
        }));
    }

    fn identified(&mut self, identity: Result<Identity, Error>) {
        self.identifying = None;
        match identity {
            Ok(identity) => {
                self.identify_backoff.reset();
                self.trouble = None;
                self.pool.identified(identity);
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "the producer has no id yet");
                self.trouble = Some(error.context("the producer has no id yet"));
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let message = "the brokers do not know idempotent producers: upgrade them, or \
                               build the producer with `idempotent(false)`";
                self.pool.end(&Error::new(ErrorKind::Unsupported, message));
            }
            Err(error) => self.pool.end(&error.context("the producer gets no id")),
        }
    }

    /// The link by which a leader's batches go now: its own, if it is up.
    fn way_to(&mut self, leader: u64) -> u64 {
        if leader == ANY {
            return ANY;
        }
        if let Some(link) = self.links.get(&leader)
            && !link.is_down()
        {
            return if link.is_up() { leader } else { ANY };
        }
        let Some(address) = self.client.brokers().reachable(leader) else { return ANY };
        let any = self.links.get(&ANY).and_then(Link::connection);
        let is_there = match any {
            Some(connection) => *connection.address == *address,
            None => self.client.connector().prefers(&address),
        };
        if !is_there && self.links.len() <= MAX_LINKS {
            let connect = Brokers::connect(self.client.clone(), leader, WINDOW);
            self.link(leader).connect(Box::pin(connect));
        }
        ANY
    }

    fn answered(&mut self, id: u64, answer: ProduceStreamResponse) {
        self.trouble = None;
        self.client.brokers().worked(id);
        // An answer that was given up on is not awaited any more.
        let Some(batch) = self.link(id).answered(answer.correlation) else {
            return;
        };
        match (answer.status.filter(|status| status.code != 0), answer.response) {
            (Some(status), _) => {
                let error = Error::from_rpc(status);
                self.heed(id, &batch, &error);
                self.pool.refused(batch, error, false);
            }
            (None, response) => {
                if self.pool.succeeded(&batch, &response.unwrap_or_default()) {
                    self.learn(Arc::clone(batch.topic()));
                }
            }
        }
    }

    /// Learns from a refusal who leads.
    fn heed(&mut self, id: u64, batch: &Batch, error: &Error) {
        let number = |key: &str| error.metadata().get(key).and_then(|value| value.parse().ok());
        match error.reason() {
            "NOT_LEADER" => {
                let leader = number("leader_id").unwrap_or(ANY);
                if let Some(address) = error.metadata().get("leader_address") {
                    self.client.brokers().note(leader, address);
                }
                let epoch = number("leader_epoch").and_then(|epoch| i64::try_from(epoch).ok());
                self.pool.moved(batch.queue, leader, epoch.unwrap_or(0));
                self.pool.suspect(batch.queue);
            }
            // Whoever forwards waits until there is a leader.
            "NO_LEADER" | "LEADER_CHANGED" | "NO_QUORUM" if id != ANY => {
                self.pool.moved(batch.queue, ANY, 0);
                self.pool.suspect(batch.queue);
            }
            "NO_LEADER" | "LEADER_CHANGED" | "NO_QUORUM" => self.pool.suspect(batch.queue),
            _ => return,
        }
        self.learn_what_is_due();
    }

    /// A stream ended. What the connection had not taken was surely not sent.
    fn broken(&mut self, id: u64, error: &Error) {
        if let Some(connection) = self.link(id).connection() {
            let connection = connection.clone();
            self.client.connector().avoid(&connection);
        }
        self.client.brokers().failed(id);
        let stranded = self.link(id).broken();
        tracing::debug!(broker = id, %error, in_flight = stranded.len(), "a produce stream ended");
        if id == ANY {
            self.rest(error.clone());
        } else {
            self.links.remove(&id);
        }
        let unsent = Error::new(ErrorKind::Unreachable, error.message());
        for lost in stranded {
            self.pool.suspect(lost.batch.queue);
            if lost.sent {
                self.pool.refused(lost.batch, error.clone(), false);
            } else {
                self.pool.refused(lost.batch, unsent.clone(), true);
            }
        }
        self.learn_what_is_due();
    }

    fn rest(&mut self, error: Error) {
        let rest = self.link(ANY).rest(error.retry_after());
        tracing::debug!(%error, ?rest, "no connection for a producer");
        self.trouble = Some(error);
    }

    /// Gives up what took too long, and looks after what is due.
    fn tick(&mut self) {
        let now = Instant::now();
        self.pool.wake_rested(now);
        self.close_idle_links(now);
        if now < self.next_tick {
            return;
        }
        let timeout = self.pool.settings.delivery_timeout;
        let period = (timeout / 20).clamp(Duration::from_millis(10), Duration::from_millis(250));
        self.next_tick = now + period;
        let oldest = now.checked_sub(timeout);
        let late = oldest.map(|oldest| self.links.values_mut().flat_map(move |l| l.late(oldest)));
        for batch in late.into_iter().flatten().collect::<Vec<_>>() {
            self.pool.not_answered(&batch);
        }
        let awaited = self.pool.lacks_identity().then(no_id);
        let trouble = self.trouble.as_ref().or(awaited.as_ref());
        self.pool.expire(now, |batch| {
            let cause = batch.last_error.as_ref().or(trouble);
            let cause = cause.map_or(String::new(), |error| format!(": {error}"));
            let message = format!("not delivered within {timeout:?}{cause}");
            Error::new(ErrorKind::TimedOut, message)
        });
        for (_, link) in self.links.iter().filter(|(_, link)| link.is_silent(now, SILENCE)) {
            link.queues().into_iter().for_each(|queue| self.pool.suspect(queue));
        }
        self.learn_what_is_due();
    }

    fn close_idle_links(&mut self, now: Instant) {
        let is_idle = |_: &u64, link: &mut Link| link.idle_at().is_some_and(|at| at <= now);
        for (_, link) in self.links.extract_if(.., is_idle) {
            tokio::spawn(link.close());
        }
    }

    /// Gives up on brokers that answer nothing once another one leads what they were given: what
    /// waits behind that need not wait for the connection to die.
    fn leave_silent_links(&mut self) {
        let now = Instant::now();
        let silent: BTreeSet<u64> = self
            .links
            .iter()
            .filter(|(id, link)| {
                let is_superseded = |queue| {
                    !matches!(self.pool.leader_of(queue), ANY) && self.pool.leader_of(queue) != **id
                };
                **id != ANY
                    && link.is_silent(now, SILENCE)
                    && link.queues().into_iter().any(is_superseded)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            let message = "the broker did not answer, and does not lead any more";
            self.broken(id, &Error::new(ErrorKind::Disconnected, message));
        }
    }

    fn learn_what_is_due(&mut self) {
        for topic in self.pool.to_learn(Instant::now()) {
            self.learn(topic);
        }
    }

    fn learn(&mut self, topic: Arc<str>) {
        let client = self.client.clone();
        self.learning.push(Box::pin(async move {
            let layout = learn(&client, &topic).await;
            (topic, layout)
        }));
    }
}

/// Asks the broker for an id and an epoch. Each answer has another epoch, so that it may be asked
/// as often as it takes.
pub(super) async fn identify(client: &Client, name: String) -> Result<Identity, Error> {
    let is_named = !name.is_empty();
    let request = InitProducerRequest { name };
    let given = client
        .call(Repeat::Freely, request, |channel, request| async move {
            ProducerServiceClient::new(channel).init_producer(request).await
        })
        .await?;
    Ok(Identity { id: given.producer_id, epoch: given.epoch, is_named })
}

/// Why nothing is sent while the brokers are being asked who the producer is.
fn no_id() -> Error {
    let message = "the brokers have not given the producer an id yet: `ropewalk cluster status` \
                   shows what lacks a leader";
    Error::new(ErrorKind::TimedOut, message)
}

/// Asks how many partitions a topic has, who leads them, and how it is to be compressed.
pub(super) async fn learn(client: &Client, topic: &str) -> Result<Learned, Error> {
    let described = match client.admin().topic(topic).await {
        Ok(described) => described,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let (layout, codec) = (Layout::Missing, Compression::None);
            return Ok(Learned { layout, leaders: Vec::new(), codec });
        }
        Err(error) => return Err(error.with_outcome(Outcome::DidNotHappen)),
    };
    let leaders = described.partitions.iter();
    let leaders: Vec<_> = leaders.map(|at| (at.leader.unwrap_or(ANY), at.leader_epoch)).collect();
    let brokers = client.brokers();
    let is_known = |(id, _): &Leader| *id == ANY || brokers.knows(*id);
    if !leaders.iter().all(is_known)
        && let Err(error) = brokers.refresh(client).await
    {
        // Their batches are forwarded until the brokers are known.
        tracing::debug!(%error, "the brokers of the cluster could not be learned");
    }
    let setting = described.topic.settings.compression;
    Ok(Learned {
        layout: Layout::Partitions(described.topic.partition_count.max(1)),
        leaders,
        codec: setting.and_then(TopicCompression::codec).unwrap_or_default(),
    })
}
