//! Everything that travels comes back as it was, and bytes that are no message are refused.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::{option, string};
use prost::Message as _;
use ropewalk_broker::peers::{
    ClusterIdentity, Fetch, FetchError, Fetched, Introduction, Message, ProposalKind, ProposeError,
    Receipt, RemoteProposal,
};
use ropewalk_consensus::proposal::MembershipChange;
use ropewalk_consensus::{Durability, Expected, MessageEntry, MessageKind, SnapshotInfo};
use ropewalk_core::{GroupId, NodeId, Offset, ReplicaId, Timestamp, limits};
use ropewalk_proto::internal as pb;
use ropewalk_storage::LogStart;

use super::super::wire::WireError;
use super::super::{call_wire, fetch_wire, raft_wire};
use super::support::{GROUP, append, draft, message, stored};
use super::{ONE, TWO};

pub(super) fn snapshot_message() -> Message {
    let snapshot = SnapshotInfo {
        start: LogStart {
            index: 9,
            term: 5,
            offset: Offset(100),
            base_offset: Offset(90),
            newest_gone: Timestamp(-1),
        },
        voters: vec![ReplicaId::new(ONE, 0), ReplicaId::new(TWO, 3)],
        learners: vec![ReplicaId::new(NodeId(3), 1)],
        rows: vec![(b"key".to_vec(), b"value".to_vec())],
    };
    Message { snapshot: Some(snapshot), ..message(MessageKind::Snapshot, 1, 2, 0) }
}

/// Through bytes and back.
fn travelled(sent: Vec<Message>) -> Result<Vec<Message>, WireError> {
    let bytes = raft_wire::frame(sent).encode_to_vec();
    raft_wire::messages(pb::ExchangeRequest::decode(Bytes::from(bytes)).unwrap(), ONE, TWO)
}

fn any_message() -> impl Strategy<Value = Message> {
    use MessageKind::{
        Append, AppendResponse, Heartbeat, HeartbeatResponse, PreVote, PreVoteResponse, Snapshot,
        TimeoutNow, Vote, VoteResponse,
    };
    let kinds = vec![
        Append,
        AppendResponse,
        Vote,
        VoteResponse,
        PreVote,
        PreVoteResponse,
        Heartbeat,
        HeartbeatResponse,
        Snapshot,
        TimeoutNow,
    ];
    let numbers = any::<[u64; 7]>();
    let notes = (any::<(bool, i64)>(), vec(any::<u8>(), 0..=64), 1..u64::MAX, any::<[u32; 2]>());
    let entries = vec((vec(any::<u8>(), 0..6000), 0..3_u8, 0..3_u64), 0..4);
    (select(kinds), numbers, notes, entries).prop_map(|(kind, numbers, notes, entries)| {
        let [index, log_term, commit, commit_term, reject_hint, request_snapshot, group] = numbers;
        let ((reject, priority), context, term, [from, to]) = notes;
        let index = index >> 1;
        let mut entry_term = term.saturating_sub(9).max(1);
        let entry = |(at, (data, entry_type, later)): (u64, (Vec<u8>, u8, u64))| {
            entry_term = (entry_term + later).min(term);
            MessageEntry { index: index + 1 + at, term: entry_term, entry_type, data: data.into() }
        };
        let entries = match kind {
            Append => (0..).zip(entries).map(entry).collect(),
            _ => Vec::new(),
        };
        let mut snapshot = snapshot_message().snapshot.filter(|_| kind == Snapshot);
        if let Some(snapshot) = &mut snapshot {
            snapshot.start.term = term;
        }
        Message {
            group: GroupId(group.max(1)),
            from: ReplicaId::new(ONE, from),
            to: ReplicaId::new(TWO, to),
            context: context.into(),
            ..Message {
                term,
                index,
                log_term,
                commit,
                commit_term,
                reject,
                reject_hint,
                request_snapshot,
                priority,
                quiesce: reject && matches!(kind, Heartbeat | HeartbeatResponse),
                entries,
                snapshot,
                ..message(kind, 1, 2, 0)
            }
        }
    })
}

