//! The client against brokers in memory that fail where a test says so.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod client;
mod compression;
mod fake;
mod group;
mod idempotent;
mod interceptors;
mod leaders;
