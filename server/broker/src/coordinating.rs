//! What the leader of a coordinator does for its consumer groups by itself: it notices which
//! members are lost, whose time is over, and what has become of the topics that they read.
//!
//! Everything that follows from this is a command like any other; the state machine knows no time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ropewalk_cluster::Metadata;
use ropewalk_consensus::planted::Plant;
use ropewalk_consensus::{ProposalKind, ProposeError};
use ropewalk_core::{GroupId, MemberId};
use ropewalk_groups::{Action, ConsumerGroup, GroupCommand, Selected};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::broker::Broker;
use crate::coordinator::{CoordinatorCommand, SharedState};
use crate::group_handle::GroupHandle;
use crate::members::LOST_AFTER;
use crate::patterns::Patterns;

/// How often the coordinators that this broker leads are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked which members are silent.
const LOOK_WHO_IS_SILENT: Duration = Duration::from_secs(1);
/// How long one of them may keep the others waiting, when it has no majority.
const TURN: Duration = Duration::from_secs(3);
/// What is done for one coordinator in one turn, at most.
const STEPS_IN_A_TURN: usize = 256;

/// Looks after the coordinators that this broker leads.
pub(crate) struct Coordinating {
    broker: Arc<Broker>,
    led: BTreeMap<GroupId, Led>,
    patterns: Patterns,
}

/// A coordinator that this broker leads.
struct Led {
    epoch: u64,
    /// Whether the groups know that another broker leads, or this one again.
    has_begun: bool,
    /// When it was last looked who is silent.
    looked: Option<Instant>,
    /// When a stream of each member was last heard of, and which.
    heard: BTreeMap<(String, MemberId), (u32, Instant)>,
    /// The metadata and the number of changes for which groups were looked at.
    resolved: Option<(u64, u64)>,
    looked_up: LookedUp,
}

/// The index of the metadata, and what was looked up in them for each group.
type LookedUp = (u64, BTreeMap<String, Arc<Selected>>);

impl Coordinating {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker, led: BTreeMap::new(), patterns: Patterns::default() }
    }

    /// Looks after them for ever.
    pub(crate) async fn run(mut self) {
        let mut turns = interval(LOOK_EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let coordinators = Arc::clone(&self.broker.table.borrow().coordinators);
            for (group, coordinator) in coordinators.iter() {
                let epoch = coordinator.handle.watch().and_then(|watch| watch.epoch());
                let (Some(epoch), Some(state)) = (epoch, &coordinator.state) else {
                    self.led.remove(group);
                    continue;
                };
                let led = self.led.entry(*group).or_insert_with(|| Led::new(epoch));
                if led.epoch != epoch {
                    *led = Led::new(epoch);
                }
                let turn = Turn {
                    broker: &self.broker,
                    handle: &coordinator.handle,
                    state,
                    led,
                    patterns: &mut self.patterns,
                };
                match timeout(TURN, turn.take()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(%group, %error, "a coordinator is not led here any more");
                    }
                    Err(_) => tracing::debug!(%group, "a coordinator commits nothing"),
                }
            }
        }
    }
}

impl Led {
    fn new(epoch: u64) -> Self {
        Self {
            epoch,
            has_begun: false,
            looked: None,
            heard: BTreeMap::new(),
            resolved: None,
            looked_up: LookedUp::default(),
        }
    }
}

/// One look at one coordinator.
struct Turn<'a> {
    broker: &'a Broker,
    handle: &'a GroupHandle,
    state: &'a SharedState,
    led: &'a mut Led,
    patterns: &'a mut Patterns,
}

