//! Hooks that see records on their way: for headers, tracing and counting.
//!
//! What they are, and that a hook which panics harms nobody but itself. When they are called is up
//! to producers and consumers: nothing here knows of batches or brokers.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::consumer::ConsumedRecord;
use crate::error::{Error, ErrorKind, Outcome};
use crate::producer::Appended;
use crate::record::{Header, Record};

/// Sees each record that a producer is given, and learns what became of it.
///
/// Several are called in the order in which they were given, and so are their outcomes. The idea is
/// that of Kafka's `ProducerInterceptor` (KIP-42). One that panics is logged as an error, and the
/// record goes on as it was left: a hook never makes a record fail.
///
/// Here one side puts the trace that it is part of into a header, as the W3C has it (Trace
/// Context), and the other side reads it:
///
/// ```
/// use ropewalk::{
///     Client, ConsumedRecord, OnOutcome, Outgoing, ReceiveInterceptor, Record, SendInterceptor,
/// };
///
/// tokio::task_local! {
///     /// The trace and the span that a task is part of.
///     static TRACE: String;
/// }
///
/// /// Passes on the trace of the task that sends.
/// struct PassOn;
///
/// impl SendInterceptor for PassOn {
///     fn on_send(&self, record: &mut Outgoing<'_>) -> Option<OnOutcome> {
///         let trace = TRACE.try_with(Clone::clone).ok()?;
///         record.set_header("traceparent", trace.clone());
///         // Here a span would begin, which ends in the closure.
///         Some(Box::new(move |outcome| match outcome {
///             Ok(placed) => println!("{trace}: offset {}", placed.offset),
///             Err(error) => println!("{trace}: {error}"),
///         }))
///     }
/// }
///
/// /// Says which trace each record is part of.
/// struct TellTrace;
///
/// impl ReceiveInterceptor for TellTrace {
///     fn on_receive(&self, record: &ConsumedRecord) {
///         let trace = record.headers.iter().rfind(|header| header.key == "traceparent");
///         if let Some(trace) = trace.and_then(|header| header.value.as_deref()) {
///             println!("{}: offset {}", String::from_utf8_lossy(trace), record.offset);
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = ropewalk_testing::Broker::start().await?;
/// # let client = Client::connect(broker.address()).await?;
/// let producer = client.producer().intercept(PassOn).build();
/// let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let record = Record::to("orders").value("12");
/// TRACE.scope(trace.to_owned(), producer.send(record)).await?;
///
/// let consumer = client.consumer().topic("orders").intercept(TellTrace);
/// let record = consumer.build().await?.next().await.expect("a record")?;
/// assert_eq!(record.headers[0].key, "traceparent");
/// assert_eq!(record.headers[0].value.as_deref(), Some(trace.as_bytes()));
/// # Ok(())
/// # }
/// ```
pub trait SendInterceptor: Send + Sync {
    /// Sees a record before it is placed and encoded, once, however often its batch is sent. It
    /// runs in the task that sends, when that begins to: the trace of the task is the record's.
    ///
    /// What it gives is called once, when it is known what became of the record: where it is, or
    /// why it is not there, with [`Error::may_have_happened`] for what is not known. That is before
    /// [`Producer::send`](crate::Producer::send) or a [`Delivery`](crate::Delivery) says it. It
    /// comes for every record, also for one that was not accepted, and for one whose sender gave
    /// up. It runs in a task of the producer, which does nothing else meanwhile: it must not block.
    fn on_send(&self, record: &mut Outgoing<'_>) -> Option<OnOutcome>;
}

/// Told once what became of a record: where it is, or why it is not there.
pub type OnOutcome = Box<dyn FnOnce(Result<&Appended, &Error>) + Send>;

impl<T: SendInterceptor + ?Sized> SendInterceptor for Arc<T> {
    fn on_send(&self, record: &mut Outgoing<'_>) -> Option<OnOutcome> {
        (**self).on_send(record)
    }
}

/// Sees each record before a consumer hands it out.
///
/// Several are called in the order in which they were given. One that panics is logged as an error,
/// and the record is handed out all the same. [`SendInterceptor`] has an example of both.
pub trait ReceiveInterceptor: Send + Sync {
    /// Sees a record just before it is handed out, in the task that reads. Of a
    /// [`RecordBatch`](crate::RecordBatch), records are handed out when they are iterated over,
    /// each time.
    fn on_receive(&self, record: &ConsumedRecord);
}

impl<T: ReceiveInterceptor + ?Sized> ReceiveInterceptor for Arc<T> {
    fn on_receive(&self, record: &ConsumedRecord) {
        (**self).on_receive(record);
    }
}

/// A record on its way out, as a [`SendInterceptor`] sees it: everything can be read, and headers
/// can be added.
#[derive(Debug)]
pub struct Outgoing<'a> {
    record: &'a mut Record,
}

