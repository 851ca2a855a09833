//! Offsets, times and bounds outside what a partition or a request can have.

use std::time::Duration;

use ropewalk_proto::v1;
use tonic::Status;
use v1::offset_query::Position as Query;
use v1::start::Position;
use v1::stop::End;

use crate::support::{
    Expected, Node, Reader, commit_request, duration, named, produce, query, refused, starting,
    stopping, value_record,
};

/// A broker with a topic `t` of two partitions. The first has the offsets 10 to 19.
async fn ten_to_twenty() -> Node {
    let node = Node::start().await;
    node.create("t", 2).await;
    node.append("t", 0, &["x"; 20]).await;
    assert_eq!(node.delete_records("t", 0, 10).await, 10);
    node
}

fn first_partition(start: Option<Position>) -> v1::SubscribeRequest {
    let start = start.map(|position| v1::Start { position: Some(position) });
    let mut request = named(&["t"]);
    request.topics[0].partitions = vec![v1::PartitionSelection { partition: 0, start }];
    request
}

#[track_caller]
fn out_of_range(what: &str, status: &Status) {
    let metadata = refused(what, status, Expected::OFFSET_OUT_OF_RANGE);
    assert_eq!((metadata["earliest"].as_str(), metadata["latest"].as_str()), ("10", "20"));
}

#[tokio::test]
async fn an_offset_that_is_not_there_is_out_of_range_for_every_method() {
    let mut node = ten_to_twenty().await;
    for offset in [-1, 21, i64::MAX, i64::MIN] {
        let what = format!("offset {offset}");
        let request = first_partition(Some(Position::Offset(offset)));
        out_of_range(&what, &Reader::try_open(&node, request).await.err().unwrap());

        let commit = commit_request("g", &[("t", 1, 0), ("t", 0, offset)]);
        out_of_range(&what, &node.consumer().commit_offset(commit).await.unwrap_err());
        assert_eq!(node.committed("g").await, [], "a commit is whole or not at all");

        // -1 stands for the high watermark here.
        let before_offset = if offset == -1 { -2 } else { offset };
        let targets = [(1, 0), (0, before_offset)]
            .map(|(partition, before_offset)| v1::DeleteRecordsTarget { partition, before_offset });
        let request = v1::DeleteRecordsRequest { topic: "t".into(), targets: targets.into() };
        out_of_range(&what, &node.admin().delete_records(request).await.unwrap_err());
    }
    for offset in [20, i64::MAX - 1, i64::MAX] {
        let mut request = produce("t", 0, vec![value_record(b"x")]);
        request.expected = Some(v1::produce_request::Expected::ExpectedOffset(offset));
        let sent = node.producer().produce(request).await;
        if offset == 20 {
            assert_eq!(sent.unwrap().into_inner().appends[0].base_offset, 20);
            continue;
        }
        let metadata = refused("far", &sent.unwrap_err(), Expected::EXPECTED_OFFSET_MISMATCH);
        assert_eq!(metadata["current"], "21");
    }
    node.still_serves().await;
}

#[tokio::test]
async fn the_edges_of_the_log_are_in_range() {
    let node = ten_to_twenty().await;
    // Below the log start: a gap, then the first record that is left.
    for start in [0, 9] {
        let request = first_partition(Some(Position::Offset(start)));
        let (mut reader, positions) = Reader::open(&node, request).await;
        assert_eq!(positions[0].offset, start);
        assert_eq!(reader.gap().await, (start, 10));
        assert_eq!(reader.batch().await.base_offset, 10);
    }
    // At the end: nothing, until something comes.
    let request = first_partition(Some(Position::Offset(20)));
    let (mut reader, positions) = Reader::open(&node, request).await;
    assert_eq!((positions[0].offset, positions[0].high_watermark), (20, 20));
    assert_eq!((positions[0].log_start_offset, positions[0].topic.as_str()), (10, "t"));
    node.append("t", 0, &["new"]).await;
    assert_eq!(reader.batch().await.base_offset, 20);
    // A stop at the greatest offset is never reached.
    let request = stopping(first_partition(None), End::Offset(i64::MAX));
    let (mut reader, _) = Reader::open(&node, request).await;
    assert_eq!(reader.records(11).await.len(), 11);
    // A stop at or below the start ends the stream at once.
    for stop in [0, 10] {
        let request = stopping(first_partition(None), End::Offset(stop));
        let (mut reader, _) = Reader::open(&node, request).await;
        assert_eq!(reader.drain().await, []);
    }
    // A group may stand below the log start: it reads on with a gap.
    node.commit("g", &[("t", 0, 0)]).await;
    node.commit("g", &[("t", 0, 21)]).await;
    assert_eq!(node.committed("g").await, [("t".to_owned(), 0, 21)]);
    // Deleting what is gone deletes nothing.
    assert_eq!(node.delete_records("t", 0, 5).await, 10);
    assert_eq!(node.delete_records("t", 0, -1).await, 21);
    assert_eq!(node.bounds("t", 0).await, (21, 21));
    assert_eq!(node.append("t", 0, &["next"]).await, 21);
}

