//! The state machine of a group whose entries are commands.

use ropewalk_core::codec::DecodeError;
pub use ropewalk_storage::own_rows::Row;

/// What a command did.
pub struct Applied {
    /// The answer to the proposer, in the machine's own encoding: the proposer may be on another
    /// broker.
    pub response: Vec<u8>,
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
    /// Replaces the whole state by these rows, which hold the commands up to and with `index`:
    /// those that storage has, before the first command, or those of a snapshot, at any time.
    fn restore(&mut self, index: u64, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError>;

    /// Applies the command at this log index. Bytes that are no command are answered, and change
    /// nothing.
    fn apply(&mut self, index: u64, command: &[u8]) -> Applied;

    /// Answers a question about the state as it is, in the machine's own encoding.
    fn query(&self, question: &[u8]) -> Vec<u8>;
}