#[test]
fn messages_that_cannot_be_are_refused() {
    type Change = fn(&mut pb::RaftMessage);
    let of_append: [(&str, Change); 9] = [
        ("the kind", |m| m.kind = 0),
        ("the kind", |m| m.kind = pb::MessageKind::Vote.into()),
        ("the kind", |m| m.quiesce = true),
        ("the term of a message", |m| m.term = 0),
        ("the replica group", |m| m.group_id = 0),
        ("the context", |m| m.context = vec![0; 65].into()),
        ("an entry's index", |m| m.entries[0].index += 1),
        ("an entry's term", |m| m.entries[0].term = 6),
        ("an entry's type", |m| m.entries[0].entry_type = 256),
    ];
    let of_snapshot: [(&str, Change); 6] = [
        ("the kind", |m| m.snapshot = None),
        ("the voters", |m| m.snapshot.as_mut().unwrap().voters.clear()),
        ("the members", |m| {
            m.snapshot.as_mut().unwrap().learners = vec![1 << 32; limits::MAX_MEMBERS]
        }),
        ("a broker id", |m| m.snapshot.as_mut().unwrap().voters[0] = 7),
        ("a row", |m| m.snapshot.as_mut().unwrap().rows[0].value = vec![0; 4000].into()),
        ("the term of a state", |m| m.snapshot.as_mut().unwrap().term = 6),
    ];
    let mut checked = 0;
    let cases = [(append(8, 100), &of_append[..]), (snapshot_message(), &of_snapshot[..])];
    for (honest, changes) in cases {
        assert_eq!(travelled(vec![honest.clone()]), Ok(vec![honest.clone()]));
        for (expected, change) in changes {
            let mut frame = raft_wire::frame(vec![honest.clone()]);
            change(&mut frame.messages[0]);
            let refused = raft_wire::messages(frame, ONE, TWO).unwrap_err().to_string();
            assert!(refused.contains(expected), "{expected}: {refused}");
            checked += 1;
        }
    }
    assert_eq!(checked, 15);
}

#[test]
fn every_proposal_travels() {
    use MembershipChange::{AddLearner, Promote, Remove};
    use ProposalKind::{Batch, Bounds, Command, Membership, Query, TransferLeadership, Trim};
    let replica = ReplicaId::new(NodeId(3), 4);
    let batch = |expected: Option<Offset>, durability| {
        let epoch = expected.map(|Offset(offset)| offset + 7);
        let expected = expected.map(|offset| Box::new(Expected::Offset(offset)));
        Batch { draft: draft(10), expected, durability, epoch }
    };
    let keyed = |version| {
        let expected = Some(Box::new(Expected::Version { key: "key".into(), version }));
        Batch { draft: draft(10), expected, durability: Durability::Quorum, epoch: None }
    };
    let kinds = || {
        [
            batch(None, Durability::None),
            batch(Some(Offset(0)), Durability::Leader),
            batch(Some(Offset(5)), Durability::Quorum),
            keyed(None),
            keyed(Some(Offset(0))),
            Trim { before: None },
            Trim { before: Some(Offset(0)) },
            Command(b"command".to_vec()),
            Query(Vec::new()),
            Bounds,
            Membership(AddLearner(replica)),
            Membership(Promote(replica)),
            Membership(Remove(replica)),
            TransferLeadership(replica),
        ]
    };
    for kind in kinds() {
        let sent = format!("{kind:?}");
        let wire = call_wire::proposal_to_wire(RemoteProposal { group: GROUP, kind });
        let wire = pb::Proposal::decode(&wire.encode_to_vec()[..]).unwrap();
        let arrived = call_wire::proposal_from_wire(wire).unwrap();
        assert_eq!((arrived.group, format!("{:?}", arrived.kind)), (GROUP, sent));
    }
}

#[test]
fn every_answer_to_a_proposal_travels() {
    let receipts = [
        Receipt::Appended {
            base_offset: Offset(1),
            record_count: 2,
            append_time: Timestamp(-3),
            leader_epoch: 4,
            achieved: Durability::Quorum,
            duplicate: true,
        },
        Receipt::Trimmed(Offset(5)),
        Receipt::Applied(b"answer".to_vec()),
        Receipt::Bounds { start: Offset(6), high_watermark: Offset(7), leader_epoch: 8 },
        Receipt::Done,
    ];
    for sent in receipts {
        let wire = call_wire::receipt_to_wire(sent);
        let bytes = wire.encode_to_vec();
        let arrived = call_wire::receipt_from_wire(wire).unwrap();
        assert_eq!(call_wire::receipt_to_wire(arrived).encode_to_vec(), bytes);
    }
    let errors = [
        ProposeError::NoGroup,
        ProposeError::NoLeader,
        ProposeError::ExpectedOffset { current: Offset(1) },
        ProposeError::ExpectedVersion { current: None },
        ProposeError::ExpectedVersion { current: Some(Offset(0)) },
        ProposeError::KeysUnread,
        ProposeError::KeysDamaged { at: Offset(12) },
        ProposeError::TooManyKeys { limit: 11 },
        ProposeError::OutOfRange { start: Offset(2), high_watermark: Offset(3) },
        ProposeError::Behind(ReplicaId::new(ONE, 4)),
        ProposeError::Members,
        ProposeError::SequenceGap { expected: 6, actual: 7 },
        ProposeError::ProducerFenced { expected: 8, actual: 9 },
        ProposeError::TooManyProducers { limit: 10 },
        ProposeError::Overloaded,
        ProposeError::LeaderChanged { epoch: 5 },
    ];
    for sent in errors {
        let wire = call_wire::propose_error_to_wire(sent);
        assert_eq!(call_wire::propose_error_from_wire(&wire), Ok(sent));
    }
}

