//! Compaction by key: of the records of one key only the latest stays.
//!
//! What is to go is agreed in the log: an entry ([`crate::entry::Entry::Compact`]) orders it for
//! all that stands before it, and every replica carries it out at its own pace. What is left is a
//! pure function of the log and the order, it is the same when it is applied again, and an order
//! includes all that came before it. So replicas come to the same records, whatever they have
//! carried out so far and whatever crashes do. A batch keeps its place, its offsets and its index;
//! it only holds fewer records.
//!
//! Kafka's log cleaner is the model, but for two things. There each replica cleans by its own clock
//! and its own segments; here one order counts. And there a replica that lags behind for longer
//! than tombstones are kept misses them, and shows what was deleted for ever; here tombstones go
//! only where every member has had them ([`CleanUp::lasting_from`]).

mod keys;
mod shrink;

pub use keys::KeyMap;
pub use shrink::{Shrunk, Verdict, keys_of, shrink};

use crate::codec::{DecodeError, Reader, Writer};
use crate::time::Timestamp;

/// What goes beside superseded records when the log before an order is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanUp {
    /// Tombstones below this index go. What they had ended has been gone for long by then: who read
    /// it before has had time to come to them.
    pub tombstones_below: u64,
    /// What had a time to live of its own goes if that was over before this: with a key it has been
    /// a tombstone since, and must be below that index, too.
    pub ended_before: Timestamp,
    /// Whatever was appended before this goes, also what is the latest of its key.
    pub expired_before: Timestamp,
    /// But none of these goes from this index on: not every replica is known to have it. One that
    /// had an older value and never met what ended it would keep that value.
    pub lasting_from: u64,
}

impl CleanUp {
    /// Only what is superseded goes.
    pub const NONE: Self = Self {
        tombstones_below: 0,
        ended_before: Timestamp::MIN,
        expired_before: Timestamp::MIN,
        lasting_from: 0,
    };

    /// What goes when one order follows another: never less than before.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            tombstones_below: self.tombstones_below.max(other.tombstones_below),
            ended_before: self.ended_before.max(other.ended_before),
            expired_before: self.expired_before.max(other.expired_before),
            lasting_from: self.lasting_from.max(other.lasting_from),
        }
    }

    /// Appends the stored form.
    pub fn write(&self, out: &mut Writer) {
        out.u64(self.tombstones_below).i64(self.ended_before.0);
        out.i64(self.expired_before.0).u64(self.lasting_from);
    }

    /// Reads the stored form.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            tombstones_below: reader.u64()?,
            ended_before: Timestamp(reader.i64()?),
            expired_before: Timestamp(reader.i64()?),
            lasting_from: reader.u64()?,
        })
    }
}

#[cfg(test)]
mod tests;
