//! Replica groups as pure step functions, and the shard that drives many.
//!
//! Synchronous and deterministic: what happens follows from the inputs and the time given with
//! them. No thread, no clock, no randomness, no lock beyond the view that readers of a log share.
//! The completion of a disk write is an input like any other. raft-rs is seen only here and in
//! storage's `Storage`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod group;
pub mod logger;
pub mod machine;
pub mod proposal;
pub mod shard;
#[cfg(test)]
mod tests;

pub use machine::{Applied, StateMachine};
pub use proposal::{Durability, Proposal, ProposalKind, ProposeError, Receipt};
pub use shard::{Input, NewGroup, Output, Shard};
