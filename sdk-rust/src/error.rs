//! The one error type of the library, and how a status of a broker becomes one.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use ropewalk_proto::google::rpc::Status as RpcStatus;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::pb::{ErrorInfo, RetryInfo};

/// What kind of failure an [`Error`] is. More kinds may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No broker could be reached: nothing was sent.
    Unreachable,
    /// A connection broke while an answer was awaited.
    Disconnected,
    /// A topic, partition or group does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// A value that can never be right, found by the broker or by this library.
    InvalidArgument,
    /// A condition of the call did not hold, such as an expected offset.
    Conflict,
    /// The state of what the call is about does not allow it.
    FailedPrecondition,
    /// An offset that the partition does not have.
    OutOfRange,
    /// The broker cannot serve the call now: no leader, no quorum, shutting down.
    Unavailable,
    /// The time allowed ran out.
    TimedOut,
    /// A bound was reached: a full disk, a full buffer, a quota.
    ResourceExhausted,
    /// Stored data is damaged, or what arrived could not be decoded.
    DataLoss,
    /// The value of a record is not of the type that it was read as.
    Undecodable,
    /// The broker does not know who is calling.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// The broker does not have this call: it may be older than this library.
    Unsupported,
    /// A fault of the broker, or an answer that makes no sense.
    Internal,
    /// The producer was closed.
    Closed,
    /// Whoever made the call gave it up.
    Cancelled,
}

/// What a caller may conclude from an error about the change it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It surely did not happen: asking again cannot make it happen twice.
    DidNotHappen,
    /// It may have happened: asking again may do it twice.
    Unknown,
}

/// The version of a key that another append has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionMismatch {
    /// The version that it has: the offset of the latest record with the key; `None` where there
    /// is none.
    pub current: Option<i64>,
}

/// Why a call failed. Cheap to clone.
///
/// An error of the broker carries its [`reason`](Error::reason), such as `TOPIC_NOT_FOUND`, and
/// [`metadata`](Error::metadata) with particulars. An error that was found on this side has a
/// reason only where the broker would have given one too.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    outcome: Outcome,
    retriable: bool,
    reason: String,
    message: String,
    metadata: BTreeMap<String, String>,
    retry_after: Option<Duration>,
}

impl Error {
    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The broker's reason in capitals, such as `NO_LEADER`; empty when there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// What went wrong, in English, without the reason.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Particulars by name, as the broker gave them: `limit`, `current`, `earliest` and so on.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// What version a key has, where an append expected another one
    /// ([`Append::expect_version`](crate::Append::expect_version)): read what there is with the
    /// key, decide again, and append with its version.
    #[must_use]
    pub fn version_mismatch(&self) -> Option<VersionMismatch> {
        if self.reason() != "EXPECTED_VERSION_MISMATCH" {
            return None;
        }
        let current = self.metadata().get("current").and_then(|text| text.parse().ok());
        Some(VersionMismatch { current })
    }

    /// Whether a member of a consumer group has ended because another one that came later has its
    /// instance name ([`GroupConsumerBuilder::instance_name`]). Whoever joins anew takes the name
    /// back, and ends the other.
    ///
    /// [`GroupConsumerBuilder::instance_name`]: crate::GroupConsumerBuilder::instance_name
    #[must_use]
    pub fn is_instance_taken(&self) -> bool {
        self.reason() == "MEMBER_FENCED"
            && self.metadata().get("cause").is_some_and(|cause| cause == "instance_taken")
    }

