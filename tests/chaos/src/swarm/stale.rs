//! Commits of members that are owners no more, three ways: each of them has to be refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_proto::v1;
use tokio::time::{Instant, sleep};

use super::members::{End, Open};
use super::{AGAIN, CALL_TIMEOUT, Habits, Member, Swarm, Worker};
use crate::client::{Stubs, outcome_of, within};
use crate::error::ChaosError;
use crate::frozen::Freezer;
use crate::history::{Answer, Call, Place, RecordedAs};
use crate::load::TOPICS;

/// The group whose former members commit.
pub const STALE_GROUP: &str = "stale";

/// How long a member may need until it has what it is to have: one that is silent is waited for
/// 8 s, and its grace of 5 s.
const WITHIN: Duration = Duration::from_secs(25);
/// How often a commit is sent that is not answered.
const TRIES: u32 = 20;

/// What a member had in a generation.
#[derive(Clone)]
struct Known {
    generation: i64,
    had: BTreeMap<Place, i64>,
}

/// A member that does what it is told, and its stream.
struct Puppet {
    member: Member,
    open: Open,
}

/// One without a stream, and what it had last.
struct Former {
    member: Member,
    known: Known,
}

impl Puppet {
    async fn join(mut member: Member) -> Result<Self, ChaosError> {
        let open = member.open().await.map_err(|end| lost("joining", end))?;
        Ok(Self { member, open })
    }

