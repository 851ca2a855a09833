//! Stubs, and what a client may conclude from an error.

use std::time::Duration;

use prost_types::Duration as ProtoDuration;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;
use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;
use ropewalk_proto::v1::producer_service_client::ProducerServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::error::ChaosError;
use crate::history::{Answer, Outcome};

/// How long a call may take. It is long: a slow disk is no failure.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The reasons after which the change surely did not happen, by the contract.
const NOT_DONE: &[&str] = &[
    "TOPIC_NOT_FOUND",
    "PARTITION_NOT_FOUND",
    "GROUP_NOT_FOUND",
    "TOPIC_EXISTS",
    "INVALID_TOPIC_NAME",
    "INVALID_FIELD",
    "RECORD_TOO_LARGE",
    "BATCH_TOO_LARGE",
    "CORRUPT_BATCH",
    "EXPECTED_OFFSET_MISMATCH",
    "EXPECTED_VERSION_MISMATCH",
    "KEYS_UNREAD",
    "TOO_MANY_KEYS",
    "OFFSET_OUT_OF_RANGE",
    "MEMBER_FENCED",
    "GROUP_NOT_EMPTY",
    "NOT_LEADER",
    "NO_LEADER",
    "BROKER_DRAINING",
    "QUOTA_EXCEEDED",
    "OVERLOADED",
    "STORAGE_FULL",
    "TOO_MANY",
    "CORRUPT_LOG",
];

/// A connection of its own, with stubs for it.
#[derive(Clone, Debug)]
pub struct Stubs(Channel);

impl Stubs {
    /// Connects to HOST:PORT.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(address: &str) -> Result<Self, ChaosError> {
        Self::connect_within(address, CONNECT_TIMEOUT).await
    }

    /// Connects to HOST:PORT, for at most so long.
    ///
    /// # Errors
    /// When nobody listens there, or it takes too long.
    pub async fn connect_within(address: &str, time: Duration) -> Result<Self, ChaosError> {
        let refuse = |error: tonic::transport::Error| {
            ChaosError::broken(format!("no connection to {address}: {error}"))
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(refuse)?;
        let endpoint = endpoint.connect_timeout(time).timeout(CALL_TIMEOUT);
        Ok(Self(endpoint.connect().await.map_err(refuse)?))
    }

    /// The producer service.
    #[must_use]
    pub fn producer(&self) -> ProducerServiceClient<Channel> {
        ProducerServiceClient::new(self.0.clone())
    }

    /// The consumer service.
    #[must_use]
    pub fn consumer(&self) -> ConsumerServiceClient<Channel> {
        ConsumerServiceClient::new(self.0.clone())
    }

    /// The admin service.
    #[must_use]
    pub fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.0.clone())
    }
}

/// A request with a deadline of its own.
pub(crate) fn within<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

/// The reason that the broker gave for an error; empty when it gave none.
#[must_use]
pub fn reason_of(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// What to conclude from the outcome of a call.
pub(crate) fn outcome_of(result: Result<Answer, Status>) -> Outcome {
    let status = match result {
        Ok(answer) => return Outcome::Ok(answer),
        Err(status) => status,
    };
    let reason = reason_of(&status);
    if NOT_DONE.contains(&reason.as_str()) {
        return Outcome::Fail(reason);
    }
    Outcome::Unknown(format!("{:?}: {}", status.code(), status.message()))
}

/// A length of time, as the contract has it.
pub(crate) fn seconds(seconds: i64) -> ProtoDuration {
    ProtoDuration { seconds, nanos: 0 }
}