#[test]
fn fetches_and_their_answers_travel() {
    let sent = Fetch {
        group: GROUP,
        offset: Offset(9),
        max_bytes: 1000,
        wait: Duration::from_millis(1500),
        since: Some(Timestamp(-4)),
    };
    assert_eq!(fetch_wire::fetch_from_wire(&fetch_wire::fetch_to_wire(&sent)), Ok(sent));
    let fetched = Fetched {
        start: Offset(3),
        high_watermark: Offset(6),
        trimmed: Some(Offset(3)),
        batches: (3..6).map(|offset| stored(offset, 50)).collect(),
        found: Some((Offset(4), Timestamp(12))),
    };
    let wire = fetch_wire::fetched_to_wire(fetched.clone());
    assert_eq!(fetch_wire::fetched_from_wire(wire.clone()), Ok(fetched));
    let mut gap = wire;
    gap.batches.remove(1);
    let refused = WireError::value("the offset of a batch", 5);
    assert_eq!(fetch_wire::fetched_from_wire(gap), Err(refused));
    let errors = [
        FetchError::NoGroup,
        FetchError::Storage("cannot read".to_owned()),
        FetchError::Corrupt {
            offset: Some(Offset(7)),
            file: "segments/1/0".to_owned(),
            detail: "checksum mismatch".to_owned(),
        },
    ];
    for sent in errors {
        let wire = fetch_wire::fetch_error_to_wire(sent.clone());
        assert_eq!(fetch_wire::fetch_error_from_wire(wire), Ok(sent));
    }
}

fn any_introduction() -> impl Strategy<Value = Introduction> {
    let node = || (1..u64::from(u32::MAX)).prop_map(NodeId);
    let founders = vec((node(), any::<[u8; 16]>()), 0..4);
    let cluster = (any::<[u8; 16]>(), founders)
        .prop_map(|(cluster_id, founders)| ClusterIdentity { cluster_id, founders });
    let address = string::string_regex("[a-z.:0-9]{0,40}").unwrap();
    let addresses = vec((node(), address), 0..4);
    (node(), any::<[u8; 16]>(), option::of(cluster), option::of(node()), addresses).prop_map(
        |(node, directory, cluster, leader, addresses)| Introduction {
            node,
            directory,
            cluster,
            leader,
            addresses,
        },
    )
}

/// Reads bytes as each thing that may come in. What is refused is refused; nothing panics.
fn read_as_anything(bytes: &Bytes) {
    let bytes = || bytes.clone();
    if let Ok(frame) = pb::ExchangeRequest::decode(bytes()) {
        let _ = raft_wire::messages(frame, ONE, TWO);
    }
    if let Ok(proposal) = pb::Proposal::decode(bytes()) {
        let _ = call_wire::proposal_from_wire(proposal);
    }
    if let Ok(receipt) = pb::Receipt::decode(bytes()) {
        let _ = call_wire::receipt_from_wire(receipt);
    }
    if let Ok(error) = pb::ProposeError::decode(bytes()) {
        let _ = call_wire::propose_error_from_wire(&error);
    }
    if let Ok(fetch) = pb::Fetch::decode(bytes()) {
        let _ = fetch_wire::fetch_from_wire(&fetch);
    }
    if let Ok(fetched) = pb::Fetched::decode(bytes()) {
        let _ = fetch_wire::fetched_from_wire(fetched);
    }
    if let Ok(error) = pb::FetchError::decode(bytes()) {
        let _ = fetch_wire::fetch_error_from_wire(error);
    }
    if let Ok(introduction) = pb::Introduction::decode(bytes()) {
        let _ = fetch_wire::introduction_from_wire(Some(introduction));
    }
}

proptest! {
    #[test]
    fn messages_travel(sent in vec(any_message(), 0..5)) {
        prop_assert_eq!(travelled(sent.clone()), Ok(sent));
    }

    #[test]
    fn introductions_travel(sent in any_introduction()) {
        let wire = fetch_wire::introduction_to_wire(sent.clone());
        prop_assert_eq!(fetch_wire::introduction_from_wire(Some(wire)), Ok(sent));
    }

    #[test]
    fn random_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..300)) {
        read_as_anything(&bytes.into());
    }

    #[test]
    fn damaged_messages_are_read_without_harm(
        sent in vec(any_message(), 1..3),
        damage in vec((any::<Index>(), any::<u8>()), 1..9),
    ) {
        let proposal = call_wire::proposal_to_wire(RemoteProposal {
            group: GROUP,
            kind: ProposalKind::Batch {
                draft: draft(40),
                expected: None,
                durability: Durability::None,
                epoch: None,
            },
        });
        let fetched = fetch_wire::fetched_to_wire(Fetched {
            start: Offset(0),
            high_watermark: Offset(2),
            trimmed: None,
            batches: vec![stored(0, 40), stored(1, 40)],
            found: None,
        });
        let messages = raft_wire::frame(sent).encode_to_vec();
        let honest = [messages, proposal.encode_to_vec(), fetched.encode_to_vec()];
        for mut bytes in honest {
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
            read_as_anything(&bytes.into());
        }
    }
}
