//! Leaders and their epochs: one leader an epoch, epochs that rise along the log, and a high
//! watermark that a leader never takes back.

use std::collections::{BTreeMap, HashMap};

use super::{Described, Log, Violation};
use crate::history::{NodeId, Place, Sight};

/// Checks what was said and seen of a partition's leaders.
pub(super) fn check(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    one_leader(place, log, found);
    epochs_rise(place, log, found);
    watermarks_rise(place, log, found);
}

fn one_leader(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    let mut leaders: HashMap<i64, NodeId> = HashMap::new();
    for state in log.described.iter().map(|said| said.state).filter(|state| state.leader != 0) {
        let first = *leaders.entry(state.epoch).or_insert(state.leader);
        if first != state.leader {
            let (place, epoch, second) = (place.clone(), state.epoch, state.leader);
            found.push(Violation::TwoLeaders { place, epoch, first, second });
        }
    }
}

fn epochs_rise(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    let mut epochs: BTreeMap<i64, i64> = BTreeMap::new();
    let acked = log
        .appends
        .iter()
        .filter_map(|append| Some((append.acked?.1, append.values.len(), append.operation.epoch?)));
    let seen = log.seen.iter().filter_map(|seen| match &seen.sight {
        Sight::Batch { base, epoch, values } => Some((*base, values.len(), *epoch)),
        _ => None,
    });
    for (base, count, second) in acked.chain(seen) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        for offset in base..base + count {
            let first = *epochs.entry(offset).or_insert(second);
            if first != second {
                found.push(Violation::TwoEpochs { place: place.clone(), offset, first, second });
            }
        }
    }
    let mut before = i64::MIN;
    for (offset, epoch) in epochs {
        if epoch < before {
            found.push(Violation::EpochFell { place: place.clone(), offset, epoch, before });
        }
        before = epoch;
    }
}

/// Of two answers of a leader about itself, in one epoch, that did not overlap, the later one says
/// no less. What a follower says may be behind.
fn watermarks_rise(place: &Place, log: &Log<'_>, found: &mut Vec<Violation>) {
    let mut by_epoch: HashMap<(NodeId, i64), Vec<&Described<'_>>> = HashMap::new();
    let of_itself =
        log.described.iter().filter(|said| said.node == said.state.leader && said.node != 0);
    for said in of_itself {
        by_epoch.entry((said.node, said.state.epoch)).or_default().push(said);
    }
    for ((node, _), mut begun) in by_epoch {
        begun.sort_by_key(|said| said.began);
        let mut ended = begun.clone();
        ended.sort_by_key(|said| said.ended);
        let mut ended = ended.into_iter().peekable();
        let mut before = i64::MIN;
        for said in begun {
            while let Some(over) = ended.next_if(|over| over.ended < said.began) {
                before = before.max(over.state.high_watermark);
            }
            let now = said.state.high_watermark;
            if now < before {
                found.push(Violation::WatermarkFell { place: place.clone(), node, before, now });
            }
        }
    }
}
