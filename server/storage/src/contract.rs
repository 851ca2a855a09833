//! What every engine asks of a write, whatever the engine is made of, and where a log stands after
//! it.
//!
//! Pure: it knows numbers, not keys or bytes. A write that breaks the contract is a mistake of the
//! caller; it is refused before anything changes.

use ropewalk_core::GroupId;

use crate::engine::{GroupWrite, MAX_ROW_BYTES, Result, StorageError};

/// Which indexes a log holds: those after `start`, up to and with `last`; and which of them are
/// there to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The index before the first entry.
    pub(crate) start: u64,
    /// The last entry's index; `start` when there is none.
    pub(crate) last: u64,
    /// Entries up to here are committed: they are trimmed one day, and never replaced. It may lie
    /// beyond the last entry.
    pub(crate) committed: u64,
}

impl Span {
    /// Whether the log holds the index.
    pub(crate) fn contains(self, index: u64) -> bool {
        index > self.start && index <= self.last
    }

    /// The indexes of `first..end` that the log holds, if it holds `first`.
    pub(crate) fn clip(self, first: u64, end: u64) -> std::ops::Range<u64> {
        if self.contains(first) { first..end.min(self.last + 1) } else { first..first }
    }
}

/// What a write does to the entries of a group that exists before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanChange {
    /// Where the log stands afterwards.
    pub(crate) span: Span,
    /// Entries from here on, as they stood before, are no longer part of the log.
    pub(crate) cut_from: Option<u64>,
}

/// Checks a write to a group that stands at `current`, `None` when there is no such group, and says
/// what it does; `None` when the group is gone afterwards. `has_term` tells whether the log holds
/// an index with a term.
pub(crate) fn check(
    current: Option<Span>,
    write: &GroupWrite,
    has_term: impl FnOnce(u64, u64) -> Result<bool>,
) -> Result<Option<SpanChange>> {
    if write.delete {
        let alone = GroupWrite { delete: false, ..write.clone() }.is_empty();
        return if alone {
            Ok(None)
        } else {
            Err(refuse(write.group, "a delete with other changes"))
        };
    }
    let before = match (current, write.create) {
        (Some(span), None) => span,
        (None, None) => {
            return Err(refuse(write.group, "a change to a group that does not exist"));
        }
        (Some(_), Some(_)) => {
            return Err(refuse(write.group, "the creation of a group that exists"));
        }
        (None, Some(_)) => created(write)?,
    };
    if write.rows.iter().any(|(key, row)| row_bytes(key, row.as_deref()) > MAX_ROW_BYTES) {
        return Err(refuse(write.group, "a row that is too large"));
    }
    if write.append.windows(2).any(|pair| pair[0].index + 1 != pair[1].index) {
        return Err(refuse(write.group, "entries whose indexes are not consecutive"));
    }
    change(before, write, has_term).map(Some)
}

/// What a start and entries do to a log. The start may lie in the log that was, among the entries,
/// or beyond both; and entries may follow the log that was, or a start that replaces it.
fn change(
    before: Span,
    write: &GroupWrite,
    has_term: impl FnOnce(u64, u64) -> Result<bool>,
) -> Result<SpanChange> {
    let (start, term) = write.start.map_or((before.start, 0), |start| (start.index, start.term));
    let commit = write.hard_state.as_ref().map_or(0, |state| state.commit);
    let committed = before.committed.max(start).max(commit);
    if start < before.start {
        return Err(refuse(write.group, "a log start that goes back"));
    }
    let continues = || {
        let is_known = start == before.start || start <= before.committed.min(before.last);
        Ok(is_known || (start <= before.last && has_term(start, term)?))
    };
    let (Some(first), Some(last)) = (write.append.first(), write.append.last()) else {
        let last = if continues()? { before.last } else { start };
        let cut_from = (last < before.last).then_some(start + 1);
        return Ok(SpanChange { span: Span { start, last, committed }, cut_from });
    };
    let joins = first.index > before.start && first.index <= before.last + 1;
    let fits = if first.index > start {
        first.index == start + 1 || (joins && continues()?)
    } else {
        let at_start = write.append.iter().find(|entry| entry.index == start);
        joins && at_start.is_none_or(|entry| entry.meta.term == term)
    };
    if !fits {
        return Err(refuse(write.group, "entries that do not join the log"));
    }
    if first.index <= before.committed.min(before.last) {
        return Err(refuse(write.group, "entries in place of committed ones"));
    }
    let cut_from = (first.index <= before.last).then_some(first.index);
    let last = last.index.max(start);
    Ok(SpanChange { span: Span { start, last, committed }, cut_from })
}

fn row_bytes(key: &[u8], row: Option<&[u8]>) -> usize {
    key.len() + row.map_or(0, <[u8]>::len)
}

fn created(write: &GroupWrite) -> Result<Span> {
    match (&write.hard_state, &write.conf_state, write.start) {
        (Some(_), Some(_), Some(start)) => {
            Ok(Span { start: start.index, last: start.index, committed: start.index })
        }
        _ => Err(refuse(write.group, "the creation of a group without its state")),
    }
}

fn refuse(group: GroupId, what: &str) -> StorageError {
    StorageError::Refused(format!(
        "the store was asked for {what} (replica group {group}): this is a bug of the broker, \
         please report it; nothing was written"
    ))
}
