//! The client against a broker in memory: what it sends, what it tries again, what it tells the
//! caller.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fake::{Fake, Log, Reading, Step};
use futures::StreamExt;
use ropewalk::{
    Client, ErrorKind, Event, NewTopic, OffsetQuery, Position, Producer, Record, Retention,
    Setting, Start, Stop, TopicEvent, TopicUpdate, partition_of,
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|i| i.to_string()).collect()
}

/// Sends values to partition 0, all at once, and gives the outcomes in order.
async fn send_all(
    producer: &Producer,
    values: impl IntoIterator<Item = String>,
) -> Vec<Result<i64, ropewalk::Error>> {
    let mut deliveries = Vec::new();
    for value in values {
        let record = Record::to("t").partition(0).value(value);
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    let outcomes = deliveries.into_iter().map(|d| async { d.await.map(|placed| placed.offset) });
    timeout(SOON, futures::future::join_all(outcomes)).await.unwrap()
}

#[tokio::test]
async fn a_record_goes_to_the_partition_of_its_key() {
    let fake = Fake::start().await;
    fake.create("t", 5);
    let producer = fake.client().await.producer().build();
    for key in ["a", "b", "c", "d"] {
        let placed = producer.send(Record::to("t").key(key).value(key)).await.unwrap();
        assert_eq!(placed.partition, partition_of(key.as_bytes(), 5));
        assert_eq!(fake.log("t", placed.partition as usize).end(), placed.offset + 1);
    }
    assert_eq!(fake.state().get_topic_calls, 1);
    producer.close().await.unwrap();
    let late = producer.send(Record::to("t").value("late")).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn records_without_a_key_are_spread_batch_by_batch() {
    let fake = Fake::start().await;
    fake.create("t", 3);
    let producer = fake.client().await.producer().build();
    for value in numbers(9) {
        producer.send(Record::to("t").value(value)).await.unwrap();
    }
    assert!((0..3).all(|partition| fake.log("t", partition).end() == 3));
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_created_by_the_first_request() {
    let fake = Fake::start().await;
    fake.change(|state| state.auto_create = true);
    let producer = fake.client().await.producer().batch_bytes(20).build();
    let mut deliveries = Vec::new();
    for i in 0..200 {
        let record = Record::to("new").key(format!("k{}", i % 7)).value(i.to_string());
        deliveries.push(producer.enqueue(record).await.unwrap());
        if i == 100 {
            producer.flush().await.unwrap();
        }
    }
    for (i, delivery) in deliveries.into_iter().enumerate() {
        let key = format!("k{}", i % 7);
        let placed = delivery.await.unwrap();
        assert_eq!(placed.partition, partition_of(key.as_bytes(), 4));
        let log = fake.log("new", placed.partition as usize);
        assert_eq!(log.values()[placed.offset as usize], i.to_string());
    }
    for partition in 0..4 {
        let values = fake.log("new", partition).values();
        let order: Vec<u32> = values.iter().map(|value| value.parse().unwrap()).collect();
        for key in 0..7 {
            assert!(order.iter().filter(|i| **i % 7 == key).is_sorted());
        }
    }
    assert!(fake.state().requests.iter().any(|(partition, ..)| partition.is_some()));
}

#[tokio::test]
async fn a_topic_that_may_not_be_created_is_an_error_and_is_looked_up_again() {
    let fake = Fake::start().await;
    let producer = fake.client().await.producer().build();
    let error = producer.send(Record::to("t").value("1")).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::NotFound, "TOPIC_NOT_FOUND"));
    assert!(!error.may_have_happened());
    fake.create("t", 1);
    assert_eq!(producer.send(Record::to("t").value("2")).await.unwrap().offset, 0);
}

#[tokio::test]
async fn the_order_is_kept_over_retries() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    let refusals = [Step::Refuse("NO_LEADER"); 7];
    fake.change(|state| state.steps.extend(refusals));
    let producer = fake.client().await.producer().batch_bytes(64).build();
    let outcomes = send_all(&producer, numbers(500)).await;
    let offsets: Vec<i64> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(offsets, (0..500).collect::<Vec<_>>());
    assert_eq!(fake.log("t", 0).values(), numbers(500));
}

