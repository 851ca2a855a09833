//! The streams of members of consumer groups that are open on this broker.
//!
//! The leader of a coordinator must know that they are: every second it is told so. A stream of
//! which it has not heard for [`LOST_AFTER`] is lost to it; and one whose broker could not tell it
//! for as long ends, because its partitions may soon be another's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use ropewalk_consensus::ProposalKind;
use ropewalk_core::{GroupId, MemberId};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::broker::Broker;
use crate::coordinator::{OpenStream, Question, coordinator_of};

/// Without a word for so long, a stream is thought to be broken. With the time that it takes to
/// notice, that is less than 10 s.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(8);
/// How often the leaders of coordinators are told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long one of them has to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How many streams are told of in one message.
const STREAMS_AT_A_TIME: usize = 2_000;

/// The streams of members that are open on this broker.
#[derive(Default)]
pub(crate) struct Members(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The session of each, by the place of its coordinator.
    open: BTreeMap<usize, BTreeMap<(String, MemberId), u32>>,
    /// When each coordinator's leader was last told, by its place.
    told: BTreeMap<usize, Instant>,
}

impl Members {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream is open.
    pub(crate) fn open(&self, group: &str, member: MemberId, session: u32) {
        let mut inner = self.lock();
        let open = inner.open.entry(coordinator_of(group)).or_default();
        open.insert((group.to_owned(), member), session);
    }

    /// A stream is over. One that came after it stays.
    pub(crate) fn close(&self, group: &str, member: MemberId, session: u32) {
        let mut inner = self.lock();
        let place = coordinator_of(group);
        let Some(open) = inner.open.get_mut(&place) else { return };
        let key = (group.to_owned(), member);
        if open.get(&key) == Some(&session) {
            open.remove(&key);
        }
        if open.is_empty() {
            inner.open.remove(&place);
        }
    }

    /// When the leader of a group's coordinator was last told what is open here.
    pub(crate) fn told(&self, group: &str) -> Option<Instant> {
        self.lock().told.get(&coordinator_of(group)).copied()
    }

    fn by_place(&self) -> Vec<(usize, Vec<OpenStream>)> {
        let inner = self.lock();
        let stream = |((group, member), session): (&(String, MemberId), &u32)| OpenStream {
            group: group.clone(),
            member: *member,
            session: *session,
        };
        let places = inner.open.iter();
        places.map(|(place, open)| (*place, open.iter().map(stream).collect())).collect()
    }
}

/// Tells the leaders of coordinators which streams are open here, for ever.
pub(crate) async fn tell(broker: Arc<Broker>) {
    let mut turns = interval(TELL_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let open = broker.members.by_place();
        join_all(open.into_iter().map(|(place, streams)| tell_one(&broker, place, streams))).await;
    }
}

async fn tell_one(broker: &Broker, place: usize, streams: Vec<OpenStream>) {
    let begun = Instant::now();
    let group = GroupId::COORDINATORS[place];
    let handle = broker.table.borrow().coordinators.get(&group).map(|found| found.handle.clone());
    let Some(handle) = handle else { return };
    for some in streams.chunks(STREAMS_AT_A_TIME) {
        let question = Question::Open(some.to_vec()).encode();
        let asked = handle.ask(|| ProposalKind::Query(question.clone()), None);
        if !matches!(timeout(ANSWER_WITHIN, asked).await, Ok(Ok(_))) {
            return;
        }
    }
    // As of when it was asked: the leader has heard of it later than that.
    broker.members.lock().told.insert(place, begun);
}
