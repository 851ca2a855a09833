//! The one mapping from errors to `google.rpc.Status`.
//!
//! Every failure has a reason of API.md's table, and with it a code; the details say what a program
//! needs to react: ErrorInfo always, BadRequest, ResourceInfo, RetryInfo and QuotaFailure where
//! they fit.

mod expected;
mod groups;
mod records;

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use ropewalk_broker::coordinator::CoordinatorError;
use ropewalk_broker::delivery::DeliveryError;
use ropewalk_broker::errors::{
    AppendError, CommitError, LogError, Missing, ReadError, StorageFull, TopicError,
};
use ropewalk_broker::ingest::IngestError;
use ropewalk_broker::peers::{FetchError, RemoteError};
use ropewalk_broker::{ProposeError, StorageError};
use ropewalk_cluster::MetadataError;
use ropewalk_core::NodeId;
use ropewalk_core::names::NameError;
use ropewalk_core::records::RecordsError;
use ropewalk_proto::{ERROR_DOMAIN, google};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Why a call failed, as API.md names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // API.md and the protos say what each means.
pub enum Reason {
    TopicNotFound,
    PartitionNotFound,
    GroupNotFound,
    TopicExists,
    InvalidTopicName,
    InvalidField,
    RecordTooLarge,
    BatchTooLarge,
    CorruptBatch,
    ExpectedOffsetMismatch,
    ExpectedVersionMismatch,
    KeysUnread,
    TooManyKeys,
    OffsetOutOfRange,
    NotLeader,
    NoLeader,
    BrokerDraining,
    SequenceGap,
    ProducerFenced,
    MemberFenced,
    GroupNotEmpty,
    NoQuorum,
    LeaderChanged,
    TimedOut,
    Overloaded,
    TooMany,
    StorageFull,
    CorruptLog,
    Internal,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 29] = [
        Self::TopicNotFound,
        Self::PartitionNotFound,
        Self::GroupNotFound,
        Self::TopicExists,
        Self::InvalidTopicName,
        Self::InvalidField,
        Self::RecordTooLarge,
        Self::BatchTooLarge,
        Self::CorruptBatch,
        Self::ExpectedOffsetMismatch,
        Self::ExpectedVersionMismatch,
        Self::KeysUnread,
        Self::TooManyKeys,
        Self::OffsetOutOfRange,
        Self::NotLeader,
        Self::NoLeader,
        Self::BrokerDraining,
        Self::SequenceGap,
        Self::ProducerFenced,
        Self::MemberFenced,
        Self::GroupNotEmpty,
        Self::NoQuorum,
        Self::LeaderChanged,
        Self::TimedOut,
        Self::Overloaded,
        Self::TooMany,
        Self::StorageFull,
        Self::CorruptLog,
        Self::Internal,
    ];

    /// Its name on the wire, and its code.
    const fn parts(self) -> (&'static str, Code) {
        match self {
            Self::TopicNotFound => ("TOPIC_NOT_FOUND", Code::NotFound),
            Self::PartitionNotFound => ("PARTITION_NOT_FOUND", Code::NotFound),
            Self::GroupNotFound => ("GROUP_NOT_FOUND", Code::NotFound),
            Self::TopicExists => ("TOPIC_EXISTS", Code::AlreadyExists),
            Self::InvalidTopicName => ("INVALID_TOPIC_NAME", Code::InvalidArgument),
            Self::InvalidField => ("INVALID_FIELD", Code::InvalidArgument),
            Self::RecordTooLarge => ("RECORD_TOO_LARGE", Code::InvalidArgument),
            Self::BatchTooLarge => ("BATCH_TOO_LARGE", Code::InvalidArgument),
            Self::CorruptBatch => ("CORRUPT_BATCH", Code::InvalidArgument),
            Self::ExpectedOffsetMismatch => ("EXPECTED_OFFSET_MISMATCH", Code::Aborted),
            Self::ExpectedVersionMismatch => ("EXPECTED_VERSION_MISMATCH", Code::Aborted),
            Self::KeysUnread => ("KEYS_UNREAD", Code::Unavailable),
            Self::TooManyKeys => ("TOO_MANY_KEYS", Code::ResourceExhausted),
            Self::OffsetOutOfRange => ("OFFSET_OUT_OF_RANGE", Code::OutOfRange),
            Self::NotLeader => ("NOT_LEADER", Code::Unavailable),
            Self::NoLeader => ("NO_LEADER", Code::Unavailable),
            Self::BrokerDraining => ("BROKER_DRAINING", Code::Unavailable),
            Self::SequenceGap => ("SEQUENCE_GAP", Code::FailedPrecondition),
            Self::ProducerFenced => ("PRODUCER_FENCED", Code::FailedPrecondition),
            Self::MemberFenced => ("MEMBER_FENCED", Code::FailedPrecondition),
            Self::GroupNotEmpty => ("GROUP_NOT_EMPTY", Code::FailedPrecondition),
            Self::NoQuorum => ("NO_QUORUM", Code::Unavailable),
            Self::LeaderChanged => ("LEADER_CHANGED", Code::Unavailable),
            Self::TimedOut => ("TIMED_OUT", Code::DeadlineExceeded),
            Self::Overloaded => ("OVERLOADED", Code::ResourceExhausted),
            Self::TooMany => ("TOO_MANY", Code::ResourceExhausted),
            Self::StorageFull => ("STORAGE_FULL", Code::ResourceExhausted),
            Self::CorruptLog => ("CORRUPT_LOG", Code::DataLoss),
            Self::Internal => ("INTERNAL", Code::Internal),
        }
    }

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.parts().0
    }

    /// The gRPC code that goes with it.
    #[must_use]
    pub const fn code(self) -> Code {
        self.parts().1
    }
}

