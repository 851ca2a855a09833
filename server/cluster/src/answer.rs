//! What a command is answered with, and its form on the way to a proposer on another broker.

use std::sync::Arc;

use ropewalk_core::codec::{DecodeError, Reader, Writer};

use crate::error::{MetadataError, read_error, write_error};
use crate::metadata::{BrokerInfo, Topic};
use crate::stored::{
    read_broker, read_partition, read_topic_head, write_broker, write_partition, write_topic_head,
};

const VERSION: u8 = 1;

/// What a command did: what it was about, as it is now, or was before it was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataReply {
    /// The topic, if the command is about one.
    pub topic: Option<Arc<Topic>>,
    /// The broker, if the command is about one.
    pub broker: Option<BrokerInfo>,
}

/// What a command is answered with.
pub type MetadataAnswer = Result<MetadataReply, MetadataError>;

/// The form in which an answer travels.
#[must_use]
pub fn encode(answer: &MetadataAnswer) -> Vec<u8> {
    let mut out = Writer::versioned(VERSION);
    match answer {
        Ok(reply) => {
            out.u8(0);
            out.option(reply.topic.as_deref(), |out, topic| {
                write_topic_head(out, topic);
                topic.partitions.iter().for_each(|partition| write_partition(out, partition));
            });
            out.option(reply.broker.as_ref(), write_broker);
        }
        Err(error) => {
            out.u8(1);
            write_error(&mut out, error);
        }
    }
    out.finish()
}

/// The form in which an answer travels together with the index of its command, so that the proposer
/// can wait until its own broker has that command too.
#[must_use]
pub fn encode_applied(index: u64, answer: &MetadataAnswer) -> Vec<u8> {
    let mut out = encode_index(index);
    out.extend(encode(answer));
    out
}

/// The form in which an index travels.
#[must_use]
pub fn encode_index(index: u64) -> Vec<u8> {
    index.to_le_bytes().to_vec()
}

/// Reads an index.
pub fn decode_index(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(bytes, "metadata index");
    let index = reader.u64()?;
    reader.finish()?;
    Ok(index)
}

/// Reads an answer and the index of its command. Errors as those of [`decode`].
pub fn decode_applied(bytes: &[u8]) -> Result<(u64, MetadataAnswer), DecodeError> {
    let mut reader = Reader::new(bytes, "metadata answer");
    let index = reader.u64()?;
    Ok((index, decode(reader.rest())?))
}

/// Reads an answer. Bytes of a broker whose version has answers that this one does not know are an
/// error: the command may have been carried out.
pub fn decode(bytes: &[u8]) -> Result<MetadataAnswer, DecodeError> {
    let mut reader = Reader::versioned(bytes, VERSION, "metadata answer")?;
    let answer = match reader.u8()? {
        0 => Ok(MetadataReply {
            topic: reader.option(read_topic)?.map(Arc::new),
            broker: reader.option(read_broker)?,
        }),
        1 => Err(read_error(&mut reader)?),
        _ => return Err(reader.error()),
    };
    reader.finish()?;
    Ok(answer)
}

fn read_topic(reader: &mut Reader<'_>) -> Result<Topic, DecodeError> {
    let (mut topic, count) = read_topic_head(reader)?;
    topic.partitions = (0..count).map(|_| read_partition(reader)).collect::<Result<_, _>>()?;
    Ok(topic)
}
