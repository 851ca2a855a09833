//! Starts real brokers for tests and benchmarks.
//!
//! A [`Broker`] is a process of its own with a data directory of its own, on loopback ports that
//! the system chose. It knows the command line, the admin port and the operating system's view of
//! a process, and nothing of gRPC: clients are the tests' business.
//!
//! ```no_run
//! # async fn example() -> Result<(), ropewalk_harness::HarnessError> {
//! let mut broker = ropewalk_harness::Broker::builder()
//!     .settings(&[("topics.auto_create", "false")])
//!     .start()
//!     .await?;
//! println!("{}", broker.address());
//! broker.kill9().await?;
//! broker.restart().await?;
//! # Ok(())
//! # }
//! ```

mod binary;
mod broker;
mod builder;
pub mod cluster;
mod error;
mod http;
mod launch;
mod process;

pub use binary::ropewalk_binary;
pub use broker::{Broker, Termination};
pub use builder::BrokerBuilder;
pub use error::HarnessError;
