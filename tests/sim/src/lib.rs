//! Several brokers in one thread: shards of replica groups, the metadata and its placements, and
//! the engine, under a driver that decides about network, disks, clocks and clients.
//!
//! Nothing here has a thread, a clock or chance of its own: a life follows from its seed alone.
//! [`cluster`] is the driver, for scripts and for [`life`], which makes random lives of it;
//! [`batch`] runs many. [`checks`] and [`machine`] say what must hold, [`moments`] what must have
//! happened.

#![allow(clippy::unwrap_used, reason = "what does not hold ends a simulation")]

pub mod batch;
pub mod broker;
pub mod checks;
pub mod cluster;
pub mod commands;
pub mod entries;
pub mod life;
pub mod machine;
pub mod moments;
mod observe;
pub mod random;
pub mod store;
