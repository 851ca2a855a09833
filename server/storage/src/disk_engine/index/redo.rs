//! The redo file: what makes the index durable.
//!
//! It is a row of frames. The base comes first: frames of kind `Dump` with all pairs of the index,
//! and a `Checkpoint` without changes that closes it. Every change of the index follows, a
//! `Checkpoint` or a `Sweep` each, with the sum of the index as it is afterwards. Of a frame's head
//! `turn` says how many redo files there had been, `lsn` and `checkpoint` the last checkpoint, and
//! `acked` is the frame's *sequence number*: that of the base is the same in all its frames, and it
//! rises by one from frame to frame behind it. A file that has grown is replaced by a new one with
//! a base of its own, which is whole before it takes the name.
//!
//! Knows what frames hold, and neither the store that they are applied to nor what keys mean.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::frame::{FrameBuffer, Head, Kind, MAX_PAYLOAD_BYTES};
use super::stamp::{FIRST_KEY, Stamp, Sum};
use super::store::{Changes, Store};
use crate::disk::{Disk, DiskFile, Mode};
use crate::engine::{Result, StorageError};
use crate::files::io_error;

/// The version of what is in the frames.
pub(super) const VERSION: u8 = 1;
/// Stands for the length of a value where there is none: the key was removed.
pub(super) const REMOVED: u32 = u32::MAX;
/// What stands before the pairs of a change: version, fingerprint, count, number of pairs.
const CHANGE_HEAD_BYTES: usize = 1 + 8 + 8 + 4;
/// What stands before a pair: two lengths.
const PAIR_HEAD_BYTES: usize = 8;
/// A buffer that became larger is not kept until the next checkpoint.
const KEPT_BYTES: usize = 1 << 20;
/// About how much of a dump is in one frame.
const DUMP_BYTES: usize = 1 << 20;

/// The redo file of an index, in its directory.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("redo")
}

/// The file that is to become the redo file.
pub(super) fn new_path(dir: &Path) -> PathBuf {
    dir.join("redo.new")
}

/// A redo file that is written.
pub(super) struct Redo {
    file: Arc<dyn DiskFile>,
    /// Where the next frame comes.
    end: u64,
    /// The bytes of the base.
    base_bytes: u64,
    buffer: FrameBuffer,
}

