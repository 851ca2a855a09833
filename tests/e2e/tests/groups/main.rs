//! Consumer groups over real brokers, through stubs alone: who has what, when it moves, and whose
//! commit counts.

#![allow(clippy::unwrap_used)]

mod admin;
mod failover;
mod fencing;
mod flow;
mod member;
mod people;
mod rebalance;
mod sdk;
mod swarm;
// The cluster's own tests use the rest of it.
#[allow(dead_code)]
#[path = "../cluster/support.rs"]
mod support;

use ropewalk_harness::Broker;
use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;
use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;
use ropewalk_proto::v1::producer_service_client::ProducerServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::member::connect;
use crate::support::soon;

/// A broker alone.
struct Node {
    broker: Broker,
    channel: Channel,
}

impl Node {
    async fn start() -> Self {
        let builder = Broker::builder().args(["--journal-size", "64MiB"]);
        let broker = builder.start().await.unwrap();
        let channel = connect(broker.address()).await;
        Self { broker, channel }
    }

    fn address(&self) -> &str {
        self.broker.address()
    }

    fn stubs(&self) -> Stubs {
        Stubs(self.channel.clone())
    }
}

/// The stubs over one connection.
struct Stubs(Channel);

impl Stubs {
    fn consumer(&self) -> ConsumerServiceClient<Channel> {
        ConsumerServiceClient::new(self.0.clone())
    }

    fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.0.clone())
    }

    async fn create(&self, name: &str, partition_count: i32) {
        let request =
            v1::CreateTopicRequest { name: name.to_owned(), partition_count, ..Default::default() };
        soon("a topic", self.admin().create_topic(request)).await.unwrap();
    }

    async fn grow(&self, name: &str, partition_count: i32) {
        let topic = v1::Topic { name: name.to_owned(), partition_count, ..Default::default() };
        let mask = prost_types::FieldMask { paths: vec!["partition_count".to_owned()] };
        let request = v1::UpdateTopicRequest { topic: Some(topic), update_mask: Some(mask) };
        soon("more partitions", self.admin().update_topic(request)).await.unwrap();
    }

    async fn append(&self, topic: &str, partition: i32, values: &[&str]) {
        let record = |value: &&str| v1::Record {
            value: Some(value.as_bytes().to_vec().into()),
            ..Default::default()
        };
        let records = v1::RecordSet { records: values.iter().map(record).collect() };
        let request = v1::ProduceRequest {
            topic: topic.to_owned(),
            partition: Some(partition),
            data: Some(v1::produce_request::Data::Records(records)),
            ..Default::default()
        };
        let mut producer = ProducerServiceClient::new(self.0.clone());
        soon("an append", producer.produce(request)).await.unwrap();
    }

    async fn describe(&self, group: &str) -> Result<v1::GetConsumerGroupResponse, Status> {
        let request = v1::GetConsumerGroupRequest { group: group.to_owned() };
        let response = soon("a group", self.admin().get_consumer_group(request)).await;
        response.map(tonic::Response::into_inner)
    }

    async fn group(&self, group: &str) -> v1::ConsumerGroup {
        self.describe(group).await.unwrap().group.unwrap()
    }

    async fn delete(&self, group: &str) -> Result<(), Status> {
        let request = v1::DeleteConsumerGroupRequest { group: group.to_owned() };
        soon("a deletion", self.admin().delete_consumer_group(request)).await.map(|_| ())
    }

    /// Commits without a member.
    async fn commit(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), Status> {
        let topic = topic.to_owned();
        let offsets = vec![v1::CommittedOffset { topic, partition, offset, ..Default::default() }];
        let group = group.to_owned();
        let request = v1::CommitOffsetRequest { group, offsets, ..Default::default() };
        soon("a commit", self.consumer().commit_offset(request)).await.map(|_| ())
    }

    /// What is committed, as topic, partition, offset.
    async fn committed(&self, group: &str) -> Vec<(String, i32, i64)> {
        let group = group.to_owned();
        let request = v1::GetCommittedOffsetsRequest { group, topics: Vec::new() };
        let found = soon("offsets", self.consumer().get_committed_offsets(request)).await.unwrap();
        let offsets = found.into_inner().offsets.into_iter();
        offsets.map(|found| (found.topic, found.partition, found.offset)).collect()
    }
}

/// Checks that a call was refused for this reason.
#[track_caller]
fn refused(what: &str, status: &Status, code: Code, reason: &str) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("{what}: no ErrorInfo: {status:?}"));
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{what}: {status:?}");
}

#[track_caller]
fn fenced(what: &str, status: &Status) {
    refused(what, status, Code::FailedPrecondition, "MEMBER_FENCED");
    assert_eq!(cause(status), None, "{what}: {status:?}");
}

/// Checks that a member was refused because another has its instance name.
#[track_caller]
fn instance_taken(what: &str, status: &Status) {
    refused(what, status, Code::FailedPrecondition, "MEMBER_FENCED");
    assert_eq!(cause(status).as_deref(), Some("instance_taken"), "{what}: {status:?}");
}

fn cause(status: &Status) -> Option<String> {
    let details = status.get_error_details();
    details.error_info().and_then(|info| info.metadata.get("cause").cloned())
}
