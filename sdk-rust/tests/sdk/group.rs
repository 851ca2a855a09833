//! A member of a consumer group against a broker in memory that says, event by event, what becomes
//! of its partitions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fake::{self, Fake, MemberStream};
use ropewalk::{
    ConsumedRecord, GroupConsumer, GroupConsumerBuilder, GroupEvent, GroupPlan, Position,
    ReceiveInterceptor,
};
use ropewalk_proto::v1;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(20);

/// A member `m` of generation 4, with what the set-up is changed to.
async fn member(
    fake: &Fake,
    change: impl FnOnce(GroupConsumerBuilder) -> GroupConsumerBuilder,
) -> (GroupConsumer, MemberStream) {
    let client = fake.client().await;
    let building = change(client.group("g").consumer().topic("t")).build();
    let joining = async {
        let stream = fake.member().await;
        stream.started(4);
        stream
    };
    let (consumer, stream) =
        timeout(SOON, async { tokio::join!(building, joining) }).await.unwrap();
    (consumer.unwrap(), stream)
}

async fn next(consumer: &mut GroupConsumer) -> (i32, i64) {
    let record = timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap();
    (record.partition, record.offset)
}

/// Asks for more for a while, where there is none.
async fn idle(consumer: &mut GroupConsumer, millis: u64) {
    assert!(timeout(Duration::from_millis(millis), consumer.next()).await.is_err());
}

fn released(request: &v1::CommitOffsetRequest) -> Vec<i32> {
    request.release.iter().flat_map(|topic| topic.partitions.clone()).collect()
}

#[tokio::test]
async fn a_slow_member_commits_and_gives_back_in_the_middle_of_a_batch() {
    const RECORDS: i32 = 10_000;
    let fake = Fake::start().await;
    let interval = Duration::from_millis(200);
    let (mut consumer, stream) = member(&fake, |builder| builder.auto_commit(interval)).await;
    stream.assignment(5, &[], &[(0, 0), (1, 0)], &[]);
    stream.batch(0, 0, RECORDS);
    let mut last = (0, 0);
    while fake.kept().is_empty() {
        last = next(&mut consumer).await;
        assert!(last.1 < 1_000, "nothing is committed");
        sleep(Duration::from_millis(5)).await;
    }
    stream.assignment(6, &[], &[], &[0]);
    stream.batch(1, 0, 1);
    let mut done = last.1;
    while last.0 == 0 {
        done = last.1;
        last = next(&mut consumer).await;
        assert!(last.1 < 2_000, "it goes on with what it is to give back");
        sleep(Duration::from_millis(5)).await;
    }
    let commits = fake.state().commits.clone();
    let (giving_back, _) = commits.iter().find(|(it, _)| released(it) == [0]).unwrap();
    // Everything that it was given is done, and nothing comes twice.
    assert_eq!(giving_back.offsets[0].offset, done + 1);
    assert_eq!((giving_back.member_id.as_str(), giving_back.generation), ("m", 6));
}

#[tokio::test]
async fn a_handler_that_has_begun_is_finished_by_the_next_call() {
    let fake = Fake::start().await;
    let (begun, may_end) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (is_begun, ends) = (Arc::clone(&begun), Arc::clone(&may_end));
    let (mut consumer, stream) = member(&fake, |builder| {
        builder.manual_commit().on_revoked(move |revoked| {
            let (is_begun, ends) = (Arc::clone(&is_begun), Arc::clone(&ends));
            async move {
                is_begun.store(true, Ordering::SeqCst);
                ends.notified().await;
                revoked.committer.commit(revoked.positions).await.unwrap();
            }
        })
    })
    .await;
    stream.assignment(5, &[], &[(0, 0)], &[]);
    stream.batch(0, 0, 3);
    for offset in 0..3 {
        assert_eq!(next(&mut consumer).await, (0, offset));
    }
    stream.assignment(6, &[], &[], &[0]);
    while !begun.load(Ordering::SeqCst) {
        idle(&mut consumer, 20).await;
    }
    // The call was given up in the middle of the handler: nothing is given back yet.
    idle(&mut consumer, 20).await;
    assert!(fake.state().commits.is_empty());
    may_end.notify_one();
    idle(&mut consumer, 300).await;
    let commits = fake.state().commits.clone();
    let said: Vec<_> = commits.iter().map(|(it, _)| (it.offsets.len(), released(it))).collect();
    assert_eq!(said, [(1, vec![]), (0, vec![0])], "first its commit, and then the partition");
    assert_eq!(fake.kept(), [(0, 3)]);
}

