//! Protobuf values to the broker's types, and back.

use std::time::Duration;

use ropewalk_broker::Durability;
use ropewalk_cluster::{CleanupPolicy, Topic, TopicSettings, TopicUpdate};
use ropewalk_core::{Compression, Offset, Timestamp, TimestampType};
use ropewalk_proto::broker as pb;

use crate::failure::Failure;

pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.to_parts();
    prost_types::Timestamp { seconds, nanos }
}

pub(crate) fn read_timestamp(
    time: &prost_types::Timestamp,
    field: &str,
) -> Result<Timestamp, Failure> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return Err(Failure::field(field, format!("`{field}` has nanos outside 0 to 999999999")));
    }
    Ok(Timestamp::from_parts(time.seconds, time.nanos))
}

/// An offset on the wire. Offsets never come near 2^63.
pub(crate) fn offset(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// A duration of the wire; `None` when it is negative.
pub(crate) fn read_duration(
    duration: &prost_types::Duration,
    field: &str,
) -> Result<Option<Duration>, Failure> {
    let (seconds, nanos) = (duration.seconds, duration.nanos);
    let mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if nanos.unsigned_abs() >= 1_000_000_000 || mixed {
        return Err(Failure::field(field, format!("`{field}` is not a valid Duration")));
    }
    match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(seconds), Ok(nanos)) => Ok(Some(Duration::new(seconds, nanos))),
        _ => Ok(None),
    }
}

pub(crate) fn durability(durability: Durability) -> pb::Durability {
    match durability {
        Durability::None => pb::Durability::None,
        Durability::Leader => pb::Durability::Leader,
        Durability::Quorum => pb::Durability::Quorum,
    }
}

pub(crate) fn read_durability(value: i32) -> Result<Durability, Failure> {
    match pb::Durability::try_from(value) {
        Ok(pb::Durability::Unspecified | pb::Durability::Quorum) => Ok(Durability::Quorum),
        Ok(pb::Durability::Leader) => Ok(Durability::Leader),
        Ok(pb::Durability::None) => Ok(Durability::None),
        Err(_) => Err(unknown_value("durability", value)),
    }
}

pub(crate) fn compression(codec: Compression) -> pb::Compression {
    match codec {
        Compression::None => pb::Compression::None,
        Compression::Gzip => pb::Compression::Gzip,
        Compression::Snappy => pb::Compression::Snappy,
        Compression::Lz4 => pb::Compression::Lz4,
        Compression::Zstd => pb::Compression::Zstd,
    }
}

pub(crate) fn read_compression(value: i32, field: &str) -> Result<Compression, Failure> {
    match pb::Compression::try_from(value) {
        Ok(pb::Compression::Unspecified | pb::Compression::None) => Ok(Compression::None),
        Ok(pb::Compression::Gzip) => Ok(Compression::Gzip),
        Ok(pb::Compression::Snappy) => Ok(Compression::Snappy),
        Ok(pb::Compression::Lz4) => Ok(Compression::Lz4),
        Ok(pb::Compression::Zstd) => Ok(Compression::Zstd),
        Err(_) => Err(unknown_value(field, value)),
    }
}

pub(crate) fn timestamp_type(value: TimestampType) -> pb::TimestampType {
    match value {
        TimestampType::Create => pb::TimestampType::Create,
        TimestampType::Append => pb::TimestampType::Append,
    }
}

fn read_timestamp_type(value: i32) -> Result<Option<TimestampType>, Failure> {
    match pb::TimestampType::try_from(value) {
        Ok(pb::TimestampType::Unspecified) => Ok(None),
        Ok(pb::TimestampType::Create) => Ok(Some(TimestampType::Create)),
        Ok(pb::TimestampType::Append) => Ok(Some(TimestampType::Append)),
        Err(_) => Err(unknown_value("settings.timestamp_type", value)),
    }
}

fn unknown_value(field: &str, value: i32) -> Failure {
    Failure::field(field, format!("`{field}` has no value {value}; see the enum's definition"))
        .with("actual", value)
}

pub(crate) fn topic(topic: &Topic) -> pb::Topic {
    pb::Topic {
        name: topic.name.clone(),
        topic_id: topic.id.to_string(),
        partition_count: i32::try_from(topic.partition_count()).unwrap_or(i32::MAX),
        settings: Some(settings(&topic.settings)),
        create_time: Some(timestamp(topic.created)),
        replication_factor: i32::try_from(topic.replication_factor).unwrap_or(i32::MAX),
    }
}

