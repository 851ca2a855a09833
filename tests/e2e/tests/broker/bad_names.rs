//! Names that cannot be, and names of nothing.

use bytes::Bytes;
use prost::Message;
use ropewalk_proto::v1;
use tonic::Status;

use crate::support::{
    Expected, Node, Pipe, Raw, Reader, commit_request, frame, named, place, produce, query,
    refused, value_record,
};

const STRICT: &[(&str, &str)] = &[("topics.auto_create", "false")];

fn bad_names() -> Vec<String> {
    let names = ["", ".", "..", "a b", "größe", "a/b", "a\0b", "__x", "🚀"];
    let mut names: Vec<String> = names.map(str::to_owned).into();
    names.push("a".repeat(250));
    names
}

/// The error of each method that takes a topic and a partition.
async fn errors_of_all_methods(node: &Node, topic: &str, partition: i32) -> Vec<(String, Status)> {
    let records = || vec![value_record(b"x")];
    let mut errors = Vec::new();
    let mut keep = |method: &str, error: Option<Status>| {
        let status = error.unwrap_or_else(|| panic!("{method} took {topic:?}/{partition}"));
        errors.push((format!("{method} {topic:?}/{partition}"), status));
    };
    keep("Produce", node.producer().produce(produce(topic, partition, records())).await.err());

    let mut pipe = Pipe::open(node).await;
    pipe.send(produce(topic, partition, records())).await;
    keep("ProduceStream", pipe.answer().await.1.err());

    let mut request = named(&[topic]);
    request.topics[0].partitions = vec![v1::PartitionSelection { partition, start: None }];
    keep("Subscribe", Reader::try_open(node, request).await.err());

    let commit = commit_request("g", &[(topic, partition, 0)]);
    keep("CommitOffset", node.consumer().commit_offset(commit).await.err());

    let topics = vec![v1::TopicPartitions { topic: topic.into(), partitions: vec![partition] }];
    let request = v1::GetCommittedOffsetsRequest { group: "g".into(), topics };
    keep("GetCommittedOffsets", node.consumer().get_committed_offsets(request).await.err());

    let latest = v1::offset_query::Position::Latest(());
    let request = query(topic, Some(partition), latest);
    keep("ListOffsets", node.consumer().list_offsets(request).await.err());

    let targets = vec![v1::DeleteRecordsTarget { partition, before_offset: -1 }];
    let request = v1::DeleteRecordsRequest { topic: topic.into(), targets };
    keep("DeleteRecords", node.admin().delete_records(request).await.err());
    errors
}

