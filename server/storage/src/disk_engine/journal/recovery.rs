//! Finds what the journal holds when it is opened.
//!
//! Every frame that is sound, of this directory and newer than the index counts; their numbers must
//! follow one another without a hole, as a frame is begun only when the one before it is durable.
//! So the end of the run is a torn tail, which was never acked, unless something proves that more
//! was: a frame beyond it, or the file `acked`. Then bytes were lost that must not be, and the
//! broker does not start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;

use super::{Journal, Ring, Slot, Writer, create_slot, slot_path};
use crate::disk::{BLOCK, Disk, DiskFile, Mode};
use crate::disk_engine::frame::{
    self, FrameBuffer, HEADER_BYTES, Head, Kind, NoFrame, claimed_bytes,
};
use crate::disk_engine::options::Options;
use crate::engine::{Result, StorageError};
use crate::planted::Plant;

/// How much is replayed between two lines of the log that tell of it.
const PROGRESS_BYTES: u64 = 32 * 1024 * 1024;
const ACKED_MAGIC: &[u8; 8] = b"RWACKED1";
const ACKED_BYTES: usize = 28;
/// The first headers of a file are looked at in steps of this size.
const SCAN_BYTES: usize = 1024 * 1024;

/// A sound frame that is newer than the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) head: Head,
    /// The number of its file.
    pub(crate) file: u64,
    pub(crate) at: u64,
    pub(crate) bytes: u64,
}

/// What is known of a file of the ring after it was looked through.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// The highest turn and number of any frame, also of those that no longer count.
    pub(crate) turn: u64,
    pub(crate) last_lsn: u64,
    /// The newest checkpoint that a frame knew of.
    pub(crate) checkpoint: u64,
    pub(crate) frames: Vec<Found>,
}

impl Scanned {
    /// A file of which nothing was looked at yet.
    pub(crate) fn new(path: &Path, number: u64, bytes: u64) -> Self {
        Self {
            number,
            path: path.to_owned(),
            bytes,
            turn: 0,
            last_lsn: 0,
            checkpoint: 0,
            frames: Vec::new(),
        }
    }
}

/// How a replay went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// The last frame.
    pub(crate) last_lsn: u64,
    /// How many frames were replayed, and their bytes.
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// Says, through the cache, that everything up to `lsn` is durable and may have been acked.
pub(super) fn write_acked(file: &dyn DiskFile, directory: u64, lsn: u64) -> Result<()> {
    let mut bytes = [0; ACKED_BYTES];
    bytes[..8].copy_from_slice(ACKED_MAGIC);
    bytes[8..16].copy_from_slice(&directory.to_le_bytes());
    bytes[16..24].copy_from_slice(&lsn.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_le_bytes());
    file.write_at(&bytes, 0)
}

/// What `write_acked` wrote; `None` when the file is not whole: it proves something or nothing.
pub(crate) fn read_acked(disk: &dyn Disk, dir: &Path, directory: u64) -> Result<Option<u64>> {
    let path = dir.join("acked");
    if !disk.exists(&path) {
        return Ok(None);
    }
    let mut bytes = [0; ACKED_BYTES];
    let read = disk.open(&path, Mode::Read)?.read_at(&mut bytes, 0)?;
    let sound = read == ACKED_BYTES
        && bytes[..8] == *ACKED_MAGIC
        && bytes[8..16] == directory.to_le_bytes()
        && bytes[24..] == crc32c::crc32c(&bytes[..24]).to_le_bytes();
    let mut lsn = [0; 8];
    lsn.copy_from_slice(&bytes[16..24]);
    Ok(sound.then(|| u64::from_le_bytes(lsn)))
}

/// Looks through every file of the journal for frames after `checkpoint`.
pub(crate) fn scan(
    disk: &dyn Disk,
    dir: &Path,
    directory: u64,
    checkpoint: u64,
) -> Result<Vec<Scanned>> {
    let numbers = numbers(disk, dir)?.into_iter();
    numbers
        .map(|number| scan_file(disk, &slot_path(dir, number), number, directory, checkpoint))
        .collect()
}

