//! The index, as its redo file has it, and the state that follows from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ropewalk_core::GroupId;
use ropewalk_core::codec::DecodeError;

use super::report;
use super::{Look, Severity};
use crate::disk_engine::index::contents::{self, Contents, Looked};
use crate::disk_engine::keys::Key;
use crate::disk_engine::state::{Log, Segment, State};
use crate::disk_engine::values::{self, ChunkValue, GroupValue, SegmentValue};
use crate::disk_engine::writes;
use crate::engine::Result;

/// All that the index says, in its own terms.
#[derive(Default)]
pub(super) struct Known {
    pub(super) directory: u64,
    pub(super) checkpoint: u64,
    pub(super) groups: BTreeMap<GroupId, GroupValue>,
    /// By log and number.
    pub(super) segments: BTreeMap<u64, BTreeMap<u64, SegmentValue>>,
    /// By log and first entry.
    pub(super) chunks: BTreeMap<u64, BTreeMap<u64, ChunkValue>>,
    /// How many a log has.
    pub(super) rows: BTreeMap<u64, u64>,
    pub(super) deleted: BTreeSet<u64>,
    pending: Bytes,
}

impl Look<'_> {
    /// Reads the index; nothing when it cannot be relied upon.
    pub(super) fn index(&mut self) -> Result<Option<Known>> {
        let (dir, path) = (self.index_dir(), contents::redo_path(&self.index_dir()));
        let looked = contents::look(self.disk, &dir);
        self.advance(self.report.redo_bytes);
        for name in self.disk.list(&dir)? {
            if !["redo", "redo.new", "sled"].contains(&name.as_str()) {
                self.find(Severity::Note, &dir.join(name), None, "no broker knows this name");
            } else if name == "redo.new" {
                let what = "left by a crash in the middle of its making; the next start removes it";
                self.find(Severity::Repairable, &dir.join(name), None, what);
            }
        }
        let may_help = "the next start tries to make it anew from the store in sled, which is not \
                        read here; if that does not help, restore the data directory from a copy";
        let contents = match looked {
            Ok(Looked::Whole(contents)) => *contents,
            Ok(Looked::Missing) if self.is_new(&dir)? => return Ok(None),
            Ok(Looked::Missing) => {
                self.find(
                    Severity::Damage,
                    &path,
                    None,
                    format!("the file is missing; {may_help}"),
                );
                return Ok(None);
            }
            Ok(Looked::Damaged { at, why }) => {
                self.find(Severity::Damage, &path, Some(at), format!("{why}; {may_help}"));
                return Ok(None);
            }
            Err(error) => {
                self.find_error(&path, error)?;
                return Ok(None);
            }
        };
        Ok(Some(self.take(contents)))
    }

    /// Whether no engine was ever opened here.
    fn is_new(&self, dir: &std::path::Path) -> Result<bool> {
        let store = self.report.store_files > 0 || !self.disk.list(dir)?.is_empty();
        Ok(!store && self.disk.list(&self.journal_dir())?.is_empty())
    }

    fn take(&mut self, contents: Contents) -> Known {
        let path = contents::redo_path(&self.index_dir());
        if contents.end < self.report.redo_bytes {
            let what = "a torn frame, cut short by a crash; the next start cuts it off";
            self.find(Severity::Repairable, &path, Some(contents.end), what);
        }
        for at in &contents.bad_filling {
            let what = "the frame is sound, and what fills it up is not zeros; nobody reads it";
            self.find(Severity::Note, &path, Some(*at), what);
        }
        if !contents.sum_fits {
            let what = "the index does not have the sum that its last frame gives it: the store \
                        gave wrong answers; the next start makes both anew";
            self.find(Severity::Repairable, &path, None, what);
        }
        if self.report.store_files == 0 {
            let what = "there is no store; the next start makes it from the redo file";
            self.find(Severity::Note, &self.index_dir().join("sled"), None, what);
        }
        let mut known = Known {
            directory: contents.directory,
            checkpoint: contents.checkpoint,
            pending: Bytes::from(contents.pending),
            ..Known::default()
        };
        let keys = contents.pairs.len() as u64;
        for (key, value) in contents.pairs {
            if let Err(error) = known.put(&key, &value) {
                let what = format!("{}: {error}", Key::describe(&key));
                self.find(Severity::Damage, &path, None, what);
            }
        }
        self.report.directory = Some(known.directory);
        self.report.index = Some(report::Index {
            turn: contents.turn,
            sequence: contents.sequence,
            frames: contents.frames,
            base_bytes: contents.base_bytes,
            checkpoint: contents.checkpoint,
            keys,
            pending_bytes: known.pending.len() as u64,
            deleted_logs: known.deleted.iter().copied().collect(),
        });
        self.check_owners(&known);
        known
    }

    /// Every key belongs to a log that is there, or to one that is on its way out.
    fn check_owners(&mut self, known: &Known) {
        let logs: BTreeSet<u64> = known.groups.values().map(|group| group.log).collect();
        let owned = |log: &u64| logs.contains(log) || known.deleted.contains(log);
        let mut others: BTreeSet<u64> = known.chunks.keys().copied().collect();
        others.extend(known.segments.keys().chain(known.rows.keys()));
        others.retain(|log| !owned(log));
        let path = contents::redo_path(&self.index_dir());
        for log in others {
            let what =
                format!("keys of log {log}, which no replica group has; they only take room");
            self.find(Severity::Note, &path, None, what);
        }
        if logs.len() < known.groups.len() {
            self.find(Severity::Damage, &path, None, "two replica groups have the same log");
        }
    }

    /// The logs as they were at the last checkpoint.
    pub(super) fn state_of(&mut self, known: Option<&Known>) -> State {
        let Some(known) = known else { return State::default() };
        let mut state = State { lsn: known.checkpoint, ..State::default() };
        let logs = known.groups.values().map(|group| group.log);
        state.next_log = logs.chain(known.deleted.iter().copied()).max().unwrap_or(0);
        for (group, value) in &known.groups {
            let segments = known.segments.get(&value.log).into_iter().flatten();
            let segments: VecDeque<Segment> = segments
                .map(|(number, segment)| Segment {
                    number: *number,
                    base_index: segment.base_index,
                    bytes: segment.bytes,
                    stored_bytes: segment.bytes,
                    last: 0,
                })
                .collect();
            state.logs.insert(*group, Box::new(Log::stored(value.clone(), segments)));
        }
        if let Err(why) = apply(&mut state, &known.pending) {
            let path = contents::redo_path(&self.index_dir());
            let what = format!("what the last checkpoint left pending makes no sense: {why}");
            self.find(Severity::Damage, &path, None, what);
        }
        state
    }
}

