//! Stored forms: those of the golden file, their size, and that answers travel.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_consensus::machine::StateMachine;
use ropewalk_core::codec::DecodeError;
use ropewalk_core::{Compression, GroupId, NodeId, PartitionId, TimestampType};

use super::{
    Cluster, create, create_with, delete, drain, form, partition_count, reassign, register,
    register_in, register_with, registration, remove, replica, replication_factor, update,
};
use crate::answer::{decode, decode_applied, decode_index, encode};
use crate::settings::OutOfRange;
use crate::{
    BrokerRegistration, Cleanup, CleanupPolicy, Gone, MetadataAnswer, MetadataCommand,
    MetadataError, MetadataMachine, TopicSettings, TopicUpdate,
};

/// Storage keeps values of up to 4,000 bytes.
#[test]
fn the_rows_of_the_largest_topic_stay_small() {
    let mut cluster = Cluster::of(5);
    cluster.apply(&create_with(1, &"n".repeat(249), 9_000, Some(5))).unwrap();
    // Founders that differ from the replicas take room of their own.
    for id in 1..=5 {
        cluster.apply(&register_with([0xd0 + u8::try_from(id).unwrap(); 16], id)).unwrap();
    }
    let mut steps = 0;
    for count in (9_100..=10_000).step_by(100) {
        // Groups of another topic come between.
        cluster.apply(&create(2, "other", 1)).unwrap();
        cluster.apply(&delete(2)).unwrap();
        cluster.apply(&update(1, partition_count(count))).unwrap();
        steps += 1;
    }
    assert_eq!(steps, 10);
    let bytes = |(key, value): (&Vec<u8>, &Vec<u8>)| key.len() + value.len();
    let longest = cluster.rows.iter().map(bytes).max().unwrap();
    assert!(longest < 3_000, "{longest}");
    let count = cluster.rows.len();
    assert!(count < 2_500, "{count}");
    assert_eq!(cluster.restored(), cluster.state);

    // A partition that moves changes its own row, and the topic's.
    let command = reassign(1, 5_000, &[5, 4, 3, 2, 1]).encode();
    let (_, rows) = cluster.state.apply(cluster.index + 1, &command);
    assert_eq!(rows.len(), 2);
    let more = cluster.apply(&update(1, partition_count(10_001))).unwrap_err();
    assert_eq!(more.to_string(), "`partition_count` must be 1 to 10000, not 10001");
}

#[test]
fn bytes_that_are_no_command_change_nothing() {
    let mut cluster = Cluster::of(1);
    cluster.apply(&create(1, "logs", 1)).unwrap();
    let before = cluster.metadata().topics.clone();
    let cut = create(2, "x", 1).encode();
    for damaged in [&[][..], &[9], &[2, 0], &[1, 4], &cut[..20]] {
        let (answer, rows) = cluster.state.apply(9, damaged);
        assert!(matches!(answer, Err(MetadataError::Malformed(_))) && rows.is_empty());
    }
    assert_eq!(cluster.metadata().topics, before);
}

/// The state stays as it was, and the broker ends: its next version goes on from there.
#[test]
fn a_command_of_a_later_version_is_not_taken_for_damage() {
    let (mut machine, watch) = MetadataMachine::new();
    for (index, command) in (6..).zip([form(1), register(1)]) {
        assert_eq!(machine.refusal(&command.encode()), None);
        machine.apply(index, &command.encode()).unwrap();
    }
    for later in [&[2, 99, 1][..], &[3, 1, 1]] {
        let error = machine.apply(8, later).err().unwrap().to_string();
        assert!(error.contains("metadata command") && error.contains("upgrade"), "{error}");
        let answer = decode_applied(&machine.refusal(later).unwrap());
        assert!(matches!(answer, Ok((0, Err(MetadataError::Malformed(_))))), "{answer:?}");
    }
    assert_eq!(watch.borrow().index, 7);
}

