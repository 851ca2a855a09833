//! Stored forms: those of the golden file, their size, and that answers travel.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use ropewalk_core::codec::DecodeError;
use ropewalk_core::{MemberId, Timestamp, limits};

use super::dice::runs;
use super::{GROUP, SECOND, World, listed, member_id, partition};
use crate::command::{COMMAND_VERSION, LAST_COMMAND_KIND};
use crate::error::{Fence, Fenced, InvalidPlan, TooMany};
use crate::{
    Action, Committer, GroupCommand, GroupError, GroupReply, Groups, Joined, MemberAssignment,
    MemberName, Patience, Selection, Strategy, answer,
};

/// Storage keeps rows of up to 4,000 bytes.
#[test]
fn the_rows_of_the_largest_group_stay_small() {
    let mut world = World::with("");
    world.topics.insert('a', limits::MAX_PARTITIONS_PER_TOPIC);
    let group = "g".repeat(limits::MAX_NAME_BYTES);
    let mut apply = |action: Action, time: i64| {
        world.index += 1;
        let time = Timestamp(time);
        let command = GroupCommand::Change { group: group.clone(), time, action };
        let applied = world.groups.apply(world.index, &command.encode());
        applied.answer.unwrap();
        for (key, value) in applied.rows {
            match value {
                Some(value) => world.rows.insert(key, value),
                None => world.rows.remove(&key),
            };
        }
    };
    let mut join = World::with("").joining(member_id('x'), "");
    join.resolution.topics = vec![(super::topic_id('a'), limits::MAX_PARTITIONS_PER_TOPIC)];
    for letter in ['x', 'y', 'z'] {
        join.member = member_id(letter);
        // One selection of each member is its own, and all are as long as they may be.
        let pattern = letter.to_string().repeat(limits::MAX_SUBSCRIPTION_BYTES - 1);
        join.selections = vec![Selection::Pattern(pattern), Selection::Name("a".to_owned())];
        let selected = join.selections.iter().cloned();
        join.resolution.selected = selected.map(|s| (s, vec![super::topic_id('a')])).collect();
        join.client_id = "c".repeat(limits::MAX_NAME_BYTES);
        apply(Action::Join(Box::new(join.clone())), 0);
    }
    // Everything that a partition can have: an owner, its deadline, and somebody else to come.
    let bytes = |(key, value): (&Vec<u8>, &Vec<u8>)| key.len() + value.len();
    let longest = world.rows.iter().map(bytes).max().unwrap();
    assert!((3_000..3_800).contains(&longest), "{longest}");
    assert!(world.rows.len() < 250, "{}", world.rows.len());
    let rows: Vec<_> = world.rows.clone().into_iter().collect();
    assert_eq!(Groups::restored(&rows).unwrap(), world.groups);

    // A partition that is given back changes its own row, and the head.
    let member = member_id('x');
    let partitions = listed("a9999");
    let release = Action::Release { releaser: Committer { member, generation: 9 }, partitions };
    let command = GroupCommand::Change { group, time: Timestamp(0), action: release };
    assert_eq!(world.groups.apply(world.index + 1, &command.encode()).rows.len(), 2);
}

#[test]
fn bytes_that_are_no_command_change_nothing() {
    let mut world = World::with("a1");
    world.join('x');
    let before = world.groups.clone();
    let cut = GroupCommand::Begin { time: Timestamp(1) }.encode();
    for damaged in [&[][..], &[9], &[1, 0], &[1, 2], &cut[..5]] {
        let applied = world.groups.apply(9, damaged);
        assert!(matches!(applied.answer, Err(GroupError::Malformed(_))));
        assert!(applied.rows.is_empty() && applied.changed.is_empty());
    }
    assert_eq!(world.groups, before);
}

#[test]
fn rows_that_are_not_whole_are_refused() {
    let mut world = World::with("a1");
    world.join('x');
    let rows: Vec<_> = world.rows.clone().into_iter().collect();
    let headless: Vec<_> = rows.iter().filter(|(key, _)| key[0] != b'G').cloned().collect();
    assert_eq!(headless.len(), rows.len() - 1);
    assert!(Groups::restored(&headless).is_err());
    for (at, (_, value)) in rows.iter().enumerate() {
        let mut cut = rows.clone();
        cut[at].1.truncate(value.len() - 1);
        assert!(Groups::restored(&cut).is_err(), "row {at}");
    }
    let foreign = vec![(b"x\0\0\0\0".to_vec(), vec![1])];
    assert!(!crate::is_group_row(&foreign[0].0) && Groups::restored(&foreign).is_err());
}

fn errors() -> Vec<GroupError> {
    let ((topic, at), member) = (partition("a3"), member_id('x'));
    let fenced = |fence| Fenced { fence, expected: 7, actual: 5 }.into();
    vec![
        fenced(Fence::NotAMember),
        fenced(Fence::InstanceTaken),
        fenced(Fence::NotTheOwner { topic, partition: at }),
        fenced(Fence::Outdated { topic, partition: at }),
        GroupError::NotEmpty { members: 2 },
        GroupError::NotFound,
        TooMany::Groups { limit: 1 }.into(),
        TooMany::Members { limit: 2 }.into(),
        TooMany::Partitions { limit: 3 }.into(),
        TooMany::Bytes { limit: 4 }.into(),
        GroupError::UnknownPlan { plan: 9 },
        InvalidPlan::NoMember { member }.into(),
        InvalidPlan::NoPartition { topic, partition: at }.into(),
        InvalidPlan::NotSubscribed { member, topic }.into(),
        InvalidPlan::Twice { topic, partition: at }.into(),
        InvalidPlan::LeftOut { topic, partition: at }.into(),
        GroupError::InvalidField {
            field: "host".to_owned(),
            expected: "short".to_owned(),
            actual: "long".to_owned(),
        },
        GroupError::Malformed(DecodeError("consumer group command")),
    ]
}

