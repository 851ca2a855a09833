//! What is inside an uncompressed payload: the protobuf encoding of a `RecordSet`, handled as
//! bytes.
//!
//! The broker stores what producers send, so a payload is looked at once, by [`inspect`], and from
//! then on cut, searched and counted without building a record. Encodings of record sets
//! concatenate: the bytes of a run of records are a record set again, which is why slices need no
//! copy.
//!
//! Every function other than [`inspect`] takes payloads that [`inspect`] let pass. On other bytes
//! they do not panic; they stop at the first thing that is not a record. Nothing here knows of
//! offsets, partitions or codecs.

mod inspect;
mod rewrite;
mod walk;
mod wire;

#[cfg(test)]
mod tests;

pub use inspect::{Inspection, RecordsError, inspect};
pub use rewrite::{normalize, to_text, without_values};
pub use walk::{RecordFacts, cut, facts, find_time, keys, skip};
