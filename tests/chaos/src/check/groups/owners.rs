//! One owner at a time, and nothing of those that were it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::GroupViolation;
use super::life::{Life, Step};
use crate::history::{Client, Place};

/// How far a deadline, which is a time of the wall clock, may be from the tick that it became.
const SLACK: u64 = 50_000;

/// Checks the owners of one partition in one group. Where the brokers' clocks jump, nobody knows
/// when the time of an owner is over.
pub(super) fn check(
    group: &Arc<str>,
    place: &Place,
    life: &Life,
    clocks_jump: bool,
    found: &mut Vec<GroupViolation>,
) {
    one_a_generation(group, place, life, found);
    if !clocks_jump {
        drains_are_awaited(group, place, life, found);
    }
    fence_holds(group, place, life, found);
}

/// The generations in which a member surely had the partition without a break.
struct Era {
    client: Client,
    first: i64,
    last: i64,
}

/// Eras of different members share no generation. All that they were told, and every commit that
/// counted, is of one state of the group.
fn one_a_generation(group: &Arc<str>, place: &Place, life: &Life, found: &mut Vec<GroupViolation>) {
    let mut eras: Vec<Era> = Vec::new();
    let mut current: HashMap<Client, usize> = HashMap::new();
    for (_, step) in &life.steps {
        let (client, generation) = match step {
            Step::Assigned { client, generation, .. } => {
                current.insert(*client, eras.len());
                eras.push(Era { client: *client, first: *generation, last: *generation });
                continue;
            }
            Step::Revoked { client, generation, .. } => (*client, *generation),
            Step::Ended { client, before, .. } => (*client, *before),
            Step::Acked(number) => {
                let commit = &life.commits[*number];
                let Some((generation, _)) = commit.by else { continue };
                (commit.client, generation)
            }
            _ => continue,
        };
        let Some(at) = current.get(&client) else { continue };
        let era = &mut eras[*at];
        match step {
            // It says what was, and not before it began.
            Step::Ended { .. } => era.last = era.last.max(generation),
            _ => (era.first, era.last) = (era.first.min(generation), era.last.max(generation)),
        }
    }
    eras.sort_by_key(|era| era.first);
    let mut longest: Option<Era> = None;
    for era in eras {
        if let Some(before) = longest.as_ref().filter(|before| before.last >= era.first)
            && before.client != era.client
        {
            let (group, place) = (Arc::clone(group), place.clone());
            let (first, second, generation) = (before.client, era.client, era.first);
            found.push(GroupViolation::TwoOwners { group, place, first, second, generation });
        }
        if longest.as_ref().is_none_or(|before| before.last <= era.last) {
            longest = Some(era);
        }
    }
}

/// A member that has the partition, as far as it knows.
struct Open {
    generation: i64,
    drain: u64,
    /// Until when it may finish, once it was told.
    until: Option<u64>,
    /// Whether it has given it back, or tried to: from then on another one may have it.
    released: bool,
    /// Who got it too early, and by how much: shown once the member hears that it goes on, but for
    /// this partition. One that the group had given up meanwhile hears the end of its stream.
    suspect: Option<(Client, u64)>,
}

/// Before another member has it, the owner has released it, or its time is over: the time that it
/// was told, or without that its drain timeout since somebody asked to be a member who came after
/// it had got the partition. Who gets it in the end may have come later than whoever it was taken
/// for.
fn drains_are_awaited(
    group: &Arc<str>,
    place: &Place,
    life: &Life,
    found: &mut Vec<GroupViolation>,
) {
    let mut early = |owner: Client, suspect: Option<(Client, u64)>| {
        if let Some((next, early)) = suspect {
            let (group, place) = (Arc::clone(group), place.clone());
            found.push(GroupViolation::TakenEarly { group, place, owner, next, early });
        }
    };
    let mut open: BTreeMap<Client, Open> = BTreeMap::new();
    for (at, step) in &life.steps {
        match step {
            Step::Assigned { client, generation, drain, .. } => {
                for (_, open) in open.iter_mut().filter(|(owner, _)| *owner != client) {
                    let until = open.until.unwrap_or_else(|| {
                        let later = life.joins.iter().filter(|join| join.0 > open.generation);
                        later.map(|join| join.1 + open.drain).min().unwrap_or_default()
                    });
                    let left = until.saturating_sub(at + SLACK);
                    if left > 0 && open.generation < *generation && !open.released {
                        open.suspect.get_or_insert((*client, left));
                    }
                }
                let (generation, drain) = (*generation, *drain);
                open.insert(
                    *client,
                    Open { generation, drain, until: None, released: false, suspect: None },
                );
            }
            Step::Revoked { client, until, .. } => {
                if let Some(open) = open.get_mut(client) {
                    early(*client, open.suspect.take());
                    open.until = Some(*until);
                }
            }
            Step::Ended { client, .. } => {
                if let Some(open) = open.remove(client) {
                    early(*client, open.suspect);
                }
            }
            Step::Gone { client } => {
                open.remove(client);
            }
            Step::Sent(number) => {
                let commit = &life.commits[*number];
                if commit.by.is_some_and(|(_, releases)| releases)
                    && let Some(open) = open.get_mut(&commit.client)
                {
                    open.released = true;
                }
            }
            _ => {}
        }
    }
    open.into_iter().for_each(|(owner, open)| early(owner, open.suspect));
}

/// Once a partition was assigned to a member in a generation, no commit of another one that is
/// sent later, and of this generation or an older one, counts; nor one of the same member from
/// before it lost the partition.
fn fence_holds(group: &Arc<str>, place: &Place, life: &Life, found: &mut Vec<GroupViolation>) {
    // The highest generation that some member was told as the owner, and that of another one.
    let mut highest: [Option<(i64, Client)>; 2] = [None, None];
    let mut lost: HashMap<Client, (i64, i64)> = HashMap::new();
    for (_, step) in &life.steps {
        match step {
            Step::Assigned { client, generation, .. } => {
                // It came back in the very message that ended what was before.
                if let Some(lost) = lost.get_mut(client).filter(|lost| lost.0 == *generation) {
                    lost.0 = lost.1;
                }
                let told = Some((*generation, *client));
                let is_known = |known: &Option<(i64, Client)>| {
                    known.is_some_and(|(_, known)| known == *client)
                };
                if is_known(&highest[0]) || highest[0] < told {
                    if !is_known(&highest[0]) {
                        highest[1] = highest[0];
                    }
                    highest[0] = highest[0].max(told);
                } else if is_known(&highest[1]) || highest[1] < told {
                    highest[1] = highest[1].max(told);
                }
            }
            Step::Ended { client, generation, before } => {
                lost.insert(*client, (*generation, *before));
            }
            Step::Sent(number) => {
                let commit = &life.commits[*number];
                let (Some((generation, _)), Some(_)) = (commit.by, commit.acked) else { continue };
                let others = highest.iter().flatten();
                let others = others.filter(|(_, client)| *client != commit.client);
                let own = lost.get(&commit.client).map(|(lost, _)| *lost);
                let since = others.map(|(since, _)| *since).chain(own).max();
                if let Some(since) = since.filter(|since| generation <= *since) {
                    found.push(GroupViolation::StaleCommit {
                        group: Arc::clone(group),
                        place: place.clone(),
                        client: commit.client,
                        generation,
                        since,
                    });
                }
            }
            _ => {}
        }
    }
}
