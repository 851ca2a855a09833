//! What only several nodes can do wrong, and what readers must never see: each planted here.

use super::*;
use crate::history::{Outcome, Sight};

const READER: Client = 90;

fn place() -> Place {
    Place::new("t", 0)
}

fn value(counter: u64) -> ValueId {
    ValueId { client: 1, counter }
}

fn append(history: &mut History, node: NodeId, offset: i64, epoch: i64) {
    let values = vec![value(offset.unsigned_abs())];
    let id = history.invoke_at(node, 1, Call::Append { place: place(), values });
    history.end_led(id, Some(epoch), Outcome::Ok(Answer::Appended(offset)));
}

/// Three values, acked by two nodes in two epochs.
fn three() -> History {
    let mut history = History::default();
    append(&mut history, 1, 0, 3);
    append(&mut history, 1, 1, 3);
    append(&mut history, 2, 2, 4);
    history
}

fn read(history: &mut History, node: NodeId, counters: &[u64]) {
    let values = counters.iter().map(|counter| Some(value(*counter)));
    let records: Vec<_> = (0..).zip(values).collect();
    let end = i64::try_from(records.len()).unwrap();
    let id = history.invoke_at(node, 0, Call::ReadLog { place: place() });
    let log = LogRead { start: 0, end, records };
    history.end(id, Outcome::Ok(Answer::Log(log)));
}

fn see(history: &mut History, node: NodeId, era: u32, sight: Sight) {
    history.see(Seen { at: 0, reader: READER, era, node, place: place(), sight });
}

fn started(asked: Option<i64>, offset: i64, high_watermark: i64) -> Sight {
    Sight::Started { asked, offset, high_watermark, log_start: 0 }
}

fn batch(base: i64, epoch: i64, counters: &[u64]) -> Sight {
    let values = counters.iter().map(|counter| Some(value(*counter))).collect();
    Sight::Batch { base, epoch, values }
}

fn describe(history: &mut History, node: NodeId, leader: NodeId, epoch: i64, end: i64) {
    let state = PartitionState { partition: 0, leader, epoch, log_start: 0, high_watermark: end };
    let id = history.invoke_at(node, 80, Call::Describe { topic: "t".into() });
    history.end(id, Outcome::Ok(Answer::Described(vec![state])));
}

#[track_caller]
fn assert_found(history: &History, expected: &[&str]) {
    let found: Vec<String> = check(history).iter().map(|found| format!("{found:?}")).collect();
    for kind in expected {
        let has = found.iter().any(|found| found.split([' ', '{']).next() == Some(kind));
        assert!(has, "{kind} was not found: {found:#?}");
    }
    assert_eq!(found.is_empty(), expected.is_empty(), "{found:#?}");
}

#[test]
fn an_honest_cluster_passes() {
    let mut history = three();
    describe(&mut history, 2, 2, 4, 3);
    // A follower may be behind, and may not know yet who leads.
    describe(&mut history, 3, 1, 3, 2);
    describe(&mut history, 3, 0, 4, 2);
    see(&mut history, 3, 0, started(None, 0, 2));
    see(&mut history, 3, 0, batch(0, 3, &[0, 1]));
    see(&mut history, 3, 0, Sight::Heartbeat { high_watermark: 2 });
    // The stream broke; the next one goes on where it ended, on a node that knows less.
    see(&mut history, 1, 1, started(Some(2), 2, 2));
    see(&mut history, 1, 1, Sight::Heartbeat { high_watermark: 3 });
    see(&mut history, 1, 1, batch(2, 4, &[2]));
    history.heal(vec![place()], 100);
    append(&mut history, 3, 3, 4);
    see(&mut history, 1, 1, batch(3, 4, &[3]));
    for node in 1..=3 {
        read(&mut history, node, &[0, 1, 2, 3]);
    }
    assert_found(&history, &[]);
}

#[test]
fn a_node_that_misses_something_is_found_whichever_it_is() {
    for bad in 1..=3 {
        let mut history = three();
        for node in 1..=3 {
            read(&mut history, node, if node == bad { &[0, 1] } else { &[0, 1, 2] });
        }
        assert_found(&history, &["Lost"]);
        let missed = check(&history).into_iter().find_map(|found| match found {
            Violation::Lost { node, .. } => Some(node),
            _ => None,
        });
        assert_eq!(missed, Some(bad));
    }
}