#[tokio::test]
async fn who_handles_for_long_finds_its_stream_alive() {
    let fake = Fake::start().await;
    let heartbeat = Duration::from_millis(100);
    let (mut consumer, stream) =
        member(&fake, |builder| builder.heartbeat_interval(heartbeat)).await;
    stream.assignment(5, &[], &[(0, 0)], &[]);
    for offset in 0..12 {
        stream.batch(0, offset, 1);
        assert_eq!(next(&mut consumer).await, (0, offset));
        stream.heartbeat();
        sleep(4 * heartbeat).await;
    }
    assert_eq!(fake.state().subscriptions.len(), 1);
}

#[tokio::test]
async fn a_gap_that_was_told_is_committed() {
    let fake = Fake::start().await;
    let interval = Duration::from_millis(100);
    let (mut consumer, stream) = member(&fake, |builder| builder.auto_commit(interval)).await;
    stream.assignment(5, &[], &[(0, 0)], &[]);
    stream.batch(0, 0, 1);
    stream.gap(0, 1, 8);
    assert_eq!(next(&mut consumer).await, (0, 0));
    idle(&mut consumer, 500).await;
    assert_eq!(fake.kept().last(), Some(&(0, 8)));
}

/// Writes down which records it is shown.
struct Shown(Arc<Mutex<Vec<i64>>>);

impl ReceiveInterceptor for Shown {
    fn on_receive(&self, record: &ConsumedRecord) {
        self.0.lock().unwrap().push(record.offset);
    }
}

#[tokio::test]
async fn what_is_another_members_is_shown_to_nobody() {
    let fake = Fake::start().await;
    let shown: Arc<Mutex<Vec<i64>>> = Arc::default();
    let shows = Shown(Arc::clone(&shown));
    let (mut consumer, stream) =
        member(&fake, |builder| builder.manual_commit().intercept(shows)).await;
    stream.assignment(5, &[], &[(0, 0)], &[]);
    stream.batch(0, 0, 5);
    for offset in 0..2 {
        assert_eq!(next(&mut consumer).await, (0, offset));
    }
    fake.change(|state| state.fenced.push(0));
    consumer.commit().await.unwrap_err();
    idle(&mut consumer, 100).await;
    assert_eq!(*shown.lock().unwrap(), [0, 1]);
}

#[tokio::test]
async fn one_partition_that_is_lost_costs_the_others_no_commit() {
    let fake = Fake::start().await;
    let interval = Duration::from_millis(100);
    let (mut consumer, stream) = member(&fake, |builder| builder.auto_commit(interval)).await;
    // Partition 2 is another's by now, and 4 was cut by whoever leads it.
    fake.change(|state| {
        state.fenced.push(2);
        state.out_of_range.push(4);
    });
    let all: Vec<_> = (0..5).map(|partition| (partition, 0)).collect();
    stream.assignment(5, &[], &all, &[]);
    for partition in 0..5 {
        stream.batch(partition, 0, 1);
        assert_eq!(next(&mut consumer).await, (partition, 0));
    }
    stream.assignment(6, &[], &[], &[3]);
    idle(&mut consumer, 500).await;
    let mut kept = fake.kept();
    kept.sort_unstable();
    assert_eq!(kept, [(0, 1), (1, 1), (3, 1)]);
    let commits = fake.state().commits.clone();
    let (giving_back, _) =
        commits.iter().rfind(|(it, is_taken)| *is_taken && released(it) == [3]).unwrap();
    assert!(giving_back.offsets.iter().all(|at| at.partition != 2));
    // What was given back or refused and has not ended yet is no part of what the member commits.
    fake.change(|state| {
        state.fenced.push(3);
        state.out_of_range.clear();
    });
    timeout(SOON, consumer.commit()).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_read_ahead_of_a_partition_is_dropped_when_its_commit_is_refused() {
    let fake = Fake::start().await;
    let interval = Duration::from_millis(100);
    let (mut consumer, stream) = member(&fake, |builder| builder.auto_commit(interval)).await;
    fake.change(|state| state.fenced.push(0));
    stream.assignment(5, &[], &[(0, 0), (1, 0)], &[]);
    stream.batch(0, 0, 5_000);
    stream.batch(0, 5_000, 5_000);
    stream.batch(1, 0, 1);
    let mut last = (0, 0);
    while last.0 == 0 {
        last = next(&mut consumer).await;
        assert!(last.1 < 1_000, "it reads on what is another's");
        sleep(Duration::from_millis(5)).await;
    }
    // It is asked about once, and once more when it was alone.
    idle(&mut consumer, 500).await;
    let of_it = |state: &fake::State| {
        let names = |request: &v1::CommitOffsetRequest| request.offsets[0].partition == 0;
        state.commits.iter().filter(|(request, _)| names(request)).count()
    };
    assert!(of_it(&fake.state()) <= 2);
    assert_eq!(consumer.positions(), [Position::new("t", 1, 1)]);
    // The broker says so in the end, and that it has it again.
    stream.assignment(7, &[0], &[], &[]);
    stream.assignment(8, &[], &[(0, 7_000)], &[]);
    stream.batch(0, 7_000, 1);
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(timeout(SOON, consumer.next_event()).await.unwrap().unwrap().unwrap());
    }
    assert!(matches!(&told[0], GroupEvent::Lost(lost) if lost[0].partition == 0), "{told:?}");
    assert!(matches!(&told[2], GroupEvent::Batch(batch) if batch.base_offset() == 7_000));
}

