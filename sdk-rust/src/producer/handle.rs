//! What a program holds to send records.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_compress::Compression;
use ropewalk_proto::v1;
use tokio::sync::{Mutex, watch};

use super::batch::{Appended, Delivery};
use super::pool::{Layout, Pool};
use super::sender::{Sender, learn};
use crate::client::Client;
use crate::error::Error;
use crate::intercept::{Hooks, Outcomes, SendInterceptor};
use crate::record::Record;
use crate::wire::Sizes;

/// The most bytes of one record that any topic takes.
const MAX_RECORD_BYTES: usize = 3_670_016;
/// The most bytes of the headers of one record.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The shortest time to live.
const MIN_TTL: Duration = Duration::from_millis(1);

/// The most that a producer may be given to hold.
const MAX_MEMORY_BYTES: usize = 512 * 1024 * 1024;

/// So many batches of a producer does a partition know again.
const MAX_NUMBERED_IN_FLIGHT: usize = 5;

/// What must be true of records before they count as appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On the disks of a majority of the replicas: an acked record is never lost.
    #[default]
    Quorum,
    /// On the leader's disk. Lost if the leader never comes back.
    Leader,
    /// In the leader's memory. Lost in a crash.
    None,
}

impl Durability {
    pub(super) fn to_proto(self) -> i32 {
        let proto = match self {
            Durability::Quorum => v1::Durability::Quorum,
            Durability::Leader => v1::Durability::Leader,
            Durability::None => v1::Durability::None,
        };
        proto.into()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) batch_bytes: usize,
    pub(super) in_flight: usize,
    pub(super) memory_bytes: usize,
    pub(super) delivery_timeout: Duration,
    pub(super) durability: Durability,
    pub(super) retry_unknown: bool,
    pub(super) keep_order: bool,
    pub(super) idempotent: bool,
    /// What the producer was told; without it, what each topic says.
    pub(super) codec: Option<Compression>,
    pub(super) level: Option<i32>,
}

