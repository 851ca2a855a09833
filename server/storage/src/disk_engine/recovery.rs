//! Opens the engine: the index says what the logs were at the last checkpoint, the journal what has
//! happened since.
//!
//! What neither of them knows is left over from work that a crash cut short, and goes. What they
//! know and the disk does not have is damage: it is said, and the log is served but for that part.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ropewalk_core::GroupId;

use super::core::Core;
use super::index::{Index, Opened, Stores};
use super::journal::Journal;
use super::journal::recovery::size_bytes;
use super::keys::Key;
use super::options::Options;
use super::segments::{FileId, SegmentFiles};
use super::state::{Log, Segment, State};
use super::values::{self, GroupValue, SegmentValue};
use super::work::Sweep;
use super::writes;
use crate::disk::{Disk, Mode};
use crate::engine::{Result, StorageError};

/// The journal takes at most this part of what the disk has left.
const JOURNAL_PART: u64 = 8;

/// Opens the engine in a data directory that exists.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: Options,
    stores: &dyn Stores,
    fresh_directory: u64,
) -> Result<Core> {
    let (journal_dir, segments_dir) = (dir.join("journal"), dir.join("segments"));
    let (index_dir, roll_bytes) = (dir.join("index"), options.redo_bytes);
    if !Index::is_in(disk.as_ref(), &index_dir, stores) {
        refuse_orphans(disk.as_ref(), &index_dir, [&journal_dir, &segments_dir])?;
    }
    let opened = Index::open(Arc::clone(disk), &index_dir, stores, fresh_directory, roll_bytes)?;
    if let Some(why) = &opened.rebuilt {
        tracing::warn!(dir = %dir.display(), %why, "a part of the index was made anew");
    }
    for dir in [&journal_dir, &segments_dir] {
        disk.create_dir(dir)?;
        // An earlier process may have ended between making a name in it and syncing that.
        disk.sync_dir(dir)?;
    }
    disk.sync_dir(dir)?;
    // A small disk is for records first.
    let free = disk.free_bytes(dir)? + size_bytes(disk.as_ref(), &journal_dir)?;
    let room = (free / JOURNAL_PART).max(2 * options.first_file_bytes);
    let options = Options { journal_bytes: options.journal_bytes.min(room), ..options };
    let files = SegmentFiles::new(Arc::clone(disk), segments_dir, options.open_files);
    let Opened { index, checkpoint, directory, pending, .. } = opened;
    let (mut state, deleted) = load(&index, checkpoint)?;
    let known: BTreeMap<u64, VecDeque<Segment>> =
        state.logs.values().map(|log| (log.number, log.segments.clone())).collect();
    apply_payload(&mut state, &Bytes::from(pending), dir)?;
    let mut early = EarlyWork { state, dir };
    let (journal, replayed) = Journal::open(
        Arc::clone(disk),
        &journal_dir,
        directory,
        checkpoint,
        options,
        &mut |head, payload| early.replay(head.lsn, &payload),
    )?;
    // Not before all is known to fit together: an index that is too old knows too few files.
    let mut state = early.state;
    clean_up(disk.as_ref(), &files, &known, &needed(&state))?;
    state.lsn = replayed.last_lsn;
    if replayed.frames > 0 {
        tracing::info!(
            frames = replayed.frames,
            bytes = replayed.bytes,
            from = checkpoint + 1,
            "the journal was replayed"
        );
    }
    let core = Core::new(Arc::clone(disk), options, index, journal, files, state);
    let trimmed: Vec<(u64, Sweep)> = {
        let state = core.state();
        let logs = state.logs.values().filter(|log| log.drained.is_some());
        logs.map(|log| (log.number, Sweep::UpTo(log.start.index))).collect()
    };
    let mut checkpoints = core.checkpoints();
    checkpoints.sweeps.extend(trimmed);
    checkpoints.sweeps.extend(deleted.into_iter().map(|log| (log, Sweep::All)));
    drop(checkpoints);
    core.look_for_room()?;
    Ok(core)
}

/// Refuses to begin a new index beside what only another one knows: all of it would go as left
/// over. The index is durable before anything is written beside it, so no crash leaves that.
fn refuse_orphans(disk: &dyn Disk, index: &Path, others: [&Path; 2]) -> Result<()> {
    for other in others {
        if disk.exists(other) && !disk.list(other)?.is_empty() {
            return Err(StorageError::Corrupt {
                offset: None,
                what: "index: it is missing".to_owned(),
                path: index.to_owned(),
                detail: format!(
                    "{} holds what belongs to it; restore the whole data directory from a copy",
                    other.display()
                ),
            });
        }
    }
    Ok(())
}

/// The state while the journal is replayed.
struct EarlyWork<'a> {
    state: State,
    dir: &'a Path,
}

impl EarlyWork<'_> {
    fn replay(&mut self, lsn: u64, payload: &Bytes) -> Result<()> {
        apply_payload(&mut self.state, payload, self.dir)?;
        self.state.lsn = lsn;
        Ok(())
    }
}

