//! Members that the Rust SDK makes: records as a stream, and what is done is committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ropewalk::{Client, GroupConsumer, GroupConsumerBuilder, GroupEvent, Position, Record, Start};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Node;
use crate::support::{Three, soon};

async fn append(client: &Client, partition: i32, values: impl Iterator<Item = usize>) {
    let records = values.map(|value| Record::to("t").value(value.to_string()));
    client.append("t").partition(partition).send(records).await.unwrap();
}

fn member(client: &Client) -> GroupConsumerBuilder {
    client.group("g").consumer().topic("t").heartbeat_interval(Duration::from_millis(500))
}

/// Nothing is taken from it, and it is not thought dead, when the machine stands still for seconds:
/// what is taken comes to another member again.
fn patient(client: &Client) -> GroupConsumerBuilder {
    let builder = member(client).heartbeat_interval(Duration::from_secs(10));
    builder.drain_timeout(Duration::from_secs(60)).rejoin_grace(Duration::from_secs(20))
}

/// Reads on until a consumer has been told something.
async fn told(consumer: &mut GroupConsumer, is_it: impl Fn(&GroupEvent) -> bool) -> GroupEvent {
    loop {
        let event = soon("an event", consumer.next_event()).await.unwrap().unwrap();
        if is_it(&event) {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_one_by_one_and_what_is_done_is_not_read_again() {
    let node = Node::start().await;
    node.stubs().create("t", 1).await;
    let client = Client::connect(node.address()).await.unwrap();
    append(&client, 0, 0..10).await;
    let mut consumer = member(&client).build().await.unwrap();
    for offset in 0..4 {
        let record = soon("a record", consumer.next()).await.unwrap().unwrap();
        assert_eq!((record.offset, record.value.unwrap()), (offset, offset.to_string().into()));
    }
    // What was given last counts as done only when it is asked for more, or closed.
    consumer.close().await.unwrap();
    assert_eq!(client.group("g").committed().await.unwrap()[0].offset, 4);

    let mut consumer = member(&client).manual_commit().build().await.unwrap();
    assert_eq!(soon("a record", consumer.next()).await.unwrap().unwrap().offset, 4);
    soon("a record", consumer.next()).await.unwrap().unwrap();
    consumer.commit().await.unwrap();
    soon("a record", consumer.next()).await.unwrap().unwrap();
    drop(consumer);
    assert_eq!(client.group("g").committed().await.unwrap()[0].offset, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_at_its_limit_in_flight_commits_when_it_has_nothing_at_hand() {
    const RECORDS: usize = 50;
    let node = Node::start().await;
    node.stubs().create("t", 1).await;
    let client = Client::connect(node.address()).await.unwrap();
    for value in 0..RECORDS {
        append(&client, 0, value..value + 1).await;
    }
    let builder = member(&client).max_records_in_flight(2).auto_commit(Duration::from_secs(60));
    let mut consumer = builder.build().await.unwrap();
    let reading = async {
        for _ in 0..RECORDS {
            consumer.next().await.unwrap().unwrap();
        }
    };
    // The broker sends two at a time, and no more until they are committed.
    soon("all records", reading).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_pauses_resumes_and_seeks_without_leaving() {
    let node = Node::start().await;
    node.stubs().create("t", 2).await;
    let client = Client::connect(node.address()).await.unwrap();
    for partition in 0..2 {
        append(&client, partition, 0..3).await;
    }
    let mut consumer = member(&client).manual_commit().build().await.unwrap();
    let mut read = Vec::new();
    while read.len() < 6 {
        let record = soon("a record", consumer.next()).await.unwrap().unwrap();
        read.push((record.partition, record.offset));
    }
    let before = node.stubs().group("g").await;
    consumer.pause([("t".to_owned(), 0)]);
    for partition in 0..2 {
        append(&client, partition, 3..4).await;
    }
    let record = soon("a record", consumer.next()).await.unwrap().unwrap();
    assert_eq!((record.partition, record.offset), (1, 3));
    assert!(timeout(Duration::from_millis(300), consumer.next()).await.is_err(), "it is paused");
    consumer.resume([("t".to_owned(), 0)]);
    let record = soon("a record", consumer.next()).await.unwrap().unwrap();
    assert_eq!((record.partition, record.offset), (0, 3));
    consumer.seek([Position::new("t", 1, 1)]);
    for offset in 1..4 {
        let record = soon("a record", consumer.next()).await.unwrap().unwrap();
        assert_eq!((record.partition, record.offset), (1, offset));
    }
    let after = node.stubs().group("g").await;
    let members = |group: &ropewalk_proto::v1::ConsumerGroup| {
        group.members.iter().map(|member| member.member_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!((members(&after), after.generation), (members(&before), before.generation));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_commits_when_it_is_revoked_delivers_each_record_once() {
    const RECORDS: usize = 4_000;
    const JOINS: usize = 4;
    let three = Three::start().await;
    three.cli(&["topic", "create", "t", "--partitions", "4"]);
    let client = Client::connect(&three.addresses()).await.unwrap();
    let seen = Arc::new(Mutex::new(BTreeMap::<(i32, i64), u32>::new()));
    let until = Instant::now() + Duration::from_secs(10);
    let reads = |number: u64| {
        let (client, seen) = (client.clone(), Arc::clone(&seen));
        async move {
            let mut joined = 0;
            while Instant::now() < until || joined < JOINS {
                let mut consumer = patient(&client).build().await.unwrap();
                joined += 1;
                let leaves = Instant::now() + Duration::from_millis(1_000 + 700 * number);
                while let Ok(record) = timeout_at(leaves, consumer.next()).await {
                    let record = record.unwrap().unwrap();
                    let key = (record.partition, record.offset);
                    *seen.lock().unwrap().entry(key).or_default() += 1;
                }
                consumer.close().await.unwrap();
            }
            joined
        }
    };
    let members: Vec<_> = (0..3).map(|number| tokio::spawn(reads(number))).collect();
    for value in 0..RECORDS / 20 {
        append(&client, i32::try_from(value % 4).unwrap(), value * 20..value * 20 + 20).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let mut joined = 0;
    for member in members {
        joined += member.await.unwrap();
    }
    let mut last = patient(&client).build().await.unwrap();
    while seen.lock().unwrap().len() < RECORDS {
        let record = soon("what is left", last.next()).await.unwrap().unwrap();
        *seen.lock().unwrap().entry((record.partition, record.offset)).or_default() += 1;
    }
    let seen = seen.lock().unwrap();
    println!("three members joined {joined} times");
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).take(5).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_hears_what_it_gives_back_and_what_it_has_lost() {
    let node = Node::start().await;
    node.stubs().create("t", 2).await;
    let client = Client::connect(node.address()).await.unwrap();
    append(&client, 0, 0..1).await;
    append(&client, 1, 0..1).await;
    let builder = member(&client).manual_commit().start(Start::Earliest);
    let mut one = builder.drain_timeout(Duration::from_secs(30)).build().await.unwrap();
    let GroupEvent::Assigned(assigned) =
        told(&mut one, |event| matches!(event, GroupEvent::Assigned(_))).await
    else {
        panic!()
    };
    assert_eq!(assigned.len(), 2);
    for _ in 0..2 {
        told(&mut one, |event| matches!(event, GroupEvent::Batch(_))).await;
    }
    let mut two = member(&client).manual_commit().build().await.unwrap();
    let GroupEvent::Revoked(revoked) =
        told(&mut one, |event| matches!(event, GroupEvent::Revoked(_))).await
    else {
        panic!()
    };
    assert!(revoked.positions.len() == 1 && revoked.deadline.is_some());
    revoked.committer.commit(revoked.positions.clone()).await.unwrap();
    // Asked for more, it gives back what it was told of.
    let going_on = tokio::spawn(async move {
        let _ = timeout(Duration::from_secs(5), one.next_event()).await;
        one
    });
    let GroupEvent::Assigned(assigned) =
        told(&mut two, |event| matches!(event, GroupEvent::Assigned(_))).await
    else {
        panic!()
    };
    assert_eq!((assigned[0].partition, assigned[0].offset), (revoked.positions[0].partition, 1));
    let error = revoked.committer.commit(revoked.positions.clone()).await.unwrap_err();
    assert_eq!(error.reason(), "MEMBER_FENCED");
    going_on.await.unwrap();
}

/// Members that close their connections before they have read everything, so that TCP resets them:
/// a broken connection would be waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_closed_with_records_unread_has_left_at_once() {
    const MEMBERS: usize = 40;
    const AT_ONCE: Duration = Duration::from_secs(5);
    let node = Node::start().await;
    node.stubs().create("t", 1).await;
    let client = Client::connect(node.address()).await.unwrap();
    for _ in 0..32 {
        let value = vec![7; 1_000_000];
        client.append("t").partition(0).send([Record::to("t").value(value)]).await.unwrap();
    }
    let mut leaving = Vec::new();
    for number in 0..MEMBERS {
        let client = Client::connect(node.address()).await.unwrap();
        let group = client.group(format!("g{number}"));
        let consumer = group.consumer().topic("t").rejoin_grace(Duration::from_secs(600));
        leaving.push(consumer.build().await.unwrap());
    }
    for (number, mut consumer) in leaving.into_iter().enumerate() {
        soon("a batch", consumer.next_batch()).await.unwrap().unwrap();
        drop(consumer);
        let mut watch = client.group(format!("g{number}")).watch();
        let left = async { while !watch.next().await.unwrap().members.is_empty() {} };
        let waits_for = format!("member {number} to have left");
        timeout(AT_ONCE, left).await.unwrap_or_else(|_| panic!("{waits_for}"));
    }
}