#[test]
fn nodes_that_read_differently_are_found() {
    // Nobody knows the outcomes, so that only the nodes can contradict one another.
    let mut history = History::default();
    for client in 1..=2 {
        let values = vec![ValueId { client, counter: 0 }];
        let call = Call::Append { place: place(), values };
        history.call(client, call, Outcome::Unknown("the connection broke".into()));
    }
    for client in 1..=2_u32 {
        let records = vec![(0, Some(ValueId { client, counter: 0 }))];
        let id = history.invoke_at(client.into(), 0, Call::ReadLog { place: place() });
        let log = LogRead { start: 0, end: 1, records };
        history.end(id, Outcome::Ok(Answer::Log(log)));
    }
    assert_found(&history, &["TwoValues"]);
}

#[test]
fn what_was_delivered_and_is_gone_is_found() {
    let mut history = three();
    let call = Call::Append { place: place(), values: vec![value(3)] };
    let open = history.invoke_at(2, 1, call);
    see(&mut history, 2, 0, started(Some(3), 3, 3));
    see(&mut history, 2, 0, batch(3, 4, &[3]));
    history.end(open, Outcome::Unknown("LEADER_CHANGED".into()));
    read(&mut history, 1, &[0, 1, 2]);
    assert_found(&history, &["Lost", "EndTooLow"]);
}

#[test]
fn a_refused_value_that_is_delivered_is_found() {
    let mut history = three();
    let call = Call::Append { place: place(), values: vec![value(3)] };
    history.call(1, call, Outcome::Fail("NOT_LEADER".into()));
    see(&mut history, 2, 0, started(Some(3), 3, 3));
    see(&mut history, 2, 0, batch(3, 4, &[3]));
    assert_found(&history, &["Refused"]);
}

#[test]
fn a_reader_that_skips_or_goes_back_is_found() {
    let cases: [(&[Sight], &str); 6] = [
        (&[started(None, 0, 3), batch(1, 3, &[1])], "ReaderSkipped"),
        (&[started(None, 0, 3), batch(0, 3, &[0]), batch(2, 4, &[2])], "ReaderSkipped"),
        (&[started(None, 0, 3), Sight::Gap { from: 0, to: 2 }], "ReaderSkipped"),
        (&[started(None, 0, 3), batch(0, 3, &[0, 1]), batch(1, 3, &[1])], "ReaderWentBack"),
        // A stream that was to go on, and begins elsewhere.
        (&[started(Some(1), 0, 3)], "ReaderWentBack"),
        (&[started(Some(1), 2, 3)], "ReaderSkipped"),
    ];
    for (sights, expected) in cases {
        let mut history = three();
        for sight in sights {
            see(&mut history, 2, 0, sight.clone());
        }
        assert_found(&history, &[expected]);
    }
}

#[test]
fn deleted_records_may_be_skipped() {
    let mut history = three();
    let call = Call::Trim { place: place(), before: 2 };
    history.call(5, call, Outcome::Ok(Answer::Trimmed(2)));
    see(&mut history, 2, 0, started(None, 0, 3));
    see(&mut history, 2, 0, Sight::Gap { from: 0, to: 2 });
    see(&mut history, 2, 0, batch(2, 4, &[2]));
    assert_found(&history, &[]);
    // But no more than was deleted.
    see(&mut history, 2, 0, Sight::Gap { from: 3, to: 4 });
    assert_found(&history, &["ReaderSkipped"]);
}

#[test]
fn bytes_that_changed_on_their_way_are_found() {
    let mut history = three();
    see(&mut history, 2, 0, started(None, 0, 3));
    see(&mut history, 2, 0, Sight::Batch { base: 0, epoch: 3, values: vec![None] });
    assert_found(&history, &["BadBytes"]);
}

