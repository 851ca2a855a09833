//! The durable engine: everything in sled, synced by us.
//!
//! One tree, one key schema ([`keys`]), values with a version and a checksum ([`value`]). A write
//! becomes one sled batch ([`plan`]), which sled makes atomic; a write-through file and our own
//! fdatasync make it durable ([`source`]). Where each log begins and ends is also kept in memory:
//! it decides what readers see, so that what lies outside is garbage, to be removed at leisure.
//! Nothing here knows what an entry means.

mod keys;
mod load;
mod plan;
mod source;
#[cfg(test)]
mod tests;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use bytes::Bytes;
use ropewalk_core::GroupId;

use crate::contract::Span;
use crate::engine::{Engine, EntryMeta, GroupState, LogEntry, Result, StorageError, WriteBatch};

use keys::Key;
use plan::Plan;
use source::Source;
use value::EntryHead;

/// The most keys that one step of `reclaim` removes.
const RECLAIM_KEYS: usize = 512;
/// The most groups in which one step of `reclaim` looks for garbage.
const RECLAIM_CHECKS: usize = 32;

/// An engine on the disk.
pub struct SledEngine {
    source: Source,
    /// Where each group's log stands. Held while a batch is applied and while something is read, so
    /// that a reader sees a batch wholly or not at all.
    spans: RwLock<BTreeMap<GroupId, Span>>,
    writer: Mutex<Writer>,
    /// The groups as `open` found them, for the one who asks first; gone with the first write.
    found: Mutex<Option<Vec<GroupState>>>,
}

/// What only the writer knows.
#[derive(Debug, Default)]
struct Writer {
    /// A write failed, or the engine was closed: nothing may be written any more.
    ended: bool,
    /// Groups that have garbage.
    garbage: BTreeSet<GroupId>,
    /// Groups that may have garbage since before `open`.
    unchecked: Vec<GroupId>,
}

impl fmt::Debug for SledEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledEngine").finish_non_exhaustive()
    }
}

impl SledEngine {
    /// Opens the engine in a data directory, `<dir>/index`, or creates it.
    ///
    /// # Errors
    /// `Refused` for an index of another format and for one that is in use, `Corrupt` for one that
    /// cannot be read, `Io` for everything else.
    pub fn open(dir: &Path) -> Result<Self> {
        let source = Source::open(dir)?;
        load::check_format(&source)?;
        let found = load::groups(&source)?;
        let spans: BTreeMap<GroupId, Span> = found.iter().map(load::span).collect();
        let writer = Writer {
            ended: false,
            garbage: load::deleted(&source)?,
            unchecked: spans.keys().copied().collect(),
        };
        Ok(Self {
            source,
            spans: RwLock::new(spans),
            writer: Mutex::new(writer),
            found: Mutex::new(Some(found)),
        })
    }

    fn spans(&self) -> RwLockReadGuard<'_, BTreeMap<GroupId, Span>> {
        self.spans.read().expect("no holder of the spans panics")
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect("no holder of the writer panics")
    }

    fn found(&self) -> MutexGuard<'_, Option<Vec<GroupState>>> {
        self.found.lock().expect("no holder of the found groups panics")
    }

    /// Runs a change of the index; after a failure nothing is written any more.
    fn change<T>(&self, change: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        let mut writer = self.writer();
        if writer.ended {
            return Err(StorageError::Refused(
                "the store is closed, or an earlier write to it failed: restart the broker"
                    .to_owned(),
            ));
        }
        let result = change(&mut writer);
        writer.ended |= result.is_err();
        result
    }

    fn write_all(&self, writer: &mut Writer, batches: &[WriteBatch]) -> Result<()> {
        let planned = {
            let spans = self.spans();
            let mut plan = Plan::new(&self.source, &spans);
            for write in batches.iter().flat_map(|batch| &batch.groups) {
                plan.add(write)?;
            }
            plan.finish()
        };
        if !planned.is_empty {
            self.found().take();
            let mut spans = self.spans.write().expect("no holder of the spans panics");
            self.source.apply(planned.batch)?;
            for (group, span) in planned.spans {
                match span {
                    Some(span) => spans.insert(group, span),
                    None => spans.remove(&group),
                };
            }
        }
        writer.garbage.retain(|group| !planned.cleaned.contains(group));
        writer.garbage.extend(planned.garbage);
        if batches.iter().any(|batch| batch.sync) {
            self.source.sync()?;
        }
        Ok(())
    }

    /// Garbage of a group, at most `RECLAIM_KEYS` of it, and whether that is all.
    fn garbage(&self, group: GroupId) -> Result<(sled::Batch, bool)> {
        let span = self.spans().get(&group).copied();
        let end = span.map_or(u64::MAX, |span| span.start);
        let (chunk, last_chunk) = (Key::Chunk(group, 0, 0), Key::Chunk(group, end, u32::MAX));
        let chunks = self.source.range(&chunk.encode(), &last_chunk.encode());
        // A group that exists keeps its rows.
        let rows = span.is_none().then(|| self.source.prefix(&Key::Row(group, vec![]).encode()));
        let (entry, last_entry) = (Key::Entry(group, 0), Key::Entry(group, end));
        let entries = self.source.range(&entry.encode(), &last_entry.encode());
        // The entries come last: while one of them is left, the garbage is found after a restart.
        let found = chunks.chain(rows.into_iter().flatten()).chain(entries);
        let (mut batch, mut count) = (sled::Batch::default(), 0);
        for pair in found.take(RECLAIM_KEYS) {
            batch.remove(pair?.0);
            count += 1;
        }
        let done = count < RECLAIM_KEYS;
        if done && span.is_none() {
            batch.remove(Key::Deleted(group).encode());
        }
        Ok((batch, done))
    }

    /// Looks for what a trim before `open` has left, in some of the groups.
    fn check_some(&self, writer: &mut Writer) -> Result<()> {
        let rest = writer.unchecked.len().saturating_sub(RECLAIM_CHECKS);
        for group in writer.unchecked.split_off(rest) {
            let Some(span) = self.spans().get(&group).copied() else {
                continue;
            };
            let (first, last) = (Key::Entry(group, 0), Key::Entry(group, span.start));
            if self.source.range(&first.encode(), &last.encode()).next().transpose()?.is_some() {
                writer.garbage.insert(group);
            }
        }
        Ok(())
    }

    fn entry(&self, group: GroupId, index: u64, key: &[u8], stored: &[u8]) -> Result<LogEntry> {
        let (head, inline) = self.source.decoded(key, EntryHead::decode(key, stored))?;
        let data =
            if head.chunk_bytes == 0 { inline.to_vec() } else { self.chunks(group, index, &head)? };
        self.source.decoded(key, head.check_data(&data))?;
        Ok(LogEntry { index, meta: head.meta, data: Bytes::from(data) })
    }

    fn chunks(&self, group: GroupId, index: u64, head: &EntryHead) -> Result<Vec<u8>> {
        let mut data = Vec::with_capacity(head.data_bytes as usize);
        let first = Key::Chunk(group, index, 0).encode();
        let last = Key::Chunk(group, index, u32::MAX).encode();
        for (number, pair) in (0..).zip(self.source.range(&first, &last)) {
            let (key, stored) = pair?;
            if key != Key::Chunk(group, index, number).encode() {
                return Err(self.source.corrupt(&key, "the part before it is missing"));
            }
            data.extend_from_slice(self.source.decoded(&key, value::decode_chunk(&stored))?);
        }
        Ok(data)
    }
}

