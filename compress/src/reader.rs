//! Takes values off the front of compressed bytes.

use crate::frames::CompressError;

/// What is not read yet.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// This many bytes.
    pub(crate) fn raw(&mut self, count: usize) -> Result<&'a [u8], CompressError> {
        let (value, rest) = self.0.split_at_checked(count).ok_or(CompressError::CUT)?;
        self.0 = rest;
        Ok(value)
    }

    /// A fixed number of bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CompressError> {
        self.raw(N)?.try_into().map_err(|_| CompressError::CUT)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CompressError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CompressError> {
        self.array().map(u32::from_le_bytes)
    }
}