/// A call, or one batch of a stream, that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: Reason,
    message: String,
    metadata: HashMap<String, String>,
    /// Boxed: failures are returned from everywhere, and are rare.
    details: Box<ErrorDetails>,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let (message, metadata) = (message.into(), HashMap::new());
        Self { reason, message, metadata, details: Box::default() }
    }

    /// A field of the request that is not what it must be.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidField, message).about_field(field)
    }

    pub(crate) fn draining() -> Self {
        let message = "the broker is shutting down; connect to another one or try again";
        Self::new(Reason::BrokerDraining, message).retry_after(Duration::from_millis(500))
    }

    /// What was asked for cannot be yet, and nothing was done.
    pub(crate) fn not_ready(message: impl std::fmt::Display) -> Self {
        Self::new(Reason::NoLeader, format!("{message}; try again later"))
            .retry_after(Duration::from_millis(500))
    }

    /// A call that is not to be forwarded needs another broker. Epoch 0: it is not known, and the
    /// broker is the one that is most likely to lead.
    pub(crate) fn not_leader(node: NodeId, address: &str, epoch: u64) -> Self {
        let message = match address {
            "" => format!(
                "this broker does not lead; ask broker {node}, whose address `GetCluster` tells"
            ),
            address => format!("this broker does not lead; ask broker {node} at {address}"),
        };
        Self::new(Reason::NotLeader, message)
            .with("leader_id", node)
            .with("leader_address", address)
            .with("leader_epoch", epoch)
    }

    pub(crate) fn no_leader() -> Self {
        ProposeError::NoLeader.into()
    }

    pub(crate) fn timed_out() -> Self {
        let message = "the call's deadline ran out: what it asked for may be done all the same; \
                       look before you repeat it, or give it more time";
        Self::new(Reason::TimedOut, message)
    }

    /// The broker's own fault. What happened is in its log under the id in the message.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a call failed inside the broker");
        Self::new(Reason::Internal, format!("the broker failed: {error}; its log says more"))
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether it passes by itself, so that the same may be asked for again.
    pub(crate) fn passes(&self) -> bool {
        let is_moving = matches!(self.reason, Reason::LeaderChanged | Reason::NotLeader);
        is_moving || self.details.retry_info().is_some()
    }

    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    pub(crate) fn about_field(mut self, field: &str) -> Self {
        self.details.add_bad_request_violation(field, self.message.clone());
        self.with("field", field)
    }

    pub(crate) fn about_resource(mut self, kind: &str, name: &str) -> Self {
        self.details.set_resource_info(kind, name, "", self.message.clone());
        self.with("resource", name)
    }

    pub(crate) fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    pub(crate) fn over_quota(mut self, subject: &str, limit: impl std::fmt::Display) -> Self {
        self.details.add_quota_failure_violation(subject, self.message.clone());
        self.with("limit", limit)
    }

    /// As the status of a whole call.
    pub(crate) fn into_status(mut self) -> Status {
        self.details.set_error_info(self.reason.name(), ERROR_DOMAIN, self.metadata);
        Status::with_error_details(self.reason.code(), self.message, *self.details)
    }

    /// As the status of one answer within a stream.
    pub(crate) fn into_rpc_status(self) -> google::rpc::Status {
        let status = self.into_status();
        google::rpc::Status::decode(status.details())
            .expect("a status is read back as it was just encoded")
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.into_status()
    }
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        let message = missing.to_string();
        match missing {
            Missing::Topic(name) => {
                Self::new(Reason::TopicNotFound, message).about_resource("topic", &name)
            }
            Missing::Partition { topic, partition, .. } => {
                Self::new(Reason::PartitionNotFound, message)
                    .about_resource("partition", &format!("{topic}/{partition}"))
            }
        }
    }
}

