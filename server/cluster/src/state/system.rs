//! Where the broker's own groups are to be: the metadata group and those that keep consumer groups.
//!
//! Nobody places them: each command that changes the brokers is followed by the same rule.
//! - The metadata group has one voter with one or two brokers, three with three or four, and five
//!   from five on: an even number of voters survives no more failures than one less. All other
//!   brokers are its learners, so that each has the metadata.
//! - A coordinator group has one voter with one or two brokers, and three from three on. They are
//!   spread evenly, over racks too where that moves nobody.
//! - Voters stay where they are as long as their brokers do and are not draining. A draining one
//!   gives its place to another broker if there is one.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::{GroupId, NodeId, ReplicaId};

use super::Change;
use crate::metadata::Metadata;
use crate::placement::{put, rack};

const MAX_COORDINATOR_REPLICAS: usize = 3;

/// The voters with which the groups of a new cluster begin. Every founder begins with them before
/// there is a first command.
#[must_use]
pub fn founder_placement(founders: &[NodeId]) -> BTreeMap<GroupId, Vec<ReplicaId>> {
    let founders: BTreeSet<_> = founders.iter().copied().collect();
    let founders: Vec<_> = founders.into_iter().map(|node| ReplicaId::new(node, 0)).collect();
    let count = founders.len().min(MAX_COORDINATOR_REPLICAS);
    let coordinators = GroupId::COORDINATORS.iter().enumerate().map(|(at, group)| {
        (
            *group,
            founders.iter().cycle().skip(at % founders.len().max(1)).take(count).copied().collect(),
        )
    });
    let mut groups: BTreeMap<_, _> = coordinators.collect();
    groups.insert(GroupId::METADATA, founders);
    groups
}

/// A broker that can have voters.
struct Member<'a> {
    rack: &'a str,
    is_draining: bool,
}

/// The brokers, and where the coordinators are while they are placed.
struct Rule<'a> {
    members: BTreeMap<NodeId, Member<'a>>,
    coordinators: BTreeMap<GroupId, Vec<NodeId>>,
    /// How many coordinators a broker has.
    load: BTreeMap<NodeId, usize>,
}

impl Change {
    /// Applies the rule to the brokers that there are now.
    pub(super) fn settle(&mut self) {
        let metadata = &self.next.metadata;
        let mut rule = Rule::new(metadata);
        let count = rule.members.len();
        let voters = rule.choose(&voters(metadata, GroupId::METADATA), metadata_voters(count));
        let replica = |id: &NodeId| metadata.metadata_replica(*id);
        let voters: Vec<_> = voters.iter().filter_map(replica).collect();
        rule.place_coordinators(coordinator_voters(count));
        rule.spread();
        rule.spread_leaders();
        let coordinators = rule.coordinators;
        let Metadata { system, former, .. } = &mut self.next.metadata;
        for (group, nodes) in coordinators {
            let replicas = &mut system.entry(group).or_default().replicas;
            put(group, replicas, &nodes, self.serial, former);
        }
        system.entry(GroupId::METADATA).or_default().replicas = voters;
    }
}

fn metadata_voters(brokers: usize) -> usize {
    match brokers {
        0..3 => 1,
        3..5 => 3,
        _ => 5,
    }
}

fn coordinator_voters(brokers: usize) -> usize {
    if brokers < MAX_COORDINATOR_REPLICAS { 1 } else { MAX_COORDINATOR_REPLICAS }
}

fn voters(metadata: &Metadata, group: GroupId) -> Vec<NodeId> {
    let replicas = metadata.replicas(group).unwrap_or_default();
    replicas.iter().map(|replica| replica.node()).collect()
}

