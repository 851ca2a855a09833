//! What holds after any sequence of commands.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ropewalk_core::{GroupId, NodeId, ReplicaId, TopicId};

use super::{Cluster, create_with, delete, drain, form, reassign, registration, remove, update};
use crate::former::Worth;
use crate::{BrokerRegistration, Metadata, MetadataCommand, Topic, TopicUpdate};

const BROKERS: u64 = 7;

fn register() -> impl Strategy<Value = MetadataCommand> {
    let rack = prop_oneof![Just(None), "[ab]".prop_map(Some)];
    // A broker has its first disk mostly, and sometimes another.
    let disk = prop_oneof![4 => Just(0u8), 1 => 1..4u8];
    let level = prop_oneof![Just(2), 1..=3u32];
    (1..=BROKERS, disk, rack, level).prop_map(|(id, disk, rack, level)| {
        let id_byte = u8::try_from(id).unwrap();
        let directory = [id_byte | disk << 4; 16];
        let registration = BrokerRegistration { directory, rack, level, ..registration(id) };
        MetadataCommand::RegisterBroker(registration)
    })
}

fn command() -> impl Strategy<Value = MetadataCommand> {
    let id = 0..6u8;
    let broker = 1..=BROKERS;
    let factor = prop_oneof![Just(None), prop::sample::select(vec![1, 2, 3, 5]).prop_map(Some)];
    let count = prop::option::of(1..9u32);
    let brokers = prop::sample::subsequence((1..=BROKERS).collect::<Vec<_>>(), 1..=5);
    prop_oneof![
        4 => register(),
        3 => (any::<u8>(), "[a-d]", 1..6u32, factor.clone())
            .prop_map(|(id, name, count, factor)| create_with(id, &name, count, factor)),
        2 => (id.clone(), count, factor).prop_map(|(id, partition_count, replication_factor)| {
            let change =
                TopicUpdate { partition_count, replication_factor, ..TopicUpdate::default() };
            update(id, change)
        }),
        1 => id.clone().prop_map(delete),
        2 => (broker.clone(), any::<bool>()).prop_map(|(id, draining)| drain(id, draining)),
        2 => broker.prop_map(remove),
        3 => (id, 0..4u32, brokers.prop_shuffle())
            .prop_map(|(id, partition, brokers)| reassign(id, partition, &brokers)),
        1 => (1..=5u64).prop_map(form),
        2 => Just(MetadataCommand::ForgetReplicas { gone: Vec::new() }),
    ]
}

/// Who is or may become a member of each group, and who was one.
#[derive(Default)]
struct History(BTreeMap<GroupId, (BTreeSet<ReplicaId>, BTreeSet<ReplicaId>)>);

impl History {
    /// A replica that was lost or forgotten never comes back: what it said must not count for
    /// another, which has nothing of what it had.
    fn note(&mut self, metadata: &Metadata) {
        for (group, _) in metadata.groups() {
            let desired = metadata.desired(group).unwrap();
            let mut members: BTreeSet<_> =
                desired.voters.into_iter().chain(desired.learners).collect();
            let former = metadata.former.all().iter();
            let leaving =
                former.filter(|((of, _), former)| *of == group && former.worth == Worth::Whole);
            members.extend(leaving.map(|((_, replica), _)| *replica));
            let (current, gone) = self.0.entry(group).or_default();
            assert!(gone.is_disjoint(&members), "{group}: {members:?} after {gone:?}");
            gone.extend(current.difference(&members));
            *current = members;
        }
    }
}

fn check_groups(metadata: &Metadata) {
    let known =
        |id: &NodeId| metadata.brokers.contains_key(id) || metadata.awaited.contains_key(id);
    for (group, replicas) in metadata.groups() {
        let nodes: BTreeSet<_> = replicas.iter().map(|replica| replica.node()).collect();
        assert_eq!(nodes.len(), replicas.len(), "{group} has two replicas on a broker");
        assert!(nodes.iter().all(known), "{group} is on a broker that is not there");
        let wanted = match metadata.partition(group) {
            Some((topic, _)) => topic.replication_factor as usize,
            None => {
                let members = metadata.brokers.len() + metadata.awaited.len();
                let most = if group == GroupId::METADATA { 5 } else { 3 };
                (1..=most).rev().find(|n| n % 2 == 1 && *n <= members.max(1)).unwrap()
            }
        };
        assert_eq!(replicas.len(), wanted, "{group}");
    }
    for topic in metadata.topics.values() {
        for (partition, group) in topic.groups() {
            let (found, id) = metadata.partition(group).expect("every partition is found");
            assert_eq!((found.id, id), (topic.id, partition));
        }
    }
    if metadata.cluster_id.is_some() {
        let members = metadata.desired(GroupId::METADATA).unwrap();
        let members: BTreeSet<_> =
            members.voters.iter().chain(&members.learners).map(|replica| replica.node()).collect();
        assert!(members.len() == metadata.brokers.len() + metadata.awaited.len());
    }
}

