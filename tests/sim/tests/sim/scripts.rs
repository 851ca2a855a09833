//! Several brokers, step by step: what is sent when, and how a group gets over what happens to its
//! members.

use ropewalk_consensus::shard::MAX_WRITES_IN_FLIGHT;
use ropewalk_consensus::{
    Durability, Input, MembershipChange, Message, MessageKind, ProposalKind, ProposeError, Receipt,
};
use ropewalk_core::{GroupId, NodeId, ReplicaId};
use ropewalk_sim::cluster::{COMMANDS, Cluster, LOG, trim};

const QUORUM: Durability = Durability::Quorum;

fn others(cluster: &Cluster, node: NodeId) -> Vec<NodeId> {
    cluster.nodes().into_iter().filter(|other| *other != node).collect()
}

/// Delivers what a broker is to get of a group, and returns how many messages that were.
fn deliver_to(cluster: &mut Cluster, node: NodeId) -> usize {
    let mut count = 0;
    while let Some(place) = cluster.network.iter().position(|m| m.to.node() == node) {
        cluster.deliver(place);
        count += 1;
    }
    count
}

fn kinds(cluster: &Cluster, group: GroupId) -> Vec<MessageKind> {
    cluster.network.iter().filter(|m| m.group == group).map(|m| m.kind).collect()
}

#[test]
fn a_leader_sends_while_it_writes_and_a_follower_answers_when_it_has_written() {
    let mut cluster = Cluster::settled(3);
    let leader = cluster.leader(LOG).unwrap();
    let id = cluster.produce(leader, 3, QUORUM);
    assert_eq!(kinds(&cluster, LOG), [MessageKind::Append; 2]);
    for follower in others(&cluster, leader) {
        deliver_to(&mut cluster, follower);
    }
    assert!(cluster.network.is_empty(), "nothing is promised yet");
    for follower in others(&cluster, leader) {
        cluster.persist(follower);
    }
    assert_eq!(kinds(&cluster, LOG), [MessageKind::AppendResponse; 2]);
    deliver_to(&mut cluster, leader);
    assert!(matches!(cluster.ends[&id], Ok(Receipt::Appended { achieved: QUORUM, .. })));
    assert_eq!(cluster.bounds(leader), (0, 3), "two disks of three have it, not the leader's");
}

#[test]
fn appends_that_follow_one_another_are_sent_as_one() {
    let mut cluster = Cluster::settled(3);
    let leader = cluster.leader(COMMANDS).unwrap();
    let command = |reply| {
        // The head of a registration, so that it is taken for one that is damaged.
        let kind = ProposalKind::Command([&[2, 1], &reply_bytes(reply)[..]].concat());
        let proposal = ropewalk_consensus::Proposal { kind, reply, held: Box::new(()) };
        Input::Propose(COMMANDS, proposal)
    };
    cluster.step(leader, (1_000..1_010).map(command).collect());
    let sizes: Vec<_> = cluster.network.iter().map(|message| message.entries.len()).collect();
    assert_eq!(sizes, [10, 10]);
}

fn reply_bytes(reply: u64) -> Vec<u8> {
    reply.to_le_bytes().to_vec()
}

#[test]
fn a_leader_that_is_cut_off_answers_no_read_and_loses_what_was_not_committed() {
    let mut cluster = Cluster::settled(3);
    let old = cluster.leader(LOG).unwrap();
    let kept = cluster.produce(old, 1, QUORUM);
    cluster.run(3);
    cluster.isolate(old);
    let lost = cluster.produce(old, 1, QUORUM);
    let read = cluster.propose(old, LOG, ProposalKind::Bounds);
    cluster.run(5);
    assert!(!cluster.ends.contains_key(&read), "it cannot know whether it still leads");
    cluster.run(60);
    assert_eq!(cluster.ends[&read].as_ref().unwrap_err(), &ProposeError::NoLeader);
    let failed = cluster.ends[&lost].as_ref().unwrap_err();
    assert!(matches!(failed, ProposeError::LeaderChanged { .. }));
    let new = cluster.leader(LOG).unwrap();
    assert_ne!(new, old);
    let next = cluster.produce(new, 1, QUORUM);
    cluster.run(3);
    cluster.cut.clear();
    cluster.run(40);
    for node in cluster.nodes() {
        assert_eq!(cluster.log(node), [(0, kept), (1, next)], "broker {node}");
        assert_eq!(cluster.at(node).leaders[&LOG].map(ReplicaId::node), Some(new));
    }
}