/// The numbers of the journal's files.
fn numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>> {
    let number = |name: &String| name.strip_suffix(".journal").and_then(|name| name.parse().ok());
    Ok(disk.list(dir)?.iter().filter_map(number).collect())
}

/// The bytes of the journal's files.
pub(in crate::disk_engine) fn size_bytes(disk: &dyn Disk, dir: &Path) -> Result<u64> {
    let numbers = numbers(disk, dir)?.into_iter();
    numbers.map(|number| disk.open(&slot_path(dir, number), Mode::Read)?.len()).sum()
}

fn scan_file(
    disk: &dyn Disk,
    path: &Path,
    number: u64,
    directory: u64,
    checkpoint: u64,
) -> Result<Scanned> {
    let file = disk.open(path, Mode::Read)?;
    let bytes = file.len()?;
    let mut scanned = Scanned::new(path, number, bytes);
    let (mut window, mut window_at, mut window_len) = (vec![0; SCAN_BYTES], 0u64, 0usize);
    let mut at = 0u64;
    while at + HEADER_BYTES as u64 <= bytes {
        if at < window_at || at + HEADER_BYTES as u64 > window_at + window_len as u64 {
            window_len = file.read_at(&mut window, at)?;
            window_at = at;
        }
        let header = &window[usize::try_from(at - window_at).unwrap_or(0)..window_len];
        let claimed = match claimed_bytes(header) {
            Ok(claimed) => claimed as u64,
            Err(NoFrame::Version(version)) if at == 0 => return Err(other_version(path, version)),
            Err(_) => {
                at += BLOCK as u64;
                continue;
            }
        };
        // Its number tells a frame of ours from bytes of a record that look like one: nobody can
        // guess it, and what is not ours is not worth reading.
        let is_ours = frame::peek(header).is_some_and(|head| head.directory == directory)
            && at + claimed <= bytes;
        let head = if is_ours { sound_frame(file.as_ref(), header, at, claimed)? } else { None };
        let Some(head) = head else {
            at += BLOCK as u64;
            continue;
        };
        scanned.turn = scanned.turn.max(head.turn);
        scanned.last_lsn = scanned.last_lsn.max(head.lsn);
        if head.lsn > checkpoint {
            scanned.checkpoint = scanned.checkpoint.max(head.checkpoint);
            scanned.frames.push(Found { head, file: number, at, bytes: claimed });
        }
        at += claimed;
    }
    Ok(scanned)
}

/// The head of the frame at a place, if it is sound. One that the index has is checked too: what is
/// left of it must not hide a newer frame that stands in it.
fn sound_frame(file: &dyn DiskFile, header: &[u8], at: u64, claimed: u64) -> Result<Option<Head>> {
    let Ok(length) = usize::try_from(claimed) else { return Ok(None) };
    if header.len() >= length {
        return Ok(frame::decode(&header[..length]).ok().map(|(head, _)| head));
    }
    let whole = file.read(length, at)?;
    Ok(frame::decode(&whole).ok().map(|(head, _)| head))
}

fn other_version(path: &Path, version: u8) -> StorageError {
    StorageError::Refused(format!(
        "the journal file {} has version {version}, which this build does not read: start the \
         version of ropewalk that wrote it",
        path.display()
    ))
}

