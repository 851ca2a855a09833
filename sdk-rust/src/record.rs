//! A record to send.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

/// A name and a value that travel with a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The name. It may repeat within a record.
    pub key: String,
    /// The value. Absent and empty are different.
    pub value: Option<Bytes>,
}

/// A record to send, and where to.
///
/// ```
/// use ropewalk::Record;
///
/// let record = Record::to("orders")
///     .key("customer-7")
///     .value(r#"{"total": 12}"#)
///     .header("content-type", "application/json");
/// ```
///
/// Keys, values and header values are anything that turns into [`Bytes`]: a `Vec<u8>`, a `String`,
/// a `&'static str`. A record with a key and without a value is a tombstone: it says that the key
/// is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
    pub(crate) timestamp: Option<SystemTime>,
    pub(crate) ttl: Option<Duration>,
}

impl Record {
    /// An empty record for a topic. Whoever sends very many gives a clone of an `Arc<str>`, which
    /// saves copying the name.
    #[must_use]
    pub fn to(topic: impl Into<Arc<str>>) -> Record {
        Record {
            topic: topic.into(),
            partition: None,
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: None,
            ttl: None,
        }
    }

    /// Sets the key: records with the same key go to the same partition, in order.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Record {
        self.key = Some(key.into());
        self
    }

    /// Sets the value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Record {
        self.value = Some(value.into());
        self
    }

    /// Adds a header after those there are.
    #[must_use]
    pub fn header(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Record {
        self.headers.push(Header { key: key.into(), value: Some(value.into()) });
        self
    }

    /// Picks the partition, from 0. Left out, the key does; without a key, the records of a batch
    /// go to one partition that changes from batch to batch.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Record {
        self.partition = Some(partition);
        self
    }

    /// Says when the record was made. Left out, its time is the moment of its append, by the
    /// broker's clock. Topics with [`TimestampType::Append`](crate::TimestampType::Append) drop it.
    #[must_use]
    pub fn timestamp(mut self, timestamp: SystemTime) -> Record {
        self.timestamp = Some(timestamp);
        self
    }

    /// Sets how long the record lives, at least 1 ms: once so much time has passed since it was
    /// appended, by the broker's clock, it is delivered no more; in a compacted topic it is a
    /// tombstone then. Left out, the topic's [`record_ttl`](crate::TopicSettings::record_ttl) alone
    /// counts, and otherwise the earlier of both.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Record {
        self.ttl = Some(ttl);
        self
    }
}