/// How a [`Producer`] is set up. Made by [`Client::producer`].
#[derive(Clone, Debug)]
pub struct ProducerBuilder {
    client: Client,
    settings: Settings,
    name: String,
    interceptors: Hooks<dyn SendInterceptor>,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client) -> ProducerBuilder {
        ProducerBuilder {
            client,
            settings: Settings {
                batch_bytes: 128 * 1024,
                in_flight: 5,
                memory_bytes: 32 * 1024 * 1024,
                delivery_timeout: Duration::from_secs(30),
                durability: Durability::Quorum,
                retry_unknown: false,
                keep_order: true,
                idempotent: true,
                codec: None,
                level: None,
            },
            name: String::new(),
            interceptors: Hooks::default(),
        }
    }

    /// The bytes at which a batch is full. A record that is larger goes alone. Default: 128 KiB; 1
    /// B to 3.5 MiB.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.settings.batch_bytes = bytes.clamp(1, MAX_RECORD_BYTES);
        self
    }

    /// How many batches of a partition may be in flight at once. While fewer are, whatever is there
    /// is sent at once; otherwise records gather in larger batches. Default: 5, at least 1; more
    /// than 5 only if the producer is not [`idempotent`](Self::idempotent).
    #[must_use]
    pub fn max_in_flight(mut self, batches: usize) -> Self {
        self.settings.in_flight = batches.max(1);
        self
    }

    /// The bytes of records that may wait or be in flight, in their encoded form; beyond it callers
    /// wait. A record that is larger by itself is refused. Default: 32 MiB; at most 512 MiB.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.settings.memory_bytes = bytes.clamp(1, MAX_MEMORY_BYTES);
        self
    }

    /// How long a record may take, from the moment it is accepted. Default: 30 s.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.delivery_timeout = timeout;
        self
    }

    /// What must be true of a record before it counts as appended. Default: [`Durability::Quorum`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// Whether a batch that comes to the broker twice is appended once. Such a producer sends again
    /// what may have been appended, as after a broken connection or a change of the leader, within
    /// the delivery timeout; nothing is doubled by that, and the order is kept. It holds only with
    /// [`Durability::Quorum`], and not for the first batch of a topic that it creates. Default:
    /// yes.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.settings.idempotent = idempotent;
        self
    }

    /// A name for an idempotent producer, in the form of a consumer group's. Of all producers with
    /// one name the newest may send: once it has sent to a partition, the others fail there with
    /// `PRODUCER_FENCED`, for good. Default: none.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether a producer that is not [`idempotent`](Self::idempotent) sends batches again that may
    /// have been appended, as after a broken connection. Records can then be appended twice.
    /// Default: no; such batches fail, and [`Error::may_have_happened`] says so.
    #[must_use]
    pub fn retry_maybe(mut self, retry: bool) -> Self {
        self.settings.retry_unknown = retry;
        self
    }

    /// Whether a batch that was refused for the moment is given up once a batch after it on the
    /// same partition was appended, rather than appended out of order. Default: yes.
    #[must_use]
    pub fn keep_order(mut self, keep: bool) -> Self {
        self.settings.keep_order = keep;
        self
    }

    /// How batches are compressed, on this side: brokers keep and give them as they are. One that
    /// would not get smaller goes as it is, and so do records that the broker is to place, as those
    /// that make it create a topic. Larger batches compress better. Default: as each topic's
    /// setting [`compression`](crate::TopicSettings::compression) says, once the producer has asked
    /// for the topic; not at all where it says nothing. [`Compression::None`] never compresses.
    #[must_use]
    pub fn compression(mut self, codec: Compression) -> Self {
        self.settings.codec = Some(codec);
        self
    }

    /// The level of the compression, kept to those that the codec has
    /// ([`Compression::levels`]): gzip 1 to 9, zstd 1 to 22; snappy and lz4 have none. Default: the
    /// codec's own, 6 for gzip and 3 for zstd.
    #[must_use]
    pub fn compression_level(mut self, level: i32) -> Self {
        self.settings.level = Some(level);
        self
    }

    /// Shows each record to this before it is placed and encoded, and tells it what became of the
    /// record. It may be called for several, which are called in this order. Default: none.
    #[must_use]
    pub fn intercept(mut self, interceptor: impl SendInterceptor + 'static) -> Self {
        self.interceptors.add(Arc::new(interceptor));
        self
    }

    /// Starts the producer. It connects when there is something to send.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn build(mut self) -> Producer {
        let settings = &mut self.settings;
        // What a leader alone has had may be lost with it, and all that is sent after it would wait
        // for it in vain.
        settings.idempotent &= settings.durability == Durability::Quorum;
        if settings.idempotent {
            settings.in_flight = settings.in_flight.min(MAX_NUMBERED_IN_FLIGHT);
        }
        let pool = Arc::new(Pool::new(self.settings));
        let (ended, end) = watch::channel(());
        let sender = Sender::new(self.client.clone(), Arc::clone(&pool), self.name, ended);
        tokio::spawn(sender.run());
        let closer = Closer { pool };
        let (client, interceptors) = (self.client, self.interceptors);
        let shared = Shared { client, interceptors, closer, learning: Mutex::new(()), end };
        Producer { shared: Arc::new(shared) }
    }
}

/// Sends records in batches, pipelined, to the brokers that lead their partitions. Cheap to clone,
/// and made to be shared: records from many tasks end up in common batches.
///
/// It learns from the cluster who leads, and has one connection for each of those brokers. While
/// one of them cannot be reached from here, its records go through another broker, which forwards
/// them; so one address that can be reached is enough.
///
/// Records of one partition are appended in the order in which they were accepted, also when some
/// had to be sent again, and each of them once: see [`ProducerBuilder::idempotent`]. Memory is
/// bounded: while the buffer is full, callers wait. When the last
/// clone is dropped, what was accepted is still sent; [`close`](Producer::close) waits for that.
///
/// ```no_run
/// # async fn run(client: ropewalk::Client) -> Result<(), ropewalk::Error> {
/// use ropewalk::Record;
///
/// let producer = client.producer().build();
///
/// // One by one: the answer says where the record went.
/// let placed = producer.send(Record::to("orders").key("a").value("1")).await?;
/// println!("{}/{}@{}", placed.topic, placed.partition, placed.offset);
///
/// // Many at once: waits only for room in the buffer.
/// let mut deliveries = Vec::new();
/// for i in 0..1000 {
///     let record = Record::to("orders").value(i.to_string());
///     deliveries.push(producer.enqueue(record).await?);
/// }
/// for delivery in deliveries {
///     delivery.await?;
/// }
/// producer.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Producer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    interceptors: Hooks<dyn SendInterceptor>,
    closer: Closer,
    /// Held by whoever asks for a topic's layout, so that others wait rather than ask too.
    learning: Mutex<()>,
    end: watch::Receiver<()>,
}

