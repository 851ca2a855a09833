//! The path of a read: memory first, then the chunks that the index does not have yet, then the
//! index, then a segment file.
//!
//! The state is not locked while something is read from the disk. What is not found is looked for
//! again when the log's start has moved meanwhile; if it has not, bytes were lost, and that is
//! said.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ropewalk_core::codec::DecodeError;
use ropewalk_core::{GroupId, Offset};

use super::chunk;
use super::core::Core;
use super::keys::Key;
use super::segments::{FileId, is_missing};
use super::state::Log;
use super::values::{self, ChunkValue, Place};
use crate::engine::{EntryMeta, LogEntry, Result, Seek, StorageError};

/// Where an entry was found.
enum At {
    /// It is not part of the log.
    Nowhere,
    /// In memory: entries from it on, as many as were asked for.
    Memory(Vec<LogEntry>),
    /// In this chunk of this log, if the log still reaches down to it.
    Chunk { log: u64, fresh: Option<(u64, ChunkValue)> },
}

/// The chunk that holds an entry, if the index does not have it yet.
fn fresh_chunk(log: &Log, index: u64) -> Option<(u64, ChunkValue)> {
    let (first, chunk) = log.chunks.range(..=index).next_back()?;
    (chunk.last >= index).then(|| (*first, chunk.clone()))
}

