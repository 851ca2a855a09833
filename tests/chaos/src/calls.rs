//! Calls whose outcome is recorded, as every load makes them.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_proto::v1;
use tonic::Status;
use v1::produce_request::Data;

use crate::client::{Stubs, outcome_of, within};
use crate::history::{
    Answer, Call, Client, Committer, GroupState, NodeId, OperationId, PartitionState, Place,
    RecordedAs, Recorder,
};
use crate::value::ValueId;

/// Who calls whom.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) stubs: &'a Stubs,
    pub(crate) recorder: &'a Recorder,
    pub(crate) client: Client,
    /// 0 where there is one alone.
    pub(crate) node: NodeId,
    /// How long a call may take.
    pub(crate) timeout: Duration,
}

impl Caller<'_> {
    fn invoke(&self, call: Call) -> OperationId {
        self.recorder.invoke_at(self.node, self.client, call)
    }

    /// Appends one batch.
    pub(crate) async fn append(
        &self,
        place: Place,
        values: Vec<ValueId>,
        records: Vec<v1::Record>,
    ) -> Result<i64, (RecordedAs, Status)> {
        let message = within(append_request(&place, records), self.timeout);
        let id = self.invoke(Call::Append { place, values });
        let sent = self.stubs.producer().produce(message).await;
        let appended = sent.and_then(|sent| appended(sent.into_inner()));
        let recorded = record_append(self.recorder, id, &appended);
        appended.map(|(base, _)| base).map_err(|status| (recorded, status))
    }

    /// Asks where a partition ends; nothing when there is no answer.
    pub(crate) async fn latest(&self, place: &Place) -> Option<i64> {
        let position = Some(v1::offset_query::Position::Latest(()));
        let topic = place.topic.to_string();
        let query = v1::OffsetQuery { topic, partition: Some(place.partition), position };
        let request = v1::ListOffsetsRequest { queries: vec![query] };
        let id = self.invoke(Call::Latest { place: place.clone() });
        let answer = self.stubs.consumer().list_offsets(within(request, self.timeout)).await;
        let answer = answer.and_then(|answer| match answer.into_inner().offsets.as_slice() {
            [end] => Ok((end.offset, end.leader_epoch)),
            _ => Err(Status::internal("one partition has one end")),
        });
        let said = answer.as_ref().ok().copied();
        let outcome = outcome_of(answer.map(|(end, _)| Answer::Latest(end)));
        self.recorder.end_led(id, said.map(|(_, epoch)| epoch), outcome);
        said.map(|(end, _)| end)
    }

    /// Commits the offset of one partition, as a member of the group or as its administrator.
    pub(crate) async fn commit(
        &self,
        group: &Arc<str>,
        place: Place,
        offset: i64,
        by: Option<Committer>,
    ) -> RecordedAs {
        let released = by.as_ref().filter(|by| by.releases).map(|_| v1::TopicPartitions {
            topic: place.topic.to_string(),
            partitions: vec![place.partition],
        });
        let committed = v1::CommittedOffset {
            topic: place.topic.to_string(),
            partition: place.partition,
            offset,
            ..Default::default()
        };
        let request = v1::CommitOffsetRequest {
            group: group.to_string(),
            offsets: vec![committed],
            member_id: by.as_ref().map(|by| by.member.to_string()).unwrap_or_default(),
            generation: by.as_ref().map(|by| by.generation).unwrap_or_default(),
            release: released.into_iter().collect(),
        };
        let id = self.invoke(Call::Commit { group: Arc::clone(group), place, offset, by });
        let answer = self.stubs.consumer().commit_offset(within(request, self.timeout)).await;
        self.recorder.end(id, outcome_of(answer.map(|_| Answer::Done)))
    }

    /// Deletes the records of one partition below an offset.
    pub(crate) async fn trim(&self, place: Place, before: i64) -> RecordedAs {
        let partition = place.partition;
        let request = v1::DeleteRecordsRequest {
            topic: place.topic.to_string(),
            targets: vec![v1::DeleteRecordsTarget { partition, before_offset: before }],
        };
        let id = self.invoke(Call::Trim { place, before });
        let answer = self.stubs.admin().delete_records(within(request, self.timeout)).await;
        let answer = answer.and_then(|answer| match answer.into_inner().partitions.as_slice() {
            [deleted] => Ok(Answer::Trimmed(deleted.log_start_offset)),
            _ => Err(Status::internal("one partition has one start")),
        });
        self.recorder.end(id, outcome_of(answer))
    }

    /// Asks what the node knows of every partition of a topic.
    pub(crate) async fn describe(&self, topic: &str) -> RecordedAs {
        let id = self.invoke(Call::Describe { topic: topic.into() });
        let request = v1::GetTopicRequest { name: topic.to_owned() };
        let answer = self.stubs.admin().get_topic(within(request, self.timeout)).await;
        let described = |found: v1::GetTopicResponse| {
            Answer::Described(found.partitions.into_iter().map(state).collect())
        };
        self.recorder.end(id, outcome_of(answer.map(|found| described(found.into_inner()))))
    }

    /// Asks how a consumer group is.
    pub(crate) async fn describe_group(&self, group: &Arc<str>) -> RecordedAs {
        let id = self.invoke(Call::DescribeGroup { group: Arc::clone(group) });
        let request = v1::GetConsumerGroupRequest { group: group.to_string() };
        let answer = self.stubs.admin().get_consumer_group(within(request, self.timeout)).await;
        let described = |found: v1::GetConsumerGroupResponse| {
            Answer::Group(group_state(found.group.unwrap_or_default()))
        };
        self.recorder.end(id, outcome_of(answer.map(|found| described(found.into_inner()))))
    }
}

