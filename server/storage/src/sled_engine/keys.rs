//! The one key schema of the index.
//!
//! A key is an ordinal, then the group, then what tells keys of that kind apart; numbers are
//! big-endian, so that keys sort by kind, group and index. Ordinals are stored: they are never used
//! again.

use ropewalk_core::GroupId;
use ropewalk_core::codec::{DecodeError, Reader};

/// Every kind of key that the index holds, in the order in which the kinds are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// The format of the whole index.
    Format,
    /// A group exists: its replica.
    Group(GroupId),
    /// Raft's term, vote and commit index.
    HardState(GroupId),
    /// Raft's membership.
    ConfState(GroupId),
    /// Where the log starts. Entries up to its index are garbage.
    LogStart(GroupId),
    /// The group is gone; its rows, entries and chunks are garbage.
    Deleted(GroupId),
    /// A row of the group's state machine.
    Row(GroupId, Vec<u8>),
    /// An entry: what is known of it, and its data when it is small.
    Entry(GroupId, u64),
    /// A part of the data of an entry, from 0.
    Chunk(GroupId, u64, u32),
}

mod ordinal {
    pub(super) const FORMAT: u8 = 1;
    pub(super) const GROUP: u8 = 2;
    pub(super) const HARD_STATE: u8 = 3;
    pub(super) const CONF_STATE: u8 = 4;
    pub(super) const LOG_START: u8 = 5;
    pub(super) const DELETED: u8 = 6;
    pub(super) const ROW: u8 = 7;
    pub(super) const ENTRY: u8 = 8;
    pub(super) const CHUNK: u8 = 9;
}

impl Key {
    /// The stored bytes. Those of a row are also the prefix of all rows whose key begins with its
    /// own.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(21);
        match self {
            Self::Format => bytes.push(ordinal::FORMAT),
            Self::Group(group) => put(&mut bytes, ordinal::GROUP, *group),
            Self::HardState(group) => put(&mut bytes, ordinal::HARD_STATE, *group),
            Self::ConfState(group) => put(&mut bytes, ordinal::CONF_STATE, *group),
            Self::LogStart(group) => put(&mut bytes, ordinal::LOG_START, *group),
            Self::Deleted(group) => put(&mut bytes, ordinal::DELETED, *group),
            Self::Row(group, key) => {
                put(&mut bytes, ordinal::ROW, *group);
                bytes.extend_from_slice(key);
            }
            Self::Entry(group, index) => {
                put(&mut bytes, ordinal::ENTRY, *group);
                bytes.extend_from_slice(&index.to_be_bytes());
            }
            Self::Chunk(group, index, number) => {
                put(&mut bytes, ordinal::CHUNK, *group);
                bytes.extend_from_slice(&index.to_be_bytes());
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        bytes
    }

    /// The key of stored bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "index key");
        let key = match reader.u8()? {
            ordinal::FORMAT => Self::Format,
            ordinal::GROUP => Self::Group(group(&mut reader)?),
            ordinal::HARD_STATE => Self::HardState(group(&mut reader)?),
            ordinal::CONF_STATE => Self::ConfState(group(&mut reader)?),
            ordinal::LOG_START => Self::LogStart(group(&mut reader)?),
            ordinal::DELETED => Self::Deleted(group(&mut reader)?),
            ordinal::ROW => {
                let group = group(&mut reader)?;
                return Ok(Self::Row(group, bytes[9..].to_vec()));
            }
            ordinal::ENTRY => Self::Entry(group(&mut reader)?, number(&mut reader)?),
            ordinal::CHUNK => {
                let (group, index) = (group(&mut reader)?, number(&mut reader)?);
                Self::Chunk(group, index, u32::from_be_bytes(reader.array()?))
            }
            _ => return Err(reader.error()),
        };
        reader.finish()?;
        Ok(key)
    }

    /// The prefix of every key of the kind of `Group`, `HardState` and so on, whatever the group.
    pub(crate) fn kind_prefix(&self) -> Vec<u8> {
        self.encode()[..1].to_vec()
    }
}

fn put(bytes: &mut Vec<u8>, ordinal: u8, group: GroupId) {
    bytes.push(ordinal);
    bytes.extend_from_slice(&group.0.to_be_bytes());
}

fn group(reader: &mut Reader<'_>) -> Result<GroupId, DecodeError> {
    number(reader).map(GroupId)
}

fn number(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    reader.array().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = Key> {
        // Few groups and indexes, and the edges, so that keys often share what they begin with.
        let number = prop_oneof![0..4u64, Just(u64::MAX), Just(255), Just(256), any::<u64>()];
        let group = number.clone().prop_map(GroupId);
        let row = proptest::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..6);
        (0..9u8, group, number, any::<u32>(), row).prop_map(|(kind, group, index, n, row)| {
            match kind {
                0 => Key::Format,
                1 => Key::Group(group),
                2 => Key::HardState(group),
                3 => Key::ConfState(group),
                4 => Key::LogStart(group),
                5 => Key::Deleted(group),
                6 => Key::Row(group, row),
                7 => Key::Entry(group, index),
                _ => Key::Chunk(group, index, n),
            }
        })
    }

    proptest! {
        #[test]
        fn keys_go_both_ways(key in any_key()) {
            prop_assert_eq!(Key::decode(&key.encode()), Ok(key));
        }

        #[test]
        fn bytes_sort_as_keys_do(a in any_key(), b in any_key()) {
            prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(&b));
        }

        #[test]
        fn any_bytes_are_one_key_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            if let Ok(key) = Key::decode(&bytes) {
                prop_assert_eq!(key.encode(), bytes);
            }
        }
    }
}
