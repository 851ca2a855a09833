//! Sending records.
//!
//! `handle` is what a program holds, `pool` the records that wait, batched by partition, `sender`
//! the one task that owns the connections and everything in flight, `link` one of those, `batch` a
//! batch and those who wait for it, `numbers` what makes it known again when it comes twice,
//! `append` a single append outside all that, and `leases` the ids for those.

mod append;
mod batch;
mod handle;
mod leases;
mod link;
mod numbers;
mod pool;
mod queue;
mod sender;
mod stream;

pub use append::Append;
pub use batch::{Appended, Delivery};
pub use handle::{Durability, Producer, ProducerBuilder};
pub(crate) use leases::Leases;
