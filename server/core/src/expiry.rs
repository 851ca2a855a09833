//! The time to live of single records: what a batch says of it, and what is left of one.
//!
//! A record with a time to live of its own is delivered no more once so much time has passed since
//! its batch was appended. A batch's header tells the shortest that a record of it has, so a batch
//! is looked into only once that is over: before, and where no record has any, nothing is done per
//! record. Nothing here knows the time to live of a whole topic.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::batch::{BatchHeader, StoredBatch};
use crate::records::{RecordFacts, facts, without_values};
use crate::time::Timestamp;

/// The shortest time to live of a batch's records, as its header has it: in whole milliseconds, not
/// more than it is. The longest, 49 days, stands for whatever is longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortestTtl(NonZeroU32);

impl ShortestTtl {
    /// What stands for a time to live; nothing for one that is too short.
    #[must_use]
    pub fn of(ttl: Duration) -> Option<Self> {
        Self::from_millis(u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX))
    }

    /// The one of so many milliseconds.
    #[must_use]
    pub fn from_millis(millis: u32) -> Option<Self> {
        NonZeroU32::new(millis).map(Self)
    }

    /// The number of milliseconds.
    #[must_use]
    pub fn millis(self) -> u32 {
        self.0.get()
    }

    fn duration(self) -> Duration {
        Duration::from_millis(self.millis().into())
    }
}

impl BatchHeader {
    /// Whether the time of some record may be over.
    #[must_use]
    pub fn may_have_expired(&self, now: Timestamp) -> bool {
        self.shortest_ttl.is_some_and(|ttl| self.append_time.plus(ttl.duration()) < now)
    }

    /// How long a record of the batch lives, if there is an end to it.
    ///
    /// What the header says of the shortest counts too: in a compressed batch that is its
    /// producer's word, and without it none of the records is looked at.
    #[must_use]
    pub fn ttl_of(&self, record: &RecordFacts<'_>) -> Option<Duration> {
        let (shortest, ttl) = self.shortest_ttl.zip(record.ttl)?;
        Some(ttl.max(shortest.duration()))
    }

    /// After this it is delivered no more.
    #[must_use]
    pub fn end_of(&self, record: &RecordFacts<'_>) -> Option<Timestamp> {
        Some(self.append_time.plus(self.ttl_of(record)?))
    }
}

/// At which time records are looked at, and what becomes of those whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The time.
    pub now: Timestamp,
    /// Records with a key are left, without their values: in a compacted topic, somebody who met
    /// none would take an older value of the key for the present one.
    pub keeps_keys: bool,
}

/// What is left of a batch, whose uncompressed records these are; `None` where all of it is.
#[must_use]
pub fn living(batch: &StoredBatch, records: &[u8], expiry: Expiry) -> Option<StoredBatch> {
    let header = &batch.header;
    let is_over =
        |record: &RecordFacts<'_>| header.end_of(record).is_some_and(|end| end < expiry.now);
    if !facts(records).any(|record| is_over(&record)) {
        return None;
    }
    let left_of = |(position, record): (u32, RecordFacts<'_>)| {
        let bytes = &records[record.range.clone()];
        if !is_over(&record) {
            return Some((position, Cow::Borrowed(bytes)));
        }
        let is_kept = expiry.keeps_keys && record.key.is_some();
        is_kept.then(|| (position, Cow::Owned(without_values(bytes))))
    };
    let left = || batch.held().zip(facts(records)).filter_map(left_of);
    Some(StoredBatch::of_written(header, left))
}

#[cfg(test)]
mod tests;
