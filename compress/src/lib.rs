//! The codecs that clients compress batches with, each in its standard frame format: the one that
//! the codec's own command-line tool reads.
//!
//! The broker and the Rust client share them. The broker stores what producers compressed: it
//! checks the frame by its structure, without decompressing, and decompresses only for a consumer
//! that does not accept the codec, and to find the keys of records. What is inside is not known
//! here.
//!
//! No codec may use a dictionary, since a consumer has none. Frames may follow one another, as the
//! formats allow; anything else may not follow them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod codec;
mod frames;
mod gzip;
mod lz4;
mod output;
mod reader;
mod snappy;
mod xxh32;
mod zstd;

#[cfg(test)]
mod tests;

pub use codec::{Compression, UnknownCodec};
pub use frames::{CompressError, check_frame, compress, compress_at, decompress};