#[tokio::test]
async fn what_was_given_back_without_an_answer_is_not_lost() {
    let fake = Fake::start().await;
    let (mut consumer, stream) = member(&fake, |builder| builder).await;
    stream.assignment(5, &[], &[(0, 0), (1, 0)], &[]);
    for partition in 0..2 {
        stream.batch(partition, 0, 1);
        assert_eq!(next(&mut consumer).await, (partition, 0));
    }
    fake.change(|state| state.unanswered = 1);
    stream.assignment(6, &[], &[], &[0]);
    idle(&mut consumer, 1_000).await;
    // The next try was refused, as the first one had gone through.
    let refused = fake.state().commits.iter().filter(|(_, is_taken)| !is_taken).count();
    assert!(refused >= 1);
    stream.assignment(7, &[0], &[(2, 0)], &[]);
    let event = timeout(SOON, consumer.next_event()).await.unwrap().unwrap().unwrap();
    assert!(matches!(event, GroupEvent::Assigned(_)), "{event:?}");
    assert!(fake.kept().ends_with(&[(1, 1)]), "{:?}", fake.kept());
}

#[tokio::test]
async fn a_call_that_was_given_up_may_have_given_back() {
    let fake = Fake::start().await;
    let (mut consumer, stream) = member(&fake, |builder| builder).await;
    stream.assignment(5, &[], &[(0, 0)], &[]);
    stream.batch(0, 0, 1);
    assert_eq!(next(&mut consumer).await, (0, 0));
    // It is tried again and again, and each of these calls is given up before there is an answer.
    fake.change(|state| state.unanswered = 1);
    stream.assignment(6, &[], &[], &[0]);
    let is_asked = || !fake.state().commits.is_empty();
    while !is_asked() {
        idle(&mut consumer, 1).await;
    }
    idle(&mut consumer, 1_000).await;
    stream.assignment(7, &[0], &[(2, 0)], &[]);
    let event = timeout(SOON, consumer.next_event()).await.unwrap().unwrap().unwrap();
    assert!(matches!(event, GroupEvent::Assigned(_)), "{event:?}");
}

#[tokio::test]
async fn more_than_a_request_may_name_is_committed_and_given_back_in_several() {
    const PARTITIONS: i32 = 10_001;
    let fake = Fake::start().await;
    let (mut consumer, stream) = member(&fake, GroupConsumerBuilder::manual_commit).await;
    let all: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    stream.assignment(5, &[], &all, &[]);
    idle(&mut consumer, 500).await;
    consumer.commit().await.unwrap();
    stream.assignment(6, &[], &[], &(0..PARTITIONS).collect::<Vec<_>>());
    assert_eq!(fake.state().commits.len(), 2);
    idle(&mut consumer, 1_000).await;
    let commits = fake.state().commits.clone();
    let counts = commits.iter().map(|(it, _)| (it.offsets.len(), released(it).len()));
    let (offsets, released): (Vec<_>, Vec<_>) = counts.unzip();
    assert!(offsets.iter().chain(&released).all(|count| *count <= 10_000));
    assert_eq!(offsets.iter().sum::<usize>(), 10_001);
    assert_eq!(released.iter().sum::<usize>(), 10_001);
}

