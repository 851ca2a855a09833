//! Where the partitions begin that a member of a consumer group has got.
//!
//! It is found out beside everything else that the member's stream does, and for each partition
//! alone: one that has no leader, or that this broker does not know yet, is tried again and again
//! and holds up nothing but itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use ropewalk_broker::offsets::Position;
use ropewalk_broker::planted::Plant;
use ropewalk_broker::{Broker, Partition};
use ropewalk_core::{MemberId, Offset, PartitionId, TopicId};
use ropewalk_groups::{Committer, TopicPartition};
use tokio::time::{Instant, sleep_until, timeout};

use crate::convert;
use crate::failure::{Failure, Reason};
use crate::group_request::{GoesOn, GoingOn};
use crate::subscribe::{Start, check_offset, resolve_start};

/// Partitions whose starts are found side by side.
const RESOLVED_AT_A_TIME: usize = 64;
/// How long one of them has to be found, before it goes behind the others.
const FOUND_WITHIN: Duration = Duration::from_secs(1);
/// The pause before what was not found is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// How long the first assignment waits for starts. A member that comes back takes what is not in it
/// for lost.
const FIRST_WITHIN: Duration = Duration::from_secs(2);
/// How long those that were found later wait for others, to be told of together.
const GATHER: Duration = Duration::from_millis(100);

/// A partition that the member has got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Got {
    pub(crate) partition: TopicPartition,
    /// The generation since which it is the member's.
    pub(crate) since: u64,
    /// It was added to what the group reads: it begins at its beginning.
    pub(crate) is_added: bool,
}

/// Where a partition begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begins {
    pub(crate) partition: TopicPartition,
    pub(crate) from: Offset,
    pub(crate) is_paused: bool,
}

/// A partition whose start is looked for.
#[derive(Clone, Debug)]
struct Sought {
    got: Got,
    /// The number of the search: what an earlier one finds does not count.
    search: u64,
    /// How its start is found, once the group's offsets are known.
    how: Option<How>,
}

#[derive(Clone, Debug)]
enum How {
    GoesOn(GoesOn),
    Committed(Offset),
    /// The group has committed nothing. What is found is committed, unless it is the beginning.
    Fresh(Start),
}

/// What some work came to.
enum Done {
    /// The offsets of the group were asked for, for these.
    Offsets(Vec<Sought>, Result<Vec<Position>, Failure>),
    /// A start was looked for.
    Start(Sought, Result<Offset, Failure>),
    /// Starts were committed.
    Kept(Vec<(Sought, Offset)>, Result<(), Failure>),
}

/// When what is found is told.
enum Stage {
    /// Nothing was asked for yet.
    Before,
    /// All at once, or what there is by then.
    First(Instant),
    /// As it is found.
    Later,
}

/// Looks for the starts of what a member has got.
pub(crate) struct Starts {
    broker: Arc<Broker>,
    group: String,
    member: MemberId,
    /// The newest generation of which the member has something here.
    generation: u64,
    default_start: Start,
    /// Where the member goes on; of no use any more once the first assignment was told.
    going_on: GoingOn,
    stage: Stage,
    /// What is not found yet, or not told, with its newest search.
    open: BTreeMap<TopicPartition, Sought>,
    /// Those of them without which nothing is told.
    first: BTreeSet<TopicPartition>,
    searches: u64,
    /// What this broker does not know yet, or is to look at anew.
    unknown: Vec<Sought>,
    waiting: VecDeque<(Sought, Arc<Partition>)>,
    later: VecDeque<(Instant, Sought)>,
    to_keep: Vec<(Sought, Offset)>,
    is_keeping: bool,
    resolving: usize,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    found: Vec<(u64, Begins)>,
    tell_at: Option<Instant>,
}

