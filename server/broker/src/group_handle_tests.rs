//! To whom a proposal goes, and what is asked for again.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_consensus::{Durability, ProposalKind, ProposeError, Receipt};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::{BatchDraft, Compression, GroupId, NodeId, Offset, ReplicaId, TimestampType};
use tokio::time::Instant;

use crate::driver::Driver;
use crate::fake_peers::{FakePeers, unreachable};
use crate::group_handle::{GroupHandle, GroupLeader, LEADER_TIMEOUT, Ways};
use crate::group_watch::GroupWatch;
use crate::peers::RemoteError;

const OWN: NodeId = NodeId(1);

fn replica(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 0)
}

/// The way to a group that brokers 2 and 3 are to have, and this one, if it has a watch.
fn handle(peers: &Arc<FakePeers>, watch: Option<Arc<GroupWatch>>) -> GroupHandle {
    let ways = Ways::new(OWN, Driver::without_shards(), peers.clone());
    GroupHandle::new(GroupId::FIRST_PARTITION, &ways, watch, &[replica(2), replica(3)])
}

fn command() -> ProposalKind {
    ProposalKind::Command(b"command".to_vec())
}

fn batch() -> ProposalKind {
    let times = RecordTimes { newest: None, untimed: true, shortest_ttl: None };
    let (codec, kind) = (Compression::None, TimestampType::Create);
    let draft = BatchDraft::new(b"records", 1, codec, kind, times, None);
    ProposalKind::Batch { draft, expected: None, durability: Durability::Quorum, epoch: None }
}

fn done() -> Result<Receipt, RemoteError> {
    Ok(Receipt::Done)
}

fn refused(error: ProposeError) -> Result<Receipt, RemoteError> {
    Err(RemoteError::Refused(error))
}

