//! The consumer: one stream of records over as many connections as it takes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use ropewalk_proto::broker as proto;
use ropewalk_proto::broker::SubscribeResponse;
use ropewalk_proto::broker::subscribe_response::Event as ProtoEvent;
use tokio::time::{Instant, Sleep, sleep};
use tonic::Streaming;

use super::batch::{ConsumedRecord, RecordBatch, Records};
use super::builder::Plan;
use super::event::{Event, Gap, PartitionState, Stop};
use super::session::{Progress, Session, open};
use crate::connector::Connection;
use crate::error::{Error, ErrorKind};
use crate::offsets::Position;

/// This many heartbeats that are missing mean that the connection is dead.
const MISSED_HEARTBEATS: u32 = 3;
/// A stream of records. Made by [`Client::consumer`](crate::Client::consumer).
///
/// When the connection breaks, or a broker shuts down, it reconnects and goes on at the next offset
/// of each partition: nothing is left out, nothing is given twice. It ends with `None` where it was
/// told to stop, and after an error. What is not read yet is held back by flow control.
///
/// It is read by records (it is a [`Stream`], and has [`next`](Consumer::next)), by batches
/// ([`next_batch`](Consumer::next_batch), which is fastest), or by events
/// ([`next_event`](Consumer::next_event)), which tell of gaps and heartbeats too.
///
/// ```no_run
/// # async fn run(client: ropewalk::Client) -> Result<(), ropewalk::Error> {
/// use ropewalk::{Event, Start};
///
/// let mut consumer = client.consumer().topic("orders").start(Start::Latest).build().await?;
/// while let Some(event) = consumer.next_event().await {
///     match event? {
///         Event::Batch(batch) => println!("{} records", batch.len()),
///         Event::Gap(gap) => println!("{} to {} are gone", gap.from_offset, gap.to_offset),
///         Event::CaughtUp(position) => println!("all of partition {} read", position.partition),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Consumer {
    plan: Arc<Plan>,
    progress: Progress,
    state: State,
    current: Option<Records>,
    on_gap: GapHandler,
}

enum State {
    Reading(Box<Reading>),
    Opening(BoxFuture<'static, Result<Session, Error>>),
    Ended,
}

struct Reading {
    events: Streaming<SubscribeResponse>,
    connection: Connection,
    /// Ready once partitions were added that do not join the stream by themselves.
    grown: BoxFuture<'static, ()>,
    /// `started`, until it was given.
    started: Option<Vec<PartitionState>>,
    /// When the stream counts as dead.
    silence: Pin<Box<Sleep>>,
}

/// What is called for a gap.
pub(super) struct GapHandler(Box<dyn FnMut(&Gap) + Send + Sync>);

impl GapHandler {
    pub(super) fn calling(handler: impl FnMut(&Gap) + Send + Sync + 'static) -> GapHandler {
        GapHandler(Box::new(handler))
    }
}

impl Default for GapHandler {
    fn default() -> GapHandler {
        GapHandler::calling(|gap| {
            let Gap { topic, partition, from_offset, to_offset } = gap;
            tracing::warn!(%topic, partition, from_offset, to_offset, "records are gone unread");
        })
    }
}

impl fmt::Debug for GapHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GapHandler")
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Consumer {
    pub(super) async fn start(plan: Plan, on_gap: GapHandler) -> Result<Consumer, Error> {
        let plan = Arc::new(plan);
        let patience = plan.reconnect_timeout.min(plan.client.request_timeout());
        let session = Box::pin(open(Arc::clone(&plan), Progress::new(), patience)).await?;
        let mut consumer = Consumer {
            plan,
            progress: Progress::new(),
            state: State::Ended,
            current: None,
            on_gap,
        };
        consumer.begin(session);
        Ok(consumer)
    }

    /// The next record. `None` at the end.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// What cannot be mended by reconnecting: a topic that was deleted, an offset that does not
    /// exist, a batch that cannot be decoded, no broker for the reconnect timeout. Then the
    /// consumer has ended.
    pub async fn next(&mut self) -> Option<Result<ConsumedRecord, Error>> {
        StreamExt::next(self).await
    }

    /// The next batch of records, or what is left of the one whose records are being read. `None`
    /// at the end.
    ///
    /// # Errors
    ///
    /// As [`next`](Consumer::next).
    pub async fn next_batch(&mut self) -> Option<Result<RecordBatch, Error>> {
        std::future::poll_fn(|context| self.poll_batch(context)).await
    }

    /// The next event. `None` at the end. The first is always [`Event::Started`].
    ///
    /// # Errors
    ///
    /// As [`next`](Consumer::next).
    pub async fn next_event(&mut self) -> Option<Result<Event, Error>> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// The events as a stream.
    pub fn events(&mut self) -> impl Stream<Item = Result<Event, Error>> + '_ {
        futures::stream::poll_fn(|context| self.poll_event(context))
    }

