//! What is asked of consumer groups, and what is told to them.

use ropewalk_cluster::{CONSUMER_GROUPS, MetadataError};
use ropewalk_consensus::{ProposalKind, ProposeError};
use ropewalk_core::GroupId;
use ropewalk_groups::{Action, Committer, GroupCommand, GroupReply, MemberName, TopicPartition};

use crate::broker::Broker;
use crate::coordinator::{
    CoordinatorCommand, CoordinatorReply, ListedGroup, PAGE, Question, UNTIMED, decode_list,
};
use crate::errors::{AppendError, CommitError};
use crate::offsets::Commit;

impl Broker {
    /// Whether consumer groups may have members: every broker of the cluster must know them.
    pub(crate) fn check_consumer_groups(&self) -> Result<(), CommitError> {
        let (needed, cluster) = (CONSUMER_GROUPS, self.metadata().level());
        if cluster < needed {
            let error = MetadataError::NotUpgraded { needed, cluster };
            return Err(AppendError::NotUpgraded(error).into());
        }
        Ok(())
    }

    /// Changes a consumer group. Returns the place of the command with what it did.
    pub(crate) async fn change_group(
        &self,
        group: &str,
        action: Action,
    ) -> Result<(u64, GroupReply), CommitError> {
        let (group_name, time) = (group.to_owned(), UNTIMED);
        let command = GroupCommand::Change { group: group_name, time, action };
        match self.command_group(group, CoordinatorCommand::Group(command)).await? {
            CoordinatorReply::Group { index, reply } => Ok((index, reply)),
            _ => unreachable!("a command about consumer groups is answered by them"),
        }
    }

    async fn command_group(
        &self,
        group: &str,
        command: CoordinatorCommand,
    ) -> Result<CoordinatorReply, CommitError> {
        self.check_consumer_groups()?;
        let coordinator = self.coordinator_of(group)?;
        self.command_coordinator(&coordinator, &command).await
    }

    /// A member keeps positions, and gives partitions back. When it returns, that is on disk.
    pub async fn commit_of_member(
        &self,
        group: &str,
        committer: Committer,
        offsets: Vec<Commit>,
        released: Vec<TopicPartition>,
    ) -> Result<(), CommitError> {
        let (name, time) = (group.to_owned(), UNTIMED);
        let command =
            CoordinatorCommand::MemberCommit { group: name, committer, time, offsets, released };
        self.command_group(group, command).await.map(|_| ())
    }

    /// A member's plan.
    pub async fn submit_plan(&self, group: &str, action: Action) -> Result<(), CommitError> {
        self.change_group(group, action).await.map(|_| ())
    }

    /// Removes a member of a consumer group, as if it had left.
    pub async fn remove_member(&self, group: &str, member: MemberName) -> Result<(), CommitError> {
        self.change_group(group, Action::Remove(member)).await.map(|_| ())
    }

    /// Forgets a consumer group with its positions.
    pub async fn delete_group(&self, group: &str) -> Result<(), CommitError> {
        let (name, time) = (group.to_owned(), UNTIMED);
        let command = CoordinatorCommand::DeleteGroup { group: name, time };
        self.command_group(group, command).await.map(|_| ())
    }

    /// Removes positions of a consumer group.
    pub async fn delete_positions(
        &self,
        group: &str,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), CommitError> {
        let command = CoordinatorCommand::DeleteOffsets { group: group.to_owned(), partitions };
        self.command_group(group, command).await.map(|_| ())
    }

    /// The consumer groups whose names come after `after` and begin with `prefix`, by name: at most
    /// `most` of them, and whether there are more.
    pub async fn list_groups(
        &self,
        prefix: &str,
        after: &str,
        most: usize,
    ) -> Result<(Vec<ListedGroup>, bool), ProposeError> {
        let asked = GroupId::COORDINATORS.iter().map(|group| {
            let handle = self.table().coordinators.get(group).map(|found| found.handle.clone());
            async move {
                let handle = handle.ok_or(ProposeError::NoLeader)?;
                let mut found = Vec::new();
                let mut first = prefix.max(after).to_owned();
                while found.len() <= most {
                    let question = Question::List(first.clone()).encode();
                    let answer = handle.ask(|| ProposalKind::Query(question.clone()), None).await?;
                    let page = decode_list(&answer).map_err(|_| ProposeError::NoLeader)?;
                    let is_last = page.len() < PAGE;
                    // Right behind the last one.
                    first = page.last().map(|last| format!("{}\0", last.name)).unwrap_or_default();
                    let is_over = page.iter().any(|group| !group.name.starts_with(prefix));
                    let wanted = |group: &ListedGroup| {
                        group.name.starts_with(prefix) && group.name.as_str() > after
                    };
                    found.extend(page.into_iter().filter(wanted));
                    if is_last || is_over {
                        break;
                    }
                }
                Ok::<_, ProposeError>(found)
            }
        });
        let found = futures::future::join_all(asked).await;
        let mut all = found.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let has_more = all.len() > most;
        all.truncate(most);
        Ok((all, has_more))
    }
}
