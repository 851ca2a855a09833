//! The client commands of `ropewalk`: everything but `serve`.
//!
//! They are a client of the API like any other, through the SDK: nothing here knows the broker's
//! insides, but for `storage`, which shows what the store says of a data directory. Data goes to
//! standard output, everything else to standard error. A command ends with 0 when it did what it
//! was to do, 1 when it failed, 2 when it was called wrongly, 3 when no broker could be reached, 4
//! when what it is about does not exist; `storage verify` ends with 5 when the broker will mend
//! something, and 6 when something is damaged.

mod args;
mod assign;
mod consume;
mod failure;
mod group;
mod group_args;
mod json;
mod offsets;
mod operate;
mod output;
mod parse;
mod partitions;
mod produce;
mod progress;
mod records;
mod run;
mod status;
mod storage;
mod template;
mod topic;

pub(crate) use args::{Command, Dev, command_of, with_commands};
pub(crate) use run::run;
