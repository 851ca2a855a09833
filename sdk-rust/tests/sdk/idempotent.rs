//! Idempotent producers against brokers in memory: what is sent again is there once and in order,
//! and what cannot be sent again is told.

use std::time::Duration;

use crate::fake::{Fake, Step};
use futures::future::join_all;
use ropewalk::{Durability, Error, ErrorKind, Producer, Record};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Sends numbers to partition 0, all at once, and gives the outcomes in order.
async fn send(producer: &Producer, values: std::ops::Range<usize>) -> Vec<Result<i64, Error>> {
    let mut deliveries = Vec::new();
    for value in numbers(values) {
        let record = Record::to("t").partition(0).value(value);
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    let outcomes = deliveries.into_iter().map(|d| async { d.await.map(|placed| placed.offset) });
    timeout(SOON, join_all(outcomes)).await.unwrap()
}

async fn broker() -> Fake {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake
}

#[tokio::test]
async fn what_may_have_been_appended_is_sent_again_and_is_there_once() {
    let fake = broker().await;
    let steps = [
        Step::AppendThenCut,
        Step::Append,
        Step::AppendThenRefuse("LEADER_CHANGED"),
        Step::Refuse("NO_QUORUM"),
        Step::AppendThenRefuse("TIMED_OUT"),
        Step::Append,
        Step::AppendThenRefuse("INTERNAL"),
        Step::Append,
        Step::AppendThenCut,
    ];
    fake.change(|state| state.steps.extend(steps));
    let producer = fake.client().await.producer().batch_bytes(8).build();
    let outcomes = send(&producer, 0..50).await;
    let offsets: Vec<i64> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(offsets, (0..50).collect::<Vec<_>>());
    assert_eq!(fake.log("t", 0).values(), numbers(0..50));
    assert_eq!(fake.state().inits, [""], "one id for everything");
}

#[tokio::test]
async fn five_are_on_their_way_and_those_after_a_missing_one_follow_it_in_order() {
    let fake = broker().await;
    let client = fake.client().await;
    let producer = client.producer().batch_bytes(1).max_in_flight(50).build();
    send(&producer, 0..1).await;
    fake.change(|state| {
        state.paused = true;
        state.requests.clear();
        state.steps.push_back(Step::Refuse("OVERLOADED"));
    });
    let sending = tokio::spawn({
        let producer = producer.clone();
        async move { send(&producer, 1..31).await }
    });
    fake.change(|state| state.paused = false);
    assert!(sending.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(fake.log("t", 0).values(), numbers(0..31));
    let refused = fake.state().requests.len() - 30;
    assert!((1..=5).contains(&refused), "{refused} were refused: at most 5 are on their way");
}

#[tokio::test]
async fn a_partition_that_has_forgotten_the_producer_is_begun_anew() {
    let fake = broker().await;
    let producer = fake.client().await.producer().batch_bytes(8).build();
    send(&producer, 0..5).await;
    fake.change(|state| state.topics.get_mut("t").unwrap().partitions[0].producers.clear());
    assert!(send(&producer, 5..20).await.iter().all(Result::is_ok));
    assert_eq!(fake.log("t", 0).values(), numbers(0..20));
    let known = fake.log("t", 0).producers;
    assert_eq!(known[&1].epoch, 1, "what is late of the epoch before is refused");
}

#[tokio::test]
async fn what_was_given_up_ends_its_epoch_and_the_rest_is_there_once() {
    let fake = broker().await;
    let steps = [Step::Append, Step::AppendSilently, Step::Append];
    fake.change(|state| state.steps.extend(steps));
    let client = fake.client().await;
    let patience = Duration::from_millis(500);
    let producer = client.producer().batch_bytes(1).delivery_timeout(patience).build();
    let outcomes = send(&producer, 0..3).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    let error = outcomes[1].as_ref().unwrap_err();
    assert!(error.kind() == ErrorKind::TimedOut && error.may_have_happened(), "{error}");
    assert!(send(&producer, 3..6).await.iter().all(Result::is_ok));
    assert_eq!(fake.log("t", 0).values(), numbers(0..6));
    assert_eq!(fake.log("t", 0).producers[&1].epoch, 1);
}

/// What is refused for good behind a batch in doubt waits for it: the numbers begin anew only then,
/// and nothing else is given up.
#[tokio::test]
async fn what_is_refused_for_good_takes_nothing_before_it_along() {
    let fake = broker().await;
    fake.change(|state| {
        state.poison = Some("1".into());
        state.steps.push_back(Step::RefuseLater("NO_QUORUM"));
    });
    let producer = fake.client().await.producer().batch_bytes(1).build();
    let outcomes = send(&producer, 0..5).await;
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((error.reason(), error.may_have_happened()), ("INVALID_FIELD", false));
    let lost: Vec<_> = [0, 2, 3, 4].iter().filter(|at| outcomes[**at].is_err()).collect();
    assert!(lost.is_empty(), "{outcomes:?}");
    assert_eq!(fake.log("t", 0).values(), ["0", "2", "3", "4"]);
}

/// None behind a batch that surely was not appended was appended either, whatever became of its
/// answer: it is sent again under a new number.
#[tokio::test]
async fn what_is_refused_for_good_takes_nothing_behind_it_along() {
    let fake = broker().await;
    fake.change(|state| {
        state.poison = Some("0".into());
        state.steps.extend([Step::AppendLater, Step::Refuse("NO_QUORUM")]);
    });
    let producer = fake.client().await.producer().batch_bytes(1).build();
    let outcomes = send(&producer, 0..5).await;
    let error = outcomes[0].as_ref().unwrap_err();
    assert_eq!((error.reason(), error.may_have_happened()), ("INVALID_FIELD", false));
    assert!(outcomes[1..].iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(fake.log("t", 0).values(), numbers(1..5));
}

#[tokio::test]
async fn of_two_producers_with_one_name_the_newer_one_may_send() {
    let fake = broker().await;
    let client = fake.client().await;
    let old = client.producer().name("till").build();
    assert!(send(&old, 0..3).await.iter().all(Result::is_ok));
    let new = client.producer().name("till").build();
    assert!(send(&new, 3..5).await.iter().all(Result::is_ok));
    assert_eq!(fake.state().names["till"], (1, 1 << 16), "the same id");
    let fenced = &send(&old, 5..6).await[0];
    let error = fenced.as_ref().unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::FailedPrecondition, "PRODUCER_FENCED"));
    assert!(!error.may_have_happened() && !error.is_retriable());
    let error = old.enqueue(Record::to("t").partition(0).value("6")).await.unwrap_err();
    assert_eq!(error.reason(), "PRODUCER_FENCED", "for good");
    assert!(send(&new, 5..7).await.iter().all(Result::is_ok));
    assert_eq!(fake.log("t", 0).values(), numbers(0..7));
}

#[tokio::test]
async fn records_wait_for_the_id_of_the_producer() {
    let fake = broker().await;
    fake.change(|state| state.init_refusals.extend(["NO_LEADER"; 3]));
    let producer = fake.client().await.producer().build();
    assert!(send(&producer, 0..3).await.iter().all(Result::is_ok));
    fake.change(|state| state.init_refusals.push_back("INVALID_FIELD"));
    let refused = fake.client().await.producer().name("no\nname").build();
    let error = send(&refused, 3..4).await.remove(0).unwrap_err();
    assert_eq!((error.reason(), error.may_have_happened()), ("INVALID_FIELD", false));
    assert!(error.message().starts_with("the producer gets no id: "), "{error}");
}

#[tokio::test]
async fn who_does_not_want_it_or_does_not_wait_for_a_majority_has_no_numbers() {
    let fake = broker().await;
    let client = fake.client().await;
    for builder in [
        client.producer().idempotent(false),
        client.producer().durability(Durability::Leader),
        client.producer().durability(Durability::None),
    ] {
        assert!(send(&builder.build(), 0..2).await.iter().all(Result::is_ok));
    }
    assert!(fake.state().inits.is_empty() && fake.log("t", 0).producers.is_empty());
}

#[tokio::test]
async fn an_append_by_itself_is_made_again_and_is_there_once() {
    let fake = broker().await;
    let client = fake.client().await;
    let refuse = |reasons: &[&'static str]| {
        let steps = reasons.iter().map(|reason| Step::AppendThenRefuse(reason));
        fake.change(|state| state.steps.extend(steps));
    };
    let record = |value: &str| [Record::to("t").value(value.to_owned())];
    let append = client.append("t").partition(0);
    refuse(&["LEADER_CHANGED", "NO_QUORUM"]);
    assert_eq!(append.send(record("0")).await.unwrap()[0].offset, 0);
    refuse(&["LEADER_CHANGED"]);
    let placed = append.clone().expect_offset(1).send(record("1")).await.unwrap();
    assert_eq!(placed[0].offset, 1, "what changed the condition is this append itself");
    assert_eq!(append.send(record("1")).await.unwrap()[0].offset, 2, "the same again is another");
    let at_once = join_all((3..6).map(|_| append.send(record("n")))).await;
    assert!(at_once.iter().all(Result::is_ok), "{at_once:?}");
    assert_eq!(fake.log("t", 0).values(), ["0", "1", "1", "n", "n", "n"]);
    assert!(fake.state().inits.len() <= 3, "as many ids as appends at once");

    refuse(&["LEADER_CHANGED"]);
    let error = client.append("t").send(record("anywhere")).await.unwrap_err();
    assert!(error.may_have_happened(), "its records may go to several partitions: {error}");
    assert_eq!(fake.log("t", 0).values().len(), 7);
}

/// A producer that has lost its name, and does not know it, must not get it back by going on after
/// what it has given up.
#[tokio::test]
async fn whoever_gives_up_a_batch_does_not_take_its_name_back() {
    let fake = broker().await;
    let client = fake.client().await;
    let patience = Duration::from_millis(500);
    let old = client.producer().name("till").batch_bytes(1).delivery_timeout(patience).build();
    assert!(send(&old, 0..1).await.iter().all(Result::is_ok));
    let new = client.producer().name("till").build();
    fake.change(|state| state.steps.push_back(Step::AppendSilently));
    assert!(send(&old, 1..2).await[0].as_ref().unwrap_err().may_have_happened());
    assert!(send(&new, 2..3).await.iter().all(Result::is_ok));
    assert_eq!(send(&old, 3..4).await[0].as_ref().unwrap_err().reason(), "PRODUCER_FENCED");
    assert!(send(&new, 4..6).await.iter().all(Result::is_ok));
    assert_eq!(fake.log("t", 0).values(), ["0", "1", "2", "4", "5"]);
}
