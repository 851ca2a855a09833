//! Topics and committed offsets: what was acked is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Violation;
use crate::history::{Answer, Call, History, Place};

/// Every read of the topics has those that exist for sure, and none that surely do not.
pub(super) fn topics(history: &History, found: &mut Vec<Violation>) {
    for read in &history.operations {
        let (Call::ReadTopics, Some((_, Answer::Topics(now)))) = (&read.call, read.ok()) else {
            continue;
        };
        let mut must: BTreeSet<&Arc<str>> = history.base.topics.iter().collect();
        let mut may = must.clone();
        // A name is created once and deleted at most once.
        for operation in &history.operations {
            let acked = operation.ok().is_some_and(|(at, _)| at < read.invoked);
            match &operation.call {
                Call::CreateTopic { topic, .. } if !operation.failed() => {
                    may.insert(topic);
                    must.extend(acked.then_some(topic));
                }
                _ => {}
            }
        }
        for operation in &history.operations {
            let acked = operation.ok().is_some_and(|(at, _)| at < read.invoked);
            match &operation.call {
                Call::DeleteTopic { topic } if !operation.failed() => {
                    must.remove(topic);
                    if acked {
                        may.remove(topic);
                    }
                }
                _ => {}
            }
        }
        let lost = must.iter().filter(|topic| !now.contains(**topic));
        found.extend(lost.map(|topic| Violation::TopicLost { topic: Arc::clone(topic) }));
        let back = now.iter().filter(|topic| !may.contains(topic));
        found.extend(back.map(|topic| Violation::TopicBack { topic: Arc::clone(topic) }));
    }
}

/// A commit of one partition: when it was sent, when it was acked, what.
type Commit = (u64, Option<u64>, Option<i64>);

/// Every read of a group has, for each partition, a commit that no other one surely came after.
pub(super) fn commits(history: &History, found: &mut Vec<Violation>) {
    let mut sent: BTreeMap<(&Arc<str>, &Place), Vec<Commit>> = BTreeMap::new();
    for (group, commits) in &history.base.commits {
        for (place, offset) in commits {
            sent.entry((group, place)).or_default().push((0, Some(0), Some(*offset)));
        }
    }
    let deletions = history.operations.iter().filter(|operation| !operation.failed());
    let deletions: Vec<_> = deletions
        .filter_map(|operation| match &operation.call {
            Call::DeleteGroup { group } => Some((group, operation)),
            _ => None,
        })
        .collect();
    for operation in &history.operations {
        if let Call::Commit { group, place, offset, .. } = &operation.call
            && !operation.failed()
        {
            let acked = operation.ok().map(|(at, _)| at);
            // Before the first one there was none.
            let commits = sent.entry((group, place)).or_insert_with(|| vec![(0, Some(0), None)]);
            commits.push((operation.invoked, acked, Some(*offset)));
        }
    }
    for ((group, _), commits) in &mut sent {
        let gone = deletions.iter().filter(|(deleted, _)| deleted == group);
        commits.extend(
            gone.map(|(_, operation)| (operation.invoked, operation.ok().map(|(at, _)| at), None)),
        );
    }
    for read in &history.operations {
        let (Call::ReadCommits { group }, Some((read_end, Answer::Commits(now)))) =
            (&read.call, read.ok())
        else {
            continue;
        };
        for ((_, place), commits) in sent.iter().filter(|((of, _), _)| *of == group) {
            let allowed = allowed(commits, read.invoked, read_end);
            let value = now.get(*place).copied();
            if !allowed.contains(&value) {
                let (group, place) = (Arc::clone(group), (*place).clone());
                found.push(Violation::WrongCommit { group, place, found: value, allowed });
            }
        }
    }
}

/// What a read that began and ended then may find.
fn allowed(commits: &[Commit], began: u64, ended: u64) -> Vec<Option<i64>> {
    let acked = commits.iter().filter(|(_, acked, _)| acked.is_some_and(|at| at < began));
    let newest = acked.map(|(sent, _, _)| *sent).max().unwrap_or(0);
    let open = commits
        .iter()
        .filter(|(sent, acked, _)| *sent < ended && acked.is_none_or(|acked| acked >= newest));
    let mut values: Vec<_> = open.map(|(_, _, offset)| *offset).collect();
    values.sort_unstable();
    values.dedup();
    values
}
