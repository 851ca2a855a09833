//! Topics, records and the cluster, for those who run them.

use std::time::SystemTime;

use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use crate::client::{Client, Repeat};
use crate::error::{Error, ErrorKind};
use crate::settings::{NewTopic, Topic, TopicUpdate};

/// Manages topics and shows the cluster. Made by [`Client::admin`].
///
/// ```no_run
/// # async fn run(client: ropewalk::Client) -> Result<(), ropewalk::Error> {
/// use ropewalk::NewTopic;
///
/// let admin = client.admin();
/// admin.create_topic(NewTopic::named("orders").partitions(3)).await?;
/// for topic in admin.list_topics("").await? {
///     println!("{} {}", topic.name, topic.partition_count);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// The topic.
    pub topic: Topic,
    /// The state of every partition, in order.
    pub partitions: Vec<Partition>,
}

/// The state of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The partition, from 0.
    pub partition: i32,
    /// The broker that leads it; `None` while none does.
    pub leader: Option<u64>,
    /// The leader's epoch.
    pub leader_epoch: i64,
    /// The brokers that hold a replica.
    pub replicas: Vec<u64>,
    /// The offset of the first record that is still there.
    pub log_start_offset: i64,
    /// The offset after the last record that can be read.
    pub high_watermark: i64,
    /// The bytes of records held, in their stored form.
    pub size_bytes: i64,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The id, a UUID, made when the cluster was formed.
    pub id: String,
    /// The brokers, by id.
    pub brokers: Vec<Broker>,
    /// The broker that leads the metadata group; `None` while none does.
    pub controller: Option<u64>,
    /// The number of topics.
    pub topic_count: i32,
    /// The number of partitions of all topics.
    pub partition_count: i32,
    /// Bounds that no setting moves.
    pub limits: Limits,
}

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The id.
    pub id: u64,
    /// Where clients reach it, as `HOST:PORT`.
    pub address: String,
    /// The version of its binary.
    pub version: String,
    /// The number of partitions that it leads.
    pub leader_count: i32,
    /// When it started, by its own clock.
    pub start_time: Option<SystemTime>,
}

/// Bounds of the cluster, in bytes unless named otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// One record, whatever its topic's setting.
    pub max_record_bytes: i32,
    /// A request, or an event of a stream.
    pub max_message_bytes: i32,
    /// The headers of one record.
    pub max_record_header_bytes: i32,
    /// The gRPC metadata of a call.
    pub max_metadata_bytes: i32,
    /// The partitions of a topic, a number.
    pub max_partitions_per_topic: i32,
    /// The name of a topic or of a consumer group.
    pub max_name_bytes: i32,
    /// The entries of a page of a list, a number.
    pub max_page_size: i32,
}

/// What a broker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It serves.
    Serving,
    /// It does not: it is starting or shutting down.
    NotServing,
    /// It does not know, or does not know the service.
    Unknown,
}

/// The largest page that a broker gives.
const PAGE: i32 = 1_000;

impl Admin {
    pub(crate) fn new(client: Client) -> Admin {
        Admin { client }
    }

