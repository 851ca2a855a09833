//! What holds after any sequence of commands, with clients that hear late, commits that arrive
//! late, and brokers that begin to lead.

use ropewalk_core::{MemberId, PartitionId, Timestamp};

use super::dice::{Dice, runs};
use super::{Client, GROUP, World, word};
use crate::{
    Action, Committer, GroupCommand, Join, MemberAssignment, PlanRequest, Strategy, TopicPartition,
};

/// Something that happens. Clients, topics and choices are numbers, taken modulo what there is.
#[derive(Clone, Debug)]
enum Op {
    Join {
        topics: usize,
        instance: usize,
        strategy: usize,
    },
    Rejoin {
        who: usize,
        topics: Option<usize>,
    },
    Leave {
        who: usize,
    },
    Lose {
        who: usize,
        is_late: bool,
    },
    Pass {
        seconds: i64,
    },
    ExpireEarly,
    Tell {
        who: usize,
    },
    Release {
        who: usize,
        only_first: bool,
    },
    ReleaseAgain {
        which: usize,
    },
    /// A client gives back what is not its own, in a generation that is still to come.
    ReleaseAll {
        who: usize,
    },
    Topic {
        letter: char,
        count: u32,
    },
    Resolve {
        is_old: bool,
    },
    Begin,
    Plan {
        who: usize,
        how: usize,
    },
    Delete,
}

const SELECTIONS: [&str; 5] = ["a", "a b", "/abc", "b c", "/ac"];
const STRATEGIES: [&str; 5] = ["", "sticky", "range", "round-robin", "client:own"];

fn op(dice: &mut Dice) -> Op {
    let who = dice.below(1_000);
    // Mostly all read the same, and nobody asks for a strategy.
    let topics = if dice.one_in(3) { dice.below(SELECTIONS.len()) } else { 2 };
    match dice.below(49) {
        0..5 => Op::Join {
            topics,
            instance: if dice.one_in(3) { 1 + dice.below(2) } else { 0 },
            strategy: if dice.one_in(4) { dice.below(STRATEGIES.len()) } else { 0 },
        },
        5..8 => Op::Rejoin { who, topics: dice.one_in(4).then_some(topics) },
        8..10 => Op::Leave { who },
        10..13 => Op::Lose { who, is_late: dice.one_in(2) },
        13..17 => Op::Pass { seconds: [1, 2, 3, 4, 5][dice.below(5)] },
        17 => Op::ExpireEarly,
        18..28 => Op::Tell { who },
        28..34 => Op::Release { who, only_first: dice.one_in(2) },
        34..36 => Op::ReleaseAgain { which: who },
        36..39 => Op::Topic {
            letter: ['a', 'b', 'c'][dice.below(3)],
            count: u32::try_from(dice.below(7)).unwrap(),
        },
        39..42 => Op::Resolve { is_old: dice.one_in(2) },
        42 => Op::Begin,
        43..46 => Op::Plan { who, how: dice.below(5) },
        46 => Op::Delete,
        _ => Op::ReleaseAll { who },
    }
}

/// What a client knew at some time: a commit of it may be on its way for long.
#[derive(Clone)]
struct Known {
    member: MemberId,
    client: Client,
}

#[derive(Clone, Default)]
struct Run {
    world: World,
    known: Vec<Known>,
    releases: Vec<Action>,
    next: u8,
}

impl Run {
    fn member(&self, who: usize) -> Option<MemberId> {
        let count = self.world.clients.len();
        self.world.clients.keys().nth(who.checked_rem(count)?).copied()
    }

    /// Whether the stream of a client is the one that the group knows.
    fn is_connected(&self, member: MemberId) -> bool {
        let session = self.world.clients[&member].session;
        let group = self.world.groups.get(GROUP);
        group.is_some_and(|group| group.connected().any(|known| known == (member, session)))
    }

    fn remember(&mut self, member: MemberId) {
        let client = self.world.clients[&member].clone();
        self.known.push(Known { member, client });
        if self.known.len() > 40 {
            self.known.remove(0);
        }
    }

    fn join(&mut self, topics: usize, instance: usize, strategy: usize) {
        self.next += 1;
        let member = MemberId([self.next; 16]);
        let mut join = self.world.joining(member, SELECTIONS[topics % SELECTIONS.len()]);
        join.instance = (instance > 0).then(|| format!("pod-{instance}"));
        let strategy = STRATEGIES[strategy % STRATEGIES.len()];
        join.strategy = Strategy::from_name(strategy).ok();
        self.world.try_join(join).unwrap();
    }

