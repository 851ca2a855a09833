//! The stored form of what a write asks for: the payload of the journal's frames.
//!
//! Pure: bytes to [`GroupWrite`] and back. Data of entries is sliced from the payload, not copied.

use bytes::Bytes;
use protobuf::Message;
use raft::eraftpb::{ConfState, HardState};
use ropewalk_core::codec::{DecodeError, Reader};
use ropewalk_core::{GroupId, Offset, ReplicaId, Timestamp};

use super::entry_codec::{put_heads, put_number, take_heads, take_number};
use crate::engine::{EntryMeta, GroupWrite, LogEntry, LogStart};

const CREATE: u8 = 1;
const DELETE: u8 = 1 << 1;
const HARD_STATE: u8 = 1 << 2;
const CONF_STATE: u8 = 1 << 3;
const START: u8 = 1 << 4;
const APPEND: u8 = 1 << 5;
const ROWS: u8 = 1 << 6;

/// About how many bytes the stored form of a write takes.
pub(super) fn expected_bytes(write: &GroupWrite) -> usize {
    let entries: usize = write.append.iter().map(|entry| entry.data.len() + 48).sum();
    let rows: usize =
        write.rows.iter().map(|(key, row)| key.len() + row.as_ref().map_or(0, Vec::len) + 8).sum();
    entries + rows + 96
}

/// Appends a write.
pub(super) fn put_write(out: &mut Vec<u8>, write: &GroupWrite) {
    put_number(out, write.group.0);
    let flag = |flag: u8, holds: bool| if holds { flag } else { 0 };
    out.push(
        flag(CREATE, write.create.is_some())
            | flag(DELETE, write.delete)
            | flag(HARD_STATE, write.hard_state.is_some())
            | flag(CONF_STATE, write.conf_state.is_some())
            | flag(START, write.start.is_some())
            | flag(APPEND, !write.append.is_empty())
            | flag(ROWS, !write.rows.is_empty()),
    );
    if let Some(replica) = write.create {
        put_number(out, replica.0);
    }
    if let Some(state) = &write.hard_state {
        put_hard_state(out, state);
    }
    if let Some(state) = &write.conf_state {
        put_conf_state(out, state);
    }
    if let Some(start) = &write.start {
        put_start(out, start);
    }
    if !write.rows.is_empty() {
        put_number(out, write.rows.len() as u64);
        for (key, row) in &write.rows {
            put_bytes(out, key);
            out.push(u8::from(row.is_some()));
            put_bytes(out, row.as_deref().unwrap_or_default());
        }
    }
    if let Some(first) = write.append.first() {
        put_number(out, first.index);
        put_number(out, write.append.len() as u64);
        put_heads(out, &write.append);
        for entry in &write.append {
            out.extend_from_slice(&entry.data);
        }
    }
}

/// The writes of a payload, in order.
pub(super) fn take_writes(payload: &Bytes) -> Result<Vec<GroupWrite>, DecodeError> {
    let mut reader = Reader::new(payload, "journal payload");
    let mut writes = Vec::new();
    while !reader.is_done() {
        writes.push(take_write(&mut reader, payload)?);
    }
    Ok(writes)
}

fn take_write(reader: &mut Reader<'_>, payload: &Bytes) -> Result<GroupWrite, DecodeError> {
    let mut write = GroupWrite::new(GroupId(take_number(reader)?));
    let flags = reader.u8()?;
    let has = |flag: u8| flags & flag != 0;
    if flags & 0x80 != 0 {
        return Err(reader.error());
    }
    write.delete = has(DELETE);
    if has(CREATE) {
        write.create = Some(ReplicaId(take_number(reader)?));
    }
    if has(HARD_STATE) {
        write.hard_state = Some(take_hard_state(reader)?);
    }
    if has(CONF_STATE) {
        write.conf_state = Some(take_conf_state(reader)?);
    }
    if has(START) {
        write.start = Some(take_start(reader)?);
    }
    if has(ROWS) {
        for _ in 0..take_number(reader)? {
            let key = take_bytes(reader)?.to_vec();
            let is_put = reader.u8()? != 0;
            let row = take_bytes(reader)?;
            write.rows.push((key, is_put.then(|| row.to_vec())));
        }
    }
    if has(APPEND) {
        let first = take_number(reader)?;
        let count = take_number(reader)?;
        let count = u32::try_from(count).map_err(|_| reader.error())? as usize;
        let heads = take_heads(reader, count)?;
        write.append = take_entries(reader, payload, first, heads)?;
    }
    Ok(write)
}

