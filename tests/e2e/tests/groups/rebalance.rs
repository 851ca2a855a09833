//! Who has what, and when it moves.

use std::time::Duration;

use ropewalk_proto::v1;
use tokio::time::Instant;

use crate::Node;
use crate::member::{Member, duration, joining, with};
use crate::support::eventually;

/// What is at once: far less than a rejoin grace or a drain timeout.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Two members go on until both have so many.
async fn share(one: &mut Member, other: &mut Member, counts: (usize, usize)) {
    tokio::join!(
        one.until("its share", |m| m.owned.len() == counts.0 && m.draining.is_empty()),
        other.until("its share", |m| m.owned.len() == counts.1),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_a_topic_and_what_one_had_is_the_others_when_it_closes() {
    let node = Node::start().await;
    let stubs = node.stubs();
    stubs.create("t", 6).await;
    for partition in 0..6 {
        stubs.append("t", partition, &["a", "b"]).await;
    }
    let mut one = Member::join(node.address(), joining("g", &["t"])).await;
    one.until("all of it", |m| m.read.len() == 12).await;
    assert_eq!(one.partitions(), [0, 1, 2, 3, 4, 5]);
    one.commit().await.unwrap();

    let mut two = Member::join(node.address(), joining("g", &["t"])).await;
    share(&mut one, &mut two, (3, 3)).await;
    let kept = one.partitions();
    let mut three = Member::join(node.address(), joining("g", &["t"])).await;
    tokio::join!(
        one.until("a third", |m| m.owned.len() == 2),
        two.until("a third", |m| m.owned.len() == 2),
        three.until("a third", |m| m.owned.len() == 2),
    );
    assert!(one.partitions().iter().all(|partition| kept.contains(partition)), "it only gives");
    assert_eq!(two.read.len() + three.read.len(), 0, "what was committed is not read again");
    assert_eq!(stubs.group("g").await.state(), v1::ConsumerGroupState::Stable);

    let begun = Instant::now();
    one.close();
    tokio::join!(
        two.within(AT_ONCE, "half", |m| m.owned.len() == 3),
        three.within(AT_ONCE, "half", |m| m.owned.len() == 3),
    );
    two.close();
    three.within(AT_ONCE, "everything", |m| m.owned.len() == 6).await;
    println!("two members went in {:?}", begun.elapsed());
    for partition in 0..6 {
        stubs.append("t", partition, &["c"]).await;
    }
    three.until("what came since", |m| m.read.len() == 6).await;
    assert!(three.read.iter().all(|(_, offset, value)| (*offset, value.as_str()) == (2, "c")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_restarts_within_its_grace_moves_nothing() {
    let node = Node::start().await;
    node.stubs().create("t", 4).await;
    let named = |name: &'static str| {
        with(joining("g", &["t"]), move |member| {
            member.instance_name = name.to_owned();
            member.rejoin_grace = duration(Duration::from_secs(20));
        })
    };
    let mut one = Member::join(node.address(), named("one")).await;
    let mut two = Member::join(node.address(), named("two")).await;
    share(&mut one, &mut two, (2, 2)).await;
    let (had, kept, told) = (two.partitions(), one.partitions(), one.assignments);
    let old = (two.id.clone(), two.generation);
    two.close();
    eventually("it is waited for", async || {
        node.stubs().group("g").await.members.iter().any(|member| member.lost_until.is_some())
    })
    .await;
    one.go_on(Duration::from_millis(300)).await;
    let mut two = Member::join(node.address(), named("two")).await;
    two.within(AT_ONCE, "what it had", |m| !m.owned.is_empty()).await;
    one.go_on(Duration::from_millis(300)).await;
    assert_eq!((two.partitions(), one.partitions(), one.assignments), (had, kept, told));
    assert_ne!(two.id, old.0, "it is another member of the same name");
    assert!(two.generation > old.1, "what the one before says does not count any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_members_than_partitions_wait_and_one_takes_over() {
    let node = Node::start().await;
    node.stubs().create("t", 1).await;
    let mut one = Member::join(node.address(), joining("g", &["t"])).await;
    one.until("the partition", |m| m.owned.len() == 1).await;
    let mut two = Member::join(node.address(), joining("g", &["t"])).await;
    two.until("word that there is nothing for it", |m| m.assignments == 1).await;
    one.go_on(Duration::from_millis(200)).await;
    assert!(two.owned.is_empty() && one.draining.is_empty());
    one.close();
    two.within(AT_ONCE, "the partition", |m| m.owned.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_and_topics_join_by_themselves_from_their_beginning() {
    let node = Node::start().await;
    let stubs = node.stubs();
    stubs.create("logs-a", 1).await;
    stubs.append("logs-a", 0, &["old"]).await;
    let mut request = joining("g", &[]);
    request.topics = vec![v1::TopicSelection {
        selection: Some(v1::topic_selection::Selection::Pattern("logs-.*".to_owned())),
        partitions: Vec::new(),
    }];
    let position = Some(v1::start::Position::Latest(()));
    request.default_start = Some(v1::Start { position });
    let mut member = Member::join(node.address(), request.clone()).await;
    member.until("the topic", |m| m.owned.len() == 1).await;
    assert_eq!(stubs.committed("g").await, [("logs-a".to_owned(), 0, 1)], "its start is kept");
    stubs.grow("logs-a", 2).await;
    stubs.append("logs-a", 1, &["new"]).await;
    stubs.create("logs-b", 1).await;
    stubs.append("logs-b", 0, &["newer"]).await;
    stubs.create("other", 1).await;
    member.until("what is new", |m| m.read.len() == 2).await;
    let values: Vec<_> =
        member.read.iter().map(|(place, offset, _)| (place.clone(), *offset)).collect();
    for place in [("logs-a".to_owned(), 1), ("logs-b".to_owned(), 0)] {
        assert!(values.contains(&(place, 0)), "{values:?}");
    }
    assert_eq!(member.owned.len(), 3);

    // Who comes next goes on where the group was, although it has committed nothing itself.
    member.close();
    let mut next = Member::join(node.address(), request).await;
    next.until("everything again", |m| m.owned.len() == 3 && m.read.len() == 2).await;
    let delete = v1::DeleteTopicRequest { name: "logs-b".to_owned() };
    stubs.admin().delete_topic(delete).await.unwrap();
    next.until("that a topic is gone", |m| m.owned.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_give_back_loses_it_at_the_deadline() {
    let node = Node::start().await;
    node.stubs().create("t", 2).await;
    let slow = with(joining("g", &["t"]), |member| {
        member.drain_timeout = duration(Duration::from_secs(1));
    });
    let mut one = Member::join(node.address(), slow).await;
    one.releases = false;
    one.until("both", |m| m.owned.len() == 2).await;
    let mut two = Member::join(node.address(), joining("g", &["t"])).await;
    one.until("that one is revoked", |m| m.draining.len() == 1).await;
    let revoked = one.draining.first().unwrap().clone();
    let begun = Instant::now();
    // It may commit until then.
    let generation = one.generation;
    one.commit_at(&revoked, 0, generation).await.unwrap();
    tokio::join!(
        one.until("that it is over", |m| m.owned.len() == 1),
        two.until("the partition", |m| m.owned.len() == 1),
    );
    assert!(begun.elapsed() > Duration::from_millis(500), "it had its time");
    assert!(two.owned.contains_key(&revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_plans_who_gets_what() {
    let node = Node::start().await;
    node.stubs().create("t", 3).await;
    let planned = with(joining("g", &["t"]), |member| member.strategy = "client:mine".to_owned());
    let mut one = Member::join(node.address(), planned.clone()).await;
    one.until("a plan request", |m| m.plans.len() == 1).await;
    let mut two = Member::join(node.address(), planned).await;
    one.until("another plan request", |m| m.plans.len() == 2).await;
    let (first, plan) = (one.plans[0].plan_id, one.plans[1].clone());
    assert_eq!((plan.members.len(), plan.topics[0].partition_count), (2, 3));
    let give = |member: &Member, partitions: Vec<i32>| v1::MemberAssignment {
        member_id: member.id.clone(),
        partitions: vec![v1::TopicPartitions { topic: "t".to_owned(), partitions }],
    };
    let invalid = tonic::Code::InvalidArgument;
    for (what, id, plan) in [
        ("an old plan", first, vec![give(&one, vec![0]), give(&two, vec![1, 2])]),
        ("one that leaves something out", plan.plan_id, vec![give(&two, vec![1, 2])]),
    ] {
        let status = one.submit(id, plan).await.unwrap_err();
        crate::refused(what, &status, invalid, "INVALID_FIELD");
    }
    let plan_of_both = vec![give(&one, vec![1]), give(&two, vec![0, 2])];
    one.submit(plan.plan_id, plan_of_both).await.unwrap();
    share(&mut one, &mut two, (1, 2)).await;
    assert_eq!((one.partitions(), two.partitions()), (vec![1], vec![0, 2]));
}
