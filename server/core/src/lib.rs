//! The vocabulary of the broker: ids, offsets, time, the stored form of a batch, bounds.
//!
//! Pure and synchronous. It knows no file, no socket, no thread and no other crate of the
//! workspace; everything above it speaks in its types.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
pub mod clock;
pub mod codec;
pub mod compress;
pub mod entry;
pub mod ids;
pub mod limits;
pub mod names;
pub mod partitioner;
pub mod records;
pub mod time;
#[cfg(test)]
mod vectors;

pub use batch::{BatchDraft, BatchHeader, Compression, DraftParts, StoredBatch, TimestampType};
pub use clock::{Clock, SystemClock};
pub use ids::{GroupId, NodeId, Offset, PartitionId, ReplicaId, TopicId};
pub use time::Timestamp;
