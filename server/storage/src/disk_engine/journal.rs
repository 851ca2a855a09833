//! The journal: a ring of files that are written in turn, one frame a write, for all logs.
//!
//! A frame is durable when [`Journal::append`] returns. Files are written before they are needed,
//! so that a frame changes nothing but blocks that exist: then one direct write is all the disk has
//! to do. A file is used again when all its frames are in the index; a quiet broker goes on using
//! the same small one. The frames say for themselves whether they count ([`recovery`]); the file
//! `acked` says, through the cache and never synced, which frame was the last to be acked: after a
//! crash of the process alone it tells a torn tail from a damaged one. Knows frames, not what they
//! hold.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::core::has_failed;
use super::frame::{FrameBuffer, Head, Kind, MAX_PAYLOAD_BYTES, frame_bytes};
use super::options::Options;
use crate::disk::{Disk, DiskFile, Mode};
use crate::engine::{Result, StorageError};
use crate::files::io_error;

pub(super) mod recovery;

/// How much is written at once to make a file's blocks.
const BLANK_BYTES: usize = 1024 * 1024;
/// Where there is little room, no file is made beside so many others: they are small then.
const MAX_SCARCE_FILES: usize = 64;
/// A file grows by this factor over the one before, up to the largest size.
const GROWTH: u64 = 4;

/// A file of the ring.
pub(super) struct Slot {
    number: u64,
    file: Arc<dyn DiskFile>,
    capacity: u64,
    /// How often it was put to use.
    turn: u64,
    /// The last frame in it.
    last_lsn: u64,
}

/// The files that are not being written.
#[derive(Default)]
struct Ring {
    free: Vec<Slot>,
    full: VecDeque<Slot>,
    /// A small one for what makes room, when the disk has none for another.
    spare: Option<Slot>,
    /// The capacity of all files, that of the current one too.
    total: u64,
    largest: u64,
    next_number: u64,
    /// The capacity of the current file.
    current: u64,
    /// A writer waits for a file.
    waiting: bool,
    /// The engine has failed: nobody waits any more.
    ended: bool,
    /// Nobody waits any more for what may never come: room on a full disk.
    impatient: bool,
}

/// What a frame is for: it decides what is done for it when the disk has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It holds records.
    Records,
    /// It holds none: it may give room back, and has the spare file for that.
    Other,
}

/// What only the writer needs.
struct Writer {
    current: Slot,
    /// The current file was the spare one, and holds no records.
    is_spare: bool,
    position: u64,
    lsn: u64,
    buffer: FrameBuffer,
    acked: Arc<dyn DiskFile>,
}

impl Writer {
    /// The bytes of the current file that anything may be written to.
    fn left(&self) -> u64 {
        if self.is_spare { 0 } else { self.current.capacity - self.position }
    }
}

/// The journal of a data directory.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    directory: u64,
    options: Options,
    writer: Mutex<Writer>,
    ring: Mutex<Ring>,
    recycled: Condvar,
    /// Everything up to here is in the index.
    checkpoint: AtomicU64,
    /// The bytes of frames that were written, ever.
    written: AtomicU64,
    /// How full the current file is, in bytes from the end.
    left: AtomicU64,
    /// The newest frame.
    last_lsn: AtomicU64,
    /// The bytes of the disk that may be taken for more files, and those that may be taken for the
    /// smallest ones: records are refused before the disk is full, and what then goes on needs few.
    room: AtomicU64,
    reserve: AtomicU64,
    /// The last checkpoint could not be made, as the disk has no room for it.
    stuck: AtomicBool,
}

