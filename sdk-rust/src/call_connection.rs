//! The connection for plain calls: made when it is needed, made anew when it was given up, and
//! closed when nothing has needed it for a while, as gRPC's own channels are (their idle timeout).
//! A member of a consumer group that waits for records then has one connection, not two.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::connector::{Connection, Connector};
use crate::error::Error;

/// What a broker may send ahead of what is read, for plain calls.
const WINDOW: u32 = 1 << 20;

#[derive(Debug)]
pub(crate) struct CallConnection {
    slot: Arc<Mutex<Slot>>,
    idle_timeout: Duration,
}

#[derive(Debug)]
struct Slot {
    connection: Option<Connection>,
    /// How many there were.
    generation: u64,
    /// When it was last asked for.
    used: Instant,
    closer: Option<Closer>,
}

/// Closes a connection that is idle. It ends with whoever has the connection.
#[derive(Debug)]
struct Closer(JoinHandle<()>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl CallConnection {
    /// None yet.
    pub(crate) fn new(idle_timeout: Duration) -> CallConnection {
        let slot = Slot { connection: None, generation: 0, used: Instant::now(), closer: None };
        CallConnection { slot: Arc::new(Mutex::new(slot)), idle_timeout }
    }

    /// The connection, and its number.
    ///
    /// # Errors
    /// When a new one is needed, and no broker answers.
    pub(crate) async fn get(&self, connector: &Connector) -> Result<(u64, Connection), Error> {
        let mut slot = self.slot.lock().await;
        slot.used = Instant::now();
        if let Some(connection) = slot.connection.as_ref().filter(|it| it.is_usable()) {
            return Ok((slot.generation, connection.clone()));
        }
        let connection = connector.connect(WINDOW).await?;
        slot.generation += 1;
        slot.connection = Some(connection.clone());
        slot.closer = self.closer();
        Ok((slot.generation, connection))
    }

    /// Gives up a connection, unless another call already has.
    pub(crate) async fn forget(
        &self,
        connector: &Connector,
        generation: u64,
        connection: &Connection,
    ) {
        let mut slot = self.slot.lock().await;
        if slot.generation == generation {
            connector.avoid(connection);
            // It may be closed already, while the call was still under way.
            slot.connection.iter_mut().for_each(Connection::give_up);
        }
    }

    /// Calls that are under way keep what they have. There is none for a time without an end.
    fn closer(&self) -> Option<Closer> {
        let (weak, idle_timeout) = (Arc::downgrade(&self.slot), self.idle_timeout);
        let mut at = Instant::now().checked_add(idle_timeout)?;
        Some(Closer(tokio::spawn(async move {
            loop {
                sleep_until(at).await;
                let Some(slot) = weak.upgrade() else { return };
                let mut slot = slot.lock().await;
                at = slot.used + idle_timeout;
                if Instant::now() >= at {
                    slot.connection = None;
                    return;
                }
            }
        })))
    }
}
