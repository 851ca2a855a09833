//! Sending records.
//!
//! `handle` is what a program holds, `pool` the records that wait, batched by partition, `sender`
//! the one task that owns the connections and everything in flight, `link` one of those, `batch` a
//! batch and those who wait for it, `append` a single append outside all that.

mod append;
mod batch;
mod handle;
mod link;
mod pool;
mod queue;
mod sender;
mod stream;

pub use append::Append;
pub use batch::{Appended, Delivery};
pub use handle::{Durability, Producer, ProducerBuilder};
