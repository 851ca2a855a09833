//! Watching topics: the state of the moment, then its changes, over as many streams as it takes.

use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;
use ropewalk_proto::v1::watch_topics_response::Event;
use tokio::time::timeout;
use tonic::Streaming;

use crate::backoff::insist;
use crate::client::Client;
use crate::connector::Connection;
use crate::error::{Error, ErrorKind, timed_out};
use crate::settings::Topic;

/// What the broker may send ahead of what is read.
const WINDOW: u32 = 1 << 20;

/// What is told of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicEvent {
    /// The state begins, with nothing: also when the stream was lost and is there again. What was
    /// known before is void.
    Started,
    /// A topic of that state.
    Present(Topic),
    /// The state is complete: what comes from here on are changes.
    Synced,
    /// A topic was created.
    Created(Topic),
    /// A topic was changed: its settings, its partitions, or where their replicas are to be. As it
    /// is now.
    Changed(Topic),
    /// A topic was deleted. As it was last.
    Deleted(Topic),
}

/// Tells of topics and how they change. Made by
/// [`Admin::watch_topics`](crate::Admin::watch_topics).
#[derive(Debug)]
pub struct TopicWatch {
    client: Client,
    prefix: String,
    open: Option<(Streaming<v1::WatchTopicsResponse>, Connection)>,
}

impl TopicWatch {
    pub(crate) fn new(client: Client, prefix: String) -> TopicWatch {
        TopicWatch { client, prefix, open: None }
    }

    /// The next event; waits for it. A call that is given up loses nothing.
    ///
    /// # Errors
    ///
    /// When the stream is lost and cannot be opened again within the client's request timeout, and
    /// what every call may meet. Called again, it tries again.
    pub async fn next(&mut self) -> Result<TopicEvent, Error> {
        loop {
            let Some((events, connection)) = &mut self.open else {
                self.open = Some(self.reopen().await?);
                return Ok(TopicEvent::Started);
            };
            let error = match events.message().await {
                Ok(Some(message)) => match message.event.and_then(read) {
                    Some(event) => return Ok(event),
                    // A later version tells more.
                    None => continue,
                },
                Ok(None) => Error::new(ErrorKind::Disconnected, "the stream of topics ended"),
                Err(status) => Error::from_status(&status),
            };
            self.client.connector().avoid(connection);
            self.open = None;
            if !error.is_retriable() {
                return Err(error);
            }
            tracing::debug!(%error, "watching topics again");
        }
    }

    /// Opens the stream, trying for the request timeout.
    async fn reopen(&self) -> Result<(Streaming<v1::WatchTopicsResponse>, Connection), Error> {
        let patience = self.client.request_timeout();
        insist(patience, "watching topics", || self.attempt()).await
    }

    async fn attempt(&self) -> Result<(Streaming<v1::WatchTopicsResponse>, Connection), Error> {
        let connector = self.client.connector();
        let connection = connector.connect(WINDOW).await?;
        let request = v1::WatchTopicsRequest { name_prefix: self.prefix.clone() };
        let mut stub = AdminServiceClient::new(connection.channel.clone());
        let opening = timeout(self.client.request_timeout(), stub.watch_topics(request));
        let error = match opening.await {
            Ok(Ok(response)) => return Ok((response.into_inner(), connection)),
            Ok(Err(status)) => Error::from_status(&status),
            Err(_) => timed_out().context("watching topics"),
        };
        if error.is_retriable() {
            connector.avoid(&connection);
        }
        Err(error)
    }
}

fn read(event: Event) -> Option<TopicEvent> {
    Some(match event {
        Event::Present(topic) => TopicEvent::Present(Topic::from_proto(topic)),
        Event::Synced(_) => TopicEvent::Synced,
        Event::Created(topic) => TopicEvent::Created(Topic::from_proto(topic)),
        Event::Changed(topic) => TopicEvent::Changed(Topic::from_proto(topic)),
        Event::Deleted(topic) => TopicEvent::Deleted(Topic::from_proto(topic)),
    })
}
