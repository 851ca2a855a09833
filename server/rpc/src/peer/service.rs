//! What other brokers call: streams are admitted, their messages checked and handed to the broker.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use prost::Message as _;
use ropewalk_broker::peers::{Fetch, PeerHandler, Removal};
use ropewalk_core::limits;
use ropewalk_proto::internal as pb;
use ropewalk_proto::internal::call_request::Call;
use ropewalk_proto::internal::call_response::Outcome;
use ropewalk_proto::internal::peer_service_server::PeerService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::hail::{Caller, Hail, HailError, agree, write_agreed};
use super::rarely::Rarely;
use super::transport::PeerTransport;
use super::turns::{Turn, Turns};
use super::{call_wire, fetch_wire, raft_wire};

/// How often a refused stream is told of.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The service of the peer port.
#[derive(Clone)]
pub(super) struct Peering {
    transport: Arc<PeerTransport>,
    told: Arc<Rarely>,
    turns: Arc<Turns>,
}

impl Peering {
    pub(super) fn new(transport: Arc<PeerTransport>) -> Self {
        let told = Arc::new(Rarely::new(TELL_EVERY));
        Self { transport, told, turns: Arc::default() }
    }

    /// The broker whose stream this is.
    fn admit(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let cluster = self.transport.cluster();
        let protocols = self.transport.protocols();
        let admitted = Hail::read(metadata, self.transport.node(), cluster, protocols);
        let admitted = admitted.and_then(|caller| self.is_member(caller).map(|()| caller));
        admitted.map_err(|error| self.refuse(error))
    }

    /// Whether the caller was not removed from the cluster.
    fn is_member(&self, caller: Caller) -> Result<(), HailError> {
        let known = caller.directory.zip(self.transport.handler());
        match known.and_then(|(directory, broker)| broker.removal(caller.node, directory)) {
            Some(Removal::Removed) => Err(HailError::Removed(caller.node)),
            Some(Removal::Replaced) => Err(HailError::Replaced(caller.node)),
            None => Ok(()),
        }
    }

    fn refuse(&self, error: HailError) -> Status {
        if error != HailError::NoCluster {
            self.tell(&error);
        }
        error.into()
    }

    fn handler(&self) -> Result<Arc<dyn PeerHandler>, Status> {
        self.transport.handler().ok_or_else(|| Status::unavailable("the broker is not running"))
    }

    /// Tells the operator, now and then, what is refused.
    fn tell(&self, error: &dyn std::fmt::Display) {
        if let Some(held_back) = self.told.ask() {
            tracing::warn!(held_back, "a stream of another broker was refused: {error}");
        }
    }

    /// Hands over frames until the stream ends or has one that is malformed, and then that it has.
    async fn receive(
        &self,
        from: Caller,
        frames: Streaming<pb::ExchangeRequest>,
    ) -> Result<(), Status> {
        let ended = self.hand_over(from, frames).await;
        if let Some(handler) = self.transport.handler() {
            handler.silent(from.node).await;
        }
        ended
    }

    async fn hand_over(
        &self,
        from: Caller,
        mut frames: Streaming<pb::ExchangeRequest>,
    ) -> Result<(), Status> {
        while let Some(frame) = frames.message().await? {
            // It may have been needed when its stream began.
            self.is_member(from).map_err(|error| self.refuse(error))?;
            let came_in = frame.messages.len();
            let messages =
                raft_wire::messages(frame, from.node, self.transport.node()).map_err(|error| {
                    self.tell(&error);
                    Status::from(error)
                })?;
            self.transport.received(messages.len());
            self.transport.unknown(came_in - messages.len());
            self.handler()?.receive(messages).await;
        }
        Ok(())
    }

    /// Begins calls until the stream ends or has one that is malformed, or its proposals come later
    /// than those of a newer stream. Fetches end with it.
    async fn begin_calls(
        &self,
        turn: Turn,
        mut calls: Streaming<pb::CallRequest>,
        answers: &mpsc::Sender<Sent>,
    ) -> Result<(), Status> {
        let slots = Arc::new(Semaphore::new(limits::MAX_PEER_CALLS));
        let room = Arc::new(Semaphore::new(limits::PEER_FETCH_BUDGET));
        let mut fetches = JoinSet::new();
        while let Some(request) = calls.message().await? {
            while fetches.try_join_next().is_some() {}
            let slot = Arc::clone(&slots).acquire_owned().await;
            let slot = slot.map_err(|_| Status::internal("the slots of calls were closed"))?;
            let ticket = Ticket { id: request.id, answers: answers.clone(), slot: Some(slot) };
            let malformed = |error| {
                self.tell(&error);
                Status::from(error)
            };
            match request.call {
                Some(Call::Proposal(proposal)) if proposal.kind.is_some() => {
                    let proposal = call_wire::proposal_from_wire(proposal).map_err(malformed)?;
                    let reply = Box::new(move |result| {
                        let outcome = match result {
                            Ok(receipt) => Outcome::Receipt(call_wire::receipt_to_wire(receipt)),
                            Err(error) => {
                                Outcome::ProposeError(call_wire::propose_error_to_wire(error))
                            }
                        };
                        ticket.answer(outcome, None);
                    });
                    let handler = self.handler()?;
                    let Some(_taken) = turn.take().await else { return Ok(()) };
                    handler.submit(proposal, reply).await;
                }
                Some(Call::Fetch(fetch)) => {
                    let fetch = fetch_wire::fetch_from_wire(&fetch).map_err(malformed)?;
                    fetches.spawn(answer_fetch(self.handler()?, fetch, ticket, Arc::clone(&room)));
                }
                // Of a later version. Without an answer its ticket says so.
                Some(Call::Proposal(_)) | None => self.transport.unknown(1),
            }
        }
        Ok(())
    }
}