/// What a broker of the first level says of itself is what one says that knows of no levels.
#[test]
fn a_level_above_the_first_stands_behind_all_that_was_there_before() {
    let rows = |registration: BrokerRegistration| {
        let mut cluster = Cluster::of(1);
        let command = MetadataCommand::RegisterBroker(registration);
        cluster.apply(&command).unwrap();
        assert_eq!(cluster.restored(), cluster.state);
        let row = cluster.rows.iter().find(|(key, _)| key[0] == b'b').unwrap().1.clone();
        let encoded = command.encode();
        assert_eq!(MetadataCommand::decode(&encoded), Ok(command));
        [encoded, row]
    };
    let first = rows(registration(1));
    let later = rows(BrokerRegistration { level: 0x0102, ..registration(1) });
    for (first, later) in first.into_iter().zip(later) {
        assert_eq!(later, [&first[..], &[2, 1, 0, 0]].concat());
    }
}

#[test]
fn rows_that_are_not_whole_are_refused_and_leave_the_state_as_it_was() {
    let mut cluster = Cluster::of(1);
    cluster.apply(&create(1, "logs", 40)).unwrap();
    let (partitions, topic): (Vec<_>, Vec<_>) =
        cluster.rows.clone().into_iter().partition(|(key, _)| key[0] == b'p');
    assert_eq!(partitions.len(), 2);
    let before = cluster.state.clone();
    assert!(cluster.state.restore(9, topic).is_err());
    assert!(cluster.state.restore(9, partitions).is_err());
    assert_eq!(cluster.state, before);
}

/// What a snapshot holds replaces everything, and is seen by all who look.
#[test]
fn a_machine_that_is_restored_publishes_what_it_became() {
    let (mut machine, watch) = MetadataMachine::new();
    for (index, command) in (6..).zip([form(1), register(1), create(1, "old", 1)]) {
        machine.apply(index, &command.encode()).unwrap();
    }
    assert_eq!(watch.borrow().index, 8);
    let mut other = Cluster::of(1);
    other.apply(&create(1, "new", 1)).unwrap();
    machine.restore(70, other.rows.into_iter().collect()).unwrap();
    let metadata = Arc::clone(&watch.borrow());
    assert_eq!(metadata.index, 70);
    assert!(metadata.topics.keys().eq(["new"]));
    let answer = machine.apply(71, &create(2, "new", 1).encode()).unwrap().response;
    let taken = MetadataError::TopicExists("new".to_owned());
    assert_eq!(decode_applied(&answer), Ok((71, Err(taken))));
    assert_eq!(decode_index(&machine.query(b"")), Ok(71));
}

fn errors() -> Vec<MetadataError> {
    use MetadataError as E;
    let (topic, broker, partition) = ("logs".to_owned(), NodeId(7), PartitionId(3));
    vec![
        E::TopicExists(topic.clone()),
        E::TopicNotFound,
        E::PartitionsShrink { current: 5 },
        E::TooManyPartitions { limit: 6 },
        E::TooManyReplicas { broker, limit: 8 },
        E::TooFewBrokers { replication_factor: 3, brokers: 2 },
        E::PartitionNotFound { topic: topic.clone(), partition },
        E::InvalidReplicas { topic: topic.clone(), partition, problem: "why".to_owned() },
        E::BrokerNotFound(broker),
        E::BrokerRemoved(broker),
        E::DirectoryTaken(broker),
        E::LastBroker(broker),
        E::BrokerNeeded { broker, brokers: 2, topic, replication_factor: 3 },
        E::TooManyBrokers { limit: 9 },
        E::NotFormed,
        E::Exhausted,
        E::OutOfRange(OutOfRange {
            setting: "retention".to_owned(),
            expected: "at least 1 s".to_owned(),
            actual: "0 s".to_owned(),
        }),
        E::Malformed(DecodeError("metadata command")),
        E::LevelTooLow { broker: 4, cluster: 5 },
        E::NotUpgraded { needed: 7, cluster: 6 },
        E::ReplicaNeeded(replica(2, 7)),
    ]
}