impl Starts {
    pub(crate) fn new(
        broker: Arc<Broker>,
        group: String,
        member: MemberId,
        default_start: Start,
        going_on: GoingOn,
    ) -> Self {
        Self {
            broker,
            group,
            member,
            generation: 0,
            default_start,
            going_on,
            stage: Stage::Before,
            open: BTreeMap::new(),
            first: BTreeSet::new(),
            searches: 0,
            unknown: Vec::new(),
            waiting: VecDeque::new(),
            later: VecDeque::new(),
            to_keep: Vec::new(),
            is_keeping: false,
            resolving: 0,
            work: FuturesUnordered::new(),
            found: Vec::new(),
            tell_at: None,
        }
    }

    /// Looks for the starts of these, which are the member's in this generation.
    pub(crate) fn seek(&mut self, generation: u64, got: Vec<Got>) {
        self.generation = generation;
        if matches!(self.stage, Stage::Before) {
            self.stage = Stage::First(Instant::now() + FIRST_WITHIN);
        }
        got.into_iter().for_each(|got| self.search(got));
        self.look();
    }

    fn search(&mut self, got: Got) {
        self.searches += 1;
        let sought = Sought { got, search: self.searches, how: None };
        self.open.insert(got.partition, sought.clone());
        self.unknown.push(sought);
    }

    /// Until these are found, nothing is told.
    pub(crate) fn wait_for(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.first.extend(partitions);
    }

    /// A partition is not the member's any more.
    pub(crate) fn forget(&mut self, partition: &TopicPartition) {
        self.first.remove(partition);
        self.open.remove(partition);
    }

    /// Begins with those that this broker knows by now.
    pub(crate) fn look(&mut self) {
        if self.unknown.is_empty() {
            return;
        }
        let table = self.broker.table();
        let served: BTreeMap<TopicId, _> =
            table.topics.values().map(|served| (served.topic.id, served)).collect();
        let mut unasked = Vec::new();
        for mut sought in std::mem::take(&mut self.unknown) {
            let (topic, id) = sought.got.partition;
            if !self.is_open(&sought) {
                continue;
            }
            let known = served.get(&topic);
            // Where the member goes on by itself, nobody has to be asked.
            if let Some(known) = known.filter(|_| sought.how.is_none()) {
                let goes_on = self.goes_on(&known.topic.name, id, sought.got.since);
                sought.how = goes_on.map(How::GoesOn);
            }
            match known.and_then(|topic| topic.partition(id)) {
                None => self.unknown.push(sought),
                Some(_) if sought.how.is_none() => unasked.push(sought),
                Some(partition) => self.waiting.push_back((sought, Arc::clone(partition))),
            }
        }
        if !unasked.is_empty() {
            let (broker, group) = (Arc::clone(&self.broker), self.group.clone());
            let ask = async move {
                let offsets = broker.positions(&group).await.map_err(Failure::from);
                Done::Offsets(unasked, offsets)
            };
            self.work.push(ask.boxed());
        }
    }

