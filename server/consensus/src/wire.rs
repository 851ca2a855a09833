//! Raft's messages, to and from those of this crate.

use raft::eraftpb::{
    ConfState, Entry as RaftEntry, EntryType, Message as RaftMessage, MessageType, Snapshot,
};
use ropewalk_core::{GroupId, ReplicaId};
use ropewalk_storage::group_log::SnapshotData;

use crate::message::{Message, MessageEntry, MessageKind, SnapshotInfo};

/// A message as raft takes it; nothing, when it makes no sense and would do harm.
pub(crate) fn to_raft(message: Message) -> Option<RaftMessage> {
    if !makes_sense(&message) {
        return None;
    }
    let mut raft = RaftMessage::default();
    raft.set_msg_type(raft_type(message.kind));
    raft.from = message.from.0;
    raft.to = message.to.0;
    raft.term = message.term;
    raft.index = message.index;
    raft.log_term = message.log_term;
    raft.commit = message.commit;
    raft.commit_term = message.commit_term;
    raft.reject = message.reject;
    raft.reject_hint = message.reject_hint;
    raft.request_snapshot = message.request_snapshot;
    raft.priority = message.priority;
    raft.context = message.context;
    raft.entries = message.entries.into_iter().map(raft_entry).collect::<Vec<_>>().into();
    if let Some(info) = message.snapshot {
        raft.set_snapshot(raft_snapshot(info));
    }
    Some(raft)
}

/// A message of raft for the transport; nothing for those that replicas do not send each other.
pub(crate) fn from_raft(group: GroupId, mut raft: RaftMessage) -> Option<Message> {
    let kind = kind_of(raft.get_msg_type())?;
    let snapshot = match kind {
        MessageKind::Snapshot => Some(snapshot_info(raft.get_snapshot())?),
        _ => None,
    };
    let entries = raft.take_entries().into_iter().map(|entry| MessageEntry {
        index: entry.index,
        term: entry.term,
        entry_type: entry.entry_type as u8,
        data: entry.data,
    });
    Some(Message {
        group,
        from: ReplicaId(raft.from),
        to: ReplicaId(raft.to),
        kind,
        term: raft.term,
        index: raft.index,
        log_term: raft.log_term,
        commit: raft.commit,
        commit_term: raft.commit_term,
        reject: raft.reject,
        reject_hint: raft.reject_hint,
        request_snapshot: raft.request_snapshot,
        priority: raft.priority,
        entries: entries.collect(),
        snapshot,
        context: raft.take_context(),
        quiesce: false,
    })
}

/// Raft counts on what its own code would send, and panics at anything else.
fn makes_sense(message: &Message) -> bool {
    let follows = |(entry, index): (&MessageEntry, u64)| {
        entry.index == index && entry.term <= message.term && entry.entry_type <= 2
    };
    // Without a term raft would take it for a message of this replica to itself.
    let has_term = message.term > 0 && message.from.0 != 0;
    let is_append = message.kind == MessageKind::Append;
    let first = message.index.saturating_add(1);
    let entries_follow = message.entries.iter().zip(first..).all(follows);
    let snapshot_fits = match (&message.snapshot, message.kind) {
        (Some(info), MessageKind::Snapshot) => info.start.index > 0 && !info.voters.is_empty(),
        (snapshot, kind) => snapshot.is_none() && kind != MessageKind::Snapshot,
    };
    has_term && snapshot_fits && entries_follow && (is_append || message.entries.is_empty())
}

fn raft_entry(entry: MessageEntry) -> RaftEntry {
    let entry_type = match entry.entry_type {
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => EntryType::EntryNormal,
    };
    let MessageEntry { index, term, data, .. } = entry;
    RaftEntry { entry_type, index, term, data, ..RaftEntry::default() }
}

fn raft_snapshot(info: SnapshotInfo) -> Snapshot {
    let ids = |replicas: Vec<ReplicaId>| replicas.into_iter().map(|replica| replica.0).collect();
    let (voters, learners) = (ids(info.voters), ids(info.learners));
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.set_conf_state(ConfState { voters, learners, ..ConfState::default() });
    metadata.index = info.start.index;
    metadata.term = info.start.term;
    snapshot.data = SnapshotData { start: info.start, rows: info.rows }.encode().into();
    snapshot
}

