//! Topic settings on the command line: `KEY=VALUE`.

use std::time::Duration;

use ropewalk::{
    CleanupPolicy, RecordTtl, Retention, Setting, SizeLimit, TimestampType, TopicCompression,
    TopicSettings,
};

use crate::settings::values::{duration, duration_text, size, size_text};

/// A setting and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    setting: Setting,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Unbounded,
    Time(Duration),
    Bytes(u64),
    Clock(TimestampType),
    Cleanup(CleanupPolicy),
    Codec(TopicCompression),
}

/// Reads the name of a setting.
pub(crate) fn setting(name: &str) -> Result<Setting, String> {
    // Dashes are what flags are written with.
    let wanted = name.replace('-', "_");
    if let Some(setting) = Setting::ALL.into_iter().find(|setting| setting.name() == wanted) {
        return Ok(setting);
    }
    let distance = |setting: &Setting| strsim::damerau_levenshtein(setting.name(), &wanted);
    let nearest = Setting::ALL.into_iter().min_by_key(distance);
    let names: Vec<_> = Setting::ALL.iter().map(|setting| setting.name()).collect();
    match nearest.filter(|nearest| distance(nearest) <= 3) {
        Some(nearest) => Err(format!("there is no `{name}`; is it `{}`?", nearest.name())),
        None => Err(format!("there is no `{name}`; there are {}", names.join(", "))),
    }
}