    fn rejoin(&mut self, member: MemberId, topics: Option<usize>) {
        self.remember(member);
        let group = self.world.groups.get(GROUP).cloned();
        let known = group.as_ref().and_then(|group| group.members.get(&member).cloned());
        let instance = self.world.clients[&member].instance.clone();
        let mut join = Join { instance, ..self.world.joining(member, "a") };
        if let Some(known) = &known {
            let resolution = self.world.resolution(known.selections.iter());
            let (selections, strategy) = (known.selections.clone(), known.strategy.clone());
            join = Join { selections, strategy, resolution, ..join };
        }
        if let Some(topics) = topics {
            let other = self.world.joining(member, SELECTIONS[topics % SELECTIONS.len()]);
            join = Join { selections: other.selections, resolution: other.resolution, ..join };
        }
        assert_eq!(self.world.try_join(join).is_ok(), known.is_some());
    }

    fn release(&mut self, member: MemberId, only_first: bool) {
        let client = &self.world.clients[&member];
        let back = client.has.iter().filter(|(_, (_, is_back))| *is_back).map(|(p, _)| *p);
        let partitions: Vec<_> = back.take(if only_first { 1 } else { usize::MAX }).collect();
        let releaser = Committer { member, generation: client.generation };
        let release = Action::Release { releaser, partitions };
        self.releases.push(release.clone());
        // A client that is gone may try.
        let _ = self.world.act(release);
    }

    fn plan(&mut self, member: MemberId, how: usize) {
        let Some(group) = self.world.groups.get(GROUP).cloned() else { return };
        let Some(request) = group.plan_request(member) else { return };
        let mut assignments = planned(&request);
        let (mut id, mut is_sound) = (request.id, true);
        match how {
            1 => (id, is_sound) = (id - 1, false),
            2 => is_sound = !assignments.iter_mut().any(|one| one.partitions.pop().is_some()),
            3 => {
                let first = assignments.iter().find_map(|one| one.partitions.first().copied());
                assignments[0].partitions.extend(first);
                is_sound = first.is_none();
            }
            _ => {}
        }
        let answer = self.world.act(Action::Submit { member, plan: id, assignments });
        assert_eq!(answer.is_ok(), is_sound, "{answer:?}");
    }

    fn resolve(&mut self, is_old: bool) {
        let Some(group) = self.world.groups.get(GROUP).cloned() else { return };
        if !is_old {
            self.world.resolve();
            return;
        }
        let mut resolution = self.world.resolution(group.selections());
        resolution.as_of = resolution.as_of.saturating_sub(2);
        resolution.topics.clear();
        self.world.act(Action::Resolve(resolution)).unwrap();
    }

    fn happen(&mut self, op: &Op) {
        match *op {
            Op::Join { topics, instance, strategy } => self.join(topics, instance, strategy),
            Op::Pass { seconds } => self.world.pass(seconds),
            Op::Topic { letter, count: 0 } => {
                self.world.topics.remove(&letter);
            }
            Op::Topic { letter, count } => {
                let count = count.max(self.world.topics.get(&letter).copied().unwrap_or(0));
                self.world.topics.insert(letter, count);
            }
            Op::Resolve { is_old } => self.resolve(is_old),
            Op::Begin => self.world.begin(),
            Op::ExpireEarly => drop(self.world.act(Action::Expire)),
            Op::Delete => drop(self.world.act(Action::Delete)),
            Op::ReleaseAgain { which } => {
                let count = self.releases.len();
                if let Some(at) = which.checked_rem(count) {
                    let _ = self.world.act(self.releases[at].clone());
                }
            }
            Op::Rejoin { who, .. }
            | Op::Leave { who }
            | Op::Lose { who, .. }
            | Op::Tell { who }
            | Op::Release { who, .. }
            | Op::ReleaseAll { who }
            | Op::Plan { who, .. } => {
                if let Some(member) = self.member(who) {
                    self.happen_to(member, op);
                }
            }
        }
    }

