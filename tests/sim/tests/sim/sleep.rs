//! Groups in which nothing happens sleep, and wake when something does.

use ropewalk_consensus::{
    Durability, Input, MembershipChange, Message, MessageKind, ProposalKind, ProposeError, Receipt,
};
use ropewalk_core::NodeId;
use ropewalk_sim::cluster::{COMMANDS, Cluster, GROUPS, LOG};

const QUORUM: Durability = Durability::Quorum;

/// A cluster whose groups sleep, and the broker that leads the partition.
fn asleep() -> (Cluster, NodeId) {
    let mut cluster = Cluster::settled(3);
    cluster.tell_all();
    cluster.fall_asleep();
    let leader = cluster.leader(LOG).unwrap();
    (cluster, leader)
}

fn others(cluster: &Cluster, node: NodeId) -> Vec<NodeId> {
    cluster.nodes().into_iter().filter(|other| *other != node).collect()
}

/// Who serves each group, and in which epoch.
fn serving(cluster: &Cluster) -> Vec<(NodeId, u64)> {
    let of = |group| {
        let serving = cluster
            .brokers
            .iter()
            .filter_map(move |broker| broker.serves.get(group).map(|epoch| (broker.node, *epoch)));
        serving.collect::<Vec<_>>()
    };
    GROUPS.iter().flat_map(of).collect()
}

fn takes(cluster: &mut Cluster) -> bool {
    let Some(leader) = cluster.leader(LOG) else { return false };
    let id = cluster.produce(leader, 1, QUORUM);
    cluster.run(3);
    matches!(cluster.ends.get(&id), Some(Ok(Receipt::Appended { .. })))
}

#[test]
fn a_group_in_which_nothing_happens_sends_nothing_and_is_there_at_once_when_asked() {
    let (mut cluster, leader) = asleep();
    let before = serving(&cluster);
    assert!(cluster.is_silent(100));
    let id = cluster.produce(leader, 2, QUORUM);
    let read = cluster.propose(leader, LOG, ProposalKind::Bounds);
    cluster.rest();
    assert!(matches!(cluster.ends[&id], Ok(Receipt::Appended { .. })), "not a tick has passed");
    assert!(cluster.ends[&read].is_ok());
    cluster.fall_asleep();
    assert_eq!(serving(&cluster), before, "no election");
    for node in cluster.nodes() {
        assert_eq!(cluster.bounds(node), (0, 2), "broker {node} knows the commit too");
    }
}

/// As before connections are announced, or where a broker is alone.
#[test]
fn a_group_stays_awake_while_a_member_is_out_of_reach() {
    let (mut cluster, leader) = asleep();
    let leaders = [Some(leader), cluster.leader(COMMANDS)];
    let away = cluster.nodes().into_iter().find(|node| !leaders.contains(&Some(*node))).unwrap();
    cluster.crash(away, 0);
    cluster.tell_all();
    cluster.run(60);
    assert!(!cluster.is_silent(5));
    cluster.start(away);
    cluster.run(60);
    assert!(!cluster.is_silent(5), "nobody has said that it is back");
    cluster.tell_all();
    cluster.fall_asleep();
}

#[test]
fn those_who_sleep_choose_a_new_leader_when_they_hear_that_the_old_one_is_gone() {
    let (mut cluster, old) = asleep();
    cluster.crash(old, 0);
    assert!(cluster.is_silent(200), "nobody knows");
    cluster.tell_all();
    cluster.run(40);
    let new = cluster.leader(LOG).unwrap();
    assert_ne!(new, old);
    assert!(takes(&mut cluster));
}

/// The process that the followers counted on is not there any more, though its broker is.
#[test]
fn a_leader_that_has_begun_anew_is_missed() {
    let (mut cluster, old) = asleep();
    cluster.crash(old, 0);
    cluster.start(old);
    cluster.tell_all();
    cluster.run(40);
    assert!(takes(&mut cluster));
    cluster.fall_asleep();
}

/// Ticks pass, and marks to one broker are lost.
fn run_deaf(cluster: &mut Cluster, deaf: NodeId, ticks: usize) -> usize {
    let is_lost = |m: &Message| m.quiesce && m.to.node() == deaf;
    let mut lost = 0;
    for _ in 0..ticks {
        for node in cluster.nodes() {
            cluster.step(node, vec![Input::Tick]);
        }
        while let Some(next) = cluster.network.front() {
            if is_lost(next) {
                cluster.network.pop_front();
                lost += 1;
            } else {
                cluster.deliver(0);
            }
        }
        cluster.rest();
    }
    lost
}

