//! The metadata group: brokers, topics, and where the replicas of every group are to be.
//!
//! Commands change a pure state ([`state::MetadataState`]) on every replica in the same way;
//! everybody else sees immutable snapshots of it through a watch. It is the only source of
//! metadata. It knows no partition's log and no client, and it carries out nothing: it says which
//! members a group is to have, and others bring them about.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod answer;
pub mod balance;
pub mod command;
pub mod error;
mod evacuation;
mod former;
pub mod level;
pub mod machine;
pub mod metadata;
mod placement;
pub mod replacement;
pub mod settings;
pub mod state;
pub mod steps;
mod stored;
#[cfg(test)]
mod tests;

pub use answer::{MetadataAnswer, MetadataReply};
pub use balance::leader_moves;
pub use command::{BrokerRegistration, MetadataCommand, PartitionMove};
pub use error::MetadataError;
pub use former::Gone;
pub use level::{COMPACTION, CONSUMER_GROUPS, KEY_VERSIONS, LEVEL, RECORD_TTLS, SEQUENCES};
pub use machine::{MetadataMachine, MetadataWatch};
pub use metadata::{
    BrokerInfo, ClusterId, Desired, DirectoryId, Metadata, Placement, Topic, TopicPartition,
};
pub use replacement::replacement;
pub use settings::{Cleanup, CleanupPolicy, TopicSettings, TopicUpdate};
pub use state::founder_placement;
pub use steps::{Members, Step};