    /// Creates a topic. When it returns, the topic can be produced to and read.
    ///
    /// # Errors
    ///
    /// `TOPIC_EXISTS`, `INVALID_TOPIC_NAME`, `INVALID_FIELD`, and what every call may meet.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<Topic, Error> {
        let request = topic.into_proto()?;
        let answer = self
            .client
            .call(Repeat::WhileNotDone, request, |channel, request| async move {
                AdminServiceClient::new(channel).create_topic(request).await
            })
            .await?;
        answer.topic.map(Topic::from_proto).ok_or_else(empty)
    }

    /// Describes a topic.
    ///
    /// # Errors
    ///
    /// `TOPIC_NOT_FOUND`, and what every call may meet.
    pub async fn topic(&self, name: &str) -> Result<TopicDescription, Error> {
        let request = v1::GetTopicRequest { name: name.to_owned() };
        let answer = self
            .client
            .call(Repeat::Freely, request, |channel, request| async move {
                AdminServiceClient::new(channel).get_topic(request).await
            })
            .await?;
        Ok(TopicDescription {
            topic: answer.topic.map(Topic::from_proto).ok_or_else(empty)?,
            partitions: answer.partitions.into_iter().map(Partition::from_proto).collect(),
        })
    }

    /// Lists all topics whose name begins with `prefix`, by name.
    ///
    /// # Errors
    ///
    /// What every call may meet.
    pub async fn list_topics(&self, prefix: &str) -> Result<Vec<Topic>, Error> {
        let mut topics = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListTopicsRequest {
                page_size: PAGE,
                page_token,
                name_prefix: prefix.to_owned(),
            };
            let answer = self
                .client
                .call(Repeat::Freely, request, |channel, request| async move {
                    AdminServiceClient::new(channel).list_topics(request).await
                })
                .await?;
            topics.extend(answer.topics.into_iter().map(Topic::from_proto));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(topics);
            }
        }
    }

    /// Changes what the update names, and gives the topic as it is then.
    ///
    /// # Errors
    ///
    /// `TOPIC_NOT_FOUND`, `INVALID_FIELD`, and what every call may meet.
    pub async fn update_topic(&self, update: TopicUpdate) -> Result<Topic, Error> {
        let request = update.into_proto()?;
        let answer = self
            .client
            .call(Repeat::WhileNotDone, request, |channel, request| async move {
                AdminServiceClient::new(channel).update_topic(request).await
            })
            .await?;
        answer.topic.map(Topic::from_proto).ok_or_else(empty)
    }

    /// Deletes a topic, its records, and what groups committed for it.
    ///
    /// # Errors
    ///
    /// `TOPIC_NOT_FOUND`, and what every call may meet.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let request = v1::DeleteTopicRequest { name: name.to_owned() };
        self.client
            .call(Repeat::WhileNotDone, request, |channel, request| async move {
                AdminServiceClient::new(channel).delete_topic(request).await
            })
            .await?;
        Ok(())
    }

    /// Deletes the records of a partition below an offset, for good, and gives the offset at which
    /// the partition begins then. `None` deletes all that can be read.
    ///
    /// # Errors
    ///
    /// `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, `OFFSET_OUT_OF_RANGE` for an offset beyond the
    /// end, and what every call may meet.
    pub async fn delete_records(
        &self,
        topic: &str,
        partition: i32,
        before: Option<i64>,
    ) -> Result<i64, Error> {
        if before.is_some_and(|offset| offset < 0) {
            return Err(Error::invalid("an offset is not negative"));
        }
        let target = v1::DeleteRecordsTarget { partition, before_offset: before.unwrap_or(-1) };
        let request = v1::DeleteRecordsRequest { topic: topic.to_owned(), targets: vec![target] };
        let answer = self
            .client
            .call(Repeat::WhileNotDone, request, |channel, request| async move {
                AdminServiceClient::new(channel).delete_records(request).await
            })
            .await?;
        answer.partitions.first().map(|deleted| deleted.log_start_offset).ok_or_else(empty)
    }

    /// Describes the cluster.
    ///
    /// # Errors
    ///
    /// What every call may meet.
    pub async fn cluster(&self) -> Result<Cluster, Error> {
        let request = v1::GetClusterRequest {};
        let answer = self
            .client
            .call(Repeat::Freely, request, |channel, request| async move {
                AdminServiceClient::new(channel).get_cluster(request).await
            })
            .await?;
        Ok(Cluster::from_proto(answer))
    }

    /// Asks the broker that this client is connected to whether it serves.
    ///
    /// # Errors
    ///
    /// What every call may meet.
    pub async fn health(&self) -> Result<Health, Error> {
        let answer = self
            .client
            .call(Repeat::Freely, HealthRequest::default(), |channel, request| async move {
                let mut grpc = Grpc::new(channel);
                grpc.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
                let codec = ProstCodec::<HealthRequest, HealthResponse>::default();
                let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
                grpc.unary(request, path, codec).await
            })
            .await?;
        Ok(match answer.status {
            1 => Health::Serving,
            2 => Health::NotServing,
            _ => Health::Unknown,
        })
    }
}

/// grpc.health.v1.HealthCheckRequest.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// grpc.health.v1.HealthCheckResponse.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

fn empty() -> Error {
    Error::new(ErrorKind::Internal, "the broker's answer lacks what was asked for")
}

/// An id, where 0 stands for none.
fn some_id(id: u64) -> Option<u64> {
    Some(id).filter(|id| *id != 0)
}

impl Partition {
    fn from_proto(proto: v1::PartitionInfo) -> Partition {
        Partition {
            partition: proto.partition,
            leader: some_id(proto.leader_broker_id),
            leader_epoch: proto.leader_epoch,
            replicas: proto.replica_broker_ids,
            log_start_offset: proto.log_start_offset,
            high_watermark: proto.high_watermark,
            size_bytes: proto.size_bytes,
        }
    }
}

impl Cluster {
    fn from_proto(proto: v1::GetClusterResponse) -> Cluster {
        let brokers = proto.brokers.into_iter().map(|broker| Broker {
            id: broker.broker_id,
            address: broker.address,
            version: broker.version,
            leader_count: broker.leader_count,
            start_time: broker.start_time.and_then(|time| time.try_into().ok()),
        });
        let limits = proto.limits.unwrap_or_default();
        Cluster {
            id: proto.cluster_id,
            brokers: brokers.collect(),
            controller: some_id(proto.controller_broker_id),
            topic_count: proto.topic_count,
            partition_count: proto.partition_count,
            limits: Limits {
                max_record_bytes: limits.max_record_bytes,
                max_message_bytes: limits.max_message_bytes,
                max_record_header_bytes: limits.max_record_header_bytes,
                max_metadata_bytes: limits.max_metadata_bytes,
                max_partitions_per_topic: limits.max_partitions_per_topic,
                max_name_bytes: limits.max_name_bytes,
                max_page_size: limits.max_page_size,
            },
        }
    }
}
