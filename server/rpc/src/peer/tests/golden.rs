//! The bytes of everything that brokers say to one another, as the golden file holds them.
//!
//! Brokers of two versions speak to one another while a cluster is upgraded: a field that got
//! another number, or a value that got another meaning, is only found here.

use std::fmt::Write as _;
use std::path::Path;

use prost::Message as _;
use ropewalk_core::ReplicaId;
use ropewalk_proto::internal as pb;
use ropewalk_proto::internal::call_request::Call;
use ropewalk_proto::internal::call_response::Outcome;
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use super::super::hail::{Hail, PROTOCOLS};
use super::super::{call_wire, fetch_wire, raft_wire};
use super::support::{draft, stored};
use super::{ONE, TWO};

/// The numbers of an enum that has one for what is not given, 0.
fn numbers<E: TryFrom<i32>>() -> impl Iterator<Item = i32> {
    (1..).take_while(|number| E::try_from(*number).is_ok())
}

/// No field has the value of one that is not there.
fn message(kind: pb::MessageKind) -> pb::RaftMessage {
    use pb::MessageKind::{Append, Heartbeat, HeartbeatResponse, Snapshot};
    let entry = pb::RaftEntry { index: 6, term: 4, entry_type: 2, data: vec![1, 2].into() };
    let snapshot = pb::Snapshot {
        index: 21,
        term: 3,
        offset: 22,
        base_offset: 23,
        newest_gone: 24,
        voters: vec![ReplicaId::new(ONE, 25).0],
        learners: vec![ReplicaId::new(TWO, 26).0],
        rows: vec![pb::SnapshotRow {
            key: b"key".to_vec().into(),
            value: b"value".to_vec().into(),
        }],
    };
    pb::RaftMessage {
        group_id: 1,
        from: ReplicaId::new(ONE, 2).0,
        to: ReplicaId::new(TWO, 3).0,
        kind: kind.into(),
        term: 4,
        index: 5,
        log_term: 7,
        commit: 8,
        commit_term: 9,
        reject: true,
        reject_hint: 10,
        request_snapshot: 11,
        priority: 12,
        context: b"note".to_vec().into(),
        entries: Some(entry).filter(|_| kind == Append).into_iter().collect(),
        snapshot: Some(snapshot).filter(|_| kind == Snapshot),
        quiesce: matches!(kind, Heartbeat | HeartbeatResponse),
    }
}

fn messages() -> Vec<(String, Vec<u8>)> {
    let kinds = numbers::<pb::MessageKind>().map(|kind| pb::MessageKind::try_from(kind).unwrap());
    let told = kinds.map(|kind| {
        let frame = pb::ExchangeRequest { messages: vec![message(kind)] };
        let read = raft_wire::messages(frame.clone(), ONE, TWO).unwrap();
        assert_eq!(raft_wire::frame(read), frame);
        (format!("message {}", kind.as_str_name()), frame.encode_to_vec())
    });
    told.collect()
}

