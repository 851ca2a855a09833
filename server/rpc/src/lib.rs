//! The gRPC services: protobuf on one side, the broker on the other.
//!
//! Protobuf and tonic stop here: what goes down from here is the broker's own types, and what comes
//! up is turned into a `google.rpc.Status` in one place, `failure`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept;
mod admin;
mod call;
mod consumer;
mod convert;
mod deadline;
mod failure;
mod farewell;
mod group_request;
mod group_starts;
mod group_stream;
mod in_flight;
mod leading;
mod line;
pub mod peer;
mod produce_stream;
mod producer;
mod server;
mod subscribe;
mod subscription;

pub use failure::Reason;
pub use peer::{PeerPort, PeerStats, PeerTransport};
pub use server::{Drain, Server, ServerConfig};
