//! The state machine of the coordinator groups: committed offsets, and the ids of producers.
//!
//! A consumer group lives in one of them, by the hash of its name, and so does a producer with a
//! name.

use std::sync::{Arc, Mutex, MutexGuard};

use ropewalk_consensus::machine::{Applied, LaterVersion, Row, StateMachine};
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::partitioner::murmur2;
use ropewalk_core::{GroupId, Offset, PartitionId, ProducerId, Timestamp, TopicId};
use thiserror::Error;

use crate::offsets::{Commit, OFFSET_ROW, OffsetState, encode_positions};
use crate::producer_ids::{ProducerIdentity, ProducerIds};

const VERSION: u8 = 1;
const WHAT: &str = "coordinator command";
/// The last kind of command. A new one needs a level, as those of the metadata do.
const LAST_KIND: u8 = 3;

/// A command to a coordinator group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorCommand {
    /// A consumer group keeps these positions, all together.
    Commit {
        /// The consumer group.
        group: String,
        /// The time of the proposer.
        time: Timestamp,
        /// The positions, and what is kept beside each.
        offsets: Vec<Commit>,
    },
    /// A topic is deleted: nothing committed for it is kept.
    ForgetTopic(TopicId),
    /// A producer asks for an id and an epoch.
    InitProducer {
        /// Its name; empty for a producer that has none.
        name: String,
    },
}

impl CoordinatorCommand {
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
            Self::InitProducer { name } => {
                out.u8(3).bytes(name.as_bytes());
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
            3 => Self::InitProducer { name: reader.string()? },
            _ => return Err(reader.error()),
        };
        reader.finish()?;
        Ok(command)
    }
}

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CoordinatorError {
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

/// What a coordinator group keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoordinatorState {
    /// The committed offsets of its consumer groups.
    pub offsets: OffsetState,
    producers: ProducerIds,
}

/// A state that its machine changes and others read.
#[derive(Clone, Debug, Default)]
pub struct SharedState(Arc<Mutex<CoordinatorState>>);

impl SharedState {
    /// The state of this moment.
    ///
    /// # Panics
    /// Never: nobody panics while holding it.
    pub fn lock(&self) -> MutexGuard<'_, CoordinatorState> {
        self.0.lock().expect("no holder of a coordinator's state panics")
    }
}

/// The state machine of a coordinator group. Each command is answered with a [`CoordinatorAnswer`],
/// and each question, the name of a consumer group, with the positions of that group.
pub struct CoordinatorMachine {
    state: SharedState,
    /// The group's place among the coordinators.
    place: usize,
}

impl CoordinatorMachine {
    /// The machine of a group, over a state that others read.
    #[must_use]
    pub fn new(group: GroupId, state: SharedState) -> Self {
        let place = GroupId::COORDINATORS.iter().position(|id| *id == group).unwrap_or(0);
        Self { state, place }
    }

    fn carry_out(&self, index: u64, command: CoordinatorCommand) -> (CoordinatorAnswer, Vec<Row>) {
        let mut state = self.state.lock();
        match command {
            CoordinatorCommand::Commit { group, time, offsets } => {
                match state.offsets.commit(&group, time, offsets) {
                    Ok(rows) => (Ok(CoordinatorReply::Done), rows),
                    Err(error) => (Err(error), Vec::new()),
                }
            }
            CoordinatorCommand::ForgetTopic(topic) => {
                (Ok(CoordinatorReply::Done), state.offsets.forget(topic))
            }
            CoordinatorCommand::InitProducer { name } => {
                let (identity, rows) = state.producers.init(index, self.place, &name);
                (Ok(CoordinatorReply::Producer(identity)), rows)
            }
        }
    }
}

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoordinatorReply {
    /// It was carried out.
    Done,
    /// A producer got this.
    Producer(ProducerIdentity),
}

/// What a command is answered with.
pub type CoordinatorAnswer = Result<CoordinatorReply, CoordinatorError>;

fn encode_answer(answer: &CoordinatorAnswer) -> Vec<u8> {
    let mut out = Writer::versioned(VERSION);
    match answer {
        Ok(CoordinatorReply::Done) => out.u8(0),
        Err(CoordinatorError::TooMany { limit }) => out.u8(1).u64(*limit as u64),
        Err(CoordinatorError::Malformed(_)) => out.u8(2),
        Ok(CoordinatorReply::Producer(identity)) => {
            out.u8(3).u64(identity.id.0).u32(identity.epoch)
        }
    };
    out.finish()
}

