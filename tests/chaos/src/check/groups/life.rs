//! What happened to one partition in one group, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::GroupViolation;
use crate::history::{Call, Client, History, MemberEvent, Place, Sight};

/// A commit of one partition. What was surely refused is among them, too.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) client: Client,
    /// The generation and whether it releases, of a member.
    pub(super) by: Option<(i64, bool)>,
    /// The offset; nothing where the group was deleted, with all that was committed.
    pub(super) offset: Option<i64>,
    pub(super) invoked: u64,
    pub(super) acked: Option<u64>,
    pub(super) failed: bool,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Step {
    Assigned {
        client: Client,
        generation: i64,
        asked: Option<i64>,
        offset: i64,
        log_start: i64,
        /// How long it has for what is revoked.
        drain: u64,
    },
    Revoked {
        client: Client,
        generation: i64,
        until: u64,
    },
    Ended {
        client: Client,
        generation: i64,
        /// The generation that it was told before: then it had the partition still.
        before: i64,
    },
    Gone {
        client: Client,
    },
    /// A commit, by its place in the list.
    Sent(usize),
    Acked(usize),
    Batch {
        client: Client,
        from: i64,
        to: i64,
    },
    Gap {
        from: i64,
        to: i64,
    },
}

/// All that concerns one partition in one group.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) steps: Vec<(u64, Step)>,
    pub(super) commits: Vec<Commit>,
    /// Who came to the group: the generation of the group then, and when it was asked for.
    pub(super) joins: Vec<(i64, u64)>,
}

/// By group and partition.
pub(super) type Lives = BTreeMap<(Arc<str>, Place), Life>;

/// What is known of a member while its events are looked at.
#[derive(Default)]
struct Member {
    drain: u64,
    /// The newest generation that it was told, and the one before.
    generation: i64,
    before: i64,
    has: BTreeSet<Place>,
}

/// Everything by group and partition, for all groups that have members.
pub(super) fn lives_of(history: &History, found: &mut Vec<GroupViolation>) -> Lives {
    let mut lives = Lives::new();
    let mut groups: HashMap<Client, Arc<str>> = HashMap::new();
    let mut members: HashMap<Client, Member> = HashMap::new();
    let mut joins: HashMap<Arc<str>, Vec<(i64, u64)>> = HashMap::new();
    for told in &history.members {
        let (client, group, at) = (told.client, &told.group, told.at);
        groups.entry(client).or_insert_with(|| Arc::clone(group));
        let member = members.entry(client).or_default();
        if let Some(now) = told.event.generation() {
            if now < member.generation {
                let (group, before) = (Arc::clone(group), member.generation);
                found.push(GroupViolation::GenerationFell { group, client, before, now });
            } else if now > member.generation {
                (member.before, member.generation) = (member.generation, now);
            }
        }
        if let MemberEvent::Joined { generation, asked, .. } = &told.event {
            joins.entry(Arc::clone(group)).or_default().push((*generation, *asked));
        }
        for (place, step) in member.steps(client, &told.event) {
            lives.entry((Arc::clone(group), place)).or_default().steps.push((at, step));
        }
    }
    commits(history, &mut lives);
    for seen in &history.seen {
        let Some(group) = groups.get(&seen.reader) else { continue };
        let client = seen.reader;
        let step = match &seen.sight {
            Sight::Batch { base, values, .. } => {
                let to = base + i64::try_from(values.len()).unwrap_or(i64::MAX);
                Step::Batch { client, from: *base, to }
            }
            Sight::Gap { from, to } => Step::Gap { from: *from, to: *to },
            Sight::Started { .. } | Sight::Heartbeat { .. } => continue,
        };
        let key = (Arc::clone(group), seen.place.clone());
        lives.entry(key).or_default().steps.push((seen.at, step));
    }
    for ((group, _), life) in &mut lives {
        life.joins = joins.get(group).cloned().unwrap_or_default();
        life.steps.sort_by_key(|(at, _)| *at);
    }
    lives
}

impl Member {
    fn steps(&mut self, client: Client, event: &MemberEvent) -> Vec<(Place, Step)> {
        match event {
            MemberEvent::Joined { drain, .. } => {
                self.drain = *drain;
                Vec::new()
            }
            MemberEvent::Assigned { generation, place, asked, offset, log_start } => {
                self.has.insert(place.clone());
                let (generation, asked, offset) = (*generation, *asked, *offset);
                let (drain, log_start) = (self.drain, *log_start);
                let step = Step::Assigned { client, generation, asked, offset, log_start, drain };
                vec![(place.clone(), step)]
            }
            MemberEvent::Revoked { generation, place, until } => {
                let step = Step::Revoked { client, generation: *generation, until: *until };
                vec![(place.clone(), step)]
            }
            MemberEvent::Ended { generation, place } => {
                self.has.remove(place);
                let (generation, before) = (*generation, self.before);
                vec![(place.clone(), Step::Ended { client, generation, before })]
            }
            MemberEvent::Gone { .. } => {
                let had = std::mem::take(&mut self.has).into_iter();
                had.map(|place| (place, Step::Gone { client })).collect()
            }
        }
    }
}

/// Commits of partitions that some member had, and deletions of the groups.
fn commits(history: &History, lives: &mut Lives) {
    let mut deleted: Vec<(&Arc<str>, Commit)> = Vec::new();
    for operation in &history.operations {
        let commit = |by, offset| Commit {
            client: operation.client,
            by,
            offset,
            invoked: operation.invoked,
            acked: operation.ok().map(|(at, _)| at),
            failed: operation.failed(),
        };
        match &operation.call {
            Call::Commit { group, place, offset, by } => {
                let by = by.as_ref().map(|by| (by.generation, by.releases));
                if let Some(life) = lives.get_mut(&(Arc::clone(group), place.clone())) {
                    life.add(commit(by, Some(*offset)));
                }
            }
            Call::DeleteGroup { group } => deleted.push((group, commit(None, None))),
            _ => {}
        }
    }
    for (group, Commit { client, invoked, acked, failed, .. }) in deleted {
        for (_, life) in lives.iter_mut().filter(|((of, _), _)| of == group) {
            life.add(Commit { client, by: None, offset: None, invoked, acked, failed });
        }
    }
}

impl Life {
    fn add(&mut self, commit: Commit) {
        let number = self.commits.len();
        self.steps.push((commit.invoked, Step::Sent(number)));
        self.steps.extend(commit.acked.map(|at| (at, Step::Acked(number))));
        self.commits.push(commit);
    }
}
