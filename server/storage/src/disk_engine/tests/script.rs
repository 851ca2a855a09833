//! Random writes that follow from a seed, and what an engine must show after them.

use std::collections::BTreeSet;
use std::path::Path;

use ropewalk_core::{GroupId, Offset, Timestamp};

use super::DiskEngine;
use crate::conformance::hard_state;
use crate::conformance::model::{Change, Stand, concrete};
use crate::disk::sim::{Rng, SimDisk};
use crate::disk::{Disk, Mode};
use crate::disk_engine::keys::Key;
use crate::disk_engine::segments::SegmentFiles;
use crate::disk_engine::state::held_bytes;
use crate::disk_engine::values::ChunkValue;
use crate::engine::{Engine, GroupState, GroupWrite, Seek, WriteBatch};
use crate::memory::MemoryEngine;

/// How many groups there are at most.
const GROUPS: u64 = 4;

/// Where the groups stand, so that the next writes fit.
#[derive(Clone, Debug)]
pub(super) struct Script {
    stands: Vec<Option<Stand>>,
    term: u64,
}

impl Script {
    pub(super) fn new() -> Self {
        Self { stands: vec![None; GROUPS as usize], term: 6 }
    }

    /// Batches that one call is to write.
    pub(super) fn batches(&mut self, rng: &mut Rng) -> Vec<WriteBatch> {
        let mut batches = Vec::new();
        for _ in 0..1 + rng.below(6) / 4 {
            let mut groups = Vec::new();
            for _ in 0..1 + rng.below(4) {
                self.term += 1;
                let change = change(rng);
                concrete(rng.below(GROUPS), change, self.term, &mut self.stands, &mut groups);
            }
            batches.push(WriteBatch { groups, sync: rng.below(4) > 0 });
        }
        batches
    }
}

fn sizes(rng: &mut Rng) -> Vec<usize> {
    let size = |rng: &mut Rng| match rng.below(8) {
        0 => 0,
        1 => 3_800 + rng.below(300),
        2 => rng.below(9_000),
        _ => rng.below(300),
    };
    (0..rng.below(7)).map(|_| size(rng) as usize).collect()
}

fn change(rng: &mut Rng) -> Change {
    match rng.below(20) {
        0 => Change::Delete,
        1..=8 => {
            let sizes = sizes(rng);
            let replaces = rng.below(4) == 0 && !sizes.is_empty();
            Change::Append { back: if replaces { rng.below(6) } else { 0 }, sizes }
        }
        9..=11 => Change::Trim { percent: rng.below(115), other_term: rng.below(8) == 0 },
        12 => Change::Snapshot { beyond: 1 + rng.below(8), sizes: sizes(rng) },
        13..=14 => Change::Rows((0..1 + rng.below(4)).map(|_| row(rng)).collect()),
        _ => Change::State {
            term: 1 + rng.below(9),
            voters: (0..rng.below(3)).collect(),
            percent: rng.below(140),
        },
    }
}

fn row(rng: &mut Rng) -> (Vec<u8>, Option<Vec<u8>>) {
    let key = (0..rng.below(3)).map(|_| [0, 1, 255][rng.below(3) as usize]).collect();
    let bytes = if rng.below(8) == 0 { 3_000 } else { rng.below(40) };
    let value = vec![rng.next() as u8; bytes as usize];
    (key, (rng.below(4) > 0).then_some(value))
}

/// Says what an engine shows that it should not, if anything. A read that fails is a panic.
pub(super) fn difference(expected: &MemoryEngine, actual: &dyn Engine) -> Option<String> {
    let groups = expected.groups().unwrap();
    let found = actual.groups().unwrap();
    if groups != found {
        return Some(format!("groups: {groups:#?}\nare: {found:#?}"));
    }
    (0..GROUPS).find_map(|number| {
        let group = GroupId(number);
        let rows = expected.rows(group, b"").unwrap() == actual.rows(group, b"").unwrap();
        if !rows {
            return Some(format!("rows of {group}"));
        }
        let state = groups.iter().find(|state| state.group == group);
        let first = state.map_or(0, |state| state.start.index + 1);
        let log = expected.entries(group, first..u64::MAX, u64::MAX).unwrap();
        let found = actual.entries(group, first..u64::MAX, u64::MAX).unwrap();
        if log != found {
            let indexes = |log: &[crate::engine::LogEntry]| -> Vec<(u64, u64, usize)> {
                log.iter().map(|entry| (entry.index, entry.meta.term, entry.data.len())).collect()
            };
            return Some(format!("{group}: {:?}\nis: {:?}", indexes(&log), indexes(&found)));
        }
        (first.saturating_sub(2)..first + log.len() as u64 + 2).find_map(|index| {
            let meta = expected.meta(group, index).unwrap() == actual.meta(group, index).unwrap();
            (!meta).then(|| format!("meta of {group} at {index}"))
        })
    })
}

