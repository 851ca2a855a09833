//! The pure state of the metadata group: what each command does, and the rows that keep it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_consensus::machine::Row;
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{GroupId, Timestamp, TopicId, limits};
use thiserror::Error;

use crate::command::{MetadataCommand, read_broker, write_broker};
use crate::metadata::{Metadata, Topic};
use crate::settings::{OutOfRange, TopicSettings, TopicUpdate};

const ROW_VERSION: u8 = 1;
const BROKER_ROW: u8 = b'b';
const TOPIC_ROW: u8 = b't';
const NEXT_GROUP_ROW: u8 = b'g';
/// The most runs of group ids of a topic: its row must fit a small value of storage.
const MAX_RANGES: usize = 256;

/// Why a command changed nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MetadataError {
    /// The name is taken.
    #[error("topic `{0}` exists already")]
    TopicExists(String),
    /// There is no such topic, or no longer.
    #[error("the topic does not exist")]
    TopicNotFound,
    /// Partitions only grow.
    #[error("the topic has {current} partitions and cannot have fewer")]
    PartitionsShrink {
        /// How many there are.
        current: u32,
    },
    /// The broker would hold too many partitions.
    #[error("the cluster would have more than {limit} partitions")]
    TooManyPartitions {
        /// The bound.
        limit: usize,
    },
    /// Partitions were added to the topic too often.
    #[error("partitions were added to the topic in {limit} steps: add many at a time")]
    TooManyExtensions {
        /// The bound.
        limit: usize,
    },
    /// A setting would be outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The command is damaged, or of a newer version.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// What a command is answered with: the topic as it is now, or was, if the command is about one.
pub type MetadataAnswer = Result<Option<Arc<Topic>>, MetadataError>;

/// The state.
#[derive(Clone, Debug)]
pub struct MetadataState {
    metadata: Metadata,
    names: BTreeMap<TopicId, String>,
    next_group: GroupId,
}

impl Default for MetadataState {
    fn default() -> Self {
        Self {
            metadata: Metadata::default(),
            names: BTreeMap::new(),
            next_group: GroupId::FIRST_PARTITION,
        }
    }
}

