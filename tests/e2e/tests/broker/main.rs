//! End-to-end tests over a real broker, through the stubs that any client would have.

#![allow(clippy::unwrap_used)]

mod support;

mod any_node;
mod bad_names;
mod bad_operations;
mod bad_positions;
mod bad_records;
mod bad_transport;
mod cancel;
mod cli;
mod compaction;
mod crash;
mod examples;
mod following;
mod kept;
mod leaders;
mod lifetimes;
mod process;
mod produce;
mod sdk;
mod sequences;
mod starts_and_stops;
mod topics;
mod versions;
