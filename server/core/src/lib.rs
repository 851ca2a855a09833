//! The vocabulary of the broker: ids, offsets, time, the stored form of a batch, bounds.
//!
//! Pure and synchronous. It knows no file, no socket, no thread, and of the other crates of the
//! workspace only the codecs; everything above it speaks in its types.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
pub mod clock;
pub mod codec;
pub mod compaction;
pub mod entry;
pub mod expiry;
pub mod ids;
pub mod limits;
pub mod names;
pub mod partitioner;
pub mod records;
pub mod sequence;
pub mod time;
#[cfg(test)]
mod vectors;
pub mod versions;

pub use batch::{BatchDraft, BatchHeader, DraftParts, StoredBatch, TimestampType};
pub use clock::{Clock, SystemClock};
pub use expiry::ShortestTtl;
pub use ids::{GroupId, MemberId, NodeId, Offset, PartitionId, ProducerId, ReplicaId, TopicId};
pub use ropewalk_compress::{self as compress, Compression};
pub use sequence::ProducerSequence;
pub use time::Timestamp;
pub use versions::{KeyHash, KeyRun};
