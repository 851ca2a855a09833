//! Where reading starts, where it ends, and in which form records come.

use ropewalk_proto::v1;
use v1::offset_query::Position as Query;
use v1::start::Position;
use v1::stop::End;

use crate::support::{
    CODECS, Event, Node, Reader, compressed, named, produce_compressed, query, read_all,
    record_of_size, starting, stopping, time, timed_record, value_record,
};

/// A topic `t` of one partition with three batches: a b c, d e, f.
async fn six_records() -> Node {
    let node = Node::start().await;
    for batch in [["a", "b", "c"].as_slice(), &["d", "e"], &["f"]] {
        node.append("t", 0, batch).await;
    }
    node
}

async fn texts(node: &Node, request: v1::SubscribeRequest) -> String {
    let (mut reader, _) = Reader::open(node, request).await;
    reader.drain().await.iter().map(crate::support::Got::text).collect()
}

#[tokio::test]
async fn reading_starts_and_ends_at_any_offset() {
    let node = six_records().await;
    for start in 0..=6 {
        for stop in start..=6 {
            let request = starting(named(&["t"]), Position::Offset(start));
            let request = stopping(request, End::Offset(stop));
            let range = usize::try_from(start).unwrap()..usize::try_from(stop).unwrap();
            assert_eq!(texts(&node, request).await, "abcdef"[range], "{start} to {stop}");
        }
    }
    let earliest = starting(named(&["t"]), Position::Earliest(()));
    assert_eq!(texts(&node, stopping(earliest, End::CaughtUp(()))).await, "abcdef");
    let latest = starting(named(&["t"]), Position::Latest(()));
    assert_eq!(texts(&node, stopping(latest, End::CaughtUp(()))).await, "");
    let nothing_selected = v1::SubscribeRequest::default();
    let none = v1::TopicSelection {
        selection: Some(v1::topic_selection::Selection::Pattern("no-such-.*".to_owned())),
        partitions: Vec::new(),
    };
    let request = v1::SubscribeRequest { topics: vec![none], ..nothing_selected };
    assert_eq!(texts(&node, stopping(request, End::CaughtUp(()))).await, "");
}

#[tokio::test]
async fn latest_is_pinned_when_started_arrives() {
    let node = six_records().await;
    for round in 0..20 {
        let request = starting(named(&["t"]), Position::Latest(()));
        let (mut reader, positions) = Reader::open(&node, request).await;
        assert_eq!((positions[0].offset, positions[0].high_watermark), (6 + round, 6 + round));
        let value = format!("new {round}");
        assert_eq!(node.append("t", 0, &[&value]).await, 6 + round);
        assert_eq!(reader.records(1).await[0].text(), value);
    }
}

#[tokio::test]
async fn a_time_is_found_whatever_the_order_of_times() {
    let node = Node::start().await;
    // Offsets 0 to 8; create times go back and forth, within batches and between them.
    for times in [[5_000, 1_000, 9_000], [2_000, 3_000, 2_500], [9_500, 100, 12_000]] {
        let records = times.map(|millis| timed_record(millis.to_string().as_bytes(), millis));
        node.append_records("t", 0, records.into()).await;
    }
    // The first offset whose time is at or after it.
    let expected = [
        (0, 0, Some(5_000)),
        (5_000, 0, Some(5_000)),
        (5_001, 2, Some(9_000)),
        (9_000, 2, Some(9_000)),
        (9_001, 6, Some(9_500)),
        (9_501, 8, Some(12_000)),
        (12_001, 9, None),
    ];
    for (asked, offset, found) in expected {
        let request = query("t", None, Query::Timestamp(time(asked)));
        let answer = node.consumer().list_offsets(request).await.unwrap().into_inner();
        assert_eq!(answer.offsets[0].offset, offset, "{asked}");
        assert_eq!(answer.offsets[0].timestamp, found.map(time), "{asked}");
        let request = starting(named(&["t"]), Position::Timestamp(time(asked)));
        let (_, positions) = Reader::open(&node, request).await;
        assert_eq!(positions[0].offset, offset, "{asked}");
        let request = stopping(named(&["t"]), End::Timestamp(time(asked)));
        let (mut reader, _) = Reader::open(&node, request).await;
        assert_eq!(reader.drain().await.len(), usize::try_from(offset).unwrap(), "{asked}");
    }
    // After a trim only what is left counts: in the middle of a batch, and of batches.
    node.delete_records("t", 0, 1).await;
    for (trim, asked, offset) in [(1, 1_000, 1), (3, 5_000, 6), (4, 2_500, 4), (5, 2_600, 6)] {
        node.delete_records("t", 0, trim).await;
        let request = query("t", None, Query::Timestamp(time(asked)));
        let answer = node.consumer().list_offsets(request).await.unwrap().into_inner();
        assert_eq!(answer.offsets[0].offset, offset, "trimmed to {trim}, asked for {asked}");
    }
    // Records without a time have that of their append, and compressed ones their own.
    let plain = node.append("t", 0, &["now"]).await;
    let request = query("t", None, Query::Timestamp(time(1_000_000_000_000)));
    let answer = node.consumer().list_offsets(request).await.unwrap().into_inner();
    assert_eq!(answer.offsets[0].offset, plain);
}

