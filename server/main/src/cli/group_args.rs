//! The arguments of `ropewalk group`.

use clap::{ArgAction, Args, Subcommand};

use super::args::Common;
use super::parse::{Origin, origin};

/// What is done with consumer groups.
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List consumer groups
    List(GroupList),
    /// Show a consumer group: its members, what each has, and how far it is behind
    Describe(OneGroup),
    /// Set what a consumer group has committed; it must have no members
    Reset(GroupReset),
    /// Delete consumer groups and what they committed; they must have no members
    Delete(GroupDelete),
    /// Remove a member of a consumer group, as if it had left for good
    RemoveMember(GroupRemoveMember),
}

#[derive(Args, Debug)]
pub(crate) struct GroupList {
    /// Only groups whose name begins with this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) prefix: String,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct OneGroup {
    /// The group
    #[arg(value_name = "GROUP")]
    pub(super) group: String,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["to", "shift"]))]
pub(crate) struct GroupReset {
    /// The group
    #[arg(value_name = "GROUP")]
    pub(super) group: String,
    /// Only this topic; may be repeated [default: all of which it has committed something]
    #[arg(long = "topic", value_name = "TOPIC", action = ArgAction::Append)]
    pub(super) topics: Vec<String>,
    /// Only this partition, from 0; may be repeated
    #[arg(long = "partition", short, value_name = "P", action = ArgAction::Append,
        requires = "topics", value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partitions: Vec<i32>,
    /// Where to: earliest, latest, an offset, -N for the last N of each partition, or @TIME
    ///
    /// TIME is like 2026-01-31T12:00:00Z, seconds since 1970, or a length of time ago, like 15m.
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, value_parser = origin)]
    pub(super) to: Option<Origin>,
    /// By how many offsets, forward or, if negative, back
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) shift: Option<i64>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["member", "instance"]))]
pub(crate) struct GroupRemoveMember {
    /// The group
    #[arg(value_name = "GROUP")]
    pub(super) group: String,
    /// The member, by its id
    #[arg(long, value_name = "ID")]
    pub(super) member: Option<String>,
    /// The static member of this name
    #[arg(long, value_name = "NAME")]
    pub(super) instance: Option<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct GroupDelete {
    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    pub(super) groups: Vec<String>,
    #[command(flatten)]
    pub(super) common: Common,
}
