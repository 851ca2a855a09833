//! The one look at a payload that comes from a producer.

use std::time::Duration;

use thiserror::Error;

use super::wire::{
    Cursor, Detail, Field, HEADER_KEY, HEADER_TEXT, HEADER_VALUE, HEADERS, KEY, KEY_TEXT, TEXT,
    TIMESTAMP, TTL, VALUE, Value, frame, timestamp, ttl,
};
use crate::batch::RecordTimes;
use crate::expiry::ShortestTtl;
use crate::limits::MAX_RECORD_HEADER_BYTES;
use crate::time::Timestamp;

/// What a producer's payload turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The number of records, at least 1.
    pub record_count: u32,
    /// The times that the records carry.
    pub times: RecordTimes,
    /// Whether some key, value or header value is given as text, so that the payload is to be
    /// normalized before it is stored.
    pub has_text: bool,
    /// Whether some record carries a timestamp.
    pub has_timestamps: bool,
    /// The first record without a key, if there is one.
    pub keyless: Option<u32>,
    /// The first record whose time to live is too short to be one, if there is one.
    pub short_lived: Option<u32>,
    /// The size of the largest record in bytes: its encoding without the tag and length before it.
    pub largest_record: usize,
}

/// Why a payload cannot be stored. `record` is the position of the record in the payload, from 0.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RecordsError {
    /// No record at all.
    #[error("a batch has at least one record")]
    Empty,
    /// Not the encoding of a record set.
    #[error("record {record} is malformed: {detail}")]
    Corrupt {
        /// Which record; the number of records before it where the bytes between records are wrong.
        record: u32,
        /// What is wrong.
        detail: &'static str,
    },
    /// A record above the topic's limit.
    #[error("record {record} has {actual} bytes, more than the {limit} that its topic allows")]
    RecordTooLarge {
        /// Which record.
        record: u32,
        /// The most bytes that it may have.
        limit: usize,
        /// The bytes that it has.
        actual: usize,
    },
    /// More headers than a record may have.
    #[error("the headers of record {record} have {actual} bytes, more than the {limit} allowed")]
    HeadersTooLarge {
        /// Which record.
        record: u32,
        /// The most bytes that its headers may have.
        limit: usize,
        /// The bytes that they have, as far as they were counted.
        actual: usize,
    },
    /// Both forms of a key, of a value or of a header's value.
    #[error("record {record} has {detail}: give one of them")]
    Conflict {
        /// Which record.
        record: u32,
        /// What is given twice.
        detail: &'static str,
    },
}

/// Checks a producer's payload in one pass over its frames and says what is in it.
///
/// It lets pass what every protobuf library reads in the same way. Unknown fields are kept unread,
/// so that newer clients can talk to older brokers; groups are refused. A field that is not
/// repeated may stand only once: protobuf would let the last one win, but no encoder writes that,
/// and with one meaning per record the broker need not read to the end to know a key. Header sizes
/// count the encoded headers with their tags and lengths, which bounds their number too.
///
/// # Errors
/// The first fault, by position.
pub fn inspect(payload: &[u8], max_record_bytes: usize) -> Result<Inspection, RecordsError> {
    let mut seen = Inspection {
        record_count: 0,
        times: RecordTimes::default(),
        has_text: false,
        has_timestamps: false,
        keyless: None,
        short_lived: None,
        largest_record: 0,
    };
    let mut cursor = Cursor::new(payload);
    loop {
        let record = seen.record_count;
        let corrupt = |detail| RecordsError::Corrupt { record, detail };
        let Some(frame) = frame(&mut cursor).map_err(corrupt)? else {
            break;
        };
        let actual = frame.body.len();
        if actual > max_record_bytes {
            return Err(RecordsError::RecordTooLarge { record, limit: max_record_bytes, actual });
        }
        let facts = check_record(frame.body).map_err(|fault| fault.of(record))?;
        seen.largest_record = seen.largest_record.max(actual);
        seen.has_text |= facts.has_text;
        seen.times.newest = seen.times.newest.max(facts.time);
        seen.times.untimed |= facts.time.is_none();
        seen.has_timestamps |= facts.time.is_some();
        if !facts.has_key && seen.keyless.is_none() {
            seen.keyless = Some(record);
        }
        if facts.is_short_lived && seen.short_lived.is_none() {
            seen.short_lived = Some(record);
        }
        let shortest = [seen.times.shortest_ttl, facts.ttl.and_then(ShortestTtl::of)];
        seen.times.shortest_ttl = shortest.into_iter().flatten().min();
        seen.record_count = record.checked_add(1).ok_or(corrupt("a batch has too many records"))?;
    }
    if seen.record_count == 0 {
        return Err(RecordsError::Empty);
    }
    Ok(seen)
}