fn apply_payload(state: &mut State, payload: &Bytes, dir: &Path) -> Result<()> {
    let damaged = |detail: String| StorageError::Corrupt {
        offset: None,
        what: "frame of the journal: it is whole, and makes no sense".to_owned(),
        path: dir.to_owned(),
        detail,
    };
    let writes = writes::take_writes(payload).map_err(|error| damaged(error.to_string()))?;
    for write in writes {
        let changes = state.check(std::iter::once(&write));
        let changes = changes.map_err(|error| damaged(error.to_string()))?;
        state.apply(&write, changes.first().and_then(Option::as_ref));
    }
    Ok(())
}

/// The logs as the index has them, and the logs whose removal is not done.
fn load(index: &Index, checkpoint: u64) -> Result<(State, Vec<u64>)> {
    let damaged = |key: &[u8], detail: String| StorageError::Corrupt {
        offset: None,
        what: Key::describe(key),
        path: index.path().to_owned(),
        detail,
    };
    let mut segments: BTreeMap<u64, VecDeque<Segment>> = BTreeMap::new();
    let mut state = State { lsn: checkpoint, ..State::default() };
    let mut deleted = Vec::new();
    let (first, last) = Key::segments();
    index.for_each(&first.encode(), &last.encode(), &mut |key, value| {
        let decoded = SegmentValue::decode(key, value).and_then(|v| Ok((v, Key::decode(key)?)));
        match decoded.map_err(|error| damaged(key, error.to_string()))? {
            (SegmentValue { base_index, bytes }, Key::Segment(log, number)) => {
                let segment = Segment { number, base_index, last: 0, bytes, stored_bytes: bytes };
                segments.entry(log).or_default().push_back(segment);
                Ok(())
            }
            _ => Err(damaged(key, "a segment was expected".to_owned())),
        }
    })?;
    let (first, last) = Key::deleted();
    index.for_each(&first.encode(), &last.encode(), &mut |key, value| {
        values::decode_deleted(key, value).map_err(|error| damaged(key, error.to_string()))?;
        if let Ok(Key::Deleted(log)) = Key::decode(key) {
            state.next_log = state.next_log.max(log);
            deleted.push(log);
        }
        Ok(())
    })?;
    let (first, last) = Key::groups();
    index.for_each(&first.encode(), &last.encode(), &mut |key, value| {
        let value =
            GroupValue::decode(key, value).map_err(|error| damaged(key, error.to_string()))?;
        let group = match Key::decode(key) {
            Ok(Key::Group(group)) => group,
            _ => GroupId(0),
        };
        state.next_log = state.next_log.max(value.log);
        let files = segments.remove(&value.log).unwrap_or_default();
        state.logs.insert(group, Box::new(Log::stored(value, files)));
        Ok(())
    })?;
    Ok((state, deleted))
}

/// The files that hold something that is still part of a log.
fn needed(state: &State) -> BTreeSet<FileId> {
    let mut needed = BTreeSet::new();
    for log in state.logs.values() {
        let kept = log.segments.iter().skip(log.droppable().count());
        needed.extend(kept.map(|segment| (log.number, segment.number)));
    }
    needed
}

/// Removes files that the index does not know, and what was written behind the end of the others.
fn clean_up(
    disk: &dyn Disk,
    files: &SegmentFiles,
    known: &BTreeMap<u64, VecDeque<Segment>>,
    needed: &BTreeSet<FileId>,
) -> Result<()> {
    for name in disk.list(files.dir())? {
        let Ok(number) = name.parse::<u64>() else { continue };
        let Some(segments) = known.get(&number) else {
            disk.remove_dir(&files.log_dir(number))?;
            continue;
        };
        for name in disk.list(&files.log_dir(number))? {
            let Some(segment) = SegmentFiles::number(&name) else { continue };
            if !segments.iter().any(|known| known.number == segment) {
                disk.remove(&files.path((number, segment)))?;
            }
        }
    }
    for (log, segments) in known {
        for segment in segments {
            let path = files.path((*log, segment.number));
            if !disk.exists(&path) && !needed.contains(&(*log, segment.number)) {
                // It went before the index could be told, as the disk was full.
                continue;
            }
            if !disk.exists(&path) {
                tracing::error!(
                    path = %path.display(),
                    "a segment file is missing: what was in it cannot be read; restore it from a \
                     copy"
                );
                continue;
            }
            let file = disk.open(&path, Mode::Write)?;
            let bytes = file.len()?;
            if bytes > segment.bytes {
                file.set_len(segment.bytes)?;
            } else if bytes < segment.bytes {
                tracing::error!(
                    path = %path.display(),
                    expected = segment.bytes,
                    found = bytes,
                    "a segment file is too short: what is missing cannot be read; restore it from \
                     a copy"
                );
            }
        }
    }
    Ok(())
}
