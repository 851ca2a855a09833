//! Brokers follow the metadata as they do in a process: each takes up the replicas that it is
//! given, and the one that leads a group brings its members along, one step at a time.

use ropewalk_cluster::{
    Members, Metadata, MetadataAnswer, MetadataCommand, Step, answer, replacement,
};
use ropewalk_consensus::{MemberProgress, MembershipChange, ProposalKind, ProposeError, Receipt};
use ropewalk_core::{GroupId, NodeId, ReplicaId};

use super::{COMMANDS, Cluster, GROUPS, LOG};
use crate::broker::{Assignment, Joining};
use crate::commands;
use crate::moments::Moment;

/// Whether a step adds a member.
fn is_addition(step: Step) -> bool {
    matches!(step, Step::Change(MembershipChange::AddLearner(_)))
}

impl Cluster {
    /// Forms the cluster, and registers each of its brokers.
    pub fn form(&mut self, count: u64) {
        self.carry_out(&commands::form(count)).unwrap();
        for node in self.nodes() {
            self.carry_out(&commands::registration(node, 1, 0)).unwrap();
        }
    }

    pub(super) fn create_log(&mut self, replicas: u32) {
        let created = self.carry_out(&commands::create(0, "log", 1, Some(replicas))).unwrap();
        let topic = created.topic.unwrap();
        assert_eq!(topic.partitions[0].group, LOG);
        self.log_replicas = u64::from(replicas);
    }

    /// Has a command carried out by whoever leads.
    pub fn carry_out(&mut self, command: &MetadataCommand) -> MetadataAnswer {
        let kind = || ProposalKind::Command(command.encode());
        let Receipt::Applied(response) = self.insist(COMMANDS, kind) else {
            panic!("a command has another receipt")
        };
        answer::decode_applied(&response).unwrap().1
    }

    /// How many replicas the partition is to have.
    #[must_use]
    pub fn log_replicas(&self) -> u64 {
        self.log_replicas
    }

    /// The metadata as a broker knows it.
    #[must_use]
    pub fn metadata(&self, node: NodeId) -> Option<std::sync::Arc<Metadata>> {
        Some(self.see(node).metadata.as_ref()?.borrow().clone())
    }

    /// A broker takes up the replica of the partition that its metadata gives it.
    pub(super) fn follow(&mut self, node: NodeId) {
        let follows = self.follows;
        let broker = &mut self.brokers[node.0 as usize - 1];
        let Some(watch) = broker.metadata.as_mut().filter(|_| follows) else { return };
        if !watch.has_changed().unwrap_or(false) {
            return;
        }
        let metadata = watch.borrow_and_update().clone();
        // What it was before the cluster knew of the broker's disk is void.
        if metadata.index < broker.follows_from {
            return;
        }
        self.place(node, &metadata);
    }

    /// A broker takes up the replica of the partition that it is to have. What it has stays until
    /// the group lets it go: it may be all that there is.
    fn place(&mut self, node: NodeId, metadata: &Metadata) {
        let Some(replicas) = metadata.replicas(LOG) else { return };
        let own = replicas.iter().find(|replica| replica.node() == node).copied();
        let broker = &mut self.brokers[node.0 as usize - 1];
        let is_held = broker.readers.contains_key(&LOG);
        let Some(own) = own else {
            return self.leave(node, metadata);
        };
        let founders = metadata.founders(LOG).unwrap_or_default();
        let founders = if founders.contains(&own) { founders.to_vec() } else { Vec::new() };
        let assignment = Assignment { replica: own, founders };
        let current = broker.assigned.get(&LOG).map(|assigned| assigned.replica);
        let came_back = std::mem::take(&mut broker.is_leaving) && is_held && current == Some(own);
        self.moments.note_if(came_back, Moment::ReplicaCameBack);
        if !is_held && broker.stored.contains_key(&LOG) {
            broker.assigned.insert(LOG, assignment);
            self.take_up(node, LOG);
        } else if !is_held || current != Some(own) {
            // After a start the metadata may stand at a later index than that of its last command.
            broker.placed_at = self.ledger.lock().unwrap().last_up_to(metadata.index);
            self.assign(node, LOG, assignment);
        }
    }

