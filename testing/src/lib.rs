//! A Ropewalk broker in the process of a test: the real one, on a port of its own, with its log in
//! memory or on the disk.
//!
//! ```
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = ropewalk_testing::Broker::start().await?;
//! let client = ropewalk::Client::connect(broker.address()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It is there within some milliseconds, so every test can have one of its own. What it does is
//! what `ropewalk serve` does with one broker and default settings, but that it keeps less memory;
//! it has no admin port, and writes its log to whatever the test installs for [`tracing`].

mod broker;
mod instance;
mod store;

pub use broker::{Broker, BrokerBuilder, StartError};