/// Compares a few reads at random places.
pub(super) fn same_in_places(expected: &MemoryEngine, actual: &dyn Engine, rng: &mut Rng) {
    let groups = expected.groups().unwrap();
    assert_eq!(groups, actual.groups().unwrap());
    for GroupState { group, start, last, .. } in groups {
        let end = last.map_or(start.index, |(index, _)| index) + 1;
        let first = (start.index + rng.below(end - start.index + 3)).saturating_sub(1);
        let range = first..first + rng.below(9);
        let max_bytes = rng.below(12_000);
        assert_eq!(
            expected.entries(group, range.clone(), max_bytes).unwrap(),
            actual.entries(group, range, max_bytes).unwrap()
        );
        assert_eq!(expected.meta(group, first).unwrap(), actual.meta(group, first).unwrap());
        let prefix: &[u8] = if rng.below(2) == 0 { &[] } else { &[255] };
        assert_eq!(expected.rows(group, prefix).unwrap(), actual.rows(group, prefix).unwrap());
        // Offsets and times of the entries rise with their indexes.
        let all = start.index + 1..end;
        for seek in [Seek::After(Offset(first * 10)), Seek::Since(Timestamp(first as i64))] {
            let found = actual.find(group, all.clone(), seek).unwrap();
            assert_eq!(expected.find(group, all.clone(), seek).unwrap(), found, "{seek:?}");
        }
    }
}

/// What the engine reckons of its memory is what it has.
pub(super) fn memory_is_accounted_for(engine: &DiskEngine) {
    let state = engine.core.state();
    let held = state.logs.values().flat_map(|log| log.held_from(0)).map(held_bytes).sum::<u64>();
    assert_eq!(state.held_bytes, held);
    let drainable =
        state.logs.values().flat_map(|log| log.drainable()).map(held_bytes).sum::<u64>();
    assert_eq!(state.drainable_bytes, drainable);
    let holding: BTreeSet<GroupId> = state
        .logs
        .iter()
        .filter(|(_, log)| log.first_held().is_some())
        .map(|(group, _)| *group)
        .collect();
    assert_eq!(state.holding, holding);
}

/// Every file that the index knows is there, as long as the index says at least.
pub(super) fn files_are_whole(engine: &DiskEngine, disk: &SimDisk) {
    let state = engine.core.state();
    for log in state.logs.values() {
        // On a full disk a file goes before the index is told that nothing is left in it.
        for segment in log.segments.iter().skip(log.droppable().count()) {
            let path = engine.core.files.path((log.number, segment.number));
            let bytes = disk.bytes(&path).map(|bytes| bytes.len() as u64);
            assert_eq!(bytes, Some(segment.bytes), "{}", path.display());
        }
    }
}

/// A write after which everything in every log is committed.
pub(super) fn commit_all(engine: &dyn Engine) -> Vec<WriteBatch> {
    let groups = engine.groups().unwrap().into_iter().map(|state| {
        let last = state.last.map_or(state.start.index, |(index, _)| index);
        let commit = last.max(state.hard_state.commit);
        GroupWrite { hard_state: Some(hard_state(9, 1, commit)), ..GroupWrite::new(state.group) }
    });
    vec![WriteBatch { groups: groups.collect(), sync: true }]
}

/// All is drained, and neither memory, index nor disk holds anything that nothing refers to.
pub(super) fn nothing_is_left_over(engine: &DiskEngine, disk: &SimDisk) {
    let core = &engine.core;
    core.drain(&mut core.work(), true).unwrap();
    assert_eq!(core.state().held_bytes, 0, "everything is drained");
    let mut checkpoints = core.checkpoints();
    core.checkpoint(&mut checkpoints).unwrap();
    while core.sweep(&mut checkpoints).unwrap() {}
    let state = core.state();
    let log = |number: u64| state.logs.values().find(|log| log.number == number);
    core.index
        .for_each(&[1], &[255], &mut |key, value| {
            let is_known = match Key::decode(key).unwrap() {
                Key::Group(group) => state.logs.contains_key(&group),
                Key::Deleted(_) => false,
                Key::Row(number, _) => log(number).is_some(),
                Key::Segment(number, file) => log(number)
                    .is_some_and(|log| log.segments.iter().any(|known| known.number == file)),
                Key::Chunk(number, _) => {
                    let last = ChunkValue::decode(key, value).unwrap().last;
                    log(number).is_some_and(|log| last > log.start.index)
                }
            };
            assert!(is_known, "left over: {}", Key::describe(key));
            Ok(())
        })
        .unwrap();
    for name in disk.list(core.files.dir()).unwrap() {
        let number = name.parse().unwrap();
        let known = log(number).unwrap_or_else(|| panic!("the files of log {name}"));
        for name in disk.list(&core.files.log_dir(number)).unwrap() {
            let file = SegmentFiles::number(&name).unwrap();
            let path = core.files.path((number, file));
            let bytes = disk.open(&path, Mode::Read).unwrap().len().unwrap();
            let known = known.segments.iter().find(|known| known.number == file);
            assert_eq!(known.map(|known| known.bytes), Some(bytes), "{}", path.display());
        }
    }
    let journal = Path::new("/data/journal");
    let files = disk.list(journal).unwrap().into_iter().filter(|name| name != "acked");
    let files = files.map(|name| disk.open(&journal.join(name), Mode::Read).unwrap());
    let on_disk: u64 = files.map(|file| file.len().unwrap()).sum();
    assert!(on_disk <= core.journal.size_bytes(), "the journal knows all of its files");
}
