//! Batches that cannot be appended, and records that must come back as they were sent.

use bytes::Bytes;
use prost::Message;
use ropewalk_core::limits;
use ropewalk_proto::{broker as opaque, v1};
use tonic::Status;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;
use v1::produce_request::Data;

use crate::support::{
    CODECS, Event, Expected, Node, Pipe, Reader, compressed, keyed_record, named, place, produce,
    produce_compressed, read_all, record_of_size, refused, soon, starting, stopping, time,
    value_record,
};

/// Appends bytes that are said to be a record set.
async fn produce_bytes(node: &Node, records: &'static [u8]) -> Result<(), Status> {
    let request = opaque::ProduceRequest {
        topic: "t".to_owned(),
        partition: Some(0),
        data: Some(opaque::produce_request::Data::Records(Bytes::from_static(records))),
        ..Default::default()
    };
    let mut grpc = Grpc::new(node.channel.clone());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/ropewalk.v1.ProducerService/Produce");
    let codec = ProstCodec::<opaque::ProduceRequest, v1::ProduceResponse>::default();
    grpc.unary(tonic::Request::new(request), path, codec).await.map(drop)
}

/// Each request is refused the same way by Produce and within one ProduceStream, which lives on.
async fn refused_both_ways(node: &mut Node, requests: Vec<(&str, v1::ProduceRequest, Expected)>) {
    let mut pipe = Pipe::open(node).await;
    for (what, request, expected) in requests {
        let sent = soon(what, node.producer().produce(request.clone())).await;
        let status = sent.expect_err(what);
        let metadata = refused(what, &status, expected);
        pipe.send(request).await;
        let (_, result) = pipe.answer().await;
        let status = result.expect_err(what);
        assert_eq!(refused(what, &status, expected), metadata, "{what}");
    }
    pipe.send(produce("t", 0, vec![value_record(b"good")])).await;
    pipe.appended().await;
    pipe.close();
    assert!(pipe.next().await.unwrap().is_none());
    node.still_serves().await;
}

#[tokio::test]
async fn what_is_no_batch_is_refused_and_the_stream_lives_on() {
    let mut node = Node::start().await;
    node.create("t", 2).await;
    let good = || produce("t", 0, vec![value_record(b"x")]);
    let both = v1::Record {
        key: Some(Bytes::from_static(b"k")),
        key_text: Some("k".to_owned()),
        ..Default::default()
    };
    let both_values = v1::Record { text: Some(String::new()), ..value_record(b"") };
    let header =
        v1::Header { key: "h".to_owned(), value: Some(Bytes::new()), text: Some(String::new()) };
    let both_in_header = v1::Record { headers: vec![header], ..Default::default() };
    let field = Expected::INVALID_FIELD;
    let expecting = |offset| Some(v1::produce_request::Expected::ExpectedOffset(offset));
    let cases = vec![
        ("nothing at all", v1::ProduceRequest { data: None, ..good() }, field),
        ("no record", produce("t", 0, Vec::new()), field),
        ("no record to place", place("t", Vec::new()), field),
        ("key and key_text", produce("t", 0, vec![value_record(b"ok"), both]), field),
        ("value and text", produce("t", 0, vec![both_values]), field),
        ("both in a header", produce("t", 0, vec![both_in_header]), field),
        ("durability 99", v1::ProduceRequest { durability: 99, ..good() }, field),
        ("durability -1", v1::ProduceRequest { durability: -1, ..good() }, field),
        ("compression 99", v1::ProduceRequest { compression: 99, ..good() }, field),
        ("compression of records", v1::ProduceRequest { compression: 5, ..good() }, field),
        ("a count beside records", v1::ProduceRequest { record_count: 1, ..good() }, field),
        ("expected -1", v1::ProduceRequest { expected: expecting(-1), ..good() }, field),
        (
            "expected, but of which partition",
            v1::ProduceRequest { partition: None, expected: expecting(0), ..good() },
            field,
        ),
    ];
    refused_both_ways(&mut node, cases).await;
}

