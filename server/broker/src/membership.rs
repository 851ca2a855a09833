//! A stream of a member of a consumer group: it joins, hears what the member has, and goes.
//!
//! It knows no records. Whoever reads the member's partitions asks it what has changed, and drops
//! it when the stream ends: then the member has left, or is waited for.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_consensus::ProposeError;
use ropewalk_core::{MemberId, PartitionId, TopicId};
use ropewalk_groups::error::{Fence, Fenced};
use ropewalk_groups::{
    Action, ConsumerGroup, Delta, GroupError, GroupReply, Holding, Join, Joined, News, Patience,
    Selection, Strategy, news_for,
};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::broker::Broker;
use crate::coordinator::{CoordinatorError, Sight};
use crate::errors::CommitError;
use crate::members::LOST_AFTER;
use crate::patterns::Patterns;
use crate::sights::Sights;

/// The pause before a member that could not come back tries again, and one that goes.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How often a group is told that a member has gone. Without success it notices by itself.
const TELL_TIMES: u32 = 5;

/// Who joins.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The consumer group.
    pub group: String,
    /// The member that it was before; `None`: it is new.
    pub member: Option<MemberId>,
    /// The name of a static member.
    pub instance: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// The host that it runs on.
    pub host: String,
    /// What it wants to read.
    pub selections: Vec<Selection>,
    /// The strategy that it asks for, if it does.
    pub strategy: Option<Strategy>,
    /// How long the group waits for it.
    pub patience: Patience,
}

/// Why a stream is no member's any more.
#[derive(Debug, Error)]
pub enum MembershipError {
    /// The group has gone on without it, or another stream is the member's now.
    #[error(transparent)]
    Refused(#[from] CommitError),
    /// The coordinator could not be told for too long that the stream is open.
    #[error(
        "this broker has lost touch with the coordinator of the consumer group: subscribe again \
         with the member id, through any broker"
    )]
    OutOfTouch,
}

/// What becomes of the member when its stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtEnd {
    /// It goes, or is waited for if it is a static one.
    Goes,
    /// It is waited for.
    IsLost,
    /// It is no member any more.
    IsGone,
}

/// As what a stream joins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// As that of a new member.
    New,
    /// As that of a member that had another one.
    Back,
    /// As the one that it is: the group has lost sight of it.
    Again,
}

/// An open stream of a member.
pub struct Membership {
    broker: Arc<Broker>,
    request: Arc<JoinRequest>,
    /// The number by which the group tells it from other streams of the member.
    stream: u64,
    joined: Joined,
    /// What was seen before this command does not know the stream yet.
    since: u64,
    sights: Sights,
    told: Option<Arc<ConsumerGroup>>,
    /// It was lost to the group, as its coordinator has another leader, and comes back.
    coming_back: Option<JoinHandle<Result<(u64, Joined), CommitError>>>,
    opened: Instant,
    at_end: AtEnd,
}

impl Membership {
    /// Joins a group. When the wait is given up, the group may have a member all the same: then it
    /// goes again, or is waited for if it was a member before.
    pub async fn open(broker: &Arc<Broker>, request: JoinRequest) -> Result<Self, CommitError> {
        broker.check_consumer_groups()?;
        // A task of its own: what has joined when nobody waits any more is dropped like a stream.
        let joining = tokio::spawn(Self::join(Arc::clone(broker), request));
        let mut joined = joining.await.expect("a join does not panic, and is not cancelled")?;
        joined.at_end = AtEnd::Goes;
        Ok(joined)
    }

