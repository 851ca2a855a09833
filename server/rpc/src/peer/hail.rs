//! The metadata by which brokers know one another at the beginning of a stream.

use ropewalk_broker::peers::Removal;
use ropewalk_core::NodeId;
use thiserror::Error;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::wire;

/// The version of the protocol. One that cannot be mixed with it gets another number.
const PROTOCOL: &str = "1";
const PROTOCOL_KEY: &str = "ropewalk-protocol";
const CLUSTER_KEY: &str = "ropewalk-cluster";
const FROM_KEY: &str = "ropewalk-from";
const TO_KEY: &str = "ropewalk-to";
const DIRECTORY_KEY: &str = "ropewalk-directory";
/// Beside a refusal: the caller was removed, and need not come again.
const REMOVED_KEY: &str = "ropewalk-removed";
const REMOVED: &str = "1";
/// Its id is another one's now.
const REPLACED: &str = "replaced";

/// The id of a cluster.
pub(super) type ClusterId = [u8; 16];
/// The id of a data directory.
pub(super) type DirectoryId = [u8; 16];

/// Who calls whom, in which cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hail {
    pub(super) cluster: ClusterId,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// The caller's data directory.
    pub(super) directory: DirectoryId,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) node: NodeId,
    /// Its data directory, if it says so.
    pub(super) directory: Option<DirectoryId>,
}

/// Why a stream is not for this broker.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum HailError {
    /// The other side speaks another protocol.
    #[error(
        "the caller speaks version {theirs} of the brokers' protocol and this broker version \
         {PROTOCOL}: upgrade the older of the two"
    )]
    Protocol {
        /// What it says.
        theirs: String,
    },
    /// This broker belongs to no cluster yet.
    #[error("this broker belongs to no cluster yet: try again")]
    NoCluster,
    /// The other side belongs to another cluster.
    #[error(
        "the caller belongs to cluster {theirs} and this broker to {ours}: one of them is \
         configured with the address of the other, or has the data of another cluster"
    )]
    Stranger {
        /// What it says.
        theirs: String,
        /// Where this broker belongs.
        ours: String,
    },
    /// The address of this broker stands for another one.
    #[error(
        "the caller looks for broker {to:?} and this one is {own}: correct the address that broker \
         {to:?} advertises"
    )]
    NotMe {
        /// Whom it looks for.
        to: String,
        /// Who is here.
        own: NodeId,
    },
    /// The other side was removed from the cluster.
    #[error(
        "broker {0} was removed from the cluster: stop it, and start it with an empty data \
         directory if it is to join again"
    )]
    Removed(NodeId),
    /// Another one has its id.
    #[error(
        "broker {0} came back with another data directory since: stop the process that has the \
         old one, and start it with an empty data directory and an id of its own if it is to join \
         again"
    )]
    Replaced(NodeId),
    /// The other side has no id, or this broker's.
    #[error("the caller says that it is broker {from:?}: give each broker an id of its own")]
    From {
        /// What it says.
        from: String,
    },
}

impl From<HailError> for Status {
    fn from(error: HailError) -> Self {
        match error {
            HailError::NoCluster => Self::unavailable(error.to_string()),
            HailError::Removed(_) => refused_for_ever(&error, REMOVED),
            HailError::Replaced(_) => refused_for_ever(&error, REPLACED),
            _ => Self::failed_precondition(error.to_string()),
        }
    }
}

fn refused_for_ever(error: &HailError, why: &'static str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(REMOVED_KEY, MetadataValue::from_static(why));
    Status::with_metadata(Code::FailedPrecondition, error.to_string(), metadata)
}

/// Whether a refusal says that the caller was removed from the cluster.
pub(super) fn says_removed(refusal: &Status) -> Option<Removal> {
    let why = refusal.metadata().get(REMOVED_KEY)?;
    Some(if why == REPLACED { Removal::Replaced } else { Removal::Removed })
}

pub(super) fn write_protocol(metadata: &mut MetadataMap) {
    metadata.insert(PROTOCOL_KEY, MetadataValue::from_static(PROTOCOL));
}

pub(super) fn check_protocol(metadata: &MetadataMap) -> Result<(), HailError> {
    match text(metadata, PROTOCOL_KEY) {
        PROTOCOL => Ok(()),
        theirs => Err(HailError::Protocol { theirs: theirs.to_owned() }),
    }
}

impl Hail {
    pub(super) fn write(&self, metadata: &mut MetadataMap) {
        write_protocol(metadata);
        let values = [
            (CLUSTER_KEY, hex(&self.cluster)),
            (FROM_KEY, self.from.to_string()),
            (TO_KEY, self.to.to_string()),
            (DIRECTORY_KEY, hex(&self.directory)),
        ];
        for (key, value) in values {
            metadata.insert(key, value.parse().expect("digits are metadata"));
        }
    }

    /// The broker that calls `own`, of `cluster`.
    pub(super) fn read(
        metadata: &MetadataMap,
        own: NodeId,
        cluster: Option<ClusterId>,
    ) -> Result<Caller, HailError> {
        check_protocol(metadata)?;
        let ours = hex(&cluster.ok_or(HailError::NoCluster)?);
        let theirs = text(metadata, CLUSTER_KEY);
        if theirs != ours {
            return Err(HailError::Stranger { theirs: theirs.to_owned(), ours });
        }
        let to = text(metadata, TO_KEY);
        if to != own.to_string() {
            return Err(HailError::NotMe { to: to.to_owned(), own });
        }
        let from = text(metadata, FROM_KEY);
        let node = from.parse().ok().and_then(|id| wire::node(id).ok()).filter(|id| *id != own);
        let node = node.ok_or_else(|| HailError::From { from: from.to_owned() })?;
        Ok(Caller { node, directory: unhex(text(metadata, DIRECTORY_KEY)) })
    }
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> &'a str {
    metadata.get(key).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn hex(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let is_whole = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_whole.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_knows_who_calls_it_and_whom_it_refuses() {
        let hail = Hail { cluster: [0xab; 16], from: NodeId(1), to: NodeId(2), directory: [3; 16] };
        let mut metadata = MetadataMap::new();
        hail.write(&mut metadata);
        let read = |own, cluster| Hail::read(&metadata, NodeId(own), cluster);
        let caller = Caller { node: NodeId(1), directory: Some([3; 16]) };
        assert_eq!(read(2, Some([0xab; 16])), Ok(caller));
        assert_eq!(read(2, None), Err(HailError::NoCluster));
        assert!(matches!(read(3, Some([0xab; 16])), Err(HailError::NotMe { .. })));
        let stranger = read(2, Some([0xac; 16])).unwrap_err();
        assert!(stranger.to_string().contains(&"ab".repeat(16)), "{stranger}");

        for from in ["0", "2", "4294967296", "x"] {
            let mut metadata = metadata.clone();
            metadata.insert(FROM_KEY, from.parse().unwrap());
            let refused = Hail::read(&metadata, NodeId(2), Some([0xab; 16]));
            assert_eq!(refused, Err(HailError::From { from: from.to_owned() }));
        }
        let mut later = metadata.clone();
        later.insert(PROTOCOL_KEY, MetadataValue::from_static("2"));
        let refused = Hail::read(&later, NodeId(2), Some([0xab; 16]));
        assert_eq!(refused, Err(HailError::Protocol { theirs: "2".to_owned() }));
    }
}
