//! Streams of members that end while they join, over three brokers in one process.

use std::task::Poll;

use futures::{FutureExt, poll};
use ropewalk_core::{Offset, Timestamp};
use ropewalk_groups::{Committer, GroupCommand};
use tokio::time::timeout;

use super::*;
use crate::cluster_tests::{Cluster, PATIENCE, create};
use crate::coordinator::CoordinatorCommand;

/// Long before a stream that nobody has told of is missed.
const SOON: Duration = Duration::from_secs(5);

fn request() -> JoinRequest {
    JoinRequest {
        group: "g".to_owned(),
        member: None,
        instance: None,
        client_id: String::new(),
        host: String::new(),
        selections: vec![Selection::Name("t".to_owned())],
        strategy: None,
        patience: Patience { grace: Duration::from_secs(600), ..Patience::default() },
    }
}

async fn open(broker: &Arc<Broker>, request: JoinRequest) -> Membership {
    timeout(PATIENCE, Membership::open(broker, request)).await.unwrap().unwrap()
}

/// Waits until the group has had members and has no more.
async fn until_left(sights: &mut Sights) {
    let left = async {
        while sights.last().group.as_ref().is_none_or(|g| g.generation() == 0 || !g.is_empty()) {
            sights.changed().await;
        }
    };
    timeout(SOON, left).await.expect("the member goes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_up_to_join_is_no_member() {
    let cluster = Cluster::start().await;
    let broker = cluster.broker(0);
    create(broker, "t", 3).await;
    // Once the coordinator is led, so that what is given up is under way.
    drop(open(broker, JoinRequest { group: "other".to_owned(), ..request() }).await);
    timeout(PATIENCE, broker.group_now("g")).await.unwrap().unwrap();
    let mut sights = broker.watch_group("g");
    {
        let mut joining = Membership::open(broker, request()).boxed();
        assert!(matches!(poll!(&mut joining), Poll::Pending));
    }
    until_left(&mut sights).await;

    // One that was a member before is waited for instead: it may try it through another broker.
    let mut member = open(broker, request()).await;
    member.cut_off();
    let back = JoinRequest { member: Some(member.member()), ..request() };
    {
        let mut joining = Membership::open(broker, back.clone()).boxed();
        assert!(matches!(poll!(&mut joining), Poll::Pending));
    }
    let is_back = |sights: &Sights| {
        let standing = sights.last().group.as_ref().and_then(|g| g.standing(member.member()));
        standing.is_some_and(|standing| standing.session == 2 && standing.is_lost)
    };
    let lost = async {
        while !is_back(&sights) {
            sights.changed().await;
        }
    };
    timeout(SOON, lost).await.expect("it is waited for");
    drop(member);
    open(cluster.broker(1), back).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_while_it_comes_back_leaves_no_member() {
    let cluster = Cluster::start().await;
    let broker = cluster.broker(0);
    create(broker, "t", 3).await;
    let mut member = open(broker, request()).await;
    timeout(PATIENCE, member.next()).await.unwrap().unwrap();
    let mut sights = broker.watch_group("g");
    // As when another broker leads: it has none of the streams.
    let begin = CoordinatorCommand::Group(GroupCommand::Begin { time: Timestamp(0) });
    let coordinator = broker.coordinator_of("g").unwrap();
    broker.command_coordinator(&coordinator, &begin).await.unwrap();
    while member.coming_back.is_none() {
        assert!(poll!(member.next().boxed()).is_pending());
        sleep(Duration::from_millis(1)).await;
    }
    drop(member);
    until_left(&mut sights).await;
    cluster.end().await;
}

/// A member that is still lost after it failed to come back tries it once at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_does_not_fence_itself() {
    let cluster = Cluster::start().await;
    let broker = cluster.broker(0);
    create(broker, "t", 3).await;
    let mut member = open(broker, request()).await;
    timeout(PATIENCE, member.next()).await.unwrap().unwrap();
    let mut sights = broker.watch_group("g");
    let begin = CoordinatorCommand::Group(GroupCommand::Begin { time: Timestamp(0) });
    let coordinator = broker.coordinator_of("g").unwrap();
    broker.command_coordinator(&coordinator, &begin).await.unwrap();
    let standing = |sights: &Sights| {
        let group = sights.last().group.clone();
        group.and_then(|group| group.standing(member.member()))
    };
    while !standing(&sights).is_some_and(|standing| standing.is_lost) {
        timeout(PATIENCE, sights.changed()).await.unwrap();
    }
    member.came_back(Err(CommitError::Propose(ProposeError::NoLeader))).unwrap();
    // Longer than the pause: a second try would be over, too.
    let next = timeout(4 * TRY_AGAIN, member.next()).await;
    assert!(next.is_err(), "it has nothing to be told: {next:?}");
    let now = broker.group_now("g").await.unwrap().group.unwrap();
    let now = now.standing(member.member()).unwrap();
    assert_eq!((now.session, now.is_lost), (2, false));
    cluster.end().await;
}

/// A process that is started again takes the place of the one before it, which is told why it is no
/// member any more, over its stream and when it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_its_instance_name_is_told_so() {
    let cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 3).await;
    let named = JoinRequest { instance: Some("pod-0".to_owned()), ..request() };
    let mut old = open(cluster.broker(0), named.clone()).await;
    timeout(PATIENCE, old.next()).await.unwrap().unwrap();
    // Its own stream of before is told nothing of another.
    let back = JoinRequest { member: Some(old.member()), ..named.clone() };
    let mut again = open(cluster.broker(1), back.clone()).await;
    assert_eq!(fence(end(&mut old).await), Fence::NotAMember);
    timeout(PATIENCE, again.next()).await.unwrap().unwrap();

    let mut new = open(cluster.broker(2), named).await;
    assert_eq!(fence(end(&mut again).await), Fence::InstanceTaken);
    let back = timeout(PATIENCE, Membership::open(cluster.broker(0), back)).await.unwrap();
    assert_eq!(fence(back.err().unwrap()), Fence::InstanceTaken);
    let delta = timeout(PATIENCE, new.next()).await.unwrap().unwrap();
    assert_eq!(delta.assigned.len(), 1, "the one partition");
    cluster.end().await;
}

async fn end(member: &mut Membership) -> CommitError {
    loop {
        match timeout(PATIENCE, member.next()).await.unwrap() {
            Ok(_) => {}
            Err(MembershipError::Refused(error)) => return error,
            Err(error) => panic!("{error}"),
        }
    }
}

fn fence(error: CommitError) -> Fence {
    match error {
        CommitError::Refused(CoordinatorError::Group(GroupError::Fenced(fenced))) => fenced.fence,
        other => panic!("{other} is no fence"),
    }
}

/// Whichever broker a member commits through, the time of it is that of the broker that leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_of_the_coordinator_says_what_time_it_is() {
    let cluster = Cluster::start().await;
    create(cluster.broker(0), "t", 1).await;
    let mut member = open(cluster.broker(0), request()).await;
    let delta = timeout(PATIENCE, member.next()).await.unwrap().unwrap();
    let committer = Committer { member: member.member(), generation: delta.generation };
    let (topic, partition) = delta.assigned[0];
    let mut last = Timestamp(0);
    for (offset, broker) in (0..).zip(cluster.running()) {
        let offsets = vec![(topic, partition, Offset(offset), String::new())];
        broker.commit_of_member("g", committer, offsets, Vec::new()).await.unwrap();
        let kept = broker.positions("g").await.unwrap().remove(0).2;
        assert!(kept.time > last, "{kept:?}");
        last = kept.time;
    }
    cluster.end().await;
}
