//! The stored forms that commands, rows and answers share.

use ropewalk_core::codec::{DecodeError, Reader, Writer};
pub(crate) use ropewalk_core::codec::{read_bool, read_list, write_list, write_text};
use ropewalk_core::{GroupId, NodeId, ReplicaId, Timestamp, TopicId, limits};

use crate::level;
use crate::metadata::{BrokerInfo, Placement, Topic, TopicPartition};
use crate::settings::TopicSettings;

/// The last field of what it is in. The first level is left out, so that brokers that know of no
/// levels read what they could write.
pub(crate) fn write_level(out: &mut Writer, level: u32) {
    if level != level::FIRST {
        out.u32(level);
    }
}

pub(crate) fn read_level(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match reader.is_done().then_some(level::FIRST) {
        Some(first) => Ok(first),
        None => Some(reader.u32()?).filter(|level| *level > level::FIRST).ok_or(reader.error()),
    }
}

/// It ends with a level, so nothing may follow it.
pub(crate) fn write_broker(out: &mut Writer, broker: &BrokerInfo) {
    out.u64(broker.id.0);
    write_text(out, &broker.address);
    write_text(out, &broker.peer_address);
    out.option(broker.rack.as_deref(), write_text);
    out.raw(&broker.directory);
    write_text(out, &broker.version);
    out.i64(broker.started.0).u8(broker.is_draining.into()).u64(broker.metadata_replica.0);
    write_level(out, broker.level);
}

pub(crate) fn read_broker(reader: &mut Reader<'_>) -> Result<BrokerInfo, DecodeError> {
    Ok(BrokerInfo {
        id: NodeId(reader.u64()?),
        address: reader.string()?,
        peer_address: reader.string()?,
        rack: reader.option(Reader::string)?,
        directory: reader.array()?,
        version: reader.string()?,
        started: Timestamp(reader.i64()?),
        is_draining: read_bool(reader)?,
        metadata_replica: ReplicaId(reader.u64()?),
        level: read_level(reader)?,
    })
}

/// One byte of count: a group has [`limits::MAX_REPLICAS`] replicas at most, or as many as there
/// are founders.
fn write_replicas(out: &mut Writer, replicas: &[ReplicaId]) {
    out.u8(u8::try_from(replicas.len()).expect("limits bound the replicas of a group"));
    for replica in replicas {
        out.u64(replica.0);
    }
}

fn read_replicas(reader: &mut Reader<'_>) -> Result<Vec<ReplicaId>, DecodeError> {
    (0..reader.u8()?).map(|_| reader.u64().map(ReplicaId)).collect()
}

/// The replicas, and the founders where they are others: mostly they are not.
pub(crate) fn write_placement(out: &mut Writer, replicas: &[ReplicaId], founders: &[ReplicaId]) {
    write_replicas(out, replicas);
    out.option((founders != replicas).then_some(founders), write_replicas);
}

pub(crate) fn read_placement(reader: &mut Reader<'_>) -> Result<Placement, DecodeError> {
    let replicas = read_replicas(reader)?;
    let founders = reader.option(read_replicas)?.unwrap_or_else(|| replicas.clone());
    Ok(Placement { replicas, founders })
}

pub(crate) fn write_partition(out: &mut Writer, partition: &TopicPartition) {
    out.u64(partition.group.0);
    write_placement(out, &partition.replicas, &partition.founders);
}

pub(crate) fn read_partition(reader: &mut Reader<'_>) -> Result<TopicPartition, DecodeError> {
    let group = GroupId(reader.u64()?);
    let Placement { replicas, founders } = read_placement(reader)?;
    Ok(TopicPartition { group, replicas, founders })
}

/// A topic but for its partitions, of which only the number is written.
pub(crate) fn write_topic_head(out: &mut Writer, topic: &Topic) {
    out.raw(&topic.id.0);
    write_text(out, &topic.name);
    out.i64(topic.created.0).u32(topic.replication_factor);
    topic.settings.write(out);
    out.u32(topic.partition_count());
}

/// A topic without partitions, and how many it has.
pub(crate) fn read_topic_head(reader: &mut Reader<'_>) -> Result<(Topic, u32), DecodeError> {
    let topic = Topic {
        id: TopicId(reader.array()?),
        name: reader.string()?,
        created: Timestamp(reader.i64()?),
        replication_factor: reader.u32()?,
        settings: TopicSettings::read(reader)?,
        partitions: Vec::new(),
    };
    let count = reader.u32()?;
    if count > limits::MAX_PARTITIONS_PER_TOPIC {
        return Err(reader.error());
    }
    Ok((topic, count))
}