impl Known {
    fn put(&mut self, key: &[u8], value: &[u8]) -> std::result::Result<(), DecodeError> {
        match Key::decode(key)? {
            Key::Group(group) => {
                self.groups.insert(group, GroupValue::decode(key, value)?);
            }
            Key::Deleted(log) => {
                values::decode_deleted(key, value)?;
                self.deleted.insert(log);
            }
            Key::Row(log, _) => {
                values::decode_row(key, value)?;
                *self.rows.entry(log).or_default() += 1;
            }
            Key::Segment(log, number) => {
                let segment = SegmentValue::decode(key, value)?;
                self.segments.entry(log).or_default().insert(number, segment);
            }
            Key::Chunk(log, first) => {
                let chunk = ChunkValue::decode(key, value)?;
                self.chunks.entry(log).or_default().insert(first, chunk);
            }
        }
        Ok(())
    }
}

/// Applies writes as a start does, but for the data of entries, which would take memory.
pub(super) fn apply(state: &mut State, payload: &Bytes) -> std::result::Result<(), String> {
    for mut write in writes::take_writes(payload).map_err(|error| error.to_string())? {
        write.append.iter_mut().for_each(|entry| entry.data = Bytes::new());
        let changes = state.check(std::iter::once(&write)).map_err(|error| error.to_string())?;
        state.apply(&write, changes.first().and_then(Option::as_ref));
    }
    Ok(())
}