#[test]
fn a_stale_leader_that_acks_is_found() {
    // It gives an offset that the new leader has given before.
    let mut history = three();
    let values = vec![ValueId { client: 2, counter: 0 }];
    let id = history.invoke_at(1, 2, Call::Append { place: place(), values });
    history.end_led(id, Some(3), Outcome::Ok(Answer::Appended(2)));
    assert_found(&history, &["TwoValues", "OffsetTooLow", "TwoEpochs"]);
}

#[test]
fn a_stale_end_is_found() {
    let mut history = three();
    let id = history.invoke_at(1, 3, Call::Latest { place: place() });
    history.end(id, Outcome::Ok(Answer::Latest(2)));
    assert_found(&history, &["EndTooLow"]);
    // Also when only a reader has seen what is missing.
    let mut history = three();
    see(&mut history, 2, 0, started(Some(3), 3, 4));
    let id = history.invoke_at(1, 3, Call::Latest { place: place() });
    history.end(id, Outcome::Ok(Answer::Latest(3)));
    assert_found(&history, &["EndTooLow"]);
}

#[test]
fn two_leaders_of_one_epoch_are_found() {
    let mut history = three();
    describe(&mut history, 1, 1, 4, 3);
    describe(&mut history, 2, 2, 4, 3);
    assert_found(&history, &["TwoLeaders"]);
}

#[test]
fn epochs_that_fall_along_the_log_are_found() {
    let mut history = three();
    append(&mut history, 1, 3, 3);
    assert_found(&history, &["EpochFell"]);
}

#[test]
fn a_high_watermark_that_falls_is_found() {
    let mut history = three();
    describe(&mut history, 2, 2, 4, 3);
    describe(&mut history, 2, 2, 4, 2);
    assert_found(&history, &["WatermarkFell"]);
    let mut history = three();
    see(&mut history, 2, 0, started(Some(3), 3, 3));
    see(&mut history, 2, 0, Sight::Heartbeat { high_watermark: 2 });
    assert_found(&history, &["WatermarkFell"]);
    // One that was never true: less is there in the end.
    let mut history = three();
    describe(&mut history, 3, 2, 4, 5);
    read(&mut history, 1, &[0, 1, 2]);
    assert_found(&history, &["EndTooLow"]);
}

#[test]
fn a_leader_that_changes_without_a_cause_is_found() {
    // Node 2 leads in epoch 4, something happens to a node, and somebody leads in a later epoch.
    let rises_to = |nodes: &[NodeId], epoch| {
        let mut history = three();
        describe(&mut history, 1, 2, 4, 3);
        let from = history.now();
        describe(&mut history, 1, 3, epoch, 3);
        history.disturb(from, nodes.to_vec());
        describe(&mut history, 1, 2, epoch + 1, 3);
        history
    };
    // Three epochs a minute are free; a leader that is lost costs two more.
    assert_found(&rises_to(&[1], 6), &[]);
    assert_found(&rises_to(&[1], 7), &["Restless"]);
    assert_found(&rises_to(&[1, 2], 8), &[]);
    assert_found(&rises_to(&[1, 2], 9), &["Restless"]);
    // One that took over meanwhile was lost as well.
    assert_found(&rises_to(&[3], 8), &[]);
    // Where leaders are changed on purpose nothing says how often.
    let mut history = rises_to(&[], 20);
    history.disturbances = None;
    assert_found(&history, &[]);
}

#[test]
fn a_partition_that_stays_dead_is_found() {
    // It takes nothing.
    let mut history = three();
    history.heal(vec![place()], 10);
    assert_found(&history, &["Dead"]);
    // It takes, and serves only what was there before.
    let mut history = three();
    history.heal(vec![place()], 10);
    append(&mut history, 2, 3, 4);
    see(&mut history, 2, 0, started(Some(2), 2, 4));
    see(&mut history, 2, 0, batch(2, 4, &[2]));
    assert_found(&history, &["Dead"]);
    // It does both, too late.
    let mut history = three();
    history.heal(vec![place()], 3);
    for _ in 0..4 {
        describe(&mut history, 3, 2, 4, 3);
    }
    append(&mut history, 2, 3, 4);
    see(&mut history, 2, 0, started(Some(3), 3, 4));
    see(&mut history, 2, 0, batch(3, 4, &[3]));
    assert_found(&history, &["Dead"]);
}