    /// Whether the same call may go well later. It says nothing about whether the call may be made
    /// twice: see [`outcome`](Error::outcome).
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.0.retriable
    }

    /// How long the broker asks to wait before another try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What may be concluded about the change that was asked for. Of no meaning where nothing was
    /// to be changed.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// Whether the change may have happened in spite of the error.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        self.0.outcome == Outcome::Unknown
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        let retriable = matches!(
            kind,
            ErrorKind::Unreachable
                | ErrorKind::Disconnected
                | ErrorKind::Unavailable
                | ErrorKind::TimedOut
                | ErrorKind::ResourceExhausted
        );
        let outcome = match kind {
            ErrorKind::Disconnected | ErrorKind::Internal => Outcome::Unknown,
            _ => Outcome::DidNotHappen,
        };
        Error(Arc::new(Inner {
            kind,
            outcome,
            retriable,
            reason: String::new(),
            message: message.into(),
            metadata: BTreeMap::new(),
            retry_after: None,
        }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn with_outcome(self, outcome: Outcome) -> Error {
        self.changed(|inner| inner.outcome = outcome)
    }

    pub(crate) fn with_reason(self, reason: &str) -> Error {
        self.changed(|inner| inner.reason = reason.to_owned())
    }

    /// Puts what was being done before the message.
    pub(crate) fn context(self, what: &str) -> Error {
        self.changed(|inner| inner.message = format!("{what}: {}", inner.message))
    }

    fn changed(mut self, change: impl FnOnce(&mut Inner)) -> Error {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The error of a call. `status` comes from the broker, or from the connection to it.
    pub(crate) fn from_status(status: &Status) -> Error {
        if status.details().is_empty() {
            return from_transport(status);
        }
        let details = RpcStatus::decode(status.details()).unwrap_or_default().details;
        from_broker(status.code(), status.message().to_owned(), &details)
    }

    /// The error of one request within a stream.
    pub(crate) fn from_rpc(status: RpcStatus) -> Error {
        from_broker(Code::from_i32(status.code), status.message, &status.details)
    }
}

/// A status with the details of the error model, or a bare one that some broker or proxy sent.
fn from_broker(code: Code, message: String, details: &[prost_types::Any]) -> Error {
    let mut info = ErrorInfo::default();
    let mut retry_after = None;
    for detail in details {
        if detail.type_url.ends_with("/google.rpc.ErrorInfo") {
            info = ErrorInfo::decode(detail.value.as_ref()).unwrap_or_default();
        } else if detail.type_url.ends_with("/google.rpc.RetryInfo") {
            let retry = RetryInfo::decode(detail.value.as_ref()).unwrap_or_default();
            retry_after = retry.retry_delay.and_then(|delay| delay.try_into().ok());
        }
    }
    let (surely_not, retriable) = conclude(&info.reason).unwrap_or((
        never_done(code),
        matches!(code, Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded),
    ));
    let metadata: BTreeMap<_, _> = info.metadata.into_iter().collect();
    // Of a request that the broker split over partitions, some parts may have been appended.
    let in_part = metadata.get("appended").is_some_and(|partitions| !partitions.is_empty());
    let outcome = if surely_not && !in_part { Outcome::DidNotHappen } else { Outcome::Unknown };
    Error(Arc::new(Inner {
        kind: kind_of(code),
        outcome,
        retriable,
        reason: info.reason,
        message,
        metadata,
        retry_after,
    }))
}

/// What the contract says of a reason: whether the change surely did not happen, and whether the
/// same call may go well later. `None`: a reason that this library does not know.
fn conclude(reason: &str) -> Option<(bool, bool)> {
    Some(match reason {
        "TOPIC_NOT_FOUND"
        | "PARTITION_NOT_FOUND"
        | "GROUP_NOT_FOUND"
        | "TOPIC_EXISTS"
        | "INVALID_TOPIC_NAME"
        | "INVALID_FIELD"
        | "RECORD_TOO_LARGE"
        | "BATCH_TOO_LARGE"
        | "CORRUPT_BATCH"
        | "EXPECTED_OFFSET_MISMATCH"
        | "EXPECTED_VERSION_MISMATCH"
        | "TOO_MANY_KEYS"
        | "SEQUENCE_GAP"
        | "PRODUCER_FENCED"
        | "MEMBER_FENCED"
        | "GROUP_NOT_EMPTY"
        | "OFFSET_OUT_OF_RANGE"
        | "CORRUPT_LOG"
        | "UNAUTHENTICATED"
        | "PERMISSION_DENIED" => (true, false),
        "NOT_LEADER" | "NO_LEADER" | "BROKER_DRAINING" | "QUOTA_EXCEEDED" | "OVERLOADED"
        | "STORAGE_FULL" | "TOO_MANY" | "KEYS_UNREAD" => (true, true),
        "NO_QUORUM" | "LEADER_CHANGED" | "TIMED_OUT" => (false, true),
        "INTERNAL" => (false, false),
        _ => return None,
    })
}

/// Codes that a broker gives before it has done anything.
fn never_done(code: Code) -> bool {
    matches!(
        code,
        Code::NotFound
            | Code::AlreadyExists
            | Code::InvalidArgument
            | Code::Unimplemented
            | Code::Unauthenticated
            | Code::PermissionDenied
    )
}

fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::InvalidArgument => ErrorKind::InvalidArgument,
        Code::Aborted => ErrorKind::Conflict,
        Code::FailedPrecondition => ErrorKind::FailedPrecondition,
        Code::OutOfRange => ErrorKind::OutOfRange,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DeadlineExceeded => ErrorKind::TimedOut,
        Code::ResourceExhausted => ErrorKind::ResourceExhausted,
        Code::DataLoss => ErrorKind::DataLoss,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal => ErrorKind::Internal,
    }
}

