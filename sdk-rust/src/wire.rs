//! The wire form of records, written and read without building protobuf messages.
//!
//! A record set is a run of records, each a tag, a length and its fields; appending a record to a
//! set is appending its bytes. Field numbers are those of record.proto.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use prost_types::Timestamp;
use ropewalk_compress::{Compression, decompress};
use ropewalk_proto::v1;

use crate::error::{Error, ErrorKind};
use crate::record::{Header, Record};

const SET_RECORD: u8 = 1 << 3 | LENGTH;
const KEY: u8 = 1 << 3 | LENGTH;
const KEY_TEXT: u8 = 2 << 3 | LENGTH;
const VALUE: u8 = 3 << 3 | LENGTH;
const TEXT: u8 = 4 << 3 | LENGTH;
const HEADER: u8 = 5 << 3 | LENGTH;
const TIMESTAMP: u8 = 6 << 3 | LENGTH;
const TTL: u8 = 7 << 3 | LENGTH;
const HEADER_KEY: u8 = 1 << 3 | LENGTH;
const HEADER_VALUE: u8 = 2 << 3 | LENGTH;
const HEADER_TEXT: u8 = 3 << 3 | LENGTH;
const SECONDS: u8 = 1 << 3;
const NANOS: u8 = 2 << 3;
const LENGTH: u8 = 2;

/// What a batch has at most when it is decompressed: what brokers decompress at most, too.
const MAX_DECOMPRESSED_BYTES: usize = 16 * 1024 * 1024;

/// The number of a codec in messages.
pub(crate) fn codec_to_proto(codec: Compression) -> i32 {
    let proto = match codec {
        Compression::None => v1::Compression::None,
        Compression::Gzip => v1::Compression::Gzip,
        Compression::Snappy => v1::Compression::Snappy,
        Compression::Lz4 => v1::Compression::Lz4,
        Compression::Zstd => v1::Compression::Zstd,
    };
    proto.into()
}

/// The record set in compressed bytes of a message.
pub(crate) fn unpack(codec: i32, packed: &[u8]) -> Result<Bytes, Error> {
    let known = Compression::ALL.into_iter().find(|known| codec_to_proto(*known) == codec);
    let codec = known.filter(|known| *known != Compression::None).ok_or_else(damaged)?;
    match decompress(codec, packed, MAX_DECOMPRESSED_BYTES) {
        Ok(set) => Ok(set.into()),
        Err(error) => Err(damaged().context(&format!("{codec}: {error}"))),
    }
}

/// The lengths of a record's encoded form, worked out once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The record's fields.
    pub(crate) record: usize,
    headers: usize,
}

impl Sizes {
    pub(crate) fn of(record: &Record) -> Sizes {
        let headers: usize = record.headers.iter().map(|header| field(header_len(header))).sum();
        let bytes = |value: &Option<Bytes>| value.as_ref().map_or(0, |value| field(value.len()));
        let span = |span: Option<Parts>| span.map_or(0, |span| field(span.len()));
        let times =
            span(record.timestamp.map(Parts::of_time)) + span(record.ttl.map(Parts::of_ttl));
        Sizes { record: bytes(&record.key) + bytes(&record.value) + headers + times, headers }
    }

    /// The bytes that the record takes in a record set.
    pub(crate) fn in_set(&self) -> usize {
        field(self.record)
    }

    /// The bytes of the headers in their encoded form.
    pub(crate) fn headers(&self) -> usize {
        self.headers
    }
}

/// The length of a length-delimited field whose tag is one byte.
fn field(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}

fn header_len(header: &Header) -> usize {
    let key = if header.key.is_empty() { 0 } else { field(header.key.len()) };
    key + header.value.as_ref().map_or(0, |value| field(value.len()))
}

/// The longest `google.protobuf.Duration`, which is about 10,000 years.
const MAX_DURATION_SECONDS: i64 = 315_576_000_000;

/// A duration in its protobuf form.
pub(crate) fn duration_to_proto(duration: Duration) -> prost_types::Duration {
    match i64::try_from(duration.as_secs()) {
        Ok(seconds) if seconds < MAX_DURATION_SECONDS => {
            let nanos = i32::try_from(duration.subsec_nanos()).unwrap_or_default();
            prost_types::Duration { seconds, nanos }
        }
        _ => prost_types::Duration { seconds: MAX_DURATION_SECONDS, nanos: 0 },
    }
}

/// What a timestamp consists of, and a duration.
#[derive(Clone, Copy)]
struct Parts {
    seconds: u64,
    nanos: u64,
}

impl Parts {
    fn of_time(time: SystemTime) -> Parts {
        let Timestamp { seconds, nanos } = time.into();
        Parts::new(seconds, nanos)
    }