/// A topic that was just created is spread as well as can be.
fn check_spread(metadata: &Metadata, topic: &Topic) {
    let wanted = topic.replication_factor as usize;
    let staying = || metadata.brokers.values().filter(|broker| !broker.is_draining);
    if staying().count() < wanted {
        return;
    }
    let racks: BTreeSet<_> = staying().map(|broker| broker.rack.clone()).collect();
    let mut loads: BTreeMap<_, (usize, usize)> =
        staying().map(|broker| (broker.id, (0, 0))).collect();
    for partition in &topic.partitions {
        let mut used = BTreeSet::new();
        for (at, replica) in partition.replicas.iter().enumerate() {
            used.insert(metadata.brokers[&replica.node()].rack.clone());
            let load = loads.get_mut(&replica.node()).expect("none is on a draining broker");
            load.0 += 1;
            load.1 += usize::from(at == 0);
        }
        assert_eq!(used.len(), wanted.min(racks.len()), "racks of {partition:?}");
    }
    let spread = |loads: Vec<usize>| loads.iter().max().unwrap() - loads.iter().min().unwrap();
    if racks.len() == 1 {
        assert!(spread(loads.values().map(|load| load.0).collect()) <= 1, "replicas: {loads:?}");
        // A leader is chosen from the replicas of one partition after the other.
        assert!(spread(loads.values().map(|load| load.1).collect()) <= 2, "leaders: {loads:?}");
    }
}

/// Proposers choose ids of topics at random: here they count, so that none occurs twice.
fn with_own_id(command: MetadataCommand, next: &mut u8) -> MetadataCommand {
    let MetadataCommand::CreateTopic {
        name,
        partition_count,
        replication_factor,
        settings,
        created,
        ..
    } = command
    else {
        return command;
    };
    let id = TopicId([*next; 16]);
    *next += 1;
    MetadataCommand::CreateTopic {
        id,
        name,
        partition_count,
        replication_factor,
        settings,
        created,
    }
}

/// The oldest group that is to do without somebody counts none of them any more.
fn with_the_gone(command: MetadataCommand, metadata: &Metadata) -> MetadataCommand {
    if !matches!(command, MetadataCommand::ForgetReplicas { .. }) {
        return command;
    }
    let group = metadata.former.all().keys().next().map(|(group, _)| *group);
    let gone = group.map(|group| metadata.gone(group, &[])).unwrap_or_default();
    MetadataCommand::ForgetReplicas { gone }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_commands_leave_a_sound_cluster(commands in prop::collection::vec(command(), 0..60)) {
        let mut cluster = Cluster::default();
        cluster.apply(&form(3)).unwrap();
        let (mut history, mut next_topic) = (History::default(), 0);
        for command in commands {
            let command = with_own_id(command, &mut next_topic);
            let command = with_the_gone(command, cluster.metadata());
            let mut twin = cluster.clone();
            let level = cluster.metadata().level();
            let answer = cluster.apply(&command);
            prop_assert_eq!(&twin.apply(&command), &answer, "the same command does the same");
            prop_assert!(twin.state == cluster.state && twin.rows == cluster.rows);
            prop_assert!(cluster.metadata().level() >= level, "what may be written stays known");
            check_groups(cluster.metadata());
            history.note(cluster.metadata());
            if let (MetadataCommand::CreateTopic { .. }, Ok(reply)) = (&command, &answer) {
                check_spread(cluster.metadata(), reply.topic.as_ref().unwrap());
            }
            prop_assert_eq!(&cluster.restored(), &cluster.state, "rows are the state");
        }
    }

    #[test]
    fn bytes_from_elsewhere_do_no_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        kind in 1..12u8,
    ) {
        for bytes in [bytes.clone(), [&[2, kind], &bytes[..]].concat()] {
            if let Ok(command) = MetadataCommand::decode(&bytes) {
                prop_assert_eq!(command.encode(), bytes);
            }
        }
        for bytes in [bytes.clone(), [&[1, kind % 2], &bytes[..]].concat()] {
            if let Ok(answer) = crate::answer::decode(&bytes) {
                let again = crate::answer::decode(&crate::answer::encode(&answer));
                prop_assert_eq!(again, Ok(answer));
            }
        }
    }
}