#[tokio::test]
async fn a_batch_that_was_overtaken_fails_unless_order_does_not_matter() {
    for keep_order in [true, false] {
        let fake = Fake::start().await;
        fake.create("t", 1);
        fake.change(|state| state.steps.extend([Step::RefuseLater("OVERLOADED")]));
        let client = fake.client().await;
        let builder = client.producer().batch_bytes(1).idempotent(false);
        let producer = builder.keep_order(keep_order).build();
        let outcomes = send_all(&producer, numbers(2)).await;
        assert_eq!(outcomes[1].as_ref().unwrap(), &0);
        if keep_order {
            let error = outcomes[0].as_ref().unwrap_err();
            assert_eq!(error.reason(), "OVERLOADED");
            assert!(!error.may_have_happened());
            assert_eq!(fake.log("t", 0).values(), ["1"]);
        } else {
            assert_eq!(outcomes[0].as_ref().unwrap(), &1);
        }
    }
}

#[tokio::test]
async fn what_may_have_happened_is_told_and_not_tried_again() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake.change(|state| state.steps.extend([Step::Append, Step::AppendThenCut]));
    let builder = fake.client().await.producer().max_in_flight(1).batch_bytes(1);
    let producer = builder.idempotent(false).build();
    let outcomes = send_all(&producer, numbers(4)).await;
    assert!(outcomes[0].is_ok());
    let error = outcomes[1].as_ref().unwrap_err();
    assert!(error.may_have_happened(), "{error:?}");
    // What had not been sent when the stream broke goes over the next one.
    assert!(outcomes[2].is_ok() && outcomes[3].is_ok());
    assert_eq!(fake.log("t", 0).values(), numbers(4));
}

#[tokio::test]
async fn what_may_have_happened_is_tried_again_where_that_is_wanted() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake.change(|state| state.steps.push_back(Step::Refuse("LEADER_CHANGED")));
    let builder = fake.client().await.producer().idempotent(false);
    let producer = builder.clone().retry_maybe(true).build();
    assert!(send_all(&producer, numbers(1)).await[0].is_ok());
    fake.change(|state| state.steps.push_back(Step::Refuse("LEADER_CHANGED")));
    let producer = builder.build();
    let outcome = &send_all(&producer, numbers(1)).await[0];
    assert!(outcome.as_ref().unwrap_err().may_have_happened());
}

#[tokio::test]
async fn a_broker_that_drains_is_left_and_nothing_is_lost() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake.change(|state| state.steps.extend([Step::Append, Step::Drain, Step::Append, Step::Drain]));
    let producer = fake.client().await.producer().batch_bytes(8).build();
    let outcomes = send_all(&producer, numbers(50)).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(fake.log("t", 0).values(), numbers(50));
}

#[tokio::test]
async fn records_are_given_up_after_the_delivery_timeout() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake.change(|state| state.steps.extend([Step::Refuse("NO_LEADER"); 100]));
    let client = fake.client().await;
    let build = || client.producer().delivery_timeout(Duration::from_millis(300)).build();
    let refused = send_all(&build(), numbers(3)).await;
    assert!(refused.iter().all(|outcome| !outcome.as_ref().unwrap_err().may_have_happened()));

    fake.change(|state| state.steps = [Step::AppendSilently].into());
    let unanswered = &send_all(&build(), numbers(1)).await[0];
    let error = unanswered.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.may_have_happened());
}

#[tokio::test]
async fn callers_wait_while_the_buffer_is_full() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake.change(|state| state.paused = true);
    let client = fake.client().await;
    let producer = client.producer().memory_bytes(64 * 1024).batch_bytes(4096).build();
    let record = || Record::to("t").partition(0).value(vec![b'x'; 1000]);
    let mut accepted = Vec::new();
    while let Ok(delivery) = timeout(Duration::from_millis(200), producer.enqueue(record())).await {
        accepted.push(delivery.unwrap());
    }
    assert!((60..=65).contains(&accepted.len()), "{} accepted", accepted.len());

    let waiting = tokio::spawn({
        let producer = producer.clone();
        let record = record();
        async move { producer.send(record).await }
    });
    fake.change(|state| state.paused = false);
    for delivery in accepted {
        delivery.await.unwrap();
    }
    timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    let oversized = Record::to("t").partition(0).value(vec![0; 70_000]);
    let error = producer.enqueue(oversized).await.unwrap_err();
    assert_eq!(error.reason(), "RECORD_TOO_LARGE");
}

