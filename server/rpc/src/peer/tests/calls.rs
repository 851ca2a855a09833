//! Proposals, fetches and introductions from one broker to another.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use ropewalk_broker::peers::{
    Fetch, FetchError, Fetched, Peers, ProposalKind, ProposeError, Receipt, RemoteError,
    RemoteProposal,
};
use ropewalk_consensus::{Durability, Expected};
use ropewalk_core::{GroupId, NodeId, Offset, Timestamp, limits};

use super::super::PeerTransport;
use super::support::{Broker, CLUSTER, GROUP, draft, introduction, soon, stored};

type Answer = Result<Receipt, RemoteError>;

/// Proposes a command that says a number.
pub(super) fn command(from: &Broker, to: NodeId, number: u64) -> BoxFuture<'static, Answer> {
    let kind = ProposalKind::Command(number.to_be_bytes().to_vec());
    from.transport.propose(to, RemoteProposal { group: GROUP, kind })
}

pub(super) fn is_lost(answer: Answer) {
    assert!(matches!(answer, Err(RemoteError::Lost { .. })), "{answer:?}");
}

fn said(proposal: &RemoteProposal) -> u64 {
    let ProposalKind::Command(bytes) = &proposal.kind else { panic!("{proposal:?}") };
    u64::from_be_bytes(bytes.as_slice().try_into().unwrap())
}

fn fetch(offset: u64, wait: Duration) -> Fetch {
    Fetch { group: GROUP, offset: Offset(offset), max_bytes: 1 << 20, wait, since: None }
}