/// Closes the pool when the last producer is gone.
#[derive(Debug)]
struct Closer {
    pool: Arc<Pool>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.pool.close();
    }
}

impl Producer {
    /// Sends a record and waits until it is appended.
    ///
    /// # Errors
    ///
    /// The reasons of the producer service; [`Error::may_have_happened`] says whether the record
    /// may be in the log all the same.
    pub async fn send(&self, record: Record) -> Result<Appended, Error> {
        self.enqueue(record).await?.await
    }

    /// Accepts a record, waiting only for room in the buffer, and the first time for the topic's
    /// partition count. What becomes of it is told by the future that this gives.
    ///
    /// # Errors
    ///
    /// None of the record was sent: it is too large, its time to live is less than a millisecond,
    /// the buffer stayed full for the delivery timeout, the producer is closed, or the topic could
    /// not be looked up.
    pub async fn enqueue(&self, mut record: Record) -> Result<Delivery, Error> {
        let mut outcomes = self.shared.interceptors.on_send(&mut record);
        let accepted = self.accept(&record, &mut outcomes).await;
        if let Err(error) = &accepted {
            outcomes.tell(Err(error));
        }
        accepted
    }

    async fn accept(&self, record: &Record, outcomes: &mut Outcomes) -> Result<Delivery, Error> {
        let sizes = Sizes::of(record);
        check(record, sizes)?;
        let pool = &self.shared.closer.pool;
        if sizes.in_set() > pool.settings.memory_bytes {
            let message = "the record is larger than the producer's whole buffer";
            return Err(Error::invalid(message).with_reason("RECORD_TOO_LARGE"));
        }
        let permit = pool.reserve(sizes.in_set()).await?;
        loop {
            if let Some(delivery) = pool.append(record, sizes, outcomes)? {
                // The sender gives it back when the batch is completed.
                permit.forget();
                return Ok(delivery);
            }
            let _one_at_a_time = self.shared.learning.lock().await;
            if pool.layout(&record.topic) == Layout::Unknown {
                let learned = learn(&self.shared.client, &record.topic).await?;
                pool.learn(&record.topic, learned);
            }
        }
    }

    /// Waits until every record accepted before the call is appended or has failed.
    ///
    /// # Errors
    ///
    /// The first error among them. Each record's own is told by its [`Delivery`].
    pub async fn flush(&self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for completion in self.shared.closer.pool.outstanding() {
            outcome = outcome.and(completion.done().await);
        }
        outcome
    }

    /// Takes no more records from this producer and its clones, sends what was accepted, and ends.
    ///
    /// # Errors
    ///
    /// As [`flush`](Producer::flush).
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.closer.pool.close();
        let outcome = self.flush().await;
        // An error says that the sender is gone, which is what is awaited.
        let _ = self.shared.end.clone().changed().await;
        outcome
    }
}

/// Refuses what no topic would take.
pub(super) fn check(record: &Record, sizes: Sizes) -> Result<(), Error> {
    if record.ttl.is_some_and(|ttl| ttl < MIN_TTL) {
        let message = "the record's ttl is less than a millisecond";
        return Err(Error::invalid(message).with_reason("INVALID_FIELD"));
    }
    let refuse = |what: &str, actual: usize, limit: usize| {
        let message = format!("{what} {actual} bytes: the limit is {limit}");
        Err(Error::invalid(message).with_reason("RECORD_TOO_LARGE"))
    };
    if sizes.record > MAX_RECORD_BYTES {
        return refuse("the record has", sizes.record, MAX_RECORD_BYTES);
    }
    if sizes.headers() > MAX_HEADER_BYTES {
        return refuse("the record's headers have", sizes.headers(), MAX_HEADER_BYTES);
    }
    Ok(())
}
