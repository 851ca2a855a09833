//! Reading records.
//!
//! `builder` says what to read, `session` opens one subscription for it, `reader` is the consumer:
//! it reads one session after another and knows the next offset of each partition. `batch` gives
//! the records of a batch one by one.

mod batch;
mod builder;
mod event;
mod reader;
mod session;

pub use batch::{ConsumedRecord, RecordBatch, Records};
pub use builder::ConsumerBuilder;
pub use event::{Event, Gap, PartitionState, Start, Stop};
pub use reader::Consumer;
pub(crate) use session::start_stream;
