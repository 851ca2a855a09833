//! The records of a batch, one by one, without copying them.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ropewalk_proto::broker as proto;
use ropewalk_proto::broker::record_batch::Data;

use crate::error::{Error, ErrorKind};
use crate::record::Header;
use crate::settings::TimestampType;
use crate::wire::{ReadRecord, damaged, next_record, skip_record, unpack};

/// A record that was read. Keys and values are slices of the batch they came in: keeping one keeps
/// the batch's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's time: its own, or that of its append.
    pub timestamp: SystemTime,
    /// The key. Absent and empty are different.
    pub key: Option<Bytes>,
    /// The value. Absent and empty are different: absent with a key says that the key is deleted.
    pub value: Option<Bytes>,
    /// The headers, in the producer's order.
    pub headers: Vec<Header>,
}

/// A run of consecutive records of one partition.
///
/// ```no_run
/// # async fn run(mut consumer: ropewalk::Consumer) -> Result<(), ropewalk::Error> {
/// while let Some(batch) = consumer.next_batch().await {
///     for record in batch?.records() {
///         println!("{:?}", record?.value);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RecordBatch {
    topic: Arc<str>,
    partition: i32,
    base_offset: i64,
    count: i32,
    leader_epoch: i64,
    append_time: SystemTime,
    timestamp_type: TimestampType,
    set: Bytes,
    /// Where in `set` the first record begins.
    start: usize,
}

impl RecordBatch {
    pub(super) fn from_proto(
        batch: proto::RecordBatch,
        topic: Arc<str>,
    ) -> Result<RecordBatch, Error> {
        let appended = batch.timestamp_type() == proto::TimestampType::Append;
        let set = match batch.data {
            Some(Data::Records(set)) => set,
            Some(Data::Compressed(packed)) => {
                unpack(batch.compression, &packed).map_err(|error| {
                    error.context(&format!("{topic}/{}@{}", batch.partition, batch.base_offset))
                })?
            }
            None => {
                let message = "the broker sent a batch in a form that was not asked for";
                return Err(Error::new(ErrorKind::Internal, message));
            }
        };
        Ok(RecordBatch {
            topic,
            partition: batch.partition,
            base_offset: batch.base_offset,
            count: batch.record_count,
            leader_epoch: batch.leader_epoch,
            append_time: batch
                .append_time
                .and_then(|time| time.try_into().ok())
                .unwrap_or(SystemTime::UNIX_EPOCH),
            timestamp_type: if appended { TimestampType::Append } else { TimestampType::Create },
            set,
            start: 0,
        })
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The partition, from 0.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset of the first record.
    #[must_use]
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.count)
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or_default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count <= 0
    }

    /// The bytes of the records in their encoded form.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.set.len() - self.start
    }

    /// The epoch of the leader that appended the batch.
    #[must_use]
    pub fn leader_epoch(&self) -> i64 {
        self.leader_epoch
    }

    /// When the leader appended the batch, by its clock.
    #[must_use]
    pub fn append_time(&self) -> SystemTime {
        self.append_time
    }

    /// Whose clock gives the records their time.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type
    }

    /// The records. Each is decoded when it is asked for.
    #[must_use]
    pub fn records(&self) -> Records {
        Records { offset: self.base_offset, at: self.start, batch: self.clone() }
    }

    /// Leaves out the records before an offset, which were read before.
    pub(super) fn skip_to(&mut self, offset: i64) -> Result<(), Error> {
        while self.base_offset < offset && self.count > 0 {
            if !skip_record(&self.set, &mut self.start)? {
                return Err(damaged());
            }
            self.base_offset += 1;
            self.count -= 1;
        }
        Ok(())
    }
}

impl IntoIterator for RecordBatch {
    type Item = Result<ConsumedRecord, Error>;
    type IntoIter = Records;

    fn into_iter(self) -> Records {
        Records { offset: self.base_offset, at: self.start, batch: self }
    }
}

/// The records of a [`RecordBatch`], in order. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Records {
    batch: RecordBatch,
    offset: i64,
    at: usize,
}

impl Records {
    /// The offset of the next record.
    pub(super) fn offset(&self) -> i64 {
        self.offset
    }

    pub(super) fn is_of(&self, topic: &str, partition: i32) -> bool {
        self.batch.partition == partition && *self.batch.topic == *topic
    }

    /// What is left, as a batch.
    pub(super) fn into_rest(self) -> RecordBatch {
        let left = self.batch.next_offset() - self.offset;
        RecordBatch {
            base_offset: self.offset,
            count: i32::try_from(left).unwrap_or_default(),
            start: self.at,
            ..self.batch
        }
    }

    fn record(&self, offset: i64, read: ReadRecord) -> ConsumedRecord {
        let timestamp = match self.batch.timestamp_type {
            TimestampType::Append => self.batch.append_time,
            TimestampType::Create => read.timestamp.unwrap_or(self.batch.append_time),
        };
        ConsumedRecord {
            topic: Arc::clone(&self.batch.topic),
            partition: self.batch.partition,
            offset,
            timestamp,
            key: read.key,
            value: read.value,
            headers: read.headers,
        }
    }
}

impl Iterator for Records {
    type Item = Result<ConsumedRecord, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        if offset >= self.batch.next_offset() {
            return None;
        }
        match next_record(&self.batch.set, &mut self.at) {
            Ok(Some(read)) => {
                self.offset += 1;
                Some(Ok(self.record(offset, read)))
            }
            // Fewer records than announced, or bytes that make no sense: nothing after it can be
            // trusted.
            Ok(None) | Err(_) => {
                self.offset = self.batch.next_offset();
                let place = format!("{}/{}@{offset}", self.batch.topic, self.batch.partition);
                Some(Err(damaged().context(&place)))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.batch.next_offset() - self.offset).unwrap_or_default();
        (0, Some(left))
    }
}
