//! What the store and the whole path are held to: each figure beside a control of the same run,
//! which takes turns with it.
//!
//! `figure` and `report` are what is printed, `raw` the controls, `store` the engine without a
//! broker, `members` those of consumer groups; every other file is a part of the command line.

mod bytes;
mod commits;
mod compaction;
pub(crate) mod figure;
pub(crate) mod groups;
mod idle;
mod members;
mod memory;
mod options;
mod path;
mod producers;
mod quiet;
mod raw;
mod read;
mod rebalance;
mod recovery;
pub(crate) mod report;
pub(crate) mod run;
mod single;
mod store;
mod subscribe;
mod sustained;
mod tail;

pub(crate) use options::GoalOptions;
pub(crate) use run::run;
