//! A consumer group as one broker sees it change.
//!
//! Where the broker has a replica of the coordinator, its machine tells each change; what is
//! committed is the same everywhere, so this needs no leader. Elsewhere the leader is asked, once
//! for all that watch the group, and answers when there is news.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ropewalk_consensus::{ProposalKind, ProposeError};
use ropewalk_core::{GroupId, Offset};
use ropewalk_groups::TopicPartition;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::broker::Broker;
use crate::coordinator::{
    Known, Question, Seen, SharedState, Sight, Watched, coordinator_of, decode_sight,
};
use crate::table::TableWatch;

/// The pause between two questions to a coordinator that has no replica here.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The pause between two looks at what a group has committed.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is looked all the same when nothing is told.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// The groups that are asked for elsewhere.
#[derive(Default)]
pub(crate) struct Asked(Mutex<BTreeMap<String, Watched>>);

impl Asked {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer group as it is seen to change.
pub struct Sights {
    broker: Arc<Broker>,
    group: String,
    table: TableWatch,
    source: watch::Receiver<Sight>,
    /// What this broker's replica of the coordinator has, where that is the source.
    here: Option<SharedState>,
    last: Sight,
}

impl Sights {
    pub(crate) fn open(broker: &Arc<Broker>, group: &str) -> Self {
        let table = broker.watch_table();
        let here = here(broker, group);
        let mut source = source(broker, group, here.as_ref());
        let last = source.borrow_and_update().clone();
        let (broker, group) = (Arc::clone(broker), group.to_owned());
        Self { broker, group, table, source, here, last }
    }

    /// What was seen last.
    #[must_use]
    pub fn last(&self) -> &Sight {
        &self.last
    }

    /// Waits until the group is seen to have changed. Nothing is lost when the wait is given up.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                changed = self.source.changed() => {
                    if changed.is_err() {
                        // Whoever asked has stopped, as nobody watched.
                        self.look_elsewhere();
                        continue;
                    }
                    let seen = self.source.borrow_and_update().clone();
                    // A replica that is new here may be behind the one before.
                    if seen.index >= self.last.index {
                        self.last = seen;
                        return;
                    }
                }
                changed = self.table.changed() => {
                    if changed.is_err() {
                        // The broker stops.
                        return std::future::pending().await;
                    }
                    let now = here(&self.broker, &self.group);
                    let is_same = match (&now, &self.here) {
                        (Some(now), Some(before)) => now.is(before),
                        (None, None) => true,
                        _ => false,
                    };
                    if !is_same {
                        self.look_elsewhere();
                    }
                }
            }
        }
    }

    fn look_elsewhere(&mut self) {
        self.here = here(&self.broker, &self.group);
        self.source = source(&self.broker, &self.group, self.here.as_ref());
        self.source.mark_changed();
    }
}

/// What this broker's replica of a group's coordinator has, if it has one.
fn here(broker: &Broker, group: &str) -> Option<SharedState> {
    let table = broker.table.borrow();
    let coordinator = table.coordinators.get(&GroupId::COORDINATORS[coordinator_of(group)]);
    coordinator.and_then(|coordinator| coordinator.state.clone())
}

fn source(broker: &Arc<Broker>, group: &str, here: Option<&SharedState>) -> watch::Receiver<Sight> {
    match here {
        Some(state) => state.watch(group),
        None => elsewhere(broker, group, |watched| watched.sight.subscribe()),
    }
}

/// Watches a group that is asked for elsewhere.
fn elsewhere<T>(broker: &Arc<Broker>, group: &str, of: impl Fn(&Watched) -> T) -> T {
    let mut asked = broker.asked.lock();
    if let Some(watched) = asked.get(group) {
        return of(watched);
    }
    let watched = asked.entry(group.to_owned()).or_default();
    let watching = of(watched);
    tokio::spawn(ask(Arc::clone(broker), group.to_owned()));
    watching
}

