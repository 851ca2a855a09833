//! One ProduceStream, from the client's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt};
use ropewalk_compress::Compression;
use ropewalk_proto::broker::produce_request::Data;
use ropewalk_proto::broker::{ProduceRequest, ProduceStreamRequest, ProducerSequence};
use ropewalk_proto::v1::ProduceStreamResponse;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::numbers::Number;
use crate::brokers::NO_FORWARD;
use crate::connector::Connection;
use crate::wire::{codec_to_proto, duration_to_proto};

/// Requests between the sender and the connection: enough that neither waits for the other's turn.
const HAND_OVER: usize = 8;
/// Stands for the correlation that was taken last, once none is taken any more.
const ENDED: u64 = u64::MAX;

/// An open stream. Requests go in as numbers and bytes; answers come out in any order of
/// partitions.
pub(super) struct ProduceStream {
    pub(super) requests: mpsc::Sender<ProduceStreamRequest>,
    pub(super) answers: BoxStream<'static, Result<ProduceStreamResponse, Status>>,
    pub(super) connection: Connection,
    taken: Arc<AtomicU64>,
}

impl ProduceStream {
    /// Opens a stream. It need not be answered before requests are given.
    /// One to a leader is not forwarded: it says when it does not lead any more.
    pub(super) fn open(connection: Connection, forwards: bool) -> ProduceStream {
        let (requests, mut queue) = mpsc::channel::<ProduceStreamRequest>(HAND_OVER);
        let taken = Arc::new(AtomicU64::new(0));
        let mark = Arc::clone(&taken);
        let outbound = futures::stream::poll_fn(move |context| queue.poll_recv(context))
            .take_while(move |request| std::future::ready(take(&mark, request.correlation)));
        let mut grpc = Grpc::new(connection.channel.clone());
        let call = async move {
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let codec = ProstCodec::<ProduceStreamRequest, ProduceStreamResponse>::default();
            let path = PathAndQuery::from_static("/ropewalk.v1.ProducerService/ProduceStream");
            let mut request = Request::new(outbound);
            if !forwards {
                request.metadata_mut().insert(NO_FORWARD, MetadataValue::from_static("1"));
            }
            grpc.streaming(request, path, codec).await.map(Response::into_inner)
        };
        let answers = call.boxed().try_flatten_stream().boxed();
        ProduceStream { requests, answers, connection, taken }
    }

    /// Ends what the connection takes over, and gives the correlation of the last request that it
    /// has: that may have been sent, and so may those before it. Correlations rise.
    pub(super) fn end(self) -> u64 {
        self.taken.swap(ENDED, Ordering::AcqRel)
    }
}

/// The connection takes over a request, unless the stream has been ended.
fn take(taken: &AtomicU64, correlation: u64) -> bool {
    let unless_ended = |last| (last != ENDED).then_some(correlation);
    taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, unless_ended).is_ok()
}

/// The request that appends an encoded record set.
pub(super) fn request(
    topic: &str,
    partition: Option<i32>,
    set: Bytes,
    durability: i32,
    number: Option<Number>,
) -> ProduceRequest {
    ProduceRequest {
        topic: topic.to_owned(),
        partition,
        durability,
        data: Some(Data::Records(set)),
        sequence: number.map(|number| ProducerSequence {
            producer_id: number.identity.id,
            epoch: number.identity.epoch,
            first_sequence: number.first,
        }),
        ..ProduceRequest::default()
    }
}

/// The same request, with its records in their compressed form.
pub(super) fn compressed(
    request: ProduceRequest,
    codec: Compression,
    packed: Bytes,
    count: usize,
    shortest_ttl: Option<Duration>,
) -> ProduceRequest {
    ProduceRequest {
        data: Some(Data::Compressed(packed)),
        compression: codec_to_proto(codec),
        record_count: i32::try_from(count).unwrap_or(i32::MAX),
        shortest_ttl: shortest_ttl.map(duration_to_proto),
        ..request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_when_a_stream_ends_is_never_taken() {
        let taken = AtomicU64::new(0);
        assert!(take(&taken, 1) && take(&taken, 2));
        assert_eq!(taken.swap(ENDED, Ordering::AcqRel), 2);
        assert!(!take(&taken, 3));
        assert_eq!(taken.load(Ordering::Acquire), ENDED);
    }
}
