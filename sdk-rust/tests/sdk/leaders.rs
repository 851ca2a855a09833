//! The client against several brokers in memory: to whom it goes, and what it does when that broker
//! does not lead, cannot be reached, or breaks off.

use std::time::Duration;

use crate::fake::{Fake, Step};
use futures::future::join_all;
use ropewalk::{Client, ErrorKind, NewTopic, Producer, Record, Stop};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

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

/// A broker of another cluster, which would take everything.
async fn stranger() -> Fake {
    let stranger = Fake::start().await;
    stranger.change(|state| state.cluster = Some("another"));
    stranger.create("t", 1);
    stranger
}

/// Makes sure that a client, whose broker is gone, brings nothing to a stranger, and gives the
/// error.
async fn keeps_away_from(stranger: &Fake, client: &Client) -> ropewalk::Error {
    let producer = client.producer().delivery_timeout(Duration::from_secs(1)).build();
    let record = Record::to("t").partition(0).value("0");
    let lost = timeout(Duration::from_secs(10), producer.send(record)).await.unwrap().unwrap_err();
    assert!(!lost.may_have_happened(), "{lost}");
    let refused = client.admin().create_topic(NewTopic::named("new")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unreachable, "{refused}");
    let state = stranger.state();
    assert!(state.requests.is_empty() && !state.topics.contains_key("new"), "{:?}", state.requests);
    assert!(state.get_cluster_calls > 0, "it was asked who it is");
    refused
}

/// A client of a broker that names others, once it has learned of them.
async fn client_that_knows(fake: &Fake, given: &str, connect_timeout: Duration) -> Client {
    let builder = Client::builder().address(given).connect_timeout(connect_timeout);
    let client = builder.request_timeout(Duration::from_secs(3)).connect().await.unwrap();
    fake.until(|state| state.get_cluster_calls > 0).await;
    client.admin().cluster().await.unwrap();
    client
}

#[tokio::test]
async fn an_address_that_was_learned_is_not_used_where_another_cluster_answers() {
    let (fake, stranger) = (Fake::start().await, stranger().await);
    let brokers = [(1, fake.address.to_string()), (2, stranger.address.to_string())];
    fake.change(|state| state.brokers.extend(brokers));
    let given = fake.address.to_string();
    let client = client_that_knows(&fake, &given, Duration::from_secs(3)).await;
    fake.stop().await;
    let refused = keeps_away_from(&stranger, &client).await.to_string();
    assert!(refused.contains("another cluster") && refused.contains("advertises"), "{refused}");
}

#[tokio::test]
async fn an_address_that_was_given_is_not_used_where_another_cluster_answers() {
    let (fake, stranger) = (Fake::start().await, stranger().await);
    let given = format!("{},{}", fake.address, stranger.address);
    let client = client_that_knows(&fake, &given, Duration::from_secs(3)).await;
    fake.stop().await;
    let refused = keeps_away_from(&stranger, &client).await.to_string();
    assert!(
        refused.contains("another cluster") && refused.contains("make a new client"),
        "{refused}"
    );
}

/// Addresses that take a connection and then say nothing, as those behind some firewalls.
#[tokio::test]
async fn the_only_address_is_found_again_while_others_answer_nothing() {
    let fake = Fake::start().await;
    let holes = join_all((0..12).map(|_| TcpListener::bind("127.0.0.1:0"))).await;
    let holes: Vec<_> = holes.into_iter().map(Result::unwrap).collect();
    let places = holes.iter().map(|hole| hole.local_addr().unwrap().to_string());
    fake.change(|state| state.brokers.extend((2..).zip(places)));
    fake.change(|state| state.brokers.insert(1, fake.address.to_string()));
    let given = fake.address.to_string();
    // They would be waited for longer than this test takes.
    let patience = Duration::from_secs(60);
    let client = client_that_knows(&fake, &given, patience).await;
    fake.stop().await;
    let reading = tokio::spawn(async move {
        // Again and again: each call waits for three seconds at most.
        while client.admin().cluster().await.is_err() {}
    });
    // All of them are being tried.
    let knocks = join_all(holes.iter().map(TcpListener::accept)).await;
    let held: Vec<TcpStream> = knocks.into_iter().map(|knock| knock.unwrap().0).collect();
    fake.come_back().await;
    let begun = Instant::now();
    timeout(Duration::from_secs(3), reading).await.expect("found again").unwrap();
    println!("found again after {:?}, beside {} others", begun.elapsed(), held.len());
}
