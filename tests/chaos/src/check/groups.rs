//! Consumer groups: who has a partition when, which commits count, where each owner begins, and
//! that nothing is left out.
//!
//! A member knows less than its group, and later: that it still thinks a partition its own shows
//! nothing. What is judged is what it was told and in which generation, and what was answered.

mod delivered;
mod life;
mod owners;
mod stable;
mod starts;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use thiserror::Error;

use super::Violation;
use crate::history::{Client, History, Place};

pub use stable::{STABLE_WITHIN, is_stable};

/// Something that a consumer group must never do.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum GroupViolation {
    /// A partition has one owner in a generation.
    #[error(
        "{group}: {place} is of member {first} and of member {second} in generation {generation}"
    )]
    TwoOwners {
        /// The group.
        group: Arc<str>,
        /// The partition.
        place: Place,
        /// One of them.
        first: Client,
        /// The other.
        second: Client,
        /// The generation.
        generation: i64,
    },
    /// A partition that moves is released, or its time is over, before another member has it.
    #[error("{group}: member {next} got {place} {early} ticks before it was taken from {owner}")]
    TakenEarly {
        /// The group.
        group: Arc<str>,
        /// The partition.
        place: Place,
        /// Who had time.
        owner: Client,
        /// Who got it.
        next: Client,
        /// How much of that time was left, at least.
        early: u64,
    },
    /// Who lost a partition commits nothing of it any more.
    #[error(
        "{group}: member {client} committed {place} in generation {generation}, which it had lost \
         when generation {since} was told"
    )]
    StaleCommit {
        /// The group.
        group: Arc<str>,
        /// The partition.
        place: Place,
        /// The member.
        client: Client,
        /// The generation that it named.
        generation: i64,
        /// The generation of which it was known that the partition is not its own.
        since: i64,
    },
    /// An owner begins at what was committed last.
    #[error("{group}: member {client} begins with {place} at {offset}: committed is {allowed:?}")]
    WrongStart {
        /// The group.
        group: Arc<str>,
        /// The partition.
        place: Place,
        /// The member.
        client: Client,
        /// Where it begins.
        offset: i64,
        /// What may have been committed; nothing for no offset at all.
        allowed: Vec<Option<i64>>,
    },
    /// A member gets records of what it has alone, and none once it is to give it back.
    #[error("{group}: member {client} got {place}@{offset}, which it does not have")]
    NotOwned {
        /// The group.
        group: Arc<str>,
        /// The partition.
        place: Place,
        /// The member.
        client: Client,
        /// The first offset.
        offset: i64,
    },
    /// What is committed was delivered.
    #[error("{group}: {place}@{from}..{to} is below a commit, and no member got it")]
    NotDelivered {
        /// The group.
        group: Arc<str>,
        /// The partition.
        place: Place,
        /// The first offset.
        from: i64,
        /// The offset after the last.
        to: i64,
    },
    /// What is committed before it is given back is not delivered again.
    #[error("{group}: {place}@{offset} was delivered twice, and committed the first time")]
    DeliveredTwice {
        /// The group.
        group: Arc<str>,
        /// The partition.
        place: Place,
        /// The offset.
        offset: i64,
    },
    /// What a stream says of its group never goes back.
    #[error("{group}: member {client} was told generation {before}, and then {now}")]
    GenerationFell {
        /// The group.
        group: Arc<str>,
        /// The member.
        client: Client,
        /// What it was told first.
        before: i64,
        /// What it was told later.
        now: i64,
    },
    /// After the last change every partition is with one member before long, and stays there.
    #[error("{group} is not stable {within} ticks after the last change: {why}")]
    Unstable {
        /// The group.
        group: Arc<str>,
        /// What is missing.
        why: String,
        /// How long it had.
        within: u64,
    },
}

/// Checks every group of which members are known.
pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let mut of_groups = Vec::new();
    let lives = life::lives_of(history, &mut of_groups);
    for ((group, place), life) in &lives {
        owners::check(group, place, life, history.clocks_jump, &mut of_groups);
        starts::check(group, place, life, &mut of_groups);
        let once = history.exactly_once.contains(group);
        delivered::check(group, place, life, once, &mut of_groups);
    }
    stable::check(history, &mut of_groups);
    found.extend(of_groups.into_iter().map(Violation::from));
}
