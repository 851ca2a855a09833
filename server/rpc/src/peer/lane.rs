//! The connections that carry raft messages to one broker.

use std::sync::Arc;

use ropewalk_broker::peers::Message;
use ropewalk_consensus::MessageKind;
use ropewalk_core::limits;
use ropewalk_proto::internal as pb;
use ropewalk_proto::internal::peer_service_client::PeerServiceClient;
use tonic::{Request, Response, Status, Streaming};

use super::connection::Channel;
use super::hail::Hail;
use super::link::{Lane, LaneKind};
use super::queue::{Counts, Queue};
use super::raft_wire;

/// The queue of raft messages of one kind to one broker, and the stream that it feeds.
pub(super) struct RaftLane {
    kind: LaneKind,
    queue: Arc<Queue<Message>>,
}

impl RaftLane {
    pub(super) fn new(kind: LaneKind) -> Self {
        let limit = match kind {
            LaneKind::Bulk => limits::PEER_BULK_BYTES,
            _ => limits::PEER_CONTROL_BYTES,
        };
        Self { kind, queue: Arc::new(Queue::new(limit)) }
    }

    /// Which one a message belongs to. An append without entries stays behind those with some: one
    /// that came first would be refused, and raft would begin anew from what is known to match.
    pub(super) fn of(message: &Message) -> LaneKind {
        match message.kind {
            MessageKind::Append | MessageKind::Snapshot => LaneKind::Bulk,
            _ => LaneKind::Control,
        }
    }

    /// Queues a message; `false` when it was dropped.
    pub(super) fn send(&self, message: Message) -> bool {
        let size = message.size();
        if size > limits::MAX_PEER_MESSAGE_BYTES {
            tracing::error!(
                group = message.group.0,
                size,
                limit = limits::MAX_PEER_MESSAGE_BYTES,
                "a message to another broker is larger than any may be"
            );
            self.queue.count_dropped();
            return false;
        }
        self.queue.push(message, size).is_ok()
    }
}

impl Lane for RaftLane {
    type Answer = pb::ExchangeResponse;

    fn kind(&self) -> LaneKind {
        self.kind
    }

    async fn open(
        &self,
        mut client: PeerServiceClient<Channel>,
        hail: Hail,
    ) -> Result<Response<Streaming<Self::Answer>>, Status> {
        let (queue, session) = (Arc::clone(&self.queue), self.queue.begin());
        let frames = futures::stream::unfold(queue, move |queue| async move {
            let messages = queue.take(session, limits::PEER_FRAME_BYTES).await?;
            Some((raft_wire::frame(messages), queue))
        });
        let mut request = Request::new(frames);
        hail.write(request.metadata_mut());
        client.exchange(request).await
    }

    fn begin(&self) {
        self.queue.open();
    }

    fn answered(&self, pb::ExchangeResponse {}: pb::ExchangeResponse) {}

    fn end(&self, _why: &str) {
        self.queue.close();
    }

    fn counts(&self) -> Counts {
        self.queue.counts()
    }
}
