//! What a replica group's log consists of: tagged, versioned entries.
//!
//! The first byte of an entry's data is its kind, the second its version. A new kind is a new arm
//! in [`Entry::decode`] and in the one place that applies entries; nothing else changes.

use bytes::Bytes;
use thiserror::Error;

use crate::batch::{BatchError, BatchHeader};
use crate::codec::{Reader, Writer};
use crate::compaction::CleanUp;
use crate::ids::{Offset, ProducerId};

/// The kinds of entries. The numbers are stored: they are never used again. A broker that does not
/// know a kind ends at it, so a new one is proposed only when all brokers know it: the cluster's
/// level says so (`cluster::level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A batch of records, which takes offsets.
    Batch = 1,
    /// The log start moves up.
    Trim = 2,
    /// A command to the group's state machine.
    Command = 3,
    /// Idempotent producers are forgotten.
    Expire = 4,
    /// What stands before is to be compacted.
    Compact = 5,
}

const VERSION: u8 = 1;

/// An entry that this code cannot read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EntryError {
    /// The batch is damaged.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Another kind or version than this code knows.
    #[error(
        "entry kind {kind} (form {version}) is of a later version than this broker's: upgrade this \
         broker"
    )]
    Unknown {
        /// The kind.
        kind: u8,
        /// The version.
        version: u8,
    },
    /// Too few bytes.
    #[error("entry of {0} bytes is cut short")]
    Short(usize),
}

/// An entry's data, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The no-op of a new leader: nothing, and no offset.
    Noop,
    /// A batch; its bytes stay where they are.
    Batch(BatchHeader),
    /// The log starts at this offset from now on.
    Trim {
        /// The offset of the first record that stays.
        before: Offset,
    },
    /// A command, in the encoding of the group's state machine.
    Command(Bytes),
    /// These producers are forgotten, each unless it has appended something since: with the index
    /// of its last batch.
    Expire(Vec<(ProducerId, u64)>),
    /// Of what stands before, the latest record of each key is to stay. It begins a segment, so
    /// that what stands before lies in segments that nothing is added to.
    Compact(CleanUp),
}

impl Entry {
    /// Reads the kind of an entry and what belongs to it. The payload of a batch is not looked at.
    pub fn decode(data: &Bytes) -> Result<Self, EntryError> {
        let (Some(&kind), version) = (data.first(), data.get(1).copied().unwrap_or(0)) else {
            return Ok(Self::Noop);
        };
        if kind == EntryKind::Batch as u8 {
            return Ok(Self::Batch(BatchHeader::read(data)?));
        }
        if version != VERSION {
            return Err(EntryError::Unknown { kind, version });
        }
        if kind == EntryKind::Trim as u8 {
            let before = data[2..].first_chunk().ok_or(EntryError::Short(data.len()))?;
            return Ok(Self::Trim { before: Offset(u64::from_le_bytes(*before)) });
        }
        if kind == EntryKind::Command as u8 {
            return Ok(Self::Command(data.slice(2..)));
        }
        if kind == EntryKind::Expire as u8 {
            let (pairs, rest) = data[2..].as_chunks::<16>();
            if !rest.is_empty() {
                return Err(EntryError::Short(data.len()));
            }
            return Ok(Self::Expire(pairs.iter().map(read_pair).collect()));
        }
        if kind == EntryKind::Compact as u8 {
            let mut reader = Reader::new(&data[2..], "compaction");
            let clean_up = CleanUp::read(&mut reader).map_err(|_| EntryError::Short(data.len()))?;
            return Ok(Self::Compact(clean_up));
        }
        Err(EntryError::Unknown { kind, version })
    }

    /// The stored form of an order to compact.
    #[must_use]
    pub fn encode_compact(clean_up: &CleanUp) -> Vec<u8> {
        let mut out = Writer::versioned(EntryKind::Compact as u8);
        out.u8(VERSION);
        clean_up.write(&mut out);
        out.finish()
    }

    /// Whether an entry begins a segment, wherever it is appended.
    #[must_use]
    pub fn begins_segment(data: &[u8]) -> bool {
        data.first() == Some(&(EntryKind::Compact as u8))
    }