/// A leader stands still while another one is elected and answers; then it is asked where the log
/// ends, and how far the metadata is (etcd#20418).
#[test]
fn a_leader_that_stood_still_answers_no_read() {
    let mut cluster = Cluster::settled(3);
    for group in [LOG, COMMANDS] {
        let old = cluster.leader(group).unwrap();
        cluster.isolate(old);
        let others = others(&cluster, old);
        for _ in 0..60 {
            for node in &others {
                cluster.step(*node, vec![Input::Tick]);
            }
            cluster.rest();
        }
        let leads = |node: &&NodeId| cluster.see(**node).serves.contains_key(&group);
        let new = *others.iter().find(leads).expect("two of three elect a leader");
        let (done, read) = if group == LOG {
            (cluster.produce(new, 1, QUORUM), ProposalKind::Bounds)
        } else {
            (cluster.command(new), ProposalKind::Query(Vec::new()))
        };
        cluster.rest();
        assert!(cluster.ends[&done].is_ok());
        let asked = cluster.propose(old, group, read);
        cluster.rest();
        assert!(!cluster.ends.contains_key(&asked), "it cannot know whether it still leads");
        cluster.cut.clear();
        cluster.run(60);
    }
}

#[test]
fn leadership_is_handed_over_without_an_election_timeout() {
    let mut cluster = Cluster::settled(3);
    let old = cluster.leader(LOG).unwrap();
    let heir = others(&cluster, old)[0];
    let to = cluster.at(heir).assigned[&LOG].replica;
    let id = cluster.propose(old, LOG, ProposalKind::TransferLeadership(to));
    assert!(matches!(cluster.ends[&id], Ok(Receipt::Done)));
    cluster.rest();
    assert_eq!(cluster.leader(LOG), Some(heir), "not a tick has passed");
    let stranger = ReplicaId::new(NodeId(9), 1);
    let id = cluster.propose(heir, LOG, ProposalKind::TransferLeadership(stranger));
    assert_eq!(cluster.ends[&id].as_ref().unwrap_err(), &ProposeError::Members);
}

fn change(cluster: &mut Cluster, group: GroupId, change: MembershipChange) {
    let receipt = cluster.insist(group, || ProposalKind::Membership(change));
    assert!(matches!(receipt, Receipt::Done));
}

#[test]
fn a_broker_that_lost_its_disk_comes_back_under_new_ids() {
    let mut cluster = Cluster::settled(3);
    let leader = cluster.leader(LOG).unwrap();
    for _ in 0..20 {
        cluster.produce(leader, 2, QUORUM);
        cluster.run(1);
    }
    cluster.insist(LOG, || trim(13));
    let lost = *others(&cluster, leader)
        .iter()
        .find(|node| Some(**node) != cluster.leader(COMMANDS))
        .unwrap();
    let replaced = cluster.wipe(lost);
    cluster.start(lost);
    for (group, old, new) in replaced {
        cluster.run(20);
        assert_eq!(cluster.at(lost).members[&group], (vec![], vec![]), "it waits to be added");
        change(&mut cluster, group, MembershipChange::AddLearner(new));
        change(&mut cluster, group, MembershipChange::Promote(new));
        change(&mut cluster, group, MembershipChange::Remove(old));
        cluster.run(10);
        let leader = cluster.leader(group).unwrap();
        let members = cluster.at(leader).members[&group].clone();
        assert!(members.0.contains(&new) && !members.0.contains(&old) && members.1.is_empty());
        assert_eq!(cluster.at(lost).members[&group], members);
    }
    assert_eq!(cluster.log(lost), cluster.log(leader));
    assert_eq!(cluster.bounds(lost), (13, 40));
}

