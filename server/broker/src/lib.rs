//! What one broker serves: partitions and their table, committed offsets, retention.
//!
//! It drives the replica groups on threads of its own and speaks to callers in async Rust. It knows
//! neither protobuf nor a socket, nor how the log is stored.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod alone;
mod append_memory;
pub mod broker;
#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod cluster_tests;
pub mod consumer_groups;
mod coordinating;
pub mod coordinator;
pub mod delivery;
#[cfg(test)]
mod delivery_tests;
pub mod driver;
pub mod errors;
#[cfg(test)]
mod fake_peers;
pub mod follow;
#[cfg(test)]
mod follow_tests;
pub mod group_handle;
#[cfg(test)]
mod group_handle_tests;
pub mod group_watch;
mod groups;
mod holding;
pub mod inbound;
#[cfg(test)]
mod inbound_tests;
pub mod ingest;
mod keeper;
mod key_search;
pub mod lines;
mod long_polls;
mod members;
#[cfg(test)]
mod members_tests;
pub mod membership;
#[cfg(test)]
mod memory_tests;
pub mod metrics;
#[cfg(test)]
mod network;
pub mod offsets;
pub mod operations;
pub mod partition;
pub mod patterns;
pub mod peers;
mod pools;
pub mod producer_ids;
pub mod registration;
#[cfg(test)]
mod registration_tests;
mod remote_log;
mod removal;
mod retention;
#[cfg(test)]
mod sequence_tests;
pub mod sights;
#[cfg(test)]
mod slow_disk_tests;
mod start;
mod steady_clock;
mod step_down;
#[cfg(test)]
mod support;
pub mod survey;
pub mod table;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod upgrade_tests;
#[cfg(test)]
mod version_tests;
mod whereabouts;

pub use alone::Alone;
pub use broker::{Broker, BrokerConfig};
pub use group_handle::{GroupHandle, GroupLeader};
pub use inbound::Inbound;
pub use partition::{Appended, Partition};
pub use registration::PeerLinks;
pub use ropewalk_consensus::{
    Durability, Expected, KeyBounds, ProducerBounds, ProposeError, planted,
};
pub use ropewalk_storage::{Engine, StorageError};
pub use start::BrokerTasks;
