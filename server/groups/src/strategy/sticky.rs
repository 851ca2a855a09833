//! Evenly, and with as few moves as can be.
//!
//! What a member has it keeps. Partitions of nobody go to the member with the fewest of those that
//! take the topic. Then, while somebody has two more than somebody that it could relieve itself to,
//! one partition moves: straight, or by a chain of members that each pass one on, where the two
//! have no topic in common. When no such chain is left, the assignment is as even as the
//! subscriptions allow (Harvey and others, "Semi-matchings for bipartite graphs and load
//! balancing", 2006); with equal subscriptions, no two members differ by more than one, and no
//! partition has moved that need not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Assign, Assignment, Input};

/// The places that are looked at for chains, in all. Beyond it the assignment stays as even as it
/// is by then: only with hundreds of different subscriptions does it come that far.
const MAX_STEPS: usize = 5_000_000;

/// The strategy `sticky`.
#[derive(Clone, Copy, Debug)]
pub struct Sticky;

impl Assign for Sticky {
    fn name(&self) -> &'static str {
        "sticky"
    }

    fn assign(&self, input: &Input) -> Assignment {
        let mut loads = Loads::new(input);
        loads.keep();
        loads.place();
        loads.level();
        loads.assignment()
    }
}

/// The partitions of one topic that a member has, the one that is to go first last.
#[derive(Clone, Debug, Default)]
struct Stack {
    partitions: Vec<u32>,
    /// How many of them, from the end, cost nothing when they move: the member does not read them
    /// yet.
    free: usize,
}

/// How gladly a topic of a member is moved from: what is free, then what there is most of.
type Rank = (bool, usize, usize);

impl Stack {
    fn rank(&self, topic: usize) -> Rank {
        (self.free > 0, self.partitions.len(), topic)
    }

    fn push(&mut self, partition: u32, is_free: bool) {
        self.partitions.push(partition);
        self.free = if is_free { self.free + 1 } else { 0 };
    }

    fn pop(&mut self) -> Option<u32> {
        self.free = self.free.saturating_sub(1);
        self.partitions.pop()
    }
}

/// One step of a chain: from the subscription before it (from the first member, at the start), a
/// partition of this topic goes to a member with this subscription.
#[derive(Clone, Copy)]
struct Hop {
    topic: usize,
    subscription: usize,
}

/// Who has what so far.
struct Loads<'a> {
    input: &'a Input,
    /// For each topic the subscriptions that name it.
    takers: Vec<Vec<usize>>,
    /// For each member how many partitions it has.
    load: Vec<usize>,
    /// For each subscription its members, the one with the fewest first.
    ranks: Vec<BTreeSet<(usize, usize)>>,
    /// For each member what it has, by topic.
    stacks: Vec<BTreeMap<usize, Stack>>,
    /// For each member its topics, the one that it moves from last.
    order: Vec<BTreeSet<Rank>>,
    /// For each subscription and topic the members that have some of it.
    holders: Vec<BTreeMap<usize, BTreeSet<usize>>>,
    /// The members that may still be relieved, the one with the most last.
    loaded: BTreeSet<(usize, usize)>,
}

impl<'a> Loads<'a> {
    fn new(input: &'a Input) -> Self {
        let (members, subscriptions) = (input.members.len(), input.subscriptions.len());
        let mut ranks = vec![BTreeSet::new(); subscriptions];
        for (member, subscription) in input.members.iter().enumerate() {
            ranks[*subscription].insert((0, member));
        }
        let mut takers = vec![Vec::new(); input.topics.len()];
        for (subscription, topics) in input.subscriptions.iter().enumerate() {
            if !ranks[subscription].is_empty() {
                topics.iter().for_each(|topic| takers[*topic].push(subscription));
            }
        }
        Self {
            input,
            takers,
            load: vec![0; members],
            ranks,
            stacks: vec![BTreeMap::new(); members],
            order: vec![BTreeSet::new(); members],
            holders: vec![BTreeMap::new(); subscriptions],
            loaded: (0..members).map(|member| (0, member)).collect(),
        }
    }

