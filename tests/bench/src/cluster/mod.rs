//! What three brokers that form a cluster are held to: each figure beside one broker of the same
//! binary, or another control of the same run, which takes turns with it.
//!
//! All brokers and the client share the cores and the disk of this machine. `nodes` is the brokers,
//! `turn` a load at full speed; every other file is a part of the command line.

mod catchup;
mod failover;
mod forward;
mod gap;
mod idle;
mod nodes;
mod options;
mod path;
mod run;
mod serving;
mod single;
mod slow;
mod turn;

pub(crate) use options::ClusterOptions;
pub(crate) use run::run;
