//! The metadata as a pure state: scripts, stored forms, and that rows restore what commands made.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use ropewalk_core::{GroupId, NodeId, Timestamp, TimestampType, TopicId};

use crate::state::MetadataState;
use crate::{
    BrokerInfo, MetadataAnswer, MetadataCommand, MetadataError, TopicSettings, TopicUpdate,
};

/// A state, and what storage would hold of it.
#[derive(Default)]
struct Kept {
    state: MetadataState,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    index: u64,
}

impl Kept {
    fn apply(&mut self, command: &MetadataCommand) -> MetadataAnswer {
        self.index += 1;
        let (answer, rows) = self.state.apply(self.index, &command.encode());
        for (key, value) in rows {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        answer
    }

    fn restored(&self) -> MetadataState {
        let mut state = MetadataState::default();
        state.restore(self.rows.clone().into_iter().collect()).unwrap();
        state
    }
}

fn create(id: u8, name: &str, partition_count: u32) -> MetadataCommand {
    MetadataCommand::CreateTopic {
        id: TopicId([id; 16]),
        name: name.to_owned(),
        partition_count,
        settings: TopicSettings::default(),
        created: Timestamp(1_700_000_000_000_000_000),
    }
}

fn update(id: u8, update: TopicUpdate) -> MetadataCommand {
    MetadataCommand::UpdateTopic { id: TopicId([id; 16]), update }
}

fn delete(id: u8) -> MetadataCommand {
    MetadataCommand::DeleteTopic { id: TopicId([id; 16]) }
}

#[test]
fn a_topic_created_again_under_its_name_is_another() {
    let mut kept = Kept::default();
    let first = kept.apply(&create(1, "logs", 2)).unwrap().unwrap();
    assert_eq!(first.partitions, [GroupId(0x100), GroupId(0x101)]);
    let taken = MetadataError::TopicExists("logs".to_owned());
    assert_eq!(kept.apply(&create(2, "logs", 1)), Err(taken));
    kept.apply(&delete(1)).unwrap();
    assert_eq!(kept.apply(&delete(1)), Err(MetadataError::TopicNotFound));
    let again = kept.apply(&create(3, "logs", 1)).unwrap().unwrap();
    assert_eq!(again.partitions, [GroupId(0x102)], "no replica group is used again");
    assert_eq!(kept.restored().metadata().topics, kept.state.metadata().topics);
}

#[test]
fn an_update_changes_what_it_names_and_partitions_only_grow() {
    let mut kept = Kept::default();
    kept.apply(&create(1, "logs", 2)).unwrap();
    let forever = TopicUpdate { retention: Some(None), ..TopicUpdate::default() };
    let topic = kept.apply(&update(1, forever)).unwrap().unwrap();
    assert_eq!(topic.settings, TopicSettings { retention: None, ..TopicSettings::default() });
    let count = |count| TopicUpdate { partition_count: Some(count), ..TopicUpdate::default() };
    assert_eq!(kept.apply(&update(1, count(3))).unwrap().unwrap().partitions.len(), 3);
    let shrunk = MetadataError::PartitionsShrink { current: 3 };
    assert_eq!(kept.apply(&update(1, count(2))), Err(shrunk));
    let small = TopicUpdate { segment_bytes: Some(1), ..TopicUpdate::default() };
    assert!(matches!(kept.apply(&update(1, small)), Err(MetadataError::OutOfRange(_))));
    assert_eq!(kept.restored().metadata().topics, kept.state.metadata().topics);
}

/// Storage keeps small values only, and a topic is one row.
#[test]
fn the_row_of_the_largest_topic_stays_small() {
    let mut kept = Kept::default();
    kept.apply(&create(1, &"n".repeat(249), 9_000)).unwrap();
    let longest = |kept: &Kept| kept.rows.values().map(Vec::len).max().unwrap();
    assert!(longest(&kept) < 500, "{}", longest(&kept));
    let count = |count| TopicUpdate { partition_count: Some(count), ..TopicUpdate::default() };
    let mut refused = None;
    for step in 1..300 {
        // Groups of another topic come between.
        kept.apply(&create(2, "other", 1)).unwrap();
        kept.apply(&delete(2)).unwrap();
        if let Err(error) = kept.apply(&update(1, count(9_000 + step))) {
            refused = Some(error);
        }
    }
    assert_eq!(refused, Some(MetadataError::TooManyExtensions { limit: 256 }));
    assert!(longest(&kept) < 3_600, "{}", longest(&kept));
    assert_eq!(kept.restored().metadata().topics, kept.state.metadata().topics);
}

#[test]
fn bytes_that_are_no_command_change_nothing() {
    let mut kept = Kept::default();
    kept.apply(&create(1, "logs", 1)).unwrap();
    let before = kept.state.metadata().topics.clone();
    for damaged in [&[][..], &[9], &[1, 99], &create(2, "x", 1).encode()[..20]] {
        let (answer, rows) = kept.state.apply(9, damaged);
        assert!(matches!(answer, Err(MetadataError::Malformed(_))) && rows.is_empty());
    }
    assert_eq!(kept.state.metadata().topics, before);
}

fn all_settings() -> TopicUpdate {
    TopicUpdate {
        partition_count: Some(4),
        retention: Some(Some(Duration::new(3, 5))),
        retention_bytes: Some(Some(1 << 40)),
        segment_bytes: Some(1 << 20),
        segment_age: Some(Duration::from_secs(60)),
        max_record_bytes: Some(1000),
        timestamp_type: Some(TimestampType::Append),
    }
}

/// The stored forms must stay readable for ever: new ones get a new version and a new file.
#[test]
fn stored_forms_are_those_of_the_golden_file() {
    let mut kept = Kept::default();
    let broker = BrokerInfo {
        id: NodeId(7),
        address: "host:9092".to_owned(),
        version: "1.2.3".to_owned(),
        started: Timestamp(5),
    };
    let mut text = String::new();
    for (name, command) in [
        ("register broker", MetadataCommand::RegisterBroker(broker)),
        ("create topic", create(1, "logs", 2)),
        ("update topic", update(1, all_settings())),
        ("update nothing", update(1, TopicUpdate::default())),
        ("create another", create(2, "x", 1)),
        ("delete topic", delete(2)),
    ] {
        kept.apply(&command).unwrap();
        let encoded = command.encode();
        assert_eq!(MetadataCommand::decode(&encoded).unwrap(), command);
        writeln!(text, "command {name} = {}", hex(&encoded)).unwrap();
    }
    for (key, value) in &kept.rows {
        writeln!(text, "row {} = {}", hex(key), hex(value)).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/metadata-v1.txt");
    assert_eq!(text, std::fs::read_to_string(file).unwrap());
    assert_eq!(kept.restored().metadata().topics, kept.state.metadata().topics);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn command() -> impl Strategy<Value = MetadataCommand> {
    let id = 0..6u8;
    prop_oneof![
        (id.clone(), "[a-c]", 1..4u32).prop_map(|(id, name, count)| create(id, &name, count)),
        (id.clone(), 1..6u32).prop_map(|(id, count)| {
            update(id, TopicUpdate { partition_count: Some(count), ..all_settings() })
        }),
        id.prop_map(delete),
    ]
}

proptest! {
    #[test]
    fn rows_restore_what_commands_made(commands in prop::collection::vec(command(), 0..40)) {
        let mut kept = Kept::default();
        let mut known = std::collections::BTreeSet::new();
        for command in commands {
            // A proposer chooses ids at random: none occurs twice.
            if let MetadataCommand::CreateTopic { id, .. } = &command
                && !known.insert(*id)
            {
                continue;
            }
            let _ = kept.apply(&command);
        }
        let restored = kept.restored();
        prop_assert_eq!(&restored.metadata().topics, &kept.state.metadata().topics);
        let mut groups: Vec<_> =
            restored.metadata().topics.values().flat_map(|t| t.partitions.clone()).collect();
        let count = groups.len();
        groups.sort();
        groups.dedup();
        prop_assert_eq!(groups.len(), count, "a replica group belongs to one partition");
    }
}