    /// A broker is to have no replica of the partition. What it has stays until the group has let
    /// it go, and may come back until then.
    fn leave(&mut self, node: NodeId, metadata: &Metadata) {
        let broker = self.at(node);
        let Some(replica) = broker.assigned.get(&LOG).map(|assigned| assigned.replica) else {
            return;
        };
        let is_held = broker.readers.contains_key(&LOG);
        broker.is_leaving = true;
        if metadata.has_let_go(LOG, replica) {
            if is_held || broker.stored.contains_key(&LOG) {
                self.drop_replica(node, LOG);
                self.moments.note(Moment::ReplicaMoved);
            }
            let broker = self.at(node);
            broker.assigned.remove(&LOG);
            broker.damaged.remove(&LOG);
        } else if !is_held && broker.stored.contains_key(&LOG) {
            self.take_up(node, LOG);
        }
    }

    /// Makes the next step of each group whose members are not yet those that they are to be, of
    /// each broker that waits to be let in, and of each replica that cannot be read.
    pub fn bring_along(&mut self) {
        self.propose_what_is_confirmed();
        self.add_confirmed();
        for node in self.nodes() {
            self.let_in(node);
            self.report_damage(node);
        }
        for group in GROUPS {
            let Some(leader) = self.leader(group) else { continue };
            let mut behind = Vec::new();
            while let Some(step) = self.next_step(group, leader, &behind) {
                if group == LOG && is_addition(step) {
                    self.confirm_metadata(leader);
                    break;
                }
                let kind = match step {
                    Step::Change(change) => ProposalKind::Membership(change),
                    Step::HandOver(to) => {
                        self.moments.note(Moment::HandedOverToLeave);
                        ProposalKind::TransferLeadership(to)
                    }
                };
                let asked = self.propose(leader, group, kind);
                match self.ends.get(&asked) {
                    Some(Err(ProposeError::Behind(replica))) if !behind.contains(replica) => {
                        behind.push(*replica);
                    }
                    _ => break,
                }
            }
        }
        self.let_go();
    }

    fn next_step(&self, group: GroupId, leader: NodeId, behind: &[ReplicaId]) -> Option<Step> {
        let desired = self.metadata(leader)?.desired(group)?;
        let own = self.see(leader).assigned[&group].replica;
        let (voters, learners) = &self.see(leader).members[&group];
        Members { own, voters, learners, behind }.next_step(&desired)
    }

    /// Whether somebody waits to be let in, or a group is on its way to other members, or it cannot
    /// be said: those who lead must know of the metadata up to `since`.
    #[must_use]
    pub fn is_changing(&self, since: u64) -> bool {
        let placed = self.brokers.iter().map(|broker| broker.placed_at.max(broker.follows_from));
        let since = placed.max().unwrap_or(0).max(since);
        let waits = self.brokers.iter().any(|broker| {
            broker.joining.is_some() || broker.is_rotten || !broker.damaged.is_empty()
        });
        let is_to_change = |group: &GroupId| match self.leader(*group) {
            Some(leader) => {
                let knows = self.metadata(leader).is_some_and(|known| known.index >= since);
                !knows
                    || self.next_step(*group, leader, &[]).is_some()
                    || !self.majority_knows(*group, leader)
            }
            None => true,
        };
        waits || GROUPS.iter().any(is_to_change) || self.has_leaving()
    }

    /// Whether a majority of a group's members can choose a leader without the one that leads: each
    /// counts votes by the members that it knows, and some of the former ones may be gone.
    fn majority_knows(&self, group: GroupId, leader: NodeId) -> bool {
        let members = |node| self.see(node).members.get(&group).filter(|_| self.is_up(node));
        let Some(known) = members(leader) else { return false };
        let knows = |voter: &&ReplicaId| members(voter.node()) == Some(known);
        2 * known.0.iter().filter(knows).count() > known.0.len()
    }