impl From<ProposeError> for Failure {
    fn from(error: ProposeError) -> Self {
        let message = error.to_string();
        match error {
            ProposeError::NoGroup => {
                let message = "the topic was deleted: create it, or list the topics there are";
                Self::new(Reason::TopicNotFound, message).with("resource", "topic")
            }
            ProposeError::NoLeader => Self::new(Reason::NoLeader, message + "; try again")
                .retry_after(Duration::from_millis(100)),
            ProposeError::ExpectedOffset { .. }
            | ProposeError::ExpectedVersion { .. }
            | ProposeError::KeysUnread
            | ProposeError::KeysDamaged { .. }
            | ProposeError::TooManyKeys { .. } => expected::failure(error, message),
            ProposeError::SequenceGap { expected, actual } => {
                let message = format!(
                    "{message}: send what is missing first, or ask for a new id (InitProducer) if \
                     the producer was idle for long"
                );
                Self::new(Reason::SequenceGap, message)
                    .with("expected", expected)
                    .with("actual", actual)
            }
            ProposeError::ProducerFenced { expected, actual } => {
                let message =
                    format!("{message}: another producer has the name of this one; end this one");
                Self::new(Reason::ProducerFenced, message)
                    .with("expected", expected)
                    .with("actual", actual)
            }
            ProposeError::TooManyProducers { limit } => {
                let message = format!(
                    "{message}: let programs keep their producers, rather than make one for each \
                     batch, or raise topics.max_producers"
                );
                Self::new(Reason::TooMany, message)
                    .over_quota("producers", limit)
                    .retry_after(Duration::from_secs(1))
            }
            ProposeError::OutOfRange { start, high_watermark } => {
                let message = format!("the offset is above the high watermark, {high_watermark}");
                Self::new(Reason::OffsetOutOfRange, message)
                    .with("earliest", start)
                    .with("latest", high_watermark)
            }
            ProposeError::StorageFull { floor } => StorageFull { floor }.into(),
            ProposeError::Behind(replica) => Self::not_ready(format!(
                "broker {} has not caught up with the partition yet",
                replica.node()
            )),
            ProposeError::Members => Self::not_ready(message + ", and another may be under way"),
            ProposeError::Overloaded => {
                Self::new(Reason::Overloaded, message + "; try again later")
                    .retry_after(Duration::from_millis(500))
            }
            ProposeError::LeaderChanged { epoch } => {
                let message = format!(
                    "another broker leads since epoch {epoch}: the records may be appended all the \
                     same; look before you send them again"
                );
                Self::new(Reason::LeaderChanged, message).with("leader_epoch", epoch)
            }
        }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::new(Reason::InvalidTopicName, error.to_string()).about_field("name")
    }
}

