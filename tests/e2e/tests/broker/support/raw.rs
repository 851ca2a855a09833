//! HTTP/2 by hand: what no stub would send.

use std::future::poll_fn;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;
use tonic::Status;

use super::soon;

/// A message with the prefix that gRPC gives it.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed.freeze()
}

/// One connection.
pub(crate) struct Raw {
    requests: SendRequest<Bytes>,
    address: String,
}

/// What came back: the body, and headers and trailers together.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) http: StatusCode,
    pub(crate) headers: HeaderMap,
}

impl RawAnswer {
    /// The gRPC status, if there is one.
    pub(crate) fn status(&self) -> Option<Status> {
        Status::from_header_map(&self.headers)
    }
}

impl Raw {
    pub(crate) async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move {
            // It ends when the test or the broker ends it.
            let _ = connection.await;
        });
        Self { requests, address: address.to_owned() }
    }

    /// Begins a call: the headers go out.
    pub(crate) async fn begin(
        &mut self,
        method: &str,
        headers: &[(&str, &str)],
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let uri = format!("http://{}/ropewalk.v1.{method}", self.address);
        let mut request =
            Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        poll_fn(|context| self.requests.poll_ready(context)).await?;
        self.requests.send_request(request.body(()).unwrap(), false)
    }

    /// One call with this body, to its end.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<RawAnswer, h2::Error> {
        let (response, mut sending) = self.begin(method, headers).await?;
        // The stream may be over before all is sent: the answer tells.
        let _ = sending.send_data(body, true);
        soon("an answer", answer(response)).await
    }

    /// The status of a call, where the broker has to give one.
    pub(crate) async fn status(&mut self, method: &str, body: Bytes) -> Status {
        let answer = self.call(method, &[], body).await.unwrap();
        answer.status().unwrap_or_else(|| panic!("no gRPC status: {answer:?}"))
    }
}

pub(crate) async fn answer(response: ResponseFuture) -> Result<RawAnswer, h2::Error> {
    let (parts, mut body) = response.await?.into_parts();
    let mut headers = parts.headers;
    if let Some(trailers) = drain(&mut body).await? {
        headers.extend(trailers);
    }
    Ok(RawAnswer { http: parts.status, headers })
}

async fn drain(body: &mut RecvStream) -> Result<Option<HeaderMap>, h2::Error> {
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    body.trailers().await
}
