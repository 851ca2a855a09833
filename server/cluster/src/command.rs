//! The commands of the metadata group, in their stored form.
//!
//! Everything that a command needs and that a replica could see differently (ids, times) is in it.

use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{NodeId, Timestamp, TopicId};

use crate::metadata::BrokerInfo;
use crate::settings::{TopicSettings, TopicUpdate};

const VERSION: u8 = 1;

/// A change to the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataCommand {
    /// A broker has started: it is new, or its address or version are.
    RegisterBroker(BrokerInfo),
    /// A topic is created, unless its name is taken.
    CreateTopic {
        /// Its id, chosen by the proposer at random.
        id: TopicId,
        /// Its name.
        name: String,
        /// The number of its partitions.
        partition_count: u32,
        /// Its settings.
        settings: TopicSettings,
        /// The time of the proposer.
        created: Timestamp,
    },
    /// A topic is changed.
    UpdateTopic {
        /// Its id.
        id: TopicId,
        /// What changes.
        update: TopicUpdate,
    },
    /// A topic is deleted.
    DeleteTopic {
        /// Its id.
        id: TopicId,
    },
}

/// The kinds of commands. The numbers are stored: they are never used again.
#[repr(u8)]
enum Kind {
    RegisterBroker = 1,
    CreateTopic = 2,
    UpdateTopic = 3,
    DeleteTopic = 4,
}

impl MetadataCommand {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::versioned(VERSION);
        match self {
            Self::RegisterBroker(broker) => {
                out.u8(Kind::RegisterBroker as u8);
                write_broker(&mut out, broker);
            }
            Self::CreateTopic { id, name, partition_count, settings, created } => {
                out.u8(Kind::CreateTopic as u8).raw(&id.0).bytes(name.as_bytes());
                out.u32(*partition_count).i64(created.0);
                settings.write(&mut out);
            }
            Self::UpdateTopic { id, update } => {
                out.u8(Kind::UpdateTopic as u8).raw(&id.0);
                update.write(&mut out);
            }
            Self::DeleteTopic { id } => {
                out.u8(Kind::DeleteTopic as u8).raw(&id.0);
            }
        }
        out.finish()
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::versioned(bytes, VERSION, "metadata command")?;
        let command = match reader.u8()? {
            1 => Self::RegisterBroker(read_broker(&mut reader)?),
            2 => {
                let id = TopicId(reader.array()?);
                let name = reader.string()?;
                let (partition_count, created) = (reader.u32()?, Timestamp(reader.i64()?));
                let settings = TopicSettings::read(&mut reader)?;
                Self::CreateTopic { id, name, partition_count, settings, created }
            }
            3 => {
                let id = TopicId(reader.array()?);
                Self::UpdateTopic { id, update: TopicUpdate::read(&mut reader)? }
            }
            4 => Self::DeleteTopic { id: TopicId(reader.array()?) },
            _ => return Err(reader.error()),
        };
        reader.finish()?;
        Ok(command)
    }
}

pub(crate) fn write_broker(out: &mut Writer, broker: &BrokerInfo) {
    out.u64(broker.id.0).bytes(broker.address.as_bytes());
    out.bytes(broker.version.as_bytes()).i64(broker.started.0);
}

pub(crate) fn read_broker(reader: &mut Reader<'_>) -> Result<BrokerInfo, DecodeError> {
    Ok(BrokerInfo {
        id: NodeId(reader.u64()?),
        address: reader.string()?,
        version: reader.string()?,
        started: Timestamp(reader.i64()?),
    })
}