#[tokio::test]
async fn compressed_bytes_that_are_none_are_refused() {
    let mut node = Node::start().await;
    node.create("t", 2).await;
    let (corrupt, field) = (Expected::CORRUPT_BATCH, Expected::INVALID_FIELD);
    let mut cases = Vec::new();
    for (name, codec) in CODECS {
        let records = (0..100).map(|n| value_record(format!("value {n}").as_bytes())).collect();
        let good = Bytes::from(compressed(codec, records));
        let request = |bytes: Bytes, count| produce_compressed("t", 0, name, bytes, count);
        let mut flipped = good.to_vec();
        flipped[1] ^= 0xff;
        // Only the least length of gzip can be known without decompressing.
        let cut = if name == v1::Compression::Gzip { 10 } else { good.len() - 3 };
        let garbage = Bytes::from_static(b"certainly not compressed, by any codec");
        cases.extend([
            ("garbage", request(garbage, 1), corrupt),
            ("no byte", request(Bytes::new(), 1), corrupt),
            ("a wrong magic number", request(flipped.into(), 100), corrupt),
            ("cut short", request(good.slice(..cut), 100), corrupt),
            ("no count", request(good.clone(), 0), field),
            ("a negative count", request(good.clone(), -1), field),
            (
                "no partition",
                v1::ProduceRequest { partition: None, ..request(good.clone(), 100) },
                field,
            ),
            ("no codec", v1::ProduceRequest { compression: 0, ..request(good.clone(), 1) }, field),
            ("NONE as codec", v1::ProduceRequest { compression: 1, ..request(good, 1) }, field),
        ]);
    }
    refused_both_ways(&mut node, cases).await;
}

/// What only decompression finds is told to the reader that needs it, with the offset; others, and
/// what lies behind it, are served.
#[tokio::test]
async fn damage_within_a_compressed_batch_is_told_where_it_is_met() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    let codec = v1::Compression::Gzip;
    let good = compressed(CODECS[0].1, vec![value_record(b"a"), value_record(b"b")]);
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    for (bytes, count) in [(good.clone(), 2), (damaged, 2), (good.clone(), 3), (good, 2)] {
        let request = produce_compressed("t", 0, codec, bytes, count);
        node.producer().produce(request).await.unwrap();
    }
    for (start, bad) in [(0, "2"), (2, "2"), (4, "4")] {
        let request = starting(named(&["t"]), v1::start::Position::Offset(start));
        let (mut reader, _) = Reader::open(&node, request).await;
        if start == 0 {
            assert_eq!(reader.batch().await.base_offset, 0, "what lies before it is delivered");
        }
        let metadata = refused("damage", &reader.error().await, Expected::CORRUPT_LOG);
        assert_eq!(metadata["offset"], bad);
    }
    let behind = starting(named(&["t"]), v1::start::Position::Offset(7));
    let (mut reader, _) = Reader::open(&node, behind).await;
    assert_eq!(reader.records(2).await[1].text(), "b");

    let mut raw = stopping(named(&["t"]), v1::stop::End::CaughtUp(()));
    raw.accepted_compressions = vec![codec.into()];
    let (mut reader, _) = Reader::open(&node, raw).await;
    let mut counts = Vec::new();
    while let Some(event) = reader.next().await.unwrap() {
        if let Event::Batch(batch) = event {
            counts.push((batch.base_offset, batch.record_count));
        }
    }
    assert_eq!(counts, [(0, 2), (2, 2), (4, 3), (7, 2)]);
    node.still_serves().await;
}

/// A small batch may claim to be a large one. What a reader gets stays below the size that stubs
/// take, and what the broker holds for it stays bounded.
#[tokio::test(flavor = "multi_thread")]
async fn decompression_bombs_do_not_grow_the_broker() {
    let mut node = Node::start().await;
    node.create("t", 3).await;
    // 15 records of 1 MiB of zeros, 60 times: 900 MiB in a few kilobytes each.
    let records = vec![value_record(&vec![0; 1 << 20]); 15];
    let bomb = Bytes::from(compressed(ropewalk_core::Compression::Zstd, records));
    for _ in 0..60 {
        let request = produce_compressed("t", 0, v1::Compression::Zstd, bomb.clone(), 15);
        node.producer().produce(request).await.unwrap();
    }
    let before = node.rss_mib();
    let (mut reader, _) = Reader::open(&node, named(&["t"])).await;
    let found = reader.records(45).await;
    assert_eq!((found[0].offset, found[44].offset), (0, 44));
    let grown = node.rss_mib().saturating_sub(before);
    println!("one reader of bombs: {grown} MiB");
    assert!(grown < 400, "the broker grew by {grown} MiB");
    drop(reader);

    // One record that no message can hold, and a batch beyond the bound of decompression.
    for (partition, megabytes) in [(1, 8), (2, 17)] {
        let records = vec![value_record(&vec![0; megabytes << 20])];
        let bomb = compressed(ropewalk_core::Compression::Zstd, records);
        let request = produce_compressed("t", partition, v1::Compression::Zstd, bomb, 1);
        node.producer().produce(request).await.unwrap();
        let mut request = named(&["t"]);
        request.topics[0].partitions = vec![v1::PartitionSelection { partition, start: None }];
        let (mut reader, _) = Reader::open(&node, request).await;
        let metadata = refused("a bomb", &reader.error().await, Expected::CORRUPT_LOG);
        assert_eq!(metadata["offset"], "0");
    }
    node.still_serves().await;
}

