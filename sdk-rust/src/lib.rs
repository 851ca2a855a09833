//! The Rust client of Ropewalk: records in, records out, and topics in between.
//!
//! A [`Client`] knows where the brokers are. From it come
//!
//! - a [`Producer`], which batches and pipelines what it is given and says where each record went;
//! - a [`Consumer`], a stream of records that reconnects and goes on where it stopped;
//! - an [`Admin`], for topics, records and the cluster;
//! - a [`Group`], which keeps the position of a reader under a name;
//! - a [`GroupConsumer`], a member of a consumer group, which shares its topics with the others.
//!
//! ```no_run
//! use ropewalk::{Client, Record, Start, Stop};
//!
//! # async fn run() -> Result<(), ropewalk::Error> {
//! let client = Client::connect("127.0.0.1:9092").await?;
//!
//! let producer = client.producer().build();
//! let placed = producer.send(Record::to("greetings").key("en").value("hello")).await?;
//! println!("partition {} offset {}", placed.partition, placed.offset);
//!
//! let mut consumer = client
//!     .consumer()
//!     .topic("greetings")
//!     .start(Start::Earliest)
//!     .until(Stop::CaughtUp)
//!     .build()
//!     .await?;
//! while let Some(record) = consumer.next().await {
//!     println!("{:?}", record?.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! One address that can be reached is enough. The client learns from the cluster where the other
//! brokers are, and a producer sends each batch to the leader of its partition; while a leader
//! cannot be reached from here, as behind a port-forward, another broker forwards to it. When a
//! leader dies, what it has not answered is sent to the next one within the delivery timeout, in
//! order; a batch that was appended before is there once all the same
//! ([`ProducerBuilder::idempotent`]).
//!
//! Every call fails with one type, [`Error`], which says what a caller may conclude: whether trying
//! again may help ([`Error::is_retriable`]), and whether a change may have happened all the same
//! ([`Error::may_have_happened`]).
//!
//! The library needs a tokio runtime with its time and network drivers.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admin;
mod backoff;
mod brokers;
mod call_connection;
mod client;
mod connector;
mod consumer;
mod error;
mod group;
mod intercept;
mod offsets;
mod partitioner;
mod producer;
mod record;
mod settings;
mod topic_watch;
mod typed;
mod wire;

pub use admin::{
    Admin, Broker, Cluster, Health, Limits, Partition, Replica, TopicDescription,
    UnhealthyPartition,
};
pub use client::{Client, ClientBuilder};
pub use consumer::{
    ConsumedRecord, Consumer, ConsumerBuilder, Event, Gap, PartitionState, RecordBatch, Records,
    Start, Stop,
};
pub use error::{Error, ErrorKind, Outcome, VersionMismatch};
pub use group::{
    Committer, GroupConsumer, GroupConsumerBuilder, GroupDescription, GroupEvent, GroupMembers,
    GroupMove, GroupOffset, GroupPlan, GroupState, GroupSummary, GroupWatch, MemberDescription,
    PlanMember, PlanRequest, Revoked,
};
pub use intercept::{OnOutcome, Outgoing, ReceiveInterceptor, SendInterceptor};
pub use offsets::{CommittedOffset, Group, OffsetQuery, PartitionOffset, Position};
pub use partitioner::partition_of;
pub use producer::{Append, Appended, Delivery, Durability, Producer, ProducerBuilder};
pub use record::{Header, Record};
pub use ropewalk_compress::Compression;
pub use settings::{
    CleanupPolicy, NewTopic, RecordTtl, Retention, Setting, SizeLimit, TimestampType, Topic,
    TopicCompression, TopicSettings, TopicUpdate,
};
pub use topic_watch::{TopicEvent, TopicWatch};
