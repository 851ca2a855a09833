//! Records and times as JSON.

use std::time::SystemTime;

use ropewalk::ConsumedRecord;
use serde_json::{Map, Value};

use super::parse::time_text;

/// A record. Keys and values that are text are given as such, others in base64 under another name.
pub(super) fn record(record: &ConsumedRecord) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), (*record.topic).into());
    object.insert("partition".to_owned(), record.partition.into());
    object.insert("offset".to_owned(), record.offset.into());
    object.insert("timestamp".to_owned(), time_text(record.timestamp).into());
    bytes(&mut object, "key", record.key.as_deref());
    bytes(&mut object, "value", record.value.as_deref());
    if !record.headers.is_empty() {
        let headers = record.headers.iter().map(|header| {
            let mut object = Map::new();
            object.insert("key".to_owned(), header.key.as_str().into());
            bytes(&mut object, "value", header.value.as_deref());
            Value::Object(object)
        });
        object.insert("headers".to_owned(), headers.collect());
    }
    if let Some(ttl) = record.ttl {
        object.insert("ttl".to_owned(), format!("{}s", ttl.as_secs_f64()).into());
    }
    Value::Object(object)
}

/// A time that may be missing.
pub(super) fn time(time: Option<SystemTime>) -> Value {
    time.map_or(Value::Null, |time| time_text(time).into())
}

fn bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => object.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => object.insert(name.to_owned(), text.into()),
        Some((bytes, Err(_))) => object.insert(format!("{name}_base64"), base64(bytes).into()),
    };
}

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
        for digit in 0..4 {
            if digit <= chunk.len() {
                let index = (bits >> (18 - 6 * digit)) & 63;
                text.push(char::from(DIGITS[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xef]), "/+8=");
    }

    #[test]
    fn text_is_text_and_the_rest_is_base64() {
        let made = record(&ConsumedRecord {
            topic: "t".into(),
            partition: 0,
            offset: 1,
            timestamp: SystemTime::UNIX_EPOCH,
            key: Some("ké".into()),
            value: Some(vec![0xff].into()),
            headers: vec![ropewalk::Header { key: "h".to_owned(), value: None }],
            ttl: Some(Duration::from_millis(1_500)),
        });
        let expected = serde_json::json!({
            "topic": "t",
            "partition": 0,
            "offset": 1,
            "timestamp": "1970-01-01T00:00:00Z",
            "key": "ké",
            "value_base64": "/w==",
            "headers": [{ "key": "h", "value": null }],
            "ttl": "1.5s",
        });
        assert_eq!(made, expected);
    }
}