impl Engine for SledEngine {
    fn groups(&self) -> Result<Vec<GroupState>> {
        let _no_writes = self.writer();
        let found = self.found().take();
        found.map_or_else(|| load::groups(&self.source), Ok)
    }

    fn write(&self, batches: &[WriteBatch]) -> Result<()> {
        self.change(|writer| self.write_all(writer, batches))
    }

    fn meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>> {
        let spans = self.spans();
        if !spans.get(&group).is_some_and(|span| span.contains(index)) {
            return Ok(None);
        }
        let key = Key::Entry(group, index).encode();
        let stored = self.source.get(&key)?;
        let stored = stored.ok_or_else(|| self.source.corrupt(&key, "it is missing"))?;
        let (head, _) = self.source.decoded(&key, EntryHead::decode(&key, &stored))?;
        Ok(Some(head.meta))
    }

    fn entries(&self, group: GroupId, range: Range<u64>, max_bytes: u64) -> Result<Vec<LogEntry>> {
        let spans = self.spans();
        let Some(span) = spans.get(&group) else {
            return Ok(Vec::new());
        };
        let held = span.clip(range.start, range.end);
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let first = Key::Entry(group, held.start).encode();
        let last = Key::Entry(group, held.end - 1).encode();
        let mut stored = self.source.range(&first, &last);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for index in held {
            let wanted = Key::Entry(group, index).encode();
            let (key, stored) = match stored.next().transpose()? {
                Some(pair) if pair.0 == wanted => pair,
                _ => return Err(self.source.corrupt(&wanted, "it is missing")),
            };
            let (head, _) = self.source.decoded(&key, EntryHead::decode(&key, &stored))?;
            bytes += u64::from(head.data_bytes);
            if !entries.is_empty() && bytes > max_bytes {
                break;
            }
            entries.push(self.entry(group, index, &key, &stored)?);
        }
        Ok(entries)
    }

    fn rows(&self, group: GroupId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let spans = self.spans();
        if !spans.contains_key(&group) {
            return Ok(Vec::new());
        }
        let stored = self.source.prefix(&Key::Row(group, prefix.to_vec()).encode());
        let rows = stored.map(|pair| {
            let (key, stored) = pair?;
            let value = self.source.decoded(&key, value::decode_row(&key, &stored))?.to_vec();
            match self.source.decoded(&key, Key::decode(&key))? {
                Key::Row(_, row) => Ok((row, value)),
                _ => Err(self.source.corrupt(&key, "a row was expected")),
            }
        });
        rows.collect()
    }

    fn reclaim(&self) -> Result<bool> {
        self.change(|writer| {
            if writer.garbage.is_empty() {
                self.check_some(writer)?;
            }
            if let Some(&group) = writer.garbage.first() {
                let (batch, done) = self.garbage(group)?;
                self.source.apply(batch)?;
                if done {
                    writer.garbage.remove(&group);
                }
            }
            Ok(!writer.garbage.is_empty() || !writer.unchecked.is_empty())
        })
    }

    fn size_bytes(&self) -> u64 {
        self.source.size_bytes().unwrap_or(0)
    }

    fn close(&self) -> Result<()> {
        self.change(|writer| {
            writer.ended = true;
            self.source.sync()
        })
    }
}
