//! Any node serves any call: each method of the contract, asked of each of three brokers.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use prost::Message;
use ropewalk_harness::cluster;
use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;
use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;
use ropewalk_proto::v1::producer_service_client::ProducerServiceClient;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use crate::bad_operations;
use crate::support::{
    Event, Node, commit_request, connect, in_stream, named, produce, query, soon, starting,
    stopping, value_record,
};

/// A member that no group has.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// Whose answer a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Any broker knows it, or asks all.
    Nobody,
    /// The leader of the metadata.
    Metadata,
    /// The leader of the partition, which is the only one that has it.
    Partition,
    /// The leader of the group that keeps the consumer group, or the producer's name.
    Coordinator,
}

const METHODS: [(&str, Needs); 26] = [
    ("ProducerService/Produce", Needs::Partition),
    ("ProducerService/ProduceStream", Needs::Partition),
    ("ProducerService/InitProducer", Needs::Coordinator),
    ("ConsumerService/Subscribe", Needs::Partition),
    ("ConsumerService/CommitOffset", Needs::Coordinator),
    ("ConsumerService/GetCommittedOffsets", Needs::Coordinator),
    ("ConsumerService/ListOffsets", Needs::Partition),
    ("AdminService/CreateTopic", Needs::Metadata),
    ("AdminService/DeleteTopic", Needs::Metadata),
    ("AdminService/GetTopic", Needs::Nobody),
    ("AdminService/ListTopics", Needs::Nobody),
    ("AdminService/UpdateTopic", Needs::Metadata),
    ("AdminService/DeleteRecords", Needs::Partition),
    ("AdminService/GetCluster", Needs::Nobody),
    ("AdminService/WatchTopics", Needs::Nobody),
    ("AdminService/UpdateBroker", Needs::Metadata),
    ("AdminService/RemoveBroker", Needs::Metadata),
    ("AdminService/ReassignPartitions", Needs::Metadata),
    ("AdminService/TransferLeadership", Needs::Partition),
    ("AdminService/ListConsumerGroups", Needs::Nobody),
    ("AdminService/GetConsumerGroup", Needs::Coordinator),
    ("AdminService/WatchConsumerGroup", Needs::Nobody),
    ("ConsumerService/SubmitAssignment", Needs::Coordinator),
    ("AdminService/RemoveConsumerGroupMember", Needs::Coordinator),
    ("AdminService/DeleteCommittedOffsets", Needs::Coordinator),
    ("AdminService/DeleteConsumerGroup", Needs::Coordinator),
];

/// One call of one method.
struct Call<'a> {
    channel: Channel,
    /// With `ropewalk-no-forward: 1`.
    is_direct: bool,
    /// The only broker that has the topic.
    holder: u64,
    /// The name of a topic that is no other call's.
    name: &'a str,
}

