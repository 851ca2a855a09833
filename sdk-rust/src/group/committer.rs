//! Keeping how far a member is.

use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_proto::v1;
use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;
use tokio::time::Instant;

use super::holdings::{Place, SharedHoldings};
use super::session::FENCED;
use super::turns::{Service, Together, Turn, Turns, Waiting, Work};
use crate::client::{Client, Repeat};
use crate::error::Error;
use crate::offsets::{Era, MOST_COMMITTED_AT_ONCE, Position};

/// The most calls that are made to find which of many partitions cannot be committed.
const MOST_CALLS: usize = 64;

/// The reasons that say something of one of the partitions, and nothing of the others.
const OF_ONE: [&str; 4] = [FENCED, "TOPIC_NOT_FOUND", "PARTITION_NOT_FOUND", "OFFSET_OUT_OF_RANGE"];

/// Whether a refusal is of one of the partitions: that another has the member's name is of all.
fn is_of_one(error: &Error) -> bool {
    OF_ONE.contains(&error.reason()) && !error.is_instance_taken()
}

/// What is to become of a partition: it is committed, given back, or both.
#[derive(Clone, Debug)]
struct Item {
    position: Option<Position>,
    release: Option<Position>,
}

/// Commits for a member of a consumer group, from anywhere. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    client: Client,
    group: Arc<str>,
    holdings: SharedHoldings,
    turns: Turns,
    /// The eras in which positions count that do not say it themselves.
    eras: Arc<BTreeMap<Place, Era>>,
}

impl Committer {
    pub(super) fn new(
        client: Client,
        group: Arc<str>,
        holdings: SharedHoldings,
        turns: Turns,
    ) -> Committer {
        Committer { client, group, holdings, turns, eras: Arc::default() }
    }

    /// The same, for what is the member's now: of these partitions nothing counts when they have
    /// been another's.
    pub(super) fn of(mut self, positions: &[Position]) -> Committer {
        let era = |at: &Position| ((Arc::from(at.topic.as_str()), at.partition), at.era);
        self.eras = Arc::new(positions.iter().map(era).collect());
        self
    }

    /// Keeps positions, durably: each the next offset to read. Giving none does nothing. Up to
    /// 10,000 of them are kept all together or not at all; of more, each 10,000.
    ///
    /// The commits of a member go in the order in which they are made, one call at a time; what
    /// waits meanwhile goes together in the next call. So many may be under way at little cost. One
    /// that is given up may be kept all the same.
    ///
    /// # Errors
    ///
    /// `MEMBER_FENCED` when one of the partitions is not the member's any more, or has been
    /// another's since the position was given out: nothing is kept then, and whoever has the
    /// partition reads on from what was committed before. `OFFSET_OUT_OF_RANGE` for an offset
    /// beyond a partition's end, and what every call may meet.
    pub async fn commit(&self, positions: impl IntoIterator<Item = Position>) -> Result<(), Error> {
        let positions = positions.into_iter().collect();
        let positions = self.holdings.lock().vouch(positions, &self.eras)?;
        let parts = positions.chunks(MOST_COMMITTED_AT_ONCE);
        let kept: Vec<_> = parts.map(|part| self.wait(Work::Commit(part.to_vec()))).collect();
        for kept in kept {
            kept.await?;
        }
        Ok(())
    }

    /// The same, gives partitions back that were revoked, and keeps what can be kept when some of
    /// it cannot.
    ///
    /// # Errors
    /// The last error, when not everything was kept.
    pub(super) async fn keep_most(
        &self,
        positions: Vec<Position>,
        released: Vec<Position>,
    ) -> Result<(), Error> {
        self.wait(Work::Most { positions, released }).await
    }

