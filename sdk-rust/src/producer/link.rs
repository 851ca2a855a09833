//! One way to a broker: its connection, its stream, and the batches in flight on it. It knows
//! nothing of partitions; what becomes of batches is the sender's.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use ropewalk_proto::broker::{ProduceRequest, ProduceStreamRequest};
use ropewalk_proto::v1::ProduceStreamResponse;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::batch::Batch;
use super::stream::ProduceStream;
use crate::backoff::Backoff;
use crate::connector::Connection;
use crate::error::{Error, ErrorKind};

/// How long a stream that was closed in order may take to end.
const FAREWELL: Duration = Duration::from_secs(1);
/// A link on which nothing was in flight for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// A way to a broker.
pub(super) struct Link {
    state: State,
    backoff: Backoff,
    in_flight: BTreeMap<u64, Batch>,
    /// There, while the stream had no room for what is ready.
    room: Option<BoxFuture<'static, ()>>,
    /// When something was last sent while nothing was in flight, or answered.
    heard: Instant,
}

/// The connection, or what is being done about it.
enum State {
    Down,
    Resting(Pin<Box<Sleep>>),
    Opening(BoxFuture<'static, Result<Connection, Error>>),
    Up(Box<ProduceStream>),
}

/// What happened to a link.
pub(super) enum LinkEvent {
    Answer(Box<ProduceStreamResponse>),
    /// The stream ended.
    Broken(Error),
    Opened(Result<Connection, Error>),
    Rested,
    Room,
}

/// A batch that was in flight on a link that broke, and whether it may have been sent.
pub(super) struct Stranded {
    pub(super) batch: Batch,
    pub(super) sent: bool,
}

impl Link {
    pub(super) fn new() -> Link {
        Link {
            state: State::Down,
            backoff: Backoff::default(),
            in_flight: BTreeMap::new(),
            room: None,
            heard: Instant::now(),
        }
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, State::Down)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The connection that is in use.
    pub(super) fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Up(stream) => Some(&stream.connection),
            _ => None,
        }
    }

    pub(super) fn connect(&mut self, connecting: BoxFuture<'static, Result<Connection, Error>>) {
        self.state = State::Opening(connecting);
    }

    pub(super) fn open(&mut self, stream: ProduceStream) {
        self.state = State::Up(Box::new(stream));
        self.heard = Instant::now();
    }

    /// Leaves it alone for a while, never shorter than what the broker asked for.
    pub(super) fn rest(&mut self, at_least: Option<Duration>) -> Duration {
        let rest = self.backoff.next(at_least);
        self.state = State::Resting(Box::pin(sleep_until(Instant::now() + rest)));
        rest
    }

    pub(super) fn rested(&mut self) {
        self.state = State::Down;
    }

    /// Whether the stream takes another batch. If not, [`LinkEvent::Room`] tells when it does.
    pub(super) fn has_room(&mut self) -> bool {
        let State::Up(stream) = &self.state else { return false };
        if stream.requests.capacity() > 0 {
            return true;
        }
        let requests = stream.requests.clone();
        self.room.get_or_insert_with(|| {
            // A stream that ended says so itself.
            async move { drop(requests.reserve_owned().await) }.boxed()
        });
        false
    }

    /// Gives a batch to the stream, which has room for it.
    pub(super) fn send(&mut self, correlation: u64, request: ProduceRequest, batch: Batch) {
        if self.in_flight.is_empty() {
            self.heard = Instant::now();
        }
        if let State::Up(stream) = &self.state {
            let request = ProduceStreamRequest { correlation, request: Some(request) };
            // It has room; where the stream has ended, the end tells what was not taken.
            let _ = stream.requests.try_send(request);
        }
        self.in_flight.insert(correlation, batch);
    }

    /// The batch that was answered, unless it was given up on.
    pub(super) fn answered(&mut self, correlation: u64) -> Option<Batch> {
        self.backoff.reset();
        self.heard = Instant::now();
        self.in_flight.remove(&correlation)
    }

    /// The stream has ended, or is given up: what was in flight on it, in order.
    pub(super) fn broken(&mut self) -> Vec<Stranded> {
        self.room = None;
        let last_sent = match std::mem::replace(&mut self.state, State::Down) {
            State::Up(stream) => stream.end(),
            _ => 0,
        };
        let stranded = std::mem::take(&mut self.in_flight).into_iter();
        let of = |(correlation, batch)| Stranded { sent: correlation <= last_sent, batch };
        stranded.map(of).collect()
    }

    /// The queues of the batches in flight.
    pub(super) fn queues(&self) -> Vec<usize> {
        self.in_flight.values().map(|batch| batch.queue).collect()
    }

    /// Whether answers have been awaited in vain for so long.
    pub(super) fn is_silent(&self, now: Instant, after: Duration) -> bool {
        !self.in_flight.is_empty() && self.heard + after < now
    }

    /// Takes out the batches in flight that were begun before `oldest`.
    pub(super) fn late(&mut self, oldest: Instant) -> Vec<Batch> {
        let late = self.in_flight.extract_if(.., |_, batch| batch.opened < oldest);
        late.map(|(_, batch)| batch).collect()
    }

    /// When it has been idle for so long that it is to be closed.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        (self.is_up() && self.in_flight.is_empty()).then(|| self.heard + IDLE)
    }

    /// Ends the stream in order.
    pub(super) async fn close(self) {
        if let State::Up(stream) = self.state {
            drop(self.room);
            let ProduceStream { requests, answers, .. } = *stream;
            drop(requests);
            // Nothing is awaited any more: this only spares the broker a stream that is cut off.
            let _ = timeout(FAREWELL, answers.for_each(|_| std::future::ready(()))).await;
        }
    }

    pub(super) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<LinkEvent> {
        match &mut self.state {
            State::Down => Poll::Pending,
            State::Resting(rest) => {
                ready!(rest.as_mut().poll(context));
                Poll::Ready(LinkEvent::Rested)
            }
            State::Opening(connecting) => connecting.as_mut().poll(context).map(LinkEvent::Opened),
            State::Up(stream) => {
                if let Poll::Ready(answer) = stream.answers.poll_next_unpin(context) {
                    return Poll::Ready(match answer {
                        Some(Ok(answer)) => LinkEvent::Answer(Box::new(answer)),
                        Some(Err(status)) => LinkEvent::Broken(Error::from_status(&status)),
                        None => LinkEvent::Broken(ended()),
                    });
                }
                let Some(room) = &mut self.room else { return Poll::Pending };
                ready!(room.as_mut().poll(context));
                self.room = None;
                Poll::Ready(LinkEvent::Room)
            }
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Disconnected, "the broker ended the stream")
}
