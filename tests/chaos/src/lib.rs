//! What the fault tests are made of: a load whose every call is recorded, a checker of what was
//! recorded, and the faults themselves.
//!
//! A broker is a black box here: its binary, its directory, its settings, its gRPC API and its log
//! lines. Nothing knows a file format.

mod check;
mod client;
mod command;
mod control;
mod cut;
mod damage;
mod error;
mod history;
mod load;
mod moment;
mod mount;
mod options;
mod read_back;
mod rng;
mod strace;
mod value;

pub use check::{Violation, check};
pub use client::{Stubs, reason_of};
pub use command::{copy_directory, has_program, is_root, run};
pub use control::{Control, ControlResult};
pub use cut::PowerCut;
pub use damage::{Damage, Target, targets};
pub use error::ChaosError;
pub use history::{
    Answer, Call, Client, History, LogRead, OperationId, Outcome, Place, RecordedAs, Recorder,
};
pub use load::{COMMIT_GROUP, Load, LoadPlan, TOPICS, append_once, create_topics};
pub use moment::{Moment, MomentWatch};
pub use mount::{Image, Mount};
pub use options::Options;
pub use read_back::{ReadSummary, read_back};
pub use rng::Rng;
pub use strace::{Strace, injected};
pub use value::{ValueId, decode, encode};
