//! What a partition holds: whole, once, dense, nothing lost, nothing that was not sent.

use std::collections::{BTreeMap, HashMap};

use super::{Log, Read, Violation};
use crate::history::{LogRead, Place, Sight};
use crate::value::ValueId;

/// Checks everything that concerns values and offsets without regard to who sent them when.
pub(super) fn check(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    one_value_an_offset(place, log, found);
    for read in &log.reads {
        dense(place, read.log, found);
        once(place, read.log, found);
    }
    sent(place, log, found);
    nothing_lost(place, log, found);
    whole_batches(place, log, found);
    trims(place, log, found);
}

/// Offsets and values that a log is known to have had at a tick.
fn known<'a>(log: &'a Log<'_>) -> impl Iterator<Item = (u64, i64, ValueId)> + 'a {
    let whole = |read: &'a LogRead| {
        read.records.iter().filter_map(|(offset, value)| value.map(|value| (*offset, value)))
    };
    let base = log.base.into_iter().flat_map(whole).map(|(offset, value)| (0, offset, value));
    let acked = log.appends.iter().filter_map(|append| Some((append.acked?, append.values)));
    let acked =
        acked.flat_map(|((at, base), values)| (base..).zip(values).map(move |(o, v)| (at, o, *v)));
    let read = log.reads.iter().flat_map(move |read| {
        whole(read.log).map(move |(offset, value)| (read.ended, offset, value))
    });
    let seen = seen(log).filter_map(|(at, offset, value)| Some((at, offset, value?)));
    base.chain(acked).chain(read).chain(seen)
}

/// What readers' streams brought.
fn seen<'a>(log: &'a Log<'_>) -> impl Iterator<Item = (u64, i64, Option<ValueId>)> + 'a {
    log.seen.iter().flat_map(|seen| {
        let (base, values) = match &seen.sight {
            Sight::Batch { base, values, .. } => (*base, values.as_slice()),
            _ => (0, [].as_slice()),
        };
        (base..).zip(values).map(|(offset, value)| (seen.at, offset, *value))
    })
}

/// The newest read through each node.
fn last_reads<'a, 'b>(log: &'a Log<'b>) -> impl Iterator<Item = &'a Read<'b>> {
    let mut last: BTreeMap<u64, &Read<'b>> = BTreeMap::new();
    for read in &log.reads {
        let newest = last.entry(read.node).or_insert(read);
        if read.began > newest.began {
            *newest = read;
        }
    }
    last.into_values()
}

fn one_value_an_offset(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    let mut values: HashMap<i64, ValueId> = HashMap::new();
    for (_, offset, second) in known(log) {
        let first = *values.entry(offset).or_insert(second);
        if first != second {
            found.push(Violation::TwoValues { place: place.clone(), offset, first, second });
        }
    }
}

fn dense(place: &Place, read: &LogRead, found: &mut Vec<Violation>) {
    let mut expected = read.start;
    for (offset, value) in &read.records {
        if *offset != expected {
            found.push(Violation::Hole { place: place.clone(), expected, found: *offset });
        }
        if value.is_none() {
            found.push(Violation::BadBytes { place: place.clone(), offset: *offset });
        }
        expected = offset + 1;
    }
    if expected != read.end {
        found.push(Violation::Hole { place: place.clone(), expected, found: read.end });
    }
}

fn once(place: &Place, read: &LogRead, found: &mut Vec<Violation>) {
    let mut offsets: HashMap<ValueId, i64> = HashMap::new();
    for (offset, value) in &read.records {
        let Some(value) = *value else { continue };
        if let Some(first) = offsets.insert(value, *offset)
            && first != *offset
        {
            let second = *offset;
            found.push(Violation::Duplicate { place: place.clone(), value, first, second });
        }
    }
}

