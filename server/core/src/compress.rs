//! The codecs that clients compress batches with, each in its standard frame format.
//!
//! The broker stores what producers compressed. It checks the frame by its structure, without
//! decompressing, and decompresses only for a consumer that does not accept the codec. What is inside
//! is for `records` to know.

use thiserror::Error;

use crate::batch::Compression;

/// Why compressed bytes are refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CompressError {
    /// Not what the codec writes.
    #[error("the compressed bytes are malformed: {0}")]
    Corrupt(&'static str),
    /// More than the reader is ready to take.
    #[error("decompressed, the bytes exceed the limit of {limit}")]
    TooLarge {
        /// The most bytes that were allowed.
        limit: usize,
    },
}

const NOT_YET: CompressError = CompressError::Corrupt("this codec is not supported yet");

/// Checks that `bytes` are whole frames of the codec and nothing else, without decompressing.
pub fn check_frame(codec: Compression, _bytes: &[u8]) -> Result<(), CompressError> {
    if codec == Compression::None {
        Ok(())
    } else {
        Err(NOT_YET)
    }
}

/// What `bytes` are when they are decompressed, at most `limit` bytes.
pub fn decompress(
    codec: Compression,
    bytes: &[u8],
    limit: usize,
) -> Result<Vec<u8>, CompressError> {
    match codec {
        Compression::None if bytes.len() > limit => Err(CompressError::TooLarge { limit }),
        Compression::None => Ok(bytes.to_vec()),
        _ => Err(NOT_YET),
    }
}