fn proposals() -> Vec<(String, pb::proposal::Kind)> {
    use pb::proposal::Kind;
    let parts = draft(3).into_parts();
    let sequence = pb::ProducerSequence { producer_id: 5, epoch: 6, first: 7 };
    let batch = |durability, epoch: Option<u64>| {
        Kind::Batch(pb::BatchProposal {
            payload: parts.payload.clone(),
            payload_crc: parts.payload_crc,
            record_count: 1,
            compression: 2,
            timestamp_type: 1,
            newest_time: Some(3),
            untimed: true,
            expected_offset: Some(4),
            durability,
            sequence: epoch.is_none().then_some(sequence),
            epoch,
            expected_version: None,
            shortest_ttl_millis: None,
        })
    };
    let keyed = |version| {
        let Kind::Batch(batch) = batch(pb::Durability::Quorum.into(), None) else { unreachable!() };
        let expected = pb::ExpectedVersion { key: b"key".to_vec().into(), version };
        let expected_version = Some(expected);
        Kind::Batch(pb::BatchProposal { expected_offset: None, expected_version, ..batch })
    };
    let lives = {
        let Kind::Batch(batch) = batch(pb::Durability::Quorum.into(), None) else { unreachable!() };
        Kind::Batch(pb::BatchProposal { shortest_ttl_millis: Some(9), ..batch })
    };
    let step = |step| Kind::Membership(pb::MembershipProposal { step, replica_id: 1 << 32 | 5 });
    let named = |name: &str, number: i32| format!("{name} {number}");
    let mut kinds: Vec<_> = numbers::<pb::Durability>()
        .map(|durability| (named("batch with durability", durability), batch(durability, None)))
        .collect();
    kinds.extend(numbers::<pb::MembershipStep>().map(|it| (named("membership", it), step(it))));
    let others = [
        ("batch for an epoch", batch(pb::Durability::Quorum.into(), Some(7))),
        ("batch for a key without a version", keyed(None)),
        ("batch for the version of a key", keyed(Some(8))),
        ("batch with times to live", lives),
        ("trim", Kind::Trim(pb::TrimProposal { before: Some(6) })),
        ("command", Kind::Command(b"command".to_vec().into())),
        ("query", Kind::Query(b"query".to_vec().into())),
        ("bounds", Kind::Bounds(pb::BoundsProposal {})),
        ("transfer", Kind::TransferLeadership(2 << 32 | 7)),
        ("progress", Kind::Progress(pb::ProgressProposal {})),
    ];
    kinds.extend(others.map(|(name, kind)| (name.to_owned(), kind)));
    kinds
}

fn calls() -> Vec<(String, Vec<u8>)> {
    let mut calls: Vec<_> = Vec::new();
    for (name, kind) in proposals() {
        let proposal = pb::Proposal { group_id: 1, kind: Some(kind) };
        let read = call_wire::proposal_from_wire(proposal.clone()).unwrap();
        assert_eq!(call_wire::proposal_to_wire(read), proposal);
        calls.push((format!("proposal {name}"), Call::Proposal(proposal)));
    }
    let fetch = pb::Fetch { group_id: 1, offset: 2, max_bytes: 3, wait_millis: 4, since: Some(-5) };
    let read = fetch_wire::fetch_from_wire(&fetch).unwrap();
    assert_eq!(fetch_wire::fetch_to_wire(&read), fetch);
    calls.push(("fetch".to_owned(), Call::Fetch(fetch)));
    let call = |(name, call)| {
        (format!("call {name}"), pb::CallRequest { id: 300, call: Some(call) }.encode_to_vec())
    };
    calls.into_iter().map(call).collect()
}

fn receipts() -> Vec<(&'static str, pb::receipt::Kind)> {
    use pb::receipt::Kind;
    let appended = pb::Appended {
        base_offset: 1,
        record_count: 2,
        append_time: 3,
        leader_epoch: 4,
        achieved: pb::Durability::Quorum.into(),
        duplicate: true,
    };
    let member = pb::MemberProgress {
        replica_id: 1 << 32 | 5,
        is_voter: true,
        is_active: true,
        matched: 6,
        lag: 7,
    };
    vec![
        ("appended", Kind::Appended(appended)),
        ("trimmed", Kind::Trimmed(8)),
        ("applied", Kind::Applied(b"answer".to_vec().into())),
        ("bounds", Kind::Bounds(pb::Bounds { start: 9, high_watermark: 10, leader_epoch: 11 })),
        ("done", Kind::Done(pb::Done {})),
        ("progress", Kind::Progress(pb::Progress { members: vec![member], leader_epoch: 12 })),
    ]
}

/// The fields of a refusal that its kind says something with, as this code writes them.
fn propose_error(kind: i32) -> pb::ProposeError {
    let all = pb::ProposeError {
        kind,
        current: 1,
        start: 2,
        high_watermark: 3,
        replica_id: 1 << 32 | 4,
        epoch: 5,
        floor: 6,
        expected: 7,
        actual: 8,
        limit: 9,
        current_version: Some(10),
    };
    call_wire::propose_error_to_wire(call_wire::propose_error_from_wire(&all).unwrap())
}

fn fetch_error(kind: i32) -> pb::FetchError {
    let all = pb::FetchError {
        kind,
        detail: "detail".to_owned(),
        file: "file".to_owned(),
        offset: Some(1),
    };
    fetch_wire::fetch_error_to_wire(fetch_wire::fetch_error_from_wire(all).unwrap())
}

