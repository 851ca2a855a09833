//! Which groups should be led by another broker than they are.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::{GroupId, NodeId, ReplicaId};

use crate::metadata::Metadata;

/// The most moves of one answer: leaders move in steps, so that a broker that comes back is not
/// asked to lead thousands of groups at once.
pub const MAX_LEADER_MOVES: usize = 64;

/// Which groups are to be led by another replica, and by which. `leaders` says who leads now, as
/// far as it is known, and `alive` which brokers can be reached.
///
/// A group moves to its preferred leader when that is alive; away from a broker that is draining to
/// the first replica that is alive; and otherwise stays: whoever took over when the preferred
/// leader died leads until it is back.
///
/// The answer goes on after `after`, and begins again with the first group when it has come to the
/// last: given the last group of the answer before, groups that cannot move yet (a replica is still
/// catching up) do not keep others waiting.
#[must_use]
pub fn leader_moves(
    metadata: &Metadata,
    leaders: &BTreeMap<GroupId, ReplicaId>,
    alive: &BTreeSet<NodeId>,
    after: Option<GroupId>,
) -> Vec<(GroupId, ReplicaId)> {
    let start = after.map_or(0, |group| group.0.saturating_add(1));
    let later = leaders.range(GroupId(start)..);
    let earlier = leaders.range(..GroupId(start));
    let moves = later.chain(earlier).filter_map(|(group, current)| {
        Some((*group, better_leader(metadata, *group, *current, alive)?))
    });
    moves.take(MAX_LEADER_MOVES).collect()
}

fn better_leader(
    metadata: &Metadata,
    group: GroupId,
    current: ReplicaId,
    alive: &BTreeSet<NodeId>,
) -> Option<ReplicaId> {
    let replicas = metadata.replicas(group)?;
    let serves = |replica: &&ReplicaId| {
        alive.contains(&replica.node()) && !metadata.is_draining(replica.node())
    };
    let best = *replicas.iter().find(serves)?;
    let is_preferred = metadata.preferred_leader(group) == Some(best);
    let must_leave = metadata.is_draining(current.node()) || !replicas.contains(&current);
    (best != current && (is_preferred || must_leave)).then_some(best)
}
