//! Streams that live on while topics, partitions and logs change under them.

use std::time::Duration;

use ropewalk_proto::v1;
use tokio::time::Instant;
use v1::start::Position;
use v1::stop::End;

use crate::support::{
    Event, Expected, Node, Reader, duration, named, poll, refused, soon, starting, stopping,
    value_record,
};

fn pattern(pattern: &str) -> v1::SubscribeRequest {
    let selection = Some(v1::topic_selection::Selection::Pattern(pattern.to_owned()));
    let topics = vec![v1::TopicSelection { selection, partitions: Vec::new() }];
    v1::SubscribeRequest { topics, ..Default::default() }
}

async fn add_partitions(node: &Node, name: &str, partition_count: i32) {
    let topic = v1::Topic { name: name.to_owned(), partition_count, ..Default::default() };
    let paths = vec!["partition_count".to_owned()];
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = v1::UpdateTopicRequest { topic: Some(topic), update_mask };
    let updated = node.admin().update_topic(request).await.unwrap().into_inner();
    assert_eq!(updated.topic.unwrap().partition_count, partition_count);
}

#[tokio::test]
async fn topics_that_are_created_later_join_a_pattern_from_their_beginning() {
    let node = Node::start().await;
    node.create("logs.eu", 1).await;
    node.create("logs", 1).await;
    let request = starting(pattern(r"logs\..*"), Position::Latest(()));
    let (mut reader, positions) = Reader::open(&node, request).await;
    assert_eq!(positions.len(), 1);
    assert_eq!(positions[0].topic, "logs.eu");
    reader.caught_up().await;
    for (topic, partitions) in [("logs.us", 2), ("other", 1), ("logs.asia", 1)] {
        let created = node.create(topic, partitions).await;
        node.append(topic, partitions - 1, &[topic]).await;
        if topic == "other" {
            continue;
        }
        let joined = loop {
            match reader.event().await {
                Event::Started(started) => break started.positions,
                Event::CaughtUp(_) => {}
                event => panic!("{event:?}"),
            }
        };
        assert_eq!(joined.len(), usize::try_from(partitions).unwrap());
        assert!(joined.iter().all(|position| position.topic_id == created.topic_id));
        assert!(joined.iter().all(|position| position.offset == 0));
        let batch = reader.batch().await;
        assert_eq!((batch.topic.as_str(), batch.base_offset), (topic, 0));
    }
    // A topic that goes takes its partitions out of the stream, and no more: even the last one.
    for topic in ["logs.eu", "logs.us", "logs.asia"] {
        node.delete_topic(topic).await;
    }
    node.create("logs.again", 1).await;
    let joined = loop {
        match reader.event().await {
            Event::Started(started) => break started.positions,
            Event::CaughtUp(_) => {}
            event => panic!("{event:?}"),
        }
    };
    assert_eq!(joined[0].topic, "logs.again");
}

#[tokio::test]
async fn partitions_that_are_added_join_with_a_second_started() {
    let node = Node::start().await;
    node.create("t", 1).await;
    let request = starting(named(&["t"]), Position::Latest(()));
    let (mut all, _) = Reader::open(&node, request).await;
    let mut request = named(&["t"]);
    request.topics[0].partitions = vec![v1::PartitionSelection { partition: 0, start: None }];
    let (mut first, _) = Reader::open(&node, request).await;
    all.caught_up().await;
    first.caught_up().await;
    add_partitions(&node, "t", 3).await;
    for partition in [2, 1, 0] {
        node.append("t", partition, &[&partition.to_string()]).await;
    }
    let joined = all.started().await;
    let joined: Vec<_> = joined.iter().map(|p| (p.partition, p.offset)).collect();
    assert_eq!(joined, [(1, 0), (2, 0)]);
    let mut found: Vec<_> = all.records(3).await.iter().map(|got| got.partition).collect();
    found.sort_unstable();
    assert_eq!(found, [0, 1, 2]);
    // Who named a partition reads that one.
    assert_eq!(first.batch().await.partition, 0);
    // A stop of the start does not wait for what comes later.
    let (mut stopped, _) = Reader::open(&node, stopping(named(&["t"]), End::CaughtUp(()))).await;
    assert_eq!(stopped.drain().await.len(), 3);
}

