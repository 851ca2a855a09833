//! A small reader and writer for the persisted forms that are not protobuf: metadata commands,
//! group state, index values. Numbers are little-endian, byte strings carry a u32 length.

use thiserror::Error;

/// Bytes that end before the value does, or that hold no such value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("malformed {0}")]
pub struct DecodeError(pub &'static str);

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A buffer that begins with a format version.
    #[must_use]
    pub fn versioned(version: u8) -> Self {
        Self(vec![version])
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.u64(value.cast_unsigned())
    }

    /// A flag, then the value if there is one.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    /// The bytes as they are.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    /// A length, then the bytes.
    ///
    /// # Panics
    /// When there are 4 GiB or more, which no bound of `limits` allows.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u32(u32::try_from(value.len()).expect("persisted values are far below 4 GiB"));
        self.raw(value)
    }

    /// The buffer.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Takes values off the front of a buffer.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`; `what` names the value in errors.
    #[must_use]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// A reader of bytes that begin with this format version.
    pub fn versioned(
        bytes: &'a [u8],
        version: u8,
        what: &'static str,
    ) -> Result<Self, DecodeError> {
        let mut reader = Self::new(bytes, what);
        if reader.u8()? != version {
            return Err(reader.error());
        }
        Ok(reader)
    }

    /// The error of this reader.
    #[must_use]
    pub fn error(&self) -> DecodeError {
        DecodeError(self.what)
    }

    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses bytes that are left over.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.is_done() { Ok(()) } else { Err(self.error()) }
    }

    /// This many bytes.
    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (value, rest) = self.rest.split_at_checked(count).ok_or(self.error())?;
        self.rest = rest;
        Ok(value)
    }

    /// A fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let error = self.error();
        self.raw(N)?.try_into().map_err(|_| error)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    /// A flag, then the value if there is one.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(self.error()),
        }
    }

    /// A length, then the bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = self.u32()?;
        self.raw(count as usize)
    }

    /// A length, then UTF-8.
    pub fn string(&mut self) -> Result<String, DecodeError> {
        let error = self.error();
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| error)
    }
}

/// A text, as its UTF-8 bytes. Read by [`Reader::string`].
pub fn write_text(out: &mut Writer, text: &str) {
    out.bytes(text.as_bytes());
}

/// One byte: 0 or 1.
pub fn write_bool(out: &mut Writer, value: bool) {
    out.u8(value.into());
}

/// What [`write_bool`] wrote.
///
/// # Errors
/// Where there is another number.
pub fn read_bool(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(reader.error()),
    }
}

/// The length of a list that limits bound, then the list.
///
/// # Panics
/// At more than `u32::MAX` items.
pub fn write_list<T>(out: &mut Writer, list: &[T], mut write: impl FnMut(&mut Writer, &T)) {
    out.u32(u32::try_from(list.len()).expect("limits bound every list"));
    for item in list {
        write(out, item);
    }
}

/// What [`write_list`] wrote.
///
/// # Errors
/// Where there are fewer items than it says, or one cannot be read.
pub fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    // The count is not believed before the items are there.
    let count = reader.u32()?;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(read(reader)?);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn number(writer: &mut Writer, value: u32) {
        writer.u32(value);
    }

    #[test]
    fn values_come_back_in_the_order_in_which_they_were_written() {
        let mut writer = Writer::versioned(3);
        writer.u8(1).u32(2).u64(3).i64(-4).bytes(b"five");
        writer.option(Some(6), number);
        writer.option(None, number).raw(b"end");
        let stored = writer.finish();
        let mut reader = Reader::versioned(&stored, 3, "example").unwrap();
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u32(), Ok(2));
        assert_eq!(reader.u64(), Ok(3));
        assert_eq!(reader.i64(), Ok(-4));
        assert_eq!(reader.string().as_deref(), Ok("five"));
        assert_eq!(reader.option(Reader::u32), Ok(Some(6)));
        assert_eq!(reader.option(Reader::u32), Ok(None));
        assert_eq!(reader.rest(), b"end");
        assert_eq!(reader.array(), Ok(*b"end"));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_malformed() {
        let malformed = DecodeError("example");
        let reader = |bytes: &'static [u8]| Reader::new(bytes, "example");
        assert_eq!(reader(b"123").u32(), Err(malformed));
        assert_eq!(reader(b"\x05\0\0\0four").bytes(), Err(malformed));
        assert_eq!(reader(b"\x01\0\0\0\xff").string(), Err(malformed));
        assert_eq!(reader(b"\x02").option(Reader::u8), Err(malformed));
        assert_eq!(reader(b"rest").finish(), Err(malformed));
        assert_eq!(Reader::versioned(b"\x02", 1, "example").err(), Some(malformed));
        assert_eq!(malformed.to_string(), "malformed example");
    }

    /// One of each: written and read by the same list.
    type Values = (u8, u32, u64, i64, Vec<u8>, String, Option<u32>);

    fn write((a, b, c, d, e, f, g): &Values) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(*a).u32(*b).u64(*c).i64(*d).bytes(e);
        writer.bytes(f.as_bytes()).option(*g, number).finish()
    }

    fn read(bytes: &[u8]) -> Result<Values, DecodeError> {
        let mut reader = Reader::new(bytes, "values");
        let values = (
            reader.u8()?,
            reader.u32()?,
            reader.u64()?,
            reader.i64()?,
            reader.bytes()?.to_vec(),
            reader.string()?,
            reader.option(Reader::u32)?,
        );
        reader.finish()?;
        Ok(values)
    }

    proptest! {
        #[test]
        fn round_trip(
            numbers: (u8, u32, u64, i64),
            bytes in vec(any::<u8>(), 0..40),
            text in "\\PC{0,20}",
            maybe in option::of(any::<u32>()),
        ) {
            let (a, b, c, d) = numbers;
            let values = (a, b, c, d, bytes, text, maybe);
            let stored = write(&values);
            prop_assert_eq!(read(&stored), Ok(values));
            for end in 0..stored.len() {
                prop_assert_eq!(read(&stored[..end]), Err(DecodeError("values")));
            }
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..100)) {
            if let Ok(values) = read(&bytes) {
                prop_assert_eq!(write(&values), bytes);
            }
        }
    }
}
