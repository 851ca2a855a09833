//! The settings of a topic: their defaults, their ranges, their stored form.

use std::time::Duration;

use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{TimestampType, limits};
use thiserror::Error;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a topic. All may be changed while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// How long a record is kept at least; `None`: for ever. Default: 7 days, at least 1 s.
    pub retention: Option<Duration>,
    /// How many bytes a partition keeps at least; `None`: no bound. Default: none.
    pub retention_bytes: Option<u64>,
    /// The size at which a segment is closed. Default: 1 GiB, 64 KiB to 8 GiB.
    pub segment_bytes: u64,
    /// The age at which a segment is closed. Default: 7 days, at least 1 s.
    pub segment_age: Duration,
    /// The most bytes of one record. Default: 1 MiB, 1 B to 3.5 MiB.
    pub max_record_bytes: u32,
    /// Whose clock gives a record its time. Default: the producer's.
    pub timestamp_type: TimestampType,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            retention: Some(7 * DAY),
            retention_bytes: None,
            segment_bytes: 1 << 30,
            segment_age: 7 * DAY,
            max_record_bytes: u32::try_from(limits::DEFAULT_MAX_RECORD_BYTES)
                .expect("1 MiB fits a u32"),
            timestamp_type: TimestampType::Create,
        }
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{setting}` must be {expected}, not {actual}")]
pub struct OutOfRange {
    /// The setting, as the API names it.
    pub setting: String,
    /// What it may be.
    pub expected: String,
    /// What it is.
    pub actual: String,
}

impl TopicSettings {
    /// Refuses the first setting that is outside its range.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let at_least_1s = |setting, value: Duration| {
            check(value >= limits::MIN_RETENTION, setting, "at least 1 s", || format!("{value:?}"))
        };
        if let Some(retention) = self.retention {
            at_least_1s("retention", retention)?;
        }
        at_least_1s("segment_age", self.segment_age)?;
        if let Some(bytes) = self.retention_bytes {
            check(bytes >= 1, "retention_bytes", "-1 or at least 1", || bytes.to_string())?;
        }
        let segment_range = limits::MIN_SEGMENT_BYTES..=limits::MAX_SEGMENT_BYTES;
        check(
            segment_range.contains(&self.segment_bytes),
            "segment_bytes",
            &format!("{} to {}", segment_range.start(), segment_range.end()),
            || self.segment_bytes.to_string(),
        )?;
        let record_range = 1..=limits::MAX_RECORD_BYTES;
        check(
            record_range.contains(&(self.max_record_bytes as usize)),
            "max_record_bytes",
            &format!("1 to {}", limits::MAX_RECORD_BYTES),
            || self.max_record_bytes.to_string(),
        )
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        write_duration(out, self.retention);
        out.option(self.retention_bytes, |out, bytes| {
            out.u64(bytes);
        });
        out.u64(self.segment_bytes);
        write_duration(out, Some(self.segment_age));
        out.u32(self.max_record_bytes).u8(self.timestamp_type as u8);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            retention: read_duration(reader)?,
            retention_bytes: reader.option(Reader::u64)?,
            segment_bytes: reader.u64()?,
            segment_age: read_duration(reader)?.ok_or(reader.error())?,
            max_record_bytes: reader.u32()?,
            timestamp_type: read_timestamp_type(reader)?,
        })
    }
}

pub(crate) fn check(
    holds: bool,
    setting: &str,
    expected: &str,
    actual: impl FnOnce() -> String,
) -> Result<(), OutOfRange> {
    if holds {
        return Ok(());
    }
    Err(OutOfRange { setting: setting.to_owned(), expected: expected.to_owned(), actual: actual() })
}

fn write_duration(out: &mut Writer, duration: Option<Duration>) {
    out.option(duration, |out, duration| {
        out.u64(duration.as_secs()).u32(duration.subsec_nanos());
    });
}

fn read_duration(reader: &mut Reader<'_>) -> Result<Option<Duration>, DecodeError> {
    reader.option(|reader| {
        let (seconds, nanos) = (reader.u64()?, reader.u32()?);
        if nanos >= 1_000_000_000 {
            return Err(reader.error());
        }
        Ok(Duration::new(seconds, nanos))
    })
}

fn read_timestamp_type(reader: &mut Reader<'_>) -> Result<TimestampType, DecodeError> {
    match reader.u8()? {
        0 => Ok(TimestampType::Create),
        1 => Ok(TimestampType::Append),
        _ => Err(reader.error()),
    }
}

/// Changes to some settings, and perhaps more partitions or another number of replicas. What is
/// `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicUpdate {
    /// The number of partitions; it only grows.
    pub partition_count: Option<u32>,
    /// The number of replicas of each partition: 1, 3 or 5.
    pub replication_factor: Option<u32>,
    /// See [`TopicSettings::retention`].
    pub retention: Option<Option<Duration>>,
    /// See [`TopicSettings::retention_bytes`].
    pub retention_bytes: Option<Option<u64>>,
    /// See [`TopicSettings::segment_bytes`].
    pub segment_bytes: Option<u64>,
    /// See [`TopicSettings::segment_age`].
    pub segment_age: Option<Duration>,
    /// See [`TopicSettings::max_record_bytes`].
    pub max_record_bytes: Option<u32>,
    /// See [`TopicSettings::timestamp_type`].
    pub timestamp_type: Option<TimestampType>,
}

impl TopicUpdate {
    /// The settings after the update.
    #[must_use]
    pub fn apply_to(&self, settings: TopicSettings) -> TopicSettings {
        TopicSettings {
            retention: self.retention.unwrap_or(settings.retention),
            retention_bytes: self.retention_bytes.unwrap_or(settings.retention_bytes),
            segment_bytes: self.segment_bytes.unwrap_or(settings.segment_bytes),
            segment_age: self.segment_age.unwrap_or(settings.segment_age),
            max_record_bytes: self.max_record_bytes.unwrap_or(settings.max_record_bytes),
            timestamp_type: self.timestamp_type.unwrap_or(settings.timestamp_type),
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.option(self.partition_count, |out, count| {
            out.u32(count);
        });
        out.option(self.replication_factor, |out, factor| {
            out.u32(factor);
        });
        out.option(self.retention, write_duration);
        out.option(self.retention_bytes, |out, bytes| {
            out.option(bytes, |out, bytes| {
                out.u64(bytes);
            });
        });
        out.option(self.segment_bytes, |out, bytes| {
            out.u64(bytes);
        });
        write_duration(out, self.segment_age);
        out.option(self.max_record_bytes, |out, bytes| {
            out.u32(bytes);
        });
        out.option(self.timestamp_type, |out, timestamp_type| {
            out.u8(timestamp_type as u8);
        });
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            partition_count: reader.option(Reader::u32)?,
            replication_factor: reader.option(Reader::u32)?,
            retention: reader.option(read_duration)?,
            retention_bytes: reader.option(|reader| reader.option(Reader::u64))?,
            segment_bytes: reader.option(Reader::u64)?,
            segment_age: read_duration(reader)?,
            max_record_bytes: reader.option(Reader::u32)?,
            timestamp_type: reader.option(read_timestamp_type)?,
        })
    }
}