#[test]
fn answers_travel_to_proposers_on_other_brokers() {
    let mut cluster = Cluster::of(3);
    let mut answers: Vec<MetadataAnswer> = errors().into_iter().map(Err).collect();
    answers.push(cluster.apply(&create(1, "logs", 100)));
    answers.push(cluster.apply(&register_in("a", 4)));
    answers.push(cluster.apply(&form(1)));
    for answer in &answers {
        let bytes = encode(answer);
        assert_eq!(decode(&bytes).as_ref(), Ok(answer));
        assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_err()));
    }
}

fn all_settings() -> TopicUpdate {
    TopicUpdate {
        partition_count: Some(4),
        replication_factor: Some(3),
        retention: Some(Some(Duration::new(3, 5))),
        retention_bytes: Some(Some(1 << 40)),
        segment_bytes: Some(1 << 20),
        segment_age: Some(Duration::from_secs(60)),
        max_record_bytes: Some(1000),
        timestamp_type: Some(TimestampType::Append),
        ..TopicUpdate::default()
    }
}

/// Those of the cleanup came later: what says nothing of it is as it was, for brokers that do not
/// know it.
#[test]
fn the_cleanup_of_a_topic_has_a_level_and_forms_of_its_own() {
    let mut cluster = Cluster::of(1);
    let MetadataCommand::CreateTopic { id, name, created, settings, .. } = create(1, "logs", 1)
    else {
        panic!("it creates a topic")
    };
    let cleanup = Cleanup {
        policy: CleanupPolicy::CompactAndDelete,
        delete_retention: Duration::new(3, 5),
        record_ttl: Some(Duration::from_secs(7)),
    };
    let settings = TopicSettings { cleanup, ..settings };
    let (partition_count, replication_factor) = (1, Some(1));
    let created = MetadataCommand::CreateTopic {
        id,
        name,
        partition_count,
        replication_factor,
        settings,
        created,
    };
    let updated = update(
        1,
        TopicUpdate {
            cleanup_policy: Some(CleanupPolicy::Compact),
            delete_retention: Some(Duration::from_secs(9)),
            record_ttl: Some(None),
            ..TopicUpdate::default()
        },
    );
    let plain = update(1, all_settings());
    assert_eq!([&created, &updated, &plain].map(MetadataCommand::level), [3, 3, 1]);
    let mut text = String::new();
    for (name, command) in [("create topic", created), ("update topic", updated)] {
        cluster.apply(&command).unwrap();
        assert_eq!(MetadataCommand::decode(&command.encode()), Ok(command.clone()));
        writeln!(text, "command {name} = {}", hex(&command.encode())).unwrap();
        let row = cluster.rows.iter().find(|(key, _)| key[0] == b't').unwrap().1;
        writeln!(text, "row after {name} = {}", hex(row)).unwrap();
        assert_eq!(cluster.restored(), cluster.state);
    }
    let topic = &cluster.metadata().topics["logs"];
    let delete_retention = Duration::from_secs(9);
    let policy = CleanupPolicy::Compact;
    assert_eq!(topic.settings.cleanup, Cleanup { policy, delete_retention, record_ttl: None });
    let back =
        TopicUpdate { cleanup_policy: Some(CleanupPolicy::Delete), ..TopicUpdate::default() };
    cluster.apply(&update(1, back)).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/cleanup-v2.txt");
    assert_eq!(text, std::fs::read_to_string(file).unwrap());
}