fn group_state(found: v1::ConsumerGroup) -> GroupState {
    let has = |member: v1::ConsumerGroupMember| {
        let assigned = member.assigned.into_iter();
        let places = assigned.map(|found| Place::new(found.topic, found.partition)).collect();
        (Arc::from(member.member_id), places)
    };
    GroupState {
        is_stable: found.state() == v1::ConsumerGroupState::Stable,
        generation: found.generation,
        members: found.members.into_iter().map(has).collect(),
    }
}

fn state(found: v1::PartitionInfo) -> PartitionState {
    PartitionState {
        partition: found.partition,
        leader: found.leader_broker_id,
        epoch: found.leader_epoch,
        log_start: found.log_start_offset,
        high_watermark: found.high_watermark,
    }
}

/// A batch for one partition.
pub(crate) fn append_request(place: &Place, records: Vec<v1::Record>) -> v1::ProduceRequest {
    v1::ProduceRequest {
        topic: place.topic.to_string(),
        partition: Some(place.partition),
        data: Some(Data::Records(v1::RecordSet { records })),
        ..Default::default()
    }
}

/// The offset of the first record and the epoch of the leader, of an append that got what it asked
/// for.
pub(crate) fn appended(response: v1::ProduceResponse) -> Result<(i64, i64), Status> {
    let [append] = response.appends.as_slice() else {
        return Err(Status::internal("an append to one partition has one answer"));
    };
    match append.achieved() {
        v1::Durability::Quorum => Ok((append.base_offset, append.leader_epoch)),
        other => Err(Status::internal(format!("asked for a quorum, got {other:?}"))),
    }
}

/// Records what became of an append.
pub(crate) fn record_append(
    recorder: &Recorder,
    id: OperationId,
    appended: &Result<(i64, i64), Status>,
) -> RecordedAs {
    let epoch = appended.as_ref().ok().map(|(_, epoch)| *epoch);
    let answer = appended.clone().map(|(base, _)| Answer::Appended(base));
    recorder.end_led(id, epoch, outcome_of(answer))
}

/// What became of one append of a stream.
pub(crate) fn streamed(answer: v1::ProduceStreamResponse) -> Result<(i64, i64), Status> {
    match (answer.status, answer.response) {
        (Some(status), _) if status.code != 0 => {
            // As if it were a call's.
            let details = prost::Message::encode_to_vec(&status);
            let code = tonic::Code::from_i32(status.code);
            Err(Status::with_details(code, status.message, details.into()))
        }
        (_, Some(response)) => appended(response),
        (_, None) => Err(Status::internal("an append that went well is described")),
    }
}