impl Call<'_> {
    fn asked<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if self.is_direct {
            let one = MetadataValue::from_static("1");
            request.metadata_mut().insert("ropewalk-no-forward", one);
        }
        request
    }

    /// Makes the call, and checks what it is answered with. Gives the trailers.
    async fn make(&self, method: &str) -> Result<MetadataMap, Status> {
        let (service, method) = method.split_once('/').unwrap();
        match service {
            "ProducerService" => self.producer(method).await,
            "ConsumerService" => self.consumer(method).await,
            _ if method.contains("Group") || method == "DeleteCommittedOffsets" => {
                self.groups(method).await
            }
            _ if method.ends_with("Topic") || method.ends_with("Topics") => {
                self.topics(method).await
            }
            _ => self.operations(method).await,
        }
    }

    async fn producer(&self, method: &str) -> Result<MetadataMap, Status> {
        let mut stub = ProducerServiceClient::new(self.channel.clone());
        let append = || produce("t", 0, vec![value_record(b"v")]);
        if method == "Produce" {
            let (trailers, answer, _) = stub.produce(self.asked(append())).await?.into_parts();
            assert_eq!(answer.appends[0].record_count, 1);
            return Ok(trailers);
        }
        if method == "InitProducer" {
            let request = v1::InitProducerRequest { name: "billing".to_owned() };
            let (trailers, answer, _) = stub.init_producer(self.asked(request)).await?.into_parts();
            assert_ne!(answer.producer_id, 0);
            return Ok(trailers);
        }
        let requests = [4, 5].map(|correlation| {
            let request = Some(append());
            v1::ProduceStreamRequest { correlation, request }
        });
        let requests = self.asked(tokio_stream::iter(requests));
        let mut answers = stub.produce_stream(requests).await?.into_inner();
        for correlation in [4, 5] {
            let answer = answers.message().await?.unwrap();
            assert_eq!(answer.correlation, correlation);
            match answer.status.filter(|status| status.code != 0) {
                Some(status) => return Err(in_stream(&status)),
                None => assert_eq!(answer.response.unwrap().appends[0].record_count, 1),
            }
        }
        assert!(answers.message().await?.is_none(), "an answer for each request");
        Ok(answers.trailers().await?.unwrap())
    }

    async fn consumer(&self, method: &str) -> Result<MetadataMap, Status> {
        let mut stub = ConsumerServiceClient::new(self.channel.clone());
        match method {
            "Subscribe" => {
                let request = starting(named(&["t"]), v1::start::Position::Earliest(()));
                let request = stopping(request, v1::stop::End::CaughtUp(()));
                let mut events = stub.subscribe(self.asked(request)).await?.into_inner();
                let mut found = 0;
                while let Some(event) = events.message().await? {
                    if let Some(Event::Batch(batch)) = event.event {
                        found += batch.record_count;
                    }
                }
                assert!(found > 0, "the records are read");
                Ok(events.trailers().await?.unwrap())
            }
            "CommitOffset" => {
                let request = self.asked(commit_request("g", &[("t", 0, 1)]));
                Ok(stub.commit_offset(request).await?.into_parts().0)
            }
            "GetCommittedOffsets" => {
                let group = "g".to_owned();
                let request = v1::GetCommittedOffsetsRequest { group, topics: Vec::new() };
                let answer = stub.get_committed_offsets(self.asked(request)).await?;
                assert_eq!(answer.get_ref().offsets[0].offset, 1);
                Ok(answer.into_parts().0)
            }
            "SubmitAssignment" => {
                // It has no members, and the coordinator says so.
                let (group, member_id) = ("g".to_owned(), NOBODY.to_owned());
                let plan = v1::SubmitAssignmentRequest { group, member_id, ..<_>::default() };
                let answer = stub.submit_assignment(self.asked(plan)).await;
                refused_as(answer, "GROUP_NOT_FOUND")
            }
            _ => {
                let latest = v1::offset_query::Position::Latest(());
                let answer = stub.list_offsets(self.asked(query("t", Some(0), latest))).await?;
                assert!(answer.get_ref().offsets[0].offset > 0);
                Ok(answer.into_parts().0)
            }
        }
    }

    async fn topics(&self, method: &str) -> Result<MetadataMap, Status> {
        let mut stub = AdminServiceClient::new(self.channel.clone());
        let name = self.name.to_owned();
        let create = v1::CreateTopicRequest { name, partition_count: 1, ..Default::default() };
        match method {
            "CreateTopic" => Ok(stub.create_topic(self.asked(create)).await?.into_parts().0),
            "DeleteTopic" => {
                stub.create_topic(create).await?;
                let request = v1::DeleteTopicRequest { name: self.name.to_owned() };
                Ok(stub.delete_topic(self.asked(request)).await?.into_parts().0)
            }
            "GetTopic" => {
                let request = v1::GetTopicRequest { name: "t".to_owned() };
                let answer = stub.get_topic(self.asked(request)).await?;
                let partition = &answer.get_ref().partitions[0];
                assert!(partition.leader_broker_id == self.holder && partition.high_watermark > 0);
                Ok(answer.into_parts().0)
            }
            "ListTopics" => {
                let request = v1::ListTopicsRequest { name_prefix: "t".into(), ..<_>::default() };
                let answer = stub.list_topics(self.asked(request)).await?;
                assert_eq!(answer.get_ref().topics[0].name, "t");
                Ok(answer.into_parts().0)
            }
            "WatchTopics" => {
                let request = v1::WatchTopicsRequest { name_prefix: "t".to_owned() };
                let events = stub.watch_topics(self.asked(request)).await?.into_inner();
                let first: Vec<_> = events.take(2).collect().await;
                assert!(first.iter().all(Result::is_ok), "{first:?}");
                Ok(MetadataMap::new())
            }
            _ => {
                let topic = Some(v1::Topic { name: "t".to_owned(), ..Default::default() });
                let update_mask = Some(mask("settings.segment_bytes"));
                let request = v1::UpdateTopicRequest { topic, update_mask };
                Ok(stub.update_topic(self.asked(request)).await?.into_parts().0)
            }
        }
    }

    /// All of one group, as each group may have a coordinator of its own.
    async fn groups(&self, method: &str) -> Result<MetadataMap, Status> {
        let mut stub = AdminServiceClient::new(self.channel.clone());
        let group = "g".to_owned();
        if method.starts_with("Delete") {
            let commit = commit_request("g", &[("t", 0, 1)]);
            ConsumerServiceClient::new(self.channel.clone()).commit_offset(commit).await?;
        }
        match method {
            "ListConsumerGroups" => {
                let request = self.asked(v1::ListConsumerGroupsRequest::default());
                let answer = stub.list_consumer_groups(request).await?;
                assert_eq!(answer.get_ref().groups[0].group, "g");
                Ok(answer.into_parts().0)
            }
            "GetConsumerGroup" => {
                let request = v1::GetConsumerGroupRequest { group };
                let answer = stub.get_consumer_group(self.asked(request)).await?;
                assert_eq!(answer.get_ref().offsets[0].committed_offset, Some(1));
                Ok(answer.into_parts().0)
            }
            "WatchConsumerGroup" => {
                let request = self.asked(v1::WatchConsumerGroupRequest { group });
                let mut states = stub.watch_consumer_group(request).await?.into_inner();
                let now = states.message().await?.and_then(|told| told.group).unwrap();
                assert_eq!(now.state(), v1::ConsumerGroupState::Empty);
                Ok(MetadataMap::new())
            }
            "RemoveConsumerGroupMember" => {
                // It has no members, and the coordinator says so.
                let member = v1::remove_consumer_group_member_request::Member::InstanceName(
                    "nobody".to_owned(),
                );
                let request = v1::RemoveConsumerGroupMemberRequest { group, member: Some(member) };
                let answer = stub.remove_consumer_group_member(self.asked(request)).await;
                refused_as(answer, "GROUP_NOT_FOUND")
            }
            "DeleteCommittedOffsets" => {
                let partitions = vec![v1::GroupPartition { topic: "t".to_owned(), partition: 0 }];
                let request = v1::DeleteCommittedOffsetsRequest { group, partitions };
                Ok(stub.delete_committed_offsets(self.asked(request)).await?.into_parts().0)
            }
            _ => {
                let request = self.asked(v1::DeleteConsumerGroupRequest { group });
                Ok(stub.delete_consumer_group(request).await?.into_parts().0)
            }
        }
    }

    async fn operations(&self, method: &str) -> Result<MetadataMap, Status> {
        let mut stub = AdminServiceClient::new(self.channel.clone());
        let (topic, partition) = ("t".to_owned(), 0);
        match method {
            "DeleteRecords" => {
                let targets = vec![v1::DeleteRecordsTarget { partition, before_offset: 1 }];
                let request = v1::DeleteRecordsRequest { topic, targets };
                Ok(stub.delete_records(self.asked(request)).await?.into_parts().0)
            }
            "GetCluster" => {
                let answer = stub.get_cluster(self.asked(v1::GetClusterRequest::default())).await?;
                assert_eq!(answer.get_ref().brokers.len(), 3);
                Ok(answer.into_parts().0)
            }
            "UpdateBroker" => {
                let broker = Some(v1::Broker { broker_id: 1, ..Default::default() });
                let update_mask = Some(mask("draining"));
                let request = v1::UpdateBrokerRequest { broker, update_mask };
                Ok(stub.update_broker(self.asked(request)).await?.into_parts().0)
            }
            "RemoveBroker" => {
                // There is no such broker, and the one that leads says so.
                let request = v1::RemoveBrokerRequest { broker_id: 9 };
                match stub.remove_broker(self.asked(request)).await {
                    Err(status) if status.code() == Code::InvalidArgument => {
                        Ok(status.metadata().clone())
                    }
                    answer => Ok(answer?.into_parts().0),
                }
            }
            "ReassignPartitions" => {
                let broker_ids = vec![self.holder];
                let assignment = v1::PartitionAssignment { topic, partition, broker_ids };
                let request = v1::ReassignPartitionsRequest { assignments: vec![assignment] };
                Ok(stub.reassign_partitions(self.asked(request)).await?.into_parts().0)
            }
            _ => {
                let broker_id = self.holder;
                let request = v1::TransferLeadershipRequest { topic, partition, broker_id };
                let answer = stub.transfer_leadership(self.asked(request)).await?;
                assert_eq!(answer.get_ref().leader_broker_id, self.holder);
                Ok(answer.into_parts().0)
            }
        }
    }
}