#[derive(Default)]
struct Facts {
    time: Option<Timestamp>,
    ttl: Option<Duration>,
    is_short_lived: bool,
    has_text: bool,
    has_key: bool,
}

/// What is wrong with a record whose position its caller knows.
enum Fault {
    Corrupt(Detail),
    Conflict(Detail),
    Headers(usize),
}

impl Fault {
    #[cold]
    fn of(self, record: u32) -> RecordsError {
        match self {
            Self::Corrupt(detail) => RecordsError::Corrupt { record, detail },
            Self::Conflict(detail) => RecordsError::Conflict { record, detail },
            Self::Headers(actual) => {
                RecordsError::HeadersTooLarge { record, limit: MAX_RECORD_HEADER_BYTES, actual }
            }
        }
    }
}

impl From<Detail> for Fault {
    fn from(detail: Detail) -> Self {
        Self::Corrupt(detail)
    }
}

/// The numbers of the fields that a message has shown so far.
#[derive(Default)]
struct Numbers(u32);

impl Numbers {
    fn once(&mut self, number: u32) -> Result<(), Detail> {
        if self.has(number) {
            return Err("a field that is not repeated is given twice");
        }
        self.0 |= 1 << number;
        Ok(())
    }

    fn has(&self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }
}

fn check_record(body: &[u8]) -> Result<Facts, Fault> {
    let mut facts = Facts::default();
    let mut numbers = Numbers::default();
    let mut header_bytes = 0;
    let mut cursor = Cursor::new(body);
    while let Some(field) = cursor.field()? {
        match field.number {
            KEY | VALUE => {
                bytes_of(&field)?;
                numbers.once(field.number)?;
            }
            KEY_TEXT | TEXT => {
                utf8_of(&field)?;
                numbers.once(field.number)?;
                facts.has_text = true;
            }
            HEADERS => {
                header_bytes += field.end - field.start;
                if header_bytes > MAX_RECORD_HEADER_BYTES {
                    return Err(Fault::Headers(header_bytes));
                }
                facts.has_text |= check_header(bytes_of(&field)?)?;
            }
            TIMESTAMP => {
                numbers.once(field.number)?;
                facts.time = Some(timestamp(bytes_of(&field)?)?);
            }
            TTL => {
                numbers.once(field.number)?;
                facts.ttl = ttl(bytes_of(&field)?)?;
                facts.is_short_lived = facts.ttl.is_none();
            }
            _ => {}
        }
    }
    if numbers.has(KEY) && numbers.has(KEY_TEXT) {
        return Err(Fault::Conflict("both key and key_text"));
    }
    if numbers.has(VALUE) && numbers.has(TEXT) {
        return Err(Fault::Conflict("both value and text"));
    }
    facts.has_key = numbers.has(KEY) || numbers.has(KEY_TEXT);
    Ok(facts)
}

/// Checks a header and says whether its value is text.
fn check_header(body: &[u8]) -> Result<bool, Fault> {
    let mut numbers = Numbers::default();
    let mut cursor = Cursor::new(body);
    while let Some(field) = cursor.field()? {
        match field.number {
            HEADER_VALUE => {
                bytes_of(&field)?;
            }
            HEADER_KEY | HEADER_TEXT => utf8_of(&field)?,
            _ => continue,
        }
        numbers.once(field.number)?;
    }
    if numbers.has(HEADER_VALUE) && numbers.has(HEADER_TEXT) {
        return Err(Fault::Conflict("a header with both value and text"));
    }
    Ok(numbers.has(HEADER_TEXT))
}

#[inline]
fn bytes_of<'a>(field: &Field<'a>) -> Result<&'a [u8], Detail> {
    match field.value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err("a field has the wrong wire type"),
    }
}

fn utf8_of(field: &Field<'_>) -> Result<(), Detail> {
    match std::str::from_utf8(bytes_of(field)?) {
        Ok(_) => Ok(()),
        Err(_) => Err("a text is not UTF-8"),
    }
}