    /// Has something kept when its turn comes. Its place is taken at once.
    fn wait(&self, work: Work) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let deadline = Instant::now() + self.client.request_timeout();
        let (answer, service) = self.turns.wait(work, deadline);
        if let Some(service) = service {
            tokio::spawn(self.clone().serve(service));
        }
        answer
    }

    /// Makes the calls of everything that waits, until nothing does.
    async fn serve(self, mut service: Service) {
        while let Some(turn) = service.next() {
            match turn {
                Turn::Together(together) => self.keep_together(together).await,
                Turn::Most(Waiting { work: (positions, released), answer }) => {
                    let _ = answer.send(self.keep_parts(positions, released).await);
                }
            }
        }
    }

    async fn keep_together(&self, together: Together) {
        let is_of_one = |result: &Result<(), Error>| result.as_ref().is_err_and(is_of_one);
        let result = self.keep(&items(together.positions())).await;
        // Where one of several was refused, nothing was kept, and each gets an answer of its own,
        // until it is clear that none is to be had.
        let is_each_alone = together.commits.len() > 1 && is_of_one(&result);
        let mut of_all = (!is_each_alone).then_some(result);
        for Waiting { work, answer } in together.commits {
            let result = match &of_all {
                Some(result) => result.clone(),
                None => self.keep(&items(work)).await,
            };
            if result.is_err() && !is_of_one(&result) {
                of_all.get_or_insert_with(|| result.clone());
            }
            // Whoever gave up wants no answer.
            let _ = answer.send(result);
        }
    }

    async fn keep_parts(
        &self,
        positions: Vec<Position>,
        released: Vec<Position>,
    ) -> Result<(), Error> {
        // What waited for its turn may have been kept, and given back, in the one before.
        let positions = self.holdings.lock().unkept(positions);
        let items = gather(positions, released);
        let mut parts: Vec<_> =
            items.chunks(MOST_COMMITTED_AT_ONCE).map(<[Item]>::to_vec).collect();
        let mut result = Ok(());
        for _ in 0..MOST_CALLS {
            let Some(mut part) = parts.pop() else { break };
            let Err(error) = self.keep(&part).await else { continue };
            if !is_of_one(&error) {
                return Err(error);
            }
            result = Err(error);
            if part.len() > 1 {
                let half = part.split_off(part.len() / 2);
                parts.extend([part, half]);
            }
        }
        result
    }

    async fn keep(&self, items: &[Item]) -> Result<(), Error> {
        let positions = items.iter().filter_map(|item| item.position.clone()).collect();
        let mut released = items.iter().filter_map(|item| item.release.clone()).collect();
        let (member_id, generation, positions, first) = {
            // Whose they are, and until which generation that is known, belong together.
            let mut holdings = self.holdings.lock();
            let (member_id, generation) = holdings.identity();
            let positions = holdings.vouch(positions, &self.eras)?;
            (member_id, generation, positions, holdings.give_back(&mut released))
        };
        if positions.is_empty() && released.is_empty() {
            return Ok(());
        }
        let request = self.request(member_id, generation, &positions, &released);
        let answer = self
            .client
            .call(Repeat::Freely, request, |channel, request| async move {
                ConsumerServiceClient::new(channel).commit_offset(request).await
            })
            .await;
        let mut holdings = self.holdings.lock();
        match &answer {
            Ok(_) => {
                holdings.committed(&positions);
                holdings.released(&released);
            }
            Err(error) => {
                if !error.may_have_happened() {
                    holdings.not_given_back(&first);
                }
                if let [alone] = &positions[..]
                    && error.reason() == FENCED
                {
                    holdings.refused(alone);
                }
            }
        }
        answer.map(drop)
    }

    fn request(
        &self,
        member_id: String,
        generation: i64,
        positions: &[Position],
        released: &[Position],
    ) -> v1::CommitOffsetRequest {
        let offsets = positions.iter().map(|position| v1::CommittedOffset {
            topic: position.topic.clone(),
            partition: position.partition,
            offset: position.offset,
            ..Default::default()
        });
        let release = released.iter().map(|at| v1::TopicPartitions {
            topic: at.topic.clone(),
            partitions: vec![at.partition],
        });
        v1::CommitOffsetRequest {
            group: self.group.to_string(),
            offsets: offsets.collect(),
            member_id,
            generation,
            release: release.collect(),
        }
    }
}

fn items(positions: Vec<Position>) -> Vec<Item> {
    positions.into_iter().map(|at| Item { position: Some(at), release: None }).collect()
}

/// What is to be kept of each partition: what is given back stays with its position, which counts
/// before.
fn gather(positions: Vec<Position>, released: Vec<Position>) -> Vec<Item> {
    let place = |at: &Position| (at.topic.clone(), at.partition);
    let mut released: BTreeMap<_, _> = released.into_iter().map(|at| (place(&at), at)).collect();
    let both = positions.into_iter().map(|at| {
        let release = released.remove(&place(&at));
        Item { position: Some(at), release }
    });
    let mut items: Vec<_> = both.collect();
    let others = released.into_values().map(|at| Item { position: None, release: Some(at) });
    items.extend(others);
    items
}