#[tokio::test]
async fn commits_that_wait_go_together_and_each_has_its_own_answer() {
    let fake = Fake::start().await;
    let (mut consumer, stream) = member(&fake, GroupConsumerBuilder::manual_commit).await;
    stream.assignment(5, &[], &[(0, 0), (1, 0), (2, 0)], &[]);
    let assigned = timeout(SOON, consumer.next_event()).await.unwrap().unwrap().unwrap();
    assert!(matches!(assigned, GroupEvent::Assigned(_)), "{assigned:?}");
    let commit = |partition, offset| {
        let committer = consumer.committer();
        tokio::spawn(async move { committer.commit([Position::new("t", partition, offset)]).await })
    };
    fake.change(|state| (state.holds_commits, state.out_of_range) = (true, vec![2]));
    let first = commit(0, 1);
    fake.until(|state| state.commits.len() == 1).await;
    // A task that is spawned later runs later here, as there is one thread.
    let waiting: Vec<_> = (2..=9).map(|offset| commit(0, offset)).collect();
    let given_up = commit(1, 7);
    let back = commit(0, 4);
    let refused = commit(2, 1_000);
    let after = commit(1, 8);
    tokio::task::yield_now().await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    fake.change(|state| state.holds_commits = false);
    first.await.unwrap().unwrap();
    for kept in waiting.into_iter().chain([back, after]) {
        timeout(SOON, kept).await.unwrap().unwrap().unwrap();
    }
    let error = timeout(SOON, refused).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.reason(), "OFFSET_OUT_OF_RANGE");
    // One call for the eight that go on; what goes back, and two others with it, in another, which
    // is refused, so that each of them is asked for alone.
    assert_eq!(fake.kept(), [(0, 1), (0, 9), (0, 4), (1, 8)]);
    assert_eq!(fake.state().commits.len(), 6);
}