    fn takes(&self, member: usize, topic: usize) -> bool {
        let subscription = &self.input.subscriptions[self.input.members[member]];
        subscription.binary_search(&topic).is_ok()
    }

    /// Gives each member what it has already, what it reads before what it waits for.
    fn keep(&mut self) {
        for is_held in [true, false] {
            for (topic, partitions) in self.input.current.iter().enumerate() {
                for (partition, current) in (0..).zip(partitions) {
                    if let Some(current) = current
                        && current.is_held == is_held
                        && self.takes(current.member, topic)
                    {
                        self.give(current.member, topic, partition, !is_held);
                    }
                }
            }
        }
    }

    /// Gives what nobody has to the members with the fewest: first of the topics that fewest take.
    fn place(&mut self) {
        let members = |topic: &usize| -> usize {
            self.takers[*topic].iter().map(|subscription| self.ranks[*subscription].len()).sum()
        };
        let mut topics: Vec<_> = (0..self.input.topics.len()).collect();
        topics.sort_by_key(|topic| (members(topic), *topic));
        for topic in topics {
            for partition in 0..self.input.topics[topic] {
                let current = self.input.current[topic].get(partition as usize);
                let kept = current.copied().flatten().map(|current| current.member);
                if kept.is_some_and(|member| self.takes(member, topic)) {
                    continue;
                }
                let takers = self.takers[topic].iter();
                if let Some((_, member)) = takers.filter_map(|taker| self.least(*taker)).min() {
                    self.give(member, topic, partition, true);
                }
            }
        }
    }

    /// The member with this subscription that has the fewest, and how many.
    fn least(&self, subscription: usize) -> Option<(usize, usize)> {
        self.ranks[subscription].first().copied()
    }

    /// Moves partitions while that makes the loads more even.
    fn level(&mut self) {
        let mut search = Search::new(self.takers.len(), self.ranks.len());
        while let Some((load, member)) = self.loaded.last().copied() {
            match self.relief(member, &mut search) {
                Some(chain) => self.pass_on(member, &chain),
                // Whatever moves later, nobody that it could relieve itself to has fewer then.
                None => {
                    self.loaded.remove(&(load, member));
                }
            }
        }
    }

    /// The shortest chain from a member to one that has at least two fewer, and fewest of all that
    /// it can reach.
    fn relief(&self, member: usize, search: &mut Search) -> Option<Vec<Hop>> {
        if search.steps > MAX_STEPS {
            return None;
        }
        search.begin();
        search.visit(self.order[member].iter().rev().map(|rank| rank.2), None, &self.takers);
        let mut best: Option<(usize, usize)> = None;
        while let Some(subscription) = search.queue.pop_front() {
            let (load, _) = self.least(subscription)?;
            if best.is_none_or(|(least, _)| load < least) {
                best = Some((load, subscription));
            }
            let topics = self.holders[subscription].keys().copied();
            search.visit(topics, Some(subscription), &self.takers);
        }
        let (least, subscription) = best?;
        (self.load[member] >= least + 2).then(|| search.chain_to(subscription))
    }

    /// Carries out a chain: each in it passes one partition on, the last one keeps it.
    fn pass_on(&mut self, first: usize, chain: &[Hop]) {
        let mut from = first;
        for (at, hop) in chain.iter().enumerate() {
            let Hop { topic, subscription } = *hop;
            let to = match chain.get(at + 1) {
                Some(next) => self.holders[subscription][&next.topic].first().copied(),
                None => self.least(subscription).map(|(_, member)| member),
            };
            let to = to.expect("a chain leads over members that are there");
            let partition = self.take(from, topic);
            self.give(to, topic, partition, true);
            from = to;
        }
    }