    fn has_leaving(&self) -> bool {
        self.brokers.iter().any(|broker| {
            let Some(metadata) = self.metadata(broker.node) else { return true };
            let replicas = metadata.replicas(LOG).unwrap_or_default();
            let own = replicas.iter().find(|replica| replica.node() == broker.node);
            let has = broker.assigned.get(&LOG).map(|assigned| &assigned.replica);
            own != has && broker.readers.contains_key(&LOG)
        })
    }

    /// Whoever leads the partition has those forgotten that it counts no more.
    fn let_go(&mut self) {
        let Some(leader) = self.leader(LOG).filter(|_| !self.is_confirming(true)) else { return };
        let Some(metadata) = self.metadata(leader).filter(|known| known.has_former(LOG)) else {
            return;
        };
        if self.next_step(LOG, leader, &[]).is_some() {
            return;
        }
        let Some((members, epoch)) = self.members_at(leader) else { return };
        let gone = metadata.gone(LOG, &members);
        if !gone.is_empty() {
            self.confirm(leader, epoch, MetadataCommand::ForgetReplicas { gone });
        }
    }

    /// The members of the partition by the word of a broker, and the epoch in which it leads.
    fn members_at(&mut self, leader: NodeId) -> Option<(Vec<MemberProgress>, u64)> {
        let asked = self.propose(leader, LOG, ProposalKind::Progress);
        match self.ends.remove(&asked) {
            Some(Ok(Receipt::Progress { members, leader_epoch })) => Some((members, leader_epoch)),
            _ => None,
        }
    }

    /// Whether it is being made sure that replicas are to be forgotten, or that one is to be
    /// replaced: neither waits for the other, as different brokers do them.
    fn is_confirming(&self, forgets: bool) -> bool {
        let is_such = |command: &MetadataCommand| {
            matches!(command, MetadataCommand::ForgetReplicas { .. }) == forgets
        };
        self.confirming.iter().any(|(_, _, command)| is_such(command))
    }

    /// A command is right if the broker that has told of the members leads still after that.
    fn confirm(&mut self, leader: NodeId, epoch: u64, command: MetadataCommand) {
        let asked = self.propose(leader, LOG, ProposalKind::Bounds);
        self.confirming.push((asked, epoch, command));
    }

    fn propose_what_is_confirmed(&mut self) {
        for (asked, epoch, command) in std::mem::take(&mut self.confirming) {
            match self.ends.get(&asked) {
                Some(Ok(Receipt::Bounds { leader_epoch, .. })) if *leader_epoch == epoch => {
                    let is_damaged = !matches!(command, MetadataCommand::ForgetReplicas { .. });
                    self.moments.note_if(is_damaged, Moment::DamagedReplaced);
                    let Some(leader) = self.leader(COMMANDS) else { continue };
                    self.propose(leader, COMMANDS, ProposalKind::Command(command.encode()));
                }
                None if self.is_asked(asked) => self.confirming.push((asked, epoch, command)),
                _ => {}
            }
        }
    }

    /// Whoever adds a member makes sure first that it has all of the metadata.
    fn confirm_metadata(&mut self, leader: NodeId) {
        let Some(of_metadata) = self.leader(COMMANDS).filter(|_| self.adding.is_none()) else {
            return;
        };
        let epoch = self.see(leader).serves[&LOG];
        let asked = self.propose(of_metadata, COMMANDS, ProposalKind::Query(Vec::new()));
        self.adding = Some((asked, leader, epoch));
    }

    /// Adds a member to the partition where its leader has all of the metadata, and has led since
    /// before it asked for them.
    fn add_confirmed(&mut self) {
        let Some((asked, leader, epoch)) = self.adding.take() else { return };
        let Some(Ok(Receipt::Applied(answer))) = self.ends.get(&asked) else {
            self.adding = self.is_asked(asked).then_some((asked, leader, epoch));
            return;
        };
        let index = answer::decode_index(answer).unwrap();
        if !self.is_up(leader) || self.see(leader).serves.get(&LOG) != Some(&epoch) {
            return;
        }
        if self.metadata(leader).is_none_or(|known| known.index < index) {
            // What was restored counts entries that are no commands: the next one does not.
            let nothing = MetadataCommand::ForgetReplicas { gone: Vec::new() };
            let Some(of_metadata) = self.leader(COMMANDS) else { return };
            self.propose(of_metadata, COMMANDS, ProposalKind::Command(nothing.encode()));
            return;
        }
        let step = self.next_step(LOG, leader, &[]).filter(|step| is_addition(*step));
        if let Some(Step::Change(change)) = step {
            self.propose(leader, LOG, ProposalKind::Membership(change));
        }
    }