/// Reads what a coordinator group answered to a command. Bytes that are no answer are an error: the
/// command may have been carried out.
pub fn decode_answer(bytes: &[u8]) -> Result<CoordinatorAnswer, DecodeError> {
    let mut reader = Reader::versioned(bytes, VERSION, "coordinator answer")?;
    let answer = match reader.u8()? {
        0 => Ok(CoordinatorReply::Done),
        1 => {
            let limit = usize::try_from(reader.u64()?).map_err(|_| reader.error())?;
            Err(CoordinatorError::TooMany { limit })
        }
        2 => Err(CoordinatorError::Malformed(DecodeError(WHAT))),
        3 => {
            let (id, epoch) = (ProducerId(reader.u64()?), reader.u32()?);
            Ok(CoordinatorReply::Producer(ProducerIdentity { id, epoch }))
        }
        _ => return Err(reader.error()),
    };
    reader.finish()?;
    Ok(answer)
}

impl StateMachine for CoordinatorMachine {
    fn restore(&mut self, _index: u64, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError> {
        let mut state = self.state.lock();
        *state = CoordinatorState::default();
        for (key, value) in &rows {
            if key.first() == Some(&OFFSET_ROW) {
                state.offsets.restore(value)?;
            } else if !state.producers.restore(key, value)? {
                return Err(DecodeError("coordinator row"));
            }
        }
        Ok(())
    }

    fn apply(&mut self, index: u64, command: &[u8]) -> Result<Applied, LaterVersion> {
        LaterVersion::check(WHAT, command, VERSION, LAST_KIND)?;
        let (answer, rows) = match CoordinatorCommand::decode(command) {
            Ok(command) => self.carry_out(index, command),
            Err(error) => (Err(error.into()), Vec::new()),
        };
        Ok(Applied { response: encode_answer(&answer), rows })
    }

    fn refusal(&self, command: &[u8]) -> Option<Vec<u8>> {
        let error = LaterVersion::check(WHAT, command, VERSION, LAST_KIND).err()?;
        Some(encode_answer(&Err(DecodeError(error.what).into())))
    }

    fn query(&self, question: &[u8]) -> Vec<u8> {
        let state = self.state.lock();
        // A group that is no name has no positions.
        let group = std::str::from_utf8(question).unwrap_or_default();
        encode_positions(state.offsets.of_group(group))
    }
}

/// The coordinator group of a consumer group, or of a producer with a name: its place in
/// [`GroupId::COORDINATORS`].
#[must_use]
pub fn coordinator_of(group: &str) -> usize {
    let hash = murmur2(group.as_bytes()).cast_unsigned() as usize;
    hash % GroupId::COORDINATORS.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ropewalk_core::sequence::EPOCHS_OF_A_HOLDER;

    use super::*;
    use crate::offsets::{Committed, decode_positions, row_key};

    fn machine_of(state: &SharedState) -> CoordinatorMachine {
        CoordinatorMachine::new(GroupId::COORDINATORS[3], state.clone())
    }

    const TOPIC: TopicId = TopicId([7; 16]);

    fn commit(group: &str, offset: u64) -> CoordinatorCommand {
        CoordinatorCommand::Commit {
            group: group.to_owned(),
            time: Timestamp(1),
            offsets: vec![(TOPIC, PartitionId(3), Offset(offset), "note".to_owned())],
        }
    }

    #[test]
    fn a_commit_replaces_the_one_before_and_its_rows_restore_it() {
        let shared = SharedState::default();
        let mut machine = machine_of(&shared);
        let mut stored = BTreeMap::new();
        for command in [commit("a", 5), commit("b", 1), commit("a", 4)] {
            let applied = machine.apply(1, &command.encode()).unwrap();
            stored.extend(applied.rows.into_iter().map(|(key, value)| (key, value.unwrap())));
        }
        let kept = shared.lock().offsets.get("a", TOPIC, PartitionId(3)).cloned();
        assert_eq!(kept.unwrap().offset, Offset(4));

        let restored = SharedState::default();
        machine_of(&restored).restore(3, stored.into_iter().collect()).unwrap();
        assert_eq!(*restored.lock(), *shared.lock());
    }

    #[test]
    fn a_group_is_asked_for_its_positions_and_an_answer_goes_both_ways() {
        let mut machine = machine_of(&SharedState::default());
        let answer = machine.apply(1, &commit("a", 5).encode()).unwrap().response;
        assert_eq!(decode_answer(&answer), Ok(Ok(CoordinatorReply::Done)));
        let refused = machine.apply(2, b"\x01\x01no command").unwrap().response;
        assert!(matches!(decode_answer(&refused), Ok(Err(CoordinatorError::Malformed(_)))));
        for later in [b"\x01\x04", b"\x02\x01"] {
            assert!(machine.apply(3, later).is_err(), "it cannot be left out");
            let refused = machine.refusal(later).unwrap();
            assert!(matches!(decode_answer(&refused), Ok(Err(CoordinatorError::Malformed(_)))));
        }
        let full = encode_answer(&Err(CoordinatorError::TooMany { limit: 7 }));
        assert_eq!(decode_answer(&full), Ok(Err(CoordinatorError::TooMany { limit: 7 })));

        let positions = decode_positions(&machine.query(b"a")).unwrap();
        let committed =
            Committed { offset: Offset(5), metadata: "note".to_owned(), time: Timestamp(1) };
        assert_eq!(positions, [(TOPIC, PartitionId(3), committed)]);
        assert_eq!(decode_positions(&machine.query(b"b")), Ok(Vec::new()));
    }

    #[test]
    fn a_producer_gets_its_id_and_a_restart_does_not_change_that() {
        let init = |machine: &mut CoordinatorMachine, index| {
            let command = CoordinatorCommand::InitProducer { name: "p".to_owned() };
            let applied = machine.apply(index, &command.encode()).unwrap();
            (decode_answer(&applied.response).unwrap().unwrap(), applied.rows)
        };
        let producer =
            |epoch| CoordinatorReply::Producer(ProducerIdentity { id: ProducerId(19), epoch });
        let (first, rows) = init(&mut machine_of(&SharedState::default()), 1);
        assert_eq!(first, producer(0));
        let mut restarted = machine_of(&SharedState::default());
        let rows = rows.into_iter().map(|(key, value)| (key, value.unwrap()));
        restarted.restore(1, rows.collect()).unwrap();
        assert_eq!(init(&mut restarted, 2).0, producer(EPOCHS_OF_A_HOLDER));
    }

    #[test]
    fn a_deleted_topic_is_forgotten_in_every_group() {
        let shared = SharedState::default();
        let mut machine = machine_of(&shared);
        machine.apply(1, &commit("a", 5).encode()).unwrap();
        let forget = CoordinatorCommand::ForgetTopic(TOPIC);
        assert_eq!(CoordinatorCommand::decode(&forget.encode()), Ok(forget.clone()));
        let applied = machine.apply(2, &forget.encode()).unwrap();
        assert_eq!(applied.rows, [(row_key("a", TOPIC, PartitionId(3)), None)]);
        assert_eq!(*shared.lock(), CoordinatorState::default());
    }

    /// The stored forms must stay readable for ever: new ones get a new version and a new file.
    #[test]
    fn stored_forms_are_those_of_the_golden_file() {
        use std::fmt::Write as _;
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mut text = String::new();
        let mut machine = machine_of(&SharedState::default());
        let init = CoordinatorCommand::InitProducer { name: "name".to_owned() };
        for (name, command) in [
            ("commit", commit("group", 5)),
            ("forget topic", CoordinatorCommand::ForgetTopic(TOPIC)),
            ("init producer", init),
        ] {
            assert_eq!(CoordinatorCommand::decode(&command.encode()).as_ref(), Ok(&command));
            writeln!(text, "command {name} = {}", hex(&command.encode())).unwrap();
            for (key, value) in machine.apply(1, &command.encode()).unwrap().rows {
                let value = value.map_or("deleted".to_owned(), |value| hex(&value));
                writeln!(text, "row {} = {value}", hex(&key)).unwrap();
            }
        }
        let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
        assert_eq!(text, std::fs::read_to_string(vectors.join("coordinator-v1.txt")).unwrap());
    }
}
