//! The stored forms that commands, rows and answers share.

use std::time::Duration;

use ropewalk_core::codec::{DecodeError, Reader, Writer};
pub(crate) use ropewalk_core::codec::{read_bool, read_list, write_bool, write_list, write_text};
use ropewalk_core::{PartitionId, TopicId};

use crate::group::{Selection, TopicPartition};

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