#[test]
fn a_follower_that_misses_the_mark_asks_and_disturbs_nobody() {
    let mut cluster = Cluster::settled(3);
    cluster.tell_all();
    let before = serving(&cluster);
    let leader = cluster.leader(LOG).unwrap();
    let deaf = others(&cluster, leader)[0];
    let lost = run_deaf(&mut cluster, deaf, 300);
    assert!(lost > 5, "the leader has tried again: {lost}");
    assert_eq!(serving(&cluster), before);
    cluster.fall_asleep();
    assert_eq!(serving(&cluster), before, "no term was spent on it");
}

#[test]
fn a_mark_that_comes_late_is_refused_and_wakes_the_leader() {
    let (mut cluster, leader) = asleep();
    let follower = others(&cluster, leader)[0];
    assert!(takes(&mut cluster));
    let is_mark = |m: &Message| m.quiesce && m.group == LOG && m.to.node() == follower;
    let mark = (0..60).find_map(|_| {
        cluster.nodes().into_iter().for_each(|node| cluster.step(node, vec![Input::Tick]));
        let mark = cluster.network.iter().find(|m| is_mark(m)).cloned();
        cluster.rest();
        mark
    });
    assert!(takes(&mut cluster));
    cluster.fall_asleep();
    cluster.step(follower, vec![Input::Message(mark.unwrap())]);
    let answers: Vec<_> = cluster.network.iter().map(|m| (m.kind, m.quiesce)).collect();
    let kind = MessageKind::HeartbeatResponse;
    assert_eq!(answers, [(kind, true), (kind, false)]);
    cluster.rest();
    assert!(!cluster.is_silent(5), "the leader calls all back");
    cluster.fall_asleep();
}

#[test]
fn a_leader_that_is_cut_off_in_its_sleep_acknowledges_nothing_and_steps_down() {
    for is_told in [false, true] {
        let (mut cluster, old) = asleep();
        cluster.isolate(old);
        if is_told {
            cluster.tell_all();
            cluster.run(40);
            assert!(!cluster.at(old).serves.contains_key(&LOG), "it has noticed by itself");
        }
        let lost = cluster.produce(old, 1, QUORUM);
        let read = cluster.propose(old, LOG, ProposalKind::Bounds);
        cluster.run(2);
        assert!(!matches!(cluster.ends.get(&lost), Some(Ok(_))));
        assert!(!matches!(cluster.ends.get(&read), Some(Ok(_))));
        cluster.tell_all();
        cluster.run(40);
        assert!(!cluster.at(old).serves.contains_key(&LOG));
        assert_eq!(cluster.ends[&read].as_ref().unwrap_err(), &ProposeError::NoLeader);
        assert_ne!(cluster.leader(LOG), Some(old));
        assert!(takes(&mut cluster));
        cluster.cut.clear();
        cluster.tell_all();
        cluster.fall_asleep();
        assert_eq!(cluster.log(old).len(), 1, "what only the old leader had is gone");
    }
}

#[test]
fn a_leader_that_is_removed_in_its_sleep_says_goodbye() {
    let (mut cluster, old) = asleep();
    let (gone, new) = cluster.replace(old, LOG);
    cluster.run(40);
    assert_ne!(cluster.leader(LOG).unwrap(), old);
    for change in [
        MembershipChange::AddLearner(new),
        MembershipChange::Promote(new),
        MembershipChange::Remove(gone),
    ] {
        cluster.insist(LOG, || ProposalKind::Membership(change));
    }
    cluster.fall_asleep();
    assert!(takes(&mut cluster));
}

/// What nobody is told of is found all the same, if late.
#[test]
fn a_follower_that_sleeps_for_long_looks_for_its_leader() {
    let (mut cluster, old) = asleep();
    cluster.replace(old, LOG);
    cluster.network.clear();
    cluster.run(2_000);
    assert_eq!(cluster.leader(LOG), None);
    cluster.run(10_000);
    assert!(takes(&mut cluster));
}

#[test]
fn a_change_of_the_members_or_of_the_leader_wakes_a_group() {
    let (mut cluster, old) = asleep();
    let heir = others(&cluster, old)[0];
    let to = cluster.at(heir).assigned[&LOG].replica;
    cluster.propose(old, LOG, ProposalKind::TransferLeadership(to));
    cluster.rest();
    assert_eq!(cluster.leader(LOG), Some(heir));
    cluster.fall_asleep();
    let leaving = cluster.at(old).assigned[&LOG].replica;
    cluster.insist(LOG, || ProposalKind::Membership(MembershipChange::Remove(leaving)));
    cluster.fall_asleep();
    assert!(takes(&mut cluster), "two are left");
}
