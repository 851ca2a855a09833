//! A connection that stands still: what is sent through it arrives no more, and nothing says so. To
//! the broker its client is as one whose process was stopped.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::ChaosError;

/// A way to a broker that can be frozen.
#[derive(Debug)]
pub(crate) struct Freezer {
    address: String,
    frozen: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Freezer {
    /// A way to HOST:PORT.
    ///
    /// # Errors
    /// When the system gives no port.
    pub(crate) async fn to(target: &str) -> Result<Self, ChaosError> {
        let what = "listening for a client that will stand still";
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(ChaosError::system(what))?;
        let address = listener.local_addr().map_err(ChaosError::system(what))?.to_string();
        let (frozen, watched) = watch::channel(false);
        let target: Arc<str> = target.into();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, Arc::clone(&target), watched.clone()));
            }
        });
        Ok(Self { address, frozen, accepting })
    }

    /// Where the way begins.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// From now on nothing passes, in either direction.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes bytes on until it is frozen; then keeps both connections open for as long as the way is
/// there.
async fn pass_on(mut client: TcpStream, target: Arc<str>, mut frozen: watch::Receiver<bool>) {
    let Ok(mut broker) = TcpStream::connect(&*target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut broker) => return,
        _ = frozen.wait_for(|frozen| *frozen) => {}
    }
    while frozen.changed().await.is_ok() {}
}
