//! AdminService: topics and their settings, pages, the cluster.

use ropewalk_proto::v1;
use tonic::Status;

use crate::support::{
    Expected, Node, named, produce, read_all, record_of_size, refused, seconds, stopping, time,
    timed_record, value_record,
};

fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

async fn update(
    node: &Node,
    settings: v1::TopicSettings,
    partition_count: i32,
    paths: &[&str],
) -> Result<v1::Topic, Status> {
    let (name, settings) = ("t".to_owned(), Some(settings));
    let topic = v1::Topic { name, settings, partition_count, ..Default::default() };
    let request = v1::UpdateTopicRequest { topic: Some(topic), update_mask: mask(paths) };
    let updated = node.admin().update_topic(request).await?.into_inner();
    Ok(updated.topic.unwrap())
}

fn defaults() -> v1::TopicSettings {
    v1::TopicSettings {
        retention: Some(seconds(7 * 24 * 60 * 60)),
        retention_bytes: Some(-1),
        segment_bytes: Some(1 << 30),
        segment_age: Some(seconds(7 * 24 * 60 * 60)),
        max_record_bytes: Some(1 << 20),
        timestamp_type: v1::TimestampType::Create.into(),
        cleanup_policy: v1::CleanupPolicy::Delete.into(),
        delete_retention: Some(seconds(24 * 60 * 60)),
        record_ttl: Some(seconds(-1)),
        compression: v1::TopicCompression::Producer.into(),
    }
}

#[tokio::test]
async fn a_topic_has_the_settings_it_was_given_and_defaults_beside_them() {
    let mut node = Node::start().await;
    let created = node.create("t", 3).await;
    assert_eq!((created.name.as_str(), created.partition_count), ("t", 3));
    assert_eq!(created.settings, Some(defaults()));
    assert!(created.create_time.is_some());
    let request = v1::CreateTopicRequest { name: "t".to_owned(), ..Default::default() };
    let status = node.admin().create_topic(request).await.unwrap_err();
    assert_eq!(refused("again", &status, Expected::TOPIC_EXISTS)["topic"], "t");

    let some = v1::TopicSettings {
        retention: Some(seconds(3_600)),
        max_record_bytes: Some(10),
        ..Default::default()
    };
    let paths = ["settings.retention", "settings.max_record_bytes"];
    let updated = update(&node, some, 0, &paths).await.unwrap();
    let settings = v1::TopicSettings {
        retention: Some(seconds(3_600)),
        max_record_bytes: Some(10),
        ..defaults()
    };
    assert_eq!(updated.settings, Some(settings));
    // What the mask does not name stays; what it names and the topic leaves out goes back.
    let other = v1::TopicSettings { segment_bytes: Some(65_536), ..Default::default() };
    let paths = ["settings.retention", "settings.segment_bytes", "partition_count"];
    let updated = update(&node, other, 4, &paths).await.unwrap();
    let settings =
        v1::TopicSettings { max_record_bytes: Some(10), segment_bytes: Some(65_536), ..defaults() };
    assert_eq!((updated.settings, updated.partition_count), (Some(settings), 4));
    assert_eq!((updated.topic_id, updated.create_time), (created.topic_id, created.create_time));
    let forever = v1::TopicSettings { retention: Some(seconds(-1)), ..Default::default() };
    let updated = update(&node, forever, 0, &["settings"]).await.unwrap().settings.unwrap();
    assert_eq!(updated, v1::TopicSettings { retention: Some(seconds(-1)), ..defaults() });
    node.still_serves().await;
}

