//! Members of consumer groups: they come and go, lose their streams, are slow, and commit what is
//! no longer theirs.

mod stream;

pub(super) use stream::Open;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{AGAIN, Worker};
use crate::client::Stubs;
use crate::history::{Committer, MemberEvent, Membership, Place, RecordedAs};

/// The group of the members that every run of a cluster has.
pub const GROUP: &str = "workers";

/// How long a member stays, in milliseconds.
const STAY_MILLIS: (u64, u64) = (1_500, 9_000);
/// The longest time between two lives of a member, in milliseconds.
const AWAY_MILLIS: u64 = 2_000;
/// How long one that pauses stays away after its stream ended: longer than its grace.
const PAST_GRACE: Duration = Duration::from_secs(7);
/// How often a member sends a commit again that was not answered.
const COMMIT_TRIES: usize = 3;

/// How a member behaves, in parts of a hundred.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Whether it leaves, and comes back as another one.
    pub(crate) leaves: bool,
    /// How often it stays away past its grace when its stream breaks, or breaks it for that.
    pub(crate) pauses: u64,
    /// How often it does not give back what is revoked.
    pub(crate) ignores: u64,
    /// How often it commits what it has lost.
    pub(crate) insists: u64,
    /// How often it has forgotten where it was when it comes back.
    pub(crate) forgets: u64,
    /// How long it has for what is revoked.
    pub(crate) drain: Duration,
    /// How long it bears that nothing comes.
    pub(crate) silence: Duration,
}

impl Habits {
    /// One that has every bad habit.
    pub(crate) const WILD: Self = Self {
        leaves: true,
        pauses: 30,
        ignores: 20,
        insists: 50,
        forgets: 30,
        drain: Duration::from_secs(2),
        silence: Duration::from_secs(3),
    };
    /// One that stays, and does as it is told.
    pub(crate) const STEADY: Self = Self { leaves: false, pauses: 0, ignores: 0, ..Self::WILD };
    /// One that does as it is told at once.
    pub(crate) const OBEDIENT: Self = Self { insists: 0, ..Self::STEADY };
    /// One that comes and goes, and commits all that it got before it gives it back.
    /// It has patience: without faults whatever is late comes.
    pub(crate) const TIDY: Self = Self {
        leaves: true,
        forgets: 0,
        drain: Duration::from_secs(60),
        silence: Duration::from_secs(60),
        ..Self::OBEDIENT
    };
}

/// A member of a group. Each that the group knows is a client of its own.
pub(super) struct Member {
    worker: Worker,
    habits: Habits,
    group: Arc<str>,
    topics: Arc<[&'static str]>,
    /// Whether members come and go still.
    is_restless: Arc<AtomicBool>,
    id: Option<Arc<str>>,
    pub(super) generation: i64,
    /// Counts its streams.
    era: u32,
    /// The next offset of each partition that it has.
    pub(super) next: BTreeMap<Place, i64>,
    /// What of it is not committed yet.
    fresh: BTreeSet<Place>,
    /// What it is to give back and has not.
    owed: BTreeSet<Place>,
    /// Where it goes on when it comes back.
    asked: BTreeMap<Place, i64>,
    /// The tick before it first asked to be a member, until it is one.
    first_asked: Option<u64>,
}

/// What became of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The member closed it, and has left.
    Left,
    /// It broke: the member can come back.
    Broke,
    /// The group has gone on without it.
    Fenced,
}

impl Member {
    pub(super) fn new(
        worker: Worker,
        habits: Habits,
        group: &str,
        topics: &[&'static str],
        is_restless: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            worker,
            habits,
            group: group.into(),
            topics: topics.into(),
            is_restless: Arc::clone(is_restless),
            id: None,
            generation: 0,
            era: 0,
            next: BTreeMap::new(),
            fresh: BTreeSet::new(),
            owed: BTreeSet::new(),
            asked: BTreeMap::new(),
            first_asked: None,
        }
    }

    /// One life after the other, until it is stopped.
    pub(super) async fn run(mut self) {
        while self.worker.goes_on() {
            self.life().await;
            if self.habits.leaves && self.worker.goes_on() && self.is_restless() {
                let away = self.worker.rng.up_to_millis(AWAY_MILLIS);
                self.wait(away).await;
            }
            self.worker.rename();
            (self.id, self.generation) = (None, 0);
            self.asked.clear();
        }
    }

    fn is_restless(&self) -> bool {
        self.is_restless.load(Ordering::Relaxed)
    }

    /// As a member, from when it joins until it has left or was given up.
    async fn life(&mut self) {
        let stay = self.worker.rng.within(STAY_MILLIS.0..STAY_MILLIS.1);
        let leave_at = Instant::now() + Duration::from_millis(stay);
        while self.worker.goes_on() {
            let end = self.stream(leave_at).await;
            let had = std::mem::take(&mut self.next);
            self.fresh.clear();
            self.owed.clear();
            match end {
                End::Left | End::Fenced => return self.insist(had).await,
                End::Broke => {
                    if self.worker.rng.percent(self.habits.pauses) && self.is_restless() {
                        self.wait(PAST_GRACE).await;
                        self.insist(had.clone()).await;
                    }
                    // At times it has forgotten where it was.
                    self.asked.extend(had);
                    if self.worker.rng.percent(self.habits.forgets) {
                        self.asked.clear();
                    }
                    self.worker.elsewhere().await;
                }
            }
        }
    }

    /// Waits, but no longer than members come and go.
    async fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && self.is_restless() && self.worker.goes_on() {
            sleep(AGAIN).await;
        }
    }

    /// Commits what may be no longer its own, through another node.
    async fn insist(&mut self, had: BTreeMap<Place, i64>) {
        if had.is_empty() || !self.worker.rng.percent(self.habits.insists) {
            return;
        }
        self.worker.elsewhere().await;
        let address = &self.worker.addresses[self.worker.at].1;
        let Ok(stubs) = Stubs::connect_within(address, super::CONNECT_TIMEOUT).await else {
            return;
        };
        for (place, offset) in had {
            self.commit(&stubs, place, offset, false).await;
        }
    }

    /// Commits one partition, once.
    pub(super) async fn commit(
        &self,
        stubs: &Stubs,
        place: Place,
        offset: i64,
        releases: bool,
    ) -> RecordedAs {
        let Some(member) = self.id.clone() else { return RecordedAs::Fail };
        let by = Committer { member, generation: self.generation, releases };
        self.worker.caller(stubs).commit(&self.group, place, offset, Some(by)).await
    }

    /// Commits one partition, and sends that again while it is not answered.
    async fn surely_commit(&self, stubs: &Stubs, place: &Place, releases: bool) {
        let Some(offset) = self.next.get(place).copied() else { return };
        for _ in 0..COMMIT_TRIES {
            let done = self.commit(stubs, place.clone(), offset, releases).await;
            if done != RecordedAs::Unknown {
                return;
            }
        }
    }

    /// Commits all that it got since the last time.
    async fn commit_fresh(&mut self, stubs: &Stubs) {
        for place in std::mem::take(&mut self.fresh) {
            let Some(offset) = self.next.get(&place).copied() else { continue };
            if self.commit(stubs, place.clone(), offset, false).await == RecordedAs::Unknown {
                self.fresh.insert(place);
            }
        }
    }

    fn tell(&self, event: MemberEvent) {
        let (client, node) = (self.worker.client, self.worker.node());
        let group = Arc::clone(&self.group);
        self.worker.recorder.tell(Membership { at: 0, client, node, group, event });
    }
}