    /// Waits until there are starts to tell of: all of the first assignment, which may be none, or
    /// some that were found later. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// What will not pass by itself, as an offset beyond the end of its partition.
    pub(crate) async fn next(&mut self) -> Result<Vec<Begins>, Failure> {
        loop {
            self.begin_work();
            // What has come meanwhile counts, also where nobody has asked for it in time.
            while let Some(Some(done)) = self.work.next().now_or_never() {
                self.done(done)?;
                self.begin_work();
            }
            if let Some(told) = self.take_told() {
                return Ok(told);
            }
            let wake = self.wakes_at();
            tokio::select! {
                Some(done) = self.work.next(), if !self.work.is_empty() => self.done(done)?,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.look_again();
                }
                else => std::future::pending().await,
            }
        }
    }

    fn is_open(&self, sought: &Sought) -> bool {
        self.open.get(&sought.got.partition).is_some_and(|open| open.search == sought.search)
    }

    fn wakes_at(&self) -> Option<Instant> {
        let again = self.later.front().map(|(at, _)| *at);
        let tells = match self.stage {
            Stage::Before => None,
            Stage::First(by) => Some(by),
            Stage::Later if self.first.is_empty() => self.tell_at,
            Stage::Later => None,
        };
        again.into_iter().chain(tells).min()
    }

    fn look_again(&mut self) {
        let now = Instant::now();
        while self.later.front().is_some_and(|(at, _)| *at <= now) {
            self.unknown.extend(self.later.pop_front().map(|(_, sought)| sought));
        }
        self.look();
    }

    fn try_later(&mut self, sought: Sought) {
        self.later.push_back((Instant::now() + LOOK_AGAIN, sought));
    }

    fn begin_work(&mut self) {
        while self.resolving < RESOLVED_AT_A_TIME
            && let Some((sought, partition)) = self.waiting.pop_front()
        {
            self.resolving += 1;
            self.work.push(find(sought, partition).boxed());
        }
        if !self.is_keeping && !self.to_keep.is_empty() {
            self.is_keeping = true;
            self.keep();
        }
    }

    /// Commits starts, so that whoever has the partitions next goes on from there.
    fn keep(&mut self) {
        let starts = std::mem::take(&mut self.to_keep);
        let (broker, group) = (Arc::clone(&self.broker), self.group.clone());
        let committer = Committer { member: self.member, generation: self.generation };
        let offsets = starts.iter().map(|(sought, from)| {
            let (topic, id) = sought.got.partition;
            (topic, id, *from, String::new())
        });
        let offsets = offsets.collect();
        let keep = async move {
            let kept = broker.commit_of_member(&group, committer, offsets, Vec::new()).await;
            Done::Kept(starts, kept.map_err(Failure::from))
        };
        self.work.push(keep.boxed());
    }

    fn done(&mut self, done: Done) -> Result<(), Failure> {
        match done {
            Done::Offsets(sought, Ok(offsets)) => self.choose(sought, offsets),
            Done::Offsets(sought, Err(failure)) => {
                tracing::debug!(group = self.group, ?failure, "a group's offsets are not known");
                sought.into_iter().for_each(|sought| self.try_later(sought));
            }
            Done::Start(sought, start) => {
                self.resolving -= 1;
                if self.is_open(&sought) {
                    self.take_start(sought, start)?;
                }
            }
            Done::Kept(starts, kept) => {
                self.is_keeping = false;
                let starts: Vec<_> =
                    starts.into_iter().filter(|(sought, _)| self.is_open(sought)).collect();
                match kept {
                    Ok(()) => starts.iter().for_each(|(sought, from)| self.found(sought, *from)),
                    // Some of them it has lost already, and is about to hear of it.
                    Err(failure)
                        if failure.passes() || failure.reason() == Reason::MemberFenced =>
                    {
                        starts.into_iter().for_each(|(sought, _)| self.try_later(sought));
                    }
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(())
    }

    /// Now that the offsets of the group are known, it is known how each start is found.
    fn choose(&mut self, sought: Vec<Sought>, offsets: Vec<Position>) {
        // A partition beyond those of which something is committed was added since.
        let mut last = BTreeMap::<TopicId, PartitionId>::new();
        for (topic, id, _) in &offsets {
            let last = last.entry(*topic).or_insert(*id);
            *last = (*last).max(*id);
        }
        let committed: BTreeMap<TopicPartition, Offset> =
            offsets.into_iter().map(|(topic, id, known)| ((topic, id), known.offset)).collect();
        for mut sought in sought {
            let Got { partition: (topic, id), is_added, .. } = sought.got;
            let known = committed.get(&(topic, id)).map(|offset| How::Committed(*offset));
            let fresh = || match is_added || last.get(&topic).is_some_and(|last| id > *last) {
                true => How::Fresh(Start::Earliest),
                false => How::Fresh(self.default_start.clone()),
            };
            sought.how = Some(known.unwrap_or_else(fresh));
            self.unknown.push(sought);
        }
        self.look();
    }

    /// Where the member goes on with a partition, if it has said so and has had it since.
    fn goes_on(&self, topic: &str, id: PartitionId, since: u64) -> Option<GoesOn> {
        let key = (topic.to_owned(), i32::try_from(id.0).ok()?);
        let goes_on = self.going_on.positions.get(&key)?;
        (since <= self.going_on.generation).then_some(*goes_on)
    }

    fn take_start(
        &mut self,
        sought: Sought,
        start: Result<Offset, Failure>,
    ) -> Result<(), Failure> {
        let is_beginning = matches!(self.default_start, Start::Earliest);
        match start {
            Ok(from) if matches!(sought.how, Some(How::Fresh(_))) && !is_beginning => {
                self.to_keep.push((sought, from));
            }
            Ok(from) => self.found(&sought, from),
            Err(failure) if failure.passes() => {
                tracing::debug!(group = self.group, ?failure, "a partition begins later");
                self.try_later(sought);
            }
            // The topic is gone: the group is about to say so.
            Err(failure) if failure.reason() == Reason::TopicNotFound => self.try_later(sought),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn found(&mut self, sought: &Sought, from: Offset) {
        let is_paused = matches!(&sought.how, Some(How::GoesOn(goes_on)) if goes_on.is_paused);
        let begins = Begins { partition: sought.got.partition, from, is_paused };
        self.found.push((sought.search, begins));
        self.tell_at.get_or_insert_with(|| Instant::now() + GATHER);
    }

    /// What is to be told now.
    fn take_told(&mut self) -> Option<Vec<Begins>> {
        let open = &self.open;
        let is_open = |found: &(u64, Begins)| {
            open.get(&found.1.partition).is_some_and(|open| open.search == found.0)
        };
        self.found.retain(is_open);
        let is_all = self.found.len() == self.open.len();
        let now = Instant::now();
        let found =
            |place: &TopicPartition| self.found.iter().any(|found| found.1.partition == *place);
        let is_held = !self.first.iter().all(found);
        let is_told = match self.stage {
            _ if is_held => false,
            Stage::Before => false,
            Stage::First(by) => is_all || by <= now,
            Stage::Later => {
                !self.found.is_empty() && (is_all || self.tell_at.is_none_or(|at| at <= now))
            }
        };
        if self.found.is_empty() {
            self.tell_at = None;
        }
        if !is_told {
            return None;
        }
        self.tell_at = None;
        let told: Vec<_> = self.found.drain(..).map(|(_, begins)| begins).collect();
        for begins in &told {
            self.open.remove(&begins.partition);
        }
        self.first.clear();
        if matches!(self.stage, Stage::First(_)) {
            self.stage = Stage::Later;
            self.forget_going_on();
        }
        Some(told)
    }

    /// What was not in the first assignment, its member takes for lost: it gets that anew, from
    /// what is committed.
    fn forget_going_on(&mut self) {
        let going_on = std::mem::take(&mut self.going_on);
        if going_on.positions.is_empty() {
            return;
        }
        (self.unknown, self.to_keep) = (Vec::new(), Vec::new());
        self.waiting.clear();
        self.later.clear();
        let anew: Vec<_> = self.open.values().map(|sought| sought.got).collect();
        anew.into_iter().for_each(|got| self.search(got));
        self.look();
    }
}

/// Finds a start, or gives up for now.
async fn find(sought: Sought, partition: Arc<Partition>) -> Done {
    let asked = async {
        match &sought.how {
            Some(How::GoesOn(goes_on)) => check_offset(&partition, goes_on.offset).await,
            Some(How::Committed(offset)) => {
                let later = i64::from(Plant::BeginLater.is_planted());
                check_offset(&partition, convert::offset(*offset) + later).await
            }
            Some(How::Fresh(start)) => resolve_start(&partition, start, &BTreeMap::new()).await,
            None => Err(Failure::no_leader()),
        }
    };
    let asked = timeout(FOUND_WITHIN, asked).await;
    let mut start = asked.unwrap_or_else(|_| Err(Failure::no_leader()));
    // What it was brought up to there, it has: it need not be lost to it while nobody leads.
    if let Some(How::GoesOn(goes_on)) = &sought.how
        && let Ok(offset) = u64::try_from(goes_on.offset)
        && start.as_ref().is_err_and(Failure::passes)
    {
        start = Ok(Offset(offset));
    }
    Done::Start(sought, start)
}
