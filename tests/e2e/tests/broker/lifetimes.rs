//! Single records that live for a while only.

use std::time::Duration;

use bytes::Bytes;
use ropewalk::{Client, Compression, Record, Start};
use ropewalk_proto::v1;
use v1::expected_version::KeyForm;
use v1::produce_request::Expected as Condition;
use v1::start::Position;

use crate::support::{
    CODECS, Expected, Got, Node, Reader, SOON, compressed, duration, keyed_record, named, poll,
    produce, produce_compressed, read_all, records_of, refused, seconds, soon, starting, stopping,
    value_record,
};

/// Over by the time that anybody reads it, or soon after.
const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3_600);

fn lives(key: &[u8], value: &[u8], ttl: Duration) -> v1::Record {
    v1::Record { ttl: Some(duration(ttl)), ..keyed_record(key, value) }
}

/// What a topic holds, said briefly.
fn brief(records: &[Got]) -> Vec<(i64, String)> {
    let value = |got: &Got| match got.record.value {
        Some(_) => got.text(),
        None => "tombstone".to_owned(),
    };
    records.iter().map(|got| (got.offset, value(got))).collect()
}

/// Waits until a reader of the whole topic gets this.
async fn comes_to(node: &Node, topic: &str, expected: &[(i64, &str)]) -> Vec<Got> {
    let expected: Vec<_> = expected.iter().map(|(at, text)| (*at, (*text).to_owned())).collect();
    let found = async || {
        let records = read_all(node, topic).await;
        (brief(&records) == expected).then_some(records)
    };
    poll("the end of a record", SOON, found).await
}

/// Appends records as they are, or compressed, with what an SDK says of them.
async fn append(node: &Node, topic: &str, codec: Option<usize>, records: Vec<v1::Record>) {
    let Some(codec) = codec else {
        node.append_records(topic, 0, records).await;
        return;
    };
    let (name, codec) = CODECS[codec];
    let ttls = records.iter().filter_map(|record| record.ttl);
    let shortest_ttl = ttls.min_by_key(|ttl| (ttl.seconds, ttl.nanos));
    let count = records.len();
    let packed = compressed(codec, records);
    let request = v1::ProduceRequest {
        shortest_ttl,
        ..produce_compressed(topic, 0, name, packed, count.try_into().unwrap())
    };
    soon("an append", node.producer().produce(request)).await.unwrap();
}

#[tokio::test]
async fn a_record_whose_time_is_over_is_left_out_and_a_tombstone_where_keys_count() {
    let mut node = Node::start().await;
    let compacts =
        v1::TopicSettings { cleanup_policy: v1::CleanupPolicy::Compact.into(), ..<_>::default() };
    let ways = std::iter::once(None).chain((0..CODECS.len()).map(Some));
    let name = |codec: Option<usize>| codec.map_or("plain", |codec| CODECS[codec].1.name());
    let topics: Vec<_> = ways.map(|codec| (name(codec), codec)).collect();
    let records = || {
        let [b, c] = [lives(b"b", b"2", SHORT), lives(b"c", b"3", LONG)];
        vec![keyed_record(b"a", b"1"), b, c, lives(b"d", b"4", SHORT), keyed_record(b"e", b"5")]
    };
    for (topic, codec) in &topics {
        for (name, settings) in
            [(format!("{topic}.events"), <_>::default()), (format!("{topic}.table"), compacts)]
        {
            node.create_with(&name, 1, settings).await;
            append(&node, &name, *codec, vec![keyed_record(b"b", b"old")]).await;
            append(&node, &name, *codec, records()).await;
        }
    }
    let events = [(0, "old"), (1, "1"), (3, "3"), (5, "5")];
    let table = [(0, "old"), (1, "1"), (2, "tombstone"), (3, "3"), (4, "tombstone"), (5, "5")];
    for is_restarted in [false, true] {
        if is_restarted {
            node.broker.kill9().await.unwrap();
            node.restart().await;
        }
        for (topic, _) in &topics {
            let name = format!("{topic}.events");
            let read = comes_to(&node, &name, &events).await;
            assert_eq!(read[2].record, lives(b"c", b"3", LONG), "as it was produced");
            let read = comes_to(&node, &format!("{topic}.table"), &table).await;
            assert_eq!(read[2].record.key.as_deref(), Some(b"b".as_slice()));
            assert_eq!(read[2].record.ttl, Some(duration(SHORT)));
            // From where a record is over, and up to before one that is.
            let from = starting(named(&[name.as_str()]), Position::Offset(2));
            let (mut reader, _) =
                Reader::open(&node, stopping(from, v1::stop::End::Offset(4))).await;
            assert_eq!(brief(&reader.drain().await), [(3, "3".to_owned())]);
        }
    }
    assert_eq!(node.bounds("plain.events", 0).await, (0, 6), "offsets stay");
    // It still is the version of its key.
    let key_form = Some(KeyForm::Key(Bytes::from_static(b"b")));
    let version = v1::ExpectedVersion { key_form, version: Some(2) };
    let expected = Some(Condition::ExpectedVersion(version));
    let records = vec![keyed_record(b"b", b"6")];
    let request = v1::ProduceRequest { expected, ..produce("plain.table", 0, records) };
    soon("an append", node.producer().produce(request)).await.unwrap();
}

