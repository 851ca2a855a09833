//! What is done with any codec: checking, decompressing within a bound, compressing.

use thiserror::Error;

use crate::codec::Compression;
use crate::output::Output;
use crate::{gzip, lz4, snappy, zstd};

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

impl CompressError {
    pub(crate) const CUT: Self = Self::Corrupt("they are cut short");
}

/// Checks that `bytes` are whole frames of the codec and nothing else, without decompressing.
///
/// What the frame's own structure says is checked: magic numbers, headers, the lengths of all
/// blocks, the end mark, and the checksums that are taken over compressed bytes. A damaged block
/// can still pass. A snappy stream has no end mark, so that one that is cut between two chunks
/// passes. Of gzip, whose blocks have no lengths, only the first header and the least possible
/// length are checked, so that a truncated member can pass too. Uncompressed bytes have no frame.
///
/// # Errors
/// [`CompressError::Corrupt`], never [`CompressError::TooLarge`].
pub fn check_frame(codec: Compression, bytes: &[u8]) -> Result<(), CompressError> {
    match codec {
        Compression::None => Ok(()),
        Compression::Gzip => gzip::check(bytes),
        Compression::Snappy => snappy::walk(bytes, None),
        Compression::Lz4 => lz4::walk(bytes, None),
        Compression::Zstd => zstd::check(bytes).map(drop),
    }
}

/// What `bytes` are when they are decompressed, at most `limit` bytes.
///
/// Whatever the bytes claim, no more than the limit and the fixed state of a decoder is allocated.
///
/// # Errors
/// [`CompressError::TooLarge`] when there would be more than `limit` bytes, which may be known
/// before the rest is found to be damaged; [`CompressError::Corrupt`] otherwise.
pub fn decompress(
    codec: Compression,
    bytes: &[u8],
    limit: usize,
) -> Result<Vec<u8>, CompressError> {
    match codec {
        Compression::None if bytes.len() > limit => Err(CompressError::TooLarge { limit }),
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => gzip::decompress(bytes, limit),
        Compression::Snappy => {
            let mut out = Output::new(limit);
            snappy::walk(bytes, Some(&mut out))?;
            Ok(out.finish())
        }
        Compression::Lz4 => {
            let mut out = Output::new(limit);
            lz4::walk(bytes, Some(&mut out))?;
            Ok(out.finish())
        }
        Compression::Zstd => zstd::decompress(bytes, limit),
    }
}

/// Compresses `bytes` at the codec's default level.
#[must_use]
pub fn compress(codec: Compression, bytes: &[u8]) -> Vec<u8> {
    compress_at(codec, None, bytes)
}

/// Compresses `bytes` at a level of [`Compression::levels`], or the nearest one; `None`: the
/// codec's default. A codec without levels has the default alone.
#[must_use]
pub fn compress_at(codec: Compression, level: Option<i32>, bytes: &[u8]) -> Vec<u8> {
    let level = codec.levels().zip(level).map(|(has, level)| level.clamp(*has.start(), *has.end()));
    match codec {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => gzip::compress(level, bytes),
        Compression::Snappy => snappy::compress(bytes),
        Compression::Lz4 => lz4::compress(bytes),
        Compression::Zstd => zstd::compress(level, bytes),
    }
}
