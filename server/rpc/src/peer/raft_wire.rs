//! Raft messages on the wire, and the checks of those that come in.
//!
//! What an entry's data holds is not looked at: storage reads its kind and checks its checksum
//! before it is written.

use bytes::Bytes;
use ropewalk_broker::peers::Message;
use ropewalk_consensus::{MessageEntry, MessageKind, SnapshotInfo};
use ropewalk_core::{NodeId, Offset, ReplicaId, Timestamp, limits};
use ropewalk_proto::internal as pb;
use ropewalk_storage::{LogStart, engine::MAX_ROW_BYTES};

use super::wire::{Result, WireError, group, replica, within};

/// The longest note of raft's: the name of a transfer, or the number of a read.
const MAX_CONTEXT_BYTES: usize = 64;
/// An entry below this is copied out of the frame that it came in, so that a small one does not
/// keep a whole frame in memory.
const COPIED_BYTES: usize = 4096;

/// One frame of messages.
pub(super) fn frame(messages: Vec<Message>) -> pb::ExchangeRequest {
    pb::ExchangeRequest { messages: messages.into_iter().map(message_to_wire).collect() }
}

/// The messages of a frame that broker `from` has sent to broker `to`. Those of a kind that only a
/// later version knows are left out, as if they were lost on the way: raft can do without.
pub(super) fn messages(
    frame: pb::ExchangeRequest,
    from: NodeId,
    to: NodeId,
) -> Result<Vec<Message>> {
    let check = |message: pb::RaftMessage| {
        let Some(kind) = kind_from_wire(message.kind)? else { return Ok(None) };
        let message = message_from_wire(message, kind)?;
        if message.from.node() != from {
            return Err(WireError::value("the sender of a message", message.from.0));
        }
        if message.to.node() != to {
            return Err(WireError::value("the receiver of a message", message.to.0));
        }
        Ok(Some(message))
    };
    frame.messages.into_iter().map(check).filter_map(Result::transpose).collect()
}

fn message_to_wire(message: Message) -> pb::RaftMessage {
    let entries = message.entries.into_iter().map(|entry| pb::RaftEntry {
        index: entry.index,
        term: entry.term,
        entry_type: u32::from(entry.entry_type),
        data: entry.data,
    });
    pb::RaftMessage {
        group_id: message.group.0,
        from: message.from.0,
        to: message.to.0,
        kind: kind_to_wire(message.kind).into(),
        term: message.term,
        index: message.index,
        log_term: message.log_term,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        request_snapshot: message.request_snapshot,
        priority: message.priority,
        context: message.context,
        quiesce: message.quiesce,
        entries: entries.collect(),
        snapshot: message.snapshot.map(snapshot_to_wire),
    }
}

fn message_from_wire(message: pb::RaftMessage, kind: MessageKind) -> Result<Message> {
    // Raft takes a message without a term for one of its own process.
    if message.term == 0 {
        return Err(WireError::Missing("the term of a message"));
    }
    within("the context of a message", message.context.len(), MAX_CONTEXT_BYTES)?;
    if kind != MessageKind::Append && !message.entries.is_empty() {
        return Err(WireError::value("the kind of a message with entries", message.kind));
    }
    let is_beat = matches!(kind, MessageKind::Heartbeat | MessageKind::HeartbeatResponse);
    if message.quiesce && !is_beat {
        return Err(WireError::value(
            "the kind of a message that lets a group sleep",
            message.kind,
        ));
    }
    if (kind == MessageKind::Snapshot) != message.snapshot.is_some() {
        return Err(WireError::value(
            "the kind of a message with or without a state",
            message.kind,
        ));
    }
    let snapshot = message.snapshot.map(snapshot_from_wire).transpose()?;
    if let Some(snapshot) = &snapshot
        && snapshot.start.term > message.term
    {
        return Err(WireError::value("the term of a state", snapshot.start.term));
    }
    let entries = entries_from_wire(message.entries, message.index, message.term)?;
    Ok(Message {
        group: group(message.group_id)?,
        from: replica(message.from)?,
        to: replica(message.to)?,
        kind,
        term: message.term,
        index: message.index,
        log_term: message.log_term,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        request_snapshot: message.request_snapshot,
        priority: message.priority,
        context: message.context,
        quiesce: message.quiesce,
        entries,
        snapshot,
    })
}

