//! Batches with numbers: who the producer is, and what becomes of batches when the numbers of their
//! partition begin anew.

use super::{Pool, State, closed};
use crate::error::{Error, Outcome};
use crate::producer::batch::Batch;
use crate::producer::numbers::Identity;

impl Pool {
    /// Whether the broker has to say who this producer is before anything can be sent.
    pub(in crate::producer) fn lacks_identity(&self) -> bool {
        self.settings.idempotent && self.state().identity.is_none()
    }

    /// The broker has said it.
    pub(in crate::producer) fn identified(&self, identity: Identity) {
        self.state().identity = Some(identity);
    }

    /// Nothing can be sent any more, for this reason: what waits fails with it, and so does what
    /// comes.
    pub(in crate::producer) fn end(&self, error: &Error) {
        let mut state = self.state();
        state.fatal = Some(error.clone());
        let mut waiting = Vec::new();
        for id in 0..state.queues.len() {
            waiting.extend(state.queues[id].drain(id));
        }
        waiting.iter().for_each(|batch| state.forget(batch));
        drop(state);
        for batch in waiting {
            self.complete(&batch, batch.concluded(error.clone()));
        }
    }

    /// Gives up batches that a restart of their partition's numbers has left without one.
    pub(super) fn give_up(&self, lost: Vec<Batch>) {
        for batch in lost {
            let error = batch.last_error.clone().unwrap_or_else(closed);
            let what = "a batch before it was given up, and whether this one was appended cannot \
                        be known";
            self.complete(&batch, error.with_outcome(Outcome::Unknown).context(what));
        }
    }
}

impl State {
    /// Begins the numbers of a queue anew, if that is due and nothing of it is in flight. Returns
    /// the batches that may be in the log, and can be sent under their old number no more.
    pub(super) fn begin_again(&mut self, id: usize) -> Vec<Batch> {
        let Some((lost, lacks_identity)) = self.queues[id].begin_again(self.identity) else {
            return Vec::new();
        };
        if lacks_identity {
            self.identity = None;
        }
        lost.iter().for_each(|batch| self.forget(batch));
        lost
    }
}
