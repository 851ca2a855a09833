//! Topics and their settings.

mod compression;

use std::time::{Duration, SystemTime};

use prost_types::FieldMask;
use ropewalk_proto::v1;

pub use compression::TopicCompression;

use crate::error::Error;

/// How long records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// For ever.
    Forever,
    /// At least this long, counted from the newest time in the record's segment. At least 1 s.
    For(Duration),
}

/// How many bytes of records a partition keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLimit {
    /// No bound by size.
    Unlimited,
    /// At least this many; older segments beyond it are removed.
    Bytes(u64),
}

/// Whose clock gives records their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's, or the append time for records without a timestamp of their own.
    Create,
    /// The broker's: the append time.
    Append,
}

/// What becomes of the records of a topic in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// The oldest segments go, by age and by size.
    Delete,
    /// Of each key only the latest record stays.
    Compact,
    /// Both.
    CompactAndDelete,
}

/// How long records are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordTtl {
    /// As long as they are there.
    Unlimited,
    /// For so long after they were appended. At least 1 s.
    For(Duration),
}

/// The settings of a topic. What is `None` has its default; in an answer of a broker nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// How long records are kept. Default: 7 days.
    pub retention: Option<Retention>,
    /// How many bytes of records each partition keeps. Default: no bound.
    pub retention_bytes: Option<SizeLimit>,
    /// The bytes at which a segment is closed; retention removes whole segments. Default: 1 GiB.
    pub segment_bytes: Option<u64>,
    /// The age at which a segment is closed although it is not full. Default: 7 days.
    pub segment_age: Option<Duration>,
    /// The most bytes of one record in its encoded form. Default: 1 MiB.
    pub max_record_bytes: Option<u32>,
    /// Whose clock counts. Default: the producer's.
    pub timestamp_type: Option<TimestampType>,
    /// What becomes of old records. Default: the oldest go.
    pub cleanup_policy: Option<CleanupPolicy>,
    /// How long a compacted topic keeps records that have a key and no value. Default: 24 hours.
    pub delete_retention: Option<Duration>,
    /// How long records are delivered. Default: as long as they are there.
    pub record_ttl: Option<RecordTtl>,
    /// How producers compress that were not told themselves. Default: not at all.
    pub compression: Option<TopicCompression>,
}

/// The name of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// [`TopicSettings::retention`].
    Retention,
    /// [`TopicSettings::retention_bytes`].
    RetentionBytes,
    /// [`TopicSettings::segment_bytes`].
    SegmentBytes,
    /// [`TopicSettings::segment_age`].
    SegmentAge,
    /// [`TopicSettings::max_record_bytes`].
    MaxRecordBytes,
    /// [`TopicSettings::timestamp_type`].
    TimestampType,
    /// [`TopicSettings::cleanup_policy`].
    CleanupPolicy,
    /// [`TopicSettings::delete_retention`].
    DeleteRetention,
    /// [`TopicSettings::record_ttl`].
    RecordTtl,
    /// [`TopicSettings::compression`].
    Compression,
}

impl Setting {
    /// Every setting.
    pub const ALL: [Setting; 10] = [
        Setting::Retention,
        Setting::RetentionBytes,
        Setting::SegmentBytes,
        Setting::SegmentAge,
        Setting::MaxRecordBytes,
        Setting::TimestampType,
        Setting::CleanupPolicy,
        Setting::DeleteRetention,
        Setting::RecordTtl,
        Setting::Compression,
    ];

    /// The name as the contract spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Setting::Retention => "retention",
            Setting::RetentionBytes => "retention_bytes",
            Setting::SegmentBytes => "segment_bytes",
            Setting::SegmentAge => "segment_age",
            Setting::MaxRecordBytes => "max_record_bytes",
            Setting::TimestampType => "timestamp_type",
            Setting::CleanupPolicy => "cleanup_policy",
            Setting::DeleteRetention => "delete_retention",
            Setting::RecordTtl => "record_ttl",
            Setting::Compression => "compression",
        }
    }
}

impl TopicSettings {
    /// Whether a setting has a value.
    #[must_use]
    pub fn is_set(&self, setting: Setting) -> bool {
        match setting {
            Setting::Retention => self.retention.is_some(),
            Setting::RetentionBytes => self.retention_bytes.is_some(),
            Setting::SegmentBytes => self.segment_bytes.is_some(),
            Setting::SegmentAge => self.segment_age.is_some(),
            Setting::MaxRecordBytes => self.max_record_bytes.is_some(),
            Setting::TimestampType => self.timestamp_type.is_some(),
            Setting::CleanupPolicy => self.cleanup_policy.is_some(),
            Setting::DeleteRetention => self.delete_retention.is_some(),
            Setting::RecordTtl => self.record_ttl.is_some(),
            Setting::Compression => self.compression.is_some(),
        }
    }

