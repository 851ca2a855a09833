//! The chunks of one log: whether each is as it was written, and whether they follow one another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ropewalk_core::GroupId;

use super::{Look, Severity};
use crate::disk::{DiskFile, Mode};
use crate::disk_engine::chunk::{self, CHUNK_HEADER_BYTES, ChunkHead, NoChunk};
use crate::disk_engine::values::{ChunkValue, GroupValue, Place, SegmentValue};
use crate::engine::{EntryMeta, LogEntry, Result};

/// The bytes of a chunk that have no meaning yet, and that no checksum covers.
const UNUSED: std::ops::Range<usize> = 5..8;

/// What is to be checked of a log.
pub(super) struct Checked<'a> {
    pub(super) group: GroupId,
    pub(super) value: &'a GroupValue,
    pub(super) chunks: &'a BTreeMap<u64, ChunkValue>,
    /// Entries up to here are no longer needed, now that the journal was replayed.
    pub(super) unneeded: u64,
    /// What the chunks that were read say, by first entry.
    pub(super) facts: BTreeMap<u64, Facts>,
}

/// The first and the last entry of a chunk.
pub(super) struct Facts {
    first: EntryMeta,
    last: EntryMeta,
    path: PathBuf,
}

/// A chunk that a file must hold, and where.
struct Expected<'a> {
    first: u64,
    value: &'a ChunkValue,
    bytes: u64,
    crc: u32,
}

impl Checked<'_> {
    fn severity(&self, last: u64) -> Severity {
        if last > self.unneeded { Severity::Damage } else { Severity::Note }
    }

    fn says(&self, first: u64, last: u64, what: &str) -> String {
        let group = self.group;
        let advice = if last > self.unneeded {
            "readers of it are told CORRUPT_LOG; restore the file from a copy"
        } else {
            "they were deleted: nobody reads them"
        };
        format!("{what} (entries {first} to {last} of replica group {group}); {advice}")
    }

    /// Takes the entries of a chunk, or says what is wrong with them.
    fn take(
        &mut self,
        first: u64,
        value: &ChunkValue,
        entries: &[LogEntry],
        path: &Path,
    ) -> std::result::Result<(), String> {
        let (Some(head), Some(tail)) = (entries.first(), entries.last()) else {
            return Err("the chunk is empty".to_owned());
        };
        let said = (value.last, value.end_offset, value.newest);
        let found = (tail.index, tail.meta.end_offset(), tail.meta.newest_so_far);
        if said != found {
            return Err("the chunk does not end as the index says".to_owned());
        }
        for pair in entries.windows(2) {
            follows(&pair[0].meta, &pair[1].meta)
                .map_err(|why| format!("entry {}: {why}", pair[1].index))?;
        }
        let path = path.to_owned();
        self.facts.insert(first, Facts { first: head.meta, last: tail.meta, path });
        Ok(())
    }
}

/// What must hold between an entry and the next.
fn follows(before: &EntryMeta, after: &EntryMeta) -> std::result::Result<(), &'static str> {
    if after.term < before.term {
        return Err("its term is lower than that of the entry before");
    }
    if after.base_offset != before.end_offset() {
        return Err("its offsets do not join those of the entry before");
    }
    if after.newest_so_far < before.newest_so_far {
        return Err("the newest time goes back");
    }
    Ok(())
}

