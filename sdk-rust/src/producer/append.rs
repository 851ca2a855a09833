//! One append outside any producer: on a condition, or where a batch matters by itself.

use std::sync::Arc;

use bytes::BytesMut;
use ropewalk_proto::broker::ProduceRequest;
use ropewalk_proto::broker::produce_request::Expected;
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
    expected_offset: Option<i64>,
    durability: Durability,
}

impl Append {
    pub(crate) fn new(client: Client, topic: Arc<str>) -> Append {
        let durability = Durability::Quorum;
        Append { client, topic, partition: None, expected_offset: None, durability }
    }

    /// Appends to this partition, from 0. Left out: the broker places each record.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Append {
        self.partition = Some(partition);
        self
    }

    /// Appends only if the first record gets this offset. It needs a partition.
    #[must_use]
    pub fn expect_offset(mut self, offset: i64) -> Append {
        self.expected_offset = Some(offset);
        self
    }

    /// What must be true before the call returns. Default: [`Durability::Quorum`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Append {
        self.durability = durability;
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
    /// `EXPECTED_OFFSET_MISMATCH` with the metadata `current`, and the other reasons of the
    /// producer service.
    pub async fn send(
        &self,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Vec<Appended>, Error> {
        let mut set = BytesMut::new();
        let mut count = 0;
        for record in records {
            let sizes = Sizes::of(&record);
            check(sizes)?;
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
            expected: self.expected_offset.map(Expected::ExpectedOffset),
            ..request(&self.topic, self.partition, set.freeze(), durability, number)
        };
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
