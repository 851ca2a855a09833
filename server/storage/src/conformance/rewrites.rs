//! Stretches of a log that are written anew.

use super::{
    Check, GROUP, Harness, append, commit, deletion, entries, holds, reclaim_all, reopen, start,
    trim, with_log, write,
};
use crate::engine::LogEntry;

pub(super) const CHECKS: &[Check] = &[
    ("what is written anew takes the place of what was", what_is_written_anew_takes_its_place),
    ("what is written anew and dropped leaves nothing", what_is_dropped_leaves_nothing),
    ("only what is committed is written anew", only_what_is_committed),
    ("of what the log holds nothing is left out", nothing_is_left_out),
    ("a log that was trimmed or deleted meanwhile stays so", a_log_that_was_trimmed_meanwhile),
];

/// Entries of two segments as one, with less data.
fn anew(entries: &[LogEntry]) -> Vec<LogEntry> {
    let base_index = entries[0].meta.segment.base_index;
    let anew = |entry: &LogEntry| {
        let mut entry = entry.clone();
        entry.meta.segment.base_index = base_index;
        entry.data = entry.data.slice(..entry.data.len() / 3);
        entry
    };
    entries.iter().map(anew).collect()
}

fn what_is_written_anew_takes_its_place(place: &mut dyn Harness) {
    for size in [30, 300, 9_000] {
        let mut log = entries(6..30, 6, size);
        let engine = with_log(place, log.clone());
        write(engine.as_ref(), vec![commit(GROUP, 29)]);
        // Segments begin at 8 and at 12.
        let new = anew(&log[2..10]);
        let mut rewrite = engine.rewrite(GROUP, 8..16, 0).unwrap().unwrap();
        assert!(rewrite.push(new[..3].to_vec()).unwrap());
        holds(engine.as_ref(), GROUP, &log);
        assert!(rewrite.push(new[3..].to_vec()).unwrap());
        assert!(rewrite.finish().unwrap());
        log.splice(2..10, new);
        holds(engine.as_ref(), GROUP, &log);
        reclaim_all(engine.as_ref());
        holds(engine.as_ref(), GROUP, &log);
        let engine = reopen(place, engine);
        holds(engine.as_ref(), GROUP, &log);
        write(engine.as_ref(), vec![append(GROUP, entries(30..40, 6, size))]);
        log.extend(entries(30..40, 6, size));
        let engine = reopen(place, engine);
        holds(engine.as_ref(), GROUP, &log);
        write(engine.as_ref(), vec![trim(GROUP, start(13, 6))]);
        holds(engine.as_ref(), GROUP, &log[8..]);
        let engine = reopen(place, engine);
        reclaim_all(engine.as_ref());
        holds(engine.as_ref(), GROUP, &log[8..]);
        write(engine.as_ref(), vec![deletion(GROUP)]);
    }
}

fn what_is_dropped_leaves_nothing(place: &mut dyn Harness) {
    let log = entries(6..30, 6, 900);
    let engine = with_log(place, log.clone());
    write(engine.as_ref(), vec![commit(GROUP, 29)]);
    let mut rewrite = engine.rewrite(GROUP, 8..12, 0).unwrap().unwrap();
    assert!(rewrite.push(anew(&log[2..6])).unwrap());
    drop(rewrite);
    holds(engine.as_ref(), GROUP, &log);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &log);
}

fn only_what_is_committed(place: &mut dyn Harness) {
    let log = entries(6..30, 6, 900);
    let engine = with_log(place, log.clone());
    write(engine.as_ref(), vec![commit(GROUP, 18)]);
    let done = engine.rewrite(GROUP, 16..20, 0).unwrap().is_some_and(|mut rewrite| {
        rewrite.push(anew(&log[10..14])).unwrap() && rewrite.finish().unwrap()
    });
    assert!(!done);
    holds(engine.as_ref(), GROUP, &log);
}

fn nothing_is_left_out(place: &mut dyn Harness) {
    let log = entries(6..30, 6, 900);
    let engine = with_log(place, log.clone());
    write(engine.as_ref(), vec![commit(GROUP, 29), trim(GROUP, start(8, 6))]);
    // The log's first entry is within a segment.
    let mut lacking = engine.rewrite(GROUP, 8..12, 0).unwrap().unwrap();
    assert_eq!(lacking.log_start(), 8);
    assert!(lacking.push(anew(&log[4..6])).unwrap());
    assert!(!lacking.finish().unwrap());
    holds(engine.as_ref(), GROUP, &log[3..]);
    let mut whole = engine.rewrite(GROUP, 8..12, 0).unwrap().unwrap();
    assert!(whole.push(anew(&log[2..6])[1..].to_vec()).unwrap());
    assert!(whole.finish().unwrap());
    let left = [&anew(&log[2..6])[1..], &log[6..]].concat();
    holds(engine.as_ref(), GROUP, &left);
    let engine = reopen(place, engine);
    holds(engine.as_ref(), GROUP, &left);
}

fn a_log_that_was_trimmed_meanwhile(place: &mut dyn Harness) {
    let log = entries(6..30, 6, 900);
    let engine = with_log(place, log.clone());
    write(engine.as_ref(), vec![commit(GROUP, 29)]);
    let begin = |entries: &[LogEntry]| {
        let range = entries[0].index..entries[entries.len() - 1].index + 1;
        let mut rewrite = engine.rewrite(GROUP, range, 0).unwrap().unwrap();
        assert!(rewrite.push(anew(entries)).unwrap());
        rewrite
    };
    // All of it goes, or a part.
    let (all, part) = (begin(&log[2..6]), begin(&log[6..10]));
    write(engine.as_ref(), vec![trim(GROUP, start(13, 6))]);
    assert!(!all.finish().unwrap());
    assert!(part.finish().unwrap());
    let mut left = log[8..].to_vec();
    left.splice(..2, anew(&log[6..10])[2..].to_vec());
    holds(engine.as_ref(), GROUP, &left);
    let gone = begin(&log[10..14]);
    write(engine.as_ref(), vec![deletion(GROUP)]);
    assert!(!gone.finish().unwrap());
    holds(engine.as_ref(), GROUP, &[]);
    reclaim_all(engine.as_ref());
}
