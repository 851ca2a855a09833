//! Topics, records and the cluster, for those who run them.

use std::time::SystemTime;

use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use crate::client::{Client, Repeat};
use crate::connector::who_are_you;
use crate::error::{Error, ErrorKind};
use crate::settings::{NewTopic, Topic, TopicUpdate};
use crate::topic_watch::TopicWatch;

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
    /// The replicas that there are now, by broker: while the partition moves, not yet those that
    /// are to be. Empty when no leader answers.
    pub members: Vec<Replica>,
}

/// A replica of a partition, as the partition's leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The broker that has it.
    pub broker: u64,
    /// Whether it votes. One that does not gets the records, and is to vote or to go.
    pub voter: bool,
    /// Whether it has answered the leader lately and has nearly all of the log.
    pub in_sync: bool,
    /// How many entries of the log it lacks; an entry is a batch of records, or the broker's own.
    pub lag: i64,
    /// The index of the last entry that it has on its disk.
    pub matched_index: i64,
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
    /// The number of partitions with fewer replicas in sync than they are to have.
    pub under_replicated_partitions: i32,
    /// The number of partitions for which no leader answers.
    pub leaderless_partitions: i32,
    /// Both kinds of partitions, by topic and partition: the first 1,000 of them.
    pub unhealthy_partitions: Vec<UnhealthyPartition>,
}

/// A partition with fewer replicas in sync than it is to have, or without a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnhealthyPartition {
    /// The topic's name.
    pub topic: String,
    /// How it stands. Without a leader no member is told.
    pub partition: Partition,
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
    /// The rack or zone that it stands in.
    pub rack: Option<String>,
    /// Whether it is to lead nothing, and to get no new replica while others can have it.
    pub draining: bool,
    /// Whether the broker that answers can reach it.
    pub alive: bool,
    /// The number of partitions of which it has a replica now.
    pub replica_count: i32,
    /// The number of the broker's own groups (metadata, consumer groups) that it leads.
    pub system_leader_count: i32,
    /// The number of the broker's own groups of which it has a replica now.
    pub system_replica_count: i32,
    /// Whether it was removed, and some of its replicas are not gone yet.
    pub removed: bool,
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

    pub(crate) fn client(&self) -> &Client {
        &self.client
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
        self.ask_for_cluster(v1::GetClusterRequest::default()).await
    }

    /// The same, without what the leaders of all partitions have to be asked for.
    pub(crate) async fn brokers(&self) -> Result<Cluster, Error> {
        self.ask_for_cluster(who_are_you()).await
    }

    async fn ask_for_cluster(&self, request: v1::GetClusterRequest) -> Result<Cluster, Error> {
        let answer = self
            .client
            .call(Repeat::Freely, request, |channel, request| async move {
                AdminServiceClient::new(channel).get_cluster(request).await
            })
            .await?;
        Ok(Cluster::from_proto(answer))
    }

    /// Drains a broker, or ends that. A broker that drains hands over what it leads; this does not
    /// wait for it, [`Admin::cluster`] shows it.
    ///
    /// # Errors
    ///
    /// `INVALID_FIELD` when there is no such broker, and what every call may meet.
    pub async fn set_draining(&self, broker: u64, draining: bool) -> Result<Broker, Error> {
        let request = v1::UpdateBrokerRequest {
            broker: Some(v1::Broker { broker_id: broker, draining, ..v1::Broker::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["draining".to_owned()] }),
        };
        let answer = self
            .client
            .call(Repeat::Freely, request, |channel, request| async move {
                AdminServiceClient::new(channel).update_broker(request).await
            })
            .await?;
        answer.broker.map(Broker::from_proto).ok_or_else(empty)
    }

    /// Takes a broker out of the cluster, for good. Its replicas move from then on; this does not
    /// wait for it: [`Admin::cluster`] shows the broker as removed until the last one has.
    ///
    /// # Errors
    ///
    /// `INVALID_FIELD` when there is no such broker, or when it is needed, and what every call may
    /// meet.
    pub async fn remove_broker(&self, broker: u64) -> Result<(), Error> {
        let request = v1::RemoveBrokerRequest { broker_id: broker };
        self.client
            .call(Repeat::WhileNotDone, request, |channel, request| async move {
                AdminServiceClient::new(channel).remove_broker(request).await
            })
            .await?;
        Ok(())
    }

    /// Says on which brokers a partition is to be, the preferred leader first. Its replicas move
    /// from then on; this does not wait for it: [`Admin::topic`] shows them.
    ///
    /// # Errors
    ///
    /// `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, `INVALID_FIELD` for brokers that cannot have it,
    /// and what every call may meet.
    pub async fn reassign(
        &self,
        topic: &str,
        partition: i32,
        brokers: &[u64],
    ) -> Result<(), Error> {
        let (topic, broker_ids) = (topic.to_owned(), brokers.to_vec());
        let assignments = vec![v1::PartitionAssignment { topic, partition, broker_ids }];
        let request = v1::ReassignPartitionsRequest { assignments };
        self.client
            .call(Repeat::Freely, request, |channel, request| async move {
                AdminServiceClient::new(channel).reassign_partitions(request).await
            })
            .await?;
        Ok(())
    }

    /// Has another broker lead a partition, and gives the one that leads then: the broker that is
    /// named, which is the preferred leader from then on, or the preferred leader for `None`.
    ///
    /// # Errors
    ///
    /// `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, `INVALID_FIELD` for a broker that cannot lead it,
    /// `NO_LEADER` for one that is not in sync in five seconds, and what every call may meet.
    pub async fn transfer_leadership(
        &self,
        topic: &str,
        partition: i32,
        to: Option<u64>,
    ) -> Result<u64, Error> {
        let (topic, broker_id) = (topic.to_owned(), to.unwrap_or(0));
        let request = v1::TransferLeadershipRequest { topic, partition, broker_id };
        let answer = self
            .client
            .call(Repeat::Freely, request, |channel, request| async move {
                AdminServiceClient::new(channel).transfer_leadership(request).await
            })
            .await?;
        Ok(answer.leader_broker_id)
    }

    /// Watches the topics whose name begins with `prefix`. Each time the stream is lost, it begins
    /// again with the state of that moment.
    #[must_use]
    pub fn watch_topics(&self, prefix: &str) -> TopicWatch {
        TopicWatch::new(self.client.clone(), prefix.to_owned())
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
            members: proto.replicas.into_iter().map(Replica::from_proto).collect(),
        }
    }
}

