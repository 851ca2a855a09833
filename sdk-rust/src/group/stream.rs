//! What the stream of a member brings, and how it is opened anew.
//!
//! What comes is taken up at once: the member's partitions are always what the broker last said.
//! What is to be told of it waits in the consumer's queues.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ropewalk_proto::broker as proto;
use ropewalk_proto::broker::subscribe_response::Event as ProtoEvent;
use tokio::time::{Instant, sleep_until};

use super::consumer::GroupConsumer;
use super::event::{GroupEvent, Revoked};
use super::holdings::{Held, Place};
use super::planning;
use super::session::{FENCED, Session, open};
use crate::consumer::{Gap, RecordBatch};
use crate::error::{Error, ErrorKind};
use crate::offsets::{Era, Position};

/// This many heartbeats that are missing mean that the connection is dead.
const MISSED_HEARTBEATS: u32 = 3;

/// What an event that waits costs beside its records.
const EVENT_BYTES: usize = 256;

pub(super) enum State {
    Reading(Box<Reading>),
    Opening(BoxFuture<'static, Result<Session, Error>>),
    /// It ends with this, once what was lost is told.
    Ending(Error),
    Ended,
}

pub(super) struct Reading {
    session: Session,
    /// The first assignment says everything that the member has.
    is_first: bool,
    /// What has come of an assignment that takes several messages.
    part: Option<proto::Assignment>,
    /// When the stream counts as dead.
    silence: Instant,
}

/// What comes next.
pub(super) enum Next {
    Event(ProtoEvent),
    Opened(Box<Session>),
    Broken(Error),
    Ends(Error),
    /// Something is to be committed, or nothing at all is to be done.
    Nothing,
}

/// An event of a partition that was read ahead.
pub(super) struct Ahead {
    pub(super) place: Place,
    pub(super) era: Era,
    bytes: usize,
    pub(super) event: GroupEvent,
}

impl Ahead {
    pub(super) fn batch(batch: RecordBatch) -> Ahead {
        Ahead {
            place: (Arc::clone(batch.topic()), batch.partition()),
            era: batch.era(),
            bytes: batch.bytes() + EVENT_BYTES,
            event: GroupEvent::Batch(batch),
        }
    }
}

impl GroupConsumer {
    /// Waits for what comes next; `None` when the consumer has ended. Nothing is lost when the wait
    /// is given up.
    pub(super) async fn wait(&mut self) -> Option<Next> {
        let commit_at = self.commit_due().filter(|_| self.holdings.lock().has_uncommitted());
        let reading = match &mut self.state {
            State::Ended => return None,
            State::Ending(error) => return Some(Next::Ends(error.clone())),
            State::Opening(opening) => {
                return Some(match opening.await {
                    Ok(session) => Next::Opened(Box::new(session)),
                    Err(error) => Next::Broken(error),
                });
            }
            State::Reading(reading) => reading,
        };
        let silence = reading.silence;
        let submitting = &mut self.submitting;
        let submitted = async {
            match submitting {
                Some(submitting) => submitting.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The stream first: after a long time of handling its messages are there, and it is not
            // dead, although nobody has looked at it.
            biased;
            message = reading.session.events.message() => {
                reading.silence = Instant::now() + self.plan.heartbeat * MISSED_HEARTBEATS;
                Some(match message {
                    Ok(Some(proto::SubscribeResponse { event: Some(event) })) => Next::Event(event),
                    // An event that a later version has.
                    Ok(Some(_)) => Next::Nothing,
                    Ok(None) => Next::Broken(ended()),
                    Err(status) => Next::Broken(Error::from_status(&status)),
                })
            }
            () = sleep_until(silence) => Some(Next::Broken(silent())),
            () = sleep_until(commit_at.unwrap_or(silence)), if commit_at.is_some() => {
                Some(Next::Nothing)
            }
            result = submitted => {
                self.submitting = None;
                if let Err(error) = result {
                    tracing::warn!(%error, "the plan was not taken: the broker assigns instead");
                }
                Some(Next::Nothing)
            }
        }
    }

    /// Takes what has come, without waiting, as far as it may be ahead of what was given.
    ///
    /// # Errors
    /// As [`take`](GroupConsumer::take).
    pub(super) fn look(&mut self) -> Result<(), Error> {
        let bound = usize::try_from(self.plan.read_ahead_bytes).unwrap_or(usize::MAX);
        let mut ahead: usize = self.ready.iter().map(|ahead| ahead.bytes).sum();
        while ahead < bound && !matches!(self.state, State::Ending(_)) {
            match self.wait().now_or_never().flatten() {
                None | Some(Next::Nothing) => return Ok(()),
                Some(next) => self.take(next)?,
            }
            ahead += self.ready.back().map_or(0, |last| last.bytes);
        }
        Ok(())
    }

    /// Takes up what has come.
    ///
    /// # Errors
    /// What ends the consumer.
    pub(super) fn take(&mut self, next: Next) -> Result<(), Error> {
        match next {
            Next::Event(event) => self.received(event),
            Next::Opened(session) => {
                self.begin(*session);
                if std::mem::take(&mut self.opens_again) {
                    self.reopen();
                }
                Ok(())
            }
            Next::Broken(error) => self.broken(error),
            Next::Ends(error) => Err(error),
            Next::Nothing => Ok(()),
        }
    }

    pub(super) fn begin(&mut self, session: Session) {
        let started = &session.started;
        self.holdings.lock().begin(started.member_id.clone(), started.generation);
        let silence = Instant::now() + self.plan.heartbeat * MISSED_HEARTBEATS;
        self.state =
            State::Reading(Box::new(Reading { session, is_first: true, part: None, silence }));
        self.former = None;
        if let Some(interval) = self.plan.auto_commit {
            self.commit_at = Instant::now() + interval;
            self.may_commit_at = Instant::now();
        }
    }

    /// Opens a stream anew, from what was given.
    ///
    /// What was read ahead is dropped. So the next stream goes on with a partition only where the
    /// group has been left by this member: if another one had the partition in between and has read
    /// what was read ahead here, it begins anew there, with nothing of before.
    pub(super) fn reopen(&mut self) {
        self.drop_ahead();
        match &self.state {
            State::Ended | State::Ending(_) => return,
            // It may have joined already, and one that is given up would leave.
            State::Opening(_) => {
                self.opens_again = true;
                return;
            }
            State::Reading(_) => {}
        }
        let opening = self.opening();
        let reading = std::mem::replace(&mut self.state, opening);
        if let State::Reading(reading) = reading {
            // A stream that is closed leaves the group: not before the next one has its place.
            self.former = Some(reading.session);
        }
    }

    fn broken(&mut self, error: Error) -> Result<(), Error> {
        let is_opening = matches!(self.state, State::Opening(_));
        if error.reason() == FENCED {
            let lost = self.holdings.lock().end();
            self.releasing.clear();
            if !lost.is_empty() {
                self.news.push_back(GroupEvent::Lost(lost));
            }
            if error.is_instance_taken() {
                self.drop_ahead();
                (self.state, self.former) = (State::Ending(error), None);
                return Ok(());
            }
        } else if !error.is_retriable() || is_opening {
            return Err(error);
        }
        tracing::debug!(%error, "a member of a consumer group reconnects");
        if let State::Reading(reading) = &self.state {
            self.plan.client.connector().avoid(&reading.session.connection);
        }
        if is_opening {
            // What was opening has failed, and says nothing any more that could be out of date.
            self.state = self.opening();
            self.opens_again = false;
            self.drop_ahead();
        } else {
            self.reopen();
        }
        Ok(())
    }

    fn opening(&self) -> State {
        let patience = self.plan.reconnect_timeout;
        State::Opening(open(Arc::clone(&self.plan), self.holdings.clone(), patience).boxed())
    }

    fn drop_ahead(&mut self) {
        self.holdings.lock().rewind();
        self.current = None;
        self.ready.clear();
    }

    fn received(&mut self, event: ProtoEvent) -> Result<(), Error> {
        match event {
            ProtoEvent::Assignment(assignment) => self.assigned(assignment),
            ProtoEvent::Batch(batch) => return self.batch(batch),
            ProtoEvent::Gap(gap) => {
                let to = gap.to_offset;
                let gap = Gap {
                    topic: gap.topic,
                    partition: gap.partition,
                    from_offset: gap.from_offset,
                    to_offset: gap.to_offset,
                };
                let place = (Arc::from(gap.topic.as_str()), gap.partition);
                self.ahead(place, Some(to), GroupEvent::Gap(gap));
            }
            ProtoEvent::CaughtUp(at) => {
                let place = (Arc::from(at.topic.as_str()), at.partition);
                let at = Position::new(at.topic, at.partition, at.offset);
                self.ahead(place, None, GroupEvent::CaughtUp(at));
            }
            ProtoEvent::PlanRequest(request) => {
                if let Some(planner) = &mut self.handlers.planner {
                    let member_id = self.holdings.lock().identity().0;
                    let plan = planning::submission(&self.plan.group, member_id, request, planner);
                    let client = self.plan.client.clone();
                    // One that is on its way still answers an older request.
                    self.submitting = Some(planning::submit(client, plan).boxed());
                }
            }
            ProtoEvent::Started(_) | ProtoEvent::Heartbeat(_) => {}
        }
        Ok(())
    }

    /// An event of a partition comes after the records that were read ahead of it.
    fn ahead(&mut self, place: Place, next: Option<i64>, event: GroupEvent) {
        let mut holdings = self.holdings.lock();
        let Some(held) = holdings.held.get_mut(&place).filter(|held| held.is_read()) else {
            return;
        };
        held.next = next.unwrap_or(held.next);
        let era = held.era;
        self.ready.push_back(Ahead { place, era, bytes: EVENT_BYTES, event });
    }

    fn batch(&mut self, proto: proto::RecordBatch) -> Result<(), Error> {
        let place: Place = (Arc::from(proto.topic.as_str()), proto.partition);
        let is_read = |(_, held): &(&Place, &Held)| held.is_read();
        let found = {
            let holdings = self.holdings.lock();
            let found = holdings.held.get_key_value(&place).filter(is_read);
            found.map(|((topic, _), held)| (Arc::clone(topic), held.era, held.next))
        };
        let Some((topic, era, next)) = found else { return Ok(()) };
        // It may be long to unpack: whoever commits does not wait for it.
        let batch = RecordBatch::from_proto(proto, topic)?.of_era(era);
        let mut batch = batch.seen_by(&self.plan.interceptors);
        batch.skip_to(next)?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut holdings = self.holdings.lock();
        // The broker may have refused a commit of it meanwhile.
        if let Some(held) = holdings.held.get_mut(&place).filter(|held| held.is_read()) {
            held.next = batch.next_offset();
            self.ready.push_back(Ahead::batch(batch));
        }
        Ok(())
    }

    fn assigned(&mut self, assignment: proto::Assignment) {
        let State::Reading(reading) = &mut self.state else { return };
        let Some(assignment) = gather(&mut reading.part, assignment) else { return };
        let is_first = std::mem::take(&mut reading.is_first);
        let changes = self.holdings.lock().apply(assignment, is_first);
        self.drop_lost();
        if !changes.lost.is_empty() {
            self.news.push_back(GroupEvent::Lost(changes.lost));
        }
        if !changes.fresh.is_empty() {
            self.news.push_back(GroupEvent::Assigned(changes.fresh));
        }
        for (positions, deadline) in changes.revoked {
            let committer = self.committer().of(&positions);
            self.news.push_back(GroupEvent::Revoked(Revoked { positions, deadline, committer }));
        }
    }

    /// Drops what was read ahead of partitions that are no longer read.
    pub(super) fn drop_lost(&mut self) {
        let holdings = self.holdings.lock();
        self.ready.retain(|ahead| holdings.reads(&ahead.place, ahead.era));
        self.current =
            self.current.take().filter(|records| holdings.reads(&records.place(), records.era()));
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Disconnected, "the stream of a member ended")
}

fn silent() -> Error {
    Error::new(ErrorKind::Disconnected, "nothing was heard of the broker for three heartbeats")
}

/// Adds a message to an assignment; gives the assignment once it is whole.
fn gather(
    part: &mut Option<proto::Assignment>,
    next: proto::Assignment,
) -> Option<proto::Assignment> {
    let mut whole = part.take().unwrap_or_default();
    whole.generation = next.generation;
    whole.ended.extend(next.ended);
    whole.assigned.extend(next.assigned);
    whole.revoked.extend(next.revoked);
    if next.more {
        *part = Some(whole);
        return None;
    }
    Some(whole)
}
