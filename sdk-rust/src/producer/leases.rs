//! Ids for appends outside any producer, each of which is safe to make again by itself. They know
//! nothing of what is appended.
//!
//! An append takes an id for as long as it lasts, and an epoch of it for ever: its batch is the
//! first of that epoch, number 0, so that nothing has to be counted for each partition. One that is
//! given up and comes late is refused when a later append of the same id came before it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::numbers::{Identity, Number};
use super::sender::identify;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Outcome};

/// The ids of a client that no append has at the moment: as many as there were appends at once.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<Vec<Identity>>);

impl Leases {
    fn free(&self) -> MutexGuard<'_, Vec<Identity>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of an append; none from brokers that know of no numbers.
    pub(super) async fn take(&self, client: &Client) -> Result<Option<Number>, Error> {
        let free = self.free().pop();
        let identity = match free {
            Some(identity) => identity,
            None => match identify(client, String::new()).await {
                Ok(identity) => identity,
                Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(None),
                // Whatever became of it: nothing was appended.
                Err(error) => {
                    return Err(error
                        .with_outcome(Outcome::DidNotHappen)
                        .context("the append gets no id"));
                }
            },
        };
        Ok(Some(Number { identity, first: 0 }))
    }

    /// An append has ended, and the next one may have its id, in the next epoch.
    pub(super) fn give_back(&self, number: Number) {
        let next = number.identity.epoch.checked_add(1);
        self.free().extend(next.map(|epoch| Identity { epoch, ..number.identity }));
    }
}