#[tokio::test]
async fn proposals_keep_their_order_and_answers_find_who_asked() {
    let (one, two) = Broker::pair().await;
    let answers: Vec<_> = (0..500).map(|number| command(&one, two.node, number)).collect();
    let mut replies = Vec::new();
    for number in 0..500 {
        let (proposal, reply) = two.proposal().await;
        assert_eq!((proposal.group, said(&proposal)), (GROUP, number));
        replies.push((number, reply));
    }
    for (number, reply) in replies.into_iter().rev() {
        match number % 2 {
            0 => reply(Ok(Receipt::Trimmed(Offset(number)))),
            _ => reply(Err(ProposeError::LeaderChanged { epoch: number })),
        }
    }
    for (number, answer) in (0..).zip(answers) {
        match soon(answer).await {
            Ok(Receipt::Trimmed(start)) => assert_eq!((start.0, number % 2), (number, 0)),
            Err(RemoteError::Refused(ProposeError::LeaderChanged { epoch })) => {
                assert_eq!((epoch, number % 2), (number, 1));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_largest_batch_arrives_as_it_was() {
    let (one, two) = Broker::pair().await;
    let kind = ProposalKind::Batch {
        draft: draft(limits::MAX_BATCH_BYTES),
        expected: Some(Box::new(Expected::Offset(Offset(4)))),
        durability: Durability::Leader,
        epoch: Some(9),
    };
    let answer = one.transport.propose(two.node, RemoteProposal { group: GROUP, kind });
    let (proposal, reply) = two.proposal().await;
    let ProposalKind::Batch { draft: arrived, expected, durability, epoch } = proposal.kind else {
        panic!("another kind arrived")
    };
    let condition = Some(Expected::Offset(Offset(4)));
    assert_eq!(
        (expected.map(|expected| *expected), durability, epoch),
        (condition, Durability::Leader, Some(9))
    );
    let sealed = |draft: ropewalk_core::BatchDraft| draft.seal(Offset(4), 1, 2, Timestamp(3));
    assert_eq!(sealed(arrived), sealed(draft(limits::MAX_BATCH_BYTES)));
    reply(Ok(Receipt::Done));
    assert!(matches!(soon(answer).await, Ok(Receipt::Done)));

    let kind = ProposalKind::Command(vec![0; limits::MAX_PEER_CALL_BYTES]);
    let refused = one.transport.propose(two.node, RemoteProposal { group: GROUP, kind }).await;
    assert!(matches!(refused, Err(RemoteError::Unreachable { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_was_sent_is_perhaps_carried_out_and_what_was_not_is_not() {
    let (one, mut two) = Broker::pair().await;
    let forgotten = command(&one, two.node, 1);
    drop(two.proposal().await);
    is_lost(soon(forgotten).await);

    let sent = command(&one, two.node, 2);
    let _kept = two.proposal().await;
    two.stop().await;
    is_lost(soon(sent).await);
    one.reaches(two.node, false).await;
    let not_sent = soon(command(&one, two.node, 3)).await;
    assert!(matches!(not_sent, Err(RemoteError::Unreachable { .. })), "{not_sent:?}");
    let nobody = command(&one, NodeId(9), 4).await.unwrap_err();
    assert_eq!(nobody.to_string(), "broker 9 cannot be reached: its address is not known");
}

#[tokio::test]
async fn proposals_without_an_answer_are_bounded() {
    const BYTES: usize = 1 << 20;
    let (one, two) = Broker::pair().await;
    let propose = || {
        let kind = ProposalKind::Command(vec![0; BYTES]);
        one.transport.propose(two.node, RemoteProposal { group: GROUP, kind })
    };
    let fitting = limits::PEER_PROPOSAL_BYTES / (BYTES + 128);
    let mut waiting: Vec<_> = (0..fitting).map(|_| propose()).collect();
    let refused = propose().await;
    assert!(matches!(refused, Err(RemoteError::Refused(ProposeError::Overloaded))), "{refused:?}");
    let (_, reply) = two.proposal().await;
    reply(Ok(Receipt::Done));
    assert!(soon(waiting.remove(0)).await.is_ok());
    waiting.push(propose());
    for _ in 0..fitting {
        let (_, reply) = two.proposal().await;
        reply(Ok(Receipt::Done));
    }
    for answer in waiting {
        assert!(soon(answer).await.is_ok());
    }
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_keeps_no_other_waiting() {
    let (one, two) = Broker::pair().await;
    two.fake.log_end.send_replace(3);
    let waits = one.transport.fetch(two.node, fetch(3, Duration::from_secs(20)));
    let read = soon(one.transport.fetch(two.node, fetch(1, Duration::from_secs(20)))).await;
    let batches = |from, end| (from..end).map(|offset| stored(offset, 1000)).collect::<Vec<_>>();
    let expected = Fetched {
        start: Offset::ZERO,
        high_watermark: Offset(3),
        trimmed: None,
        batches: batches(1, 3),
        found: None,
    };
    assert_eq!(read, Ok(expected));
    let nothing = soon(one.transport.fetch(two.node, fetch(3, Duration::ZERO))).await.unwrap();
    assert_eq!(nothing.batches, []);
    let elsewhere = Fetch { group: GroupId(0x200), ..fetch(0, Duration::ZERO) };
    let refused = soon(one.transport.fetch(two.node, elsewhere)).await;
    assert_eq!(refused, Err(RemoteError::Fetch(FetchError::NoGroup)));

    two.fake.log_end.send_replace(5);
    assert_eq!(soon(waits).await.unwrap().batches, batches(3, 5));
}

#[tokio::test]
async fn many_fetches_share_the_room_for_their_answers() {
    let (one, two) = Broker::pair().await;
    let fetches: Vec<_> = (0..200)
        .map(|_| one.transport.fetch(two.node, fetch(0, Duration::from_secs(20))))
        .collect();
    two.fake.log_end.send_replace(200);
    for read in fetches {
        assert!(!soon(read).await.unwrap().batches.is_empty());
    }
}

#[tokio::test]
async fn brokers_introduce_themselves_before_they_have_a_cluster() {
    let two = Broker::start(2, CLUSTER).await;
    let one = PeerTransport::new(NodeId(1), [1; 16]);
    let own = ropewalk_broker::peers::Introduction { cluster: None, ..introduction(NodeId(1)) };
    let met = soon(one.introduce(&two.address, own.clone())).await.unwrap();
    let expected =
        ropewalk_broker::peers::Introduction { leader: Some(NodeId(1)), ..introduction(NodeId(2)) };
    assert_eq!(met, expected);
    let nobody = soon(one.introduce("127.0.0.1:1", own)).await.unwrap_err();
    assert!(nobody.to_string().contains("127.0.0.1:1"), "{nobody}");
}

#[tokio::test]
async fn a_damaged_batch_is_not_taken() {
    let proposal = RemoteProposal {
        group: GROUP,
        kind: ProposalKind::Batch {
            draft: draft(100),
            expected: None,
            durability: Durability::Quorum,
            epoch: None,
        },
    };
    let mut wire = super::super::call_wire::proposal_to_wire(proposal);
    let Some(ropewalk_proto::internal::proposal::Kind::Batch(batch)) = &mut wire.kind else {
        panic!("another kind")
    };
    let mut payload = batch.payload.to_vec();
    payload[50] ^= 1;
    batch.payload = Bytes::from(payload);
    let refused = super::super::call_wire::proposal_from_wire(wire).unwrap_err();
    assert_eq!(refused.to_string(), "checksum mismatch in the batch payload");
}
