//! A replica is taken up, with what the disk has of it.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::HardState;
use raft::{Config, RawNode};
use ropewalk_core::{GroupId, Offset, ReplicaId};
use ropewalk_storage::StorageError;
use ropewalk_storage::group_log::GroupLog;
use ropewalk_storage::own_rows::{applied_index, is_own};

use super::behind::Behind;
use super::keys::Keys;
use super::reads::Reads;
use super::sequences::Sequences;
use super::sleep::Sleep;
use super::snapshots::{RowTrail, SentSnapshots};
use super::{
    EAGER_TICKS, ELECTION_TICKS, HEARTBEAT_TICKS, MAX_BYTES_PER_MESSAGE, MAX_INFLIGHT_MESSAGES,
    MAX_UNCOMMITTED_BYTES, Pending, ReplicaGroup,
};
use crate::key_reads::KeyRoom;
use crate::machine::StateMachine;
use crate::planted::Plant;
use crate::producers::ProducerBounds;
use crate::shard::Output;

/// A group to take up.
pub(crate) struct Start {
    pub(crate) log: GroupLog,
    /// Whether the engine does not have it yet.
    pub(crate) is_new: bool,
    /// Whether this replica is to be the first to stand for election in a group that is new.
    pub(crate) goes_first: bool,
    pub(crate) machine: Option<Box<dyn StateMachine>>,
    pub(crate) producer_bounds: ProducerBounds,
    pub(crate) key_room: KeyRoom,
    pub(crate) incarnation: u64,
}

/// What a start has to go on with.
struct Found {
    applied: u64,
    /// The entries after that.
    pending: VecDeque<Pending>,
    /// They cannot be read.
    is_damaged: bool,
}

impl<T> ReplicaGroup<T> {
    /// Takes up a group. One with one voter, this one, leads at once. One whose log cannot be read
    /// takes no part, so that the other groups of this broker do.
    pub(crate) fn open(
        start: Start,
        logger: &slog::Logger,
        out: &mut Vec<Output<T>>,
    ) -> Result<Self, StorageError> {
        let Start { mut log, mut machine, producer_bounds, key_room, incarnation, .. } = start;
        let (is_new, goes_first) = (start.is_new, start.goes_first);
        let group = log.group();
        let hard_state = log.hard_state().clone();
        let Found { applied, pending, is_damaged } = read(&mut log, machine.as_mut(), is_new)?;
        log.set_hard_state(with_known_commit(&hard_state, &pending));
        let replica = log.replica();
        let is_alone = log.conf_state().voters == [replica.0];
        let refused = |error: raft::Error| {
            StorageError::Refused(format!("replica group {group} cannot start: {error}"))
        };
        let node = RawNode::new(&config(replica, applied), log, logger).map_err(refused)?;
        let mut opened = Self {
            node,
            machine,
            pending,
            waiters: VecDeque::new(),
            reads: Reads::new(),
            applied,
            serving: None,
            told_leader: (None, 0),
            next_offset: Offset::ZERO,
            durable_term: if is_new { 0 } else { hard_state.term },
            written_hard_state: hard_state,
            unpersisted_ready: None,
            newest_sync: 0,
            durable_ready: 0,
            unconfirmed: VecDeque::new(),
            held: VecDeque::new(),
            sent_snapshots: SentSnapshots::default(),
            behind: Behind::default(),
            trail: RowTrail::default(),
            sequences: Sequences::default(),
            producer_bounds,
            keys: Keys::new(key_room),
            eager_ticks: if goes_first && !is_alone { EAGER_TICKS } else { 0 },
            sleep: Sleep::default(),
            is_damaged,
            heard: BTreeMap::new(),
            members_since: applied,
            incarnation,
        };
        // What the engine has of a new group is of another one, which is about to be deleted.
        if opened.machine.is_none() && !is_new {
            opened.load_producers()?;
        }
        if (is_alone || goes_first) && !is_damaged {
            opened.node.campaign().map_err(refused)?;
        }
        opened.set_timeout();
        opened.tell_members(out);
        opened.tell_compaction(out);
        if is_damaged {
            out.push(Output::Damaged { group });
        }
        Ok(opened)
    }
}

