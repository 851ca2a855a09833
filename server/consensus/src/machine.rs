//! The state machine of a group whose entries are commands.

use std::any::Any;

use ropewalk_core::codec::{DecodeError, Reader, Writer};

/// A row of a state machine: a value to put, or nothing to delete.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// What a command did.
pub struct Applied {
    /// The answer to the proposer, in a type that the machine and the proposer agree on.
    pub response: Box<dyn Any + Send>,
    /// The rows that changed. They become durable together with the fact that the command was
    /// applied.
    pub rows: Vec<Row>,
}

/// A deterministic state machine: the same commands give the same states and answers on every
/// replica.
///
/// Its rows in storage are its state as of some command, and the log holds every command after
/// that. Rows whose key begins with a zero byte are the group's own.
pub trait StateMachine: Send {
    /// Takes the rows that storage has, before the first command.
    fn restore(&mut self, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError>;

    /// Applies the command at this log index. Bytes that are no command are answered, and change
    /// nothing.
    fn apply(&mut self, index: u64, command: &[u8]) -> Applied;
}

const APPLIED_KEY: &[u8] = b"\0applied";

/// The row that says up to which index the rows stand.
pub(crate) fn applied_row(index: u64) -> Row {
    (APPLIED_KEY.to_vec(), Some(Writer::versioned(1).u64(index).finish()))
}

/// Takes the applied index out of a group's rows, and leaves those of the machine.
pub(crate) fn take_applied(rows: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Result<Option<u64>, DecodeError> {
    let Some(at) = rows.iter().position(|(key, _)| key == APPLIED_KEY) else {
        return Ok(None);
    };
    let (_, value) = rows.remove(at);
    let mut reader = Reader::versioned(&value, 1, "applied index")?;
    let index = reader.u64()?;
    reader.finish()?;
    Ok(Some(index))
}
