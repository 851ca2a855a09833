//! Reading as a member of a consumer group.
//!
//! `builder` says what to read and how, `session` opens a stream of a member, `holdings` knows what
//! the member has and how far it is, `committer` keeps that, `stream` takes up what a stream
//! brings, `planning` answers who is to have what, and `consumer` is what the application reads.
//! Beside them `description` and `watch` tell of groups to people and programs that look at them.

mod builder;
mod committer;
mod consumer;
mod description;
mod event;
mod holdings;
mod planning;
mod session;
mod stream;
mod turns;
mod watch;

pub use builder::GroupConsumerBuilder;
pub use committer::Committer;
pub use consumer::GroupConsumer;
pub use description::{
    GroupDescription, GroupMembers, GroupMove, GroupOffset, GroupState, GroupSummary,
    MemberDescription,
};
pub use event::{GroupEvent, Revoked};
pub use planning::{GroupPlan, PlanMember, PlanRequest};
pub use watch::GroupWatch;