/// Reads what a start needs of the log and of the rows.
fn read(
    log: &mut GroupLog,
    machine: Option<&mut Box<dyn StateMachine>>,
    is_new: bool,
) -> Result<Found, StorageError> {
    let begins_after = log.start().index;
    let committed = log.hard_state().commit.max(begins_after);
    let applied = match machine {
        Some(machine) => restore(machine.as_mut(), log, is_new)?,
        None => committed,
    };
    let (group, replica) = (log.group(), log.replica());
    // Where nobody else has it, only a copy of the directory helps.
    let is_alone = log.conf_state().voters == [replica.0];
    match entries_from(log, applied) {
        Ok(pending) => Ok(Found { applied, pending, is_damaged: false }),
        Err(error) if is_alone || !error.is_damage() => Err(error),
        Err(error) if group == GroupId::METADATA => Err(with_advice(error)),
        Err(error) => {
            tracing::error!(
                %group, %replica, %error,
                "the end of a log on this broker's disk is damaged: the replica takes no part, and \
                 must be replaced by a new one"
            );
            // Raft reads what is committed and not applied.
            let applied = applied.max(committed);
            Ok(Found { applied, pending: VecDeque::new(), is_damaged: true })
        }
    }
}

fn entries_from(log: &mut GroupLog, applied: u64) -> Result<VecDeque<Pending>, StorageError> {
    if applied > log.start().index {
        log.start_at(applied)?;
    }
    Ok(log.entries_after(applied)?.into_iter().map(Pending::from).collect())
}

/// Every broker needs the metadata, and learns from it alone that one of its replicas is replaced.
fn with_advice(error: StorageError) -> StorageError {
    match error {
        StorageError::Corrupt { offset, what, path, detail } => {
            let detail = format!(
                "{detail}; no broker starts without its metadata: move the data directory away and \
                 start with an empty one, and it gets everything from the others"
            );
            StorageError::Corrupt { offset, what, path, detail }
        }
        other => other,
    }
}

/// The hard state of a disk, with the commit index that its log gives away.
///
/// What is written of the commit index is what was applied, and that comes after this replica has
/// said that it has an entry. A leader proposes a change of the members only when it has applied
/// the one before: so all changes in a log but the last one are committed. Raft stands for no
/// election before it has applied them, and members that differ by the last change alone have no
/// two majorities that know nothing of each other (Ongaro's thesis, 4.1). Without this a replica
/// could lead with the members of long ago.
fn with_known_commit(on_disk: &HardState, pending: &VecDeque<Pending>) -> HardState {
    let mut changes = pending.iter().rev().filter(|entry| entry.is_change());
    let known = changes.nth(1).map_or(0, |change| change.index);
    let mut hard_state = on_disk.clone();
    if !Plant::ForgetChanges.is_planted() {
        hard_state.commit = hard_state.commit.max(known);
    }
    hard_state
}

/// Raft's settings for a replica.
fn config(replica: ReplicaId, applied: u64) -> Config {
    Config {
        id: replica.0,
        applied,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        check_quorum: true,
        pre_vote: true,
        max_size_per_msg: MAX_BYTES_PER_MESSAGE,
        max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
        max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
        ..Config::default()
    }
}

/// Brings a state machine to where its rows stand. Returns up to which index that is.
fn restore(
    machine: &mut dyn StateMachine,
    log: &mut GroupLog,
    is_new: bool,
) -> Result<u64, StorageError> {
    let group = log.group();
    let malformed = |error: ropewalk_core::codec::DecodeError| {
        StorageError::Refused(format!(
            "the state of replica group {group} is damaged, or of a later version than this \
             broker's, which is to be upgraded then: {error}"
        ))
    };
    // What the engine has of a new group is of another one, which is about to be deleted.
    let mut rows = if is_new { Vec::new() } else { log.engine_rows(&[])? };
    // The log is compacted by what was applied, no-ops included, and only commands and changes of
    // the members move the row: what is gone above it was neither.
    let row = applied_index(&rows).map_err(malformed)?;
    log.set_rows_index(row.unwrap_or(0));
    rows.retain(|(key, _)| !is_own(key));
    let applied = row.unwrap_or(0).max(log.start().index);
    let again = u64::from(Plant::ApplyTwice.is_planted() && applied > log.start().index);
    machine.restore(applied, rows).map_err(malformed)?;
    Ok(applied - again)
}
