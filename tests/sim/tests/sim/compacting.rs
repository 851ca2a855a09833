//! Compaction of a partition, step by step: what its replicas let go, and those who join meanwhile.

use ropewalk_consensus::{Durability, MembershipChange, Message, MessageKind, ProposalKind};
use ropewalk_core::{NodeId, ReplicaId};
use ropewalk_sim::checks::Kept;
use ropewalk_sim::cluster::{Cluster, LOG, trim};

/// More than two of these are not sent in one message.
const LARGE: usize = 200_000;

/// Time passes, and whatever is under way arrives, but for what is to be lost. Nobody compacts.
fn pass(cluster: &mut Cluster, ticks: usize, mut is_lost: impl FnMut(&Message) -> bool) {
    for _ in 0..ticks {
        for node in cluster.nodes() {
            cluster.tick(node, Vec::new());
        }
        loop {
            let mut is_at_rest = cluster.network.is_empty();
            if cluster.network.front().is_some_and(&mut is_lost) {
                cluster.network.pop_front();
            } else {
                cluster.deliver(0);
            }
            for node in cluster.nodes() {
                is_at_rest &= !cluster.persist(node);
            }
            if is_at_rest {
                break;
            }
        }
    }
}

fn are_entries(message: &Message, to: ReplicaId) -> bool {
    message.kind == MessageKind::Append && message.to == to && !message.entries.is_empty()
}

/// Whether the records of a broker are as they are to be.
type Wanted<'a> = dyn Fn(&[(u64, Kept)]) -> bool + 'a;

/// Appends until the records of the leader are as wanted; returns the offset of the last one.
fn produce_until(
    cluster: &mut Cluster,
    leader: NodeId,
    is_lost: impl Fn(&Message) -> bool,
    is_wanted: &Wanted<'_>,
) -> u64 {
    for _ in 0..100 {
        cluster.produce_bytes(leader, 1, Durability::Quorum, LARGE);
        pass(cluster, 2, &is_lost);
        let records = cluster.records(leader);
        if is_wanted(&records) {
            return records.last().unwrap().0;
        }
    }
    panic!("no such record");
}

/// A record whose key has a tombstone later: odd ones have none here.
fn is_value(records: &[(u64, Kept)]) -> bool {
    records.last().is_some_and(|(_, last)| last.has_value && last.key.is_multiple_of(2))
}

/// Whether the last record is the tombstone of the one at an offset.
fn is_tombstone_of(first: u64, records: &[(u64, Kept)]) -> bool {
    let key = records.iter().find(|(offset, _)| *offset == first).unwrap().1.key;
    let (_, last) = records.last().unwrap();
    last.key == key && !last.has_value
}

/// Orders it, and has these brokers carry it out.
fn compact(
    cluster: &mut Cluster,
    leader: NodeId,
    who: &[NodeId],
    is_lost: impl Fn(&Message) -> bool,
) {
    cluster.order_compaction(leader, true, false);
    pass(cluster, 10, &is_lost);
    for node in who {
        assert!(cluster.compact(*node, u64::MAX));
    }
    pass(cluster, 2, &is_lost);
}

/// While a member lacks a tombstone, it stays, however often the log is compacted: that member
/// would keep the value for ever.
pub(crate) fn a_tombstone_stays_as_long_as_a_member_lacks_it() {
    let mut cluster = Cluster::settled(3);
    let leader = cluster.leader(LOG).unwrap();
    let others: Vec<_> = cluster.nodes().into_iter().filter(|node| *node != leader).collect();
    let (follower, away) = (others[0], others[1]);
    let first = produce_until(&mut cluster, leader, |_| false, &is_value);
    let is_lost = |message: &Message| [message.from.node(), message.to.node()].contains(&away);
    let is_gone = |records: &[(u64, Kept)]| is_tombstone_of(first, records);
    let tombstone = produce_until(&mut cluster, leader, is_lost, &is_gone);
    for _ in 0..2 {
        compact(&mut cluster, leader, &[leader, follower], is_lost);
    }
    let left = cluster.records(leader);
    assert!(left.iter().any(|(offset, _)| *offset == tombstone), "the tombstone is gone");
    cluster.run(60);
    assert_eq!(cluster.records(away), cluster.records(leader));
    for _ in 0..2 {
        compact(&mut cluster, leader, &[leader, follower, away], |_| false);
    }
    let left = cluster.records(leader);
    assert!(left.iter().all(|(offset, _)| ![first, tombstone].contains(offset)));
    assert_eq!(cluster.records(away), left);
}

#[test]
fn a_member_that_was_away_has_no_value_for_ever() {
    a_tombstone_stays_as_long_as_a_member_lacks_it();
}

/// The first leader has carried out what was ordered, and gives one that joins a snapshot. The next
/// one has not, and does so while that one copies its log: were it sent both the value, which was
/// there before, and nothing of the tombstone, which was gone after, it would have the key for
/// ever.
#[test]
fn one_that_joins_gets_no_value_whose_tombstone_goes_while_it_copies() {
    let mut cluster = Cluster::settled(3);
    let first = cluster.leader(LOG).unwrap();
    let others: Vec<_> = cluster.nodes().into_iter().filter(|node| *node != first).collect();
    let (second, joining) = (others[0], others[1]);
    let value = produce_until(&mut cluster, first, |_| false, &is_value);
    // Some messages later.
    let is_gone = |records: &[(u64, Kept)]| {
        records.last().unwrap().0 > value + 6 && is_tombstone_of(value, records)
    };
    let tombstone = produce_until(&mut cluster, first, |_| false, &is_gone);
    cluster.insist(LOG, || trim(value));
    // The tombstone goes by the order after the one by which its part was compacted.
    compact(&mut cluster, first, &[first], |_| false);
    compact(&mut cluster, first, &[first], |_| false);
    let left = cluster.records(first);
    assert!(left.iter().all(|(offset, _)| ![value, tombstone].contains(offset)));
    let (_, new) = cluster.replace(joining, LOG);
    let add = ProposalKind::Membership(MembershipChange::AddLearner(new));
    cluster.propose(first, LOG, add);
    let mut has_begun = false;
    pass(&mut cluster, 30, |message| {
        has_begun |= message.kind == MessageKind::Snapshot && message.to == new;
        has_begun && are_entries(message, new)
    });
    assert!(has_begun, "it gets a snapshot");

    let heir = cluster.at(second).assigned[&LOG].replica;
    cluster.propose(first, LOG, ProposalKind::TransferLeadership(heir));
    let mut count = 0;
    pass(&mut cluster, 30, |message| {
        count += usize::from(are_entries(message, new));
        are_entries(message, new) && count > 2
    });
    assert_eq!(cluster.leader(LOG), Some(second));
    assert!(cluster.compact(second, u64::MAX));
    cluster.run(60);
    assert_eq!(cluster.records(second), cluster.records(first));
    assert_eq!(cluster.records(joining), cluster.records(first));
}
