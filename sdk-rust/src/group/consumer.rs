//! A member of a consumer group, as the application sees it: what it is given, and what it says.
//!
//! What the stream brings, and when it is opened anew, is in `stream`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::builder::{Handlers, Plan};
use super::committer::Committer;
use super::event::GroupEvent;
use super::holdings::SharedHoldings;
use super::session::{Session, open};
use super::stream::{Ahead, State};
use super::turns::Turns;
use crate::consumer::{ConsumedRecord, RecordBatch, Records};
use crate::error::Error;
use crate::offsets::{Era, Position};

/// How often a member that has records at hand looks what the broker says meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A member of a consumer group. Made by [`Group::consumer`](crate::Group::consumer).
///
/// The members of a group share the partitions of its topics: each has one owner at a time. When
/// members come and go, only partitions that move are stopped. When the connection breaks, it
/// reconnects, through any broker, and goes on where it stopped; when the group has gone on without
/// it, it tells what was lost and joins anew. When another member has taken its instance name, it
/// tells what was lost and ends ([`Error::is_instance_taken`]).
///
/// It is read by records ([`next`](GroupConsumer::next)), by batches
/// ([`next_batch`](GroupConsumer::next_batch), which is fastest), or by events
/// ([`next_event`](GroupConsumer::next_event)). What was given counts as done when it is asked for
/// more; that is what automatic commits keep.
///
/// ```no_run
/// # async fn run(client: ropewalk::Client) -> Result<(), ropewalk::Error> {
/// let mut consumer = client.group("billing").consumer().topic("orders").build().await?;
/// while let Some(record) = consumer.next().await {
///     println!("{:?}", record?.value);
/// }
/// # Ok(())
/// # }
/// ```
///
/// While records are at hand it looks ahead, ten times a second when it is asked for more: so a
/// revocation is seen, and what is done is committed, in the middle of a batch. It looks as far as
/// [`read_ahead_bytes`](crate::GroupConsumerBuilder::read_ahead_bytes): who handles slowly bounds
/// what is ahead of it by
/// [`max_records_in_flight`](crate::GroupConsumerBuilder::max_records_in_flight).
///
/// Dropping it leaves the group at once. What is done and not committed comes to another member
/// then; [`close`](GroupConsumer::close) commits it first.
pub struct GroupConsumer {
    pub(super) plan: Arc<Plan>,
    pub(super) holdings: SharedHoldings,
    turns: Turns,
    pub(super) handlers: Handlers,
    pub(super) state: State,
    /// The stream before, which stays open until the next one has taken its place.
    pub(super) former: Option<Session>,
    /// What is to be opened is old before it is open.
    pub(super) opens_again: bool,
    /// The batch whose records are being given.
    pub(super) current: Option<Records>,
    /// What the application is to be told of its partitions, before any more records.
    pub(super) news: VecDeque<GroupEvent>,
    /// What was read ahead. Bounded by the bytes that may be ahead, and one batch.
    pub(super) ready: VecDeque<Ahead>,
    /// What was revoked, was told, and is to be given back.
    pub(super) releasing: Vec<Position>,
    /// The application's handler of a revocation, which is under way.
    handling: Option<BoxFuture<'static, ()>>,
    /// A plan on its way.
    pub(super) submitting: Option<BoxFuture<'static, Result<(), Error>>>,
    /// When what is done is to be committed.
    pub(super) commit_at: Instant,
    /// Before this it is not, also when the broker waits for it.
    pub(super) may_commit_at: Instant,
    look_at: Instant,
}

impl fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupConsumer").field("holdings", &self.holdings).finish_non_exhaustive()
    }
}

