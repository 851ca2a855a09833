//! The rows that keep the state: one for each broker, topic and system group, one for every
//! [`PARTITIONS_PER_ROW`] partitions of a topic, and one for the former replicas on a broker of
//! every [`GROUPS_PER_ROW`] groups. Each fits a small value of storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_consensus::machine::Row;
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{GroupId, NodeId, ReplicaId, TopicId};

use super::MetadataState;
use crate::former::{Former, Formers, Worth};
use crate::metadata::{Metadata, Retired, Topic, TopicPartition};
use crate::stored::{
    read_broker, read_list, read_partition, read_placement, read_topic_head, write_broker,
    write_list, write_partition, write_placement, write_topic_head,
};

const VERSION: u8 = 2;
/// A partition takes 91 bytes at most.
const PARTITIONS_PER_ROW: usize = 32;
/// A broker has five former replicas of a group at most, and each takes 25 bytes.
const GROUPS_PER_ROW: u64 = 24;

/// What a row is about: the first byte of its key. The numbers are stored: they are never used
/// again.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Broker = b'b',
    Cluster = b'c',
    Former = b'f',
    NextGroup = b'g',
    Partitions = b'p',
    Retired = b'r',
    System = b's',
    Topic = b't',
}

/// A row with a value, or the row gone.
fn row<T>(kind: Kind, id: &[u8], value: Option<T>, write: impl FnOnce(&mut Writer, T)) -> Row {
    let key = [&[kind as u8], id].concat();
    let stored = value.map(|value| {
        let mut out = Writer::versioned(VERSION);
        write(&mut out, value);
        out.finish()
    });
    (key, stored)
}

/// What differs between two maps, by key: what is there now, if anything.
fn differences<'a, K: Ord, V: PartialEq>(
    former: &'a BTreeMap<K, V>,
    current: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>)> {
    let changed = current.iter().filter(|(key, value)| former.get(*key) != Some(*value));
    let gone = former.keys().filter(|key| !current.contains_key(*key));
    changed.map(|(key, value)| (key, Some(value))).chain(gone.map(|key| (key, None)))
}

/// The rows that lead from one state to the next.
pub(super) fn changes(former: &MetadataState, current: &MetadataState) -> Vec<Row> {
    let mut rows = Vec::new();
    for (directory, retired) in differences(&former.metadata.retired, &current.metadata.retired) {
        rows.push(row(Kind::Retired, directory, retired, |out, retired| {
            out.u64(retired.broker.0).u64(retired.index);
        }));
    }
    former_changes(former, current, &mut rows);
    let (former, current) = (&former.metadata, &current.metadata);
    for (id, broker) in differences(&former.brokers, &current.brokers) {
        rows.push(row(Kind::Broker, &id.0.to_be_bytes(), broker.map(Arc::as_ref), write_broker));
    }
    for (group, placement) in differences(&former.system, &current.system) {
        rows.push(row(Kind::System, &group.0.to_be_bytes(), placement, |out, placement| {
            write_placement(out, &placement.replicas, &placement.founders);
        }));
    }
    for (name, topic) in differences(&former.topics, &current.topics) {
        topic_changes(former.topics.get(name), topic, &mut rows);
    }
    if (former.cluster_id, &former.awaited) != (current.cluster_id, &current.awaited) {
        rows.push(row(Kind::Cluster, &[], current.cluster_id, |out, cluster_id| {
            out.raw(&cluster_id);
            let awaited: Vec<_> = current.awaited.iter().collect();
            write_list(out, &awaited, |out, (id, directory)| {
                out.u64(id.0).raw(&directory[..]);
            });
        }));
    }
    if former.next_group != current.next_group {
        rows.push(row(Kind::NextGroup, &[], Some(current.next_group), |out, group| {
            out.u64(group.0);
        }));
    }
    rows
}

/// The rows of replicas that groups are not to have any more.
fn former_changes(before: &MetadataState, now: &MetadataState, rows: &mut Vec<Row>) {
    let (before, now) = (&before.metadata.former, &now.metadata.former);
    // There may be many while brokers are replaced, and most commands leave them alone.
    if before.is_same(now) {
        return;
    }
    for ((node, run), former) in differences(&former_runs(before), &former_runs(now)) {
        let key = [node.0.to_be_bytes(), run.to_be_bytes()].concat();
        rows.push(row(Kind::Former, &key, former, |out, former| {
            write_list(out, former, |out, (group, replica, former)| {
                out.u64(group.0).u64(replica.0).u64(former.since).u8(former.worth as u8);
            });
        }));
    }
}

/// Former replicas, by broker and run of groups.
type FormerRuns = BTreeMap<(NodeId, u64), Vec<(GroupId, ReplicaId, Former)>>;