#[test]
fn changes_that_the_members_do_not_allow_are_refused() {
    let mut cluster = Cluster::settled(3);
    let leader = cluster.leader(LOG).unwrap();
    let this = cluster.at(leader).assigned[&LOG].replica;
    let stranger = ReplicaId::new(NodeId(9), 1);
    let mut refused = |change: MembershipChange| {
        let id = cluster.propose(leader, LOG, ProposalKind::Membership(change));
        *cluster.ends[&id].as_ref().unwrap_err()
    };
    assert_eq!(refused(MembershipChange::AddLearner(this)), ProposeError::Members);
    assert_eq!(refused(MembershipChange::Promote(stranger)), ProposeError::Members);
    assert_eq!(refused(MembershipChange::Remove(stranger)), ProposeError::Members);
    assert_eq!(refused(MembershipChange::Remove(this)), ProposeError::Members);
    let add = ProposalKind::Membership(MembershipChange::AddLearner(stranger));
    cluster.propose(leader, LOG, add);
    let second = MembershipChange::AddLearner(ReplicaId::new(NodeId(8), 1));
    let second = cluster.propose(leader, LOG, ProposalKind::Membership(second));
    assert_eq!(
        cluster.ends[&second].as_ref().unwrap_err(),
        &ProposeError::Members,
        "one at a time"
    );
    cluster.run(2);
    let promote = ProposalKind::Membership(MembershipChange::Promote(stranger));
    let id = cluster.propose(leader, LOG, promote);
    assert_eq!(cluster.ends[&id].as_ref().unwrap_err(), &ProposeError::Behind(stranger));
    cluster.run(25);
    let id = cluster.propose(leader, LOG, ProposalKind::Progress);
    let Ok(Receipt::Progress { members, .. }) = &cluster.ends[&id] else { panic!("no progress") };
    let lags: Vec<_> = members.iter().map(|m| (m.is_voter, m.is_active, m.lag > 0)).collect();
    let up_to_date = (true, true, false);
    assert_eq!(lags, [up_to_date, up_to_date, up_to_date, (false, false, true)]);
}

/// Whoever does not know of a removal counts the removed one's vote: it may go when a majority
/// knows, or the others could be left with nobody to choose a leader with.
#[test]
fn a_removed_replica_goes_when_the_group_can_do_without_it_and_without_its_leader() {
    let mut cluster = Cluster::settled(4);
    let leader = cluster.leader(LOG).unwrap();
    let leaving = others(&cluster, leader)[0];
    let replica = cluster.at(leaving).assigned[&LOG].replica;
    let remove = ProposalKind::Membership(MembershipChange::Remove(replica));
    let removed = cluster.propose(leader, LOG, remove);
    for node in others(&cluster, leader) {
        deliver_to(&mut cluster, node);
        cluster.persist(node);
    }
    cluster.persist(leader);
    deliver_to(&mut cluster, leader);
    assert_eq!(cluster.ends[&removed], Ok(Receipt::Done), "the leader knows that it is removed");
    cluster.network.clear();
    // As brokers do, it asks the leader now and then whether it is a member still.
    let may_go = |cluster: &mut Cluster| {
        let id = cluster.propose(leader, LOG, ProposalKind::Progress);
        match &cluster.ends[&id] {
            Ok(Receipt::Progress { members, .. }) => members.iter().all(|m| m.replica != replica),
            _ => false,
        }
    };
    let asks = (0..10).take_while(|_| {
        let may_go = may_go(&mut cluster);
        if !may_go {
            cluster.run(1);
        }
        !may_go
    });
    assert!(asks.count() < 10, "it is let go in the end");
    cluster.step(leaving, vec![Input::Remove(LOG)]);
    cluster.crash(leader, 0);
    cluster.run(60);
    let heir = cluster.leader(LOG).expect("two of the three that are left choose a leader");
    let id = cluster.produce(heir, 1, QUORUM);
    cluster.run(3);
    assert!(cluster.ends[&id].is_ok());
}

