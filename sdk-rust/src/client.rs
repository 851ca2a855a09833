//! The way in: a client knows the brokers, and gives producers, consumers, groups and the admin.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::admin::Admin;
use crate::backoff::Backoff;
use crate::brokers::Brokers;
use crate::call_connection::CallConnection;
use crate::connector::Connector;
use crate::consumer::ConsumerBuilder;
use crate::error::{Error, ErrorKind, Outcome, timed_out};
use crate::offsets::{Group, OffsetQuery, PartitionOffset, list_request};
use crate::producer::{Append, Leases, ProducerBuilder};

/// How long a try of one address may take, unless told otherwise.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the connection for plain calls is kept that none needs, unless told otherwise.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// A client of one cluster. Cheap to clone: clones share one connection for plain calls. Each
/// producer and each consumer has a connection of its own, so that none waits for another.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connector: Connector,
    brokers: Brokers,
    leases: Leases,
    connection: CallConnection,
    request_timeout: Duration,
}

/// How a [`Client`] is set up. Made by [`Client::builder`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    addresses: Vec<String>,
    connect_timeout: Duration,
    request_timeout: Duration,
    idle_timeout: Duration,
    name: String,
}

impl ClientBuilder {
    /// Adds brokers to begin with, as `HOST:PORT`, or several separated by commas. Any broker of
    /// the cluster will do; they are tried in the order given.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        let parts = address.split(',').map(str::trim).filter(|part| !part.is_empty());
        self.addresses.extend(parts.map(str::to_owned));
        self
    }

    /// How long a try of one address may take, with the question of which cluster is there: one
    /// that answers nothing is not waited for longer. Default: 3 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a plain call may take, further tries included. Default: 30 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// For how long the connection for plain calls may carry none before it is closed; the next
    /// call opens one. Default: 15 s; [`Duration::MAX`] keeps it.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// A name for the broker's log and metrics, sent as the user agent. Default: `ropewalk-rust`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Connects to the first broker that answers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreachable`] when none does, [`ErrorKind::InvalidArgument`] for an address
    /// that is none.
    pub async fn connect(self) -> Result<Client, Error> {
        let connector = Connector::new(&self.addresses, self.connect_timeout, &self.name)?;
        let connection = CallConnection::new(self.idle_timeout);
        connection.get(&connector).await?;
        let client = Client {
            shared: Arc::new(Shared {
                connector,
                brokers: Brokers::default(),
                leases: Leases::default(),
                connection,
                request_timeout: self.request_timeout,
            }),
        };
        // So that the client finds the others when this one is gone. Nobody waits for it.
        let asking = client.clone();
        tokio::spawn(async move {
            if let Err(error) = asking.brokers().refresh(&asking).await {
                tracing::debug!(%error, "the brokers of the cluster could not be learned");
            }
        });
        Ok(client)
    }
}

impl Client {
    /// Connects with default settings to brokers given as `HOST:PORT`, or several separated by
    /// commas.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::connect`].
    pub async fn connect(addresses: &str) -> Result<Client, Error> {
        Client::builder().address(addresses).connect().await
    }

    /// Begins the set-up of a client.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            addresses: Vec::new(),
            connect_timeout: TRY_TIMEOUT,
            request_timeout: Duration::from_secs(30),
            idle_timeout: IDLE_TIMEOUT,
            name: "ropewalk-rust".to_owned(),
        }
    }

    /// Begins the set-up of a producer.
    #[must_use]
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.clone())
    }

    /// Begins the set-up of a consumer.
    #[must_use]
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone())
    }

    /// Begins one append of its own, outside any producer: for appends on a condition, and where
    /// each batch matters by itself.
    #[must_use]
    pub fn append(&self, topic: impl Into<Arc<str>>) -> Append {
        Append::new(self.clone(), topic.into())
    }

    /// Topics, records and the cluster.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// The committed offsets of a consumer group, which need not exist yet.
    #[must_use]
    pub fn group(&self, name: impl Into<String>) -> Group {
        Group::new(self.clone(), name.into())
    }

    /// Resolves positions to offsets: one answer for each query that names a partition, and one for
    /// each partition of the topic for those that do not, in order.
    ///
    /// ```no_run
    /// # async fn run(client: ropewalk::Client) -> Result<(), ropewalk::Error> {
    /// use ropewalk::OffsetQuery;
    ///
    /// for end in client.list_offsets([OffsetQuery::latest("orders")]).await? {
    ///     println!("partition {} ends before {}", end.partition, end.offset);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, and what every call may meet.
    pub async fn list_offsets(
        &self,
        queries: impl IntoIterator<Item = OffsetQuery>,
    ) -> Result<Vec<PartitionOffset>, Error> {
        let request = list_request(queries);
        let answer = self
            .call(Repeat::Freely, request, |channel, request| async move {
                ConsumerServiceClient::new(channel).list_offsets(request).await
            })
            .await?;
        Ok(answer.offsets.into_iter().map(PartitionOffset::from_proto).collect())
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    pub(crate) fn brokers(&self) -> &Brokers {
        &self.shared.brokers
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.shared.leases
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.shared.request_timeout
    }

    /// Makes a plain call, again and again where that is safe and may help, within the request
    /// timeout.
    pub(crate) async fn call<M, T, F, Fut>(
        &self,
        repeat: Repeat,
        message: M,
        call: F,
    ) -> Result<T, Error>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + self.shared.request_timeout;
        let mut backoff = Backoff::default();
        let mut unsure = false;
        let mut refused: Option<Error> = None;
        loop {
            let error = match self.attempt(deadline, message.clone(), &call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            unsure |= error.may_have_happened();
            let safe = repeat == Repeat::Freely || !error.may_have_happened();
            let wait = backoff.next(error.retry_after());
            if !safe || !error.is_retriable() || Instant::now() + wait >= deadline {
                // That the time was over says less than what a broker said before.
                let error =
                    refused.filter(|_| error.kind() == ErrorKind::TimedOut).unwrap_or(error);
                return Err(if unsure { error.with_outcome(Outcome::Unknown) } else { error });
            }
            tracing::debug!(%error, ?wait, "trying a call again");
            refused = Some(error);
            sleep(wait).await;
        }
    }

    async fn attempt<M, T, F, Fut>(
        &self,
        deadline: Instant,
        message: M,
        call: &F,
    ) -> Result<T, Error>
    where
        F: Fn(Channel, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let connecting = timeout_at(deadline, self.shared.connection.get(self.connector()));
        let (generation, connection) = connecting.await.map_err(|_| {
            Error::new(ErrorKind::Unreachable, "no broker could be reached in the time allowed")
        })??;
        let mut request = Request::new(message);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let answer = timeout_at(deadline, call(connection.channel.clone(), request)).await;
        match answer {
            Ok(Ok(response)) => {
                self.brokers().note_hint(response.metadata());
                Ok(response.into_inner())
            }
            Ok(Err(status)) => {
                self.brokers().note_hint(status.metadata());
                let error = Error::from_status(&status);
                if matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Unreachable)
                    || error.reason() == "BROKER_DRAINING"
                {
                    let slot = &self.shared.connection;
                    slot.forget(self.connector(), generation, &connection).await;
                }
                Err(error)
            }
            Err(_) => Err(timed_out()),
        }
    }
}

/// Whether a call may be made again although it may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It only reads, or doing it twice is the same as doing it once.
    Freely,
    /// It changes something: only while it surely has not happened.
    WhileNotDone,
}
