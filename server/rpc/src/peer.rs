//! The transport between brokers: the seam's types on one side, HTTP/2 connections on the other.
//!
//! To each other broker go four connections: one for what raft says in bulk (appends and
//! snapshots), one for its short messages (heartbeats, votes, answers), which must not wait behind
//! the bulk, one for proposals and one for reads. Each carries one stream, begins anew with a
//! growing pause when it ends, and never makes its caller wait. It knows nothing of what the
//! messages mean.
//!
//! Everything that comes in is checked here for its form: sizes, counts, numbers of enums, who may
//! say it, entries without gaps, checksums of batches outside the raft log. The checksum of an
//! entry's data is checked by storage before the entry is written.

mod call_wire;
mod calls;
mod connection;
mod fetch_wire;
mod hail;
mod lane;
mod link;
mod port;
mod queue;
mod raft_wire;
mod rarely;
mod service;
#[cfg(test)]
mod tests;
mod transport;
mod turns;
mod wire;

pub use port::PeerPort;
pub use transport::{PeerStats, PeerTransport};