#[tokio::test]
async fn compaction_takes_what_is_over_and_what_that_has_ended() {
    let mut node = Node::with(&[("topics.retention_check_interval", "100ms")]).await;
    let settings = v1::TopicSettings {
        cleanup_policy: v1::CleanupPolicy::Compact.into(),
        delete_retention: Some(seconds(0)),
        ..<_>::default()
    };
    node.create_with("t", 1, settings).await;
    for codec in [None, Some(3)] {
        append(&node, "t", codec, vec![keyed_record(b"k", b"old"), keyed_record(b"l", b"1")]).await;
        append(&node, "t", codec, vec![lives(b"k", b"new", SHORT), lives(b"l", b"2", LONG)]).await;
    }
    // Not even a tombstone is left of the first key.
    comes_to(&node, "t", &[(7, "2")]).await;
    node.broker.kill9().await.unwrap();
    node.restart().await;
    let left = comes_to(&node, "t", &[(7, "2")]).await;
    assert_eq!(left[0].record, lives(b"l", b"2", LONG));
}

#[tokio::test]
async fn a_compressed_batch_in_which_nothing_is_over_is_what_was_produced() {
    let node = Node::start().await;
    node.create("t", 1).await;
    let (name, codec) = CODECS[3];
    let send = async |shortest_ttl: Option<Duration>, ttl| {
        let packed = compressed(codec, vec![lives(b"k", &[b'v'; 500], ttl)]);
        let request = v1::ProduceRequest {
            shortest_ttl: shortest_ttl.map(duration),
            ..produce_compressed("t", 0, name, packed.clone(), 1)
        };
        soon("an append", node.producer().produce(request)).await.unwrap();
        packed
    };
    // One that lives long, and one that is never looked at, as its producer did not say so.
    let sent = [send(Some(LONG), LONG).await, send(None, SHORT).await];
    let subscribe =
        v1::SubscribeRequest { accepted_compressions: vec![name.into()], ..named(&["t"]) };
    let (mut reader, _) = Reader::open(&node, subscribe).await;
    for sent in sent {
        let batch = reader.batch().await;
        assert_eq!(batch.data, Some(v1::record_batch::Data::Compressed(sent.into())));
        assert!(batch.offsets.is_empty());
    }
    // Nor does it help to say that one ends earlier than it does.
    send(Some(SHORT), LONG).await;
    assert_eq!(reader.batch().await.record_count, 1);
}

#[tokio::test]
async fn a_time_to_live_that_is_none_is_refused() {
    let node = Node::start().await;
    node.create("t", 1).await;
    let plain = |ttl| {
        let record = v1::Record { ttl: Some(ttl), ..value_record(b"v") };
        produce("t", 0, vec![value_record(b"v"), record])
    };
    let packed = |ttl| {
        let (name, codec) = CODECS[3];
        let bytes = compressed(codec, vec![value_record(b"v")]);
        let request = produce_compressed("t", 0, name, bytes, 1);
        v1::ProduceRequest { shortest_ttl: Some(ttl), ..request }
    };
    let of_nanos = |nanos| prost_types::Duration { seconds: 0, nanos };
    let misplaced = v1::ProduceRequest { shortest_ttl: Some(seconds(1)), ..plain(seconds(1)) };
    for (request, field) in [
        (plain(seconds(0)), "records.records[1].ttl"),
        (plain(of_nanos(999_999)), "records.records[1].ttl"),
        (plain(seconds(-5)), "records.records[1].ttl"),
        (packed(of_nanos(999_999)), "shortest_ttl"),
        (packed(seconds(-1)), "shortest_ttl"),
        (misplaced, "shortest_ttl"),
    ] {
        let status = node.producer().produce(request).await.unwrap_err();
        assert_eq!(refused(field, &status, Expected::INVALID_FIELD)["field"], field);
    }
}

#[tokio::test]
async fn the_sdk_says_of_compressed_records_too_how_long_they_live() {
    let node = Node::start().await;
    node.create("t", 1).await;
    let client = Client::connect(node.broker.address()).await.unwrap();
    let producer = client.producer().compression(Compression::Zstd).build();
    let record = |ttl| Record::to("t").value(vec![b'v'; 500]).ttl(ttl);
    let error = producer.send(record(Duration::from_micros(999))).await.unwrap_err();
    assert_eq!(error.reason(), "INVALID_FIELD");
    let (kept, over) = (producer.enqueue(record(LONG)), producer.enqueue(record(SHORT)));
    let (kept, over) = (kept.await.unwrap(), over.await.unwrap());
    assert_eq!((kept.await.unwrap().offset, over.await.unwrap().offset), (0, 1));
    let value = "v".repeat(500);
    comes_to(&node, "t", &[(0, &value)]).await;
    let accepted_compressions = vec![v1::Compression::Zstd.into()];
    let subscribe = v1::SubscribeRequest { accepted_compressions, ..named(&["t"]) };
    let (mut reader, _) = Reader::open(&node, subscribe).await;
    let batch = reader.batch().await;
    if batch.compression() == v1::Compression::None {
        // The two were one batch, of which the broker has left the second out.
        assert_eq!((records_of(&batch).len(), batch.offsets), (1, vec![0]));
    }
    producer.send(record(LONG)).await.unwrap();
    assert_eq!(reader.batch().await.compression(), v1::Compression::Zstd);
    let mut consumer = client.consumer().topic("t").start(Start::Earliest).build().await.unwrap();
    for offset in [0, 2] {
        let record = soon("a record", consumer.next()).await.unwrap().unwrap();
        assert_eq!((record.offset, record.ttl), (offset, Some(LONG)));
        assert_eq!(record.value, Some(Bytes::from(value.clone())));
    }
}
