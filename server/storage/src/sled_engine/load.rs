//! What an index holds when it is opened: its format, its groups, and groups whose removal is not
//! done.

use std::collections::BTreeSet;

use raft::eraftpb::{ConfState, HardState};
use ropewalk_core::GroupId;

use crate::contract::Span;
use crate::engine::{EntryMeta, GroupState, LogStart, Result, StorageError};

use super::keys::Key;
use super::source::Source;
use super::value::{self, Damage, EntryHead};

/// The format of the index that this code writes and reads.
const FORMAT: u32 = 1;

/// Makes sure that the index has the format of this code; a new one gets it.
pub(super) fn check_format(source: &Source) -> Result<()> {
    let key = Key::Format.encode();
    let Some(stored) = source.get(&key)? else {
        if !source.is_empty() {
            return Err(source.corrupt(&key, "it is missing, and the index is not empty"));
        }
        let mut batch = sled::Batch::default();
        batch.insert(key.clone(), value::encode_format(&key, FORMAT));
        source.apply(batch)?;
        return source.sync();
    };
    let format = source.decoded(&key, value::decode_format(&key, &stored))?;
    if format == FORMAT {
        return Ok(());
    }
    Err(StorageError::Refused(format!(
        "the index {} has format {format}, and this build reads format {FORMAT}: start the version \
         of ropewalk that wrote it, or give this broker an empty data directory",
        source.path().display()
    )))
}

/// Every group, by id. Kinds of keys are read one after the other, as they lie.
pub(super) fn groups(source: &Source) -> Result<Vec<GroupState>> {
    let mut groups = Vec::new();
    for pair in source.prefix(&Key::Group(GroupId(0)).kind_prefix()) {
        let (key, stored) = pair?;
        let group = group_of(source, &key)?;
        groups.push(GroupState {
            group,
            replica: source.decoded(&key, value::decode_replica(&key, &stored))?,
            hard_state: HardState::default(),
            conf_state: ConfState::default(),
            start: LogStart::default(),
            last: None,
        });
    }
    fill(source, &mut groups, Key::HardState, value::decode_hard_state, |group, state| {
        group.hard_state = state;
    })?;
    fill(source, &mut groups, Key::ConfState, value::decode_conf_state, |group, state| {
        group.conf_state = state;
    })?;
    fill(source, &mut groups, Key::LogStart, value::decode_start, |group, start| {
        group.start = start;
    })?;
    for group in &mut groups {
        group.last = last(source, group.group, group.start.index)?;
    }
    Ok(groups)
}

/// Where a group's log stands.
pub(super) fn span(group: &GroupState) -> (GroupId, Span) {
    let start = group.start.index;
    let last = group.last.map_or(start, |(index, _)| index);
    (group.group, Span { start, last })
}

/// Groups whose removal is not done.
pub(super) fn deleted(source: &Source) -> Result<BTreeSet<GroupId>> {
    let keys = source.keys_with_prefix(&Key::Deleted(GroupId(0)).kind_prefix())?;
    keys.iter().map(|key| group_of(source, key)).collect()
}

/// Sets a part of every group from the keys of its kind.
fn fill<T>(
    source: &Source,
    groups: &mut [GroupState],
    kind: fn(GroupId) -> Key,
    decode: fn(&[u8], &[u8]) -> std::result::Result<T, Damage>,
    set: fn(&mut GroupState, T),
) -> Result<()> {
    let mut stored = source.prefix(&kind(GroupId(0)).kind_prefix());
    for group in groups {
        let wanted = kind(group.group).encode();
        match stored.next().transpose()? {
            Some((key, stored)) if key == wanted => {
                set(group, source.decoded(&key, decode(&key, &stored))?);
            }
            _ => return Err(source.corrupt(&wanted, "it is missing")),
        }
    }
    match stored.next().transpose()? {
        None => Ok(()),
        Some((key, _)) => Err(source.corrupt(&key, "there is no such replica group")),
    }
}

/// The last entry of a log; what lies at or below its start is garbage.
fn last(source: &Source, group: GroupId, start: u64) -> Result<Option<(u64, EntryMeta)>> {
    let first = Key::Entry(group, start.saturating_add(1)).encode();
    let newest = source.range(&first, &Key::Entry(group, u64::MAX).encode()).next_back();
    let Some((key, stored)) = newest.transpose()? else {
        return Ok(None);
    };
    let (head, _) = source.decoded(&key, EntryHead::decode(&key, &stored))?;
    match source.decoded(&key, Key::decode(&key))? {
        Key::Entry(_, index) => Ok(Some((index, head.meta))),
        _ => Err(source.corrupt(&key, "an entry was expected")),
    }
}

fn group_of(source: &Source, key: &[u8]) -> Result<GroupId> {
    match source.decoded(key, Key::decode(key))? {
        Key::Group(group) | Key::Deleted(group) => Ok(group),
        _ => Err(source.corrupt(key, "a key of another kind was expected")),
    }
}
