//! Calls of one broker, proposals or fetches, and who waits for their answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use prost::Message as _;
use ropewalk_broker::peers::{Fetched, ProposeError, Receipt, RemoteError};
use ropewalk_core::{NodeId, limits};
use ropewalk_proto::internal as pb;
use ropewalk_proto::internal::call_request::Call;
use ropewalk_proto::internal::call_response::Outcome;
use ropewalk_proto::internal::peer_service_client::PeerServiceClient;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::connection::Channel;
use super::hail::Hail;
use super::link::{Lane, LaneKind};
use super::queue::{Counts, Queue, Refused};
use super::wire::WireError;
use super::{call_wire, fetch_wire};

/// The answer to a call.
#[derive(Debug)]
pub(super) enum Answer {
    /// To a proposal.
    Receipt(Receipt),
    /// To a fetch.
    Fetched(Fetched),
}

type Answered = Result<Answer, RemoteError>;

/// The calls of one kind to one broker, and the stream that carries them.
pub(super) struct CallLane {
    kind: LaneKind,
    to: NodeId,
    queue: Arc<Queue<pb::CallRequest>>,
    waiting: Arc<Mutex<Waiting>>,
    limit: usize,
}

/// The calls that have no answer yet, queued or sent.
struct Waiting {
    calls: BTreeMap<u64, WaitingCall>,
    bytes: usize,
    next_id: u64,
    why: Arc<str>,
}

struct WaitingCall {
    bytes: usize,
    is_sent: bool,
    reply: oneshot::Sender<Answered>,
}

impl Waiting {
    fn settle(&mut self, id: u64, answer: Answered) {
        if let Some(call) = self.calls.remove(&id) {
            self.bytes -= call.bytes;
            // The caller may have gone.
            let _ = call.reply.send(answer);
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CallLane {
    /// Calls of at most `limit` bytes that wait for an answer.
    pub(super) fn new(kind: LaneKind, to: NodeId, limit: usize) -> Self {
        let waiting = Waiting {
            calls: BTreeMap::new(),
            bytes: 0,
            next_id: 0,
            why: "there is no connection yet".into(),
        };
        // What waits for an answer bounds what waits to be sent.
        let queue = Arc::new(Queue::new(usize::MAX));
        Self { kind, to, queue, waiting: Arc::new(Mutex::new(waiting)), limit }
    }

    /// Queues a call that takes `bytes`. It is queued when this returns.
    pub(super) fn call(&self, call: Call, bytes: usize) -> BoxFuture<'static, Answered> {
        if bytes > limits::MAX_PEER_CALL_BYTES {
            let limit = limits::MAX_PEER_CALL_BYTES;
            let why = format!("a call takes {limit} bytes at most, and this one has {bytes}");
            self.queue.count_dropped();
            return ready(Err(self.unreachable(why.into()))).boxed();
        }
        let (reply, answer) = oneshot::channel();
        let id = {
            let mut waiting = lock(&self.waiting);
            let is_full = !waiting.calls.is_empty() && waiting.bytes + bytes > self.limit;
            if is_full || waiting.calls.len() >= limits::MAX_PEER_CALLS {
                self.queue.count_dropped();
                return ready(Err(ProposeError::Overloaded.into())).boxed();
            }
            let id = waiting.next_id;
            waiting.next_id += 1;
            waiting.bytes += bytes;
            waiting.calls.insert(id, WaitingCall { bytes, is_sent: false, reply });
            id
        };
        let request = pb::CallRequest { id, call: Some(call) };
        let size = request.encoded_len();
        if let Err(Refused::Closed | Refused::Full) = self.queue.push(request, size) {
            let mut waiting = lock(&self.waiting);
            let error = self.unreachable(Arc::clone(&waiting.why));
            waiting.settle(id, Err(error));
        }
        let to = self.to;
        async move { answer.await.unwrap_or_else(|_| Err(lost(to))) }.boxed()
    }

    fn unreachable(&self, why: Arc<str>) -> RemoteError {
        RemoteError::Unreachable { to: self.to.to_string(), why }
    }
}

fn lost(to: NodeId) -> RemoteError {
    RemoteError::Lost { to: to.to_string() }
}

/// `None` where the other side knows of no answer.
fn outcome(outcome: Option<Outcome>) -> Result<Option<Answered>, WireError> {
    Ok(Some(match outcome.ok_or(WireError::Missing("the outcome of a call"))? {
        Outcome::Receipt(receipt) => Ok(Answer::Receipt(call_wire::receipt_from_wire(receipt)?)),
        Outcome::ProposeError(error) => Err(call_wire::propose_error_from_wire(&error)?.into()),
        Outcome::Fetched(fetched) => Ok(Answer::Fetched(fetch_wire::fetched_from_wire(fetched)?)),
        Outcome::FetchError(error) => Err(fetch_wire::fetch_error_from_wire(error)?.into()),
        Outcome::Unanswered(pb::Unanswered {}) => return Ok(None),
    }))
}

/// The next call to send, marked as sent; calls that nobody waits for any more are left out.
async fn next_sent(
    queue: &Queue<pb::CallRequest>,
    waiting: &Mutex<Waiting>,
    session: u64,
) -> Option<pb::CallRequest> {
    loop {
        let request = queue.next(session).await?;
        if let Some(call) = lock(waiting).calls.get_mut(&request.id) {
            call.is_sent = true;
            return Some(request);
        }
    }
}

impl Lane for CallLane {
    type Answer = pb::CallResponse;

    fn kind(&self) -> LaneKind {
        self.kind
    }

    async fn open(
        &self,
        mut client: PeerServiceClient<Channel>,
        hail: Hail,
    ) -> Result<Response<Streaming<Self::Answer>>, Status> {
        let session = self.queue.begin();
        let source = (Arc::clone(&self.queue), Arc::clone(&self.waiting));
        let calls = futures::stream::unfold(source, move |(queue, waiting)| async move {
            let request = next_sent(&queue, &waiting, session).await?;
            Some((request, (queue, waiting)))
        });
        let mut request = Request::new(calls);
        hail.write(request.metadata_mut());
        client.call(request).await
    }

    fn begin(&self) {
        self.queue.open();
    }

    /// Hands an answer to who waits for it.
    fn answered(&self, response: pb::CallResponse) {
        let answer = match outcome(response.outcome) {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(lost(self.to)),
            Err(error) => {
                tracing::warn!(broker = self.to.0, %error, "an answer cannot be read");
                Err(lost(self.to))
            }
        };
        lock(&self.waiting).settle(response.id, answer);
    }

    fn end(&self, why: &str) {
        // First of all nothing more is taken: then what waits is all there is.
        self.queue.close();
        let (calls, why) = {
            let mut waiting = lock(&self.waiting);
            waiting.bytes = 0;
            waiting.why = why.into();
            (std::mem::take(&mut waiting.calls), Arc::clone(&waiting.why))
        };
        for call in calls.into_values() {
            let error = match call.is_sent {
                true => lost(self.to),
                false => self.unreachable(Arc::clone(&why)),
            };
            let _ = call.reply.send(Err(error));
        }
    }

    fn counts(&self) -> Counts {
        self.queue.counts()
    }
}