    fn give(&mut self, member: usize, topic: usize, partition: u32, is_free: bool) {
        let stack = self.stacks[member].entry(topic).or_default();
        self.order[member].remove(&stack.rank(topic));
        stack.push(partition, is_free);
        self.order[member].insert(stack.rank(topic));
        let holders = &mut self.holders[self.input.members[member]];
        holders.entry(topic).or_default().insert(member);
        self.set_load(member, self.load[member] + 1);
    }

    fn take(&mut self, member: usize, topic: usize) -> u32 {
        let stack = self.stacks[member].get_mut(&topic).expect("it has some of the topic");
        self.order[member].remove(&stack.rank(topic));
        let partition = stack.pop().expect("it has some of the topic");
        if stack.partitions.is_empty() {
            self.stacks[member].remove(&topic);
            self.let_go(member, topic);
        } else {
            self.order[member].insert(stack.rank(topic));
        }
        self.set_load(member, self.load[member] - 1);
        partition
    }

    fn let_go(&mut self, member: usize, topic: usize) {
        let of_subscription = &mut self.holders[self.input.members[member]];
        if let Some(holders) = of_subscription.get_mut(&topic) {
            holders.remove(&member);
            if holders.is_empty() {
                of_subscription.remove(&topic);
            }
        }
    }

    fn set_load(&mut self, member: usize, load: usize) {
        let former = (std::mem::replace(&mut self.load[member], load), member);
        let ranks = &mut self.ranks[self.input.members[member]];
        ranks.remove(&former);
        ranks.insert((load, member));
        if self.loaded.remove(&former) {
            self.loaded.insert((load, member));
        }
    }

    fn assignment(self) -> Assignment {
        let mut assignment = self.input.unassigned();
        for (member, stacks) in self.stacks.into_iter().enumerate() {
            for (topic, stack) in stacks {
                for partition in stack.partitions {
                    assignment[topic][partition as usize] = Some(member);
                }
            }
        }
        assignment
    }
}

/// Which subscriptions a partition of somebody can get to, nearest first.
struct Search {
    /// The number of this search: what carries another one was seen by an earlier search.
    number: usize,
    topics: Vec<usize>,
    /// How each subscription is reached: in which search, by which topic, from which subscription.
    reached: Vec<(usize, usize, Option<usize>)>,
    unreached: usize,
    queue: VecDeque<usize>,
    /// The places that were looked at, in all searches.
    steps: usize,
}

impl Search {
    fn new(topics: usize, subscriptions: usize) -> Self {
        Self {
            number: 0,
            topics: vec![0; topics],
            reached: vec![(0, 0, None); subscriptions],
            unreached: 0,
            queue: VecDeque::new(),
            steps: 0,
        }
    }

    fn begin(&mut self) {
        self.number += 1;
        self.unreached = self.reached.len();
        self.queue.clear();
    }

    /// Goes on from a subscription, or from the first member, by these topics.
    fn visit(
        &mut self,
        topics: impl Iterator<Item = usize>,
        from: Option<usize>,
        takers: &[Vec<usize>],
    ) {
        for topic in topics {
            if self.unreached == 0 {
                return;
            }
            self.steps += 1;
            if std::mem::replace(&mut self.topics[topic], self.number) == self.number {
                continue;
            }
            for subscription in &takers[topic] {
                self.steps += 1;
                if self.reached[*subscription].0 != self.number {
                    self.reached[*subscription] = (self.number, topic, from);
                    self.unreached -= 1;
                    self.queue.push_back(*subscription);
                }
            }
        }
    }

    fn chain_to(&self, subscription: usize) -> Vec<Hop> {
        let (mut chain, mut at) = (Vec::new(), Some(subscription));
        while let Some(subscription) = at {
            let (_, topic, from) = self.reached[subscription];
            chain.push(Hop { topic, subscription });
            at = from;
        }
        chain.reverse();
        chain
    }
}