    fn happen_to(&mut self, member: MemberId, op: &Op) {
        let session = self.world.clients[&member].session;
        match *op {
            Op::Rejoin { topics, .. } => self.rejoin(member, topics),
            Op::Leave { .. } => drop(self.world.act(Action::Leave { member, session })),
            Op::Lose { is_late, .. } => {
                let session = session - u32::from(is_late);
                let _ = self.world.act(Action::Lose { member, session });
            }
            Op::Tell { .. } => {
                self.remember(member);
                let is_gone =
                    self.world.groups.get(GROUP).is_none_or(|g| !g.members.contains_key(&member));
                if self.is_connected(member) || is_gone {
                    self.world.told(member);
                }
            }
            Op::Release { only_first, .. } => self.release(member, only_first),
            Op::ReleaseAll { .. } => {
                let releaser = Committer { member, generation: u64::MAX };
                let _ = self.world.act(Action::Release { releaser, partitions: every() });
            }
            Op::Plan { how, .. } => self.plan(member, how),
            _ => {}
        }
    }

    /// A commit counts if and only if its client knew of the era that is.
    fn check_commits(&self) {
        let now = self.world.clients.iter().map(|(member, client)| (*member, client));
        let late = self.known.iter().map(|known| (known.member, &known.client));
        let every = every();
        for (member, client) in now.chain(late) {
            for partition in &every {
                let committer = Committer { member, generation: client.generation };
                let answer = self.world.groups.check_commit(GROUP, Some(committer), [*partition]);
                let group = self.world.groups.get(GROUP);
                let holding = group.and_then(|group| group.holding(partition.0, partition.1));
                let era = holding.filter(|held| held.member == member).map(|held| held.since);
                let known = client.has.get(partition).map(|(since, _)| *since);
                let counts = era.is_some() && era == known;
                assert_eq!(answer.is_ok(), counts, "{member} on {}: {answer:?}", word(partition));
            }
        }
    }

    /// Nothing more happens, but that members hear and do what they are told: soon the group is
    /// stable, and everybody knows what it has.
    fn check_quiet(&mut self) {
        if self.world.groups.get(GROUP).is_none() {
            return;
        }
        self.world.resolve();
        for _ in 0..15 {
            self.world.settle();
            self.world.pass(1);
        }
        self.world.settle();
        let group = self.world.group();
        assert!(
            matches!(self.world.state().as_str(), "stable" | "empty"),
            "{}",
            self.world.shown()
        );
        assert_eq!(group.next_deadline(), None);
        for (member, _) in group.connected() {
            let own = group.slots().filter_map(|(partition, slot)| {
                let holding = slot.holding.filter(|holding| holding.member == member)?;
                Some((partition, (holding.since, false)))
            });
            let own: std::collections::BTreeMap<_, _> = own.collect();
            let client = &self.world.clients[&member];
            assert_eq!(own, client.has, "{member}");
        }
    }
}

/// Every partition that there may be.
fn every() -> Vec<TopicPartition> {
    let of = |letter| (0..7).map(move |at| (super::topic_id(letter), PartitionId(at)));
    ['a', 'b', 'c'].into_iter().flat_map(of).collect()
}

/// A sound plan: partition by partition, from the last member to the first.
fn planned(request: &PlanRequest) -> Vec<MemberAssignment> {
    let empty =
        |member: &crate::PlanMember| MemberAssignment { member: member.id, partitions: Vec::new() };
    let mut assignments: Vec<_> = request.members.iter().map(empty).collect();
    for (topic, count) in &request.topics {
        let takers = (0..request.members.len()).rev();
        let takers: Vec<_> =
            takers.filter(|at| request.members[*at].topics.contains(topic)).collect();
        for partition in 0..*count {
            let taker = takers[partition as usize % takers.len()];
            assignments[taker].partitions.push((*topic, PartitionId(partition)));
        }
    }
    assignments
}

#[test]
fn any_history_keeps_the_rules_and_becomes_quiet() {
    runs(2_000, |dice| {
        let mut run = Run { world: World::with("a5 b3"), ..Run::default() };
        let length = 5 + dice.below(100);
        for _ in 0..length {
            run.happen(&op(dice));
            run.check_commits();
        }
        run.check_quiet();
    });
}

/// A broker that stops leading and begins again does the same as one that went on.
#[test]
fn the_same_commands_do_the_same() {
    let mut world = World::with("a5 b3");
    world.join('x');
    world.join_to('y', "a b");
    let mut twin = world.restored();
    let command = GroupCommand::Change {
        group: GROUP.to_owned(),
        time: Timestamp(9),
        action: Action::Leave { member: super::member_id('x'), session: 1 },
    };
    let applied = world.groups.apply(9, &command.encode());
    let again = twin.apply(9, &command.encode());
    assert_eq!((applied.answer, applied.rows), (again.answer, again.rows));
    assert_eq!(world.groups, twin);
}