#[tokio::test]
async fn records_gather_in_batches_of_the_right_size() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    let producer = fake.client().await.producer().batch_bytes(10_000).build();
    let mut values: Vec<String> = (0..5000).map(|i| format!("{i:0100}")).collect();
    values.push("x".repeat(50_000));
    let outcomes = send_all(&producer, values.clone()).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(fake.log("t", 0).values(), values);
    let requests = fake.state().requests.clone();
    let large: Vec<_> = requests.iter().filter(|(_, bytes, _)| *bytes > 10_000).collect();
    assert!(matches!(large[..], [(Some(0), _, 1)]), "{large:?}");
    // 5,000 records of 104 bytes fit into 53 batches; a few more are sent early, while little
    // waits.
    assert!(requests.len() < 150, "{} requests", requests.len());
}

#[tokio::test]
async fn an_append_on_a_condition_happens_or_does_not() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    let client = fake.client().await;
    let records = || [Record::to("t").value("a"), Record::to("t").value("b")];
    let append = client.append("t").partition(0).expect_offset(0);
    let placed = append.send(records()).await.unwrap();
    assert_eq!(placed.iter().map(|place| place.offset).collect::<Vec<_>>(), [0, 1]);
    let error = append.send(records()).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (ErrorKind::Conflict, false));
}

#[tokio::test]
async fn an_append_on_the_version_of_a_key_says_which_one_it_has() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    let client = fake.client().await;
    let append = client.append("t").partition(0);
    let record = |key: &'static str| [Record::to("t").key(key).value("v")];
    let current = |error: ropewalk::Error| {
        assert_eq!((error.kind(), error.may_have_happened()), (ErrorKind::Conflict, false));
        error.version_mismatch().unwrap().current
    };
    let create = append.clone().expect_version("a", None);
    assert_eq!(create.send(record("a")).await.unwrap()[0].offset, 0);
    assert_eq!(current(create.send(record("a")).await.unwrap_err()), Some(0));
    append.send(record("b")).await.unwrap();
    let update = append.clone().expect_version("a", Some(0));
    assert_eq!(update.send(record("a")).await.unwrap()[0].offset, 2);
    let unknown = append.clone().expect_version("c", Some(1));
    assert_eq!(current(unknown.send(record("c")).await.unwrap_err()), None);
    // One that was appended and is made again has met its condition.
    fake.change(|state| state.steps.push_back(Step::AppendThenRefuse("LEADER_CHANGED")));
    let update = append.clone().expect_version("a", Some(2));
    assert_eq!(update.send(record("a")).await.unwrap()[0].offset, 3);
    // Another condition is no mismatch of a version.
    let late = append.expect_offset(0).send(record("a")).await.unwrap_err();
    assert_eq!(late.version_mismatch(), None);
}

#[tokio::test]
async fn a_consumer_goes_on_at_the_next_offset_after_a_cut() {
    let faults = [
        Reading::CutAfter(2),
        Reading::Refuse("NO_LEADER"),
        Reading::DrainAfter(1),
        Reading::SilentAfter(1),
    ];
    let fake = Fake::start().await;
    fake.create("t.1", 2);
    fake.append("t.1", 0, numbers(95));
    fake.append("t.1", 1, numbers(5));
    fake.change(|state| state.readings.extend(faults));
    let builder = fake.client().await.consumer().topic("t.1").until(Stop::CaughtUp);
    let consumer = builder.heartbeat_interval(Duration::from_millis(100)).build().await.unwrap();
    let records: Vec<_> = timeout(SOON, consumer.collect::<Vec<_>>()).await.unwrap();
    let records: Vec<_> = records.into_iter().map(Result::unwrap).collect();
    for (partition, count) in [(0, 95), (1, 5)] {
        let of = records.iter().filter(|record| record.partition == partition);
        let offsets: Vec<_> = of.map(|record| record.offset).collect();
        assert_eq!(offsets, (0..count).collect::<Vec<_>>());
    }
    let subscriptions = fake.state().subscriptions.clone();
    assert_eq!(subscriptions.len(), 5);
    let resumed = |index: usize| {
        let start = subscriptions[index].topics[0].partitions[0].start.clone();
        start.and_then(|start| start.position)
    };
    use ropewalk_proto::v1::start::Position::Offset;
    let pattern = subscriptions[1].topics[1].selection.clone();
    use ropewalk_proto::v1::topic_selection::Selection::Pattern;
    assert_eq!(pattern, Some(Pattern("t\\.1".to_owned())));
    assert_eq!(resumed(1), Some(Offset(20)));
    assert_eq!(resumed(3), Some(Offset(30)));
    assert_eq!(resumed(4), Some(Offset(40)));
}

