//! Commits of a member take turns: one call at a time, and what waits for it goes together in the
//! next one, as databases commit in groups (DeWitt et al., "Implementation techniques for main
//! memory database systems", SIGMOD 1984). A member that commits after each batch then costs the
//! broker as many calls as it can answer, not as many as there are batches.
//!
//! What goes together is decided here. Nothing here calls; whoever does is a task of its own, so
//! that no turn is held by a future that nobody polls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind, timed_out};
use crate::offsets::{Era, MOST_COMMITTED_AT_ONCE, Position};

/// So many may wait before it is looked for those that nobody waits for any more.
const LEAST_LOOKED_THROUGH: usize = 64;

/// What is to be kept.
#[derive(Debug)]
pub(super) enum Work {
    /// All of it, or nothing.
    Commit(Vec<Position>),
    /// As much as can be, with partitions that are given back.
    Most { positions: Vec<Position>, released: Vec<Position> },
}

/// What waits for its turn, and whoever waits for it.
#[derive(Debug)]
pub(super) struct Waiting<W> {
    pub(super) work: W,
    pub(super) answer: oneshot::Sender<Result<(), Error>>,
}

/// What has its turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// Commits that go in one call.
    Together(Together),
    /// Positions, and partitions that are given back.
    Most(Waiting<(Vec<Position>, Vec<Position>)>),
}

/// What is not on its way yet. Bounded by those who wait: what was given up goes out.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting<Work>>,
    /// Somebody makes the calls.
    is_served: bool,
    /// With so many it is looked for what was given up.
    look_at: usize,
}

/// The turns of a member, as its consumer and its committers share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<Queue>>);

