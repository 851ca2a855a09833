//! Groups while brokers are killed.

use std::time::Duration;

use futures::future::join_all;
use ropewalk_harness::{Broker, BrokerBuilder, cluster};
use ropewalk_proto::v1;
use tokio::time::{Instant, sleep};

use crate::Stubs;
use crate::member::{Member, connect, joining, with};
use crate::support::{Three, cli, soon};

/// How soon after the last change a group is stable.
const STABLE_WITHIN: Duration = Duration::from_secs(15);

/// The broker that coordinates a group: the one that answers without asking another.
async fn coordinator_of(three: &Three, group: &str) -> usize {
    loop {
        for node in 1..=3 {
            let stubs = Stubs(connect(three.address(node)).await);
            let asked = v1::GetConsumerGroupRequest { group: group.to_owned() };
            let mut request = tonic::Request::new(asked);
            request.metadata_mut().insert("ropewalk-no-forward", "1".parse().unwrap());
            let answer = stubs.admin().get_consumer_group(request).await;
            if answer.is_ok() {
                return node;
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_stable_soon_after_its_coordinator_was_killed_in_a_rebalance() {
    let mut three = Three::start().await;
    three.cli(&["topic", "create", "t", "--partitions", "6"]);
    Stubs(connect(three.address(1)).await).commit("g", "t", 0, 0).await.unwrap();
    let coordinator = coordinator_of(&three, "g").await;
    let others: Vec<_> = (1..=3).filter(|node| *node != coordinator).collect();
    let mut one = Member::join(three.address(others[0]), joining("g", &["t"])).await;
    one.until("everything", |m| m.owned.len() == 6).await;
    one.releases = false;
    let mut two = Member::join(three.address(others[1]), joining("g", &["t"])).await;
    one.until("that it has to give something", |m| m.draining.len() == 3).await;
    let ids = (one.id.clone(), two.id.clone());
    let begun = Instant::now();
    three.at(coordinator).kill9().await.unwrap();
    one.releases = true;
    let draining: Vec<_> = one.draining.iter().cloned().collect();
    // It may have to be told again, by whoever coordinates next.
    while one.give_back(&draining).await.is_err() {
        assert!(begun.elapsed() < STABLE_WITHIN);
        sleep(Duration::from_millis(100)).await;
    }
    tokio::join!(
        one.within(STABLE_WITHIN, "half", |m| m.owned.len() == 3 && m.draining.is_empty()),
        two.within(STABLE_WITHIN, "half", |m| m.owned.len() == 3),
    );
    let stubs = Stubs(connect(three.address(others[0])).await);
    let mut state = stubs.group("g").await;
    while state.state() != v1::ConsumerGroupState::Stable
        || state.members.iter().any(|member| member.lost_until.is_some())
    {
        assert!(begun.elapsed() < STABLE_WITHIN, "{state:?}");
        tokio::join!(one.go_on(Duration::from_millis(100)), two.go_on(Duration::from_millis(100)),);
        state = stubs.group("g").await;
    }
    println!("stable {:?} after the coordinator was killed", begun.elapsed());
    let kept = (one.assignments, two.assignments);
    // And nothing moves any more when the grace of everybody is over.
    tokio::join!(one.go_on(Duration::from_secs(7)), two.go_on(Duration::from_secs(7)));
    assert_eq!((one.assignments, two.assignments), kept);
    assert_eq!((&one.id, &two.id), (&ids.0, &ids.1));
    one.commit().await.unwrap();
    two.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_a_replica_of_the_coordinator_serves_members_too() {
    let small = |_, builder: BrokerBuilder| builder.args(["--journal-size", "64MiB"]);
    let brokers = cluster::several(4, small).await.unwrap();
    let addresses: Vec<_> = brokers.iter().map(Broker::address).collect();
    cli(addresses[0], &["topic", "create", "t", "--partitions", "4"]);
    for partition in ["0", "1", "2", "3"] {
        cli(addresses[0], &["produce", "t", "--partition", partition, "v"]);
    }
    let mut members = Vec::new();
    for address in &addresses {
        members.push(Member::join(address, joining("g", &["t"])).await);
    }
    let each = members
        .iter_mut()
        .map(|member| member.until("its share", |m| m.owned.len() == 1 && m.draining.is_empty()));
    join_all(each).await;
    // Three close; the last one, whichever broker it is on, gets all that is there.
    let mut last = members.pop().unwrap();
    for member in &mut members {
        member.commit().await.unwrap();
        member.close();
    }
    last.until("everything", |m| m.owned.len() == 4).await;
    last.commit().await.unwrap();
    let stubs = Stubs(connect(addresses[3]).await);
    assert_eq!(stubs.group("g").await.members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_made_also_where_nobody_leads_a_partition() {
    let mut three = Three::start().await;
    let create = ["topic", "create", "t", "--partitions", "3", "--replication-factor", "1"];
    three.cli(&create);
    let stubs = Stubs(connect(three.address(1)).await);
    for partition in 0..3 {
        stubs.append("t", partition, &["v"]).await;
    }
    let mut one = Member::join(three.address(1), joining("g", &["t"])).await;
    one.until("everything", |m| m.read.len() == 3).await;
    three.at(3).kill9().await.unwrap();
    // A broker that has not read them itself does not know where the partitions end.
    let _stream = one.call_through(three.address(2)).await;
    let committed = async {
        // The coordinator may have been led by the broker that is gone.
        while one.commit().await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    soon("a commit", committed).await;
    let all = [0, 1, 2].map(|partition| ("t".to_owned(), partition, 1));
    assert_eq!(stubs.committed("g").await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_nobody_leads_holds_up_no_other() {
    let mut three = Three::start().await;
    let create = ["topic", "create", "t", "--partitions", "6", "--replication-factor", "1"];
    three.cli(&create);
    let stubs = Stubs(connect(three.address(1)).await);
    for partition in 0..6 {
        stubs.append("t", partition, &["v"]).await;
    }
    three.at(3).kill9().await.unwrap();
    let mut one = Member::join(three.address(1), joining("g", &["t"])).await;
    one.until("what is led", |m| m.owned.len() == 4 && m.read.len() == 4).await;
    one.commit().await.unwrap();
    // Nor what comes and goes meanwhile.
    let mut two = Member::join(three.address(2), joining("g", &["t"])).await;
    tokio::join!(
        one.until("less", |m| m.owned.len() < 4 && m.draining.is_empty()),
        two.until("a part of it", |m| !m.owned.is_empty()),
    );
    one.go_on(Duration::from_secs(6)).await;
    two.go_on(Duration::from_secs(1)).await;

    three.at(3).begin().unwrap();
    three.at(3).wait_ready().await.unwrap();
    tokio::join!(
        one.until("half", |m| m.owned.len() == 3),
        two.until("half", |m| m.owned.len() == 3),
    );
    let read = |m: &Member| m.read.iter().map(|(place, ..)| place.1).collect::<Vec<_>>();
    let all = async {
        loop {
            let mut read = [read(&one), read(&two)].concat();
            read.sort_unstable();
            read.dedup();
            if read == [0, 1, 2, 3, 4, 5] {
                return;
            }
            tokio::join!(
                one.go_on(Duration::from_millis(100)),
                two.go_on(Duration::from_millis(100))
            );
        }
    };
    soon("the rest", all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_broker_dies_comes_back_through_another_and_keeps_what_it_had() {
    let mut three = Three::start().await;
    three.cli(&["topic", "create", "t", "--partitions", "4"]);
    Stubs(connect(three.address(1)).await).commit("g", "t", 0, 0).await.unwrap();
    let coordinator = coordinator_of(&three, "g").await;
    let others: Vec<_> = (1..=3).filter(|node| *node != coordinator).collect();
    let mut one = Member::join(three.address(coordinator), joining("g", &["t"])).await;
    let mut two = Member::join(three.address(others[0]), joining("g", &["t"])).await;
    tokio::join!(
        one.until("half", |m| m.owned.len() == 2 && m.draining.is_empty()),
        two.until("half", |m| m.owned.len() == 2),
    );
    let (had, told) = (two.partitions(), one.assignments);
    three.at(others[0]).kill9().await.unwrap();
    two.end().await;
    let again = with(joining("g", &["t"]), |member| member.member_id = two.id.clone());
    let mut back = Member::join(three.address(others[1]), again).await;
    assert_eq!(back.id, two.id);
    back.until("what it had", |m| m.owned.len() == 2).await;
    assert_eq!(back.partitions(), had);
    one.go_on(Duration::from_secs(1)).await;
    assert_eq!(one.assignments, told, "nothing has moved");

    // One that does not come back is missed, although nobody has said that it went.
    three.at(others[0]).begin().unwrap();
    three.at(others[0]).wait_ready().await.unwrap();
    let begun = Instant::now();
    three.at(others[1]).kill9().await.unwrap();
    one.within(Duration::from_secs(25), "everything", |m| m.owned.len() == 4).await;
    println!("missed after {:?}", begun.elapsed());
}
