//! A checker that has not caught a planted bug has shown nothing: each promise has one here.

use super::*;
use crate::history::Outcome;

fn place() -> Place {
    Place::new("t", 0)
}

fn value(counter: u64) -> ValueId {
    ValueId { client: 1, counter }
}

fn append_call(values: &[ValueId]) -> Call {
    Call::Append { place: place(), values: values.to_vec() }
}

fn acked(history: &mut History, base: i64, values: &[ValueId]) {
    history.call(1, append_call(values), Outcome::Ok(Answer::Appended(base)));
}

fn read_with(history: &mut History, start: i64, end: i64, records: Vec<(i64, Option<ValueId>)>) {
    let answer = Answer::Log(LogRead { start, end, records });
    history.call(0, Call::ReadLog { place: place() }, Outcome::Ok(answer));
}

/// A read that finds these values from an offset on.
fn read(history: &mut History, start: i64, values: &[ValueId]) {
    let records: Vec<_> = (start..).zip(values.iter().map(|value| Some(*value))).collect();
    let end = start + i64::try_from(values.len()).unwrap();
    read_with(history, start, end, records);
}

/// Five acked values at 0 to 4, of a batch of two and three single ones.
fn five() -> History {
    let mut history = History::default();
    acked(&mut history, 0, &[value(0), value(1)]);
    for counter in 2..5 {
        acked(&mut history, i64::try_from(counter).unwrap(), &[value(counter)]);
    }
    history
}

fn values(counters: &[u64]) -> Vec<ValueId> {
    counters.iter().map(|counter| value(*counter)).collect()
}

/// The kinds of violations, each once.
fn kinds(history: &History) -> BTreeSet<String> {
    let kind = |violation: &Violation| {
        let text = format!("{violation:?}");
        text.split([' ', '{']).next().unwrap().to_owned()
    };
    check(history).iter().map(kind).collect()
}

#[track_caller]
fn assert_found(history: &History, expected: &[&str]) {
    let found = kinds(history);
    for kind in expected {
        assert!(found.contains(*kind), "{kind} was not found: {:?}", check(history));
    }
    assert_eq!(found.is_empty(), expected.is_empty(), "{:?}", check(history));
}

#[test]
fn an_honest_broker_passes() {
    let mut history = five();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4]));
    // An append without an answer may be there or not.
    let open = history.invoke(2, append_call(&[ValueId { client: 2, counter: 0 }]));
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4]));
    history.end(open, Outcome::Unknown("the connection broke".into()));
    let mut longer = values(&[0, 1, 2, 3, 4]);
    longer.push(ValueId { client: 2, counter: 0 });
    read(&mut history, 0, &longer);
    assert_found(&history, &[]);
    history.settle();
    read(&mut history, 0, &longer);
    acked(&mut history, 6, &[value(7)]);
    longer.push(value(7));
    read(&mut history, 0, &longer);
    assert_found(&history, &[]);
}

#[test]
fn a_lost_value_is_found() {
    let mut history = five();
    read(&mut history, 0, &values(&[0, 1, 2, 3]));
    assert_found(&history, &["Lost"]);
    // All of it.
    let mut history = five();
    read(&mut history, 0, &[]);
    assert_found(&history, &["Lost"]);
    // What was never acked, but read.
    let mut history = History::default();
    let _open = history.invoke(1, append_call(&values(&[0])));
    read(&mut history, 0, &values(&[0]));
    read(&mut history, 0, &[]);
    assert_found(&history, &["Lost", "EndFell"]);
}

#[test]
fn an_ack_that_comes_after_the_cut_counts_for_nothing() {
    let mut history = five();
    let open = history.invoke(1, append_call(&values(&[5])));
    history.power_off();
    history.end(open, Outcome::Ok(Answer::Appended(5)));
    history.power_on();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4]));
    assert_found(&history, &[]);
    acked(&mut history, 5, &values(&[6]));
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4]));
    assert_found(&history, &["Lost"]);
}

#[test]
fn a_loss_over_rounds_is_found() {
    let mut history = five();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4]));
    history.settle();
    read(&mut history, 0, &values(&[0, 1, 2, 3]));
    assert_found(&history, &["Lost", "EndFell"]);
}

#[test]
fn a_loss_hidden_behind_a_higher_start_is_found() {
    let mut history = five();
    read(&mut history, 4, &values(&[4]));
    assert_found(&history, &["TrimTooFar"]);
}

