//! The records of a batch, one by one, without copying them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ropewalk_proto::broker as proto;
use ropewalk_proto::broker::record_batch::Data;

use crate::error::{Error, ErrorKind};
use crate::intercept::{Hooks, ReceiveInterceptor};
use crate::offsets::{Era, Position};
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
    /// How long it lives, counted from its append, if its producer said so.
    pub ttl: Option<Duration>,
}

/// A run of records of one partition, in the order of their offsets. In a compacted topic, offsets
/// may be missing between them.
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
    /// The offset of each record that was sent, where some are missing between them.
    offsets: Option<Arc<[i64]>>,
    leader_epoch: i64,
    append_time: SystemTime,
    timestamp_type: TimestampType,
    set: Bytes,
    /// Where in `set` the first record begins.
    start: usize,
    /// Which time the member has the partition that it was given to.
    era: Era,
    /// Who sees each record before it is handed out.
    interceptors: Hooks<dyn ReceiveInterceptor>,
}

impl RecordBatch {
    pub(crate) fn from_proto(
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
        let is_whole = batch.offsets.is_empty();
        let rises = batch.offsets.is_sorted_by(|one, next| one < next);
        let count = usize::try_from(batch.record_count).unwrap_or_default();
        if !is_whole && (!rises || batch.offsets.len() != count) {
            return Err(damaged().context(&format!("{topic}/{}", batch.partition)));
        }
        let base_offset = batch.offsets.first().copied().unwrap_or(batch.base_offset);
        Ok(RecordBatch {
            topic,
            partition: batch.partition,
            base_offset,
            count: batch.record_count,
            offsets: (!is_whole).then(|| batch.offsets.into()),
            leader_epoch: batch.leader_epoch,
            append_time: batch
                .append_time
                .and_then(|time| time.try_into().ok())
                .unwrap_or(SystemTime::UNIX_EPOCH),
            timestamp_type: if appended { TimestampType::Append } else { TimestampType::Create },
            set,
            start: 0,
            era: Era::default(),
            interceptors: Hooks::default(),
        })
    }

    /// The same, whose records these see.
    pub(crate) fn seen_by(self, interceptors: &Hooks<dyn ReceiveInterceptor>) -> RecordBatch {
        RecordBatch { interceptors: interceptors.clone(), ..self }
    }

    /// The same, as given to a member of a group.
    pub(crate) fn of_era(self, era: Era) -> RecordBatch {
        RecordBatch { era, ..self }
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
        match &self.offsets {
            Some(offsets) => offsets.last().map_or(self.base_offset, |last| last + 1),
            None => self.base_offset + i64::from(self.count),
        }
    }

    /// The offset of the record after the one at this offset; the next one's where there is none.
    fn offset_after(&self, offset: i64) -> i64 {
        let following = self
            .offsets
            .as_ref()
            .and_then(|offsets| offsets.get(offsets.partition_point(|of| *of <= offset)).copied());
        following.unwrap_or(offset + 1)
    }

    pub(crate) fn era(&self) -> Era {
        self.era
    }

    /// The place before the record at `offset`, to be committed: 1 more than that of the last one
    /// that is done. A member of a group is refused with `MEMBER_FENCED` when another has had the
    /// partition since it was given this batch, also if it is its own again.
    #[must_use]
    pub fn position(&self, offset: i64) -> Position {
        Position { topic: self.topic.to_string(), partition: self.partition, offset, era: self.era }
    }

    /// The place after the last record, as [`position`](RecordBatch::position).
    #[must_use]
    pub fn next_position(&self) -> Position {
        self.position(self.next_offset())
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
    pub(crate) fn skip_to(&mut self, offset: i64) -> Result<(), Error> {
        while self.base_offset < offset && self.count > 0 {
            if !skip_record(&self.set, &mut self.start)? {
                return Err(damaged());
            }
            self.base_offset = self.offset_after(self.base_offset);
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
    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }

    pub(crate) fn place(&self) -> (Arc<str>, i32) {
        (Arc::clone(&self.batch.topic), self.batch.partition)
    }

    pub(crate) fn era(&self) -> Era {
        self.batch.era
    }

    pub(crate) fn is_of(&self, topic: &str, partition: i32) -> bool {
        self.batch.partition == partition && *self.batch.topic == *topic
    }

    /// What is left, as a batch.
    pub(crate) fn into_rest(self) -> RecordBatch {
        let left = self.left();
        RecordBatch {
            base_offset: self.offset,
            count: i32::try_from(left).unwrap_or_default(),
            start: self.at,
            ..self.batch
        }
    }

    /// How many records are left.
    fn left(&self) -> usize {
        match &self.batch.offsets {
            Some(offsets) => offsets.len() - offsets.partition_point(|of| *of < self.offset),
            None => usize::try_from(self.batch.next_offset() - self.offset).unwrap_or_default(),
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
            ttl: read.ttl,
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
                self.offset = self.batch.offset_after(offset);
                let record = self.record(offset, read);
                self.batch.interceptors.on_receive(&record);
                Some(Ok(record))
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
        (0, Some(self.left()))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use ropewalk_proto::v1;

    use super::*;

    /// What is left of a batch of eight records at offset 11: those at 11, 14 and 18.
    fn compacted(offsets: &[i64]) -> Result<RecordBatch, Error> {
        let record = |value: &str| v1::Record {
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            ..Default::default()
        };
        let records = ["a", "b", "c"].map(record).into();
        let batch = proto::RecordBatch {
            base_offset: 11,
            record_count: 3,
            offsets: offsets.to_vec(),
            data: Some(Data::Records(v1::RecordSet { records }.encode_to_vec().into())),
            ..Default::default()
        };
        RecordBatch::from_proto(batch, "t".into())
    }

    fn read(records: impl IntoIterator<Item = Result<ConsumedRecord, Error>>) -> Vec<(i64, Bytes)> {
        let records = records.into_iter().map(Result::unwrap);
        records.map(|record| (record.offset, record.value.unwrap())).collect()
    }

    #[test]
    fn a_compacted_batch_gives_each_record_its_offset() {
        let offsets = [11, 14, 18];
        let all: Vec<_> = offsets.into_iter().zip(["a", "b", "c"].map(Bytes::from)).collect();
        let batch = compacted(&offsets).unwrap();
        assert_eq!((batch.base_offset(), batch.next_offset(), batch.len()), (11, 19, 3));
        assert_eq!(read(batch.records()), all);
        // What was read before is left out, also where the place that is read on from is gone.
        for (from, skipped) in [(11, 0), (12, 1), (14, 1), (15, 2), (18, 2), (19, 3)] {
            let mut rest = batch.clone();
            rest.skip_to(from).unwrap();
            assert_eq!(rest.len(), 3 - skipped, "from {from}");
            assert_eq!(read(rest.records()), all[skipped..], "from {from}");
            assert_eq!(rest.next_offset(), 19);
        }
        let mut some = batch.records();
        assert_eq!(read(some.next()), all[..1]);
        assert_eq!((some.offset(), some.size_hint()), (14, (0, Some(2))));
        let rest = some.into_rest();
        assert_eq!((rest.base_offset(), rest.len()), (14, 2));
        assert_eq!(read(rest), all[1..]);
    }

    #[test]
    fn offsets_that_cannot_be_are_damage() {
        for offsets in [&[11, 14][..], &[11, 14, 14], &[14, 11, 18], &[11, 12, 13, 14]] {
            let error = compacted(offsets).unwrap_err();
            assert_eq!(error.kind(), damaged().kind(), "{offsets:?}");
        }
    }
}
