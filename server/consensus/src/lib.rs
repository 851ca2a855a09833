//! Replica groups as pure step functions, and the shard that drives many.
//!
//! Synchronous and deterministic: what happens follows from the inputs and the time given with
//! them. No thread, no clock, no randomness, no lock beyond the view that readers of a log share.
//! The completion of a disk write is an input like any other. raft-rs is seen only here and in
//! storage's `Storage`.
//!
//! What a driver owes a [`Shard`]:
//! - [`Input::Tick`] every 100 ms: raft's clock. Leaders send heartbeats every 300 ms; a follower
//!   that hears nothing for 1 to 2 s stands for election.
//! - [`Input::Settle`] about every 500 ms: what nobody waits for, as commit indexes, is written
//!   then. Only what is written counts as applied after a start, and goes into a snapshot.
//! - [`Input::Durable`] for each [`Output::Write`], in order, once it is on the disk.
//! - [`Input::CaughtUp`] for each [`Output::Read`], off the shard's thread.
//! - [`Input::KeysRead`] for each [`Output::ReadKeys`], off the shard's thread.
//! - [`Output::Send`] to the broker of the receiver ([`Message::to`]), as well as it can; what it
//!   drops, it should tell by [`Input::Lost`], so that the leader does not wait for an answer.
//! - [`Input::Reachable`] and [`Input::Unreachable`] for the connections to the other brokers, so
//!   that idle groups may sleep: they count on it to learn of the end of their leader. No end of a
//!   connection may be kept from a shard.
//! - [`Input::Message`] for what comes from other brokers, checked to be from them. A shard whose
//!   disk does not keep up drops appends, rather than have them pile up in memory.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catch_up;
pub mod group;
pub mod key_reads;
pub mod logger;
pub mod machine;
pub mod message;
pub mod producers;
pub mod proposal;
pub mod shard;
#[cfg(test)]
mod tests;
mod unwritten;
mod wire;

pub use catch_up::{CatchUpBounds, CatchUpRead, CaughtUp};
#[doc(inline)]
pub use ropewalk_storage::planted;

pub use key_reads::{KeyBounds, KeyRead, KeysRead};
pub use machine::{Applied, LaterVersion, StateMachine};
pub use message::{Message, MessageEntry, MessageKind, SnapshotInfo};
pub use producers::ProducerBounds;
pub use proposal::{
    Durability, Expected, MemberProgress, MembershipChange, Proposal, ProposalKind, ProposeError,
    Receipt,
};
pub use shard::{Input, NewGroup, Output, Shard};
