//! The client against several brokers in memory: to whom it goes, and what it does when that broker
//! does not lead, cannot be reached, or breaks off.

#![allow(missing_docs, unreachable_pub, dead_code)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod fake;

use std::time::Duration;

use fake::{Fake, Step};
use ropewalk::{Client, Producer, Record, Stop};
use tokio::time::timeout;

async fn send(producer: &Producer, values: std::ops::Range<usize>) {
    let mut deliveries = Vec::new();
    for value in values {
        let record = Record::to("t").partition(0).value(value.to_string());
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    for delivery in deliveries {
        timeout(Duration::from_secs(20), delivery).await.unwrap().unwrap();
    }
}

/// Sends one by one until a broker has taken one, and gives how many that took.
async fn send_until_taken_by(fake: &Fake, producer: &Producer, from: usize, broker: u64) -> usize {
    for number in from..from + 1_000 {
        send(producer, number..number + 1).await;
        if fake.state().takers.last() == Some(&broker) {
            return number + 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("broker {broker} takes nothing: {:?}", fake.state().takers.last());
}

fn in_order(fake: &Fake, count: usize) {
    let wanted: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    assert_eq!(fake.log("t", 0).values(), wanted);
}

#[tokio::test]
async fn batches_go_to_the_leader_once_there_is_a_connection_and_follow_it() {
    let fakes = Fake::start_cluster(3).await;
    fakes[0].create("t", 1);
    fakes[0].lead("t", 0, 2);
    let producer = fakes[0].client().await.producer().batch_bytes(64).build();
    let sent = send_until_taken_by(&fakes[0], &producer, 0, 2).await;
    // The first ones did not wait for the connection, they were forwarded.
    assert_eq!(fakes[0].state().takers[0], 1);

    // The leader moves: the one that led says so, and nothing overtakes.
    fakes[0].lead("t", 0, 3);
    send(&producer, sent..sent + 200).await;
    let sent = send_until_taken_by(&fakes[0], &producer, sent + 200, 3).await;
    in_order(&fakes[0], sent);
    assert!(fakes[0].state().refused > 0, "the old leader was asked and said who leads");
}

#[tokio::test]
async fn a_leader_whose_address_cannot_be_reached_is_reached_through_another_broker() {
    let fakes = Fake::start_cluster(2).await;
    fakes[0].create("t", 1);
    fakes[0].lead("t", 0, 2);
    fakes[0].change(|state| state.brokers.insert(2, "127.0.0.1:1".to_owned()));
    let producer = fakes[0].client().await.producer().batch_bytes(64).build();
    send(&producer, 0..500).await;
    in_order(&fakes[0], 500);
    assert!(fakes[0].state().takers.iter().all(|taker| *taker == 1));
    // Where it can be reached later, it is.
    fakes[0].change(|state| state.brokers.insert(2, fakes[1].address.to_string()));
    fakes[0].lead("t", 0, 2);
    let sent = send_until_taken_by(&fakes[0], &producer, 500, 2).await;
    in_order(&fakes[0], sent);
}

#[tokio::test]
async fn what_a_broken_leader_had_not_taken_goes_on_elsewhere_in_order() {
    let fakes = Fake::start_cluster(3).await;
    fakes[0].create("t", 1);
    fakes[0].lead("t", 0, 2);
    let producer = fakes[0].client().await.producer().batch_bytes(64).build();
    let sent = send_until_taken_by(&fakes[0], &producer, 0, 2).await;
    // It ends its stream without having taken the batch, and another one leads.
    fakes[0].change(|state| state.steps.extend([Step::Append, Step::Drain]));
    fakes[0].lead("t", 0, 3);
    send(&producer, sent..sent + 300).await;
    in_order(&fakes[0], sent + 300);
}

#[tokio::test]
async fn a_consumer_reads_from_the_leader_and_from_another_broker_where_that_is_away() {
    let fakes = Fake::start_cluster(3).await;
    fakes[0].create("t", 1);
    fakes[0].append("t", 0, (0..10).map(|number| number.to_string()));
    let client = fakes[0].client().await;
    while fakes[0].state().get_cluster_calls == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.admin().cluster().await.unwrap();
    for (leader, reader) in [(2, 2), (3, 1)] {
        fakes[0].lead("t", 0, leader);
        let mut consumer =
            client.consumer().topic("t").until(Stop::CaughtUp).build().await.unwrap();
        for offset in 0..10 {
            assert_eq!(consumer.next().await.unwrap().unwrap().offset, offset);
        }
        assert_eq!(fakes[0].state().readers.last(), Some(&reader));
        fakes[2].stop().await;
    }
}

#[tokio::test]
async fn a_client_finds_the_others_when_its_only_address_is_gone() {
    let fakes = Fake::start_cluster(2).await;
    let client = fakes[0].client().await;
    // It has learned of the other by the time that this is answered twice.
    while fakes[0].state().get_cluster_calls == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.admin().cluster().await.unwrap();
    fakes[0].stop().await;
    let cluster = timeout(Duration::from_secs(10), client.admin().cluster()).await.unwrap();
    assert_eq!(cluster.unwrap().brokers.len(), 2);
    assert!(Client::connect(&fakes[0].address.to_string()).await.is_err());
}