#[tokio::test]
async fn a_wrong_frame_within_the_records_is_refused() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    let cases: &[(&str, &[u8])] = &[
        ("a truncated length", &[0x0a, 0x80]),
        ("a length beyond the end", &[0x0a, 0x05, 0x1a, 0x01, b'x']),
        ("the records as a varint", &[0x08, 0x01]),
        ("a group", &[0x0b, 0x0c]),
        ("a tag of 11 bytes", &[0x8a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0]),
        ("field number 0", &[0x02, 0x00]),
        ("wire type 7", &[0x0f]),
        ("a key that is a varint", &[0x0a, 0x02, 0x08, 0x01]),
        ("a value that is a fixed32", &[0x0a, 0x05, 0x1d, 1, 2, 3, 4]),
        ("a value cut short", &[0x0a, 0x03, 0x1a, 0x05, b'x']),
        ("a truncated tag in a record", &[0x0a, 0x01, 0x80]),
        ("a text that is not UTF-8", &[0x0a, 0x03, 0x22, 0x01, 0xff]),
        ("a header that is a varint", &[0x0a, 0x02, 0x28, 0x01]),
        ("a header key that is not UTF-8", &[0x0a, 0x05, 0x2a, 0x03, 0x0a, 0x01, 0xff]),
        ("a timestamp cut short", &[0x0a, 0x04, 0x32, 0x02, 0x08, 0x80]),
        ("a value given twice", &[0x0a, 0x04, 0x1a, 0x00, 0x1a, 0x00]),
        ("a good record, then a bad one", &[0x0a, 0x00, 0x0a, 0x80]),
    ];
    for (what, bytes) in cases {
        let status = produce_bytes(&node, bytes).await.expect_err(what);
        refused(what, &status, Expected::CORRUPT_BATCH);
    }
    // A field of the future is kept; a record may be empty.
    produce_bytes(&node, &[0x0a, 0x03, 0xa0, 0x06, 0x01]).await.unwrap();
    produce_bytes(&node, &[0x0a, 0x00]).await.unwrap();
    assert_eq!(node.bounds("t", 0).await, (0, 2));
    node.still_serves().await;
}

async fn sizes_around(node: &mut Node, topic: &str, limit: usize) {
    for size in [limit - 1, limit] {
        node.append_records(topic, 0, vec![record_of_size(size)]).await;
    }
    let too_large = vec![value_record(b"small"), record_of_size(limit + 1)];
    let status = node.producer().produce(produce(topic, 0, too_large)).await.unwrap_err();
    let metadata = refused(topic, &status, Expected::RECORD_TOO_LARGE);
    let (limit_text, actual) = (limit.to_string(), (limit + 1).to_string());
    assert_eq!((&metadata["limit"], &metadata["actual"]), (&limit_text, &actual));
    assert_eq!(metadata["field"], "records.records[1]");
    let sizes: Vec<_> =
        read_all(node, topic).await.iter().map(|got| got.record.encoded_len()).collect();
    assert_eq!(sizes, [limit - 1, limit]);
    node.still_serves().await;
}

#[tokio::test]
async fn a_record_may_be_as_large_as_its_topic_allows_and_not_a_byte_larger() {
    let mut node = Node::start().await;
    node.create("default", 1).await;
    sizes_around(&mut node, "default", limits::DEFAULT_MAX_RECORD_BYTES).await;
    for (name, bytes) in [("small", 100), ("largest", 3_670_016)] {
        let max_record_bytes = Some(bytes);
        let settings = v1::TopicSettings { max_record_bytes, ..Default::default() };
        node.create_with(name, 1, settings).await;
        sizes_around(&mut node, name, usize::try_from(bytes).unwrap()).await;
    }
    let header = |bytes: usize| v1::Header {
        key: String::new(),
        value: Some(vec![0; bytes].into()),
        text: None,
    };
    let fits = v1::Record { headers: vec![header(65_000)], ..Default::default() };
    node.append_records("default", 0, vec![fits]).await;
    let headers = vec![header(32_000), header(34_000)];
    let too_large = v1::Record { headers, ..Default::default() };
    let status = node.producer().produce(produce("default", 0, vec![too_large])).await.unwrap_err();
    let metadata = refused("headers", &status, Expected::RECORD_TOO_LARGE);
    assert_eq!((metadata["limit"].as_str()), "65536");

    // Below the size of a message, above that of a batch.
    let batch = vec![record_of_size(1_040_000); 4];
    let status = node.producer().produce(produce("default", 0, batch)).await.unwrap_err();
    let metadata = refused("a batch", &status, Expected::BATCH_TOO_LARGE);
    assert_eq!(metadata["limit"], limits::MAX_BATCH_BYTES.to_string());
    let batch = vec![record_of_size(1_030_000); 4];
    assert_eq!(node.append_records("default", 0, batch).await, 3);
    node.still_serves().await;
}