    async fn join(broker: Arc<Broker>, request: JoinRequest) -> Result<Self, CommitError> {
        let sights = broker.watch_group(&request.group);
        // Who gives up to come back may try it through another broker.
        let (how, at_end) = match request.member {
            Some(_) => (Comes::Back, AtEnd::IsLost),
            None => (Comes::New, AtEnd::Goes),
        };
        let member = request.member.unwrap_or_else(MemberId::random);
        let random = MemberId::random().0;
        let stream = random.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let (request, opened) = (Arc::new(request), Instant::now());
        let (since, joined) = broker.join_group(&request, member, stream, how).await?;
        broker.members.open(&request.group, member, joined.session);
        let (told, coming_back) = (None, None);
        Ok(Self {
            broker,
            request,
            stream,
            joined,
            since,
            sights,
            told,
            coming_back,
            opened,
            at_end,
        })
    }

    /// The member.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.joined.member
    }

    /// The generation of the group when it joined.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.joined.generation
    }

    /// How the member has a partition, as far as it was told.
    #[must_use]
    pub fn has(&self, topic: TopicId, partition: PartitionId) -> Option<Holding> {
        let holding = self.told.as_ref()?.holding(topic, partition)?;
        (holding.member == self.joined.member).then_some(holding)
    }

    /// Whether a partition was added to what the group read already.
    #[must_use]
    pub fn is_added(&self, topic: TopicId, partition: PartitionId) -> bool {
        self.told.as_ref().is_some_and(|group| group.is_added(topic, partition))
    }

    /// The stream was cut off, rather than closed by its client: the member is waited for.
    pub fn cut_off(&mut self) {
        if self.at_end == AtEnd::Goes {
            self.at_end = AtEnd::IsLost;
        }
    }

    /// Waits for something that the member is to be told. Nothing is lost when the wait is given
    /// up.
    pub async fn next(&mut self) -> Result<Delta, MembershipError> {
        loop {
            let deadline = self.in_touch_until();
            if let Some(coming_back) = &mut self.coming_back {
                let back = tokio::select! {
                    back = coming_back => back,
                    () = sleep_until(deadline) => {
                        self.check_touch()?;
                        continue;
                    }
                };
                self.coming_back = None;
                self.came_back(back.expect("coming back does not panic, and is not cancelled"))?;
            }
            if let Some(delta) = self.look()? {
                return Ok(delta);
            }
            if self.coming_back.is_some() {
                continue;
            }
            tokio::select! {
                () = self.sights.changed() => {}
                () = sleep_until(deadline) => self.check_touch()?,
            }
        }
    }

    /// What is news, in what is seen of the group.
    fn look(&mut self) -> Result<Option<Delta>, MembershipError> {
        let Sight { index, group } = self.sights.last().clone();
        let is_told =
            group.as_ref().zip(self.told.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
        if index < self.since || is_told {
            return Ok(None);
        }
        let member = self.joined.member;
        let standing = group.as_ref().and_then(|group| group.standing(member));
        let is_another = standing.is_some_and(|known| known.session > self.joined.session);
        let Some(standing) = standing.filter(|_| !is_another) else {
            return Err(self.fenced(group.as_deref()));
        };
        if standing.is_lost {
            // Twice at once it would fence itself: the second one takes the place of the first.
            if self.coming_back.is_none() {
                self.come_back_after(Duration::ZERO);
            }
            return Ok(None);
        }
        match news_for(member, self.told.as_deref(), group.as_deref()) {
            Some(News::Delta(delta)) => {
                let is_first = self.told.is_none();
                self.told = group;
                // A generation alone can wait: commits with the one before count as much.
                Ok((is_first || !delta.is_quiet()).then_some(delta))
            }
            Some(News::Fenced { .. }) => Err(self.fenced(group.as_deref())),
            None => Ok(None),
        }
    }

    fn fenced(&mut self, group: Option<&ConsumerGroup>) -> MembershipError {
        self.at_end = AtEnd::IsGone;
        let actual = self.told.as_ref().map_or(self.joined.generation, |told| told.generation());
        let expected = group.map_or(0, ConsumerGroup::generation);
        let instance = self.request.instance.as_deref();
        let fence =
            group.map_or(Fence::NotAMember, |group| group.fence_of(self.joined.member, instance));
        let fenced = Fenced { fence, expected, actual };
        CommitError::Refused(CoordinatorError::Group(GroupError::Fenced(fenced))).into()
    }

    fn come_back_after(&mut self, pause: Duration) {
        let (broker, request) = (Arc::clone(&self.broker), Arc::clone(&self.request));
        let (member, stream) = (self.joined.member, self.stream);
        self.coming_back = Some(tokio::spawn(async move {
            sleep(pause).await;
            broker.join_group(&request, member, stream, Comes::Again).await
        }));
    }

    fn came_back(
        &mut self,
        back: Result<(u64, Joined), CommitError>,
    ) -> Result<(), MembershipError> {
        match back {
            Ok((since, joined)) => {
                let group = &self.request.group;
                self.broker.members.close(group, joined.member, self.joined.session);
                self.broker.members.open(group, joined.member, joined.session);
                (self.since, self.joined) = (since, joined);
                Ok(())
            }
            Err(CommitError::Refused(error)) => {
                self.at_end = AtEnd::IsGone;
                Err(CommitError::Refused(error).into())
            }
            Err(error) => {
                // Whoever leads the coordinator next knows better.
                tracing::debug!(%error, group = self.request.group, "a member is not back yet");
                self.check_touch()?;
                self.come_back_after(TRY_AGAIN);
                Ok(())
            }
        }
    }

    /// Until when the coordinator's leader surely counts on this stream.
    fn in_touch_until(&self) -> Instant {
        let told = self.broker.members.told(&self.request.group);
        told.map_or(self.opened, |told| told.max(self.opened)) + LOST_AFTER
    }

    fn check_touch(&mut self) -> Result<(), MembershipError> {
        if Instant::now() < self.in_touch_until() {
            return Ok(());
        }
        self.cut_off();
        Err(MembershipError::OutOfTouch)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let Joined { member, session, .. } = self.joined;
        self.broker.members.close(&self.request.group, member, session);
        let goes = self.at_end == AtEnd::Goes && self.request.instance.is_none();
        if self.at_end == AtEnd::IsGone {
            return;
        }
        // Outside a runtime the broker has stopped already.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (broker, request) = (Arc::clone(&self.broker), Arc::clone(&self.request));
        let coming_back = self.coming_back.take();
        runtime.spawn(async move {
            // It may be back any moment, as a session that is to go too.
            let session = match coming_back {
                Some(coming_back) => match coming_back.await {
                    Ok(Ok((_, joined))) => joined.session,
                    _ => session,
                },
                None => session,
            };
            let action = match goes {
                true => Action::Leave { member, session },
                false => Action::Lose { member, session },
            };
            for _ in 0..TELL_TIMES {
                match broker.change_group(&request.group, action.clone()).await {
                    Ok(_) | Err(CommitError::Refused(_)) => return,
                    Err(_) => sleep(TRY_AGAIN).await,
                }
            }
        });
    }
}

impl Broker {
    async fn join_group(
        &self,
        request: &JoinRequest,
        member: MemberId,
        stream: u64,
        how: Comes,
    ) -> Result<(u64, Joined), CommitError> {
        let resolution = Patterns::default().resolve(request.selections.iter(), &self.metadata());
        let join = Join {
            member,
            is_new: how == Comes::New,
            stream,
            is_again: how == Comes::Again,
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            host: request.host.clone(),
            selections: request.selections.clone(),
            resolution,
            strategy: request.strategy.clone(),
            patience: request.patience,
        };
        let mut tries = 0;
        loop {
            match self.change_group(&request.group, Action::Join(Box::new(join.clone()))).await {
                Ok((index, GroupReply::Joined(joined))) => return Ok((index, joined)),
                Ok((_, GroupReply::Done)) => unreachable!("whoever joins is told as what"),
                // The same member twice is one.
                Err(CommitError::Propose(ProposeError::LeaderChanged { .. }))
                    if tries < TELL_TIMES =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
