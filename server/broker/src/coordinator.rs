//! The state machine of the coordinator groups: consumer groups with their committed offsets, and
//! the ids of producers.
//!
//! A consumer group lives in one of them, by the hash of its name, and so does a producer with a
//! name.

mod answer;
mod command;
mod questions;
mod shared;

use std::collections::BTreeSet;

use ropewalk_consensus::machine::{Applied, LaterVersion, Row, StateMachine};
use ropewalk_consensus::planted::Plant;
use ropewalk_core::GroupId;
use ropewalk_core::codec::DecodeError;
use ropewalk_core::partitioner::murmur2;
use ropewalk_groups::{
    Action, Changed, GroupCommand, GroupError, GroupReply, Groups, is_group_row,
};

use crate::offsets::{OFFSET_ROW, OffsetState, encode_positions};
use crate::producer_ids::ProducerIds;

pub use answer::{CoordinatorAnswer, CoordinatorError, CoordinatorReply, decode_answer};
pub(crate) use command::set_time;
pub use command::{CoordinatorCommand, UNTIMED};
pub use questions::{ListedGroup, OpenStream};
pub(crate) use questions::{PAGE, Question, Seen, decode_list, decode_sight};
pub(crate) use shared::{Known, Watched};
pub use shared::{SharedState, Sight};

use answer::encode_answer;
use command::check_version;

/// What a coordinator group keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoordinatorState {
    /// The committed offsets of its consumer groups.
    pub offsets: OffsetState,
    /// The members of its consumer groups.
    pub groups: Groups,
    producers: ProducerIds,
}

/// What a command did, beside its answer.
#[derive(Default)]
struct Effects {
    rows: Vec<Row>,
    changed: Vec<Changed>,
    /// The consumer group that has committed.
    committed: Option<String>,
}

impl CoordinatorState {
    fn carry_out(
        &mut self,
        index: u64,
        place: usize,
        command: CoordinatorCommand,
        effects: &mut Effects,
    ) -> CoordinatorAnswer {
        match command {
            CoordinatorCommand::Commit { group, time, offsets } => {
                let partitions = offsets.iter().map(|(topic, id, ..)| (*topic, *id));
                self.groups.check_commit(&group, None, partitions)?;
                effects.rows = self.offsets.commit(&group, time, offsets)?;
                effects.committed = Some(group);
            }
            CoordinatorCommand::ForgetTopic(topic) => effects.rows = self.offsets.forget(topic),
            CoordinatorCommand::InitProducer { name } => {
                let (identity, rows) = self.producers.init(index, place, &name);
                effects.rows = rows;
                return Ok(CoordinatorReply::Producer(identity));
            }
            CoordinatorCommand::Group(command) => {
                let reply = self.change_groups(index, command, effects)?;
                return Ok(CoordinatorReply::Group { index, reply });
            }
            CoordinatorCommand::MemberCommit { group, committer, time, offsets, released } => {
                let partitions = offsets.iter().map(|(topic, id, ..)| (*topic, *id));
                if !Plant::StaleCommits.is_planted() {
                    self.groups.check_commit(&group, Some(committer), partitions)?;
                }
                effects.rows = self.offsets.commit(&group, time, offsets)?;
                effects.committed = Some(group.clone());
                if Plant::ForgetCommits.is_planted() {
                    effects.rows.clear();
                }
                if !released.is_empty() {
                    let action = Action::Release { releaser: committer, partitions: released };
                    let release = GroupCommand::Change { group, time, action };
                    self.change_groups(index, release, effects)?;
                }
            }
            CoordinatorCommand::DeleteGroup { group, time } => {
                let has_offsets = self.offsets.of_group(&group).next().is_some();
                if self.groups.get(&group).is_some() {
                    let change =
                        GroupCommand::Change { group: group.clone(), time, action: Action::Delete };
                    self.change_groups(index, change, effects)?;
                } else if !has_offsets {
                    return Err(GroupError::NotFound.into());
                }
                effects.rows.extend(self.offsets.remove(&group, |_| true));
            }
            CoordinatorCommand::DeleteOffsets { group, partitions } => {
                self.groups.check_commit(&group, None, [])?;
                let gone: BTreeSet<_> = partitions.into_iter().collect();
                effects.rows = self.offsets.remove(&group, |partition| gone.contains(partition));
            }
        }
        Ok(CoordinatorReply::Done)
    }