/// The trailers of an answer that is an error for this reason.
fn refused_as<T>(answer: Result<Response<T>, Status>, reason: &str) -> Result<MetadataMap, Status> {
    match answer {
        Ok(_) => panic!("it is not refused"),
        Err(status) => {
            let details = status.get_error_details();
            match details.error_info() {
                Some(info) if info.reason == reason => Ok(status.metadata().clone()),
                _ => Err(status),
            }
        }
    }
}

fn mask(path: &str) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: vec![path.to_owned()] }
}

/// Asks each broker, and checks who is said to lead: those who do not all name the same one, and
/// refuse what they must not forward. Leaders may move between two calls: then it says what is
/// wrong.
async fn check(nodes: &[Node], holder: u64, row: (&str, Needs), round: u32) -> Result<(), String> {
    let (method, needs) = row;
    let mut leads = None;
    let mut refused = Vec::new();
    for (id, node) in (1..).zip(nodes) {
        let call = |is_direct| {
            let name = format!("{}-{round}-{id}-{is_direct}", method.replace('/', "-"));
            let channel = node.channel.clone();
            async move {
                let call = Call { channel, is_direct, holder, name: &name };
                soon(method, call.make(method)).await
            }
        };
        let trailers = call(false).await.map_err(|status| format!("broker {id}: {status:?}"))?;
        let hint = trailers.get("ropewalk-leader").map(|hint| hint.to_str().unwrap().to_owned());
        match (call(true).await, &hint) {
            (Ok(_), None) if needs == Needs::Nobody => {}
            (Ok(_), None) => leads = Some(id),
            (Err(status), Some(hint)) => refused.push((status, hint.clone())),
            (outcome, hint) => return Err(format!("broker {id}: {hint:?}, and {outcome:?}")),
        }
    }
    let is_led = match needs {
        Needs::Nobody => leads.is_none(),
        Needs::Partition => leads == Some(holder),
        Needs::Metadata | Needs::Coordinator => leads.is_some(),
    };
    let others = if needs == Needs::Nobody { 0 } else { 2 };
    if !is_led || refused.len() != others {
        return Err(format!("{leads:?} leads, others: {refused:?}"));
    }
    for (status, hint) in refused {
        let leader = leads.unwrap();
        let address = nodes[leader as usize - 1].broker.address();
        let details = status.get_error_details();
        let Some(info) = details.error_info() else { return Err(format!("{status:?}")) };
        let told = ["leader_id", "leader_address"].map(|key| info.metadata.get(key).cloned());
        let is_refused = status.code() == Code::Unavailable
            && info.reason == "NOT_LEADER"
            && told == [Some(leader.to_string()), Some(address.to_owned())]
            && info.metadata["leader_epoch"].parse::<u64>().is_ok();
        let epoch = hint.strip_prefix(&format!("{leader} {address} ")).map(str::parse::<u64>);
        if !is_refused || !matches!(epoch, Some(Ok(_))) {
            return Err(format!("{leader} leads at {address}; hint {hint:?}, {status:?}"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_is_served_by_each_broker_and_says_who_leads() {
    let brokers = cluster::three(|builder| builder).await.unwrap();
    let mut nodes = Vec::new();
    for broker in brokers {
        let channel = connect(broker.address()).await;
        nodes.push(Node { broker, channel });
    }
    let topic = v1::CreateTopicRequest {
        name: "t".to_owned(),
        partition_count: 1,
        replication_factor: 1,
        ..Default::default()
    };
    nodes[0].admin().create_topic(topic).await.unwrap();
    nodes[0].append("t", 0, &["first", "second"]).await;
    let described = v1::GetTopicRequest { name: "t".to_owned() };
    let described = nodes[0].admin().get_topic(described).await.unwrap().into_inner();
    let holder = described.partitions[0].replica_broker_ids[0];
    for row in METHODS {
        let (mut round, mut wrong) = (0, String::new());
        let consistent = async {
            while let Err(problem) = check(&nodes, holder, row, round).await {
                (round, wrong) = (round + 1, problem);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(12), consistent).await;
        assert!(ended.is_ok(), "{row:?}: {wrong}");
    }
    bad_operations::check(&nodes, holder).await;
}

#[test]
fn no_method_is_left_out() {
    let files = prost_types::FileDescriptorSet::decode(ropewalk_proto::FILE_DESCRIPTOR_SET);
    let files = files.unwrap();
    let services = files.file.iter().filter(|file| file.package() == "ropewalk.v1");
    let methods = services.flat_map(|file| &file.service).flat_map(|service| {
        service.method.iter().map(|method| format!("{}/{}", service.name(), method.name()))
    });
    let tested = METHODS.map(|(method, _)| method.to_owned());
    assert_eq!(methods.collect::<BTreeSet<_>>(), tested.into());
}
