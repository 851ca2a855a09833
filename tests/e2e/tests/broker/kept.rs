//! What is kept: committed offsets, what retention leaves, and all of it over restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use ropewalk_proto::v1;
use v1::offset_query::Position as Query;

use crate::support::{
    Got, Node, Reader, commit_request, named, poll, query, read_all, seconds, timed_record,
    value_record,
};

/// Looks for records that may go, as often as a test needs it.
const OFTEN: (&str, &str) = ("topics.retention_check_interval", "100ms");

#[tokio::test]
async fn a_commit_may_go_back_and_carries_what_the_consumer_wants_to_keep() {
    let node = Node::start().await;
    node.create("a", 2).await;
    node.create("b", 1).await;
    for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
        node.append(topic, partition, &["x"; 5]).await;
    }
    assert_eq!(node.committed("g").await, []);
    node.commit("g", &[("a", 1, 4), ("b", 0, 5)]).await;
    node.commit("g", &[("a", 1, 2), ("a", 0, 0)]).await;
    node.commit("other", &[("a", 1, 5)]).await;
    let all = [("a", 0, 0), ("a", 1, 2), ("b", 0, 5)].map(|(t, p, o)| (t.to_owned(), p, o));
    assert_eq!(node.committed("g").await, all);

    let mut commit = commit_request("g", &[("a", 1, 3)]);
    commit.offsets[0].metadata = "from host 7: größe".to_owned();
    // The broker's clock counts.
    commit.offsets[0].commit_time = Some(prost_types::Timestamp { seconds: 5, nanos: 0 });
    node.consumer().commit_offset(commit).await.unwrap();
    let select = |topic: &str, partitions: &[i32]| v1::TopicPartitions {
        topic: topic.to_owned(),
        partitions: partitions.to_vec(),
    };
    let cases = [
        (vec![select("a", &[1])], vec![("a", 1, 3)]),
        (vec![select("a", &[])], vec![("a", 0, 0), ("a", 1, 3)]),
        (vec![select("a", &[0]), select("b", &[])], vec![("a", 0, 0), ("b", 0, 5)]),
    ];
    for (topics, expected) in cases {
        let request = v1::GetCommittedOffsetsRequest { group: "g".to_owned(), topics };
        let found = node.consumer().get_committed_offsets(request).await.unwrap().into_inner();
        let places: Vec<_> =
            found.offsets.iter().map(|o| (o.topic.as_str(), o.partition, o.offset)).collect();
        assert_eq!(places, expected);
        for offset in found.offsets {
            assert!(offset.commit_time.unwrap().seconds > 1_600_000_000);
            let is_noted = (offset.topic.as_str(), offset.partition) == ("a", 1);
            assert_eq!(offset.metadata == "from host 7: größe", is_noted);
        }
    }
}

#[tokio::test]
async fn offsets_are_listed_for_one_partition_or_all() {
    let node = Node::start().await;
    node.create("t", 3).await;
    for partition in 0..3 {
        let count = usize::try_from(partition).unwrap() + 2;
        node.append_records("t", partition, vec![timed_record(b"x", 1_000); count]).await;
    }
    node.delete_records("t", 2, 1).await;
    let list = async |partition, position| -> Vec<(i32, i64)> {
        let request = query("t", partition, position);
        let found = node.consumer().list_offsets(request).await.unwrap().into_inner();
        assert!(found.offsets.iter().all(|offset| offset.leader_epoch > 0));
        found.offsets.iter().map(|offset| (offset.partition, offset.offset)).collect()
    };
    assert_eq!(list(None, Query::Earliest(())).await, [(0, 0), (1, 0), (2, 1)]);
    assert_eq!(list(None, Query::Latest(())).await, [(0, 2), (1, 3), (2, 4)]);
    let at = crate::support::time(1_000);
    assert_eq!(list(None, Query::Timestamp(at)).await, [(0, 0), (1, 0), (2, 1)]);
    assert_eq!(list(Some(1), Query::Latest(())).await, [(1, 3)]);
    // Each query keeps its place; without a position it is the earliest.
    let queries = [(Some(2), Some(Query::Latest(()))), (Some(0), None), (None, None)];
    let queries = queries.map(|(partition, position)| v1::OffsetQuery {
        topic: "t".to_owned(),
        partition,
        position,
    });
    let request = v1::ListOffsetsRequest { queries: queries.into() };
    let found = node.consumer().list_offsets(request).await.unwrap().into_inner().offsets;
    let found: Vec<_> = found.iter().map(|o| (o.partition, o.offset)).collect();
    assert_eq!(found, [(2, 4), (0, 0), (0, 0), (1, 0), (2, 1)]);
}

