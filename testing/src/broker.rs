//! The handle that a test holds. It knows nothing of the layers of a broker.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use ropewalk_storage::StorageError;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::instance::{self, Options};
use crate::store::Store;

/// Why a broker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no port to be had on the loopback address, no thread, or no temporary directory.
    #[error("the broker did not start: {0}")]
    Io(#[from] std::io::Error),
    /// Its log cannot be opened.
    #[error("the broker did not start: {0}")]
    Storage(#[from] StorageError),
    /// It broke down on its way.
    #[error("the broker did not start: its thread panicked, and said why on standard error")]
    Panicked,
}

/// What a broker is to be like.
#[derive(Clone, Debug)]
pub struct BrokerBuilder {
    options: Options,
    is_on_disk: bool,
}

impl Default for BrokerBuilder {
    fn default() -> Self {
        let options = Options { auto_create: true, default_partitions: 1 };
        Self { options, is_on_disk: false }
    }
}

impl BrokerBuilder {
    /// Keeps the log in a temporary directory, as a broker does that serves others, instead of in
    /// memory. The directory goes with the [`Broker`].
    #[must_use]
    pub fn on_disk(mut self) -> Self {
        self.is_on_disk = true;
        self
    }

    /// The partitions of a topic that is created without a number, 1 to 10,000. Default 1.
    #[must_use]
    pub fn default_partitions(mut self, partitions: u32) -> Self {
        self.options.default_partitions = partitions;
        self
    }

    /// Whether a topic comes into being when it is first used. Default true.
    #[must_use]
    pub fn auto_create(mut self, auto_create: bool) -> Self {
        self.options.auto_create = auto_create;
        self
    }

    /// Starts it. When this returns, it takes calls.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start(self) -> Result<Broker, StartError> {
        let store = if self.is_on_disk { Store::on_disk()? } else { Store::in_memory() };
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let running = Running::start(&store, listener, self.options.clone()).await?;
        let options = self.options;
        let name = address.to_string();
        Ok(Broker { running: Some(running), store, options, address, name })
    }
}

/// A running broker. It ends with this value; [`Broker::stop`] ends it without blocking the
/// thread.
#[derive(Debug)]
pub struct Broker {
    running: Option<Running>,
    store: Store,
    options: Options,
    address: SocketAddr,
    name: String,
}

impl Broker {
    /// Starts a broker whose log is in memory.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start() -> Result<Self, StartError> {
        Self::builder().start().await
    }

    /// Begins the set-up of a broker.
    #[must_use]
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Where clients reach it, as `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.name
    }

    /// Ends it in order, as SIGTERM does, and starts it again with the same records at the same
    /// address: what clients see of an upgrade.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. The broker is down then, and may be started with this again.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.end().await;
        let listener = instance::bind_again(self.address)?;
        self.running = Some(Running::start(&self.store, listener, self.options.clone()).await?);
        Ok(())
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        if let Some(running) = self.running.take() {
            // The thread may take as long as a disk does.
            let ended = tokio::task::spawn_blocking(|| drop(running)).await;
            ended.expect("to join a thread does not panic");
        }
    }
}

/// The thread on which a broker has its runtime: so it gets on whatever the test's own runtime
/// does. It ends when this is dropped.
#[derive(Debug)]
struct Running {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    async fn start(
        store: &Store,
        listener: TcpListener,
        options: Options,
    ) -> Result<Self, StartError> {
        let (end, ends) = oneshot::channel();
        let (started, is_started) = oneshot::channel();
        let store = store.clone();
        let thread = std::thread::Builder::new()
            .name("ropewalk-testing".to_owned())
            .spawn(move || instance::run(&store, listener, &options, started, ends))?;
        let running = Self { end: Some(end), thread: Some(thread) };
        is_started.await.map_err(|_| StartError::Panicked)??;
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // One that has panicked has said so, and has failed the test's calls.
            let _ = thread.join();
        }
    }
}