impl Turns {
    /// Adds work, and returns what will say how it went, by a deadline. Whoever gets a [`Service`]
    /// as well is to have the calls made, until it has no more of them.
    pub(super) fn wait(
        &self,
        work: Work,
        deadline: Instant,
    ) -> (impl Future<Output = Result<(), Error>> + Send + use<>, Option<Service>) {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.lock();
        if queue.waiting.len() >= queue.look_at.max(LEAST_LOOKED_THROUGH) {
            queue.waiting.retain(|waiting| !waiting.answer.is_closed());
            queue.look_at = 2 * queue.waiting.len();
        }
        queue.waiting.push_back(Waiting { work, answer });
        let is_served = std::mem::replace(&mut queue.is_served, true);
        let service = (!is_served).then(|| Service { turns: self.clone(), is_over: false });
        let answer = async move {
            let answered = timeout_at(deadline, answered).await;
            let answered = answered.map_err(|_| timed_out().context("a commit"))?;
            answered.unwrap_or_else(|_| Err(dropped()))
        };
        (answer, service)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever makes the calls. When it is dropped in the middle, as by the end of its runtime, nobody
/// waits for it any more, and the next commit has a new one.
#[derive(Debug)]
pub(super) struct Service {
    turns: Turns,
    is_over: bool,
}

impl Service {
    /// What has its turn. `None` when nothing waits: the service is over then.
    pub(super) fn next(&mut self) -> Option<Turn> {
        let mut queue = self.turns.lock();
        let mut together = Together::default();
        while let Some(first) = queue.waiting.pop_front() {
            match first.work {
                _ if first.answer.is_closed() => {}
                Work::Most { positions, released } if together.commits.is_empty() => {
                    let work = (positions, released);
                    return Some(Turn::Most(Waiting { work, answer: first.answer }));
                }
                Work::Commit(positions) if together.takes(&positions) => {
                    together.add(Waiting { work: positions, answer: first.answer });
                }
                _ => {
                    queue.waiting.push_front(first);
                    break;
                }
            }
        }
        self.is_over = together.commits.is_empty();
        queue.is_served = !self.is_over;
        (!self.is_over).then_some(Turn::Together(together))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.is_over {
            let mut queue = self.turns.lock();
            queue.is_served = false;
            queue.waiting.clear();
        }
    }
}

/// Commits that go in one call, so that each gets the answer that it would get alone.
///
/// Of a partition only the last position is sent. It is durable with those before it if none of
/// them lies beyond it, or before the first offset, and if all are of one era: a broker that takes
/// the last one would have taken them.
#[derive(Debug, Default)]
pub(super) struct Together {
    pub(super) commits: Vec<Waiting<Vec<Position>>>,
    /// The last position of each partition.
    last: BTreeMap<(String, i32), (i64, Era)>,
    /// The only one names a partition twice: what becomes of that says the broker.
    is_alone: bool,
}

impl Together {
    fn takes(&self, next: &[Position]) -> bool {
        let covers = |at: &Position| {
            self.last
                .get(&place(at))
                .is_none_or(|(before, era)| era.0 == at.era.0 && (0..=at.offset).contains(before))
        };
        let fits = self.last.len() + next.len() <= MOST_COMMITTED_AT_ONCE;
        let goes_on = || fits && !self.is_alone && !names_one_twice(next);
        self.commits.is_empty() || (goes_on() && next.iter().all(covers))
    }

    fn add(&mut self, next: Waiting<Vec<Position>>) {
        self.is_alone = names_one_twice(&next.work);
        self.last.extend(next.work.iter().map(|at| (place(at), (at.offset, at.era))));
        self.commits.push(next);
    }

    /// What is sent.
    pub(super) fn positions(&self) -> Vec<Position> {
        if let [only] = &self.commits[..] {
            return only.work.clone();
        }
        let position = |((topic, partition), (offset, era)): (&(String, i32), &(i64, Era))| {
            Position { era: *era, ..Position::new(topic, *partition, *offset) }
        };
        self.last.iter().map(position).collect()
    }
}

fn place(at: &Position) -> (String, i32) {
    (at.topic.clone(), at.partition)
}

fn names_one_twice(positions: &[Position]) -> bool {
    let mut seen = BTreeSet::new();
    positions.len() > 1 && !positions.iter().all(|at| seen.insert((&*at.topic, at.partition)))
}

fn dropped() -> Error {
    let message = "the runtime that made the commit has ended: whether it was kept is not known";
    Error::new(ErrorKind::Disconnected, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    type Answer = BoxFuture<'static, Result<(), Error>>;

    /// A commit that waits, as a list of partition, offset and era.
    fn commit(turns: &Turns, commit: &[(i32, i64, u64)]) -> (Answer, Option<Service>) {
        let position = |(partition, offset, era): &(i32, i64, u64)| Position {
            era: Era(*era),
            ..Position::new("orders", *partition, *offset)
        };
        let work = Work::Commit(commit.iter().map(position).collect());
        let (answer, service) = turns.wait(work, Instant::now() + Duration::from_secs(30));
        (answer.boxed(), service)
    }

    /// What is sent in each call: the number of commits, and the positions.
    async fn calls(commits: &[&[(i32, i64, u64)]]) -> Vec<(usize, Vec<(i32, i64)>)> {
        let turns = Turns::default();
        let (waiting, services): (Vec<_>, Vec<_>) =
            commits.iter().map(|positions| commit(&turns, positions)).unzip();
        let mut service = services.into_iter().flatten().next().expect("the first gets it");
        let mut calls = Vec::new();
        while let Some(Turn::Together(together)) = service.next() {
            let sent = together.positions().into_iter().map(|at| (at.partition, at.offset));
            calls.push((together.commits.len(), sent.collect()));
        }
        drop(waiting);
        calls
    }

    #[tokio::test]
    async fn commits_that_go_on_are_one_call_with_the_last_of_each_partition() {
        let commits: [&[_]; 4] =
            [&[(0, 5, 1), (1, 7, 2)], &[(0, 5, 1)], &[(2, 1, 3)], &[(0, 9, 1)]];
        assert_eq!(calls(&commits).await, [(4, vec![(0, 9), (1, 7), (2, 1)])]);
    }

    #[tokio::test]
    async fn a_commit_whose_answer_may_be_another_waits_for_a_call_of_its_own() {
        let two = |first, second| vec![(1, vec![(0, first)]), (1, vec![(0, second)])];
        let goes_back = calls(&[&[(0, 1_000_000, 1)], &[(0, 5, 1)]]).await;
        assert_eq!(goes_back, two(1_000_000, 5), "the first may lie beyond the end");
        let of_another_era = calls(&[&[(0, 5, 1)], &[(0, 9, 2)]]).await;
        assert_eq!(of_another_era, two(5, 9), "the first is stale");
        let negative = calls(&[&[(0, -1, 1)], &[(0, 5, 1)]]).await;
        assert_eq!(negative, two(-1, 5), "the first is no offset");
        let twice = calls(&[&[(0, 9, 1), (0, 5, 1)], &[(0, 9, 1)]]).await;
        let as_it_is = [(1, vec![(0, 9), (0, 5)]), (1, vec![(0, 9)])];
        assert_eq!(twice, as_it_is, "a broker refuses the first");
    }

    #[tokio::test]
    async fn a_call_has_no_more_partitions_than_a_broker_takes() {
        let most = i32::try_from(MOST_COMMITTED_AT_ONCE).expect("it is small");
        let many: Vec<_> = (0..most - 1).map(|partition| (partition, 1, 1)).collect();
        let calls = calls(&[&many, &[(most, 1, 1)], &[(most + 1, 1, 1)]]).await;
        assert_eq!(calls.iter().map(|call| call.0).collect::<Vec<_>>(), [2, 1]);
    }

    #[tokio::test]
    async fn what_gives_back_has_a_turn_of_its_own_in_its_order() {
        let turns = Turns::default();
        let (_first, service) = commit(&turns, &[(0, 1, 1)]);
        let most = Work::Most { positions: Vec::new(), released: Vec::new() };
        let (_most, none) = turns.wait(most, Instant::now() + Duration::from_secs(30));
        assert!(none.is_none(), "one makes the calls of all");
        let (_last, _) = commit(&turns, &[(0, 2, 1)]);
        let mut service = service.expect("nobody makes the calls");
        assert!(matches!(service.next(), Some(Turn::Together(one)) if one.commits.len() == 1));
        assert!(matches!(service.next(), Some(Turn::Most(_))));
        assert!(matches!(service.next(), Some(Turn::Together(one)) if one.commits.len() == 1));
        assert!(service.next().is_none());
    }

    #[tokio::test]
    async fn what_was_given_up_is_not_kept_and_takes_no_memory() {
        let turns = Turns::default();
        let (_first, service) = commit(&turns, &[(0, 0, 1)]);
        for offset in 1..10_000 {
            drop(commit(&turns, &[(0, offset, 1)]));
        }
        assert!(turns.lock().waiting.len() <= 2 * LEAST_LOOKED_THROUGH);
        let mut service = service.expect("nobody makes the calls");
        assert!(matches!(service.next(), Some(Turn::Together(one)) if one.commits.len() == 1));
        assert!(service.next().is_none());
    }

    #[tokio::test]
    async fn a_service_that_is_dropped_leaves_nobody_waiting() {
        let turns = Turns::default();
        let (first, service) = commit(&turns, &[]);
        let (second, no_other) = commit(&turns, &[]);
        assert!(no_other.is_none(), "one makes the calls of all");
        drop(service.expect("the first commit finds nobody who makes the calls"));
        for answer in [first, second] {
            let answered = answer.now_or_never().expect("nobody is left waiting");
            assert!(answered.expect_err("nothing was sent").may_have_happened());
        }
        assert!(commit(&turns, &[]).1.is_some(), "the next one has a new service");
    }

    #[tokio::test]
    async fn a_service_that_is_over_does_not_end_the_next_one() {
        let turns = Turns::default();
        let (_first, service) = commit(&turns, &[]);
        let mut service = service.expect("nobody makes the calls");
        assert!(service.next().is_some());
        assert!(service.next().is_none());
        let (next, new) = commit(&turns, &[]);
        assert!(new.is_some());
        drop(service);
        assert!(next.now_or_never().is_none(), "it still waits for its own service");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_a_call_may_take() {
        let turns = Turns::default();
        let (answer, _service) = commit(&turns, &[]);
        let error = answer.await.expect_err("nobody makes the call");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