impl Redo {
    /// Opens a file that was looked through: what is behind `end` is what a crash cut short.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, base_bytes: u64, end: u64) -> Result<Self> {
        let file = disk.open(&path(dir), Mode::Direct)?;
        if file.len()? != end {
            file.set_len(end)?;
        }
        // Also what the system has of it, and has not written yet: an earlier process may have
        // ended in the middle of a write.
        file.sync()?;
        Ok(Self { file, end, base_bytes, buffer: FrameBuffer::default() })
    }

    /// Writes a new file with a base that holds what the store does, and puts it in place. Nothing
    /// when the disk has no room for it: then the old one stays.
    pub(super) fn replace(
        disk: &dyn Disk,
        dir: &Path,
        store: Option<&dyn Store>,
        stamp: &Stamp,
        pending: &[u8],
    ) -> Result<Option<Self>> {
        let new = new_path(dir);
        let written = Self::write_base(disk, &new, store, stamp, pending);
        let mut redo = match written {
            Err(error) if error.is_no_space() => {
                disk.remove(&new)?;
                return Ok(None);
            }
            written => written?,
        };
        redo.file.sync()?;
        disk.rename(&new, &path(dir))?;
        disk.sync_dir(dir)?;
        redo.file = disk.open(&path(dir), Mode::Direct)?;
        Ok(Some(redo))
    }

    /// As `replace`, where there is no going on without it.
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &Path,
        store: Option<&dyn Store>,
        stamp: &Stamp,
        pending: &[u8],
    ) -> Result<Self> {
        let full =
            || io_error("write", &new_path(dir), io::Error::from(io::ErrorKind::StorageFull));
        Self::replace(disk, dir, store, stamp, pending)?.ok_or_else(full)
    }

    fn write_base(
        disk: &dyn Disk,
        new: &Path,
        store: Option<&dyn Store>,
        stamp: &Stamp,
        pending: &[u8],
    ) -> Result<Self> {
        disk.remove(new)?;
        let file = disk.open(new, Mode::Direct)?;
        let mut redo = Self { file, end: 0, base_bytes: 0, buffer: FrameBuffer::default() };
        let mut pairs = vec![VERSION];
        let mut sum = Sum::default();
        let mut visit = |key: &[u8], value: &[u8]| {
            sum.add(key, value);
            put_pair(&mut pairs, key, Some(value));
            if pairs.len() >= DUMP_BYTES {
                redo.write(Kind::Dump, stamp, pairs.len(), |out| out.extend_from_slice(&pairs))?;
                pairs.truncate(1);
            }
            Ok(true)
        };
        if let Some(store) = store {
            store.scan(FIRST_KEY, None, &mut visit).map_err(|error| error.at(new))?;
        }
        if pairs.len() > 1 || redo.end == 0 {
            redo.write(Kind::Dump, stamp, pairs.len(), |out| out.extend_from_slice(&pairs))?;
        }
        if sum != stamp.sum {
            return Err(StorageError::Corrupt {
                offset: None,
                what: "index: it does not hold what was put into it".to_owned(),
                path: new.to_owned(),
                detail: "restart the broker: the index is made anew from its redo file".to_owned(),
            });
        }
        redo.append(Kind::Checkpoint, stamp, &Changes::new(), pending)?;
        redo.base_bytes = redo.end;
        Ok(redo)
    }

    /// Writes a change of the index, durably. The stamp is that of the index afterwards.
    pub(super) fn append(
        &mut self,
        kind: Kind,
        stamp: &Stamp,
        changes: &Changes,
        pending: &[u8],
    ) -> Result<()> {
        let payload = change_bytes(changes) + pending.len();
        self.write(kind, stamp, payload, |out| {
            put_change(out, &stamp.sum, changes);
            out.extend_from_slice(pending);
        })
    }

    fn write(
        &mut self,
        kind: Kind,
        stamp: &Stamp,
        payload: usize,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        if payload > MAX_PAYLOAD_BYTES {
            return Err(StorageError::Refused(format!(
                "a checkpoint of the index has {payload} bytes, and {MAX_PAYLOAD_BYTES} is the \
                 most: restart the broker with a smaller journal and less memory for it"
            )));
        }
        put(self.buffer.begin(payload));
        let head = Head {
            kind,
            directory: stamp.directory,
            turn: stamp.turn,
            lsn: stamp.lsn,
            acked: stamp.sequence,
            checkpoint: stamp.lsn,
        };
        let frame = self.buffer.end(&head);
        self.file.write_at(frame, self.end)?;
        self.end += frame.len() as u64;
        self.buffer.give_back(KEPT_BYTES);
        Ok(())
    }

    /// The bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// The bytes of the base.
    pub(super) fn base_bytes(&self) -> u64 {
        self.base_bytes
    }
}

/// Puts the payload of a change, without what is pending behind it.
pub(super) fn put_change(bytes: &mut Vec<u8>, sum: &Sum, changes: &Changes) {
    bytes.push(VERSION);
    bytes.extend_from_slice(&sum.fingerprint.to_le_bytes());
    bytes.extend_from_slice(&sum.count.to_le_bytes());
    bytes.extend_from_slice(&length(changes.len()).to_le_bytes());
    for (key, value) in changes {
        put_pair(bytes, key, value.as_deref());
    }
}

/// The bytes that `put_change` puts.
fn change_bytes(changes: &Changes) -> usize {
    let pair = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
        PAIR_HEAD_BYTES + key.len() + value.as_ref().map_or(0, Vec::len)
    };
    CHANGE_HEAD_BYTES + changes.iter().map(pair).sum::<usize>()
}

pub(super) fn put_pair(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    out.extend_from_slice(&length(key.len()).to_le_bytes());
    out.extend_from_slice(&value.map_or(REMOVED, |value| length(value.len())).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value.unwrap_or_default());
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("what the index holds is far below 4 GiB")
}
