//! What the conversions of messages between brokers share: the error, and the checks of fields.

use ropewalk_core::{GroupId, NodeId, ReplicaId, batch::BatchError};
use thiserror::Error;
use tonic::Status;

/// Bytes from another broker that are no message of this protocol.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum WireError {
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field has a value that it cannot have.
    #[error("{what} is {value}, which it cannot be")]
    Value {
        /// Which field.
        what: &'static str,
        /// What it says.
        value: i128,
    },
    /// A field has more bytes or items than it may.
    #[error("{what} has {actual} bytes or items, of at most {limit}")]
    TooLong {
        /// Which field.
        what: &'static str,
        /// How many it has.
        actual: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A batch is damaged.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl WireError {
    pub(super) fn value(what: &'static str, value: impl Into<i128>) -> Self {
        Self::Value { what, value: value.into() }
    }
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        Self::invalid_argument(format!("{error}; do the brokers run versions that may be mixed?"))
    }
}

pub(super) type Result<T> = std::result::Result<T, WireError>;

pub(super) fn within(what: &'static str, actual: usize, limit: usize) -> Result<()> {
    if actual > limit {
        return Err(WireError::TooLong { what, actual, limit });
    }
    Ok(())
}

pub(super) fn group(id: u64) -> Result<GroupId> {
    if id == 0 {
        return Err(WireError::Missing("the replica group"));
    }
    Ok(GroupId(id))
}

pub(super) fn node(id: u64) -> Result<NodeId> {
    if id == 0 || u32::try_from(id).is_err() {
        return Err(WireError::value("a broker id", id));
    }
    Ok(NodeId(id))
}

pub(super) fn replica(id: u64) -> Result<ReplicaId> {
    let replica = ReplicaId(id);
    node(replica.node().0)?;
    Ok(replica)
}