#[tokio::test]
async fn a_group_goes_on_where_it_committed_and_elsewhere_where_the_fallback_says() {
    let node = Node::start().await;
    node.create("t", 2).await;
    for partition in [0, 1] {
        node.append("t", partition, &["a", "b", "c"]).await;
    }
    node.commit("g", &[("t", 1, 2)]).await;
    use v1::committed_start::Fallback;
    let cases = [(None, 0), (Some(Fallback::Earliest(())), 0), (Some(Fallback::Latest(())), 3)];
    for (fallback, expected) in cases {
        let committed = v1::CommittedStart { group: "g".to_owned(), fallback };
        let request = starting(named(&["t"]), Position::Committed(committed));
        let (_, positions) = Reader::open(&node, request).await;
        let offsets: Vec<_> = positions.iter().map(|p| (p.partition, p.offset)).collect();
        assert_eq!(offsets, [(0, expected), (1, 2)], "{fallback:?}");
    }
}

#[tokio::test]
async fn one_stream_reads_many_partitions_each_from_its_own_start() {
    let node = Node::start().await;
    node.create("a", 2).await;
    node.create("b", 3).await;
    for (topic, partitions) in [("a", 2), ("b", 3)] {
        for partition in 0..partitions {
            node.append(topic, partition, &["0", "1", "2"]).await;
        }
    }
    let mut request = stopping(named(&["a", "b"]), End::CaughtUp(()));
    let own = |partition, position| v1::PartitionSelection {
        partition,
        start: Some(v1::Start { position: Some(position) }),
    };
    request.topics[1].partitions = vec![
        own(2, Position::Offset(1)),
        own(0, Position::Latest(())),
        v1::PartitionSelection { partition: 1, start: None },
    ];
    let (mut reader, positions) = Reader::open(&node, request).await;
    let mut starts: Vec<_> =
        positions.iter().map(|p| (p.topic.as_str(), p.partition, p.offset)).collect();
    starts.sort_unstable();
    assert_eq!(starts, [("a", 0, 0), ("a", 1, 0), ("b", 0, 3), ("b", 1, 0), ("b", 2, 1)]);
    let mut found = std::collections::BTreeMap::new();
    while let Some(event) = reader.next().await.unwrap() {
        if let Event::Batch(batch) = event {
            *found.entry((batch.topic.clone(), batch.partition)).or_insert(0) += batch.record_count;
        }
    }
    let expected =
        [("a", 0, 3), ("a", 1, 3), ("b", 1, 3), ("b", 2, 2)].map(|(t, p, n)| ((t.into(), p), n));
    assert_eq!(found, expected.into());
}

#[tokio::test]
async fn batches_are_cut_to_the_size_that_the_reader_takes() {
    let node = Node::start().await;
    let mut sizes = vec![1_000; 10];
    sizes.extend([9_000, 500, 500]);
    let records: Vec<_> = sizes.iter().map(|size| record_of_size(*size)).collect();
    node.append_records("t", 0, records.clone()).await;
    let mut request = stopping(named(&["t"]), End::CaughtUp(()));
    request.max_batch_bytes = 4_100;
    let (mut reader, _) = Reader::open(&node, request).await;
    let (mut counts, mut next) = (Vec::new(), 0);
    while let Some(event) = reader.next().await.unwrap() {
        if let Event::Batch(batch) = event {
            assert_eq!(batch.base_offset, next);
            next += i64::from(batch.record_count);
            counts.push(batch.record_count);
        }
    }
    // One that is larger alone comes alone.
    assert_eq!(counts, [4, 4, 2, 1, 2]);
    assert_eq!(next, 13);
    let mut smallest = stopping(named(&["t"]), End::CaughtUp(()));
    smallest.max_batch_bytes = 1;
    let (mut reader, _) = Reader::open(&node, smallest).await;
    let found: Vec<_> = reader.drain().await.into_iter().map(|got| got.record).collect();
    assert_eq!(found, records);
}

#[tokio::test]
async fn compressed_batches_come_as_they_are_to_those_who_accept_them() {
    let node = Node::start().await;
    let records: Vec<_> =
        (0..200).map(|n| value_record(format!("record {n}").as_bytes())).collect();
    for (name, codec) in CODECS {
        let topic = name.as_str_name();
        let bytes = compressed(codec, records.clone());
        let request = produce_compressed(topic, 0, name, bytes.clone(), 200);
        node.producer().produce(request).await.unwrap();
        let found: Vec<_> =
            read_all(&node, topic).await.into_iter().map(|got| got.record).collect();
        assert_eq!(found, records, "{topic}");

        let accepting = |start| {
            let request = starting(named(&[topic]), Position::Offset(start));
            v1::SubscribeRequest { accepted_compressions: vec![name.into()], ..request }
        };
        let (mut reader, _) = Reader::open(&node, accepting(0)).await;
        let batch = reader.batch().await;
        assert_eq!((batch.compression(), batch.record_count), (name, 200));
        assert_eq!(batch.data, Some(v1::record_batch::Data::Compressed(bytes.into())));
        // From within a batch, and as text, records come one by one.
        let (mut reader, _) = Reader::open(&node, accepting(150)).await;
        let batch = reader.batch().await;
        assert_eq!((batch.compression(), batch.base_offset), (v1::Compression::None, 150));
        assert_eq!(batch.record_count, 50);
        let request = v1::SubscribeRequest { text: true, ..accepting(0) };
        let (mut reader, _) = Reader::open(&node, request).await;
        assert_eq!(reader.records(200).await[7].record.text.as_deref(), Some("record 7"));
    }
}