impl GroupConsumer {
    pub(super) async fn start(plan: Plan, handlers: Handlers) -> Result<GroupConsumer, Error> {
        let (plan, holdings) = (Arc::new(plan), SharedHoldings::default());
        let patience = plan.reconnect_timeout.min(plan.client.request_timeout());
        let session = Box::pin(open(Arc::clone(&plan), holdings.clone(), patience)).await?;
        let mut consumer = GroupConsumer {
            plan,
            holdings,
            turns: Turns::default(),
            handlers,
            state: State::Ended,
            former: None,
            opens_again: false,
            current: None,
            news: VecDeque::new(),
            ready: VecDeque::new(),
            releasing: Vec::new(),
            handling: None,
            submitting: None,
            commit_at: Instant::now(),
            may_commit_at: Instant::now(),
            look_at: Instant::now() + LOOK_EVERY,
        };
        consumer.begin(session);
        Ok(consumer)
    }

    /// The next record. `None` after an error, or after it was closed.
    ///
    /// Dropping the future loses nothing: also not a handler that has begun, which the next call
    /// finishes first.
    ///
    /// # Errors
    ///
    /// What cannot be mended by reconnecting: a topic that was deleted, a batch that cannot be
    /// decoded, an instance name that another member has taken, no broker for the reconnect
    /// timeout. Then the consumer has ended.
    pub async fn next(&mut self) -> Option<Result<ConsumedRecord, Error>> {
        loop {
            if let Some(next) = self.next_at_hand() {
                return Some(next);
            }
            self.finish_handling().await;
            if let Err(error) = self.look_when_due().await {
                return Some(Err(error));
            }
            if let Some(news) = self.news.pop_front() {
                let news = self.hand_out(news);
                self.tell(news);
            } else if self.current.is_none() {
                match self.next_batch().await? {
                    Ok(batch) => self.current = Some(batch.records()),
                    Err(error) => return Some(Err(error)),
                }
                // It was not given yet: its records are.
                self.take_back();
            }
        }
    }

    /// The next record of the batch at hand, where nothing else is to be done before.
    fn next_at_hand(&mut self) -> Option<Result<ConsumedRecord, Error>> {
        if self.handling.is_some() || !self.news.is_empty() || self.is_look_due(Instant::now()) {
            return None;
        }
        let records = self.current.as_mut()?;
        let (place, era) = (records.place(), records.era());
        // A commit of it may have been refused: what is left is another member's then, and nobody
        // is shown it.
        let is_read = self.holdings.lock().reads(&place, era);
        let next = if is_read { records.next() } else { None };
        match next {
            Some(Ok(record)) => {
                self.holdings.lock().give_next(place, record.offset + 1);
                Some(Ok(record))
            }
            Some(Err(error)) => Some(Err(self.fail(error))),
            None => {
                self.current = None;
                None
            }
        }
    }

    /// The next batch of records, or what is left of the one whose records are being read.
    ///
    /// Dropping the future loses nothing, as with [`next`](GroupConsumer::next).
    ///
    /// # Errors
    ///
    /// As [`next`](GroupConsumer::next).
    pub async fn next_batch(&mut self) -> Option<Result<RecordBatch, Error>> {
        loop {
            let event = match self.next_event().await? {
                Ok(event) => event,
                Err(error) => return Some(Err(error)),
            };
            if let Some(batch) = self.tell(event) {
                return Some(Ok(batch));
            }
        }
    }

    /// The next event.
    ///
    /// Dropping the future loses nothing, as with [`next`](GroupConsumer::next).
    ///
    /// # Errors
    ///
    /// As [`next`](GroupConsumer::next).
    pub async fn next_event(&mut self) -> Option<Result<GroupEvent, Error>> {
        self.finish_handling().await;
        self.put_back();
        loop {
            self.holdings.lock().finish();
            if let Err(error) = self.look_when_due().await {
                return Some(Err(error));
            }
            self.settle().await;
            if let Some(event) = self.news.pop_front().or_else(|| self.next_ahead()) {
                return Some(Ok(self.hand_out(event)));
            }
            let next = self.wait().await?;
            if let Err(error) = self.take(next) {
                return Some(Err(self.fail(error)));
            }
        }
    }

