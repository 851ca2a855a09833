//! Where a broker of a test keeps its log, over restarts.

use std::sync::Arc;

use ropewalk_broker::{Engine, StorageError};
use ropewalk_core::NodeId;
use ropewalk_storage::directory::{ClusterId, DataDirectory, Identity, Membership};
use ropewalk_storage::disk_engine::{DiskEngine, Options};
use ropewalk_storage::memory::MemoryEngine;
use tempfile::TempDir;

/// The only broker.
pub(crate) const NODE: NodeId = NodeId(1);
/// What has not yet gone from the journal to the segments.
const JOURNAL_BYTES: u64 = 64 << 20;

/// The log of a broker while nobody has it open.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Memory { engine: MemoryEngine, identity: Identity },
    Disk(Arc<TempDir>),
}

/// An open log.
pub(crate) struct Opened {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) identity: Identity,
    /// Keeps other processes out of the directory.
    _directory: Option<DataDirectory>,
}

impl Store {
    pub(crate) fn in_memory() -> Self {
        let identity = as_member(Identity::random(NODE));
        Self::Memory { engine: MemoryEngine::default(), identity }
    }

    pub(crate) fn on_disk() -> std::io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("ropewalk-").tempdir()?;
        Ok(Self::Disk(Arc::new(directory)))
    }

    pub(crate) fn open(&self) -> Result<Opened, StorageError> {
        let path = match self {
            Self::Memory { engine, identity } => {
                let engine = Arc::new(engine.reopened());
                return Ok(Opened { engine, identity: identity.clone(), _directory: None });
            }
            Self::Disk(directory) => directory.path(),
        };
        let (directory, identity) = DataDirectory::open(path, NODE)?;
        let identity = as_member(identity);
        if let Some(cluster) = &identity.cluster {
            directory.join(cluster)?;
        }
        let mut options = Options::default();
        options.journal_bytes = JOURNAL_BYTES;
        // A test's disk is whatever the machine has.
        options.free_floor = 0;
        let engine = Arc::new(DiskEngine::open(path, options)?);
        Ok(Opened { engine, identity, _directory: Some(directory) })
    }
}

/// The broker forms a cluster of its own, where it has none yet.
fn as_member(identity: Identity) -> Identity {
    let directory = identity.directory_id;
    let formed = || Membership {
        cluster_id: ClusterId::random(),
        founders: vec![(identity.node_id, directory)],
    };
    let cluster = identity.cluster.clone().unwrap_or_else(formed);
    Identity { cluster: Some(cluster), ..identity }
}
