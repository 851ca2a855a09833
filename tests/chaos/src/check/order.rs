//! Who came first: the order of a producer, and that of calls which did not overlap.

use std::collections::HashMap;

use super::{Log, Violation};
use crate::history::{Client, Place, Sight};
use crate::value::ValueId;

/// Checks everything that concerns order.
pub(super) fn check(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    for read in &log.reads {
        producers(place, &read.log.records, found);
    }
    let acked = log.appends.iter().filter_map(|append| Some((append.acked?, append.values)));
    let mut acked: Vec<_> =
        acked.flat_map(|((_, base), v)| (base..).zip(v).map(|(o, v)| (o, Some(*v)))).collect();
    acked.sort_unstable();
    producers(place, &acked, found);
    sweep(place, log, found);
}

/// Clients number their values, and send them in that order.
fn producers(place: &Place, records: &[(i64, Option<ValueId>)], found: &mut Vec<Violation>) {
    let mut last: HashMap<Client, (ValueId, i64)> = HashMap::new();
    for (offset, value) in records {
        let Some(value) = *value else { continue };
        let Some((later, later_offset)) = last.insert(value.client, (value, *offset)) else {
            continue;
        };
        if later.counter > value.counter {
            found.push(Violation::OutOfOrder {
                place: place.clone(),
                earlier: value,
                earlier_offset: *offset,
                later,
                later_offset,
            });
        }
    }
}

/// What a moment of the sweep means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// An append was acked up to this offset.
    Acked(i64),
    /// An append that got this offset was sent.
    Sent(i64),
    /// The end was asked for, and this was the answer.
    Asked(i64),
}

/// One pass over all moments, with the highest offset that had been acked by then. Together with
/// one value an offset, this is linearizability of a log that only grows.
fn sweep(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    let mut steps: Vec<(u64, Step)> = Vec::new();
    // The offset of an append whose outcome is unknown is known when it was read.
    let read = log.reads.iter().flat_map(|read| &read.log.records);
    let read: HashMap<ValueId, i64> =
        read.filter_map(|(offset, value)| Some(((*value)?, *offset))).collect();
    for append in &log.appends {
        let Some(first) = append.values.first() else { continue };
        let base = append.acked.map(|(_, base)| base).or_else(|| read.get(first).copied());
        let Some(base) = base else { continue };
        steps.push((append.operation.invoked, Step::Sent(base)));
        let count = i64::try_from(append.values.len()).unwrap_or(i64::MAX);
        steps.extend(append.acked.map(|(at, base)| (at, Step::Acked(base + count - 1))));
    }
    steps.extend(log.ends.iter().map(|(began, said)| (*began, Step::Asked(*said))));
    for read in &log.reads {
        steps.push((read.began, Step::Asked(read.log.end)));
        steps.push((read.ended, Step::Acked(read.log.end - 1)));
    }
    // What was said or seen to be committed is as good as acked.
    for seen in &log.seen {
        let end = match &seen.sight {
            Sight::Started { high_watermark, .. } | Sight::Heartbeat { high_watermark } => {
                *high_watermark
            }
            Sight::Batch { base, values, .. } => {
                base + i64::try_from(values.len()).unwrap_or(i64::MAX)
            }
            Sight::Gap { to, .. } => *to,
        };
        steps.push((seen.at, Step::Acked(end - 1)));
    }
    let described = log.described.iter();
    steps.extend(described.map(|said| (said.ended, Step::Acked(said.state.high_watermark - 1))));
    steps.sort_unstable();
    let mut above = log.base.map_or(-1, |base| base.end - 1);
    for (_, step) in steps {
        let place = place.clone();
        match step {
            Step::Acked(last) => above = above.max(last),
            Step::Sent(offset) if offset <= above => {
                found.push(Violation::OffsetTooLow { place, offset, above });
            }
            Step::Asked(said) if said <= above => {
                found.push(Violation::EndTooLow { place, said, above });
            }
            Step::Sent(_) | Step::Asked(_) => {}
        }
    }
}