/// A status without details: made on this side of a connection that failed, or by something
/// between.
fn from_transport(status: &Status) -> Error {
    let mut deepest = status.message().to_owned();
    let mut source = status.source();
    let mut broken = false;
    while let Some(cause) = source {
        if cause.is::<ConnectError>() {
            let why = innermost(cause);
            return Error::new(ErrorKind::Unreachable, format!("no connection: {why}"));
        }
        if cause.is::<TimeoutExpired>() {
            return timed_out();
        }
        broken = true;
        deepest = cause.to_string();
        source = cause.source();
    }
    if broken {
        return Error::new(ErrorKind::Disconnected, format!("the connection broke: {deepest}"));
    }
    match status.code() {
        // Brokers do not say these: something between did, or the stream was reset.
        Code::Unknown | Code::Cancelled => Error::new(ErrorKind::Disconnected, deepest),
        code => from_broker(code, deepest, &[]),
    }
}

/// The error of a call that was not answered in time.
pub(crate) fn timed_out() -> Error {
    let error = Error::new(ErrorKind::TimedOut, "no answer in the time allowed");
    error.with_outcome(Outcome::Unknown)
}

/// The message at the bottom of a chain of causes, which is the one that says something.
pub(crate) fn innermost(mut error: &(dyn StdError + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.reason.is_empty() {
            f.write_str(&self.0.message)
        } else {
            write!(f, "{}: {}", self.0.reason, self.0.message)
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("reason", &self.0.reason)
            .field("message", &self.0.message)
            .field("outcome", &self.0.outcome)
            .field("metadata", &self.0.metadata)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::{ErrorDetails, StatusExt};

    fn with_reason(code: Code, reason: &str) -> Error {
        let mut details = ErrorDetails::with_error_info(
            reason,
            ropewalk_proto::ERROR_DOMAIN,
            [("limit".to_owned(), "7".to_owned())],
        );
        details.set_retry_info(Some(Duration::from_millis(250)));
        Error::from_status(&Status::with_error_details(code, "why", details))
    }

    #[test]
    fn a_reason_decides_what_may_be_concluded() {
        let overloaded = with_reason(Code::ResourceExhausted, "OVERLOADED");
        assert_eq!(overloaded.kind(), ErrorKind::ResourceExhausted);
        assert!(overloaded.is_retriable() && !overloaded.may_have_happened());
        assert_eq!(overloaded.retry_after(), Some(Duration::from_millis(250)));
        assert_eq!(overloaded.metadata()["limit"], "7");
        assert_eq!(overloaded.to_string(), "OVERLOADED: why");

        let changed = with_reason(Code::Unavailable, "LEADER_CHANGED");
        assert!(changed.is_retriable() && changed.may_have_happened());
        let unknown = with_reason(Code::Unavailable, "SOMETHING_NEW");
        assert!(unknown.is_retriable() && unknown.may_have_happened());
    }

    #[test]
    fn a_bare_status_is_judged_by_its_code() {
        let missing = Error::from_status(&Status::unimplemented("no such call"));
        assert_eq!(missing.kind(), ErrorKind::Unsupported);
        assert!(!missing.is_retriable() && !missing.may_have_happened());
        assert!(Error::from_status(&Status::internal("oops")).may_have_happened());
    }

    #[test]
    fn a_request_that_was_appended_in_part_may_have_happened() {
        let details = ErrorDetails::with_error_info(
            "NO_LEADER",
            ropewalk_proto::ERROR_DOMAIN,
            [("appended".to_owned(), "0,2".to_owned())],
        );
        let status = Status::with_error_details(Code::Unavailable, "partly", details);
        assert!(Error::from_status(&status).may_have_happened());
    }
}
