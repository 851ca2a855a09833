//! What one broker serves: partitions and their table, committed offsets, retention.
//!
//! It drives the replica groups on threads of its own and speaks to callers in async Rust. It knows
//! neither protobuf nor a socket, nor how the log is stored.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod broker;
pub mod delivery;
#[cfg(test)]
mod delivery_tests;
pub mod driver;
pub mod errors;
pub mod follow;
#[cfg(test)]
mod follow_tests;
mod holding;
pub mod ingest;
#[cfg(test)]
mod memory_tests;
pub mod metrics;
pub mod offsets;
pub mod partition;
mod pools;
mod retention;
#[cfg(test)]
mod slow_disk_tests;
#[cfg(test)]
mod support;
pub mod table;

pub use broker::{Broker, BrokerConfig, BrokerTasks};
pub use partition::{Appended, Partition};
pub use ropewalk_consensus::{Durability, ProposeError};
pub use ropewalk_storage::{Engine, StorageError};