impl MetadataState {
    /// The picture of it that others see.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Takes the rows of storage.
    pub fn restore(&mut self, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError> {
        for (key, value) in rows {
            let mut reader = Reader::versioned(&value, ROW_VERSION, "metadata row")?;
            match key.first() {
                Some(&BROKER_ROW) => {
                    let broker = read_broker(&mut reader)?;
                    self.metadata.brokers.insert(broker.id, Arc::new(broker));
                }
                Some(&TOPIC_ROW) => self.put(read_topic(&mut reader)?),
                Some(&NEXT_GROUP_ROW) => self.next_group = GroupId(reader.u64()?),
                _ => return Err(reader.error()),
            }
            reader.finish()?;
        }
        Ok(())
    }

    /// Applies a command. A command that is refused changes nothing.
    pub fn apply(&mut self, index: u64, command: &[u8]) -> (MetadataAnswer, Vec<Row>) {
        self.metadata.index = index;
        let mut rows = Vec::new();
        let answer = MetadataCommand::decode(command)
            .map_err(MetadataError::from)
            .and_then(|command| self.carry_out(command, &mut rows));
        (answer, rows)
    }

    fn carry_out(&mut self, command: MetadataCommand, rows: &mut Vec<Row>) -> MetadataAnswer {
        match command {
            MetadataCommand::RegisterBroker(broker) => {
                let mut value = Writer::versioned(ROW_VERSION);
                write_broker(&mut value, &broker);
                rows.push((row_key(BROKER_ROW, &broker.id.0.to_be_bytes()), Some(value.finish())));
                self.metadata.brokers.insert(broker.id, Arc::new(broker));
                Ok(None)
            }
            MetadataCommand::CreateTopic { id, name, partition_count, settings, created } => {
                if self.metadata.topics.contains_key(&name) {
                    return Err(MetadataError::TopicExists(name));
                }
                settings.validate()?;
                let partitions = self.new_groups(partition_count, rows)?;
                self.store(Topic { id, name, partitions, settings, created }, rows)
            }
            MetadataCommand::UpdateTopic { id, update } => self.update(id, update, rows),
            MetadataCommand::DeleteTopic { id } => {
                let name = self.names.remove(&id).ok_or(MetadataError::TopicNotFound)?;
                rows.push((row_key(TOPIC_ROW, &id.0), None));
                Ok(self.metadata.topics.remove(&name))
            }
        }
    }

    fn update(&mut self, id: TopicId, update: TopicUpdate, rows: &mut Vec<Row>) -> MetadataAnswer {
        let name = self.names.get(&id).ok_or(MetadataError::TopicNotFound)?;
        let current = self.metadata.topics.get(name).ok_or(MetadataError::TopicNotFound)?;
        let mut topic = Topic::clone(current);
        topic.settings = update.apply_to(topic.settings);
        topic.settings.validate()?;
        if let Some(count) = update.partition_count {
            let current = topic.partition_count();
            let added =
                count.checked_sub(current).ok_or(MetadataError::PartitionsShrink { current })?;
            let limit = MAX_RANGES;
            if ranges(&topic.partitions).len() >= limit && added > 0 {
                return Err(MetadataError::TooManyExtensions { limit });
            }
            topic.partitions.extend(self.new_groups(added, rows)?);
        }
        self.store(topic, rows)
    }

    fn new_groups(
        &mut self,
        count: u32,
        rows: &mut Vec<Row>,
    ) -> Result<Vec<GroupId>, MetadataError> {
        let limit = limits::MAX_PARTITIONS_PER_BROKER;
        if self.metadata.partition_count() + count as usize > limit {
            return Err(MetadataError::TooManyPartitions { limit });
        }
        let first = self.next_group.0;
        let end = first + u64::from(count);
        self.next_group = GroupId(end);
        let value = Writer::versioned(ROW_VERSION).u64(end).finish();
        rows.push((row_key(NEXT_GROUP_ROW, &[]), Some(value)));
        Ok((first..end).map(GroupId).collect())
    }

    fn store(&mut self, topic: Topic, rows: &mut Vec<Row>) -> MetadataAnswer {
        rows.push((row_key(TOPIC_ROW, &topic.id.0), Some(topic_row(&topic))));
        let name = topic.name.clone();
        self.put(topic);
        Ok(self.metadata.topics.get(&name).cloned())
    }

    fn put(&mut self, topic: Topic) {
        self.names.insert(topic.id, topic.name.clone());
        self.metadata.topics.insert(topic.name.clone(), Arc::new(topic));
    }
}

fn row_key(kind: u8, id: &[u8]) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(id);
    key
}

/// Groups are given out in a row: runs of them, with their lengths.
fn ranges(groups: &[GroupId]) -> Vec<(GroupId, u32)> {
    let mut ranges: Vec<(GroupId, u32)> = Vec::new();
    for group in groups {
        match ranges.last_mut() {
            Some((first, count)) if first.0 + u64::from(*count) == group.0 => *count += 1,
            _ => ranges.push((*group, 1)),
        }
    }
    ranges
}

fn topic_row(topic: &Topic) -> Vec<u8> {
    let mut out = Writer::versioned(ROW_VERSION);
    out.raw(&topic.id.0).bytes(topic.name.as_bytes()).i64(topic.created.0);
    topic.settings.write(&mut out);
    let ranges = ranges(&topic.partitions);
    out.u32(u32::try_from(ranges.len()).expect("the ranges of a topic are bounded"));
    for (first, count) in ranges {
        out.u64(first.0).u32(count);
    }
    out.finish()
}

fn read_topic(reader: &mut Reader<'_>) -> Result<Topic, DecodeError> {
    let id = TopicId(reader.array()?);
    let name = reader.string()?;
    let created = Timestamp(reader.i64()?);
    let settings = TopicSettings::read(reader)?;
    let mut partitions = Vec::new();
    for _ in 0..reader.u32()? {
        let (first, count) = (reader.u64()?, reader.u32()?);
        if count > limits::MAX_PARTITIONS_PER_TOPIC {
            return Err(reader.error());
        }
        partitions.extend((first..first.saturating_add(count.into())).map(GroupId));
    }
    Ok(Topic { id, name, partitions, settings, created })
}
