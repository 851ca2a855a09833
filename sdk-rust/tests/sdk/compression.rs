//! Batches that are compressed on their way to the broker.

use std::time::Duration;

use crate::fake::{Fake, Step};
use ropewalk::{Compression, Producer, Record};
use ropewalk_proto::v1;
use ropewalk_proto::v1::TopicCompression;
use tokio::time::timeout;

/// Sends values to partition 0 that end up in one batch, and gives the bytes of its records in the
/// request.
async fn bytes_of_a_batch(fake: &Fake, producer: &Producer, values: &[String]) -> usize {
    let before = fake.state().requests.len();
    fake.change(|state| state.paused = true);
    let mut deliveries = Vec::new();
    for value in values {
        let record = Record::to("t").partition(0).value(value.clone());
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    fake.change(|state| state.paused = false);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    // The first record may have gone alone.
    let requests = &fake.state().requests[before..];
    requests.iter().map(|(_, bytes, _)| bytes).sum()
}

fn lines() -> Vec<String> {
    (0..1_000).map(|n| format!("GET /orders/{} 200 {} ms", n % 7, n * 13 % 101)).collect()
}

#[tokio::test]
async fn a_batch_goes_in_the_form_that_was_chosen_and_is_the_same_records() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    let client = fake.client().await;
    let plain = bytes_of_a_batch(&fake, &client.producer().build(), &lines()).await;
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let producer = client.producer().compression(codec).build();
        let packed = bytes_of_a_batch(&fake, &producer, &lines()).await;
        assert!(packed < plain / 2, "{codec}: {packed} of {plain} bytes");
    }
    let values = fake.log("t", 0).values();
    assert_eq!(values, vec![lines(); 5].concat());

    let fast = client.producer().compression(Compression::Zstd).compression_level(1).build();
    let small = client.producer().compression(Compression::Zstd).compression_level(19).build();
    let (fast, small) = (
        bytes_of_a_batch(&fake, &fast, &lines()).await,
        bytes_of_a_batch(&fake, &small, &lines()).await,
    );
    assert!(small < fast, "{small} and {fast} bytes");
}

#[tokio::test]
async fn what_would_not_get_smaller_goes_as_it_is() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    let producer = fake.client().await.producer().compression(Compression::Zstd).build();
    let placed = producer.send(Record::to("t").partition(0).value("x")).await.unwrap();
    assert_eq!(placed.offset, 0);
    // A tag and a length for the record, and for its value.
    assert_eq!(fake.state().requests, [(Some(0), 5, 1)]);
}

#[tokio::test]
async fn a_batch_is_sent_again_in_the_same_form() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake.change(|state| state.steps.extend([Step::Refuse("NO_LEADER"), Step::Append]));
    let producer = fake.client().await.producer().compression(Compression::Lz4).build();
    let value = "again and again and again and again and again and again and again";
    producer.send(Record::to("t").partition(0).value(value)).await.unwrap();
    let requests = fake.state().requests.clone();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0], requests[1]);
    assert_eq!(fake.log("t", 0).values(), [value]);
}

/// The broker has to read what it is to place.
#[tokio::test]
async fn records_of_a_topic_that_does_not_exist_yet_go_as_they_are() {
    let fake = Fake::start().await;
    fake.change(|state| state.auto_create = true);
    let producer = fake.client().await.producer().compression(Compression::Gzip).build();
    let value = "again and again and again and again and again and again and again";
    producer.send(Record::to("new").key("k").value(value)).await.unwrap();
    assert_eq!(fake.state().requests, [(None, value.len() + 7, 1)]);
}

fn set(fake: &Fake, compression: TopicCompression) {
    fake.change(|state| state.topics.get_mut("t").unwrap().compression = compression);
}

/// Sends a record that gets smaller, by its key, and gives how it went.
async fn codec_of(fake: &Fake, producer: &Producer) -> v1::Compression {
    let record = Record::to("t").key("k").value("again and again ".repeat(10));
    producer.send(record).await.unwrap();
    *fake.state().codecs.last().unwrap()
}

#[tokio::test]
async fn a_producer_that_was_not_told_does_as_the_topic_says() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    let client = fake.client().await;
    let told = client.producer().compression(Compression::Lz4).build();
    let never = client.producer().compression(Compression::None).build();
    for (setting, codec) in [
        (TopicCompression::Unspecified, v1::Compression::Unspecified),
        (TopicCompression::Producer, v1::Compression::Unspecified),
        (TopicCompression::Gzip, v1::Compression::Gzip),
        (TopicCompression::Snappy, v1::Compression::Snappy),
        (TopicCompression::Lz4, v1::Compression::Lz4),
        (TopicCompression::Zstd, v1::Compression::Zstd),
    ] {
        set(&fake, setting);
        assert_eq!(codec_of(&fake, &client.producer().build()).await, codec, "{setting:?}");
        assert_eq!(codec_of(&fake, &told).await, v1::Compression::Lz4);
        assert_eq!(codec_of(&fake, &never).await, v1::Compression::Unspecified);
    }
}

/// It asks for a topic from time to time, and when another broker seems to lead.
#[tokio::test]
async fn a_producer_that_runs_follows_a_change_when_it_next_asks_for_the_topic() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    set(&fake, TopicCompression::Zstd);
    let producer = fake.client().await.producer().build();
    assert_eq!(codec_of(&fake, &producer).await, v1::Compression::Zstd);
    set(&fake, TopicCompression::Gzip);
    assert_eq!(codec_of(&fake, &producer).await, v1::Compression::Zstd, "it has not asked");
    let followed = async {
        // At most once a second does it ask.
        while codec_of(&fake, &producer).await != v1::Compression::Gzip {
            fake.change(|state| state.steps.push_back(Step::Refuse("NO_LEADER")));
        }
    };
    timeout(Duration::from_secs(20), followed).await.unwrap();
}
