//! The Rust client against the real broker, as a program would use it.

use std::collections::BTreeMap;
use std::time::Duration;

use ropewalk::{
    Client, Compression, ErrorKind, Event, NewTopic, Record, Setting, Start, Stop,
    TopicCompression, TopicUpdate,
};
use ropewalk_proto::v1;

use crate::support::{Node, Reader, named, soon};

async fn client(node: &Node) -> Client {
    soon("a client", Client::connect(node.broker.address())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_sends_a_consumer_gets_at_the_offsets_it_was_told() {
    let node = Node::start().await;
    let client = client(&node).await;
    client.admin().create_topic(NewTopic::named("t").partitions(4)).await.unwrap();
    let producer = client.producer().build();
    let mut deliveries = Vec::new();
    for n in 0..5_000 {
        let record = Record::to("t").key(format!("key-{}", n % 50)).value(n.to_string());
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    let mut placed = BTreeMap::new();
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let at = soon("a delivery", delivery).await.unwrap();
        let other = placed.insert((at.partition, at.offset), n.to_string());
        assert_eq!(other, None);
    }
    producer.close().await.unwrap();

    let mut consumer = client
        .consumer()
        .topic("t")
        .start(Start::Earliest)
        .until(Stop::CaughtUp)
        .build()
        .await
        .unwrap();
    let mut found = BTreeMap::new();
    while let Some(record) = soon("a record", consumer.next()).await {
        let record = record.unwrap();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        found.insert((record.partition, record.offset), value);
    }
    assert_eq!(found, placed);

    let group = client.group("g");
    group.commit(consumer.positions()).await.unwrap();
    let committed = group.committed().await.unwrap();
    assert_eq!(committed.iter().map(|position| position.offset).sum::<i64>(), 5_000);
}

/// Reader and writer go over a restart of the broker without a loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_where_it_was_after_a_restart() {
    let mut node = Node::start().await;
    let client = client(&node).await;
    let producer = client.producer().build();
    let send = async |n: i64| {
        let record = Record::to("t").value(n.to_string());
        assert_eq!(soon("an append", producer.send(record)).await.unwrap().offset, n);
    };
    for n in 0..10 {
        send(n).await;
    }
    let mut consumer = client.consumer().topic("t").start(Start::Earliest).build().await.unwrap();
    for round in 0..3 {
        for n in 0..10 {
            let record = soon("a record", consumer.next()).await.unwrap().unwrap();
            assert_eq!(record.offset, round * 10 + n);
        }
        node.restart().await;
        for n in 0..10 {
            send((round + 1) * 10 + n).await;
        }
    }
}

#[tokio::test]
async fn errors_say_what_may_be_concluded() {
    let node = Node::with(&[("topics.auto_create", "false")]).await;
    let client = client(&node).await;
    let producer = client.producer().delivery_timeout(Duration::from_secs(5)).build();
    let sent = soon("an answer", producer.send(Record::to("nowhere").value("x"))).await;
    let error = sent.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::NotFound, "TOPIC_NOT_FOUND"));
    assert!(!error.may_have_happened());
    let admin = client.admin();
    admin.create_topic(NewTopic::named("t")).await.unwrap();
    let error = admin.create_topic(NewTopic::named("t")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let sent = soon("an append", producer.send(Record::to("t").value("x"))).await.unwrap();
    assert_eq!((sent.partition, sent.offset), (0, 0));
}

#[tokio::test]
async fn a_gap_is_told_to_the_program() {
    let node = Node::start().await;
    node.append("t", 0, &["a", "b", "c", "d"]).await;
    node.delete_records("t", 0, 3).await;
    let client = client(&node).await;
    let start = Start::Offset(1);
    let mut consumer = client.consumer().topic("t").start(start).build().await.unwrap();
    loop {
        match soon("an event", consumer.next_event()).await.unwrap().unwrap() {
            Event::Gap(gap) => {
                assert_eq!((gap.from_offset, gap.to_offset), (1, 3));
                break;
            }
            Event::Batch(_) => panic!("the gap comes first"),
            _ => {}
        }
    }
    let record = soon("a record", consumer.next()).await.unwrap().unwrap();
    assert_eq!(record.offset, 3);
}

