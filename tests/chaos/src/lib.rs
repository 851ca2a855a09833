//! What the fault tests are made of: a load whose every call is recorded, a checker of what was
//! recorded, and the faults themselves.
//!
//! A broker is a black box here: its binary, its directory, its settings, its gRPC API and its log
//! lines. Nothing knows a file format.

mod availability;
mod calls;
mod check;
mod client;
mod cluster;
mod command;
mod control;
mod cut;
mod damage;
mod error;
mod frozen;
mod history;
mod load;
mod moment;
mod mount;
mod network;
mod node;
mod options;
mod read_back;
mod rng;
mod slow_disk;
mod stopped;
mod strace;
mod swarm;
mod value;

pub use availability::longest_gaps;
pub use check::{
    Epochs, GroupViolation, STABLE_WITHIN, Violation, check, epochs, is_alive, is_stable,
};
pub use client::{Stubs, reason_of};
pub use cluster::{Addresses, Cluster};
pub use command::{copy_directory, has_program, is_root, run};
pub use control::{Control, ControlResult};
pub use cut::PowerCut;
pub use damage::{Damage, Target, targets};
pub use error::ChaosError;
pub use history::{
    Answer, Call, Client, Committer, Disturbance, GroupState, Healed, History, LogRead,
    MemberEvent, Membership, NodeId, Operation, OperationId, Outcome, PartitionState, Place,
    RecordedAs, Recorder, Seen, Sight,
};
pub use load::{
    COMMIT_GROUP, Load, LoadPlan, TOPICS, append_once, create_replicated_topics, create_topics,
};
pub use moment::{Moment, MomentWatch};
pub use mount::{Image, Mount};
pub use network::{From, Network};
pub use node::{ArmedCut, DarkNode, Filler, Node, faketime_library};
pub use options::{KEEP, Options, SEED, keep_directory};
pub use read_back::{ReadSummary, read_back, read_back_through};
pub use rng::Rng;
pub use slow_disk::SlowDisk;
pub use stopped::Stopped;
pub use strace::{Strace, injected};
pub use swarm::{GROUP, STALE_GROUP, Swarm, places};
pub use value::{ValueId, decode, encode};
