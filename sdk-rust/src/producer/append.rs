//! One append outside any producer: on a condition, or where a batch matters by itself.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ropewalk_proto::broker::expected_version::KeyForm;
use ropewalk_proto::broker::produce_request::Expected;
use ropewalk_proto::broker::{ExpectedVersion, ProduceRequest};
use ropewalk_proto::v1::ProduceResponse;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::batch::{Appended, places};
use super::handle::{Durability, check};
use super::stream::request;
use crate::client::{Client, Repeat};
use crate::error::Error;
use crate::intercept::{Hooks, Outcomes, SendInterceptor};
use crate::record::Record;
use crate::wire::{Sizes, put_record};

/// The most bytes of the encoded records of one batch.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;

/// One append. Made by [`Client::append`].
///
/// With a partition, all records are appended or none is. Without one the broker places each
/// record, and each partition's share is atomic by itself.
///
/// ```no_run
/// # async fn run(client: ropewalk::Client) -> Result<(), ropewalk::Error> {
/// use ropewalk::{ErrorKind, Record};
///
/// // Only if nobody has appended since offset 41 was read.
/// let append = client.append("ledger").partition(0).expect_offset(42);
/// match append.send([Record::to("ledger").value("credit 7")]).await {
///     Ok(placed) => println!("at {}", placed[0].offset),
///     Err(error) if error.kind() == ErrorKind::Conflict => println!("someone was faster"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Append {
    client: Client,
    topic: Arc<str>,
    partition: Option<i32>,
    expected: Option<Expected>,
    durability: Durability,
    interceptors: Hooks<dyn SendInterceptor>,
}

impl Append {
    pub(crate) fn new(client: Client, topic: Arc<str>) -> Append {
        Append {
            client,
            topic,
            partition: None,
            expected: None,
            durability: Durability::Quorum,
            interceptors: Hooks::default(),
        }
    }

    /// Appends to this partition, from 0. Left out: the broker places each record.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Append {
        self.partition = Some(partition);
        self
    }

    /// Appends only if the first record gets this offset. It needs a partition. It takes the place
    /// of any other condition.
    #[must_use]
    pub fn expect_offset(mut self, offset: i64) -> Append {
        self.expected = Some(Expected::ExpectedOffset(offset));
        self
    }

    /// Appends only if the key has this version in the partition: the offset of the latest record
    /// with it, or `None` where there is none. It takes the place of any other condition.
    ///
    /// Where the key has another version, the error has the kind
    /// [`Conflict`](crate::ErrorKind::Conflict), and [`Error::version_mismatch`] says which.
    ///
    /// Name the partition too, that of the key ([`partition_of`](crate::partition_of)): without,
    /// all records must go there, and the call is made again only while nothing can have been
    /// appended.
    ///
    /// ```no_run
    /// # async fn run(client: ropewalk::Client) -> Result<(), ropewalk::Error> {
    /// use ropewalk::Record;
    ///
    /// // Only if nobody has written to account-7 since its record at offset 41 was read.
    /// let append = client.append("accounts").partition(0).expect_version("account-7", Some(41));
    /// let record = Record::to("accounts").key("account-7").value("withdraw 10");
    /// match append.send([record]).await {
    ///     Ok(placed) => println!("the version is now {}", placed[0].offset),
    ///     Err(error) => match error.version_mismatch() {
    ///         Some(mismatch) => println!("somebody was faster: {:?}", mismatch.current),
    ///         None => return Err(error),
    ///     },
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn expect_version(mut self, key: impl Into<Bytes>, version: Option<i64>) -> Append {
        let key_form = Some(KeyForm::Key(key.into()));
        self.expected = Some(Expected::ExpectedVersion(ExpectedVersion { key_form, version }));
        self
    }

    /// What must be true before the call returns. Default: [`Durability::Quorum`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Append {
        self.durability = durability;
        self
    }

    /// Shows each record to this before it is encoded, and tells it what became of the record, as
    /// [`ProducerBuilder::intercept`](crate::ProducerBuilder::intercept) does.
    #[must_use]
    pub fn intercept(mut self, interceptor: impl SendInterceptor + 'static) -> Append {
        self.interceptors.add(Arc::new(interceptor));
        self
    }

    /// Appends records, and says where each went. Topic and partition that the records name
    /// themselves are not looked at.
    ///
    /// With a partition and [`Durability::Quorum`] the call is made again also where it may have
    /// been carried out, as after a broken connection: the records are appended once, and a
    /// condition that they have changed themselves does not fail. Otherwise it is made again only
    /// while nothing can have been appended.
    ///
    /// # Errors
    ///
    /// `EXPECTED_OFFSET_MISMATCH` with the metadata `current`, `EXPECTED_VERSION_MISMATCH` with the
    /// same where the key has a version, and the other reasons of the producer service.
    pub async fn send(
        &self,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Vec<Appended>, Error> {
        let mut outcomes = Vec::new();
        let placed = self.append(records, &mut outcomes).await;
        for (index, outcomes) in outcomes.iter_mut().enumerate() {
            outcomes.tell(placed.as_ref().map(|placed| &placed[index]));
        }
        placed
    }

    async fn append(
        &self,
        records: impl IntoIterator<Item = Record>,
        outcomes: &mut Vec<Outcomes>,
    ) -> Result<Vec<Appended>, Error> {
        let mut set = BytesMut::new();
        let mut count = 0;
        for mut record in records {
            record.topic = Arc::clone(&self.topic);
            record.partition = self.partition;
            outcomes.push(self.interceptors.on_send(&mut record));
            let sizes = Sizes::of(&record);
            check(&record, sizes)?;
            put_record(&mut set, &record, sizes);
            count += 1;
        }
        if set.len() > MAX_BATCH_BYTES {
            let message =
                format!("the batch has {} bytes: the limit is {MAX_BATCH_BYTES}", set.len());
            return Err(Error::invalid(message).with_reason("BATCH_TOO_LARGE"));
        }
        let number = match (self.partition, self.durability) {
            (Some(_), Durability::Quorum) => self.client.leases().take(&self.client).await?,
            _ => None,
        };
        let durability = self.durability.to_proto();
        let request = ProduceRequest {
            expected: self.expected.clone(),
            ..request(&self.topic, self.partition, set.freeze(), durability, number)
        };
        for outcomes in outcomes {
            outcomes.on_its_way();
        }
        let repeat = if number.is_some() { Repeat::Freely } else { Repeat::WhileNotDone };
        let response = self.call(repeat, request).await;
        if let Some(number) = number {
            self.client.leases().give_back(number);
        }
        places(&self.topic, count, &response?)
    }

    async fn call(
        &self,
        repeat: Repeat,
        request: ProduceRequest,
    ) -> Result<ProduceResponse, Error> {
        let call = |channel: Channel, request: Request<ProduceRequest>| async move {
            let mut grpc = Grpc::new(channel);
            grpc.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
            let codec = ProstCodec::<ProduceRequest, ProduceResponse>::default();
            let path = PathAndQuery::from_static("/ropewalk.v1.ProducerService/Produce");
            grpc.unary(request, path, codec).await
        };
        self.client.call(repeat, request, call).await
    }
}