/// 64 KiB segments, of which each is filled by two batches.
fn small_segments() -> v1::TopicSettings {
    v1::TopicSettings { segment_bytes: Some(65_536), ..Default::default() }
}

async fn fill(node: &Node, topic: &str, batches: usize, millis: i64) {
    for _ in 0..batches {
        let records = vec![timed_record(&vec![b'x'; 10_000], millis); 4];
        node.append_records(topic, 0, records).await;
    }
}

#[tokio::test]
async fn retention_by_size_keeps_at_least_what_it_says() {
    let node = Node::with(&[OFTEN]).await;
    node.create_with("t", 1, small_segments()).await;
    let now = 4_000_000_000_000; // Far from now, so that time is no reason.
    fill(&node, "t", 30, now).await;
    assert_eq!(node.bounds("t", 0).await, (0, 120));
    let limit = 200_000;
    let settings = v1::TopicSettings { retention_bytes: Some(limit), ..Default::default() };
    let topic = v1::Topic { name: "t".to_owned(), settings: Some(settings), ..Default::default() };
    let paths = vec!["settings.retention_bytes".to_owned()];
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = v1::UpdateTopicRequest { topic: Some(topic), update_mask };
    node.admin().update_topic(request).await.unwrap();
    let trimmed = async || {
        let (start, _) = node.bounds("t", 0).await;
        (start > 0).then_some(start)
    };
    poll("a log start that moves", Duration::from_secs(10), trimmed).await;
    let (start, end) = node.bounds("t", 0).await;
    let kept = (end - start) * 10_000;
    assert!(kept >= limit && kept < limit + 3 * 65_536, "{kept} bytes are kept");
    let request = v1::GetTopicRequest { name: "t".to_owned() };
    let size = node.admin().get_topic(request).await.unwrap().into_inner().partitions[0].size_bytes;
    assert!(size >= limit && size < limit + 4 * 65_536, "{size} bytes are shown");
    let found = read_all(&node, "t").await;
    assert_eq!((found[0].offset, found.len() as i64), (start, end - start));
}

#[tokio::test]
async fn retention_by_time_takes_segments_whose_newest_record_is_old() {
    let mut node = Node::with(&[OFTEN]).await;
    let settings = v1::TopicSettings { retention: Some(seconds(3_600)), ..small_segments() };
    node.create_with("t", 1, settings).await;
    node.create_with("kept", 1, settings).await;
    fill(&node, "kept", 5, 4_000_000_000_000).await;
    fill(&node, "t", 10, 4_000_000_000_000).await;
    fill(&node, "kept", 5, 1_000).await;
    let (mut reader, _) = Reader::open(&node, named(&["t"])).await;
    reader.records(40).await;
    // The first segments go only when they are the oldest.
    node.create_with(
        "old",
        1,
        v1::TopicSettings { retention: Some(seconds(3_600)), ..small_segments() },
    )
    .await;
    fill(&node, "old", 10, 1_000).await;
    fill(&node, "old", 4, 4_000_000_000_000).await;
    let trimmed = async || {
        let (start, end) = node.bounds("old", 0).await;
        (start >= 32 && end == 56).then_some(())
    };
    poll("old segments that go", Duration::from_secs(10), trimmed).await;
    assert!(node.bounds("old", 0).await.0 <= 40);
    assert_eq!(node.bounds("t", 0).await, (0, 40));
    assert_eq!(node.bounds("kept", 0).await, (0, 40));
    let before = node.bounds("old", 0).await;
    node.restart().await;
    // The segment of the last old records may go meanwhile; nothing comes back.
    let first = read_all(&node, "old").await[0].offset;
    assert!((before.0..=40).contains(&first), "{first}");
    assert_eq!(node.bounds("old", 0).await.1, before.1);
}

