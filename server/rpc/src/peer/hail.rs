//! The metadata by which brokers know one another at the beginning of a stream.

use std::fmt;

use ropewalk_broker::peers::Removal;
use ropewalk_core::NodeId;
use thiserror::Error;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::wire;

/// The versions of the protocol that this code speaks. A change that those who do not know it
/// cannot pass over is a new version; the one before it is spoken too, so that brokers can be
/// upgraded one after the other.
pub(super) const PROTOCOLS: Protocols = Protocols { oldest: 1, newest: 1 };
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

/// Versions of the protocol, from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocols {
    pub(super) oldest: u32,
    pub(super) newest: u32,
}

impl Protocols {
    /// The version that two brokers speak with one another: the newest that both know.
    fn agree(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }

    /// From the form of its `Display`.
    fn parse(text: &str) -> Option<Self> {
        let (oldest, newest) = text.split_once('-').unwrap_or((text, text));
        Some(Self { oldest: oldest.parse().ok()?, newest: newest.parse().ok()? })
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest == self.newest {
            true => write!(f, "{}", self.newest),
            false => write!(f, "{}-{}", self.oldest, self.newest),
        }
    }
}

/// Who calls whom, in which cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hail {
    pub(super) cluster: ClusterId,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// The caller's data directory.
    pub(super) directory: DirectoryId,
    /// What the caller speaks.
    pub(super) protocols: Protocols,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) node: NodeId,
    /// Its data directory, if it says so.
    pub(super) directory: Option<DirectoryId>,
    /// The version of the protocol that its stream is in.
    pub(super) protocol: u32,
}

/// Why a stream is not for this broker.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum HailError {
    /// The two sides have no version of the protocol in common.
    #[error(
        "the caller speaks version {theirs} of the brokers' protocol and this broker version \
         {ours}: upgrade the older of the two, by one version of ropewalk at a time"
    )]
    Protocol {
        /// What the caller says.
        theirs: String,
        /// What this broker speaks.
        ours: Protocols,
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

/// Says what the caller speaks.
pub(super) fn write_protocols(protocols: Protocols, metadata: &mut MetadataMap) {
    let value = protocols.to_string().parse();
    metadata.insert(PROTOCOL_KEY, value.expect("digits are metadata"));
}

/// Finds the version of the protocol for what a caller says that it speaks.
pub(super) fn agree(ours: Protocols, metadata: &MetadataMap) -> Result<u32, HailError> {
    let theirs = text(metadata, PROTOCOL_KEY);
    let agreed = Protocols::parse(theirs).and_then(|theirs| ours.agree(theirs));
    agreed.ok_or_else(|| HailError::Protocol { theirs: theirs.to_owned(), ours })
}

/// Tells a caller which version its stream is in.
pub(super) fn write_agreed(protocol: u32, metadata: &mut MetadataMap) {
    metadata.insert(PROTOCOL_KEY, protocol.into());
}

/// Which version a stream is in, as the broker that was called says.
pub(super) fn read_agreed(ours: Protocols, metadata: &MetadataMap) -> Result<u32, Status> {
    let told = text(metadata, PROTOCOL_KEY);
    let agreed = told.parse().ok().filter(|told| (ours.oldest..=ours.newest).contains(told));
    agreed.ok_or_else(|| {
        Status::failed_precondition(format!(
            "the broker answers in version {told:?} of the brokers' protocol, and was offered \
             {ours}"
        ))
    })
}

impl Hail {
    pub(super) fn write(&self, metadata: &mut MetadataMap) {
        write_protocols(self.protocols, metadata);
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

    /// The broker that calls `own`, of `cluster`, which speaks `protocols`.
    pub(super) fn read(
        metadata: &MetadataMap,
        own: NodeId,
        cluster: Option<ClusterId>,
        protocols: Protocols,
    ) -> Result<Caller, HailError> {
        let protocol = agree(protocols, metadata)?;
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
        Ok(Caller { node, directory: unhex(text(metadata, DIRECTORY_KEY)), protocol })
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

    const HAIL: Hail = Hail {
        cluster: [0xab; 16],
        from: NodeId(1),
        to: NodeId(2),
        directory: [3; 16],
        protocols: PROTOCOLS,
    };

    #[test]
    fn a_broker_knows_who_calls_it_and_whom_it_refuses() {
        let mut metadata = MetadataMap::new();
        HAIL.write(&mut metadata);
        let read = |own, cluster| Hail::read(&metadata, NodeId(own), cluster, PROTOCOLS);
        let protocol = PROTOCOLS.newest;
        let caller = Caller { node: NodeId(1), directory: Some([3; 16]), protocol };
        assert_eq!(read(2, Some([0xab; 16])), Ok(caller));
        assert_eq!(read(2, None), Err(HailError::NoCluster));
        assert!(matches!(read(3, Some([0xab; 16])), Err(HailError::NotMe { .. })));
        let stranger = read(2, Some([0xac; 16])).unwrap_err();
        assert!(stranger.to_string().contains(&"ab".repeat(16)), "{stranger}");

        for from in ["0", "2", "4294967296", "x"] {
            let mut metadata = metadata.clone();
            metadata.insert(FROM_KEY, from.parse().unwrap());
            let refused = Hail::read(&metadata, NodeId(2), Some([0xab; 16]), PROTOCOLS);
            assert_eq!(refused, Err(HailError::From { from: from.to_owned() }));
        }
    }

    #[test]
    fn two_versions_that_follow_one_another_speak_the_older_ones_protocol() {
        let range = |oldest, newest| Protocols { oldest, newest };
        let agreed = |theirs, ours| {
            let mut metadata = MetadataMap::new();
            Hail { protocols: theirs, ..HAIL }.write(&mut metadata);
            let caller = Hail::read(&metadata, NodeId(2), Some(HAIL.cluster), ours)?;
            write_agreed(caller.protocol, &mut metadata);
            assert_eq!(read_agreed(theirs, &metadata).unwrap(), caller.protocol);
            Ok::<_, HailError>(caller.protocol)
        };
        let (n, next, later) = (range(1, 1), range(1, 2), range(2, 3));
        for (theirs, ours, expected) in
            [(n, n, 1), (n, next, 1), (next, n, 1), (next, next, 2), (next, later, 2)]
        {
            assert_eq!(agreed(theirs, ours), Ok(expected), "{theirs} calls {ours}");
        }
        for (theirs, ours) in [(n, later), (later, n)] {
            let refused = agreed(theirs, ours).unwrap_err();
            assert_eq!(refused, HailError::Protocol { theirs: theirs.to_string(), ours });
            assert!(refused.to_string().contains("upgrade the older"), "{refused}");
        }
        for told in ["", "x", "1-", "-1", "2-1", "1-2-3"] {
            assert_ne!(Protocols::parse(told).and_then(|told| n.agree(told)), Some(1), "{told}");
        }
        let mut metadata = MetadataMap::new();
        assert!(read_agreed(n, &metadata).is_err(), "nothing was said");
        write_agreed(2, &mut metadata);
        assert!(read_agreed(n, &metadata).is_err(), "it was not asked for");
    }
}