/// Compressed by the producer, kept so, and decompressed by whoever reads: the consumer, or the
/// broker where a reader begins within a batch.
#[tokio::test(flavor = "multi_thread")]
async fn compressed_records_are_kept_small_and_read_as_they_were() {
    let node = Node::start().await;
    let client = client(&node).await;
    let value = |n: u64| format!("GET /orders/{} 200 {} ms", n % 7, n * 13 % 101);
    let mut sizes = BTreeMap::new();
    for codec in Compression::ALL {
        let topic = codec.name();
        client.admin().create_topic(NewTopic::named(topic).partitions(1)).await.unwrap();
        let producer = client.producer().compression(codec).build();
        let mut deliveries = Vec::new();
        for n in 0..5_000 {
            let record = Record::to(topic).key("k").value(value(n));
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        for (n, delivery) in deliveries.into_iter().enumerate() {
            assert_eq!(soon("a delivery", delivery).await.unwrap().offset, n as i64, "{codec}");
        }
        for start in [0, 2_501] {
            let consumer = client.consumer().topic(topic).start(Start::Offset(start));
            let mut consumer = consumer.until(Stop::CaughtUp).build().await.unwrap();
            for n in start..5_000 {
                let record = soon("a record", consumer.next()).await.unwrap().unwrap();
                assert_eq!(record.offset, n, "{codec}");
                assert_eq!(record.value.unwrap(), value(n.unsigned_abs()), "{codec}");
            }
            assert!(soon("the end", consumer.next()).await.is_none());
        }
        let described = client.admin().topic(topic).await.unwrap();
        sizes.insert(codec, described.partitions[0].size_bytes);
    }
    let plain = sizes[&Compression::None];
    assert!(sizes.values().filter(|size| **size < plain / 2).count() == 4, "{sizes:?}");
}

/// The codec of each batch of a topic, in order, as it is stored.
async fn codecs(node: &Node, topic: &str, batches: usize) -> Vec<v1::Compression> {
    let accepted = v1::Compression::Gzip as i32..=v1::Compression::Zstd as i32;
    let request =
        v1::SubscribeRequest { accepted_compressions: accepted.collect(), ..named(&[topic]) };
    let (mut reader, _) = Reader::open(node, request).await;
    let mut found = Vec::new();
    while found.len() < batches {
        found.push(reader.batch().await.compression());
    }
    found
}

/// The setting is the producers' to follow: the broker takes what comes, also from a bare stub.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_topic_says_of_compression_is_what_is_stored() {
    let node = Node::start().await;
    let client = client(&node).await;
    let admin = client.admin();
    let topic = NewTopic::named("t").partitions(1).compression(TopicCompression::Zstd);
    let created = admin.create_topic(topic).await.unwrap();
    assert_eq!(created.settings.compression, Some(TopicCompression::Zstd));
    let send = async |codec: Option<Compression>| {
        let builder = client.producer();
        let builder = codec.into_iter().fold(builder, |builder, codec| builder.compression(codec));
        let record = Record::to("t").key("k").value("again and again ".repeat(50));
        soon("an answer", builder.build().send(record)).await.unwrap();
    };
    send(None).await;
    send(Some(Compression::Gzip)).await;
    send(Some(Compression::None)).await;
    node.append("t", 0, &["again and again and again and again and again and again"]).await;
    let change = TopicUpdate::of("t").compression(TopicCompression::Snappy);
    let changed = admin.update_topic(change).await.unwrap();
    assert_eq!(changed.settings.compression, Some(TopicCompression::Snappy));
    send(None).await;
    let back = TopicUpdate::of("t").reset(Setting::Compression);
    let changed = admin.update_topic(back).await.unwrap();
    assert_eq!(changed.settings.compression, Some(TopicCompression::Producer));
    send(None).await;
    use v1::Compression as Codec;
    let stored = [Codec::Zstd, Codec::Gzip, Codec::None, Codec::None, Codec::Snappy, Codec::None];
    assert_eq!(codecs(&node, "t", 6).await, stored);
}