#[test]
fn a_moved_value_is_found() {
    let mut history = five();
    read(&mut history, 0, &values(&[0, 1, 3, 2, 4]));
    assert_found(&history, &["TwoValues", "Lost", "OutOfOrder"]);
}

#[test]
fn a_second_value_at_an_acked_offset_is_found() {
    let mut history = five();
    // Nothing reads it.
    acked(&mut history, 4, &[value(9)]);
    assert_found(&history, &["TwoValues", "OffsetTooLow"]);
}

#[test]
fn an_offset_given_again_after_a_round_is_found() {
    let mut history = five();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4]));
    history.settle();
    acked(&mut history, 4, &[value(9)]);
    assert_found(&history, &["TwoValues", "OffsetTooLow"]);
}

#[test]
fn a_value_of_nobody_is_found() {
    let mut history = five();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4, 77]));
    assert_found(&history, &["NeverSent"]);
    // One that was sent to another partition.
    let mut history = five();
    let elsewhere = Call::Append { place: Place::new("t", 1), values: values(&[5]) };
    history.call(1, elsewhere, Outcome::Unknown("broken".into()));
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4, 5]));
    assert_found(&history, &["NeverSent"]);
}

#[test]
fn a_value_that_comes_back_from_an_earlier_round_is_found() {
    let mut history = five();
    let _open = history.invoke(1, append_call(&values(&[5])));
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4]));
    history.settle();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4, 5]));
    assert_found(&history, &["NeverSent"]);
}

#[test]
fn a_refused_value_is_found() {
    let mut history = five();
    history.call(1, append_call(&values(&[5])), Outcome::Fail("STORAGE_FULL".into()));
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4, 5]));
    assert_found(&history, &["Refused"]);
}

#[test]
fn wrong_bytes_are_found() {
    let mut history = five();
    let mut records: Vec<_> = (0..).zip(values(&[0, 1, 2, 3, 4]).into_iter().map(Some)).collect();
    records[2].1 = None;
    read_with(&mut history, 0, 5, records);
    assert_found(&history, &["BadBytes"]);
}

#[test]
fn a_duplicate_is_found() {
    let mut history = five();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4, 4]));
    assert_found(&history, &["Duplicate"]);
    // Also over rounds.
    let mut history = five();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4]));
    history.settle();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4, 2]));
    assert_found(&history, &["Duplicate", "NeverSent"]);
}

#[test]
fn a_hole_is_found() {
    let mut history = History::default();
    let _open = history.invoke(1, append_call(&values(&[0])));
    let _open = history.invoke(1, append_call(&values(&[1])));
    read_with(&mut history, 0, 3, vec![(0, Some(value(0))), (2, Some(value(1)))]);
    assert_found(&history, &["Hole"]);
    // At the end.
    let mut history = History::default();
    let _open = history.invoke(1, append_call(&values(&[0])));
    read_with(&mut history, 0, 2, vec![(0, Some(value(0)))]);
    assert_found(&history, &["Hole"]);
}

#[test]
fn a_torn_batch_is_found() {
    let mut history = History::default();
    let _open = history.invoke(1, append_call(&values(&[0, 1, 2])));
    read(&mut history, 0, &values(&[0, 1]));
    assert_found(&history, &["TornBatch"]);
    // One whose front was trimmed is whole.
    let mut history = History::default();
    acked(&mut history, 0, &values(&[0, 1, 2]));
    let trim = Call::Trim { place: place(), before: 1 };
    history.call(0, trim, Outcome::Ok(Answer::Trimmed(1)));
    read(&mut history, 1, &values(&[1, 2]));
    assert_found(&history, &[]);
}

#[test]
fn a_producers_values_out_of_order_are_found() {
    let mut history = History::default();
    let first = history.invoke(1, append_call(&values(&[0])));
    let second = history.invoke(1, append_call(&values(&[1])));
    history.end(first, Outcome::Ok(Answer::Appended(1)));
    history.end(second, Outcome::Ok(Answer::Appended(0)));
    assert_found(&history, &["OutOfOrder"]);
}

#[test]
fn an_append_below_what_was_acked_is_found() {
    let mut history = History::default();
    acked(&mut history, 5, &values(&[0]));
    let other = ValueId { client: 2, counter: 0 };
    history.call(2, append_call(&[other]), Outcome::Ok(Answer::Appended(3)));
    assert_found(&history, &["OffsetTooLow"]);
    // Two at the same time may come in any order.
    let mut history = History::default();
    let first = history.invoke(1, append_call(&values(&[0])));
    let second = history.invoke(2, append_call(&[other]));
    history.end(first, Outcome::Ok(Answer::Appended(1)));
    history.end(second, Outcome::Ok(Answer::Appended(0)));
    assert_found(&history, &[]);
}