    /// The stored form of a trim.
    #[must_use]
    pub fn encode_trim(before: Offset) -> Vec<u8> {
        let mut data = vec![EntryKind::Trim as u8, VERSION];
        data.extend_from_slice(&before.0.to_le_bytes());
        data
    }

    /// The stored form of an end of producers.
    #[must_use]
    pub fn encode_expire(gone: &[(ProducerId, u64)]) -> Vec<u8> {
        let mut data = vec![EntryKind::Expire as u8, VERSION];
        for (producer, last) in gone {
            data.extend_from_slice(&producer.0.to_le_bytes());
            data.extend_from_slice(&last.to_le_bytes());
        }
        data
    }

    /// The stored form of a command.
    #[must_use]
    pub fn encode_command(command: &[u8]) -> Vec<u8> {
        let mut data = Vec::with_capacity(2 + command.len());
        data.extend_from_slice(&[EntryKind::Command as u8, VERSION]);
        data.extend_from_slice(command);
        data
    }
}

fn read_pair(pair: &[u8; 16]) -> (ProducerId, u64) {
    let number = u128::from_le_bytes(*pair);
    (ProducerId(number as u64), (number >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Compression;
    use crate::batch::{BatchDraft, RecordTimes, TimestampType};
    use crate::time::Timestamp;
    use crate::vectors;

    #[test]
    fn the_stored_forms_of_version_1_stay() {
        let trim = Entry::encode_trim(Offset(0x0102_0304_0506_0708));
        let command = Entry::encode_command(b"\x01create");
        let expire = Entry::encode_expire(&[(ProducerId(0x0102), 0x0304), (ProducerId(5), 6)]);
        assert_eq!([trim, command, expire], *vectors::read("entry-v1.hex"));
    }

    #[test]
    fn an_entry_without_data_is_the_no_op_of_a_leader() {
        assert_eq!(Entry::decode(&Bytes::new()), Ok(Entry::Noop));
    }

    #[test]
    fn a_batch_is_an_entry() {
        let times = RecordTimes::default();
        let draft =
            BatchDraft::new(b"\x0a\0", 1, Compression::None, TimestampType::Append, times, None);
        let stored = Bytes::from(draft.seal(Offset(7), 1, 9, Timestamp(5)));
        let header = BatchHeader::read(&stored).unwrap();
        assert_eq!(Entry::decode(&stored), Ok(Entry::Batch(header)));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let decode = |data: &'static [u8]| Entry::decode(&Bytes::from_static(data)).unwrap_err();
        let unknown = |kind, version| EntryError::Unknown { kind, version };
        assert_eq!(decode(b"\x06\x01"), unknown(6, 1));
        assert_eq!(decode(b"\x02\x02"), unknown(2, 2));
        assert_eq!(decode(b"\x03"), unknown(3, 0));
        assert_eq!(decode(b"\x02\x01short"), EntryError::Short(7));
        assert!(matches!(decode(b"\x01\x01"), EntryError::Batch(_)));
        assert_eq!(decode(b"\x04\x01short"), EntryError::Short(7));
        assert_eq!(decode(b"\x05\x01short"), EntryError::Short(7));
        assert!(unknown(6, 1).to_string().ends_with("upgrade this broker"));
    }

    proptest! {
        #[test]
        fn trims_and_commands_round_trip(before: u64, command in vec(any::<u8>(), 0..50)) {
            let before = Offset(before);
            let trim = Entry::decode(&Entry::encode_trim(before).into());
            prop_assert_eq!(trim, Ok(Entry::Trim { before }));
            let stored = Entry::encode_command(&command).into();
            prop_assert_eq!(Entry::decode(&stored), Ok(Entry::Command(command.into())));
        }

        #[test]
        fn random_bytes_do_no_harm(kind in 0_u8..7, rest in vec(any::<u8>(), 0..100)) {
            let data = [&[kind], rest.as_slice()].concat();
            let _ = Entry::decode(&data.into());
        }
    }
}