fn former_runs(formers: &Formers) -> FormerRuns {
    let mut runs = FormerRuns::new();
    for ((group, replica), former) in formers.all() {
        let run = runs.entry((replica.node(), group.0 / GROUPS_PER_ROW)).or_default();
        run.push((*group, *replica, *former));
    }
    runs
}

/// The rows of a topic that differ from those of its former state. One command never puts a topic
/// in the place of another.
fn topic_changes(former: Option<&Arc<Topic>>, current: Option<&Arc<Topic>>, rows: &mut Vec<Row>) {
    let Some(id) = current.or(former).map(|topic| topic.id) else { return };
    rows.push(row(Kind::Topic, &id.0, current.map(Arc::as_ref), write_topic_head));
    let (former, current) = (chunks(id, former), chunks(id, current));
    for (chunk, partitions) in differences(&former, &current) {
        rows.push(row(Kind::Partitions, chunk, partitions, |out, partitions| {
            write_list(out, partitions, write_partition);
        }));
    }
}

fn chunks(id: TopicId, topic: Option<&Arc<Topic>>) -> BTreeMap<Vec<u8>, &[TopicPartition]> {
    let chunks = topic.map(|topic| topic.partitions.chunks(PARTITIONS_PER_ROW));
    let numbered = chunks.into_iter().flatten().enumerate();
    numbered.map(|(number, chunk)| (chunk_id(id, number), chunk)).collect()
}

fn chunk_id(topic: TopicId, number: usize) -> Vec<u8> {
    let number = u32::try_from(number).expect("limits bound the partitions of a topic");
    [&topic.0[..], &number.to_be_bytes()[..]].concat()
}

/// The partitions of topics, by topic and row.
type Chunks = BTreeMap<TopicId, BTreeMap<u32, Vec<TopicPartition>>>;

/// The state that the rows hold.
pub(super) fn read(
    index: u64,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<MetadataState, DecodeError> {
    let mut state = MetadataState::default();
    state.metadata.index = index;
    let (mut heads, mut chunks) = (Vec::new(), Chunks::new());
    for (key, value) in rows {
        let mut id = Reader::new(&key, "key of a metadata row");
        let kind = id.u8()?;
        let mut value = Reader::versioned(&value, VERSION, "metadata row")?;
        match kind {
            b't' => heads.push(read_topic_head(&mut value)?),
            b'p' => {
                let (topic, number) = (TopicId(id.array()?), u32::from_be_bytes(id.array()?));
                let partitions = read_list(&mut value, read_partition)?;
                chunks.entry(topic).or_default().insert(number, partitions);
            }
            b'r' => {
                let retired = Retired { broker: NodeId(value.u64()?), index: value.u64()? };
                Arc::make_mut(&mut state.metadata.retired).insert(id.array()?, retired);
            }
            _ => read_into(&mut state.metadata, kind, &mut id, &mut value)?,
        }
        value.finish()?;
    }
    for (mut topic, count) in heads {
        let partitions = chunks.remove(&topic.id).unwrap_or_default().into_values();
        topic.partitions = partitions.flatten().collect();
        if topic.partition_count() != count {
            return Err(DecodeError("topic: rows of partitions are missing"));
        }
        state.metadata.put_topic(topic);
    }
    if chunks.is_empty() { Ok(state) } else { Err(DecodeError("partitions without a topic")) }
}

fn read_into(
    metadata: &mut Metadata,
    kind: u8,
    id: &mut Reader<'_>,
    value: &mut Reader<'_>,
) -> Result<(), DecodeError> {
    match kind {
        b'b' => {
            let broker = read_broker(value)?;
            metadata.brokers.insert(broker.id, Arc::new(broker));
        }
        b'c' => {
            metadata.cluster_id = Some(value.array()?);
            let founder =
                |reader: &mut Reader<'_>| Ok((reader.u64().map(NodeId)?, reader.array()?));
            metadata.awaited = read_list(value, founder)?.into_iter().collect();
        }
        b'f' => {
            let _: [u8; 16] = id.array()?;
            let former = read_list(value, |reader| {
                let (group, replica) = (GroupId(reader.u64()?), ReplicaId(reader.u64()?));
                let since = reader.u64()?;
                let worth = Worth::of(reader.u8()?).ok_or(reader.error())?;
                Ok((group, replica, Former { since, worth }))
            })?;
            for (group, replica, former) in former {
                metadata.former.insert(group, replica, former);
            }
        }
        b'g' => metadata.next_group = GroupId(value.u64()?),
        b's' => {
            let group = GroupId(u64::from_be_bytes(id.array()?));
            metadata.system.insert(group, read_placement(value)?);
        }
        _ => return Err(value.error()),
    }
    Ok(())
}
