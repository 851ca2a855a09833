//! What happens to a shard, and what it wants done.

use ropewalk_core::compaction::CleanUp;
use ropewalk_core::{GroupId, NodeId, Offset, ReplicaId};
use ropewalk_storage::compaction::Compacted;
use ropewalk_storage::group_log::SegmentPolicy;
use ropewalk_storage::log_view::LogReader;
use ropewalk_storage::{GroupState, StorageError, WriteBatch};

use crate::catch_up::{CatchUpRead, CaughtUp};
use crate::group::CompactionOrder;
use crate::key_reads::{KeyRead, KeysRead};
use crate::machine::StateMachine;
use crate::message::Message;
use crate::proposal::{Proposal, ProposeError, Receipt};

/// A group to take up.
pub struct NewGroup {
    /// Its id.
    pub group: GroupId,
    /// What storage has of it; `None` starts it anew.
    pub stored: Option<GroupState>,
    /// The id of this broker's replica, for one that starts anew.
    pub replica: ReplicaId,
    /// The voters of a group that starts anew, the same on all of them; the first is to lead.
    /// Without any, this replica joins a group that there is, and waits for its leader to send it a
    /// snapshot.
    pub founders: Vec<ReplicaId>,
    /// The state machine of its commands, if it takes commands.
    pub machine: Option<Box<dyn StateMachine>>,
    /// When its segments are closed.
    pub policy: SegmentPolicy,
}

/// What happens to a shard. `T` stands for a proposer.
pub enum Input<T> {
    /// A group is taken up. Answered by [`Output::Opened`].
    Open(Box<NewGroup>),
    /// A group goes, with all its data, also when it was not taken up.
    Remove(GroupId),
    /// A group's segments are closed otherwise from now on.
    SetPolicy(GroupId, SegmentPolicy),
    /// Something is proposed to a group.
    Propose(GroupId, Proposal<T>),
    /// The write of this number, and all before it, are durable.
    Durable(u64),
    /// Another replica says something. Dropped where its group is not on this broker.
    Message(Message),
    /// Messages reach a broker from now on, and the end of that will be told. Until it is told
    /// first, no group sleeps that has replicas there.
    Reachable(NodeId),
    /// A connection to a broker, or one from it, has ended. It counts as out of reach until
    /// [`Input::Reachable`] comes again. The end of a connection from it is told after the messages
    /// that came by it.
    Unreachable(NodeId),
    /// Something that was to be sent to a broker was dropped.
    Lost(NodeId),
    /// What was to be read for followers.
    CaughtUp(CaughtUp),
    /// What stands in a group's log is to be compacted, if this replica leads it. What is past its
    /// age goes too; the flag says that nothing else is to be done.
    OrderCompaction(GroupId, CleanUp, bool),
    /// What was ordered to be compacted is done, or cannot be as a part of the log is damaged.
    Compacted(GroupId, CompactionOrder, Result<Compacted, StorageError>),
    /// What was to be read of the keys of a partition.
    KeysRead(KeysRead),
    /// Raft's clock moves on: every 100 ms.
    Tick,
    /// What nobody waits for is to be written too: every half second or so.
    Settle,
    /// What the groups have taken up and applied so far is to be on the disk, also what nobody
    /// waits for. Answered with [`Receipt::Done`] when it is.
    Keep(T),
}

/// What a shard wants done.
pub enum Output<T> {
    /// Write this, durably if it says so, and tell by [`Input::Durable`].
    Write {
        /// Rises by one with each write.
        number: u64,
        /// What to write.
        batch: WriteBatch,
    },
    /// Read this, off the shard's thread, and give it back by [`Input::CaughtUp`]. So many are
    /// under way at a time as the window of [`CatchUpBounds`] has room for.
    Read(CatchUpRead),
    /// Compact this, off the shard's thread, and tell by [`Input::Compacted`]. An order of the same
    /// group that comes later includes those before it.
    Compact {
        /// The group.
        group: GroupId,
        /// What to do.
        order: CompactionOrder,
        /// The log.
        reader: LogReader,
    },
    /// Read the keys of a part of a log, off the shard's thread, and give them back by
    /// [`Input::KeysRead`]. At most [`MAX_KEY_READS`](crate::key_reads::MAX_KEY_READS) are under
    /// way at a time.
    ReadKeys(KeyRead),
    /// A proposal has ended.
    Reply {
        /// The proposer.
        to: T,
        /// How it ended.
        result: Result<Receipt, ProposeError>,
    },
    /// A group was taken up.
    Opened {
        /// The group.
        group: GroupId,
        /// A reader of its log.
        reader: LogReader,
    },
    /// A group's high watermark has moved up.
    Progress {
        /// The group.
        group: GroupId,
        /// The offset after the last record that can be read.
        high_watermark: Offset,
    },
    /// This replica serves from now on, or no longer does.
    Leadership {
        /// The group.
        group: GroupId,
        /// The epoch in which it serves.
        epoch: Option<u64>,
    },
    /// Send this to another replica. It may be lost, late, twice there, or out of order.
    Send(Message),
    /// Another replica leads than before, or none that this one knows of. Told on every replica.
    Leader {
        /// The group.
        group: GroupId,
        /// The leader.
        leader: Option<ReplicaId>,
        /// The term in which it leads; without a leader, this replica's.
        term: u64,
    },
    /// The members of a group, when it is taken up and when they have changed.
    Members {
        /// The group.
        group: GroupId,
        /// Those who vote, by id.
        voters: Vec<ReplicaId>,
        /// Those who do not, by id.
        learners: Vec<ReplicaId>,
    },
    /// This replica may have missed what the others have let go, as it was moved away and back. It
    /// must be removed and replaced by one with a new id, as one that is damaged.
    Stale {
        /// The group.
        group: GroupId,
    },
    /// The disk of this broker has lost entries of the group that it had said to be durable, or
    /// gives them back damaged. The replica must be removed and replaced by one with a new id. One
    /// that lacks them takes no further part; one that cannot read what a follower needs goes on
    /// until another one leads.
    Damaged {
        /// The group.
        group: GroupId,
    },
}