#[tokio::test]
async fn times_at_the_ends_of_time_are_answered() {
    let mut node = ten_to_twenty().await;
    let at = |seconds, nanos| prost_types::Timestamp { seconds, nanos };
    for (seconds, expected) in [(i64::MIN, 10), (-1, 10), (0, 10), (i64::MAX, 20)] {
        let request = query("t", Some(0), Query::Timestamp(at(seconds, 0)));
        let found = node.consumer().list_offsets(request).await.unwrap().into_inner();
        assert_eq!(found.offsets[0].offset, expected, "{seconds}");
        assert_eq!(found.offsets[0].timestamp.is_some(), expected == 10, "{seconds}");
        let request = first_partition(Some(Position::Timestamp(at(seconds, 0))));
        let (_, positions) = Reader::open(&node, request).await;
        assert_eq!(positions[0].offset, expected, "{seconds}");
    }
    for nanos in [-1, 1_000_000_000, i32::MIN] {
        let request = query("t", Some(0), Query::Timestamp(at(0, nanos)));
        let status = node.consumer().list_offsets(request).await.unwrap_err();
        refused("ListOffsets", &status, Expected::INVALID_FIELD);
        let request = first_partition(Some(Position::Timestamp(at(0, nanos))));
        let status = Reader::try_open(&node, request).await.err().unwrap();
        refused("start", &status, Expected::INVALID_FIELD);
        let request = stopping(first_partition(None), End::Timestamp(at(0, nanos)));
        let status = Reader::try_open(&node, request).await.err().unwrap();
        refused("stop", &status, Expected::INVALID_FIELD);
    }
    node.still_serves().await;
}

fn pattern(pattern: &str) -> v1::SubscribeRequest {
    let selection = Some(v1::topic_selection::Selection::Pattern(pattern.to_owned()));
    let topics = vec![v1::TopicSelection { selection, partitions: Vec::new() }];
    v1::SubscribeRequest { topics, ..Default::default() }
}

