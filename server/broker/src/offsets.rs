//! Committed offsets: the state machine of the coordinator groups.
//!
//! A consumer group lives in one of them, by the hash of its name. An offset belongs to a topic's
//! id, not to its name: a topic that is created again under an old name has none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use ropewalk_consensus::machine::{Applied, LaterVersion, Row, StateMachine};
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::partitioner::murmur2;
use ropewalk_core::{GroupId, Offset, PartitionId, Timestamp, TopicId, limits};
use thiserror::Error;

const VERSION: u8 = 1;
const WHAT: &str = "offset command";
/// The last kind of command. A new one needs a level, as those of the metadata do.
const LAST_KIND: u8 = 2;
const OFFSET_ROW: u8 = b'o';

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

/// A command to a coordinator group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffsetCommand {
    /// A consumer group keeps these positions, all together.
    Commit {
        /// The consumer group.
        group: String,
        /// The time of the proposer.
        time: Timestamp,
        /// The positions, and what is kept beside each.
        offsets: Vec<(TopicId, PartitionId, Offset, String)>,
    },
    /// A topic is deleted: nothing committed for it is kept.
    ForgetTopic(TopicId),
}

impl OffsetCommand {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::versioned(VERSION);
        match self {
            Self::Commit { group, time, offsets } => {
                out.u8(1).bytes(group.as_bytes()).i64(time.0);
                out.u32(
                    u32::try_from(offsets.len()).expect("limits bound the offsets of a commit"),
                );
                for (topic, partition, offset, metadata) in offsets {
                    out.raw(&topic.0).u32(partition.0).u64(offset.0).bytes(metadata.as_bytes());
                }
            }
            Self::ForgetTopic(topic) => {
                out.u8(2).raw(&topic.0);
            }
        }
        out.finish()
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::versioned(bytes, VERSION, WHAT)?;
        let command = match reader.u8()? {
            1 => {
                let (group, time) = (reader.string()?, Timestamp(reader.i64()?));
                let offsets = (0..reader.u32()?)
                    .map(|_| {
                        let topic = TopicId(reader.array()?);
                        let partition = PartitionId(reader.u32()?);
                        Ok((topic, partition, Offset(reader.u64()?), reader.string()?))
                    })
                    .collect::<Result<_, DecodeError>>()?;
                Self::Commit { group, time, offsets }
            }
            2 => Self::ForgetTopic(TopicId(reader.array()?)),
            _ => return Err(reader.error()),
        };
        reader.finish()?;
        Ok(command)
    }
}

type Positions = BTreeMap<(TopicId, PartitionId), Committed>;