/// The codec came along with the cleanup, and is the last of all settings.
#[test]
fn the_codec_of_a_topic_stands_behind_what_was_there_before() {
    let mut cluster = Cluster::of(1);
    let MetadataCommand::CreateTopic { id, name, created, settings, .. } = create(1, "logs", 1)
    else {
        panic!("it creates a topic")
    };
    let settings = TopicSettings { compression: Compression::Zstd, ..settings };
    let (partition_count, replication_factor) = (1, Some(1));
    let created = MetadataCommand::CreateTopic {
        id,
        name,
        partition_count,
        replication_factor,
        settings,
        created,
    };
    let to = |codec| TopicUpdate { compression: Some(codec), ..TopicUpdate::default() };
    let both = TopicUpdate { cleanup_policy: Some(CleanupPolicy::Compact), ..to(Compression::Lz4) };
    let producers = update(1, to(Compression::None));
    assert_eq!([&created, &producers].map(MetadataCommand::level), [3, 3]);
    let mut text = String::new();
    for (name, command, codec) in [
        ("create topic", created, Compression::Zstd),
        ("update cleanup and codec", update(1, both), Compression::Lz4),
        ("leave it to producers", producers, Compression::None),
    ] {
        cluster.apply(&command).unwrap();
        assert_eq!(MetadataCommand::decode(&command.encode()), Ok(command.clone()));
        assert_eq!(cluster.metadata().topics["logs"].settings.compression, codec);
        writeln!(text, "command {name} = {}", hex(&command.encode())).unwrap();
        let row = cluster.rows.iter().find(|(key, _)| key[0] == b't').unwrap().1;
        writeln!(text, "row after {name} = {}", hex(row)).unwrap();
        assert_eq!(cluster.restored(), cluster.state);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/codec-v2.txt");
    assert_eq!(text, std::fs::read_to_string(file).unwrap());
}

fn golden_commands() -> Vec<(&'static str, MetadataCommand)> {
    vec![
        ("form", form(2)),
        ("register founder", register(1)),
        ("register in a rack", register_in("a", 3)),
        ("register another", register(4)),
        ("create topic", create_with(1, "logs", 2, Some(1))),
        ("update topic", update(1, all_settings())),
        ("update nothing", update(1, TopicUpdate::default())),
        ("create another", create(2, "x", 1)),
        ("reassign", reassign(2, 0, &[4, 1, 3])),
        ("delete topic", delete(2)),
        ("register a wiped one", register_with([0xd3; 16], 3)),
        ("drain", drain(4, true)),
        ("end the drain", drain(4, false)),
        ("register one more", register(5)),
        ("remove", remove(5)),
        ("one replica less", update(1, replication_factor(1))),
        (
            "replace one that is gone",
            MetadataCommand::ReplaceReplica { group: GroupId(9_999), replica: replica(2, 7) },
        ),
        (
            "replace a voter that is gone",
            MetadataCommand::ReplaceVoter {
                group: GroupId(9_999),
                replica: replica(2, 7),
                voters: vec![replica(1, 0), replica(2, 7)],
            },
        ),
        (
            "forget one that is not there",
            MetadataCommand::ForgetReplicas {
                gone: vec![Gone { group: GroupId(9_999), replica: replica(2, 7), since: 8 }],
            },
        ),
    ]
}

/// The stored forms must stay readable for ever: new ones get a new version and a new file.
#[test]
fn stored_forms_are_those_of_the_golden_file() {
    let mut cluster = Cluster::default();
    let mut text = String::new();
    for (name, command) in golden_commands() {
        let answer = cluster.apply(&command);
        assert!(answer.is_ok(), "{name}: {answer:?}");
        let encoded = command.encode();
        assert_eq!(MetadataCommand::decode(&encoded).unwrap(), command);
        writeln!(text, "command {name} = {}", hex(&encoded)).unwrap();
    }
    for (key, value) in &cluster.rows {
        writeln!(text, "row {} = {}", hex(key), hex(value)).unwrap();
    }
    for error in errors() {
        writeln!(text, "answer {error:?} = {}", hex(&encode(&Err(error.clone())))).unwrap();
    }
    let reply = cluster.apply(&register(1));
    writeln!(text, "answer broker = {}", hex(&encode(&reply))).unwrap();
    let reply = cluster.apply(&update(1, TopicUpdate::default()));
    writeln!(text, "answer topic = {}", hex(&encode(&reply))).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/metadata-v2.txt");
    assert_eq!(text, std::fs::read_to_string(file).unwrap());
    assert_eq!(cluster.restored(), cluster.state);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