    fn to_proto(self) -> Result<v1::TopicSettings, Error> {
        let forever = prost_types::Duration { seconds: -1, nanos: 0 };
        let retention = match self.retention {
            None => None,
            Some(Retention::Forever) => Some(forever),
            Some(Retention::For(time)) => Some(duration(time)?),
        };
        let retention_bytes = match self.retention_bytes {
            None => None,
            Some(SizeLimit::Unlimited) => Some(-1),
            Some(SizeLimit::Bytes(bytes)) => Some(in_range(bytes, Setting::RetentionBytes)?),
        };
        Ok(v1::TopicSettings {
            retention,
            retention_bytes,
            segment_bytes: self
                .segment_bytes
                .map(|bytes| in_range(bytes, Setting::SegmentBytes))
                .transpose()?,
            segment_age: self.segment_age.map(duration).transpose()?,
            max_record_bytes: self
                .max_record_bytes
                .map(|bytes| in_range(bytes, Setting::MaxRecordBytes))
                .transpose()?,
            timestamp_type: match self.timestamp_type {
                None => v1::TimestampType::Unspecified,
                Some(TimestampType::Create) => v1::TimestampType::Create,
                Some(TimestampType::Append) => v1::TimestampType::Append,
            }
            .into(),
            cleanup_policy: match self.cleanup_policy {
                None => v1::CleanupPolicy::Unspecified,
                Some(CleanupPolicy::Delete) => v1::CleanupPolicy::Delete,
                Some(CleanupPolicy::Compact) => v1::CleanupPolicy::Compact,
                Some(CleanupPolicy::CompactAndDelete) => v1::CleanupPolicy::CompactAndDelete,
            }
            .into(),
            delete_retention: self.delete_retention.map(duration).transpose()?,
            record_ttl: match self.record_ttl {
                None => None,
                Some(RecordTtl::Unlimited) => Some(forever),
                Some(RecordTtl::For(time)) => Some(duration(time)?),
            },
            compression: TopicCompression::to_proto(self.compression),
        })
    }

    fn from_proto(proto: &v1::TopicSettings) -> TopicSettings {
        TopicSettings {
            retention: proto
                .retention
                .map(|time| Duration::try_from(time).map_or(Retention::Forever, Retention::For)),
            retention_bytes: proto
                .retention_bytes
                .map(|bytes| u64::try_from(bytes).map_or(SizeLimit::Unlimited, SizeLimit::Bytes)),
            segment_bytes: proto.segment_bytes.and_then(|bytes| bytes.try_into().ok()),
            segment_age: proto.segment_age.and_then(|age| age.try_into().ok()),
            max_record_bytes: proto.max_record_bytes.and_then(|bytes| bytes.try_into().ok()),
            timestamp_type: timestamp_type(proto.timestamp_type()),
            cleanup_policy: match proto.cleanup_policy() {
                v1::CleanupPolicy::Unspecified => None,
                v1::CleanupPolicy::Delete => Some(CleanupPolicy::Delete),
                v1::CleanupPolicy::Compact => Some(CleanupPolicy::Compact),
                v1::CleanupPolicy::CompactAndDelete => Some(CleanupPolicy::CompactAndDelete),
            },
            delete_retention: proto.delete_retention.and_then(|time| time.try_into().ok()),
            record_ttl: proto
                .record_ttl
                .map(|time| Duration::try_from(time).map_or(RecordTtl::Unlimited, RecordTtl::For)),
            compression: TopicCompression::from_proto(proto.compression),
        }
    }
}

pub(crate) fn timestamp_type(proto: v1::TimestampType) -> Option<TimestampType> {
    match proto {
        v1::TimestampType::Unspecified => None,
        v1::TimestampType::Create => Some(TimestampType::Create),
        v1::TimestampType::Append => Some(TimestampType::Append),
    }
}

fn duration(time: Duration) -> Result<prost_types::Duration, Error> {
    time.try_into().map_err(|_| Error::invalid("a duration is too long"))
}

fn in_range<T: TryInto<N>, N>(value: T, setting: Setting) -> Result<N, Error> {
    value.try_into().map_err(|_| Error::invalid(format!("{} is too large", setting.name())))
}

