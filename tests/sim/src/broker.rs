//! One broker of a simulation: what its process has, and what is left when that ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ropewalk_cluster::{DirectoryId, MetadataWatch};
use ropewalk_consensus::group::CompactionOrder;
use ropewalk_consensus::{CatchUpRead, KeyRead, Shard};
use ropewalk_core::{GroupId, NodeId, ReplicaId};
use ropewalk_storage::log_view::LogReader;
use ropewalk_storage::{Engine, GroupState};

use crate::store::{Store, StoreKind};

/// What a broker is to have of a group.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Its replica.
    pub replica: ReplicaId,
    /// The voters with which the group begins; none for a replica that joins later.
    pub founders: Vec<ReplicaId>,
}

/// A broker, running or not.
pub struct Broker {
    /// Its id.
    pub node: NodeId,
    /// What it has, or is to have, of each group.
    pub assigned: BTreeMap<GroupId, Assignment>,
    /// The logs that it can read.
    pub readers: BTreeMap<GroupId, LogReader>,
    /// The epochs in which it serves.
    pub serves: BTreeMap<GroupId, u64>,
    /// Who leads, as it knows.
    pub leaders: BTreeMap<GroupId, Option<ReplicaId>>,
    /// Voters and learners, as it knows.
    pub members: BTreeMap<GroupId, (Vec<ReplicaId>, Vec<ReplicaId>)>,
    /// The metadata as it knows it, while it runs.
    pub metadata: Option<MetadataWatch>,
    /// From which index on the metadata counts: it was told of its registration with that.
    pub follows_from: u64,
    /// The index of the metadata by which it got the replica that it has of the partition.
    pub placed_at: u64,
    /// How many disks it has had.
    pub disks: u8,
    /// The registration that must be answered before it can start.
    pub joining: Option<Joining>,
    /// Its replica of the partition was not wanted by the metadata that it saw last.
    pub is_leaving: bool,
    /// A bit of its disk has turned.
    pub is_rotten: bool,
    /// A bit has turned of what it had of a replica that is gone: it may be there again at the next
    /// start, if that comes before its removal is on the disk.
    pub was_rotten: bool,
    /// Groups whose log it has found damaged.
    pub damaged: BTreeSet<GroupId>,
    /// It gets neither time nor messages, and its disk does nothing.
    pub is_still: bool,
    /// Its disk does nothing.
    pub is_disk_still: bool,
    /// How far its clock is from the right time, in ns.
    pub clock_off: i64,
    pub(crate) shard: Option<Shard<u64>>,
    pub(crate) engine: Option<Arc<dyn Engine>>,
    pub(crate) store: Store,
    /// What is to be read for followers that are behind, oldest first.
    pub(crate) reads: VecDeque<CatchUpRead>,
    /// Logs that are to be compacted.
    pub(crate) compactions: BTreeMap<GroupId, (CompactionOrder, LogReader)>,
    /// Whose keys are to be read, oldest first.
    pub(crate) key_reads: VecDeque<KeyRead>,
    /// What the disk had of each group when the process started, until it is taken up.
    pub(crate) stored: BTreeMap<GroupId, GroupState>,
}

/// A broker without data asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// It has not asked yet.
    Wants,
    /// The number of its proposal.
    Asked(u64),
}

impl Broker {
    pub(crate) fn new(
        node: NodeId,
        assigned: BTreeMap<GroupId, Assignment>,
        kind: StoreKind,
        seed: u64,
    ) -> Self {
        Self {
            node,
            assigned,
            readers: BTreeMap::new(),
            serves: BTreeMap::new(),
            leaders: BTreeMap::new(),
            members: BTreeMap::new(),
            metadata: None,
            follows_from: 0,
            placed_at: 0,
            disks: 1,
            joining: None,
            is_leaving: false,
            is_rotten: false,
            was_rotten: false,
            damaged: BTreeSet::new(),
            is_still: false,
            is_disk_still: false,
            clock_off: 0,
            shard: None,
            engine: None,
            store: Store::new(kind, seed),
            reads: VecDeque::new(),
            compactions: BTreeMap::new(),
            key_reads: VecDeque::new(),
            stored: BTreeMap::new(),
        }
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shard.is_some()
    }

    /// How many writes are under way or may be taken back.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.store.unconfirmed()
    }

    /// The id of its data directory.
    #[must_use]
    pub fn directory(&self) -> DirectoryId {
        directory(self.node, self.disks)
    }

    /// Forgets what only the process knew.
    pub(crate) fn end(&mut self) {
        self.shard = None;
        self.engine = None;
        self.metadata = None;
        self.reads.clear();
        self.compactions.clear();
        self.key_reads.clear();
        self.stored.clear();
        self.readers.clear();
        self.serves.clear();
        self.leaders.clear();
        self.is_still = false;
        self.is_rotten |= self.was_rotten;
    }
}

/// The id of the data directory on a broker's first, second, ... disk.
#[must_use]
pub fn directory(node: NodeId, disk: u8) -> DirectoryId {
    let mut id = [disk; 16];
    id[..8].copy_from_slice(&node.0.to_le_bytes());
    id
}
