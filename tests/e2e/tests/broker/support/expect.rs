//! What an error must be: the code, the reason, the domain and the metadata of the contract.

use std::collections::HashMap;

use prost::Message;
use ropewalk_proto::google;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A row of the table of errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected(pub(crate) Code, pub(crate) &'static str, &'static [&'static str]);

impl Expected {
    pub(crate) const TOPIC_NOT_FOUND: Self = Self(Code::NotFound, "TOPIC_NOT_FOUND", &["resource"]);
    pub(crate) const PARTITION_NOT_FOUND: Self =
        Self(Code::NotFound, "PARTITION_NOT_FOUND", &["resource"]);
    pub(crate) const TOPIC_EXISTS: Self = Self(Code::AlreadyExists, "TOPIC_EXISTS", &["topic"]);
    pub(crate) const INVALID_TOPIC_NAME: Self =
        Self(Code::InvalidArgument, "INVALID_TOPIC_NAME", &["field"]);
    pub(crate) const INVALID_FIELD: Self = Self(Code::InvalidArgument, "INVALID_FIELD", &["field"]);
    /// Of a message that cannot be read at all: there is no field to name.
    pub(crate) const UNREADABLE: Self = Self(Code::InvalidArgument, "INVALID_FIELD", &[]);
    pub(crate) const RECORD_TOO_LARGE: Self =
        Self(Code::InvalidArgument, "RECORD_TOO_LARGE", &["field", "limit", "actual"]);
    pub(crate) const BATCH_TOO_LARGE: Self =
        Self(Code::InvalidArgument, "BATCH_TOO_LARGE", &["limit"]);
    pub(crate) const CORRUPT_BATCH: Self = Self(Code::InvalidArgument, "CORRUPT_BATCH", &["field"]);
    pub(crate) const EXPECTED_OFFSET_MISMATCH: Self =
        Self(Code::Aborted, "EXPECTED_OFFSET_MISMATCH", &["current"]);
    /// With `current` where the key has a version.
    pub(crate) const EXPECTED_VERSION_MISMATCH: Self =
        Self(Code::Aborted, "EXPECTED_VERSION_MISMATCH", &[]);
    pub(crate) const TOO_MANY_KEYS: Self =
        Self(Code::ResourceExhausted, "TOO_MANY_KEYS", &["limit"]);
    pub(crate) const SEQUENCE_GAP: Self =
        Self(Code::FailedPrecondition, "SEQUENCE_GAP", &["expected", "actual"]);
    pub(crate) const PRODUCER_FENCED: Self =
        Self(Code::FailedPrecondition, "PRODUCER_FENCED", &["expected", "actual"]);
    pub(crate) const OFFSET_OUT_OF_RANGE: Self =
        Self(Code::OutOfRange, "OFFSET_OUT_OF_RANGE", &["earliest", "latest"]);
    pub(crate) const CORRUPT_LOG: Self = Self(Code::DataLoss, "CORRUPT_LOG", &["file", "offset"]);
    pub(crate) const TIMED_OUT: Self = Self(Code::DeadlineExceeded, "TIMED_OUT", &[]);
    pub(crate) const BROKER_DRAINING: Self = Self(Code::Unavailable, "BROKER_DRAINING", &[]);
}

/// Checks an error of a call, and returns its metadata.
#[track_caller]
pub(crate) fn refused(what: &str, status: &Status, expected: Expected) -> HashMap<String, String> {
    let Expected(code, reason, keys) = expected;
    assert_eq!(status.code(), code, "{what}: {status:?}");
    let details = status.get_error_details();
    let Some(info) = details.error_info() else { panic!("{what}: no ErrorInfo: {status:?}") };
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "ropewalk.v1"), "{what}");
    for key in keys {
        assert!(info.metadata.contains_key(*key), "{what}: no {key} in {:?}", info.metadata);
    }
    assert!(!status.message().is_empty(), "{what}: an error says what is wrong");
    info.metadata.clone()
}

/// The status that stands in an answer of a stream, as if it were a call's.
pub(crate) fn in_stream(status: &google::rpc::Status) -> Status {
    let code = Code::from_i32(status.code);
    Status::with_details(code, status.message.clone(), status.encode_to_vec().into())
}