/// Setters that [`NewTopic`] and [`TopicUpdate`] share.
macro_rules! setting_setters {
    () => {
        /// How long records are kept.
        #[must_use]
        pub fn retention(mut self, retention: Retention) -> Self {
            self.settings.retention = Some(retention);
            self
        }

        /// How many bytes of records each partition keeps.
        #[must_use]
        pub fn retention_bytes(mut self, limit: SizeLimit) -> Self {
            self.settings.retention_bytes = Some(limit);
            self
        }

        /// The bytes at which a segment is closed: 64 KiB to 8 GiB.
        #[must_use]
        pub fn segment_bytes(mut self, bytes: u64) -> Self {
            self.settings.segment_bytes = Some(bytes);
            self
        }

        /// The age at which a segment is closed: at least 1 s.
        #[must_use]
        pub fn segment_age(mut self, age: Duration) -> Self {
            self.settings.segment_age = Some(age);
            self
        }

        /// The most bytes of one record: 1 B to 3.5 MiB.
        #[must_use]
        pub fn max_record_bytes(mut self, bytes: u32) -> Self {
            self.settings.max_record_bytes = Some(bytes);
            self
        }

        /// Whose clock gives records their time.
        #[must_use]
        pub fn timestamp_type(mut self, timestamp_type: TimestampType) -> Self {
            self.settings.timestamp_type = Some(timestamp_type);
            self
        }

        /// What becomes of old records.
        #[must_use]
        pub fn cleanup_policy(mut self, policy: CleanupPolicy) -> Self {
            self.settings.cleanup_policy = Some(policy);
            self
        }

        /// How long a compacted topic keeps records that have a key and no value.
        #[must_use]
        pub fn delete_retention(mut self, time: Duration) -> Self {
            self.settings.delete_retention = Some(time);
            self
        }

        /// How long records are delivered.
        #[must_use]
        pub fn record_ttl(mut self, ttl: RecordTtl) -> Self {
            self.settings.record_ttl = Some(ttl);
            self
        }

        /// How producers compress that were not told themselves.
        #[must_use]
        pub fn compression(mut self, compression: TopicCompression) -> Self {
            self.settings.compression = Some(compression);
            self
        }

        /// All settings at once, in place of those set so far.
        #[must_use]
        pub fn settings(mut self, settings: TopicSettings) -> Self {
            self.settings = settings;
            self
        }
    };
}

/// A topic to create.
///
/// ```
/// use std::time::Duration;
/// use ropewalk::{NewTopic, Retention};
///
/// let topic = NewTopic::named("orders")
///     .partitions(3)
///     .retention(Retention::For(Duration::from_secs(3600)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    name: String,
    partitions: Option<i32>,
    replication_factor: Option<i32>,
    settings: TopicSettings,
}

impl NewTopic {
    /// A topic with default settings. Names are 1 to 249 of `[A-Za-z0-9._-]`, and do not begin with
    /// `__`.
    #[must_use]
    pub fn named(name: impl Into<String>) -> NewTopic {
        NewTopic {
            name: name.into(),
            partitions: None,
            replication_factor: None,
            settings: TopicSettings::default(),
        }
    }

    /// The number of partitions, 1 to 10,000. Left out: the broker's default.
    #[must_use]
    pub fn partitions(mut self, count: i32) -> NewTopic {
        self.partitions = Some(count);
        self
    }

    /// The number of replicas of each partition, each on a broker of its own: 1, 3 or 5. Left out:
    /// 3 in a cluster of at least three brokers, else 1.
    #[must_use]
    pub fn replication_factor(mut self, replicas: i32) -> NewTopic {
        self.replication_factor = Some(replicas);
        self
    }

    setting_setters!();

    pub(crate) fn into_proto(self) -> Result<v1::CreateTopicRequest, Error> {
        if self.partitions.is_some_and(|count| count < 1) {
            return Err(Error::invalid("a topic has at least one partition"));
        }
        Ok(v1::CreateTopicRequest {
            name: self.name,
            partition_count: self.partitions.unwrap_or_default(),
            settings: Some(self.settings.to_proto()?),
            replication_factor: self.replication_factor.unwrap_or_default(),
        })
    }
}

/// A change to a topic. What is not named stays as it is.
///
/// ```
/// use ropewalk::{Retention, Setting, TopicUpdate};
///
/// let change = TopicUpdate::of("orders")
///     .partitions(6)
///     .retention(Retention::Forever)
///     .reset(Setting::SegmentBytes);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicUpdate {
    name: String,
    partitions: Option<i32>,
    replication_factor: Option<i32>,
    settings: TopicSettings,
    reset: Vec<Setting>,
}