/// Entries follow one another, and none is newer than its message.
fn entries_from_wire(
    entries: Vec<pb::RaftEntry>,
    mut index: u64,
    newest_term: u64,
) -> Result<Vec<MessageEntry>> {
    let mut term = 0;
    let mut check = |entry: pb::RaftEntry| {
        index = index.checked_add(1).ok_or(WireError::value("an entry's index", index))?;
        if entry.index != index {
            return Err(WireError::value("an entry's index", entry.index));
        }
        if entry.term < term.max(1) || entry.term > newest_term {
            return Err(WireError::value("an entry's term", entry.term));
        }
        term = entry.term;
        let entry_type = match entry.entry_type {
            0 => 0,
            1 => 1,
            2 => 2,
            other => return Err(WireError::value("an entry's type", other)),
        };
        let data = match entry.data {
            small if small.len() < COPIED_BYTES => Bytes::copy_from_slice(&small),
            large => large,
        };
        Ok(MessageEntry { index, term, entry_type, data })
    };
    entries.into_iter().map(&mut check).collect()
}

fn snapshot_to_wire(snapshot: SnapshotInfo) -> pb::Snapshot {
    let row =
        |(key, value): (Vec<u8>, Vec<u8>)| pb::SnapshotRow { key: key.into(), value: value.into() };
    let ids = |replicas: Vec<ReplicaId>| replicas.into_iter().map(|replica| replica.0).collect();
    pb::Snapshot {
        index: snapshot.start.index,
        term: snapshot.start.term,
        offset: snapshot.start.offset.0,
        base_offset: snapshot.start.base_offset.0,
        newest_gone: snapshot.start.newest_gone.0,
        voters: ids(snapshot.voters),
        learners: ids(snapshot.learners),
        rows: snapshot.rows.into_iter().map(row).collect(),
    }
}

fn snapshot_from_wire(snapshot: pb::Snapshot) -> Result<SnapshotInfo> {
    if snapshot.index == 0 || snapshot.term == 0 {
        return Err(WireError::Missing("the index or the term of a state"));
    }
    if snapshot.voters.is_empty() {
        return Err(WireError::Missing("the voters of a state"));
    }
    let members = snapshot.voters.len() + snapshot.learners.len();
    within("the members of a state", members, limits::MAX_MEMBERS)?;
    let row = |row: pb::SnapshotRow| {
        within("a row of a state", row.key.len() + row.value.len(), MAX_ROW_BYTES)?;
        Ok((row.key.to_vec(), row.value.to_vec()))
    };
    let replicas = |ids: Vec<u64>| ids.into_iter().map(replica).collect::<Result<Vec<_>>>();
    Ok(SnapshotInfo {
        start: LogStart {
            index: snapshot.index,
            term: snapshot.term,
            offset: Offset(snapshot.offset),
            base_offset: Offset(snapshot.base_offset),
            newest_gone: Timestamp(snapshot.newest_gone),
        },
        voters: replicas(snapshot.voters)?,
        learners: replicas(snapshot.learners)?,
        rows: snapshot.rows.into_iter().map(row).collect::<Result<_>>()?,
    })
}

fn kind_to_wire(kind: MessageKind) -> pb::MessageKind {
    match kind {
        MessageKind::Append => pb::MessageKind::Append,
        MessageKind::AppendResponse => pb::MessageKind::AppendResponse,
        MessageKind::Vote => pb::MessageKind::Vote,
        MessageKind::VoteResponse => pb::MessageKind::VoteResponse,
        MessageKind::PreVote => pb::MessageKind::PreVote,
        MessageKind::PreVoteResponse => pb::MessageKind::PreVoteResponse,
        MessageKind::Heartbeat => pb::MessageKind::Heartbeat,
        MessageKind::HeartbeatResponse => pb::MessageKind::HeartbeatResponse,
        MessageKind::Snapshot => pb::MessageKind::Snapshot,
        MessageKind::TimeoutNow => pb::MessageKind::TimeoutNow,
    }
}

/// `None` for a kind that this version does not know.
fn kind_from_wire(kind: i32) -> Result<Option<MessageKind>> {
    let Ok(known) = pb::MessageKind::try_from(kind) else { return Ok(None) };
    Ok(Some(match known {
        pb::MessageKind::Append => MessageKind::Append,
        pb::MessageKind::AppendResponse => MessageKind::AppendResponse,
        pb::MessageKind::Vote => MessageKind::Vote,
        pb::MessageKind::VoteResponse => MessageKind::VoteResponse,
        pb::MessageKind::PreVote => MessageKind::PreVote,
        pb::MessageKind::PreVoteResponse => MessageKind::PreVoteResponse,
        pb::MessageKind::Heartbeat => MessageKind::Heartbeat,
        pb::MessageKind::HeartbeatResponse => MessageKind::HeartbeatResponse,
        pb::MessageKind::Snapshot => MessageKind::Snapshot,
        pb::MessageKind::TimeoutNow => MessageKind::TimeoutNow,
        pb::MessageKind::Unspecified => {
            return Err(WireError::value("the kind of a message", kind));
        }
    }))
}
