//! Consumer groups: who is a member, which partition is whose, and whose commit counts.
//!
//! A pure state that commands change, the same on every replica of a coordinator group: it knows no
//! clock, no thread, no stream, no topic's name and no committed offset. Time comes with the
//! commands, what a subscription matches too, and what is to happen at a later time is only named:
//! whoever leads the coordinator group proposes it then.
//!
//! A partition has one owner at a time. One that is to move is first taken back: its owner may
//! finish with it and commit until it releases it, leaves, or a deadline has passed; only then is
//! it given to its new owner, in a new generation. So generations part the owners of a partition,
//! and a commit is of the owner of its generation, or is refused (KIP-848 has the same fence by
//! epochs of members; KIP-1251 tells what goes wrong without it). Whoever keeps its partitions is
//! never stopped.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod answer;
pub mod command;
pub mod error;
mod group;
mod groups;
mod news;
mod rows;
mod stored;
pub mod strategy;
#[cfg(test)]
mod tests;

pub use answer::{GroupAnswer, GroupReply, Joined};
pub use command::{Action, GroupCommand, Join, MemberAssignment, MemberName, Resolution};
pub use error::GroupError;
pub use group::{
    Committer, ConsumerGroup, Description, GroupState, Holding, Lost, MemberDescription, Patience,
    PlanMember, PlanRequest, Selected, Selection, Standing, TopicPartition, Wait,
};
pub use groups::{Applied, Changed, Groups};
pub use news::{Delta, News, news_for, news_for_all};
pub use rows::{Row, is_group_row};
pub use strategy::{Strategy, UnknownStrategy};
