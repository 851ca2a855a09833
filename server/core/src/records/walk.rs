//! Finding places in a payload: record boundaries, times, keys.

use std::ops::Range;
use std::time::Duration;

use super::wire::{
    Cursor, Detail, Frame, KEY, KEY_TEXT, TEXT, TIMESTAMP, TTL, VALUE, Value, fields, frames,
    timestamp, ttl,
};
use crate::time::Timestamp;

/// The byte position after this many records, or `None` when there are fewer.
///
/// What lies before the position and what lies after it are payloads of their own.
#[must_use]
pub fn skip(payload: &[u8], records: u32) -> Option<usize> {
    let Some(last) = records.checked_sub(1) else {
        return Some(0);
    };
    frames(payload).nth(last as usize).map(|frame| frame.end)
}

/// The longest run of leading records within `max_bytes`, but at least one record, as its length in
/// bytes and its number of records. Both are 0 only where there is no record.
#[must_use]
pub fn cut(payload: &[u8], max_bytes: usize) -> (usize, u32) {
    let (mut bytes, mut records) = (0, 0_u32);
    for frame in frames(payload) {
        if records > 0 && frame.end > max_bytes {
            break;
        }
        bytes = frame.end;
        records = records.saturating_add(1);
    }
    (bytes, records)
}

/// The first record whose time is `at_or_after` or later: its position, from 0, and its time. A
/// record without a timestamp has the time `default`, the append time of its batch.
///
/// It is for batches in which the records' own times count.
#[must_use]
pub fn find_time(
    payload: &[u8],
    default: Timestamp,
    at_or_after: Timestamp,
) -> Option<(u32, Timestamp)> {
    (0..)
        .zip(frames(payload))
        .map(|(record, frame)| (record, time_of(frame.body).unwrap_or(default)))
        .find(|(_, time)| *time >= at_or_after)
}

/// Each record's bytes in the payload, tag and length included, and its key if it has one. A key
/// given as text counts as its UTF-8 bytes.
pub fn keys(payload: &[u8]) -> impl Iterator<Item = (Range<usize>, Option<&[u8]>)> {
    frames(payload).map(|frame| (frame.start..frame.end, key_of(frame.body)))
}

/// What compaction and expiry ask of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFacts<'a> {
    /// Its bytes in the payload, tag and length included.
    pub range: Range<usize>,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Whether it has a value: a key without one is a tombstone.
    pub has_value: bool,
    /// Its own time, if it has one.
    pub time: Option<Timestamp>,
    /// Its own time to live, if it has one.
    pub ttl: Option<Duration>,
}

/// The records of a payload, with what compaction and expiry ask of them, up to the first that
/// cannot be read: one that is cut short may have a key, and a value that is not seen.
pub fn facts(payload: &[u8]) -> impl Iterator<Item = RecordFacts<'_>> {
    frames(payload).map_while(|frame| facts_of(&frame).ok())
}

fn facts_of<'a>(frame: &Frame<'a>) -> Result<RecordFacts<'a>, Detail> {
    let range = frame.start..frame.end;
    let mut facts = RecordFacts { range, key: None, has_value: false, time: None, ttl: None };
    let mut cursor = Cursor::new(frame.body);
    while let Some(field) = cursor.field()? {
        match (field.number, field.value) {
            (KEY | KEY_TEXT, Value::Bytes(key)) => facts.key = Some(key),
            (VALUE | TEXT, Value::Bytes(_)) => facts.has_value = true,
            (TIMESTAMP, Value::Bytes(message)) => facts.time = timestamp(message).ok(),
            (TTL, Value::Bytes(message)) => facts.ttl = ttl(message).ok().flatten(),
            (KEY | KEY_TEXT | VALUE | TEXT | TIMESTAMP, _) => {
                return Err("a field of a record has the wrong wire type");
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn time_of(record: &[u8]) -> Option<Timestamp> {
    fields(record).find_map(|field| match (field.number, field.value) {
        (TIMESTAMP, Value::Bytes(message)) => timestamp(message).ok(),
        _ => None,
    })
}

fn key_of(record: &[u8]) -> Option<&[u8]> {
    fields(record).find_map(|field| match (field.number, field.value) {
        (KEY | KEY_TEXT, Value::Bytes(key)) => Some(key),
        _ => None,
    })
}