impl Look<'_> {
    /// Whether the index has a chunk for each entry of a log, by what it says of them alone.
    pub(super) fn check_chain(&mut self, log: &Checked<'_>, redo: &Path) {
        let start = log.value.start.index;
        let mut next = start + 1;
        for (first, value) in log.chunks.iter().filter(|(_, value)| value.last > start) {
            let joins = *first == next || (next == start + 1 && *first <= next);
            if !joins {
                let group = log.group;
                let what = format!(
                    "the chunk at entry {first} of replica group {group} stands where one at \
                     {next} belongs; restore the data directory from a copy"
                );
                self.find(log.severity(value.last), redo, None, what);
            }
            next = value.last + 1;
        }
        let drained = log.value.drained.map_or(start, |(index, _)| index).max(start);
        if next != drained + 1 {
            let what = format!(
                "the chunks of replica group {} end at entry {}, and entry {drained} is the last \
                 one; restore the data directory from a copy",
                log.group,
                next - 1
            );
            self.find(log.severity(drained), redo, None, what);
        }
    }

    /// Checks the chunks that stand in the index.
    pub(super) fn check_inline(&mut self, log: &mut Checked<'_>, redo: &Path) {
        for (first, value) in log.chunks {
            let Place::Inline(bytes) = &value.place else { continue };
            let entries = chunk::decode(bytes, log.value.log, *first);
            let taken = entries.map_err(|error| error.to_string());
            let taken = taken.and_then(|entries| log.take(*first, value, &entries, redo));
            if let Err(why) = taken {
                let what = log.says(*first, value.last, &why);
                self.find(log.severity(value.last), redo, None, what);
            }
        }
    }

    /// Checks every byte of a segment file.
    pub(super) fn check_file(
        &mut self,
        log: &mut Checked<'_>,
        number: u64,
        segment: &SegmentValue,
        path: &Path,
    ) -> Result<()> {
        let mut expected = BTreeMap::new();
        for (first, value) in log.chunks {
            let Place::File { segment, at, bytes, crc } = value.place else { continue };
            if segment == number {
                let bytes = u64::from(bytes);
                expected.insert(at, Expected { first: *first, value, bytes, crc });
            }
        }
        if !self.disk.exists(path) {
            self.find_missing(log, &expected, path, "the file is missing");
            return Ok(());
        }
        let file = self.disk.open(path, Mode::Read)?;
        let length = file.len()?;
        if length > segment.bytes {
            let what = format!(
                "{} bytes behind what the index knows, left by a crash; the next start cuts them \
                 off, and the journal has what was in them",
                length - segment.bytes
            );
            self.find(Severity::Repairable, path, Some(segment.bytes), what);
        }
        if let Err(error) = self.walk(log, file.as_ref(), length.min(segment.bytes), &mut expected)
        {
            self.find_error(path, error)?;
        }
        let what = if length < segment.bytes {
            format!("the file ends at byte {length}, and the index knows {}", segment.bytes)
        } else {
            "the chunk is not where the index says".to_owned()
        };
        self.find_missing(log, &expected, path, &what);
        self.advance(length.saturating_sub(segment.bytes));
        Ok(())
    }

    /// Walks over all chunks of a file, and takes those that are found from the expected ones.
    fn walk(
        &mut self,
        log: &mut Checked<'_>,
        file: &dyn DiskFile,
        end: u64,
        expected: &mut BTreeMap<u64, Expected<'_>>,
    ) -> Result<()> {
        let mut at = 0;
        while at < end {
            let wanted = expected.get(&at).map(|wanted| wanted.bytes);
            if wanted.is_some_and(|bytes| bytes > end - at) {
                // The file is too short: that is said of all such chunks at once.
                self.advance(end - at);
                return Ok(());
            }
            let step = match read_chunk(file, at, end, wanted)? {
                Ok((head, bytes)) => {
                    let step = head.bytes;
                    if bytes[UNUSED].iter().any(|byte| *byte != 0) {
                        let what = "the chunk is sound, and bytes of its head that have no meaning \
                                    are not zeros";
                        self.find(Severity::Note, file.path(), Some(at), what);
                    }
                    match expected.remove(&at) {
                        Some(wanted) => self.take_chunk(log, file.path(), at, &wanted, bytes),
                        None => self.take_unknown(log, file.path(), at, &head, &bytes),
                    }
                    step
                }
                Err(why) => {
                    let next = expected.range(at + 1..).next().map_or(end, |(next, _)| *next);
                    let wanted = expected.remove(&at);
                    let step = wanted.as_ref().map_or(next - at, |wanted| wanted.bytes);
                    let (severity, what) = match wanted {
                        Some(Expected { first, value, .. }) => (
                            log.severity(value.last),
                            log.says(first, value.last, &why.to_string()),
                        ),
                        None => {
                            let what = format!("{step} bytes that the index does not know: {why}");
                            (Severity::Note, what)
                        }
                    };
                    self.find(severity, file.path(), Some(at), what);
                    step
                }
            };
            at += step;
            self.advance(step);
        }
        Ok(())
    }

    fn take_chunk(
        &mut self,
        log: &mut Checked<'_>,
        path: &Path,
        at: u64,
        wanted: &Expected<'_>,
        bytes: Vec<u8>,
    ) {
        let crc = chunk::crc(&bytes);
        let entries = chunk::decode(&Bytes::from(bytes), log.value.log, wanted.first);
        let taken = match entries {
            Ok(_) if crc != wanted.crc => Err("an older chunk stands here".to_owned()),
            Ok(entries) => log.take(wanted.first, wanted.value, &entries, path),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = taken {
            let what = log.says(wanted.first, wanted.value.last, &why);
            self.find(log.severity(wanted.value.last), path, Some(at), what);
        }
    }

    /// A sound chunk that the index does not name: that of entries which were deleted, or none that
    /// belongs here.
    fn take_unknown(
        &mut self,
        log: &Checked<'_>,
        path: &Path,
        at: u64,
        head: &ChunkHead,
        bytes: &[u8],
    ) {
        let entries = chunk::entries(&Bytes::copy_from_slice(bytes)).unwrap_or_default();
        let last = entries.last().map_or(head.first, |entry| entry.index);
        if head.log != log.value.log {
            let what = format!("a chunk of log {} in a file of log {}", head.log, log.value.log);
            self.find(Severity::Note, path, Some(at), what);
        } else if last > log.value.start.index {
            let what = format!(
                "a sound chunk that the index does not know (entries {} to {last} of replica group \
                 {})",
                head.first, log.group
            );
            self.find(Severity::Note, path, Some(at), what);
        }
    }

    fn find_missing(
        &mut self,
        log: &Checked<'_>,
        missing: &BTreeMap<u64, Expected<'_>>,
        path: &Path,
        what: &str,
    ) {
        let Some((at, first)) = missing.first_key_value() else { return };
        let first_index = missing.values().map(|chunk| chunk.first).min().unwrap_or(first.first);
        let last = missing.values().map(|chunk| chunk.value.last).max().unwrap_or(first.value.last);
        let what = log.says(first_index, last, what);
        self.find(log.severity(last), path, Some(*at), what);
    }

    /// Whether the chunks of a log follow one another, by what stands in them.
    pub(super) fn check_joints(&mut self, log: &Checked<'_>) {
        let start = &log.value.start;
        let mut before: Option<(u64, EntryMeta)> = None;
        for (first, facts) in &log.facts {
            let Some(value) = log.chunks.get(first) else { continue };
            let joined = match before {
                Some((last, meta)) if last + 1 == *first => follows(&meta, &facts.first),
                _ if *first == start.index + 1 && facts.first.base_offset != start.base_offset => {
                    Err("its offsets do not join the log's start")
                }
                _ => Ok(()),
            };
            if let Err(why) = joined {
                let what = log.says(*first, value.last, why);
                self.find(log.severity(value.last), &facts.path, None, what);
            }
            before = Some((value.last, facts.last));
        }
        let (Some((last, meta)), Some((drained, said))) = (before, log.value.drained) else {
            return;
        };
        if last == drained && meta != said {
            let path = self.index_dir();
            let what = log.says(last, last, "the last entry is not the one that the index knows");
            self.find(log.severity(last), &path, None, what);
        }
    }
}

/// Reads the chunk at a place; nothing when there is none that is sound and, where the index says
/// so, of this length.
fn read_chunk(
    file: &dyn DiskFile,
    at: u64,
    end: u64,
    wanted: Option<u64>,
) -> Result<std::result::Result<(ChunkHead, Vec<u8>), NoChunk>> {
    let mut header = [0; CHUNK_HEADER_BYTES];
    let read = file.read_at(&mut header, at)?;
    let head = match chunk::head(&header[..read]) {
        Ok(head) if head.bytes <= end - at && wanted.is_none_or(|bytes| bytes == head.bytes) => {
            head
        }
        Ok(_) => return Ok(Err(NoChunk::Foreign)),
        Err(error) => return Ok(Err(error)),
    };
    let bytes = file.read(usize::try_from(head.bytes).unwrap_or(0), at)?;
    Ok(chunk::check(&bytes).map(|head| (head, bytes)))
}
