//! The metadata state behind the interface of consensus, and the watch through which others see it.

use std::sync::Arc;

use ropewalk_consensus::machine::{Applied, LaterVersion, StateMachine};
use ropewalk_core::codec::DecodeError;
use tokio::sync::watch;

use crate::answer;
use crate::command::MetadataCommand;
use crate::error::MetadataError;
use crate::level::LEVEL;
use crate::metadata::Metadata;
use crate::state::MetadataState;

/// Where the newest metadata is seen.
pub type MetadataWatch = watch::Receiver<Arc<Metadata>>;

/// The state machine of the metadata group. Each command is answered with a
/// [`crate::MetadataAnswer`] in the form of [`crate::answer`], with its own index, after the
/// metadata that it led to was published.
pub struct MetadataMachine {
    state: MetadataState,
    /// The level up to which it knows commands.
    level: u32,
    publish: watch::Sender<Arc<Metadata>>,
}

impl MetadataMachine {
    /// An empty machine, and the watch of its state.
    #[must_use]
    pub fn new() -> (Self, MetadataWatch) {
        Self::of_level(LEVEL)
    }

    /// The same as a broker of this level has it. That of a version before this one takes the
    /// commands that came since for what that version takes them for.
    #[must_use]
    pub fn of_level(level: u32) -> (Self, MetadataWatch) {
        let (publish, watch) = watch::channel(Arc::new(Metadata::default()));
        (Self { state: MetadataState::default(), level, publish }, watch)
    }

    fn publish(&self) {
        self.publish.send_replace(Arc::new(self.state.metadata().clone()));
    }
}

impl StateMachine for MetadataMachine {
    fn restore(&mut self, index: u64, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError> {
        self.state.restore(index, rows)?;
        self.publish();
        Ok(())
    }

    fn apply(&mut self, index: u64, command: &[u8]) -> Result<Applied, LaterVersion> {
        MetadataCommand::check(command, self.level)?;
        let (answer, rows) = self.state.apply(index, command);
        self.publish();
        Ok(Applied { response: answer::encode_applied(index, &answer), rows })
    }

    fn refusal(&self, command: &[u8]) -> Option<Vec<u8>> {
        let error = MetadataCommand::check(command, self.level).err()?;
        let answer = Err(MetadataError::Malformed(DecodeError(error.what)));
        // It is at no index.
        Some(answer::encode_applied(0, &answer))
    }

    /// There is one question, and it is empty: up to which index the metadata stands
    /// ([`answer::decode_index`]). Every broker has the metadata and reads it from its watch;
    /// whoever must see what was answered before waits for that index there.
    fn query(&self, _question: &[u8]) -> Vec<u8> {
        answer::encode_index(self.state.metadata().index)
    }
}