/// Every combination of absent, empty and given.
fn all_kinds() -> Vec<v1::Record> {
    let forms = [None, Some(Bytes::new()), Some(Bytes::from_static(b"given"))];
    let mut records = Vec::new();
    for key in &forms {
        for value in &forms {
            let headers = forms.iter().map(|value| v1::Header {
                key: "same".to_owned(),
                value: value.clone(),
                text: None,
            });
            records.push(v1::Record {
                key: key.clone(),
                value: value.clone(),
                headers: headers.collect(),
                timestamp: Some(time(1_000_000 + i64::try_from(records.len()).unwrap())),
                ..Default::default()
            });
        }
    }
    records.push(v1::Record::default());
    records.push(v1::Record { timestamp: Some(time(-1)), ..value_record(&[0, 255]) });
    records
}

#[tokio::test]
async fn absent_and_empty_are_kept_apart() {
    let mut node = Node::start().await;
    let sent = all_kinds();
    node.append_records("plain", 0, sent.clone()).await;
    let read = |found: Vec<crate::support::Got>| -> Vec<v1::Record> {
        found.into_iter().map(|got| got.record).collect()
    };
    assert_eq!(read(read_all(&node, "plain").await), sent);

    // Given as text, they are stored as bytes.
    let text = |bytes: &Option<Bytes>| {
        bytes.as_ref().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    };
    let given: Vec<v1::Record> = sent[..9]
        .iter()
        .map(|record| v1::Record {
            key_text: text(&record.key),
            text: text(&record.value),
            key: None,
            value: None,
            headers: record
                .headers
                .iter()
                .map(|h| v1::Header { text: text(&h.value), value: None, ..h.clone() })
                .collect(),
            timestamp: record.timestamp,
            ttl: record.ttl,
        })
        .collect();
    node.append_records("text", 0, given.clone()).await;
    assert_eq!(read(read_all(&node, "text").await), sent[..9]);

    // And read as text where the reader asks for it, unless they are none.
    node.append_records("text", 0, vec![keyed_record(b"\xff", "ü\0".as_bytes())]).await;
    let mut request = stopping(named(&["text"]), v1::stop::End::CaughtUp(()));
    request.text = true;
    let (mut reader, _) = Reader::open(&node, request).await;
    let found = read(reader.drain().await);
    assert_eq!(found[..9], given);
    let last = &found[9];
    assert_eq!((last.key.as_deref(), last.key_text.as_ref()), (Some(b"\xff".as_slice()), None));
    assert_eq!((last.value.as_ref(), last.text.as_deref()), (None, Some("ü\0")));

    for (name, codec) in CODECS {
        let topic = name.as_str_name();
        let bytes = compressed(codec, sent.clone());
        let count = i32::try_from(sent.len()).unwrap();
        let request = produce_compressed(topic, 0, name, bytes, count);
        node.producer().produce(request).await.unwrap();
        assert_eq!(read(read_all(&node, topic).await), sent, "{topic}");
    }
    node.still_serves().await;
}

#[tokio::test]
async fn a_batch_is_appended_whole_or_not_at_all() {
    let node = Node::start().await;
    node.create("t", 8).await;
    // Records for many partitions, and one of them is too large: nothing of it is appended.
    let mut records: Vec<_> =
        (0..50).map(|n| keyed_record(format!("key-{n}").as_bytes(), b"x")).collect();
    records.push(keyed_record(b"large", &vec![0; limits::DEFAULT_MAX_RECORD_BYTES]));
    let status = node.producer().produce(place("t", records)).await.unwrap_err();
    let metadata = refused("placed", &status, Expected::RECORD_TOO_LARGE);
    assert_eq!(metadata["field"], "records.records[50]");
    for partition in 0..8 {
        assert_eq!(node.bounds("t", partition).await, (0, 0));
    }
    let request = v1::ProduceRequest {
        data: Some(Data::Records(v1::RecordSet { records: vec![value_record(b"x")] })),
        ..Default::default()
    };
    let status = node.producer().produce(request).await.unwrap_err();
    refused("no topic", &status, Expected::INVALID_TOPIC_NAME);
}
