//! Streams of readers: offsets rise, and skip nothing that the log holds.

use std::collections::HashMap;

use super::{Log, Violation};
use crate::history::{Client, Place, Seen, Sight};

/// Where a stream is.
struct Stream {
    era: u32,
    next: i64,
    high_watermark: i64,
}

/// Checks every stream that read this partition.
pub(super) fn check(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    let asked = log.trims.iter().map(|(before, _)| *before).max().unwrap_or(0);
    // What retention takes, nobody asked for.
    let deleted = if log.retained { i64::MAX } else { asked };
    let mut streams: HashMap<Client, Stream> = HashMap::new();
    for seen in &log.seen {
        match &seen.sight {
            Sight::Started { asked, offset, high_watermark, log_start } => {
                let expected = asked.unwrap_or(*log_start).max(*log_start);
                // A start that was deleted is told as such, or followed by a gap.
                if Some(*offset) != *asked {
                    moved(place, seen, expected, *offset, found);
                    if *log_start > deleted {
                        moved(place, seen, asked.unwrap_or(0), *log_start, found);
                    }
                }
                let (era, high_watermark) = (seen.era, *high_watermark);
                streams.insert(seen.reader, Stream { era, next: *offset, high_watermark });
            }
            sight => {
                let stream = streams.get_mut(&seen.reader).filter(|s| s.era == seen.era);
                match stream {
                    Some(stream) => stream.step(place, seen, sight, deleted, found),
                    // It delivers before it said from where.
                    None => moved(place, seen, -1, 0, found),
                }
            }
        }
    }
}

impl Stream {
    fn step(
        &mut self,
        place: &Place,
        seen: &Seen,
        sight: &Sight,
        deleted: i64,
        found: &mut Vec<Violation>,
    ) {
        match sight {
            Sight::Batch { base, values, .. } => {
                moved(place, seen, self.next, *base, found);
                for (offset, value) in (*base..).zip(values) {
                    if value.is_none() {
                        found.push(Violation::BadBytes { place: place.clone(), offset });
                    }
                }
                self.next = base + i64::try_from(values.len()).unwrap_or(i64::MAX);
            }
            Sight::Gap { from, to } => {
                moved(place, seen, self.next, *from, found);
                if *to > deleted {
                    moved(place, seen, *from, *to, found);
                }
                self.next = *to;
            }
            Sight::Heartbeat { high_watermark } => {
                if *high_watermark < self.high_watermark {
                    found.push(Violation::WatermarkFell {
                        place: place.clone(),
                        node: seen.node,
                        before: self.high_watermark,
                        now: *high_watermark,
                    });
                }
                self.high_watermark = *high_watermark;
            }
            Sight::Started { .. } => {}
        }
    }
}

/// Reports an offset that is not the one which comes next.
fn moved(place: &Place, seen: &Seen, expected: i64, now: i64, found: &mut Vec<Violation>) {
    let (place, reader, node) = (place.clone(), seen.reader, seen.node);
    match now.cmp(&expected) {
        std::cmp::Ordering::Less => {
            found.push(Violation::ReaderWentBack { place, reader, node, expected, found: now });
        }
        std::cmp::Ordering::Equal => {}
        std::cmp::Ordering::Greater => {
            found.push(Violation::ReaderSkipped { place, reader, node, expected, found: now });
        }
    }
}
