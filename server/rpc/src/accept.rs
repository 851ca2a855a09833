//! How a port takes connections: as many as it may have, and no fewer after a failure.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a port rests after the system would give it no connection.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections that a port may have at a time.
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    limit: usize,
    /// Whose connections they are, or which setting bounds them.
    what: &'static str,
}

impl Slots {
    pub(crate) fn new(limit: usize, what: &'static str) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), limit, what }
    }

    /// The next connection, and its place, which it holds until it ends. One that comes when there
    /// are too many is closed at once.
    pub(crate) async fn accept(&self, port: &TcpListener) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            let stream = match port.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, or the peer is gone already: the port itself is sound.
                    tracing::warn!(%error, what = self.what, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if let Ok(slot) = Arc::clone(&self.free).try_acquire_owned() {
                return (stream, slot);
            }
            let (limit, what) = (self.limit, self.what);
            tracing::warn!(limit, what, "a connection was closed: there are too many");
        }
    }
}
