//! A buffer for decompressed bytes that never grows beyond its limit.

use crate::frames::CompressError;

/// Bytes written so far, and room for more up to the limit.
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
    limit: usize,
}

impl Output {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), written: 0, limit }
    }

    /// How many bytes were written.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// The bytes written from `start` on.
    pub(crate) fn since(&self, start: usize) -> &[u8] {
        &self.bytes[start..self.written]
    }

    /// What was written, and room for up to `wanted` bytes more: fewer where the limit is near.
    pub(crate) fn parts(&mut self, wanted: usize) -> (&[u8], &mut [u8]) {
        let end = self.written.saturating_add(wanted).min(self.limit);
        if end > self.bytes.len() {
            // Growing in steps, as vectors do, but not past the limit.
            let capacity = end.max(self.bytes.len().saturating_mul(2)).min(self.limit);
            self.bytes.reserve_exact(capacity - self.bytes.len());
            self.bytes.resize(end, 0);
        }
        let (before, room) = self.bytes.split_at_mut(self.written);
        (before, &mut room[..end - self.written])
    }

    /// Counts bytes that were put into the room.
    pub(crate) fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.bytes.len() - self.written);
        self.written += count;
    }

    /// Appends bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), CompressError> {
        let too_large = self.too_large();
        let (_, room) = self.parts(bytes.len());
        if room.len() < bytes.len() {
            return Err(too_large);
        }
        room.copy_from_slice(bytes);
        self.advance(bytes.len());
        Ok(())
    }

    /// The error of output beyond the limit.
    pub(crate) fn too_large(&self) -> CompressError {
        CompressError::TooLarge { limit: self.limit }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.written);
        self.bytes.shrink_to_fit();
        self.bytes
    }
}
