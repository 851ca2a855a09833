//! The settings of a topic: their defaults, their ranges, their stored form.

use std::time::Duration;

use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{Compression, TimestampType, limits};
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
    /// What becomes of old records.
    pub cleanup: Cleanup,
    /// How producers are to compress that were not told themselves. `None`, the default: not at
    /// all. The broker only tells them.
    pub compression: Compression,
}

/// How the records of a topic are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// Which of the two ways there are. Default: deletion.
    pub policy: CleanupPolicy,
    /// How long a tombstone is kept at least, so that readers meet it. Default: 24 hours, 0 to 10
    /// years.
    pub delete_retention: Duration,
    /// How long a record is delivered at most, counted from its append; `None`: as long as it is
    /// there. Default: none, otherwise at least 1 s.
    pub record_ttl: Option<Duration>,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self { policy: CleanupPolicy::Delete, delete_retention: DAY, record_ttl: None }
    }
}

/// What becomes of records in the end. The numbers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum CleanupPolicy {
    /// The oldest segments go, by age and by size.
    #[default]
    Delete = 0,
    /// Of each key only the latest record stays, however old it is.
    Compact = 1,
    /// Both.
    CompactAndDelete = 2,
}

impl CleanupPolicy {
    /// Whether segments go.
    #[must_use]
    pub fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::CompactAndDelete)
    }

    /// Whether keys are compacted.
    #[must_use]
    pub fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::CompactAndDelete)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Delete),
            1 => Ok(Self::Compact),
            2 => Ok(Self::CompactAndDelete),
            _ => Err(reader.error()),
        }
    }
}

impl Cleanup {
    fn write(&self, out: &mut Writer) {
        out.u8(self.policy as u8);
        write_duration(out, Some(self.delete_retention));
        write_duration(out, self.record_ttl);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            policy: CleanupPolicy::read(reader)?,
            delete_retention: read_duration(reader)?.ok_or(reader.error())?,
            record_ttl: read_duration(reader)?,
        })
    }
}

/// In the byte of the timestamp type: the settings of the cleanup follow. Without it they have
/// their defaults, and brokers that do not know them can read the rest.
const HAS_CLEANUP: u8 = 0x80;
/// The same for the codec, which comes last.
const HAS_COMPRESSION: u8 = 0x40;

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
            cleanup: Cleanup::default(),
            compression: Compression::None,
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
        if let Some(ttl) = self.cleanup.record_ttl {
            at_least_1s("record_ttl", ttl)?;
        }
        let kept = self.cleanup.delete_retention;
        check(kept <= 3_650 * DAY, "delete_retention", "0 s to 10 years", || format!("{kept:?}"))?;
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
        let has_cleanup = self.cleanup != Cleanup::default();
        let has_compression = self.compression != Compression::None;
        let cleanup = if has_cleanup { HAS_CLEANUP } else { 0 };
        let compression = if has_compression { HAS_COMPRESSION } else { 0 };
        out.u32(self.max_record_bytes).u8(self.timestamp_type as u8 | cleanup | compression);
        if has_cleanup {
            self.cleanup.write(out);
        }
        if has_compression {
            out.u8(self.compression as u8);
        }
    }

    /// Whether nothing is set that brokers of the first level do not know.
    pub(crate) fn is_plain(&self) -> bool {
        self.cleanup == Cleanup::default() && self.compression == Compression::None
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut settings = Self {
            retention: read_duration(reader)?,
            retention_bytes: reader.option(Reader::u64)?,
            segment_bytes: reader.u64()?,
            segment_age: read_duration(reader)?.ok_or(reader.error())?,
            max_record_bytes: reader.u32()?,
            ..Self::default()
        };
        let byte = reader.u8()?;
        let plain = byte & !(HAS_CLEANUP | HAS_COMPRESSION);
        settings.timestamp_type = stored_timestamp_type(reader, plain)?;
        if byte & HAS_CLEANUP != 0 {
            settings.cleanup = Cleanup::read(reader)?;
        }
        if byte & HAS_COMPRESSION != 0 {
            settings.compression = read_codec(reader)?;
        }
        Ok(settings)
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

fn read_codec(reader: &mut Reader<'_>) -> Result<Compression, DecodeError> {
    Compression::from_number(reader.u8()?).ok_or(reader.error())
}

fn read_timestamp_type(reader: &mut Reader<'_>) -> Result<TimestampType, DecodeError> {
    let byte = reader.u8()?;
    stored_timestamp_type(reader, byte)
}

fn stored_timestamp_type(reader: &Reader<'_>, byte: u8) -> Result<TimestampType, DecodeError> {
    match byte {
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
    /// See [`Cleanup::policy`].
    pub cleanup_policy: Option<CleanupPolicy>,
    /// See [`Cleanup::delete_retention`].
    pub delete_retention: Option<Duration>,
    /// See [`Cleanup::record_ttl`].
    pub record_ttl: Option<Option<Duration>>,
    /// See [`TopicSettings::compression`].
    pub compression: Option<Compression>,
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
            cleanup: Cleanup {
                policy: self.cleanup_policy.unwrap_or(settings.cleanup.policy),
                delete_retention: self
                    .delete_retention
                    .unwrap_or(settings.cleanup.delete_retention),
                record_ttl: self.record_ttl.unwrap_or(settings.cleanup.record_ttl),
            },
            compression: self.compression.unwrap_or(settings.compression),
        }
    }

    /// Whether it changes nothing that brokers of the first level do not know.
    pub(crate) fn is_plain(&self) -> bool {
        let (policy, kept, ttl) = (self.cleanup_policy, self.delete_retention, self.record_ttl);
        policy.is_none() && kept.is_none() && ttl.is_none() && self.compression.is_none()
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
        if !self.is_plain() {
            out.option(self.cleanup_policy, |out, policy| {
                out.u8(policy as u8);
            });
            write_duration(out, self.delete_retention);
            out.option(self.record_ttl, write_duration);
        }
        if let Some(codec) = self.compression {
            out.u8(codec as u8);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut update = Self {
            partition_count: reader.option(Reader::u32)?,
            replication_factor: reader.option(Reader::u32)?,
            retention: reader.option(read_duration)?,
            retention_bytes: reader.option(|reader| reader.option(Reader::u64))?,
            segment_bytes: reader.option(Reader::u64)?,
            segment_age: read_duration(reader)?,
            max_record_bytes: reader.option(Reader::u32)?,
            timestamp_type: reader.option(read_timestamp_type)?,
            ..Self::default()
        };
        // It is the last field of what it is in.
        if !reader.is_done() {
            update.cleanup_policy = reader.option(CleanupPolicy::read)?;
            update.delete_retention = read_duration(reader)?;
            update.record_ttl = reader.option(read_duration)?;
        }
        if !reader.is_done() {
            update.compression = Some(read_codec(reader)?);
        }
        Ok(update)
    }
}
