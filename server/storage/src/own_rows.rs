//! Rows that a group keeps for itself, beside those of its state machine: their keys begin with a
//! zero byte.

use ropewalk_core::Timestamp;
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::compaction::CleanUp;

use crate::compaction::{Cleaned, Compacted, CompactionState, Order};

/// A row of a group: a value to put, or nothing to delete.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// The key of the row that says up to which command the rows of the state machine stand.
pub const APPLIED_KEY: &[u8] = b"\0applied";

/// What the keys of the rows of idempotent producers begin with; the producer's id follows.
pub const PRODUCER_KEY: &[u8] = b"\0producer";

/// The key of the row that says up to which entry those rows stand. It begins like theirs, so that
/// all are read at once.
pub const PRODUCERS_THROUGH_KEY: &[u8] = b"\0producers";

/// The key of the row that says how far the compaction of a partition is.
pub const COMPACTION_KEY: &[u8] = b"\0compaction";

/// Whether a row is the group's own, and none of its state machine.
#[must_use]
pub fn is_own(key: &[u8]) -> bool {
    key.first() == Some(&0)
}

/// The row that says up to which index the rows stand.
#[must_use]
pub fn applied_row(index: u64) -> Row {
    (APPLIED_KEY.to_vec(), Some(Writer::versioned(1).u64(index).finish()))
}

/// The row that says up to which index the rows of producers stand.
#[must_use]
pub fn producers_row(index: u64) -> Row {
    (PRODUCERS_THROUGH_KEY.to_vec(), Some(Writer::versioned(1).u64(index).finish()))
}

/// The index up to which a group's rows stand, if they say so.
pub fn applied_index(rows: &[(Vec<u8>, Vec<u8>)]) -> Result<Option<u64>, DecodeError> {
    index_in(rows, APPLIED_KEY)
}

/// The index up to which the rows of a partition's producers stand, if it has had any.
pub fn producers_index(rows: &[(Vec<u8>, Vec<u8>)]) -> Result<Option<u64>, DecodeError> {
    index_in(rows, PRODUCERS_THROUGH_KEY)
}

/// The row that says how far the compaction of a partition is.
#[must_use]
pub fn compaction_row(state: &CompactionState) -> Row {
    let order = |out: &mut Writer, order: Order| {
        out.u64(order.index);
        order.clean_up.write(out);
    };
    let time = |out: &mut Writer, time: Timestamp| {
        out.i64(time.0);
    };
    let mut out = Writer::versioned(1);
    out.option(state.ordered, order).option(state.done, |out, done| {
        order(out, done.order);
        out.option(done.first_tombstone, |out, index| {
            out.u64(index);
        });
        out.option(done.first_end, time).option(done.oldest_record, time);
    });
    out.option(state.cleaned, |out, cleaned| {
        out.u64(cleaned.below);
        time(out, cleaned.since);
    });
    out.u8(state.is_stale.into());
    (COMPACTION_KEY.to_vec(), Some(out.finish()))
}

/// How far the compaction of a partition is, as its row says.
pub fn compaction_state(rows: &[(Vec<u8>, Vec<u8>)]) -> Result<CompactionState, DecodeError> {
    let Some((_, value)) = rows.iter().find(|(key, _)| key == COMPACTION_KEY) else {
        return Ok(CompactionState::default());
    };
    let order = |reader: &mut Reader<'_>| {
        Ok(Order { index: reader.u64()?, clean_up: CleanUp::read(reader)? })
    };
    let time = |reader: &mut Reader<'_>| reader.i64().map(Timestamp);
    let mut reader = Reader::versioned(value, 1, "compaction state")?;
    let state = CompactionState {
        ordered: reader.option(order)?,
        done: reader.option(|reader| {
            Ok(Compacted {
                order: order(reader)?,
                first_tombstone: reader.option(Reader::u64)?,
                first_end: reader.option(time)?,
                oldest_record: reader.option(time)?,
            })
        })?,
        cleaned: reader
            .option(|reader| Ok(Cleaned { below: reader.u64()?, since: time(reader)? }))?,
        is_stale: reader.u8()? != 0,
    };
    reader.finish()?;
    Ok(state)
}

fn index_in(rows: &[(Vec<u8>, Vec<u8>)], key: &[u8]) -> Result<Option<u64>, DecodeError> {
    let Some((_, value)) = rows.iter().find(|(other, _)| other == key) else {
        return Ok(None);
    };
    let mut reader = Reader::versioned(value, 1, "applied index")?;
    let index = reader.u64()?;
    reader.finish()?;
    Ok(Some(index))
}
