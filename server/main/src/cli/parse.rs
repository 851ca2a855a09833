//! Positions, times and texts on the command line.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use ropewalk::{Compression, Start, Stop};

use super::args::BeforeOffset;
use crate::settings::values::duration;

/// Where `consume` begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    At(Start),
    /// This many before the end of each partition.
    Last(i64),
}

/// How records are compressed, and how hard, where that was said.
pub(crate) type Codec = (Compression, Option<i32>);

/// Reads `CODEC` or `CODEC:LEVEL`.
pub(crate) fn codec(text: &str) -> Result<Codec, String> {
    let (name, level) = match text.split_once(':') {
        Some((name, level)) => (name, Some(level)),
        None => (text, None),
    };
    let codec: Compression = name.parse().map_err(|error| format!("{error}"))?;
    let Some(level) = level else { return Ok((codec, None)) };
    let levels = codec.levels().ok_or_else(|| format!("{codec} has no levels"))?;
    let level = level.parse().ok().filter(|level| levels.contains(level));
    let range = || format!("a level of {codec} is {} to {}", levels.start(), levels.end());
    Ok((codec, Some(level.ok_or_else(range)?)))
}

/// Reads `earliest`, `latest`, an offset, `-N` or `@TIME`.
pub(crate) fn origin(text: &str) -> Result<Origin, String> {
    match text {
        "earliest" => return Ok(Origin::At(Start::Earliest)),
        "latest" => return Ok(Origin::At(Start::Latest)),
        _ => {}
    }
    if let Some(time_text) = text.strip_prefix('@') {
        return Ok(Origin::At(Start::Timestamp(time(time_text)?)));
    }
    match text.parse::<i64>() {
        Ok(offset) if offset >= 0 => Ok(Origin::At(Start::Offset(offset))),
        Ok(last) if last > i64::MIN => Ok(Origin::Last(-last)),
        _ => Err("earliest, latest, an offset, -N or @TIME is expected".to_owned()),
    }
}

/// Reads `caught-up`, an offset or `@TIME`.
pub(crate) fn stop(text: &str) -> Result<Stop, String> {
    if text == "caught-up" {
        return Ok(Stop::CaughtUp);
    }
    if let Some(time_text) = text.strip_prefix('@') {
        return Ok(Stop::Timestamp(time(time_text)?));
    }
    match text.parse::<i64>() {
        Ok(offset) if offset >= 0 => Ok(Stop::Offset(offset)),
        _ => Err("caught-up, an offset or @TIME is expected".to_owned()),
    }
}

/// Reads an offset or `end`.
pub(crate) fn before(text: &str) -> Result<BeforeOffset, String> {
    match text.parse::<i64>() {
        _ if text == "end" => Ok(BeforeOffset(None)),
        Ok(offset) if offset >= 0 => Ok(BeforeOffset(Some(offset))),
        _ => Err("an offset or `end` is expected".to_owned()),
    }
}

/// Reads a point in time: RFC 3339, seconds since 1970 with or without a fraction, or how long ago.
fn time(text: &str) -> Result<SystemTime, String> {
    let expected = || {
        "a time is expected, such as 2026-01-31T12:00:00Z, 1769860800 (s since 1970) or 15m (ago)"
            .to_owned()
    };
    if let Ok(seconds) = text.parse::<f64>() {
        let since = Duration::try_from_secs_f64(seconds).map_err(|_| expected())?;
        return SystemTime::UNIX_EPOCH.checked_add(since).ok_or_else(expected);
    }
    if let Ok(ago) = duration(text) {
        return now().checked_sub(ago).ok_or_else(expected);
    }
    let timestamp: Timestamp = text.parse().map_err(|_| expected())?;
    timestamp.try_into().map_err(|_| expected())
}

#[expect(clippy::disallowed_methods, reason = "a client command has no clock to be given")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A time as RFC 3339, in UTC.
pub(super) fn time_text(time: SystemTime) -> String {
    Timestamp::from(time).to_string()
}

/// Reads the text between key and value.
pub(crate) fn separator(text: &str) -> Result<String, String> {
    let separator = unescape(text)?;
    if separator.is_empty() || separator.contains('\n') {
        return Err("some text without a line break is expected".to_owned());
    }
    Ok(separator)
}

/// Reads `KEY=VALUE` of a header.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Replaces `\n`, `\t`, `\r`, `\0` and `\\`.
pub(super) fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            plain.push(next);
            continue;
        }
        plain.push(match rest.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('0') => '\0',
            Some('\\') => '\\',
            other => {
                let other = other.map_or(String::new(), String::from);
                return Err(format!(r"`\{other}` means nothing; there are \n \t \r \0 \\"));
            }
        });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        assert_eq!(origin("earliest"), Ok(Origin::At(Start::Earliest)));
        assert_eq!(origin("0"), Ok(Origin::At(Start::Offset(0))));
        assert_eq!(origin("-3"), Ok(Origin::Last(3)));
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        for text in ["@2026-01-31T12:00:00Z", "@1769860800", "@2026-01-31T13:00:00+01:00"] {
            assert_eq!(origin(text), Ok(Origin::At(Start::Timestamp(noon))), "{text}");
        }
        for bad in ["", "first", "@", "@noon", "@-5", "1.5"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn codecs_and_their_levels() {
        assert_eq!(codec("snappy"), Ok((Compression::Snappy, None)));
        assert_eq!(codec("zstd:19"), Ok((Compression::Zstd, Some(19))));
        for (bad, hint) in [
            ("brotli", "gzip, snappy, lz4 or zstd"),
            ("lz4:1", "lz4 has no levels"),
            ("gzip:10", "a level of gzip is 1 to 9"),
            ("zstd:", "a level of zstd is 1 to 22"),
        ] {
            let error = codec(bad).unwrap_err();
            assert!(error.contains(hint), "{bad}: {error}");
        }
    }

    #[test]
    fn a_length_of_time_is_ago() {
        let Ok(Origin::At(Start::Timestamp(time))) = origin("@15m") else { panic!("a time") };
        let ago = time.elapsed().expect("in the past");
        assert!(ago >= Duration::from_secs(900) && ago < Duration::from_secs(960));
    }

    #[test]
    fn ends() {
        assert_eq!(stop("caught-up"), Ok(Stop::CaughtUp));
        assert_eq!(stop("7"), Ok(Stop::Offset(7)));
        assert!(stop("-7").is_err());
        assert_eq!(before("end"), Ok(BeforeOffset(None)));
        assert_eq!(before("7"), Ok(BeforeOffset(Some(7))));
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        let text = "2026-01-31T12:00:00.250Z";
        let time = time(text).expect("a time");
        assert_eq!(super::time(&time_text(time)), Ok(time));
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(r"a\tb\\n").as_deref(), Ok("a\tb\\n"));
        assert!(unescape(r"\x").is_err());
        assert!(unescape("\\").is_err());
        assert!(separator("").is_err());
        assert!(separator(r"\n").is_err());
        assert_eq!(header("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
    }
}