#[tokio::test]
async fn what_a_member_commits_itself_comes_after_what_it_was_asked_to_before() {
    let fake = Fake::start().await;
    let (mut consumer, stream) = member(&fake, |builder| builder.auto_commit(SOON)).await;
    stream.assignment(5, &[], &[(0, 100)], &[]);
    stream.batch(0, 100, 3);
    let committer = consumer.committer();
    let commit = |offset| {
        let committer = committer.clone();
        tokio::spawn(async move { committer.commit([Position::new("t", 0, offset)]).await })
    };
    assert_eq!(next(&mut consumer).await, (0, 100));
    fake.change(|state| state.holds_commits = true);
    let first = commit(101);
    fake.until(|state| state.commits.len() == 1).await;
    assert_eq!(next(&mut consumer).await, (0, 101));
    assert_eq!(next(&mut consumer).await, (0, 102));
    let second = commit(102);
    tokio::task::yield_now().await;
    let closing = tokio::spawn(consumer.close());
    tokio::task::yield_now().await;
    fake.change(|state| state.holds_commits = false);
    for done in [first, second, closing] {
        timeout(SOON, done).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(fake.kept(), [(0, 101), (0, 102), (0, 103)]);
}

#[tokio::test]
async fn what_was_given_in_an_earlier_era_is_not_committed_in_this_one() {
    let fake = Fake::start().await;
    let (mut consumer, stream) = member(&fake, GroupConsumerBuilder::manual_commit).await;
    stream.assignment(5, &[], &[(0, 100), (1, 0)], &[]);
    stream.batch(0, 100, 1);
    let record = timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap();
    let of_record = consumer.position_after(&record);
    stream.batch(0, 101, 2);
    let batch = timeout(SOON, consumer.next_batch()).await.unwrap().unwrap().unwrap();
    // It goes, another member commits 5,000, and it comes back; what was read ahead is dropped.
    stream.batch(0, 103, 4_000);
    stream.assignment(7, &[0], &[(0, 5_000)], &[]);
    stream.batch(0, 5_000, 1);
    while next(&mut consumer).await != (0, 5_000) {
        assert!(consumer.positions()[0].offset < 2_000, "it reads on what it has lost");
        sleep(Duration::from_millis(5)).await;
    }
    let committer = consumer.committer();
    for stale in [of_record, batch.next_position(), batch.position(102)] {
        let error = committer.commit([stale]).await.unwrap_err();
        assert_eq!(error.reason(), "MEMBER_FENCED");
    }
    assert!(fake.state().commits.is_empty());
    committer.commit([Position::new("t", 0, 5_001)]).await.unwrap();
    assert_eq!(fake.kept(), [(0, 5_001)]);
}

#[tokio::test]
async fn the_committer_of_a_revocation_is_of_that_era() {
    let fake = Fake::start().await;
    let (mut consumer, stream) = member(&fake, GroupConsumerBuilder::manual_commit).await;
    stream.assignment(5, &[], &[(0, 0)], &[]);
    stream.assignment(6, &[], &[], &[0]);
    let revoked = loop {
        let event = timeout(SOON, consumer.next_event()).await.unwrap().unwrap().unwrap();
        if let GroupEvent::Revoked(revoked) = event {
            break revoked;
        }
    };
    revoked.committer.commit([Position::new("t", 0, 1)]).await.unwrap();
    stream.assignment(8, &[0], &[(0, 500)], &[]);
    let assigned = timeout(SOON, consumer.next_event()).await.unwrap().unwrap().unwrap();
    assert!(matches!(assigned, GroupEvent::Assigned(_)), "{assigned:?}");
    let error = revoked.committer.commit([Position::new("t", 0, 1)]).await.unwrap_err();
    assert_eq!(error.reason(), "MEMBER_FENCED");
}

#[tokio::test]
async fn a_stream_that_takes_the_place_of_another_claims_nothing_new() {
    let fake = Fake::start().await;
    let (mut consumer, stream) = member(&fake, GroupConsumerBuilder::manual_commit).await;
    stream.assignment(5, &[], &[(0, 0)], &[]);
    stream.batch(0, 0, 10);
    for offset in 0..3 {
        assert_eq!(next(&mut consumer).await, (0, offset));
    }
    stream.drain();
    let asking = tokio::spawn(async move {
        let mut read = vec![2];
        while *read.last().unwrap() != 500 {
            read.push(next(&mut consumer).await.1);
        }
        (consumer, read)
    });
    let again = timeout(SOON, fake.member()).await.unwrap();
    let introduced = again.request.member.clone().unwrap();
    assert_eq!((introduced.member_id.as_str(), introduced.generation), ("m", 5));
    let goes_on = introduced.positions[0].offset;
    // Its partition was away meanwhile, and a broker says so only by the first assignment.
    again.started(12);
    again.drain();
    let third = timeout(SOON, fake.member()).await.unwrap();
    assert_eq!(third.request.member.clone().unwrap().generation, 5);
    third.started(12);
    third.assignment(12, &[], &[(0, 500)], &[]);
    third.batch(0, 500, 1);
    let (consumer, read) = timeout(SOON, asking).await.unwrap().unwrap();
    // What was read ahead when it broke would have come again.
    assert_eq!(read, (2..goes_on).chain([500]).collect::<Vec<_>>());
    consumer.commit().await.unwrap();
    assert_eq!(fake.state().commits.last().unwrap().0.generation, 12);
}

#[tokio::test]
async fn who_comes_back_too_late_hears_what_it_has_lost_and_joins_anew_once() {
    let fake = Fake::start().await;
    let (mut consumer, stream) = member(&fake, GroupConsumerBuilder::manual_commit).await;
    stream.assignment(5, &[], &[(0, 0)], &[]);
    stream.batch(0, 0, 1);
    assert_eq!(next(&mut consumer).await, (0, 0));
    let before = consumer.positions();
    let joining = async {
        stream.drain();
        fake.member().await.fence();
        let anew = fake.member().await;
        assert_eq!(anew.request.member.clone().unwrap().member_id, "");
        anew.started(9);
        anew.assignment(9, &[], &[(0, 500)], &[]);
        anew
    };
    let telling = async {
        let lost = loop {
            if let GroupEvent::Lost(lost) = consumer.next_event().await.unwrap().unwrap() {
                break lost;
            }
        };
        (lost, consumer.next_event().await.unwrap().unwrap())
    };
    let (_anew, (lost, assigned)) =
        timeout(SOON, async { tokio::join!(joining, telling) }).await.unwrap();
    assert_eq!(lost, before);
    assert!(matches!(assigned, GroupEvent::Assigned(_)), "{assigned:?}");
    assert_eq!(fake.state().subscriptions.len(), 3);
    let committer = consumer.committer();
    assert_eq!(committer.commit(before).await.unwrap_err().reason(), "MEMBER_FENCED");
}

/// It would take the name back if it joined anew, and end the other in turn.
#[tokio::test]
async fn who_has_lost_its_instance_name_hears_what_it_has_lost_and_ends() {
    let named = |builder: GroupConsumerBuilder| builder.instance_name("one");
    for is_away in [false, true] {
        let fake = Fake::start().await;
        let (mut consumer, stream) = member(&fake, named).await;
        stream.assignment(5, &[], &[(0, 0)], &[]);
        stream.batch(0, 0, 2);
        assert_eq!(next(&mut consumer).await, (0, 0));
        let has = consumer.positions();
        let taking = async {
            if is_away {
                stream.drain();
                let back = fake.member().await;
                assert_eq!(back.request.member.clone().unwrap().member_id, "m");
                back.take_instance();
            } else {
                stream.take_instance();
            }
        };
        let telling = async {
            let mut told = Vec::new();
            while let Some(event) = consumer.next_event().await {
                told.push(event);
            }
            told
        };
        let ((), mut told) = timeout(SOON, async { tokio::join!(taking, telling) }).await.unwrap();
        let error = told.pop().unwrap().unwrap_err();
        assert!(error.is_instance_taken() && !error.is_retriable(), "{error:?}");
        let lost = told.pop().unwrap().unwrap();
        assert!(matches!(&lost, GroupEvent::Lost(lost) if lost.len() == has.len()), "{lost:?}");
        assert!(consumer.next().await.is_none(), "it has ended");
        consumer.close().await.unwrap();
        let streams = fake.state().subscriptions.len();
        assert_eq!(streams, if is_away { 2 } else { 1 }, "it does not join anew");
    }
}

#[tokio::test]
async fn a_member_plans_when_it_is_asked() {
    let fake = Fake::start().await;
    let planner = |request: &ropewalk::PlanRequest| {
        let mut plan = GroupPlan::new();
        for (topic, count) in &request.topics {
            for partition in 0..*count {
                let member = &request.members[partition as usize % request.members.len()];
                plan.assign(&member.id, topic, partition);
            }
        }
        plan
    };
    let (mut consumer, stream) =
        member(&fake, |builder| builder.planned_by("turns", planner)).await;
    assert_eq!(stream.request.member.clone().unwrap().strategy, "client:turns");
    let members =
        ["m", "n"].map(|id| v1::PlanMember { member_id: id.into(), ..Default::default() });
    stream.ask_for_plan(v1::PlanRequest {
        plan_id: 7,
        deadline: None,
        topics: vec![v1::PlanTopic { topic: "t".into(), partition_count: 3 }],
        members: members.into(),
    });
    let planned = fake.until(|state| !state.plans.is_empty());
    tokio::select! {
        () = planned => {}
        more = consumer.next() => panic!("{more:?}"),
        () = sleep(SOON) => panic!("it plans nothing"),
    }
    let plan = fake.state().plans[0].clone();
    assert_eq!((plan.group.as_str(), plan.member_id.as_str(), plan.plan_id), ("g", "m", 7));
    let planned = plan.assignments.iter().map(|of| (&*of.member_id, &of.partitions[0].partitions));
    assert_eq!(planned.collect::<Vec<_>>(), [("m", &vec![0, 2]), ("n", &vec![1])]);
}

#[tokio::test]
async fn a_group_is_watched_over_streams_that_break() {
    let fake = Fake::start().await;
    let of = |generation| v1::ConsumerGroup {
        group: "g".into(),
        generation,
        moves: vec![v1::PartitionMove { topic: "t".into(), partition: 1, ..Default::default() }],
        ..Default::default()
    };
    fake.change(|state| {
        state.watched.extend([vec![of(1), of(2)], vec![of(2), of(3)]]);
    });
    let client = fake.client().await;
    let mut watch = client.group("g").watch();
    for generation in 1..=3 {
        let told = timeout(SOON, watch.next()).await.unwrap().unwrap();
        assert_eq!((told.generation, told.moves[0].partition), (generation, 1));
    }
}
