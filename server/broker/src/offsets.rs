//! Committed offsets: a part of the state of a coordinator group.
//!
//! An offset belongs to a topic's id, not to its name: a topic that is created again under an old
//! name has none.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_consensus::machine::Row;
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{Offset, PartitionId, Timestamp, TopicId, limits};

use crate::coordinator::CoordinatorError;

const VERSION: u8 = 1;
/// What the keys of the rows begin with.
pub(crate) const OFFSET_ROW: u8 = b'o';
/// Positions to keep, and what is kept beside each.
pub type Commit = (TopicId, PartitionId, Offset, String);

/// The position of a consumer group in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: Offset,
    /// What the consumer keeps beside it.
    pub metadata: String,
    /// When it was committed.
    pub time: Timestamp,
}

type Positions = BTreeMap<(TopicId, PartitionId), Committed>;

/// What a position takes in memory beside its group's name and its metadata.
const POSITION_BYTES: usize = 96;

/// The committed offsets of the consumer groups of one coordinator group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetState {
    groups: BTreeMap<String, Positions>,
    /// About what they take in memory.
    bytes: usize,
}

impl OffsetState {
    /// The committed offset of a consumer group in a partition.
    #[must_use]
    pub fn get(&self, group: &str, topic: TopicId, partition: PartitionId) -> Option<&Committed> {
        self.groups.get(group)?.get(&(topic, partition))
    }

    /// Every committed offset of a consumer group.
    pub fn of_group(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (TopicId, PartitionId, &Committed)> {
        let positions = self.groups.get(group).into_iter().flatten();
        positions.map(|((topic, partition), committed)| (*topic, *partition, committed))
    }

    /// The topics for which something is committed.
    #[must_use]
    pub fn topics(&self) -> BTreeSet<TopicId> {
        self.groups.values().flat_map(BTreeMap::keys).map(|(topic, _)| *topic).collect()
    }

    fn put(&mut self, group: &str, key: (TopicId, PartitionId), committed: Committed) {
        self.bytes += position_bytes(group, &committed.metadata);
        let positions = match self.groups.get_mut(group) {
            Some(positions) => positions,
            None => self.groups.entry(group.to_owned()).or_default(),
        };
        if let Some(replaced) = positions.insert(key, committed) {
            self.bytes -= position_bytes(group, &replaced.metadata);
        }
    }

    /// A consumer group keeps these positions, all together. Returns the rows that change.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        time: Timestamp,
        offsets: Vec<Commit>,
    ) -> Result<Vec<Row>, CoordinatorError> {
        let limit = limits::MAX_OFFSET_STATE_BYTES;
        let added: usize =
            offsets.iter().map(|(.., metadata)| position_bytes(group, metadata)).sum();
        let replaced = offsets.iter().filter_map(|(topic, id, ..)| self.get(group, *topic, *id));
        let replaced: usize = replaced.map(|old| position_bytes(group, &old.metadata)).sum();
        // What takes no more than before is kept also by a state that is full.
        if added > replaced && self.bytes + added - replaced > limit {
            return Err(CoordinatorError::TooMany { limit });
        }
        let mut rows = Vec::with_capacity(offsets.len());
        for (topic, partition, offset, metadata) in offsets {
            let committed = Committed { offset, metadata, time };
            let key = row_key(group, topic, partition);
            rows.push((key, Some(row_value(group, topic, partition, &committed))));
            self.put(group, (topic, partition), committed);
        }
        Ok(rows)
    }

    /// A topic is deleted: nothing committed for it is kept.
    pub(crate) fn forget(&mut self, gone: TopicId) -> Vec<Row> {
        let mut rows = Vec::new();
        for (group, positions) in &mut self.groups {
            positions.retain(|(topic, partition), committed| {
                if *topic == gone {
                    rows.push((row_key(group, *topic, *partition), None));
                    self.bytes -= position_bytes(group, &committed.metadata);
                }
                *topic != gone
            });
        }
        self.groups.retain(|_, positions| !positions.is_empty());
        rows
    }

    /// Removes positions of a consumer group.
    pub(crate) fn remove(
        &mut self,
        group: &str,
        is_gone: impl Fn(&(TopicId, PartitionId)) -> bool,
    ) -> Vec<Row> {
        let Some(positions) = self.groups.get_mut(group) else { return Vec::new() };
        let mut rows = Vec::new();
        positions.retain(|key, committed| {
            let goes = is_gone(key);
            if goes {
                rows.push((row_key(group, key.0, key.1), None));
                self.bytes -= position_bytes(group, &committed.metadata);
            }
            !goes
        });
        if positions.is_empty() {
            self.groups.remove(group);
        }
        rows
    }

    /// The names of the groups that have positions, from this one on.
    pub(crate) fn groups_from(&self, first: &str) -> impl Iterator<Item = &str> {
        use std::ops::Bound::{Included, Unbounded};
        let groups = self.groups.range::<str, _>((Included(first), Unbounded));
        groups.map(|(name, _)| name.as_str())
    }

    /// Takes a row up.
    pub(crate) fn restore(&mut self, value: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::versioned(value, VERSION, "committed offset")?;
        let group = reader.string()?;
        let (topic, partition, committed) = read_position(&mut reader)?;
        reader.finish()?;
        self.put(&group, (topic, partition), committed);
        Ok(())
    }
}

fn position_bytes(group: &str, metadata: &str) -> usize {
    group.len() + metadata.len() + POSITION_BYTES
}

/// A name may be long and hold any byte, so the key has it with its length in front.
pub(crate) fn row_key(group: &str, topic: TopicId, partition: PartitionId) -> Vec<u8> {
    let mut key = Writer::versioned(OFFSET_ROW);
    key.bytes(group.as_bytes()).raw(&topic.0).raw(&partition.0.to_be_bytes()).finish()
}

fn row_value(
    group: &str,
    topic: TopicId,
    partition: PartitionId,
    committed: &Committed,
) -> Vec<u8> {
    let mut value = Writer::versioned(VERSION);
    value.bytes(group.as_bytes());
    write_position(&mut value, topic, partition, committed);
    value.finish()
}

/// A position of a consumer group.
pub type Position = (TopicId, PartitionId, Committed);

/// Reads the positions that a coordinator group answered to a question.
pub fn decode_positions(bytes: &[u8]) -> Result<Vec<Position>, DecodeError> {
    let mut reader = Reader::versioned(bytes, VERSION, "committed offsets")?;
    let positions = (0..reader.u32()?).map(|_| read_position(&mut reader)).collect();
    reader.finish()?;
    positions
}

pub(crate) fn encode_positions<'a>(
    positions: impl Iterator<Item = (TopicId, PartitionId, &'a Committed)>,
) -> Vec<u8> {
    let (mut out, mut count) = (Writer::default(), 0);
    for (topic, partition, committed) in positions {
        write_position(&mut out, topic, partition, committed);
        count += 1;
    }
    let mut answer = Writer::versioned(VERSION).u32(count).finish();
    answer.extend(out.finish());
    answer
}

fn write_position(out: &mut Writer, topic: TopicId, partition: PartitionId, committed: &Committed) {
    out.raw(&topic.0).u32(partition.0).u64(committed.offset.0);
    out.bytes(committed.metadata.as_bytes()).i64(committed.time.0);
}

fn read_position(reader: &mut Reader<'_>) -> Result<Position, DecodeError> {
    let (topic, partition) = (TopicId(reader.array()?), PartitionId(reader.u32()?));
    let committed = Committed {
        offset: Offset(reader.u64()?),
        metadata: reader.string()?,
        time: Timestamp(reader.i64()?),
    };
    Ok((topic, partition, committed))
}