    /// The records as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<ConsumedRecord, Error>> + Send {
        futures::stream::unfold(self, async |mut consumer| {
            let next = consumer.next().await?;
            Some((next, consumer))
        })
    }

    /// What the member has, each with the offset after the last record that was given of it. What
    /// was given back is not among it, also when the answer to that was lost.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        self.holdings.lock().positions()
    }

    /// The place after a record that [`next`](GroupConsumer::next) has just given: for those who
    /// hand records on, and commit them when they are done. The commit is refused if another member
    /// has had the partition meanwhile.
    #[must_use]
    pub fn position_after(&self, record: &ConsumedRecord) -> Position {
        let holdings = self.holdings.lock();
        let held = holdings.held.get(&(Arc::clone(&record.topic), record.partition));
        let era = held.map_or_else(Era::default, |held| held.era);
        Position { era, ..Position::new(&*record.topic, record.partition, record.offset + 1) }
    }

    /// Commits all that was given.
    ///
    /// # Errors
    ///
    /// As [`Committer::commit`].
    pub fn commit(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (committer, positions) = (self.committer(), self.positions());
        async move { committer.commit(positions).await }
    }

    /// Commits for this member, from anywhere.
    #[must_use]
    pub fn committer(&self) -> Committer {
        Committer::new(
            self.plan.client.clone(),
            Arc::clone(&self.plan.group),
            self.holdings.clone(),
            self.turns.clone(),
        )
    }

    /// Reads nothing of these partitions until they are resumed. They stay the member's; what of
    /// them is on its way is dropped here and comes again.
    ///
    /// It opens the stream anew, as resuming and seeking do: what was read ahead of all partitions
    /// is read again. It is no means for each record.
    pub fn pause(&mut self, partitions: impl IntoIterator<Item = (String, i32)>) {
        self.set_paused(partitions, true);
    }

    /// Reads partitions again that were paused.
    pub fn resume(&mut self, partitions: impl IntoIterator<Item = (String, i32)>) {
        self.set_paused(partitions, false);
    }

    fn set_paused(&mut self, partitions: impl IntoIterator<Item = (String, i32)>, is_paused: bool) {
        {
            let mut holdings = self.holdings.lock();
            for (topic, partition) in partitions {
                if let Some(held) = holdings.held.get_mut(&(Arc::from(topic), partition)) {
                    held.is_paused = is_paused;
                }
            }
        }
        self.reopen();
    }

    /// Goes on elsewhere in partitions that the member has. What is committed stays until the next
    /// commit.
    pub fn seek(&mut self, positions: impl IntoIterator<Item = Position>) {
        {
            let mut holdings = self.holdings.lock();
            for at in positions {
                holdings.seek(&(Arc::from(at.topic), at.partition), at.offset);
            }
        }
        self.reopen();
    }

    /// Commits what was given, unless the application commits by itself, and leaves the group. A
    /// static member is waited for instead.
    ///
    /// # Errors
    ///
    /// Those of the commit. The member has left all the same.
    pub async fn close(mut self) -> Result<(), Error> {
        self.finish_handling().await;
        self.holdings.lock().finish();
        if self.plan.auto_commit.is_none() {
            return Ok(());
        }
        let positions = self.holdings.lock().uncommitted();
        if positions.is_empty() {
            return Ok(());
        }
        self.committer().keep_most(positions, Vec::new()).await
    }

    /// Waits for the handler that has begun, now or in a call that was given up.
    async fn finish_handling(&mut self) {
        if let Some(handling) = &mut self.handling {
            handling.await;
            self.handling = None;
        }
    }

    /// Tells the handlers of an event. Returns the batch that it is.
    fn tell(&mut self, event: GroupEvent) -> Option<RecordBatch> {
        let handlers = &mut self.handlers;
        match event {
            GroupEvent::Batch(batch) => return Some(batch),
            GroupEvent::Assigned(states) => {
                if let Some(handler) = &mut handlers.assigned {
                    handler(states);
                }
            }
            GroupEvent::Revoked(revoked) => {
                self.handling = handlers.revoked.as_mut().map(|handler| handler(revoked));
            }
            GroupEvent::Lost(positions) => {
                if let Some(handler) = &mut handlers.lost {
                    handler(positions);
                }
            }
            GroupEvent::Gap(gap) => match &mut handlers.gap {
                Some(handler) => handler(gap),
                None => tracing::warn!(?gap, "records are gone unread"),
            },
            GroupEvent::CaughtUp(_) => {}
        }
        None
    }

    /// What is left of the batch whose records are being given is read ahead, and no more.
    fn put_back(&mut self) {
        let Some(rest) = self.current.take().map(Records::into_rest) else { return };
        if !rest.is_empty() {
            self.ready.push_front(Ahead::batch(rest));
        }
    }

    /// A batch was not given as a whole, but its records are, one by one.
    fn take_back(&self) {
        let Some(records) = &self.current else { return };
        self.holdings.lock().give(&records.place(), records.offset());
    }

    fn hand_out(&mut self, event: GroupEvent) -> GroupEvent {
        match &event {
            GroupEvent::Batch(batch) => {
                let place = (Arc::clone(batch.topic()), batch.partition());
                self.holdings.lock().give(&place, batch.next_offset());
            }
            // Whoever has the partition next need not meet it again.
            GroupEvent::Gap(gap) => {
                let place = (Arc::from(gap.topic.as_str()), gap.partition);
                self.holdings.lock().give(&place, gap.to_offset);
            }
            GroupEvent::Revoked(revoked) => self.releasing.extend_from_slice(&revoked.positions),
            _ => {}
        }
        event
    }

    /// The next event that was read ahead and is to be given still.
    fn next_ahead(&mut self) -> Option<GroupEvent> {
        let holdings = self.holdings.lock();
        let is_read = |ahead: &Ahead| holdings.reads(&ahead.place, ahead.era);
        while let Some(ahead) = self.ready.pop_front() {
            if is_read(&ahead) {
                return Some(ahead.event);
            }
        }
        None
    }

    /// Looks at times what has come and what is due, for an application that has enough to do with
    /// what it has.
    async fn look_when_due(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if !self.is_look_due(now) {
            return Ok(());
        }
        self.look_at = now + LOOK_EVERY;
        self.holdings.lock().finish();
        if let Err(error) = self.look() {
            return Err(self.fail(error));
        }
        self.settle().await;
        Ok(())
    }

    fn is_look_due(&self, now: Instant) -> bool {
        now >= self.look_at || !self.releasing.is_empty()
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = State::Ended;
        (self.former, self.current) = (None, None);
        self.ready.clear();
        error
    }

    /// When what is done is to be committed, if the application does not do it itself. A member at
    /// its limit in flight is sent nothing more until it commits: with nothing at hand it does so
    /// at once.
    pub(super) fn commit_due(&self) -> Option<Instant> {
        self.plan.auto_commit?;
        let has_nothing = self.current.is_none() && self.ready.is_empty();
        Some(match self.plan.in_flight {
            Some(_) if has_nothing => self.commit_at.min(self.may_commit_at),
            _ => self.commit_at,
        })
    }

    /// Commits what is due, and gives back what was revoked and told.
    async fn settle(&mut self) {
        let is_due = self.commit_due().is_some_and(|at| Instant::now() >= at);
        let interval = self.plan.auto_commit.filter(|_| is_due || !self.releasing.is_empty());
        let positions = match interval {
            Some(_) => self.holdings.lock().uncommitted(),
            None => Vec::new(),
        };
        if !positions.is_empty() || !self.releasing.is_empty() {
            let (committer, mut pause) = (self.committer(), LOOK_EVERY);
            if let Err(error) = committer.keep_most(positions, self.releasing.clone()).await {
                // The stream tells what was lost.
                tracing::warn!(%error, "what is done could not be committed");
                self.drop_lost();
                pause = self.plan.auto_commit.unwrap_or_default();
            }
            // What could not be given back is taken at the deadline.
            self.releasing.clear();
            self.may_commit_at = Instant::now() + pause;
        }
        if let Some(interval) = interval {
            self.commit_at = Instant::now() + interval;
        }
    }
}