impl Replica {
    fn from_proto(proto: v1::ReplicaInfo) -> Replica {
        Replica {
            broker: proto.broker_id,
            voter: proto.voter,
            in_sync: proto.in_sync,
            lag: proto.lag,
            matched_index: proto.matched_index,
        }
    }
}

impl Broker {
    fn from_proto(proto: v1::Broker) -> Broker {
        Broker {
            id: proto.broker_id,
            address: proto.address,
            version: proto.version,
            leader_count: proto.leader_count,
            start_time: proto.start_time.and_then(|time| time.try_into().ok()),
            rack: Some(proto.rack).filter(|rack| !rack.is_empty()),
            draining: proto.draining,
            alive: proto.alive,
            replica_count: proto.replica_count,
            system_leader_count: proto.system_leader_count,
            system_replica_count: proto.system_replica_count,
            removed: proto.removed,
        }
    }
}

impl Cluster {
    fn from_proto(proto: v1::GetClusterResponse) -> Cluster {
        let brokers = proto.brokers.into_iter().map(Broker::from_proto);
        let limits = proto.limits.unwrap_or_default();
        Cluster {
            id: proto.cluster_id,
            brokers: brokers.collect(),
            controller: some_id(proto.controller_broker_id),
            topic_count: proto.topic_count,
            partition_count: proto.partition_count,
            under_replicated_partitions: proto.under_replicated_partition_count,
            leaderless_partitions: proto.leaderless_partition_count,
            unhealthy_partitions: proto
                .unhealthy_partitions
                .into_iter()
                .map(|unhealthy| UnhealthyPartition {
                    topic: unhealthy.topic,
                    partition: Partition::from_proto(unhealthy.partition.unwrap_or_default()),
                })
                .collect(),
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