    /// A broker with an empty disk asks any member which replicas it is to have.
    fn let_in(&mut self, node: NodeId) {
        let ask = |cluster: &mut Self| {
            let Some(leader) = cluster.leader(COMMANDS) else { return Joining::Wants };
            let disk = cluster.see(node).disks;
            let command = commands::registration(node, disk, 0).encode();
            Joining::Asked(cluster.propose(leader, COMMANDS, ProposalKind::Command(command)))
        };
        match self.see(node).joining {
            None => {}
            Some(Joining::Wants) => {
                let joining = ask(self);
                self.at(node).joining = Some(joining);
            }
            Some(Joining::Asked(id)) => match self.ends.remove(&id) {
                Some(Ok(Receipt::Applied(response))) => self.is_let_in(node, &response),
                // Whom it asked has ended, or did nothing: it asks again.
                Some(_) => self.at(node).joining = Some(Joining::Wants),
                None if !self.asked.contains_key(&id) => {
                    self.at(node).joining = Some(Joining::Wants);
                }
                None => {}
            },
        }
    }

    fn is_let_in(&mut self, node: NodeId, response: &[u8]) {
        let (index, answer) = answer::decode_applied(response).unwrap();
        let replica = answer.unwrap().broker.unwrap().metadata_replica;
        // As a process that was told of the cluster's founders: it is one under their ids alone.
        let is_founder = replica == ReplicaId::new(node, 0);
        let all = self.nodes().into_iter().map(|node| ReplicaId::new(node, 0));
        let founders = if is_founder { all.collect() } else { Vec::new() };
        let broker = self.at(node);
        broker.joining = None;
        broker.follows_from = index;
        broker.assigned.insert(COMMANDS, Assignment { replica, founders });
        self.start(node);
    }

    /// A broker has its replica replaced that it cannot read. One that leads hands over first.
    fn report_damage(&mut self, node: NodeId) {
        let broker = self.see(node);
        let Some(group) = broker.damaged.first().copied().filter(|_| broker.is_up()) else {
            return;
        };
        let Some(own) = broker.assigned.get(&group).map(|assigned| assigned.replica) else {
            return;
        };
        if broker.serves.contains_key(&group) {
            let voters = broker.members[&group].0.clone();
            let mut others: Vec<_> = voters.into_iter().filter(|voter| *voter != own).collect();
            // One that is to go itself would hand over at once, and maybe to this one.
            let known = self.metadata(node);
            let wanted = known.as_deref().and_then(|known| known.replicas(group));
            others.sort_by_key(|other| !wanted.unwrap_or_default().contains(other));
            for other in others {
                let id = self.propose(node, group, ProposalKind::TransferLeadership(other));
                let end = self.ends.get(&id);
                if !matches!(end, Some(Err(ProposeError::Behind(_)))) {
                    break;
                }
            }
            return;
        }
        if group == LOG {
            return self.replace_damaged(own);
        }
        let Some(leader) = self.leader(COMMANDS) else { return };
        let command = MetadataCommand::ReplaceReplica { group, replica: own };
        self.propose(leader, COMMANDS, ProposalKind::Command(command.encode()));
    }

    /// A damaged replica of the partition is replaced where the others can do without it.
    fn replace_damaged(&mut self, replica: ReplicaId) {
        let Some(leader) = self.leader(LOG).filter(|_| !self.is_confirming(false)) else { return };
        let wanted = self.metadata(replica.node());
        let is_wanted =
            |known: &Metadata| known.replicas(LOG).is_some_and(|wanted| wanted.contains(&replica));
        if !wanted.as_deref().is_some_and(is_wanted) {
            return;
        }
        let Some((members, epoch)) = self.members_at(leader) else { return };
        if let Some(command) = replacement(LOG, replica, &members) {
            self.confirm(leader, epoch, command);
        }
    }
}
