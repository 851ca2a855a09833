//! Commits of a member take turns: one call at a time, and what waits for it goes together in the
//! next one, as databases commit in groups (DeWitt et al., "Implementation techniques for main
//! memory database systems", SIGMOD 1984). A member that commits after each batch then costs the
//! broker as many calls as it can answer, not as many as there are batches.
//!
//! What goes together is decided here. Nothing here calls.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};
use crate::offsets::{MOST_COMMITTED_AT_ONCE, Position};

/// A commit that waits for its turn, and whoever waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) positions: Vec<Position>,
    pub(super) answer: oneshot::Sender<Result<(), Error>>,
}

/// The commits of a member that are not on their way yet. Bounded by the application, which waits
/// for each of them.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Somebody makes the calls.
    is_served: bool,
}

/// The turns of a member, as its consumer and its committers share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    queue: Arc<Mutex<Queue>>,
    /// Held for as long as a call takes.
    call: Arc<tokio::sync::Mutex<()>>,
}

impl Turns {
    /// Adds a commit, and returns what will say how it went. Whoever gets a [`Service`] as well is
    /// to make the calls, until it has no more of them.
    pub(super) fn wait(
        &self,
        positions: Vec<Position>,
    ) -> (impl Future<Output = Result<(), Error>> + use<>, Option<Service>) {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.lock();
        queue.waiting.push_back(Waiting { positions, answer });
        let is_served = std::mem::replace(&mut queue.is_served, true);
        let service = (!is_served).then(|| Service { turns: self.clone(), is_over: false });
        (async { answered.await.unwrap_or_else(|_| Err(dropped())) }, service)
    }

    /// Waits until no other call of the member is under way.
    pub(super) async fn turn(&self) -> impl Drop + use<> {
        Arc::clone(&self.call).lock_owned().await
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// The commits that go in one call. `None` when nothing waits: the service is over then.
    pub(super) fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = self.turns.lock();
        let count = together(&queue.waiting);
        self.is_over = count == 0;
        queue.is_served = !self.is_over;
        (!self.is_over).then(|| queue.waiting.drain(..count).collect())
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

/// How many of the first may go in one call, so that each gets the answer that it would get alone.
///
/// Of a partition only the last position is sent. It is durable with those before it if none of
/// them lies beyond it, or before the first offset, and if all are of one era: a broker that takes
/// the last one would have taken them.
fn together(waiting: &VecDeque<Waiting>) -> usize {
    let mut furthest = HashMap::new();
    for (index, next) in waiting.iter().enumerate() {
        let covers = |at: &Position| {
            furthest.get(&(&*at.topic, at.partition)).is_none_or(|before: &&Position| {
                before.era.0 == at.era.0 && (0..=at.offset).contains(&before.offset)
            })
        };
        let fits = furthest.len() + next.positions.len() <= MOST_COMMITTED_AT_ONCE;
        if index > 0 && !(fits && next.positions.iter().all(covers)) {
            return index;
        }
        furthest.extend(next.positions.iter().map(|at| ((&*at.topic, at.partition), at)));
    }
    waiting.len()
}

/// The last position of each partition.
pub(super) fn merged(together: &[Waiting]) -> Vec<Position> {
    let all = together.iter().flat_map(|waiting| &waiting.positions);
    let last: BTreeMap<_, _> = all.map(|at| ((&*at.topic, at.partition), at)).collect();
    last.into_values().cloned().collect()
}

fn dropped() -> Error {
    let message = "the runtime that made the commit has ended: whether it was kept is not known";
    Error::new(ErrorKind::Disconnected, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::Era;

    /// What waits for a call, each commit a list of partition, offset and era.
    fn queue(commits: &[&[(i32, i64, u64)]]) -> VecDeque<Waiting> {
        let position = |(partition, offset, era): &(i32, i64, u64)| Position {
            era: Era(*era),
            ..Position::new("orders", *partition, *offset)
        };
        let waiting = |commit: &&[(i32, i64, u64)]| Waiting {
            positions: commit.iter().map(position).collect(),
            answer: oneshot::channel().0,
        };
        commits.iter().map(waiting).collect()
    }

    #[test]
    fn commits_that_go_on_are_one_call_with_the_last_of_each_partition() {
        let queue = queue(&[&[(0, 5, 1), (1, 7, 2)], &[(0, 5, 1)], &[(2, 1, 3)], &[(0, 9, 1)]]);
        assert_eq!(together(&queue), 4);
        let sent = merged(&queue.into_iter().collect::<Vec<_>>());
        let at = |partition, offset| Position::new("orders", partition, offset);
        assert_eq!(sent, [at(0, 9), at(1, 7), at(2, 1)]);
    }

    #[test]
    fn a_commit_whose_answer_may_be_another_waits_for_a_call_of_its_own() {
        let goes_back = queue(&[&[(0, 1_000_000, 1)], &[(0, 5, 1)]]);
        assert_eq!(together(&goes_back), 1, "the first may lie beyond the end");
        let of_another_era = queue(&[&[(0, 5, 1)], &[(0, 9, 2)]]);
        assert_eq!(together(&of_another_era), 1, "the first is stale");
        let negative = queue(&[&[(0, -1, 1)], &[(0, 5, 1)]]);
        assert_eq!(together(&negative), 1, "the first is no offset");
    }

    #[test]
    fn a_call_has_no_more_partitions_than_a_broker_takes() {
        let most = i32::try_from(MOST_COMMITTED_AT_ONCE).expect("it is small");
        let many: Vec<_> = (0..most - 1).map(|partition| (partition, 1, 1)).collect();
        let full = queue(&[&many, &[(most, 1, 1)], &[(most + 1, 1, 1)]]);
        assert_eq!(together(&full), 2);
    }

    #[test]
    fn a_service_that_is_dropped_leaves_nobody_waiting() {
        let turns = Turns::default();
        let (mut first, service) = turns.wait(Vec::new());
        let (mut second, no_other) = turns.wait(Vec::new());
        assert!(no_other.is_none(), "one makes the calls of all");
        drop(service.expect("the first commit finds nobody who makes the calls"));
        let error = |waiting: &mut _| {
            let answered = futures::FutureExt::now_or_never(std::pin::pin!(waiting));
            answered.expect("nobody is left waiting").expect_err("nothing was sent")
        };
        assert!(error(&mut first).may_have_happened());
        assert!(error(&mut second).may_have_happened());
        assert!(turns.wait(Vec::new()).1.is_some(), "the next one has a new service");
    }

    #[test]
    fn a_service_that_is_over_does_not_end_the_next_one() {
        let turns = Turns::default();
        let (_first, service) = turns.wait(Vec::new());
        let mut service = service.expect("nobody makes the calls");
        assert_eq!(service.next().expect("one waits").len(), 1);
        assert!(service.next().is_none());
        let (mut next, new) = turns.wait(Vec::new());
        assert!(new.is_some());
        drop(service);
        let answered = futures::FutureExt::now_or_never(std::pin::pin!(&mut next));
        assert!(answered.is_none(), "it still waits for its own service");
    }
}
