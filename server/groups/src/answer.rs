//! What a command is answered with, and its form on the way to a proposer on another broker.

use ropewalk_core::MemberId;
use ropewalk_core::codec::{DecodeError, Reader, Writer};

use crate::error::{GroupError, read_error, write_error};

const VERSION: u8 = 1;

/// What a member is, now that it has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its id.
    pub member: MemberId,
    /// Which of its streams this one is: what is said of an earlier one does not count any more.
    pub session: u32,
    /// The generation of the group.
    pub generation: u64,
}

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupReply {
    /// It was carried out, or there was nothing to do.
    Done,
    /// A member joined.
    Joined(Joined),
}

/// What a command is answered with.
pub type GroupAnswer = Result<GroupReply, GroupError>;

/// The form in which an answer travels.
#[must_use]
pub fn encode(answer: &GroupAnswer) -> Vec<u8> {
    let mut out = Writer::versioned(VERSION);
    match answer {
        Ok(GroupReply::Done) => {
            out.u8(0);
        }
        Ok(GroupReply::Joined(joined)) => {
            out.u8(1).raw(&joined.member.0).u32(joined.session).u64(joined.generation);
        }
        Err(error) => {
            out.u8(2);
            write_error(&mut out, error);
        }
    }
    out.finish()
}

/// Reads an answer. Bytes of a broker whose version has answers that this one does not know are an
/// error: the command may have been carried out.
pub fn decode(bytes: &[u8]) -> Result<GroupAnswer, DecodeError> {
    let mut reader = Reader::versioned(bytes, VERSION, "consumer group answer")?;
    let answer = match reader.u8()? {
        0 => Ok(GroupReply::Done),
        1 => Ok(GroupReply::Joined(Joined {
            member: MemberId(reader.array()?),
            session: reader.u32()?,
            generation: reader.u64()?,
        })),
        2 => Err(read_error(&mut reader)?),
        _ => return Err(reader.error()),
    };
    reader.finish()?;
    Ok(answer)
}
