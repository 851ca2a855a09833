//! Questions of other brokers that are answered when there is news: how a consumer group goes on,
//! for a broker that has no replica of its coordinator.

use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ropewalk_consensus::ProposalKind;
use ropewalk_core::GroupId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::coordinator::{Known, Question, SharedState};
use crate::group_watch::GroupWatch;
use crate::table::TableWatch;

/// How long a question waits for news before it is answered all the same.
const WAIT: Duration = Duration::from_secs(5);
/// How many may wait. One more is answered at once, and asked again a moment later.
const MAX_WAITING: usize = 4_096;

/// The questions that wait.
pub(crate) struct LongPolls {
    table: OnceLock<TableWatch>,
    places: Arc<Semaphore>,
}

impl Default for LongPolls {
    fn default() -> Self {
        Self { table: OnceLock::new(), places: Arc::new(Semaphore::new(MAX_WAITING)) }
    }
}

/// A question that waits.
pub(crate) struct LongPoll {
    state: SharedState,
    group: String,
    known: Known,
    place: OwnedSemaphorePermit,
}

impl LongPolls {
    /// Where the coordinators of this broker are found.
    pub(crate) fn begin(&self, table: TableWatch) {
        let _ = self.table.set(table);
    }

    /// Whether what is asked of a coordinator waits for news.
    pub(crate) fn find(&self, coordinator: GroupId, kind: &ProposalKind) -> Option<LongPoll> {
        let ProposalKind::Query(question) = kind else { return None };
        let table = self.table.get()?.borrow();
        let state = table.coordinators.get(&coordinator)?.state.clone()?;
        let Ok(Question::Group(group, Some(known))) = Question::decode(question) else {
            return None;
        };
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(LongPoll { state, group, known, place })
    }
}

impl LongPoll {
    /// Waits for news, or until this broker does not lead any more. What is returned is to be kept
    /// until the question is answered.
    pub(crate) async fn news(self, watch: &GroupWatch) -> Box<dyn Any + Send> {
        let Self { state, group, known, place } = self;
        let (mut sight, mut commits) = (state.watch(&group), state.watch_commits(&group));
        let mut role = watch.watch_role();
        let news = async {
            let has_committed = |now: &u64| known.commits.is_some_and(|known| *now != known);
            tokio::select! {
                _ = sight.wait_for(|now| now.index != known.sight) => {}
                _ = commits.wait_for(has_committed) => {}
                _ = role.wait_for(|role| role.epoch.is_none()) => {}
            }
        };
        let _ = timeout(WAIT, news).await;
        Box::new((sight, commits, place))
    }
}
