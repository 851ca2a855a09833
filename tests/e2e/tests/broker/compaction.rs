//! Topics that keep the latest record of each key, and records that end after a time.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ropewalk::{CleanupPolicy, Client, NewTopic, RecordTtl, Setting, Start, Stop};
use ropewalk_proto::v1;
use v1::offset_query::Position as Query;
use v1::start::Position;

use crate::support::{
    CODECS, Expected, Got, Node, Reader, SOON, compressed, keyed_record, named, poll, produce,
    produce_compressed, query, read_all, refused, seconds, soon, starting, stopping, value_record,
};

/// Looks for what is to be compacted, as often as a test needs it.
const OFTEN: (&str, &str) = ("topics.retention_check_interval", "100ms");

fn compacted() -> v1::TopicSettings {
    v1::TopicSettings {
        cleanup_policy: v1::CleanupPolicy::Compact.into(),
        delete_retention: Some(seconds(0)),
        ..Default::default()
    }
}

fn tombstone(key: &[u8]) -> v1::Record {
    v1::Record { key: Some(Bytes::copy_from_slice(key)), ..Default::default() }
}

/// The keys that a partition holds, each with its offset and its value.
fn latest(records: &[Got]) -> BTreeMap<String, (i64, String)> {
    let text = |bytes: &Option<Bytes>| {
        String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
    };
    let latest = records.iter().map(|got| (text(&got.record.key), (got.offset, got.text())));
    latest.collect()
}

/// Waits until a topic holds so many records.
async fn comes_down_to(node: &Node, topic: &str, count: usize) -> Vec<Got> {
    let left = async || {
        let records = read_all(node, topic).await;
        (records.len() == count).then_some(records)
    };
    poll("a compaction", SOON, left).await
}

#[tokio::test]
async fn the_latest_record_of_each_key_stays_at_its_offset_over_a_kill() {
    let mut node = Node::with(&[OFTEN]).await;
    node.create_with("t", 1, compacted()).await;
    let record =
        |n: usize| keyed_record(format!("k{}", n % 7).as_bytes(), format!("v{n}").as_bytes());
    for batch in 0..20 {
        let records: Vec<_> = (batch * 10..batch * 10 + 10).map(record).collect();
        match batch % 5 {
            0 => {
                let (name, codec) = CODECS[batch / 5];
                let request = produce_compressed("t", 0, name, compressed(codec, records), 10);
                soon("an append", node.producer().produce(request)).await.unwrap();
            }
            _ => drop(node.append_records("t", 0, records).await),
        }
    }
    let expected: BTreeMap<_, _> =
        (0..200).map(|n| (format!("k{}", n % 7), (n as i64, format!("v{n}")))).collect();
    let left = comes_down_to(&node, "t", 7).await;
    assert_eq!(latest(&left), expected);
    assert_eq!(node.bounds("t", 0).await, (0, 200), "offsets stay");

    node.broker.kill9().await.unwrap();
    node.restart().await;
    assert_eq!(latest(&comes_down_to(&node, "t", 7).await), expected);

    // From the middle on, and up to before an offset whose record is gone.
    let from = starting(named(&["t"]), Position::Offset(195));
    let (mut reader, _) = Reader::open(&node, stopping(from, v1::stop::End::Offset(199))).await;
    let found: Vec<_> = reader.drain().await.iter().map(|got| got.offset).collect();
    assert_eq!(found, [195, 196, 197, 198]);
    let latest_of = query("t", Some(0), Query::Latest(()));
    let listed = node.consumer().list_offsets(latest_of).await.unwrap().into_inner();
    assert_eq!(listed.offsets[0].offset, 200);

    // What has no value goes too, and its key with it.
    node.append_records("t", 0, vec![tombstone(b"k3"), keyed_record(b"k4", b"new")]).await;
    let left = latest(&comes_down_to(&node, "t", 6).await);
    assert_eq!(left.get("k3"), None);
    assert_eq!(left["k4"], (201, "new".to_owned()));
}

#[tokio::test]
async fn the_sdk_gives_each_record_its_offset() {
    let node = Node::with(&[OFTEN]).await;
    node.create_with("t", 1, compacted()).await;
    let records = ["a", "b", "a", "c", "b", "a"].map(|key| keyed_record(key.as_bytes(), b"v"));
    node.append_records("t", 0, records.into()).await;
    comes_down_to(&node, "t", 3).await;
    let client = Client::connect(node.broker.address()).await.unwrap();
    let reading = client.consumer().topic("t").start(Start::Earliest).until(Stop::CaughtUp);
    let mut consumer = soon("a consumer", reading.build()).await.unwrap();
    let mut read = Vec::new();
    while let Some(record) = soon("a record", consumer.next()).await {
        let record = record.unwrap();
        read.push((record.offset, record.key.unwrap()));
    }
    let expected = [(3, "c"), (4, "b"), (5, "a")];
    assert_eq!(read, expected.map(|(offset, key)| (offset, Bytes::from_static(key.as_bytes()))));
}

#[tokio::test]
async fn a_record_without_a_key_is_refused() {
    let node = Node::start().await;
    node.create_with("t", 1, compacted()).await;
    let records = vec![keyed_record(b"k", b"v"), value_record(b"v")];
    let request = produce("t", 0, records);
    let status = node.producer().produce(request).await.unwrap_err();
    let details = refused("a record without a key", &status, Expected::INVALID_FIELD);
    assert_eq!(details["field"], "records.records[1].key");
}

#[tokio::test]
async fn records_end_after_their_time_and_settings_change_at_run_time() {
    let node = Node::with(&[OFTEN]).await;
    let client = Client::connect(node.broker.address()).await.unwrap();
    let admin = client.admin();
    let topic = admin.create_topic(NewTopic::named("t").partitions(1)).await.unwrap();
    assert_eq!(topic.settings.cleanup_policy, Some(CleanupPolicy::Delete));
    assert_eq!(topic.settings.record_ttl, Some(RecordTtl::Unlimited));
    node.append("t", 0, &["old"; 3]).await;
    // Long enough for what is appended to be read before it ends, on a machine that is busy.
    let ttl = Duration::from_secs(3);
    let update = ropewalk::TopicUpdate::of("t").record_ttl(RecordTtl::For(ttl));
    let topic = admin.update_topic(update).await.unwrap();
    assert_eq!(topic.settings.record_ttl, Some(RecordTtl::For(ttl)));
    comes_down_to(&node, "t", 0).await;
    node.append("t", 0, &["new"]).await;
    let found = read_all(&node, "t").await;
    assert_eq!(found.iter().map(|got| got.offset).collect::<Vec<_>>(), [3]);
    let update = ropewalk::TopicUpdate::of("t")
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .delete_retention(Duration::from_secs(5))
        .reset(Setting::RecordTtl);
    let topic = admin.update_topic(update).await.unwrap();
    assert_eq!(topic.settings.cleanup_policy, Some(CleanupPolicy::CompactAndDelete));
    assert_eq!(topic.settings.delete_retention, Some(Duration::from_secs(5)));
    assert_eq!(topic.settings.record_ttl, Some(RecordTtl::Unlimited));
}
