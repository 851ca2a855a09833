//! A program's test with a broker of its own.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use ropewalk::{Client, Record, Start, Stop};
use ropewalk_testing::Broker;
use tokio::time::Instant;

/// Everything that a topic has.
async fn read(client: &Client, topic: &str) -> Vec<String> {
    let consumer = client.consumer().topic(topic).start(Start::Earliest).until(Stop::CaughtUp);
    let mut consumer = consumer.build().await.unwrap();
    let mut found = Vec::new();
    while let Some(record) = consumer.next().await {
        let value = record.unwrap().value.unwrap();
        found.push(String::from_utf8(value.to_vec()).unwrap());
    }
    found
}

#[tokio::test]
async fn what_is_produced_is_consumed() {
    let broker = Broker::start().await.unwrap();
    let client = Client::connect(broker.address()).await.unwrap();
    let producer = client.producer().build();
    for value in ["a", "b"] {
        producer.send(Record::to("greetings").value(value)).await.unwrap();
    }
    assert_eq!(read(&client, "greetings").await, ["a", "b"]);
    broker.stop().await;
}

#[tokio::test]
async fn records_are_there_after_a_restart() {
    for builder in [Broker::builder(), Broker::builder().on_disk()] {
        let mut broker = builder.default_partitions(3).start().await.unwrap();
        let client = Client::connect(broker.address()).await.unwrap();
        let producer = client.producer().build();
        producer.send(Record::to("greetings").value("before")).await.unwrap();
        broker.restart().await.unwrap();
        producer.send(Record::to("greetings").value("after")).await.unwrap();
        let mut found = read(&client, "greetings").await;
        found.sort_unstable();
        assert_eq!(found, ["after", "before"]);
        assert_eq!(client.admin().topic("greetings").await.unwrap().partitions.len(), 3);
    }
}

#[tokio::test]
async fn a_topic_that_nobody_made_is_missing() {
    let broker = Broker::builder().auto_create(false).start().await.unwrap();
    let client = Client::connect(broker.address()).await.unwrap();
    let sent = client.producer().build().send(Record::to("greetings").value("a")).await;
    assert_eq!(sent.unwrap_err().reason(), "TOPIC_NOT_FOUND");
}

/// Fast enough for every test to have its own, and many at a time.
#[tokio::test]
async fn a_broker_is_there_at_once() {
    let began = Instant::now();
    let brokers = futures::future::try_join_all((0..5).map(|_| Broker::start())).await.unwrap();
    let took = began.elapsed();
    assert!(took < 5 * Duration::from_millis(200), "{took:?}");
    let mut addresses: Vec<_> = brokers.iter().map(|broker| broker.address().to_owned()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 5);
}