fn settings_out_of_range() -> Vec<(&'static str, v1::TopicSettings)> {
    let base = v1::TopicSettings::default;
    let duration = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let mut cases = vec![
        ("timestamp_type", v1::TopicSettings { timestamp_type: 99, ..base() }),
        ("timestamp_type", v1::TopicSettings { timestamp_type: -1, ..base() }),
        ("cleanup_policy", v1::TopicSettings { cleanup_policy: 4, ..base() }),
        ("compression", v1::TopicSettings { compression: 6, ..base() }),
    ];
    for retention in [(0, 0), (0, 999_999_999), (1, -1), (-1, 1), (1, 1_000_000_000)] {
        let retention = duration(retention.0, retention.1);
        cases.push(("retention", v1::TopicSettings { retention, ..base() }));
    }
    for kept in [(-1, 0), (3_650 * 24 * 60 * 60, 1)] {
        let delete_retention = duration(kept.0, kept.1);
        cases.push(("delete_retention", v1::TopicSettings { delete_retention, ..base() }));
    }
    for ttl in [(0, 0), (0, 999_999_999), (1, -1)] {
        let record_ttl = duration(ttl.0, ttl.1);
        cases.push(("record_ttl", v1::TopicSettings { record_ttl, ..base() }));
    }
    for age in [(0, 0), (-1, 0), (0, 999_999_999), (1, i32::MIN)] {
        let segment_age = duration(age.0, age.1);
        cases.push(("segment_age", v1::TopicSettings { segment_age, ..base() }));
    }
    for bytes in [0, -2, i64::MIN] {
        let retention_bytes = Some(bytes);
        cases.push(("retention_bytes", v1::TopicSettings { retention_bytes, ..base() }));
    }
    for bytes in [0, -1, 65_535, (8 << 30) + 1, i64::MAX] {
        let segment_bytes = Some(bytes);
        cases.push(("segment_bytes", v1::TopicSettings { segment_bytes, ..base() }));
    }
    for bytes in [0, -1, 3_670_017, i32::MAX, i32::MIN] {
        let max_record_bytes = Some(bytes);
        cases.push(("max_record_bytes", v1::TopicSettings { max_record_bytes, ..base() }));
    }
    cases
}

#[tokio::test]
async fn a_setting_outside_its_range_is_refused_and_changes_nothing() {
    let mut node = Node::start().await;
    let created = node.create("t", 2).await;
    for (field, settings) in settings_out_of_range() {
        let what = format!("{settings:?}");
        let name = "new".to_owned();
        let request =
            v1::CreateTopicRequest { name, settings: Some(settings), ..Default::default() };
        let status = node.admin().create_topic(request).await.expect_err(&what);
        let metadata = refused(&what, &status, Expected::INVALID_FIELD);
        assert_eq!(metadata["field"], format!("settings.{field}"), "{what}");
        let status = update(&node, settings, 0, &["settings"]).await.expect_err(&what);
        let metadata = refused(&what, &status, Expected::INVALID_FIELD);
        assert_eq!(metadata["field"], format!("settings.{field}"), "{what}");
    }
    for count in [-1, 10_001, i32::MAX, i32::MIN] {
        let request = v1::CreateTopicRequest {
            name: "new".to_owned(),
            partition_count: count,
            ..Default::default()
        };
        let status = node.admin().create_topic(request).await.unwrap_err();
        let metadata = refused("create", &status, Expected::INVALID_FIELD);
        assert_eq!(metadata["field"], "partition_count", "{count}");
    }
    for count in [0, -1, 1, 10_001] {
        let changed = update(&node, v1::TopicSettings::default(), count, &["partition_count"]);
        refused("update", &changed.await.unwrap_err(), Expected::INVALID_FIELD);
    }
    let masks: [&[&str]; 6] =
        [&[], &[""], &["retention"], &["settings.no_such"], &["settings."], &["settings", "name"]];
    for paths in masks {
        let changed = update(&node, v1::TopicSettings::default(), 3, paths).await;
        let metadata = refused("mask", &changed.unwrap_err(), Expected::INVALID_FIELD);
        assert_eq!(metadata["field"], "update_mask", "{paths:?}");
    }
    let request = v1::GetTopicRequest { name: "t".to_owned() };
    let found = node.admin().get_topic(request).await.unwrap().into_inner();
    assert_eq!(found.topic, Some(created));
    node.still_serves().await;
}