/// The frames to replay, in order; or what is missing.
pub(crate) fn run(
    scanned: &[Scanned],
    dir: &Path,
    checkpoint: u64,
    acked: Option<u64>,
) -> Result<Vec<Found>> {
    let mut found: BTreeMap<u64, Found> = BTreeMap::new();
    for frame in scanned.iter().flat_map(|file| &file.frames) {
        let newer = |before: &Found| before.head.turn < frame.head.turn;
        if found.get(&frame.head.lsn).is_none_or(newer) {
            found.insert(frame.head.lsn, *frame);
        }
    }
    let run: Vec<Found> = (checkpoint + 1..).map_while(|lsn| found.get(&lsn).copied()).collect();
    let end = checkpoint + run.len() as u64;
    let newest = found.last_key_value().map_or(end, |(lsn, _)| *lsn);
    let proven = newest.max(acked.unwrap_or(0));
    if proven > end && !Plant::CutAtDamage.is_planted() {
        let place = missing_place(scanned, dir, run.last(), end);
        let files: Vec<String> =
            scanned.iter().map(|file| file.path.display().to_string()).collect();
        return Err(StorageError::Corrupt {
            offset: None,
            what: format!("journal: frame {} is damaged or missing", end + 1),
            path: place.0,
            detail: format!(
                "at byte {}, or at the begin of another of its files, {}; frames up to {proven} \
                 were acked. The broker does not start, as records would be lost: restore the file \
                 from a copy, or start the broker with an empty data directory if other brokers \
                 hold its data",
                place.1,
                files.join(" or ")
            ),
        });
    }
    Ok(run)
}

/// Where the frame after `last` should be: behind it, or at the begin of the file whose frames go
/// on after it.
fn missing_place(
    scanned: &[Scanned],
    dir: &Path,
    last: Option<&Found>,
    end: u64,
) -> (PathBuf, u64) {
    let starts_later = scanned.iter().find(|file| {
        file.frames.first().is_some_and(|first| first.head.lsn > end + 1 && first.at > 0)
    });
    if let Some(file) = starts_later {
        return (file.path.clone(), 0);
    }
    match last {
        Some(last) => (slot_path(dir, last.file), last.at + last.bytes),
        None => (dir.to_owned(), 0),
    }
}

impl Journal {
    /// Opens the journal, or makes one, and gives every frame after `checkpoint` to `replay`.
    pub(in crate::disk_engine) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        directory: u64,
        checkpoint: u64,
        options: Options,
        replay: &mut dyn FnMut(Head, Bytes) -> Result<()>,
    ) -> Result<(Self, Replayed)> {
        let scanned = scan(disk.as_ref(), dir, directory, checkpoint)?;
        if let Some(file) = scanned.iter().find(|file| file.checkpoint > checkpoint) {
            return Err(StorageError::Refused(format!(
                "the index in {} is older than {}, which knows checkpoint {}: the index has \
                 checkpoint {checkpoint}; restore the whole data directory from one copy, or start \
                 the broker with an empty one",
                dir.with_file_name("index").display(),
                file.path.display(),
                file.checkpoint
            )));
        }
        if scanned.is_empty() && checkpoint > 0 {
            return Err(StorageError::Corrupt {
                offset: None,
                what: "journal: all of its files are missing".to_owned(),
                path: dir.to_owned(),
                detail: "records would be lost: restore the data directory from a copy, or start \
                         the broker with an empty one"
                    .to_owned(),
            });
        }
        let acked = read_acked(disk.as_ref(), dir, directory)?;
        let frames = run(&scanned, dir, checkpoint, acked)?;
        let replayed = replay_all(disk.as_ref(), dir, &frames, checkpoint, replay)?;
        let found = (directory, replayed);
        let (ring, writer) = take_up(disk.as_ref(), dir, scanned, &frames, found, options)?;
        let journal = Self {
            disk,
            dir: dir.to_owned(),
            directory,
            options,
            left: AtomicU64::new(writer.left()),
            last_lsn: AtomicU64::new(writer.lsn),
            writer: Mutex::new(writer),
            ring: Mutex::new(ring),
            recycled: Condvar::new(),
            checkpoint: AtomicU64::new(checkpoint),
            written: AtomicU64::new(replayed.bytes),
            room: AtomicU64::new(u64::MAX),
            reserve: AtomicU64::new(u64::MAX),
            stuck: AtomicBool::new(false),
        };
        journal.recycle(checkpoint)?;
        Ok((journal, replayed))
    }
}