fn settings(settings: &TopicSettings) -> pb::TopicSettings {
    let forever = prost_types::Duration { seconds: -1, nanos: 0 };
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    pb::TopicSettings {
        retention: Some(settings.retention.map_or(forever, duration)),
        retention_bytes: Some(settings.retention_bytes.map_or(-1, signed)),
        segment_bytes: Some(signed(settings.segment_bytes)),
        segment_age: Some(duration(settings.segment_age)),
        max_record_bytes: Some(i32::try_from(settings.max_record_bytes).unwrap_or(i32::MAX)),
        timestamp_type: timestamp_type(settings.timestamp_type).into(),
        cleanup_policy: match settings.cleanup.policy {
            CleanupPolicy::Delete => pb::CleanupPolicy::Delete,
            CleanupPolicy::Compact => pb::CleanupPolicy::Compact,
            CleanupPolicy::CompactAndDelete => pb::CleanupPolicy::CompactAndDelete,
        }
        .into(),
        delete_retention: Some(duration(settings.cleanup.delete_retention)),
        record_ttl: Some(settings.cleanup.record_ttl.map_or(forever, duration)),
        compression: match settings.compression {
            Compression::None => pb::TopicCompression::Producer,
            Compression::Gzip => pb::TopicCompression::Gzip,
            Compression::Snappy => pb::TopicCompression::Snappy,
            Compression::Lz4 => pb::TopicCompression::Lz4,
            Compression::Zstd => pb::TopicCompression::Zstd,
        }
        .into(),
    }
}

fn read_topic_compression(value: i32) -> Result<Option<Compression>, Failure> {
    Ok(match pb::TopicCompression::try_from(value) {
        Ok(pb::TopicCompression::Unspecified) => None,
        Ok(pb::TopicCompression::Producer) => Some(Compression::None),
        Ok(pb::TopicCompression::Gzip) => Some(Compression::Gzip),
        Ok(pb::TopicCompression::Snappy) => Some(Compression::Snappy),
        Ok(pb::TopicCompression::Lz4) => Some(Compression::Lz4),
        Ok(pb::TopicCompression::Zstd) => Some(Compression::Zstd),
        Err(_) => return Err(unknown_value("settings.compression", value)),
    })
}

fn read_cleanup_policy(value: i32) -> Result<Option<CleanupPolicy>, Failure> {
    Ok(match pb::CleanupPolicy::try_from(value) {
        Ok(pb::CleanupPolicy::Unspecified) => None,
        Ok(pb::CleanupPolicy::Delete) => Some(CleanupPolicy::Delete),
        Ok(pb::CleanupPolicy::Compact) => Some(CleanupPolicy::Compact),
        Ok(pb::CleanupPolicy::CompactAndDelete) => Some(CleanupPolicy::CompactAndDelete),
        Err(_) => return Err(unknown_value("settings.cleanup_policy", value)),
    })
}

/// The settings of a request; what it leaves out has its default.
pub(crate) fn read_settings(settings: &pb::TopicSettings) -> Result<TopicSettings, Failure> {
    Ok(read_update(settings)?.apply_to(TopicSettings::default()))
}

/// The settings that a request gives.
fn read_update(settings: &pb::TopicSettings) -> Result<TopicUpdate, Failure> {
    let mut update = TopicUpdate::default();
    if let Some(retention) = &settings.retention {
        update.retention = Some(read_duration(retention, "settings.retention")?);
    }
    if let Some(bytes) = settings.retention_bytes {
        let bounded = u64::try_from(bytes).ok();
        if bounded.is_none() && bytes != -1 {
            return Err(out_of_range("settings.retention_bytes", "-1 or at least 1", bytes));
        }
        update.retention_bytes = Some(bounded);
    }
    if let Some(bytes) = settings.segment_bytes {
        let read = u64::try_from(bytes);
        update.segment_bytes = Some(
            read.map_err(|_| out_of_range("settings.segment_bytes", "at least 65536", bytes))?,
        );
    }
    if let Some(age) = &settings.segment_age {
        let read = read_duration(age, "settings.segment_age")?;
        let negative = || out_of_range("settings.segment_age", "at least 1 s", age.seconds);
        update.segment_age = Some(read.ok_or_else(negative)?);
    }
    if let Some(bytes) = settings.max_record_bytes {
        let read = u32::try_from(bytes);
        let negative = |_| out_of_range("settings.max_record_bytes", "at least 1", bytes.into());
        update.max_record_bytes = Some(read.map_err(negative)?);
    }
    update.timestamp_type = read_timestamp_type(settings.timestamp_type)?;
    update.cleanup_policy = read_cleanup_policy(settings.cleanup_policy)?;
    if let Some(kept) = &settings.delete_retention {
        let read = read_duration(kept, "settings.delete_retention")?;
        let negative = || out_of_range("settings.delete_retention", "at least 0 s", kept.seconds);
        update.delete_retention = Some(read.ok_or_else(negative)?);
    }
    if let Some(ttl) = &settings.record_ttl {
        update.record_ttl = Some(read_duration(ttl, "settings.record_ttl")?);
    }
    update.compression = read_topic_compression(settings.compression)?;
    Ok(update)
}