/// Everything that clients can see, before and after.
async fn picture(node: &Node) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let topics = node.admin().list_topics(v1::ListTopicsRequest::default()).await.unwrap();
    for topic in topics.into_inner().topics {
        let name = topic.name.clone();
        let request = v1::GetTopicRequest { name: name.clone() };
        let mut found = node.admin().get_topic(request).await.unwrap().into_inner();
        for partition in &mut found.partitions {
            partition.leader_epoch = 0;
            // Each leader begins with an entry without records.
            partition.replicas.iter_mut().for_each(|replica| replica.matched_index = 0);
        }
        let mut records: Vec<Got> = read_all(node, &name).await;
        // Partitions come in any order.
        records.sort_by_key(|got| (got.partition, got.offset));
        seen.insert(format!("records of {name}"), format!("{records:?}"));
        seen.insert(name, format!("{topic:?} {found:?}"));
    }
    for group in ["g", "h"] {
        let request =
            v1::GetCommittedOffsetsRequest { group: group.to_owned(), topics: Vec::new() };
        let found = node.consumer().get_committed_offsets(request).await.unwrap().into_inner();
        seen.insert(format!("group {group}"), format!("{found:?}"));
    }
    let cluster =
        node.admin().get_cluster(v1::GetClusterRequest::default()).await.unwrap().into_inner();
    seen.insert("cluster".to_owned(), cluster.cluster_id);
    seen
}

#[tokio::test]
async fn a_restart_changes_nothing_that_clients_can_see() {
    let mut node = Node::start().await;
    let settings = v1::TopicSettings {
        retention: Some(seconds(-1)),
        retention_bytes: Some(1 << 40),
        segment_bytes: Some(65_536),
        segment_age: Some(seconds(60)),
        max_record_bytes: Some(100_000),
        timestamp_type: v1::TimestampType::Append.into(),
        cleanup_policy: v1::CleanupPolicy::Delete.into(),
        delete_retention: Some(seconds(3_600)),
        record_ttl: Some(seconds(86_400)),
        compression: v1::TopicCompression::Lz4.into(),
    };
    node.create_with("set", 3, settings).await;
    node.create("plain", 2).await;
    node.create("empty", 1).await;
    node.create("gone", 1).await;
    for n in 0..30 {
        node.append("set", n % 3, &["a", "b", "c"]).await;
        node.append_records("plain", n % 2, vec![value_record(&vec![b'x'; 20_000]); 2]).await;
    }
    node.append("gone", 0, &["x"]).await;
    node.commit("g", &[("set", 0, 5), ("plain", 1, 7), ("gone", 0, 1)]).await;
    node.commit("h", &[("plain", 0, 0)]).await;
    node.delete_records("plain", 0, 11).await;
    node.delete_records("set", 1, -1).await;
    node.delete_topic("gone").await;
    let before = picture(&node).await;
    for round in 0..3 {
        if round == 2 {
            node.broker.kill9().await.unwrap();
        }
        node.restart().await;
        let after = picture(&node).await;
        assert_eq!(after.len(), before.len());
        for (what, seen) in &before {
            assert!(after.get(what) == Some(seen), "round {round}: {what} is not as it was");
        }
    }
    // And everything goes on where it was.
    assert_eq!(node.append("set", 1, &["d"]).await, 30);
    assert_eq!(node.append("plain", 0, &["d"]).await, 30);
    assert_eq!(node.append("empty", 0, &["d"]).await, 0);
    let cluster =
        node.admin().get_cluster(v1::GetClusterRequest::default()).await.unwrap().into_inner();
    assert_eq!((cluster.topic_count, cluster.partition_count), (3, 6));
}
