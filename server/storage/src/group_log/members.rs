//! Who the members of a group were at each index that its log still reaches.
//!
//! A snapshot stands at an index of the past, and must name the members as of then: a replica that
//! began with those of today would go through memberships that never were while it applies the
//! changes in between, and might win an election alone. So each change that lies after the log
//! start is kept as a row, with the one before it. The newest is also in the group's state; a group
//! without changes has no row.

use raft::eraftpb::ConfState;
use ropewalk_core::codec::{DecodeError, Reader, Writer};

use crate::own_rows::Row;

/// What the keys of the rows begin with. The index follows, so that they are in order.
pub(super) const KEY: &[u8] = b"\0members";
const VERSION: u8 = 1;
const WHAT: &str = "member history";

/// The memberships from the one at the log start to the newest.
pub(super) struct MemberHistory {
    newest: ConfState,
    /// With the index from which on each holds, oldest first; empty while there is but one.
    changes: Vec<(u64, ConfState)>,
}

impl MemberHistory {
    pub(super) fn new(newest: ConfState) -> Self {
        Self { newest, changes: Vec::new() }
    }

    /// The history that a group's rows hold.
    pub(super) fn read(
        rows: Vec<(Vec<u8>, Vec<u8>)>,
        newest: ConfState,
        start: u64,
    ) -> Result<Self, DecodeError> {
        let changes: Result<Vec<_>, _> = rows.iter().map(|(key, value)| read(key, value)).collect();
        let mut history = Self { newest, changes: changes? };
        history.drop_to(start, &mut Vec::new());
        Ok(history)
    }

    pub(super) fn newest(&self) -> &ConfState {
        &self.newest
    }

    /// The members as of an index at or after the log start.
    pub(super) fn at(&self, index: u64) -> &ConfState {
        let after = self.changes.partition_point(|(from, _)| *from <= index);
        match after.checked_sub(1) {
            Some(at) => &self.changes[at].1,
            None => &self.newest,
        }
    }

    /// The entry at `index` changed the members. `start` is the index of the log start.
    pub(super) fn push(&mut self, start: u64, index: u64, members: ConfState, rows: &mut Vec<Row>) {
        let old = std::mem::replace(&mut self.newest, members.clone());
        if self.changes.is_empty() {
            rows.push((key(start), Some(value(&old))));
            self.changes.push((start, old));
        }
        rows.push((key(index), Some(value(&members))));
        self.changes.push((index, members));
    }

    /// The log starts at a later index: what was before it is not asked for any more.
    pub(super) fn drop_to(&mut self, start: u64, rows: &mut Vec<Row>) {
        let after = self.changes.partition_point(|(from, _)| *from <= start);
        // Once the newest is the only one left, the group's state is enough.
        let gone = if after == self.changes.len() { after } else { after.saturating_sub(1) };
        rows.extend(self.changes.drain(..gone).map(|(index, _)| (key(index), None)));
    }

    /// A snapshot replaces everything.
    pub(super) fn replace(&mut self, members: ConfState, rows: &mut Vec<Row>) {
        self.drop_to(u64::MAX, rows);
        self.newest = members;
    }
}

fn key(index: u64) -> Vec<u8> {
    [KEY, &index.to_be_bytes()].concat()
}

fn value(members: &ConfState) -> Vec<u8> {
    let mut writer = Writer::versioned(VERSION);
    for ids in [&members.voters, &members.learners] {
        writer.u32(u32::try_from(ids.len()).expect("a group has few members"));
        ids.iter().for_each(|id| {
            writer.u64(*id);
        });
    }
    writer.finish()
}

fn read(key: &[u8], value: &[u8]) -> Result<(u64, ConfState), DecodeError> {
    let index = key[KEY.len()..].try_into().map_err(|_| DecodeError(WHAT))?;
    let mut reader = Reader::versioned(value, VERSION, WHAT)?;
    let mut ids = || -> Result<Vec<u64>, DecodeError> {
        let count = reader.u32()?;
        (0..count).map(|_| reader.u64()).collect()
    };
    let members = ConfState { voters: ids()?, learners: ids()?, ..ConfState::default() };
    reader.finish()?;
    Ok((u64::from_be_bytes(index), members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(voters: &[u64]) -> ConfState {
        ConfState { voters: voters.to_vec(), learners: vec![9], ..ConfState::default() }
    }

    /// What the rows come to when they are written one after the other.
    fn stored(rows: Vec<Row>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut stored = std::collections::BTreeMap::new();
        for (key, value) in rows {
            match value {
                Some(value) => stored.insert(key, value),
                None => stored.remove(&key),
            };
        }
        stored.into_iter().collect()
    }

    #[test]
    fn the_members_of_each_index_are_known_until_the_log_starts_after_it() {
        let mut rows = Vec::new();
        let mut history = MemberHistory::new(members(&[1]));
        history.push(5, 10, members(&[1, 2]), &mut rows);
        history.push(5, 300, members(&[2]), &mut rows);
        let check = |history: &MemberHistory, from: u64| {
            for (index, voters) in [(5, &[1][..]), (9, &[1]), (10, &[1, 2]), (300, &[2])] {
                if index >= from {
                    assert_eq!(*history.at(index), members(voters), "at {index}");
                }
            }
        };
        check(&history, 5);
        check(&MemberHistory::read(stored(rows.clone()), members(&[2]), 5).unwrap(), 5);
        history.drop_to(20, &mut rows);
        check(&history, 20);
        assert_eq!(stored(rows.clone()).len(), 2);
        check(&MemberHistory::read(stored(rows.clone()), members(&[2]), 20).unwrap(), 20);
        history.drop_to(300, &mut rows);
        check(&history, 300);
        assert_eq!(stored(rows), [], "a group without changes keeps no row");
    }
}