/// Takes the data of entries with these heads, sliced from the payload.
pub(super) fn take_entries(
    reader: &mut Reader<'_>,
    payload: &Bytes,
    first: u64,
    heads: Vec<(EntryMeta, usize)>,
) -> Result<Vec<LogEntry>, DecodeError> {
    // An index after the last one must be a number too.
    first.checked_add(heads.len() as u64).ok_or(reader.error())?;
    let mut entries = Vec::with_capacity(heads.len());
    for ((meta, length), index) in heads.into_iter().zip(first..) {
        let data = payload.slice_ref(reader.raw(length)?);
        entries.push(LogEntry { index, meta, data });
    }
    Ok(entries)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let length = take_number(reader)?;
    let length = u32::try_from(length).map_err(|_| reader.error())? as usize;
    reader.raw(length)
}

/// Appends raft's term, vote and commit index.
pub(super) fn put_hard_state(out: &mut Vec<u8>, state: &HardState) {
    for number in [state.term, state.vote, state.commit] {
        put_number(out, number);
    }
}

/// Takes raft's term, vote and commit index.
pub(super) fn take_hard_state(reader: &mut Reader<'_>) -> Result<HardState, DecodeError> {
    Ok(HardState {
        term: take_number(reader)?,
        vote: take_number(reader)?,
        commit: take_number(reader)?,
        ..HardState::default()
    })
}

/// Appends raft's membership, in raft's own encoding.
pub(super) fn put_conf_state(out: &mut Vec<u8>, state: &ConfState) {
    let bytes =
        state.write_to_bytes().expect("a message without required fields is always complete");
    put_bytes(out, &bytes);
}

/// Takes raft's membership.
pub(super) fn take_conf_state(reader: &mut Reader<'_>) -> Result<ConfState, DecodeError> {
    let bytes = take_bytes(reader)?;
    ConfState::parse_from_bytes(bytes).map_err(|_| reader.error())
}

/// Appends a log start.
pub(super) fn put_start(out: &mut Vec<u8>, start: &LogStart) {
    for number in [start.index, start.term, start.offset.0, start.base_offset.0] {
        put_number(out, number);
    }
    out.extend_from_slice(&start.newest_gone.0.to_le_bytes());
}

/// Takes a log start.
pub(super) fn take_start(reader: &mut Reader<'_>) -> Result<LogStart, DecodeError> {
    Ok(LogStart {
        index: take_number(reader)?,
        term: take_number(reader)?,
        offset: Offset(take_number(reader)?),
        base_offset: Offset(take_number(reader)?),
        newest_gone: Timestamp(reader.i64()?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conformance::{append, creation, deletion, entries, rows, start, trim};

    fn every_kind() -> Vec<GroupWrite> {
        let group = GroupId(0x100);
        vec![
            creation(group),
            append(group, entries(6..20, 5, 100)),
            GroupWrite { append: entries(30..31, 9, 0), ..trim(group, start(29, 9)) },
            rows(group, &[("a", Some("1")), ("b", None), ("", Some(""))]),
            deletion(GroupId(u64::MAX)),
        ]
    }

    fn same(a: &GroupWrite, b: &GroupWrite) -> bool {
        format!("{a:?}") == format!("{b:?}")
    }

    #[test]
    fn writes_go_both_ways() {
        let mut bytes = Vec::new();
        for write in every_kind() {
            put_write(&mut bytes, &write);
        }
        let found = take_writes(&Bytes::from(bytes)).unwrap();
        assert_eq!(found.len(), 5);
        assert!(found.iter().zip(&every_kind()).all(|(a, b)| same(a, b)), "{found:?}");
    }

    #[test]
    fn the_size_is_expected_well_enough() {
        for write in every_kind() {
            let mut bytes = Vec::new();
            put_write(&mut bytes, &write);
            assert!(bytes.len() <= expected_bytes(&write), "{write:?}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_payload_is_read_or_refused(at: prop::sample::Index, flip in 1..=255u8) {
            let mut bytes = Vec::new();
            every_kind().iter().for_each(|write| put_write(&mut bytes, write));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = take_writes(&Bytes::from(bytes.clone()));
            bytes.truncate(at);
            let _ = take_writes(&Bytes::from(bytes));
        }
    }
}
