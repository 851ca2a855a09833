//! Members of groups: what their streams bring, a test says event by event.

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use ropewalk_proto::v1;
use ropewalk_proto::v1::subscribe_response::Event;
use tokio::sync::mpsc;
use tonic::{Code, Response, Status};

use super::{Fake, status, status_with};

/// The other end of a member's stream. Dropped, it ends the stream.
pub struct MemberStream {
    pub request: v1::SubscribeRequest,
    events: mpsc::UnboundedSender<Result<v1::SubscribeResponse, Status>>,
}

impl MemberStream {
    fn event(&self, event: Event) {
        let _ = self.events.send(Ok(v1::SubscribeResponse { event: Some(event) }));
    }

    pub fn started(&self, generation: i64) {
        let member_id = "m".to_owned();
        self.event(Event::Started(v1::Started { member_id, generation, positions: Vec::new() }));
    }

    /// Partitions that have ended, those that are assigned, with their offsets, and revoked ones.
    pub fn assignment(
        &self,
        generation: i64,
        ended: &[i32],
        assigned: &[(i32, i64)],
        revoked: &[i32],
    ) {
        let of = |partitions: &[i32]| v1::TopicPartitions {
            topic: "t".to_owned(),
            partitions: partitions.to_vec(),
        };
        let at = |(partition, offset): &(i32, i64)| v1::PartitionPosition {
            topic: "t".to_owned(),
            partition: *partition,
            offset: *offset,
            ..Default::default()
        };
        let revoked = v1::Revocation { partitions: Some(of(revoked)), deadline: None };
        self.event(Event::Assignment(v1::Assignment {
            generation,
            ended: vec![of(ended)],
            assigned: assigned.iter().map(at).collect(),
            revoked: vec![revoked],
            ..Default::default()
        }));
    }

    /// So many records from an offset on.
    pub fn batch(&self, partition: i32, base_offset: i64, count: i32) {
        let record = v1::Record { value: Some("x".into()), ..Default::default() };
        let records = vec![record; count as usize];
        self.event(Event::Batch(v1::RecordBatch {
            topic: "t".to_owned(),
            partition,
            base_offset,
            record_count: count,
            data: Some(v1::record_batch::Data::Records(v1::RecordSet { records })),
            ..Default::default()
        }));
    }

    pub fn gap(&self, partition: i32, from_offset: i64, to_offset: i64) {
        let reason = v1::gap::Reason::Deleted.into();
        let topic = "t".to_owned();
        self.event(Event::Gap(v1::Gap { topic, partition, from_offset, to_offset, reason }));
    }

    pub fn heartbeat(&self) {
        self.event(Event::Heartbeat(v1::Heartbeat::default()));
    }

    pub fn ask_for_plan(&self, request: v1::PlanRequest) {
        self.event(Event::PlanRequest(request));
    }

    /// Breaks the stream as a broker does that shuts down.
    pub fn drain(self) {
        let _ = self.events.send(Err(status(Code::Unavailable, "BROKER_DRAINING")));
    }

    /// Ends the stream as one of a member that the group has gone on without.
    pub fn fence(self) {
        let _ = self.events.send(Err(status(Code::FailedPrecondition, "MEMBER_FENCED")));
    }

    /// The same, as another member has taken its instance name.
    pub fn take_instance(self) {
        let cause = ("cause", "instance_taken");
        let taken = status_with(Code::FailedPrecondition, "MEMBER_FENCED", &[cause]);
        let _ = self.events.send(Err(taken));
    }
}

impl Fake {
    pub(super) fn join(
        &self,
        request: v1::SubscribeRequest,
    ) -> BoxStream<'static, Result<v1::SubscribeResponse, Status>> {
        let (events, mut queue) = mpsc::unbounded_channel();
        self.change(|state| {
            state.subscriptions.push(request.clone());
            state.members.push_back(MemberStream { request, events });
        });
        stream::poll_fn(move |context| queue.poll_recv(context)).boxed()
    }

    /// The next stream that a member has opened.
    pub async fn member(&self) -> MemberStream {
        self.until(|state| !state.members.is_empty()).await;
        self.change(|state| state.members.pop_front()).unwrap()
    }

    pub(super) fn commit_of_member(
        &self,
        request: v1::CommitOffsetRequest,
    ) -> Result<Response<v1::CommitOffsetResponse>, Status> {
        self.change(|state| {
            let names = |partitions: &[i32]| {
                request.offsets.iter().any(|at| partitions.contains(&at.partition))
            };
            let refusal = if names(&state.out_of_range) {
                Some(status(Code::OutOfRange, "OFFSET_OUT_OF_RANGE"))
            } else if names(&state.fenced) {
                Some(status(Code::FailedPrecondition, "MEMBER_FENCED"))
            } else {
                None
            };
            let released: Vec<_> =
                request.release.iter().flat_map(|of| of.partitions.clone()).collect();
            state.commits.push((request, refusal.is_none()));
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            if state.unanswered > 0 {
                state.unanswered -= 1;
                state.fenced.extend(released);
                return Err(status(Code::Unavailable, "LEADER_CHANGED"));
            }
            Ok(Response::new(v1::CommitOffsetResponse {}))
        })
    }

    /// What was committed, as partition and offset, in the order of its commits.
    pub fn kept(&self) -> Vec<(i32, i64)> {
        let state = self.state();
        let taken = state.commits.iter().filter(|(_, is_taken)| *is_taken);
        let offsets = taken.flat_map(|(request, _)| &request.offsets);
        offsets.map(|at| (at.partition, at.offset)).collect()
    }
}
