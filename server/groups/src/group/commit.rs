//! Whose commit counts.
//!
//! The fence has two posts: who owns the partition, and since which generation. The first stops
//! members that lost the partition, the second what a member says of the partition from before it
//! lost it and got it back (KIP-1251). The committed offsets themselves are kept elsewhere.

use ropewalk_core::MemberId;

use super::{ConsumerGroup, TopicPartition};
use crate::error::{Fence, Fenced, GroupError};

/// Who commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committer {
    /// The member.
    pub member: MemberId,
    /// The newest generation that it was told.
    pub generation: u64,
}

impl ConsumerGroup {
    /// Whether a commit of a member counts: all of it, or nothing. It does if each partition is the
    /// member's, also while it is to give it back, and was so in the generation that it knows.
    pub fn check_commit(
        &self,
        committer: Committer,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), Fenced> {
        let Committer { member, generation } = committer;
        if !self.members.contains_key(&member) {
            return Err(Fenced::new(Fence::NotAMember, self.generation, generation));
        }
        for (topic, partition) in partitions {
            let holding = self.holding(topic, partition).filter(|held| held.member == member);
            let Some(holding) = holding else {
                let fence = Fence::NotTheOwner { topic, partition };
                return Err(Fenced::new(fence, self.generation, generation));
            };
            if generation < holding.since {
                let fence = Fence::Outdated { topic, partition };
                return Err(Fenced::new(fence, holding.since, generation));
            }
        }
        Ok(())
    }

    /// Whether nobody is in the way of what an administrator does to the group: commits without a
    /// member, deletes commits, deletes the group.
    pub fn check_idle(&self) -> Result<(), GroupError> {
        if self.is_empty() {
            return Ok(());
        }
        let members = u32::try_from(self.members.len()).expect("limits bound the members");
        Err(GroupError::NotEmpty { members })
    }
}