    fn of_ttl(ttl: Duration) -> Parts {
        let prost_types::Duration { seconds, nanos } = duration_to_proto(ttl);
        Parts::new(seconds, nanos)
    }

    fn new(seconds: i64, nanos: i32) -> Parts {
        Parts { seconds: seconds.cast_unsigned(), nanos: i64::from(nanos).cast_unsigned() }
    }

    fn len(self) -> usize {
        let varint = |value: u64| {
            if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
        };
        varint(self.seconds) + varint(self.nanos)
    }
}

/// Appends a record to a record set.
pub(crate) fn put_record(set: &mut BytesMut, record: &Record, sizes: Sizes) {
    set.reserve(sizes.in_set());
    set.put_u8(SET_RECORD);
    encode_varint(sizes.record as u64, set);
    if let Some(key) = &record.key {
        put_bytes(set, KEY, key);
    }
    if let Some(value) = &record.value {
        put_bytes(set, VALUE, value);
    }
    for header in &record.headers {
        set.put_u8(HEADER);
        encode_varint(header_len(header) as u64, set);
        if !header.key.is_empty() {
            put_bytes(set, HEADER_KEY, header.key.as_bytes());
        }
        if let Some(value) = &header.value {
            put_bytes(set, HEADER_VALUE, value);
        }
    }
    if let Some(time) = record.timestamp {
        put_parts(set, TIMESTAMP, Parts::of_time(time));
    }
    if let Some(ttl) = record.ttl {
        put_parts(set, TTL, Parts::of_ttl(ttl));
    }
}

fn put_bytes(set: &mut BytesMut, tag: u8, content: &[u8]) {
    set.put_u8(tag);
    encode_varint(content.len() as u64, set);
    set.put_slice(content);
}

fn put_parts(set: &mut BytesMut, tag: u8, parts: Parts) {
    set.put_u8(tag);
    encode_varint(parts.len() as u64, set);
    if parts.seconds != 0 {
        set.put_u8(SECONDS);
        encode_varint(parts.seconds, set);
    }
    if parts.nanos != 0 {
        set.put_u8(NANOS);
        encode_varint(parts.nanos, set);
    }
}

/// A record as it was read: slices of the batch's buffer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadRecord {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
    pub(crate) timestamp: Option<SystemTime>,
    pub(crate) ttl: Option<Duration>,
}

/// Reads the record of a set that begins at `*at`, and moves `*at` behind it. `None` at the end.
pub(crate) fn next_record(set: &Bytes, at: &mut usize) -> Result<Option<ReadRecord>, Error> {
    match next_span(set, at)? {
        Some(span) => read_record(set, span).map(Some),
        None => Ok(None),
    }
}

/// Moves `*at` behind the record that begins there without reading it. False at the end.
pub(crate) fn skip_record(set: &Bytes, at: &mut usize) -> Result<bool, Error> {
    Ok(next_span(set, at)?.is_some())
}

fn next_span(set: &Bytes, at: &mut usize) -> Result<Option<Range<usize>>, Error> {
    let mut reader = Reader { bytes: set, at: *at, end: set.len() };
    let mut found = None;
    while let Some((tag, content)) = reader.next()? {
        if tag == u64::from(SET_RECORD) {
            found = Some(content);
            break;
        }
    }
    *at = reader.at;
    Ok(found)
}

fn read_record(set: &Bytes, span: Range<usize>) -> Result<ReadRecord, Error> {
    let mut record = ReadRecord::default();
    let mut reader = Reader { bytes: set, at: span.start, end: span.end };
    while let Some((tag, content)) = reader.next()? {
        match u8::try_from(tag) {
            Ok(KEY | KEY_TEXT) => record.key = Some(set.slice(content)),
            Ok(VALUE | TEXT) => record.value = Some(set.slice(content)),
            Ok(HEADER) => record.headers.push(read_header(set, content)?),
            Ok(TIMESTAMP) => record.timestamp = read_timestamp(set, content)?,
            Ok(TTL) => record.ttl = read_ttl(set, content)?,
            // Fields of later versions are passed over.
            _ => {}
        }
    }
    Ok(record)
}

fn read_header(set: &Bytes, span: Range<usize>) -> Result<Header, Error> {
    let mut header = Header { key: String::new(), value: None };
    let mut reader = Reader { bytes: set, at: span.start, end: span.end };
    while let Some((tag, content)) = reader.next()? {
        match u8::try_from(tag) {
            Ok(HEADER_KEY) => header.key = String::from_utf8_lossy(&set[content]).into_owned(),
            Ok(HEADER_VALUE | HEADER_TEXT) => header.value = Some(set.slice(content)),
            _ => {}
        }
    }
    Ok(header)
}

