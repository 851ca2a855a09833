//! Where the owners of a partition begin, and that nobody else gets its records.

use std::collections::HashMap;
use std::sync::Arc;

use super::GroupViolation;
use super::life::{Commit, Life, Step};
use crate::history::{Client, Place};

/// Checks the starts and the records of one partition in one group.
pub(super) fn check(group: &Arc<str>, place: &Place, life: &Life, found: &mut Vec<GroupViolation>) {
    // What may be the last commit; nothing for none at all. Each that counts takes those away that
    // surely came before: what is left is what is under way or whose outcome nobody knows.
    let mut last: Vec<Option<usize>> = vec![None];
    // The newest generations in which members were owners.
    let mut newest: Vec<(i64, Client)> = Vec::new();
    // Who has it, and whether its records still come.
    let mut owners: HashMap<Client, bool> = HashMap::new();
    for (_, step) in &life.steps {
        match step {
            Step::Assigned { client, generation, asked, offset, log_start, .. } => {
                owners.insert(*client, true);
                let is_over =
                    newest.iter().any(|(later, other)| later > generation && other != client);
                // What it asks for counts as long as nobody else has had the partition.
                let own = newest.iter().find(|(_, known)| known == client);
                let had_others = newest
                    .iter()
                    .any(|(other, known)| known != client && own.is_none_or(|own| own.0 < *other));
                let asked = asked.filter(|_| !had_others);
                note(&mut newest, *generation, *client);
                let allowed: Vec<_> =
                    last.iter().map(|number| life.commits[(*number)?].offset).collect();
                let fits = |known: &Option<i64>| {
                    let known = known.unwrap_or(0);
                    *offset == known || (known..=*log_start).contains(offset)
                };
                if !is_over && asked != Some(*offset) && !allowed.iter().any(fits) {
                    let (group, place) = (Arc::clone(group), place.clone());
                    let (client, offset) = (*client, *offset);
                    let start =
                        GroupViolation::WrongStart { group, place, client, offset, allowed };
                    found.push(start);
                }
            }
            Step::Revoked { client, .. } => {
                owners.insert(*client, false);
            }
            Step::Ended { client, .. } | Step::Gone { client } => {
                owners.remove(client);
            }
            Step::Sent(number) => {
                if !life.commits[*number].failed {
                    last.push(Some(*number));
                }
            }
            Step::Acked(number) => {
                let commit = &life.commits[*number];
                last.retain(|other| {
                    other.is_some_and(|other| !is_before(&life.commits[other], commit))
                });
                if let Some((generation, _)) = commit.by {
                    note(&mut newest, generation, commit.client);
                }
            }
            Step::Batch { client, from, .. } => {
                if owners.get(client) != Some(&true) {
                    let (group, place) = (Arc::clone(group), place.clone());
                    let (client, offset) = (*client, *from);
                    found.push(GroupViolation::NotOwned { group, place, client, offset });
                }
            }
            Step::Gap { .. } => {}
        }
    }
}

/// Keeps the newest generations of two members: one of them is another one than any third.
fn note(newest: &mut Vec<(i64, Client)>, generation: i64, client: Client) {
    newest.retain(|(_, known)| *known != client);
    newest.push((generation, client));
    newest.sort_unstable_by(|a, b| b.cmp(a));
    newest.truncate(2);
}

/// Whether a commit, if it counted, did so before another one that did.
fn is_before(first: &Commit, second: &Commit) -> bool {
    if first.acked.is_some_and(|acked| acked < second.invoked) {
        return true;
    }
    match (first.by, second.by) {
        (Some((older, _)), Some((newer, _))) => first.client != second.client && older < newer,
        _ => false,
    }
}