/// While as many writes are under way as there may be, no message leaves a broker.
#[test]
fn a_leader_whose_disk_hangs_leads_on_until_four_writes_wait_for_it() {
    let mut cluster = Cluster::settled(3);
    let old = cluster.leader(LOG).unwrap();
    cluster.at(old).is_disk_still = true;
    let id = cluster.produce(old, 1, QUORUM);
    cluster.run(60);
    assert!(cluster.ends[&id].is_ok(), "a majority has it");
    assert_eq!(cluster.leader(LOG), Some(old));
    for _ in 0..MAX_WRITES_IN_FLIGHT {
        cluster.produce(old, 1, QUORUM);
    }
    cluster.run(25);
    let new = cluster.leader(LOG).unwrap();
    assert_ne!(new, old, "after the longest election timeout and one of the others'");
    let id = cluster.produce(new, 1, QUORUM);
    cluster.run(3);
    assert!(cluster.ends[&id].is_ok());
    cluster.at(old).is_disk_still = false;
    cluster.run(40);
    assert_eq!(cluster.log(old), cluster.log(new));
}

/// Raft forgets once in an election timeout who has answered, until the next heartbeat.
#[test]
fn a_member_that_answers_is_active_at_every_moment_and_one_that_does_not_for_two_timeouts() {
    let mut cluster = Cluster::settled(3);
    let leader = cluster.leader(LOG).unwrap();
    let active = |cluster: &mut Cluster| {
        let id = cluster.propose(leader, LOG, ProposalKind::Progress);
        let Ok(Receipt::Progress { members, .. }) = &cluster.ends[&id] else {
            panic!("no progress")
        };
        members.iter().filter(|member| member.is_active).count()
    };
    for _ in 0..40 {
        cluster.run(1);
        assert_eq!(active(&mut cluster), 3);
    }
    let away = others(&cluster, leader)[0];
    cluster.isolate(away);
    cluster.run(21);
    assert_eq!(active(&mut cluster), 2);
}

/// Raft-rs sends nothing more to a replica until it knows how its snapshot fared.
#[test]
fn a_snapshot_that_was_lost_is_sent_again() {
    let mut cluster = Cluster::settled(3);
    let leader = cluster.leader(LOG).unwrap();
    let joining = others(&cluster, leader)[0];
    let (_, new) = cluster.replace(joining, LOG);
    let add = ProposalKind::Membership(MembershipChange::AddLearner(new));
    cluster.propose(leader, LOG, add);
    let is_snapshot = |message: &Message| message.kind == MessageKind::Snapshot;
    let mut lost = 0;
    for _ in 0..80 {
        for node in cluster.nodes() {
            cluster.step(node, vec![Input::Tick]);
        }
        while !cluster.network.is_empty() {
            if cluster.network.front().is_some_and(is_snapshot) && lost < 2 {
                cluster.network.pop_front();
                lost += 1;
                continue;
            }
            cluster.deliver(0);
            cluster.nodes().into_iter().for_each(|node| while cluster.persist(node) {});
        }
    }
    assert_eq!(lost, 2);
    change(&mut cluster, LOG, MembershipChange::Promote(new));
}

