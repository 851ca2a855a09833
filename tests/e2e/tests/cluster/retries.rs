//! What a producer sends while brokers are killed is there once and in order, all of it: a retry of
//! what may have been appended appends nothing twice.

use std::time::Duration;

use futures::future::join_all;
use ropewalk::{Client, Delivery, Record, Start, Stop};
use tokio::time::sleep;

use super::support::{Three, soon};

const PARTITIONS: i32 = 3;
const RECORDS: u32 = 1_500;

/// Sends numbers to each partition, a few every millisecond, so that some are always on their way.
async fn send(client: Client) -> Vec<Delivery> {
    let producer = client.producer().batch_bytes(256).delivery_timeout(Duration::from_secs(60));
    let producer = producer.build();
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        for partition in 0..PARTITIONS {
            let record = Record::to("t").partition(partition).value(number.to_string());
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        sleep(Duration::from_millis(5)).await;
    }
    producer.flush().await.unwrap();
    deliveries
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_while_brokers_are_killed_is_there_once_and_in_order() {
    let mut three = Three::start().await;
    three.cli(&["topic", "create", "t", "--partitions", "3"]);
    let client = Client::connect(&three.addresses()).await.unwrap();
    let sending = tokio::spawn(send(client.clone()));
    for node in [1, 2] {
        sleep(Duration::from_secs(1)).await;
        three.at(node).kill9().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        three.at(node).begin().unwrap();
        three.at(node).wait_ready().await.unwrap();
    }
    let deliveries = tokio::time::timeout(Duration::from_secs(90), sending).await;
    let deliveries = join_all(deliveries.expect("it comes to an end").unwrap()).await;
    let places: Vec<_> = deliveries.into_iter().map(Result::unwrap).collect();

    let reading = client.consumer().topic("t").start(Start::Earliest).until(Stop::CaughtUp);
    let mut consumer = soon("a consumer", reading.build()).await.unwrap();
    let mut read = vec![Vec::new(); PARTITIONS as usize];
    while let Some(record) = soon("a record", consumer.next()).await {
        let record = record.unwrap();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        read[record.partition as usize].push((record.offset, value));
    }
    for partition in 0..PARTITIONS {
        let at = places.iter().filter(|place| place.partition == partition);
        let told = at.zip(0..).map(|(place, number)| (place.offset, number.to_string()));
        assert_eq!(read[partition as usize], told.collect::<Vec<_>>(), "partition {partition}");
    }
}
