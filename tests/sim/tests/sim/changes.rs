//! Changes of the members, and what a disk knows of them when the power goes.

use ropewalk_consensus::{Durability, MembershipChange, ProposalKind, Receipt};
use ropewalk_core::{NodeId, ReplicaId};
use ropewalk_sim::cluster::{Cluster, LOG};

const QUORUM: Durability = Durability::Quorum;

/// Delivers the messages of the partition that go from one broker to another.
fn deliver(cluster: &mut Cluster, from: NodeId, to: NodeId) {
    while let Some(place) = cluster
        .network
        .iter()
        .position(|m| m.group == LOG && (m.from.node(), m.to.node()) == (from, to))
    {
        cluster.deliver(place);
    }
}

/// Delivers them, and has the receiver's disk write and its answers delivered.
fn exchange(cluster: &mut Cluster, from: NodeId, to: NodeId) {
    deliver(cluster, from, to);
    while cluster.persist(to) {}
    deliver(cluster, to, from);
}

fn replica(cluster: &Cluster, node: NodeId) -> ReplicaId {
    cluster.see(node).assigned[&LOG].replica
}

fn voters(cluster: &Cluster, node: NodeId) -> Vec<NodeId> {
    cluster.see(node).members[&LOG].0.iter().map(|voter| voter.node()).collect()
}

/// Whoever has a change in its log knows that the one before is committed. A disk that had it only
/// in its log, and the commit index as of what was applied, would let the replica lead with members
/// of long ago: here with one that was replaced, while the others go on without both.
pub(crate) fn a_start_knows_of_the_changes_before_the_last_one_in_its_log() {
    let mut cluster = Cluster::settled(4);
    let leader = cluster.leader(LOG).unwrap();
    let rest: Vec<_> = cluster.nodes().into_iter().filter(|node| *node != leader).collect();
    let [follower, leaving, joining] = rest[..] else { panic!("four brokers") };
    let (old, new) = (replica(&cluster, leaving), replica(&cluster, joining));
    let learner = MembershipChange::AddLearner(new);
    cluster.insist(LOG, || ProposalKind::Membership(learner));
    cluster.run(10);
    let mut three = vec![leader, follower, leaving];
    three.sort_unstable();
    assert!(cluster.nodes().iter().all(|node| voters(&cluster, *node) == three));

    // The promotion is committed by the leader and the one that leaves.
    let change = |cluster: &mut Cluster, change| {
        cluster.propose(leader, LOG, ProposalKind::Membership(change))
    };
    let promoted = change(&mut cluster, MembershipChange::Promote(new));
    while cluster.persist(leader) {}
    exchange(&mut cluster, leader, leaving);
    assert_eq!(cluster.ends[&promoted], Ok(Receipt::Done));
    // Then the removal, of which that one does not hear. The follower has written both before it
    // has applied the first.
    let removed = change(&mut cluster, MembershipChange::Remove(old));
    while cluster.persist(leader) {}
    deliver(&mut cluster, leader, follower);
    assert_eq!(voters(&cluster, follower), three, "nothing is on its disk yet");
    // Each in a write of its own; what it has applied would come with the next one.
    assert!(cluster.persist(follower) && cluster.persist(follower));
    deliver(&mut cluster, follower, leader);
    exchange(&mut cluster, leader, joining);
    assert_eq!(cluster.ends[&removed], Ok(Receipt::Done), "three of four have it");
    cluster.network.retain(|message| message.to.node() != follower);

    // The power goes before the follower's disk has heard what it has applied.
    cluster.crash(follower, 0);
    for one in [follower, leaving] {
        for other in [leader, joining] {
            cluster.sever(one, other);
            cluster.sever(other, one);
        }
    }
    cluster.network.clear();
    cluster.tell_all();
    let id = cluster.produce(leader, 1, QUORUM);
    cluster.rest();
    assert!(matches!(cluster.ends[&id], Ok(Receipt::Appended { .. })));
    assert!(cluster.start(follower));
    cluster.run(100);
    assert!(
        !cluster.see(follower).serves.contains_key(&LOG),
        "it leads with {:?}, which are the members no more",
        voters(&cluster, follower)
    );
    assert_eq!(cluster.bounds(follower), (0, 0), "no majority has told it anything");

    cluster.cut.clear();
    cluster.tell_all();
    cluster.run(40);
    assert_eq!(cluster.log(follower), cluster.log(leader));
    assert_eq!(voters(&cluster, follower), voters(&cluster, leader));
}

#[test]
fn a_replica_never_leads_with_members_of_before_a_change_that_it_has_promised_to_keep() {
    a_start_knows_of_the_changes_before_the_last_one_in_its_log();
}