#[tokio::test]
async fn an_unknown_topic_or_partition_is_not_found_by_every_method() {
    let mut node = Node::with(STRICT).await;
    for (what, status) in errors_of_all_methods(&node, "nowhere", 0).await {
        let metadata = refused(&what, &status, Expected::TOPIC_NOT_FOUND);
        assert_eq!(metadata["resource"], "nowhere", "{what}");
    }
    node.create("here", 3).await;
    for partition in [3, -1, i32::MAX, i32::MIN] {
        for (what, status) in errors_of_all_methods(&node, "here", partition).await {
            let metadata = refused(&what, &status, Expected::PARTITION_NOT_FOUND);
            assert_eq!(metadata["resource"], format!("here/{partition}"), "{what}");
        }
    }
    let placed = node.producer().produce(place("nowhere", vec![value_record(b"x")])).await;
    refused("Produce, placed", &placed.unwrap_err(), Expected::TOPIC_NOT_FOUND);

    let (mut admin, name) = (node.admin(), || "nowhere".to_owned());
    let get = admin.get_topic(v1::GetTopicRequest { name: name() }).await;
    refused("GetTopic", &get.unwrap_err(), Expected::TOPIC_NOT_FOUND);
    let delete = admin.delete_topic(v1::DeleteTopicRequest { name: name() }).await;
    refused("DeleteTopic", &delete.unwrap_err(), Expected::TOPIC_NOT_FOUND);
    let topic = v1::Topic { name: name(), partition_count: 2, ..Default::default() };
    let paths = vec!["partition_count".to_owned()];
    let update = v1::UpdateTopicRequest {
        topic: Some(topic),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    let update = admin.update_topic(update).await;
    refused("UpdateTopic", &update.unwrap_err(), Expected::TOPIC_NOT_FOUND);
    node.still_serves().await;
}

#[tokio::test]
async fn a_name_that_cannot_be_is_refused_wherever_it_would_name_a_new_topic() {
    let mut node = Node::start().await;
    for name in bad_names() {
        let request = v1::CreateTopicRequest { name: name.clone(), ..Default::default() };
        let status = node.admin().create_topic(request).await.unwrap_err();
        let metadata = refused(&name, &status, Expected::INVALID_TOPIC_NAME);
        assert_eq!(metadata["field"], "name", "{name}");

        let status = node.producer().produce(produce(&name, 0, vec![value_record(b"")])).await;
        let metadata = refused(&name, &status.unwrap_err(), Expected::INVALID_TOPIC_NAME);
        assert_eq!(metadata["field"], "topic", "{name}");

        let status = Reader::try_open(&node, named(&[&name])).await.err().unwrap();
        refused(&name, &status, Expected::INVALID_TOPIC_NAME);
    }
    // The longest name, and one of dots that is no place in a path.
    for name in ["a".repeat(249), "...".to_owned()] {
        node.create(&name, 1).await;
        assert_eq!(node.append(&name, 0, &["x"]).await, 0);
    }
    node.still_serves().await;
}

/// What a name cannot be does not hang on whether topics come into being by use.
#[tokio::test]
async fn a_name_that_cannot_be_is_told_from_one_that_is_not_there() {
    let node = Node::with(STRICT).await;
    for name in ["", "..", "a b", &"a".repeat(250)] {
        let status = node.producer().produce(produce(name, 0, vec![value_record(b"")])).await;
        refused(name, &status.unwrap_err(), Expected::INVALID_TOPIC_NAME);
        let status = Reader::try_open(&node, named(&[name])).await.err().unwrap();
        refused(name, &status, Expected::INVALID_TOPIC_NAME);
    }
    let status = node.producer().produce(produce("__x", 0, vec![value_record(b"")])).await;
    refused("__x", &status.unwrap_err(), Expected::TOPIC_NOT_FOUND);
}

#[tokio::test]
async fn a_name_that_is_not_utf_8_is_refused_before_it_is_a_name() {
    let mut node = Node::start().await;
    let mut raw = Raw::connect(node.broker.address()).await;
    // Field 1, two bytes: the name in the requests of all three services.
    let message = frame(&[0x0a, 0x02, 0xff, 0xfe]);
    for method in [
        "ProducerService/Produce",
        "ConsumerService/CommitOffset",
        "AdminService/CreateTopic",
        "AdminService/GetTopic",
        "AdminService/DeleteTopic",
    ] {
        let status = raw.status(method, message.clone()).await;
        refused(method, &status, Expected::UNREADABLE);
    }
    // The same connection does a good call.
    let request = v1::CreateTopicRequest { name: "fine".to_owned(), ..Default::default() };
    let status = raw.status("AdminService/CreateTopic", frame(&request.encode_to_vec())).await;
    assert_eq!(status.code(), tonic::Code::Ok);

    let inner = Bytes::from_static(&[0x12, 0x04, 0x0a, 0x02, 0xff, 0xfe]);
    let status = raw.status("ProducerService/ProduceStream", frame(&inner)).await;
    refused("ProduceStream", &status, Expected::UNREADABLE);
    node.still_serves().await;
}

#[tokio::test]
async fn group_names_may_be_anything_that_can_be_printed() {
    let node = Node::start().await;
    node.create("t", 1).await;
    for group in ["", "a\nb", "\u{7f}", &"g".repeat(250), &"ö".repeat(125)] {
        let commit = commit_request(group, &[("t", 0, 0)]);
        let status = node.consumer().commit_offset(commit).await.unwrap_err();
        assert_eq!(refused(group, &status, Expected::INVALID_FIELD)["field"], "group");
        let request =
            v1::GetCommittedOffsetsRequest { group: group.to_owned(), topics: Vec::new() };
        let status = node.consumer().get_committed_offsets(request).await.unwrap_err();
        assert_eq!(refused(group, &status, Expected::INVALID_FIELD)["field"], "group");
    }
    for group in ["team A / größe", "__x", ".", &"g".repeat(249)] {
        node.commit(group, &[("t", 0, 0)]).await;
        assert_eq!(node.committed(group).await, [("t".to_owned(), 0, 0)], "{group}");
    }
}