impl TopicUpdate {
    /// A change that changes nothing yet.
    #[must_use]
    pub fn of(name: impl Into<String>) -> TopicUpdate {
        TopicUpdate {
            name: name.into(),
            partitions: None,
            replication_factor: None,
            settings: TopicSettings::default(),
            reset: Vec::new(),
        }
    }

    /// The number of partitions, which only grows. Keys may move to other partitions; what was
    /// appended stays where it is.
    #[must_use]
    pub fn partitions(mut self, count: i32) -> TopicUpdate {
        self.partitions = Some(count);
        self
    }

    /// The number of replicas of each partition: 1, 3 or 5. The brokers that gain or lose one are
    /// chosen by the cluster.
    #[must_use]
    pub fn replication_factor(mut self, replicas: i32) -> TopicUpdate {
        self.replication_factor = Some(replicas);
        self
    }

    setting_setters!();

    /// Puts a setting back to its default.
    #[must_use]
    pub fn reset(mut self, setting: Setting) -> TopicUpdate {
        self.reset.push(setting);
        self
    }

    pub(crate) fn into_proto(self) -> Result<v1::UpdateTopicRequest, Error> {
        let mut paths = Vec::new();
        if self.partitions.is_some() {
            paths.push("partition_count".to_owned());
        }
        if self.replication_factor.is_some() {
            paths.push("replication_factor".to_owned());
        }
        for setting in Setting::ALL {
            match (self.settings.is_set(setting), self.reset.contains(&setting)) {
                (true, true) => {
                    let name = setting.name();
                    return Err(Error::invalid(format!("{name} is both set and reset")));
                }
                (false, false) => {}
                _ => paths.push(format!("settings.{}", setting.name())),
            }
        }
        if paths.is_empty() {
            return Err(Error::invalid("the change names nothing to change"));
        }
        Ok(v1::UpdateTopicRequest {
            topic: Some(v1::Topic {
                name: self.name,
                partition_count: self.partitions.unwrap_or_default(),
                settings: Some(self.settings.to_proto()?),
                replication_factor: self.replication_factor.unwrap_or_default(),
                ..v1::Topic::default()
            }),
            update_mask: Some(FieldMask { paths }),
        })
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The name.
    pub name: String,
    /// The id, a UUID. A topic created again under the same name has another.
    pub id: String,
    /// The number of partitions.
    pub partition_count: i32,
    /// The number of replicas of each partition.
    pub replication_factor: i32,
    /// The settings in force.
    pub settings: TopicSettings,
    /// When it was created, by the broker's clock.
    pub create_time: Option<SystemTime>,
}

impl Topic {
    pub(crate) fn from_proto(proto: v1::Topic) -> Topic {
        Topic {
            settings: proto.settings.as_ref().map(TopicSettings::from_proto).unwrap_or_default(),
            name: proto.name,
            id: proto.topic_id,
            partition_count: proto.partition_count,
            replication_factor: proto.replication_factor,
            create_time: proto.create_time.and_then(|time| time.try_into().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_names_what_it_sets_and_resets() {
        let change = TopicUpdate::of("t")
            .partitions(4)
            .retention(Retention::Forever)
            .reset(Setting::MaxRecordBytes);
        let proto = change.into_proto().unwrap();
        let paths = proto.update_mask.unwrap().paths;
        assert_eq!(paths, ["partition_count", "settings.retention", "settings.max_record_bytes"]);
        let settings = proto.topic.unwrap().settings.unwrap();
        assert_eq!(settings.retention.unwrap().seconds, -1);
        assert_eq!(settings.max_record_bytes, None);
    }

    #[test]
    fn an_update_of_nothing_or_of_both_is_refused() {
        assert!(TopicUpdate::of("t").into_proto().is_err());
        let both = TopicUpdate::of("t").segment_bytes(1).reset(Setting::SegmentBytes);
        assert!(both.into_proto().is_err());
    }

    #[test]
    fn settings_survive_the_wire() {
        let settings = TopicSettings {
            retention: Some(Retention::For(Duration::from_millis(1500))),
            retention_bytes: Some(SizeLimit::Unlimited),
            segment_bytes: Some(1 << 20),
            segment_age: Some(Duration::from_secs(60)),
            max_record_bytes: Some(1000),
            timestamp_type: Some(TimestampType::Append),
            cleanup_policy: Some(CleanupPolicy::CompactAndDelete),
            delete_retention: Some(Duration::from_secs(90)),
            record_ttl: Some(RecordTtl::For(Duration::from_secs(5))),
            compression: Some(TopicCompression::Snappy),
        };
        let proto = settings.to_proto().unwrap();
        assert_eq!(TopicSettings::from_proto(&proto), settings);
    }
}