impl Turn<'_> {
    async fn take(mut self) -> Result<(), ProposeError> {
        if !self.led.has_begun {
            let has_members = self.state.lock().groups.with_members().next().is_some();
            if has_members {
                self.propose(GroupCommand::Begin { time: self.handle.time() }).await?;
            }
            self.state.take_heard();
            self.led.has_begun = true;
        }
        self.expire().await?;
        self.lose().await?;
        self.resolve().await
    }

    /// Groups of which the time of something is over.
    async fn expire(&self) -> Result<(), ProposeError> {
        for _ in 0..STEPS_IN_A_TURN {
            let now = self.handle.time();
            let due = {
                let state = self.state.lock();
                let next = state.groups.next_deadline();
                let is_early = Plant::TakeEarly.is_planted();
                let next = next.filter(|(at, _)| *at <= now || is_early);
                next.map(|(at, group)| (at.max(now), group.to_owned()))
            };
            let Some((time, group)) = due else { return Ok(()) };
            self.propose(GroupCommand::Change { group, time, action: Action::Expire }).await?;
        }
        Ok(())
    }

    /// Members of whose streams nobody has told for too long.
    async fn lose(&mut self) -> Result<(), ProposeError> {
        let now = Instant::now();
        if self.led.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_WHO_IS_SILENT) {
            return Ok(());
        }
        self.led.looked = Some(now);
        let mut news = self.state.take_heard();
        let mut heard = BTreeMap::new();
        let mut silent = Vec::new();
        {
            let state = self.state.lock();
            for (name, group) in state.groups.with_members() {
                for (member, session) in group.connected() {
                    let key = (name.to_owned(), member);
                    let is_heard = news.remove(&key) == Some(session);
                    let known = self.led.heard.get(&key).filter(|known| known.0 == session);
                    let last = known.filter(|_| !is_heard).map_or(now, |known| known.1);
                    if now.duration_since(last) >= LOST_AFTER && silent.len() < STEPS_IN_A_TURN {
                        silent.push((key.clone(), session));
                    }
                    heard.insert(key, (session, last));
                }
            }
        }
        self.led.heard = heard;
        let time = self.handle.time();
        let lost = silent.into_iter().map(|((group, member), session)| {
            tracing::info!(group, %member, "nothing was heard of a member: it is waited for");
            let action = Action::Lose { member, session };
            self.propose(GroupCommand::Change { group, time, action })
        });
        join_all(lost).await.into_iter().collect()
    }

    /// Topics that have come, grown or gone.
    async fn resolve(&mut self) -> Result<(), ProposeError> {
        let metadata = self.broker.metadata();
        let now = (metadata.index, self.state.changes());
        if self.led.resolved == Some(now) {
            return Ok(());
        }
        let (commands, looked_up) = self.unresolved(&metadata);
        for command in commands {
            self.propose(command).await?;
        }
        (self.led.resolved, self.led.looked_up) = (Some(now), looked_up);
        Ok(())
    }

    /// What is to be told to groups. Only those are looked at whose selections are others, or all
    /// if the metadata are.
    fn unresolved(&mut self, metadata: &Metadata) -> (Vec<GroupCommand>, LookedUp) {
        let time = self.handle.time();
        let groups: Vec<_> = {
            let state = self.state.lock();
            let groups = state.groups.with_members();
            groups.map(|(name, group)| (name.to_owned(), Arc::clone(group))).collect()
        };
        let (of, known) = &self.led.looked_up;
        let is_known = |name: &str, group: &ConsumerGroup| {
            let known = known.get(name).filter(|_| *of == metadata.index);
            known.is_some_and(|known| Arc::ptr_eq(known, group.selected()))
        };
        let mut looked_up = BTreeMap::new();
        let mut commands = Vec::new();
        for (name, group) in groups {
            looked_up.insert(name.clone(), Arc::clone(group.selected()));
            if is_known(&name, &group) {
                continue;
            }
            let resolution = self.patterns.resolve(group.selections(), metadata);
            if !group.is_resolved(&resolution) {
                let action = Action::Resolve(resolution);
                commands.push(GroupCommand::Change { group: name, time, action });
            }
        }
        (commands, (metadata.index, looked_up))
    }

    /// Proposes it while this broker leads. What the groups answer is of no interest: it is looked
    /// again.
    async fn propose(&self, command: GroupCommand) -> Result<(), ProposeError> {
        let command = CoordinatorCommand::Group(command).encode();
        self.handle.propose_here(ProposalKind::Command(command)).await.map(|_| ())
    }
}