#[tokio::test]
async fn a_consumer_of_more_topics_than_patterns_take_goes_on_and_sees_new_partitions() {
    let fake = Fake::start().await;
    // Four names fit in a pattern, and a broker takes 16 patterns.
    let names: Vec<_> = (0..70).map(|number| format!("{number:0>249}")).collect();
    names.iter().for_each(|name| fake.create(name, 1));
    fake.change(|state| state.readings.push_back(Reading::CutAfter(0)));
    let client = fake.client().await;
    let topics = names.iter().fold(client.consumer(), |consumer, name| consumer.topic(name));
    let consumer = topics.heartbeat_interval(Duration::from_millis(100)).build();
    let mut consumer = consumer.await.unwrap();
    let reading = tokio::spawn(async move { consumer.next().await.unwrap() });
    fake.until(|state| state.subscriptions.len() == 2).await;
    // For the last ones there was no pattern: their partitions are looked for.
    fake.change(|state| state.topics.get_mut(&names[69]).unwrap().partitions.push(Log::default()));
    fake.append(&names[69], 1, ["new".to_owned()]);
    let record = timeout(SOON, reading).await.unwrap().unwrap().unwrap();
    assert_eq!((&*record.topic, record.partition, record.offset), (&*names[69], 1, 0));
}

#[tokio::test]
async fn a_consumer_at_the_latest_offset_gets_what_is_appended_after_build() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake.append("t", 0, numbers(3));
    let builder = fake.client().await.consumer().topic("t").start(Start::Latest);
    let mut consumer = builder.build().await.unwrap();
    fake.append("t", 0, ["new".to_owned()]);
    let record = timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((record.offset, record.value.unwrap().as_ref()), (3, &b"new"[..]));
}

#[tokio::test]
async fn gaps_are_told_and_positions_are_the_next_offsets() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake.append("t", 0, numbers(40));
    let client = fake.client().await;
    let start = client.admin().delete_records("t", 0, Some(25)).await.unwrap();
    assert_eq!(start, 25);

    let gaps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&gaps);
    let builder = client.consumer().partition_from("t", 0, Start::Offset(7)).until(Stop::CaughtUp);
    let mut consumer = builder
        .on_gap(move |gap| seen.lock().unwrap().push((gap.from_offset, gap.to_offset)))
        .build()
        .await
        .unwrap();
    assert_eq!(consumer.next().await.unwrap().unwrap().offset, 25);
    assert_eq!(*gaps.lock().unwrap(), [(7, 25)]);
    assert_eq!(consumer.positions(), [Position::new("t", 0, 26)]);
    let rest = consumer.next_batch().await.unwrap().unwrap();
    assert_eq!((rest.base_offset(), rest.len()), (26, 9));
    assert_eq!(rest.records().next().unwrap().unwrap().offset, 26);
    assert_eq!(consumer.positions(), [Position::new("t", 0, 35)]);

    let group = client.group("g");
    group.commit(consumer.positions()).await.unwrap();
    assert_eq!(group.committed().await.unwrap()[0].offset, 35);
    // More than a call may name, in number and with what is kept beside them.
    for (partitions, metadata) in [(10_001, 0), (2_000, 3_000)] {
        let group = client.group(format!("of {partitions}"));
        let at = |partition| (Position::new("t", partition, 7), "m".repeat(metadata));
        group.commit_with_metadata((0..partitions).map(at)).await.unwrap();
        assert_eq!(fake.state().committed[group.name()].len(), partitions as usize);
    }

    let builder = client.consumer().partition_from("t", 0, Start::Offset(7)).until(Stop::CaughtUp);
    let mut consumer = builder.build().await.unwrap();
    let mut names = Vec::new();
    while let Some(event) = consumer.events().next().await {
        names.push(match event.unwrap() {
            Event::Started(_) => "started",
            Event::Gap(_) => "gap",
            Event::Batch(_) => "batch",
            _ => "other",
        });
    }
    assert_eq!(names, ["started", "gap", "batch", "batch"]);
}