/// Asks for a group again and again, while somebody watches it.
async fn ask(broker: Arc<Broker>, group: String) {
    let mut known = None;
    loop {
        let question = Question::Group(group.clone(), known);
        let answer = broker.ask_coordinator(&group, &question).await;
        {
            let mut asked = broker.asked.lock();
            let Some(watched) = asked.get(&group) else { return };
            if watched.is_left() {
                asked.remove(&group);
                return;
            }
            if let Ok(answer) = answer
                && let Ok(Seen { index, commits, sight }) = decode_sight(&group, &answer)
            {
                if let Some(sight) = sight {
                    watched.sight.send_replace(sight);
                }
                watched
                    .commits
                    .send_if_modified(|known| std::mem::replace(known, commits) != commits);
                let wants_commits = watched.commits.receiver_count() > 0;
                let commits = wants_commits.then_some(commits);
                known = Some(Known { sight: index, commits });
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// What a consumer group commits, as it is seen to.
pub struct Commits {
    broker: Arc<Broker>,
    group: String,
    source: watch::Receiver<u64>,
    /// When it is looked next, where nothing is told before.
    looks_by: Instant,
    looked: Instant,
}

impl Commits {
    /// Waits until the group may have committed. Nothing is lost when the wait is given up.
    pub async fn changed(&mut self) {
        sleep_until(self.looked + LOOK_EVERY).await;
        match timeout_at(self.looks_by, self.source.changed()).await {
            Ok(Ok(())) => {}
            // The coordinator may have moved here, or away.
            Ok(Err(_)) | Err(_) => self.source = self.broker.commits(&self.group),
        }
        self.looked = Instant::now();
        self.looks_by = self.looked + LOOK_AT_LEAST;
    }

    /// What is committed of these, which may be a moment late where this broker has a replica of
    /// the coordinator. Elsewhere the leader is asked.
    pub async fn of(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Offset)>, ProposeError> {
        if let Some(state) = here(&self.broker, &self.group) {
            let state = state.lock();
            let committed = |key: &TopicPartition| {
                let known = state.offsets.get(&self.group, key.0, key.1)?;
                Some((*key, known.offset))
            };
            return Ok(partitions.iter().filter_map(committed).collect());
        }
        let positions = self.broker.positions(&self.group).await?.into_iter();
        Ok(positions.map(|(topic, id, known)| ((topic, id), known.offset)).collect())
    }
}

impl Broker {
    /// Watches a consumer group.
    #[must_use]
    pub fn watch_group(self: &Arc<Self>, group: &str) -> Sights {
        Sights::open(self, group)
    }

    /// Watches what a consumer group commits.
    #[must_use]
    pub fn watch_commits(self: &Arc<Self>, group: &str) -> Commits {
        let (source, now) = (self.commits(group), Instant::now());
        let (broker, group) = (Arc::clone(self), group.to_owned());
        Commits { broker, group, source, looks_by: now + LOOK_AT_LEAST, looked: now }
    }

    fn commits(self: &Arc<Self>, group: &str) -> watch::Receiver<u64> {
        match here(self, group) {
            Some(state) => state.watch_commits(group),
            None => elsewhere(self, group, |watched| watched.commits.subscribe()),
        }
    }

    /// A consumer group as it is, with everything that was answered before this is called.
    pub async fn group_now(&self, group: &str) -> Result<Sight, ProposeError> {
        let answer = self.ask_coordinator(group, &Question::Group(group.to_owned(), None)).await?;
        // What cannot be read comes from a broker of another version: somebody else may lead next.
        let seen = decode_sight(group, &answer).map_err(|_| ProposeError::NoLeader)?;
        seen.sight.ok_or(ProposeError::NoLeader)
    }

    pub(crate) async fn ask_coordinator(
        &self,
        group: &str,
        question: &Question,
    ) -> Result<Vec<u8>, ProposeError> {
        let coordinator = self.coordinator_of(group)?;
        let question = question.encode();
        coordinator.ask(|| ProposalKind::Query(question.clone()), None).await
    }
}
