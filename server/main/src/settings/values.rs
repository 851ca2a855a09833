//! The values that settings have: how they are read, and how they are written.
//!
//! Each reader answers a bad value with what it expected.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

const LENGTHS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A length of time: whole numbers with units, such as `5s`, `250ms` or `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "a length of time with its unit, such as 250ms, 5s, 10m, 1h or 7d".to_owned();
    let mut rest = text;
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| expected())?;
        let (_, scale) = LENGTHS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
        let part = number.checked_mul(*scale).ok_or_else(expected)?;
        millis = millis.checked_add(part).ok_or_else(expected)?;
        rest = tail;
    }
    if text.is_empty() { Err(expected()) } else { Ok(Duration::from_millis(millis)) }
}

/// A length of time, as [`duration`] reads it. Below a millisecond nothing is left.
pub(crate) fn duration_text(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, scale) = LENGTHS
        .iter()
        .find(|(_, scale)| millis >= *scale && millis.is_multiple_of(*scale))
        .unwrap_or(&("s", 1_000));
    format!("{}{unit}", millis / scale)
}

/// A number of bytes: a whole number, with or without a unit, such as `64MiB` or `1048576`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let expected = || "a number of bytes, such as 1048576, 512KiB, 64MiB or 1GiB".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim_start() {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?.1,
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(scale).ok_or_else(expected)
}

/// A number of bytes, as [`size`] reads it, in the largest unit that divides it.
pub(crate) fn size_text(bytes: u64) -> String {
    let (unit, scale) = SIZES
        .iter()
        .find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale))
        .unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / scale)
}

/// `HOST:PORT`. The host is an address or a name; an IPv6 address is in brackets.
pub(super) fn address(text: &str) -> Result<String, String> {
    let expected = || "HOST:PORT, such as 127.0.0.1:9092 or [::1]:9092".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_good = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    let port_is_good = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if host_is_good && port_is_good { Ok(text.to_owned()) } else { Err(expected()) }
}

/// `HOST:PORT` to connect to: no wildcard, and a port.
pub(super) fn destination(text: &str) -> Result<String, String> {
    let expected = || "HOST:PORT that clients can reach, such as broker-1.example:9092".to_owned();
    let address = address(text).map_err(|_| expected())?;
    let wildcard = address.starts_with("0.0.0.0:") || address.starts_with("[::]:");
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if wildcard || port == Some(0) { Err(expected()) } else { Ok(address) }
}

/// `http://HOST:PORT` of a collector. TLS is not spoken to it.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let expected = || "http://HOST:PORT of an OTLP collector (gRPC, without TLS)".to_owned();
    let address = text.strip_prefix("http://").ok_or_else(expected)?;
    destination(address.trim_end_matches('/')).map_err(|_| expected())?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// Which lines are logged. A word that is no level is refused: it would silently become the name of
/// a target, and everything else would be silent.
pub(super) fn filter(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let expected =
        || format!("{}, or directives such as info,ropewalk_storage=debug", LEVELS.join(", "));
    let level = |text: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text));
    let directive = |text: &str| match text.rsplit_once('=') {
        Some((target, last)) => !target.is_empty() && level(last),
        None => level(text),
    };
    if !text.split(',').all(directive) || EnvFilter::try_new(text).is_err() {
        return Err(expected());
    }
    Ok(text.to_owned())
}

/// A number from 0 to 1.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("a number from 0 to 1, such as 0.05".to_owned()),
    }
}

/// Values separated by commas; none when there is no text.
pub(super) fn list<T, C: FromIterator<T>>(
    text: &str,
    read: fn(&str) -> Result<T, String>,
) -> Result<C, String> {
    let items = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
    let more = |expected: String| format!("{expected}; several are separated by commas");
    items.map(|item| read(item).map_err(more)).collect()
}

/// The number of a broker.
pub(super) fn number_of_node(text: &str) -> Result<u64, String> {
    let number = text.parse::<u32>().ok().filter(|number| *number > 0);
    number.map(u64::from).ok_or_else(|| format!("a whole number between 1 and {}", u32::MAX))
}

/// The number of this broker, or `hostname` for that in the name of the machine.
pub(super) fn node_id(text: &str) -> Result<u64, String> {
    if text != "hostname" {
        return number_of_node(text).map_err(|expected| format!("{expected}, or `hostname`"));
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    node_id_of(name.trim()).ok_or_else(|| {
        format!(
            "a number here: `hostname` takes that at the end of the machine's name, and {:?} has \
             none",
            name.trim()
        )
    })
}

/// The id of the broker on a machine whose name ends with a number from 0.
fn node_id_of(name: &str) -> Option<u64> {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number: u32 = name[name.len() - digits..].parse().ok()?;
    u32::checked_add(number, 1).map(u64::from)
}

/// Text without control characters, and not empty.
pub(super) fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("some text, without control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "5", "s", "5 s", "-5s", "1.5s", "5sec", "99999999999999999d", "5s5"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for text in ["250ms", "5s", "90m", "1h", "7d", "0s"] {
            assert_eq!(duration_text(duration(text).expect("good")), text);
        }
    }

    #[test]
    fn numbers_of_bytes() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        assert_eq!(size("1000"), Ok(1000));
        for bad in ["", "MiB", "64MB", "-1", "1.5GiB", "99999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        for text in ["64MiB", "1GiB", "1000B", "0B"] {
            assert_eq!(size_text(size(text).expect("good")), text);
        }
    }

    #[test]
    fn addresses() {
        for good in ["127.0.0.1:9092", "localhost:0", "[::1]:9092", "broker-1.a_b:65535"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in ["", ":9092", "9092", "host", "host:", "host:65536", "::1:9", "[x]:1", "a b:1"] {
            assert!(address(bad).is_err(), "{bad}");
        }
        assert!(destination("0.0.0.0:9092").is_err());
        assert!(destination("[::]:9092").is_err());
        assert!(destination("host:0").is_err());
        assert_eq!(endpoint("http://c:4317/").as_deref(), Ok("http://c:4317"));
        assert!(endpoint("https://c:4317").is_err());
        assert!(endpoint("c:4317").is_err());
    }

    #[test]
    fn lists_and_ids_of_brokers() {
        assert_eq!(list("1, 2,3", number_of_node), Ok(vec![1, 2, 3]));
        assert_eq!(list("", number_of_node), Ok(Vec::<u64>::new()));
        for bad in ["1,,2", "0", "x", "4294967296", "1;2"] {
            assert!(list::<_, Vec<u64>>(bad, number_of_node).is_err(), "{bad}");
        }
        assert_eq!(node_id_of("ropewalk-0"), Some(1));
        assert_eq!(node_id_of("zone-a-rope-12"), Some(13));
        assert_eq!(node_id_of("ropewalk"), None);
        assert!(node_id("0").is_err());
    }

    #[test]
    fn filters() {
        for good in ["info", "WARN", "off", "info,ropewalk_storage=debug", "h2=error,info"] {
            assert_eq!(filter(good).as_deref(), Ok(good));
        }
        for bad in ["", "inf", "info,", "storage", "ropewalk=verbose", "=info"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
