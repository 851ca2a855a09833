//! The durable log: the storage trait, its memory and sled implementations, and raft's view of a
//! group.
//!
//! Nothing outside this crate sees sled or a file.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod compaction;
#[cfg(test)]
mod conformance;
mod contract;
pub mod directory;
mod disk;
pub mod disk_engine;
pub mod engine;
mod files;
pub mod group_log;
#[cfg(test)]
mod log_tests;
pub mod log_view;
pub mod memory;
pub mod own_rows;
pub mod planted;
mod queue;

#[doc(hidden)]
pub use disk_engine::fuzzing;
pub use disk_engine::inspect;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub use disk_engine::sim;
pub use engine::{
    Engine, GroupState, GroupWrite, LogEntry, LogStart, Result, StorageError, WriteBatch,
};
