//! Whether a damaged replica can be replaced: its data goes at once, and its vote with it.
//!
//! Pure: the broker that has it asks the leader of the group, and carries it out.

use ropewalk_consensus::MemberProgress;
use ropewalk_core::{GroupId, ReplicaId};

use crate::command::MetadataCommand;

/// The command that has a damaged replica replaced, where the group can do without it by what its
/// leader says of the members: the others in sync are a majority of all voters, of whom some may be
/// lost already. One without a vote can go; one in sync has a vote as soon as its leader sees
/// that, and perhaps before it is replaced. `None`: it is to stay for now.
#[must_use]
pub fn replacement(
    group: GroupId,
    replica: ReplicaId,
    members: &[MemberProgress],
) -> Option<MetadataCommand> {
    let voters: Vec<_> = members.iter().filter(|member| member.is_voter).collect();
    if !voters.iter().any(|voter| voter.replica == replica) {
        let is_it = |member: &&MemberProgress| member.replica == replica;
        let is_to_vote = members.iter().find(is_it).is_some_and(MemberProgress::is_in_sync);
        return (!is_to_vote).then_some(MetadataCommand::ReplaceReplica { group, replica });
    }
    let others = voters.iter().filter(|voter| voter.replica != replica && voter.is_in_sync());
    let voters_ids = || voters.iter().map(|voter| voter.replica).collect();
    (2 * others.count() > voters.len()).then(|| MetadataCommand::ReplaceVoter {
        group,
        replica,
        voters: voters_ids(),
    })
}

#[cfg(test)]
mod tests {
    use ropewalk_core::NodeId;

    use super::*;

    fn member(node: u64, is_voter: bool, is_active: bool) -> MemberProgress {
        let replica = ReplicaId::new(NodeId(node), 0);
        MemberProgress { replica, is_voter, is_active, matched: 10, lag: 0 }
    }

    /// Whether the replica on broker 1 is replaced, where the voters beside it are in sync so.
    fn is_replaced(others: &[bool]) -> bool {
        let others = (2..).zip(others).map(|(node, is_active)| member(node, true, *is_active));
        let members: Vec<_> = std::iter::once(member(1, true, true)).chain(others).collect();
        let command = replacement(GroupId(7), ReplicaId::new(NodeId(1), 0), &members);
        let voters = members.iter().map(|member| member.replica).collect();
        let (group, replica) = (GroupId(7), members[0].replica);
        let expected = MetadataCommand::ReplaceVoter { group, replica, voters };
        assert!(command.as_ref().is_none_or(|command| *command == expected));
        command.is_some()
    }

    #[test]
    fn a_voter_is_replaced_where_the_others_get_on_alone() {
        assert!(is_replaced(&[true, true]));
        assert!(!is_replaced(&[true, false]), "the one that is left has no majority of three");
        assert!(!is_replaced(&[true]), "nor of two");
        assert!(!is_replaced(&[]), "it is the only one that has something");
        assert!(is_replaced(&[true, true, true, false]));
        assert!(!is_replaced(&[true, true, false, false]));
    }

    #[test]
    fn one_that_does_not_vote_is_replaced_unless_it_is_about_to() {
        let replaced = |node, is_active| {
            let members = [member(1, false, is_active), member(2, true, true)];
            let replica = ReplicaId::new(NodeId(node), 0);
            let command = replacement(GroupId(7), replica, &members)?;
            assert_eq!(command, MetadataCommand::ReplaceReplica { group: GroupId(7), replica });
            Some(())
        };
        assert!(replaced(1, false).is_some(), "it takes no part");
        assert!(replaced(9, false).is_some(), "it is no member");
        assert!(replaced(1, true).is_none(), "of two that vote none can go");
    }
}