    fn change_groups(
        &mut self,
        index: u64,
        command: GroupCommand,
        effects: &mut Effects,
    ) -> Result<GroupReply, GroupError> {
        let applied = self.groups.carry_out(index, command);
        effects.rows.extend(applied.rows);
        effects.changed.extend(applied.changed);
        applied.answer
    }

    /// The consumer groups from this name on, also those that have positions alone.
    fn list(&self, first: &str) -> Vec<ListedGroup> {
        let groups = self.groups.from_name(first).map(|(name, _)| name);
        let names: BTreeSet<_> = groups.take(PAGE).collect();
        let with_offsets = self.offsets.groups_from(first).take(PAGE);
        let names: BTreeSet<_> = names.into_iter().chain(with_offsets).collect();
        let listed = names.into_iter().take(PAGE);
        listed.map(|name| ListedGroup::of(name, self.groups.get(name))).collect()
    }
}

/// The state machine of a coordinator group. Each command is answered with a
/// [`CoordinatorAnswer`]; what it can be asked stands in `questions`.
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
}

impl StateMachine for CoordinatorMachine {
    fn restore(&mut self, index: u64, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError> {
        let mut state = self.state.lock();
        *state = CoordinatorState::default();
        let (groups, others): (Vec<_>, _) =
            rows.into_iter().partition(|(key, _)| is_group_row(key));
        state.groups = Groups::restored(&groups)?;
        for (key, value) in &others {
            if key.first() == Some(&OFFSET_ROW) {
                state.offsets.restore(value)?;
            } else if !state.producers.restore(key, value)? {
                return Err(DecodeError("coordinator row"));
            }
        }
        self.state.restored(&state, index);
        Ok(())
    }

    fn apply(&mut self, index: u64, command: &[u8]) -> Result<Applied, LaterVersion> {
        check_version(command)?;
        let mut state = self.state.lock();
        let mut effects = Effects::default();
        let answer = match CoordinatorCommand::decode(command) {
            Ok(command) => state.carry_out(index, self.place, command, &mut effects),
            Err(error) => Err(error.into()),
        };
        self.state.applied(index, effects.changed, effects.committed.as_deref());
        Ok(Applied { response: encode_answer(&answer), rows: effects.rows })
    }

    fn refusal(&self, command: &[u8]) -> Option<Vec<u8>> {
        let error = check_version(command).err()?;
        Some(encode_answer(&Err(DecodeError(error.what).into())))
    }

    fn query(&self, question: &[u8]) -> Vec<u8> {
        let state = self.state.lock();
        match Question::decode(question) {
            Ok(Question::Positions(group)) => encode_positions(state.offsets.of_group(&group)),
            Ok(Question::Group(group, known)) => {
                let (sight, commits) = self.state.sight(&state, &group);
                questions::encode_sight(&group, &sight, commits, known)
            }
            Ok(Question::Open(streams)) => {
                self.state.hear(&state, streams);
                Vec::new()
            }
            Ok(Question::List(first)) => questions::encode_list(&state.list(&first)),
            // Of a later version: no answer is one, and whoever asks looks for another broker.
            Err(_) => Vec::new(),
        }
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
    use ropewalk_core::{MemberId, Offset, PartitionId, ProducerId, Timestamp, TopicId};
    use ropewalk_groups::{Committer, Join, Patience, Resolution, Selection};

    use super::*;
    use crate::offsets::{Committed, decode_positions, row_key};
    use crate::producer_ids::ProducerIdentity;

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
        for later in [&b"\x01\x08"[..], b"\x02\x01", b"\x01\x04\x01\x7f"] {
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

    fn apply(
        machine: &mut CoordinatorMachine,
        index: u64,
        command: &CoordinatorCommand,
    ) -> CoordinatorAnswer {
        decode_answer(&machine.apply(index, &command.encode()).unwrap().response).unwrap()
    }

    /// A member that reads partition 3 of the topic, and all others.
    fn join(member: MemberId) -> CoordinatorCommand {
        let selection = Selection::Name("t".to_owned());
        let selected = vec![(selection.clone(), vec![TOPIC])];
        let resolution = Resolution { as_of: 1, topics: vec![(TOPIC, 4)], selected };
        let join = Join {
            member,
            is_new: true,
            stream: 1,
            is_again: false,
            instance: None,
            client_id: String::new(),
            host: String::new(),
            selections: vec![selection],
            resolution,
            strategy: None,
            patience: Patience::default(),
        };
        let action = Action::Join(Box::new(join));
        let time = Timestamp(1);
        CoordinatorCommand::Group(GroupCommand::Change { group: "a".to_owned(), time, action })
    }

    #[test]
    fn a_commit_is_checked_where_it_is_kept() {
        let shared = SharedState::default();
        let mut machine = machine_of(&shared);
        let member = MemberId([1; 16]);
        let mut watch = shared.watch("a");
        let Ok(CoordinatorReply::Group { index: 5, reply: GroupReply::Joined(joined) }) =
            apply(&mut machine, 5, &join(member))
        else {
            panic!("it joins")
        };
        assert_eq!(watch.borrow_and_update().index, 5);
        let of_member = |member, generation, group: &str| CoordinatorCommand::MemberCommit {
            group: group.to_owned(),
            committer: Committer { member, generation },
            time: Timestamp(1),
            offsets: vec![(TOPIC, PartitionId(3), Offset(7), String::new())],
            released: Vec::new(),
        };
        let generation = joined.generation;
        assert_eq!(
            apply(&mut machine, 6, &of_member(member, generation, "a")),
            Ok(CoordinatorReply::Done)
        );
        for refused in [
            of_member(member, generation - 1, "a"),
            of_member(MemberId([2; 16]), generation, "a"),
            of_member(member, generation, "b"),
            commit("a", 1),
            CoordinatorCommand::DeleteGroup { group: "a".to_owned(), time: Timestamp(2) },
        ] {
            let answer = apply(&mut machine, 7, &refused);
            assert!(matches!(answer, Err(CoordinatorError::Group(_))), "{refused:?}: {answer:?}");
        }
        let kept = shared.lock().offsets.get("a", TOPIC, PartitionId(3)).cloned();
        assert_eq!(kept.unwrap().offset, Offset(7));
        // What it is to another broker is what it is here.
        let ask = |machine: &CoordinatorMachine, known| {
            let question = Question::Group("a".to_owned(), known).encode();
            decode_sight("a", &machine.query(&question)).unwrap()
        };
        let Seen { sight: Some(sight), commits: 6, .. } = ask(&machine, None) else {
            panic!("it is told whole, and of the commit")
        };
        assert_eq!((sight.index, &sight.group), (5, &watch.borrow().group));
        // Who knows it already is told no more than that.
        let known = |sight| Some(Known { sight, commits: None });
        assert!(ask(&machine, known(5)).sight.is_none());
        assert!(ask(&machine, known(4)).sight.is_some());
        let listed = decode_list(&machine.query(&Question::List(String::new()).encode())).unwrap();
        assert_eq!((listed.len(), listed[0].members), (1, 1));
    }

    #[test]
    fn a_group_that_nobody_watches_any_more_is_forgotten() {
        let shared = SharedState::default();
        let mut machine = machine_of(&shared);
        let mut kept = shared.watch("a");
        let mut commits = shared.watch_commits("b");
        for number in 0..10_000 {
            drop(shared.watch(&number.to_string()));
        }
        assert!(shared.watched_groups() < 200, "{}", shared.watched_groups());
        apply(&mut machine, 5, &join(MemberId([1; 16]))).unwrap();
        assert!(kept.has_changed().unwrap() && kept.borrow_and_update().group.is_some());
        apply(&mut machine, 6, &commit("b", 1)).unwrap();
        assert!(commits.has_changed().unwrap() && *commits.borrow_and_update() == 6);
        assert!(!kept.has_changed().unwrap(), "it was another group's");
    }

    #[test]
    fn commits_that_take_no_more_room_are_kept_also_when_there_is_none() {
        let shared = SharedState::default();
        let mut machine = machine_of(&shared);
        let mut index = 0;
        let mut keep = |partition: u32, metadata: usize| {
            index += 1;
            let offsets = vec![(TOPIC, PartitionId(partition), Offset(1), "m".repeat(metadata))];
            let (group, time) = ("g".to_owned(), Timestamp(1));
            apply(&mut machine, index, &CoordinatorCommand::Commit { group, time, offsets })
        };
        let full = (0..).find_map(|partition| keep(partition, 1_000_000).err().map(|_| partition));
        let last = full.unwrap() - 1;
        assert_eq!(keep(last, 1_000_000), Ok(CoordinatorReply::Done), "the same again");
        assert_eq!(keep(last, 10), Ok(CoordinatorReply::Done), "less");
        assert!(keep(last, 3_000_000).is_err());
    }

    #[test]
    fn only_streams_of_members_are_heard_of() {
        let shared = SharedState::default();
        let mut machine = machine_of(&shared);
        apply(&mut machine, 5, &join(MemberId([1; 16]))).unwrap();
        let stream = |group: &str, member, session| OpenStream {
            group: group.to_owned(),
            member: MemberId([member; 16]),
            session,
        };
        let open = vec![stream("a", 1, 1), stream("a", 1, 2), stream("a", 2, 1), stream("b", 1, 1)];
        machine.query(&Question::Open(open).encode());
        let heard = shared.take_heard();
        assert_eq!(
            heard.into_iter().collect::<Vec<_>>(),
            [(("a".to_owned(), MemberId([1; 16])), 1)]
        );
        assert!(shared.take_heard().is_empty());
    }

    /// The stored forms must stay readable for ever: new ones get a new version and a new file.
    #[test]
    fn stored_forms_are_those_of_the_golden_file() {
        use std::fmt::Write as _;
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mut text = String::new();
        let mut machine = machine_of(&SharedState::default());
        let (group, time) = ("group".to_owned(), Timestamp(1));
        let (committer, partitions) = (
            Committer { member: MemberId([0x22; 16]), generation: 9 },
            vec![(TOPIC, PartitionId(3))],
        );
        let CoordinatorCommand::Commit { offsets, .. } = commit("group", 5) else { panic!() };
        let expire = GroupCommand::Change { group: group.clone(), time, action: Action::Expire };
        let of_member = CoordinatorCommand::MemberCommit {
            group: group.clone(),
            committer,
            time,
            offsets,
            released: partitions.clone(),
        };
        let init = CoordinatorCommand::InitProducer { name: "name".to_owned() };
        for (name, command) in [
            ("commit", commit("group", 5)),
            ("forget topic", CoordinatorCommand::ForgetTopic(TOPIC)),
            ("init producer", init),
            // What the first of these do to rows, `groups` has golden files of.
            ("group", CoordinatorCommand::Group(expire)),
            ("member commit", of_member),
            ("delete group", CoordinatorCommand::DeleteGroup { group: group.clone(), time }),
            ("delete offsets", CoordinatorCommand::DeleteOffsets { group, partitions }),
        ] {
            assert_eq!(CoordinatorCommand::decode(&command.encode()).as_ref(), Ok(&command));
            // Whoever leads gives it its time, and changes nothing else.
            let mut timed = command.encode();
            set_time(&mut timed, Timestamp(2));
            let later = format!("{command:?}").replace("time: Timestamp(1)", "time: Timestamp(2)");
            assert_eq!(format!("{:?}", CoordinatorCommand::decode(&timed).unwrap()), later);
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
