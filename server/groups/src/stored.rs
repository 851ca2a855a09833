//! The stored forms that commands, rows and answers share.

use std::time::Duration;

use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{PartitionId, TopicId};

use crate::group::{Selection, TopicPartition};

pub(crate) fn write_text(out: &mut Writer, text: &str) {
    out.bytes(text.as_bytes());
}

pub(crate) fn write_bool(out: &mut Writer, value: bool) {
    out.u8(value.into());
}

pub(crate) fn read_bool(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(reader.error()),
    }
}

/// The length of a list that limits bound, then the list.
pub(crate) fn write_list<T>(out: &mut Writer, list: &[T], mut write: impl FnMut(&mut Writer, &T)) {
    out.u32(u32::try_from(list.len()).expect("limits bound every list"));
    for item in list {
        write(out, item);
    }
}

pub(crate) fn read_list<'a, T>(
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

/// In nanoseconds, of which limits allow far fewer than fit.
pub(crate) fn write_duration(out: &mut Writer, duration: Duration) {
    out.u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

pub(crate) fn read_duration(reader: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    reader.u64().map(Duration::from_nanos)
}

pub(crate) fn read_topic(reader: &mut Reader<'_>) -> Result<TopicId, DecodeError> {
    reader.array().map(TopicId)
}

pub(crate) fn write_partition(out: &mut Writer, (topic, partition): &TopicPartition) {
    out.raw(&topic.0).u32(partition.0);
}

pub(crate) fn read_partition(reader: &mut Reader<'_>) -> Result<TopicPartition, DecodeError> {
    Ok((read_topic(reader)?, PartitionId(reader.u32()?)))
}

pub(crate) fn write_selection(out: &mut Writer, selection: &Selection) {
    out.u8(match selection {
        Selection::Name(_) => 1,
        Selection::Pattern(_) => 2,
    });
    write_text(out, selection.text());
}

pub(crate) fn read_selection(reader: &mut Reader<'_>) -> Result<Selection, DecodeError> {
    match reader.u8()? {
        1 => reader.string().map(Selection::Name),
        2 => reader.string().map(Selection::Pattern),
        _ => Err(reader.error()),
    }
}
