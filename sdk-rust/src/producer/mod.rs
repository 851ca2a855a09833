//! Sending records.
//!
//! `handle` is what a program holds, `pool` the records that wait, batched by partition, `sender`
//! the one task that owns the connection and everything in flight, `batch` a batch and those who
//! wait for it, `append` a single append outside all that.

mod append;
mod batch;
mod handle;
mod pool;
mod queue;
mod sender;
mod stream;

pub use append::Append;
pub use batch::{Appended, Delivery};
pub use handle::{Durability, Producer, ProducerBuilder};