impl From<StorageFull> for Failure {
    fn from(full: StorageFull) -> Self {
        Self::new(Reason::StorageFull, full.to_string())
            .over_quota("free_space_floor", full.floor)
            .retry_after(Duration::from_secs(5))
    }
}

impl From<TopicError> for Failure {
    fn from(error: TopicError) -> Self {
        let message = error.to_string();
        match error {
            TopicError::Name(error) => error.into(),
            TopicError::Missing(missing) => missing.into(),
            TopicError::Propose(error) => error.into(),
            TopicError::PartitionCount { limit, actual } => {
                Self::field("partition_count", message).with("limit", limit).with("actual", actual)
            }
            TopicError::StorageFull(full) => full.into(),
            TopicError::Metadata(error) => error.into(),
        }
    }
}

impl From<MetadataError> for Failure {
    fn from(error: MetadataError) -> Self {
        let message = error.to_string();
        match error {
            MetadataError::TopicExists(name) => Self::new(Reason::TopicExists, message)
                .about_resource("topic", &name)
                .with("topic", name),
            MetadataError::TopicNotFound => Self::new(Reason::TopicNotFound, message),
            MetadataError::PartitionsShrink { current } => {
                Self::field("partition_count", message).with("actual", current)
            }
            MetadataError::TooManyPartitions { limit } => {
                Self::new(Reason::TooMany, message).over_quota("partitions", limit)
            }
            MetadataError::TooManyReplicas { limit, .. } => {
                Self::new(Reason::TooMany, message).over_quota("replicas", limit)
            }
            MetadataError::TooManyBrokers { limit } => {
                Self::new(Reason::TooMany, message).over_quota("brokers", limit)
            }
            MetadataError::TooFewBrokers { replication_factor, brokers } => {
                Self::field("replication_factor", message)
                    .with("limit", brokers)
                    .with("actual", replication_factor)
            }
            MetadataError::PartitionNotFound { ref topic, partition } => {
                Self::new(Reason::PartitionNotFound, message)
                    .about_resource("partition", &format!("{topic}/{partition}"))
            }
            MetadataError::InvalidReplicas { .. } => Self::field("assignments.broker_ids", message),
            MetadataError::BrokerNotFound(_)
            | MetadataError::LastBroker(_)
            | MetadataError::BrokerNeeded { .. }
            | MetadataError::BrokerRemoved(_)
            | MetadataError::DirectoryTaken(_) => Self::field("broker_id", message),
            // What can be had later: when founders come, all brokers are upgraded, or another one
            // is back.
            MetadataError::NotFormed
            | MetadataError::NotUpgraded { .. }
            | MetadataError::ReplicaNeeded(_) => Self::new(Reason::NoLeader, message),
            MetadataError::Exhausted => Self::new(Reason::TooMany, message),
            MetadataError::OutOfRange(ref error) => {
                let field = match error.setting.as_str() {
                    setting @ ("partition_count" | "replication_factor" | "name") => {
                        setting.to_owned()
                    }
                    setting => format!("settings.{setting}"),
                };
                Self::field(&field, message)
            }
            // Of no call of the API.
            MetadataError::LevelTooLow { .. } | MetadataError::Malformed(_) => {
                Self::internal(&message)
            }
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let message = error.to_string();
        match error {
            AppendError::Missing(missing) => missing.into(),
            AppendError::Ingest(error) => error.into(),
            AppendError::Propose(error) => error.into(),
            // The name of a topic that is used is the request's field `topic`.
            AppendError::Create(TopicError::Name(error)) => {
                Self::new(Reason::InvalidTopicName, error.to_string()).about_field("topic")
            }
            AppendError::Create(error) => error.into(),
            AppendError::NotUpgraded(error) => error.into(),
            AppendError::Draining => Self::draining(),
            AppendError::StorageFull(full) => full.into(),
            AppendError::Overloaded { limit } => Self::new(Reason::Overloaded, message)
                .over_quota("append_budget", limit)
                .retry_after(Duration::from_millis(500)),
            AppendError::TooManyConditional { limit } => {
                expected::too_many(message, limit).retry_after(Duration::from_millis(500))
            }
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        let message = error.to_string();
        match error {
            CommitError::Propose(error) => error.into(),
            CommitError::StorageFull(full) => full.into(),
            CommitError::Reserve(error) => error.into(),
            CommitError::Refused(CoordinatorError::TooMany { limit }) => {
                Self::new(Reason::TooMany, message).over_quota("committed_offsets", limit)
            }
            CommitError::Refused(CoordinatorError::Malformed(error)) => Self::internal(&error),
            CommitError::Refused(CoordinatorError::Group(error)) => error.into(),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let message = error.to_string();
        match error {
            ReadError::Missing(missing) => missing.into(),
            ReadError::Propose(error) => error.into(),
            ReadError::OutOfRange { earliest, latest, .. } => {
                Self::new(Reason::OffsetOutOfRange, message)
                    .with("earliest", earliest)
                    .with("latest", latest)
            }
            ReadError::Log(LogError::Storage(error)) => error.into(),
            ReadError::Log(LogError::Remote(error)) => error.into(),
            ReadError::Delivery(
                DeliveryError::Compressed { offset, .. }
                | DeliveryError::Count { offset, .. }
                | DeliveryError::Record { offset, .. },
            ) => Self::new(Reason::CorruptLog, message + "; read on at a later offset")
                .with("file", "")
                .with("offset", offset),
        }
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let message = error.to_string();
        match error {
            RemoteError::Refused(error) => error.into(),
            RemoteError::Fetch(FetchError::Corrupt { offset, file, .. }) => {
                Self::new(Reason::CorruptLog, message)
                    .with("file", file)
                    .with("offset", offset.map_or_else(String::new, |at| at.to_string()))
            }
            RemoteError::Fetch(FetchError::Storage(_)) => Self::internal(&message),
            RemoteError::Fetch(FetchError::NoGroup)
            | RemoteError::Unreachable { .. }
            | RemoteError::Lost { .. } => Self::new(Reason::NoLeader, message + "; try again")
                .retry_after(Duration::from_millis(100)),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let message = error.to_string();
        match error {
            StorageError::Corrupt { offset, path, .. } => {
                tracing::error!(error = %message, "a part of the log is damaged and is not served");
                Self::new(Reason::CorruptLog, message)
                    .with("file", path.display())
                    .with("offset", offset.map_or_else(String::new, |at| at.to_string()))
            }
            StorageError::Missing { offset, .. } => {
                tracing::error!(error = %message, "a part of the log is missing");
                Self::new(Reason::CorruptLog, message).with("file", "").with("offset", offset)
            }
            StorageError::Io { .. } | StorageError::Refused(_) => Self::internal(&message),
        }
    }
}

/// What tonic refuses before a handler sees it, with the details that API.md promises.
pub(crate) fn refused_by_transport(status: &Status) -> Option<Failure> {
    let message = status.message();
    match status.code() {
        Code::OutOfRange if message.contains("message length too large") => {
            let limit = ropewalk_core::limits::MAX_MESSAGE_BYTES;
            let text = format!("{message}; send the records in several requests");
            Some(Failure::new(Reason::BatchTooLarge, text).with("limit", limit))
        }
        // What the broker itself fails at has details: this is a frame or a message that cannot be
        // read.
        Code::Internal => {
            let text = format!("the request is not a valid message of this method: {message}");
            Some(Failure::new(Reason::InvalidField, text))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