/// What a position takes in memory beside its group's name and its metadata.
const POSITION_BYTES: usize = 96;

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OffsetError {
    /// The coordinator group would hold too much.
    #[error("the committed offsets of this broker would take more than {limit} bytes")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// The command is damaged, or of a later version than that of the broker that leads.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

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

    fn apply(&mut self, command: OffsetCommand) -> Result<Vec<Row>, OffsetError> {
        if let OffsetCommand::Commit { group, offsets, .. } = &command {
            let limit = limits::MAX_OFFSET_STATE_BYTES;
            let sizes = offsets.iter().map(|(.., metadata)| position_bytes(group, metadata));
            if self.bytes + sizes.sum::<usize>() > limit {
                return Err(OffsetError::TooMany { limit });
            }
        }
        Ok(self.carry_out(command))
    }

    fn carry_out(&mut self, command: OffsetCommand) -> Vec<Row> {
        match command {
            OffsetCommand::Commit { group, time, offsets } => {
                let mut rows = Vec::with_capacity(offsets.len());
                for (topic, partition, offset, metadata) in offsets {
                    let committed = Committed { offset, metadata, time };
                    rows.push((
                        row_key(&group, topic, partition),
                        Some(row_value(&group, topic, partition, &committed)),
                    ));
                    self.put(&group, (topic, partition), committed);
                }
                rows
            }
            OffsetCommand::ForgetTopic(gone) => {
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
        }
    }

    fn restore(&mut self, value: &[u8]) -> Result<(), DecodeError> {
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
fn row_key(group: &str, topic: TopicId, partition: PartitionId) -> Vec<u8> {
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

/// A state that its machine changes and others read.
#[derive(Clone, Debug, Default)]
pub struct SharedOffsets(Arc<Mutex<OffsetState>>);

impl SharedOffsets {
    /// The state of this moment.
    ///
    /// # Panics
    /// Never: nobody panics while holding it.
    pub fn lock(&self) -> MutexGuard<'_, OffsetState> {
        self.0.lock().expect("no holder of the committed offsets panics")
    }
}

/// The state machine of a coordinator group. Each command is answered with an [`OffsetAnswer`], and
/// each question, the name of a consumer group, with the positions of that group.
pub struct OffsetMachine(pub SharedOffsets);

/// What a command is answered with.
pub type OffsetAnswer = Result<(), OffsetError>;

/// A position of a consumer group.
pub type Position = (TopicId, PartitionId, Committed);

fn encode_answer(answer: &OffsetAnswer) -> Vec<u8> {
    let mut out = Writer::versioned(VERSION);
    match answer {
        Ok(()) => out.u8(0),
        Err(OffsetError::TooMany { limit }) => out.u8(1).u64(*limit as u64),
        Err(OffsetError::Malformed(_)) => out.u8(2),
    };
    out.finish()
}

/// Reads what a coordinator group answered to a command. Bytes that are no answer are an error: the
/// command may have been carried out.
pub fn decode_answer(bytes: &[u8]) -> Result<OffsetAnswer, DecodeError> {
    let mut reader = Reader::versioned(bytes, VERSION, "offset answer")?;
    let answer = match reader.u8()? {
        0 => Ok(()),
        1 => {
            let limit = usize::try_from(reader.u64()?).map_err(|_| reader.error())?;
            Err(OffsetError::TooMany { limit })
        }
        2 => Err(OffsetError::Malformed(DecodeError(WHAT))),
        _ => return Err(reader.error()),
    };
    reader.finish()?;
    Ok(answer)
}

/// Reads the positions that a coordinator group answered to a question.
pub fn decode_positions(bytes: &[u8]) -> Result<Vec<Position>, DecodeError> {
    let mut reader = Reader::versioned(bytes, VERSION, "committed offsets")?;
    let positions = (0..reader.u32()?).map(|_| read_position(&mut reader)).collect();
    reader.finish()?;
    positions
}

fn encode_positions<'a>(
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

impl StateMachine for OffsetMachine {
    fn restore(&mut self, _index: u64, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError> {
        let mut state = self.0.lock();
        *state = OffsetState::default();
        rows.iter().try_for_each(|(_, value)| state.restore(value))
    }

    fn apply(&mut self, _index: u64, command: &[u8]) -> Result<Applied, LaterVersion> {
        LaterVersion::check(WHAT, command, VERSION, LAST_KIND)?;
        let command = OffsetCommand::decode(command).map_err(OffsetError::from);
        let (answer, rows) = match command.and_then(|command| self.0.lock().apply(command)) {
            Ok(rows) => (Ok(()), rows),
            Err(error) => (Err(error), Vec::new()),
        };
        Ok(Applied { response: encode_answer(&answer), rows })
    }

    fn refusal(&self, command: &[u8]) -> Option<Vec<u8>> {
        let error = LaterVersion::check(WHAT, command, VERSION, LAST_KIND).err()?;
        Some(encode_answer(&Err(DecodeError(error.what).into())))
    }

    fn query(&self, question: &[u8]) -> Vec<u8> {
        let state = self.0.lock();
        // A group that is no name has no positions.
        encode_positions(state.of_group(std::str::from_utf8(question).unwrap_or_default()))
    }
}

/// The coordinator group of a consumer group: its place in [`GroupId::COORDINATORS`].
#[must_use]
pub fn coordinator_of(group: &str) -> usize {
    let hash = murmur2(group.as_bytes()).cast_unsigned() as usize;
    hash % GroupId::COORDINATORS.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId([7; 16]);

    fn commit(group: &str, offset: u64) -> OffsetCommand {
        OffsetCommand::Commit {
            group: group.to_owned(),
            time: Timestamp(1),
            offsets: vec![(TOPIC, PartitionId(3), Offset(offset), "note".to_owned())],
        }
    }

    #[test]
    fn a_commit_replaces_the_one_before_and_its_rows_restore_it() {
        let shared = SharedOffsets::default();
        let mut machine = OffsetMachine(shared.clone());
        let mut stored = BTreeMap::new();
        for command in [commit("a", 5), commit("b", 1), commit("a", 4)] {
            let applied = machine.apply(1, &command.encode()).unwrap();
            stored.extend(applied.rows.into_iter().map(|(key, value)| (key, value.unwrap())));
        }
        assert_eq!(shared.lock().get("a", TOPIC, PartitionId(3)).unwrap().offset, Offset(4));

        let restored = SharedOffsets::default();
        OffsetMachine(restored.clone()).restore(3, stored.into_iter().collect()).unwrap();
        assert_eq!(*restored.lock(), *shared.lock());
    }

    #[test]
    fn a_group_is_asked_for_its_positions_and_an_answer_goes_both_ways() {
        let mut machine = OffsetMachine(SharedOffsets::default());
        let answer = machine.apply(1, &commit("a", 5).encode()).unwrap().response;
        assert_eq!(decode_answer(&answer), Ok(Ok(())));
        let refused = machine.apply(2, b"\x01\x01no command").unwrap().response;
        assert!(matches!(decode_answer(&refused), Ok(Err(OffsetError::Malformed(_)))));
        for later in [b"\x01\x03", b"\x02\x01"] {
            assert!(machine.apply(3, later).is_err(), "it cannot be left out");
            let refused = machine.refusal(later).unwrap();
            assert!(matches!(decode_answer(&refused), Ok(Err(OffsetError::Malformed(_)))));
        }
        let full = encode_answer(&Err(OffsetError::TooMany { limit: 7 }));
        assert_eq!(decode_answer(&full), Ok(Err(OffsetError::TooMany { limit: 7 })));

        let positions = decode_positions(&machine.query(b"a")).unwrap();
        let committed =
            Committed { offset: Offset(5), metadata: "note".to_owned(), time: Timestamp(1) };
        assert_eq!(positions, [(TOPIC, PartitionId(3), committed)]);
        assert_eq!(decode_positions(&machine.query(b"b")), Ok(Vec::new()));
    }

    #[test]
    fn a_deleted_topic_is_forgotten_in_every_group() {
        let shared = SharedOffsets::default();
        let mut machine = OffsetMachine(shared.clone());
        machine.apply(1, &commit("a", 5).encode()).unwrap();
        let forget = OffsetCommand::ForgetTopic(TOPIC);
        assert_eq!(OffsetCommand::decode(&forget.encode()), Ok(forget.clone()));
        let applied = machine.apply(2, &forget.encode()).unwrap();
        assert_eq!(applied.rows, [(row_key("a", TOPIC, PartitionId(3)), None)]);
        assert_eq!(*shared.lock(), OffsetState::default());
    }

    /// The stored forms must stay readable for ever: new ones get a new version and a new file.
    #[test]
    fn stored_forms_are_those_of_the_golden_file() {
        use std::fmt::Write as _;
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mut text = String::new();
        let mut machine = OffsetMachine(SharedOffsets::default());
        for (name, command) in
            [("commit", commit("group", 5)), ("forget topic", OffsetCommand::ForgetTopic(TOPIC))]
        {
            assert_eq!(OffsetCommand::decode(&command.encode()).as_ref(), Ok(&command));
            writeln!(text, "command {name} = {}", hex(&command.encode())).unwrap();
            for (key, value) in machine.apply(1, &command.encode()).unwrap().rows {
                let value = value.map_or("deleted".to_owned(), |value| hex(&value));
                writeln!(text, "row {} = {value}", hex(&key)).unwrap();
            }
        }
        let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
        assert_eq!(text, std::fs::read_to_string(vectors.join("offsets-v1.txt")).unwrap());
    }
}