/// Waits for records without memory for them, and then reads with as much as they may take.
async fn answer_fetch(
    handler: Arc<dyn PeerHandler>,
    fetch: Fetch,
    ticket: Ticket,
    room: Arc<Semaphore>,
) {
    if !fetch.wait.is_zero() {
        handler.await_records(fetch.group, fetch.offset, fetch.wait).await;
    }
    let bytes = u32::try_from(fetch.max_bytes).unwrap_or(u32::MAX);
    // Closed by nobody; without it the ticket says that there is no answer.
    let Ok(room) = room.acquire_many_owned(bytes).await else { return };
    let outcome = match handler.fetch(Fetch { wait: Duration::ZERO, ..fetch }).await {
        Ok(fetched) => Outcome::Fetched(fetch_wire::fetched_to_wire(fetched)),
        Err(error) => Outcome::FetchError(fetch_wire::fetch_error_to_wire(error)),
    };
    ticket.answer(outcome, Some(room));
}

/// An answer on its way, with the room that it takes. The channel of answers has a place for each
/// slot of a call.
type Sent = Result<(pb::CallResponse, [Option<OwnedSemaphorePermit>; 2]), Status>;

/// The duty to answer a call.
struct Ticket {
    id: u64,
    answers: mpsc::Sender<Sent>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Ticket {
    fn answer(mut self, outcome: Outcome, room: Option<OwnedSemaphorePermit>) {
        self.send(outcome, room);
    }

    fn send(&mut self, outcome: Outcome, room: Option<OwnedSemaphorePermit>) {
        let Some(slot) = self.slot.take() else { return };
        let mut response = pb::CallResponse { id: self.id, outcome: Some(outcome) };
        let (bytes, limit) = (response.encoded_len(), limits::MAX_PEER_MESSAGE_BYTES);
        if bytes > limit {
            tracing::error!(bytes, limit, "an answer to another broker is larger than any may be");
            response.outcome = Some(Outcome::Unanswered(pb::Unanswered {}));
        }
        // The stream may have ended. It is never full: a slot is held for each answer.
        let _ = self.answers.try_send(Ok((response, [Some(slot), room])));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.send(Outcome::Unanswered(pb::Unanswered {}), None);
    }
}

/// The answer to a stream that was admitted.
fn accepted<T>(caller: Caller, answers: T) -> Response<T> {
    let mut response = Response::new(answers);
    write_agreed(caller.protocol, response.metadata_mut());
    response
}

#[tonic::async_trait]
impl PeerService for Peering {
    type ExchangeStream = BoxStream<'static, Result<pb::ExchangeResponse, Status>>;
    type CallStream = BoxStream<'static, Result<pb::CallResponse, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<pb::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let from = self.admit(request.metadata())?;
        let peering = self.clone();
        let (end, ended) = oneshot::channel();
        // A task of its own: what comes in does not wait for what goes out.
        tokio::spawn(async move {
            let result = peering.receive(from, request.into_inner()).await;
            let _ = end.send(result);
        });
        let answer = stream::once(ended).filter_map(|ended| async {
            match ended {
                Ok(Ok(())) | Err(_) => None,
                Ok(Err(status)) => Some(Err(status)),
            }
        });
        Ok(accepted(from, answer.boxed()))
    }

    async fn call(
        &self,
        request: Request<Streaming<pb::CallRequest>>,
    ) -> Result<Response<Self::CallStream>, Status> {
        let from = self.admit(request.metadata())?;
        let (peering, turn) = (self.clone(), self.turns.next(from.node));
        // One more than there are slots: why the stream ends.
        let (answers, mut sent) = mpsc::channel::<Sent>(limits::MAX_PEER_CALLS + 1);
        tokio::spawn(async move {
            if let Err(status) = peering.begin_calls(turn, request.into_inner(), &answers).await {
                let _ = answers.try_send(Err(status));
            }
        });
        let sent = stream::poll_fn(move |context| sent.poll_recv(context));
        let answers = sent.map(|sent| sent.map(|(response, _room)| response));
        Ok(accepted(from, answers.boxed()))
    }

    async fn introduce(
        &self,
        request: Request<pb::IntroduceRequest>,
    ) -> Result<Response<pb::IntroduceResponse>, Status> {
        agree(self.transport.protocols(), request.metadata())?;
        let other = fetch_wire::introduction_from_wire(request.into_inner().introduction)?;
        let own = self.handler()?.introduce(other);
        let introduction = Some(fetch_wire::introduction_to_wire(own));
        Ok(Response::new(pb::IntroduceResponse { introduction }))
    }
}