    /// Goes on with its stream, and those of others, until it has so many partitions.
    async fn has(&mut self, count: usize, others: &mut [&mut Self]) -> Result<(), ChaosError> {
        let until = Instant::now() + WITHIN;
        while self.member.next.len() != count {
            if Instant::now() > until {
                let had = self.member.next.len();
                let what = format!("a member has {had} partitions after {WITHIN:?}, not {count}");
                return Err(ChaosError::broken(what));
            }
            for puppet in others.iter_mut() {
                puppet.step().await?;
            }
            self.step().await?;
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<(), ChaosError> {
        self.member.step(&mut self.open).await.map_err(|end| lost("a stream", end))
    }

    fn known(&self) -> Known {
        Known { generation: self.member.generation, had: self.member.next.clone() }
    }

    async fn is_refused(
        &mut self,
        known: &Known,
        address: &str,
        how: &str,
    ) -> Result<(), ChaosError> {
        is_refused(&mut self.member, known, address, how).await
    }

    /// It leaves.
    fn leave(self) -> Former {
        let known = self.known();
        self.member.close(self.open, End::Left);
        Former { member: self.member, known }
    }

    /// Its stream has broken, whatever it knows of that.
    fn former(self) -> Former {
        let known = self.known();
        self.member.close(self.open, End::Broke);
        Former { member: self.member, known }
    }
}

impl Former {
    async fn is_refused(&mut self, address: &str, how: &str) -> Result<(), ChaosError> {
        is_refused(&mut self.member, &self.known, address, how).await
    }
}

/// A member commits what it had, in the generation of then, and is refused.
async fn is_refused(
    member: &mut Member,
    known: &Known,
    address: &str,
    how: &str,
) -> Result<(), ChaosError> {
    let stubs = Stubs::connect(address).await?;
    let newest = std::mem::replace(&mut member.generation, known.generation);
    for (place, offset) in known.had.clone() {
        let mut left = TRIES;
        loop {
            match member.commit(&stubs, place.clone(), offset, false).await {
                RecordedAs::Fail => break,
                RecordedAs::Unknown if left > 0 => left -= 1,
                other => {
                    let what = format!("{how}: its commit of {place} was answered: {other:?}");
                    return Err(ChaosError::broken(what));
                }
            }
        }
    }
    member.generation = newest;
    Ok(())
}

fn lost(what: &str, end: End) -> ChaosError {
    ChaosError::broken(format!("{what} of a member that does as it is told ended: {end:?}"))
}

impl Swarm {
    /// Lets former owners commit: one that stood still for longer than its grace, one that stays
    /// while its partitions go and come back, and one whose group was deleted and made anew.
    ///
    /// # Errors
    /// When one of these commits counts, or a group does not do what the test needs.
    pub async fn commit_stale(&self) -> Result<(), ChaosError> {
        let mut stays = self.paused_past_grace().await?;
        let former = self.moved_while_it_stays(&mut stays).await?;
        self.deleted_and_made_anew(stays, former).await
    }

    async fn puppet(&self, worker: Worker) -> Result<Puppet, ChaosError> {
        let (habits, topics) = (Habits::OBEDIENT, [TOPICS[0].0]);
        let member = Member::new(worker, habits, STALE_GROUP, &topics, &self.is_restless);
        Puppet::join(member).await
    }

    fn any_address(&self) -> &str {
        &self.addresses[1 % self.addresses.len()].1
    }

    /// A member stands still until others have all that it had; gives one of them.
    async fn paused_past_grace(&self) -> Result<Puppet, ChaosError> {
        let freezer = Freezer::to(&self.addresses[0].1).await?;
        let way = (self.addresses[0].0, freezer.address().to_owned());
        let worker = Worker { addresses: Arc::new([way]), at: 0, ..self.worker(0) };
        let mut paused = self.puppet(worker).await?;
        paused.has(all(), &mut []).await?;
        freezer.freeze();
        let mut stays = self.puppet(self.worker(1)).await?;
        stays.has(all(), &mut []).await?;
        let mut paused = paused.former();
        paused.is_refused(self.any_address(), "a member that was paused past its grace").await?;
        Ok(stays)
    }

    /// Half of what a member has goes to another one and comes back; gives what it was before.
    async fn moved_while_it_stays(&self, stays: &mut Puppet) -> Result<Known, ChaosError> {
        let before = stays.known();
        let mut passing = self.puppet(self.worker(2)).await?;
        passing.has(all() / 2, &mut [stays]).await?;
        stays.has(all() / 2, &mut []).await?;
        let moved = before.had.into_iter().filter(|(at, _)| !stays.member.next.contains_key(at));
        let lost = Known { generation: before.generation, had: moved.collect() };
        let how = "a member whose partitions are with another one";
        stays.is_refused(&lost, self.any_address(), how).await?;
        let newest = Known { generation: stays.member.generation, had: lost.had.clone() };
        stays.is_refused(&newest, self.any_address(), how).await?;
        passing.leave();
        stays.has(all(), &mut []).await?;
        let how = "a member whose partitions went and came back";
        stays.is_refused(&newest, self.any_address(), how).await?;
        Ok(lost)
    }

    /// The group is deleted and made anew while a former member commits.
    async fn deleted_and_made_anew(&self, stays: Puppet, lost: Known) -> Result<(), ChaosError> {
        let how = "a member of a group that was deleted";
        let address = self.any_address();
        let mut former = stays.leave();
        let until = Instant::now() + WITHIN;
        while self.delete_group(address).await? != RecordedAs::Ok {
            if Instant::now() > until {
                let what = format!("a group without members was not deleted in {WITHIN:?}");
                return Err(ChaosError::broken(what));
            }
            sleep(AGAIN).await;
        }
        former.is_refused(address, how).await?;
        let mut anew = self.puppet(self.worker(2)).await?;
        former.is_refused(address, how).await?;
        anew.has(all(), &mut []).await?;
        former.is_refused(address, how).await?;
        // Also when it knows the new generation, or an old one.
        former.known.generation = anew.member.generation;
        former.is_refused(address, how).await?;
        former.known = lost;
        former.is_refused(address, how).await?;
        anew.leave();
        Ok(())
    }

    async fn delete_group(&self, address: &str) -> Result<RecordedAs, ChaosError> {
        let stubs = Stubs::connect(address).await?;
        let id = self.recorder.invoke(0, Call::DeleteGroup { group: STALE_GROUP.into() });
        let request = v1::DeleteConsumerGroupRequest { group: STALE_GROUP.to_owned() };
        let answer = stubs.admin().delete_consumer_group(within(request, CALL_TIMEOUT)).await;
        Ok(self.recorder.end(id, outcome_of(answer.map(|_| Answer::Done))))
    }
}

/// All partitions that the group reads.
fn all() -> usize {
    usize::try_from(TOPICS[0].1).unwrap_or(0)
}