/// The number of replicas; `None` where it is left out.
pub(crate) fn read_replication_factor(factor: i32) -> Result<Option<u32>, Failure> {
    match u32::try_from(factor) {
        Ok(0) => Ok(None),
        Ok(factor) => Ok(Some(factor)),
        Err(_) => Err(out_of_range("replication_factor", "1, 3 or 5", factor.into())),
    }
}

fn read_partition_count(count: i32) -> Result<u32, Failure> {
    let read = u32::try_from(count).ok().filter(|count| *count > 0);
    read.ok_or_else(|| out_of_range("topic.partition_count", "at least 1", count.into()))
}

fn out_of_range(field: &str, expected: &str, actual: i64) -> Failure {
    Failure::field(field, format!("`{field}` must be {expected}, not {actual}"))
        .with("actual", actual)
}

/// What an UpdateTopic changes: the fields that the mask names, from the topic, or their defaults.
pub(crate) fn read_topic_update(
    topic: &pb::Topic,
    mask: &[String],
) -> Result<TopicUpdate, Failure> {
    if mask.is_empty() {
        let message = "`update_mask` must name what to change, as `settings.retention`";
        return Err(Failure::field("update_mask", message));
    }
    let given = read_update(&topic.settings.unwrap_or_default())?;
    let defaults = TopicSettings::default();
    let mut update = TopicUpdate::default();
    for path in mask {
        let all = path == "settings";
        let mut is_known = all;
        let mut names = |setting: &str| {
            let named = path.strip_prefix("settings.") == Some(setting);
            is_known |= named;
            all || named
        };
        if names("retention") {
            update.retention = Some(given.retention.unwrap_or(defaults.retention));
        }
        if names("retention_bytes") {
            let bytes = given.retention_bytes.unwrap_or(defaults.retention_bytes);
            update.retention_bytes = Some(bytes);
        }
        if names("segment_bytes") {
            update.segment_bytes = Some(given.segment_bytes.unwrap_or(defaults.segment_bytes));
        }
        if names("segment_age") {
            update.segment_age = Some(given.segment_age.unwrap_or(defaults.segment_age));
        }
        if names("max_record_bytes") {
            let bytes = given.max_record_bytes.unwrap_or(defaults.max_record_bytes);
            update.max_record_bytes = Some(bytes);
        }
        if names("timestamp_type") {
            update.timestamp_type = Some(given.timestamp_type.unwrap_or_default());
        }
        if names("cleanup_policy") {
            update.cleanup_policy = Some(given.cleanup_policy.unwrap_or_default());
        }
        if names("delete_retention") {
            let kept = given.delete_retention.unwrap_or(defaults.cleanup.delete_retention);
            update.delete_retention = Some(kept);
        }
        if names("record_ttl") {
            update.record_ttl = Some(given.record_ttl.unwrap_or(defaults.cleanup.record_ttl));
        }
        if names("compression") {
            update.compression = Some(given.compression.unwrap_or_default());
        }
        if path == "partition_count" {
            is_known = true;
            update.partition_count = Some(read_partition_count(topic.partition_count)?);
        }
        if path == "replication_factor" {
            is_known = true;
            update.replication_factor = read_replication_factor(topic.replication_factor)?;
        }
        if !is_known {
            let message = format!("`update_mask` names `{path}`, which is no setting of a topic");
            return Err(Failure::field("update_mask", message));
        }
    }
    Ok(update)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_of_a_topic_is_told_as_it_was_given() {
        for codec in Compression::ALL {
            let told = settings(&TopicSettings { compression: codec, ..TopicSettings::default() });
            assert_ne!(told.compression(), pb::TopicCompression::Unspecified);
            assert_eq!(read_settings(&told).unwrap().compression, codec);
            let mask = ["settings.compression".to_owned()];
            let topic = |settings| pb::Topic { settings: Some(settings), ..Default::default() };
            let update = read_topic_update(&topic(told), &mask).unwrap();
            assert_eq!(update.compression, Some(codec));
            // What the mask names and the topic leaves out goes back to its default.
            let update = read_topic_update(&topic(pb::TopicSettings::default()), &mask).unwrap();
            assert_eq!(update.compression, Some(Compression::None));
        }
        let unknown = pb::TopicSettings { compression: 6, ..Default::default() };
        assert!(read_settings(&unknown).is_err());
    }
}