#[tokio::test]
async fn a_consumer_fails_where_reconnecting_does_not_help() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let error = client.consumer().topic("none").build().await.unwrap_err();
    assert_eq!(error.reason(), "TOPIC_NOT_FOUND");

    fake.create("t", 1);
    fake.append("t", 0, numbers(30));
    fake.change(|state| state.readings.push_back(Reading::CutAfter(1)));
    let mut consumer = client.consumer().topic("t").build().await.unwrap();
    fake.change(|state| {
        state.topics.clear();
        state.create("other", 1);
        state.create("t", 1);
    });
    fake.append("t", 0, numbers(30));
    let mut last = None;
    while let Some(record) = timeout(SOON, consumer.next()).await.unwrap() {
        last = Some(record);
    }
    let error = last.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn topics_are_created_listed_changed_and_deleted() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let admin = client.admin();
    fake.change(|state| state.refusals.extend(["NO_LEADER", "BROKER_DRAINING"]));
    for name in ["b", "a", "c", "ab", "aa"] {
        admin.create_topic(NewTopic::named(name).partitions(2)).await.unwrap();
    }
    let error = admin.create_topic(NewTopic::named("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let names = |topics: Vec<ropewalk::Topic>| {
        topics.into_iter().map(|topic| topic.name).collect::<Vec<_>>()
    };
    assert_eq!(names(admin.list_topics("").await.unwrap()), ["a", "aa", "ab", "b", "c"]);
    assert_eq!(names(admin.list_topics("a").await.unwrap()), ["a", "aa", "ab"]);

    let update = TopicUpdate::of("a").retention(Retention::Forever).reset(Setting::SegmentAge);
    admin.update_topic(update).await.unwrap();
    let mask = fake.state().updates[0].update_mask.clone().unwrap();
    assert_eq!(mask.paths, ["settings.retention", "settings.segment_age"]);

    admin.delete_topic("b").await.unwrap();
    assert_eq!(admin.topic("b").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(admin.topic("a").await.unwrap().topic.partition_count, 2);
    assert_eq!(admin.cluster().await.unwrap().id, "fake");
    let ends = client.list_offsets([OffsetQuery::latest("a")]).await.unwrap();
    assert_eq!(ends.len(), 2);
    // The fake has no health service.
    assert_eq!(admin.health().await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn what_may_have_changed_is_not_asked_for_twice() {
    let fake = Fake::start().await;
    fake.change(|state| state.refusals.push_back("LEADER_CHANGED"));
    let admin = fake.client().await.admin();
    let error = admin.create_topic(NewTopic::named("t")).await.unwrap_err();
    assert!(error.may_have_happened());
    assert!(fake.state().topics.is_empty());
}

#[tokio::test]
async fn addresses_are_tried_in_order() {
    let fake = Fake::start().await;
    let nobody = "127.0.0.1:1";
    let error = Client::connect(nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains(nobody), "{error}");
    let client = Client::connect(&format!("{nobody}, {}", fake.address)).await.unwrap();
    assert_eq!(client.admin().cluster().await.unwrap().id, "fake");
}

#[tokio::test]
async fn a_watch_of_topics_that_ends_begins_again_with_the_state_of_that_moment() {
    let fake = Fake::start().await;
    fake.change(|state| ["a1", "a2", "b"].map(|name| state.create(name, 1)));
    let client = Client::connect(&fake.address.to_string()).await.unwrap();
    let mut watch = client.admin().watch_topics("a");
    let mut told = async || match watch.next().await.unwrap() {
        TopicEvent::Present(topic) => topic.name,
        other => format!("{other:?}"),
    };
    for event in ["Started", "a1", "a2", "Synced"] {
        assert_eq!(told().await, event);
    }
    fake.change(|state| {
        state.topics.remove("a1");
        state.refusals.push_back("NO_LEADER");
    });
    for event in ["Started", "a2", "Synced"] {
        assert_eq!(told().await, event);
    }
}

#[tokio::test]
async fn a_connection_that_carries_no_calls_is_closed_and_the_next_call_has_another() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    // Counts the connections that there were, and those that are open.
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = relay.local_addr().unwrap().to_string();
    let (counts, mut seen) = tokio::sync::watch::channel((0, 0));
    let (counts, broker) = (Arc::new(counts), fake.address);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = relay.accept().await {
            counts.send_modify(|(all, open)| (*all, *open) = (*all + 1, *open + 1));
            let counts = Arc::clone(&counts);
            tokio::spawn(async move {
                let mut broker = tokio::net::TcpStream::connect(broker).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
                counts.send_modify(|(_, open)| *open -= 1);
            });
        }
    });
    let idle = Duration::from_secs(2);
    let client = Client::builder().address(&address).idle_timeout(idle).connect().await.unwrap();
    for connections in 1..=2 {
        // Calls that come again and again keep it.
        for _ in 0..6 {
            client.list_offsets([OffsetQuery::latest("t")]).await.unwrap();
            tokio::time::sleep(idle / 4).await;
        }
        assert_eq!(*seen.borrow(), (connections, 1));
        timeout(SOON, seen.wait_for(|(_, open)| *open == 0)).await.unwrap().unwrap();
    }
}
