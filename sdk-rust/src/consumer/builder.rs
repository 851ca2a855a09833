//! What a consumer is to read, and how.

use std::sync::Arc;
use std::time::Duration;

use super::event::{Gap, Start, Stop};
use super::reader::{Consumer, GapHandler};
use crate::client::Client;
use crate::error::Error;
use crate::intercept::{Hooks, ReceiveInterceptor};

/// One topic to read: all its partitions, or those named, each with its own start where it has one.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) topic: String,
    pub(super) partitions: Vec<(i32, Option<Start>)>,
}

/// Everything that a session needs to know.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) client: Client,
    pub(super) selections: Vec<Selection>,
    pub(super) start: Start,
    pub(super) stop: Stop,
    pub(super) max_batch_bytes: Option<i32>,
    pub(super) read_ahead_bytes: u32,
    pub(super) heartbeat: Duration,
    pub(super) reconnect_timeout: Duration,
    pub(super) interceptors: Hooks<dyn ReceiveInterceptor>,
}

/// How a [`Consumer`] is set up. Made by [`Client::consumer`].
#[derive(Debug)]
pub struct ConsumerBuilder {
    plan: Plan,
    on_gap: GapHandler,
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Client) -> ConsumerBuilder {
        ConsumerBuilder {
            plan: Plan {
                client,
                selections: Vec::new(),
                start: Start::Earliest,
                stop: Stop::Never,
                max_batch_bytes: None,
                read_ahead_bytes: 4 * 1024 * 1024,
                heartbeat: Duration::from_secs(5),
                reconnect_timeout: Duration::from_secs(300),
                interceptors: Hooks::default(),
            },
            on_gap: GapHandler::default(),
        }
    }

    /// Reads a topic: all its partitions, also those that are added later, unless
    /// [`partition`](ConsumerBuilder::partition) names some. It may be called for several topics.
    #[must_use]
    pub fn topic(mut self, name: impl AsRef<str>) -> Self {
        self.selection(name.as_ref());
        self
    }

    /// Reads this partition of a topic, from 0, and no others than are named so.
    #[must_use]
    pub fn partition(mut self, topic: impl AsRef<str>, partition: i32) -> Self {
        self.selection(topic.as_ref()).partitions.push((partition, None));
        self
    }

    /// As [`partition`](ConsumerBuilder::partition), with a start of its own.
    #[must_use]
    pub fn partition_from(mut self, topic: impl AsRef<str>, partition: i32, start: Start) -> Self {
        self.selection(topic.as_ref()).partitions.push((partition, Some(start)));
        self
    }

    fn selection(&mut self, topic: &str) -> &mut Selection {
        let selections = &mut self.plan.selections;
        let index = selections.iter().position(|selection| selection.topic == topic);
        let index = index.unwrap_or_else(|| {
            selections.push(Selection { topic: topic.to_owned(), partitions: Vec::new() });
            selections.len() - 1
        });
        &mut selections[index]
    }

    /// Where partitions without a start of their own begin. Default: [`Start::Earliest`].
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.plan.start = start;
        self
    }

    /// Where reading ends. Default: [`Stop::Never`].
    #[must_use]
    pub fn until(mut self, stop: Stop) -> Self {
        self.plan.stop = stop;
        self
    }

    /// The most bytes of records in one batch. Default: the broker's, 1 MiB; at most 3.5 MiB.
    #[must_use]
    pub fn max_batch_bytes(mut self, bytes: u32) -> Self {
        self.plan.max_batch_bytes = Some(i32::try_from(bytes).unwrap_or(i32::MAX));
        self
    }

    /// How many bytes the broker may send ahead of what is read. Default: 4 MiB; 64 KiB to 1 GiB.
    #[must_use]
    pub fn read_ahead_bytes(mut self, bytes: u32) -> Self {
        self.plan.read_ahead_bytes = bytes.clamp(64 * 1024, 1 << 30);
        self
    }

    /// How often a quiet stream gives a sign of life; after three that are missing it counts as
    /// broken. Default: 5 s; 100 ms to 5 min.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(300));
        self.plan.heartbeat = interval.clamp(shortest, longest);
        self
    }

    /// For how long it tries to reconnect before it ends with an error. Default: 5 min.
    #[must_use]
    pub fn reconnect_timeout(mut self, timeout: Duration) -> Self {
        self.plan.reconnect_timeout = timeout;
        self
    }

    /// Calls this when records that were to be read are gone, for those who read records or batches
    /// rather than events. Default: a warning in the log.
    #[must_use]
    pub fn on_gap(mut self, handler: impl FnMut(&Gap) + Send + Sync + 'static) -> Self {
        self.on_gap = GapHandler::calling(handler);
        self
    }

    /// Shows each record to this before it is handed out. It may be called for several, which are
    /// called in this order. Default: none.
    #[must_use]
    pub fn intercept(mut self, interceptor: impl ReceiveInterceptor + 'static) -> Self {
        self.plan.interceptors.add(Arc::new(interceptor));
        self
    }

    /// Connects and waits until the broker has resolved where each partition starts: what is
    /// produced after this has returned is read, also with [`Start::Latest`].
    ///
    /// # Errors
    ///
    /// `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, `OFFSET_OUT_OF_RANGE` with the metadata `earliest`
    /// and `latest`, and what every call may meet. What may pass is tried again for the client's
    /// request timeout.
    pub async fn build(self) -> Result<Consumer, Error> {
        if self.plan.selections.is_empty() {
            return Err(Error::invalid("the consumer names no topic"));
        }
        Consumer::start(self.plan, self.on_gap).await
    }
}
