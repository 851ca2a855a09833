//! The task that owns a producer's connection and everything in flight on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use ropewalk_proto::broker::ProduceStreamRequest;
use ropewalk_proto::v1::ProduceStreamResponse;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::batch::Batch;
use super::pool::{Layout, Pool};
use super::stream::{ProduceStream, request};
use crate::backoff::{Backoff, jittered};
use crate::client::Client;
use crate::connector::Connection;
use crate::error::{Error, ErrorKind, Outcome, timed_out};

/// What a broker may send ahead of what is read: answers are small.
const WINDOW: u32 = 1 << 20;
/// How long a stream that was closed in order may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Sender {
    client: Client,
    pool: Arc<Pool>,
    link: Link,
    backoff: Backoff,
    in_flight: BTreeMap<u64, Batch>,
    last_correlation: u64,
    /// Whether something is ready that the stream has no room for.
    full: bool,
    next_tick: Instant,
    learning: FuturesUnordered<BoxFuture<'static, Lesson>>,
    /// Why there is no connection, for the records that wait for one in vain.
    trouble: Option<Error>,
    /// Dropped when the task ends.
    _ended: watch::Sender<()>,
}

/// A topic, and what was learned about it.
type Lesson = (Arc<str>, Result<Layout, Error>);

/// The connection, or what is being done about it.
enum Link {
    Down,
    Resting(Instant),
    Opening(BoxFuture<'static, Result<Connection, Error>>),
    Up(Box<ProduceStream>),
}

enum Event {
    Answer(Box<ProduceStreamResponse>),
    Broken(Error),
    Opened(Result<Connection, Error>),
    Rested,
    Room,
    Woken,
    Tick,
    Learned(Arc<str>, Result<Layout, Error>),
}

impl Sender {
    pub(super) fn new(client: Client, pool: Arc<Pool>, ended: watch::Sender<()>) -> Sender {
        Sender {
            client,
            pool,
            link: Link::Down,
            backoff: Backoff::default(),
            in_flight: BTreeMap::new(),
            last_correlation: 0,
            full: false,
            next_tick: Instant::now(),
            learning: FuturesUnordered::new(),
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
        if let Link::Up(stream) = self.link {
            let ProduceStream { requests, answers, .. } = *stream;
            drop(requests);
            // Nothing is awaited any more: this only spares the broker a stream that is cut off.
            let _ = timeout(FAREWELL, answers.for_each(|_| std::future::ready(()))).await;
        }
    }

    async fn next_event(&mut self) -> Event {
        let timer = match self.pool.next_rested() {
            Some(rested) => rested.min(self.next_tick),
            None => self.next_tick,
        };
        let busy = !self.pool.is_idle();
        let Sender { link, learning, pool, full, .. } = self;
        tokio::select! {
            event = link.next_event(*full) => event,
            () = pool.wake.notified() => Event::Woken,
            () = sleep_until(timer), if busy => Event::Tick,
            Some((topic, layout)) = learning.next() => Event::Learned(topic, layout),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answer(answer) => self.answered(*answer),
            Event::Broken(error) => self.broken(error),
            Event::Opened(Ok(connection)) => {
                self.link = Link::Up(Box::new(ProduceStream::open(connection)));
            }
            Event::Opened(Err(error)) => self.rest(error),
            Event::Rested => self.link = Link::Down,
            Event::Room | Event::Woken => {}
            Event::Tick => self.tick(),
            Event::Learned(topic, Ok(layout)) => self.pool.learn(&topic, layout),
            Event::Learned(topic, Err(error)) => {
                tracing::debug!(%topic, %error, "the partitions of a topic could not be learned");
            }
        }
    }

    /// Gives the stream as many batches as it has room for, or sees to it that there is a stream.
    fn dispatch(&mut self) {
        self.full = false;
        match &self.link {
            Link::Down if self.pool.has_ready() => {
                let client = self.client.clone();
                let connect = async move { client.connector().connect(WINDOW).await };
                self.link = Link::Opening(Box::pin(connect));
            }
            Link::Up(stream) => {
                while self.pool.has_ready() {
                    let Ok(permit) = stream.requests.try_reserve() else {
                        self.full = true;
                        break;
                    };
                    let Some((batch, partition)) = self.pool.next(Instant::now()) else {
                        break;
                    };
                    self.last_correlation += 1;
                    let durability = self.pool.settings.durability.to_proto();
                    let request = request(batch.topic(), partition, batch.set.clone(), durability);
                    permit.send(ProduceStreamRequest {
                        correlation: self.last_correlation,
                        request: Some(request),
                    });
                    self.in_flight.insert(self.last_correlation, batch);
                }
            }
            Link::Down | Link::Resting(_) | Link::Opening(_) => {}
        }
    }

    fn answered(&mut self, answer: ProduceStreamResponse) {
        self.backoff.reset();
        self.trouble = None;
        // An answer that was given up on is not awaited any more.
        let Some(batch) = self.in_flight.remove(&answer.correlation) else {
            return;
        };
        match (answer.status.filter(|status| status.code != 0), answer.response) {
            (Some(status), _) => self.refused(batch, Error::from_rpc(status), false),
            (None, response) => {
                if self.pool.succeeded(&batch, &response.unwrap_or_default()) {
                    self.learn(Arc::clone(batch.topic()));
                }
            }
        }
    }

    /// A batch in flight was refused, or its answer will not come. It is sent again where that is
    /// safe.
    fn refused(&mut self, mut batch: Batch, error: Error, unsent: bool) {
        let settings = &self.pool.settings;
        let in_time = batch.opened.elapsed() < settings.delivery_timeout;
        let safe = !error.may_have_happened() || settings.retry_unknown;
        batch.unsure |= error.may_have_happened();
        if in_time && safe && error.is_retriable() {
            let rest = jittered(batch.tries).max(error.retry_after().unwrap_or_default());
            if !unsent {
                batch.tries += 1;
                tracing::debug!(topic = %batch.topic(), %error, ?rest, "sending a batch again");
                batch.last_error = Some(error);
            }
            self.pool.returned(batch, (!unsent).then_some(rest));
        } else {
            let error = concluded(&batch, error);
            self.pool.failed(&batch, error);
        }
    }

    /// The stream ended. What the connection had not taken was surely not sent.
    fn broken(&mut self, error: Error) {
        tracing::debug!(%error, in_flight = self.in_flight.len(), "a produce stream ended");
        let Link::Up(stream) = std::mem::replace(&mut self.link, Link::Down) else {
            return;
        };
        self.client.connector().avoid(&stream.connection);
        let unsent = Error::new(ErrorKind::Unreachable, error.message());
        for (correlation, batch) in std::mem::take(&mut self.in_flight) {
            if stream.has_taken(correlation) {
                self.refused(batch, error.clone(), false);
            } else {
                self.refused(batch, unsent.clone(), true);
            }
        }
        self.rest(error);
    }

    fn rest(&mut self, error: Error) {
        let rest = self.backoff.next(error.retry_after());
        tracing::debug!(%error, ?rest, "no connection for a producer");
        self.trouble = Some(error);
        self.link = Link::Resting(Instant::now() + rest);
    }

    /// Gives up what took too long, and looks after what is due.
    fn tick(&mut self) {
        let now = Instant::now();
        self.pool.wake_rested(now);
        if now < self.next_tick {
            return;
        }
        let timeout = self.pool.settings.delivery_timeout;
        let period = (timeout / 20).clamp(Duration::from_millis(10), Duration::from_millis(250));
        self.next_tick = now + period;
        let late = self.in_flight.extract_if(.., |_, batch| batch.opened + timeout < now);
        for (_, batch) in late.collect::<Vec<_>>() {
            let error = concluded(&batch, timed_out().context("a batch was sent"));
            self.pool.failed(&batch, error);
        }
        let trouble = &self.trouble;
        self.pool.expire(now, |batch| {
            let cause = batch.last_error.as_ref().or(trouble.as_ref());
            let cause = cause.map_or(String::new(), |error| format!(": {error}"));
            let message = format!("not delivered within {timeout:?}{cause}");
            concluded(batch, Error::new(ErrorKind::TimedOut, message))
        });
        for topic in self.pool.outdated(now) {
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

impl Link {
    async fn next_event(&mut self, full: bool) -> Event {
        match self {
            Link::Down => std::future::pending().await,
            Link::Resting(until) => {
                sleep_until(*until).await;
                Event::Rested
            }
            Link::Opening(connection) => Event::Opened(connection.await),
            Link::Up(stream) => {
                let ProduceStream { requests, answers, .. } = &mut **stream;
                tokio::select! {
                    answer = answers.next() => match answer {
                        Some(Ok(answer)) => Event::Answer(Box::new(answer)),
                        Some(Err(status)) => Event::Broken(Error::from_status(&status)),
                        None => Event::Broken(ended()),
                    },
                    Ok(_) = requests.reserve(), if full => Event::Room,
                }
            }
        }
    }
}

/// The error of a batch that is given up, when all its tries are taken together.
fn concluded(batch: &Batch, error: Error) -> Error {
    if batch.unsure { error.with_outcome(Outcome::Unknown) } else { error }
}

fn ended() -> Error {
    Error::new(ErrorKind::Disconnected, "the broker ended the stream")
}

/// Asks how many partitions a topic has.
pub(super) async fn learn(client: &Client, topic: &str) -> Result<Layout, Error> {
    match client.admin().topic(topic).await {
        Ok(description) => Ok(Layout::Partitions(description.topic.partition_count.max(1))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Layout::Missing),
        Err(error) => Err(error.with_outcome(Outcome::DidNotHappen)),
    }
}
