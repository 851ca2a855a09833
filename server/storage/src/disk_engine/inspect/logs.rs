//! Every log: what it holds, and the files that belong to it or to none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::chunks::Checked;
use super::index::Known;
use super::report::{Log, Segment};
use super::{Look, Severity};
use crate::disk::Mode;
use crate::disk_engine::chunk::{self, CHUNK_HEADER_BYTES};
use crate::disk_engine::index::contents;
use crate::disk_engine::segments::SegmentFiles;
use crate::disk_engine::state::State;
use crate::disk_engine::values::{ChunkValue, Place};
use crate::engine::Result;

impl Look<'_> {
    /// Looks at every log, and at every file under `segments`.
    pub(super) fn logs(&mut self, known: Option<&Known>, state: &State) -> Result<()> {
        let Some(known) = known else { return self.files_alone() };
        self.show_logs(known, state);
        if self.deep {
            self.check_logs(known, state)?;
        }
        self.find_orphans(known)
    }

    fn log_dir(&self, log: u64) -> PathBuf {
        self.segments_dir().join(log.to_string())
    }

    fn segment_path(&self, log: u64, number: u64) -> PathBuf {
        self.log_dir(log).join(format!("{number:016x}.segment"))
    }

    fn show_logs(&mut self, known: &Known, state: &State) {
        for found in state.groups() {
            let Some(log) = state.logs.get(&found.group) else { continue };
            let number = log.number;
            let chunks = known.chunks.get(&number);
            let [inline, in_files] = sizes(chunks);
            let segments = known.segments.get(&number).into_iter().flatten();
            let segments = segments
                .map(|(segment, value)| Segment {
                    path: self.segment_path(number, *segment),
                    base_index: value.base_index,
                    bytes: value.bytes,
                })
                .collect();
            self.report.logs.push(Log {
                group: found.group,
                replica: found.replica,
                number,
                start_index: found.start.index,
                start_offset: found.start.offset,
                last: found.last.map(|(index, meta)| (index, meta.end_offset())),
                committed: log.span().committed,
                undrained: log.held_from(0).count() as u64,
                inline_chunks: inline.0,
                inline_bytes: inline.1,
                file_chunks: in_files.0,
                file_bytes: in_files.1,
                rows: known.rows.get(&number).copied().unwrap_or(0),
                segments,
            });
        }
    }

    fn check_logs(&mut self, known: &Known, state: &State) -> Result<()> {
        let redo = contents::redo_path(&self.index_dir());
        let none = BTreeMap::new();
        for (group, value) in &known.groups {
            let now = state.logs.get(group).filter(|log| log.number == value.log);
            let mut log = Checked {
                group: *group,
                value,
                chunks: known.chunks.get(&value.log).unwrap_or(&none),
                unneeded: now.map_or(u64::MAX, |log| log.start.index),
                facts: BTreeMap::new(),
            };
            self.check_chain(&log, &redo);
            self.check_inline(&mut log, &redo);
            for (number, segment) in known.segments.get(&value.log).into_iter().flatten() {
                let path = self.segment_path(value.log, *number);
                self.check_file(&mut log, *number, segment, &path)?;
            }
            self.check_unknown_files(&log, known, &redo);
            self.check_joints(&log);
        }
        Ok(())
    }

    /// Chunks in files that the index does not know.
    fn check_unknown_files(&mut self, log: &Checked<'_>, known: &Known, redo: &Path) {
        let segments = known.segments.get(&log.value.log);
        for (first, chunk) in log.chunks {
            let Place::File { segment, .. } = chunk.place else { continue };
            let is_known = segments.is_some_and(|segments| segments.contains_key(&segment));
            // What was deleted may be named a little longer than its file.
            if !is_known && chunk.last > log.unneeded {
                let what = format!(
                    "the chunk at entry {first} of replica group {} is in a segment that the index \
                     does not know; restore the data directory from a copy",
                    log.group
                );
                self.find(Severity::Damage, redo, None, what);
            }
        }
    }

    /// Files that no log has.
    fn find_orphans(&mut self, known: &Known) -> Result<()> {
        let logs: BTreeSet<u64> = known.groups.values().map(|group| group.log).collect();
        let left = "no log knows it: left by a crash or a deletion; the next start removes it";
        for name in self.disk.list(&self.segments_dir())? {
            let path = self.segments_dir().join(&name);
            let Ok(number) = name.parse::<u64>() else {
                self.find(Severity::Note, &path, None, "no broker knows this name");
                continue;
            };
            let names = self.disk.list(&path)?;
            if !logs.contains(&number) {
                self.find(Severity::Repairable, &path, None, left);
                for name in names {
                    self.advance(self.length(&path.join(name))?);
                }
                continue;
            }
            for name in names {
                let file = path.join(&name);
                let segments = known.segments.get(&number);
                match SegmentFiles::number(&name) {
                    None => self.find(Severity::Note, &file, None, "no broker knows this name"),
                    Some(segment) if segments.is_some_and(|s| s.contains_key(&segment)) => {}
                    Some(_) => {
                        self.find(Severity::Repairable, &file, None, left);
                        self.advance(self.length(&file)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// Without the index: whether the files are rows of sound chunks.
    fn files_alone(&mut self) -> Result<()> {
        if !self.deep {
            return Ok(());
        }
        for name in self.disk.list(&self.segments_dir())? {
            let dir = self.segments_dir().join(name);
            for name in self.disk.list(&dir)? {
                self.file_alone(&dir.join(name))?;
            }
        }
        Ok(())
    }

    fn file_alone(&mut self, path: &Path) -> Result<()> {
        let file = self.disk.open(path, Mode::Read)?;
        let length = file.len()?;
        let (mut at, mut header) = (0, [0; CHUNK_HEADER_BYTES]);
        while at < length {
            let read = file.read_at(&mut header, at)?;
            let head = chunk::head(&header[..read]).ok().filter(|h| h.bytes <= length - at);
            let Some(head) = head else {
                let what = "no chunk begins here; what follows cannot be told without the index";
                self.find(Severity::Note, path, Some(at), what);
                self.advance(length - at);
                break;
            };
            let bytes = file.read(usize::try_from(head.bytes).unwrap_or(0), at)?;
            if let Err(why) = chunk::check(&bytes) {
                self.find(Severity::Damage, path, Some(at), why.to_string());
            }
            at += head.bytes;
            self.advance(head.bytes);
        }
        Ok(())
    }
}

/// How many chunks stand in the index and in files, and their bytes.
fn sizes(chunks: Option<&BTreeMap<u64, ChunkValue>>) -> [(u64, u64); 2] {
    let mut sizes = [(0, 0); 2];
    for chunk in chunks.into_iter().flat_map(BTreeMap::values) {
        let (kind, bytes) = match &chunk.place {
            Place::Inline(bytes) => (0, bytes.len() as u64),
            Place::File { bytes, .. } => (1, u64::from(*bytes)),
        };
        sizes[kind].0 += 1;
        sizes[kind].1 += bytes;
    }
    sizes
}