#[test]
fn a_stale_end_is_found() {
    let mut history = five();
    history.call(2, Call::Latest { place: place() }, Outcome::Ok(Answer::Latest(4)));
    assert_found(&history, &["EndTooLow"]);
    let mut history = five();
    history.call(2, Call::Latest { place: place() }, Outcome::Ok(Answer::Latest(5)));
    assert_found(&history, &[]);
}

#[test]
fn a_trim_that_is_undone_or_goes_too_far_is_found() {
    let trimmed = |start: i64, read_start: usize| {
        let mut history = five();
        let trim = Call::Trim { place: place(), before: start };
        history.call(0, trim, Outcome::Ok(Answer::Trimmed(start)));
        let all = values(&[0, 1, 2, 3, 4]);
        read(&mut history, i64::try_from(read_start).unwrap(), &all[read_start..]);
        history
    };
    assert_found(&trimmed(3, 3), &[]);
    assert_found(&trimmed(3, 2), &["TrimUndone"]);
    assert_found(&trimmed(3, 4), &["TrimTooFar"]);
    // Over rounds.
    let mut history = trimmed(3, 3);
    history.settle();
    read(&mut history, 0, &values(&[0, 1, 2, 3, 4]));
    assert_found(&history, &["TrimUndone"]);
    // Retention goes where it likes, but not back.
    let mut history = five();
    let create = Call::CreateTopic { topic: "t".into(), retained: true };
    history.call(0, create, Outcome::Ok(Answer::Done));
    read(&mut history, 3, &values(&[3, 4]));
    assert_found(&history, &[]);
    read(&mut history, 2, &values(&[2, 3, 4]));
    assert_found(&history, &["TrimUndone"]);
}

fn topics_are(history: &mut History, names: &[&str]) {
    let names = names.iter().map(|name| Arc::from(*name)).collect();
    history.call(0, Call::ReadTopics, Outcome::Ok(Answer::Topics(names)));
}

#[test]
fn a_topic_that_is_gone_or_back_is_found() {
    let created = |outcome: Outcome| {
        let mut history = History::default();
        history.call(0, Call::CreateTopic { topic: "a".into(), retained: false }, outcome);
        history
    };
    let mut history = created(Outcome::Ok(Answer::Done));
    topics_are(&mut history, &[]);
    assert_found(&history, &["TopicLost"]);
    let mut history = created(Outcome::Unknown("broken".into()));
    topics_are(&mut history, &[]);
    topics_are(&mut history, &["a"]);
    assert_found(&history, &[]);
    let mut history = created(Outcome::Fail("full".into()));
    topics_are(&mut history, &["a"]);
    assert_found(&history, &["TopicBack"]);

    let mut history = created(Outcome::Ok(Answer::Done));
    topics_are(&mut history, &["a"]);
    history.settle();
    let delete = Call::DeleteTopic { topic: "a".into() };
    history.call(0, delete, Outcome::Ok(Answer::Done));
    topics_are(&mut history, &[]);
    assert_found(&history, &[]);
    topics_are(&mut history, &["a"]);
    assert_found(&history, &["TopicBack"]);
}

fn commit(offset: i64) -> Call {
    Call::Commit { group: "g".into(), place: place(), offset, by: None }
}

fn commit_is(history: &mut History, offset: Option<i64>) {
    let commits = offset.map(|offset| (place(), offset)).into_iter().collect();
    let answer = Outcome::Ok(Answer::Commits(commits));
    history.call(0, Call::ReadCommits { group: "g".into() }, answer);
}

#[test]
fn a_lost_commit_is_found() {
    let history = |found: Option<i64>| {
        let mut history = History::default();
        history.call(1, commit(3), Outcome::Ok(Answer::Done));
        history.call(1, commit(7), Outcome::Ok(Answer::Done));
        history.call(1, commit(5), Outcome::Unknown("broken".into()));
        commit_is(&mut history, found);
        history
    };
    assert_found(&history(Some(7)), &[]);
    assert_found(&history(Some(5)), &[]);
    assert_found(&history(Some(3)), &["WrongCommit"]);
    assert_found(&history(None), &["WrongCommit"]);
    // Over rounds.
    let mut history = history(Some(7));
    history.settle();
    commit_is(&mut history, Some(5));
    assert_found(&history, &["WrongCommit"]);
}
