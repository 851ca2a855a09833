//! What a coordinator group answers to a command, in the form in which it travels to a proposer on
//! another broker.

use ropewalk_core::ProducerId;
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_groups::{GroupError, GroupReply, answer};
use thiserror::Error;

use super::command::WHAT;
use crate::producer_ids::ProducerIdentity;

const VERSION: u8 = 1;

/// Why a command changed nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
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
    /// The consumer group does not allow it.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoordinatorReply {
    /// It was carried out.
    Done,
    /// A producer got this.
    Producer(ProducerIdentity),
    /// What became of a command about consumer groups, and its place in the log: a replica that has
    /// applied this much has seen it.
    Group {
        /// The place.
        index: u64,
        /// What it did.
        reply: GroupReply,
    },
}

/// What a command is answered with.
pub type CoordinatorAnswer = Result<CoordinatorReply, CoordinatorError>;

pub(super) fn encode_answer(answer: &CoordinatorAnswer) -> Vec<u8> {
    let mut out = Writer::versioned(VERSION);
    match answer {
        Ok(CoordinatorReply::Done) => out.u8(0),
        Err(CoordinatorError::TooMany { limit }) => out.u8(1).u64(*limit as u64),
        Err(CoordinatorError::Malformed(_)) => out.u8(2),
        Ok(CoordinatorReply::Producer(identity)) => {
            out.u8(3).u64(identity.id.0).u32(identity.epoch)
        }
        Ok(CoordinatorReply::Group { index, reply }) => {
            out.u8(4).u64(*index).raw(&answer::encode(&Ok(*reply)))
        }
        Err(CoordinatorError::Group(error)) => out.u8(5).raw(&answer::encode(&Err(error.clone()))),
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
        4 => {
            let index = reader.u64()?;
            let reply = answer::decode(reader.rest())?.map_err(|_| reader.error())?;
            return Ok(Ok(CoordinatorReply::Group { index, reply }));
        }
        5 => {
            let Err(error) = answer::decode(reader.rest())? else { return Err(reader.error()) };
            return Ok(Err(error.into()));
        }
        _ => return Err(reader.error()),
    };
    reader.finish()?;
    Ok(answer)
}
