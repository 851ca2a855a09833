//! Interceptors: in their order, for each record once, and never in the way of one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fake::{Fake, Step};
use futures::FutureExt;
use ropewalk::{
    ConsumedRecord, Error, OnOutcome, Outgoing, Producer, ReceiveInterceptor, Record,
    SendInterceptor,
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

/// Writes down what it is called for, and adds its name to the header `via`.
#[derive(Clone)]
struct Notes {
    name: &'static str,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Notes {
    fn new(name: &'static str) -> Notes {
        Notes { name, lines: Arc::default() }
    }

    fn beside(&self, name: &'static str) -> Notes {
        Notes { name, lines: Arc::clone(&self.lines) }
    }

    fn write(&self, line: String) {
        self.lines.lock().unwrap().push(format!("{} {line}", self.name));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

fn text(value: Option<&bytes::Bytes>) -> String {
    String::from_utf8(value.unwrap().to_vec()).unwrap()
}

impl SendInterceptor for Notes {
    fn on_send(&self, record: &mut Outgoing<'_>) -> Option<OnOutcome> {
        let value = text(record.value());
        self.write(format!("sends {value}"));
        record.add_header("via", self.name);
        let notes = self.clone();
        Some(Box::new(move |outcome| {
            let outcome = match outcome {
                Ok(placed) => placed.offset.to_string(),
                Err(error) => said(error),
            };
            notes.write(format!("has sent {value}: {outcome}"));
        }))
    }
}

impl ReceiveInterceptor for Notes {
    fn on_receive(&self, record: &ConsumedRecord) {
        self.write(format!("receives {}", text(record.value.as_ref())));
    }
}

fn said(error: &Error) -> String {
    let what = if error.reason().is_empty() { error.message() } else { error.reason() };
    format!("{what}{}", if error.may_have_happened() { ", perhaps" } else { "" })
}

fn record(value: &str) -> Record {
    Record::to("t").partition(0).value(value.to_owned())
}

fn headers(record: &ConsumedRecord) -> Vec<String> {
    let headers = record.headers.iter();
    headers.map(|h| format!("{}={}", h.key, text(h.value.as_ref()))).collect()
}

async fn broker() -> Fake {
    let fake = Fake::start().await;
    fake.create("t", 1);
    fake
}

#[tokio::test]
async fn they_are_called_in_their_order_and_what_they_add_is_read() {
    let fake = broker().await;
    let client = fake.client().await;
    let notes = Notes::new("first");
    let (first, second) = (notes.clone(), notes.beside("second"));
    let builder = client.producer().intercept(first.clone()).intercept(second.clone());
    builder.build().send(record("a").header("own", "1")).await.unwrap();
    let told = ["first sends a", "second sends a", "first has sent a: 0", "second has sent a: 0"];
    assert_eq!(notes.take(), told);

    let consumer = client.consumer().topic("t").intercept(first).intercept(second);
    let mut consumer = consumer.build().await.unwrap();
    let read = consumer.next().await.unwrap().unwrap();
    assert_eq!(headers(&read), ["own=1", "via=first", "via=second"]);
    assert_eq!(notes.take(), ["first receives a", "second receives a"]);
}

/// Whoever hears of a record by its delivery can rely on what its interceptors have done then.
#[tokio::test]
async fn an_outcome_is_told_once_however_often_the_record_is_sent() {
    let fake = broker().await;
    let notes = Notes::new("it");
    let steps =
        [Step::Refuse("NO_LEADER"), Step::AppendThenRefuse("LEADER_CHANGED"), Step::AppendThenCut];
    fake.change(|state| state.steps.extend(steps));
    let producer = fake.client().await.producer().intercept(notes.clone()).build();
    for (offset, value) in ["a", "b", "c"].into_iter().enumerate() {
        producer.send(record(value)).await.unwrap();
        assert_eq!(
            notes.take(),
            [format!("it sends {value}"), format!("it has sent {value}: {offset}")]
        );
    }
    let log = fake.log("t", 0);
    assert_eq!(log.values(), ["a", "b", "c"]);
    assert!(log.records.iter().all(|record| record.headers.len() == 1), "one header each");
}

#[tokio::test]
async fn the_outcome_of_what_fails_is_told_once_too() {
    let fake = broker().await;
    let notes = Notes::new("it");
    let client = fake.client().await;
    let patience = Duration::from_millis(300);
    let builder = client.producer().idempotent(false).delivery_timeout(patience);
    let producer = builder.memory_bytes(100).intercept(notes.clone()).build();

    fake.change(|state| state.steps.push_back(Step::AppendThenRefuse("LEADER_CHANGED")));
    producer.send(record("maybe")).await.unwrap_err();
    assert_eq!(notes.take(), ["it sends maybe", "it has sent maybe: LEADER_CHANGED, perhaps"]);

    fake.change(|state| state.steps.push_back(Step::AppendSilently));
    producer.send(record("unheard")).await.unwrap_err();
    let told = notes.take();
    assert_eq!(told.len(), 2);
    assert!(
        told[1].starts_with("it has sent unheard:") && told[1].ends_with("perhaps"),
        "{told:?}"
    );

    let large = "x".repeat(200);
    producer.send(record(&large)).await.unwrap_err();
    assert_eq!(notes.take()[1], format!("it has sent {large}: RECORD_TOO_LARGE"));

    producer.close().await.unwrap();
    producer.send(record("late")).await.unwrap_err();
    assert_eq!(notes.take()[1], "it has sent late: the producer was closed");
}

#[tokio::test]
async fn closing_tells_what_was_on_its_way_before_it_returns() {
    let fake = broker().await;
    let notes = Notes::new("it");
    let producer = fake.client().await.producer().intercept(notes.clone()).build();
    fake.change(|state| state.paused = true);
    for value in ["a", "b", "c"] {
        // Whether its future is awaited or not.
        drop(producer.enqueue(record(value)).await.unwrap());
    }
    assert_eq!(notes.take(), ["it sends a", "it sends b", "it sends c"]);
    fake.change(|state| state.paused = false);
    timeout(SOON, producer.close()).await.unwrap().unwrap();
    assert_eq!(notes.take(), ["it has sent a: 0", "it has sent b: 1", "it has sent c: 2"]);
}

/// Fills the buffer of a producer whose records the broker does not take.
async fn fill(fake: &Fake, producer: &Producer) {
    fake.change(|state| state.paused = true);
    drop(producer.enqueue(record(&"x".repeat(60))).await.unwrap());
}

#[tokio::test]
async fn a_sender_that_gives_up_before_its_record_is_accepted_is_told_of() {
    let fake = broker().await;
    let notes = Notes::new("it");
    let producer =
        fake.client().await.producer().memory_bytes(100).intercept(notes.clone()).build();
    fill(&fake, &producer).await;
    notes.take();
    assert!(producer.enqueue(record(&"y".repeat(60))).now_or_never().is_none());
    let told = notes.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("gave up") && !told[1].ends_with("perhaps"), "{told:?}");
    fake.change(|state| state.paused = false);
    producer.close().await.unwrap();
    assert_eq!(fake.log("t", 0).values().len(), 1);
}

/// As when a program's runtime ends before its producer was closed.
#[test]
fn what_a_runtime_that_ends_leaves_behind_is_told_of() {
    let notes = Notes::new("it");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let producer = runtime.block_on(async {
        let fake = broker().await;
        let producer = fake.client().await.producer().intercept(notes.clone()).build();
        fill(&fake, &producer).await;
        producer
    });
    drop(runtime);
    drop(producer);
    let told = notes.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].ends_with("perhaps"), "{told:?}");
}