#[tokio::test]
async fn a_change_is_in_force_when_it_is_answered() {
    let node = Node::start().await;
    node.create("t", 1).await;
    let limit = |bytes| v1::TopicSettings { max_record_bytes: Some(bytes), ..Default::default() };
    for bytes in [100, 50, 200] {
        update(&node, limit(bytes), 0, &["settings.max_record_bytes"]).await.unwrap();
        let bytes = usize::try_from(bytes).unwrap();
        node.append_records("t", 0, vec![record_of_size(bytes)]).await;
        let sent = node.producer().produce(produce("t", 0, vec![record_of_size(bytes + 1)])).await;
        refused("too large", &sent.unwrap_err(), Expected::RECORD_TOO_LARGE);
    }
    for count in 2..5 {
        let last = count - 1;
        let sent = node.producer().produce(produce("t", last, vec![value_record(b"x")])).await;
        refused("not yet", &sent.unwrap_err(), Expected::PARTITION_NOT_FOUND);
        update(&node, v1::TopicSettings::default(), count, &["partition_count"]).await.unwrap();
        assert_eq!(node.append("t", last, &["x"]).await, 0);
    }
}

#[tokio::test]
async fn the_append_time_is_the_time_of_every_record_where_the_topic_says_so() {
    let node = Node::start().await;
    let append = v1::TopicSettings {
        timestamp_type: v1::TimestampType::Append.into(),
        ..Default::default()
    };
    node.create_with("t", 1, append).await;
    node.append_records("t", 0, vec![timed_record(b"old", 1_000), value_record(b"none")]).await;
    let request = stopping(named(&["t"]), v1::stop::End::CaughtUp(()));
    let (mut reader, _) = crate::support::Reader::open(&node, request).await;
    let batch = reader.batch().await;
    assert_eq!(batch.timestamp_type(), v1::TimestampType::Append);
    let appended = batch.append_time.unwrap();
    assert!(appended.seconds > 1_600_000_000);
    for got in read_all(&node, "t").await {
        assert_eq!(got.record.timestamp, None, "the producer's time is dropped");
    }
    // It is found by that time, and not by the producer's.
    for (asked, expected) in [(time(500), 0), (appended, 0)] {
        let position = v1::offset_query::Position::Timestamp(asked);
        let request = crate::support::query("t", None, position);
        let found = node.consumer().list_offsets(request).await.unwrap().into_inner();
        assert_eq!(found.offsets[0].offset, expected);
        assert_eq!(found.offsets[0].timestamp, Some(appended));
    }
    // Changed at run time, later batches follow.
    let create = v1::TopicSettings {
        timestamp_type: v1::TimestampType::Create.into(),
        ..Default::default()
    };
    update(&node, create, 0, &["settings.timestamp_type"]).await.unwrap();
    node.append_records("t", 0, vec![timed_record(b"kept", 1_000)]).await;
    assert_eq!(read_all(&node, "t").await[2].record.timestamp, Some(time(1_000)));
}

async fn page(node: &Node, size: i32, token: &str, prefix: &str) -> (Vec<String>, String) {
    let request = v1::ListTopicsRequest {
        page_size: size,
        page_token: token.to_owned(),
        name_prefix: prefix.to_owned(),
    };
    let found = node.admin().list_topics(request).await.unwrap().into_inner();
    (found.topics.into_iter().map(|topic| topic.name).collect(), found.next_page_token)
}

