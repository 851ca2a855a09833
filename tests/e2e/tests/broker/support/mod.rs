//! What all tests share: a broker with stubs for it, waiting with a deadline, errors, reading.

mod expect;
mod pipe;
mod raw;
mod read;
mod values;

use std::future::Future;
use std::time::Duration;

use ropewalk_harness::{Broker, BrokerBuilder};
use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;
use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;
use ropewalk_proto::v1::producer_service_client::ProducerServiceClient;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

pub(crate) use expect::{Expected, in_stream, refused};
pub(crate) use pipe::Pipe;
pub(crate) use raw::{Raw, answer, frame};
pub(crate) use read::{Event, Got, Reader, named, read_all, records_of, starting, stopping};
pub(crate) use values::*;

/// How long anything may take that should happen at once; a machine that is busy makes it wait.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Runs a future to its end, or fails the test after [`SOON`].
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {SOON:?} in vain: {what}"),
    }
}

/// Looks again and again, until there is something or `within` is over.
pub(crate) async fn poll<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {within:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A broker and a connection to it.
pub(crate) struct Node {
    pub(crate) broker: Broker,
    pub(crate) channel: Channel,
}

impl Node {
    /// With default settings.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::of(Broker::builder().settings(settings)).await
    }

    pub(crate) async fn of(builder: BrokerBuilder) -> Self {
        let broker = builder.start().await.unwrap();
        let channel = connect(broker.address()).await;
        Self { broker, channel }
    }

    /// Ends the broker in good order, starts it again, and connects anew.
    pub(crate) async fn restart(&mut self) {
        self.broker.restart().await.unwrap();
        self.channel = connect(self.broker.address()).await;
    }

    pub(crate) fn producer(&self) -> ProducerServiceClient<Channel> {
        ProducerServiceClient::new(self.channel.clone())
    }

    pub(crate) fn consumer(&self) -> ConsumerServiceClient<Channel> {
        ConsumerServiceClient::new(self.channel.clone())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn create(&self, name: &str, partitions: i32) -> v1::Topic {
        self.create_with(name, partitions, v1::TopicSettings::default()).await
    }

    pub(crate) async fn create_with(
        &self,
        name: &str,
        partition_count: i32,
        settings: v1::TopicSettings,
    ) -> v1::Topic {
        let request = v1::CreateTopicRequest {
            name: name.to_owned(),
            partition_count,
            settings: Some(settings),
            ..Default::default()
        };
        let created = self.admin().create_topic(request).await.unwrap();
        created.into_inner().topic.unwrap()
    }

    /// Appends values to one partition, in one batch; returns the offset of the first.
    pub(crate) async fn append(&self, topic: &str, partition: i32, values: &[&str]) -> i64 {
        let records = values.iter().map(|value| value_record(value.as_bytes())).collect();
        self.append_records(topic, partition, records).await
    }

    pub(crate) async fn append_records(
        &self,
        topic: &str,
        partition: i32,
        records: Vec<v1::Record>,
    ) -> i64 {
        let request = produce(topic, partition, records);
        let response = soon("an append", self.producer().produce(request)).await.unwrap();
        response.into_inner().appends[0].base_offset
    }

    /// The log start and the high watermark of a partition.
    pub(crate) async fn bounds(&self, topic: &str, partition: usize) -> (i64, i64) {
        let request = v1::GetTopicRequest { name: topic.to_owned() };
        let response = self.admin().get_topic(request).await.unwrap().into_inner();
        let partition = &response.partitions[partition];
        (partition.log_start_offset, partition.high_watermark)
    }

    pub(crate) async fn delete_records(&self, topic: &str, partition: i32, before: i64) -> i64 {
        let targets = vec![v1::DeleteRecordsTarget { partition, before_offset: before }];
        let request = v1::DeleteRecordsRequest { topic: topic.to_owned(), targets };
        let response = self.admin().delete_records(request).await.unwrap().into_inner();
        response.partitions[0].log_start_offset
    }

    pub(crate) async fn delete_topic(&self, topic: &str) {
        let request = v1::DeleteTopicRequest { name: topic.to_owned() };
        self.admin().delete_topic(request).await.unwrap();
    }

    pub(crate) async fn commit(&self, group: &str, offsets: &[(&str, i32, i64)]) {
        let request = commit_request(group, offsets);
        self.consumer().commit_offset(request).await.unwrap();
    }

    /// Every committed offset of a group, as topic, partition, offset.
    pub(crate) async fn committed(&self, group: &str) -> Vec<(String, i32, i64)> {
        let group = group.to_owned();
        let request = v1::GetCommittedOffsetsRequest { group, topics: Vec::new() };
        let response = self.consumer().get_committed_offsets(request).await.unwrap();
        let offsets = response.into_inner().offsets.into_iter();
        offsets.map(|found| (found.topic, found.partition, found.offset)).collect()
    }

    pub(crate) async fn gauge(&self, name: &str) -> f64 {
        self.broker.metric(name).await.unwrap().unwrap_or(0.0)
    }

    pub(crate) fn rss_mib(&self) -> u64 {
        self.broker.rss_bytes().unwrap() / (1024 * 1024)
    }

    /// The connection and the process are sound: an append over the same connection is answered.
    pub(crate) async fn still_serves(&mut self) {
        assert!(self.broker.try_exit_status().unwrap().is_none(), "the broker ended");
        let name = "still-serves".to_owned();
        let create = v1::CreateTopicRequest { name, partition_count: 1, ..Default::default() };
        if let Err(status) = soon("a topic", self.admin().create_topic(create)).await {
            assert_eq!(status.code(), tonic::Code::AlreadyExists, "{status}");
        }
        soon("an append", self.append("still-serves", 0, &["yes"])).await;
    }
}

pub(crate) async fn connect(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    soon("a connection", endpoint.connect()).await.unwrap()
}