fn replay_all(
    disk: &dyn Disk,
    dir: &Path,
    frames: &[Found],
    checkpoint: u64,
    replay: &mut dyn FnMut(Head, Bytes) -> Result<()>,
) -> Result<Replayed> {
    let mut replayed = Replayed { last_lsn: checkpoint, ..Replayed::default() };
    let mut open: Option<(u64, Arc<dyn DiskFile>)> = None;
    let total: u64 = frames.iter().map(|found| found.bytes).sum();
    let mut told = PROGRESS_BYTES;
    for found in frames {
        let file = match &open {
            Some((number, file)) if *number == found.file => Arc::clone(file),
            _ => disk.open(&slot_path(dir, found.file), Mode::Read)?,
        };
        let length = usize::try_from(found.bytes).expect("a frame fits in memory");
        let whole = file.read(length, found.at)?;
        let (head, payload) = frame::decode(&whole).map_err(|error| {
            let detail = format!("at byte {}: {error}", found.at);
            let path = slot_path(dir, found.file);
            StorageError::Corrupt { offset: None, what: "journal frame".to_owned(), path, detail }
        })?;
        if head.kind == Kind::Writes {
            replay(head, Bytes::from(whole).slice(payload))?;
        }
        replayed.last_lsn = head.lsn;
        replayed.frames += 1;
        replayed.bytes += found.bytes;
        if replayed.bytes >= told {
            told += PROGRESS_BYTES;
            tracing::info!(bytes = replayed.bytes, of = total, "the journal is replayed");
        }
        open = Some((found.file, file));
    }
    Ok(replayed)
}

/// The files as the writer goes on with them: in the one that holds the last frame, behind it.
fn take_up(
    disk: &dyn Disk,
    dir: &Path,
    scanned: Vec<Scanned>,
    frames: &[Found],
    (directory, replayed): (u64, Replayed),
    options: Options,
) -> Result<(Ring, Writer)> {
    let mut ring = Ring::default();
    let mut slots: Vec<Slot> = Vec::new();
    for file in &scanned {
        ring.next_number = ring.next_number.max(file.number + 1);
        // A file that was cut off while it was made holds whole blocks only.
        let capacity = file.bytes - file.bytes % BLOCK as u64;
        if capacity == 0 && file.frames.is_empty() {
            disk.remove(&file.path)?;
            continue;
        }
        ring.total += capacity;
        if capacity != options.spare_bytes() {
            ring.largest = ring.largest.max(capacity);
        }
        let last_lsn = file.frames.iter().map(|frame| frame.head.lsn).max().unwrap_or(0);
        slots.push(Slot {
            number: file.number,
            file: disk.open(&file.path, Mode::Direct)?,
            capacity,
            turn: file.turn,
            last_lsn,
        });
    }
    slots.sort_by_key(|slot| slot.last_lsn);
    let (current, position) = match (frames.last(), slots.last()) {
        (Some(last), Some(slot)) if slot.number == last.file => (slots.pop(), last.at + last.bytes),
        (None, Some(_)) => (slots.pop(), 0),
        _ => (None, 0),
    };
    let current = match current {
        Some(mut slot) => {
            slot.turn += u64::from(position == 0);
            // An earlier process may have ended in the middle of a write.
            slot.file.sync()?;
            slot
        }
        None => {
            let size = options.first_file_bytes;
            let number = ring.next_number;
            ring.next_number += 1;
            ring.total += size;
            ring.largest = ring.largest.max(size);
            create_slot(disk, dir, number, size, true)?
        }
    };
    ring.full = slots.into();
    ring.current = current.capacity;
    let acked = disk.open(&dir.join("acked"), Mode::Create)?;
    // Now, so that the first write does not need room for it; a full disk can still be read.
    match write_acked(acked.as_ref(), directory, replayed.last_lsn) {
        Err(error) if error.is_no_space() => {}
        done => done?,
    }
    let buffer = FrameBuffer::default();
    Ok((ring, Writer { current, is_spare: false, position, lsn: replayed.last_lsn, buffer, acked }))
}
