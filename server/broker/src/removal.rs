//! When a broker that was removed from its cluster may end.
//!
//! It may be the last to hear what has become of its groups: it may have what nobody else has, or a
//! vote that a group cannot do without. So it does not go by who leads, which changes with every
//! election, but by who votes, as far as it knows, and by what the others say.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::{GroupId, NodeId};

use crate::group_watch::Role;
use crate::peers::Removal;

/// Who needs a broker that was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Groups in which only this broker votes: nobody else has all that is in them.
    pub(crate) only_here: usize,
    /// Other members of its groups that have not refused it: their groups may count on its vote.
    pub(crate) waits_for: BTreeSet<NodeId>,
}

impl Need {
    /// Whether nobody needs it.
    pub(crate) fn is_over(&self) -> bool {
        *self == Self::default()
    }

    /// Tells the operator why the broker does not end yet.
    pub(crate) fn tell(&self) {
        let Self { only_here, waits_for } = self;
        if *only_here > 0 {
            tracing::error!(
                groups = only_here,
                "this broker was removed from its cluster, and has the only replica of some \
                 partitions: it goes on until they have moved. If they do not, read them through \
                 this broker, and then stop it"
            );
        }
        if !waits_for.is_empty() {
            let brokers: Vec<_> = waits_for.iter().map(ToString::to_string).collect();
            tracing::warn!(
                brokers = brokers.join(","),
                "this broker was removed from its cluster, and goes on until these brokers say so \
                 too: their groups may need it. If they are gone for ever, stop it"
            );
        }
    }
}

/// Who needs a broker whose replicas have these roles, and that was refused by these others, of
/// which there is at least one.
pub(crate) fn need<'a>(
    groups: impl IntoIterator<Item = (GroupId, &'a Role)>,
    refusals: &BTreeMap<NodeId, Removal>,
) -> Need {
    let mut need = Need::default();
    // Messages to its id reach the broker that came in its place: nobody could get anything.
    if refusals.values().any(|why| *why == Removal::Replaced) {
        return need;
    }
    for (group, role) in groups {
        // Every broker belongs to the metadata group: whoever refuses this one speaks for it.
        let votes = role.replica.is_some_and(|own| role.voters.contains(&own));
        if group == GroupId::METADATA || !votes {
            continue;
        }
        need.only_here += usize::from(role.voters.len() == 1);
        let members = role.voters.iter().chain(&role.learners);
        let others = members.filter(|member| Some(**member) != role.replica);
        let others = others.map(|member| member.node());
        need.waits_for.extend(others.filter(|node| !refusals.contains_key(node)));
    }
    need
}

#[cfg(test)]
mod tests {
    use ropewalk_core::ReplicaId;

    use super::*;

    const PARTITION: GroupId = GroupId::FIRST_PARTITION;
    const OWN: u64 = 2;

    fn replicas(nodes: &[u64]) -> Vec<ReplicaId> {
        nodes.iter().map(|node| ReplicaId::new(NodeId(*node), 0)).collect()
    }

    fn role(voters: &[u64], learners: &[u64], leader: Option<u64>) -> Role {
        Role {
            replica: Some(ReplicaId::new(NodeId(OWN), 0)),
            leader: leader.map(|node| ReplicaId::new(NodeId(node), 0)),
            voters: replicas(voters),
            learners: replicas(learners),
            ..Role::default()
        }
    }

    /// What it is, the broker's groups, who has refused it, and what it waits for.
    type Case<'a> = (&'a str, &'a [(u64, Role)], &'a [u64], (usize, Vec<u64>));

    /// What broker 2 waits for: the groups that only it has, and the brokers.
    fn needed(groups: &[(GroupId, Role)], refused_by: &[u64]) -> (usize, Vec<u64>) {
        let refusals = refused_by.iter().map(|node| (NodeId(*node), Removal::Removed)).collect();
        let need = need(groups.iter().map(|(group, role)| (*group, role)), &refusals);
        (need.only_here, need.waits_for.iter().map(|node| node.0).collect())
    }

    #[test]
    fn a_broker_that_was_removed_ends_when_no_group_needs_it() {
        let metadata = (GroupId::METADATA, role(&[1, 2, 3], &[4, 5], None));
        let over = (0, Vec::new());
        let table: [Case<'_>; 9] = [
            (
                "removed while it was dead: each member of its groups says so",
                &[(0, role(&[1, 2, 3], &[], None)), (1, role(&[2, 3], &[], Some(3)))],
                &[1, 3],
                over.clone(),
            ),
            (
                "one that has nothing of the group may be faster than those who have",
                &[(0, role(&[2, 4, 5], &[], Some(4)))],
                &[3],
                (0, vec![4, 5]),
            ),
            (
                "without its leader the group needs each vote",
                &[(0, role(&[2, 4, 5], &[], None))],
                &[3],
                (0, vec![4, 5]),
            ),
            (
                "one of the members that lags refuses it before the other does",
                &[(0, role(&[2, 4, 5], &[], None))],
                &[3, 4],
                (0, vec![5]),
            ),
            (
                "the only copy is being made on another broker",
                &[(0, role(&[2], &[3], Some(2)))],
                &[1],
                (1, vec![3]),
            ),
            (
                "the only copy, after a pause, or before it leads again",
                &[(0, role(&[2], &[], Some(2))), (1, role(&[2], &[], None))],
                &[1, 3, 4, 5],
                (2, Vec::new()),
            ),
            (
                "a replica without a vote has promised nothing, whoever it follows",
                &[(0, role(&[1, 3], &[2], Some(1)))],
                &[5],
                over.clone(),
            ),
            ("its groups have let it go", &[(0, role(&[1, 3], &[], Some(1)))], &[5], over.clone()),
            ("a replica that has heard of nobody yet", &[(0, role(&[], &[], None))], &[5], over),
        ];
        for (case, groups, refused_by, expected) in table {
            let partitions =
                groups.iter().map(|(number, role)| (GroupId(PARTITION.0 + number), role.clone()));
            let groups: Vec<_> = partitions.chain([metadata.clone()]).collect();
            assert_eq!(needed(&groups, refused_by), expected, "{case}");
        }
    }

    #[test]
    fn nobody_waits_for_a_broker_whose_id_another_one_has() {
        let groups = [(PARTITION, role(&[2], &[], Some(2))), (PARTITION, role(&[1, 2], &[], None))];
        let groups = groups.iter().map(|(group, role)| (*group, role));
        assert!(need(groups, &BTreeMap::from([(NodeId(3), Removal::Replaced)])).is_over());
    }
}