/// Reads `KEY=VALUE`.
pub(crate) fn assignment(text: &str) -> Result<Assignment, String> {
    let (name, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    let setting = setting(name.trim())?;
    let value = value.trim();
    let unbounded = matches!(value, "none" | "forever" | "unlimited" | "-1");
    let value = match setting {
        Setting::Retention | Setting::RetentionBytes | Setting::RecordTtl if unbounded => {
            Value::Unbounded
        }
        Setting::Retention | Setting::RecordTtl => Value::Time(duration(value).map_err(or_none)?),
        Setting::RetentionBytes => Value::Bytes(size(value).map_err(or_none)?),
        Setting::SegmentAge | Setting::DeleteRetention => {
            Value::Time(duration(value).map_err(expected)?)
        }
        Setting::SegmentBytes | Setting::MaxRecordBytes => {
            Value::Bytes(size(value).map_err(expected)?)
        }
        Setting::TimestampType => match value {
            "create" => Value::Clock(TimestampType::Create),
            "append" => Value::Clock(TimestampType::Append),
            _ => return Err("`create` or `append` is expected".to_owned()),
        },
        Setting::CleanupPolicy => match value {
            "delete" => Value::Cleanup(CleanupPolicy::Delete),
            "compact" => Value::Cleanup(CleanupPolicy::Compact),
            "compact,delete" | "delete,compact" => Value::Cleanup(CleanupPolicy::CompactAndDelete),
            _ => return Err("`delete`, `compact` or `compact,delete` is expected".to_owned()),
        },
        Setting::Compression => {
            let known = TopicCompression::ALL.into_iter().find(|known| known.name() == value);
            let names = TopicCompression::ALL.map(TopicCompression::name).join(", ");
            Value::Codec(known.ok_or(format!("one of {names} is expected"))?)
        }
    };
    if setting == Setting::MaxRecordBytes
        && let Value::Bytes(bytes) = value
        && u32::try_from(bytes).is_err()
    {
        return Err("at most 3670016 is possible".to_owned());
    }
    Ok(Assignment { setting, value })
}

fn expected(what: String) -> String {
    format!("{what} is expected")
}

fn or_none(what: String) -> String {
    format!("{what}, or none, is expected")
}

/// The settings that assignments make. Of two for one setting the later counts.
pub(super) fn settings(assignments: &[Assignment]) -> TopicSettings {
    let mut settings = TopicSettings::default();
    for Assignment { setting, value } in assignments {
        match (setting, *value) {
            (Setting::Retention, Value::Unbounded) => {
                settings.retention = Some(Retention::Forever);
            }
            (Setting::Retention, Value::Time(time)) => {
                settings.retention = Some(Retention::For(time));
            }
            (Setting::RetentionBytes, Value::Unbounded) => {
                settings.retention_bytes = Some(SizeLimit::Unlimited);
            }
            (Setting::RetentionBytes, Value::Bytes(bytes)) => {
                settings.retention_bytes = Some(SizeLimit::Bytes(bytes));
            }
            (Setting::SegmentBytes, Value::Bytes(bytes)) => settings.segment_bytes = Some(bytes),
            (Setting::SegmentAge, Value::Time(age)) => settings.segment_age = Some(age),
            (Setting::MaxRecordBytes, Value::Bytes(bytes)) => {
                settings.max_record_bytes = u32::try_from(bytes).ok();
            }
            (Setting::TimestampType, Value::Clock(clock)) => settings.timestamp_type = Some(clock),
            (Setting::CleanupPolicy, Value::Cleanup(policy)) => {
                settings.cleanup_policy = Some(policy);
            }
            (Setting::DeleteRetention, Value::Time(time)) => settings.delete_retention = Some(time),
            (Setting::RecordTtl, Value::Unbounded) => {
                settings.record_ttl = Some(RecordTtl::Unlimited);
            }
            (Setting::RecordTtl, Value::Time(time)) => {
                settings.record_ttl = Some(RecordTtl::For(time));
            }
            (Setting::Compression, Value::Codec(codec)) => settings.compression = Some(codec),
            _ => {}
        }
    }
    settings
}

/// A setting's value as it would be written after `--set`; `None` when the broker did not say.
pub(super) fn value_text(settings: &TopicSettings, setting: Setting) -> Option<String> {
    let none = || "none".to_owned();
    match setting {
        Setting::Retention => settings.retention.map(|retention| match retention {
            Retention::Forever => none(),
            Retention::For(time) => duration_text(time),
        }),
        Setting::RetentionBytes => settings.retention_bytes.map(|limit| match limit {
            SizeLimit::Unlimited => none(),
            SizeLimit::Bytes(bytes) => size_text(bytes),
        }),
        Setting::SegmentBytes => settings.segment_bytes.map(size_text),
        Setting::SegmentAge => settings.segment_age.map(duration_text),
        Setting::MaxRecordBytes => {
            settings.max_record_bytes.map(|bytes| size_text(u64::from(bytes)))
        }
        Setting::TimestampType => settings.timestamp_type.map(|clock| match clock {
            TimestampType::Create => "create".to_owned(),
            TimestampType::Append => "append".to_owned(),
        }),
        Setting::CleanupPolicy => settings.cleanup_policy.map(|policy| match policy {
            CleanupPolicy::Delete => "delete".to_owned(),
            CleanupPolicy::Compact => "compact".to_owned(),
            CleanupPolicy::CompactAndDelete => "compact,delete".to_owned(),
        }),
        Setting::DeleteRetention => settings.delete_retention.map(duration_text),
        Setting::RecordTtl => settings.record_ttl.map(|ttl| match ttl {
            RecordTtl::Unlimited => none(),
            RecordTtl::For(time) => duration_text(time),
        }),
        Setting::Compression => settings.compression.map(|codec| codec.name().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_shown_as_it_was_written() {
        for text in [
            "retention=36h",
            "retention=none",
            "retention_bytes=1GiB",
            "retention_bytes=none",
            "segment_bytes=64MiB",
            "segment_age=1d",
            "max_record_bytes=2MiB",
            "timestamp_type=append",
            "cleanup_policy=compact",
            "cleanup_policy=compact,delete",
            "delete_retention=1h",
            "record_ttl=none",
            "record_ttl=90s",
            "compression=producer",
            "compression=zstd",
        ] {
            let (name, value) = text.split_once('=').expect("an assignment");
            let settings = settings(&[assignment(text).expect(text)]);
            let shown = value_text(&settings, setting(name).expect(name));
            assert_eq!(shown.as_deref(), Some(value));
        }
    }

    #[test]
    fn the_other_words_for_no_bound_are_understood() {
        let none = assignment("retention=none");
        for word in ["forever", "unlimited", "-1"] {
            assert_eq!(assignment(&format!("retention={word}")), none);
        }
        assert_eq!(assignment("retention-bytes=1KiB"), assignment("retention_bytes=1024"));
    }

    #[test]
    fn wrong_values_say_what_is_expected() {
        for text in [
            "retention",
            "retention=soon",
            "segment_age=none",
            "segment_bytes=1GB",
            "timestamp_type=wall",
            "cleanup_policy=burn",
            "compression=rar",
            "max_record_bytes=8GiB",
            "colour=red",
        ] {
            assert!(assignment(text).is_err(), "{text}");
        }
        let unknown = assignment("colour=red").expect_err("no such setting");
        assert!(unknown.contains("segment_age"), "{unknown}");
    }
}
