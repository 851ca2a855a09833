//! The metadata group: brokers, topics and their settings.
//!
//! Commands change a pure state ([`state::MetadataState`]) on every replica in the same way;
//! everybody else sees immutable snapshots of it through a watch. It is the only source of
//! metadata. It knows no partition's log and no client.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod command;
pub mod machine;
pub mod metadata;
pub mod settings;
pub mod state;
#[cfg(test)]
mod tests;

pub use command::MetadataCommand;
pub use machine::{MetadataMachine, MetadataWatch};
pub use metadata::{BrokerInfo, Metadata, Topic};
pub use settings::{TopicSettings, TopicUpdate};
pub use state::{MetadataAnswer, MetadataError};
