//! Brokers of a version and of the next one, or of a later one, beside each other.

use ropewalk_broker::peers::{Peers, Receipt};
use ropewalk_consensus::MessageKind;
use ropewalk_proto::internal as pb;
use ropewalk_proto::internal::call_request::Call;
use ropewalk_proto::internal::call_response::Outcome;
use tonic::{Code, Request};

use super::super::connection::dial;
use super::super::hail::{Hail, PROTOCOLS, Protocols, read_agreed};
use super::super::{call_wire, raft_wire};
use super::calls::command;
use super::exchange::{HAIL, PATIENT};
use super::support::{Broker, CLUSTER, GROUP, introduction, message, soon};

/// What a version speaks that came so many protocols after this one.
fn later(by: u32) -> Protocols {
    Protocols { oldest: PROTOCOLS.newest + by - 1, newest: PROTOCOLS.newest + by }
}

#[tokio::test]
async fn brokers_of_two_versions_that_follow_one_another_do_everything_together() {
    for (old, new) in [(PROTOCOLS, later(1)), (later(1), later(1)), (later(1), later(2))] {
        let one = Broker::speaking(old, 1, CLUSTER).await;
        let two = Broker::speaking(new, 2, CLUSTER).await;
        for (from, to) in [(&one, &two), (&two, &one)] {
            let (own, other) = (from.node.0, to.node.0);
            from.knows(to.node, &to.address);
            from.reaches(to.node, true).await;
            assert!(from.transport.send(message(MessageKind::Vote, own, other, 7)));
            assert_eq!(to.message().await.index, 7);
            let answer = command(from, to.node, 8);
            let (_, reply) = to.proposal().await;
            reply(Ok(Receipt::Done));
            assert!(matches!(soon(answer).await, Ok(Receipt::Done)));
            let met = from.transport.introduce(&to.address, introduction(from.node)).await;
            assert_eq!(met.unwrap().node, to.node);
        }
        // The newest protocol that both know is that of the older one.
        let hail = Hail { protocols: old, ..HAIL };
        let (mut client, _connection) = dial(&two.address, PATIENT).await.unwrap();
        let mut request = Request::new(futures::stream::pending());
        hail.write(request.metadata_mut());
        let accepted = client.exchange(request).await.unwrap();
        assert_eq!(read_agreed(old, accepted.metadata()).unwrap(), old.newest);
    }
}

#[tokio::test]
async fn brokers_that_have_no_protocol_in_common_say_what_to_do() {
    let one = Broker::speaking(PROTOCOLS, 1, CLUSTER).await;
    let two = Broker::speaking(later(2), 2, CLUSTER).await;
    for (from, to) in [(&one, &two), (&two, &one)] {
        let met = from.transport.introduce(&to.address, introduction(from.node)).await;
        let why = met.unwrap_err().to_string();
        assert!(why.contains("upgrade the older of the two"), "{why}");
        from.knows(to.node, &to.address);
        // The refusal is what a caller is told, as soon as it is known.
        soon(async {
            loop {
                let refused = command(from, to.node, 1).await.unwrap_err().to_string();
                if refused.contains("upgrade the older of the two") {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// Raft sends again what was lost; the end of a stream would cost all that is on it.
#[tokio::test]
async fn a_message_of_a_kind_that_is_not_known_is_left_out_and_counted() {
    let two = Broker::start(2, CLUSTER).await;
    let told = |index| message(MessageKind::Heartbeat, 1, 2, index);
    let mut frame = raft_wire::frame(vec![told(1), told(2), told(3)]);
    frame.messages[1].kind = 99;
    let (mut client, _connection) = dial(&two.address, PATIENT).await.unwrap();
    let mut request = Request::new(futures::stream::iter([frame, raft_wire::frame(vec![told(4)])]));
    HAIL.write(request.metadata_mut());
    let mut answers = client.exchange(request).await.unwrap().into_inner();
    for index in [1, 3, 4] {
        assert_eq!(two.message().await.index, index);
    }
    assert!(soon(answers.message()).await.unwrap().is_none(), "nothing is wrong with the stream");
    let stats = two.transport.stats();
    assert_eq!((stats.received, stats.unknown), (3, 1));
}

#[tokio::test]
async fn a_call_that_is_not_known_has_no_answer_and_costs_no_other_one_its_own() {
    let two = Broker::start(2, CLUSTER).await;
    let unknown = pb::Proposal { group_id: GROUP.0, kind: None };
    let known = ropewalk_broker::peers::ProposalKind::Command(b"command".to_vec());
    let known = ropewalk_broker::peers::RemoteProposal { group: GROUP, kind: known };
    let known = call_wire::proposal_to_wire(known);
    let calls = [None, Some(Call::Proposal(unknown)), Some(Call::Proposal(known))];
    let calls = (1..).zip(calls).map(|(id, call)| pb::CallRequest { id, call });
    let (mut client, _connection) = dial(&two.address, PATIENT).await.unwrap();
    let mut request = Request::new(futures::stream::iter(calls.collect::<Vec<_>>()));
    HAIL.write(request.metadata_mut());
    let mut answers = client.call(request).await.unwrap().into_inner();
    let (_, reply) = two.proposal().await;
    reply(Ok(Receipt::Done));
    for id in 1..=3 {
        let answer = soon(answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.id, id);
        let is_unanswered = matches!(answer.outcome, Some(Outcome::Unanswered(_)));
        assert_eq!(is_unanswered, id < 3, "{answer:?}");
    }
    assert_eq!(two.transport.stats().unknown, 2);
    // What is malformed is not of a later version.
    let malformed = raft_wire::frame(vec![message(MessageKind::Vote, 3, 2, 1)]);
    let mut request = Request::new(futures::stream::iter([malformed]));
    HAIL.write(request.metadata_mut());
    let mut answers = client.exchange(request).await.unwrap().into_inner();
    assert_eq!(soon(answers.message()).await.unwrap_err().code(), Code::InvalidArgument);
}