fn lost() -> Result<Receipt, RemoteError> {
    Err(RemoteError::Lost { to: "2".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_a_group_elsewhere_is_looked_for_and_remembered() {
    let peers = Arc::new(FakePeers::default());
    let handle = handle(&peers, None);
    assert_eq!(handle.leader(), None);
    peers.answer(2, refused(ProposeError::NoLeader));
    peers.answer(3, done());
    assert_eq!(handle.propose(command, None).await, Ok(Receipt::Done));
    assert_eq!(peers.asked(), [2, 3]);
    assert_eq!(handle.leader(), Some(GroupLeader { node: NodeId(3), epoch: None }));
    // It is asked first, and who is next once it does not lead any more.
    peers.answer(3, done());
    assert_eq!(handle.propose(command, None).await, Ok(Receipt::Done));
    peers.answer(3, refused(ProposeError::NoGroup));
    peers.answer(3, refused(ProposeError::NoLeader));
    peers.answer(2, done());
    assert_eq!(handle.propose(command, None).await, Ok(Receipt::Done));
    assert_eq!(peers.asked(), [3, 3, 3, 2]);
    assert_eq!(handle.leader().map(|leader| leader.node), Some(NodeId(2)));
    handle.ways().forget(|group| *group == handle.group);
    assert_eq!(handle.leader(), None);
}

#[tokio::test(start_paused = true)]
async fn the_epoch_of_a_leader_elsewhere_is_the_one_that_it_answered_in() {
    let peers = Arc::new(FakePeers::default());
    let handle = handle(&peers, None);
    let bounds = |leader_epoch| Receipt::Bounds {
        start: Offset(0),
        high_watermark: Offset(0),
        leader_epoch,
    };
    // A broker of an older version tells none.
    peers.answer(2, Ok(bounds(0)));
    handle.propose(|| ProposalKind::Bounds, None).await.unwrap();
    assert_eq!(handle.leader(), Some(GroupLeader { node: NodeId(2), epoch: None }));
    // An answer that came late, and one that tells no epoch, take nothing back.
    for (answer, known) in [(bounds(6), 6), (bounds(8), 8), (bounds(6), 8), (Receipt::Done, 8)] {
        peers.answer(2, Ok(answer));
        handle.propose(|| ProposalKind::Bounds, None).await.unwrap();
        assert_eq!(handle.leader(), Some(GroupLeader { node: NodeId(2), epoch: Some(known) }));
    }
    // What is known of one leader is not known of the next.
    peers.answer(2, refused(ProposeError::NoLeader));
    peers.answer(2, refused(ProposeError::NoLeader));
    peers.answer(3, done());
    handle.propose(command, None).await.unwrap();
    assert_eq!(handle.leader(), Some(GroupLeader { node: NodeId(3), epoch: None }));
}

#[tokio::test(start_paused = true)]
async fn what_was_perhaps_done_is_not_done_again_and_a_question_is_asked_again() {
    let peers = Arc::new(FakePeers::default());
    let handle = handle(&peers, None);
    peers.answer(2, lost());
    let perhaps = handle.propose(command, None).await;
    assert_eq!(perhaps, Err(ProposeError::LeaderChanged { epoch: 0 }));
    assert_eq!(peers.asked(), [2]);
    for question in [ProposalKind::Bounds, ProposalKind::Progress] {
        let question = || match question {
            ProposalKind::Bounds => ProposalKind::Bounds,
            _ => ProposalKind::Progress,
        };
        peers.answer(2, lost());
        peers.answer(2, done());
        assert_eq!(handle.propose(question, None).await, Ok(Receipt::Done));
        assert_eq!(peers.asked(), [2, 2]);
    }
    // What the group itself refuses is final.
    peers.answer(2, refused(ProposeError::Overloaded));
    assert_eq!(handle.propose(command, None).await, Err(ProposeError::Overloaded));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_leader_for_ever() {
    let peers = Arc::new(FakePeers::default());
    let begun = Instant::now();
    let elsewhere = handle(&peers, None).propose(command, None).await;
    assert_eq!(elsewhere, Err(ProposeError::NoLeader));
    let watch = Arc::new(GroupWatch::new(replica(1)));
    let asked = peers.asked();
    assert!(asked.contains(&2) && asked.contains(&3), "both are tried: {asked:?}");
    let here = handle(&peers, Some(watch)).propose(command, None).await;
    assert_eq!(here, Err(ProposeError::NoLeader));
    assert_eq!(peers.asked(), Vec::<u64>::new(), "its own replica knows that nobody leads");
    let waited = begun.elapsed();
    assert!(waited >= 2 * LEADER_TIMEOUT && waited < 3 * LEADER_TIMEOUT, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn its_own_replica_tells_who_leads() {
    let peers = Arc::new(FakePeers::default());
    let watch = Arc::new(GroupWatch::new(replica(1)));
    let handle = handle(&peers, Some(Arc::clone(&watch)));
    assert_eq!(handle.leader(), None);
    let elects = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // It leads, but does not serve yet; and then another one does.
        watch.set_leader(Some(replica(1)), 4);
        tokio::time::sleep(Duration::from_secs(1)).await;
        watch.set_leader(Some(replica(3)), 5);
    };
    peers.answer(3, Err(unreachable("3")));
    peers.answer(3, done());
    let (proposed, ()) = tokio::join!(handle.propose(command, None), elects);
    assert_eq!((proposed, peers.asked()), (Ok(Receipt::Done), vec![3, 3]));
    assert_eq!(handle.leader(), Some(GroupLeader { node: NodeId(3), epoch: Some(5) }));
}

/// With an epoch that is over, a batch that comes late to a broker that leads again could be
/// appended behind one that was handed over after it.
#[tokio::test(start_paused = true)]
async fn a_batch_is_for_the_epoch_that_is_known_when_it_is_handed_over() {
    let peers = Arc::new(FakePeers::default());
    let submit = async |handle: &GroupHandle| {
        let (told, end) = tokio::sync::oneshot::channel();
        let reply = Box::new(move |result| told.send(result).unwrap());
        handle.submit(batch(), Box::new(()), reply).await.unwrap();
        end.await.unwrap()
    };
    // Its own replica knows the epoch.
    let watch = Arc::new(GroupWatch::new(replica(1)));
    watch.set_leader(Some(replica(2)), 9);
    peers.answer(2, refused(ProposeError::NoLeader));
    let here = handle(&peers, Some(Arc::clone(&watch)));
    assert_eq!(submit(&here).await, Err(ProposeError::NoLeader));
    watch.set_leader(Some(replica(3)), 10);
    peers.answer(3, done());
    assert_eq!(submit(&here).await, Ok(Receipt::Done));
    assert_eq!(peers.epochs(), [Some(9), Some(10)]);

    // Without one, the leader is asked first, and again when it has led to an end.
    let elsewhere = handle(&peers, None);
    for epoch in [3, 5] {
        let (start, high_watermark) = (Offset(0), Offset(0));
        peers.answer(2, Ok(Receipt::Bounds { start, high_watermark, leader_epoch: epoch }));
        peers.answer(2, done());
        peers.answer(2, refused(ProposeError::NoLeader));
        assert_eq!(submit(&elsewhere).await, Ok(Receipt::Done));
        assert_eq!(submit(&elsewhere).await, Err(ProposeError::NoLeader));
        assert_eq!(peers.epochs(), [Some(epoch), Some(epoch)]);
    }
}

#[tokio::test]
async fn what_is_held_for_a_batch_is_let_go_when_it_is_answered() {
    let peers = Arc::new(FakePeers::default());
    let watch = Arc::new(GroupWatch::new(replica(1)));
    watch.set_leader(Some(replica(2)), 1);
    let handle = handle(&peers, Some(watch));
    let held = Arc::new(());
    let (told, end) = tokio::sync::oneshot::channel();
    peers.answer(2, refused(ProposeError::Overloaded));
    let reply = Box::new(move |result| told.send(result).unwrap());
    handle.submit(command(), Box::new(Arc::clone(&held)), reply).await.unwrap();
    assert_eq!(end.await.unwrap(), Err(ProposeError::Overloaded));
    assert_eq!(Arc::strong_count(&held), 1);
}