#[tokio::test]
async fn topics_are_listed_a_page_at_a_time() {
    let node = Node::start().await;
    let names: Vec<_> = (0..120).map(|n| format!("topic-{n:03}")).collect();
    for name in names.iter().rev() {
        node.create(name, 1).await;
    }
    node.create("another", 1).await;
    let (all, token) = page(&node, 0, "", "topic-").await;
    assert_eq!((all.as_slice(), token.is_empty()), (&names[..100], false), "100 by default");
    let (mut found, mut token) = (Vec::new(), String::new());
    let mut pages = 0;
    loop {
        let (names, next) = page(&node, 7, &token, "topic-").await;
        assert!(names.len() <= 7);
        found.extend(names);
        pages += 1;
        // What goes meanwhile shifts nothing.
        if pages == 3 {
            node.delete_topic("topic-002").await;
            node.delete_topic("topic-020").await;
        }
        if next.is_empty() {
            break;
        }
        token = next;
    }
    assert_eq!((found, pages), (names, 18));
    // More than the largest page is that page, and less than none is no page.
    let (all, token) = page(&node, i32::MAX, "", "").await;
    assert_eq!((all.len(), token.as_str(), all[0].as_str()), (119, "", "another"));
    let request = v1::ListTopicsRequest { page_size: -1, ..Default::default() };
    let status = node.admin().list_topics(request).await.unwrap_err();
    assert_eq!(refused("page", &status, Expected::INVALID_FIELD)["field"], "page_size");
    assert_eq!(page(&node, 5, "zzz", "").await, (vec![], String::new()));
    assert_eq!(page(&node, 5, "", "no-such").await, (vec![], String::new()));
}

#[tokio::test]
async fn the_cluster_is_described() {
    let node = Node::with(&[("server.node_id", "7"), ("topics.default_partitions", "5")]).await;
    node.create("t", 3).await;
    node.append("by-use", 4, &["x"]).await;
    let cluster =
        node.admin().get_cluster(v1::GetClusterRequest::default()).await.unwrap().into_inner();
    assert_eq!((cluster.topic_count, cluster.partition_count), (2, 8));
    assert_eq!(cluster.controller_broker_id, 7);
    assert_eq!(cluster.cluster_id.len(), 36);
    let [broker] = cluster.brokers.as_slice() else { panic!("{cluster:?}") };
    assert_eq!((broker.broker_id, broker.leader_count), (7, 8));
    assert_eq!(broker.address, node.broker.address());
    assert!(!broker.version.is_empty() && broker.start_time.is_some());
    let limits = cluster.limits.unwrap();
    let expected = v1::Limits {
        max_record_bytes: 3_670_016,
        max_message_bytes: (4 << 20) - 1,
        max_record_header_bytes: 65_536,
        max_metadata_bytes: 16_384,
        max_partitions_per_topic: 10_000,
        max_name_bytes: 249,
        max_page_size: 1_000,
    };
    assert_eq!(limits, expected);

    let request = v1::GetTopicRequest { name: "by-use".to_owned() };
    let found = node.admin().get_topic(request).await.unwrap().into_inner();
    assert_eq!(found.topic.unwrap().settings, Some(defaults()));
    assert_eq!(found.partitions.len(), 5);
    for (number, partition) in (0..).zip(found.partitions) {
        assert_eq!((partition.partition, partition.leader_broker_id), (number, 7));
        assert_eq!(partition.replica_broker_ids, [7]);
        assert!(partition.leader_epoch > 0);
        assert_eq!(partition.high_watermark, i64::from(number == 4));
        assert_eq!(partition.size_bytes > 0, number == 4);
    }
}

#[tokio::test]
async fn many_partitions_are_served_at_once() {
    let node = Node::start().await;
    node.create("many", 1_000).await;
    assert_eq!(node.append("many", 999, &["x"]).await, 0);
    let found = read_all(&node, "many").await;
    assert_eq!((found.len(), found[0].partition), (1, 999));
    node.delete_topic("many").await;
    let request = v1::GetTopicRequest { name: "many".to_owned() };
    let status = node.admin().get_topic(request).await.unwrap_err();
    refused("deleted", &status, Expected::TOPIC_NOT_FOUND);
}
