//! The stored form of entries, in the journal and in chunks.
//!
//! Most of what is known of an entry follows from the entry before it: the offset goes on, the
//! segment grows, the term stays. So an entry's head says only what does not follow, and takes 5 to
//! 15 bytes instead of 90. Pure: it knows bytes and numbers alone.

use ropewalk_core::codec::{DecodeError, Reader};
use ropewalk_core::{Offset, Timestamp};

use crate::engine::{EntryMeta, LogEntry, SegmentMark};

/// The most bytes of a head.
pub(super) const MAX_HEAD_BYTES: usize = 112;

const SAME_TERM: u8 = 1;
const NEXT_OFFSET: u8 = 1 << 1;
const NEWEST_FOLLOWS: u8 = 1 << 2;
const SAME_SEGMENT: u8 = 1 << 3;
const NORMAL: u8 = 1 << 4;
const NO_TIME: u8 = 1 << 5;
const KNOWN: u8 = (1 << 6) - 1;

/// Appends a number, seven bits a byte, the low ones first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number that `put_number` wrote.
pub(super) fn take_number(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = reader.u8()?;
        if shift == 63 && byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(reader.error())
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.0.to_le_bytes());
}

fn take_time(reader: &mut Reader<'_>) -> Result<Timestamp, DecodeError> {
    reader.i64().map(Timestamp)
}

/// Small for times that lie near one another, also before one another.
fn put_distance(out: &mut Vec<u8>, from: Timestamp, to: Timestamp) {
    let distance = to.0.wrapping_sub(from.0);
    put_number(out, (distance.cast_unsigned() << 1) ^ (distance >> 63).cast_unsigned());
}

fn take_distance(reader: &mut Reader<'_>, from: Timestamp) -> Result<Timestamp, DecodeError> {
    let folded = take_number(reader)?;
    let distance = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
    Ok(Timestamp(from.0.wrapping_add(distance)))
}

/// What stands before the first entry.
const NOTHING: EntryMeta = EntryMeta {
    term: 0,
    entry_type: 0,
    base_offset: Offset::ZERO,
    record_count: 0,
    max_timestamp: Timestamp(0),
    newest_so_far: Timestamp::MIN,
    segment: SegmentMark {
        base_index: 0,
        base_offset: Offset::ZERO,
        created: Timestamp(0),
        bytes: 0,
        max_timestamp: Timestamp(0),
    },
};

/// The segment as it stands when an entry joins it.
fn grown(segment: &SegmentMark, bytes: u64, max_timestamp: Timestamp) -> SegmentMark {
    SegmentMark {
        bytes: segment.bytes.saturating_add(bytes),
        max_timestamp: segment.max_timestamp.max(max_timestamp),
        ..*segment
    }
}

/// Appends the head of an entry that follows `previous`.
fn put_head(out: &mut Vec<u8>, previous: &EntryMeta, entry: &LogEntry) {
    let meta = &entry.meta;
    let bytes = entry.data.len() as u64;
    let newest = previous.newest_so_far.max(meta.max_timestamp);
    let segment = grown(&previous.segment, bytes, meta.max_timestamp);
    let mut flags = 0;
    let mut set = |flag: u8, holds: bool| flags |= if holds { flag } else { 0 };
    set(SAME_TERM, meta.term == previous.term);
    set(NEXT_OFFSET, meta.base_offset == previous.end_offset());
    set(NEWEST_FOLLOWS, meta.newest_so_far == newest);
    set(SAME_SEGMENT, meta.segment == segment);
    set(NORMAL, meta.entry_type == 0);
    set(NO_TIME, meta.max_timestamp == Timestamp::MIN);
    out.push(flags);
    if flags & NORMAL == 0 {
        out.push(meta.entry_type);
    }
    if flags & SAME_TERM == 0 {
        put_number(out, meta.term);
    }
    if flags & NEXT_OFFSET == 0 {
        put_number(out, meta.base_offset.0);
    }
    put_number(out, u64::from(meta.record_count));
    if flags & NO_TIME == 0 {
        put_distance(out, previous.max_timestamp, meta.max_timestamp);
    }
    if flags & NEWEST_FOLLOWS == 0 {
        put_time(out, meta.newest_so_far);
    }
    if flags & SAME_SEGMENT == 0 {
        put_number(out, meta.segment.base_index);
        put_number(out, meta.segment.base_offset.0);
        put_time(out, meta.segment.created);
        put_number(out, meta.segment.bytes);
        put_time(out, meta.segment.max_timestamp);
    }
    put_number(out, bytes);
}