    /// The next offset to read of each partition: what to commit once everything that was given is
    /// dealt with.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let mut positions = Vec::new();
        for (topic, known) in &self.progress {
            for (&partition, &next) in &known.next {
                let offset = match &self.current {
                    Some(records) if records.is_of(topic, partition) => records.offset(),
                    _ => next,
                };
                positions.push(Position::new(&**topic, partition, offset));
            }
        }
        positions
    }

    fn poll_batch(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<RecordBatch, Error>>> {
        loop {
            match ready!(self.poll_event(context)) {
                Some(Ok(Event::Batch(batch))) => return Poll::Ready(Some(Ok(batch))),
                Some(Ok(Event::Gap(gap))) => (self.on_gap.0)(&gap),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        if let Some(records) = self.current.take() {
            let rest = records.into_rest();
            if !rest.is_empty() {
                return Poll::Ready(Some(Ok(Event::Batch(rest))));
            }
        }
        loop {
            let next = match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(session) => {
                        self.begin(session);
                        continue;
                    }
                    Err(error) => Next::Failed(error),
                },
                State::Reading(reading) => ready!(reading.poll_next(context, &self.plan)),
            };
            match self.take(next) {
                Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                Ok(None) => {}
                Err(error) => {
                    self.state = State::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn take(&mut self, next: Next) -> Result<Option<Event>, Error> {
        match next {
            Next::Started(started) => Ok(Some(Event::Started(started))),
            Next::Event(event) => self.received(event),
            Next::Broken(error) if error.is_retriable() => {
                tracing::debug!(%error, "a consumer reconnects");
                if let State::Reading(reading) = &self.state {
                    self.plan.client.connector().avoid(&reading.connection);
                }
                self.reopen();
                Ok(None)
            }
            Next::Grown => {
                tracing::debug!("a consumer reads partitions that were added");
                self.reopen();
                Ok(None)
            }
            Next::Broken(error) | Next::Failed(error) => Err(error),
            Next::Ended => {
                self.state = State::Ended;
                Ok(None)
            }
        }
    }

    fn begin(&mut self, session: Session) {
        self.note(&session.started);
        let reading = Reading {
            events: session.events,
            connection: session.connection,
            grown: session.grown,
            started: Some(session.started),
            silence: Box::pin(sleep(self.plan.heartbeat * MISSED_HEARTBEATS)),
        };
        self.state = State::Reading(Box::new(reading));
    }

    fn reopen(&mut self) {
        let patience = self.plan.reconnect_timeout;
        let opening = open(Arc::clone(&self.plan), self.progress.clone(), patience);
        self.state = State::Opening(Box::pin(opening));
    }

    /// Takes over where partitions that were not known start.
    fn note(&mut self, started: &[PartitionState]) {
        for state in started {
            let known = self.progress.entry(Arc::from(state.topic.as_str())).or_default();
            known.id.clone_from(&state.topic_id);
            known.next.entry(state.partition).or_insert(state.offset);
        }
    }

    fn received(&mut self, event: ProtoEvent) -> Result<Option<Event>, Error> {
        let states = |positions: Vec<proto::PartitionPosition>| {
            positions.into_iter().map(PartitionState::from).collect::<Vec<_>>()
        };
        Ok(match event {
            ProtoEvent::Batch(batch) => self.batch(batch)?.map(Event::Batch),
            ProtoEvent::Started(started) => {
                let started = states(started.positions);
                self.note(&started);
                Some(Event::Started(started))
            }
            ProtoEvent::Heartbeat(heartbeat) => Some(Event::Heartbeat(states(heartbeat.positions))),
            ProtoEvent::Gap(gap) => {
                *self.next_of(&gap.topic, gap.partition).1 = gap.to_offset;
                Some(Event::Gap(Gap {
                    topic: gap.topic,
                    partition: gap.partition,
                    from_offset: gap.from_offset,
                    to_offset: gap.to_offset,
                }))
            }
            ProtoEvent::CaughtUp(caught_up) => Some(Event::CaughtUp(Position::new(
                caught_up.topic,
                caught_up.partition,
                caught_up.offset,
            ))),
            // Of streams of consumer groups alone.
            ProtoEvent::Assignment(_) | ProtoEvent::PlanRequest(_) => None,
        })
    }

    fn batch(&mut self, proto: proto::RecordBatch) -> Result<Option<RecordBatch>, Error> {
        let interceptors = self.plan.interceptors.clone();
        let (topic, next) = self.next_of(&proto.topic, proto.partition);
        let batch = RecordBatch::from_proto(proto, topic)?;
        let mut batch = batch.seen_by(&interceptors);
        batch.skip_to(*next)?;
        if batch.is_empty() {
            return Ok(None);
        }
        *next = batch.next_offset();
        Ok(Some(batch))
    }

    fn next_of(&mut self, topic: &str, partition: i32) -> (Arc<str>, &mut i64) {
        let name = match self.progress.get_key_value(topic) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(topic),
        };
        let known = self.progress.entry(Arc::clone(&name)).or_default();
        (name, known.next.entry(partition).or_default())
    }
}

/// What comes next out of a session.
enum Next {
    Started(Vec<PartitionState>),
    Event(ProtoEvent),
    /// The session is over, but reading may go on.
    Broken(Error),
    /// Partitions were added, and only another session reads them.
    Grown,
    /// Reading cannot go on.
    Failed(Error),
    Ended,
}

impl Reading {
    fn poll_next(&mut self, context: &mut Context<'_>, plan: &Plan) -> Poll<Next> {
        if let Some(started) = self.started.take() {
            return Poll::Ready(Next::Started(started));
        }
        if self.grown.poll_unpin(context).is_ready() {
            return Poll::Ready(Next::Grown);
        }
        loop {
            let Poll::Ready(message) = self.events.poll_next_unpin(context) else {
                // Only when nothing is there: a reader that was busy elsewhere finds what arrived.
                ready!(self.silence.as_mut().poll(context));
                let message = "the stream was silent for three heartbeats";
                let error = Error::new(ErrorKind::Disconnected, message);
                return Poll::Ready(Next::Broken(error));
            };
            let now = Instant::now();
            self.silence.as_mut().reset(now + plan.heartbeat * MISSED_HEARTBEATS);
            match message {
                Some(Ok(SubscribeResponse { event: Some(event) })) => {
                    return Poll::Ready(Next::Event(event));
                }
                // An event of a later version, which was not asked for.
                Some(Ok(SubscribeResponse { event: None })) => {}
                Some(Err(status)) => {
                    return Poll::Ready(Next::Broken(Error::from_status(&status)));
                }
                None if plan.stop == Stop::Never => {
                    let error = Error::new(ErrorKind::Disconnected, "the broker ended the stream");
                    return Poll::Ready(Next::Broken(error));
                }
                None => return Poll::Ready(Next::Ended),
            }
        }
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumedRecord, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(records) = &mut this.current {
                match records.next() {
                    Some(Err(error)) => {
                        this.current = None;
                        this.state = State::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Some(record) => return Poll::Ready(Some(record)),
                    None => this.current = None,
                }
            }
            match ready!(this.poll_batch(context)) {
                Some(Ok(batch)) => this.current = Some(batch.into_iter()),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