#[tokio::test]
async fn a_quiet_stream_beats_and_says_where_its_partitions_stand() {
    let node = Node::start().await;
    node.create("t", 2).await;
    node.append("t", 1, &["a", "b"]).await;
    let mut request = named(&["t"]);
    request.heartbeat_interval = Some(duration(Duration::from_millis(200)));
    let (mut reader, _) = Reader::open(&node, request).await;
    let begun = Instant::now();
    let mut beats = 0;
    let mut caught_up = Vec::new();
    while beats < 3 {
        match reader.next().await.unwrap().unwrap() {
            Event::Heartbeat(heartbeat) => {
                beats += 1;
                let mut positions: Vec<_> = heartbeat
                    .positions
                    .iter()
                    .map(|p| (p.partition, p.offset, p.high_watermark, p.log_start_offset))
                    .collect();
                positions.sort_unstable();
                assert_eq!(positions, [(0, 0, 0, 0), (1, 2, 2, 0)]);
            }
            Event::CaughtUp(at) => caught_up.push((at.partition, at.offset)),
            Event::Batch(_) => assert_eq!(beats, 0),
            event => panic!("{event:?}"),
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(600), "a beat comes when nothing else does");
    caught_up.sort_unstable();
    assert_eq!(caught_up, [(0, 0), (1, 2)], "each partition once");
    // A stream that tails does not say that it has caught up with each record.
    node.append("t", 0, &["x"]).await;
    reader.batch().await;
    assert!(matches!(reader.next().await.unwrap(), Some(Event::Heartbeat(_))));
}

#[tokio::test]
async fn records_that_are_deleted_below_a_reader_are_a_gap() {
    let node = Node::with(&[("memory.read_budget", "1MiB")]).await;
    node.create("t", 1).await;
    for _ in 0..40 {
        node.append_records("t", 0, vec![value_record(&vec![b'x'; 128 * 1024]); 4]).await;
    }
    // It reads little: the stream's window fills up, and the log goes away before the rest is read.
    let (mut reader, _) = Reader::open(&node, named(&["t"])).await;
    let first = reader.batch().await;
    assert_eq!(first.base_offset, 0);
    assert_eq!(node.delete_records("t", 0, 158).await, 158);
    let (mut next, mut gap) = (Some(i64::from(first.record_count)), None);
    while next != Some(160) {
        match reader.event().await {
            Event::Batch(batch) => {
                if let (Some(next), None) = (next, gap) {
                    assert_eq!(batch.base_offset, next);
                }
                if let Some((_, to)) = gap.take() {
                    assert_eq!(batch.base_offset, to);
                    gap = Some((-1, -1));
                }
                next = Some(batch.base_offset + i64::from(batch.record_count));
            }
            Event::Gap(found) => {
                assert_eq!(Some(found.from_offset), next, "a gap begins where reading was");
                assert_eq!(found.to_offset, 158);
                gap = Some((found.from_offset, found.to_offset));
            }
            Event::CaughtUp(_) => {}
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(gap, Some((-1, -1)), "what was deleted was told");
    // A reader at the tail whose log is emptied has missed nothing.
    assert_eq!(node.delete_records("t", 0, -1).await, 160);
    node.append("t", 0, &["next"]).await;
    assert_eq!(reader.batch().await.base_offset, 160);
}

#[tokio::test]
async fn a_topic_that_is_deleted_ends_its_readers_and_its_name_inherits_nothing() {
    let mut node = Node::start().await;
    let old = node.create("t", 2).await;
    node.append("t", 0, &["old"; 10]).await;
    node.commit("g", &[("t", 0, 7)]).await;
    let mut readers = Vec::new();
    for _ in 0..5 {
        let (mut reader, _) = Reader::apart(&node, named(&["t"])).await;
        reader.records(10).await;
        readers.push(reader);
    }
    // One is in the middle of the log, on its way to the end.
    for _ in 0..40 {
        node.append_records("t", 1, vec![value_record(&vec![b'x'; 100_000]); 10]).await;
    }
    let (mut reader, _) = Reader::apart(&node, named(&["t"])).await;
    reader.records(11).await;
    readers.push(reader);
    node.delete_topic("t").await;
    for mut reader in readers {
        let metadata = refused("a reader", &reader.error().await, Expected::TOPIC_NOT_FOUND);
        assert_eq!(metadata["resource"], "t");
    }
    for round in 0..2 {
        if round == 0 {
            let new = node.create("t", 1).await;
            assert_ne!(new.topic_id, old.topic_id);
        }
        assert_eq!(node.bounds("t", 0).await, (0, round));
        assert_eq!(node.committed("g").await, []);
        let committed = v1::CommittedStart { group: "g".to_owned(), fallback: None };
        let request = starting(named(&["t"]), Position::Committed(committed));
        let (_, positions) = Reader::open(&node, request).await;
        assert_eq!((positions.len(), positions[0].offset), (1, 0));
        assert_eq!(node.append("t", 0, &["new"]).await, round);
        node.restart().await;
    }
}

/// Topics come and go while groups commit: no commit of a living topic goes with a dead one.
#[tokio::test(flavor = "multi_thread")]
async fn commits_of_new_topics_outlive_the_deletion_of_old_ones() {
    let node = Node::start().await;
    let groups: Vec<_> = (0..40).map(|n| format!("group-{n}")).collect();
    for round in 0..12 {
        let (old, new) = (format!("old-{round}"), format!("new-{round}"));
        node.create(&old, 1).await;
        for group in &groups {
            node.commit(group, &[(&old, 0, 0)]).await;
        }
        let delete = node.delete_topic(&old);
        let replace = async {
            node.create(&new, 1).await;
            let commits = groups.iter().map(|group| async {
                node.commit(group, &[(&new, 0, 0)]).await;
            });
            futures::future::join_all(commits).await;
        };
        tokio::join!(delete, replace);
        for group in &groups {
            let kept = node.committed(group).await;
            assert!(kept.contains(&(new.clone(), 0, 0)), "round {round}, {group}: {kept:?}");
        }
    }
}

/// From the tail to the disk and back: a reader that stops reading for a while loses nothing and
/// makes the broker hold little.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_costs_little_and_loses_nothing() {
    const BATCHES: usize = 400;
    let node = Node::with(&[("memory.read_budget", "4MiB")]).await;
    node.create("t", 1).await;
    let mut readers = Vec::new();
    for _ in 0..8 {
        let (mut reader, _) = Reader::apart(&node, named(&["t"])).await;
        reader.caught_up().await;
        readers.push(reader);
    }
    let append = async |n: usize| {
        let records = (0..4).map(|part| {
            let mut value = vec![b'.'; 60 * 1024];
            value[..8].copy_from_slice(&(4 * n as u64 + part).to_be_bytes());
            value_record(&value)
        });
        node.append_records("t", 0, records.collect()).await
    };
    append(0).await;
    for reader in &mut readers {
        assert_eq!(reader.records(4).await.len(), 4);
    }
    let before = node.rss_mib();
    for n in 1..BATCHES {
        append(n).await;
    }
    let grown = node.rss_mib().saturating_sub(before);
    println!("8 readers that do not read while 94 MiB are appended: grown by {grown} MiB");
    assert!(grown < 80, "the broker grew by {grown} MiB");
    for reader in &mut readers {
        let (mut next, mut was_behind) = (4, false);
        while next < 4 * BATCHES as u64 || !was_behind {
            match reader.event().await {
                Event::Batch(batch) => {
                    for got in crate::support::records_of(&batch) {
                        assert_eq!(u64::try_from(got.offset).unwrap(), next);
                        assert_eq!(got.record.value.unwrap()[..8], next.to_be_bytes());
                        next += 1;
                    }
                }
                // It had caught up before, and fell behind: so it is said again.
                Event::CaughtUp(at) => {
                    assert_eq!(u64::try_from(at.offset).unwrap(), next);
                    was_behind = next == 4 * BATCHES as u64;
                }
                event => panic!("{event:?}"),
            }
        }
    }
    append(BATCHES).await;
    for reader in &mut readers {
        let batch = soon("the tail", reader.batch()).await;
        assert_eq!(batch.base_offset, 4 * BATCHES as i64);
    }
    drop(readers);
    let is_over = async || (node.gauge("ropewalk_active_subscriptions").await == 0.0).then_some(());
    poll("the end of the streams", Duration::from_secs(1), is_over).await;
}