#[tokio::test]
async fn single_appends_have_interceptors_of_their_own() {
    let fake = broker().await;
    let notes = Notes::new("it");
    let client = fake.client().await;
    let append = client.append("t").partition(0).intercept(notes.clone());
    append.send([Record::to("").value("a"), Record::to("").value("b")]).await.unwrap();
    let told = ["it sends a", "it sends b", "it has sent a: 0", "it has sent b: 1"];
    assert_eq!(notes.take(), told);
    append.expect_offset(0).send([Record::to("").value("c")]).await.unwrap_err();
    assert_eq!(notes.take(), ["it sends c", "it has sent c: EXPECTED_OFFSET_MISMATCH"]);
    assert!(fake.log("t", 0).records.iter().all(|record| record.headers[0].key == "via"));
}

/// Panics wherever it can.
struct Broken;

impl SendInterceptor for Broken {
    fn on_send(&self, record: &mut Outgoing<'_>) -> Option<OnOutcome> {
        record.set_header("via", "broken");
        assert!(record.value().unwrap() != "a", "at sending");
        Some(Box::new(|_| panic!("at the outcome")))
    }
}

impl ReceiveInterceptor for Broken {
    fn on_receive(&self, _: &ConsumedRecord) {
        panic!("at receiving");
    }
}

#[tokio::test]
async fn one_that_panics_harms_neither_records_nor_others() {
    let fake = broker().await;
    let client = fake.client().await;
    let notes = Notes::new("it");
    let builder = client.producer().intercept(Broken).intercept(Arc::new(notes.clone()));
    let producer = builder.build();
    for value in ["a", "b"] {
        producer.send(record(value).header("via", "own")).await.unwrap();
    }
    let told = ["it sends a", "it has sent a: 0", "it sends b", "it has sent b: 1"];
    assert_eq!(notes.take(), told);

    let consumer = client.consumer().topic("t").intercept(Broken).intercept(notes.clone());
    let mut consumer = consumer.build().await.unwrap();
    for _ in 0..2 {
        let read = consumer.next().await.unwrap().unwrap();
        assert_eq!(headers(&read), ["via=broken", "via=it"]);
    }
    assert_eq!(notes.take(), ["it receives a", "it receives b"]);
}

#[tokio::test]
async fn of_a_batch_records_are_seen_when_they_are_handed_out() {
    let fake = broker().await;
    fake.append("t", 0, (0..5).map(|value| value.to_string()));
    let notes = Notes::new("it");
    let consumer = fake.client().await.consumer().topic("t").intercept(notes.clone());
    let mut consumer = consumer.build().await.unwrap();
    consumer.next().await.unwrap().unwrap();
    // What is left of it.
    let batch = consumer.next_batch().await.unwrap().unwrap();
    assert_eq!(notes.take(), ["it receives 0"]);
    assert_eq!(batch.records().take(2).filter(Result::is_ok).count(), 2);
    assert_eq!(notes.take(), ["it receives 1", "it receives 2"]);
}

#[tokio::test]
async fn a_member_of_a_group_has_them_too() {
    let fake = broker().await;
    let client = fake.client().await;
    let notes = Notes::new("it");
    let building = client.group("g").consumer().topic("t").intercept(notes.clone()).build();
    let joining = async {
        let stream = fake.member().await;
        stream.started(4);
        stream
    };
    let (consumer, stream) =
        timeout(SOON, async { tokio::join!(building, joining) }).await.unwrap();
    let mut consumer = consumer.unwrap();
    stream.assignment(5, &[], &[(0, 0)], &[]);
    stream.batch(0, 0, 3);
    let mut values = Vec::new();
    for _ in 0..3 {
        let read = timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap();
        values.push(format!("it receives {}", text(read.value.as_ref())));
        assert_eq!(notes.take(), values[values.len() - 1..]);
    }
}
