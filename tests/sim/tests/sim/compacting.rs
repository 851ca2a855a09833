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

/// Appends until the key of the log's first record is gone, some messages later.
fn produce_until_the_first_key_is_gone(cluster: &mut Cluster, leader: NodeId) {
    let mut produce = |is_wanted: &Wanted<'_>| {
        for _ in 0..100 {
            cluster.produce_bytes(leader, 1, Durability::Quorum, LARGE);
            pass(cluster, 2, |_| false);
            let records = cluster.records(leader);
            if is_wanted(&records) {
                return records.last().unwrap().0;
            }
        }
        panic!("no such record");
    };
    // Odd keys have no tombstones here.
    let first = produce(&|records| {
        records.last().is_some_and(|(_, last)| last.has_value && last.key.is_multiple_of(2))
    });
    let is_gone = |records: &[(u64, Kept)]| {
        let key = records.iter().find(|(offset, _)| *offset == first).unwrap().1.key;
        let (offset, last) = records.last().unwrap();
        *offset > first + 6 && last.key == key && !last.has_value
    };
    produce(&is_gone);
    cluster.insist(LOG, || trim(first));
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
    produce_until_the_first_key_is_gone(&mut cluster, first);
    cluster.order_compaction(first, true, false);
    pass(&mut cluster, 10, |_| false);
    assert!(cluster.compact(first, u64::MAX));
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
