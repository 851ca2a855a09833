//! An open ProduceStream.

use ropewalk_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Node, in_stream, soon};

/// Requests that the client's own queue holds.
const QUEUE: usize = 64;

/// Both sides of a stream. A request's correlation is its number, from 0.
pub(crate) struct Pipe {
    requests: Option<mpsc::Sender<v1::ProduceStreamRequest>>,
    answers: Streaming<v1::ProduceStreamResponse>,
    next: u64,
}

impl Pipe {
    pub(crate) async fn open(node: &Node) -> Self {
        let (requests, stream) = mpsc::channel(QUEUE);
        let call = async { node.producer().produce_stream(ReceiverStream::new(stream)).await };
        let answers = soon("a stream", call).await.unwrap().into_inner();
        Self { requests: Some(requests), answers, next: 0 }
    }

    /// Sends a request, and returns its correlation.
    pub(crate) async fn send(&mut self, request: v1::ProduceRequest) -> u64 {
        let correlation = self.next;
        self.next += 1;
        let request = v1::ProduceStreamRequest { correlation, request: Some(request) };
        let requests = self.requests.as_ref().expect("the client's side is open");
        soon("room in the stream", requests.send(request)).await.expect("the stream is open");
        correlation
    }

    /// Sends a request, unless the stream takes none for now.
    pub(crate) fn try_send(&mut self, request: v1::ProduceRequest) -> bool {
        let request = v1::ProduceStreamRequest { correlation: self.next, request: Some(request) };
        let requests = self.requests.as_ref().expect("the client's side is open");
        let sent = requests.try_send(request).is_ok();
        self.next += u64::from(sent);
        sent
    }

    /// The client has nothing more to send.
    pub(crate) fn close(&mut self) {
        self.requests = None;
    }

    /// The next answer; `None` at an end with OK.
    pub(crate) async fn next(
        &mut self,
    ) -> Result<Option<(u64, Result<v1::ProduceResponse, Status>)>, Status> {
        let Some(answer) = soon("an answer", self.answers.message()).await? else {
            return Ok(None);
        };
        let result = match answer.status {
            Some(status) if status.code != 0 => Err(in_stream(&status)),
            _ => Ok(answer.response.expect("an append that succeeded is described")),
        };
        Ok(Some((answer.correlation, result)))
    }

    pub(crate) async fn answer(&mut self) -> (u64, Result<v1::ProduceResponse, Status>) {
        self.next().await.unwrap().expect("the stream goes on")
    }

    /// The next answer, which must be an append: its correlation and base offset.
    pub(crate) async fn appended(&mut self) -> (u64, v1::PartitionAppend) {
        let (correlation, result) = self.answer().await;
        (correlation, result.unwrap().appends.remove(0))
    }
}