/// The rows of a snapshot replace those that the replica had; the machine checks its state.
#[test]
fn a_replica_that_was_away_for_long_gets_the_rows_of_a_snapshot() {
    let mut cluster = Cluster::settled(3);
    let leader = cluster.leader(COMMANDS).unwrap();
    let away = others(&cluster, leader)[0];
    for _ in 0..30 {
        cluster.command(leader);
    }
    cluster.run(5);
    cluster.isolate(away);
    for _ in 0..2_300 {
        cluster.command(leader);
        if cluster.network.len() > 20 {
            cluster.rest();
        }
    }
    cluster.run(20);
    cluster.cut.clear();
    cluster.run(60);
    let id = cluster.propose(leader, COMMANDS, ProposalKind::Progress);
    let Ok(Receipt::Progress { members, .. }) = &cluster.ends[&id] else {
        panic!("it leads no more")
    };
    assert!(members.iter().all(|member| member.lag == 0), "{members:?}");
    cluster.crash(away, 0);
    cluster.start(away);
    cluster.run(20);
}

/// To acknowledge what is gone, or to vote as if it had never been, would lose it for all.
#[test]
fn a_replica_whose_disk_has_lost_what_it_confirmed_takes_itself_out() {
    let mut cluster = Cluster::settled(3);
    let leader = cluster.leader(LOG).unwrap();
    let damaged = *others(&cluster, leader)
        .iter()
        .find(|node| Some(**node) != cluster.leader(COMMANDS))
        .unwrap();
    cluster.produce(leader, 1, QUORUM);
    cluster.run(5);
    cluster.crash(damaged, 0);
    // The last write that holds entries, and what follows it.
    cluster.lose_writes(damaged, 2);
    cluster.start(damaged);
    cluster.run(10);
    assert_eq!(cluster.damaged, [(damaged, LOG)]);
    let id = cluster.produce(leader, 1, QUORUM);
    cluster.run(5);
    assert!(matches!(cluster.ends[&id], Ok(Receipt::Appended { .. })), "the others go on");
}

/// Everything that is under way arrives and is written. Returns how often a broker refused entries.
fn refusals(cluster: &mut Cluster, by: NodeId) -> usize {
    let mut count = 0;
    loop {
        let is_refusal = |m: &Message| m.group == LOG && m.from.node() == by && m.reject;
        count += usize::from(cluster.network.front().is_some_and(is_refusal));
        let mut is_at_rest = cluster.network.is_empty();
        cluster.deliver(0);
        for node in cluster.nodes() {
            is_at_rest &= !cluster.persist(node);
        }
        if is_at_rest {
            return count;
        }
    }
}

/// The leader has long forgotten the entries there, and does not wait for its disk.
#[test]
fn a_long_tail_that_nobody_else_has_is_replaced_after_a_few_questions() {
    let mut cluster = Cluster::settled(3);
    let old = cluster.leader(LOG).unwrap();
    cluster.produce(old, 1, QUORUM);
    cluster.run(3);
    cluster.isolate(old);
    for _ in 0..2_000 {
        cluster.produce(old, 1, Durability::Leader);
        while cluster.persist(old) {}
    }
    cluster.run(60);
    let new = cluster.leader(LOG).unwrap();
    for _ in 0..2_000 {
        cluster.produce(new, 1, QUORUM);
        cluster.rest();
    }
    // Who leads now first asks for the end of its log.
    let third = *others(&cluster, old).iter().find(|node| **node != new).unwrap();
    let to = cluster.at(third).assigned[&LOG].replica;
    cluster.propose(new, LOG, ProposalKind::TransferLeadership(to));
    cluster.rest();
    assert_eq!(cluster.leader(LOG), Some(third));
    cluster.cut.clear();
    let mut count = 0;
    for _ in 0..60 {
        for node in cluster.nodes() {
            cluster.step(node, vec![Input::Tick]);
        }
        count += refusals(&mut cluster, old);
    }
    assert_eq!(cluster.log(old), cluster.log(third));
    assert!((1..5).contains(&count), "{count} questions");
}