impl Journal {
    /// Writes a frame; it is durable when this returns its number, and all frames before it are.
    /// `expected` is about how many bytes `build` appends. Waits while the ring is full.
    pub(super) fn append(
        &self,
        (kind, purpose): (Kind, Purpose),
        expected: usize,
        build: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u64> {
        let mut writer = self.writer.lock().expect("no holder of the journal panics");
        let writer = &mut *writer;
        build(writer.buffer.begin(expected));
        let payload = writer.buffer.payload_bytes();
        if payload > MAX_PAYLOAD_BYTES {
            return Err(StorageError::Refused(format!(
                "a write of {payload} bytes is more than a frame of the journal holds, \
                 {MAX_PAYLOAD_BYTES}: this is a bug of the broker, please report it"
            )));
        }
        let length = frame_bytes(payload) as u64;
        self.make_room(writer, length, purpose)?;
        let lsn = writer.lsn + 1;
        let frame = writer.buffer.end(&Head {
            kind,
            directory: self.directory,
            turn: writer.current.turn,
            lsn,
            acked: writer.lsn,
            checkpoint: self.checkpoint(),
        });
        writer.current.file.write_at(frame, writer.position)?;
        writer.lsn = lsn;
        writer.current.last_lsn = lsn;
        writer.position += length;
        self.left.store(writer.left(), Ordering::Relaxed);
        self.last_lsn.store(lsn, Ordering::Relaxed);
        self.written.fetch_add(length, Ordering::Relaxed);
        // Nobody waits for a mark, and nothing is lost with it.
        if kind != Kind::Mark {
            recovery::write_acked(writer.acked.as_ref(), self.directory, lsn)?;
        }
        Ok(lsn)
    }

    /// Sees to it that the current file has room for a frame: it is begun anew where all of it is
    /// in the index; or another one takes its place; or the writer waits for either.
    fn make_room(&self, writer: &mut Writer, length: u64, purpose: Purpose) -> Result<()> {
        if self.fits_current(writer, length, purpose) {
            return Ok(());
        }
        let mut ring = self.ring();
        let (mut next, is_spare) = loop {
            // Under the ring's lock, as whoever recycles takes it to wake the writer.
            if self.fits_current(writer, length, purpose) {
                return Ok(());
            }
            if ring.ended {
                return Err(has_failed());
            }
            if let Some(at) = ring.free.iter().position(|slot| slot.capacity >= length) {
                break (ring.free.swap_remove(at), false);
            }
            let Some(size) = self.size_to_make(&ring, length) else {
                if let Some(spare) = self.take_spare(&mut ring, length, purpose) {
                    break (spare, true);
                }
                ring = self.wait(ring)?;
                continue;
            };
            let made = self.make(ring, size)?;
            ring = self.ring();
            if let Some(slot) = made {
                break (slot, false);
            }
        };
        next.turn += 1;
        ring.current = next.capacity;
        ring.full.push_back(std::mem::replace(&mut writer.current, next));
        drop(ring);
        writer.is_spare = is_spare;
        writer.position = 0;
        self.recycle(self.checkpoint())
    }

    /// The spare file, for a frame that may make room on a disk that has none.
    fn take_spare(&self, ring: &mut Ring, length: u64, purpose: Purpose) -> Option<Slot> {
        let is_scarce = self.is_stuck() || self.next_size(ring, 0).is_none();
        let fits = ring.spare.as_ref().is_some_and(|spare| spare.capacity >= length);
        (is_scarce && fits && purpose == Purpose::Other).then(|| ring.spare.take()).flatten()
    }

    fn fits_current(&self, writer: &mut Writer, length: u64, purpose: Purpose) -> bool {
        let checkpoint = self.checkpoint();
        if writer.position > 0 && writer.current.last_lsn <= checkpoint {
            writer.position = 0;
            writer.is_spare = false;
            writer.current.turn += 1;
        }
        let may = purpose == Purpose::Other || !writer.is_spare;
        may && writer.position + length <= writer.current.capacity
    }

    /// The size of a file to be made for a frame that no other has room for; `None` where it is to
    /// wait. A frame that no file of the ring could hold gets one of its own, whatever the bound.
    fn size_to_make(&self, ring: &Ring, length: u64) -> Option<u64> {
        let size = self.next_size(ring, length);
        if !self.options.background {
            return size.or(Some(self.options.first_file_bytes.max(length)));
        }
        size.filter(|size| ring.full.is_empty() || self.is_within_bound(ring, *size))
    }

    /// Makes a file; `None` when the disk turns out to have no room for it.
    fn make(&self, ring: MutexGuard<'_, Ring>, size: u64) -> Result<Option<Slot>> {
        let number = ring.next_number;
        // No time to write the blocks of a large one: whoever writes waits.
        let blank = size <= self.options.first_file_bytes;
        match self.create(ring, size, blank) {
            Err(error) if error.is_no_space() && self.options.background => {
                self.disk.remove(&slot_path(&self.dir, number))?;
                self.set_room(0, 0);
                Ok(None)
            }
            slot => slot.map(Some),
        }
    }

    fn wait<'a>(&self, mut ring: MutexGuard<'a, Ring>) -> Result<MutexGuard<'a, Ring>> {
        if ring.impatient && (self.is_stuck() || self.next_size(&ring, 0).is_none()) {
            let source = io::Error::from(io::ErrorKind::StorageFull);
            return Err(io_error("write to", &self.dir, source));
        }
        ring.waiting = true;
        let mut ring = self.recycled.wait(ring).expect("no holder of the ring panics");
        ring.waiting = false;
        Ok(ring)
    }

    /// The size of the next file, which is to hold a frame of this length: as large as the disk has
    /// room for above what is kept free; else the smallest, of which there are few.
    fn next_size(&self, ring: &Ring, length: u64) -> Option<u64> {
        let (first, last) = (self.options.first_file_bytes, self.options.last_file_bytes);
        let grown = ring.largest.saturating_mul(GROWTH).clamp(first, last).max(length);
        if grown <= self.room.load(Ordering::Relaxed) {
            return Some(grown);
        }
        let least = first.max(length);
        let fits = least <= self.reserve.load(Ordering::Relaxed);
        let few = ring.free.len() + ring.full.len() < MAX_SCARCE_FILES;
        (fits && few).then_some(least)
    }

    fn is_within_bound(&self, ring: &Ring, size: u64) -> bool {
        let spare = ring.spare.as_ref().map_or(0, |spare| spare.capacity);
        ring.total - spare + size <= self.options.journal_bytes
    }

    fn create(&self, mut ring: MutexGuard<'_, Ring>, size: u64, blank: bool) -> Result<Slot> {
        let number = ring.next_number;
        ring.next_number += 1;
        ring.total += size;
        drop(ring);
        let slot = create_slot(self.disk.as_ref(), &self.dir, number, size, blank);
        let mut ring = self.ring();
        match &slot {
            // The spare one is of no size that the others grow by.
            Ok(_) if size != self.options.spare_bytes() => ring.largest = ring.largest.max(size),
            Ok(_) => {}
            Err(_) => ring.total -= size,
        }
        slot
    }

    /// The disk has this many bytes that it may take for more files, and for the smallest ones.
    pub(super) fn set_room(&self, room: u64, reserve: u64) {
        self.room.store(room, Ordering::Relaxed);
        self.reserve.store(reserve, Ordering::Relaxed);
        if self.ring().waiting {
            self.recycled.notify_all();
        }
    }

    /// Whether the last checkpoint could not be made, as the disk has no room for it.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    pub(super) fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
        if stuck && self.ring().waiting {
            self.recycled.notify_all();
        }
    }

    /// From now on a write that would wait for room on a full disk fails.
    pub(super) fn lose_patience(&self) {
        self.ring().impatient = true;
        self.recycled.notify_all();
    }

    /// Whether there is room for what gives none back, beside the spare file: half a file is left,
    /// or more can be made.
    pub(super) fn has_room_for_commands(&self) -> bool {
        let ring = self.ring();
        let all_is_stored = self.last_lsn.load(Ordering::Relaxed) <= self.checkpoint();
        let current = if all_is_stored { ring.current } else { self.left.load(Ordering::Relaxed) };
        let free: u64 = ring.free.iter().map(|slot| slot.capacity).sum();
        let may_grow = !self.is_stuck() && self.next_size(&ring, 0).is_some();
        may_grow || free + current >= self.options.first_file_bytes / 2
    }

    fn checkpoint(&self) -> u64 {
        self.checkpoint.load(Ordering::Acquire)
    }

    /// Makes the next file before it is needed, if it soon will be and the disk has room; and the
    /// spare one.
    pub(super) fn prepare(&self) -> Result<()> {
        self.prepare_spare()?;
        let ring = self.ring();
        let size = self.next_size(&ring, 0).filter(|size| self.is_within_bound(&ring, *size));
        let soon = self.left.load(Ordering::Relaxed) < ring.largest / 2;
        let Some(size) = size.filter(|_| soon && ring.free.is_empty()) else { return Ok(()) };
        let made = self.try_create(ring, size)?;
        self.ring().free.extend(made);
        self.recycled.notify_all();
        Ok(())
    }

    fn prepare_spare(&self) -> Result<()> {
        let ring = self.ring();
        let has_room = self.options.spare_bytes() <= self.reserve.load(Ordering::Relaxed);
        let few = ring.free.len() + ring.full.len() < MAX_SCARCE_FILES;
        if ring.spare.is_some() || !has_room || !few {
            return Ok(());
        }
        let made = self.try_create(ring, self.options.spare_bytes())?;
        let mut ring = self.ring();
        // The old one may have become free meanwhile.
        if ring.spare.is_none() {
            ring.spare = made;
        } else {
            ring.free.extend(made);
        }
        Ok(())
    }

    /// Makes a file that nobody waits for; none when the disk turns out to have no room for it.
    fn try_create(&self, ring: MutexGuard<'_, Ring>, size: u64) -> Result<Option<Slot>> {
        let number = ring.next_number;
        match self.create(ring, size, true) {
            // Another time: nothing is in it that would be lost.
            Err(error) if error.is_no_space() => {
                self.disk.remove(&slot_path(&self.dir, number)).map(|()| None)
            }
            slot => slot.map(Some),
        }
    }

    /// Everything up to here is in the index, durably: files with nothing newer are free again.
    pub(super) fn recycle(&self, checkpoint: u64) -> Result<()> {
        self.checkpoint.fetch_max(checkpoint, Ordering::AcqRel);
        let mut ring = self.ring();
        let mut recycled = ring.waiting;
        let mut outgrown = Vec::new();
        while ring.full.front().is_some_and(|slot| slot.last_lsn <= checkpoint) {
            let Some(slot) = ring.full.pop_front() else { break };
            recycled = true;
            let largest = ring.largest.min(self.options.last_file_bytes);
            if ring.spare.is_none() && slot.capacity == self.options.spare_bytes() {
                ring.spare = Some(slot);
            } else if slot.capacity < largest || slot.capacity > self.options.last_file_bytes {
                ring.total -= slot.capacity;
                outgrown.push(slot);
            } else {
                ring.free.push(slot);
            }
        }
        drop(ring);
        for slot in outgrown {
            self.disk.remove(slot.file.path())?;
        }
        if recycled {
            tracing::debug!(target: super::MOMENTS, checkpoint, "journal recycled");
            self.recycled.notify_all();
        }
        Ok(())
    }

    /// The engine has failed: whoever waits for room is told.
    pub(super) fn end(&self) {
        self.ring().ended = true;
        self.recycled.notify_all();
    }

    /// The bytes of all frames that were written since it was opened.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Whether a writer waits, or will soon have to wait, for a file to become free.
    pub(super) fn is_tight(&self) -> bool {
        let ring = self.ring();
        let size = self.next_size(&ring, 0);
        let fits = size.is_some_and(|size| self.is_within_bound(&ring, size));
        ring.waiting || (ring.free.is_empty() && !fits)
    }

    /// Whether the next file should be made, or become free, now.
    pub(super) fn needs_files(&self) -> bool {
        let ring = self.ring();
        ring.free.is_empty() && self.left.load(Ordering::Relaxed) < ring.largest / 2
    }

    /// The bytes of its files.
    pub(super) fn size_bytes(&self) -> u64 {
        self.ring().total
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("no holder of the ring panics")
    }
}

/// The name of a file of the ring.
fn slot_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.journal"))
}

/// Makes a file of the ring, durably in its directory, with room on the disk for all of it; with
/// blocks that were written, when it is made `blank`.
fn create_slot(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    capacity: u64,
    blank: bool,
) -> Result<Slot> {
    let file = disk.open(&slot_path(dir, number), Mode::Direct)?;
    if blank {
        let mut buffer = FrameBuffer::default();
        let zeros = buffer.blank(BLANK_BYTES);
        let mut at = 0;
        while at < capacity {
            let part = usize::try_from(capacity - at).map_or(BLANK_BYTES, |n| n.min(BLANK_BYTES));
            file.write_at(&zeros[..part], at)?;
            at += part as u64;
        }
    } else {
        file.allocate(capacity)?;
    }
    disk.sync_dir(dir)?;
    Ok(Slot { number, file, capacity, turn: 0, last_lsn: 0 })
}
