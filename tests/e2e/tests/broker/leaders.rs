//! Three processes: any of them serves any call and says who leads, and clients ride over the death
//! of a leader.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures::future::join_all;
use ropewalk::{Client, Delivery, NewTopic, Record, Start, Stop};
use ropewalk_harness::{Broker, cluster};
use ropewalk_proto::v1;
use ropewalk_proto::v1::produce_request::Data;
use ropewalk_proto::v1::producer_service_client::ProducerServiceClient;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::support::soon;

async fn three() -> Vec<Broker> {
    cluster::three(|builder| builder).await.unwrap()
}

/// A topic with one partition on all brokers, and the place of the one that leads it.
async fn led_topic(client: &Client) -> usize {
    let topic = NewTopic::named("t").partitions(1).replication_factor(3);
    client.admin().create_topic(topic).await.unwrap();
    let described = client.admin().topic("t").await.unwrap();
    described.partitions[0].leader.unwrap() as usize - 1
}

fn request() -> Request<v1::ProduceRequest> {
    let record = v1::Record { value: Some(b"v".to_vec().into()), ..v1::Record::default() };
    Request::new(v1::ProduceRequest {
        topic: "t".to_owned(),
        partition: Some(0),
        data: Some(Data::Records(v1::RecordSet { records: vec![record] })),
        ..v1::ProduceRequest::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_lead_forwards_and_says_who_does_or_refuses_when_told() {
    let brokers = three().await;
    let client = Client::connect(brokers[0].address()).await.unwrap();
    let leader = led_topic(&client).await;
    let other = &brokers[(leader + 1) % 3];
    let hint = format!("{} {} ", leader + 1, brokers[leader].address());

    let connect = |broker: &Broker| {
        let endpoint = Endpoint::from_shared(format!("http://{}", broker.address())).unwrap();
        async move { ProducerServiceClient::new(endpoint.connect().await.unwrap()) }
    };
    let mut through_other = connect(other).await;
    let forwarded = soon("an append", through_other.produce(request())).await.unwrap();
    let trailer = forwarded.metadata().get("ropewalk-leader").unwrap().to_str().unwrap();
    let epoch: u64 = trailer.strip_prefix(&hint).unwrap().parse().unwrap();
    assert_eq!(forwarded.get_ref().appends[0].leader_epoch, epoch as i64);

    let mut direct = request();
    direct.metadata_mut().insert("ropewalk-no-forward", MetadataValue::from_static("1"));
    let refused = through_other.produce(direct).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let info = refused.get_error_details().error_info().unwrap().clone();
    assert_eq!(info.reason, "NOT_LEADER");
    assert_eq!(info.metadata["leader_id"], (leader + 1).to_string());
    assert_eq!(info.metadata["leader_address"], brokers[leader].address());
    assert_eq!(info.metadata["leader_epoch"], epoch.to_string());

    let mut direct = request();
    direct.metadata_mut().insert("ropewalk-no-forward", MetadataValue::from_static("1"));
    let led = connect(&brokers[leader]).await.produce(direct).await.unwrap();
    assert_eq!(led.get_ref().appends[0].base_offset, 1, "what was refused was not appended");
    assert!(led.metadata().get("ropewalk-leader").is_none(), "nobody else had to help");
}

/// Sends numbers while the leader, which is also the only address that the client was given, is
/// killed. Gives what became of each number.
async fn numbers_over_a_kill(retry_maybe: bool) -> (Vec<Result<i64, ropewalk::Error>>, Vec<u64>) {
    const COUNT: u64 = 4_000;
    let mut brokers = three().await;
    let survey = Client::connect(brokers[0].address()).await.unwrap();
    let leader = led_topic(&survey).await;
    let client = Client::connect(brokers[leader].address()).await.unwrap();
    let producer = client.producer().batch_bytes(512).retry_maybe(retry_maybe).build();
    let mut deliveries: Vec<Delivery> = Vec::new();
    for number in 0..COUNT {
        if number == COUNT / 2 {
            brokers[leader].kill9().await.unwrap();
        }
        let record = Record::to("t").partition(0).value(number.to_string());
        deliveries.push(producer.enqueue(record).await.unwrap());
        if number % 20 == 0 {
            // So that the kill falls among batches that are on their way.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let outcomes = tokio::time::timeout(Duration::from_secs(30), join_all(deliveries)).await;
    let outcomes = outcomes.unwrap().into_iter().map(|end| end.map(|placed| placed.offset));

    let survivor = Client::connect(brokers[(leader + 1) % 3].address()).await.unwrap();
    let reader = survivor.consumer().topic("t").start(Start::Earliest).until(Stop::CaughtUp);
    let mut reader = reader.build().await.unwrap();
    let mut found = Vec::new();
    while let Some(record) = soon("a record", reader.next()).await {
        let value = record.unwrap().value.unwrap();
        found.push(std::str::from_utf8(&value).unwrap().parse().unwrap());
    }
    (outcomes.collect(), found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_may_append_twice_sees_no_error_when_its_leader_is_killed() {
    let (outcomes, found) = numbers_over_a_kill(true).await;
    let mut seen = HashSet::new();
    let firsts: Vec<u64> = found.iter().copied().filter(|number| seen.insert(*number)).collect();
    assert_eq!(firsts, (0..outcomes.len() as u64).collect::<Vec<_>>(), "the order is kept");
    for (number, outcome) in outcomes.iter().enumerate() {
        let offset = *outcome.as_ref().unwrap();
        assert_eq!(found[offset as usize], number as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_may_not_is_told_what_may_be_appended_and_the_rest_is_there_once() {
    let (outcomes, found) = numbers_over_a_kill(false).await;
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    found.iter().for_each(|number| *times.entry(*number).or_default() += 1);
    assert!(times.values().all(|times| *times == 1), "nothing is there twice");
    assert!(found.is_sorted(), "the order is kept");
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(offset) => assert_eq!(found[*offset as usize], number as u64),
            Err(error) => assert!(error.may_have_happened(), "{error:?}"),
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert!(failed < 1_000, "{failed} records failed: more than were on their way");
    assert!(outcomes.last().unwrap().is_ok());
}

/// Appends numbers one after the other, by way of one broker.
async fn append_numbers(server: &str, numbers: std::ops::Range<u64>) {
    let producer = Client::connect(server).await.unwrap().producer().retry_maybe(true).build();
    for number in numbers {
        let record = Record::to("t").partition(0).value(number.to_string());
        soon("an append", producer.send(record)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_without_an_error_when_the_leader_that_it_reads_from_is_killed() {
    let mut brokers = three().await;
    let survey = Client::connect(brokers[0].address()).await.unwrap();
    let leader = led_topic(&survey).await;
    let client = Client::connect(brokers[leader].address()).await.unwrap();
    let mut reader = client.consumer().topic("t").start(Start::Earliest).build().await.unwrap();
    let other = brokers[(leader + 1) % 3].address().to_owned();
    append_numbers(&other, 0..100).await;
    let mut read = Vec::new();
    let mut next = async || {
        let record = soon("a record", reader.next()).await.unwrap().unwrap();
        assert_eq!(record.offset, read.len() as i64, "nothing is missing, and nothing comes twice");
        read.push(record.value.unwrap());
        read.len()
    };
    while next().await < 50 {}
    brokers[leader].kill9().await.unwrap();
    append_numbers(&other, 100..200).await;

    let survivor = Client::connect(&other).await.unwrap();
    let all = survivor.consumer().topic("t").start(Start::Earliest).until(Stop::CaughtUp);
    let mut all = all.build().await.unwrap();
    let mut expected = Vec::new();
    while let Some(record) = soon("a record", all.next()).await {
        expected.push(record.unwrap().value.unwrap());
    }
    while next().await < expected.len() {}
    assert_eq!(read, expected);
    let distinct: HashSet<_> = read.iter().collect();
    assert_eq!(distinct.len(), 200, "each number is there");
}