impl<'a> Rule<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let member = |id| {
            let broker = metadata.brokers.get(&id);
            let rack = broker.map_or("", |broker| rack(broker));
            (id, Member { rack, is_draining: metadata.is_draining(id) })
        };
        let members: BTreeMap<_, _> = metadata.members().map(member).collect();
        let coordinators = GroupId::COORDINATORS.iter();
        let coordinators: BTreeMap<_, _> =
            coordinators.map(|group| (*group, voters(metadata, *group))).collect();
        let mut load: BTreeMap<_, _> = members.keys().map(|id| (*id, 0)).collect();
        for id in coordinators.values().flatten() {
            *load.entry(*id).or_default() += 1;
        }
        Self { members, coordinators, load }
    }

    /// The best voters for a group, those that stay first.
    fn choose(&self, current: &[NodeId], count: usize) -> Vec<NodeId> {
        let mut chosen: Vec<NodeId> = Vec::new();
        while chosen.len() < count {
            let others = self.members.iter().filter(|(id, _)| !chosen.contains(id));
            let best = others.min_by_key(|(id, member)| {
                let beside = self.in_rack(&chosen, member.rack);
                (member.is_draining, !current.contains(id), beside, self.load[id], **id)
            });
            let Some((best, _)) = best else { break };
            chosen.push(*best);
        }
        let place = |id: &NodeId| current.iter().position(|other| other == id);
        chosen.sort_by_key(|id| (place(id).unwrap_or(usize::MAX), *id));
        chosen
    }

    fn place_coordinators(&mut self, count: usize) {
        for group in GroupId::COORDINATORS {
            let current = self.coordinators.remove(&group).unwrap_or_default();
            self.count(&current, |load| *load -= 1);
            let chosen = self.choose(&current, count);
            self.count(&chosen, |load| *load += 1);
            self.coordinators.insert(group, chosen);
        }
    }

    /// Moves coordinators from brokers with many to brokers with few, until they differ by one at
    /// most, or racks forbid it. Each step makes the loads more even: it ends.
    fn spread(&mut self) {
        while let Some((group, from, to)) = self.step() {
            let nodes = self.coordinators.get_mut(&group).expect("a step names a coordinator");
            nodes.iter_mut().filter(|node| **node == from).for_each(|node| *node = to);
            self.count(&[from], |load| *load -= 1);
            self.count(&[to], |load| *load += 1);
        }
    }

    fn step(&self) -> Option<(GroupId, NodeId, NodeId)> {
        let mut ids: Vec<_> = self.members.keys().copied().collect();
        ids.sort_by_key(|id| (self.load[id], *id));
        for from in ids.iter().rev() {
            let emptier = ids.iter().take_while(|to| self.load[*to] + 2 <= self.load[from]);
            for to in emptier.filter(|to| !self.members[*to].is_draining) {
                let group = self.coordinators.iter().find(|(_, nodes)| {
                    nodes.contains(from)
                        && !nodes.contains(to)
                        && self.keeps_racks(nodes, *from, *to)
                });
                if let Some((group, _)) = group {
                    return Some((*group, *from, *to));
                }
            }
        }
        None
    }

    fn keeps_racks(&self, nodes: &[NodeId], from: NodeId, to: NodeId) -> bool {
        let rest: Vec<_> = nodes.iter().copied().filter(|node| *node != from).collect();
        let beside = |id: NodeId| self.in_rack(&rest, self.members[&id].rack);
        beside(to) <= beside(from)
    }

    /// Lets brokers that lead few of the coordinators take over from those that lead many, or are
    /// draining. Each step makes that more even, and when it is nothing moves.
    fn spread_leaders(&mut self) {
        let mut led: BTreeMap<NodeId, usize> = self.load.keys().map(|id| (*id, 0)).collect();
        for leader in self.coordinators.values().filter_map(|nodes| nodes.first()) {
            *led.entry(*leader).or_default() += 1;
        }
        while let Some((group, at)) = self.better_leader(&led) {
            let nodes = self.coordinators.get_mut(&group).expect("a step names a coordinator");
            led.entry(nodes[0]).and_modify(|led| *led -= 1);
            nodes[..=at].rotate_right(1);
            led.entry(nodes[0]).and_modify(|led| *led += 1);
        }
    }

    fn better_leader(&self, led: &BTreeMap<NodeId, usize>) -> Option<(GroupId, usize)> {
        let is_draining = |id: &NodeId| self.members[id].is_draining;
        let steps = self.coordinators.iter().flat_map(|(group, nodes)| {
            nodes.iter().enumerate().map(move |(at, id)| (*group, at, nodes[0], *id))
        });
        let better = steps.filter(|(_, _, leader, other)| {
            let is_more_even = led[other] + 2 <= led[leader];
            match (is_draining(leader), is_draining(other)) {
                (true, false) => true,
                (false, true) => false,
                _ => is_more_even,
            }
        });
        let best = better.min_by_key(|(group, at, _, other)| (led[other], *group, *at));
        best.map(|(group, at, ..)| (group, at))
    }

    fn in_rack(&self, nodes: &[NodeId], rack: &str) -> usize {
        let racks = nodes.iter().filter_map(|id| self.members.get(id));
        racks.filter(|member| member.rack == rack).count()
    }

    fn count(&mut self, nodes: &[NodeId], change: impl Fn(&mut usize)) {
        for id in nodes {
            change(self.load.entry(*id).or_default());
        }
    }
}
