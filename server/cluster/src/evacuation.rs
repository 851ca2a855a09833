//! What becomes of the replicas of a broker that lost its disk or leaves the cluster.

use ropewalk_core::{GroupId, NodeId, ReplicaId};

use crate::former::Formers;
use crate::metadata::Topic;
use crate::placement::{Placer, nodes, put};

/// Gives the broker's replica of a group a new serial number: it is empty, and what the old one has
/// said must not count for it.
pub(crate) fn renumber(
    group: GroupId,
    replicas: &mut [ReplicaId],
    id: NodeId,
    serial: u32,
    former: &mut Formers,
) {
    for replica in replicas.iter_mut().filter(|replica| replica.node() == id) {
        // Who belongs to the metadata group and is not to is known without: it has every broker.
        if group != GroupId::METADATA {
            former.lose(group, *replica, serial.into());
        }
        *replica = ReplicaId::new(id, serial);
    }
}

/// The topic with the broker's replicas renumbered; `None` when it has none there.
pub(crate) fn renumbered(
    topic: &Topic,
    id: NodeId,
    serial: u32,
    former: &mut Formers,
) -> Option<Topic> {
    is_on(topic, id).then(|| {
        let mut topic = topic.clone();
        for partition in &mut topic.partitions {
            renumber(partition.group, &mut partition.replicas, id, serial, former);
        }
        topic
    })
}

/// The topic with the broker's replicas on other brokers, of which the placer must know enough, and
/// not this one; `None` when it has none there. The new replicas come last in order: those that
/// have the records lead.
pub(crate) fn evacuated(
    placer: &mut Placer<'_>,
    topic: &Topic,
    id: NodeId,
    serial: u32,
    former: &mut Formers,
) -> Option<Topic> {
    if !is_on(topic, id) {
        return None;
    }
    placer.begin(topic);
    let mut topic = topic.clone();
    for partition in &mut topic.partitions {
        let before: Vec<_> = nodes(partition).collect();
        if !before.contains(&id) {
            continue;
        }
        let mut after: Vec<_> = before.iter().copied().filter(|node| *node != id).collect();
        placer.subtract(&before);
        if before.first() == Some(&id)
            && let Some(leader) = placer.leader(&after)
        {
            after.retain(|node| *node != leader);
            after.insert(0, leader);
        }
        after.extend(placer.next(&after));
        placer.add(&after);
        put(partition.group, &mut partition.replicas, &after, serial, former);
    }
    Some(topic)
}

fn is_on(topic: &Topic, id: NodeId) -> bool {
    let mut replicas = topic.partitions.iter().flat_map(|partition| &partition.replicas);
    replicas.any(|replica| replica.node() == id)
}