impl Core {
    /// See [`crate::Engine::entries`].
    pub(super) fn entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: u64,
    ) -> Result<Vec<LogEntry>> {
        let (mut found, mut bytes) = (Vec::new(), 0u64);
        let (mut next, mut is_last) = (range.start, false);
        while next < range.end && !is_last {
            let part = match self.locate(group, next, range.end, max_bytes.saturating_sub(bytes)) {
                At::Nowhere => break,
                // What is in memory goes to the end of the log. What comes after it now would be
                // another batch, of which this read must not see a part.
                At::Memory(entries) => {
                    is_last = true;
                    entries
                }
                At::Chunk { log, fresh } => match self.chunk_at(group, log, fresh, next) {
                    // What stands before a bad chunk is given out first.
                    Err(_) if !found.is_empty() => break,
                    Err(error) => return Err(error),
                    Ok(Some((_, entries))) => {
                        let from = entries.partition_point(|entry| entry.index < next);
                        entries[from..].to_vec()
                    }
                    // The log's start has moved, or the log is gone.
                    Ok(None) => break,
                },
            };
            for entry in part {
                bytes += entry.data.len() as u64;
                let is_over = bytes > max_bytes && !found.is_empty();
                if is_over || entry.index >= range.end {
                    return Ok(found);
                }
                next = entry.index + 1;
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// See [`crate::Engine::meta`].
    pub(super) fn meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>> {
        if let Some(meta) = self.state().logs.get(&group).and_then(|log| log.drained_meta(index)) {
            return Ok(Some(meta));
        }
        let entries = match self.locate(group, index, index.saturating_add(1), 0) {
            At::Nowhere => return Ok(None),
            At::Memory(entries) => return Ok(entries.first().map(|entry| entry.meta)),
            At::Chunk { log, fresh } => self.chunk_at(group, log, fresh, index)?,
        };
        let Some((_, entries)) = entries else { return Ok(None) };
        Ok(entries.iter().find(|entry| entry.index == index).map(|entry| entry.meta))
    }

    /// See [`crate::Engine::find`]. The index knows what the last entry of each chunk leads to:
    /// only the chunk in which the search ends is read.
    pub(super) fn find(&self, group: GroupId, range: Range<u64>, seek: Seek) -> Result<u64> {
        let (mut low, mut high) = (range.start, range.end);
        let mut found: Option<(u64, u64, ChunkValue)> = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let (first, last, holds) = match self.locate(group, middle, middle + 1, 0) {
                At::Nowhere => (middle, middle, false),
                At::Memory(entries) => {
                    let holds = entries.first().is_some_and(|entry| seek.holds(&entry.meta));
                    (middle, middle, holds)
                }
                At::Chunk { log, fresh } => match self.chunk_value(group, log, fresh, middle)? {
                    None => (middle, middle, false),
                    Some((first, chunk)) => {
                        let last = chunk.last;
                        let holds = match seek {
                            Seek::After(offset) => chunk.end_offset > offset,
                            Seek::Since(time) => chunk.newest >= time,
                        };
                        if holds {
                            found = Some((log, first, chunk));
                        }
                        (first, last, holds)
                    }
                },
            };
            if holds {
                high = first.max(low);
            } else {
                low = last + 1;
            }
        }
        match found {
            Some((log, first, chunk)) if first.max(range.start) == high => {
                let at = self.find_in(group, log, first, chunk, seek)?;
                Ok(at.clamp(range.start, range.end))
            }
            _ => Ok(low.min(range.end)),
        }
    }

    /// Where in a chunk a search ends. In one that cannot be read it is at its begin: whoever wants
    /// to read from there is told, and a trim keeps it.
    fn find_in(
        &self,
        group: GroupId,
        log: u64,
        first: u64,
        chunk: ChunkValue,
        seek: Seek,
    ) -> Result<u64> {
        match self.chunk_at(group, log, Some((first, chunk)), first) {
            Ok(Some((first, entries))) => {
                Ok(first + entries.partition_point(|entry| !seek.holds(&entry.meta)) as u64)
            }
            Ok(None) | Err(StorageError::Corrupt { .. }) => Ok(first),
            Err(error) => Err(error),
        }
    }

    /// See [`crate::Engine::rows`].
    pub(super) fn rows(&self, group: GroupId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        // Held to the end: a checkpoint must not move rows from memory to the index meanwhile.
        let state = self.state();
        let Some(log) = state.logs.get(&group) else { return Ok(Vec::new()) };
        let number = log.number;
        let mut rows = std::collections::BTreeMap::new();
        let first = Key::Row(number, prefix.to_vec()).encode();
        let last = Key::Row(number + 1, Vec::new()).encode();
        self.index.for_each(&first, &last, &mut |key, value| {
            let Key::Row(of, row) = self.decoded(key, Key::decode(key))? else { return Ok(()) };
            if of == number && row.starts_with(prefix) {
                let value = self.decoded(key, values::decode_row(key, value))?;
                rows.insert(row, value.to_vec());
            }
            Ok(())
        })?;
        for (row, value) in log.changed_rows() {
            match value {
                Some(value) if row.starts_with(prefix) => {
                    rows.insert(row.clone(), value.clone());
                }
                _ => {
                    rows.remove(row);
                }
            }
        }
        Ok(rows.into_iter().collect())
    }

    fn locate(&self, group: GroupId, index: u64, end: u64, max_bytes: u64) -> At {
        let state = self.state();
        let Some(log) = state.logs.get(&group).filter(|log| log.span().contains(index)) else {
            return At::Nowhere;
        };
        if log.first_held().is_none_or(|first| index < first) {
            return At::Chunk { log: log.number, fresh: fresh_chunk(log, index) };
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in log.held_from(index).take_while(|entry| entry.index < end) {
            bytes += entry.data.len() as u64;
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        At::Memory(entries)
    }

    /// The chunk that holds an entry, and its entries; `None` when the log no longer does.
    fn chunk_at(
        &self,
        group: GroupId,
        log: u64,
        fresh: Option<(u64, ChunkValue)>,
        index: u64,
    ) -> Result<Option<(u64, Arc<Vec<LogEntry>>)>> {
        let found = self.try_chunk_at(group, log, fresh, index);
        if !matches!(found, Err(StorageError::Corrupt { .. })) {
            return found;
        }
        // It may have been written anew since it was looked for, and its old file be gone.
        match self.locate(group, index, index.saturating_add(1), 0) {
            At::Chunk { log: again, fresh } if again == log => {
                self.try_chunk_at(group, log, fresh, index)
            }
            _ => found,
        }
    }

    fn try_chunk_at(
        &self,
        group: GroupId,
        log: u64,
        fresh: Option<(u64, ChunkValue)>,
        index: u64,
    ) -> Result<Option<(u64, Arc<Vec<LogEntry>>)>> {
        let found = self.chunk_value(group, log, fresh, index);
        let Some((first, chunk)) = found.map_err(|error| self.placed(error, log, index))? else {
            return Ok(None);
        };
        match self.read_chunk(group, log, first, &chunk) {
            Ok(entries) => Ok(Some((first, entries))),
            Err(_) if !self.still_holds(group, log, index) => Ok(None),
            Err(StorageError::Corrupt { offset, what, path, detail }) => {
                let end = chunk.end_offset;
                let detail = format!("{detail}; records from offset {end} on are not concerned");
                let error = StorageError::Corrupt { offset, what, path, detail };
                Err(self.placed(error, log, first))
            }
            Err(error) => Err(error),
        }
    }

    /// Damage, with the offset from which on it can be met.
    fn placed(&self, error: StorageError, log: u64, index: u64) -> StorageError {
        match error {
            StorageError::Corrupt { offset: None, what, path, detail } => {
                let offset = Some(self.offset_before(log, index));
                StorageError::Corrupt { offset, what, path, detail }
            }
            error => error,
        }
    }

    /// The offset at which a chunk begins: where the one before it ends.
    fn offset_before(&self, log: u64, first: u64) -> Offset {
        let before = (Key::Chunk(log, 0), Key::Chunk(log, first.saturating_sub(1)));
        let stored = self.stored_chunk(before).ok().flatten();
        if let Some((_, chunk)) = stored {
            return chunk.end_offset;
        }
        let state = self.state();
        let log = state.logs.values().find(|found| found.number == log);
        log.map_or(Offset::ZERO, |log| log.start.base_offset)
    }

    fn chunk_value(
        &self,
        group: GroupId,
        log: u64,
        fresh: Option<(u64, ChunkValue)>,
        index: u64,
    ) -> Result<Option<(u64, ChunkValue)>> {
        let found = match fresh {
            Some(fresh) => Some(fresh),
            None => self.stored_chunk((Key::Chunk(log, 0), Key::Chunk(log, index)))?,
        };
        match found.filter(|(_, chunk)| chunk.last >= index) {
            Some(found) => Ok(Some(found)),
            None if !self.still_holds(group, log, index) => Ok(None),
            // It was written anew since it was looked for.
            None if let Some(fresh) = self.fresh_chunk(group, log, index) => Ok(Some(fresh)),
            None => Err(StorageError::Corrupt {
                offset: None,
                what: format!("index: entry {index} of replica group {group} is missing"),
                path: self.index.path().to_owned(),
                detail: "no chunk holds it".to_owned(),
            }),
        }
    }

    fn fresh_chunk(&self, group: GroupId, log: u64, index: u64) -> Option<(u64, ChunkValue)> {
        let state = self.state();
        fresh_chunk(state.logs.get(&group).filter(|found| found.number == log)?, index)
    }

    fn still_holds(&self, group: GroupId, log: u64, index: u64) -> bool {
        let state = self.state();
        let found = state.logs.get(&group).filter(|found| found.number == log);
        found.is_some_and(|log| log.span().contains(index))
    }

    /// The last chunk whose first entry lies in a range, in the index or on its way there.
    pub(super) fn last_chunk(
        &self,
        group: GroupId,
        log: u64,
        range: (Key, Key),
    ) -> Result<Option<(u64, ChunkValue)>> {
        let fresh = {
            let state = self.state();
            let found = state.logs.get(&group).filter(|found| found.number == log);
            found.and_then(|log| log.chunks.last_key_value().map(|(f, c)| (*f, c.clone())))
        };
        match fresh {
            Some(fresh) => Ok(Some(fresh)),
            None => self.stored_chunk(range),
        }
    }

    fn stored_chunk(&self, (first, last): (Key, Key)) -> Result<Option<(u64, ChunkValue)>> {
        let Some((key, value)) = self.index.last_in(&first.encode(), &last.encode())? else {
            return Ok(None);
        };
        let Key::Chunk(_, index) = self.decoded(&key, Key::decode(&key))? else { return Ok(None) };
        let chunk = self.decoded(&key, ChunkValue::decode(&key, &value))?;
        Ok(Some((index, chunk)))
    }

    fn read_chunk(
        &self,
        group: GroupId,
        log: u64,
        first: u64,
        chunk: &ChunkValue,
    ) -> Result<Arc<Vec<LogEntry>>> {
        let (id, at, bytes, crc) = match &chunk.place {
            Place::Inline(chunk) => return self.inline_entries(chunk, log, first).map(Arc::new),
            Place::File { segment, at, bytes, crc } => ((log, *segment), *at, *bytes, *crc),
        };
        if let Some(entries) = self.cache.get(id, at) {
            return Ok(entries);
        }
        let file = self.files.get(id).map_err(|error| match error {
            error if is_missing(&error) => self.bad_chunk(group, id, at, "the file is missing"),
            error => error,
        })?;
        // A disk says of damage that it cannot read it. That is a chunk's matter, not the broker's.
        let unread = |error: StorageError| self.bad_chunk(group, id, at, &error.to_string());
        let buffer = file.read(bytes as usize, at).map_err(unread)?;
        let is_other = buffer.len() < bytes as usize || chunk::crc(&buffer) != crc;
        let decoded = chunk::decode(&Bytes::from(buffer), log, first);
        match decoded {
            Ok(entries) if !is_other => {
                let entries = Arc::new(entries);
                self.cache.put(id, at, &entries);
                Ok(entries)
            }
            Ok(_) => Err(self.bad_chunk(group, id, at, "an older chunk stands here")),
            Err(error) => Err(self.bad_chunk(group, id, at, &error.to_string())),
        }
    }

    fn bad_chunk(&self, group: GroupId, id: FileId, at: u64, detail: &str) -> StorageError {
        StorageError::Corrupt {
            offset: None,
            what: format!("chunk of replica group {group}"),
            path: self.files.path(id),
            detail: format!("at byte {at}: {detail}"),
        }
    }

    /// The entries of a chunk that stands in the index.
    pub(super) fn inline_entries(
        &self,
        chunk: &Bytes,
        log: u64,
        first: u64,
    ) -> Result<Vec<LogEntry>> {
        let key = Key::Chunk(log, first).encode();
        chunk::decode(chunk, log, first).map_err(|error| self.corrupt(&key, &error.to_string()))
    }

    /// A value that was decoded, or what is wrong with the value of this key.
    pub(super) fn decoded<T>(
        &self,
        key: &[u8],
        result: std::result::Result<T, DecodeError>,
    ) -> Result<T> {
        result.map_err(|damage| self.corrupt(key, &damage.to_string()))
    }

    fn corrupt(&self, key: &[u8], detail: &str) -> StorageError {
        StorageError::Corrupt {
            offset: None,
            what: Key::describe(key),
            path: self.index.path().to_owned(),
            detail: detail.to_owned(),
        }
    }
}