impl Outgoing<'_> {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.record.topic
    }

    /// The partition, where the sender has picked it.
    #[must_use]
    pub fn partition(&self) -> Option<i32> {
        self.record.partition
    }

    /// The key. Absent and empty are different.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.record.key.as_ref()
    }

    /// The value. Absent and empty are different.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        self.record.value.as_ref()
    }

    /// When the record was made, where the sender has said it.
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.record.timestamp
    }

    /// The headers, with those that interceptors before this one have added.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        &self.record.headers
    }

    /// Adds a header after those there are.
    pub fn add_header(&mut self, key: impl Into<String>, value: impl Into<Bytes>) {
        self.record.headers.push(Header { key: key.into(), value: Some(value.into()) });
    }

    /// Adds a header in place of those with the same key: a record that is passed on may have been
    /// read with one.
    pub fn set_header(&mut self, key: impl Into<String>, value: impl Into<Bytes>) {
        let key = key.into();
        self.record.headers.retain(|header| header.key != key);
        self.add_header(key, value);
    }
}

/// Interceptors in their order. Without any it is a null pointer.
pub(crate) struct Hooks<T: ?Sized>(Option<Arc<Vec<Arc<T>>>>);

impl<T: ?Sized> Hooks<T> {
    pub(crate) fn add(&mut self, hook: Arc<T>) {
        Arc::make_mut(self.0.get_or_insert_default()).push(hook);
    }

    fn all(&self) -> &[Arc<T>] {
        self.0.as_ref().map_or(&[], |hooks| hooks.as_slice())
    }
}

impl<T: ?Sized> Clone for Hooks<T> {
    fn clone(&self) -> Hooks<T> {
        Hooks(self.0.clone())
    }
}

impl<T: ?Sized> Default for Hooks<T> {
    fn default() -> Hooks<T> {
        Hooks(None)
    }
}

impl<T: ?Sized> fmt::Debug for Hooks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} interceptors", self.all().len())
    }
}

impl Hooks<dyn SendInterceptor> {
    /// Shows them a record. Whoever wants to know what becomes of it is in the answer.
    pub(crate) fn on_send(&self, record: &mut Record) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for hook in self.all() {
            let shown = AssertUnwindSafe(|| hook.on_send(&mut Outgoing { record }));
            outcomes.waiting.extend(unharmed(shown).flatten());
        }
        outcomes
    }
}

impl Hooks<dyn ReceiveInterceptor> {
    /// Shows them a record.
    pub(crate) fn on_receive(&self, record: &ConsumedRecord) {
        for hook in self.all() {
            unharmed(AssertUnwindSafe(|| hook.on_receive(record)));
        }
    }
}

/// Those who are to be told what becomes of a record: they are told once, whatever happens.
#[derive(Default)]
pub(crate) struct Outcomes {
    waiting: Vec<OnOutcome>,
    /// Whether the record may have been sent.
    is_on_its_way: bool,
}

impl Outcomes {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// From now on the record may have been appended when nobody says anything else.
    pub(crate) fn on_its_way(&mut self) -> &mut Outcomes {
        self.is_on_its_way = true;
        self
    }

    pub(crate) fn tell(&mut self, outcome: Result<&Appended, &Error>) {
        for waiting in std::mem::take(&mut self.waiting) {
            unharmed(AssertUnwindSafe(|| waiting(outcome)));
        }
    }
}

impl Drop for Outcomes {
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        let error = if self.is_on_its_way {
            let message = "the producer ended before the record was answered";
            Error::new(ErrorKind::Closed, message).with_outcome(Outcome::Unknown)
        } else {
            let message = "the sender gave up before the producer had accepted the record";
            Error::new(ErrorKind::Cancelled, message)
        };
        self.tell(Err(&error));
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be told", self.waiting.len())
    }
}

/// Calls a hook. What it did before a panic stays, and nobody else hears of it.
fn unharmed<R>(hook: AssertUnwindSafe<impl FnOnce() -> R>) -> Option<R> {
    catch_unwind(hook).map_err(|panic| tracing::error!("{}", said(&*panic))).ok()
}

fn said(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("an interceptor panicked: {}", message.unwrap_or("it did not say why"))
}