/// Every value was sent to this partition, before it was read, and not refused; or it was known.
fn sent(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    let base = log.base.into_iter().flat_map(|read| &read.records);
    let base: HashMap<ValueId, i64> =
        base.filter_map(|(offset, value)| Some(((*value)?, *offset))).collect();
    let sent =
        log.appends.iter().flat_map(|append| append.values.iter().map(move |v| (*v, append)));
    let sent: HashMap<ValueId, _> = sent.collect();
    let read = log.reads.iter().flat_map(|read| {
        read.log.records.iter().map(move |(offset, value)| (read.ended, *offset, *value))
    });
    for (at, offset, value) in read.chain(seen(log)) {
        // Bytes that are wrong are found elsewhere.
        let Some(value) = value else { continue };
        let place = place.clone();
        match (base.get(&value), sent.get(&value)) {
            (Some(known), _) if *known == offset => {}
            (_, Some(append)) if append.operation.failed() => {
                found.push(Violation::Refused { place, offset, value });
            }
            (_, Some(append)) if append.operation.invoked < at => {}
            _ => found.push(Violation::NeverSent { place, offset, value }),
        }
    }
}

/// The last read through each node has everything, from its start on, that was acked, read or
/// delivered before it, through whatever node.
fn nothing_lost(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    for read in last_reads(log) {
        nothing_lost_for(place, log, read, found);
    }
}

fn nothing_lost_for(place: &Place, log: &Log<'_>, read: &Read<'_>, found: &mut Vec<Violation>) {
    let (began, node, last) = (read.began, read.node, read.log);
    let now: HashMap<i64, Option<ValueId>> = last.records.iter().copied().collect();
    let mut must: BTreeMap<i64, ValueId> = BTreeMap::new();
    let before = known(log).filter(|(at, offset, _)| *at < began && *offset >= last.start);
    for (_, offset, value) in before {
        must.entry(offset).or_insert(value);
    }
    for (offset, value) in must {
        if now.get(&offset).copied().flatten() != Some(value) {
            let (place, start, end) = (place.clone(), last.start, last.end);
            found.push(Violation::Lost { place, node, offset, value, start, end });
        }
    }
    let ends = log.base.map(|base| base.end).into_iter();
    let earlier = log.reads.iter().filter(|earlier| earlier.ended < began);
    let ends = ends.chain(earlier.map(|earlier| earlier.log.end));
    if let Some(before) = ends.max().filter(|before| *before > last.end) {
        found.push(Violation::EndFell { place: place.clone(), before, now: last.end });
    }
}

fn whole_batches(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    let Some(last) = log.reads.iter().max_by_key(|read| read.began).map(|read| read.log) else {
        return;
    };
    let now: HashMap<ValueId, i64> =
        last.records.iter().filter_map(|(offset, value)| Some(((*value)?, *offset))).collect();
    for append in log.appends.iter().filter(|append| append.values.len() > 1) {
        let mut places = (0_i64..).zip(append.values);
        let Some((first, value, offset)) =
            places.find_map(|(number, value)| Some((number, *value, *now.get(value)?)))
        else {
            continue;
        };
        let base = offset - first;
        let whole = (base..)
            .zip(append.values)
            .all(|(expected, value)| expected < last.start || now.get(value) == Some(&expected));
        if !whole {
            found.push(Violation::TornBatch { place: place.clone(), value, offset });
        }
    }
}

/// The start of the log in every read lies between the trims that were acked before and those that
/// were asked for by then.
fn trims(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    let base = log.base.map_or(0, |base| base.start);
    let asked = log.trims.iter().map(|(before, _)| *before).max().unwrap_or(0).max(base);
    for Read { began, log: read, .. } in &log.reads {
        let acked = log.trims.iter().filter_map(|(before, acked)| Some((*before, (*acked)?)));
        let acked = acked.filter(|(_, (at, _))| at < began);
        // The answer says where the log starts, which must be what was asked, or beyond.
        let trimmed = acked.map(|(before, (_, start))| before.max(start)).max().unwrap_or(0);
        let trimmed = trimmed.max(base);
        let earlier = log.reads.iter().filter(|earlier| earlier.ended < *began);
        let trimmed = earlier.map(|earlier| earlier.log.start).max().unwrap_or(0).max(trimmed);
        let (place, start) = (place.clone(), read.start);
        if start < trimmed {
            found.push(Violation::TrimUndone { place, start, trimmed });
        } else if start > asked && !log.retained {
            found.push(Violation::TrimTooFar { place, start, asked });
        }
    }
}