fn snapshot_info(snapshot: &Snapshot) -> Option<SnapshotInfo> {
    let SnapshotData { start, rows } = SnapshotData::decode(&snapshot.data).ok()?;
    let (voters, learners) = members_of(snapshot.get_metadata().get_conf_state());
    Some(SnapshotInfo { start, voters, learners, rows })
}

/// The voters and the learners of a membership, by id.
pub(crate) fn members_of(conf_state: &ConfState) -> (Vec<ReplicaId>, Vec<ReplicaId>) {
    let sorted = |ids: &[u64]| {
        let mut ids: Vec<_> = ids.iter().copied().map(ReplicaId).collect();
        ids.sort_unstable();
        ids
    };
    (sorted(&conf_state.voters), sorted(&conf_state.learners))
}

const KINDS: [(MessageKind, MessageType); 10] = [
    (MessageKind::Append, MessageType::MsgAppend),
    (MessageKind::AppendResponse, MessageType::MsgAppendResponse),
    (MessageKind::Vote, MessageType::MsgRequestVote),
    (MessageKind::VoteResponse, MessageType::MsgRequestVoteResponse),
    (MessageKind::PreVote, MessageType::MsgRequestPreVote),
    (MessageKind::PreVoteResponse, MessageType::MsgRequestPreVoteResponse),
    (MessageKind::Heartbeat, MessageType::MsgHeartbeat),
    (MessageKind::HeartbeatResponse, MessageType::MsgHeartbeatResponse),
    (MessageKind::Snapshot, MessageType::MsgSnapshot),
    (MessageKind::TimeoutNow, MessageType::MsgTimeoutNow),
];

fn raft_type(kind: MessageKind) -> MessageType {
    KINDS[kind as usize - 1].1
}

fn kind_of(raft: MessageType) -> Option<MessageKind> {
    KINDS.iter().find(|(_, known)| *known == raft).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use ropewalk_storage::LogStart;

    use super::*;

    fn message(kind: MessageKind) -> Message {
        Message {
            group: GroupId(7),
            from: ReplicaId(1),
            to: ReplicaId(2),
            kind,
            term: 3,
            index: 4,
            log_term: 5,
            commit: 6,
            commit_term: 7,
            reject: true,
            reject_hint: 8,
            request_snapshot: 9,
            priority: -10,
            context: b"note".to_vec().into(),
            quiesce: false,
            entries: Vec::new(),
            snapshot: None,
        }
    }

    fn entry(index: u64, entry_type: u8) -> MessageEntry {
        MessageEntry { index, term: 3, entry_type, data: b"data".to_vec().into() }
    }

    fn snapshot(voters: &[u64]) -> SnapshotInfo {
        let voters = voters.iter().copied().map(ReplicaId).collect();
        let start = LogStart { index: 11, term: 12, ..LogStart::default() };
        let rows = vec![(b"key".to_vec(), b"value".to_vec())];
        SnapshotInfo { start, voters, learners: vec![ReplicaId(9)], rows }
    }

    #[test]
    fn every_kind_goes_both_ways() {
        for (kind, _) in KINDS {
            let mut sent = message(kind);
            if kind == MessageKind::Append {
                sent.entries = vec![entry(5, 0), entry(6, 1), entry(7, 2)];
            }
            if kind == MessageKind::Snapshot {
                sent.snapshot = Some(snapshot(&[1, 2]));
            }
            assert_eq!(from_raft(GroupId(7), to_raft(sent.clone()).unwrap()), Some(sent));
        }
    }

    #[test]
    fn what_raft_would_not_send_is_not_given_to_it() {
        let refused = |change: &dyn Fn(&mut Message), kind| {
            let mut sent = message(kind);
            change(&mut sent);
            assert_eq!(to_raft(sent), None);
        };
        refused(&|sent| sent.term = 0, MessageKind::Heartbeat);
        refused(&|sent| sent.from = ReplicaId(0), MessageKind::Heartbeat);
        refused(&|sent| sent.entries = vec![entry(6, 0)], MessageKind::Append);
        refused(&|sent| sent.entries = vec![entry(5, 0), entry(5, 0)], MessageKind::Append);
        refused(&|sent| sent.entries = vec![entry(5, 3)], MessageKind::Append);
        refused(&|sent| sent.entries = vec![entry(5, 0)], MessageKind::Vote);
        refused(&|_| {}, MessageKind::Snapshot);
        refused(&|sent| sent.snapshot = Some(snapshot(&[])), MessageKind::Snapshot);
        refused(&|sent| sent.snapshot = Some(snapshot(&[1])), MessageKind::Append);
    }
}