/// Takes the head of an entry that follows `previous`, and the length of its data.
fn take_head(
    reader: &mut Reader<'_>,
    previous: &EntryMeta,
) -> Result<(EntryMeta, usize), DecodeError> {
    let flags = reader.u8()?;
    if flags & !KNOWN != 0 {
        return Err(reader.error());
    }
    let has = |flag: u8| flags & flag != 0;
    let entry_type = if has(NORMAL) { 0 } else { reader.u8()? };
    let term = if has(SAME_TERM) { previous.term } else { take_number(reader)? };
    let base_offset = if has(NEXT_OFFSET) { previous.end_offset().0 } else { take_number(reader)? };
    let record_count = u32::try_from(take_number(reader)?).map_err(|_| reader.error())?;
    let max_timestamp =
        if has(NO_TIME) { Timestamp::MIN } else { take_distance(reader, previous.max_timestamp)? };
    let newest_so_far = if has(NEWEST_FOLLOWS) {
        previous.newest_so_far.max(max_timestamp)
    } else {
        take_time(reader)?
    };
    let given = if has(SAME_SEGMENT) {
        None
    } else {
        Some(SegmentMark {
            base_index: take_number(reader)?,
            base_offset: Offset(take_number(reader)?),
            created: take_time(reader)?,
            bytes: take_number(reader)?,
            max_timestamp: take_time(reader)?,
        })
    };
    let bytes = take_number(reader)?;
    let length = u32::try_from(bytes).map_err(|_| reader.error())? as usize;
    let segment = given.unwrap_or_else(|| grown(&previous.segment, bytes, max_timestamp));
    let base_offset = Offset(base_offset);
    let meta = EntryMeta {
        term,
        entry_type,
        base_offset,
        record_count,
        max_timestamp,
        newest_so_far,
        segment,
    };
    Ok((meta, length))
}

/// Appends the heads of consecutive entries.
pub(super) fn put_heads(out: &mut Vec<u8>, entries: &[LogEntry]) {
    let mut previous = &NOTHING;
    for entry in entries {
        put_head(out, previous, entry);
        previous = &entry.meta;
    }
}

/// Takes the heads of this many entries, with the length of the data of each.
pub(super) fn take_heads(
    reader: &mut Reader<'_>,
    count: usize,
) -> Result<Vec<(EntryMeta, usize)>, DecodeError> {
    // The count is not trusted with memory: each head takes at least three bytes.
    let mut heads = Vec::with_capacity(count.min(reader.rest().len() / 3 + 1));
    let mut previous = NOTHING;
    for _ in 0..count {
        let (meta, length) = take_head(reader, &previous)?;
        previous = meta;
        heads.push((meta, length));
    }
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_time() -> impl Strategy<Value = Timestamp> {
        prop_oneof![Just(i64::MIN), Just(i64::MAX), 0..9i64, any::<i64>()].prop_map(Timestamp)
    }

    fn any_number() -> impl Strategy<Value = u64> {
        prop_oneof![0..200u64, Just(u64::MAX), any::<u64>()]
    }

    fn any_entry() -> impl Strategy<Value = LogEntry> {
        let segment = (any_number(), any_number(), any_time(), any_number(), any_time());
        let times = (any_time(), any_time());
        // An offset beyond all bounds never comes into a log.
        let offset = 0..u64::MAX / 2;
        (any_number(), 0..3u8, offset, any::<u32>(), times, segment, 0..300usize).prop_map(
            |(term, entry_type, base, record_count, (max, newest), segment, size)| LogEntry {
                index: 0,
                meta: EntryMeta {
                    term,
                    entry_type,
                    base_offset: Offset(base),
                    record_count,
                    max_timestamp: max,
                    newest_so_far: newest,
                    segment: SegmentMark {
                        base_index: segment.0,
                        base_offset: Offset(segment.1),
                        created: segment.2,
                        bytes: segment.3,
                        max_timestamp: segment.4,
                    },
                },
                data: vec![0; size].into(),
            },
        )
    }

    /// Entries as a log has them, of which almost everything follows from the one before.
    fn usual(count: u64) -> Vec<LogEntry> {
        let mut entries = Vec::new();
        let mut previous = NOTHING;
        for index in 0..count {
            let time = Timestamp(1_700_000_000_000_000_000 + i64::try_from(index).unwrap() * 1_000);
            let meta = EntryMeta {
                term: 6,
                base_offset: previous.end_offset(),
                record_count: 1,
                max_timestamp: time,
                newest_so_far: previous.newest_so_far.max(time),
                segment: grown(&previous.segment, 100, time),
                ..NOTHING
            };
            previous = meta;
            entries.push(LogEntry { index, meta, data: vec![0; 100].into() });
        }
        entries
    }

    proptest! {
        #[test]
        fn heads_go_both_ways(entries in proptest::collection::vec(any_entry(), 0..9)) {
            let mut bytes = Vec::new();
            put_heads(&mut bytes, &entries);
            let mut reader = Reader::new(&bytes, "heads");
            let heads = take_heads(&mut reader, entries.len()).unwrap();
            let expected: Vec<_> =
                entries.iter().map(|entry| (entry.meta, entry.data.len())).collect();
            prop_assert_eq!(heads, expected);
            prop_assert!(reader.is_done());
        }

        #[test]
        fn any_bytes_are_heads_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = take_heads(&mut Reader::new(&bytes, "heads"), 1_000_000);
        }

        #[test]
        fn numbers_go_both_ways(number in any_number()) {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            prop_assert_eq!(take_number(&mut Reader::new(&bytes, "number")), Ok(number));
        }
    }

    #[test]
    fn usual_entries_have_short_heads() {
        let mut bytes = Vec::new();
        put_heads(&mut bytes, &usual(100));
        assert!(bytes.len() < 600, "{} bytes for 100 heads", bytes.len());
    }
}
