//! Calls with as little work in the client as gRPC allows: record sets stay bytes, both ways.
//!
//! The Rust client library has a scenario of its own. What is measured with this is the broker.

use std::error::Error;

use futures::Stream;
use http::uri::PathAndQuery;
use ropewalk_proto::broker::{
    InitProducerRequest, InitProducerResponse, ProduceRequest, ProduceResponse,
    ProduceStreamRequest, ProduceStreamResponse, SubscribeRequest, SubscribeResponse,
};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

/// Why a benchmark could not be run. It ends the program with this text.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What a broker may send ahead of what is read.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

const PRODUCE: &str = "/ropewalk.v1.ProducerService/Produce";
const INIT_PRODUCER: &str = "/ropewalk.v1.ProducerService/InitProducer";
const PRODUCE_STREAM: &str = "/ropewalk.v1.ProducerService/ProduceStream";
const SUBSCRIBE: &str = "/ropewalk.v1.ConsumerService/Subscribe";

/// As the Rust SDK takes them.
const FRAME: u32 = 256 * 1024;

/// A connection of its own to a broker.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    grpc: Grpc<Channel>,
}

impl Wire {
    pub(crate) async fn connect(address: &str) -> Result<Self, Failure> {
        Ok(Self { grpc: Grpc::new(endpoint(address)?.connect().await?) })
    }

    /// A connection that is made when it is used, and made again when it is lost.
    pub(crate) fn lazy(address: &str) -> Result<Self, Failure> {
        Ok(Self { grpc: Grpc::new(endpoint(address)?.connect_lazy()) })
    }

    pub(crate) async fn produce(
        &mut self,
        request: ProduceRequest,
    ) -> Result<ProduceResponse, Failure> {
        self.grpc.ready().await?;
        let path = PathAndQuery::from_static(PRODUCE);
        let codec = ProstCodec::default();
        let answer = self.grpc.unary(Request::new(request), path, codec).await?;
        Ok(answer.into_inner())
    }

    /// The id of a producer of its own, whose epoch is 0.
    pub(crate) async fn init_producer(&mut self) -> Result<u64, Failure> {
        self.grpc.ready().await?;
        let path = PathAndQuery::from_static(INIT_PRODUCER);
        let codec = ProstCodec::<_, InitProducerResponse>::default();
        let request = Request::new(InitProducerRequest::default());
        Ok(self.grpc.unary(request, path, codec).await?.into_inner().producer_id)
    }

    pub(crate) async fn produce_stream(
        &mut self,
        requests: impl Stream<Item = ProduceStreamRequest> + Send + 'static,
    ) -> Result<Streaming<ProduceStreamResponse>, Failure> {
        self.grpc.ready().await?;
        let path = PathAndQuery::from_static(PRODUCE_STREAM);
        let codec = ProstCodec::default();
        let answers = self.grpc.streaming(Request::new(requests), path, codec);
        Ok(answers.await?.into_inner())
    }

    pub(crate) async fn subscribe(
        &mut self,
        request: SubscribeRequest,
    ) -> Result<Streaming<SubscribeResponse>, Failure> {
        self.grpc.ready().await?;
        let path = PathAndQuery::from_static(SUBSCRIBE);
        let codec = ProstCodec::default();
        let events = self.grpc.server_streaming(Request::new(request), path, codec);
        Ok(events.await?.into_inner())
    }
}

fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME))
}