/// One of each, in an order in which each does something.
fn golden_actions(world: &World) -> Vec<(&'static str, i64, Action)> {
    let (x, y, z) = (member_id('x'), member_id('y'), member_id('z'));
    let mut dynamic = world.joining(x, "a b");
    dynamic.strategy = Some(Strategy::Sticky);
    dynamic.patience =
        Patience { grace: Duration::from_secs(7), drain: Duration::from_millis(1_500) };
    let mut planner = world.joining(y, "/ab");
    planner.instance = Some("pod-0".to_owned());
    planner.strategy = Some(Strategy::Client("own".to_owned()));
    let range = crate::Join { strategy: Some(Strategy::Range), ..world.joining(z, "a") };
    let releaser = Committer { member: y, generation: 6 };
    let assignments = vec![MemberAssignment { member: y, partitions: listed("a0 a1 b0") }];
    let grown = World::with("a3 b1").resolution([Selection::Name("a".to_owned())].iter());
    vec![
        ("join", 0, Action::Join(Box::new(dynamic))),
        ("leave", 0, Action::Leave { member: x, session: 1 }),
        ("join to plan", 0, Action::Join(Box::new(planner))),
        ("submit", 0, Action::Submit { member: y, plan: 3, assignments }),
        ("join for ranges", 0, Action::Join(Box::new(range))),
        ("expire", 5, Action::Expire),
        ("release", 6, Action::Release { releaser, partitions: listed("a1") }),
        ("resolve", 6, Action::Resolve(grown)),
        ("lose", 7, Action::Lose { member: z, session: 1 }),
    ]
}

/// The stored forms must stay readable for ever: new ones get a new version and a new file.
#[test]
fn stored_forms_are_those_of_the_golden_file() {
    let mut world = World::with("a2 b1");
    let mut text = String::new();
    let commands = golden_actions(&world).into_iter().map(|(name, seconds, action)| {
        let (group, time) = (GROUP.to_owned(), Timestamp(seconds * SECOND));
        (name, GroupCommand::Change { group, time, action })
    });
    let begin = ("begin", GroupCommand::Begin { time: Timestamp(8 * SECOND) });
    let delete = GroupCommand::Change {
        group: "gone".to_owned(),
        time: Timestamp(9 * SECOND),
        action: Action::Delete,
    };
    let remove = |named| {
        let (group, time) = (GROUP.to_owned(), Timestamp(10 * SECOND));
        GroupCommand::Change { group, time, action: Action::Remove(named) }
    };
    let last = [
        begin,
        ("delete", delete),
        ("remove an instance", remove(MemberName::Instance("pod-0".to_owned()))),
        ("remove", remove(MemberName::Id(member_id('z')))),
    ];
    for (name, command) in commands.chain(last) {
        let (answer, rows, _) = world.apply(&command);
        assert_eq!(answer.is_ok(), name != "delete", "{name}: {answer:?}");
        writeln!(text, "command {name} = {}", hex(&command.encode())).unwrap();
        for (key, value) in rows {
            let value = value.map_or("deleted".to_owned(), |value| hex(&value));
            writeln!(text, "row {} = {value}", hex(&key)).unwrap();
        }
    }
    let joined = Joined { member: member_id('x'), session: 2, generation: 9 };
    for reply in [GroupReply::Done, GroupReply::Joined(joined)] {
        writeln!(text, "answer {reply:?} = {}", hex(&answer::encode(&Ok(reply)))).unwrap();
    }
    for error in errors() {
        let encoded = answer::encode(&Err(error.clone()));
        assert_eq!(answer::decode(&encoded), Ok(Err(error.clone())));
        writeln!(text, "answer {error:?} = {}", hex(&encoded)).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/groups-v1.txt");
    assert_eq!(text, std::fs::read_to_string(file).unwrap());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each error says what to do next.
#[test]
fn no_error_leaves_its_reader_alone() {
    for error in errors().iter().filter(|error| !matches!(error, GroupError::Malformed(_))) {
        let text = error.to_string();
        assert!(text.contains(": ") || text.contains("must be") || text.contains(". "), "{text}");
    }
    assert_eq!(MemberId([0x61; 16]).to_string(), "61616161-6161-6161-6161-616161616161");
}

#[test]
fn bytes_from_elsewhere_do_no_harm() {
    runs(3_000, |dice| {
        let count = dice.below(80);
        let bytes = dice.bytes(count);
        let kind = u8::try_from(dice.below(LAST_COMMAND_KIND.into())).unwrap() + 1;
        for bytes in [bytes.clone(), [&[COMMAND_VERSION, kind], &bytes[..]].concat()] {
            if let Ok(command) = GroupCommand::decode(&bytes) {
                assert_eq!(command.encode(), bytes);
            }
        }
        for bytes in [bytes.clone(), [&[1, kind % 3], &bytes[..]].concat()] {
            if let Ok(answer) = answer::decode(&bytes) {
                let again = answer::decode(&answer::encode(&answer));
                assert_eq!(again, Ok(answer));
            }
        }
    });
}