fn read_timestamp(set: &Bytes, span: Range<usize>) -> Result<Option<SystemTime>, Error> {
    let mut content = &set[span];
    let time: Timestamp = prost::Message::decode(&mut content).map_err(|_| damaged())?;
    Ok(SystemTime::try_from(time).ok())
}

fn read_ttl(set: &Bytes, span: Range<usize>) -> Result<Option<Duration>, Error> {
    let mut content = &set[span];
    let ttl: prost_types::Duration = prost::Message::decode(&mut content).map_err(|_| damaged())?;
    Ok(Duration::try_from(ttl).ok())
}

/// Walks over the fields of an encoded message.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Reader<'_> {
    /// The next field: its tag, and the place of its content where that is length-delimited.
    fn next(&mut self) -> Result<Option<(u64, Range<usize>)>, Error> {
        if self.at >= self.end {
            return Ok(None);
        }
        let tag = self.varint()?;
        let length = match tag & 7 {
            0 => {
                self.varint()?;
                0
            }
            1 => 8,
            2 => usize::try_from(self.varint()?).map_err(|_| damaged())?,
            5 => 4,
            _ => return Err(damaged()),
        };
        let start = self.at;
        let end = start.checked_add(length).filter(|end| *end <= self.end).ok_or_else(damaged)?;
        self.at = end;
        Ok(Some((tag, start..end)))
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut rest = &self.bytes[self.at..self.end];
        let before = rest.len();
        let value = decode_varint(&mut rest).map_err(|_| damaged())?;
        self.at += before - rest.len();
        Ok(value)
    }
}

pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::DataLoss, "a batch that arrived cannot be decoded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use ropewalk_proto::v1;
    use std::time::Duration;

    fn set_of(records: &[Record]) -> BytesMut {
        let mut set = BytesMut::new();
        for record in records {
            let sizes = Sizes::of(record);
            let before = set.len();
            put_record(&mut set, record, sizes);
            assert_eq!(set.len() - before, sizes.in_set());
        }
        set
    }

    fn samples() -> Vec<Record> {
        let early = SystemTime::UNIX_EPOCH - Duration::from_millis(1500);
        let late = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        vec![
            Record::to("t"),
            Record::to("t").key("").value(""),
            Record::to("t").key("k").value(vec![7; 300]).timestamp(late),
            Record::to("t").value("v").header("a", "1").header("", "").timestamp(early),
            Record::to("t").timestamp(SystemTime::UNIX_EPOCH),
            Record::to("t").key("k").timestamp(late).ttl(Duration::from_millis(90_001)),
            Record::to("t").ttl(Duration::from_secs(3_600)),
        ]
    }

    #[test]
    fn a_set_written_by_hand_is_what_protobuf_reads() {
        let decoded = v1::RecordSet::decode(set_of(&samples())).unwrap();
        assert_eq!(decoded.records.len(), 7);
        for (proto, record) in decoded.records.iter().zip(samples()) {
            assert_eq!(proto.key, record.key);
            assert_eq!(proto.value, record.value);
            assert_eq!(proto.timestamp, record.timestamp.map(Into::into));
            assert_eq!(proto.ttl, record.ttl.map(|ttl| ttl.try_into().unwrap()));
            assert_eq!(proto.headers.len(), record.headers.len());
        }
        assert_eq!(decoded.encode_to_vec(), set_of(&samples()));
    }

    #[test]
    fn what_was_written_is_read_again() {
        let set = set_of(&samples()).freeze();
        let mut at = 0;
        for record in samples() {
            let read = next_record(&set, &mut at).unwrap().unwrap();
            assert_eq!(
                (read.key, read.value, read.headers, read.timestamp, read.ttl),
                (record.key, record.value, record.headers, record.timestamp, record.ttl)
            );
        }
        assert_eq!(next_record(&set, &mut at).unwrap(), None);
    }

    #[test]
    fn text_is_read_as_bytes_and_unknown_fields_are_passed_over() {
        let record = v1::Record {
            key_text: Some("k".into()),
            text: Some("v".into()),
            ..v1::Record::default()
        };
        let mut bytes = record.encode_to_vec();
        bytes.extend([15 << 3, 9, 14 << 3 | 5, 1, 2, 3, 4]);
        let mut set = vec![SET_RECORD, bytes.len() as u8];
        set.extend(bytes);
        let read = next_record(&set.into(), &mut 0).unwrap().unwrap();
        assert_eq!((read.key, read.value), (Some("k".into()), Some("v".into())));
    }

    #[test]
    fn a_cut_set_is_an_error_not_a_panic() {
        let whole = set_of(&samples()).freeze();
        for end in 0..whole.len() {
            let cut = whole.slice(..end);
            let mut at = 0;
            while let Ok(Some(_)) = next_record(&cut, &mut at) {}
        }
    }
}