fn answers() -> Vec<(String, Vec<u8>)> {
    let mut outcomes = Vec::new();
    for (name, kind) in receipts() {
        let receipt = pb::Receipt { kind: Some(kind) };
        let read = call_wire::receipt_from_wire(receipt.clone()).unwrap();
        assert_eq!(call_wire::receipt_to_wire(read), receipt);
        outcomes.push((format!("receipt {name}"), Outcome::Receipt(receipt)));
    }
    outcomes.extend(
        numbers::<pb::ProposeErrorKind>().map(|kind| {
            (format!("propose error {kind}"), Outcome::ProposeError(propose_error(kind)))
        }),
    );
    let batch = stored(1, 3);
    let header = batch.header_bytes().to_vec().into();
    let fetched = pb::Fetched {
        start: 1,
        high_watermark: 2,
        trimmed: Some(3),
        batches: vec![pb::FetchedBatch { header, payload: batch.payload }],
        found: Some(pb::FoundRecord { offset: 4, time: -5 }),
    };
    let read = fetch_wire::fetched_from_wire(fetched.clone()).unwrap();
    assert_eq!(fetch_wire::fetched_to_wire(read), fetched);
    outcomes.push(("fetched".to_owned(), Outcome::Fetched(fetched)));
    outcomes.extend(
        numbers::<pb::FetchErrorKind>()
            .map(|kind| (format!("fetch error {kind}"), Outcome::FetchError(fetch_error(kind)))),
    );
    outcomes.push(("unanswered".to_owned(), Outcome::Unanswered(pb::Unanswered {})));
    let answer = |(name, outcome)| {
        let response = pb::CallResponse { id: 300, outcome: Some(outcome) };
        (format!("answer {name}"), response.encode_to_vec())
    };
    outcomes.into_iter().map(answer).collect()
}

fn introductions() -> Vec<(String, Vec<u8>)> {
    let introduction = pb::Introduction {
        node_id: 1,
        directory_id: vec![2; 16].into(),
        cluster: Some(pb::ClusterIdentity {
            cluster_id: vec![3; 16].into(),
            founders: vec![pb::Founder { node_id: 4, directory_id: vec![5; 16].into() }],
        }),
        leader_id: Some(6),
        addresses: vec![pb::BrokerAddress { node_id: 7, address: "broker:9093".to_owned() }],
    };
    let read = fetch_wire::introduction_from_wire(Some(introduction.clone())).unwrap();
    assert_eq!(fetch_wire::introduction_to_wire(read), introduction);
    let introduction = Some(introduction);
    let request = pb::IntroduceRequest { introduction: introduction.clone() };
    let response = pb::IntroduceResponse { introduction };
    vec![
        ("introduce".to_owned(), request.encode_to_vec()),
        ("introduced".to_owned(), response.encode_to_vec()),
    ]
}

/// What a stream begins with.
fn hail() -> Vec<String> {
    let (cluster, directory, protocols) = ([0xab; 16], [0xcd; 16], PROTOCOLS);
    let mut metadata = MetadataMap::new();
    Hail { cluster, from: ONE, to: TWO, directory, protocols }.write(&mut metadata);
    let line = |pair| match pair {
        KeyAndValueRef::Ascii(key, value) => format!("hail {key} = {}", value.to_str().unwrap()),
        KeyAndValueRef::Binary(key, _) => panic!("{key}"),
    };
    let mut lines: Vec<_> = metadata.iter().map(line).collect();
    lines.sort();
    lines
}

/// A version of the protocol stays as it is. What is added to it is a line more; what would change
/// a line is another version (`hail::PROTOCOLS`), with a file of its own.
#[test]
fn what_brokers_say_to_one_another_is_that_of_the_golden_file() {
    let mut text = String::new();
    for line in hail() {
        writeln!(text, "{line}").unwrap();
    }
    for (name, bytes) in [messages(), calls(), answers(), introductions()].concat() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{name} = {hex}").unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/peer-v1.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(file).unwrap());
}