#[tokio::test]
async fn a_subscribe_request_outside_its_bounds_names_the_field() {
    let mut node = ten_to_twenty().await;
    let base = || named(&["t"]);
    let committed = v1::CommittedStart { group: String::new(), fallback: None };
    let with_partitions = |mut request: v1::SubscribeRequest, partitions: &[i32]| {
        let select =
            |partition: &i32| v1::PartitionSelection { partition: *partition, start: None };
        request.topics[0].partitions = partitions.iter().map(select).collect();
        request
    };
    let heartbeat = |interval: prost_types::Duration| v1::SubscribeRequest {
        heartbeat_interval: Some(interval),
        ..base()
    };
    let unselected =
        v1::SubscribeRequest { topics: vec![v1::TopicSelection::default()], ..Default::default() };
    let cases = [
        ("topics", v1::SubscribeRequest::default()),
        ("topics", unselected),
        ("topics", named(&["t"; 1_001])),
        ("topics", named(&["t", "t"])),
        ("topics", with_partitions(base(), &[0, 1, 0])),
        ("topics.partitions", with_partitions(pattern("t"), &[0])),
        ("topics.pattern", pattern("")),
        ("topics.pattern", pattern("(")),
        ("topics.pattern", pattern(&"a".repeat(1_025))),
        ("topics.pattern", pattern("(a{1000}){1000}")),
        ("stop.offset", stopping(base(), End::Offset(-1))),
        ("start.committed.group", starting(base(), Position::Committed(committed))),
        ("max_batch_bytes", v1::SubscribeRequest { max_batch_bytes: -1, ..base() }),
        ("max_batch_bytes", v1::SubscribeRequest { max_batch_bytes: 3_670_017, ..base() }),
        ("max_batch_bytes", v1::SubscribeRequest { max_batch_bytes: i32::MIN, ..base() }),
        (
            "accepted_compressions",
            v1::SubscribeRequest { accepted_compressions: vec![2, 99], ..base() },
        ),
        ("heartbeat_interval", heartbeat(duration(Duration::from_millis(99)))),
        ("heartbeat_interval", heartbeat(duration(Duration::from_secs(301)))),
        ("heartbeat_interval", heartbeat(prost_types::Duration { seconds: -1, nanos: 0 })),
        ("heartbeat_interval", heartbeat(prost_types::Duration { seconds: 1, nanos: -1 })),
        ("heartbeat_interval", heartbeat(prost_types::Duration { seconds: 1, nanos: i32::MAX })),
    ];
    for (field, request) in cases {
        let status = Reader::try_open(&node, request).await.err();
        let status = status.unwrap_or_else(|| panic!("{field} was taken"));
        let metadata = refused(field, &status, Expected::INVALID_FIELD);
        assert_eq!(metadata["field"], field);
    }
    assert_eq!(node.gauge("ropewalk_active_subscriptions").await, 0.0);
    node.still_serves().await;
}

#[tokio::test]
async fn lists_that_are_empty_too_long_or_repeat_themselves_are_refused() {
    let mut node = ten_to_twenty().await;
    let mut consumer = node.consumer();
    let field = Expected::INVALID_FIELD;
    let status = consumer.commit_offset(commit_request("g", &[])).await.unwrap_err();
    assert_eq!(refused("no offsets", &status, field)["field"], "offsets");
    let twice = commit_request("g", &[("t", 0, 15), ("t", 0, 16)]);
    let status = consumer.commit_offset(twice).await.unwrap_err();
    assert_eq!(refused("twice", &status, field)["field"], "offsets");
    let many = commit_request("g", &[("t", 0, 15); 10_001]);
    let status = consumer.commit_offset(many).await.unwrap_err();
    assert_eq!(refused("10,001", &status, field)["limit"], "10000");
    for (length, is_fine) in [(3_072, true), (3_073, false)] {
        let mut commit = commit_request("g", &[("t", 0, 15)]);
        commit.offsets[0].metadata = "m".repeat(length);
        let sent = consumer.commit_offset(commit).await;
        assert_eq!(sent.is_ok(), is_fine);
        if let Err(status) = sent {
            assert_eq!(refused("metadata", &status, field)["field"], "offsets.metadata");
        }
    }

    let queries = |count| {
        let one = query("t", None, Query::Earliest(())).queries.remove(0);
        v1::ListOffsetsRequest { queries: vec![one; count] }
    };
    // Each asks for two partitions.
    for count in [0, 5_001, 10_001] {
        let status = consumer.list_offsets(queries(count)).await.unwrap_err();
        assert_eq!(refused("queries", &status, field)["field"], "queries", "{count}");
    }
    let found = consumer.list_offsets(queries(5_000)).await.unwrap().into_inner();
    assert_eq!(found.offsets.len(), 10_000);

    for (what, targets) in [("no targets", vec![]), ("twice", vec![0, 1, 0])] {
        let targets = targets
            .into_iter()
            .map(|p| v1::DeleteRecordsTarget { partition: p, before_offset: -1 });
        let request =
            v1::DeleteRecordsRequest { topic: "t".to_owned(), targets: targets.collect() };
        let status = node.admin().delete_records(request).await.unwrap_err();
        assert_eq!(refused(what, &status, field)["field"], "targets");
    }
    assert_eq!(node.bounds("t", 0).await, (10, 20));
    node.still_serves().await;
}
