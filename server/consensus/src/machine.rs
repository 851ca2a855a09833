//! The state machine of a group whose entries are commands.

use ropewalk_core::codec::DecodeError;
pub use ropewalk_storage::own_rows::Row;
use thiserror::Error;

/// What a command did.
pub struct Applied {
    /// The answer to the proposer, in the machine's own encoding: the proposer may be on another
    /// broker.
    pub response: Vec<u8>,
    /// The rows that changed. They become durable together with the fact that the command was
    /// applied.
    pub rows: Vec<Row>,
}

/// A command that a later version of the code wrote. What it does is not known here, so a replica
/// that has to carry it out cannot go on: left out, it would make the replica differ from the
/// others for ever.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "{what} {kind} (form {form}) is of a later version than this broker's: upgrade this broker"
)]
pub struct LaterVersion {
    /// The machine's name for its commands.
    pub what: &'static str,
    /// The version of its form, the first byte.
    pub form: u8,
    /// Its kind, the second byte.
    pub kind: u8,
}

impl LaterVersion {
    /// Refuses a command whose form or kind is above those that are known. Forms and kinds are
    /// numbered as they come; bytes that are damaged otherwise are left to the machine.
    pub fn check(
        what: &'static str,
        command: &[u8],
        known_form: u8,
        known_kind: u8,
    ) -> Result<(), Self> {
        match *command {
            [form, kind, ..] if form > known_form || (form == known_form && kind > known_kind) => {
                Err(Self { what, form, kind })
            }
            _ => Ok(()),
        }
    }
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
    ///
    /// # Errors
    /// [`LaterVersion`], and nothing has changed.
    fn apply(&mut self, index: u64, command: &[u8]) -> Result<Applied, LaterVersion>;

    /// What a leader answers, instead of proposing it, to a command that [`StateMachine::apply`]
    /// would not know; `None` for all others. So a group never commits what its leader cannot carry
    /// out.
    fn refusal(&self, command: &[u8]) -> Option<Vec<u8>>;

    /// Answers a question about the state as it is, in the machine's own encoding.
    fn query(&self, question: &[u8]) -> Vec<u8>;
}
