//! The one key schema of the index.
//!
//! A key is an ordinal, then a number, then what tells keys of that kind apart; numbers are
//! big-endian, so that keys sort by kind, number and index. What belongs to a log goes by the log's
//! number, which no other log of this directory ever has, and not by its group: a group that was
//! deleted and created again must not meet what it left. Ordinals are stored: they are never used
//! again (0 is the index's own; 1 to 9 were those of a format before).

use ropewalk_core::GroupId;
use ropewalk_core::codec::{DecodeError, Reader};

/// Every kind of key that the index holds, in the order in which the kinds are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A group exists: its state, and the number of its log.
    Group(GroupId),
    /// A log is gone; its rows and chunks are garbage.
    Deleted(u64),
    /// A row of the state machine.
    Row(u64, Vec<u8>),
    /// A segment file, by its number: where it begins, and how long it is.
    Segment(u64, u64),
    /// A chunk, by the index of its first entry.
    Chunk(u64, u64),
}

mod ordinal {
    pub(super) const GROUP: u8 = 10;
    pub(super) const DELETED: u8 = 11;
    pub(super) const ROW: u8 = 12;
    pub(super) const SEGMENT: u8 = 13;
    pub(super) const CHUNK: u8 = 14;
}

impl Key {
    /// The stored bytes. Those of a row are also the prefix of all rows whose key begins with its
    /// own.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(17);
        let mut put = |ordinal: u8, numbers: &[u64]| {
            bytes.push(ordinal);
            numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
        };
        match self {
            Self::Group(group) => put(ordinal::GROUP, &[group.0]),
            Self::Deleted(log) => put(ordinal::DELETED, &[*log]),
            Self::Row(log, key) => {
                put(ordinal::ROW, &[*log]);
                bytes.extend_from_slice(key);
            }
            Self::Segment(log, number) => put(ordinal::SEGMENT, &[*log, *number]),
            Self::Chunk(log, index) => put(ordinal::CHUNK, &[*log, *index]),
        }
        bytes
    }

    /// The key of stored bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "index key");
        let number = |reader: &mut Reader<'_>| reader.array().map(u64::from_be_bytes);
        let kind = reader.u8()?;
        let first = number(&mut reader)?;
        let key = match kind {
            ordinal::GROUP => Self::Group(GroupId(first)),
            ordinal::DELETED => Self::Deleted(first),
            ordinal::ROW => return Ok(Self::Row(first, reader.rest().to_vec())),
            ordinal::SEGMENT => Self::Segment(first, number(&mut reader)?),
            ordinal::CHUNK => Self::Chunk(first, number(&mut reader)?),
            _ => return Err(reader.error()),
        };
        reader.finish()?;
        Ok(key)
    }

    /// The first and the last key of all groups.
    pub(crate) fn groups() -> (Self, Self) {
        (Self::Group(GroupId(0)), Self::Group(GroupId(u64::MAX)))
    }

    /// The first and the last key of all deleted logs.
    pub(crate) fn deleted() -> (Self, Self) {
        (Self::Deleted(0), Self::Deleted(u64::MAX))
    }

    /// The first and the last key of all segments.
    pub(crate) fn segments() -> (Self, Self) {
        (Self::Segment(0, 0), Self::Segment(u64::MAX, u64::MAX))
    }

    /// What this key is, in words.
    pub(crate) fn describe(bytes: &[u8]) -> String {
        match Self::decode(bytes) {
            Ok(Self::Group(group)) => format!("the state of replica group {group}"),
            Ok(Self::Deleted(log)) => format!("the deletion of log {log}"),
            Ok(Self::Row(log, row)) => format!("row \"{}\" of log {log}", row.escape_ascii()),
            Ok(Self::Segment(log, number)) => format!("segment {number:016x} of log {log}"),
            Ok(Self::Chunk(log, first)) => format!("the chunk of log {log} at entry {first}"),
            Err(_) => format!("key \"{}\"", bytes.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = Key> {
        // Few numbers, and the edges, so that keys often share what they begin with.
        let number = prop_oneof![0..4u64, Just(u64::MAX), Just(255), Just(256), any::<u64>()];
        let row = proptest::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..6);
        (0..5u8, number.clone(), number, row).prop_map(|(kind, log, other, row)| match kind {
            0 => Key::Group(GroupId(log)),
            1 => Key::Deleted(log),
            2 => Key::Row(log, row),
            3 => Key::Segment(log, other),
            _ => Key::Chunk(log, other),
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
